//! A disk that is full: a small one of its own.

use std::process::Command;
use std::time::Duration;

use dispatch_core::Happening;
use dispatch_core::fetch::RESERVE;

use super::*;

/// Set where the test runs again, with the temporary folder on a disk of its own.
const SMALL: &str = "DISPATCH_TEST_SMALL_DISK";

/// Mounts it. The namespace ends with the test.
const SCRIPT: &str = r#"set -eu; mount -t tmpfs -o size="$2" none "$1"; export TMPDIR="$1"; exec "$3" --exact --nocapture "$4""#;

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn on_a_full_disk_the_job_waits_with_its_reason_until_there_is_room() {
    if std::env::var_os(SMALL).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(on_the_small_disk());
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(folder.path())
        // What is left to others, the state, and a little.
        .arg((RESERVE + (4 << 20)).to_string())
        .arg(std::env::current_exe().expect("this test"))
        .arg("fetch::tests::full::on_a_full_disk_the_job_waits_with_its_reason_until_there_is_room")
        .env(SMALL, "1")
        .output()
        .expect("unshare (util-linux) can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    if errors.contains("unshare: ") || errors.contains("mount: ") {
        let may_be_left_out = std::env::var_os("CI").is_none() && !nix::unistd::geteuid().is_root();
        assert!(may_be_left_out, "no disk can be mounted: {errors}");
        eprintln!("left out: this system lets nobody mount a disk: {errors}");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

async fn on_the_small_disk() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    let filler = world.folder.path().join("filler");
    std::fs::write(&filler, vec![1; 4 << 20]).expect("there is room, but for what is left to others");
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Waits { .. })).await;
    let reason = world.job("a.efi").await.waits.unwrap_or_default();
    assert!(reason.contains("the disk of the cache is full"), "{reason}");
    assert_eq!(world.server.asked(), []);
    std::fs::remove_file(filler).expect("ours");
    world.clock.pass(Duration::from_secs(30));
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
}
