//! `/api/v1/groups/{id}/queue`: what waits and runs in a group, what is put into it, and in which order.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use dispatch_core::group::TemplateId;
use dispatch_core::queue::{Made, NewJob as Wish, Phase, Status, Wanted};
use dispatch_core::{GroupId, Job, JobId};
use dispatch_store::queue::{QueueFilter, QueueKey};
use dispatch_store::{Focus, Scope};
use dispatch_wire::api::Page;
use dispatch_wire::api::job::{
    Job as Shown, JobList, JobState, JobStatus, ManyMade, NewJob, NewJobs, Reordered,
    wish::{MOST_NAMED, MOST_ORDERED},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::extract::{Body, Ids, Query, invalid};
use super::idempotency::{IdempotencyHeader, Once};
use super::identity::Identity;
use super::jobs_show::Eyes;
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::shown::group;
use super::wishes::{decide, job_ids, new_job, refused, refused_new, versions};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .reader(routes!(queue))
        .operator(routes!(add_job))
        .operator(routes!(add_jobs))
        .operator(routes!(reorder))
}

/// The longest text that is looked for, in characters.
const LONGEST: usize = 200;

/// A place in the order of a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    priority: i64,
    position: i64,
    id: JobId,
}

impl Key for Place {
    const LIST: &'static str = "queue";
}

/// Which jobs of a queue.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those with one of these, separated by commas.
    #[param(value_type = Vec<JobStatus>, required = false, style = Form, explode = false)]
    status: Option<String>,
    /// Only those with one of these, separated by commas.
    #[param(value_type = Vec<JobState>, required = false, style = Form, explode = false)]
    state: Option<String>,
    /// Only those of this template.
    #[param(max_length = 200)]
    template: Option<String>,
    /// Only those with this in their name. Case matters.
    #[param(max_length = 200)]
    name: Option<String>,
}

/// The parameters by which labels are looked for.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ByLabel {
    /// `label.KEY=V`: only those with the label `KEY` of the value `V`. All that are given must hold.
    #[param(rename = "label.KEY", required = false, max_length = 200)]
    _label: String,
}

/// What waits and runs in a group
///
/// In the order of its queue, each job that waits with the sentence that says why.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/queue", tag = "queue",
    params(("id" = String, Path, description = "The group's id in the configuration"), Which, ByLabel, PageParams),
    responses((status = 200, description = "The jobs", body = Page<Shown>))
)]
async fn queue(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(which): Query<Which>,
    uri: Uri,
    pages: Pages<Place>,
) -> Answer<Json<Page<Shown>>> {
    let group = group(&api, &id).await?;
    let after = pages.after.as_ref();
    let after = after.map(|at| QueueKey { priority: at.priority, position: at.position, id: at.id });
    let Some(filter) = filter(group, &which, uri.query())? else {
        return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
    };
    let policy = api.engine().policy();
    let found = api.store().queue(&filter, after.as_ref(), pages.to_load(), &policy).await?;
    let ids: Vec<JobId> = found.jobs.iter().map(|job| job.id).collect();
    let eyes = Eyes::new(&api, found.snapshot, &ids).await?;
    Ok(Json(pages.page(found.jobs, place, |job| eyes.job(&job))))
}

fn place(job: &Job) -> Place {
    Place { priority: job.priority, position: job.position, id: job.id }
}

/// Reads what is looked for. Nothing if no job of a queue can fit.
fn filter(group: GroupId, which: &Which, query: Option<&str>) -> Answer<Option<QueueFilter>> {
    let too_long = |name: &str| {
        let detail = format!("{name} has at most {LONGEST} characters: give less");
        Problem::new(Kind::InvalidParameter, detail).field(name)
    };
    for (name, text) in [("name", &which.name), ("template", &which.template)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
            return Err(too_long(name));
        }
    }
    let mut labels = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if let Some(label) = name.strip_prefix("label.") {
            if value.chars().count() > LONGEST {
                return Err(too_long(&name));
            }
            labels.push((label.to_owned(), value.into_owned()));
        }
    }
    let mut phases: Option<Vec<Phase>> = None;
    if let Some(statuses) = words::<Status>("status", which.status.as_deref())? {
        phases = Some(statuses.iter().flat_map(|status| status.open_phases()).copied().collect());
    }
    if let Some(states) = words::<Phase>("state", which.state.as_deref())? {
        let is_wanted = |phase: &Phase| phases.as_ref().is_none_or(|phases| phases.contains(phase));
        phases = Some(states.into_iter().filter(is_wanted).collect());
    }
    // A filter without states takes all of them: one that has excluded all takes none.
    if phases.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let template = which.template.as_deref().filter(|text| !text.is_empty()).map(str::parse::<TemplateId>);
    let template = match template {
        Some(Err(_)) => return Ok(None),
        Some(Ok(template)) => Some(template),
        None => None,
    };
    let phases = phases.unwrap_or_default();
    Ok(Some(QueueFilter { group, template, name: which.name.clone(), labels, phases }))
}

/// Words that are separated by commas. No word at all is no filter.
fn words<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Answer<Option<Vec<T>>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let read = |word: &str| {
        word.parse().map_err(|_| {
            let detail =
                format!("`{word}` is no {name}: the description of this list has all that there are");
            Problem::new(Kind::InvalidParameter, detail).field(name)
        })
    };
    text.split(',').map(|word| read(word.trim())).collect::<Answer<_>>().map(Some)
}

/// Put a job into a queue
///
/// It is what a template says, or it runs a workload or a workflow. Where it is spread over hosts it becomes several: `jobs`
/// has all of them. With a dedupe key that a job of the group has already which is not over, that job is answered.
#[utoipa::path(
    post, path = "/api/v1/groups/{id}/queue", tag = "queue",
    params(("id" = String, Path, description = "The group's id in the configuration"), IdempotencyHeader),
    request_body = NewJob,
    responses(
        (status = 201, description = "The job, or the first of them", body = Shown),
        (status = 200, description = "The job that has the dedupe key already", body = Shown),
        (status = 409, description = "It does not fit to how things stand", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn add_job(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    once: Once,
    Body(NewJob(wish)): Body<NewJob>,
) -> Answer<Response> {
    let group = group(&api, &id).await?;
    let wishes = [new_job("", &wish)?];
    let made = make(&api, &who, &group, &wishes, &once).await?.map_err(|(_, why)| refused_new("", &why))?;
    let is_new = made.iter().any(|made| !made.was_known);
    let all = show(&api, &made).await?;
    let first = all.first().cloned().ok_or_else(|| Problem::internal("a wish became no job"))?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Shown { jobs: Some(all), ..first })).into_response())
}

/// Put many jobs into a queue
///
/// All or none. The problem's `field` says which of them cannot be made.
#[utoipa::path(
    post, path = "/api/v1/groups/{id}/queue/bulk", tag = "queue",
    params(("id" = String, Path, description = "The group's id in the configuration"), IdempotencyHeader),
    request_body = NewJobs,
    responses(
        (status = 201, description = "The jobs", body = ManyMade),
        (status = 409, description = "One of them does not fit to how things stand", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn add_jobs(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    once: Once,
    Body(body): Body<NewJobs>,
) -> Answer<(StatusCode, Json<ManyMade>)> {
    let group = group(&api, &id).await?;
    if body.jobs.is_empty() || body.jobs.len() > MOST_NAMED {
        return Err(invalid("/jobs", format!("it has 1 to {MOST_NAMED} jobs")));
    }
    let read = |(number, NewJob(wish)): (usize, &NewJob)| new_job(&format!("/jobs/{number}"), wish);
    let wishes: Vec<Wish> = body.jobs.iter().enumerate().map(read).collect::<Answer<_>>()?;
    let made = make(&api, &who, &group, &wishes, &once).await?;
    let made = made.map_err(|(number, why)| refused_new(&format!("/jobs/{number}"), &why))?;
    let jobs = show(&api, &made).await?;
    Ok((StatusCode::CREATED, Json(ManyMade { jobs })))
}

async fn make(
    api: &Api,
    who: &Identity,
    group: &GroupId,
    wishes: &[Wish],
    once: &Once,
) -> Answer<Result<Vec<Made>, (usize, dispatch_core::queue::NotDone)>> {
    let workload = |wish: &Wish| match &wish.wanted {
        Wanted::Workload(id) => Some(*id),
        Wanted::Template(_) | Wanted::Workflow(_) => None,
    };
    let key = |wish: &Wish| wish.dedupe_key.clone().map(|key| (group.clone(), key));
    let may_spread = |wish: &Wish| wish.spread.is_some() || matches!(wish.wanted, Wanted::Template(_));
    let focus = Focus {
        group: Some(group.clone()),
        workloads: wishes.iter().filter_map(workload).collect(),
        dedupe: wishes.iter().filter_map(key).collect(),
        all_hosts: wishes.iter().any(may_spread),
        ..Focus::default()
    };
    let focus = focus.within(Scope::Active);
    decide(api, once, focus, |snapshot, context| snapshot.add_jobs(group, wishes, Some(&who.name), context))
        .await
}

/// The jobs that were made, as they are now.
async fn show(api: &Api, made: &[Made]) -> Answer<Vec<Shown>> {
    let ids: Vec<JobId> = made.iter().map(|made| made.job).collect();
    let focus = Focus { jobs: ids.clone(), all_hosts: true, ..Focus::default() }.within(Scope::Active);
    let snapshot = api.store().look(focus, &api.engine().policy(), |snapshot| snapshot).await?;
    Ok(Eyes::new(api, snapshot, &ids).await?.jobs(&ids))
}

/// Give jobs another order
///
/// The jobs of the list take the places that they have together, in the order of the list. Where `versions` names one that
/// has changed since, nothing is done.
#[utoipa::path(
    put, path = "/api/v1/groups/{id}/queue/reorder", tag = "queue",
    params(("id" = String, Path, description = "The group's id in the configuration")),
    request_body = JobList,
    responses(
        (status = 200, description = "They have it", body = Reordered),
        (status = 409, description = "The list does not fit the queue", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "Somebody was faster", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn reorder(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    Body(body): Body<JobList>,
) -> Answer<Json<Reordered>> {
    let group = group(&api, &id).await?;
    let list = job_ids("/job_ids", &body.job_ids, MOST_ORDERED)?;
    let seen = versions(&list, &body.versions)?;
    let focus = Focus { jobs: list.clone(), ..Focus::default() }.within(Scope::Active);
    let reordered = decide(&api, &Once(None), focus, |snapshot, context| {
        snapshot.reorder(&group, &list, &seen, Some(&who.name), context.now)
    });
    let reordered = reordered.await?.map_err(|why| refused(&why).field("/job_ids"))?;
    let left = reordered.left.iter().map(ToString::to_string).collect();
    Ok(Json(Reordered { moved: reordered.moved as u64, left }))
}
