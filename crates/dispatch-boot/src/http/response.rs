//! Writes the head of an answer.

use std::fmt::Write as _;
use std::time::SystemTime;

/// The head of an answer. `Content-Length` is always there, except where there can be no body.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    fields: String,
}

impl Response {
    /// An answer with a body of `length` bytes.
    #[must_use]
    pub fn new(status: u16, length: u64) -> Self {
        Self { status, fields: String::new() }.with("Content-Length", &length.to_string())
    }

    /// Adds a field. What would end its line is left out of its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        let _ = write!(self.fields, "{name}: {value}\r\n");
        self
    }

    /// Adds `Last-Modified`, unless the file is from a time that HTTP has no form for (RFC 9110 §5.6.7).
    #[must_use]
    pub fn with_modified(self, modified: SystemTime) -> Self {
        const YEAR_9999: u64 = 253_370_764_800;
        match modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(age) if age.as_secs() < YEAR_9999 => {
                self.with("Last-Modified", &httpdate::fmt_http_date(modified))
            }
            _ => self,
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The head as it goes out.
    #[must_use]
    pub fn head(&self, keep_alive: bool, now: SystemTime) -> String {
        let mut head = String::with_capacity(256);
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let _ = write!(head, "Date: {}\r\n", httpdate::fmt_http_date(now));
        // Each host has an image of its own under the one URL, and a browser a page: nobody may keep an answer.
        head.push_str("Cache-Control: no-store\r\nVary: Accept\r\n");
        head.push_str(&self.fields);
        head.push_str(if keep_alive {
            "Connection: keep-alive\r\n\r\n"
        } else {
            "Connection: close\r\n\r\n"
        });
        head
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_as_firmware_expects_it() {
        let head =
            Response::new(200, 12).with("Content-Type", "application/efi").head(true, SystemTime::UNIX_EPOCH);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nCache-Control: no-store\r\nVary: Accept\r\n\
             Content-Length: 12\r\n\
             Content-Type: application/efi\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn a_file_from_before_1970_or_after_9999_has_no_date() {
        let second = std::time::Duration::from_secs(1);
        let early = SystemTime::UNIX_EPOCH - second;
        let late = SystemTime::UNIX_EPOCH + second * u32::MAX * 60;
        for modified in [early, late] {
            let head = Response::new(200, 0).with_modified(modified).head(true, SystemTime::UNIX_EPOCH);
            assert!(!head.contains("Last-Modified"), "{head}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let head = Response::new(200, 0).with("X", "a\r\nSet-Cookie: b").head(false, SystemTime::UNIX_EPOCH);
        assert!(head.contains("X: aSet-Cookie: b\r\n"), "{head}");
    }
}
