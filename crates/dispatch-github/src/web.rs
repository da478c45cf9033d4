//! HTTP for everybody: which servers are trusted, proxies, time limits, and redirects that we follow ourselves.
//!
//! Nothing is asked twice here: whoever asks decides whether to ask again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Client, Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::answer::{Answer, Who, failure};
use crate::download::Download;
use crate::error::{Error, Fate, Kind};
use crate::root::Root;
use crate::token::{TokenKind, of_bearer};
use crate::{SetUpError, limits, words};

/// The time, as somebody gives it.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// The most that is read of an answer that says why not.
const MAX_REFUSAL: usize = 64 * 1024;

/// The version of GitHub's API that we speak, and the header that says so. It is the first one that has a name: a server
/// that is too old to know of versions speaks the same.
pub(crate) const API_VERSION: (&str, &str) = ("x-github-api-version", "2022-11-28");

/// For how long the kernel goes on sending what nobody has acknowledged, also when we are dead by then. Shorter than the
/// twelve seconds after which what was lost is sent again: it must not arrive after that.
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// Who we say we are.
const AGENT: &str = concat!("dispatch/", env!("CARGO_PKG_VERSION"));

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until there is a connection, TLS and a proxy included.
    pub connect: Duration,
    /// A whole request to the API, and the beginning of the answer to a download. Longer than the ten seconds after
    /// which GitHub ends a request, so that its outcome is settled by then.
    pub answer: Duration,
    /// Without one more byte of a download.
    pub stall: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        }
    }
}

/// What is known of a file before it is fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its size, in bytes.
    pub size: Option<u64>,
    /// Its entity tag, as it came.
    pub etag: Option<String>,
    /// When it was changed last, by the server's clock.
    pub modified: Option<Timestamp>,
    /// Whether the server can begin in the middle.
    pub accepts_ranges: bool,
}

/// The web, as this program sees it. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    pub(crate) client: Client,
    /// For requests to an API, which may make something.
    api_client: Client,
    now: Now,
    limits: TimeLimits,
}

/// An API that a request for bytes begins at.
#[derive(Clone, Copy)]
pub(crate) struct Api<'a> {
    /// Below it, and nowhere else, the credentials go.
    pub(crate) root: &'a Root,
    pub(crate) credentials: Option<&'a HeaderValue>,
    pub(crate) token: TokenKind,
}

/// A request for bytes.
#[derive(Clone, Copy)]
pub(crate) struct Fetch<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) start: u64,
    pub(crate) if_range: Option<&'a str>,
    /// The API that it begins at, where it begins at one.
    pub(crate) api: Option<Api<'a>>,
    /// Told of every answer.
    pub(crate) seen: &'a (dyn Fn(&Url, &HeaderMap) + Sync),
}

impl Web {
    /// With the system's certificate authorities and those of these PEM files, by the proxies of `HTTPS_PROXY`,
    /// `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower case.
    pub fn new(ca_certs: &[PathBuf], now: Now) -> Result<Self, SetUpError> {
        Self::with_limits(ca_certs, now, TimeLimits::default())
    }

    /// The same with other time limits.
    pub fn with_limits(ca_certs: &[PathBuf], now: Now, limits: TimeLimits) -> Result<Self, SetUpError> {
        crate::proxy::check(|name| std::env::var(name).ok())?;
        let tls = tls(ca_certs)?;
        let client = || {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(AGENT)
                .connect_timeout(limits.connect)
                // A connection that the other side has given up already is a request with an unknown outcome.
                .pool_idle_timeout(Duration::from_secs(15))
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
        };
        let api_client = client();
        #[cfg(target_os = "linux")]
        let api_client = api_client.tcp_user_timeout(UNACKNOWLEDGED);
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| SetUpError::Client(words::cause(&error)))
        };
        Ok(Self { client: built(client())?, api_client: built(api_client)?, now, limits })
    }

    /// The bytes of a file from `start`, without credentials but those in the address; up to five redirects are
    /// followed. With `if_range`, an entity tag, it begins at 0 if the file is not that one any more.
    pub async fn download(&self, url: &Url, start: u64, if_range: Option<&str>) -> Result<Download, Error> {
        let fetch = Fetch { method: &Method::GET, url, start, if_range, api: None, seen: &|_, _| () };
        self.fetch(fetch, &doing(url)).await
    }

    /// What is known of a file.
    pub async fn size(&self, url: &Url) -> Result<Head, Error> {
        let fetch =
            Fetch { method: &Method::HEAD, url, start: 0, if_range: None, api: None, seen: &|_, _| () };
        let doing = doing(url);
        let (response, place) = self.open(&fetch, &doing).await?;
        // Signed addresses are often good for GET only.
        if matches!(response.status().as_u16(), 403 | 405 | 501) {
            let fetch = Fetch { method: &Method::GET, ..fetch };
            let (response, place) = self.open(&fetch, &doing).await?;
            return self.head_of(response, &place, &fetch, &doing).await;
        }
        self.head_of(response, &place, &fetch, &doing).await
    }

    async fn head_of(
        &self,
        response: Response,
        place: &Url,
        fetch: &Fetch<'_>,
        doing: &str,
    ) -> Result<Head, Error> {
        if response.status() != StatusCode::OK {
            return Err(self.refused(response, place, fetch, doing).await);
        }
        let headers = response.headers();
        Ok(Head {
            size: header(headers, "content-length").and_then(|text| text.parse().ok()),
            etag: header(headers, "etag").map(str::to_owned),
            modified: limits::last_modified(headers),
            accepts_ranges: header(headers, "accept-ranges")
                .is_some_and(|units| units.split(',').any(|unit| unit.trim().eq_ignore_ascii_case("bytes"))),
        })
    }

    /// A text of at most `limit` bytes. None if there is none (404).
    pub async fn text(&self, url: &Url, limit: usize) -> Result<Option<String>, Error> {
        let mut download = match self.download(url, 0, None).await {
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            other => other?,
        };
        let doing = doing(url);
        let mut text = Vec::new();
        while let Some(bytes) = download.chunk().await? {
            if text.len() + bytes.len() > limit {
                let words =
                    format!("cannot {doing}: it is longer than the {limit} bytes that are read of it");
                return Err(Error::new(Kind::Malformed, &words));
            }
            text.extend_from_slice(&bytes);
        }
        String::from_utf8(text)
            .map(Some)
            .map_err(|_| Error::new(Kind::Malformed, &format!("cannot {doing}: it is no text in UTF-8")))
    }

    /// The time by our clock.
    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) fn limits(&self) -> &TimeLimits {
        &self.limits
    }

    pub(crate) fn api_client(&self) -> &Client {
        &self.api_client
    }

    /// A download, whatever redirects lie before it.
    pub(crate) async fn fetch(&self, fetch: Fetch<'_>, doing: &str) -> Result<Download, Error> {
        let (response, place) = self.open(&fetch, doing).await?;
        let stall = self.limits.stall;
        let status = response.status().as_u16();
        if matches!(status, 200 | 206) {
            return Download::new(response, fetch.start, stall, doing);
        }
        if status != 416 || fetch.start == 0 {
            return Err(self.refused(response, &place, &fetch, doing).await);
        }
        if let Some(download) = Download::at_its_end(&response, fetch.start, stall, doing) {
            return Ok(download);
        }
        // It has become shorter than what we have of it.
        let fetch = Fetch { start: 0, if_range: None, ..fetch };
        let (response, place) = self.open(&fetch, doing).await?;
        if response.status() == StatusCode::OK {
            return Download::new(response, 0, stall, doing);
        }
        Err(self.refused(response, &place, &fetch, doing).await)
    }

    /// The answer at the end of the redirects, and where that was.
    async fn open(&self, fetch: &Fetch<'_>, doing: &str) -> Result<(Response, Url), Error> {
        let mut url = fetch.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(fetch, &url, doing).await?;
            (fetch.seen)(&url, response.headers());
            match target(response.status().as_u16(), response.headers(), &url, doing)? {
                Some(next) => url = next,
                None => return Ok((response, url)),
            }
        }
        Err(Error::new(
            Kind::Malformed,
            &format!("cannot {doing}: there are more than {MAX_REDIRECTS} redirects"),
        ))
    }

    async fn send(&self, fetch: &Fetch<'_>, url: &Url, doing: &str) -> Result<Response, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            let words = format!("cannot {doing}: only http and https addresses can be fetched");
            return Err(Error::new(Kind::Unreachable, &words));
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(api) = fetch.api.filter(|api| api.root.contains(url)) {
            headers.insert(ACCEPT, HeaderValue::from_static("application/octet-stream"));
            headers.insert(API_VERSION.0, HeaderValue::from_static(API_VERSION.1));
            if let Some(credentials) = api.credentials {
                headers.insert(AUTHORIZATION, credentials.clone());
            }
        }
        if fetch.start > 0 {
            headers.insert(RANGE, range_from(fetch.start));
            if let Some(etag) = fetch.if_range.and_then(|etag| HeaderValue::from_str(etag).ok()) {
                headers.insert(IF_RANGE, etag);
            }
        }
        tracing::debug!(method = %fetch.method, url = words::place(url), start = fetch.start, "asking");
        let sending = self.client.request(fetch.method.clone(), url.clone()).headers(headers).send();
        match tokio::time::timeout(self.limits.answer, sending).await {
            Ok(answer) => answer.map_err(|error| unsent(&error, url, doing)),
            Err(_) => Err(no_answer(url, doing)),
        }
    }

    /// The failure that this answer is.
    async fn refused(&self, mut response: Response, place: &Url, fetch: &Fetch<'_>, doing: &str) -> Error {
        let now = self.now();
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(bytes)) = response.chunk().await {
                body.extend_from_slice(&bytes);
                if body.len() > MAX_REFUSAL {
                    break;
                }
            }
        };
        // The status alone says enough if the rest does not come.
        let _ = tokio::time::timeout(self.limits.stall, reading).await;
        let status = response.status().as_u16();
        tracing::debug!(url = words::place(place), status, "refused");
        let api = fetch.api.filter(|api| api.root.contains(place));
        let secret = api.and_then(|api| api.credentials).map(of_bearer).unwrap_or_default();
        let answer = Answer { status, headers: response.headers(), body: &body, now, secret };
        let error = failure(&answer, api.map_or(Who::Other, |api| Who::GitHub(api.token)), doing);
        // Where the API sent us is an address for a few minutes: its "no" says nothing of our rights, and the API gives
        // another one.
        if fetch.api.is_some() && api.is_none() { error.into_interruption() } else { error }
    }
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn doing(url: &Url) -> String {
    format!("fetch {}", words::place(url))
}

fn range_from(start: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("bytes={start}-")).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Where a redirect leads. None if it is none. Never from https to http.
pub(crate) fn target(
    status: u16,
    headers: &HeaderMap,
    from: &Url,
    doing: &str,
) -> Result<Option<Url>, Error> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let wrong = |why: &str| {
        let words = format!("cannot {doing}: {} sends us elsewhere, but {why}", words::host(from));
        Error::new(Kind::Malformed, &words)
    };
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| wrong("does not say where"))?;
    let next = from.join(location).map_err(|_| wrong("to no address"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => Ok(Some(next)),
        ("https", "http") => Err(wrong("over plain http, where anybody could change the bytes")),
        _ => Err(wrong("to an address that is neither http nor https")),
    }
}

/// A request that has no answer, in the library's opinion.
pub(crate) fn unsent(error: &reqwest::Error, url: &Url, doing: &str) -> Error {
    let host = words::host(url);
    if error.is_connect() || error.is_builder() {
        let cause = if error.is_timeout() { "it takes too long".to_owned() } else { words::cause(error) };
        return Error::new(Kind::Unreachable, &format!("cannot {doing}: {host} cannot be reached: {cause}"));
    }
    if error.is_timeout() {
        return no_answer(url, doing);
    }
    let cause = words::cause(error);
    let words = format!("cannot {doing}: the connection to {host} broke before there was an answer: {cause}");
    Error::new(Kind::Interrupted, &words).with_fate(Fate::Running)
}

pub(crate) fn no_answer(url: &Url, doing: &str) -> Error {
    let words = format!("cannot {doing}: {} did not answer in time", words::host(url));
    Error::new(Kind::Interrupted, &words).with_fate(Fate::Running)
}

fn tls(ca_certs: &[PathBuf]) -> Result<ClientConfig, SetUpError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        tracing::warn!(
            "this system has no certificate authorities: install its package ca-certificates, or give some with --ca-cert"
        );
    }
    for path in ca_certs {
        add(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetUpError::Client(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Adds every certificate of a PEM file.
fn add(roots: &mut RootCertStore, path: &PathBuf) -> Result<(), SetUpError> {
    let pem = std::fs::read(path).map_err(|source| SetUpError::CaCert { path: path.clone(), source })?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        certificate.ok_or_else(|| SetUpError::BadCaCert(path.clone()))?;
        count += 1;
    }
    if count == 0 { Err(SetUpError::NoCaCert(path.clone())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(status: u16, from: &str, location: Option<&str>) -> Result<Option<String>, Error> {
        let location = location.map(|text| (LOCATION, HeaderValue::from_str(text).expect("a value")));
        let from = Url::parse(from).expect("a URL");
        target(status, &location.into_iter().collect(), &from, "look").map(|url| url.map(String::from))
    }

    #[test]
    fn a_redirect_may_be_relative() {
        let next = followed(302, "https://h.example/a/b", Some("../c?d")).expect("followed");
        assert_eq!(next.as_deref(), Some("https://h.example/c?d"));
    }

    #[test]
    fn no_redirect_leads_from_https_to_http_or_out_of_both() {
        for to in
            [Some("http://h.example/"), Some("ftp://h.example/"), Some("data:,x"), Some("https://"), None]
        {
            let error = followed(302, "https://h.example/", to).expect_err("refused");
            assert_eq!(error.kind(), Kind::Malformed);
        }
    }

    #[test]
    fn a_refused_redirect_does_not_show_where_it_leads() {
        let error =
            followed(302, "https://h.example/", Some("http://blob.example/?sig=hush")).expect_err("refused");
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn what_is_no_redirect_is_not_followed() {
        for status in [200, 300, 304, 404] {
            assert_eq!(followed(status, "https://h.example/", Some("/x")), Ok(None), "{status}");
        }
    }
}
