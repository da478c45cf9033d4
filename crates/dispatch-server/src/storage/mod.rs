//! What is too large for the database: files in a folder, or objects in a bucket of S3 or of a server that speaks its
//! protocol. The database has their names, sizes and digests.
//!
//! An object is there whole or not at all, also after a crash, and what was stored is durable. It is stored once: the
//! same bytes again are fine, others under the same name are an error. Nothing is tried again here; each call is over
//! after a while, and says what came of it.

mod error;
mod key;
mod place;
mod reading;
mod s3;
#[cfg(test)]
pub(crate) mod tests;
mod writing;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dispatch_core::Digest;
use dispatch_github::Web;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _};

use crate::clock::Random;

pub use error::StorageError;
use error::{Cause, cause};
pub use key::{Key, KeyError};
pub use place::{Place, PlaceError, place};
pub use reading::Reading;
pub use s3::{S3Options, S3OptionsError, S3Settings};

/// Where a folder keeps what is not whole yet. No key begins with a dot.
const INCOMING: &str = ".incoming";

/// How old something in there is when nobody can still be writing it.
const LEFT_OVER: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until there is an answer.
    pub answer: Duration,
    /// Without one more byte.
    pub stall: Duration,
    /// The slowest that bytes may go out, in bytes a second.
    pub slowest: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer: Duration::from_secs(30), stall: Duration::from_secs(30), slowest: 128 * 1024 }
    }
}

impl Limits {
    /// For a request that brings so many bytes.
    fn for_bytes(&self, count: usize) -> Duration {
        self.answer + Duration::from_secs(count as u64 / self.slowest.max(1))
    }
}

/// How a storage is opened.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In this folder, which is made if it is not there.
    Folder(PathBuf),
    /// In a bucket.
    Bucket {
        /// What every key begins with.
        prefix: Option<Key>,
        /// Its settings.
        settings: S3Settings,
    },
}

impl Backend {
    /// What it takes to open this place, with what `environment` has where the configuration is silent.
    pub fn new(
        place: &Place,
        options: S3Options,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, S3OptionsError> {
        match place {
            Place::Folder(folder) => Ok(Self::Folder(folder.clone())),
            Place::Bucket { bucket, prefix } => {
                let settings = options.resolve(bucket, environment)?;
                Ok(Self::Bucket { prefix: prefix.clone(), settings })
            }
        }
    }
}

/// A stored object, as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: Key,
    /// Its size, in bytes.
    pub size: u64,
    /// The SHA-256 digest of its bytes.
    pub digest: Digest,
}

/// What the store itself knows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub key: Key,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was stored, by the store's clock; `None` where the store does not tell.
    pub modified: Option<Timestamp>,
}

/// A part of a list, in the order of the keys' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub items: Vec<Head>,
    /// The last of them, if there are more: the next page begins after it.
    pub next: Option<Key>,
}

/// The storage. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    place: String,
    store: Arc<dyn ObjectStore>,
    folder: Option<Incoming>,
    prefix: Option<Key>,
    limits: Limits,
}

/// Where a folder keeps what is not whole yet.
struct Incoming {
    folder: PathBuf,
    /// Tells what this process writes from what others do.
    name: String,
    next: AtomicU64,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Storage").field(&self.inner.place).finish()
    }
}

impl Storage {
    /// Opens a storage. A folder is made; a bucket is not asked for anything yet, see [`Self::check`].
    pub fn open(backend: Backend, web: &Web, random: &Random, limits: Limits) -> Result<Self, StorageError> {
        let inner = match backend {
            Backend::Folder(folder) => Inner::of_folder(&folder, random, limits)?,
            Backend::Bucket { prefix, settings } => {
                let place = Place::Bucket { bucket: settings.bucket().to_owned(), prefix: prefix.clone() };
                let place = place.to_string();
                let store = settings.connect(web.clone());
                let store = store.map_err(|error| cause(&error).into_error(place.clone(), "be opened"))?;
                Inner { place, store: Arc::new(store), folder: None, prefix, limits }
            }
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// Whether it can be listed: the bucket is there, and takes our credentials.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.list(None, None, 1).await.map(drop)
    }

    /// Begins to read an object, or those bytes of it; a range that ends after the object ends with it. `None`: it is
    /// not there.
    pub async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Option<Reading>, StorageError> {
        let doing = format!("read {key}");
        let start = range.as_ref().map_or(0, |range| range.start);
        let out_of_range =
            || StorageError::Range { place: self.inner.place.clone(), key: key.clone(), start };
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(out_of_range());
        }
        let has_range = range.is_some();
        let options = GetOptions { range: range.map(Into::into), ..GetOptions::default() };
        let name = self.inner.name(key);
        let got = self.in_time(&doing, self.inner.limits.answer, self.inner.store.get_opts(&name, options));
        let found = match got.await? {
            Ok(found) => found,
            Err(Cause::Absent) => {
                // Some say the same where there is no bucket.
                self.check().await?;
                return Ok(None);
            }
            Err(Cause::Range) => return Err(out_of_range()),
            // The folder's store has no name for it.
            Err(_) if has_range && self.head(key).await?.is_some_and(|head| head.size <= start) => {
                return Err(out_of_range());
            }
            Err(other) => return Err(other.into_error(self.inner.place.clone(), &doing)),
        };
        Ok(Some(Reading {
            place: self.inner.place.clone(),
            key: key.clone(),
            size: found.meta.size,
            range: found.range.clone(),
            chunks: found.into_stream(),
            stall: self.inner.limits.stall,
            had: 0,
            expected: None,
        }))
    }

    /// What the store knows of an object. `None`: it is not there.
    pub async fn head(&self, key: &Key) -> Result<Option<Head>, StorageError> {
        let doing = format!("look at {key}");
        let name = self.inner.name(key);
        match self.in_time(&doing, self.inner.limits.answer, self.inner.store.head(&name)).await? {
            Ok(meta) => Ok(Some(head_of(key.clone(), &meta))),
            Err(Cause::Absent) => {
                // A HEAD has no words: that there is no bucket looks the same.
                self.check().await?;
                Ok(None)
            }
            Err(other) => Err(other.into_error(self.inner.place.clone(), &doing)),
        }
    }

    /// Deletes an object. It is fine if it is not there.
    pub async fn delete(&self, key: &Key) -> Result<(), StorageError> {
        let doing = format!("delete {key}");
        let name = self.inner.name(key);
        match self.in_time(&doing, self.inner.limits.answer, self.inner.store.delete(&name)).await? {
            Ok(()) | Err(Cause::Absent) => Ok(()),
            Err(other) => Err(other.into_error(self.inner.place.clone(), &doing)),
        }
    }

    /// The first `limit` objects below a key (all without one) whose keys come after `after`. What else is in the
    /// folder or bucket is left out.
    pub async fn list(
        &self,
        below: Option<&Key>,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let inner = &self.inner;
        let below = below
            .map(|key| inner.name(key))
            .or_else(|| inner.prefix.as_ref().map(|key| name_of(key.as_str())));
        let limit = limit.max(1);
        let mut found = match after {
            Some(after) => inner.store.list_with_offset(below.as_ref(), &inner.name(after)),
            None => inner.store.list(below.as_ref()),
        };
        // A folder comes in any order, so that all of it is looked at; a bucket comes in this one.
        let is_sorted = inner.folder.is_none();
        let mut first: BTreeMap<Key, Head> = BTreeMap::new();
        loop {
            let next = self.in_time("list its objects", inner.limits.stall, found.try_next()).await?;
            let next = next.map_err(|cause| cause.into_error(inner.place.clone(), "list its objects"))?;
            let Some(meta) = next else { break };
            let Some(key) = inner.key(&meta.location) else { continue };
            first.insert(key.clone(), head_of(key, &meta));
            if first.len() > limit && is_sorted {
                break;
            }
            // One more than wanted tells that there are more.
            if first.len() > limit + 1 {
                first.pop_last();
            }
        }
        let mut items: Vec<Head> = first.into_values().collect();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| last.key.clone());
        Ok(Page { items, next })
    }

    /// Waits for an answer, but not for ever.
    async fn in_time<T>(
        &self,
        doing: &str,
        limit: Duration,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Result<T, Cause>, StorageError> {
        let answer = tokio::time::timeout(limit, answer).await;
        let answer = answer.map_err(|_| StorageError::Slow {
            place: self.inner.place.clone(),
            doing: doing.to_owned(),
            limit,
        })?;
        Ok(answer.map_err(|error| cause(&error)))
    }

    /// The same where each failure is one.
    async fn done<T>(
        &self,
        doing: &str,
        limit: Duration,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StorageError> {
        let answer = self.in_time(doing, limit, answer).await?;
        answer.map_err(|cause| cause.into_error(self.inner.place.clone(), doing))
    }
}

impl Inner {
    fn of_folder(folder: &Path, random: &Random, limits: Limits) -> Result<Self, StorageError> {
        let place = folder.display().to_string();
        let failed = |error: object_store::Error| cause(&error).into_error(place.clone(), "be opened");
        let made = make(folder);
        made.map_err(|error| {
            failed(object_store::Error::Generic { store: "file", source: Box::new(error) })
        })?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(&failed)?.with_fsync(true);
        let incoming = Incoming {
            folder: folder.join(INCOMING),
            name: random().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")),
            next: AtomicU64::new(0),
        };
        Ok(Self { place, store: Arc::new(store), folder: Some(incoming), prefix: None, limits })
    }

    /// What the library calls this key.
    fn name(&self, key: &Key) -> Name {
        match &self.prefix {
            Some(prefix) => name_of(&format!("{prefix}/{key}")),
            None => name_of(key.as_str()),
        }
    }

    /// What we call what the library calls so; `None`: it is not ours.
    fn key(&self, name: &Name) -> Option<Key> {
        let name = name.as_ref();
        let rest = match &self.prefix {
            Some(prefix) => name.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            None => name,
        };
        rest.parse().ok()
    }
}

/// The library's own conversion would escape letters that a key may have.
fn name_of(key: &str) -> Name {
    // A property test holds that it takes each key as it is.
    Name::parse(key).unwrap_or_else(|_| Name::from(key))
}

/// Makes the folder, so that it is there after a crash as well.
fn make(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join(INCOMING))?;
    let sync = |folder: &Path| std::fs::File::open(folder)?.sync_all();
    sync(folder)?;
    // Of a relative path without folders the parent is empty, and means the one that we are in.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))
}

fn head_of(key: Key, meta: &object_store::ObjectMeta) -> Head {
    let modified = Timestamp::from_microsecond(meta.last_modified.timestamp_micros()).ok();
    Head { key, size: meta.size, modified }
}
