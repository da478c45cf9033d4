//! Where images come from.

use std::pin::Pin;

use bytes::Bytes;
use dispatch_core::fetch::Failure;
use jiff::Timestamp;

/// What is waited for.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// Why an image does not come. The words name who said so, and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers, or with trouble of their own.
    #[error("{0}")]
    Unreachable(String),
    /// The answer broke off.
    #[error("{0}")]
    Broken(String),
    /// There is no such image any more.
    #[error("{0}")]
    NotThere(String),
    /// We may not have it.
    #[error("{0}")]
    Denied(String),
    /// We have asked too often.
    #[error("{words}")]
    Limited {
        /// Until when.
        until: Timestamp,
        /// In words.
        words: String,
    },
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Unreachable(words) | FetchError::Broken(words) => Self::Network(words),
            FetchError::NotThere(words) => Self::NotThere(words),
            FetchError::Denied(words) => Self::Denied(words),
            FetchError::Limited { until, words } => Self::Limited { until, words },
        }
    }
}

/// Where images come from.
pub trait Upstream: Send + Sync + 'static {
    /// Asks for an image from `start` on. `if_range` is a strong entity tag: if the image is another version by now, all
    /// of it is to come (RFC 9110 §13.1.5). Must not try again by itself.
    fn open<'a>(
        &'a self,
        origin: &'a str,
        start: u64,
        if_range: Option<String>,
    ) -> Future<'a, Result<Box<dyn Body>, FetchError>>;
}

/// An image that is coming.
pub trait Body: Send {
    /// Where in the image the bytes really begin: 0 where the other side knows no ranges.
    fn start(&self) -> u64;

    /// Bytes of the whole image, where the other side tells.
    fn size(&self) -> Option<u64>;

    /// The entity tag of this version, with its quotes.
    fn etag(&self) -> Option<&str>;

    /// The next bytes; nothing at the end.
    fn chunk(&mut self) -> Future<'_, Result<Option<Bytes>, FetchError>>;
}
