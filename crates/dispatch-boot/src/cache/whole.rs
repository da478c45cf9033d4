//! Whole images: they are checked before they are served.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use dispatch_core::Digest;
use dispatch_core::fetch::Key;
use sha2::{Digest as _, Sha256};

use super::lock::{Hold, Pin};
use super::{Cache, CacheError, PIECE, Watch};

/// A whole image whose digest is right, open to be sent.
#[derive(Debug)]
pub struct Whole {
    /// The open file. Nobody writes to it.
    pub file: File,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// What a file was when it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Its state, which also changes where somebody sets the time back.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::new(&file.metadata()?))
    }

    pub(super) fn new(meta: &fs::Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        let changed = (meta.ctime(), meta.ctime_nsec());
        Self { device: meta.dev(), inode: meta.ino(), size: meta.len(), modified, changed }
    }

    /// Whether it has the same bytes: its state changes with its name and its permissions as well.
    pub(super) fn has_bytes_of(&self, other: &Self) -> bool {
        *self == Self { changed: self.changed, ..*other }
    }
}

impl Cache {
    /// Keeps a whole image from being thrown away, if there is one.
    pub fn pin(&self, digest: &Digest) -> Result<Option<Pin>, CacheError> {
        if !self.has(digest) {
            return Ok(None);
        }
        let lock = self.inner.locks.take(&Key::Digest(*digest), Hold::Shared);
        let lock = lock.map_err(|error| self.error(error))?;
        // Once more: until it is locked it may go.
        Ok(lock.filter(|_| self.has(digest)).map(|lock| Pin { _lock: lock }))
    }

    /// Whether this process knows that the image of this digest has it.
    #[must_use]
    pub fn is_verified(&self, digest: &Digest) -> bool {
        self.whole(digest).is_some()
    }

    /// A whole image, if this process knows that it has its digest, and it has not changed since.
    #[must_use]
    pub fn whole(&self, digest: &Digest) -> Option<Whole> {
        let stamp = *self.verified().get(digest)?;
        let open = || {
            let file = File::open(self.whole_path(digest))?;
            let meta = file.metadata()?;
            io::Result::Ok((Stamp::new(&meta) == stamp, meta.modified()?, file))
        };
        match open() {
            Ok((true, modified, file)) => Some(Whole { file, size: stamp.size, modified }),
            Ok((false, ..)) => {
                self.forget(digest, stamp);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(digest, stamp);
                None
            }
            // No descriptor is left, or a signal came: that says nothing of the file.
            Err(_) => None,
        }
    }

    fn forget(&self, digest: &Digest, stamp: Stamp) {
        let mut verified = self.verified();
        if verified.get(digest) == Some(&stamp) {
            verified.remove(digest);
        }
    }

    /// Hashes a whole image. What is not what its name says is thrown away. Returns whether it is right. `pin` must be
    /// its own.
    pub fn verify(&self, digest: &Digest, _pin: &Pin, watch: &Watch) -> Result<bool, CacheError> {
        let path = self.whole_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(self.error(error)),
        };
        let stamp = Stamp::of(&file).map_err(|error| self.error(error))?;
        let is_right = match hash(&file, u64::MAX, watch) {
            Ok(Some((hasher, _))) => Digest::new(hasher.finalize().into()) == *digest,
            Ok(None) => return Err(CacheError::Stopped),
            // A file that cannot be read cannot be served either.
            Err(_) => false,
        };
        let is_same = Stamp::of(&file).map_err(|error| self.error(error))? == stamp;
        if is_right && is_same {
            self.verified().insert(*digest, stamp);
            return Ok(true);
        }
        self.forget(digest, stamp);
        self.throw_away(&path, stamp).map_err(|error| self.error(error))?;
        Ok(false)
    }

    /// Removes a file, unless it is another one by now. Others that serve it have it open, and look whether it changes.
    fn throw_away(&self, path: &Path, stamp: Stamp) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(meta) if Stamp::new(&meta).inode == stamp.inode => self.remove(path),
            _ => Ok(()),
        }
    }

    pub(super) fn is_known(&self, digest: Digest, stamp: Stamp) {
        self.verified().insert(digest, stamp);
    }
}

/// Hashes a file from its beginning, at most `most` bytes, and counts them; nothing if it was stopped.
pub(super) fn hash(mut file: &File, most: u64, watch: &Watch) -> io::Result<Option<(Sha256, u64)>> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut count = 0;
    while count < most {
        if watch.is_stopped() {
            return Ok(None);
        }
        let piece = usize::try_from(most - count).unwrap_or(PIECE).min(PIECE);
        match file.read(&mut buffer[..piece]) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                watch.add(read);
                count += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some((hasher, count)))
}
