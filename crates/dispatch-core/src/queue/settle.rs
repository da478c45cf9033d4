//! What follows for a job when something happens to one of its runs.

use jiff::Timestamp;

use super::{Change, JobState, Lease, Snapshot};
use crate::event::Happening;
use crate::host::Host;
use crate::id::{JobId, RunId};
use crate::run::{Deadlines, Refused, Run, RunEvent, RunState, Step, decide};
use crate::verdict::Verdict;

impl Snapshot {
    /// Lets something happen to a run, and whatever follows from it.
    pub(super) fn happen(&mut self, id: RunId, event: &RunEvent, now: Timestamp) -> Result<(), Refused> {
        let before = self.run(id).ok_or(Refused::Final)?.clone();
        let Step { run, happened } = decide(&before, event, &self.deadlines(&before), now)?;
        if run != before {
            self.put_run(run.clone());
        }
        if let Some(what) = happened {
            self.tell(Some(id), None, now, what);
        }
        if run.state.is_final() && !before.state.is_final() {
            self.settle(&run, now);
        }
        Ok(())
    }

    /// The deadlines of a run: those of its workload where it has its own.
    pub(super) fn deadlines(&self, run: &Run) -> Deadlines {
        let workload = self.workloads.iter().find(|workload| workload.id == run.workload);
        let changes = workload.map(|workload| workload.terms.deadlines).unwrap_or_default();
        let job = self.jobs.iter().find(|job| job.id == run.job);
        job.map_or(self.policy.deadlines, |job| self.policy.deadlines_of(&job.group)).with(&changes)
    }

    /// How many more attempts a job gets after its first one errored.
    pub(super) fn retries(&self, job: JobId) -> u32 {
        let own = self.jobs.iter().find(|known| known.id == job);
        let workload = self.workload_of(job).and_then(|workload| workload.terms.retries);
        own.and_then(|job| job.retries)
            .or(workload)
            .or_else(|| own.map(|job| self.policy.retries_of(&job.group)))
            .unwrap_or(self.policy.retries)
    }

    pub(super) fn put_run(&mut self, run: Run) {
        let lease =
            Lease { host: run.host, run: run.id, epoch: run.epoch, until: run.deadline.unwrap_or(run.since) };
        let was_final = self.run(run.id).is_some_and(|before| before.state.is_final());
        if !run.state.is_final() {
            self.changes.push(Change::Lease(lease));
        }
        self.changes.push(Change::Run(run.clone()));
        if run.state.is_final() && !was_final {
            self.changes.push(Change::Release(lease));
        }
        match self.runs.iter_mut().find(|known| known.id == run.id) {
            Some(known) => *known = run,
            None => self.runs.push(run),
        }
    }

    /// A run is over: its job is over as well, or goes back to the queue.
    pub(super) fn settle(&mut self, run: &Run, now: Timestamp) {
        let Some(job) = self.jobs.iter().find(|job| job.id == run.job) else { return };
        if job.state != JobState::Active {
            return;
        }
        let errored =
            self.runs.iter().filter(|run| Self::is_attempt_of(run, job) && run.has_errored()).count();
        let job = job.id;
        let errored = u32::try_from(errored).unwrap_or(u32::MAX);
        let again = match run.state {
            RunState::Failed => errored <= self.retries(job) && !self.has_failed(job),
            RunState::Cancelled => true,
            _ => false,
        };
        if again {
            self.change_job(job, |job| {
                job.state = JobState::Queued;
                job.since = now;
            });
            if run.state == RunState::Failed {
                let of = self.retries(job).saturating_add(1);
                self.tell(Some(run.id), None, now, Happening::Retry { attempt: errored + 1, of });
            }
        } else {
            self.finish_job(job, now);
        }
    }

    /// How many attempts a job has had, in all.
    pub(super) fn attempts_of(&self, job: JobId) -> u32 {
        let attempts = self.runs.iter().filter(|run| run.job == job && run.is_counted()).count();
        u32::try_from(attempts).unwrap_or(u32::MAX)
    }

    /// The attempts of a job with what it stands for now.
    fn attempts(&self, job: JobId) -> impl Iterator<Item = &Run> {
        let job = self.jobs.iter().find(|known| known.id == job);
        self.runs.iter().filter(move |run| job.is_some_and(|job| Self::is_attempt_of(run, job)))
    }

    pub(super) fn has_failed(&self, job: JobId) -> bool {
        self.attempts(job).any(|run| run.verdict == Some(Verdict::Failed))
    }

    /// How a job came out: failed if any of its runs says so, else as its last run that has a verdict.
    pub(super) fn job_verdict(&self, job: JobId) -> Verdict {
        if self.has_failed(job) {
            return Verdict::Failed;
        }
        self.attempts(job)
            .filter(|run| run.state.is_final() && run.verdict.is_some())
            .max_by_key(|run| (run.created, run.id))
            .and_then(|run| run.verdict)
            .unwrap_or(Verdict::Errored)
    }

    pub(super) fn finish_job(&mut self, id: JobId, now: Timestamp) {
        let verdict = self.job_verdict(id);
        let reason = self.attempts_in_words(id);
        self.change_job(id, |job| {
            job.state = JobState::Done;
            job.since = now;
            job.verdict = Some(verdict);
            job.reason.clone_from(&reason);
            job.waits = None;
        });
        self.tell_of_job(id, now, Happening::Done { verdict, reason });
        self.requeue(id, now);
        self.tell_if_drained(now);
    }

    pub(super) fn tell_if_drained(&mut self, now: Timestamp) {
        // In a service there is always more to come, and not all of what is there is here.
        if !self.policy.is_service() && !self.is_part && self.jobs.iter().all(|job| job.state.is_final()) {
            self.tell(None, None, now, Happening::Drained);
        }
    }

    /// What happened in a job's attempts, if any of them ended with a reason.
    pub(super) fn attempts_in_words(&self, job: JobId) -> Option<String> {
        let mut runs: Vec<&Run> = self.runs.iter().filter(|run| run.job == job && run.is_counted()).collect();
        runs.sort_by_key(|run| (run.created, run.id));
        if runs.iter().all(|run| run.reason.is_none()) {
            return None;
        }
        let words = runs.iter().map(|run| {
            let host = self.hosts.iter().find(|host| host.id == run.host);
            let host = host.map_or_else(|| "a host".to_owned(), Host::label);
            let what = run.reason.clone().unwrap_or_else(|| {
                run.verdict.map_or_else(|| run.state.to_string(), |verdict| verdict.to_string())
            });
            format!("attempt {} on {host}: {what}", run.attempt)
        });
        Some(words.collect::<Vec<_>>().join("; "))
    }

    /// A late report was stored with `late`: it ends a retry that has not booted, and can make the job's
    /// verdict worse.
    pub(super) fn revise(&mut self, late: &Run, now: Timestamp) {
        let Some(job) = self.jobs.iter().find(|job| Self::is_attempt_of(late, job)).cloned() else { return };
        // What is good of a run that several hosts took part in is good of nobody: the retry goes on.
        if late.is_disputed && !self.has_failed(job.id) {
            return;
        }
        match job.state {
            JobState::Queued => self.finish_job(job.id, now),
            JobState::Active => {
                let retry = self.runs.iter().find(|run| run.job == job.id && !run.state.is_final());
                let Some(retry) = retry.map(|run| run.id) else { return };
                if self.supersede(retry, now) {
                    self.finish_job(job.id, now);
                }
            }
            JobState::Done => {
                let verdict = job.verdict.max(Some(self.job_verdict(job.id)));
                if verdict != job.verdict {
                    self.change_job(job.id, |job| job.verdict = verdict);
                    if let Some(verdict) = verdict {
                        self.tell_of_job(job.id, now, Happening::Revised { verdict });
                    }
                }
            }
            JobState::Cancelled => {}
        }
    }

    /// Ends a retry, if it has not booted yet. Its job is settled by the caller.
    pub(super) fn supersede(&mut self, retry: RunId, now: Timestamp) -> bool {
        let Some(run) = self.run(retry) else { return false };
        let Ok(Step { run, happened }) = decide(run, &RunEvent::Superseded, &self.deadlines(run), now) else {
            return false;
        };
        self.put_run(run);
        if let Some(what) = happened {
            self.tell(Some(retry), None, now, what);
        }
        true
    }
}
