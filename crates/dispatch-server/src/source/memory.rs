//! What was last known of a source that is fetched: for conditional requests, and for a start without network.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dispatch_core::Digest;
use dispatch_github::Release;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What was last known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was so.
    pub at: Timestamp,
    /// The mark of the release's version (RFC 9110 §8.8.3).
    pub etag: Option<String>,
    /// The release.
    pub release: Option<Release>,
    /// The descriptions among its assets.
    #[serde(default)]
    pub descriptions: Vec<RememberedText>,
    /// The images that are named by URL.
    #[serde(default)]
    pub files: Vec<RememberedFile>,
}

/// A description that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedText {
    /// The asset's name.
    pub name: String,
    /// When the asset was uploaded.
    pub updated: Timestamp,
    /// What is in it.
    pub text: String,
}

/// An image that is named by URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedFile {
    /// The URL.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// When it was last changed, as its server says.
    pub modified: Timestamp,
    /// Its digest.
    pub digest: Digest,
}

/// The file that it is kept in.
#[derive(Clone, Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    /// The file of a source in a cache folder; `key` names the source.
    #[must_use]
    pub fn new(cache: &Path, key: &str) -> Self {
        let hash = Sha256::digest(key.as_bytes());
        let name = hash.iter().take(16).fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
        Self { path: cache.join("sources").join(format!("{name}.json")) }
    }

    /// What is in it; nothing if it is not there, or not to be understood.
    #[must_use]
    pub fn recall(&self) -> Option<Remembered> {
        let text = std::fs::read(&self.path).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Puts it in place, whole or not at all.
    pub fn remember(&self, known: &Remembered) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let part = self.path.with_extension(format!("{}.part", std::process::id()));
        // A URL may be signed: it is nobody else's business.
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
        file.write_all(&serde_json::to_vec_pretty(known)?)?;
        file.sync_all()?;
        std::fs::rename(&part, &self.path)
    }
}
