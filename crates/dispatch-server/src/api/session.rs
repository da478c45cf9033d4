//! Sessions: a random token in a cookie, its digest in the store, and a seal that binds it to the user's entry in the
//! configuration. Whoever leaves the configuration, or gets another password or role there, is signed out by that.

use axum::http::header::COOKIE as COOKIE_HEADER;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dispatch_store::StoreError;
use dispatch_store::access::Session;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::time::Duration;

use super::identity::{How, Identity};
use super::settings::User;
use super::{Api, Problem};

/// The cookie's name.
pub const COOKIE: &str = "dispatch_session";

/// Begins a session. Its cookie, and when it ends.
pub(crate) async fn begin(
    api: &Api,
    name: &str,
    user: &User,
    is_secure: bool,
) -> Result<(HeaderValue, Timestamp), Problem> {
    let token: [u8; 32] = api.random_bytes();
    let now = api.clock().now();
    let ttl = api.settings().session_ttl;
    let expires = later(now, ttl);
    let session = Session {
        token: digest(&token),
        username: name.to_owned(),
        seal: user.entry.seal(&token),
        created: now,
        expires,
    };
    api.store().add_session(&session).await?;
    let cookie = cookie(&BASE64_URL_SAFE_NO_PAD.encode(token), ttl.as_secs(), is_secure)?;
    Ok((cookie, expires))
}

/// Whose session the cookie is, if it is one.
pub(crate) async fn identify(api: &Api, headers: &HeaderMap) -> Result<Option<Identity>, StoreError> {
    for token in tokens(headers) {
        let found = api.store().session(&digest(&token), api.clock().now()).await?;
        let Some(session) = found else { continue };
        let settings = api.settings();
        let Some(user) = settings.users.get(&session.username) else { continue };
        if user.entry.seal(&token) == session.seal {
            let how = How::Session { token: session.token, expires: session.expires };
            return Ok(Some(Identity { name: session.username, role: user.role, how }));
        }
    }
    Ok(None)
}

/// The cookie that takes the place of another, and is gone at once.
pub(crate) fn no_cookie(is_secure: bool) -> Result<HeaderValue, Problem> {
    cookie("", 0, is_secure)
}

fn cookie(token: &str, seconds: u64, is_secure: bool) -> Result<HeaderValue, Problem> {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    text.parse().map_err(Problem::internal)
}

/// How many cookies of our name are looked at: pages of neighbouring names can set others.
const MOST_COOKIES: usize = 3;

/// The tokens in the request's cookies (RFC 6265 §4.2.1).
fn tokens(headers: &HeaderMap) -> Vec<[u8; 32]> {
    let lines = headers.get_all(COOKIE_HEADER).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(|(name, _)| *name == COOKIE);
    ours.filter_map(|(_, token)| BASE64_URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok())
        .take(MOST_COOKIES)
        .collect()
}

fn digest(token: &[u8]) -> String {
    hex(&Sha256::digest(token))
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A time after another.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> usize {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE_HEADER, HeaderValue::from_static(line));
        }
        tokens(&headers).len()
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let good = "a=b; dispatch_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; c=d";
        assert_eq!(read(&[good]), 1);
        assert_eq!(read(&["x=y", good]), 1);
        assert_eq!(read(&["dispatch_session=nonsense", good]), 1);
    }

    #[test]
    fn what_is_no_token_is_no_session() {
        for bad in
            ["", "dispatch_session", "dispatch_session=", "dispatch_session=AAAA", "dispatch_session=%41"]
        {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE_HEADER, HeaderValue::from_static(bad));
            assert!(tokens(&headers).is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_cookie_is_out_of_reach_for_scripts_other_sites_and_plain_text() {
        let cookie = cookie("t", 60, true).expect("a cookie");
        assert_eq!(cookie, "dispatch_session=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
    }
}
