//! `Idempotency-Key`: a request that is sent once more, because its answer was lost, is answered as the first time, and
//! nothing is done twice. The guard makes the key of what has come; the store keeps the answers, for as long as [`KEPT`].

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use dispatch_store::StoreError;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};
use super::session::{hex, later};
use crate::engine::Engine;

/// The header's name.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// For how long an answer is kept. The header's description says it, too.
pub const KEPT: Duration = Duration::from_hours(48);

/// How often older ones are looked for.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// The header, for the `params` of an endpoint that takes it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Chosen by the client, a new one for each request: the same request with the same key is done once, and answered
    /// as the first time, also where it was refused. Remembered for 48 hours. 1 to 255 visible ASCII characters.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    _idempotency_key: String,
}

/// By what a request is known when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The client's key.
    pub key: String,
    /// Whose it is: keys of different users have nothing to do with each other.
    pub user: String,
    /// SHA-256 over method, path with query, and body, as hexadecimal digits: another request with the same key has
    /// another one.
    pub fingerprint: String,
}

impl IdempotencyKey {
    /// The key of a request, if it has one.
    pub(crate) fn read(
        headers: &HeaderMap,
        user: &str,
        (method, target): (&Method, &str),
        body: &[u8],
    ) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value
            .to_str()
            .ok()
            .filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
        let (Some(key), None) = (key, values.next()) else {
            let detail = "Idempotency-Key is 1 to 255 visible ASCII characters, once: a random UUID will do";
            return Err(Problem::new(Kind::InvalidHeader, detail).field("Idempotency-Key"));
        };
        let mut digest = Sha256::new();
        for part in [method.as_str().as_bytes(), target.as_bytes(), body] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let fingerprint = hex(&digest.finalize());
        Ok(Some(Self { key: key.to_owned(), user: user.to_owned(), fingerprint }))
    }
}

/// Forgets answers that are older than [`KEPT`], now and every hour until `stop`.
pub async fn sweep(engine: Engine, stop: CancellationToken) {
    loop {
        let now = engine.clock.now();
        match forget(&engine, now).await {
            Ok(forgotten) => tracing::debug!("{forgotten} answers were old, and are forgotten"),
            Err(error) => tracing::warn!("old answers cannot be forgotten at the moment: {error}"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.clock.sleep_until(later(now, SWEEP_EVERY)) => {}
        }
    }
}

/// Forgets the answers that are older than [`KEPT`]; how many they were.
async fn forget(engine: &Engine, now: Timestamp) -> Result<u64, StoreError> {
    let kept = SignedDuration::try_from(KEPT).unwrap_or(SignedDuration::MAX);
    engine.store.forget_answers(now.checked_sub(kept).unwrap_or(Timestamp::MIN)).await
}

/// The request's key, if it has one.
#[derive(Clone, Debug)]
pub struct Once(pub Option<IdempotencyKey>);

impl Once {
    /// The key of one of several decisions that a request takes: each has an answer of its own. No key of a client has a
    /// space.
    #[must_use]
    pub fn part(&self, which: impl std::fmt::Display) -> Self {
        let own =
            |key: &IdempotencyKey| IdempotencyKey { key: format!("{} {which}", key.key), ..key.clone() };
        Self(self.0.as_ref().map(own))
    }
}

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<IdempotencyKey>().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(values: &[&str], user: &str, body: &str) -> Result<Option<IdempotencyKey>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        }
        IdempotencyKey::read(&headers, user, (&Method::POST, "/a?b=c"), body.as_bytes())
    }

    #[test]
    fn the_same_request_has_the_same_fingerprint_and_another_has_not() {
        let fingerprint = |body| read(&["k"], "ada", body).expect("read").expect("a key").fingerprint;
        assert_eq!(fingerprint("{}"), fingerprint("{}"));
        assert_ne!(fingerprint("{}"), fingerprint("{} "));
        let moved = |target, body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
            let read = IdempotencyKey::read(&headers, "ada", (&Method::POST, target), body);
            read.expect("read").expect("a key").fingerprint
        };
        assert_ne!(moved("/ab", b"c"), moved("/a", b"bc"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", " ", "a b", "ä", &"x".repeat(256)] {
            assert_eq!(read(&[bad], "ada", "").expect_err(bad).kind(), Kind::InvalidHeader);
        }
        assert!(read(&["a", "b"], "ada", "").is_err());
        assert!(read(&[&"x".repeat(255)], "ada", "").expect("read").is_some());
        assert!(read(&[], "ada", "").expect("read").is_none());
    }
}
