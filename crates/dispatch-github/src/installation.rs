//! The tokens of an App's installations: found by the repository, renewed in time, and shared by all who wait.

use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::app::{App, GrantedToken, Held, InstallationToken};
use crate::client::{Reply, Request, Signer, malformed, parsed};
use crate::error::{Error, Fate, Kind};
use crate::{GitHub, Slug};

/// A clock that is wrong by more than this is a reason to sign a JWT again.
const CLOCK_WRONG: SignedDuration = SignedDuration::from_secs(20);

impl GitHub {
    /// A token of the installation that a repository belongs to, and not the one that was refused. What fails here has
    /// not sent the request that the token is for.
    pub(crate) async fn installation_token(
        &self,
        app: &App,
        repo: &Slug,
        refused: Option<&HeaderValue>,
    ) -> Result<InstallationToken, Error> {
        let place = app.place(repo);
        let mut held = place.lock().await;
        let now = self.github_time();
        if let Some(token) = held.token(now).filter(|token| refused != Some(&token.header)) {
            return Ok(token.clone());
        }
        match self.granted(app, repo).await {
            Ok(token) => {
                *held = Held::Token(token.clone());
                Ok(token)
            }
            Err(error) => {
                *held = if error.kind() == Kind::NotFound { Held::absent(now) } else { Held::Nothing };
                Err(error.with_fate(Fate::NotApplied))
            }
        }
    }

    /// The same to read what may be public. Where the App is not installed another installation's token will do, which
    /// may ask more often than nobody may; without one it is nobody who asks.
    pub(crate) async fn reading_token(
        &self,
        app: &App,
        repo: &Slug,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let now = self.github_time();
        let is_absent = app.place(repo).lock().await.is_absent(now);
        if !is_absent {
            match self.installation_token(app, repo, refused).await {
                Err(error) if error.kind() == Kind::NotFound => {}
                other => return other.map(|token| Some(token.header)),
            }
        }
        Ok(app.any_token(now).filter(|token| refused != Some(token)))
    }

    async fn granted(&self, app: &App, repo: &Slug) -> Result<InstallationToken, Error> {
        let doing = format!("sign in as the GitHub App {} on {repo}", app.id());
        let url = self.of(repo, &["installation"], &doing)?;
        let request = Request::get(url, Signer::Ourselves, &doing);
        let found = self.as_app(app, &request).await.map_err(|error| match error.kind() {
            Kind::NotFound => error.with_words(&format!(
                "cannot {doing}: it is not installed there: install it in the settings of the App, for this repository"
            )),
            _ => error,
        })?;
        let found: Value = parsed(&found.body, &doing)?;
        let id = found["id"].as_u64().map(|id| id.to_string());
        let id = id.ok_or_else(|| malformed(&doing, "the installation has no number"))?;
        let url = self.at(&["app", "installations", &id, "access_tokens"], &doing)?;
        let request = Request::send(Method::POST, url, json!({}), Signer::Ourselves, &doing);
        let granted = self.as_app(app, &request).await?;
        // Without what is wrong with it: that might be the token.
        let granted = serde_json::from_slice::<GrantedToken>(&granted.body).ok();
        granted
            .and_then(|granted| InstallationToken::from_answer(granted).ok())
            .ok_or_else(|| malformed(&doing, "there is no token in it"))
    }

    /// A request that the App itself makes. If our clock is so wrong that GitHub refuses what we signed by it, its
    /// answer tells the right time.
    pub(crate) async fn as_app(&self, app: &App, request: &Request<'_>) -> Result<Reply, Error> {
        let before = self.seen().ahead;
        let mut jwt = self.jwt(app)?;
        let mut reply = self.exchange(request, Some(&jwt)).await?;
        if reply.status == 401 && (self.seen().ahead - before).abs() > CLOCK_WRONG {
            jwt = self.jwt(app)?;
            reply = self.exchange(request, Some(&jwt)).await?;
        }
        self.judged(reply, request, Some(&jwt))
    }

    /// What the App itself signs in with.
    pub(crate) fn jwt(&self, app: &App) -> Result<HeaderValue, Error> {
        app.jwt(self.github_time()).map_err(|error| Error::new(Kind::Unreachable, &error.to_string()))
    }
}
