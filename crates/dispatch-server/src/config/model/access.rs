//! What a configuration says of databases, people and GitHub: everything that has secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In a file.
    Sqlite {
        /// Which.
        path: PathBuf,
    },
    /// In PostgreSQL.
    Postgres(Box<Postgres>),
}

/// A PostgreSQL and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Where it is.
    pub connection: Connection,
    /// How the connection is secured; none leaves it to the URL.
    pub sslmode: Option<SslMode>,
    /// The authority that its certificate is checked against (PEM).
    pub ca_cert: Option<PathBuf>,
    /// How many connections there may be.
    pub max_connections: u32,
    /// How long one statement may take.
    pub statement_timeout: Duration,
}

/// Where a PostgreSQL is.
#[derive(Clone, Debug)]
pub enum Connection {
    /// As a URL, `postgres://…`.
    Url(SecretString),
    /// In parts.
    Parts(Parts),
}

/// Where a PostgreSQL is, in parts.
#[derive(Clone, Debug)]
pub struct Parts {
    /// A name, an address, or the folder of a socket, which begins with `/`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who signs in.
    pub user: String,
    /// The password, if one is needed.
    pub password: Option<SecretString>,
    /// Which database.
    pub database: String,
}

/// How a connection to PostgreSQL is secured (libpq's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// With TLS if the server speaks it.
    Prefer,
    /// With TLS, without looking at the certificate.
    Require,
    /// With TLS; the certificate has to be of a known authority.
    VerifyCa,
    /// With TLS; the certificate has to be of a known authority, and the server's.
    VerifyFull,
}

impl SslMode {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// How long a sign-in lasts.
    pub session_ttl: Duration,
    /// Users with passwords; empty if that way to sign in is not enabled.
    pub users: Vec<BasicUser>,
    /// The sign-in through GitHub, if it is enabled.
    pub github: Option<GitHubOauth>,
}

/// A user with a password.
#[derive(Clone, Debug)]
pub struct BasicUser {
    /// The name.
    pub username: String,
    /// The password; never empty.
    pub password: SecretString,
    /// What the user may do.
    pub role: Role,
}

/// What a user may do; each may do what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Readonly,
    /// Work with groups, queues and jobs.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Readonly => "readonly",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The sign-in through GitHub.
#[derive(Clone, Debug)]
pub struct GitHubOauth {
    /// The OAuth App.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretString,
    /// Where people land after they signed in: a path of our own origin.
    pub landing: String,
    /// What members of organizations may do; names in lower case.
    pub org_role_mapping: BTreeMap<String, Role>,
    /// What single people may do, which goes before their organizations; names in lower case.
    pub user_role_mapping: BTreeMap<String, Role>,
}

/// The way to GitHub.
#[derive(Clone, Debug)]
pub struct GitHub {
    /// The root of its API.
    pub api: Url,
    /// The token to sign in with.
    pub token: Option<SecretString>,
    /// Another token for listing runners; none is the same.
    pub runners_token: Option<SecretString>,
    /// The App to sign in as.
    pub app: Option<App>,
    /// What the signatures of webhooks are made with.
    pub webhook_secret: Option<SecretString>,
    /// How often runners are looked at.
    pub poll_interval: Duration,
    /// How many requests of the limit are left for others.
    pub rate_limit_buffer: u32,
}

/// A GitHub App.
#[derive(Clone, Debug)]
pub struct App {
    /// Its ID.
    pub id: u64,
    /// Its private key (PEM).
    pub private_key: SecretString,
}

/// Whether two secrets are the same. Both are ours: there is nobody who could measure the time.
fn is_same<'a>(one: impl Into<Option<&'a SecretString>>, other: impl Into<Option<&'a SecretString>>) -> bool {
    one.into().map(ExposeSecret::expose_secret) == other.into().map(ExposeSecret::expose_secret)
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(one), Self::Url(other)) => is_same(one, other),
            (Self::Parts(one), Self::Parts(other)) => {
                let Parts { host, port, user, password, database } = one;
                (host, port, user, database) == (&other.host, &other.port, &other.user, &other.database)
                    && is_same(password, &other.password)
            }
            (Self::Url(_), Self::Parts(_)) | (Self::Parts(_), Self::Url(_)) => false,
        }
    }
}

impl Eq for Connection {}

impl PartialEq for BasicUser {
    fn eq(&self, other: &Self) -> bool {
        let Self { username, password, role } = self;
        (username, role) == (&other.username, &other.role) && is_same(password, &other.password)
    }
}

impl Eq for BasicUser {}

impl PartialEq for GitHubOauth {
    fn eq(&self, other: &Self) -> bool {
        let Self { client_id, client_secret, landing, org_role_mapping, user_role_mapping } = self;
        (client_id, landing, org_role_mapping, user_role_mapping)
            == (&other.client_id, &other.landing, &other.org_role_mapping, &other.user_role_mapping)
            && is_same(client_secret, &other.client_secret)
    }
}

impl Eq for GitHubOauth {}

impl PartialEq for GitHub {
    fn eq(&self, other: &Self) -> bool {
        let Self { api, token, runners_token, app, webhook_secret, poll_interval, rate_limit_buffer } = self;
        (api, app, poll_interval, rate_limit_buffer)
            == (&other.api, &other.app, &other.poll_interval, &other.rate_limit_buffer)
            && is_same(token, &other.token)
            && is_same(runners_token, &other.runners_token)
            && is_same(webhook_secret, &other.webhook_secret)
    }
}

impl Eq for GitHub {}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && is_same(&self.private_key, &other.private_key)
    }
}

impl Eq for App {}
