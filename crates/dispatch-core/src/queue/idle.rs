//! What a host is told when there is no work for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;

use super::{Ask, IDLE_PROMISE, Idle, Job, JobState, Offer, Outlook, Snapshot, Stub, Unreadable, WhenIdle};
use crate::event::Happening;
use crate::group::{GroupId, UnknownHosts};
use crate::host::{Host, Recognised, Sighting, recognise};
use crate::id::{HostId, JobId, RunId, WorkloadId};
use crate::run::{Run, RunState};
use crate::workload::{Arch, Kind, Workload};

use super::fetch::short_wait;
use super::fit::{is_for_another, lacking};

/// What a host is to do, and why.
struct Advice {
    stub: Option<Stub>,
    reason: String,
    is_urgent: bool,
}

/// What whoever asks from there is told, if that may be any of several hosts.
pub(super) fn several(address: IpAddr) -> String {
    format!("several hosts ask from {address}: give each a boot URL of its own that ends in /@NAME")
}

impl Snapshot {
    /// What a `HEAD` a moment ago promised to this host, if this is the `GET` that belongs to it.
    pub(super) fn promised_idle(&mut self, host: HostId, how: Ask, now: Timestamp) -> Option<Idle> {
        let idle = self.hosts.iter().find(|known| known.id == host)?.idle.clone()?;
        let fresh = now.duration_since(idle.promised).unsigned_abs() < IDLE_PROMISE;
        if how == Ask::Head || idle.stub.is_none() || !fresh {
            return None;
        }
        self.change_host(host, |host| {
            if let Some(idle) = &mut host.idle {
                idle.is_taken = true;
            }
        });
        Some(idle)
    }

    pub(super) fn tell_idle(
        &mut self,
        id: HostId,
        how: Ask,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
        now: Timestamp,
    ) -> Idle {
        let advice = self.idle_for(id, unreadable, now);
        self.advise(id, how, advice, now)
    }

    /// A host that waits without a reset can start an EFI application, and nothing else: images of other kinds need
    /// the firmware's own RAM disk.
    pub(super) fn must_reset_first(&self, host: HostId, job: JobId) -> bool {
        // One that was told so in an earlier round has given up since.
        let begun = self.round.as_ref().map_or(Timestamp::MIN, |round| round.begun);
        let was_told = |idle: &Idle| idle.stub == Some(Stub::Wait) && idle.promised.max(idle.since) >= begun;
        let waits = self
            .hosts
            .iter()
            .find(|known| known.id == host)
            .is_some_and(|host| host.idle.as_ref().is_some_and(was_told));
        waits && self.workload_of(job).is_some_and(|workload| workload.kind != Kind::Efi)
    }

    /// Has a waiting host reset, so that its firmware boots what comes next.
    pub(super) fn tell_reset(&mut self, id: HostId, job: JobId, how: Ask, now: Timestamp) -> Idle {
        let name = self.jobs.iter().find(|known| known.id == job).map_or("the next image", |job| &job.name);
        let reason = format!("only a firmware that has just started can boot {name}");
        self.advise(id, how, Advice { stub: Some(Stub::Reboot), reason, is_urgent: true }, now)
    }

    /// Keeps a host that has begun with an image which is being looked at, or fetched once more.
    pub(super) fn keep_near(&mut self, host: HostId, run: RunId, how: Ask, now: Timestamp) -> Offer {
        if let Some(idle) = self.promised_idle(host, how, now) {
            return Offer::Idle(idle);
        }
        if let Some(run) = self.run(run).filter(|run| run.state == RunState::Assigned).cloned() {
            // It does as it is told: its time does not pass meanwhile.
            let until = now.checked_add(self.deadlines(&run).assigned).unwrap_or(Timestamp::MAX);
            self.put_run(Run { deadline: run.deadline.max(Some(until)), ..run });
        }
        let workload = self.run(run).and_then(|run| self.workload_of(run.job));
        let name = workload.map_or("its image", |workload| &workload.name);
        let reason = format!("{name} is being looked at in the cache");
        let stub = match workload.map(|workload| workload.kind) {
            _ if self.when_idle(host) == WhenIdle::None => return Offer::NotNow(reason),
            Some(Kind::Efi) => Stub::Wait,
            // Only its firmware can boot it.
            _ => Stub::Reboot,
        };
        match how {
            Ask::Head => Offer::Idle(self.advise(
                host,
                how,
                Advice { stub: Some(stub), reason, is_urgent: false },
                now,
            )),
            // It has made room for the image, or asks without having been promised anything.
            Ask::Get => Offer::NotNow(reason),
        }
    }

    fn advise(&mut self, id: HostId, how: Ask, advice: Advice, now: Timestamp) -> Idle {
        let Advice { stub, reason, is_urgent } = advice;
        let host = self.hosts.iter().find(|host| host.id == id);
        let arch = host.and_then(|host| host.arch).or(self.policy.arch);
        let known = host.and_then(|host| host.idle.clone());
        let known = known.filter(|known| known.stub == stub && known.reason == reason);
        let is_news = known.is_none();
        let fresh =
            Idle { stub, reason, since: now, promised: Timestamp::MIN, is_taken: false, is_urgent, arch };
        let mut idle = Idle { arch, ..known.unwrap_or(fresh) };
        match how {
            Ask::Head => idle.promised = now,
            Ask::Get => idle.is_taken = true,
        }
        self.change_host(id, |host| host.idle = Some(idle.clone()));
        if is_news {
            let what = Happening::Idle { stub: idle.stub, reason: idle.reason.clone() };
            self.tell(None, Some(id), now, what);
        }
        idle
    }

    /// What somebody is told who may be any of several hosts.
    pub(super) fn idle_for_several(&self, who: &Sighting, now: Timestamp) -> Idle {
        Idle {
            stub: self.harmless(),
            reason: several(who.address),
            since: now,
            promised: now,
            is_taken: false,
            is_urgent: false,
            arch: self.policy.arch,
        }
    }

    /// What to tell a host that is none of ours, or may be: whatever the setting is, nothing that keeps it here or
    /// powers it off.
    fn harmless(&self) -> Option<Stub> {
        (self.policy.when_idle != WhenIdle::None).then_some(Stub::Next)
    }

    /// What a host is to do when there is no job for it, and why.
    fn idle_for(
        &self,
        host: HostId,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
        now: Timestamp,
    ) -> Advice {
        if let Some(reason) = self.no_work_for(host) {
            return Advice { stub: self.harmless(), reason, is_urgent: false };
        }
        let when_idle = self.when_idle(host);
        if let Some(reason) = self.image_on_its_way(host, unreadable, now) {
            // Whatever else idle hosts are told: this one is not idle.
            let stub = (when_idle != WhenIdle::None).then_some(Stub::Wait);
            return Advice { stub, reason, is_urgent: false };
        }
        let nothing = || self.nothing_for(host);
        let coming = self.what_may_come(host, now).or_else(|| {
            // Also then it is said that there is something for others: a label may be missing.
            self.is_watched(host).then(|| format!("{}; the source is watched for more", nothing()))
        });
        let (stub, reason) = match when_idle {
            WhenIdle::None => (None, coming.unwrap_or_else(nothing)),
            WhenIdle::Always(stub) => {
                (Some(self.last_word(stub, self.has_worked(host))), coming.unwrap_or_else(nothing))
            }
            WhenIdle::Auto => {
                let has_worked = self.has_worked(host);
                match coming {
                    _ if !has_worked => (Some(Stub::Next), "no work for this host".to_owned()),
                    Some(reason) => (Some(Stub::Wait), reason),
                    None => (Some(Stub::PowerOff), nothing()),
                }
            }
        };
        Advice { stub, reason, is_urgent: false }
    }

    /// The image that this host would get, and that is still being fetched.
    fn image_on_its_way(
        &self,
        host: HostId,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
        now: Timestamp,
    ) -> Option<String> {
        let fits = self.fitting(host);
        let is_coming =
            |job: &&Job| unreadable.get(&job.workload).is_some_and(|image| image.outlook == Outlook::Coming);
        let queued = self.jobs.iter().filter(|job| job.state == JobState::Queued && fits.takes(job));
        let coming = queued.filter(is_coming).filter(|job| self.hindrance(job, now).is_none());
        let next = coming.min_by_key(|job| job.rank())?;
        Some(format!("{} is still being fetched", next.name))
    }

    /// Whether the session is for this host, and it may work.
    pub(super) fn is_wanted(&self, host: HostId) -> bool {
        self.no_work_for(host).is_none()
    }

    /// Why a host gets no work, whatever there is.
    pub(super) fn no_work_for(&self, host: HostId) -> Option<String> {
        let wanted = &self.policy.hosts;
        let known = self.hosts.iter().find(|known| known.id == host);
        if !wanted.is_empty() && !known.is_some_and(|host| wanted.iter().any(|pattern| pattern.matches(host)))
        {
            return Some("this session is for other hosts".to_owned());
        }
        let host = known?;
        if !self.policy.is_accepted(host) {
            return Some(format!("this host is enrolled and waits to be accepted; its id is {}", host.id));
        }
        host.is_paused.then(|| "this host is paused: it gets no work until somebody unpauses it".to_owned())
    }

    /// Whether more may come for a host at any time.
    fn is_watched(&self, host: HostId) -> bool {
        let host = self.hosts.iter().find(|known| known.id == host);
        self.policy.is_watching
            || host.is_some_and(|host| self.groups_of(host).any(|group| group.is_watching))
    }

    /// Whether whoever asks is nobody that we are to know.
    pub(super) fn is_ignored(&self, who: &Sighting, now: Timestamp) -> bool {
        if self.policy.unknown_hosts != UnknownHosts::Ignore {
            return false;
        }
        match recognise(&self.hosts, who) {
            Recognised::Several => false,
            Recognised::Host(host) => !self.policy.is_accepted(host),
            Recognised::Stranger => {
                let mut host = Host::new(HostId::new(now, [0; 10]), who.address, now);
                host.name.clone_from(&who.name);
                host.macs.extend(who.mac);
                !self.policy.is_accepted(&host)
            }
        }
    }

    /// What somebody is told whom we are not to know.
    pub(super) fn idle_for_ignored(&self, now: Timestamp) -> Idle {
        Idle {
            stub: self.harmless(),
            reason: "this host is not listed here".to_owned(),
            since: now,
            promised: now,
            is_taken: false,
            is_urgent: false,
            arch: self.policy.arch,
        }
    }

    pub(super) fn workload_of(&self, job: JobId) -> Option<&Workload> {
        let job = self.jobs.iter().find(|known| known.id == job)?;
        self.workloads.iter().find(|workload| workload.id == job.workload)
    }

    /// Whether a host has run something in this round. One that did so long ago may be somebody else's by now.
    fn has_worked(&self, host: HostId) -> bool {
        let is_of_round = |run: &Run| match (&self.round, self.jobs.iter().find(|job| job.id == run.job)) {
            (Some(round), Some(job)) => job.round == round.number,
            (None, _) => true,
            (Some(_), None) => false,
        };
        self.runs.iter().any(|run| run.host == host && run.may_report() && is_of_round(run))
    }

    /// Why there is nothing for a host.
    fn nothing_for(&self, host: HostId) -> String {
        let fits = self.fitting(host);
        let host = self.hosts.iter().find(|known| known.id == host);
        // In a service, what other groups have is not for this host to know.
        let own: Option<Vec<&GroupId>> = host
            .filter(|_| self.policy.is_service())
            .map(|host| self.groups_of(host).map(|group| &group.id).collect());
        if own.as_ref().is_some_and(Vec::is_empty) {
            return "this host belongs to no group".to_owned();
        }
        let is_own = |job: &Job| own.as_ref().is_none_or(|own| own.contains(&&job.group));
        let left = |job: &&Job| job.state == JobState::Queued && is_own(job) && !fits.takes(job);
        let left: Vec<&Workload> =
            self.jobs.iter().filter(left).filter_map(|job| self.workload_of(job.id)).collect();
        let arch = host.and_then(|host| host.arch);
        let is_other = |workload: &&Workload| is_for_another(arch, workload);
        match arch {
            _ if left.is_empty() => "queue empty".to_owned(),
            Some(arch) if left.iter().all(is_other) => format!("no job for {arch} is left"),
            _ => "what is left needs other hosts".to_owned(),
        }
    }

    /// Whether a job can still come to this host, and why it has not.
    fn what_may_come(&self, host: HostId, now: Timestamp) -> Option<String> {
        let fits = self.fitting(host);
        let queued = self.jobs.iter().filter(|job| job.state == JobState::Queued && fits.takes(job));
        if let Some(job) = queued.min_by_key(|job| job.rank()) {
            let hindrance = self.hindrance(job, now).map(|hindrance| hindrance.to_string());
            let why = hindrance.or_else(|| job.waits.clone()).unwrap_or_else(|| "it waits".to_owned());
            return Some(format!("{}: {why}", job.name));
        }
        let going_on = self.runs.iter().filter(|run| run.host != host && !run.state.is_final());
        let mut going_on: Vec<&Run> = going_on.collect();
        going_on.sort_unstable_by_key(|run| (run.created, run.id));
        going_on.into_iter().find_map(|run| {
            let job = self.jobs.iter().find(|job| job.id == run.job).filter(|job| fits.takes(job))?;
            let errored =
                self.runs.iter().filter(|other| Self::is_attempt_of(other, job) && other.has_errored());
            let may_return = run.most_sent == 0 || errored.count() < self.retries(job.id) as usize;
            let elsewhere = self.hosts.iter().find(|host| host.id == run.host).filter(|_| may_return)?;
            Some(format!("{} is still with {}", job.name, Host::label(elsewhere)))
        })
    }

    pub(super) fn note_unreadable(&mut self, unreadable: &BTreeMap<WorkloadId, Unreadable>, now: Timestamp) {
        if !unreadable.is_empty() {
            self.note_waits(now, |job| {
                // What is on its way changes with every byte, and is nothing to worry about.
                let image = unreadable.get(&job.workload).filter(|image| image.outlook != Outlook::Coming)?;
                Some(format!("its image cannot be read: {}", image.why))
            });
        }
    }

    /// Notes for which jobs this host is the wrong one, where there is no sign of a right one.
    pub(super) fn note_unfit(&mut self, host: HostId, now: Timestamp) {
        let fits = self.fitting(host);
        // In a service there are many groups and hosts: why a job waits is said when somebody asks.
        if fits.takes_all() || !self.is_wanted(host) || self.policy.is_service() {
            return;
        }
        let at_work: Vec<Option<Arch>> = self
            .hosts
            .iter()
            .filter(|host| self.active_run(host.id).is_some())
            .map(|host| host.arch)
            .collect();
        let busy = self.hosts.iter().filter(|host| self.active_run(host.id).is_some());
        let labels_at_work: Vec<BTreeSet<String>> = busy.map(|host| self.policy.labels_of(host)).collect();
        let asking = self.hosts.iter().find(|known| known.id == host);
        let own = asking.map(|host| self.policy.labels_of(host)).unwrap_or_default();
        let has_all = |labels: &BTreeSet<String>, wanted| lacking(labels, wanted).next().is_none();
        let why = |job: &Job| {
            let workload = self.workload_of(job.id)?;
            let wanted = &workload.terms.labels;
            if !has_all(&own, wanted) && !labels_at_work.iter().any(|labels| has_all(labels, wanted)) {
                let wanted = wanted.join(", ");
                return Some(format!(
                    "it needs a host labelled {wanted} (--host-labels), and waits for one to ask"
                ));
            }
            let arch = workload.arch().filter(|arch| !at_work.contains(&Some(*arch)))?;
            is_for_another(asking.and_then(|host| host.arch), workload)
                .then(|| format!("it is made for {arch}, and waits for a server of that kind to ask"))
        };
        let unfit = self.jobs.iter().filter(|job| !fits.takes(job));
        let whys: BTreeMap<JobId, String> = unfit.filter_map(|job| Some((job.id, why(job)?))).collect();
        // What is known already says more.
        self.note_waits(now, |job| whys.get(&job.id).filter(|_| job.waits.is_none()).cloned());
    }

    fn note_waits(&mut self, now: Timestamp, why: impl Fn(&Job) -> Option<String>) {
        let queued = self.jobs.iter().filter(|job| job.state == JobState::Queued);
        let news: Vec<(JobId, String)> = queued
            .filter_map(|job| Some((job, short_wait(&why(job)?))))
            .filter(|(job, why)| job.waits.as_ref() != Some(why))
            .map(|(job, why)| (job.id, why))
            .collect();
        for (id, reason) in news {
            self.change_job(id, |job| job.waits = Some(reason.clone()));
            self.tell_of_job(id, now, Happening::Waits { reason });
        }
    }
}
