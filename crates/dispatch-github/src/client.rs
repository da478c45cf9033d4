//! One request to GitHub's API and its answer: credentials, redirects within the API, pages, the clock and the limits.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::{Method, Response};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::answer::{Answer, Who, failure};
use crate::app::App;
use crate::error::{Error, Fate, Kind};
use crate::limits::{Limits, date, limits};
use crate::root::Root;
use crate::token::{SignIn, TokenKind, bearer, of_bearer, trimmed};
use crate::web::{API_VERSION, Web, no_answer, target, unsent};
use crate::{SetUpError, Slug, link, words};

/// The most pages of one list: ten thousand entries. A list that goes on is an error, never cut.
const MAX_PAGES: usize = 100;

/// How many redirects are followed: of repositories that were renamed.
const MAX_REDIRECTS: usize = 5;

/// The most bytes of an answer: a page of a hundred issues with the longest bodies fits.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Which GitHub it is, and who else is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The root of the API.
    pub api: Url,
    /// PEM files of certificate authorities beside the system's.
    pub ca_certs: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, which a test looks at")]
        let api = Url::parse(crate::GITHUB).expect("the address of GitHub's API");
        Self { api, ca_certs: Vec::new() }
    }
}

/// GitHub, as one user or nobody. Cheap to clone: clones share tokens, clock and limits.
#[derive(Clone)]
pub struct GitHub(Arc<Inner>);

struct Inner {
    web: Web,
    root: Root,
    auth: Auth,
    seen: Mutex<Seen>,
    /// Who we are, once GitHub has told.
    who: OnceLock<String>,
}

enum Auth {
    Nobody,
    Token { header: HeaderValue, kind: TokenKind },
    App(Box<App>),
}

/// What the answers told beside what was asked.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// How far GitHub's clock is ahead of ours.
    pub(crate) ahead: SignedDuration,
    /// What GitHub's clock and ours showed when it last told its time.
    heard: Option<(Timestamp, Timestamp)>,
    limits: Option<Limits>,
}

/// As whom a request is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signer<'a> {
    /// With the token; for an App, as the App itself.
    Ourselves,
    /// With the token; for an App, as its installation on this repository.
    On(&'a Slug),
    /// The same for what may be public: an App that is not installed there reads it as everybody may.
    Reading(&'a Slug),
}

/// A request to the API.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Value>,
    /// The entity tag of what we have already.
    pub(crate) known: Option<&'a str>,
    pub(crate) signer: Signer<'a>,
    /// As in "cannot *file the issue in o/r*".
    pub(crate) doing: &'a str,
}

impl<'a> Request<'a> {
    pub(crate) fn get(url: Url, signer: Signer<'a>, doing: &'a str) -> Self {
        Self { method: Method::GET, url, body: None, known: None, signer, doing }
    }

    pub(crate) fn send(method: Method, url: Url, body: Value, signer: Signer<'a>, doing: &'a str) -> Self {
        Self { method, url, body: Some(body), known: None, signer, doing }
    }
}

/// An answer of the API with its whole body, which may be a token.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// When it came, by our clock.
    came: Timestamp,
}

impl GitHub {
    /// A client of the API at this root, which has asked nothing yet.
    pub fn new(web: Web, api: Url, sign_in: SignIn) -> Result<Self, SetUpError> {
        let auth = match sign_in {
            SignIn::Nobody => Auth::Nobody,
            SignIn::Token { token, from } => {
                let token = trimmed(&token).ok_or_else(|| SetUpError::OddToken(from.to_string()))?;
                let token = token.expose_secret();
                Auth::Token { header: bearer(token, &from.to_string())?, kind: TokenKind::of(token) }
            }
            SignIn::App { id, key } => Auth::App(Box::new(App::new(id, &key)?)),
        };
        Ok(Self(Arc::new(Inner {
            web,
            root: Root::new(api)?,
            auth,
            seen: Mutex::default(),
            who: OnceLock::new(),
        })))
    }

    /// Whether requests have credentials.
    #[must_use]
    pub fn signed_in(&self) -> bool {
        !matches!(self.0.auth, Auth::Nobody)
    }

    /// What kind of token requests have.
    #[must_use]
    pub fn token_kind(&self) -> TokenKind {
        match &self.0.auth {
            Auth::Nobody => TokenKind::Nobody,
            Auth::Token { kind, .. } => *kind,
            Auth::App(_) => TokenKind::Installation,
        }
    }

    /// The root of the API, with a slash at its end.
    #[must_use]
    pub fn api(&self) -> &Url {
        self.0.root.url()
    }

    /// The login of whoever is signed in, if [`whoami`](Self::whoami) was told: nobody is asked here.
    #[must_use]
    pub fn known_as(&self) -> Option<&str> {
        self.0.who.get().map(String::as_str)
    }

    pub(crate) fn learn_who(&self, who: &str) {
        // The same for as long as the token is.
        let _ = self.0.who.set(who.to_owned());
    }

    /// What GitHub's clock showed in its last answer (`Date`), and what ours did then. Whatever is asked from now on comes
    /// after that, also if our clock is set: nothing is added here that ours would measure.
    #[must_use]
    pub fn heard(&self) -> Option<(Timestamp, Timestamp)> {
        self.seen().heard
    }

    /// The time by GitHub's clock, as far as its last answer told; by ours before that. It moves with our clock, which may
    /// be set.
    #[must_use]
    pub fn github_time(&self) -> Timestamp {
        let now = self.0.web.now();
        now.saturating_add(self.seen().ahead).unwrap_or(now)
    }

    /// What was left of the primary rate limit after the last answer that told it.
    #[must_use]
    pub fn limits(&self) -> Option<Limits> {
        self.seen().limits
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the clock and the limits from the headers of an answer of the API.
    pub(crate) fn observe(&self, headers: &HeaderMap) {
        let now = self.0.web.now();
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(date) = date(headers) {
            seen.ahead = date.duration_since(now);
            seen.heard = Some((date, now));
        }
        seen.limits = limits(headers).or(seen.limits);
    }

    pub(crate) fn web(&self) -> &Web {
        &self.0.web
    }

    pub(crate) fn root(&self) -> &Root {
        &self.0.root
    }

    pub(crate) fn app(&self) -> Option<&App> {
        match &self.0.auth {
            Auth::App(app) => Some(app),
            Auth::Nobody | Auth::Token { .. } => None,
        }
    }

    /// The address of something below the root.
    pub(crate) fn at(&self, segments: &[&str], doing: &str) -> Result<Url, Error> {
        self.0.root.at(segments).ok_or_else(|| {
            Error::new(Kind::NotFound, &format!("cannot {doing}: nothing can have such a name"))
        })
    }

    /// The address of something of a repository.
    pub(crate) fn of(&self, repo: &Slug, segments: &[&str], doing: &str) -> Result<Url, Error> {
        self.at(&[&["repos", repo.owner(), repo.name()], segments].concat(), doing)
    }

    /// Asks and takes a good answer, or 304 for what we have already. An answer of any other status is a failure.
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Result<Reply, Error> {
        let mut credentials = self.credentials(request.signer, None).await?;
        let mut reply = self.exchange(request, credentials.as_ref()).await?;
        if reply.status == 401
            && credentials.is_some()
            && let Some(renewed) = self.credentials(request.signer, credentials.as_ref()).await?
        {
            credentials = Some(renewed);
            reply = self.exchange(request, credentials.as_ref()).await?;
        }
        self.judged(reply, request, credentials.as_ref())
    }

    /// The same, and what the answer's body says.
    pub(crate) async fn read<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, Error> {
        let reply = self.ask(request).await?;
        parsed(&reply.body, request.doing)
    }

    /// Every entry of a list, page by page.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        url: Url,
        signer: Signer<'_>,
        doing: &str,
    ) -> Result<Vec<T>, Error> {
        self.pages_until(url, signer, doing, |_| false).await.map(|(entries, _)| entries)
    }

    /// The same up to the first page whose last entry `is_enough`, and of how many pages they are.
    pub(crate) async fn pages_until<T: DeserializeOwned>(
        &self,
        mut url: Url,
        signer: Signer<'_>,
        doing: &str,
        is_enough: impl Fn(&T) -> bool,
    ) -> Result<(Vec<T>, usize), Error> {
        let mut entries = Vec::new();
        for page in 1..=MAX_PAGES {
            let reply = self.ask(&Request::get(url.clone(), signer, doing)).await?;
            let more = parsed::<Vec<T>>(&reply.body, doing)?;
            let is_over = more.last().is_some_and(&is_enough);
            entries.extend(more);
            let Some(next) = link::next(&reply.headers).filter(|_| !is_over) else {
                return Ok((entries, page));
            };
            let next = url.join(&next).ok().filter(|next| self.0.root.contains(next));
            url = next.ok_or_else(|| {
                Error::new(Kind::Malformed, &format!("cannot {doing}: the next page is not at GitHub's API"))
            })?;
        }
        Err(Error::new(Kind::Malformed, &format!("cannot {doing}: the list has more than {MAX_PAGES} pages")))
    }

    /// What a request is signed with, and not with what was refused (401). None if there is nothing, or nothing else.
    pub(crate) async fn credentials(
        &self,
        signer: Signer<'_>,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        match (&self.0.auth, signer) {
            (Auth::Nobody, _) => Ok(None),
            (Auth::Token { header, .. }, _) => Ok(refused.is_none().then(|| header.clone())),
            (Auth::App(app), Signer::Ourselves) => self.jwt(app).map(Some),
            (Auth::App(app), Signer::On(repo)) => {
                Ok(Some(self.installation_token(app, repo, refused).await?.header))
            }
            (Auth::App(app), Signer::Reading(repo)) => self.reading_token(app, repo, refused).await,
        }
    }

    /// The failure that an answer is, if it is one.
    pub(crate) fn judged(
        &self,
        reply: Reply,
        request: &Request<'_>,
        credentials: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        if (200..300).contains(&reply.status) || (reply.status == 304 && request.known.is_some()) {
            return Ok(reply);
        }
        let secret = credentials.map(of_bearer).unwrap_or_default();
        let Reply { status, headers, body, came } = &reply;
        let answer = Answer { status: *status, headers, body, now: *came, secret };
        Err(failure(&answer, Who::GitHub(self.token_kind()), request.doing))
    }

    /// Sends a request, and follows redirects within the API.
    pub(crate) async fn exchange(
        &self,
        request: &Request<'_>,
        credentials: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        let mut url = request.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.once(request, &url, credentials).await?;
            let Some(next) = target(reply.status, &reply.headers, &url, request.doing)? else {
                return Ok(reply);
            };
            self.may_follow(request, reply.status, &next)?;
            url = next;
        }
        Err(malformed(request.doing, "it moves in a circle").with_fate(Fate::NotApplied))
    }

    /// Whether a redirect leaves the request what it is, and within the API.
    fn may_follow(&self, request: &Request<'_>, status: u16, next: &Url) -> Result<(), Error> {
        let why = if !self.0.root.contains(next) {
            format!("{}, which is not its API: is --github-url right?", words::host(next))
        } else if request.method != Method::GET && !matches!(status, 307 | 308) {
            "another address: give the repository by its new name".to_owned()
        } else {
            return Ok(());
        };
        let words = format!("cannot {}: GitHub sends us ({status}) to {why}", request.doing);
        // "See other" (303) is what a server says that has done it.
        let fate = if status == 303 { Fate::Unknown } else { Fate::NotApplied };
        Err(Error::new(Kind::Other(status), &words).with_fate(fate))
    }

    async fn once(
        &self,
        request: &Request<'_>,
        url: &Url,
        credentials: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(API_VERSION.0, HeaderValue::from_static(API_VERSION.1));
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, credentials.clone());
        }
        if let Some(known) = request.known.and_then(|known| HeaderValue::from_str(known).ok()) {
            headers.insert(IF_NONE_MATCH, known);
        }
        let limit = self.0.web.limits().answer;
        let mut sending = self.0.web.api_client().request(request.method.clone(), url.clone()).timeout(limit);
        if let Some(body) = &request.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            sending = sending.body(body.to_string());
        }
        let response = sending.headers(headers).send().await;
        let response = response.map_err(|error| unsent(&error, url, request.doing))?;
        self.observe(response.headers());
        tracing::debug!(
            method = %request.method, url = words::place(url), status = response.status().as_u16(), "asked GitHub"
        );
        self.whole(response, request.doing).await
    }

    /// The answer with its body. What fails here came after GitHub had done its work.
    async fn whole(&self, mut response: Response, doing: &str) -> Result<Reply, Error> {
        let came = self.0.web.now();
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break,
                // The status says it all.
                Err(_) if status >= 400 => break,
                Err(error) if error.is_timeout() => {
                    return Err(no_answer(response.url(), doing).with_fate(Fate::Unknown));
                }
                Err(error) => {
                    let words =
                        format!("cannot {doing}: GitHub's answer broke off: {}", words::cause(&error));
                    return Err(Error::new(Kind::Interrupted, &words).with_fate(Fate::Unknown));
                }
            }
            if body.len() > MAX_ANSWER {
                return Err(malformed(doing, "it does not end"));
            }
        }
        Ok(Reply { status, headers: response.headers().clone(), body, came })
    }
}

impl std::fmt::Debug for GitHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitHub")
            .field("api", &self.0.root.url().as_str())
            .field("token", &self.token_kind())
            .finish_non_exhaustive()
    }
}

/// An answer that says that it was done, and not what.
pub(crate) fn malformed(doing: &str, why: &str) -> Error {
    let words = format!(
        "cannot {doing}: the answer is not what GitHub's API would say ({why}): is --github-url the root of the API?"
    );
    Error::new(Kind::Malformed, &words).with_fate(Fate::Unknown)
}

/// What a body says. Where it is wrong is told without what is there: a server may repeat what it was told.
pub(crate) fn parsed<T: DeserializeOwned>(body: &[u8], doing: &str) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let words = error.to_string();
        // The names of fields are ours.
        let what =
            if words.starts_with("missing field") { words } else { format!("column {}", error.column()) };
        malformed(doing, &what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_it_is_github_itself() {
        assert_eq!(Settings::default().api.as_str(), "https://api.github.com/");
    }
}
