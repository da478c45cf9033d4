//! Credentials: what kinds there are, and where they came from. Nothing here shows a secret.

use std::fmt;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::SetUpError;

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--token`.
    Flag,
    /// The environment's `GITHUB_TOKEN`.
    GithubTokenVariable,
    /// The environment's `GH_TOKEN`.
    GhTokenVariable,
    /// `gh auth token`.
    GhCli,
    /// `github.token` of a service's configuration.
    Configuration,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "--token",
            Self::GithubTokenVariable => "GITHUB_TOKEN",
            Self::GhTokenVariable => "GH_TOKEN",
            Self::GhCli => "`gh auth token`",
            Self::Configuration => "github.token",
        })
    }
}

/// How to sign in.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// Not at all: public repositories can be read.
    Nobody,
    /// With a token, of whatever kind.
    Token {
        /// The token.
        token: SecretString,
        /// Where it came from.
        from: Origin,
    },
    /// As a GitHub App.
    App {
        /// The App's ID.
        id: u64,
        /// Its private key: PEM, PKCS#1 or PKCS#8.
        key: SecretString,
    },
}

impl fmt::Display for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Token { from, .. } => write!(f, "the token of {from}"),
            Self::App { id, .. } => write!(f, "the GitHub App {id}"),
        }
    }
}

/// What kind of token it is, by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// No token at all.
    Nobody,
    /// A classic personal access token (`ghp_`, or forty hexadecimal digits).
    Classic,
    /// A fine-grained personal access token (`github_pat_`).
    FineGrained,
    /// Of an OAuth application, as `gh` has one (`gho_`): it has scopes as a classic one.
    OAuth,
    /// Of an installation of a GitHub App, or of a GitHub Actions job (`ghs_`).
    Installation,
    /// Of a user through a GitHub App (`ghu_`).
    User,
    /// None of these.
    Unknown,
}

impl TokenKind {
    /// The kind of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        const PREFIXES: [(&str, TokenKind); 5] = [
            ("ghp_", TokenKind::Classic),
            ("github_pat_", TokenKind::FineGrained),
            ("gho_", TokenKind::OAuth),
            ("ghs_", TokenKind::Installation),
            ("ghu_", TokenKind::User),
        ];
        if token.len() == 40 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Self::Classic;
        }
        PREFIXES.iter().find(|(prefix, _)| token.starts_with(prefix)).map_or(Self::Unknown, |(_, kind)| *kind)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nobody => "somebody without a token",
            Self::Classic => "a classic token",
            Self::FineGrained => "a fine-grained token",
            Self::OAuth => "an OAuth token",
            Self::Installation => "an App's installation token",
            Self::User => "a token of a user of an App",
            Self::Unknown => "a token of an unknown kind",
        })
    }
}

/// The `Authorization` header of a token, marked so that nobody shows it.
pub(crate) fn bearer(token: &str, whose: &str) -> Result<HeaderValue, SetUpError> {
    let odd = || SetUpError::OddToken(whose.to_owned());
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(odd());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| odd())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token of such a header.
pub(crate) fn of_bearer(value: &HeaderValue) -> &str {
    value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default()
}

/// A secret without the white space around it; none if nothing is left.
pub(crate) fn trimmed(secret: &SecretString) -> Option<SecretString> {
    let text = secret.expose_secret().trim();
    (!text.is_empty()).then(|| SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prefix_tells_the_kind() {
        for (token, kind) in [
            ("ghp_abc", TokenKind::Classic),
            ("0123456789abcdef0123456789ABCDEF01234567", TokenKind::Classic),
            ("github_pat_11A", TokenKind::FineGrained),
            ("gho_abc", TokenKind::OAuth),
            ("ghs_abc", TokenKind::Installation),
            ("ghu_abc", TokenKind::User),
            ("ghr_abc", TokenKind::Unknown),
            ("", TokenKind::Unknown),
        ] {
            assert_eq!(TokenKind::of(token), kind, "{token}");
        }
    }

    #[test]
    fn only_white_space_is_no_token() {
        assert!(trimmed(&SecretString::from(" \n")).is_none());
        assert_eq!(trimmed(&SecretString::from(" ghp_x\n")).expect("one").expose_secret(), "ghp_x");
    }

    proptest! {
        #[test]
        fn a_token_is_never_shown_in_an_error_or_in_debug(token in "[ -~]{0,4}\\PC{8,40}") {
            let sign_in = SignIn::Token { token: SecretString::from(token.as_str()), from: Origin::Flag };
            let header = match bearer(&token, "--token") {
                Ok(value) => format!("{value:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            let shown = format!("{sign_in:?} {sign_in} {header}");
            prop_assert!(!shown.contains(&token));
        }

        #[test]
        fn what_no_header_may_have_is_refused(token in "[a-z]{0,5}[\\x00-\\x20\\x7f-\\u{ff}][a-z]{0,5}") {
            prop_assert!(bearer(&token, "--token").is_err());
        }
    }
}
