//! Who uses what: one lock file for each image.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use dispatch_core::fetch::Key;

/// The folder of the lock files.
#[derive(Debug)]
pub(super) struct Locks {
    folder: PathBuf,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// By anybody who reads.
    Shared,
    /// By one who writes.
    Alone,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

/// An image that nobody throws away for as long as this lives.
#[derive(Debug)]
pub struct Pin {
    pub(super) _lock: Lock,
}

impl Locks {
    /// Locks in this folder, if it takes any.
    pub(super) fn new(folder: PathBuf) -> io::Result<Self> {
        let probe = open(&folder.join("probe"), true)?;
        match probe.try_lock_shared() {
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(Self { folder }),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.to_string())
    }

    /// Takes a lock, if it is free.
    pub(super) fn take(&self, key: &Key, hold: Hold) -> io::Result<Option<Lock>> {
        let path = self.path(key);
        loop {
            let file = open(&path, true)?;
            if !try_lock(&file, hold)? {
                return Ok(None);
            }
            // Whoever threw the image away may have removed the file after it was opened: then this locks nothing.
            match fs::metadata(&path) {
                Ok(meta) if meta.ino() == file.metadata()?.ino() => return Ok(Some(Lock { file })),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether anybody holds it.
    pub(super) fn is_held(&self, key: &Key) -> io::Result<bool> {
        match open(&self.path(key), false) {
            // Dropped at once.
            Ok(file) => Ok(!try_lock(&file, Hold::Alone)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When an image was last used, as far as is known.
    pub(super) fn used(&self, key: &Key) -> Option<SystemTime> {
        fs::metadata(self.path(key)).and_then(|meta| meta.modified()).ok()
    }

    /// Notes that an image is used. Not by the file itself: a change of its time would look like a change of its bytes.
    pub(super) fn touch(&self, key: &Key, now: SystemTime) -> io::Result<()> {
        open(&self.path(key), false)?.set_modified(now)
    }

    /// Removes the file of a lock that is held alone.
    pub(super) fn remove(&self, key: &Key, lock: Lock) -> io::Result<()> {
        let removed = fs::remove_file(self.path(key));
        drop(lock);
        removed
    }

    /// The images that there are lock files of.
    pub(super) fn keys(&self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            keys.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Key>().ok()));
        }
        Ok(keys)
    }
}

impl Lock {
    /// Shares a lock that is held alone, unless somebody takes it away meanwhile.
    pub(super) fn share(self) -> io::Result<Option<Self>> {
        Ok(try_lock(&self.file, Hold::Shared)?.then_some(self))
    }
}

fn open(path: &std::path::Path, create: bool) -> io::Result<File> {
    File::options().read(true).write(true).create(create).truncate(false).open(path)
}

fn try_lock(file: &File, hold: Hold) -> io::Result<bool> {
    let taken = match hold {
        Hold::Shared => file.try_lock_shared(),
        Hold::Alone => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
