//! The root of the file system that beacon looks at: `/`, or a made-up tree in tests.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Everything that beacon reads from the machine and keeps on it hangs under this directory.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl From<PathBuf> for Root {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Root {
    /// The place of `path`, which is given without a leading slash.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Reads a file of at most `limit` bytes. Files under /proc, /sys and efivarfs lie about their size, so
    /// the limit holds for what is read.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        read_limited(&self.at(path), limit)
    }
}

/// Reads a file, and fails if it has more than `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!("it is larger than {limit} bytes")))
    }
}
