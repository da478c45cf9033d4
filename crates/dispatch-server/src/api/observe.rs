//! What surrounds every request: its id, where it comes from, the form of its problem, the headers of its answer, a line in
//! the log, a count. A panic ends the request, and nothing else.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::Api;
use super::client::{Client, Peer};
use super::problem::{self, Problem};
use super::request_id::{RequestId, X_REQUEST_ID};

/// What every answer says to a browser, unless the endpoint says otherwise.
const HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// What is said of a request whose path is not one of ours.
const NO_ROUTE: &str = "none";

/// Answers a request, whatever comes.
pub(crate) async fn observe(
    State(api): State<Api>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = api.clock().now();
    let id = RequestId::of(request.headers(), &api);
    let peer = request.extensions().get::<Peer>().copied();
    let client = peer.map(|peer| Client::of(peer, request.headers(), &api.settings().trusted_proxies));
    if let Some(client) = &client {
        request.extensions_mut().insert(client.clone());
    }
    request.extensions_mut().insert(id.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());

    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|panic| Problem::internal(said(panic.as_ref())).into_response());
    let (response, cause) = finish(response, &id);

    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let took = Duration::try_from(api.clock().now().duration_since(began)).unwrap_or_default();
    let status = response.status();
    api.metrics().answered(method.as_str(), route, status.as_u16(), took);
    let address = client.map(|client| client.address.to_string()).unwrap_or_default();
    let (id, status, took) = (id.0, status.as_u16(), took.as_micros());
    let line = format!("{address} {method} {path}: {status}, request {id}");
    match cause {
        Some(cause) if status >= 500 => {
            tracing::error!(request_id = id, %address, %method, path, status, took_us = took, "{line}: {cause}");
        }
        // What only looks is of no interest to whoever reads what happens.
        _ if method.is_safe() && status < 400 => {
            tracing::debug!(request_id = id, %address, %method, path, status, took_us = took, "{line}");
        }
        cause => {
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::info!(request_id = id, %address, %method, path, status, took_us = took, "{line}{cause}");
        }
    }
    response
}

/// The answer as it goes out, and what the log should know of a problem.
fn finish(mut response: Response, id: &RequestId) -> (Response, Option<String>) {
    let mut cause = None;
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        cause = problem.cause().map(str::to_owned);
        problem::write(&problem, &id.0, &mut response);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(X_REQUEST_ID, value);
    }
    (response, cause)
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a panic: {}", text.unwrap_or("it said nothing"))
}

#[cfg(test)]
mod tests {
    use super::super::problem::Kind;
    use super::*;

    fn id() -> RequestId {
        RequestId("mine".to_owned())
    }

    #[test]
    fn what_an_endpoint_says_of_caching_is_left_as_it_is() {
        let mut own = ().into_response();
        own.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        let (response, _) = finish(own, &id());
        assert_eq!(response.headers()[CACHE_CONTROL], "max-age=60");
        let (response, _) = finish(().into_response(), &id());
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    }

    #[tokio::test]
    async fn a_panic_is_told_to_the_log_and_not_to_the_client() {
        let panic = AssertUnwindSafe(async { panic!("secret {}", 7) }).catch_unwind().await;
        let panic: Box<dyn std::any::Any + Send> = match panic {
            Err(panic) => panic,
            Ok(()) => Box::new(()),
        };
        let problem = Problem::internal(said(panic.as_ref())).into_response();
        let (response, cause) = finish(problem, &id());
        assert_eq!(response.status(), Kind::Internal.status());
        assert_eq!(cause.as_deref(), Some("a panic: secret 7"));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("text");
        assert!(body.contains("\"request_id\":\"mine\"") && !body.contains("secret"), "{body}");
    }
}
