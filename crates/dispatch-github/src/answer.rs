//! What an answer means: which failure a status is, and the words for it. Nothing here asks anybody.

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::error::{Error, Fate, FieldError, Kind};
use crate::limits;
use crate::token::TokenKind;
use crate::words;

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// GitHub, whom we asked with such a token.
    GitHub(TokenKind),
    /// Some other server.
    Other,
}

/// An answer that is not what was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// When it came, by our clock.
    pub(crate) now: Timestamp,
    /// What the server was told and must not repeat to anybody.
    pub(crate) secret: &'a str,
}

impl Answer<'_> {
    fn theirs(&self, text: &str) -> String {
        words::theirs_without(text, self.secret)
    }

    fn header(&self, name: &'static str) -> Option<String> {
        let text = self.headers.get(name).and_then(|value| value.to_str().ok())?.trim();
        (!text.is_empty()).then(|| self.theirs(text))
    }
}

/// The failure that an answer is. `doing` is what was tried, as in "cannot *read the release `v1`*".
pub(crate) fn failure(answer: &Answer<'_>, who: Who, doing: &str) -> Error {
    // What any other server has to say is its own affair.
    let is_github = who != Who::Other;
    let body: Value = Some(answer.body)
        .filter(|_| is_github)
        .and_then(|body| serde_json::from_slice(body).ok())
        .unwrap_or(Value::Null);
    let message = body["message"].as_str().map(|message| answer.theirs(message)).unwrap_or_default();
    let limited = limits::limited(answer.status, answer.headers, &message, answer.now);
    let told = limited.and_then(|_| limits::told(answer.headers, answer.now));
    let kind = kind(answer.status, limited.is_some());
    let field_errors = field_errors(&body["errors"], answer);
    let reason = match who {
        Who::GitHub(token) => githubs_words(kind, token, &message, &field_errors, answer, told),
        Who::Other => format!("the server answered with status {}", answer.status),
    };
    let fate = match answer.status {
        502 | 504 => Fate::Running,
        500.. => Fate::Unknown,
        _ => Fate::NotApplied,
    };
    Error::new(kind, &format!("cannot {doing}: {reason}"))
        .with_fate(fate)
        .with_retry_at(limited.or_else(|| limits::retry_after(answer.headers, answer.now)))
        .with_guess(limited.is_some() && told.is_none())
        .with_field_errors(field_errors)
        .with_request_id(answer.header("x-github-request-id"))
}

fn kind(status: u16, is_limited: bool) -> Kind {
    match status {
        403 | 429 if is_limited => Kind::RateLimited,
        401 => Kind::BadCredentials,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        410 => Kind::Gone,
        400 | 422 => Kind::Refused,
        500.. => Kind::Interrupted,
        other => Kind::Other(other),
    }
}

/// The `errors` of a refusal: objects by the description, and sometimes plain texts.
fn field_errors(errors: &Value, answer: &Answer<'_>) -> Vec<FieldError> {
    let one = |error: &Value| {
        let text = |name: &str| error[name].as_str().map(|text| answer.theirs(text));
        FieldError {
            resource: text("resource").unwrap_or_default(),
            field: text("field").unwrap_or_default(),
            code: text("code").unwrap_or_default(),
            value: match &error["value"] {
                Value::Null => None,
                Value::String(value) => Some(answer.theirs(value)),
                other => Some(answer.theirs(&other.to_string())),
            },
            message: error.as_str().map(|text| answer.theirs(text)).or_else(|| text("message")),
        }
    };
    match errors {
        Value::Array(errors) => errors.iter().map(one).collect(),
        Value::String(_) => vec![one(errors)],
        _ => Vec::new(),
    }
}

fn githubs_words(
    kind: Kind,
    token: TokenKind,
    message: &str,
    fields: &[FieldError],
    answer: &Answer<'_>,
    until: Option<Timestamp>,
) -> String {
    let said = if message.is_empty() { String::new() } else { format!(" (\"{message}\")") };
    let status = answer.status;
    match kind {
        Kind::RateLimited => {
            let advice = if token == TokenKind::Nobody {
                ", which are few without a token: set GITHUB_TOKEN"
            } else {
                ""
            };
            let until = until.map(|at| format!(" until {}", seconds(at))).unwrap_or_default();
            format!("GitHub takes no more requests{until}{advice}{said}")
        }
        Kind::BadCredentials if token == TokenKind::Nobody => {
            "somebody must be signed in for this (401): set GITHUB_TOKEN, or give --token".to_owned()
        }
        Kind::BadCredentials => {
            format!("GitHub does not take {token}: it is wrong, expired or revoked (401)")
        }
        Kind::Forbidden => {
            let needs = answer
                .header("x-accepted-github-permissions")
                .map(|accepted| format!("; what it takes is {accepted}"))
                .unwrap_or_default();
            format!("{token} may not do this (403){said}{needs}")
        }
        Kind::NotFound => {
            let hint = scope_hint(answer).unwrap_or_else(|| hint(token).to_owned());
            format!("GitHub has nothing of this name for {token} (404){hint}")
        }
        Kind::Gone => format!("it is turned off or gone (410){said}"),
        Kind::Refused => {
            let fields: Vec<String> = fields.iter().map(field_words).collect();
            let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
            format!("GitHub refuses it ({status}){said}{fields}")
        }
        Kind::Interrupted => format!("GitHub is in trouble ({status}){said}"),
        _ => format!("GitHub answered with status {status}{said}"),
    }
}

fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Where a classic token lacks the scope, GitHub says that nothing is there; only its headers tell why.
fn scope_hint(answer: &Answer<'_>) -> Option<String> {
    let has = answer.header("x-oauth-scopes").unwrap_or_default();
    let takes = answer.header("x-accepted-oauth-scopes")?;
    let lacks = takes.split(',').all(|scope| has.split(',').all(|own| own.trim() != scope.trim()));
    let has = if has.is_empty() { "none".to_owned() } else { has };
    lacks.then(|| format!("; it takes one of the scopes {takes}, and the token has {has}"))
}

fn hint(token: TokenKind) -> &'static str {
    match token {
        TokenKind::Nobody => "; if it is private, sign in with --token or GITHUB_TOKEN",
        TokenKind::Classic | TokenKind::OAuth => "; if it is private, the token needs the scope `repo`",
        TokenKind::FineGrained | TokenKind::User => {
            "; if it is private, the token must be allowed for this repository with \"Contents: read\""
        }
        TokenKind::Installation => "; if it is private, the App must be installed on this repository",
        TokenKind::Unknown => "; if it is private, the token must be allowed to read it",
    }
}

fn field_words(field: &FieldError) -> String {
    let message = field.message.as_deref().unwrap_or(&field.code);
    if field.field.is_empty() { message.to_owned() } else { format!("{} is {}", field.field, message) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn told(status: u16, headers: &HeaderMap, body: &Value) -> Error {
        told_without("", status, headers, body)
    }

    fn told_without(secret: &str, status: u16, headers: &HeaderMap, body: &Value) -> Error {
        let body = serde_json::to_vec(body).expect("json");
        let answer = Answer { status, headers, body: &body, now: Timestamp::UNIX_EPOCH, secret };
        failure(&answer, Who::GitHub(TokenKind::FineGrained), "file the issue in o/r")
    }

    #[test]
    fn a_refusal_names_its_fields() {
        let body = json!({
            "message": "Validation Failed",
            "errors": [
                {"resource": "Issue", "field": "assignees", "code": "invalid", "value": ["mona", 7]},
                "something else",
            ],
        });
        let error = told(422, &HeaderMap::new(), &body);
        assert_eq!(error.kind(), Kind::Refused);
        assert!(!error.may_have_been_applied());
        let [field, plain] = error.field_errors() else { panic!("{error:?}") };
        assert_eq!((field.field.as_str(), field.code.as_str()), ("assignees", "invalid"));
        assert_eq!(field.value.as_deref(), Some("[\"mona\",7]"));
        assert_eq!(plain.message.as_deref(), Some("something else"));
        assert_eq!(
            error.to_string(),
            "cannot file the issue in o/r: GitHub refuses it (422) (\"Validation Failed\"): assignees is invalid, \
             something else"
        );
    }

    #[test]
    fn a_missing_permission_is_named_as_github_names_it() {
        let headers = HeaderMap::from_iter([(
            "x-accepted-github-permissions".parse().expect("a name"),
            HeaderValue::from_static("issues=write"),
        )]);
        let error =
            told(403, &headers, &json!({"message": "Resource not accessible by personal access token"}));
        assert_eq!(error.kind(), Kind::Forbidden);
        assert!(error.to_string().ends_with("what it takes is issues=write"), "{error}");
    }

    #[test]
    fn a_scope_that_is_missing_is_named_where_github_says_that_nothing_is_there() {
        let told = |has: &'static str| {
            let headers = HeaderMap::from_iter([
                (
                    "x-accepted-oauth-scopes".parse().expect("a name"),
                    HeaderValue::from_static("public_repo, repo"),
                ),
                ("x-oauth-scopes".parse().expect("a name"), HeaderValue::from_static(has)),
            ]);
            told(404, &headers, &Value::Null).to_string()
        };
        assert!(told("gist").contains("one of the scopes public_repo, repo, and the token has gist"));
        assert!(told("").contains("the token has none"));
        assert!(!told("gist, repo").contains("scopes"));
    }

    #[test]
    fn a_server_in_trouble_may_have_done_it() {
        for (status, running) in [(500, false), (502, true), (503, false), (504, true), (599, false)] {
            let error = told(status, &HeaderMap::new(), &Value::Null);
            assert_eq!(error.kind(), Kind::Interrupted);
            assert!(error.may_have_been_applied());
            assert_eq!(error.may_still_be_applied(), running, "{status}");
        }
    }

    #[test]
    fn it_is_told_whether_a_limit_says_when_it_ends() {
        let body = json!({"message": "You have exceeded a secondary rate limit"});
        let error = told(403, &HeaderMap::new(), &body);
        assert!(error.retry_at().is_some() && error.told_retry_at().is_none());
        let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let error = told(403, &headers, &body);
        assert!(error.told_retry_at().is_some());
        assert_eq!(error.told_retry_at(), error.retry_at());
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let headers = HeaderMap::from_iter([(reqwest::header::RETRY_AFTER, HeaderValue::from_static("7"))]);
        let error = told(503, &headers, &Value::Null);
        assert_eq!(error.retry_at(), Some("1970-01-01T00:00:07Z".parse().expect("a time")));
    }

    #[test]
    fn each_status_has_its_kind() {
        for (status, kind) in [
            (400, Kind::Refused),
            (401, Kind::BadCredentials),
            (403, Kind::Forbidden),
            (404, Kind::NotFound),
            (409, Kind::Other(409)),
            (410, Kind::Gone),
            (429, Kind::RateLimited),
            (451, Kind::Other(451)),
        ] {
            assert_eq!(told(status, &HeaderMap::new(), &Value::Null).kind(), kind, "{status}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_its_failure_is_one_harmless_line(
            status in 300_u16..=599,
            message in any::<String>(),
            field in any::<String>(),
            secret in "ghp_[a-z]{8}",
        ) {
            let body = json!({
                "message": format!("{message}{secret}"),
                "errors": [{"field": field, "code": secret, "value": secret, "message": secret}],
            });
            let error = told_without(&secret, status, &HeaderMap::new(), &body);
            let text = error.to_string();
            prop_assert!(!text.chars().any(char::is_control));
            let all = format!("{error:?}{text}");
            prop_assert!(!all.contains(&secret[4..]), "{}", all);
        }

        #[test]
        fn a_body_that_is_no_json_is_no_trouble(status in 300_u16..=599, body in any::<Vec<u8>>()) {
            let headers = HeaderMap::new();
            let answer = Answer { status, headers: &headers, body: &body, now: Timestamp::UNIX_EPOCH, secret: "" };
            let error = failure(&answer, Who::GitHub(TokenKind::Nobody), "look");
            prop_assert!(error.to_string().starts_with("cannot look: "));
        }
    }
}
