//! What endpoints take: parts of the path, the query, JSON. Each refuses what does not fit with a problem that says where.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::problem::{Kind, Problem};

/// The names in the path. What cannot be one names nothing that exists.
#[derive(Clone, Debug)]
pub struct Ids<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => {
                Err(Problem::new(Kind::NotFound, format!("no such thing can exist: {}", error.body_text())))
            }
            Err(error) => Err(Problem::internal(error)),
        }
    }
}

/// The query's parameters. Those that the endpoint's description does not list have been refused by the guard.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query()).map(Self)
    }
}

/// Reads a query. `T` takes what it knows, and passes over the rest.
pub(crate) fn read_query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map_err(|error| {
        let field = error.path().to_string();
        let detail = format!("the query cannot be read: {}", error.inner());
        let problem = Problem::new(Kind::InvalidParameter, detail);
        if field == "." { problem } else { problem.field(field) }
    })
}

/// Refuses a query with a parameter that is not among `known`, or comes twice.
pub(crate) fn check_query(query: Option<&str>, known: &[String]) -> Result<(), Problem> {
    let mut seen = HashSet::new();
    for (name, _) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let refuse = |why: String| Err(Problem::new(Kind::InvalidParameter, why).field(name.as_ref()));
        // `label.KEY` stands for `label.` with any name behind it.
        let fits = |known: &String| match known.strip_suffix("KEY").filter(|family| family.ends_with('.')) {
            Some(prefix) => name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()),
            None => *known == name,
        };
        if !known.iter().any(fits) {
            let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return refuse(format!("there is no query parameter `{name}` here: this takes {takes}"));
        }
        if !seen.insert(name.to_string()) {
            return refuse(format!("the query parameter `{name}` comes twice: give it once"));
        }
    }
    Ok(())
}

/// The request's body, as the guard has read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload(pub(crate) Bytes);

/// The request's JSON. `T` should have `deny_unknown_fields`.
#[derive(Clone, Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_json(&payload(parts)?).map(Self)
    }
}

/// The request's JSON, or what stands for none: no body, or `null`.
#[derive(Clone, Debug)]
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequestParts<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let bytes = payload(parts)?;
        let read = if bytes.is_empty() { None } else { read_json::<Option<T>>(&bytes)? };
        Ok(Self(read.unwrap_or_default()))
    }
}

fn payload(parts: &Parts) -> Result<Bytes, Problem> {
    let read = parts.extensions.get::<Payload>().map(|payload| payload.0.clone());
    read.ok_or_else(|| Problem::internal("the endpoint takes a body, and its description does not say so"))
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = whole_numbers(bytes);
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        json_problem(error.inner(), &pointer)
    })?;
    json.end().map_err(|error| json_problem(&error, ""))?;
    Ok(read)
}

/// The same text with whole numbers such as `7.0` written as `7`: for JSON Schema they are integers, and many languages do
/// not tell them apart. Spaces take the place of what goes, so that columns stay.
fn whole_numbers(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.windows(2).any(|pair| pair == b".0") {
        return Cow::Borrowed(json);
    }
    let mut json = json.to_vec();
    let (mut at, mut is_in_text) = (0, false);
    while at < json.len() {
        match json[at] {
            b'\\' if is_in_text => at += 1,
            b'"' => is_in_text = !is_in_text,
            b'.' if !is_in_text => {
                let (before, after) = json.split_at(at);
                let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
                let zeros = after[1..].iter().take_while(|byte| **byte == b'0').count();
                let ends = after.get(1 + zeros).is_none_or(|byte| !is_of_number(*byte));
                let mut head = before[..at - digits].iter().rev().copied();
                let sign = head.next().filter(|byte| *byte == b'-');
                let begins = match sign {
                    Some(_) => head.next(),
                    None => before[..at - digits].last().copied(),
                };
                if digits > 0 && zeros > 0 && ends && begins.is_none_or(|byte| !is_of_number(byte)) {
                    let is_minus_zero = sign.is_some() && before.ends_with(b"-0");
                    json[at..=at + zeros].fill(b' ');
                    if is_minus_zero {
                        json[at - 2] = b' ';
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    Cow::Owned(json)
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')
}

fn json_problem(error: &serde_json::Error, pointer: &str) -> Problem {
    if error.is_data() {
        return invalid(pointer, error);
    }
    Problem::new(Kind::MalformedJson, format!("the body is not JSON: {error}"))
}

/// What stands at `pointer` of the body (RFC 6901) is not what is expected.
#[must_use]
pub fn invalid(pointer: &str, why: impl Display) -> Problem {
    let place = if pointer.is_empty() { "the body" } else { pointer };
    Problem::new(Kind::InvalidBody, format!("{place} is not what is expected: {why}")).field(pointer)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let parts = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    parts.fold(String::new(), |text, part| text + "/" + &part)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read only to see how that fails")]
    struct Outer {
        name: String,
        inner: Option<Vec<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "a/b")]
        number: u8,
    }

    fn problem(json: &str) -> (Kind, String, Option<String>) {
        let problem = read_json::<Outer>(json.as_bytes()).expect_err("a problem");
        let body = problem.body("id");
        (problem.kind(), body.detail, body.field)
    }

    #[test]
    fn what_is_not_json_says_in_which_line_and_column() {
        for bad in ["", "{\"name\":\n oops}", "{\"name\":\"a\"} x", "{\"name\":\"a\",}", "\u{1}"] {
            let (kind, detail, _) = problem(bad);
            assert_eq!(kind, Kind::MalformedJson, "{bad}");
            assert!(detail.contains("line") && detail.contains("column"), "{detail}");
        }
    }

    #[test]
    fn what_does_not_fit_says_where() {
        for (bad, place) in [
            ("{\"name\":7}", "/name"),
            ("{\"name\":\"a\",\"inner\":[{\"a/b\":300}]}", "/inner/0/a~1b"),
            ("{\"name\":\"a\",\"inner\":[{\"a/b\":1},{\"x\":1}]}", "/inner/1/x"),
            ("{\"name\":\"a\",\"nmae\":1}", "/nmae"),
            ("{}", ""),
            ("[]", ""),
            ("null", ""),
        ] {
            let (kind, detail, field) = problem(bad);
            assert_eq!((kind, field.as_deref()), (Kind::InvalidBody, Some(place)), "{bad}: {detail}");
        }
        assert!(problem("{\"name\":\"a\",\"nmae\":1}").1.contains("`nmae`"));
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written_and_nothing_else_changes() {
        for (written, read) in [
            ("{\"a\":7.0}", "{\"a\":7  }"),
            ("[-7.00,10.0]", "[-7   ,10  ]"),
            ("-0.0", " 0  "),
            ("\"7.0 \\\" 7.0\"", "\"7.0 \\\" 7.0\""),
            ("[7.01,7.0e1,1e5.0,1e-5.0,7.0.0,.0,7.]", "[7.01,7.0e1,1e5.0,1e-5.0,7.0.0,.0,7.]"),
        ] {
            assert_eq!(String::from_utf8_lossy(&whole_numbers(written.as_bytes())), read);
        }
        let inner = read_json::<Inner>(b"{\"a/b\":7.0}").expect("an integer");
        assert_eq!(inner.number, 7);
        assert!(read_json::<Inner>(b"{\"a/b\":7.5}").is_err());
    }

    #[test]
    fn a_query_parameter_that_is_not_known_or_comes_twice_is_refused_by_name() {
        let known = ["limit".to_owned(), "cursor".to_owned()];
        assert!(check_query(Some("limit=1&cursor=a"), &known).is_ok());
        assert!(check_query(None, &[]).is_ok());
        let labels = ["label.KEY".to_owned()];
        assert!(check_query(Some("label.a=1&label.b=2"), &labels).is_ok());
        for bad in ["label.=1", "label=1", "label.a=1&label.a=2"] {
            assert!(check_query(Some(bad), &labels).is_err(), "{bad}");
        }
        for (bad, name) in
            [("limits=1", "limits"), ("limit=1&limit=2", "limit"), ("%6cimit=1&limit=1", "limit")]
        {
            let body = check_query(Some(bad), &known).expect_err("refused").body("id");
            assert_eq!(body.field.as_deref(), Some(name));
        }
    }

    #[test]
    fn a_query_parameter_that_cannot_be_read_is_refused_by_name() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "it is read only to see how that fails")]
        struct Numbers {
            limit: Option<u8>,
        }
        let body = read_query::<Numbers>(Some("limit=x")).expect_err("refused").body("id");
        assert_eq!(body.field.as_deref(), Some("limit"));
    }
}
