//! Where the bytes of images come from: GitHub for the assets of a release, any server for what is named by URL.

use bytes::Bytes;
use dispatch_github::{Download, GitHub, Kind, Web};
use jiff::Timestamp;
use url::Url;

use crate::fetch::{Body, FetchError, Future, Upstream};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    web: Web,
    github: Option<GitHub>,
    is_offline: bool,
}

impl Network {
    /// What is below the root of GitHub's API is an asset, and fetched with our credentials; the rest without.
    /// `is_offline` asks nobody.
    #[must_use]
    pub fn new(web: Web, github: Option<GitHub>, is_offline: bool) -> Self {
        Self { web, github, is_offline }
    }

    async fn begin(&self, origin: &str, start: u64, if_range: Option<&str>) -> Result<Download, FetchError> {
        if self.is_offline {
            let words = "it is not in the cache, and --offline fetches nothing: start without it".to_owned();
            return Err(FetchError::Denied(words));
        }
        let url = Url::parse(origin).map_err(|_| FetchError::NotThere("its address is no URL".to_owned()))?;
        let begun = match self.github.as_ref().filter(|github| is_below(github.api(), &url)) {
            Some(github) => github.asset(&url, start, if_range).await,
            None => self.web.download(&url, start, if_range).await,
        };
        begun.map_err(|error| failure(&error))
    }
}

/// Whether an address is within an API.
fn is_below(api: &Url, url: &Url) -> bool {
    api.origin() == url.origin() && url.path().starts_with(api.path())
}

/// What follows for the image.
fn failure(error: &dispatch_github::Error) -> FetchError {
    let words = error.to_string();
    match (error.kind(), error.retry_at()) {
        (Kind::RateLimited, until) => FetchError::Limited { until: until.unwrap_or(Timestamp::MIN), words },
        (Kind::Unreachable, _) => FetchError::Unreachable(words),
        (Kind::NotFound | Kind::Gone, _) => FetchError::NotThere(words),
        (Kind::BadCredentials | Kind::Forbidden, _) => FetchError::Denied(words),
        (Kind::Interrupted | Kind::Refused | Kind::Malformed | Kind::Other(_), _) => {
            FetchError::Broken(words)
        }
    }
}

impl Upstream for Network {
    fn open<'a>(
        &'a self,
        origin: &'a str,
        start: u64,
        if_range: Option<String>,
    ) -> Future<'a, Result<Box<dyn Body>, FetchError>> {
        Box::pin(async move {
            let download = self.begin(origin, start, if_range.as_deref()).await?;
            Ok(Box::new(Coming(download)) as Box<dyn Body>)
        })
    }
}

struct Coming(Download);

impl Body for Coming {
    fn start(&self) -> u64 {
        self.0.start
    }

    fn size(&self) -> Option<u64> {
        self.0.size
    }

    fn etag(&self) -> Option<&str> {
        self.0.etag.as_deref()
    }

    fn chunk(&mut self) -> Future<'_, Result<Option<Bytes>, FetchError>> {
        Box::pin(async { self.0.chunk().await.map_err(|error| failure(&error)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_api_is_asked_for_with_our_credentials() {
        let url = |text: &str| Url::parse(text).expect("a URL");
        let api = url("https://ghe.test/api/v3/");
        assert!(is_below(&api, &url("https://ghe.test/api/v3/repos/o/r/releases/assets/1")));
        for other in [
            "https://ghe.test/other/a.iso",
            "http://ghe.test/api/v3/repos/o/r/releases/assets/1",
            "https://ghe.test:444/api/v3/repos/o/r",
            "https://ghe.test.evil.test/api/v3/repos/o/r",
        ] {
            assert!(!is_below(&api, &url(other)), "{other}");
        }
    }
}
