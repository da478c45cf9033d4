//! `/api/v1/boot/requests`: did my server ask at all, and what was it told?

use axum::Json;
use axum::extract::State;
use dispatch_core::host::{Recognised, recognise};
use dispatch_core::{Host, Sighting};
use dispatch_wire::api::Page;
use dispatch_wire::api::boot::{BootRequest, Refreshed, Runner};
use jiff::Timestamp;
use utoipa_axum::routes;

use super::Api;
use super::extract::Ids;
use super::hosts_show::id;
use super::problem::Answer;
use super::routes::Routes;
use super::shown::{group, time};
use crate::requests::Request;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .reader(routes!(boot_requests))
        .reader(routes!(runners))
        .reader(routes!(group_runners))
        .admin(routes!(refresh_runners))
}

/// The last requests on the boot path
///
/// The latest first, fifty of them. Those that came again and were answered the same are one. A host that is known is named
/// by the id under which it can be accepted.
#[utoipa::path(
    get, path = "/api/v1/boot/requests", tag = "boot",
    responses((status = 200, description = "All that are remembered", body = Page<BootRequest>))
)]
async fn boot_requests(State(api): State<Api>) -> Answer<Json<Page<BootRequest>>> {
    let requests = api.engine().requests();
    let who: Vec<&Sighting> = requests.iter().map(|request| &request.latest.who).collect();
    let hosts = api.store().hosts_seen_as(&who).await?;
    let items = requests.iter().rev().map(|request| show(&api, request, &hosts)).collect();
    Ok(Json(Page { items, next_cursor: None }))
}

fn show(api: &Api, request: &Request, hosts: &[Host]) -> BootRequest {
    let (asked, policy) = (&request.latest, api.engine().policy());
    let host = match recognise(hosts, &asked.who) {
        Recognised::Host(host) => Some(host),
        Recognised::Several | Recognised::Stranger => None,
    };
    BootRequest {
        at: time(Timestamp::try_from(asked.at).unwrap_or(Timestamp::UNIX_EPOCH)),
        count: request.count,
        address: asked.who.address.to_string(),
        mac: asked.who.mac.map(|mac| mac.to_string()),
        name: asked.who.name.as_ref().map(ToString::to_string),
        host_id: host.map(|host| id(host, &policy)),
        accepted: host.map(|host| policy.is_accepted(host)),
        agent: asked.agent.clone(),
        method: asked.method.clone(),
        target: asked.target.clone(),
        status: asked.status,
        answer: asked.answer.clone(),
    }
}

/// All runners
///
/// Runners of GitHub Actions are not followed by this version, so that the list is empty.
#[utoipa::path(
    get, path = "/api/v1/runners", tag = "runners",
    responses((status = 200, description = "Those that are followed: none", body = Page<Runner>))
)]
async fn runners() -> Json<Page<Runner>> {
    Json(Page { items: Vec::new(), next_cursor: None })
}

/// The runners of a group
///
/// Runners of GitHub Actions are not followed by this version, so that the list is empty.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/runners", tag = "runners",
    params(("id" = String, Path, description = "The group")),
    responses((status = 200, description = "Those that are followed: none", body = Page<Runner>))
)]
async fn group_runners(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Json<Page<Runner>>> {
    group(&api, &id).await?;
    Ok(runners().await)
}

/// Look at the runners anew
///
/// There is nothing to look at in this version, and the answer says so.
#[utoipa::path(
    post, path = "/api/v1/runners/refresh", tag = "runners",
    responses((status = 200, description = "How many were looked at: none", body = Refreshed))
)]
async fn refresh_runners() -> Json<Refreshed> {
    let detail = "runners of GitHub Actions are not followed by this version: none was looked at".to_owned();
    Json(Refreshed { refreshed: 0, detail })
}
