//! Where one request ends and the next begins: without a socket, and however the bytes are cut.

use std::time::SystemTime;

use dispatch_boot::http::chunked::{Chunked, Decoder};
use dispatch_boot::http::range::Part;
use dispatch_boot::http::request::{BodyLength, Head, MAX_HEAD};
use dispatch_boot::route::{BootPath, Route};
use dispatch_wire::boot::MAX_REPORT_BYTES;

/// The longest body that is read only to be thrown away, as the listener has it.
const MAX_IGNORED_BODY: u64 = 64 * 1024;

/// The boot path of everything here.
pub(crate) const BOOT_PATH: &str = "/dispatch";

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is whole, and is answered.
    Answered(Box<Head>, Route),
    /// It is refused with this status, and the connection closed.
    Refused(u16),
}

/// What a client says before it hangs up.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) fates: Vec<Fate>,
    /// How often the client waits for a word before it goes on.
    pub(crate) expected: usize,
}

/// Where requests begin and end in what a client sends until it hangs up: every check that a pure reader allows.
pub fn requests(bytes: &[u8]) {
    let _ = read(bytes, true);
}

/// Reads requests as the connection does; `is_strict` checks that cutting the bytes anywhere changes nothing.
pub(crate) fn read(bytes: &[u8], is_strict: bool) -> Said {
    let path = BootPath::new(BOOT_PATH).expect("a path");
    let mut said = Said::default();
    let mut rest = bytes;
    loop {
        // Some clients put an empty line before a request (RFC 9112 §2.2).
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        rest = &rest[blank..];
        if is_strict {
            head_is_the_same_however_it_is_cut(rest);
        }
        let (head, length) = match Head::parse(rest) {
            Ok(Some(whole)) => whole,
            Ok(None) => return said,
            Err(bad) => {
                assert!(matches!(bad.status(), 400 | 431 | 501), "{bad}");
                said.fates.push(Fate::Refused(bad.status()));
                return said;
            }
        };
        assert!(0 < length && length <= MAX_HEAD, "a head of {length} bytes");
        let route = path.route(&head.target);
        if is_strict {
            check(&head);
        }
        rest = &rest[length..];
        let takes_report = head.method == "PUT" && matches!(route, Route::Boot(_));
        let limit = if takes_report { MAX_REPORT_BYTES } else { MAX_IGNORED_BODY };
        if matches!(head.body, BodyLength::Exact(length) if length > limit) {
            said.fates.push(Fate::Refused(413));
            return said;
        }
        said.expected +=
            usize::from(head.expects_continue && head.body != BodyLength::Exact(0) && !head.is_http_1_0);
        let used = match head.body {
            BodyLength::Exact(length) => usize::try_from(length).expect("a length within its limit"),
            BodyLength::Chunked => match chunked(rest, limit, is_strict) {
                (Chunked::More, _) => return said,
                (Chunked::Done, used) => used,
                (Chunked::TooLong, _) => {
                    said.fates.push(Fate::Refused(413));
                    return said;
                }
                (Chunked::Bad, _) => {
                    said.fates.push(Fate::Refused(400));
                    return said;
                }
            },
        };
        let Some(after) = rest.get(used..) else { return said };
        rest = after;
        let stays = head.keep_alive;
        said.fates.push(Fate::Answered(Box::new(head), route));
        if !stays {
            return said;
        }
    }
}

/// A few places to cut at: all of them where there are few.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by((length / 24).max(1)).chain(length.saturating_sub(4)..length)
}

fn head_is_the_same_however_it_is_cut(bytes: &[u8]) {
    let whole = Head::parse(bytes);
    for cut in cuts(bytes.len()) {
        let part = Head::parse(&bytes[..cut]);
        match (&part, &whole) {
            // More has to come, unless the head was whole before its last byte.
            (Ok(None), Ok(Some((_, length)))) => assert!(cut < *length, "{length} bytes, cut at {cut}"),
            (Ok(None), _) => {}
            _ => assert_eq!(part, whole, "cut at {cut}"),
        }
    }
}

fn check(head: &Head) {
    let is_one_word = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    assert!(is_one_word(&head.method) && is_one_word(&head.target), "{head:?}");
    assert!(head.told.macs.iter().all(|mac| mac.is_unicast()), "{head:?}");
    for size in [0, 1, 300, u64::MAX] {
        match Part::asked(head, size, "\"x\"", SystemTime::UNIX_EPOCH) {
            Part::Everything => {}
            Part::Range { first, last } => assert!(first <= last && last < size, "{head:?}"),
            Part::Unsatisfiable => assert!(head.range.is_some(), "{head:?}"),
            Part::Changed => {
                assert!(head.if_match.is_some() || head.if_unmodified_since.is_some(), "{head:?}");
            }
        }
    }
}

fn chunked(bytes: &[u8], limit: u64, is_strict: bool) -> (Chunked, usize) {
    let mut decoder = Decoder::new(limit);
    let whole = decoder.feed(bytes);
    let body = decoder.into_body();
    assert!(body.len() as u64 <= limit && whole.1 <= bytes.len(), "{whole:?}");
    if is_strict {
        for cut in cuts(bytes.len()) {
            let mut decoder = Decoder::new(limit);
            let (first, second) = bytes.split_at(cut);
            let (mut what, mut used) = decoder.feed(first);
            if what == Chunked::More {
                assert_eq!(used, first.len(), "bytes are left over inside a body");
                let (after, more) = decoder.feed(second);
                (what, used) = (after, used + more);
            }
            assert_eq!((what, used), whole, "cut at {cut}");
            assert_eq!(decoder.into_body(), body, "cut at {cut}");
        }
    }
    whole
}
