//! How the files of a source become jobs.

use std::collections::BTreeSet;

use super::{Change, Context, Found, Job, JobState, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::GroupId;
use crate::id::{JobId, WorkloadId};
use crate::run::Run;
use crate::workload::{SourceId, Workload};

impl Snapshot {
    /// A source was scanned: new files become jobs, changed ones are queued again, and jobs that have not begun and
    /// are no longer offered leave the queue. Returns whether anything came into the queue. `self` must hold all jobs.
    pub(super) fn sync_files(&mut self, found: &[Found], context: &mut Context<'_>) -> bool {
        let before = self.changes.len();
        for file in found {
            self.sync_file(file, context);
        }
        let has_begun = self.changes[before..]
            .iter()
            .any(|change| matches!(change, Change::Job(job) if job.state == JobState::Queued));
        let gone: Vec<JobId> = self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Queued && !found.iter().any(|file| file.name == job.name))
            .map(|job| job.id)
            .collect();
        let is_all_gone = !gone.is_empty() && !has_begun;
        for id in gone {
            let reason = "no longer offered: the file is gone, or the filters leave it out".to_owned();
            self.change_job(id, |job| {
                job.state = JobState::Cancelled;
                job.since = context.now;
                job.reason = Some(reason.clone());
                job.waits = None;
                job.is_withdrawn = true;
            });
            self.tell_of_job(id, context.now, Happening::Cancelled { reason });
        }
        if is_all_gone {
            self.tell_if_drained(context.now);
        }
        has_begun
    }

    /// The source was looked at again while the session goes on. A round that takes only some of what is offered goes
    /// on doing so. `self` must hold all jobs of the latest round, and of each name the newest. Returns whether a run
    /// is going on with what its source has replaced: then it is to be looked at again when that is over.
    #[must_use]
    pub fn look_again(mut self, found: &[Found], context: &mut Context<'_>) -> Outcome<bool> {
        let Some(round) = self.round.clone() else { return self.outcome(false) };
        let files = self.taken(round.number, found, &round.again);
        self.sync_files(&files, context);
        let is_left = self.jobs.iter().filter(|job| job.state == JobState::Active).any(|job| {
            let file = files.iter().find(|file| file.name == job.name);
            let workload = self.workloads.iter().find(|known| known.id == job.workload);
            file.zip(workload).is_some_and(|(file, workload)| !workload.is_version(file))
        });
        self.outcome(is_left)
    }

    /// The file of a job was found to be another version than the job was made for, and nothing of it has
    /// gone out yet: the job is for the new version from now on.
    #[must_use]
    pub fn replace(mut self, workload: WorkloadId, file: &Found, context: &mut Context<'_>) -> Outcome<()> {
        if self.policy.is_service() {
            self.replace_in_service(workload, file, context);
            return self.outcome(());
        }
        let job = self.jobs.iter().find(|job| job.workload == workload && !job.state.is_final()).cloned();
        if let Some(job) = job {
            let new = self.add_workload(file, context);
            self.repoint(&job, new, file.size);
            self.tell_of_job(job.id, context.now, Happening::Replaced { size: file.size });
        }
        self.outcome(())
    }

    /// The same in a service, where several jobs may be for one file. `self` must hold all workloads of its source, and
    /// the jobs with them that are not over.
    fn replace_in_service(&mut self, workload: WorkloadId, file: &Found, context: &mut Context<'_>) {
        let Some(old) = self.workloads.iter().find(|known| known.id == workload).cloned() else { return };
        let new = self.sync_workload(&old.source, &old.group, file, context);
        if new == workload {
            return;
        }
        let is_untouched = |job: &&Job| {
            let run = self.runs.iter().find(|run| run.job == job.id && !run.state.is_final());
            job.state == JobState::Active && run.is_some_and(|run| run.transfers == 0)
        };
        let begun = self.jobs.iter().filter(|job| job.workload == workload).filter(is_untouched);
        for job in begun.cloned().collect::<Vec<_>>() {
            self.repoint(&job, new, file.size);
            self.tell_of_job(job.id, context.now, Happening::Replaced { size: file.size });
            if job.source.is_some() {
                let pins = self.labels_of_pin(job.pin.as_deref());
                self.note_queued(new, pins);
            }
        }
        self.replace_older(new, context);
    }

    pub(super) fn sync_file(&mut self, file: &Found, context: &mut Context<'_>) {
        let now = context.now;
        let round = self.round.as_ref().map_or(1, |round| round.number);
        let latest = |of_round: &dyn Fn(&Job) -> bool| {
            let jobs = self.jobs.iter().filter(|job| job.name == file.name && of_round(job));
            jobs.max_by_key(|job| (job.round, job.position)).cloned()
        };
        let known = latest(&|job| job.round == round);
        let earlier = latest(&|job| job.round < round);
        let workload = known
            .as_ref()
            .or(earlier.as_ref())
            .and_then(|job| self.workloads.iter().find(|known| known.id == job.workload));
        let is_same_file = workload.is_some_and(|known| known.is_version(file));
        let is_same_origin = workload.is_some_and(|known| known.origin == file.origin);
        let is_same_description = is_same_origin && workload.is_some_and(|known| known.terms == file.terms);
        match known {
            // The run that is going on keeps what it has; what is asked for after it is looked at then.
            Some(job) if job.state == JobState::Active => {
                if is_same_file && !is_same_origin {
                    self.move_origin(job.workload, file);
                }
            }
            // What a person took out stays out as well, until there is another version of it.
            Some(job)
                if is_same_file
                    && (job.state == JobState::Done
                        || job.state == JobState::Cancelled && !job.is_withdrawn) =>
            {
                if !is_same_description {
                    // It may be asked for again.
                    self.describe(job.workload, file);
                }
            }
            Some(job) if job.state != JobState::Done => {
                if !is_same_file {
                    let workload = self.add_workload(file, context);
                    self.repoint(&job, workload, file.size);
                    self.tell_of_job(job.id, now, Happening::Replaced { size: file.size });
                } else if !is_same_description {
                    self.describe(job.workload, file);
                }
                if job.state == JobState::Cancelled {
                    self.change_job(job.id, |job| {
                        job.state = JobState::Queued;
                        job.since = now;
                        job.reason = None;
                        job.is_withdrawn = false;
                    });
                    self.tell_of_job(job.id, now, Happening::Queued { kind: file.kind, size: file.size });
                }
            }
            _ => {
                let same = workload.filter(|_| is_same_file).map(|known| known.id);
                if let Some(workload) = same.filter(|_| !is_same_description) {
                    self.describe(workload, file);
                }
                let workload = same.unwrap_or_else(|| self.add_workload(file, context));
                self.add_job(file, workload, context);
            }
        }
    }

    pub(super) fn add_job(&mut self, file: &Found, workload: WorkloadId, context: &mut Context<'_>) {
        let now = context.now;
        let position = self.jobs.iter().map(|job| job.position).max().unwrap_or(0) + 1;
        let id = JobId::new(now, (context.random)());
        let job = Job {
            priority: -file.terms.order,
            position,
            round: self.round.as_ref().map_or(1, |round| round.number),
            source: Some(SourceId::session()),
            ..Job::new(id, GroupId::session(), &file.name, workload, now)
        };
        let id = job.id;
        self.changes.push(Change::Job(job.clone()));
        self.jobs.push(job);
        self.tell_of_job(id, now, Happening::Queued { kind: file.kind, size: file.size });
    }

    pub(super) fn add_workload(&mut self, file: &Found, context: &mut Context<'_>) -> WorkloadId {
        let workload = Workload {
            id: WorkloadId::new(context.now, (context.random)()),
            name: file.name.clone(),
            kind: file.kind,
            size: file.size,
            modified: file.modified,
            digest: file.digest,
            origin: file.origin.clone(),
            made_for: None,
            terms: file.terms.clone(),
            source: SourceId::session(),
            group: GroupId::session(),
            is_offered: true,
            queued_for: BTreeSet::new(),
            first_seen: context.now,
            workflow: None,
        };
        let id = workload.id;
        self.changes.push(Change::Workload(workload.clone()));
        self.workloads.push(workload);
        id
    }

    /// The same bytes are elsewhere now.
    fn move_origin(&mut self, workload: WorkloadId, file: &Found) {
        let Some(known) = self.workloads.iter_mut().find(|known| known.id == workload) else { return };
        known.origin.clone_from(&file.origin);
        let known = known.clone();
        self.changes.push(Change::Workload(known));
    }

    /// What is said of a file is not the file: the attempts with it stay attempts with it.
    fn describe(&mut self, workload: WorkloadId, file: &Found) {
        let Some(known) = self.workloads.iter_mut().find(|known| known.id == workload) else { return };
        known.terms.clone_from(&file.terms);
        known.origin.clone_from(&file.origin);
        let known = known.clone();
        self.changes.push(Change::Workload(known));
        let jobs =
            self.jobs.iter().filter(|job| job.workload == workload && job.priority != -file.terms.order);
        for id in jobs.map(|job| job.id).collect::<Vec<_>>() {
            self.change_job(id, |job| job.priority = -file.terms.order);
        }
    }

    pub(super) fn repoint(&mut self, job: &Job, workload: WorkloadId, size: u64) {
        let order = |id: WorkloadId| {
            self.workloads.iter().find(|known| known.id == id).map_or(0, |known| known.terms.order)
        };
        let priority = match (self.policy.is_service(), &job.source) {
            (false, _) => order(workload).saturating_neg(),
            // People may have given it another place: what is said of the file moves it from there.
            (true, Some(_)) => {
                job.priority.saturating_add(order(job.workload).saturating_sub(order(workload)))
            }
            (true, None) => job.priority,
        };
        self.change_job(job.id, |job| {
            job.workload = workload;
            job.priority = priority;
            // What was said of the version before.
            job.waits = None;
        });
        let run = self.runs.iter().find(|run| run.job == job.id && !run.state.is_final()).cloned();
        if let Some(run) = run {
            self.put_run(Run { workload, size, ..run });
        }
    }
}
