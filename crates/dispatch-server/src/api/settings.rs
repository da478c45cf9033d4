//! What the configuration says about the API. It may change while the service runs.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use dispatch_wire::api::Role;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::password::{self, Hashed, PasswordError};
use crate::clock::Random;

/// What the configuration says about the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may sign in with a password; empty where nobody may.
    pub users: Users,
    /// How long a session lasts.
    pub session_ttl: Duration,
    /// Where people reach the service, if the configuration says so.
    pub public_url: Option<Url>,
    /// Who may say for whom it asks (`X-Forwarded-For`, `-Proto`, `-Host`).
    pub trusted_proxies: Vec<IpNet>,
    /// How many requests are answered.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            users: Users::default(),
            session_ttl: Duration::from_hours(24),
            public_url: None,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// How many requests are answered, per minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether requests other than sign-ins are limited.
    pub is_enabled: bool,
    /// Tries to sign in, per address. Always limited.
    pub sign_in: NonZeroU32,
    /// Requests of somebody who is not signed in, per address.
    pub public: NonZeroU32,
    /// Requests of somebody who is, per user.
    pub authenticated: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self { is_enabled: false, sign_in: number(10), public: number(60), authenticated: number(120) }
    }
}

/// A user as the configuration has it.
#[derive(Clone, Debug)]
pub struct BasicUser {
    /// The name.
    pub username: String,
    /// The password, or its argon2id hash in PHC form (`$argon2id$…`).
    pub password: SecretString,
    /// What they may do.
    pub role: Role,
}

/// Who may sign in with a password.
#[derive(Clone, Debug, Default)]
pub struct Users(BTreeMap<String, User>);

/// Somebody who may sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// What they may do.
    pub role: Role,
    /// Their password's hash.
    pub password: Hashed,
    /// Stands for the whole entry. It is kept in memory only.
    pub(crate) entry: password::Entry,
}

impl Users {
    /// Hashes the passwords that are plain, which takes a moment for each: called where that holds up nobody.
    pub fn load(users: &[BasicUser], random: &Random) -> Result<Self, PasswordError> {
        let user = |user: &BasicUser| {
            let hashed = Hashed::of(&user.username, &user.password, random)?;
            let entry = password::Entry::of(user);
            Ok((user.username.clone(), User { role: user.role, password: hashed, entry }))
        };
        users.iter().map(user).collect::<Result<_, _>>().map(Self)
    }

    /// The user of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&User> {
        self.0.get(name)
    }

    /// A password of somebody, to spend the same time where nobody has the name.
    pub(crate) fn anybody(&self) -> Option<&User> {
        self.0.values().next()
    }
}
