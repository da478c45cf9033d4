//! Jobs as people see them. A run is shown by its public name: its identifier is a secret that allows to report for it.

use std::collections::BTreeMap;

use dispatch_core::queue::{Phase, Plan, PlanInput, Status, plan};
use dispatch_core::{Job, JobId, Run, Snapshot};
use dispatch_wire::api::job::{Attempt, Job as Shown, JobState as Word, JobStatus, JobWorkload};
use dispatch_wire::api::run::Named;
use jiff::Timestamp;

use super::Api;
use super::conditional::Tagged;
use super::hosts_show::named;
use super::problem::Answer;

/// What jobs are seen by.
pub(crate) struct Eyes {
    snapshot: Snapshot,
    plan: Plan,
    told: BTreeMap<JobId, Timestamp>,
}

impl Eyes {
    /// The snapshot must hold the jobs that are to be shown with their runs and workloads, all hosts, and all jobs that run.
    pub(crate) async fn new(api: &Api, snapshot: Snapshot, shown: &[JobId]) -> Answer<Self> {
        let input = PlanInput { snapshot, ..PlanInput::default() };
        let plan = plan(&input, api.clock().now());
        let told = api.store().last_told(shown).await?;
        Ok(Self { snapshot: input.snapshot, plan, told })
    }

    /// The jobs of these identifiers, as they are shown.
    pub(crate) fn jobs(&self, ids: &[JobId]) -> Vec<Shown> {
        let find = |id: &JobId| self.snapshot.jobs.iter().find(|job| job.id == *id);
        ids.iter().filter_map(find).map(|job| self.job(job)).collect()
    }

    /// A job as it is shown.
    pub(crate) fn job(&self, job: &Job) -> Shown {
        let snapshot = &self.snapshot;
        let first = snapshot.runs.iter().filter(|run| run.job == job.id).map(|run| run.created).min();
        let told = self.told.get(&job.id).copied();
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
            verdict: job.verdict.map(Into::into),
            reason: job.reason.clone(),
            waits: self.plan.jobs.get(&job.id).cloned(),
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
            runner_name: host.as_ref().map(|host| host.name.clone()).unwrap_or_default(),
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
            updated_at: told.map_or(job.since, |told| told.max(job.since)).to_string(),
            triggered_at: first.map(|first| first.to_string()),
            completed_at: job.state.is_final().then(|| job.since.to_string()),
            runs: None,
            jobs: None,
        }
    }

    /// One job, with its runs.
    pub(crate) fn in_full(&self, wanted: &Job) -> Tagged<Shown> {
        let mut shown = self.job(wanted);
        let mut runs: Vec<&Run> = self.snapshot.runs.iter().filter(|run| run.job == wanted.id).collect();
        runs.sort_unstable_by_key(|run| (run.created, run.id));
        shown.runs = Some(runs.into_iter().map(|run| attempt(&self.snapshot, run)).collect());
        Tagged::new(wanted.version, shown)
    }
}

fn attempt(snapshot: &Snapshot, run: &Run) -> Attempt {
    Attempt {
        run_id: run.id.public_name().to_string(),
        attempt: run.attempt,
        state: run.state.into(),
        verdict: run.verdict.map(Into::into),
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

fn host(snapshot: &Snapshot, run: &Run) -> Option<Named> {
    let host = snapshot.hosts.iter().find(|host| host.id == run.host)?;
    Some(named(host, &snapshot.policy))
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
