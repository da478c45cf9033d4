//! Images that are named by URL: `https://HOST/PATH/NAME.iso`, with their digest behind `#sha256=` or in a `SHA256SUMS`
//! beside them.

use dispatch_core::{Digest, Kind};
use url::Url;

/// An image by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUrl {
    /// Where it is fetched.
    pub url: Url,
    /// The last part of its path.
    pub name: String,
    /// What its name says it is.
    pub kind: Kind,
    /// Its digest, if the URL has it.
    pub digest: Option<Digest>,
}

/// What is no URL of an image. Each is one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnImage {
    /// It cannot be read.
    #[error("`…{0}` is no URL: write https://HOST/PATH/NAME.iso")]
    NotAUrl(String),
    /// It is not HTTP.
    #[error("{0}: only http and https can be fetched; for files that are here, give --dir")]
    Scheme(Url),
    /// It has a password, which would be stored and shown.
    #[error("the URL of {0} has a user name or password, which would be stored and shown: leave it out")]
    Credentials(String),
    /// Its name does not say what it is.
    #[error("{0}: its name must end in .efi, .iso or .img")]
    Kind(Url),
    /// What stands behind `#` is no digest.
    #[error("{0}: behind # only sha256=DIGEST may stand, 64 hexadecimal digits")]
    Fragment(Url),
}

impl std::str::FromStr for FileUrl {
    type Err = NotAnImage;

    fn from_str(text: &str) -> Result<Self, NotAnImage> {
        // What is before the path may be a password, what is behind it a signature.
        let last = text.split(['?', '#']).next().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
        let mut url = Url::parse(text).map_err(|_| NotAnImage::NotAUrl(last.to_owned()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAnImage::Credentials(url.path().to_owned()));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NotAnImage::Scheme(plain(&url)));
        }
        let digest = match url.fragment() {
            None | Some("") => None,
            Some(fragment) => {
                let digest = fragment.strip_prefix("sha256=").and_then(|digest| digest.parse().ok());
                Some(digest.ok_or_else(|| NotAnImage::Fragment(plain(&url)))?)
            }
        };
        url.set_fragment(None);
        let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let name = percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned();
        let is_plain = !name.contains('/') && !name.chars().any(char::is_control);
        let kind = Kind::of_file_name(&name).filter(|_| is_plain);
        let Some(kind) = kind else { return Err(NotAnImage::Kind(plain(&url))) };
        Ok(Self { url, name, kind, digest })
    }
}

/// A URL without what may be a secret.
fn plain(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}

impl FileUrl {
    /// Where the digests of its directory are.
    #[must_use]
    pub fn sums(&self) -> Option<Url> {
        let mut sums = self.url.join("SHA256SUMS").ok()?;
        sums.set_query(None);
        Some(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FileUrl, NotAnImage> {
        text.parse()
    }

    #[test]
    fn name_kind_and_digest_are_in_the_url() {
        let hex = "ab".repeat(32);
        let file = read(&format!("https://h.test/a/b%20c.iso?x=1#sha256={hex}")).expect("an image");
        assert_eq!((file.name.as_str(), file.kind), ("b c.iso", Kind::Iso));
        assert_eq!(file.url.as_str(), "https://h.test/a/b%20c.iso?x=1");
        assert_eq!(file.digest.map(|digest| digest.hex()), Some(hex));
        assert_eq!(file.sums().map(String::from).as_deref(), Some("https://h.test/a/SHA256SUMS"));
        assert_eq!(read("http://h.test/a.efi").map(|file| file.digest), Ok(None));
    }

    #[test]
    fn what_is_no_image_is_refused_in_words() {
        for (text, words) in [
            ("a.iso", "is no URL"),
            ("ftp://h.test/a.iso", "only http and https"),
            ("https://h.test/", "must end in"),
            ("https://h.test/a.tar", "must end in"),
            ("https://h.test/a%2fb.iso", "must end in"),
            ("https://h.test/a.iso#md5=1", "sha256=DIGEST"),
            ("https://h.test/a.iso#sha256=12", "sha256=DIGEST"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_shown() {
        let error = read("https://me:hidden@h.test/a.iso").expect_err("refused").to_string();
        assert!(!error.contains("hidden") && error.contains("/a.iso"), "{error}");
    }
}
