//! Jobs as people see them. A run is shown by its public name: its identifier is a secret that allows to report for it.

use dispatch_core::queue::{Phase, Plan, PlanInput, Status, plan};
use dispatch_core::{Job, Run, RunState, Snapshot, Verdict};
use dispatch_wire::api::job::{
    Attempt, Job as Shown, JobHost, JobState as Word, JobStatus, JobWorkload, Outcome,
};
use jiff::Timestamp;

use super::conditional::Tagged;

/// Why each job here waits. The snapshot must hold the runs and workloads of the jobs, all hosts, and all jobs that run.
pub(crate) fn planned(snapshot: &Snapshot, now: Timestamp) -> Plan {
    plan(&PlanInput { snapshot: snapshot.clone(), ..PlanInput::default() }, now)
}

/// A job as it is shown. The snapshot must hold what it takes to [plan](planned).
pub(crate) fn job(snapshot: &Snapshot, job: &Job, plan: &Plan) -> Shown {
    let run = latest(snapshot, job);
    let phase = Phase::of(job, run);
    let status = Status::of(phase, job.verdict);
    let workload = snapshot.workloads.iter().find(|workload| workload.id == job.workload);
    let workflow = workload.and_then(|workload| workload.workflow.clone());
    let host = run.and_then(|run| host(snapshot, run));
    let name = run.map(|run| run.id.public_name().to_string());
    let part = |read: fn(&dispatch_core::Workflow) -> &String| workflow.as_ref().map(read).cloned();
    Shown {
        id: job.id.to_string(),
        group_id: job.group.to_string(),
        template_id: job.template.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: job.name.clone(),
        priority: job.priority,
        position: job.position,
        state: word(phase),
        status: status_word(status),
        verdict: job.verdict.map(outcome),
        reason: job.reason.clone(),
        waits: plan.jobs.get(&job.id).cloned(),
        paused: job.is_paused,
        auto_requeue: job.auto_requeue,
        requeue_limit: job.requeue_limit,
        requeue_count: job.requeue_count,
        inputs: job.inputs.clone(),
        labels: job.labels.clone(),
        required_labels: job.required_labels.clone(),
        pin: job.pin.clone(),
        not_before: job.not_before.map(|time| time.to_string()),
        dedupe_key: job.dedupe_key.clone(),
        retries: job.retries,
        created_by: job.created_by.clone().unwrap_or_default(),
        source: job.source.as_ref().map(ToString::to_string),
        workload: workload.map(|workload| JobWorkload {
            id: workload.id.to_string(),
            name: workload.name.clone(),
            digest: workload.digest.as_ref().map(ToString::to_string),
        }),
        runner_id: host.as_ref().map(|host| host.id.clone()),
        runner_name: host.as_ref().map(|host| host.label.clone()).unwrap_or_default(),
        host,
        run_url: name.as_ref().map(|name| format!("/api/v1/runs/{name}")).unwrap_or_default(),
        run_id: name,
        owner: part(|workflow| &workflow.owner),
        repo: part(|workflow| &workflow.repo),
        workflow_id: part(|workflow| &workflow.workflow_id),
        git_ref: part(|workflow| &workflow.git_ref),
        error_message: error_message(job, status),
        version: job.version,
        created_at: job.created.to_string(),
        updated_at: job.since.to_string(),
        triggered_at: run.map(|run| run.created.to_string()),
        completed_at: job.state.is_final().then(|| job.since.to_string()),
        attempts: None,
        jobs: None,
    }
}

/// One job, with its attempts.
pub(crate) fn in_full(snapshot: &Snapshot, wanted: &Job, now: Timestamp) -> Tagged<Shown> {
    let mut shown = job(snapshot, wanted, &planned(snapshot, now));
    let mut runs: Vec<&Run> = snapshot.runs.iter().filter(|run| run.job == wanted.id).collect();
    runs.sort_unstable_by_key(|run| (run.created, run.id));
    shown.attempts = Some(runs.into_iter().map(|run| attempt(snapshot, run)).collect());
    Tagged { version: i64::try_from(wanted.version).unwrap_or(i64::MAX), body: shown }
}

fn attempt(snapshot: &Snapshot, run: &Run) -> Attempt {
    Attempt {
        run_id: run.id.public_name().to_string(),
        attempt: run.attempt,
        state: run_word(run.state),
        verdict: run.verdict.map(outcome),
        reason: run.reason.clone(),
        host: host(snapshot, run),
        reports: run.reports,
        created_at: run.created.to_string(),
        updated_at: run.since.to_string(),
    }
}

fn latest<'a>(snapshot: &'a Snapshot, job: &Job) -> Option<&'a Run> {
    let of_job = snapshot.runs.iter().filter(|run| run.job == job.id);
    of_job.max_by_key(|run| (!run.state.is_final(), run.created, run.id))
}

fn host(snapshot: &Snapshot, run: &Run) -> Option<JobHost> {
    let host = snapshot.hosts.iter().find(|host| host.id == run.host)?;
    Some(JobHost { id: host.id.to_string(), label: host.label() })
}

fn error_message(job: &Job, status: Status) -> String {
    match status {
        Status::Failed => job.reason.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

fn word(phase: Phase) -> Word {
    match phase {
        Phase::Queued => Word::Queued,
        Phase::Assigned => Word::Assigned,
        Phase::Downloading => Word::Downloading,
        Phase::Booting => Word::Booting,
        Phase::Running => Word::Running,
        Phase::Reported => Word::Reported,
        Phase::Finished => Word::Finished,
        Phase::Failed => Word::Failed,
        Phase::Cancelled => Word::Cancelled,
        Phase::Held => Word::Held,
    }
}

fn run_word(state: RunState) -> Word {
    match state {
        RunState::Assigned => Word::Assigned,
        RunState::Downloading => Word::Downloading,
        RunState::Booting => Word::Booting,
        RunState::Reported => Word::Reported,
        RunState::Finished => Word::Finished,
        RunState::Failed => Word::Failed,
        RunState::Cancelled => Word::Cancelled,
    }
}

fn status_word(status: Status) -> JobStatus {
    match status {
        Status::Pending => JobStatus::Pending,
        Status::Triggered => JobStatus::Triggered,
        Status::Running => JobStatus::Running,
        Status::Completed => JobStatus::Completed,
        Status::Failed => JobStatus::Failed,
        Status::Cancelled => JobStatus::Cancelled,
    }
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Passed => Outcome::Passed,
        Verdict::Failed => Outcome::Failed,
        Verdict::Errored => Outcome::Errored,
        Verdict::Unjudged => Outcome::Unjudged,
    }
}
