//! GitHub in and out: releases, issues, sign-in.
//!
//! This is a client and nothing else. It asks once and says what came of it; whether to ask again, and when, is decided
//! by whoever keeps the effect. It is never told to keep a secret by its caller: no error, `Debug` or log line of this
//! crate has a token, a key or the query of a signed address.

mod answer;
mod app;
mod client;
mod download;
mod error;
mod exchange;
mod installation;
mod issues;
mod limits;
mod link;
mod permissions;
mod proxy;
mod releases;
mod repository;
mod root;
mod sign_in;
mod slug;
mod token;
mod web;
mod words;

use std::path::PathBuf;

use url::Url;

pub use client::{GitHub, Settings};
pub use download::Download;
pub use error::{Error, FieldError, Kind};
pub use exchange::ExchangeError;
pub use issues::{Comment, Issue, NewIssue};
pub use limits::Limits;
pub use permissions::{Missing, Wants, Weight, missing};
pub use releases::{Answer, Asset, Release};
pub use repository::{Permissions, Repository};
pub use sign_in::{GhCli, Given, candidates, hostname, sign_in};
pub use slug::{NotASlug, Slug};
pub use token::{Origin, SignIn, TokenKind};
pub use web::{Head, Now, TimeLimits, Web};

/// The API of github.com.
pub const GITHUB: &str = "https://api.github.com/";

/// What is wrong before anything was asked.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// A file of certificates cannot be read.
    #[error("the certificates of --ca-cert {} cannot be read: {source}", path.display())]
    CaCert {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has something that is no certificate.
    #[error("--ca-cert {} has a certificate that is damaged: it must be X.509 in PEM", _0.display())]
    BadCaCert(PathBuf),
    /// A file has no certificate.
    #[error("--ca-cert {} has no certificate: it must be X.509 in PEM, between BEGIN and END CERTIFICATE", _0.display())]
    NoCaCert(PathBuf),
    /// A proxy variable of the environment cannot be understood.
    #[error("{0} of the environment is no proxy: write http://HOST:PORT or https://HOST:PORT, or unset it")]
    Proxy(String),
    /// The HTTP library cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// An address that cannot be the root of an API.
    #[error(
        "{0} cannot be the root of GitHub's API: write {GITHUB} or, for an Enterprise server, https://HOST/api/v3, \
         without a query or credentials"
    )]
    NotARoot(String),
    /// A token has characters that none has.
    #[error("the token of {0} has characters that no token has: give it as GitHub showed it, on one line")]
    OddToken(String),
    /// A key that is not an App's.
    #[error(
        "the key of the GitHub App is no RSA private key of at least 2048 bits in PEM: give the file that GitHub made \
         for the App, which begins with BEGIN RSA PRIVATE KEY or BEGIN PRIVATE KEY"
    )]
    NotAnRsaKey,
}

/// The root of an API from what somebody wrote, with or without a slash at its end.
pub fn api_root(text: &str) -> Result<Url, SetUpError> {
    // Not shown: it may have a password where nobody can find it.
    let url = Url::parse(text.trim())
        .map_err(|_| SetUpError::NotARoot("what was given, which is no address,".to_owned()))?;
    Ok(root::Root::new(url)?.url().clone())
}
