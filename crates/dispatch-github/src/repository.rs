//! Who we are, and what a repository lets us do.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::client::{Request, Signer, malformed, parsed};
use crate::error::{Error, Kind};
use crate::web::header;
use crate::{GitHub, Slug, TokenKind};

/// A repository, and what is known of our rights in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name today: it may have been renamed.
    pub full_name: Slug,
    /// Whether only some may read it.
    pub private: bool,
    /// Whether it can only be read.
    pub archived: bool,
    /// Whether issues are turned on.
    pub has_issues: bool,
    /// Its page.
    pub html_url: String,
    /// The rights of the user that the token belongs to, which the token may have fewer of.
    pub permissions: Option<Permissions>,
    /// The scopes of a classic or OAuth token. None for every other kind.
    pub scopes: Option<Vec<String>>,
    /// For an App of ours: what its installation was granted, as `issues` → `write`; nothing where it is not installed.
    pub granted: Option<BTreeMap<String, String>>,
    /// What kind of token it was asked with.
    pub token: TokenKind,
}

/// The rights of a user in a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "it is GitHub's own list")]
pub struct Permissions {
    /// Everything.
    pub admin: bool,
    /// Everything but what destroys.
    pub maintain: bool,
    /// Write.
    pub push: bool,
    /// Labels, assignees and milestones.
    pub triage: bool,
    /// Read.
    pub pull: bool,
}

#[derive(Deserialize)]
struct Told {
    full_name: Slug,
    private: bool,
    #[serde(default)]
    archived: bool,
    has_issues: bool,
    html_url: String,
    permissions: Option<Permissions>,
}

impl GitHub {
    /// The login of whoever is signed in; for an App its bot, as `name[bot]`. None for nobody, and for a token of an
    /// installation or of GitHub Actions, which belongs to no user. Credentials that GitHub does not take are an error.
    pub async fn whoami(&self) -> Result<Option<String>, Error> {
        let who = self.ask_who().await?;
        if let Some(who) = &who {
            self.learn_who(who);
        }
        Ok(who)
    }

    async fn ask_who(&self) -> Result<Option<String>, Error> {
        let doing = "sign in to GitHub";
        if !self.signed_in() {
            return Ok(None);
        }
        if let Some(app) = self.app() {
            let request = Request::get(self.at(&["app"], doing)?, Signer::Ourselves, doing);
            let told: Value = parsed(&self.as_app(app, &request).await?.body, doing)?;
            let slug = told["slug"].as_str().ok_or_else(|| malformed(doing, "the App has no name"))?;
            return Ok(Some(format!("{slug}[bot]")));
        }
        let request = Request::get(self.at(&["user"], doing)?, Signer::Ourselves, doing);
        match self.read::<Value>(&request).await {
            Ok(told) => {
                let login = told["login"].as_str().ok_or_else(|| malformed(doing, "the user has no name"))?;
                Ok(Some(login.to_owned()))
            }
            Err(error) if error.kind() == Kind::Forbidden && self.may_be_nobodys() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn may_be_nobodys(&self) -> bool {
        matches!(self.token_kind(), TokenKind::Installation | TokenKind::Unknown)
    }

    /// A repository and our rights in it. Nothing is written to find them out.
    pub async fn repository(&self, repo: &Slug) -> Result<Repository, Error> {
        let doing = format!("read the repository {repo}");
        let request = Request::get(self.of(repo, &[], &doing)?, Signer::Reading(repo), &doing);
        let reply = self.ask(&request).await?;
        let told: Told = parsed(&reply.body, &doing)?;
        let granted = match self.app() {
            Some(app) => match self.installation_token(app, repo, None).await {
                Ok(token) => Some(token.permissions),
                Err(error) if error.kind() == Kind::NotFound => Some(BTreeMap::new()),
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(Repository {
            full_name: told.full_name,
            private: told.private,
            archived: told.archived,
            has_issues: told.has_issues,
            html_url: told.html_url,
            permissions: told.permissions,
            scopes: header(&reply.headers, "x-oauth-scopes").map(scopes),
            granted,
            token: self.token_kind(),
        })
    }

    /// Whether an issue can be assigned to a user.
    pub async fn may_be_assigned(&self, repo: &Slug, login: &str) -> Result<bool, Error> {
        let is_login = |byte: u8| byte.is_ascii_alphanumeric() || b"-_[]".contains(&byte);
        if login.is_empty() || !login.bytes().all(is_login) {
            return Ok(false);
        }
        let doing = format!("look whether {login} can be assigned in {repo}");
        let url = self.of(repo, &["assignees", login], &doing)?;
        match self.ask(&Request::get(url, Signer::On(repo), &doing)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn scopes(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_told_with_commas() {
        assert_eq!(scopes("repo, read:org"), ["repo", "read:org"]);
        assert!(scopes("").is_empty());
    }
}
