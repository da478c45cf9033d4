//! Byte ranges (RFC 9110 §14): one range is honoured, several are answered with everything.

use std::time::{Duration, SystemTime};

use super::request::{Head, IfRange};

/// Which bytes to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them, with 200.
    Everything,
    /// From the first to the last of these, both included, with 206.
    Range {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// None: the range lies outside, 416.
    Unsatisfiable,
    /// None: it is another version than the client has the beginning of, 412.
    Changed,
}

/// Whether what a request demands of the version holds (RFC 9110 §13.1.1, §13.1.4). EDK II demands it when it goes on
/// with a download that broke off.
fn is_as_asked(head: &Head, etag: &str, modified: SystemTime) -> bool {
    match (&head.if_match, head.if_unmodified_since) {
        (Some(tags), _) => tags.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag),
        // Stricter than the RFC for the rest of a file: one that was replaced by an older one is another version as well.
        (None, Some(date)) if head.range.is_some() => whole_seconds(modified) == whole_seconds(date),
        (None, Some(date)) => whole_seconds(modified) <= whole_seconds(date),
        (None, None) => true,
    }
}

impl Part {
    /// What the head of a `GET` asks for, of a file of `size` bytes with these validators.
    #[must_use]
    pub fn asked(head: &Head, size: u64, etag: &str, modified: SystemTime) -> Self {
        if !is_as_asked(head, etag, modified) {
            return Self::Changed;
        }
        let Some(range) = &head.range else { return Self::Everything };
        let is_current = match &head.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => tag == etag,
            // HTTP dates have whole seconds.
            Some(IfRange::Date(date)) => whole_seconds(*date) == whole_seconds(modified),
            Some(IfRange::Nonsense) => false,
        };
        if is_current { Self::parse(range, size) } else { Self::Everything }
    }

    /// Reads the value of a `Range` field. What cannot be understood is ignored, as the RFC says.
    #[must_use]
    pub fn parse(value: &str, size: u64) -> Self {
        let Some(set) = value.trim().strip_prefix("bytes=") else { return Self::Everything };
        let Some((first, last)) = set.trim().split_once('-') else { return Self::Everything };
        match (number(first), number(last)) {
            // The last so many bytes.
            (None, Some(0)) if first.is_empty() => Self::Unsatisfiable,
            (None, Some(count)) if first.is_empty() && size > 0 => {
                Self::Range { first: size.saturating_sub(count), last: size - 1 }
            }
            (None, Some(_)) if first.is_empty() => Self::Unsatisfiable,
            (Some(first), None) if last.is_empty() => Self::within(first, u64::MAX, size),
            (Some(first), Some(last)) if first <= last => Self::within(first, last, size),
            _ => Self::Everything,
        }
    }

    fn within(first: u64, last: u64, size: u64) -> Self {
        if first < size { Self::Range { first, last: last.min(size - 1) } } else { Self::Unsatisfiable }
    }
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn whole_seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().as_ref().map(Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: u64, last: u64) -> Part {
        Part::Range { first, last }
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (value, part) in [
            ("bytes=0-499", range(0, 499)),
            ("bytes=500-", range(500, 999)),
            ("bytes=-200", range(800, 999)),
            ("bytes=-5000", range(0, 999)),
            ("bytes=999-5000", range(999, 999)),
            ("bytes=1000-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-4", Part::Everything),
            ("bytes=0-1,5-6", Part::Everything),
            ("bytes=a-b", Part::Everything),
            ("bytes=-", Part::Everything),
            ("bytes=", Part::Everything),
            ("lines=0-1", Part::Everything),
            ("bytes=99999999999999999999-", Part::Everything),
        ] {
            assert_eq!(Part::parse(value, 1000), part, "{value}");
        }
        assert_eq!(Part::parse("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(Part::parse("bytes=-5", 0), Part::Unsatisfiable);
    }

    #[test]
    fn if_range_decides_whether_a_range_still_holds() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let asked = |fields: &str| {
            let text = format!("GET / HTTP/1.1\r\nRange: bytes=1-2\r\n{fields}\r\n");
            let head = Head::parse(text.as_bytes()).expect("a request").expect("whole").0;
            Part::asked(&head, 1000, "\"tag\"", modified)
        };
        assert_eq!(asked(""), range(1, 2));
        assert_eq!(asked("If-Range: \"tag\"\r\n"), range(1, 2));
        assert_eq!(asked("If-Range: \"other\"\r\n"), Part::Everything);
        assert_eq!(asked("If-Range: W/\"tag\"\r\n"), Part::Everything);
        assert_eq!(asked("If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), range(1, 2));
        assert_eq!(asked("If-Range: Sun, 06 Nov 1994 08:49:38 GMT\r\n"), Part::Everything);
    }

    #[test]
    fn a_download_is_taken_up_again_only_of_the_version_that_it_began_with() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let asked = |fields: &str| {
            let text = format!("GET / HTTP/1.1\r\nRange: bytes=1-2\r\n{fields}\r\n");
            let head = Head::parse(text.as_bytes()).expect("a request").expect("whole").0;
            Part::asked(&head, 1000, "\"tag\"", modified)
        };
        for same in [
            "If-Match: \"tag\"\r\n",
            "If-Match: \"other\", \"tag\"\r\n",
            "If-Match: \"other\"\r\nIf-Match: \"tag\"\r\n",
            "If-Match: *\r\n",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "If-Unmodified-Since: yesterday\r\n",
            "If-Match: \"tag\"\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:00 GMT\r\n",
        ] {
            assert_eq!(asked(same), range(1, 2), "{same}");
        }
        for other in [
            "If-Match: \"other\"\r\n",
            "If-Match: W/\"tag\"\r\n",
            "If-Match: \r\n",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n",
        ] {
            assert_eq!(asked(other), Part::Changed, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_range_is_never_outside_its_file(value in "(bytes=)?[0-9,-]{0,24}", size in 0..2000_u64) {
            if let Part::Range { first, last } = Part::parse(&value, size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
