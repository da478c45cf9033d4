//! The process is killed while it writes into a folder: what is there is whole, and what it said is there.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;

use super::*;

/// Tells the child its folder.
const FOLDER: &str = "DISPATCH_TEST_STORAGE";

/// Tells the child what to do.
const TASK: &str = "DISPATCH_TEST_STORAGE_TASK";

fn start(folder: &Path, task: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "storage::tests::kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(TASK, task)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    (child, lines)
}

fn end(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("ended");
}

fn opened(folder: &Path) -> Storage {
    open(&format!("file://{}", folder.display()), S3Options::default(), Limits::default())
}

/// Not a test but the process that is killed: without its environment it does nothing.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "so its parent hears of it")]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let storage = opened(Path::new(&folder));
    if std::env::var(TASK).as_deref() == Ok("large") {
        // The first part is written when the chunk after it is asked for; then nothing comes any more.
        let asked = stream::iter(0..40).map(|n| {
            println!("\nchunk {n}");
            Ok(Bytes::from(vec![1; 1024 * 1024]))
        });
        let from = asked.chain(stream::pending());
        storage.put_stream(&key("images/a"), "x/y", from).await.expect("stored");
        return;
    }
    for n in 0_u32.. {
        let byte = u8::try_from(n % 256).expect("a byte");
        storage.put(&key(&format!("many/{n}")), vec![byte; 300_000].into(), "x/y").await.expect("stored");
        println!("\nstored {n}");
    }
}

#[tokio::test]
async fn a_process_that_is_killed_in_the_middle_of_something_large_leaves_nothing_of_it() {
    let folder = TempDir::new().expect("a folder");
    let (child, mut lines) = start(folder.path(), "large");
    lines.find(|line| line == "chunk 39").expect("most of it");
    end(child);
    let left = || std::fs::read_dir(folder.path().join(INCOMING)).expect("a folder").count();
    assert_eq!(left(), 1, "it was not in the middle");
    let storage = opened(folder.path());
    assert_eq!(storage.head(&key("images/a")).await.expect("an answer"), None);
    assert_eq!(storage.list(None, None, 10).await.expect("a list").items, []);
    // What it began is no object, and goes once nobody can be writing it any more.
    let kept =
        Timestamp::try_from(std::fs::metadata(folder.path()).expect("a folder").modified().expect("a time"));
    let kept = kept.expect("a time");
    assert_eq!(storage.sweep(kept).await.expect("swept"), 0);
    assert_eq!(storage.sweep(kept + jiff::SignedDuration::from_hours(25)).await.expect("swept"), 1);
    assert_eq!(left(), 0);
    put(&storage, "images/a", b"hello").await;
}

#[tokio::test]
async fn a_process_that_is_killed_at_any_moment_leaves_whole_objects_and_all_that_it_told_of() {
    for until in ["stored 0", "stored 7", "stored 30"] {
        let folder = TempDir::new().expect("a folder");
        let (child, mut lines) = start(folder.path(), "many");
        lines.find(|line| line == until).expect("so many");
        end(child);
        // It may have come further before it was killed.
        let told = 1 + lines.filter(|line| line.starts_with("stored ")).count();
        let told = told + until["stored ".len()..].parse::<usize>().expect("a number");
        let storage = opened(folder.path());
        let found = storage.list(Some(&key("many")), None, 100_000).await.expect("a list").items;
        assert!((told..=told + 1).contains(&found.len()), "{told} were told of, {} are there", found.len());
        for head in found {
            let n: u32 = head.key.as_str()["many/".len()..].parse().expect("a number");
            let bytes = read(&storage, head.key.as_str()).await.expect("there");
            let byte = u8::try_from(n % 256).expect("a byte");
            assert!(bytes.len() == 300_000 && bytes.iter().all(|found| *found == byte), "{n} is damaged");
        }
    }
}
