//! `/api/v1/groups`: the groups, how full they are, and their switches.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use dispatch_core::queue::Switch;
use dispatch_core::{Group, GroupId, GroupKind, GroupState, HostId, Snapshot, SourceId};
use dispatch_store::queue::GroupCounts;
use dispatch_store::{Focus, Scope};
use dispatch_wire::api::Page;
use dispatch_wire::api::group::{Group as Shown, GroupKind as Kinds, GroupSource, SourceState};
use dispatch_wire::api::job::VersionOnly;
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::conditional::{IfMatch, IfMatchHeader, Tagged};
use super::extract::{Ids, MaybeBody};
use super::idempotency::{IdempotencyHeader, Once};
use super::identity::Identity;
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Problem};
use super::routes::Routes;
use super::shown::group as known;
use super::wishes::{decide, refused};
use crate::engine::SourceStandings;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .reader(routes!(groups))
        .reader(routes!(group))
        .operator(routes!(pause_group))
        .operator(routes!(unpause_group))
        .operator(routes!(drain_group))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct GroupKey {
    place: i64,
    id: String,
}

impl Key for GroupKey {
    const LIST: &'static str = "groups";
}

/// All groups
///
/// In the order of the configuration, with how full each is. Those that have left it come behind, as long as anything is
/// known of them.
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "groups", params(PageParams),
    responses((status = 200, description = "The groups", body = Page<Shown>))
)]
async fn groups(State(api): State<Api>, pages: Pages<GroupKey>) -> Answer<Json<Page<Shown>>> {
    let snapshot = look(&api).await?;
    let place = |group: &GroupState| (!group.in_config, group.place, group.id.to_string());
    let mut groups: Vec<GroupState> = snapshot.groups.clone();
    groups.sort_by_key(place);
    if let Some(after) = &pages.after {
        let known = groups.iter().position(|group| group.id.as_str() == after.id);
        // One that is gone by now had its place.
        let behind = |group: &GroupState| (group.place, group.id.as_str()) > (after.place, after.id.as_str());
        match known {
            Some(at) => drop(groups.drain(..=at)),
            None => groups.retain(behind),
        }
    }
    groups.truncate(pages.to_load() as usize);
    let ids: Vec<GroupId> = groups.iter().map(|group| group.id.clone()).collect();
    let counts = api.store().group_counts(&ids).await?;
    let key = |group: &GroupState| GroupKey { place: group.place, id: group.id.to_string() };
    let show = |group: GroupState| {
        let counts = counts.get(&group.id).copied().unwrap_or_default();
        shown(&snapshot, &group, counts, api.engine().standings())
    };
    Ok(Json(pages.page(groups, key, show)))
}

/// One group
#[utoipa::path(
    get, path = "/api/v1/groups/{id}", tag = "groups",
    params(("id" = String, Path, description = "The group's id in the configuration")),
    responses((status = 200, description = "The group", body = Shown))
)]
async fn group(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Tagged<Shown>> {
    show(&api, &known(&api, &id).await?).await
}

macro_rules! switches {
    ($($(#[doc = $doc:literal])+ $name:ident $path:literal $switch:ident;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post, path = $path, tag = "groups",
            params(("id" = String, Path, description = "The group's id in the configuration"), IfMatchHeader,
                IdempotencyHeader),
            request_body = Option<VersionOnly>,
            responses((status = 200, description = "The group, as it is now", body = Shown))
        )]
        async fn $name(
            State(api): State<Api>,
            who: Identity,
            Ids(id): Ids<String>,
            if_match: IfMatch,
            once: Once,
            MaybeBody(body): MaybeBody<VersionOnly>,
        ) -> Answer<Tagged<Shown>> {
            switch(&api, &who, &id, Switch::$switch, &if_match.and(body.version), &once).await
        }
    )*};
}

switches! {
    /// Pause a group
    ///
    /// Nothing of it is started until it is unpaused. What runs goes on, and it takes jobs.
    pause_group "/api/v1/groups/{id}/pause" Paused;
    /// Let a group go on
    ///
    /// Ends a pause, and the draining as well.
    unpause_group "/api/v1/groups/{id}/unpause" Open;
    /// Drain a group
    ///
    /// It takes no more jobs, and works off those that it has. Ends a pause.
    drain_group "/api/v1/groups/{id}/drain" Draining;
}

async fn switch(
    api: &Api,
    who: &Identity,
    id: &str,
    to: Switch,
    if_match: &IfMatch,
    once: &Once,
) -> Answer<Tagged<Shown>> {
    let id = known(api, id).await?;
    let seen = if_match.seen();
    let focus = Focus::default().within(Scope::Active);
    let switched = decide(api, once, focus, |snapshot, context| {
        snapshot.switch_group_seen(&id, to, seen.as_deref(), Some(&who.name), context.now)
    });
    switched.await?.map_err(|why| refused(&why))?;
    show(api, &id).await
}

async fn look(api: &Api) -> Answer<Snapshot> {
    let focus = Focus { all_hosts: true, ..Focus::default() }.within(Scope::Active);
    Ok(api.store().look(focus, &api.engine().policy(), |snapshot| snapshot).await?)
}

async fn show(api: &Api, id: &GroupId) -> Answer<Tagged<Shown>> {
    let snapshot = look(api).await?;
    let group = snapshot.groups.iter().find(|group| group.id == *id);
    let group = group.ok_or_else(|| Problem::not_found("group", id))?;
    let counts = api.store().group_counts(std::slice::from_ref(id)).await?;
    let counts = counts.get(id).copied().unwrap_or_default();
    Ok(Tagged::new(group.version, shown(&snapshot, group, counts, api.engine().standings())))
}

/// The hosts of a group: how many could take a job at once, how many are held, how many there are.
fn hosts(snapshot: &Snapshot, id: &GroupId) -> (u64, u64, u64) {
    let (mut idle, mut busy, mut all) = (0, 0, 0);
    let held: BTreeSet<HostId> =
        snapshot.runs.iter().filter(|run| !run.state.is_final()).map(|run| run.host).collect();
    let accepted = snapshot.hosts.iter().filter(|host| snapshot.policy.is_accepted(host));
    for host in accepted.filter(|host| snapshot.groups_of(host).any(|group| group.id == *id)) {
        all += 1;
        if held.contains(&host.id) {
            busy += 1;
        } else if !host.is_paused {
            idle += 1;
        }
    }
    (idle, busy, all)
}

fn source(group: &GroupId, id: &SourceId, standings: &SourceStandings) -> GroupSource {
    let known = standings.of(id);
    let name = id.as_str().strip_prefix(group.as_str()).and_then(|rest| rest.strip_prefix('/'));
    GroupSource {
        name: name.unwrap_or(id.as_str()).to_owned(),
        state: match &known {
            None => SourceState::Waiting,
            Some(known) if known.trouble.is_some() => SourceState::Trouble,
            Some(_) => SourceState::Ok,
        },
        since: known.as_ref().map(|known| known.since.to_string()),
        last_look_at: known.as_ref().map(|known| known.last_look.to_string()),
        message: known.and_then(|known| known.trouble),
    }
}

fn shown(snapshot: &Snapshot, group: &GroupState, counts: GroupCounts, standings: &SourceStandings) -> Shown {
    let (idle_runners, busy_runners, total_runners) = hosts(snapshot, &group.id);
    let settings: Option<&Group> = snapshot.policy.group(&group.id);
    let labels_of = |kind| (group.kind == kind).then(|| group.labels.clone());
    Shown {
        id: group.id.to_string(),
        name: group.name.clone(),
        description: group.description.clone(),
        kind: match group.kind {
            GroupKind::Metal => Kinds::Metal,
            GroupKind::Actions => Kinds::Actions,
            GroupKind::Sandbox => Kinds::Sandbox,
        },
        labels: group.labels.clone(),
        runner_labels: labels_of(GroupKind::Actions),
        host_labels: labels_of(GroupKind::Metal),
        enabled: group.in_config,
        paused: group.is_paused,
        draining: group.is_draining,
        max_concurrent: settings.and_then(|settings| settings.max_concurrent),
        version: group.version,
        created_at: group.created.to_string(),
        updated_at: group.updated.to_string(),
        queued_jobs: counts.queued,
        running_jobs: counts.active,
        idle_runners,
        busy_runners,
        total_runners,
        template_count: counts.templates,
        sources: settings
            .into_iter()
            .flat_map(|settings| &settings.sources)
            .map(|id| source(&group.id, id, standings))
            .collect(),
    }
}
