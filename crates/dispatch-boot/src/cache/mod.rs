//! Images that were fetched, in a folder that several sessions may share.
//!
//! ```text
//! CACHEDIR.TAG           backups leave the folder out (bford.info/cachedir)
//! sha256/ab/abcdef…      a whole image under the digest of its bytes; nobody writes to it any more
//! parts/KEY              what is here of an image that is being fetched, or was
//! parts/KEY.info         which version of it that is
//! locks/KEY              who uses it: shared by those that serve it, alone by who fetches it or throws it away;
//!                        last used when this was last written to
//! ```
//!
//! * Under a digest there is never anything but a file that had this digest when it was put there: it is written as a
//!   part, brought to the disk, and then renamed. So a crash between any two steps leaves a part or a whole image.
//! * What is there is hashed once by each process before it is served, unless that process wrote it: disks rot, and
//!   people edit files. After that its size, its time and its inode tell whether it is still the same.
//! * Locks are `flock(2)`: the system gives them back when a process ends, however it ends.
//!
//! All of this blocks: call it where that is allowed.

mod entries;
mod error;
mod lock;
mod part;
mod steps;
mod whole;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dispatch_core::fetch::{Key, RESERVE};
use dispatch_core::{Digest, Workload};
use nix::sys::statvfs::statvfs;
use sha2::{Digest as _, Sha256};

pub use error::CacheError;
pub use lock::Pin;
pub use part::{Begun, Finished, Part};
pub use whole::Whole;

use lock::Locks;
use steps::Steps;
use whole::Stamp;

/// How many bytes are read or hashed at once.
const PIECE: usize = 1 << 20;

/// What tells programs that make backups that there is nothing to keep.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# Images that dispatch has fetched.\n";

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    locks: Locks,
    /// What this process has hashed or written, as it was then.
    verified: Mutex<HashMap<Digest, Stamp>>,
    steps: Steps,
}

/// Looks on while files are hashed, and ends it.
#[derive(Debug, Default)]
pub struct Watch {
    stop: AtomicBool,
    done: AtomicU64,
}

impl Watch {
    /// Ends it soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many bytes have been hashed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, count: usize) {
        self.done.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The name of a workload's image in the cache, if it is fetched at all.
#[must_use]
pub fn key_of(workload: &Workload) -> Option<Key> {
    let origin = workload.origin.as_ref()?;
    if let Some(digest) = workload.digest {
        return Some(Key::Digest(digest));
    }
    let of = format!("{origin}\n{}\n{}", workload.size, workload.modified.as_microsecond());
    Some(Key::Origin(Digest::new(Sha256::digest(of).into())))
}

impl Cache {
    /// The cache in a folder; it is made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let unusable = |error| CacheError::Unusable { path: folder.to_owned(), error };
        for name in ["sha256", "parts", "locks"] {
            fs::create_dir_all(folder.join(name)).map_err(unusable)?;
        }
        let tag = folder.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(tag, TAG).map_err(unusable)?;
        }
        let steps = Steps::default();
        let locks = Locks::new(folder.join("locks")).map_err(unusable)?;
        let inner = Inner { folder: folder.to_owned(), locks, verified: Mutex::default(), steps };
        let cache = Self { inner: Arc::new(inner) };
        cache.tidy().map_err(unusable)?;
        Ok(cache)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Whether there is a whole image of this digest. Whether it still has it is another question.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.whole_path(digest).is_file()
    }

    /// How many bytes the disk can take, without what is left to others.
    pub fn free(&self) -> Result<u64, CacheError> {
        let of = statvfs(&self.inner.folder)
            .map_err(|error| CacheError::Unusable { path: self.inner.folder.clone(), error: error.into() })?;
        let free = of.blocks_available().saturating_mul(of.fragment_size());
        Ok(free.saturating_sub(RESERVE))
    }

    fn whole_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.inner.folder.join("sha256").join(&hex[..2]).join(hex)
    }

    fn parts(&self) -> PathBuf {
        self.inner.folder.join("parts")
    }

    fn part_path(&self, key: &Key) -> PathBuf {
        self.parts().join(key.to_string())
    }

    fn info_path(&self, key: &Key) -> PathBuf {
        self.parts().join(format!("{key}.info"))
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Stamp>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, error: std::io::Error) -> CacheError {
        CacheError::of(&self.inner.folder, error)
    }
}

#[cfg(test)]
mod tests;
