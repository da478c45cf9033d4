//! How endpoints are registered: each with its role, which goes into the OpenAPI document with all the answers that the
//! guard may give in its place. The guard reads them there.

use std::collections::BTreeMap;

use dispatch_wire::api::Role;
use dispatch_wire::api::problem::PROBLEM_JSON;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, PathItem, Ref, RefOr, Response, ResponseBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::Api;

/// Which role an operation needs, in the document: `none`, or the word for the role.
pub const REQUIRED_ROLE: &str = "x-required-role";

/// Where nobody needs to be signed in.
pub const NO_ROLE: &str = "none";

/// The name of the session's cookie in the document's security schemes.
pub const SESSION_SCHEME: &str = "session";

/// Endpoints, each with its role.
#[derive(Default)]
pub struct Routes(OpenApiRouter<Api>);

impl Routes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For everybody, signed in or not.
    #[must_use]
    pub fn public(self, endpoints: UtoipaMethodRouter<Api>) -> Self {
        self.add(None, endpoints)
    }

    /// For everybody who is signed in.
    #[must_use]
    pub fn reader(self, endpoints: UtoipaMethodRouter<Api>) -> Self {
        self.add(Some(Role::Readonly), endpoints)
    }

    /// For operators and admins.
    #[must_use]
    pub fn operator(self, endpoints: UtoipaMethodRouter<Api>) -> Self {
        self.add(Some(Role::Operator), endpoints)
    }

    /// For admins.
    #[must_use]
    pub fn admin(self, endpoints: UtoipaMethodRouter<Api>) -> Self {
        self.add(Some(Role::Admin), endpoints)
    }

    /// These, and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0.merge(others.0))
    }

    fn add(self, role: Option<Role>, (schemas, mut paths, router): UtoipaMethodRouter<Api>) -> Self {
        for (path, item) in &mut paths.paths {
            for (method, operation) in operations(item) {
                complete(role, path, method, operation);
            }
        }
        Self(self.0.routes((schemas, paths, router)))
    }

    pub(crate) fn into_inner(self) -> OpenApiRouter<Api> {
        self.0
    }
}

/// The operations of a path.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("PATCH", &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Writes into an operation what is true of all, so that no endpoint has to say it.
fn complete(role: Option<Role>, path: &str, method: &str, operation: &mut Operation) {
    let word = role.map_or(NO_ROLE, Role::as_str);
    operation
        .extensions
        .get_or_insert_default()
        .merge(ExtensionsBuilder::new().add(REQUIRED_ROLE, word).build());
    let who = match role {
        None => "For everybody.",
        Some(Role::Readonly) => "For everybody who is signed in.",
        Some(Role::Operator) => "For operators and admins.",
        Some(Role::Admin) => "For admins.",
    };
    let description = operation.description.take().filter(|text| !text.is_empty());
    operation.description =
        Some(description.map_or_else(|| who.to_owned(), |text| format!("{text}\n\n{who}")));
    operation.security = Some(match role {
        None => vec![SecurityRequirement::default()],
        Some(_) => vec![SecurityRequirement::new::<_, [&str; 0], &str>(SESSION_SCHEME, [])],
    });
    for (status, meaning) in problems_of(role, path, method, operation) {
        let existing = operation.responses.responses.contains_key(status);
        if !existing {
            let response = problem(status, meaning);
            operation.responses.responses.insert(status.to_owned(), RefOr::T(response));
        }
    }
}

/// The answers that the guard, the extractors and the store may give for an operation.
fn problems_of(
    role: Option<Role>,
    path: &str,
    method: &str,
    operation: &Operation,
) -> BTreeMap<&'static str, &'static str> {
    let mut all = BTreeMap::from([
        ("400", "The query or a header is wrong"),
        ("429", "Too many requests"),
        ("500", "Something is wrong with the service"),
        ("503", "The service cannot work at the moment"),
    ]);
    if role.is_some() {
        all.insert("401", "Nobody is signed in");
    }
    if role.is_some_and(|role| role > Role::Readonly) || method != "GET" {
        all.insert("403", "The role does not suffice, or the request comes from another site");
    }
    if path.contains('{') {
        all.insert("404", "There is no such thing");
    }
    if operation.request_body.is_some() {
        all.insert("400", "The body is not JSON, or the query or a header is wrong");
        all.insert("408", "The body did not come in time");
        all.insert("413", "The body is too large");
        all.insert("415", "The body is not of a type that is taken");
        all.insert("422", "The body is not what is expected");
    }
    if takes_header(operation, "If-Match") {
        all.insert("412", "Somebody was faster");
    }
    if method != "GET" {
        all.insert("409", "The change does not fit to how things stand");
    }
    if takes_header(operation, "Idempotency-Key") {
        all.insert("409", "The idempotency key was used for another request, or the change does not fit");
    }
    all
}

/// Whether an operation has a header of that name.
pub(crate) fn takes_header(operation: &Operation, name: &str) -> bool {
    let parameters = operation.parameters.iter().flatten();
    let mut headers = parameters.filter(|known| known.parameter_in == ParameterIn::Header);
    headers.any(|known| known.name.eq_ignore_ascii_case(name))
}

fn problem(status: &str, meaning: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let mut response = ResponseBuilder::new().description(meaning).content(PROBLEM_JSON, content);
    if matches!(status, "429" | "503") {
        let header = HeaderBuilder::new()
            .schema(utoipa::openapi::Object::with_type(utoipa::openapi::schema::Type::Integer))
            .description(Some("After how many seconds it is worth to ask again"));
        response = response.header("Retry-After", header.build());
    }
    response.build()
}
