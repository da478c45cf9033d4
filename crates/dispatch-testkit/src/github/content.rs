//! What an asset consists of: bytes, a file, or a pattern that takes no room however long it is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};

/// How much is read at once.
pub(super) const CHUNK: u64 = 64 << 10;

/// The bytes of an asset.
#[derive(Clone, Debug)]
pub enum Content {
    /// These.
    Bytes(Bytes),
    /// Those of a file.
    File(PathBuf),
    /// So many, made from a number: the same number makes the same bytes.
    Pattern {
        /// How many.
        len: u64,
        /// What they are made from.
        seed: u64,
    },
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<PathBuf> for Content {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl Content {
    /// So many bytes that look like nothing.
    #[must_use]
    pub fn pattern(len: u64, seed: u64) -> Self {
        Self::Pattern { len, seed }
    }

    /// How many bytes.
    pub fn len(&self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(path.metadata()?.len()),
            Self::Pattern { len, .. } => Ok(*len),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// At most `max` bytes from `offset` on; none behind the end.
    pub fn read(&self, offset: u64, max: u64) -> io::Result<Bytes> {
        let left = self.len()?.saturating_sub(offset).min(max);
        let size = usize::try_from(left).map_err(io::Error::other)?;
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?.min(bytes.len());
                Ok(bytes.slice(start..start + size))
            }
            Self::File(path) => {
                let mut buffer = vec![0; size];
                File::open(path)?.read_exact_at(&mut buffer, offset)?;
                Ok(buffer.into())
            }
            Self::Pattern { seed, .. } => Ok(pattern(*seed, offset, size).into()),
        }
    }

    /// All of it.
    pub fn bytes(&self) -> io::Result<Bytes> {
        self.read(0, u64::MAX)
    }

    /// Its SHA-256 in lower-case hexadecimal digits.
    pub fn sha256(&self) -> io::Result<String> {
        let len = self.len()?;
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < len {
            let bytes = self.read(offset, 16 * CHUNK)?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hash.update(&bytes);
            offset += bytes.len() as u64;
        }
        Ok(hex(&hash.finalize()))
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Each eight bytes are their place, mixed (splitmix64), so that any part can be had by itself.
fn pattern(seed: u64, offset: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 16);
    let skip = usize::from((offset % 8) as u8);
    let mut word = offset / 8;
    while bytes.len() < skip + size {
        let mut mixed = (word ^ seed.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        word += 1;
    }
    bytes.drain(..skip);
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_pattern_is_the_part_of_the_whole() {
        let content = Content::pattern(1000, 7);
        let whole = content.bytes().unwrap();
        assert_eq!(whole.len(), 1000);
        for (offset, len) in [(0, 3), (5, 8), (13, 700), (992, 100), (999, 1)] {
            let end = (offset + len).min(1000);
            let part = content.read(offset as u64, len as u64).unwrap();
            assert_eq!(part, whole.slice(offset..end), "{len} bytes at {offset}");
        }
        assert!(content.read(1000, 5).unwrap().is_empty());
    }

    #[test]
    fn another_seed_makes_other_bytes() {
        assert_ne!(Content::pattern(64, 1).bytes().unwrap(), Content::pattern(64, 2).bytes().unwrap());
    }

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Content::from("abc").sha256().unwrap(), expected);
    }
}
