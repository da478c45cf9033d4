//! Reads the head of a request.

use std::time::SystemTime;

use dispatch_core::{Mac, RunId};
use dispatch_wire::boot::{HOST_MAC_HEADER, HOST_UUID_HEADER, RUN_HEADER, host_uuid};

use dispatch_core::Told;

/// The longest head of a request, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of a request.
const MAX_FIELDS: usize = 64;

/// The most network cards of a host that are listened to.
const MAX_MACS: usize = 64;

/// What a request's `If-Range` holds (RFC 9110 §13.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// An entity tag, with its quotes.
    Tag(String),
    /// A date.
    Date(SystemTime),
    /// Something else: no validator matches it.
    Nonsense,
}

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// That many bytes.
    Exact(u64),
    /// Chunked (RFC 9112 §7.1).
    Chunked,
}

/// The head of a request, as far as anybody here wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a header field of its own, not a state")]
pub struct Head {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: String,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
    /// Whether the client speaks HTTP/1.0.
    pub is_http_1_0: bool,
    /// How long the body is.
    pub body: BodyLength,
    /// Whether the client waits for a word before it sends the body.
    pub expects_continue: bool,
    /// `Range`.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<IfRange>,
    /// `If-Match` (RFC 9110 §13.1.1), its fields joined by commas.
    pub if_match: Option<String>,
    /// `If-Unmodified-Since` (RFC 9110 §13.1.4).
    pub if_unmodified_since: Option<SystemTime>,
    /// Whether `Accept` names `text/html`: a browser.
    pub is_browser: bool,
    /// `User-Agent`.
    pub agent: Option<String>,
    /// `Dispatch-Run`; `Err` where it holds no run's identifier.
    pub run: Option<Result<RunId, ()>>,
    /// What beacon tells of its host.
    pub told: Told,
}

/// Why bytes are not a request. All are answered, then the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not HTTP.
    #[error("this is not an HTTP/1 request")]
    Syntax,
    /// The head is too long.
    #[error("the head of the request is longer than {MAX_HEAD} bytes or has more than {MAX_FIELDS} fields")]
    TooLong,
    /// The length of the body is said twice, differently, or not in digits.
    #[error("the length of the body is not clear: send one Content-Length, or Transfer-Encoding: chunked")]
    Length,
    /// A transfer coding other than chunked.
    #[error("no transfer coding but chunked is understood")]
    Coding,
}

impl BadRequest {
    /// The status code to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Syntax | Self::Length => 400,
            Self::TooLong => 431,
            Self::Coding => 501,
        }
    }
}

impl Head {
    /// Reads a head from the beginning of `bytes`. Returns it with its length in bytes, or nothing if there is
    /// more to come.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadRequest> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        // What lies beyond is not looked at, or the answer would depend on how much of it has arrived.
        let length = match request.parse(&bytes[..bytes.len().min(MAX_HEAD)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::TooLong),
            Err(_) => return Err(BadRequest::Syntax),
        };
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(BadRequest::Syntax);
        };
        let mut head = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            keep_alive: version == 1,
            is_http_1_0: version == 0,
            body: BodyLength::Exact(0),
            expects_continue: false,
            range: None,
            if_range: None,
            if_match: None,
            if_unmodified_since: None,
            is_browser: false,
            agent: None,
            run: None,
            told: Told::default(),
        };
        head.read_fields(request.headers)?;
        Ok(Some((head, length)))
    }

    fn read_fields(&mut self, fields: &[httparse::Header<'_>]) -> Result<(), BadRequest> {
        let mut length = None;
        let mut is_chunked = false;
        for field in fields {
            let name = field.name.to_ascii_lowercase();
            // What is not ASCII is in no field that is read here.
            let value = std::str::from_utf8(field.value).unwrap_or_default();
            // Only these two surround a value (RFC 9110 §5.6.3). A length behind any other blank is no length to
            // others, and would be one to us.
            let value = value.trim_matches([' ', '\t']);
            match name.as_str() {
                "content-length" => {
                    let said = content_length(value)?;
                    if length.is_some_and(|known| known != said) {
                        return Err(BadRequest::Length);
                    }
                    length = Some(said);
                }
                "transfer-encoding" => {
                    if is_chunked || !value.eq_ignore_ascii_case("chunked") {
                        return Err(BadRequest::Coding);
                    }
                    is_chunked = true;
                }
                "connection" => {
                    for option in value.split(',').map(str::trim) {
                        if option.eq_ignore_ascii_case("close") {
                            self.keep_alive = false;
                        } else if option.eq_ignore_ascii_case("keep-alive") && self.is_http_1_0 {
                            self.keep_alive = true;
                        }
                    }
                }
                "expect" => self.expects_continue = value.eq_ignore_ascii_case("100-continue"),
                "range" => self.range = Some(value.to_owned()),
                "if-match" => {
                    let before = self.if_match.take().map(|before| before + ",").unwrap_or_default();
                    self.if_match = Some(before + value);
                }
                // What is no date is ignored, as the RFC says.
                "if-unmodified-since" => self.if_unmodified_since = httpdate::parse_http_date(value).ok(),
                "if-range" => self.if_range = Some(if_range(value)),
                "accept" => self.is_browser |= accepts_html(value),
                "user-agent" => self.agent = Some(value.to_owned()),
                _ if name.eq_ignore_ascii_case(RUN_HEADER) => self.run = Some(value.parse().map_err(drop)),
                _ if name.eq_ignore_ascii_case(HOST_UUID_HEADER) => self.told.uuid = host_uuid(value),
                _ if name.eq_ignore_ascii_case(HOST_MAC_HEADER) => self.told.macs = macs(value),
                _ => {}
            }
        }
        self.body = match (length, is_chunked) {
            // Two answers to one question are how requests are smuggled (RFC 9112 §6.3).
            (Some(_), true) => return Err(BadRequest::Length),
            (_, true) if self.is_http_1_0 => return Err(BadRequest::Coding),
            (_, true) => BodyLength::Chunked,
            (length, false) => BodyLength::Exact(length.unwrap_or(0)),
        };
        Ok(())
    }
}

fn content_length(value: &str) -> Result<u64, BadRequest> {
    // `parse` takes a leading plus sign.
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_err(|_| BadRequest::Length)
    } else {
        Err(BadRequest::Length)
    }
}

fn if_range(value: &str) -> IfRange {
    if value.starts_with('"') {
        IfRange::Tag(value.to_owned())
    } else {
        httpdate::parse_http_date(value).map_or(IfRange::Nonsense, IfRange::Date)
    }
}

/// Whether `text/html` is asked for by name, and not with a quality of zero (RFC 9110 §12.5.1).
fn accepts_html(value: &str) -> bool {
    value.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        let is_refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.and_then(|quality| quality.parse::<f32>().ok()) == Some(0.0)
        });
        is_html && !is_refused
    })
}

fn macs(value: &str) -> Vec<Mac> {
    let macs =
        value.split(',').filter_map(|mac| mac.trim().parse().ok()).filter(|mac: &Mac| mac.is_unicast());
    macs.take(MAX_MACS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<Head, BadRequest> {
        Ok(Head::parse(text.replace('\n', "\r\n").as_bytes())?.expect("a whole head").0)
    }

    /// As OVMF sends it.
    const OVMF: &str =
        "HEAD /dispatch HTTP/1.1\nHost: 10.0.2.2\nAccept: */*\nUser-Agent: UefiHttpBoot/1.0\n\n";

    #[test]
    fn the_head_that_ovmf_sends_is_read() {
        let head = head(OVMF).expect("a request");
        assert_eq!((head.method.as_str(), head.target.as_str()), ("HEAD", "/dispatch"));
        assert_eq!(head.agent.as_deref(), Some("UefiHttpBoot/1.0"));
        assert!(head.keep_alive && !head.is_browser);
        assert_eq!(head.body, BodyLength::Exact(0));
    }

    #[test]
    fn a_part_of_a_head_is_waited_for() {
        let bytes = OVMF.replace('\n', "\r\n");
        for length in 0..bytes.len() {
            assert_eq!(Head::parse(&bytes.as_bytes()[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn only_text_html_by_name_is_a_browser() {
        for (accept, is_browser) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("TEXT/HTML ; level=1", true),
            ("*/*", false),
            ("text/*", false),
            ("text/html;q=0", false),
            ("text/htmlx", false),
            ("", false),
        ] {
            let head = head(&format!("GET / HTTP/1.1\nAccept: {accept}\n\n")).expect("a request");
            assert_eq!(head.is_browser, is_browser, "{accept}");
        }
    }

    #[test]
    fn connections_stay_open_as_the_versions_say() {
        for (text, stays) in [
            ("GET / HTTP/1.1\n\n", true),
            ("GET / HTTP/1.1\nConnection: close\n\n", false),
            ("GET / HTTP/1.1\nConnection: foo, Close\n\n", false),
            ("GET / HTTP/1.0\n\n", false),
            ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", true),
        ] {
            assert_eq!(head(text).expect("a request").keep_alive, stays, "{text}");
        }
    }

    #[test]
    fn a_body_length_that_is_not_clear_is_refused() {
        for text in [
            "PUT / HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\n",
            "PUT / HTTP/1.1\nContent-Length: +1\n\n",
            "PUT / HTTP/1.1\nContent-Length: 99999999999999999999\n\n",
            "PUT / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
            "PUT / HTTP/1.1\nContent-Length: \u{a0}1\n\n",
        ] {
            assert_eq!(head(text), Err(BadRequest::Length), "{text}");
        }
        assert_eq!(head("PUT / HTTP/1.1\nTransfer-Encoding: gzip\n\n"), Err(BadRequest::Coding));
        assert_eq!(head("PUT / HTTP/1.0\nTransfer-Encoding: chunked\n\n"), Err(BadRequest::Coding));
        let twice = head("PUT / HTTP/1.1\nContent-Length: 2\nContent-Length: 2\n\n").expect("a request");
        assert_eq!(twice.body, BodyLength::Exact(2));
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(Head::parse(endless.as_bytes()), Err(BadRequest::TooLong));
        let bad_beyond = format!("{endless}\r\n\0\r\n\r\n");
        assert_eq!(Head::parse(bad_beyond.as_bytes()), Err(BadRequest::TooLong));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(Head::parse(many.as_bytes()), Err(BadRequest::TooLong));
    }

    #[test]
    fn what_beacon_tells_of_its_host_is_read_and_nonsense_left_out() {
        let head = head(
            "POST / HTTP/1.1\nDispatch-Host-Uuid: 4C4C4544-0000-1111-8042-B9C04F4E3132\n\
             Dispatch-Host-Mac: 52:54:00:00:00:01, nonsense, 00:00:00:00:00:00,52:54:00:00:00:02\n\n",
        )
        .expect("a request");
        assert_eq!(head.told.uuid.as_deref(), Some("4c4c4544-0000-1111-8042-b9c04f4e3132"));
        assert_eq!(head.told.macs.len(), 2);
        let nonsense = Head::parse(b"POST / HTTP/1.1\r\nDispatch-Run: x\r\n\r\n").expect("a request");
        assert_eq!(nonsense.expect("whole").0.run, Some(Err(())));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = Head::parse(&bytes);
        }

        #[test]
        fn arbitrary_fields_never_panic(
            name in "(content-length|range|if-range|accept|expect|connection|transfer-encoding|dispatch-run|dispatch-host-mac)",
            value in "[ -~]{0,64}",
        ) {
            let _ = Head::parse(format!("PUT /dispatch HTTP/1.1\r\n{name}: {value}\r\n\r\n").as_bytes());
        }

        /// However a request is cut into pieces, what is read of it is the same.
        #[test]
        fn a_longer_buffer_changes_nothing(tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = OVMF.replace('\n', "\r\n");
            let mut bytes = text.clone().into_bytes();
            bytes.extend(tail);
            let (_, length) = Head::parse(&bytes).expect("a request").expect("a whole head");
            prop_assert_eq!(length, text.len());
        }
    }
}
