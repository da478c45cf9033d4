//! GitHub's rate limits and clock, as the headers of an answer tell them ("Rate limits for the REST API").
//!
//! Times of waiting are told by our own clock, however wrong it is: GitHub's times count from the `Date` of the same
//! answer.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName};

/// A secondary limit that says nothing of its length lasts at least a minute.
const UNSAID: SignedDuration = SignedDuration::from_secs(60);

/// No limit of GitHub lasts longer than an hour; a header that says more than this is not believed.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Its times are whole seconds, and nobody should come a moment too early.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// What is left of the primary rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many requests an hour has.
    pub limit: u64,
    /// How many of them are left.
    pub remaining: u64,
    /// When all of them are there again, by GitHub's clock.
    pub reset: Timestamp,
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok()).map(str::trim)
}

fn number(headers: &HeaderMap, name: &'static str) -> Option<u64> {
    text(headers, name).and_then(|text| text.parse().ok())
}

fn http_date(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text).ok().and_then(|time| Timestamp::try_from(time).ok())
}

/// The server's clock (RFC 9110 §6.6.1).
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    text(headers, "date").and_then(http_date)
}

/// When the thing was changed last (RFC 9110 §8.8.2).
pub(crate) fn last_modified(headers: &HeaderMap) -> Option<Timestamp> {
    text(headers, "last-modified").and_then(http_date)
}

/// The primary rate limit of everything but search and the like.
pub(crate) fn limits(headers: &HeaderMap) -> Option<Limits> {
    if text(headers, "x-ratelimit-resource").is_some_and(|resource| resource != "core") {
        return None;
    }
    Some(Limits {
        limit: number(headers, "x-ratelimit-limit")?,
        remaining: number(headers, "x-ratelimit-remaining")?,
        reset: reset(headers)?,
    })
}

fn reset(headers: &HeaderMap) -> Option<Timestamp> {
    let seconds = i64::try_from(number(headers, "x-ratelimit-reset")?).ok()?;
    Timestamp::from_second(seconds).ok()
}

/// Whether a refusal is a rate limit, and until when by our clock. `now` is when the answer came, by our clock.
pub(crate) fn limited(status: u16, headers: &HeaderMap, message: &str, now: Timestamp) -> Option<Timestamp> {
    if status != 403 && status != 429 {
        return None;
    }
    if let Some(at) = told(headers, now) {
        return Some(at);
    }
    let message = message.to_ascii_lowercase();
    let says_so = message.contains("rate limit") || message.contains("abuse detection");
    (status == 429 || says_so).then(|| after(now, UNSAID))
}

/// Until when a limit holds by our clock, if its answer tells.
pub(crate) fn told(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    retry_after(headers, now).or_else(|| {
        let reset = reset(headers).filter(|_| number(headers, "x-ratelimit-remaining") == Some(0))?;
        Some(after(now, reset.duration_since(date(headers).unwrap_or(now))))
    })
}

/// `Retry-After` (RFC 9110 §10.2.3) by our clock.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let value = text(headers, "retry-after")?;
    let wait = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More digits than a number holds are a long wait, too.
        SignedDuration::from_secs(value.parse().unwrap_or(i64::MAX))
    } else {
        http_date(value)?.duration_since(date(headers).unwrap_or(now))
    };
    Some(after(now, wait))
}

fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.saturating_add(wait.clamp(SHORTEST, LONGEST)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    const DATE: &str = "Sat, 21 Nov 2026 12:00:00 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_primary_limit_ends_when_it_is_reset_by_githubs_clock() {
        let reset = at("2026-11-21T12:10:00Z").as_second().to_string();
        let headers =
            headers(&[("date", DATE), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)]);
        let our_clock_is_slow = at("2026-11-21T08:00:00Z");
        let end = limited(403, &headers, "API rate limit exceeded", our_clock_is_slow);
        assert_eq!(end, Some(at("2026-11-21T08:10:00Z")));
    }

    #[test]
    fn retry_after_counts_more_than_the_reset() {
        let reset = at("2026-11-21T12:10:00Z").as_second().to_string();
        let headers = headers(&[
            ("date", DATE),
            ("retry-after", "30"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", &reset),
        ]);
        assert_eq!(limited(429, &headers, "", at("2026-11-21T12:00:00Z")), Some(at("2026-11-21T12:00:30Z")));
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let headers = headers(&[("date", DATE), ("retry-after", "Sat, 21 Nov 2026 12:02:00 GMT")]);
        assert_eq!(limited(403, &headers, "", at("2026-11-21T20:00:00Z")), Some(at("2026-11-21T20:02:00Z")));
    }

    #[test]
    fn a_secondary_limit_without_a_time_lasts_a_minute() {
        let now = at("2026-11-21T12:00:00Z");
        let headers = headers(&[("x-ratelimit-remaining", "4000"), ("x-ratelimit-reset", "1")]);
        for (status, message) in [
            (403, "You have exceeded a secondary rate limit"),
            (403, "You have triggered an abuse detection mechanism"),
            (429, ""),
        ] {
            assert_eq!(
                limited(status, &headers, message, now),
                Some(at("2026-11-21T12:01:00Z")),
                "{message}"
            );
        }
    }

    #[test]
    fn a_missing_permission_is_no_limit() {
        let headers = headers(&[("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1")]);
        assert_eq!(
            limited(403, &headers, "Resource not accessible by integration", Timestamp::UNIX_EPOCH),
            None
        );
        assert_eq!(limited(404, &headers, "rate limit", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn the_limit_of_another_kind_of_request_is_not_ours() {
        let of = |resource: &str| {
            limits(&headers(&[
                ("x-ratelimit-resource", resource),
                ("x-ratelimit-limit", "30"),
                ("x-ratelimit-remaining", "29"),
                ("x-ratelimit-reset", "1"),
            ]))
        };
        assert!(of("search").is_none());
        assert_eq!(of("core").map(|limits| (limits.limit, limits.remaining)), Some((30, 29)));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_over_at_once_and_never_for_ever(
            status in prop_oneof![Just(403_u16), Just(429)],
            wait in "[0-9]{1,25}|[ -~]{0,30}",
            remaining in "[0-9]{1,3}",
            reset in "-?[0-9]{1,20}",
            message in any::<String>(),
        ) {
            let now = at("2026-11-21T12:00:00Z");
            let headers = headers(&[
                ("retry-after", &wait),
                ("x-ratelimit-remaining", &remaining),
                ("x-ratelimit-reset", &reset),
            ]);
            if let Some(end) = limited(status, &headers, &message, now) {
                let wait = end.duration_since(now);
                prop_assert!((SHORTEST..=LONGEST).contains(&wait), "{wait}");
            }
        }
    }
}
