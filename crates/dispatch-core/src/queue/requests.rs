//! What hosts and their images ask of the queue, and what the passing of time does to it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Accepted, Ask, Change, Context, Job, JobState, NewReport, Offer, Outcome, Report, ReportKey, Snapshot,
    Unreadable,
};
use crate::event::{Effect, Happening};
use crate::host::{Host, Mac, Sighting, Told, recognise};
use crate::id::{HostId, JobId, ReportId, RunId, WorkloadId};
use crate::run::{Run, RunEvent, RunState, Transfer};

impl Snapshot {
    /// A host asks for work. `unreadable` holds the workloads whose image cannot be read at the moment.
    #[must_use]
    pub fn ask(
        mut self,
        who: &Sighting,
        how: Ask,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
        context: &mut Context<'_>,
    ) -> Outcome<Offer> {
        let now = context.now;
        let Some(host) = self.meet(who, context) else {
            let idle = self.idle_for_several(who, now);
            return self.outcome(Offer::Idle(idle));
        };
        if let Some(run) = self.active_run(host) {
            let id = run.id;
            // Every non-final state takes this; one that did not would leave the run as it is.
            let _ = self.happen(id, &RunEvent::Asked, now);
            // Only now: a run that was up until this request may have come back to its image by it.
            let lost = self.active_run(host).and_then(|run| unreadable.get(&run.workload));
            match lost {
                Some(Unreadable { why, is_passing: true }) if self.was_fetched(id) => {
                    // The host has begun with this image. It is better off asking once more.
                    let reason = why.clone();
                    return self.outcome(Offer::NotNow(reason));
                }
                Some(Unreadable { why, .. }) => {
                    let _ = self.happen(id, &RunEvent::Unreadable { why: why.clone() }, now);
                }
                None => {}
            }
            if let Some(run) = self.active_run(host) {
                let answer = Offer::Image { run: run.id, workload: run.workload };
                return self.outcome(answer);
            }
        }
        if let Some(idle) = self.promised_idle(host, how, now) {
            return self.outcome(Offer::Idle(idle));
        }
        self.note_unreadable(unreadable, now);
        let answer = match self.next_job(host, unreadable) {
            Some(job) if self.must_reset_first(host, job) => {
                Offer::Idle(self.tell_reset(host, job, how, now))
            }
            Some(job) => self.assign(job, host, context),
            None => Offer::Idle(self.tell_idle(host, how, now)),
        };
        self.outcome(answer)
    }

    /// A transfer's first byte is about to go out. Answers with the transfer's number, or nothing if the run
    /// is no longer to be served.
    #[must_use]
    pub fn begin(mut self, run: RunId, size: u64, start: u64, now: Timestamp) -> Outcome<Option<u32>> {
        let begun = self.happen(run, &RunEvent::Began { size, start }, now).is_ok();
        let answer = self.run(run).map(|run| run.transfers).filter(|_| begun);
        self.outcome(answer)
    }

    /// Something that needs no answer happened to a run. Answers whether it changed anything.
    #[must_use]
    pub fn note(mut self, run: RunId, event: &RunEvent, now: Timestamp) -> Outcome<bool> {
        let answer = self.happen(run, event, now).is_ok();
        self.outcome(answer)
    }

    /// `POST`: a host says that its image is up, and what it is. Answers with the run, or nothing if none waits for it.
    #[must_use]
    pub fn start(mut self, who: &Sighting, told: &Told, context: &mut Context<'_>) -> Outcome<Option<RunId>> {
        let now = context.now;
        let Some(host) = recognise(&self.hosts, who).host() else { return self.outcome(None) };
        let id = host.id;
        let run = self.active_run(id).map(|run| (run.id, run.booted_at.is_some(), run.job));
        // By its name a host may come back with another board; but not while the first one runs.
        let is_certain = who.name.is_none() || run.is_some_and(|(_, has_booted, _)| has_booted);
        if is_certain && host.is_contradicted(who, told) {
            let why = contradiction(host, told);
            self.distrust(id, &why, now);
            return self.outcome(None);
        }
        let answer = run.filter(|(run, ..)| self.happen(*run, &RunEvent::Started, now).is_ok());
        if let Some((_, _, job)) = answer {
            let arch = self.workload_of(job).and_then(|workload| workload.arch);
            // Only now: a stranger that posts is nobody we need to remember.
            let _ = self.meet(who, context);
            self.change_host(id, |host| {
                host.uuid = told.uuid.clone().or(host.uuid.take());
                if !told.macs.is_empty() {
                    host.told_macs.clone_from(&told.macs);
                }
                host.arch = arch.or(host.arch);
            });
        }
        self.outcome(answer.map(|(run, ..)| run))
    }

    /// `PUT`: a report came, from a host that may have named its run. Answers with nothing if it belongs to
    /// no run here.
    #[must_use]
    pub fn report(
        mut self,
        who: &Sighting,
        named: Option<RunId>,
        report: NewReport,
        context: &mut Context<'_>,
    ) -> Outcome<Option<Accepted>> {
        let Some(run) = self.run_of_report(who, named).cloned() else {
            return self.outcome(None);
        };
        if let Some(known) = self.reports.iter().find(|key| key.run == run.id && key.digest == report.digest)
        {
            let answer = Some(Accepted { report: known.id, run: run.id, known: true });
            return self.outcome(answer);
        }
        let now = context.now;
        let verdict = report.verdict;
        if self.happen(run.id, &RunEvent::Reported { verdict }, now).is_err() {
            return self.outcome(None);
        }
        let id = ReportId::new(now, (context.random)());
        let late = run.state.is_final();
        let title = report.title.clone();
        self.reports.push(ReportKey { id, run: run.id, digest: report.digest.clone() });
        self.changes.push(Change::Report(Report { id, run: run.id, at: now, late, content: report }));
        self.changes.push(Change::Effect(Effect::WriteReport { report: id }));
        self.tell(Some(run.id), None, now, Happening::Report { id, title, verdict, late });
        if late {
            self.revise(&run, now);
        }
        self.outcome(Some(Accepted { report: id, run: run.id, known: false }))
    }

    /// Time has passed. Answers with the next deadline.
    #[must_use]
    pub fn tick(mut self, now: Timestamp) -> Outcome<Option<Timestamp>> {
        let due: Vec<RunId> = self
            .runs
            .iter()
            .filter(|run| run.deadline.is_some_and(|deadline| deadline <= now))
            .map(|run| run.id)
            .collect();
        for run in due {
            let _ = self.happen(run, &RunEvent::Expired, now);
        }
        let answer = self.runs.iter().filter_map(|run| run.deadline).min();
        self.outcome(answer)
    }

    /// We were down. Answers with how many runs go on.
    #[must_use]
    pub fn recover(mut self, now: Timestamp) -> Outcome<usize> {
        let active: Vec<RunId> =
            self.runs.iter().filter(|run| !run.state.is_final()).map(|run| run.id).collect();
        for run in &active {
            let _ = self.happen(*run, &RunEvent::Recovered, now);
        }
        self.outcome(active.len())
    }

    /// The order of the queue: what this host has errored comes last; then priority, then position.
    pub(super) fn next_job(
        &self,
        host: HostId,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
    ) -> Option<JobId> {
        let errored_here = |job: &Job| {
            self.runs.iter().any(|run| Self::is_attempt_of(run, job) && run.host == host && run.has_errored())
        };
        self.jobs
            .iter()
            .filter(|job| job.state == JobState::Queued && !unreadable.contains_key(&job.workload))
            .filter(|job| self.is_wanted(host) && self.fits(host, job))
            .min_by_key(|job| (errored_here(job), std::cmp::Reverse(job.priority), job.position))
            .map(|job| job.id)
    }

    pub(super) fn assign(&mut self, job: JobId, host: HostId, context: &mut Context<'_>) -> Offer {
        let now = context.now;
        let offered = self
            .jobs
            .iter()
            .find(|known| known.id == job)
            .and_then(|job| self.workloads.iter().find(|workload| workload.id == job.workload).cloned());
        let Some(offered) = offered else {
            // The store always loads a job's workload; without it there is nothing to run.
            return Offer::Idle(self.tell_idle(host, Ask::Get, now));
        };
        self.change_job(job, |job| {
            job.state = JobState::Active;
            job.since = now;
            job.waits = None;
        });
        let mut epoch = 0;
        self.change_host(host, |host| {
            host.epoch += 1;
            host.idle = None;
            epoch = host.epoch;
        });
        let attempt = self.attempts_of(job).saturating_add(1);
        let run = Run {
            id: RunId::new(now, (context.random)()),
            job,
            host,
            workload: offered.id,
            epoch,
            attempt,
            state: RunState::Assigned,
            verdict: None,
            reason: None,
            created: now,
            since: now,
            deadline: Some(now.checked_add(self.policy.deadlines.assigned).unwrap_or(Timestamp::MAX)),
            size: offered.size,
            transfer: Transfer::None,
            transfers: 0,
            sent: 0,
            most_sent: 0,
            broken: 0,
            wholes: 0,
            reboots: 0,
            reboots_allowed: offered.reboots,
            booted_at: None,
            reports: 0,
        };
        let answer = Offer::Image { run: run.id, workload: offered.id };
        let id = run.id;
        self.put_run(run);
        self.tell(Some(id), None, now, Happening::Assigned { attempt });
        answer
    }

    /// The run that a report belongs to: the one it names; else the host's present one if its image has
    /// reached the host; else the host's latest whose image had.
    pub(super) fn run_of_report(&self, who: &Sighting, named: Option<RunId>) -> Option<&Run> {
        if let Some(named) = named {
            return self.run(named).filter(|run| run.may_report());
        }
        let host = recognise(&self.hosts, who).host()?.id;
        self.active_run(host).filter(|run| run.may_report()).or_else(|| {
            self.runs
                .iter()
                .filter(|run| run.host == host && run.state.is_final() && run.may_report())
                .max_by_key(|run| (run.created, run.id))
        })
    }
}

/// What showed that there is more than one host, in words.
fn contradiction(known: &Host, told: &Told) -> String {
    let card = |macs: &[Mac]| macs.first().map(ToString::to_string);
    let name = |uuid: &Option<String>| uuid.as_ref().map(|uuid| format!("the one with UUID {uuid}"));
    let words = |macs, uuid| card(macs).or_else(|| name(uuid)).unwrap_or_else(|| "one".to_owned());
    format!("{} and {}", words(&known.told_macs, &known.uuid), words(&told.macs, &told.uuid))
}
