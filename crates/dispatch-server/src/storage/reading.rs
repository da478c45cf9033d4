//! A stored object on its way out, chunk by chunk.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dispatch_core::Digest;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use super::error::{StorageError, cause};
use super::key::Key;

/// An object that is being read. Its memory is that of one chunk.
pub struct Reading {
    pub(super) place: String,
    pub(super) key: Key,
    /// The size of the whole object, in bytes.
    pub size: u64,
    /// Which bytes of it come.
    pub range: Range<u64>,
    pub(super) chunks: BoxStream<'static, object_store::Result<Bytes>>,
    pub(super) stall: Duration,
    pub(super) had: u64,
    pub(super) expected: Option<(Digest, Sha256)>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("key", &self.key).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Reading {
    /// Fails at the end with [`StorageError::Damaged`] if what came has another digest. Of a range it is the digest of
    /// the range.
    #[must_use]
    pub fn expecting(mut self, digest: Digest) -> Self {
        self.expected = Some((digest, Sha256::new()));
        self
    }

    /// The next bytes; `None` once all have come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        let doing = || format!("read {}", self.key);
        let next = tokio::time::timeout(self.stall, self.chunks.next()).await;
        let next = next.map_err(|_| StorageError::Slow {
            place: self.place.clone(),
            doing: doing(),
            limit: self.stall,
        })?;
        match next {
            Some(Ok(bytes)) => {
                self.had += bytes.len() as u64;
                if let Some((_, hasher)) = &mut self.expected {
                    hasher.update(&bytes);
                }
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(cause(&error).into_error(self.place.clone(), &doing())),
            None => self.end().map(|()| None),
        }
    }

    fn end(&mut self) -> Result<(), StorageError> {
        let damaged =
            |why: String| StorageError::Damaged { place: self.place.clone(), key: self.key.clone(), why };
        let wanted = self.range.end - self.range.start;
        if self.had != wanted {
            return Err(damaged(format!("{} bytes came of {wanted}", self.had)));
        }
        let Some((digest, hasher)) = &self.expected else { return Ok(()) };
        let found = Digest::new(hasher.clone().finalize().into());
        if found == *digest {
            Ok(())
        } else {
            Err(damaged(format!("its digest is {found} and not {digest}")))
        }
    }

    /// All of it at once, if that is not more than `limit` bytes.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, StorageError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if self.had > limit {
                return Err(StorageError::TooLarge { key: self.key, limit });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// The digest of all that is still to come.
    pub(super) async fn digest(mut self) -> Result<Digest, StorageError> {
        let mut hasher = Sha256::new();
        while let Some(bytes) = self.next().await? {
            hasher.update(&bytes);
        }
        Ok(Digest::new(hasher.finalize().into()))
    }
}
