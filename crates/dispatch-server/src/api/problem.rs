//! What is answered where something is wrong: a problem (RFC 9457) of one of the kinds that are listed here. Clients go by
//! the kind, so one that is here stays; `docs/problems.md` shows them all, and a test compares.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dispatch_store::StoreError;
use dispatch_wire::api::problem::PROBLEM_JSON;
use dispatch_wire::api::{Problem as Wire, ProblemKind};

/// What an endpoint answers.
pub type Answer<T> = Result<T, Problem>;

macro_rules! kinds {
    ($($(#[doc = $meaning:literal])+ $name:ident = $status:literal $slug:literal $title:literal;)*) => {
        /// A kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[doc = $meaning])+ $name,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word for it at the end of its reference.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// The status of its answers.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => const {
                        match StatusCode::from_u16($status) {
                            Ok(status) => status,
                            Err(_) => panic!("no status"),
                        }
                    },)*
                }
            }

            /// The kind in words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// When it is answered, and what to do then.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning),+).trim_ascii(),)* }
            }
        }
    };
}

kinds! {
    /// The body is not JSON. `detail` says in which line and column. Mend it and send it again.
    MalformedJson = 400 "malformed-json" "The body is not JSON";
    /// A query parameter is not known, comes twice, or has a value that cannot be read. `field` is its name.
    InvalidParameter = 400 "invalid-parameter" "A query parameter is wrong";
    /// A header has a value that cannot be read. `field` is its name.
    InvalidHeader = 400 "invalid-header" "A header is wrong";
    /// The request has a body, and this takes none. Send none; which version is meant, `If-Match` says where it is taken.
    UnexpectedBody = 400 "unexpected-body" "There is a body where none is taken";
    /// The cursor was not given out by this list. Take `next_cursor` as it is, or begin without one.
    InvalidCursor = 400 "invalid-cursor" "The cursor is not one of this list";
    /// The request needs somebody who is signed in. Sign in, and send the cookie along.
    NotSignedIn = 401 "not-signed-in" "Nobody is signed in";
    /// The user name or the password is wrong.
    WrongPassword = 401 "wrong-password" "The user name or the password is wrong";
    /// Whoever is signed in may not do that. `detail` says which role may.
    NotAllowed = 403 "not-allowed" "The role does not suffice";
    /// The request changes something and comes from the page of another site. `detail` says which setting tells ours.
    ForeignOrigin = 403 "foreign-origin" "The request comes from another site";
    /// Nothing is there: the path is not one of this API's, or names something that does not exist.
    NotFound = 404 "not-found" "There is no such thing";
    /// The path is there, and does not take this method. The header `Allow` lists those that it takes.
    MethodNotAllowed = 405 "method-not-allowed" "The method is not allowed";
    /// The request's body did not come in time. Send it again.
    TooSlow = 408 "too-slow" "The request took too long to arrive";
    /// The change does not fit to how things stand now. `detail` says why.
    Conflict = 409 "conflict" "The change does not fit";
    /// The key of `Idempotency-Key` was used for another request. Take a new key for each request.
    KeyReused = 409 "key-reused" "The idempotency key was used for another request";
    /// The object is another than `If-Match` or the version in the body says. Load it, and decide again.
    Changed = 412 "changed" "Somebody was faster";
    /// The body is larger than this endpoint takes. `detail` says how large it may be.
    TooLarge = 413 "too-large" "The body is too large";
    /// The body is of a media type that this endpoint does not take. Send JSON as `application/json`.
    UnsupportedMediaType = 415 "unsupported-media-type" "The body is not of a type that is taken";
    /// The body is JSON, and not what this endpoint takes. `field` points to what is wrong.
    InvalidBody = 422 "invalid-body" "The body is not what is expected";
    /// The configuration file has mistakes: nothing has changed. `detail` says where they are. Mend them and try again.
    InvalidConfiguration = 422 "invalid-configuration" "The configuration has mistakes";
    /// This is a WebSocket, and the request does not ask for one.
    UpgradeRequired = 426 "upgrade-required" "This is a WebSocket";
    /// Too many requests came. Wait as many seconds as `Retry-After` says.
    TooManyRequests = 429 "too-many-requests" "Too many requests";
    /// The service did something wrong. Its log has more under the request's id.
    Internal = 500 "internal" "Something is wrong with the service";
    /// The service cannot work at the moment. Ask again after `Retry-After`.
    Unavailable = 503 "unavailable" "The service cannot work at the moment";
}

impl Kind {
    /// The reference that is its `type`.
    #[must_use]
    pub fn reference(self) -> String {
        format!("/problems/{}", self.slug())
    }

    /// As the API describes it.
    #[must_use]
    pub fn describe(self) -> ProblemKind {
        ProblemKind {
            kind: self.reference(),
            title: self.title().to_owned(),
            status: self.status().as_u16(),
            meaning: self.meaning().to_owned(),
        }
    }
}

/// What is wrong with a request. Boxed: most requests are right.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    field: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log only.
    cause: Option<String>,
}

impl Problem {
    /// A problem. `detail` is a sentence that says what is wrong here, and what to do.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (detail, headers) = (detail.into(), Vec::new());
        Self(Box::new(Inner { kind, detail, field: None, headers, cause: None }))
    }

    /// There is no `what` of that name.
    #[must_use]
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} `{name}`: list those that there are"))
    }

    /// The service did something wrong. What goes to the log only.
    #[must_use]
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let detail = "the service did something wrong: its log has more under the id of this request";
        Self::new(Kind::Internal, detail).because(cause)
    }

    /// What it is about: a JSON pointer into the body, or the name of a parameter or header.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// When it is worth to ask again.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, seconds.max(1).into())
    }

    /// What has led to it, for the log only.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What has led to it.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// As it goes out.
    pub(crate) fn body(&self, request_id: &str) -> Wire {
        Wire {
            kind: self.0.kind.reference(),
            title: self.0.kind.title().to_owned(),
            status: self.0.kind.status().as_u16(),
            detail: self.0.detail.clone(),
            field: self.0.field.clone(),
            request_id: request_id.to_owned(),
        }
    }
}

/// A response without a body yet: `observe` knows the request's id, and writes it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.kind.status();
        for (name, value) in &self.0.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Writes the problem into its response.
pub(crate) fn write(problem: &Problem, request_id: &str, response: &mut Response) {
    let body = serde_json::to_vec(&problem.body(request_id)).unwrap_or_default();
    *response.body_mut() = Body::from(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let cause = chain(&error);
        match error {
            StoreError::Lost(_) | StoreError::Slow(_) => {
                let detail = "the database cannot be read or written at the moment: ask again";
                Self::new(Kind::Unavailable, detail).retry_after(Duration::from_secs(5)).because(cause)
            }
            StoreError::Unknown(_) => {
                let detail = "the database was lost while the change was committed: look whether it was made, or ask \
                              again with the same Idempotency-Key";
                Self::new(Kind::Unavailable, detail).retry_after(Duration::from_secs(5)).because(cause)
            }
            error if error.is_conflict() => {
                let detail =
                    "somebody else changed the same at the same moment, and nothing was done: ask again";
                Self::new(Kind::Conflict, detail).because(cause)
            }
            _ => Self::internal(cause),
        }
    }
}

/// An error with all that led to it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn each_kind_has_a_reference_of_its_own_that_is_good_in_a_url() {
        let slugs: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        for slug in slugs {
            assert!(slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{slug}");
        }
    }

    /// To accept a change of the list: `DISPATCH_ACCEPT=1 cargo nextest run -p dispatch-server`.
    #[test]
    fn the_document_lists_every_kind() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");
        let mut text = String::from(
            "# Problems\n\nWhat the API answers where something is wrong (RFC 9457). A problem's `type` is the reference \
             below, and stays;\nwhat it says in words may change.\n\n| type | status | when, and what to do |\n|---|---|---|\n",
        );
        for kind in Kind::ALL {
            let (reference, status, meaning) = (kind.reference(), kind.status().as_u16(), kind.meaning());
            writeln!(text, "| `{reference}` | {status} | {meaning} |").expect("a line");
        }
        if std::env::var_os("DISPATCH_ACCEPT").is_some() {
            std::fs::write(path, text).expect("docs/problems.md");
        } else {
            let shown = std::fs::read_to_string(path).unwrap_or_default();
            assert_eq!(shown, text, "docs/problems.md is not what the code does");
        }
    }

    #[test]
    fn what_the_database_says_stays_in_the_log() {
        let problem = Problem::from(StoreError::Damaged { column: "state", value: "x".to_owned() });
        assert_eq!(problem.kind(), Kind::Internal);
        assert!(!problem.to_string().contains("state"), "{problem}");
        assert!(problem.cause().is_some_and(|cause| cause.contains("state")));
    }
}
