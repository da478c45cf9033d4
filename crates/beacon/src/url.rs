//! The address of a dispatch server.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

/// An `http://` URL of a boot path. Keeps the text as it was given (a firmware's boot entry may carry a
/// query such as `?foo.efi`, without which the menu would have refused it) and knows when two are the same.
#[derive(Clone, Debug)]
pub struct ServerUrl {
    text: String,
    uri: Uri,
}

/// Why a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// beacon has no TLS, as there is no CA store in the images it is made for.
    #[error("`{0}` is an https URL, and beacon speaks plain http only; give the server an http:// URL")]
    Https(String),
    /// Not a URL, or none that a request could be sent to.
    #[error("`{0}` is not a URL like http://10.0.2.2:8080/dispatch")]
    Malformed(String),
}

impl ServerUrl {
    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL as the HTTP client takes it. A fragment is not part of it (RFC 9110 §4.2.5).
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    fn key(&self) -> (String, u16, &str) {
        let host = self.uri.host().unwrap_or_default().to_ascii_lowercase();
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        (host, self.uri.port_u16().unwrap_or(80), path)
    }
}

/// Two URLs are the same if a request to them is the same: the default port, the case of the host and a
/// fragment make no difference.
impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ServerUrl {}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let malformed = || UrlError::Malformed(text.escape_debug().to_string());
        // The parser ignores what comes after a `#`, so it does not see what is wrong there.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed());
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        match uri.scheme_str() {
            Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => {}
            Some("https") => return Err(UrlError::Https(text.to_owned())),
            _ => return Err(malformed()),
        }
        Ok(Self { text: text.to_owned(), uri })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> ServerUrl {
        text.parse().expect("a URL")
    }

    #[test]
    fn the_text_stays_as_it_was_given() {
        let url = url("http://Lab.example:8080/dispatch?foo.efi#top");
        assert_eq!(url.as_str(), "http://Lab.example:8080/dispatch?foo.efi#top");
        assert_eq!(url.uri().path_and_query().expect("a path").as_str(), "/dispatch?foo.efi");
    }

    #[test]
    fn same_requests_are_same_urls() {
        assert_eq!(url("http://lab/dispatch"), url("HTTP://LAB:80/dispatch#x"));
        assert_eq!(url("http://lab"), url("http://lab/"));
        assert_ne!(url("http://lab/dispatch"), url("http://lab/dispatch?a"));
        assert_ne!(url("http://lab/dispatch"), url("http://lab:8080/dispatch"));
        assert_ne!(url("http://lab/dispatch"), url("http://lab/Dispatch"));
    }

    #[test]
    fn https_is_refused_with_a_clear_word() {
        let error = "https://lab/dispatch".parse::<ServerUrl>().expect_err("refused");
        assert!(error.to_string().contains("plain http only"), "{error}");
    }

    #[test]
    fn what_no_request_can_be_sent_to_is_no_url() {
        for bad in
            ["", "lab", "/dispatch", "ftp://lab/", "http://", "http:///x", "http://a b/", "http://lab/#\u{7}"]
        {
            assert!(matches!(bad.parse::<ServerUrl>(), Err(UrlError::Malformed(_))), "{bad:?}");
        }
    }

    #[test]
    fn an_ipv6_address_is_a_host() {
        assert_eq!(url("http://[fd00::1]:8080/dispatch").uri().host(), Some("[fd00::1]"));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,80}") {
            let _ = text.parse::<ServerUrl>();
            let _ = format!("http://{text}").parse::<ServerUrl>();
        }
    }
}
