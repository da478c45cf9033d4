//! What a person, or what was seen on the wire, orders for a job beside the requests of its host.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Job, JobState, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::GroupKind;
use crate::id::{HostId, JobId, RunId};
use crate::run::{RunEvent, Step, decide};

/// Why an order changes nothing. Each is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
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
    /// It is not the version that was to be changed.
    #[error("it has been changed since: it is version {0} now; look at it and try again")]
    Changed(u64),
    /// One of several is not the version that was to be changed.
    #[error("job {0} has been changed since: it is version {1} now; look at the queue and try again")]
    OneChanged(JobId, u64),
    /// It runs.
    #[error("it runs at the moment: cancel it first, or wait for its end")]
    Running,
    /// Its group is not in the configuration.
    #[error("there is no such group in the configuration")]
    GroupGone,
    /// Its group takes no more jobs.
    #[error("its group is being drained and takes no more jobs: unpause it first")]
    Draining,
    /// Its template is not in the configuration.
    #[error("there is no such template in the group's configuration")]
    TemplateGone,
    /// Its workload is not there, or of another group.
    #[error("there is no such workload in this group")]
    WorkloadUnknown,
    /// No source of the group offers a workload of this name.
    #[error("no source of the group offers a workload called {0} at the moment")]
    NotOffered(String),
    /// The source of the workload is not in the configuration.
    #[error("the source of {0} has left the configuration: choose a workload of another source")]
    SourceGone(String),
    /// What it is to run does not fit its group.
    #[error("a group of kind {0} does not run such a thing")]
    OtherKind(GroupKind),
    /// It was to be spread over hosts, and none fits.
    #[error("it is to be spread over hosts, and no host that may work carries the labels that it needs")]
    NoHostFits,
    /// Several jobs cannot have one dedupe key.
    #[error("it is spread over several hosts, and jobs cannot share a dedupe key: leave out one of the two")]
    SpreadWithKey,
    /// Another one has the key already.
    #[error("another one has this key already: choose another key")]
    KeyTaken,
    /// More at once than are made in one transaction.
    #[error("that is more than {0} jobs at once: ask for fewer in each request")]
    TooMany(usize),
    /// A list names a job twice.
    #[error("the list names a job twice")]
    Twice,
    /// A list names a job that is not of this group.
    #[error("the list names a job that is not in this group")]
    Elsewhere,
    /// The job to be put beside does not wait in the same queue.
    #[error("the job that it is to be put beside does not wait in the same queue")]
    NotBeside,
    /// There is no room between two jobs.
    #[error("there is no room at that place of the queue; ask again")]
    Crowded,
    /// There is no such host.
    #[error("there is no such host")]
    HostUnknown,
}

impl Snapshot {
    /// Takes a job out of the queue, and ends its run. `why` is shown to people.
    #[must_use]
    pub fn cancel(
        mut self,
        job: JobId,
        why: &str,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        let known = match self.to_change(job, seen) {
            Ok(known) => known.clone(),
            Err(why) => return self.outcome(Err(why)),
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
        self.requeue(job, now);
        self.tell_if_drained(now);
        self.outcome(Ok(()))
    }

    /// Puts a job that is over back into the queue, with all of its attempts.
    #[must_use]
    pub fn retry(
        mut self,
        job: JobId,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        let group = match self.to_change(job, seen) {
            Err(why) => return self.outcome(Err(why)),
            Ok(known) => known.group.clone(),
        };
        let answer =
            if self.is_draining(&group) { Err(NotDone::Draining) } else { self.take_again(job, now) };
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
        if self.has_taken_key(job) {
            return Err(NotDone::KeyTaken);
        }
        let attempts = self.attempts_of(job);
        self.change_job(job, |job| {
            job.state = JobState::Queued;
            job.since = now;
            job.verdict = None;
            job.reason = None;
            job.forgiven = attempts;
            job.is_withdrawn = false;
            job.is_asked = true;
        });
        self.tell_of_job(job, now, Happening::Requeued);
        Ok(())
    }

    /// Whether another job of the group that is not over has a job's dedupe key.
    pub(super) fn has_taken_key(&self, job: JobId) -> bool {
        let Some(known) = self.jobs.iter().find(|known| known.id == job) else { return false };
        let has_key = |other: &Job| {
            let is_other = other.id != job && !other.state.is_final() && other.group == known.group;
            is_other && other.dedupe_key == known.dedupe_key
        };
        known.dedupe_key.is_some() && self.jobs.iter().any(has_key)
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
