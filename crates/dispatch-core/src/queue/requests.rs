//! What hosts and their images ask of the queue, and what the passing of time does to it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::idle::several;
use super::{
    Accepted, Ask, Change, Context, Job, JobState, NewReport, NoRun, Offer, Outcome, Outlook, Report,
    ReportKey, Snapshot, Unreadable,
};
use crate::event::{Effect, Happening};
use crate::host::{Host, Recognised, Sighting, Told, recognise};
use crate::id::{HostId, JobId, ReportId, RunId, WorkloadId};
use crate::mac::Mac;
use crate::run::{IssueTarget, Run, RunEvent, RunState, Sinks, Transfer};
use crate::verdict::Judge;
use crate::workload::Workload;

/// How long an address, where nothing else is known of a host, is not given to another machine.
const REUSE: SignedDuration = SignedDuration::from_hours(1);

/// How long a firmware may take to go on with a download that broke off.
const RESUME: SignedDuration = SignedDuration::from_mins(10);

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
        if self.is_ignored(who, now) {
            let idle = self.idle_for_ignored(now);
            return self.outcome(Offer::Idle(idle));
        }
        let Some(host) = self.meet(who, context) else {
            let idle = self.idle_for_several(who, now);
            return self.outcome(Offer::Several(idle));
        };
        if let Some(run) = self.active_run(host) {
            let id = run.id;
            // Every non-final state takes this; one that did not would leave the run as it is.
            let _ = self.happen(id, &RunEvent::Asked, now);
            // Only now: a run that was up until this request may have come back to its image by it.
            let lost = self.active_run(host).and_then(|run| unreadable.get(&run.workload));
            match lost {
                // It may take minutes: a firmware that is refused goes on with its next boot device.
                Some(Unreadable { outlook: Outlook::Coming, .. }) if self.was_fetched(id) => {
                    let answer = self.keep_near(host, id, how, now);
                    return self.outcome(answer);
                }
                Some(Unreadable { why, outlook: Outlook::Passing }) if self.was_fetched(id) => {
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
                // It was kept near until its image can be read.
                if let Some(idle) = self.promised_idle(host, how, now) {
                    return self.outcome(Offer::Idle(idle));
                }
                self.change_host(host, |host| host.idle = None);
                return self.outcome(answer);
            }
        }
        if let Some(idle) = self.promised_idle(host, how, now) {
            return self.outcome(Offer::Idle(idle));
        }
        self.note_unreadable(unreadable, now);
        self.note_unfit(host, now);
        let answer = match self.next_job(host, unreadable, now) {
            Some(job) if self.must_reset_first(host, job) => {
                let workload = self.workload_of(job).map(|workload| workload.id);
                let idle = self.tell_reset(host, job, how, now);
                workload.map_or(Offer::Idle(idle.clone()), |workload| Offer::Reset { idle, workload })
            }
            Some(job) => self.assign(job, host, context),
            None => Offer::Idle(self.tell_idle(host, how, unreadable, now)),
        };
        self.outcome(answer)
    }

    /// A transfer's first byte is about to go out. Answers with the transfer's number, or nothing if the run
    /// is no longer to be served, or not from there.
    #[must_use]
    pub fn begin(mut self, run: RunId, size: u64, start: u64, now: Timestamp) -> Outcome<Option<u32>> {
        if self.goes_on_with_another(run, start, now) {
            return self.outcome(None);
        }
        let begun = self.happen(run, &RunEvent::Began { size, start }, now).is_ok();
        let answer = self.run(run).map(|run| run.transfers).filter(|_| begun);
        self.outcome(answer)
    }

    /// Whether a host that asks for the rest of an image has the beginning of another one, whose download ended before
    /// its end. What it would boot is half of each.
    fn goes_on_with_another(&self, run: RunId, start: u64, now: Timestamp) -> bool {
        let Some(run) = self.run(run).filter(|run| start > 0 && run.transfers == 0) else { return false };
        let earlier = self.runs.iter().filter(|known| {
            known.host == run.host && known.id != run.id && known.transfers > 0 && known.since >= now - RESUME
        });
        let before = earlier.max_by_key(|known| (known.created, known.id));
        before.is_some_and(|before| {
            before.wholes == 0 && before.booted_at.is_none() && before.workload != run.workload
        })
    }

    /// Something that needs no answer happened to a run. Answers whether it changed anything.
    #[must_use]
    pub fn note(mut self, run: RunId, event: &RunEvent, now: Timestamp) -> Outcome<bool> {
        let answer = self.happen(run, event, now).is_ok();
        self.outcome(answer)
    }

    /// `POST`: a host says that its image is up, and what it is. Answers with the run.
    #[must_use]
    pub fn start(
        mut self,
        who: &Sighting,
        told: &Told,
        context: &mut Context<'_>,
    ) -> Outcome<Result<RunId, NoRun>> {
        let answer = self.started(who, told, context);
        self.outcome(answer)
    }

    fn started(&mut self, who: &Sighting, told: &Told, context: &mut Context<'_>) -> Result<RunId, NoRun> {
        let now = context.now;
        let id = self.whose(who, told)?;
        self.check(id, who, told, now)?;
        let run = self.active_run(id).cloned().ok_or(NoRun::Nothing)?;
        self.happen(run.id, &RunEvent::Started, now).map_err(|_| NoRun::Nothing)?;
        // Only now: a stranger that posts is nobody we need to remember.
        let arch = self.workload_of(run.job).and_then(Workload::arch);
        self.unite(id, told, now);
        self.met_again(id, who, told, now);
        self.learn(id, told, run.booted_at.is_some() || run.reports > 0);
        self.change_host(id, |host| host.arch = arch.or(host.arch));
        Ok(run.id)
    }

    /// `PUT`: a report came, from a host that may have named its run.
    #[must_use]
    pub fn report(
        mut self,
        who: &Sighting,
        told: &Told,
        named: Option<RunId>,
        report: NewReport,
        context: &mut Context<'_>,
    ) -> Outcome<Result<Accepted, NoRun>> {
        let answer = self.reported(who, told, named, report, context);
        self.outcome(answer)
    }

    /// How a report is judged that carries no verdict: as the group says whose run it is from.
    #[must_use]
    pub fn judge_for(&self, who: &Sighting, told: &Told, named: Option<RunId>) -> &Judge {
        let run = match named {
            Some(named) => self.run(named),
            None => self.whose(who, told).ok().and_then(|host| self.run_of_report(host, who, told)),
        };
        let job = run.and_then(|run| self.jobs.iter().find(|job| job.id == run.job));
        job.map_or(&self.policy.judge, |job| self.policy.judge_of(&job.group))
    }

    fn reported(
        &mut self,
        who: &Sighting,
        told: &Told,
        named: Option<RunId>,
        report: NewReport,
        context: &mut Context<'_>,
    ) -> Result<Accepted, NoRun> {
        let now = context.now;
        let run = if let Some(named) = named {
            self.run(named).filter(|run| run.may_report())
        } else {
            let id = self.whose(who, told)?;
            self.check(id, who, told, now)?;
            self.run_of_report(id, who, told)
        };
        let run = run.cloned().ok_or(NoRun::Nothing)?;
        if let Some(known) = self.reports.iter().find(|key| key.run == run.id && key.digest == report.digest)
        {
            return Ok(Accepted { report: known.id, run: run.id, known: true });
        }
        let verdict = report.verdict;
        self.happen(run.id, &RunEvent::Reported { verdict }, now).map_err(|_| NoRun::Nothing)?;
        if named.is_none() && !run.state.is_final() {
            self.learn(run.host, told, run.booted_at.is_some() || run.reports > 0);
        }
        let id = ReportId::new(now, (context.random)());
        let late = run.state.is_final();
        let title = report.title.clone();
        self.reports.push(ReportKey { id, run: run.id, digest: report.digest.clone() });
        self.changes.push(Change::Report(Report { id, run: run.id, at: now, late, content: report }));
        let source = self.workloads.iter().find(|known| known.id == run.workload).map(|known| &known.source);
        let job = self.jobs.iter().find(|job| job.id == run.job);
        let sinks = job.map(|job| self.policy.sinks_of(&job.group, source));
        let Sinks { files, issues } = sinks.unwrap_or_else(|| self.policy.sinks.clone());
        if files {
            self.changes.push(Change::Effect(Effect::WriteReport { report: id }));
        }
        if let Some(IssueTarget { repository, api }) = issues {
            let effect = Effect::FileIssue { report: id, run: run.id, repository, api: Some(api) };
            self.changes.push(Change::Effect(effect));
        }
        self.tell(Some(run.id), None, now, Happening::Report { id, title, verdict, late });
        if late {
            self.revise(&run, now);
        }
        Ok(Accepted { report: id, run: run.id, known: false })
    }

    /// Whose call or report this is. The name in the URL comes first, then the cards that the beacon tells: its
    /// system may call through another one than its firmware fetched the image with, or through NAT. Then where it
    /// comes from.
    fn whose(&self, who: &Sighting, told: &Told) -> Result<HostId, NoRun> {
        let fetched = |host: &Host| self.active_run(host.id).filter(|run| run.transfers > 0);
        let named = self.hosts.iter().find(|host| host.name.is_some() && host.name == who.name);
        if let Some(host) = named.filter(|host| fetched(host).is_some()) {
            return Ok(host.id);
        }
        let may_be = |host: &&Host| {
            let is_named_so = who.name.is_none() || host.name.is_none() || who.name == host.name;
            // A card may have moved to another machine since.
            let may_have_card = host.has_one_of(&told.macs) && host.is_same_board(told) != Some(false);
            host.shared.is_none() && is_named_so && may_have_card
        };
        // Of several records that are one machine, the one that began to download last, if it has got what it fetched.
        let may_call = |run: &Run| run.state != RunState::Assigned || run.wholes > 0;
        let by_card = self.hosts.iter().filter(may_be).filter_map(fetched);
        if let Some(run) = by_card.max_by_key(|run| (may_call(run), run.since, run.id)) {
            return Ok(run.host);
        }
        match recognise(&self.hosts, who) {
            Recognised::Host(host) => Ok(host.id),
            Recognised::Stranger => Err(NoRun::Nothing),
            Recognised::Several => Err(NoRun::Several(several(who.address))),
        }
    }

    /// Whether a host can be the one that this comes from, by what its beacon tells. If not, several hosts are taken
    /// for one, and nothing can be said of its run.
    fn check(&mut self, id: HostId, who: &Sighting, told: &Told, now: Timestamp) -> Result<(), NoRun> {
        let Some(host) = self.hosts.iter().find(|host| host.id == id) else { return Err(NoRun::Nothing) };
        // Without a run there is nothing to be wrong about.
        let Some(run) = self.active_run(id) else { return Ok(()) };
        let is_another = if run.booted_at.is_some() || run.reports > 0 {
            host.is_contradicted_within_a_run(told)
        } else {
            // By its name a host may come back with another board, and an address alone is given to another machine
            // by and by.
            let may_have_changed =
                who.name.is_some() || host.macs.is_empty() && !self.has_called_since(id, now - REUSE);
            !may_have_changed && !host.has_one_of(&told.macs) && host.is_contradicted(who, told)
        };
        if !is_another {
            return Ok(());
        }
        let why = contradiction(host, told);
        Err(NoRun::Several(self.distrust(id, &why, now)))
    }

    fn has_called_since(&self, host: HostId, since: Timestamp) -> bool {
        self.runs.iter().any(|run| run.host == host && run.booted_at.is_some_and(|at| at >= since))
    }

    /// Notes what a host's beacon tells of it. Within a run, drivers come and go.
    fn learn(&mut self, id: HostId, told: &Told, is_within_a_run: bool) {
        self.change_host(id, |host| {
            host.uuid = told.uuid.clone().or(host.uuid.take());
            if !told.macs.is_empty() {
                let known = std::mem::replace(&mut host.told_macs, told.macs.clone());
                host.told_macs
                    .extend(known.into_iter().filter(|mac| is_within_a_run && !told.macs.contains(mac)));
            }
        });
    }

    /// Makes one host of what was taken for several because each of its cards asked by itself. What they were given
    /// is over: the machine has begun with something else since.
    fn unite(&mut self, id: HostId, told: &Told, now: Timestamp) {
        let others: Vec<HostId> = self
            .hosts
            .iter()
            .filter(|host| host.id != id && host.name.is_none() && host.has_one_of(&told.macs))
            .map(|host| host.id)
            .collect();
        for other in others {
            if !self.only_lost_a_card(other, told) {
                if let Some((run, was_fetched)) =
                    self.active_run(other).map(|run| (run.id, run.transfers > 0))
                {
                    let why = "its host has fetched another image through another card".to_owned();
                    let event = if was_fetched { RunEvent::Asked } else { RunEvent::Cancelled { why } };
                    let _ = self.happen(run, &event, now);
                }
                if self.active_run(other).is_some() {
                    continue;
                }
            }
            let mut moved = Vec::new();
            self.change_host(other, |host| {
                moved = host.macs.extract_if(.., |mac| told.macs.contains(mac)).collect();
                host.told_macs.retain(|mac| !told.macs.contains(mac));
            });
            self.change_host(id, |host| {
                moved.retain(|mac| !host.macs.contains(mac));
                host.macs.append(&mut moved);
            });
        }
    }

    /// Whether a host is another machine than the one that tells of one of its cards: that has moved, and nothing else
    /// is new.
    fn only_lost_a_card(&self, host: HostId, told: &Told) -> bool {
        let host = self.hosts.iter().find(|known| known.id == host);
        host.is_some_and(|host| {
            let has_others = host.macs.iter().any(|mac| !told.macs.contains(mac));
            has_others && host.is_same_board(told) == Some(false)
        })
    }

    /// Notes where a host has called from, if that says something of it: not where it was known by its cards alone.
    fn met_again(&mut self, id: HostId, who: &Sighting, told: &Told, now: Timestamp) {
        let is_here = recognise(&self.hosts, who).host().is_some_and(|host| host.id == id);
        let is_own = who.mac.filter(|mac| told.macs.contains(mac) || is_here && told.macs.is_empty());
        let is_elsewhere = |mac: &Mac| self.hosts.iter().any(|host| host.id != id && host.macs.contains(mac));
        let card = is_own.filter(|mac| !is_elsewhere(mac));
        let has_name = self.hosts.iter().any(|host| host.name.is_some() && host.name == who.name);
        let name = who.name.clone().filter(|_| !has_name);
        self.change_host(id, |host| {
            if is_here {
                host.address = who.address;
            }
            host.macs.extend(card.filter(|mac| !host.macs.contains(mac)));
            host.last_seen = now;
            host.name = name.or(host.name.take());
        });
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
        now: Timestamp,
    ) -> Option<JobId> {
        if !self.is_wanted(host) {
            return None;
        }
        let errored: Vec<&Run> =
            self.runs.iter().filter(|run| run.host == host && run.has_errored()).collect();
        let errored_here = |job: &Job| errored.iter().any(|run| Self::is_attempt_of(run, job));
        let fits = self.fitting(host);
        self.jobs
            .iter()
            .filter(|job| job.state == JobState::Queued && !unreadable.contains_key(&job.workload))
            .filter(|job| fits.takes(job) && self.hindrance(job, now).is_none())
            .min_by_key(|job| (errored_here(job), job.rank()))
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
            return Offer::Idle(self.tell_idle(host, Ask::Get, &BTreeMap::new(), now));
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
        let group = self.jobs.iter().find(|known| known.id == job).map(|job| job.group.clone());
        let deadlines = group.map_or(self.policy.deadlines, |group| self.policy.deadlines_of(&group));
        let deadlines = deadlines.with(&offered.terms.deadlines);
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
            deadline: Some(now.checked_add(deadlines.assigned).unwrap_or(Timestamp::MAX)),
            size: offered.size,
            transfer: Transfer::None,
            transfers: 0,
            sent: 0,
            most_sent: 0,
            broken: 0,
            wholes: 0,
            reboots: 0,
            reboots_allowed: offered.terms.reboots,
            booted_at: None,
            is_disputed: false,
            reports: 0,
        };
        let answer = Offer::Image { run: run.id, workload: offered.id };
        let id = run.id;
        self.put_run(run);
        self.tell(Some(id), None, now, Happening::Assigned { attempt });
        answer
    }

    /// The run that a report belongs to which names none: the host's present one if its image has reached the host;
    /// else the host's latest whose image had.
    fn run_of_report(&self, host: HostId, who: &Sighting, told: &Told) -> Option<&Run> {
        self.active_run(host).filter(|run| run.may_report()).or_else(|| {
            // What ran earlier was on the machine that called then.
            let known = self.hosts.iter().find(|known| known.id == host)?;
            let may_be =
                who.name.is_some() || known.has_one_of(&told.macs) || !known.is_contradicted(who, told);
            self.runs
                .iter()
                .filter(|run| may_be && run.host == host && run.state.is_final() && run.may_report())
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
