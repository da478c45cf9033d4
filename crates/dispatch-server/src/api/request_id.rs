//! By what a request is known: in its answer, in a problem, in the log, and to the client if it wants to choose.

use axum::http::HeaderMap;

use super::Api;

/// The header, both ways.
pub const X_REQUEST_ID: &str = "x-request-id";

/// By what a request is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

impl RequestId {
    /// The client's, if it is sane; else one of our own.
    pub(crate) fn of(headers: &HeaderMap, api: &Api) -> Self {
        let theirs = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        match theirs.filter(|id| is_sane(id)) {
            Some(id) => Self(id.to_owned()),
            None => Self(super::session::hex(&api.random_bytes::<16>())),
        }
    }
}

/// It goes into the log as it is.
fn is_sane(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_line_of_the_log_is_no_request_id() {
        assert!(is_sane("a") && is_sane("2a-B_c.9") && is_sane(&"x".repeat(128)));
        for bad in ["", "a b", "a\tb", "a=b", "ä", "\"", &"x".repeat(129)] {
            assert!(!is_sane(bad), "{bad}");
        }
    }
}
