//! Releases in: what a release has, and the bytes of its assets.

use jiff::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::client::{Request, Signer, parsed};
use crate::error::{Error, Kind};
use crate::web::{Api, Fetch, header};
use crate::{Download, GitHub, Slug, words};

/// A list within a release that is as long as a page is by default may have been cut: nothing says that it never is.
const MAYBE_CUT: usize = 30;

/// An answer to a conditional request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is what is known already.
    NotModified,
    /// It is this.
    New {
        /// The thing itself.
        value: T,
        /// Its entity tag, to ask with the next time.
        etag: Option<String>,
    },
}

/// A release. What is kept of it on disk can be read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// Its tag.
    pub tag_name: String,
    /// Its title.
    #[serde(default)]
    pub name: Option<String>,
    /// Its page.
    pub html_url: String,
    /// When it was published, by GitHub's clock.
    #[serde(default)]
    pub published_at: Option<Timestamp>,
    /// All its assets, also those whose upload is not over.
    pub assets: Vec<Asset>,
}

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// Its number.
    pub id: u64,
    /// Its name, unique within the release.
    pub name: String,
    /// Its media type, as whoever uploaded it said.
    pub content_type: String,
    /// Its size, in bytes.
    pub size: u64,
    /// Its digest, as `sha256:` and 64 hexadecimal digits. None for assets from before GitHub told it.
    #[serde(default)]
    pub digest: Option<String>,
    /// Its address in the API, for [`GitHub::asset`].
    pub url: Url,
    /// When it was changed last, by GitHub's clock.
    pub updated_at: Timestamp,
    /// `uploaded`; `open` while its upload is not over.
    pub state: String,
}

impl GitHub {
    /// The release of a tag. The tag `latest` is that tag if there is one, else the latest release. With `known`, the
    /// entity tag of what is known already, an unchanged release costs nothing of the rate limit for whoever is signed
    /// in; for others it counts as any request does.
    pub async fn release(
        &self,
        repo: &Slug,
        tag: &str,
        known: Option<&str>,
    ) -> Result<Answer<Release>, Error> {
        let doing = format!("read the release `{tag}` of {repo}");
        let url = self.of(repo, &["releases", "tags", tag], &doing)?;
        match self.release_at(repo, url, known, &doing).await {
            Err(error) if error.kind() == Kind::NotFound && tag == "latest" => {
                let url = self.of(repo, &["releases", "latest"], &doing)?;
                self.release_at(repo, url, known, &doing).await
            }
            other => other,
        }
    }

    async fn release_at(
        &self,
        repo: &Slug,
        url: Url,
        known: Option<&str>,
        doing: &str,
    ) -> Result<Answer<Release>, Error> {
        let request = Request { known, ..Request::get(url, Signer::Reading(repo), doing) };
        let reply = self.ask(&request).await?;
        if reply.status == 304 {
            return Ok(Answer::NotModified);
        }
        let mut release: Release = parsed(&reply.body, doing)?;
        if release.assets.len() >= MAYBE_CUT {
            let mut url = self.of(repo, &["releases", &release.id.to_string(), "assets"], doing)?;
            url.query_pairs_mut().append_pair("per_page", "100");
            release.assets = self.pages(url, Signer::Reading(repo), doing).await?;
            // Whoever uploads while we read moves an asset to the next page.
            let mut seen = std::collections::BTreeSet::new();
            release.assets.retain(|asset| seen.insert(asset.id));
        }
        Ok(Answer::New { value: release, etag: header(&reply.headers, "etag").map(str::to_owned) })
    }

    /// The bytes of an asset from `start`, by its address in the API. Our credentials go to the API only, not to where
    /// it redirects. With `if_range`, the entity tag of an earlier [`Download`], it begins at 0 if it is another file.
    pub async fn asset(&self, url: &Url, start: u64, if_range: Option<&str>) -> Result<Download, Error> {
        let doing = format!("fetch the asset {}", words::place(url));
        let repo = self.root().repository_in(url);
        let signer = repo.as_ref().map(Signer::Reading);
        let credentials = match signer {
            Some(signer) => self.credentials(signer, None).await?,
            None => None,
        };
        let mut fetched = self.fetch_asset(url, start, if_range, credentials.as_ref(), &doing).await;
        if let (Some(signer), Err(error)) = (signer, &fetched)
            && error.is_bad_credentials()
            && credentials.is_some()
            && let Some(renewed) = self.credentials(signer, credentials.as_ref()).await?
        {
            fetched = self.fetch_asset(url, start, if_range, Some(&renewed), &doing).await;
        }
        fetched
    }

    async fn fetch_asset(
        &self,
        url: &Url,
        start: u64,
        if_range: Option<&str>,
        credentials: Option<&reqwest::header::HeaderValue>,
        doing: &str,
    ) -> Result<Download, Error> {
        let root = self.root();
        let seen = |place: &Url, headers: &reqwest::header::HeaderMap| {
            if root.contains(place) {
                self.observe(headers);
            }
        };
        let api = Some(Api { root, credentials, token: self.token_kind() });
        let fetch = Fetch { method: &Method::GET, url, start, if_range, api, seen: &seen };
        self.web().fetch(fetch, doing).await
    }
}
