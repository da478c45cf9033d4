//! Versions of objects: `ETag` out, `If-Match` in (RFC 9110 §13.1.1).
//!
//! A version says what people have changed. What is shown beside that, such as why a job waits or how many hosts a group
//! has, changes without it: so `If-None-Match` is not looked at, and nobody is told that all is as it was.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Kind, Problem};

/// The header, for the `params` of an endpoint that takes it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IfMatchHeader {
    /// The change is made only if the object's `ETag` is one of these, or, with `*`, if the object is there. Without it
    /// the change is made to whatever is there now.
    #[param(
        rename = "If-Match",
        required = false,
        example = "\"7\"",
        pattern = "^(\\*|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$"
    )]
    _if_match: String,
}

/// Which versions a change is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever is there now.
    #[default]
    Any,
    /// One of these.
    Versions(Vec<i64>),
}

impl IfMatch {
    /// Reads the values of `If-Match`.
    pub fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let wrong = || {
            let detail = "If-Match is `*` or a list of ETags such as \"7\", in quotes: give what the answer's ETag said";
            Problem::new(Kind::InvalidHeader, detail).field("If-Match")
        };
        let mut values = headers.get_all(IF_MATCH).iter().peekable();
        if values.peek().is_none() {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        for value in values {
            let text = value.to_str().map_err(|_| wrong())?;
            tags.extend(entity_tags(text).ok_or_else(wrong)?);
        }
        match tags.as_slice() {
            [Tag::Star] => return Ok(Self::Any),
            [] => return Err(wrong()),
            tags if tags.contains(&Tag::Star) => return Err(wrong()),
            _ => {}
        }
        // Compared strongly: a weak tag matches nothing, nor does a tag that is not of our making.
        let strong = tags.iter().filter_map(|tag| match tag {
            Tag::Strong(text) => version(text),
            Tag::Star | Tag::Weak => None,
        });
        Ok(Self::Versions(strong.collect()))
    }

    /// Together with the version that the body names: both must hold.
    #[must_use]
    pub fn and(self, version: Option<i64>) -> Self {
        match (self, version) {
            (own, None) => own,
            (Self::Any, Some(version)) => Self::Versions(vec![version]),
            (Self::Versions(versions), Some(version)) => {
                Self::Versions(versions.into_iter().filter(|own| *own == version).collect())
            }
        }
    }

    /// The versions, as the rules take them: none for whatever is there.
    #[must_use]
    pub fn seen(&self) -> Option<Vec<u64>> {
        match self {
            Self::Any => None,
            Self::Versions(versions) => {
                Some(versions.iter().filter_map(|version| u64::try_from(*version).ok()).collect())
            }
        }
    }

    /// Whether a change is meant for this version.
    #[must_use]
    pub fn allows(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

/// JSON with the version of the object that it shows.
#[derive(Clone, Debug)]
pub struct Tagged<T> {
    /// The object's version.
    pub version: i64,
    /// The object.
    pub body: T,
}

impl<T> Tagged<T> {
    /// An object of a version.
    #[must_use]
    pub fn new(version: u64, body: T) -> Self {
        Self { version: i64::try_from(version).unwrap_or(i64::MAX), body }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.version)) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Tag<'a> {
    Star,
    Strong(&'a str),
    /// Stands for nothing: `If-Match` compares strongly.
    Weak,
}

/// A list of entity tags, or `*` (RFC 9110 §8.8.3). A tag may hold commas.
fn entity_tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(vec![Tag::Star]);
    }
    let mut tags = Vec::new();
    while !rest.is_empty() {
        // Empty elements of a list are to be passed over (RFC 9110 §5.6.1).
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            continue;
        }
        let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if tag.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        tags.push(if is_weak { Tag::Weak } else { Tag::Strong(tag) });
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
    Some(tags)
}

/// The version that a tag of ours stands for. `07` is not ours, though it is seven.
fn version(tag: &str) -> Option<i64> {
    tag.parse().ok().filter(|version: &i64| version.to_string() == tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str]) -> Result<IfMatch, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_str(value).expect("a header"));
        }
        IfMatch::read(&headers)
    }

    fn versions(value: &str) -> Vec<i64> {
        match read(&[value]).expect(value) {
            IfMatch::Versions(versions) => versions,
            IfMatch::Any => panic!("{value} is for any"),
        }
    }

    #[test]
    fn a_change_is_made_to_the_version_that_it_is_meant_for() {
        assert_eq!(versions("\"7\""), [7]);
        assert_eq!(versions("\"7\", \"8\" ,,\"9\""), [7, 8, 9]);
        assert_eq!(read(&["\"7\"", "\"8\""]).expect("two lines"), IfMatch::Versions(vec![7, 8]));
        assert!(IfMatch::Versions(vec![7]).allows(7) && !IfMatch::Versions(vec![7]).allows(8));
    }

    #[test]
    fn without_a_version_and_with_a_star_it_is_made_to_what_is_there() {
        assert_eq!(read(&[]).expect("none"), IfMatch::Any);
        assert_eq!(read(&["*"]).expect("a star"), IfMatch::Any);
    }

    #[test]
    fn a_weak_tag_and_one_that_is_not_ours_match_nothing() {
        for tag in ["W/\"7\"", "\"abc\"", "\"07\"", "\"+7\"", "\"7,8\"", "\"\""] {
            assert!(versions(tag).is_empty(), "{tag}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in ["7", "\"7", "7\"", "\"7\" \"8\"", "*, \"7\"", "\"7\", *", "w/\"7\"", "", ","] {
            let problem = read(&[bad]).expect_err(bad);
            assert_eq!(problem.kind(), Kind::InvalidHeader, "{bad}");
        }
        assert!(read(&["*", "\"7\""]).is_err());
    }

    #[test]
    fn the_bodys_version_and_the_headers_must_both_hold() {
        assert_eq!(IfMatch::Any.and(None), IfMatch::Any);
        assert_eq!(IfMatch::Any.and(Some(7)), IfMatch::Versions(vec![7]));
        assert!(!IfMatch::Versions(vec![7]).and(Some(8)).allows(7));
        assert!(IfMatch::Versions(vec![7, 8]).and(Some(8)).allows(8));
    }

    proptest! {
        #[test]
        fn whatever_comes_as_if_match_is_read_or_refused(text in "[ -~]{0,40}") {
            if let Ok(IfMatch::Versions(versions)) = read(&[&text]) {
                for version in versions {
                    let tag = format!("\"{version}\"");
                    prop_assert!(text.contains(&tag));
                }
            }
        }
    }
}
