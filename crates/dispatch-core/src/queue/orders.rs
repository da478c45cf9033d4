//! What a person, or what was seen on the wire, orders for a job beside the requests of its host.

use jiff::Timestamp;

use super::{JobState, Outcome, Snapshot};
use crate::event::Happening;
use crate::id::{HostId, JobId, RunId};
use crate::run::{RunEvent, Step, decide};

/// Why an order changes nothing. Each is one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// There is no such job.
    #[error("there is no such job any more")]
    Unknown,
    /// It is over.
    #[error("it is over already")]
    Over,
    /// It is not over.
    #[error("it is not over yet: cancel it first, or wait for its end")]
    NotOver,
    /// It is of an earlier round.
    #[error("it belongs to an earlier round")]
    Earlier,
}

impl Snapshot {
    /// Takes a job out of the queue, and ends its run. `why` is shown to people.
    #[must_use]
    pub fn cancel(mut self, job: JobId, why: &str, now: Timestamp) -> Outcome<Result<(), NotDone>> {
        let Some(known) = self.jobs.iter().find(|known| known.id == job).cloned() else {
            return self.outcome(Err(NotDone::Unknown));
        };
        if known.state.is_final() {
            return self.outcome(Err(NotDone::Over));
        }
        let run = self.runs.iter().find(|run| run.job == job && !run.state.is_final()).cloned();
        let event = RunEvent::Cancelled { why: why.to_owned() };
        let ended = run.and_then(|run| decide(&run, &event, &self.deadlines(&run), now).ok());
        let was_running = ended.is_some();
        if let Some(Step { run, happened }) = ended {
            let id = run.id;
            self.put_run(run);
            if let Some(what) = happened {
                self.tell(Some(id), None, now, what);
            }
        }
        let reason = why.to_owned();
        self.change_job(job, |job| {
            job.state = JobState::Cancelled;
            job.since = now;
            job.reason = Some(reason.clone());
            job.waits = None;
            job.is_withdrawn = false;
        });
        if !was_running {
            self.tell_of_job(job, now, Happening::Cancelled { reason });
        }
        self.tell_if_drained(now);
        self.outcome(Ok(()))
    }

    /// Puts a job that is over back into the queue, with all of its attempts.
    #[must_use]
    pub fn retry(mut self, job: JobId, now: Timestamp) -> Outcome<Result<(), NotDone>> {
        let answer = self.take_again(job, now);
        self.outcome(answer)
    }

    pub(super) fn take_again(&mut self, job: JobId, now: Timestamp) -> Result<(), NotDone> {
        let known = self.jobs.iter().find(|known| known.id == job).ok_or(NotDone::Unknown)?;
        if !known.state.is_final() {
            return Err(NotDone::NotOver);
        }
        if self.round.as_ref().is_some_and(|round| round.number != known.round) {
            return Err(NotDone::Earlier);
        }
        let attempts = self.attempts_of(job);
        self.change_job(job, |job| {
            job.state = JobState::Queued;
            job.since = now;
            job.verdict = None;
            job.reason = None;
            job.forgiven = attempts;
            job.is_withdrawn = false;
        });
        self.tell_of_job(job, now, Happening::Requeued);
        Ok(())
    }

    /// It was seen that several hosts take part in a run that was given to one.
    #[must_use]
    pub fn dispute(mut self, run: RunId, why: &str, now: Timestamp) -> Outcome<bool> {
        let host = self.run(run).filter(|run| !run.state.is_final()).map(|run| run.host);
        if let Some(host) = host {
            self.distrust(host, why, now);
        }
        self.outcome(host.is_some())
    }

    /// A new round begins: what stood for several hosts once may stand for one by now. If it does not, that shows
    /// again.
    pub(super) fn forget_shared(&mut self) {
        for id in self.shared() {
            self.change_host(id, |host| host.shared = None);
        }
    }

    /// A session goes on: whoever looks at it need not have seen the one before.
    pub(super) fn remind_of_shared(&mut self, now: Timestamp) {
        for id in self.shared() {
            let host = self.hosts.iter().find(|host| host.id == id);
            if let Some(reason) = host.and_then(|host| host.shared.clone()) {
                self.tell(None, Some(id), now, Happening::HostShared { reason });
            }
        }
    }

    fn shared(&self) -> Vec<HostId> {
        self.hosts.iter().filter(|host| host.shared.is_some()).map(|host| host.id).collect()
    }

    /// What a host is known by turned out to stand for several. Its run is nobody's: what it reports would be said of
    /// a host that may never have seen the image. A host with a name goes on by that.
    /// Returns what people are told.
    pub(super) fn distrust(&mut self, id: HostId, why: &str, now: Timestamp) -> String {
        let Some(host) = self.hosts.iter().find(|host| host.id == id) else { return why.to_owned() };
        let reason = match &host.name {
            None => format!(
                "several hosts ask from {}: {why}; give each a boot URL of its own that ends in /@NAME",
                host.address
            ),
            Some(name) => format!("several hosts ask by the name {name}: {why}; give each its own name"),
        };
        if host.name.is_none() {
            self.change_host(id, |host| host.shared = Some(reason.clone()));
        }
        self.tell(None, Some(id), now, Happening::HostShared { reason: reason.clone() });
        if let Some(run) = self.active_run(id).map(|run| run.id) {
            // Every state takes it.
            let _ = self.happen(run, &RunEvent::Disputed { why: reason.clone() }, now);
        }
        reason
    }
}
