//! `/api/v1/workloads`: what can be run.

use axum::Json;
use axum::extract::State;
use dispatch_core::{GroupId, Workload, WorkloadId};
use dispatch_store::reads::{LastResult, WorkloadFilter, WorkloadKeyset};
use dispatch_wire::api::Page;
use dispatch_wire::api::workload::Workload as Shown;
use serde::Deserialize;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Ids, Query};
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Problem};
use super::routes::Routes;
use super::shown::{self, maybe_time, time};

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(workloads)).reader(routes!(workload)).reader(routes!(group_workloads))
}

impl Key for WorkloadKeyset {
    const LIST: &'static str = "workloads";
}

/// Which workloads.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this group.
    group: Option<String>,
    /// Only those that their sources offer, or those that they do not.
    offered: Option<bool>,
    /// Only the versions of this name.
    name: Option<String>,
}

/// Which workloads of a group.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct WhichOfGroup {
    /// Only those that their sources offer, or those that they do not.
    offered: Option<bool>,
    /// Only the versions of this name.
    name: Option<String>,
}

/// All workloads
///
/// The latest first. Each version of a file is one.
#[utoipa::path(
    get, path = "/api/v1/workloads", tag = "workloads", params(Which, PageParams),
    responses((status = 200, description = "A page of them", body = Page<Shown>))
)]
async fn workloads(
    State(api): State<Api>,
    Query(which): Query<Which>,
    pages: Pages<WorkloadKeyset>,
) -> Answer<Json<Page<Shown>>> {
    let Ok(group) = which.group.as_ref().map(|group| group.parse::<GroupId>()).transpose() else {
        return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
    };
    list(&api, &WorkloadFilter { group, is_offered: which.offered, name: which.name }, &pages).await
}

/// The workloads of a group
///
/// The latest first. Each version of a file is one.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/workloads", tag = "workloads",
    params(("id" = String, Path, description = "The group"), WhichOfGroup, PageParams),
    responses((status = 200, description = "A page of them", body = Page<Shown>))
)]
async fn group_workloads(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(which): Query<WhichOfGroup>,
    pages: Pages<WorkloadKeyset>,
) -> Answer<Json<Page<Shown>>> {
    let group = Some(shown::group(&api, &id).await?);
    list(&api, &WorkloadFilter { group, is_offered: which.offered, name: which.name }, &pages).await
}

async fn list(
    api: &Api,
    filter: &WorkloadFilter,
    pages: &Pages<WorkloadKeyset>,
) -> Answer<Json<Page<Shown>>> {
    let found = api.store().workloads(filter, pages.after.as_ref(), pages.to_load()).await?;
    let ids: Vec<WorkloadId> = found.iter().map(|workload| workload.id).collect();
    let last = api.store().last_results(&ids).await?;
    let key = |workload: &Workload| WorkloadKeyset::from(workload);
    Ok(Json(pages.page(found, key, |workload| show(&workload, last.get(&workload.id)))))
}

/// A workload
#[utoipa::path(
    get, path = "/api/v1/workloads/{id}", tag = "workloads",
    params(("id" = String, Path, description = "The workload")),
    responses((status = 200, description = "The workload", body = Shown))
)]
async fn workload(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Json<Shown>> {
    let unknown = || Problem::not_found("workload", &id);
    let workload: WorkloadId = id.parse().map_err(|_| unknown())?;
    let found = api.store().workload(workload).await?.ok_or_else(unknown)?;
    let last = api.store().last_results(&[workload]).await?;
    Ok(Json(show(&found, last.get(&workload))))
}

fn show(workload: &Workload, last: Option<&LastResult>) -> Shown {
    let terms = &workload.terms;
    Shown {
        id: workload.id.to_string(),
        name: workload.name.clone(),
        group_id: workload.group.to_string(),
        source: workload.source.to_string(),
        kind: workload.kind.to_string(),
        size: workload.size,
        digest: workload.digest.map(|digest| digest.to_string()),
        arch: workload.arch().map(|arch| arch.to_string()),
        description: terms.description.clone(),
        required_labels: terms.labels.clone(),
        reboots: terms.reboots,
        retries: terms.retries,
        offered: workload.is_offered,
        modified_at: time(workload.modified),
        first_seen: time(workload.first_seen),
        last_verdict: last.map(|last| last.verdict.into()),
        last_done_at: maybe_time(last.map(|last| last.at)),
    }
}
