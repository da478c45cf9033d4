//! The API's description, made of the code: `/api/v1/openapi.json`, and `docs/openapi.json` for review.

use std::sync::OnceLock;

use bytes::Bytes;
use dispatch_wire::api::Problem;
use utoipa::OpenApi;
use utoipa::openapi::InfoBuilder;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};

use super::routes::SESSION_SCHEME;
use super::session::COOKIE;

/// The version of the API.
pub(crate) const VERSION: &str = "1";

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Base;

/// The description without the paths.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    let mut base = Base::openapi();
    base.info = InfoBuilder::new()
        .title("dispatch")
        .version(VERSION)
        .description(Some(
            "One queue for work that must run on something real. Where something is wrong the answer is a problem \
             (RFC 9457). Lists come in pages. Requests that change something are refused where they come from the \
             page of another site.",
        ))
        .license(Some(utoipa::openapi::LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let cookie = ApiKeyValue::with_description(COOKIE, "The cookie of a session: POST /api/v1/auth/login");
    let components = base.components.get_or_insert_default();
    components.add_security_scheme(SESSION_SCHEME, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    base
}

/// The description.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = base();
    document.merge(super::endpoints().into_inner().into_openapi());
    document
}

/// The description as it goes out: written once.
pub(crate) fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| serde_json::to_vec(&document()).unwrap_or_default().into()).clone()
}
