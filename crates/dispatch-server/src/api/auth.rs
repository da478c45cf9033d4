//! `/api/v1/auth`: who somebody is.

use axum::extract::State;
use axum::http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::AppendHeaders;
use axum::{Extension, Json};
use dispatch_wire::api::{Credentials, Me, SignedIn};
use utoipa_axum::routes;

use super::client::Client;
use super::extract::Body;
use super::guard::challenge;
use super::identity::{How, Identity};
use super::password::Hashed;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::settings::{Settings, Users};
use super::{Api, session};

pub(crate) fn routes() -> Routes {
    Routes::new().public(routes!(login)).reader(routes!(logout)).reader(routes!(me))
}

/// The longest user name that is looked at, in bytes.
const LONGEST_NAME: usize = 256;

/// The longest password that is looked at, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// Sign in
///
/// Begins a session for a user of the configuration. Tries are limited, for each address.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", request_body = Credentials,
    responses(
        (status = 200, description = "The session has begun", body = SignedIn,
            headers(("Set-Cookie" = String, description = "The session: `dispatch_session`, HttpOnly, SameSite=Lax"))),
        (status = 401, description = "The user name or the password is wrong",
            content_type = "application/problem+json", body = dispatch_wire::api::Problem),
    )
)]
async fn login(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    Body(given): Body<Credentials>,
) -> Answer<([(HeaderName, HeaderValue); 1], Json<SignedIn>)> {
    for (text, longest, field) in
        [(&given.username, LONGEST_NAME, "/username"), (&given.password, LONGEST_PASSWORD, "/password")]
    {
        if text.is_empty() || text.len() > longest {
            return Err(super::extract::invalid(field, format!("it has 1 to {longest} bytes")));
        }
    }
    api.limiters().sign_in(client.counted_as())?;
    let settings = api.settings();
    if !verify(&api, &settings.users, &given).await? {
        let detail = "the user name or the password is wrong: try again, or ask an admin";
        return Err(Problem::new(Kind::WrongPassword, detail).header(WWW_AUTHENTICATE, challenge()));
    }
    let user = settings.users.get(&given.username);
    let user = user.ok_or_else(|| Problem::internal("a verified user is gone"))?;
    let (cookie, expires) =
        session::begin(&api, &given.username, user, is_encrypted(&client, &settings)).await?;
    let me = Me { username: given.username, role: user.role };
    Ok(([(SET_COOKIE, cookie)], Json(SignedIn { user: me, expires_at: expires.to_string() })))
}

/// Whether people reach the service encrypted: this request has come so, or the configuration says it, as where a proxy
/// that is not among the trusted ones ends the encryption.
fn is_encrypted(client: &Client, settings: &Settings) -> bool {
    client.is_https || settings.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// Whether name and password belong together. Takes the same time where nobody has the name.
async fn verify(api: &Api, users: &Users, given: &Credentials) -> Answer<bool> {
    let known = users.get(&given.username);
    let is_known = known.is_some();
    let hash: Option<Hashed> = known.or_else(|| users.anybody()).map(|user| user.password.clone());
    let password = given.password.clone();
    let permit = api.verifying().clone().acquire_owned().await.map_err(Problem::internal)?;
    let verified = tokio::task::spawn_blocking(move || {
        let is_right = hash.map_or_else(
            || {
                Hashed::of_nobody(&password);
                false
            },
            |hash| hash.is_of(&password),
        );
        drop(permit);
        is_right
    });
    Ok(verified.await.map_err(Problem::internal)? && is_known)
}

/// Sign out
///
/// Ends the session.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "auth",
    responses((status = 204, description = "The session is over"))
)]
async fn logout(
    State(api): State<Api>,
    Extension(client): Extension<Client>,
    who: Identity,
) -> Answer<(StatusCode, AppendHeaders<[(HeaderName, HeaderValue); 1]>)> {
    let How::Session { token, .. } = who.how;
    api.store().end_session(&token).await?;
    Ok((
        StatusCode::NO_CONTENT,
        AppendHeaders([(SET_COOKIE, session::no_cookie(is_encrypted(&client, &api.settings()))?)]),
    ))
}

/// Who is signed in
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "auth",
    responses((status = 200, description = "Whoever asks", body = Me))
)]
async fn me(who: Identity) -> Json<Me> {
    Json(Me { username: who.name, role: who.role })
}
