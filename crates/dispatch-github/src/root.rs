//! The root of the API: below it, and nowhere else, our credentials may go.

use url::Url;

use crate::SetUpError;

/// The root of the API, with a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root(Url);

impl Root {
    pub(crate) fn new(mut url: Url) -> Result<Self, SetUpError> {
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(SetUpError::NotARoot(crate::words::place(&url)));
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Whether an address is one of this API.
    pub(crate) fn contains(&self, url: &Url) -> bool {
        self.0.scheme() == url.scheme()
            && self.0.host() == url.host()
            && self.0.port_or_known_default() == url.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path().starts_with(self.0.path())
    }

    /// The address below it that has these segments, whatever they hold. None if one of them cannot be a segment.
    pub(crate) fn at(&self, segments: &[&str]) -> Option<Url> {
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return None;
        }
        let mut url = self.0.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
        Some(url)
    }

    /// The owner and name in an address of a repository.
    pub(crate) fn repository_in(&self, url: &Url) -> Option<crate::Slug> {
        let path = url.path().strip_prefix(self.0.path()).filter(|_| self.contains(url))?;
        let mut segments = path.strip_prefix("repos/")?.split('/');
        crate::Slug::new(segments.next()?, segments.next()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[test]
    fn a_root_may_have_a_slash_at_its_end_or_not() {
        for text in ["https://ghe.example/api/v3", "https://ghe.example/api/v3/"] {
            let root = Root::new(url(text)).expect("a root");
            let at = root.at(&["repos", "o", "r"]).expect("an address");
            assert_eq!(at.as_str(), "https://ghe.example/api/v3/repos/o/r");
            assert_eq!(root.repository_in(&at).expect("one").to_string(), "o/r");
        }
    }

    #[test]
    fn only_what_is_below_the_root_is_of_this_api() {
        let root = Root::new(url("https://ghe.example/api/v3")).expect("a root");
        assert!(root.contains(&url("https://ghe.example/api/v3/repos")));
        assert!(root.contains(&url("https://ghe.example:443/api/v3/repos")));
        for text in [
            "https://ghe.example/api/v30/repos",
            "https://ghe.example/raw",
            "https://ghe.example/api/v3/../raw",
            "https://ghe.example/api/v3/%2e%2e/raw",
            "http://ghe.example/api/v3/repos",
            "https://ghe.example:8443/api/v3/repos",
            "https://ghe.example.evil.example/api/v3/repos",
            "https://me@ghe.example/api/v3/repos",
        ] {
            assert!(!root.contains(&url(text)), "{text}");
        }
    }

    #[test]
    fn what_has_credentials_or_a_query_is_no_root() {
        for text in ["https://me:hush@h.example/", "https://h.example/?x", "ftp://h.example/", "data:x"] {
            let error = Root::new(url(text)).expect_err(text).to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_segment_stays_one_segment(tag in any::<String>()) {
            let root = Root::new(url("https://h.example/api/v3")).expect("a root");
            if let Some(at) = root.at(&["tags", &tag]) {
                prop_assert!(root.contains(&at));
                prop_assert_eq!(at.path_segments().expect("a path").count(), 4);
                prop_assert!(at.query().is_none() && at.fragment().is_none());
            }
        }
    }
}
