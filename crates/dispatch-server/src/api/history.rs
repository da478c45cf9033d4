//! `/api/v1/groups/{id}/history`: what became of a group's jobs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{RawQuery, State};
use dispatch_core::queue::stats::{Counting, Ended, Range, Times};
use dispatch_core::{GroupId, RunState};
use dispatch_store::reads::{HistoryFilter, HistoryKey, PastJob};
use dispatch_wire::api::history::{
    History, HistoryStats, PastJob as Shown, PastStatus, StatsBucket, StatsRange, StatsTimes, StatsTotals,
    StatsVerdicts,
};
use dispatch_wire::api::run::Named;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::extract::{Ids, Query};
use super::hosts_show::{Known, id, label};
use super::page::{self, Key, PageParams, Pages};
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::shown::{group, maybe_time, seconds, time};

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(history)).reader(routes!(history_stats))
}

/// How many jobs are counted in one go.
const AT_ONCE: u32 = 5000;

/// What the name of a filter by a label begins with.
const LABEL: &str = "label.";

/// How many labels may be asked for at once.
const MOST_LABELS: usize = 16;

/// Where a page of a history ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Place {
    after: HistoryKey,
    /// How many there were when the first page was read: they are not counted anew for each page.
    #[serde(default)]
    total: Option<u64>,
}

impl Key for Place {
    const LIST: &'static str = "history";
}

/// Which jobs, as a history and its export have them.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only those that ended so: `completed`, `failed`, `cancelled`, separated by commas.
    #[param(
        example = "completed,failed",
        pattern = "^(completed|failed|cancelled|pending|triggered|running)(,(completed|failed|cancelled|pending|triggered|running))*$"
    )]
    status: Option<String>,
    /// Only those with this value of the label KEY, which stands for any label's name: `label.os=linux`. May be given for
    /// several labels: all must hold.
    #[param(rename = "label.KEY")]
    #[serde(rename = "label.KEY")]
    _label: Option<String>,
}

/// Where a page begins, as other queues name it.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Before {
    /// The same as `cursor`; or a time, as RFC 3339 has it: only what was over before it.
    #[param(max_length = 1024)]
    before: Option<String>,
}

impl Which {
    /// What is asked for; none if nothing can be it.
    pub(super) fn filter(&self, group: GroupId, query: Option<&str>) -> Answer<Option<HistoryFilter>> {
        let mut filter = HistoryFilter::all(group);
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if let Some(label) = name.strip_prefix(LABEL) {
                filter.labels.insert(label.to_owned(), value.into_owned());
            }
        }
        if filter.labels.len() > MOST_LABELS {
            let detail = format!("these are more than {MOST_LABELS} labels: ask for fewer");
            return Err(Problem::new(Kind::InvalidParameter, detail).field("label.KEY"));
        }
        let Some(status) = &self.status else { return Ok(Some(filter)) };
        for word in status.split(',') {
            match word.parse::<Ended>() {
                Ok(ended) => filter.ended.push(ended),
                // Jobs that stand so are never over.
                Err(_) if ["pending", "triggered", "running"].contains(&word) => {}
                Err(_) => {
                    let detail = format!("`{word}` is no status: give completed, failed or cancelled");
                    return Err(Problem::new(Kind::InvalidParameter, detail).field("status"));
                }
            }
        }
        Ok(Some(filter).filter(|filter| !filter.ended.is_empty()))
    }
}

/// The history of a group
///
/// Jobs that are over, the latest first. A page begins where the one before ended, whatever has happened since;
/// `total_count` is that of the first page on all pages that follow it.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/history", tag = "history",
    params(("id" = String, Path, description = "The group"), Which, Before, PageParams),
    responses((status = 200, description = "A page of it", body = History))
)]
async fn history(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(which): Query<Which>,
    Query(before): Query<Before>,
    RawQuery(query): RawQuery,
    pages: Result<Pages<Place>, Problem>,
) -> Answer<Json<History>> {
    let group = group(&api, &id).await?;
    let mut pages = pages?;
    if let Some(before) = &before.before {
        if pages.after.is_some() {
            let detail = "cursor and before are the same: give one of them";
            return Err(Problem::new(Kind::InvalidParameter, detail).field("before"));
        }
        pages.after = Some(match before.parse::<Timestamp>() {
            Ok(time) => Place { after: HistoryKey { at: time.as_microsecond(), id: None }, total: None },
            Err(_) => page::read(before)?,
        });
    }
    let Some(filter) = which.filter(group, query.as_deref())? else {
        return Ok(Json(History { items: Vec::new(), next_cursor: None, has_more: false, total_count: 0 }));
    };
    let after = pages.after.as_ref().map(|place| &place.after);
    let found = api.store().history(&filter, after, pages.to_load()).await?;
    let total_count = match pages.after.and_then(|place| place.total) {
        Some(total) => total,
        None => api.store().history_count(&filter).await?,
    };
    let place = |past: &PastJob| Place { after: HistoryKey::from(&past.job), total: Some(total_count) };
    let page = pages.page(found, place, |past| show(&api, &past));
    let has_more = page.next_cursor.is_some();
    Ok(Json(History { items: page.items, next_cursor: page.next_cursor, has_more, total_count }))
}

/// A job that is over, as people see it.
pub(super) fn show(api: &Api, past: &PastJob) -> Shown {
    let (job, policy) = (&past.job, api.engine().policy());
    let could = job.not_before.map_or(job.created, |time| time.max(job.created));
    let (first, last) = (past.runs.first(), past.runs.last());
    let status = match Ended::of(job.state, job.verdict) {
        Some(Ended::Completed) => PastStatus::Completed,
        Some(Ended::Cancelled) => PastStatus::Cancelled,
        Some(Ended::Failed) | None => PastStatus::Failed,
    };
    let host = past
        .host
        .as_ref()
        .map(|host| Named { id: id(host, &policy), name: label(&Known::from(host.clone()), &policy) });
    // A run that came to nothing, and was taken back, is no attempt.
    let attempts =
        past.runs.iter().filter(|run| run.state != RunState::Cancelled || run.transfers > 0).count();
    Shown {
        id: job.id.to_string(),
        group_id: job.group.to_string(),
        template_id: job.template.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: job.name.clone(),
        status,
        verdict: job.verdict.map(Into::into),
        reason: job.reason.clone(),
        priority: job.priority,
        inputs: job.inputs.clone(),
        labels: job.labels.clone(),
        created_by: job.created_by.clone().unwrap_or_default(),
        attempts: attempts as u64,
        run_id: last.map(|run| run.id.public_name().to_string()),
        host,
        created_at: time(job.created),
        triggered_at: maybe_time(first.map(|run| run.created)),
        completed_at: time(job.since),
        waiting_seconds: first.map(|run| seconds(could, run.created)),
        running_seconds: last.map(|run| seconds(run.created, job.since)),
    }
}

/// Over which time.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Over {
    /// Over which time.
    #[param(inline, default = "auto")]
    #[serde(default)]
    range: StatsRange,
}

/// Statistics of a group
///
/// How many jobs were over when, how they came out, and how long they waited and ran. Counted anew every few seconds at
/// most, however many ask.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/history/stats", tag = "history",
    params(("id" = String, Path, description = "The group"), Over),
    responses((status = 200, description = "The statistics", body = HistoryStats))
)]
async fn history_stats(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(over): Query<Over>,
) -> Answer<Json<HistoryStats>> {
    let group = group(&api, &id).await?;
    let now = api.clock().now();
    let range = match over.range {
        StatsRange::Hour => Range::Hour,
        StatsRange::SixHours => Range::SixHours,
        StatsRange::Day => Range::Day,
        StatsRange::Week => Range::Week,
        StatsRange::Month => Range::Month,
        StatsRange::Auto => Range::that_shows(api.store().oldest_past(&group).await?, now),
    };
    let key = (group.clone(), range.as_str());
    let stats = api.stats().get(key, now, counted(&api, &group, range, now)).await?;
    Ok(Json(stats))
}

/// Goes through what was over in this time.
async fn counted(api: &Api, group: &GroupId, range: Range, now: Timestamp) -> Answer<HistoryStats> {
    let mut counting = Counting::new(range, now);
    let mut after = None;
    loop {
        let page = api.store().past(group, range.from(now), after.as_ref(), AT_ONCE).await?;
        for (past, _) in &page {
            counting.add(past);
        }
        match page.last() {
            Some((_, key)) => after = Some(*key),
            None => break,
        }
    }
    let stats = counting.done();
    let (totals, verdicts) = (stats.totals, stats.verdicts);
    let bucket = |(at, totals): &(Timestamp, dispatch_core::queue::stats::Totals)| StatsBucket {
        timestamp: time(*at),
        completed: totals.completed,
        failed: totals.failed,
        cancelled: totals.cancelled,
    };
    Ok(HistoryStats {
        range: stats.range.as_str().to_owned(),
        buckets: stats.buckets.iter().map(bucket).collect(),
        totals: StatsTotals {
            completed: totals.completed,
            failed: totals.failed,
            cancelled: totals.cancelled,
        },
        verdicts: StatsVerdicts {
            passed: verdicts.passed,
            failed: verdicts.failed,
            errored: verdicts.errored,
            unjudged: verdicts.unjudged,
        },
        waiting: stats.waiting.map(times),
        running: stats.running.map(times),
    })
}

fn times(times: Times) -> StatsTimes {
    StatsTimes {
        count: times.count,
        median_seconds: times.median.as_secs_f64(),
        p95_seconds: times.p95.as_secs_f64(),
    }
}

/// Labels or inputs on one line.
pub(super) fn on_one_line(pairs: &BTreeMap<String, String>) -> String {
    serde_json::to_string(pairs).unwrap_or_default()
}
