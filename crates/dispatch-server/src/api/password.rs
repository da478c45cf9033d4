//! Passwords: hashed with argon2id (RFC 9106) as soon as they are read, and compared in constant time.

use std::fmt;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::settings::BasicUser;
use crate::clock::Random;

/// What can be wrong with a configured password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It begins as a hash does, and is none that we can verify.
    #[error(
        "the password of user `{user}` is no argon2id hash that can be verified ({why}): write the output of `argon2 SALT -id -e`, or the password itself"
    )]
    Hash {
        /// Whose.
        user: String,
        /// What is wrong.
        why: String,
    },
    /// It is empty.
    #[error("the password of user `{user}` is empty: give one, or leave the user out")]
    Empty {
        /// Whose.
        user: String,
    },
}

/// A password's hash in PHC form. It does not print.
#[derive(Clone)]
pub struct Hashed(String);

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashed")
    }
}

impl Hashed {
    /// The hash of a password of the configuration, which may be one already.
    pub fn of(user: &str, password: &SecretString, random: &Random) -> Result<Self, PasswordError> {
        let text = password.expose_secret();
        let wrong = |why: String| PasswordError::Hash { user: user.to_owned(), why };
        if text.is_empty() {
            return Err(PasswordError::Empty { user: user.to_owned() });
        }
        if text.starts_with("$argon2") {
            let parsed = PasswordHash::new(text).map_err(|error| wrong(error.to_string()))?;
            if parsed.algorithm != Algorithm::Argon2id.ident() {
                return Err(wrong(format!("it is {}", parsed.algorithm)));
            }
            argon2::Params::try_from(&parsed).map_err(|error| wrong(error.to_string()))?;
            if parsed.hash.is_none() || parsed.salt.is_none() {
                return Err(wrong("it is cut short".to_owned()));
            }
            return Ok(Self(text.to_owned()));
        }
        let mut salt = [0; 20];
        salt[..10].copy_from_slice(&random());
        salt[10..].copy_from_slice(&random());
        let salt = SaltString::encode_b64(&salt).map_err(|error| wrong(error.to_string()))?;
        let hash = Argon2::default()
            .hash_password(text.as_bytes(), &salt)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self(hash.to_string()))
    }

    /// Whether this is the password. Takes its time: called where that holds up nobody.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        let Ok(hash) = PasswordHash::new(&self.0) else { return false };
        Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    }

    /// Takes as long as [`Self::is_of`], for nobody.
    pub(crate) fn of_nobody(password: &str) {
        if let Ok(salt) = SaltString::encode_b64(&[0; 20]) {
            let _ = Argon2::default().hash_password(password.as_bytes(), &salt);
        }
    }
}

/// A user's entry in the configuration, as a digest: it is another when anything of the entry is. Whoever has it can
/// guess passwords at great speed, so it stays in memory.
#[derive(Clone)]
pub(crate) struct Entry([u8; 32]);

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry")
    }
}

impl Entry {
    pub(crate) fn of(user: &BasicUser) -> Self {
        let mut digest = Sha256::new();
        for part in [user.username.as_str(), user.role.as_str(), user.password.expose_secret()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// What binds a session to this entry: without the session's token nobody can test a guess against it.
    pub(crate) fn seal(&self, token: &[u8]) -> String {
        let mut digest = Sha256::new();
        digest.update((token.len() as u64).to_be_bytes());
        digest.update(token);
        digest.update(self.0);
        super::session::hex(&digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dispatch_wire::api::Role;

    use super::*;

    fn random() -> Random {
        Arc::new(|| [7; 10])
    }

    fn user(password: &str, role: Role) -> BasicUser {
        BasicUser { username: "ada".to_owned(), password: password.into(), role }
    }

    #[test]
    fn a_plain_password_is_its_own_and_no_other() {
        let hashed = Hashed::of("ada", &"secret".into(), &random()).expect("a hash");
        assert!(hashed.is_of("secret"));
        assert!(!hashed.is_of("Secret") && !hashed.is_of(""));
        assert!(hashed.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.0);
    }

    #[test]
    fn a_hash_is_taken_as_it_is() {
        let first = Hashed::of("ada", &"secret".into(), &random()).expect("a hash");
        let again = Hashed::of("ada", &first.0.clone().into(), &random()).expect("the same");
        assert_eq!(first.0, again.0);
        assert!(again.is_of("secret"));
    }

    #[test]
    fn what_only_begins_like_a_hash_is_refused_without_showing_it() {
        for bad in ["$argon2id$v=19$m=1", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", ""] {
            let error = Hashed::of("ada", &bad.into(), &random()).expect_err("refused").to_string();
            assert!(error.contains("`ada`") && !error.contains("m=1"), "{error}");
        }
    }

    #[test]
    fn another_password_or_role_is_another_entry() {
        let seal = |password: &str, role| Entry::of(&user(password, role)).seal(b"token");
        assert_eq!(seal("a", Role::Admin), seal("a", Role::Admin));
        assert_ne!(seal("a", Role::Admin), seal("b", Role::Admin));
        assert_ne!(seal("a", Role::Admin), seal("a", Role::Operator));
        let entry = Entry::of(&user("a", Role::Admin));
        assert_ne!(entry.seal(b"token"), entry.seal(b"another"));
    }

    #[test]
    fn neither_a_hash_nor_an_entry_prints() {
        let hashed = Hashed::of("ada", &"secret".into(), &random()).expect("a hash");
        let entry = Entry::of(&user("a", Role::Admin));
        assert_eq!(format!("{hashed:?} {entry:?}"), "Hashed Entry");
    }
}
