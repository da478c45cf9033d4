//! What can go wrong with a request, so that a caller can decide: wait, ask again, look first, or give up.

use std::fmt;

use jiff::Timestamp;

use crate::words;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request was never sent: no address, no connection, no TLS, no proxy.
    Unreachable,
    /// The request was sent and there is no whole answer, or one of a server in trouble (5xx): it may have been carried
    /// out.
    Interrupted,
    /// A primary or secondary rate limit: nothing was done, and [`Error::retry_at`] says when to come back.
    RateLimited,
    /// 401: the credentials are not good, or not any more.
    BadCredentials,
    /// 403, and not a rate limit: the credentials are good and do not suffice.
    Forbidden,
    /// 404: it is not there, or not for us.
    NotFound,
    /// 410: it was there; for issues, they are turned off.
    Gone,
    /// 400 or 422: what was sent is wrong; [`Error::field_errors`] says where.
    Refused,
    /// The answer is not what GitHub's API description says.
    Malformed,
    /// Any other status.
    Other(u16),
}

/// What GitHub says of one field of a request that it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of thing was to be made, as `Issue`.
    pub resource: String,
    /// The field, as `assignees`.
    pub field: String,
    /// What is wrong with it: `missing`, `missing_field`, `invalid`, `already_exists`, `unprocessable` or `custom`.
    pub code: String,
    /// The value that was wrong.
    pub value: Option<String>,
    /// More words, with the code `custom`.
    pub message: Option<String>,
}

/// What may have become of a request that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not carried out, and will not be.
    #[default]
    NotApplied,
    /// Nobody knows whether it was carried out; it is not being carried out any more.
    Unknown,
    /// It may be carried out at this moment.
    Running,
}

/// A request that failed. Its text is one sentence for people, without secrets or control characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Facts>);

#[derive(Clone, PartialEq, Eq)]
struct Facts {
    kind: Kind,
    words: String,
    fate: Fate,
    retry_at: Option<Timestamp>,
    /// `retry_at` is ours, and not the server's.
    is_guess: bool,
    field_errors: Vec<FieldError>,
    request_id: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: Kind, words: &str) -> Self {
        Self(Box::new(Facts {
            kind,
            words: words::clean(words),
            fate: Fate::NotApplied,
            retry_at: None,
            is_guess: false,
            field_errors: Vec::new(),
            request_id: None,
        }))
    }

    pub(crate) fn with_fate(mut self, fate: Fate) -> Self {
        self.0.fate = fate;
        self
    }

    pub(crate) fn with_retry_at(mut self, retry_at: Option<Timestamp>) -> Self {
        self.0.retry_at = retry_at;
        self
    }

    pub(crate) fn with_guess(mut self, is_guess: bool) -> Self {
        self.0.is_guess = is_guess;
        self
    }

    pub(crate) fn with_field_errors(mut self, field_errors: Vec<FieldError>) -> Self {
        self.0.field_errors = field_errors;
        self
    }

    pub(crate) fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.0.request_id = request_id;
        self
    }

    /// The same as a failure that another try may not meet again.
    pub(crate) fn into_interruption(mut self) -> Self {
        self.0.kind = Kind::Interrupted;
        self
    }

    /// Other words for the same failure.
    pub(crate) fn with_words(mut self, words: &str) -> Self {
        self.0.words = words::clean(words);
        self
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the credentials were refused (401).
    #[must_use]
    pub fn is_bad_credentials(&self) -> bool {
        self.0.kind == Kind::BadCredentials
    }

    /// Whether the request may have been carried out nevertheless: then look before it is sent again.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        self.0.fate != Fate::NotApplied
    }

    /// Whether the server may still be at work on the request: then a look that finds nothing proves nothing yet. GitHub
    /// ends a request after ten seconds.
    #[must_use]
    pub fn may_still_be_applied(&self) -> bool {
        self.0.fate == Fate::Running
    }

    /// Not before this time, by our own clock, should anything be asked again: of a rate limit that does not say, after a
    /// minute. None if the server did not say.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.0.retry_at
    }

    /// The same, if the server did say.
    #[must_use]
    pub fn told_retry_at(&self) -> Option<Timestamp> {
        self.0.retry_at.filter(|_| !self.0.is_guess)
    }

    /// What GitHub says of single fields, where it refused them.
    #[must_use]
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.field_errors
    }

    /// How GitHub's support finds the request.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.words)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("words", &self.0.words)
            .field("fate", &self.0.fate)
            .field("retry_at", &self.0.retry_at)
            .field("field_errors", &self.0.field_errors)
            .field("request_id", &self.0.request_id)
            .finish()
    }
}

impl std::error::Error for Error {}
