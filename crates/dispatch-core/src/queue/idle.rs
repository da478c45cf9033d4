//! What a host is told when there is no work for it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Ask, IDLE_PROMISE, Idle, JobState, Snapshot, Stub, Unreadable, WhenIdle};
use crate::event::Happening;
use crate::id::{HostId, JobId, WorkloadId};

impl Snapshot {
    /// What a `HEAD` a moment ago promised to this host, if this is the `GET` that belongs to it.
    pub(super) fn promised_idle(&self, host: HostId, how: Ask, now: Timestamp) -> Option<Idle> {
        let idle = self.hosts.iter().find(|known| known.id == host)?.idle.as_ref()?;
        let fresh = now.duration_since(idle.promised).unsigned_abs() < IDLE_PROMISE;
        (how != Ask::Head && idle.stub.is_some() && fresh).then(|| idle.clone())
    }

    pub(super) fn tell_idle(&mut self, id: HostId, how: Ask, now: Timestamp) -> Idle {
        let (stub, reason) = self.idle_for(id);
        let known = self.hosts.iter().find(|host| host.id == id).and_then(|host| host.idle.clone());
        let known = known.filter(|known| known.stub == stub && known.reason == reason);
        let is_news = known.is_none();
        let mut idle = known.unwrap_or(Idle { stub, reason, since: now, promised: Timestamp::MIN });
        if how == Ask::Head {
            idle.promised = now;
        }
        self.change_host(id, |host| host.idle = Some(idle.clone()));
        if is_news {
            let what = Happening::Idle { stub: idle.stub, reason: idle.reason.clone() };
            self.tell(None, Some(id), now, what);
        }
        idle
    }

    /// What a host is to do when there is no job for it, and why.
    pub(super) fn idle_for(&self, host: HostId) -> (Option<Stub>, String) {
        let coming = self.what_may_come(host);
        let nothing = || "no more work in the queue".to_owned();
        match self.policy.when_idle {
            WhenIdle::None => (None, coming.unwrap_or_else(nothing)),
            WhenIdle::Always(stub) => (Some(stub), coming.unwrap_or_else(nothing)),
            WhenIdle::Auto => {
                let has_worked = self.runs.iter().any(|run| run.host == host && run.may_report());
                match coming {
                    _ if !has_worked => (Some(Stub::Next), "no work for this host".to_owned()),
                    Some(reason) => (Some(Stub::Reboot), reason),
                    None => (Some(Stub::PowerOff), nothing()),
                }
            }
        }
    }

    /// Whether a job can still come to this host, and why it has not.
    pub(super) fn what_may_come(&self, host: HostId) -> Option<String> {
        if let Some(job) = self.jobs.iter().find(|job| job.state == JobState::Queued) {
            let why = job.waits.as_deref().unwrap_or("it waits");
            return Some(format!("{}: {why}", job.name));
        }
        let elsewhere = self.runs.iter().find(|run| {
            let errored =
                self.runs.iter().filter(|other| other.job == run.job && other.has_errored()).count();
            let may_return = run.most_sent == 0 || errored < self.policy.retries as usize;
            run.host != host && !run.state.is_final() && may_return
        })?;
        let job = self.jobs.iter().find(|job| job.id == elsewhere.job)?;
        let host = self.hosts.iter().find(|host| host.id == elsewhere.host)?;
        Some(format!("{} is still with {}", job.name, host.label()))
    }

    pub(super) fn note_unreadable(&mut self, unreadable: &BTreeMap<WorkloadId, Unreadable>, now: Timestamp) {
        let news: Vec<(JobId, String)> = self
            .jobs
            .iter()
            .filter(|job| job.state == JobState::Queued)
            .filter_map(|job| {
                Some((job, format!("its image cannot be read: {}", unreadable.get(&job.workload)?.why)))
            })
            .filter(|(job, reason)| job.waits.as_ref() != Some(reason))
            .map(|(job, reason)| (job.id, reason))
            .collect();
        for (id, reason) in news {
            self.change_job(id, |job| job.waits = Some(reason.clone()));
            self.tell_of_job(id, now, Happening::Waits { reason });
        }
    }
}
