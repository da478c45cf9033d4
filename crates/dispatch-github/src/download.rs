//! The bytes of a file as they come, which end with an error if they are fewer than were announced.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::HeaderMap;

use crate::error::{Error, Kind};
use crate::web::header;
use crate::{limits, words};

/// A download that has begun.
pub struct Download {
    /// Where the bytes really begin: 0 if the server would not begin in the middle, or the file is another one now.
    pub start: u64,
    /// The size of the whole file, where the server tells it.
    pub size: Option<u64>,
    /// The file's entity tag, to go on with later.
    pub etag: Option<String>,
    /// When it was changed last, by the server's clock.
    pub modified: Option<Timestamp>,
    response: Option<Response>,
    position: u64,
    stall: Duration,
    doing: String,
}

impl Download {
    pub(crate) fn new(response: Response, asked: u64, stall: Duration, doing: &str) -> Result<Self, Error> {
        let headers = response.headers();
        let length = header(headers, "content-length").and_then(|text| text.parse().ok());
        let extent = extent(response.status().as_u16(), headers, length, asked)
            .map_err(|why| Error::new(Kind::Malformed, &format!("cannot {doing}: {why}")))?;
        Ok(Self {
            start: extent.start,
            size: extent.size,
            etag: header(headers, "etag").map(str::to_owned),
            modified: limits::last_modified(headers),
            position: extent.start,
            response: Some(response),
            stall,
            doing: doing.to_owned(),
        })
    }

    /// Of a file that ends where we wanted to begin (416): there is nothing more to come. None if it ends elsewhere.
    pub(crate) fn at_its_end(response: &Response, asked: u64, stall: Duration, doing: &str) -> Option<Self> {
        let size: u64 =
            header(response.headers(), "content-range")?.strip_prefix("bytes */")?.parse().ok()?;
        (size == asked).then(|| Self {
            start: asked,
            size: Some(size),
            etag: header(response.headers(), "etag").map(str::to_owned),
            modified: limits::last_modified(response.headers()),
            response: None,
            position: asked,
            stall,
            doing: doing.to_owned(),
        })
    }

    /// The next bytes. None when all of them were there; an error if the connection breaks, stalls, or ends too early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(response) = &mut self.response else { return Ok(None) };
        let next = tokio::time::timeout(self.stall, response.chunk()).await;
        let why = match next {
            Ok(Ok(Some(bytes))) => {
                self.position += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            Ok(Ok(None)) if self.size.is_none_or(|size| size == self.position) => {
                self.response = None;
                return Ok(None);
            }
            Ok(Ok(None)) => "the server ended it".to_owned(),
            Ok(Err(error)) if error.is_timeout() => "it takes too long".to_owned(),
            Ok(Err(error)) => words::cause(&error),
            Err(_) => format!("no byte came for {} s", self.stall.as_secs_f32()),
        };
        let of = self.size.map(|size| format!(" of {size}")).unwrap_or_default();
        let words = format!("cannot {}: after {}{of} bytes, {why}", self.doing, self.position);
        Err(Error::new(Kind::Interrupted, &words))
    }
}

// Not derived: the answer knows the signed address that it came from.
impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("start", &self.start)
            .field("size", &self.size)
            .field("etag", &self.etag)
            .field("modified", &self.modified)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Extent {
    start: u64,
    size: Option<u64>,
}

/// Which bytes an answer has (RFC 9110 §14.4). A rest that ends before the file does is taken: it is found too short
/// when it ends.
fn extent(status: u16, headers: &HeaderMap, length: Option<u64>, asked: u64) -> Result<Extent, String> {
    if header(headers, "content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err("the server sends it in a coding that was not asked for".to_owned());
    }
    if status == 200 {
        return Ok(Extent { start: 0, size: length });
    }
    let odd = || "the server does not say in a right way which bytes it sends (Content-Range)".to_owned();
    let range =
        header(headers, "content-range").and_then(|text| text.strip_prefix("bytes ")).ok_or_else(odd)?;
    let (bytes, size) = range.split_once('/').ok_or_else(odd)?;
    let (first, last) = bytes.split_once('-').ok_or_else(odd)?;
    let first: u64 = first.trim().parse().map_err(|_| odd())?;
    let last: u64 = last.trim().parse().map_err(|_| odd())?;
    let size: Option<u64> = match size.trim() {
        "*" => None,
        size => Some(size.parse().map_err(|_| odd())?),
    };
    let count = last.checked_sub(first).and_then(|count| count.checked_add(1)).ok_or_else(odd)?;
    let is_sound =
        first == asked && size.is_none_or(|size| last < size) && length.is_none_or(|length| length == count);
    if is_sound { Ok(Extent { start: first, size }) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{CONTENT_RANGE, HeaderValue};

    use super::*;

    fn ranged(range: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_str(range).expect("a value"))])
    }

    #[test]
    fn a_rest_begins_where_it_was_asked_for() {
        let extent = extent(206, &ranged("bytes 10-99/100"), Some(90), 10);
        assert_eq!(extent, Ok(Extent { start: 10, size: Some(100) }));
    }

    #[test]
    fn a_server_that_ignores_the_range_begins_at_zero() {
        assert_eq!(extent(200, &HeaderMap::new(), Some(100), 10), Ok(Extent { start: 0, size: Some(100) }));
    }

    #[test]
    fn a_range_that_contradicts_itself_is_refused() {
        for (range, length) in [
            ("bytes 11-99/100", None),
            ("bytes 10-100/100", None),
            ("bytes 10-9/100", None),
            ("bytes 10-99/100", Some(89)),
            ("bytes */100", None),
            ("items 10-99/100", None),
            ("bytes 10-18446744073709551615/*", None),
        ] {
            let told = extent(206, &ranged(range), length, 10);
            let is_huge = range.contains("18446744073709551615");
            assert_eq!(told.is_err(), !is_huge, "{range}: {told:?}");
        }
        assert!(extent(206, &HeaderMap::new(), None, 10).is_err());
    }

    #[test]
    fn bytes_in_a_coding_are_refused() {
        let headers =
            HeaderMap::from_iter([(reqwest::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert!(extent(200, &headers, Some(3), 0).is_err());
    }

    proptest! {
        #[test]
        fn a_rest_never_begins_elsewhere(range in "bytes [0-9]{1,3}-[0-9]{1,3}/([0-9]{1,3}|\\*)", asked in 0_u64..200) {
            if let Ok(extent) = extent(206, &ranged(&range), None, asked) {
                prop_assert_eq!(extent.start, asked);
                prop_assert!(extent.size.is_none_or(|size| asked < size));
            }
        }
    }
}
