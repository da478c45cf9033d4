//! What somebody signs in with: tokens of three kinds, and Apps.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A private key for Apps in tests (PEM, PKCS#1, as GitHub gives it). It opens nothing.
pub const APP_KEY: &str = include_str!("app_key.pem");

/// The public half of [`APP_KEY`] (PEM, SPKI).
pub const APP_PUBLIC_KEY: &str = include_str!("app_key_public.pem");

/// How far a permission goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads.
    Read,
    /// Changes.
    Write,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }
}

/// What may be done, by GitHub's names (`contents`, `issues`, `metadata`).
pub type Permissions = BTreeMap<String, Level>;

/// A token. Its text is never in the log.
#[derive(Clone)]
pub struct Token {
    pub(super) text: String,
    pub(super) kind: Kind,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// Whether it was taken back.
    pub is_revoked: bool,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Token({:?})", self.kind)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Classic { user: String, scopes: Vec<String> },
    FineGrained { user: String, grant: Grant },
    Installation { installation: u64, grant: Grant },
}

/// What a fine-grained token or an installation reaches.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) owner: String,
    /// `owner/name` each; all of the owner's if there is no list.
    pub(super) repositories: Option<Vec<String>>,
    pub(super) permissions: Permissions,
}

impl Grant {
    pub(super) fn reaches(&self, owner: &str, full_name: &str) -> bool {
        match &self.repositories {
            None => self.owner.eq_ignore_ascii_case(owner),
            Some(list) => list.iter().any(|name| name.eq_ignore_ascii_case(full_name)),
        }
    }

    pub(super) fn allows(&self, permission: &str, level: Level) -> bool {
        permission == "metadata" || self.permissions.get(permission).is_some_and(|given| *given >= level)
    }
}

/// Permissions from pairs.
pub(super) fn permissions(pairs: &[(&str, Level)]) -> Permissions {
    pairs.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
}

impl Token {
    fn of(kind: Kind) -> Self {
        Self { text: String::new(), kind, expires: None, is_revoked: false }
    }

    /// A classic personal access token with scopes such as `repo`, `public_repo`.
    #[must_use]
    pub fn classic(user: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Self::of(Kind::Classic { user: user.to_owned(), scopes })
    }

    /// A fine-grained personal access token for some repositories, with permissions such as `("issues", Level::Write)`.
    #[must_use]
    pub fn fine_grained(user: &str, repositories: &[&str], given: &[(&str, Level)]) -> Self {
        let owner =
            repositories.first().and_then(|name| name.split_once('/')).map_or(user, |(owner, _)| owner);
        let grant = Grant {
            owner: owner.to_owned(),
            repositories: Some(repositories.iter().map(|name| (*name).to_owned()).collect()),
            permissions: permissions(given),
        };
        Self::of(Kind::FineGrained { user: user.to_owned(), grant })
    }

    /// A token of an installation, as `GITHUB_TOKEN` is one in GitHub Actions.
    #[must_use]
    pub fn of_installation(installation: &Installation) -> Self {
        let grant = installation.grant.clone();
        Self::of(Kind::Installation { installation: installation.id, grant })
    }

    /// The same, until then.
    #[must_use]
    pub fn expiring(self, at: Timestamp) -> Self {
        Self { expires: Some(at), ..self }
    }

    /// From now on it is no token any more.
    pub fn revoke(&mut self) {
        self.is_revoked = true;
    }

    /// Whose it is, if it is a person's.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        match &self.kind {
            Kind::Classic { user, .. } | Kind::FineGrained { user, .. } => Some(user.clone()),
            Kind::Installation { .. } => None,
        }
    }

    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        !self.is_revoked && self.expires.is_none_or(|end| end > now)
    }
}

/// A GitHub App.
#[derive(Clone, Debug)]
pub struct App {
    /// Its number.
    pub id: u64,
    /// Its short name; its account is `NAME[bot]`.
    pub slug: String,
    /// Whose it is.
    pub owner: String,
    /// Its public key, PEM (SPKI or PKCS#1).
    pub key: String,
    /// Since when.
    pub created: Timestamp,
}

impl App {
    /// Its other name, which a JWT may carry as well.
    #[must_use]
    pub fn client_id(&self) -> String {
        format!("Iv23li{:014}", self.id)
    }
}

/// An App in an account.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Its number.
    pub id: u64,
    /// Whose it is.
    pub app: u64,
    /// Since when.
    pub created: Timestamp,
    /// Whether the account has stopped it.
    pub is_suspended: bool,
    pub(super) grant: Grant,
}

impl Installation {
    /// In which account.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.grant.owner
    }
}

impl super::model::Model {
    /// A GitHub App with a public key (PEM).
    pub fn app(&mut self, id: u64, slug: &str, owner: &str, key: &str) {
        self.user(owner);
        self.user(&format!("{slug}[bot]"));
        let created = self.now();
        let (slug, owner, key) = (slug.to_owned(), owner.to_owned(), key.to_owned());
        self.apps.push(App { id, slug, owner, key, created });
    }

    /// Installs an App in an account: in those repositories (`owner/name`), or in all if none is named.
    pub fn install(
        &mut self,
        app: u64,
        owner: &str,
        repositories: &[&str],
        given: &[(&str, Level)],
    ) -> &mut Installation {
        let (id, created) = (self.id(), self.now());
        let list = repositories.iter().map(|name| (*name).to_owned()).collect();
        let grant = Grant {
            owner: owner.to_owned(),
            repositories: (!repositories.is_empty()).then_some(list),
            permissions: permissions(given),
        };
        self.user(owner);
        self.installations.push(Installation { id, app, created, is_suspended: false, grant });
        let place = self.installations.len() - 1;
        &mut self.installations[place]
    }
}
