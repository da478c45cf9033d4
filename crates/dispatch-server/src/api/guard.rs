//! What every request passes before its endpoint: is there such an operation, does it come from a page of ours, who asks,
//! do they ask too often, may they, are the parameters known, and what is the body.
//!
//! It goes by the OpenAPI document. A path or method that is not described there is not served, so nothing can be open by
//! having been forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use dispatch_wire::api::Role;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};

use super::client::Client;
use super::extract::{Payload, check_query};
use super::idempotency::IdempotencyKey;
use super::identity::Identity;
use super::problem::{Kind, Problem};
use super::routes::{REQUIRED_ROLE, operations};
use super::{Api, origin, session};

/// The largest body that is taken, in bytes.
pub const LARGEST_BODY: usize = 1024 * 1024;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// What the document says of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who may; nobody in particular if it is public.
    pub role: Option<Role>,
    query: Vec<String>,
    takes_body: bool,
}

/// What the document says of all operations, by path and method.
#[derive(Debug, Default)]
pub struct Rules(HashMap<String, BTreeMap<&'static str, Arc<Rule>>>);

impl Rules {
    /// Reads the document. An operation whose role cannot be read is left out, and so is not served.
    #[must_use]
    pub fn of(document: &OpenApi) -> Self {
        let mut rules = Self::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(&mut item.clone()) {
                if let Some(rule) = Rule::of(operation) {
                    rules.0.entry(path.clone()).or_default().insert(method, Arc::new(rule));
                }
            }
        }
        rules
    }

    fn get(&self, path: &str) -> Option<&BTreeMap<&'static str, Arc<Rule>>> {
        self.0.get(path)
    }
}

impl Rule {
    fn of(operation: &Operation) -> Option<Self> {
        let word = operation.extensions.as_ref()?.get(REQUIRED_ROLE)?.as_str()?;
        let role = if word == super::routes::NO_ROLE { None } else { Some(word.parse().ok()?) };
        let parameters = operation.parameters.iter().flatten();
        let query = parameters.filter(|known| known.parameter_in == ParameterIn::Query);
        Some(Self {
            role,
            query: query.map(|known| known.name.clone()).collect(),
            takes_body: operation.request_body.is_some(),
        })
    }
}

/// The guard.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) api: Api,
    pub(crate) rules: Arc<Rules>,
}

/// Lets a request through to its endpoint, or refuses it.
pub(crate) async fn guard(
    State(guard): State<Guard>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let methods = matched.as_ref().and_then(|path| guard.rules.get(path.as_str()));
    match admit(&guard.api, methods, &mut request).await {
        Ok(Admitted::Endpoint) => next.run(request).await,
        Ok(Admitted::Answer(response)) => response,
        Err(problem) => problem.into_response(),
    }
}

enum Admitted {
    Endpoint,
    Answer(Response),
}

async fn admit(
    api: &Api,
    methods: Option<&BTreeMap<&'static str, Arc<Rule>>>,
    request: &mut Request,
) -> Result<Admitted, Problem> {
    let settings = api.settings();
    let client = request.extensions().get::<Client>().cloned();
    let client = client.ok_or_else(|| Problem::internal("a request without a client"))?;
    origin::check(request.method(), request.headers(), &client, settings.public_url.as_ref())?;
    let Some(methods) = methods else {
        api.limiters().public(client.counted_as())?;
        let detail =
            format!("nothing is at {}: see /api/v1/openapi.json for what there is", request.uri().path());
        return Err(Problem::new(Kind::NotFound, detail));
    };
    let asked = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let Some(rule) = methods.get(asked) else {
        api.limiters().public(client.counted_as())?;
        return other_method(request.method(), methods);
    };
    if let Some(role) = rule.role {
        let identity = identify(api, &client, request.headers()).await?;
        if identity.role < role {
            let detail = format!("this needs the role {role}, and {} is {}", identity.name, identity.role);
            return Err(Problem::new(Kind::NotAllowed, detail));
        }
        request.extensions_mut().insert(identity);
    } else {
        api.limiters().public(client.counted_as())?;
    }
    check_query(request.uri().query(), &rule.query)?;
    let body = if rule.takes_body { read_body(request).await? } else { no_body(request)? };
    if request.method() == Method::POST
        && let Some(identity) = request.extensions().get::<Identity>()
    {
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let what = (request.method(), target);
        if let Some(key) = IdempotencyKey::read(request.headers(), &identity.name, what, &body)? {
            request.extensions_mut().insert(key);
        }
    }
    if rule.takes_body {
        request.extensions_mut().insert(Payload(body));
    }
    Ok(Admitted::Endpoint)
}

/// Who asks, within the limits.
async fn identify(api: &Api, client: &Client, headers: &HeaderMap) -> Result<Identity, Problem> {
    if let Some(identity) = session::identify(api, headers).await? {
        api.limiters().authenticated(&identity.name)?;
        return Ok(identity);
    }
    api.limiters().public(client.counted_as())?;
    let detail = "nobody is signed in, or the session is over: sign in by POST /api/v1/auth/login";
    Err(Problem::new(Kind::NotSignedIn, detail).header(WWW_AUTHENTICATE, challenge()))
}

/// A 401 names a way to sign in (RFC 9110 §11.6.1). Browsers do not know this one, and ask nobody for a password.
pub(crate) fn challenge() -> HeaderValue {
    HeaderValue::from_static("Session realm=\"dispatch\"")
}

fn other_method(method: &Method, methods: &BTreeMap<&'static str, Arc<Rule>>) -> Result<Admitted, Problem> {
    let mut known: Vec<&str> = methods.keys().copied().collect();
    if known.contains(&"GET") {
        known.push("HEAD");
    }
    known.push("OPTIONS");
    let allow = HeaderValue::from_str(&known.join(", ")).map_err(Problem::internal)?;
    if *method == Method::OPTIONS {
        return Ok(Admitted::Answer((StatusCode::NO_CONTENT, [(ALLOW, allow)]).into_response()));
    }
    let detail = format!("this takes {}", known.join(", "));
    Err(Problem::new(Kind::MethodNotAllowed, detail).header(ALLOW, allow))
}

/// What nobody reads may say something that its sender relies on, such as which version is meant.
fn no_body(request: &Request) -> Result<Bytes, Problem> {
    if request.body().is_end_stream() {
        return Ok(Bytes::new());
    }
    let detail =
        "this takes no body: send none, and name the version that is meant by If-Match where that is taken";
    Err(Problem::new(Kind::UnexpectedBody, detail))
}

async fn read_body(request: &mut Request) -> Result<Bytes, Problem> {
    let body = Limited::new(std::mem::replace(request.body_mut(), Body::empty()), LARGEST_BODY);
    let read = tokio::time::timeout(BODY_TIME, body.collect()).await.map_err(|_| {
        let detail = format!("the body did not come within {} seconds: send it again", BODY_TIME.as_secs());
        Problem::new(Kind::TooSlow, detail)
    })?;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let detail = format!("the body is larger than {LARGEST_BODY} bytes: send less");
            return Problem::new(Kind::TooLarge, detail);
        }
        Problem::new(Kind::MalformedJson, "the body broke off: send it again").because(error)
    })?;
    let bytes = bytes.to_bytes();
    if !bytes.is_empty() && !is_json(request.headers()) {
        let detail = "the body is not sent as application/json: set Content-Type";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail).field("Content-Type"));
    }
    Ok(bytes)
}

/// Whether the body is said to be JSON in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_type = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    is_type
        && parts.all(|parameter| {
            parameter.split_once('=').is_none_or(|(name, charset)| {
                !name.trim().eq_ignore_ascii_case("charset")
                    || charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(media: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        is_json(&headers)
    }

    #[test]
    fn json_is_taken_in_utf_8_only() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; x",
        ] {
            assert!(is_taken(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "",
            "application/jsonp",
        ] {
            assert!(!is_taken(bad), "{bad}");
        }
    }

    #[test]
    fn every_operation_of_the_document_has_a_rule() {
        let document = super::super::document();
        let rules = Rules::of(&document);
        for (path, item) in &document.paths.paths {
            for (method, _) in operations(&mut item.clone()) {
                assert!(
                    rules.get(path).is_some_and(|methods| methods.contains_key(method)),
                    "{method} {path}"
                );
            }
        }
    }

    #[test]
    fn an_operation_without_a_role_is_not_served() {
        let mut document = super::super::document();
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item) {
                operation.extensions = None;
            }
        }
        assert!(Rules::of(&document).0.is_empty());
    }
}
