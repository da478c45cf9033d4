//! Why the cache cannot do what it is asked to.

use std::io;
use std::path::{Path, PathBuf};

use nix::libc::{EDQUOT, EFBIG, ENOSPC};

/// Why the cache cannot do what it is asked to. Each is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder is none that can be used.
    #[error("cannot use the cache {}: {error}; choose another folder with --cache", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Nothing more can be written.
    #[error("the disk of the cache {} takes no more: {error}; make room there, or choose another with --cache", path.display())]
    Full {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file system says no.
    #[error("the cache {} cannot be read or written: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It was stopped.
    #[error("it was stopped")]
    Stopped,
    /// More came than there should be.
    #[error("it has more than the {size} bytes that its source tells")]
    TooMuch {
        /// What there should be.
        size: u64,
    },
}

impl CacheError {
    pub(super) fn of(folder: &Path, error: io::Error) -> Self {
        let path = folder.to_owned();
        match error.raw_os_error() {
            Some(ENOSPC | EDQUOT | EFBIG) => Self::Full { path, error },
            _ => Self::Io { path, error },
        }
    }
}
