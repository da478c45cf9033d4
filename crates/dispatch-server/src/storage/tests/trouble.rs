//! What can go wrong with a bucket or a folder, and that it is told without secrets.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn says(error: &StorageError) -> String {
    let words = error.to_string();
    assert!(!words.contains("hunter2"), "a secret is told: {words}");
    assert!(!format!("{error:?}").contains("hunter2"), "a secret is told: {error:?}");
    words
}

/// Each way to ask.
async fn every_call(storage: &Storage) -> Vec<(&'static str, StorageError)> {
    let name = key("a");
    let bytes = large(17 * 1024 * 1024);
    vec![
        ("check", storage.check().await.expect_err("check")),
        ("put", storage.put(&name, "hello".into(), "text/plain").await.expect_err("put")),
        ("replace", storage.replace(&name, "hello".into(), "text/plain").await.expect_err("replace")),
        ("stream", storage.put_stream(&name, "x/y", chunks(&bytes)).await.expect_err("stream")),
        ("get", storage.get(&name, None).await.map(drop).expect_err("get")),
        ("head", storage.head(&name).await.map(drop).expect_err("head")),
        ("list", storage.list(None, None, 5).await.map(drop).expect_err("list")),
        ("delete", storage.delete(&name).await.expect_err("delete")),
    ]
}

#[tokio::test]
async fn a_wrong_secret_is_told_as_such() {
    let Some(rig) = in_bucket() else { return };
    let server = rig.server.expect("a server");
    let wrong =
        S3Options { secret_key: Some(SecretString::from("another-hunter2")), ..options(&server.endpoint) };
    let storage = open(&format!("s3://{BUCKET}"), wrong, Limits::default());
    // A HEAD has no words, so that nothing but its status is known.
    for (call, error) in every_call(&storage).await {
        let is_told = matches!(error, StorageError::Credentials { .. } | StorageError::Forbidden { .. });
        assert!(is_told, "{call}: {error:?}");
        assert!(says(&error).contains(BUCKET), "{call}: {error}");
    }
    let error = storage.check().await.expect_err("refused");
    assert!(says(&error).contains("storage.secret_key"), "{error}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_as_such() {
    let Some(rig) = in_bucket() else { return };
    let server = rig.server.expect("a server");
    let storage = open("s3://nowhere", options(&server.endpoint), Limits::default());
    // Not what writes: this server makes the bucket then. What others answer to that is tested by its code.
    let name = key("a");
    let errors = [
        ("check", storage.check().await.expect_err("check")),
        ("get", storage.get(&name, None).await.map(drop).expect_err("get")),
        ("head", storage.head(&name).await.map(drop).expect_err("head")),
        ("list", storage.list(None, None, 5).await.map(drop).expect_err("list")),
        ("delete", storage.delete(&name).await.expect_err("delete")),
    ];
    for (call, error) in errors {
        assert!(matches!(error, StorageError::NoBucket { .. }), "{call}: {error:?}");
        assert!(says(&error).contains("s3://nowhere"), "{call}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_nobody_runs_is_told_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let storage = open("s3://lab-1", options(&format!("http://{address}")), Limits::default());
    for (call, error) in every_call(&storage).await {
        assert!(matches!(error, StorageError::Unreachable { .. }), "{call}: {error:?}");
        assert!(says(&error).contains("refused"), "{call}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let short = Duration::from_millis(300);
    let limits = Limits { answer: short, stall: short, slowest: u64::MAX };
    let storage = open("s3://lab-1", options(&format!("http://{address}")), limits);
    for (call, error) in every_call(&storage).await {
        assert!(matches!(error, StorageError::Slow { .. }), "{call}: {error:?}");
        says(&error);
    }
    drop(listener);
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_something_large_has_nothing_of_it() {
    let Some(rig) = in_bucket() else { return };
    let Rig { storage, server, .. } = rig;
    let server = Arc::new(std::sync::Mutex::new(server.expect("a server")));
    let bytes = large(40 * 1024 * 1024);
    let dying = Arc::clone(&server);
    let mut had = 0;
    let from = futures_util::StreamExt::map(chunks(&bytes), move |chunk| {
        had += 1;
        // The first part of 16 has arrived, the second has not been sent.
        if had == 25 {
            dying.lock().expect("a server").kill();
        }
        chunk
    });
    let error = storage.put_stream(&key("a"), "x/y", from).await.expect_err("it died");
    assert!(matches!(error, StorageError::Unreachable { .. }), "{error:?}");
    server.lock().expect("a server").restart().expect("up again");
    let endpoint = server.lock().expect("a server").endpoint.clone();
    let storage = open(&format!("s3://{BUCKET}/a/b"), options(&endpoint), Limits::default());
    assert_eq!(storage.head(&key("a")).await.expect("an answer"), None);
    assert_eq!(storage.list(None, None, 9).await.expect("a list").items, []);
    let object = storage.put_stream(&key("a"), "x/y", chunks(&bytes)).await.expect("stored");
    let reading = storage.get(&key("a"), None).await.expect("an answer").expect("there");
    reading.expecting(object.digest).bytes(u64::MAX).await.expect("whole");
}

#[tokio::test]
async fn a_server_that_dies_while_something_is_read_gives_no_half_of_it() {
    let Some(mut rig) = in_bucket() else { return };
    let bytes = large(40 * 1024 * 1024);
    rig.storage.put_stream(&key("a"), "x/y", chunks(&bytes)).await.expect("stored");
    let mut reading = rig.storage.get(&key("a"), None).await.expect("an answer").expect("there");
    reading.next().await.expect("some").expect("bytes");
    rig.server.as_mut().expect("a server").kill();
    let error = reading.bytes(u64::MAX).await.expect_err("it died");
    assert!(matches!(error, StorageError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn the_type_is_kept_in_a_bucket() {
    let Some(rig) = in_bucket() else { return };
    rig.storage.put(&key("a"), "hello".into(), "text/markdown").await.expect("stored");
    let name = rig.storage.inner.name(&key("a"));
    let got = rig.storage.inner.store.get(&name).await.expect("there");
    let kept = got.attributes.get(&object_store::Attribute::ContentType).expect("a type");
    assert_eq!(kept.as_ref(), "text/markdown");
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told_as_such() {
    // Who is root may write everywhere.
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let rig = in_folder();
    let folder = rig.folder.as_ref().expect("a folder").path().join("new").join(INCOMING);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).expect("set");
    let error = rig.storage.put(&key("a"), "hello".into(), "text/plain").await.expect_err("refused");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("set");
    assert!(matches!(error, StorageError::Forbidden { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let backend = Backend::Folder(file.clone());
    let error = Storage::open(backend, &web(), &random(), Limits::default()).expect_err("no folder");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
