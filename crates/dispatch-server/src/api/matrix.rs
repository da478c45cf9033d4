//! `/api/v1/groups/{id}/matrix`: which workload came out how on which host.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dispatch_core::queue::matrix::{Column, Matrix};
use dispatch_core::queue::{NewJob, Wanted};
use dispatch_core::{GroupId, HostId, WorkloadId};
use dispatch_store::reads::{HostKeyset, WorkloadFilter};
use dispatch_store::{Focus, Scope};
use dispatch_wire::api::matrix::{
    Matrix as Shown, MatrixCell, MatrixColumn, MatrixFormat, MatrixRow, Rerun, RerunCell,
};
use serde::Deserialize;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Body, Ids, Query, invalid};
use super::hosts::find;
use super::hosts_show::{Eyes, Known, id as id_of, label};
use super::idempotency::{IdempotencyHeader, Once};
use super::identity::Identity;
use super::problem::{Answer, Kind, Problem};
use super::reports::{MARKDOWN, wants_markdown};
use super::routes::Routes;
use super::shown::{group, time};
use super::wishes::{decide, refused};

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(matrix)).operator(routes!(rerun_cell))
}

/// The most workloads, and the most columns, that a table has.
const MOST: usize = 200;

/// The longest name of a label, in characters.
const LONGEST_LABEL: usize = 100;

/// How many hosts are loaded at a time.
const AT_ONCE: u32 = 200;

/// How the table is asked for.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct How {
    /// A column for each value of this label, such as `rack` for `rack:7`, instead of each host.
    #[param(min_length = 1, max_length = 100)]
    by: Option<String>,
    /// In which form; without it, what `Accept` asks for.
    #[param(inline)]
    format: Option<MatrixFormat>,
}

/// The matrix of a group
///
/// The workloads that its sources offer, and how each last came out on each of its hosts: the latest run that is over and
/// has a verdict, or the one that goes on. As JSON or, by `format` or `Accept`, as a table of Markdown.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/matrix", tag = "history",
    params(("id" = String, Path, description = "The group"), How),
    responses((status = 200, description = "The table",
        content((Shown = "application/json"), (String = "text/markdown"))))
)]
async fn matrix(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(how): Query<How>,
    headers: HeaderMap,
) -> Answer<Response> {
    let group = group(&api, &id).await?;
    if how.by.as_ref().is_some_and(|label| !(1..=LONGEST_LABEL).contains(&label.chars().count())) {
        let detail = format!("by is the name of a label, which has 1 to {LONGEST_LABEL} characters");
        return Err(Problem::new(Kind::InvalidParameter, detail).field("by"));
    }
    let (matrix, truncated) = load(&api, &group, how.by.as_deref()).await?;
    let is_markdown =
        how.format.map_or_else(|| wants_markdown(&headers), |format| format == MatrixFormat::Markdown);
    if is_markdown {
        let mut text = matrix.to_markdown();
        if truncated {
            text += &cut();
        }
        return Ok(([(CONTENT_TYPE, MARKDOWN), (VARY, "Accept")], text).into_response());
    }
    Ok(([(VARY, "Accept")], Json(show(&matrix, truncated))).into_response())
}

/// What stands below a table that does not have everything.
fn cut() -> String {
    format!("\nThere is more than these: a table has {MOST} rows and {MOST} columns at most.\n")
}

/// The table, and whether there is more than it shows.
async fn load(api: &Api, group: &GroupId, by: Option<&str>) -> Answer<(Matrix, bool)> {
    let filter =
        WorkloadFilter { group: Some(group.clone()), is_offered: Some(true), ..WorkloadFilter::default() };
    let most = u32::try_from(MOST).unwrap_or(u32::MAX);
    let offered = api.store().workloads(&filter, None, most + 1).await?;
    let mut workloads: Vec<(WorkloadId, String)> =
        offered.into_iter().map(|workload| (workload.id, workload.name)).collect();
    let mut truncated = workloads.len() > MOST;
    workloads.truncate(MOST);
    workloads.sort_by(|one, other| (&one.1, one.0).cmp(&(&other.1, other.0)));
    // Of a label, every host that has it counts: without the last one, a column may show an older and better result.
    let mut columns = columns(api, group, by, |columns| by.is_none() && columns.len() > MOST).await?;
    truncated |= columns.len() > MOST;
    columns.truncate(MOST);
    let hosts: BTreeSet<HostId> = columns.iter().flat_map(|column| column.hosts.iter().copied()).collect();
    let hosts: Vec<HostId> = hosts.into_iter().collect();
    let ids: Vec<WorkloadId> = workloads.iter().map(|(id, _)| *id).collect();
    let results = api.store().results(&ids, &hosts).await?;
    Ok((Matrix::new(workloads, columns, results), truncated))
}

/// The columns of a group, or at least so many that they are `enough`: its hosts that may work, and those that are only
/// listed, or the values of a label that they carry.
async fn columns(
    api: &Api,
    group: &GroupId,
    by: Option<&str>,
    enough: impl Fn(&BTreeMap<String, Column>) -> bool,
) -> Answer<Vec<Column>> {
    let policy = api.engine().policy();
    let eyes = Eyes::new(&policy, api.clock().now());
    let is_of_group = |known: &Known| {
        eyes.is_accepted(known)
            && (!policy.is_service() || eyes.groups(known).iter().any(|id| id == group.as_str()))
    };
    let prefix = by.map(|label| format!("{label}:"));
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    let add = |columns: &mut BTreeMap<String, Column>, known: &Known, own: String| {
        let labels: Vec<(String, String)> = match &prefix {
            None => vec![(format!("host:{own}"), label(known, &policy))],
            Some(prefix) => {
                let all = eyes.label_names(known).into_iter();
                all.filter(|label| label.starts_with(prefix.as_str()))
                    .map(|label| (label.clone(), label))
                    .collect()
            }
        };
        for (label, title) in labels {
            let column = Column { label: label.clone(), title, hosts: BTreeSet::new() };
            let column = columns.entry(label).or_insert(column);
            column.hosts.extend(known.seen().map(|host| host.id));
        }
    };
    let mut after: Option<HostKeyset> = None;
    loop {
        let hosts = api.store().hosts(after.as_ref(), AT_ONCE).await?;
        let Some(last) = hosts.last() else { break };
        after = Some(HostKeyset::from(last));
        for host in hosts {
            let own = id_of(&host, &policy);
            let known = Known::from(host);
            if is_of_group(&known) {
                add(&mut columns, &known, own);
            }
        }
        if enough(&columns) {
            return Ok(columns.into_values().collect());
        }
    }
    for listed in policy.listed.iter() {
        let known = Known::from(listed);
        if is_of_group(&known) {
            add(&mut columns, &known, listed.key.to_string());
        }
    }
    Ok(columns.into_values().collect())
}

/// What a column is called by clients: the id of a host, or a label.
fn column_id(column: &Column) -> String {
    column.label.strip_prefix("host:").unwrap_or(&column.label).to_owned()
}

fn show(matrix: &Matrix, truncated: bool) -> Shown {
    let columns = matrix.columns.iter();
    let columns = columns.map(|column| MatrixColumn { id: column_id(column), title: column.title.clone() });
    let rows = matrix.rows.iter().map(|row| {
        let cells = (0_u64..).zip(&row.cells).filter_map(|(column, cell)| {
            let cell = cell.as_ref()?;
            Some(MatrixCell {
                column,
                run_id: cell.run.to_string(),
                state: cell.state.into(),
                verdict: cell.verdict.map(Into::into),
                at: time(cell.at),
            })
        });
        MatrixRow { workload_id: row.workload.to_string(), name: row.name.clone(), cells: cells.collect() }
    });
    Shown { columns: columns.collect(), rows: rows.collect(), truncated }
}

/// Run a cell again
///
/// Queues a job for this workload that only this host, or a host with this label, may take.
#[utoipa::path(
    post, path = "/api/v1/groups/{id}/matrix/rerun", tag = "history", request_body = RerunCell,
    params(("id" = String, Path, description = "The group"), IdempotencyHeader),
    responses((status = 201, description = "The job that was queued", body = Rerun))
)]
async fn rerun_cell(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    once: Once,
    Body(wish): Body<RerunCell>,
) -> Answer<(StatusCode, Json<Rerun>)> {
    let group = group(&api, &id).await?;
    let workload: WorkloadId =
        wish.workload_id.parse().map_err(|_| invalid("/workload_id", "it is not the id of a workload"))?;
    let label = label_of(&api, &group, &wish.host).await?;
    let job = NewJob { required_labels: vec![label], ..NewJob::new(Wanted::Workload(workload)) };
    let focus = Focus { group: Some(group.clone()), workloads: vec![workload], ..Focus::default() };
    let decided = decide(&api, &once, focus.within(Scope::Active), |snapshot, context| {
        snapshot.add_jobs(&group, std::slice::from_ref(&job), Some(&who.name), context)
    });
    let made = decided.await?.map_err(|(_, why)| refused(&why))?;
    let job = made.first().ok_or_else(|| Problem::internal("a job was queued, and there is none"))?;
    Ok((StatusCode::CREATED, Json(Rerun { id: job.job.to_string() })))
}

/// The label that a job is pinned by: a job that nobody can take would wait for ever, unseen.
async fn label_of(api: &Api, group: &GroupId, column: &str) -> Answer<String> {
    let by = match column.split_once(':') {
        Some(("host", _)) | None => None,
        Some((label, _)) => Some(label),
    };
    let label = if by.is_some() {
        column.to_owned()
    } else {
        let host = column.strip_prefix("host:").unwrap_or(column);
        let unknown = |problem: Problem| match problem.kind() {
            Kind::NotFound => no_host("there is no such host: list those that there are"),
            _ => problem,
        };
        let known = find(api, host).await.map_err(unknown)?;
        let policy = api.engine().policy();
        known.seen().map_or_else(|| format!("host:{host}"), |host| format!("host:{}", id_of(host, &policy)))
    };
    let known = columns(api, group, by, |columns| columns.contains_key(&label)).await?;
    if known.iter().any(|column| column.label == label) {
        return Ok(label);
    }
    Err(no_host("no host of this group that may work is, or has, that: see the columns of the matrix"))
}

fn no_host(why: &str) -> Problem {
    Problem::new(Kind::Conflict, why).field("/host")
}
