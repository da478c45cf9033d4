//! What endpoints take: parts of the path, the query, JSON. Each refuses what does not fit with a problem that says where.

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
        // `label.*` and `label.KEY` stand for `label.` with any name behind it.
        let family =
            |known: &'_ str| known.strip_suffix('*').or_else(|| known.strip_suffix("KEY")).map(str::to_owned);
        let fits = |known: &String| match family(known).filter(|family| family.ends_with('.')) {
            Some(prefix) => name.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty()),
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
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        json_problem(error.inner(), &pointer)
    })?;
    json.end().map_err(|error| json_problem(&error, ""))?;
    Ok(read)
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
    #[expect(dead_code, reason = "it is read only to see how that fails")]
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
    fn a_query_parameter_that_is_not_known_or_comes_twice_is_refused_by_name() {
        let known = ["limit".to_owned(), "cursor".to_owned()];
        assert!(check_query(Some("limit=1&cursor=a"), &known).is_ok());
        assert!(check_query(None, &[]).is_ok());
        let labels = ["label.*".to_owned()];
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
