//! What can go wrong with a storage, as a person or the outbox needs it: one sentence with the place and what to do.
//!
//! What the store answers is read for its code only: some answers repeat the request, and with it who we are.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use dispatch_core::text::duration;
use dispatch_github::ExchangeError;

use super::key::Key;

/// Why something was not stored, read, listed or deleted. That it is not there is no error but `None`.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nobody answers, or not to the end. What was asked may have been done.
    #[error(
        "{place} cannot be reached: {why}: see that the server runs and that storage.endpoint is its address"
    )]
    Unreachable {
        /// The storage.
        place: String,
        /// Why.
        why: String,
    },
    /// It takes too long. What was asked may have been done.
    #[error(
        "{place} did not {doing} within {}: see whether it is overloaded or the network is broken", duration(*.limit)
    )]
    Slow {
        /// The storage.
        place: String,
        /// What was asked.
        doing: String,
        /// How long it had.
        limit: Duration,
    },
    /// It answers that it cannot at the moment.
    #[error("{place} cannot {doing} at the moment ({why}): it is asked again later")]
    Busy {
        /// The storage.
        place: String,
        /// What was asked.
        doing: String,
        /// What it said.
        why: String,
    },
    /// It does not know us.
    #[error(
        "{place} refuses the credentials ({why}): see storage.access_key and storage.secret_key, and that the clock \
         is right"
    )]
    Credentials {
        /// The storage.
        place: String,
        /// What it said.
        why: String,
    },
    /// We may not do that.
    #[error(
        "{place} does not let us {doing} ({why}): allow that to the user that dispatch runs or signs in as"
    )]
    Forbidden {
        /// The storage.
        place: String,
        /// What was asked.
        doing: String,
        /// What it said.
        why: String,
    },
    /// There is no such bucket.
    #[error("{place}: there is no such bucket: make it, or correct storage.url")]
    NoBucket {
        /// The storage.
        place: String,
    },
    /// The bucket is in another region.
    #[error("{place} is in another region: set storage.region to that of the bucket")]
    Region {
        /// The storage.
        place: String,
    },
    /// There is no room.
    #[error("{place} is full ({why}): make room, or raise the quota")]
    Full {
        /// The storage.
        place: String,
        /// What it said.
        why: String,
    },
    /// Something else has that name, and is kept.
    #[error(
        "{place} has another object of the name {key}, which is kept: remove or rename it if it is not needed"
    )]
    Different {
        /// The storage.
        place: String,
        /// The name.
        key: Key,
    },
    /// It is not what was stored.
    #[error("{key} in {place} is damaged: {why}: restore it from a backup")]
    Damaged {
        /// The storage.
        place: String,
        /// The name.
        key: Key,
        /// What is wrong with it.
        why: String,
    },
    /// A range that is not within the object.
    #[error("{key} in {place} has nothing from byte {start} on: ask for a range within it")]
    Range {
        /// The storage.
        place: String,
        /// The name.
        key: Key,
        /// Where the range begins.
        start: u64,
    },
    /// More than was asked for, or than can be stored.
    #[error("{key} is larger than {limit} bytes, which is the most here")]
    TooLarge {
        /// The name.
        key: Key,
        /// The most.
        limit: u64,
    },
    /// What should be stored could not be read.
    #[error("what should be stored as {key} cannot be read to its end: {source}: send it again")]
    Source {
        /// The name.
        key: Key,
        /// Why.
        source: io::Error,
    },
    /// All else.
    #[error("{place} cannot {doing}: {why}")]
    Other {
        /// The storage.
        place: String,
        /// What was asked.
        doing: String,
        /// Why.
        why: String,
    },
}

/// What an error of the library is about, without where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Absent,
    Exists,
    Unreachable(String),
    Busy(String),
    Credentials(String),
    Forbidden(String),
    NoBucket,
    Region,
    Full(String),
    Range,
    Other(String),
}

impl Cause {
    /// In words, with where and what.
    pub(super) fn into_error(self, place: String, doing: &str) -> StorageError {
        let doing = doing.to_owned();
        match self {
            Self::Unreachable(why) => StorageError::Unreachable { place, why },
            Self::Busy(why) => StorageError::Busy { place, doing, why },
            Self::Credentials(why) => StorageError::Credentials { place, why },
            Self::Forbidden(why) => StorageError::Forbidden { place, doing, why },
            Self::NoBucket => StorageError::NoBucket { place },
            Self::Region => StorageError::Region { place },
            Self::Full(why) => StorageError::Full { place, why },
            Self::Absent => StorageError::Other { place, doing, why: "it is not there".to_owned() },
            Self::Exists => StorageError::Busy { place, doing, why: "somebody else does it".to_owned() },
            Self::Range => StorageError::Other { place, doing, why: "there is no such range".to_owned() },
            Self::Other(why) => StorageError::Other { place, doing, why },
        }
    }
}

/// What this error is about.
pub(super) fn cause(error: &object_store::Error) -> Cause {
    if let Some(exchange) = find::<ExchangeError>(error) {
        return Cause::Unreachable(exchange.to_string());
    }
    let answer = Answer::of(error);
    if let Some(cause) = of_code(&answer) {
        return cause;
    }
    if let Some(error) = find::<io::Error>(error) {
        return of_file(error);
    }
    match error {
        object_store::Error::NotFound { .. } => Cause::Absent,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => Cause::Exists,
        object_store::Error::PermissionDenied { .. } => Cause::Forbidden(answer.words()),
        object_store::Error::Unauthenticated { .. } => Cause::Credentials(answer.words()),
        _ => of_status(&answer),
    }
}

/// The code and status of an answer of S3.
#[derive(Debug)]
struct Answer {
    code: Option<String>,
    status: Option<u16>,
    is_bare_redirect: bool,
}

impl Answer {
    /// The library has them in its text only.
    fn of(error: &object_store::Error) -> Self {
        let text = error.to_string();
        let between = |from: &str, to: &str| {
            let (_, rest) = text.split_once(from)?;
            Some(rest.split_once(to)?.0.to_owned())
        };
        let is_word = |code: &String| code.len() < 60 && code.chars().all(|c| c.is_ascii_alphanumeric());
        let code = between("<Code>", "</Code>").filter(is_word);
        let status = between("status code: ", " ").and_then(|status| status.parse().ok());
        Self { code, status, is_bare_redirect: text.contains("redirect without LOCATION") }
    }

    fn words(&self) -> String {
        match (&self.code, self.status) {
            (Some(code), _) => code.clone(),
            (None, Some(status)) => format!("status {status}"),
            (None, None) => "it does not say why".to_owned(),
        }
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>, and what other servers have besides.
fn of_code(answer: &Answer) -> Option<Cause> {
    let words = answer.words();
    Some(match answer.code.as_deref()? {
        "NoSuchBucket" => Cause::NoBucket,
        "NoSuchKey" => Cause::Absent,
        "PreconditionFailed" => Cause::Exists,
        "InvalidRange" => Cause::Range,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "NotSignedUp"
        | "RequestTimeTooSkewed"
        | "InvalidSecurity"
        | "TokenRefreshRequired" => Cause::Credentials(words),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Cause::Forbidden(words),
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect" => Cause::Region,
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "InsufficientStorage"
        | "StorageFull"
        | "TooManyBuckets" => Cause::Full(words),
        "SlowDown"
        | "ServiceUnavailable"
        | "InternalError"
        | "RequestTimeout"
        | "ConditionalRequestConflict"
        | "OperationAborted"
        | "NoSuchUpload" => Cause::Busy(words),
        _ => return None,
    })
}

fn of_status(answer: &Answer) -> Cause {
    match answer.status {
        _ if answer.is_bare_redirect => Cause::Region,
        Some(301 | 307) => Cause::Region,
        Some(401) => Cause::Credentials(answer.words()),
        Some(416) => Cause::Range,
        Some(507) => Cause::Full(answer.words()),
        Some(408 | 409 | 429 | 500..) => Cause::Busy(answer.words()),
        _ => Cause::Other(answer.words()),
    }
}

fn of_file(error: &io::Error) -> Cause {
    let words = error.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Cause::Absent,
        io::ErrorKind::AlreadyExists => Cause::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::Full(words),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Cause::Forbidden(words),
        _ => Cause::Other(words),
    }
}

/// The first error of this type on the way to the root of the matter.
fn find<T: std::error::Error + 'static>(error: &object_store::Error) -> Option<&T> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generic(text: String) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    fn answered(status: u16, code: &str) -> Cause {
        cause(&generic(format!(
            "Server returned non-2xx status code: {status} Something: <Error><Code>{code}</Code></Error>"
        )))
    }

    #[test]
    fn each_answer_of_s3_is_what_it_is_about() {
        assert_eq!(answered(404, "NoSuchBucket"), Cause::NoBucket);
        assert_eq!(answered(404, "NoSuchKey"), Cause::Absent);
        assert_eq!(answered(412, "PreconditionFailed"), Cause::Exists);
        assert_eq!(answered(403, "AccessDenied"), Cause::Forbidden("AccessDenied".to_owned()));
        assert_eq!(answered(403, "InvalidAccessKeyId"), Cause::Credentials("InvalidAccessKeyId".to_owned()));
        assert_eq!(answered(507, "XMinioStorageFull"), Cause::Full("XMinioStorageFull".to_owned()));
        assert_eq!(answered(503, "SlowDown"), Cause::Busy("SlowDown".to_owned()));
        assert_eq!(answered(500, "Unheard"), Cause::Busy("Unheard".to_owned()));
        assert_eq!(answered(301, "PermanentRedirect"), Cause::Region);
        assert_eq!(answered(400, "Unheard"), Cause::Other("Unheard".to_owned()));
    }

    #[test]
    fn a_full_disk_is_full() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = object_store::Error::Generic { store: "file", source: Box::new(full) };
        assert!(matches!(cause(&error), Cause::Full(_)));
    }

    #[test]
    fn what_the_server_repeats_of_the_request_is_not_told() {
        let body =
            "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIAHUNTER2</AWSAccessKeyId></Error>";
        let error = generic(format!("Server returned non-2xx status code: 403 Forbidden: {body}"));
        let words = cause(&error).into_error("s3://lab".to_owned(), "store a").to_string();
        assert!(words.contains("SignatureDoesNotMatch"), "{words}");
        assert!(!words.contains("HUNTER2"), "{words}");
    }

    proptest! {
        #[test]
        fn whatever_is_answered_has_a_cause_and_is_not_repeated(
            status in 300_u16..600,
            code in "[A-Za-z<>/ ]{0,20}",
        ) {
            let body = format!("<Error><Code>{code}</Code><Secret>hunter2</Secret></Error>");
            let error = generic(format!("Server returned non-2xx status code: {status} Odd: {body}"));
            let words = cause(&error).into_error("s3://lab".to_owned(), "store a").to_string();
            prop_assert!(!words.contains("hunter2"), "{words}");
            prop_assert!(words.contains("s3://lab"), "{words}");
        }
    }
}
