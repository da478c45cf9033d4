//! Signing in as a GitHub App: a JWT of the App gets a token of the installation that a repository belongs to.
//!
//! Each repository has one place for its token, and whoever renews it holds that place: others wait and share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::token::bearer;
use crate::{SetUpError, Slug};

/// How long before its end a token is renewed.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// How long whoever only reads believes that the App is not installed.
const ABSENT: SignedDuration = SignedDuration::from_mins(5);

/// A JWT is made to begin earlier, so that a clock that is a little fast does no harm.
const EARLIER: SignedDuration = SignedDuration::from_secs(60);

/// GitHub takes ten minutes at most; a minute is left for clocks.
const LIFETIME: SignedDuration = SignedDuration::from_mins(9);

/// A GitHub App and the tokens of its installations.
pub(crate) struct App {
    id: u64,
    key: EncodingKey,
    places: Mutex<HashMap<Slug, Arc<Place>>>,
}

/// The place of one repository's token.
pub(crate) type Place = tokio::sync::Mutex<Held>;

/// What is known of the installation on one repository.
#[derive(Default)]
pub(crate) enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// Its token.
    Token(InstallationToken),
    /// Until then, that there is none.
    Absent(Timestamp),
}

impl Held {
    /// That there is no installation, which is believed for some time.
    pub(crate) fn absent(github_time: Timestamp) -> Self {
        Self::Absent(github_time.saturating_add(ABSENT).unwrap_or(github_time))
    }

    pub(crate) fn is_absent(&self, github_time: Timestamp) -> bool {
        matches!(self, Self::Absent(until) if github_time < *until)
    }

    /// A token that is good for some time yet.
    pub(crate) fn token(&self, github_time: Timestamp) -> Option<&InstallationToken> {
        match self {
            Self::Token(token) if token.is_fresh(github_time) => Some(token),
            _ => None,
        }
    }
}

/// A token of an installation.
#[derive(Clone)]
pub(crate) struct InstallationToken {
    pub(crate) header: HeaderValue,
    pub(crate) expires_at: Timestamp,
    pub(crate) permissions: BTreeMap<String, String>,
}

/// GitHub's answer to a request for a token.
#[derive(Deserialize)]
pub(crate) struct GrantedToken {
    token: SecretString,
    expires_at: Timestamp,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Claims {
    /// When it begins, in seconds since 1970.
    iat: i64,
    /// When it ends.
    exp: i64,
    /// Whose it is.
    iss: String,
}

fn claims(id: u64, github_time: Timestamp) -> Claims {
    let second = github_time.as_second();
    Claims {
        iat: second.saturating_sub(EARLIER.as_secs()),
        exp: second.saturating_add(LIFETIME.as_secs()),
        iss: id.to_string(),
    }
}

impl App {
    pub(crate) fn new(id: u64, key: &SecretString) -> Result<Self, SetUpError> {
        let key = EncodingKey::from_rsa_pem(key.expose_secret().trim().as_bytes())
            .map_err(|_| SetUpError::NotAnRsaKey)?;
        let app = Self { id, key, places: Mutex::default() };
        // Whether the numbers in it are a key is known only when it signs.
        app.jwt(Timestamp::UNIX_EPOCH)?;
        Ok(app)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What the App itself signs in with.
    pub(crate) fn jwt(&self, github_time: Timestamp) -> Result<HeaderValue, SetUpError> {
        let jwt = encode(&Header::new(Algorithm::RS256), &claims(self.id, github_time), &self.key)
            .map_err(|_| SetUpError::NotAnRsaKey)?;
        bearer(&jwt, "the GitHub App")
    }

    /// The place of a repository's token.
    pub(crate) fn place(&self, repo: &Slug) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(repo.clone()).or_default())
    }

    /// A token that is good for some time yet, of whichever installation. None while all of them are being renewed.
    pub(crate) fn any_token(&self, github_time: Timestamp) -> Option<HeaderValue> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.values().find_map(|place| Some(place.try_lock().ok()?.token(github_time)?.header.clone()))
    }
}

impl InstallationToken {
    pub(crate) fn from_answer(answer: GrantedToken) -> Result<Self, SetUpError> {
        Ok(Self {
            header: bearer(answer.token.expose_secret(), "the App's installation")?,
            expires_at: answer.expires_at,
            permissions: answer.permissions,
        })
    }

    /// Whether it is good for some time yet.
    pub(crate) fn is_fresh(&self, github_time: Timestamp) -> bool {
        self.expires_at.duration_since(github_time) > MARGIN
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use proptest::prelude::*;

    use super::*;
    use crate::token::of_bearer;

    const PKCS1: &str = include_str!("testdata/app.pkcs1.pem");
    const PKCS8: &str = include_str!("testdata/app.pkcs8.pem");
    const PUBLIC: &str = include_str!("testdata/app.public.pem");
    const ELLIPTIC: &str = include_str!("testdata/elliptic.pem");

    #[derive(Deserialize)]
    struct Told {
        iat: i64,
        exp: i64,
        iss: String,
    }

    #[test]
    fn a_jwt_can_be_verified_with_the_apps_public_key() {
        for key in [PKCS1, PKCS8, &format!("\n{PKCS1}\n\n")] {
            let app = App::new(7, &SecretString::from(key)).expect("a key");
            let now: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
            let header = app.jwt(now).expect("signed");
            let mut validation = Validation::new(Algorithm::RS256);
            validation.validate_exp = false;
            let public = DecodingKey::from_rsa_pem(PUBLIC.as_bytes()).expect("a key");
            let told = decode::<Told>(of_bearer(&header), &public, &validation).expect("verified").claims;
            assert_eq!(told.iss, "7");
            assert_eq!((told.iat, told.exp), (now.as_second() - 60, now.as_second() + 540));
        }
    }

    #[test]
    fn what_is_no_rsa_key_is_refused_without_being_shown() {
        let broken = PKCS8.replace("MII", "MIX");
        for key in ["", "MIIsecret", ELLIPTIC, PUBLIC, &broken] {
            let error = App::new(7, &SecretString::from(key)).err().expect("refused");
            assert!(matches!(error, SetUpError::NotAnRsaKey), "{error}");
            assert!(!error.to_string().contains("MII"), "{error}");
        }
    }

    fn ending(expires_at: Timestamp) -> InstallationToken {
        InstallationToken {
            header: bearer("ghs_x", "a test").expect("a token"),
            expires_at,
            permissions: BTreeMap::new(),
        }
    }

    #[test]
    fn a_token_is_renewed_five_minutes_before_its_end() {
        let token = ending("2026-11-21T13:00:00Z".parse().expect("a time"));
        assert!(token.is_fresh("2026-11-21T12:54:59Z".parse().expect("a time")));
        assert!(!token.is_fresh("2026-11-21T12:55:00Z".parse().expect("a time")));
        assert!(!token.is_fresh("2026-11-21T14:00:00Z".parse().expect("a time")));
    }

    proptest! {
        #[test]
        fn a_jwt_begins_before_now_and_ends_within_ten_minutes(second in 0_i64..4_000_000_000, id in any::<u64>()) {
            let claims = claims(id, Timestamp::from_second(second).expect("a time"));
            prop_assert!(claims.iat < second);
            prop_assert!(second < claims.exp && claims.exp <= second + 600);
            prop_assert_eq!(claims.iss, id.to_string());
        }
    }
}
