//! The storage against real folders, a real S3 server, and sudden ends.

mod kill;
mod objects;
mod trouble;

use std::sync::Arc;

use bytes::Bytes;
use dispatch_github::Web;
use dispatch_testkit::s3::{ACCESS_KEY, S3Server, SECRET_KEY};
use futures_util::stream;
use jiff::Timestamp;
use secrecy::SecretString;
use tempfile::TempDir;

use super::*;
use crate::clock::Random;

pub(crate) const BUCKET: &str = "lab-1";

/// A storage with what it is kept in.
pub(crate) struct Rig {
    pub(crate) storage: Storage,
    pub(crate) folder: Option<TempDir>,
    pub(crate) server: Option<S3Server>,
}

pub(crate) fn web() -> Web {
    Web::new(&[], Arc::new(|| Timestamp::UNIX_EPOCH)).expect("a web")
}

pub(crate) fn random() -> Random {
    Arc::new(|| [7; 10])
}

pub(crate) fn options(endpoint: &str) -> S3Options {
    S3Options {
        endpoint: Some(endpoint.to_owned()),
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: Some(SecretString::from(SECRET_KEY)),
        ..S3Options::default()
    }
}

pub(crate) fn open(url: &str, options: S3Options, limits: Limits) -> Storage {
    let place: Place = url.parse().expect("a place");
    let backend = Backend::new(&place, options, &|_| None).expect("settings");
    Storage::open(backend, &web(), &random(), limits).expect("a storage")
}

pub(crate) fn in_folder() -> Rig {
    let folder = TempDir::new().expect("a folder");
    let url = format!("file://{}/new", folder.path().display());
    Rig { storage: open(&url, S3Options::default(), Limits::default()), folder: Some(folder), server: None }
}

pub(crate) fn in_bucket() -> Option<Rig> {
    let server = S3Server::start_or_leave_out(&[BUCKET])?;
    let storage = open(&format!("s3://{BUCKET}/a/b"), options(&server.endpoint), Limits::default());
    Some(Rig { storage, folder: None, server: Some(server) })
}

/// What is said of a storage has to hold for both.
pub(crate) fn both() -> Vec<Rig> {
    [Some(in_folder()), in_bucket()].into_iter().flatten().collect()
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

pub(crate) async fn read(storage: &Storage, name: &str) -> Option<Bytes> {
    let reading = storage.get(&key(name), None).await.expect("an answer")?;
    Some(reading.bytes(u64::MAX).await.expect("bytes"))
}

async fn put(storage: &Storage, name: &str, bytes: &[u8]) -> Object {
    storage.put(&key(name), Bytes::copy_from_slice(bytes), "text/plain").await.expect("stored")
}

/// So many bytes that no two parts are alike, in chunks that fit no part.
fn large(length: usize) -> Bytes {
    let bytes = (0..length.div_ceil(4)).flat_map(|n| u32::try_from(n).expect("small").to_le_bytes());
    bytes.take(length).collect::<Vec<u8>>().into()
}

fn chunks(bytes: &Bytes) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + use<> {
    let bytes = bytes.clone();
    let starts: Vec<usize> = (0..bytes.len()).step_by(1_000_003).collect();
    stream::iter(starts.into_iter().map(move |at| Ok(bytes.slice(at..bytes.len().min(at + 1_000_003)))))
}
