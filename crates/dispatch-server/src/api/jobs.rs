//! `/api/v1/jobs`: single jobs, and many at once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dispatch_core::queue::{Context, NotDone, Place};
use dispatch_core::{GroupId, Job, JobId, Outcome, Snapshot};
use dispatch_store::{Focus, Near, Scope};
use dispatch_wire::api::job::wish::{MOST_NAMED, QueueEnd};
use dispatch_wire::api::job::{
    BulkAction, BulkDone, BulkJobs, BulkOutcome, EditJob, Job as Shown, MoveJob, RequeueJob, VersionOnly,
};
use utoipa_axum::routes;

use super::Api;
use super::conditional::{IfMatch, IfMatchHeader, Tagged};
use super::extract::{Body, Ids, MaybeBody, invalid};
use super::idempotency::{IdempotencyHeader, Once};
use super::identity::Identity;
use super::jobs_show::Eyes;
use super::problem::{Answer, Problem};
use super::routes::Routes;
use super::wishes::{self, decide, edit, job_id, job_ids, refused, versions};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .reader(routes!(job))
        .operator(routes!(edit_job))
        .operator(routes!(delete_job))
        .operator(routes!(pause_job))
        .operator(routes!(unpause_job))
        .operator(routes!(cancel_job))
        .operator(routes!(retry_job))
        .operator(routes!(move_job))
        .operator(routes!(set_auto_requeue))
        .operator(routes!(disable_requeue))
        .operator(routes!(many_jobs))
}

/// Why a job ends that a person ends.
const BY_HAND: &str = "cancelled by hand";

/// One job
///
/// With all of its runs.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, description = "The job", body = Shown))
)]
async fn job(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Tagged<Shown>> {
    show(&api, job_id(&id)?).await
}

/// Change a job that waits
#[utoipa::path(
    put, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), IfMatchHeader),
    request_body = EditJob,
    responses(
        (status = 200, description = "The job, as it is now", body = Shown),
        (status = 409, description = "The job does not wait, or the change does not fit", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn edit_job(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    if_match: IfMatch,
    Body(body): Body<EditJob>,
) -> Answer<Tagged<Shown>> {
    let id = job_id(&id)?;
    let wish = edit(&body)?;
    let seen = if_match.and(body.version).seen();
    let group = group_of(&api, id).await?;
    let dedupe = wish.dedupe_key.clone().flatten().map(|key| (group.clone(), key));
    // Among the workloads of its group may be the other workflow.
    let group = wish.workflow.is_some().then_some(group);
    let focus = Focus { group, dedupe: dedupe.into_iter().collect(), ..Focus::job(id) };
    let edited = decide(&api, &Once(None), focus.within(Scope::Active), |snapshot, context| {
        snapshot.edit(id, &wish, seen.as_deref(), Some(&who.name), context)
    });
    edited.await?.map_err(|why| refused(&why))?;
    show(&api, id).await
}

/// Take a job out of sight
///
/// One that runs must be cancelled first. What it ran stays known.
#[utoipa::path(
    delete, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), IfMatchHeader),
    responses(
        (status = 204, description = "It is out of sight"),
        (status = 409, description = "The job runs", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn delete_job(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    if_match: IfMatch,
) -> Answer<StatusCode> {
    let id = job_id(&id)?;
    let wish = Wish { action: BulkAction::Delete, seen: if_match.seen(), by: &who.name };
    wish.carry_out(&api, &Once(None), id).await?.map_err(|why| refused(&why))?;
    Ok(StatusCode::NO_CONTENT)
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident $path:literal $action:ident;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post, path = $path, tag = "jobs",
            params(("id" = String, Path, description = "The job's id"), IfMatchHeader, IdempotencyHeader),
            request_body = Option<VersionOnly>,
            responses((status = 200, description = "The job, as it is now", body = Shown))
        )]
        async fn $name(
            State(api): State<Api>,
            who: Identity,
            Ids(id): Ids<String>,
            if_match: IfMatch,
            once: Once,
            MaybeBody(body): MaybeBody<VersionOnly>,
        ) -> Answer<Tagged<Shown>> {
            let id = job_id(&id)?;
            let seen = if_match.and(body.version).seen();
            let wish = Wish { action: BulkAction::$action, seen, by: &who.name };
            wish.carry_out(&api, &once, id).await?.map_err(|why| refused(&why))?;
            show(&api, id).await
        }
    )*};
}

actions! {
    /// Hold a job back that waits
    pause_job "/api/v1/jobs/{id}/pause" Pause;
    /// Let a job go that was held back
    unpause_job "/api/v1/jobs/{id}/unpause" Unpause;
    /// Take a job out of the queue
    ///
    /// If it runs, its run ends, and its host is told so at its next sign of life.
    cancel_job "/api/v1/jobs/{id}/cancel" Cancel;
    /// Put a job that is over back into the queue
    ///
    /// With all of its attempts before it.
    retry_job "/api/v1/jobs/{id}/retry" Retry;
}

/// Move a job that waits
///
/// It takes the priority of the job that it is put beside.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/move", tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), IfMatchHeader, IdempotencyHeader),
    request_body = MoveJob,
    responses((status = 200, description = "The job, as it is now", body = Shown))
)]
async fn move_job(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    if_match: IfMatch,
    once: Once,
    Body(body): Body<MoveJob>,
) -> Answer<Tagged<Shown>> {
    let id = job_id(&id)?;
    let place = place(&body)?;
    let seen = if_match.and(body.version).seen();
    let by = Some(who.name.as_str());
    let group = group_of(&api, id).await?;
    let near = match place {
        Place::First => Near::First(group.clone()),
        Place::Last => Near::Last(group.clone()),
        Place::Before(other) | Place::After(other) => Near::Job(other),
    };
    let focus = Focus { near: Some(near), ..Focus::job(id) }.within(Scope::Active);
    let mut moved = decide(&api, &once, focus, |snapshot, context| {
        snapshot.move_job(id, place, seen.as_deref(), by, context.now)
    })
    .await?;
    if moved == Err(NotDone::Crowded) {
        let focus = Focus::job(id).within(Scope::Group(group));
        moved = decide(&api, &once.part("with room"), focus, |snapshot, context| {
            snapshot.move_with_room(id, place, seen.as_deref(), by, context.now)
        })
        .await?;
    }
    moved.map_err(|why| refused(&why))?;
    show(&api, id).await
}

fn place(body: &MoveJob) -> Answer<Place> {
    let other = |member: &str, text: &str| {
        let at = format!("/{member}");
        text.parse().map_err(|_| invalid(&at, format!("`{text}` is not the id of a job")))
    };
    match (&body.before, &body.after, body.to) {
        (Some(before), None, None) => Ok(Place::Before(other("before", before)?)),
        (None, Some(after), None) => Ok(Place::After(other("after", after)?)),
        (None, None, Some(QueueEnd::First)) => Ok(Place::First),
        (None, None, Some(QueueEnd::Last)) => Ok(Place::Last),
        _ => Err(invalid("", "say where it is to go, in one way: before, after, or to")),
    }
}

/// Say whether a job comes again
#[utoipa::path(
    put, path = "/api/v1/jobs/{id}/auto-requeue", tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), IfMatchHeader),
    request_body = RequeueJob,
    responses(
        (status = 200, description = "The job, as it is now", body = Shown),
        (status = 409, description = "The job is over", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn set_auto_requeue(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    if_match: IfMatch,
    Body(body): Body<RequeueJob>,
) -> Answer<Tagged<Shown>> {
    let limit = wishes::requeue_limit("/requeue_limit", body.requeue_limit)?;
    let seen = if_match.and(body.version).seen();
    requeue(&api, &who, &id, (body.auto_requeue, limit), seen, &Once(None)).await
}

/// Let a job not come again
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/disable-requeue", tag = "jobs",
    params(("id" = String, Path, description = "The job's id"), IfMatchHeader, IdempotencyHeader),
    request_body = Option<VersionOnly>,
    responses((status = 200, description = "The job, as it is now", body = Shown))
)]
async fn disable_requeue(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    if_match: IfMatch,
    once: Once,
    MaybeBody(body): MaybeBody<VersionOnly>,
) -> Answer<Tagged<Shown>> {
    let seen = if_match.and(body.version).seen();
    requeue(&api, &who, &id, (false, None), seen, &once).await
}

async fn requeue(
    api: &Api,
    who: &Identity,
    id: &str,
    (auto, limit): (bool, Option<u32>),
    seen: Option<Vec<u64>>,
    once: &Once,
) -> Answer<Tagged<Shown>> {
    let id = job_id(id)?;
    let focus = Focus::job(id).within(Scope::Active);
    let done = decide(api, once, focus, |snapshot, context| {
        snapshot.set_requeue(id, auto, limit, seen.as_deref(), Some(&who.name), context.now)
    });
    done.await?.map_err(|why| refused(&why))?;
    show(api, id).await
}

/// Do one thing with many jobs
///
/// With each by itself: the answer says of each what became of it.
#[utoipa::path(
    post, path = "/api/v1/jobs/bulk", tag = "jobs", params(IdempotencyHeader),
    request_body = BulkJobs,
    responses((status = 200, description = "What became of each", body = BulkDone))
)]
async fn many_jobs(
    State(api): State<Api>,
    who: Identity,
    once: Once,
    Body(body): Body<BulkJobs>,
) -> Answer<Json<BulkDone>> {
    let ids = job_ids("/ids", &body.ids, MOST_NAMED)?;
    let versions = versions(&ids, &body.versions)?;
    let mut outcomes = Vec::new();
    for (number, id) in ids.into_iter().enumerate() {
        let seen = versions.get(&id).map(|version| vec![*version]);
        let wish = Wish { action: body.action, seen, by: &who.name };
        // Each is a decision of its own.
        let done = wish.carry_out(&api, &once.part(number), id).await?;
        let why = done.as_ref().err().map(ToString::to_string);
        outcomes.push(BulkOutcome { id: id.to_string(), done: done.is_ok(), why });
    }
    Ok(Json(BulkDone { outcomes }))
}

/// What a person wishes of one job.
struct Wish<'a> {
    action: BulkAction,
    seen: Option<Vec<u64>>,
    by: &'a str,
}

impl Wish<'_> {
    async fn carry_out(&self, api: &Api, once: &Once, id: JobId) -> Answer<Result<(), NotDone>> {
        let focus = Focus::job(id).within(Scope::Active);
        decide(api, once, focus, |snapshot, context| self.decide(id, snapshot, context)).await
    }

    fn decide(&self, id: JobId, snapshot: Snapshot, context: &Context<'_>) -> Outcome<Result<(), NotDone>> {
        let (seen, by, now) = (self.seen.as_deref(), Some(self.by), context.now);
        match self.action {
            BulkAction::Pause => snapshot.pause(id, true, seen, by, now),
            BulkAction::Unpause => snapshot.pause(id, false, seen, by, now),
            BulkAction::Cancel => snapshot.cancel(id, BY_HAND, seen, by, now),
            BulkAction::Delete => snapshot.delete(id, seen, by, now),
            BulkAction::Retry => snapshot.retry(id, seen, by, now),
        }
    }
}

/// The group of a job, which never changes.
async fn group_of(api: &Api, id: JobId) -> Answer<GroupId> {
    Ok(look(api, id).await?.1.group)
}

async fn show(api: &Api, id: JobId) -> Answer<Tagged<Shown>> {
    let (snapshot, job) = look(api, id).await?;
    Ok(Eyes::new(api, snapshot, &[id]).await?.in_full(&job))
}

async fn look(api: &Api, id: JobId) -> Answer<(Snapshot, Job)> {
    // What a job waits for may be any host.
    let focus = Focus { all_hosts: true, ..Focus::job(id) }.within(Scope::Active);
    let found = |snapshot: Snapshot| {
        let job = snapshot.jobs.iter().find(|job| job.id == id && !job.is_deleted).cloned();
        job.map(|job| (snapshot, job))
    };
    let found = api.store().look(focus, &api.engine().policy(), found).await?;
    found.ok_or_else(|| Problem::not_found("job", id))
}
