//! `/api/v1/runs`: attempts of jobs on hosts, by their public names.

use axum::Json;
use axum::extract::State;
use dispatch_core::{GroupId, RunId, RunName};
use dispatch_store::reads::{ReportFilter, RunFilter, RunKeyset, RunWith};
use dispatch_wire::api::run::{Named, Run as Shown, RunDetails, RunLine, RunState, Verdict};
use dispatch_wire::api::{EventData, Page};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::extract::{Ids, Query};
use super::hosts_show::named;
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Problem};
use super::reports::line;
use super::routes::Routes;
use super::shown::{event_data, maybe_time, seconds, time};
use super::{Api as Service, hosts};

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(runs)).reader(routes!(run)).reader(routes!(run_timeline))
}

/// How much of what belongs to a run is shown with it.
const SHOWN: u32 = 100;

impl Key for RunKeyset {
    const LIST: &'static str = "runs";
}

/// Which runs: those that fit in every respect.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this group.
    group: Option<String>,
    /// Only those of this job.
    job: Option<String>,
    /// Only those on this host, by its `id` or its `uid`.
    host: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    state: Option<RunState>,
    /// Only those with this verdict.
    #[param(inline)]
    verdict: Option<Verdict>,
}

/// All runs
///
/// The latest first.
#[utoipa::path(
    get, path = "/api/v1/runs", tag = "runs", params(Which, PageParams),
    responses((status = 200, description = "A page of them", body = Page<Shown>))
)]
async fn runs(
    State(api): State<Api>,
    Query(which): Query<Which>,
    pages: Pages<RunKeyset>,
) -> Answer<Json<Page<Shown>>> {
    let Some(filter) = filter(&api, &which).await? else {
        return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
    };
    let found = api.store().runs(&filter, pages.after.as_ref(), pages.to_load()).await?;
    Ok(Json(pages.page(found, |with| RunKeyset::from(&with.run), |with| show(&api, &with))))
}

/// What is asked for; none if nothing can be it.
async fn filter(api: &Api, which: &Which) -> Answer<Option<RunFilter>> {
    let group = which.group.as_ref().map(|group| group.parse::<GroupId>()).transpose();
    let job = which.job.as_ref().map(|job| job.parse()).transpose();
    let (Ok(group), Ok(job)) = (group, job) else { return Ok(None) };
    let host = match &which.host {
        None => None,
        Some(host) => match host_id(api, host).await? {
            None => return Ok(None),
            host => host,
        },
    };
    let (state, verdict) = (which.state.map(Into::into), which.verdict.map(Into::into));
    Ok(Some(RunFilter { group, job, host, state, verdict }))
}

/// The identifier of a host that was seen.
pub(crate) async fn host_id(api: &Api, host: &str) -> Answer<Option<dispatch_core::HostId>> {
    match hosts::find(api, host).await {
        Ok(known) => Ok(known.seen().map(|host| host.id)),
        Err(problem) if problem.kind() == super::problem::Kind::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A run as people see it.
pub(crate) fn show(api: &Service, with: &RunWith) -> Shown {
    let (run, policy, now) = (&with.run, api.engine().policy(), api.clock().now());
    let ended = run.state.is_final().then_some(run.since);
    let sent = if run.state == dispatch_core::RunState::Downloading { run.sent } else { run.most_sent };
    Shown {
        id: run.id.public_name().to_string(),
        group_id: with.job.group.to_string(),
        job: Named { id: run.job.to_string(), name: with.job.name.clone() },
        host: named(&with.host, &policy),
        workload: Named { id: run.workload.to_string(), name: with.workload.name.clone() },
        attempt: run.attempt,
        state: run.state.into(),
        sign: run.state.sign().to_owned(),
        verdict: run.verdict.map(Into::into),
        reason: run.reason.clone(),
        created_at: time(run.created),
        updated_at: time(run.since),
        booted_at: maybe_time(run.booted_at),
        ended_at: maybe_time(ended),
        deadline: maybe_time(run.deadline),
        boot_seconds: run.booted_at.map(|booted| seconds(run.created, booted)),
        seconds: seconds(run.created, ended.unwrap_or(now)),
        size: run.size,
        sent,
        reboots: run.reboots,
        reports: run.reports,
        disputed: run.is_disputed,
    }
}

fn short(run: &dispatch_core::Run) -> RunLine {
    RunLine {
        id: run.id.public_name().to_string(),
        attempt: run.attempt,
        state: run.state.into(),
        verdict: run.verdict.map(Into::into),
        created_at: time(run.created),
        updated_at: time(run.since),
    }
}

async fn find(api: &Api, name: &str) -> Answer<RunWith> {
    let unknown = || Problem::not_found("run", name);
    let name: RunName = name.parse().map_err(|_| unknown())?;
    api.store().run_named(name).await?.ok_or_else(unknown)
}

/// A run with all that belongs to it
#[utoipa::path(
    get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = String, Path, description = "The run's name")),
    responses((status = 200, description = "The run", body = RunDetails))
)]
async fn run(State(api): State<Api>, Ids(name): Ids<String>) -> Answer<Json<RunDetails>> {
    let with = find(&api, &name).await?;
    let timeline = api.store().run_timeline(with.run.id, 0, SHOWN).await?;
    let filter = ReportFilter { run: Some(with.run.id), ..ReportFilter::default() };
    let reports = api.store().reports(&filter, None, SHOWN).await?;
    let attempts = api.store().attempts(with.run.job, SHOWN).await?;
    Ok(Json(RunDetails {
        run: show(&api, &with),
        timeline: timeline.iter().filter_map(event_data).collect(),
        reports: reports.iter().map(line).collect(),
        attempts: attempts.iter().map(short).collect(),
    }))
}

/// The place of an event in a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seq(i64);

impl Key for Seq {
    const LIST: &'static str = "timeline";
}

/// What happened in a run
///
/// In order.
#[utoipa::path(
    get, path = "/api/v1/runs/{id}/timeline", tag = "runs",
    params(("id" = String, Path, description = "The run's name"), PageParams),
    responses((status = 200, description = "A page of events", body = Page<EventData>))
)]
async fn run_timeline(
    State(api): State<Api>,
    Ids(name): Ids<String>,
    pages: Pages<Seq>,
) -> Answer<Json<Page<EventData>>> {
    let run: RunId = find(&api, &name).await?.run.id;
    let after = pages.after.map_or(0, |Seq(seq)| seq);
    let events = api.store().run_timeline(run, after, pages.to_load()).await?;
    let shown = events.iter().filter_map(event_data).collect();
    Ok(Json(pages.page(shown, |event: &EventData| Seq(event.seq), |event| event)))
}
