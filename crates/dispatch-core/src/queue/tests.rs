//! Each rule for metal is a named test here; the properties are in [`properties`].

mod asking;
mod ending;
mod fetch;
mod identity;
mod orders;
mod places;
mod plan;
mod properties;
mod releases;
mod requeue;
mod respread;
mod rounds;
mod service;
mod service_hosts;
mod service_jobs;
mod service_properties;
mod sieve;
mod spread;
mod verbs;
mod withdrawn;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::host::Told;
use crate::run::{End, RunEvent, RunState};

/// A queue that lives in memory: it commits what the rules decide, as the store does, and checks what the
/// store's constraints check.
pub(super) struct Model {
    pub(super) snapshot: Snapshot,
    pub(super) now: Timestamp,
    pub(super) unreadable: BTreeMap<WorkloadId, Unreadable>,
    pub(super) stored: Vec<Report>,
    pub(super) told: Vec<Event>,
    pub(super) leases: Vec<Lease>,
    pub(super) effects: Vec<Effect>,
    seed: u64,
}

impl Model {
    pub(super) fn new(images: &[&str]) -> Self {
        let mut model = Self {
            snapshot: Snapshot::default(),
            now: Timestamp::from_second(1_700_000_000).expect("a time"),
            unreadable: BTreeMap::new(),
            stored: Vec::new(),
            told: Vec::new(),
            leases: Vec::new(),
            effects: Vec::new(),
            seed: 0,
        };
        let found: Vec<Found> = images.iter().map(|name| file(name, 1000)).collect();
        model.decide(|snapshot, context| snapshot.open(&found, &[], context));
        model
    }

    pub(super) fn decide<T>(&mut self, decision: impl FnOnce(Snapshot, &mut Context<'_>) -> Outcome<T>) -> T {
        let seed = &mut self.seed;
        let mut random = || {
            *seed += 1;
            let mut bytes = [0; 10];
            // With room between two, for the jobs that follow one.
            bytes[2..].copy_from_slice(&(*seed << 8).to_be_bytes());
            bytes
        };
        let mut context = Context { now: self.now, random: &mut random };
        let outcome = decision(self.snapshot.clone(), &mut context);
        for change in outcome.changes {
            self.commit(change);
        }
        outcome.answer
    }

    fn commit(&mut self, change: Change) {
        fn put<T>(rows: &mut Vec<T>, row: T, same: impl Fn(&T, &T) -> bool) {
            match rows.iter_mut().find(|known| same(known, &row)) {
                Some(known) => *known = row,
                None => rows.push(row),
            }
        }
        match change {
            Change::Host(host) => {
                let has_name =
                    |known: &Host| known.id != host.id && known.name.is_some() && known.name == host.name;
                assert!(!self.snapshot.hosts.iter().any(has_name), "two hosts of one name");
                put(&mut self.snapshot.hosts, host, |a, b| a.id == b.id);
            }
            Change::Workload(workload) => put(&mut self.snapshot.workloads, workload, |a, b| a.id == b.id),
            Change::Job(job) => {
                let is_open = |known: &&Job| known.id != job.id && !known.state.is_final();
                let same_key =
                    |known: &&Job| (&known.group, &known.dedupe_key) == (&job.group, &job.dedupe_key);
                let others = self.snapshot.jobs.iter().filter(is_open).filter(same_key).count();
                assert!(
                    job.dedupe_key.is_none() || job.state.is_final() || others == 0,
                    "two jobs of one key"
                );
                let tail = self.snapshot.tails.entry(job.group.clone()).or_default();
                *tail = job.position.max(*tail);
                put(&mut self.snapshot.jobs, job, |a, b| a.id == b.id);
            }
            Change::Run(run) => {
                let held = self.leases.iter().any(|lease| lease.run == run.id && lease.epoch == run.epoch);
                let was_final =
                    self.snapshot.runs.iter().any(|known| known.id == run.id && known.state.is_final());
                assert!(held || was_final, "a run is written without its lease: {run:?}");
                put(&mut self.snapshot.runs, run, |a, b| a.id == b.id);
            }
            Change::Lease(lease) => {
                let other = self.leases.iter().find(|held| held.host == lease.host && held.run != lease.run);
                assert_eq!(other, None, "two runs on one host");
                put(&mut self.leases, lease, |a, b| a.host == b.host);
            }
            Change::Release(lease) => self.leases.retain(|held| held.run != lease.run),
            Change::Report(report) => {
                let (id, run) = (report.id, report.run);
                let digest = report.content.digest.clone();
                self.snapshot.reports.push(ReportKey { id, run, digest });
                self.stored.push(report);
            }
            Change::Round(round) => self.snapshot.round = Some(round),
            Change::Event(event) => self.told.push(*event),
            Change::Effect(effect) => self.effects.push(effect),
            Change::Group(group) => put(&mut self.snapshot.groups, group, |a, b| a.id == b.id),
            Change::SourcesAre(there) => {
                let is_left =
                    |known: &&mut Workload| known.workflow.is_none() && !there.contains(&known.source);
                self.snapshot.workloads.iter_mut().filter(is_left).for_each(|known| known.is_offered = false);
            }
            Change::Settled(_) | Change::Issue(_) | Change::Template(..) | Change::TemplatesAre(..) => {}
        }
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.now = self.now.checked_add(Duration::from_secs(seconds)).expect("a time");
    }

    pub(super) fn ask(&mut self, host: u8, how: Ask) -> Offer {
        let unreadable = self.unreadable.clone();
        self.decide(|snapshot, context| snapshot.ask(&at(host), how, &unreadable, context))
    }

    /// `HEAD`, and the name of the image that it gets.
    pub(super) fn head(&mut self, host: u8) -> Option<String> {
        match self.ask(host, Ask::Head) {
            Offer::Image { run, .. } => Some(self.name_of(run)),
            Offer::Idle(_) | Offer::Reset { .. } | Offer::Several(_) | Offer::NotNow(_) => None,
        }
    }

    pub(super) fn name_of(&self, run: RunId) -> String {
        let job = self.run(run).job;
        self.snapshot.jobs.iter().find(|known| known.id == job).expect("a job").name.clone()
    }

    pub(super) fn run(&self, id: RunId) -> &Run {
        self.snapshot.runs.iter().find(|run| run.id == id).expect("a run")
    }

    pub(super) fn active(&self, host: u8) -> Option<&Run> {
        let host = recognise(&self.snapshot.hosts, &at(host)).host()?.id;
        self.snapshot.runs.iter().find(|run| run.host == host && !run.state.is_final())
    }

    pub(super) fn state(&self, host: u8) -> Option<RunState> {
        self.active(host).map(|run| run.state)
    }

    /// The latest run of a job.
    pub(super) fn latest(&self, name: &str) -> &Run {
        let job = self.job(name).id;
        self.snapshot.runs.iter().rfind(|run| run.job == job).expect("a run")
    }

    pub(super) fn job(&self, name: &str) -> &Job {
        self.snapshot.jobs.iter().rfind(|job| job.name == name).expect("a job")
    }

    /// `GET` whose body goes out as far as `sent`.
    pub(super) fn get(&mut self, host: u8, sent: u64) {
        self.ask(host, Ask::Get);
        if self.begin(host) {
            let end = if sent == 1000 { End::Whole } else { End::Broken };
            self.end(host, sent, end);
        }
    }

    pub(super) fn begin(&mut self, host: u8) -> bool {
        let Some(run) = self.active(host).map(|run| run.id) else { return false };
        self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now)).is_some()
    }

    pub(super) fn end(&mut self, host: u8, sent: u64, end: End) {
        let Some(run) = self.active(host) else { return };
        let event = RunEvent::Ended { transfer: run.transfers, sent, count: sent, end };
        let run = run.id;
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
    }

    pub(super) fn post(&mut self, host: u8) -> Option<RunId> {
        self.decide(|snapshot, context| snapshot.start(&at(host), &Told::default(), context)).ok()
    }

    pub(super) fn put(
        &mut self,
        host: u8,
        named: Option<RunId>,
        text: &str,
        verdict: Verdict,
    ) -> Option<Accepted> {
        let report = NewReport { digest: text.into(), title: text.into(), json: "{}".into(), verdict };
        self.decide(|snapshot, context| snapshot.report(&at(host), &Told::default(), named, report, context))
            .ok()
    }

    pub(super) fn tick(&mut self) -> Option<Timestamp> {
        self.decide(|snapshot, context| snapshot.tick(context.now))
    }

    /// A boot up to the call of the image.
    pub(super) fn boot(&mut self, host: u8) -> RunId {
        self.head(host);
        self.get(host, 1000);
        self.post(host).expect("the image is up")
    }

    pub(super) fn told(&self, wanted: impl Fn(&Happening) -> bool) -> usize {
        self.told.iter().filter(|event| wanted(&event.what)).count()
    }
}

pub(super) fn at(host: u8) -> Sighting {
    Sighting { address: [192, 0, 2, host].into(), mac: None, name: None }
}

pub(super) fn gone() -> Unreadable {
    Unreadable { why: "No such file".into(), outlook: Outlook::Lasting }
}

pub(super) fn file(name: &str, size: u64) -> Found {
    Found {
        name: name.into(),
        kind: Kind::Efi,
        size,
        modified: Timestamp::UNIX_EPOCH,
        digest: None,
        origin: None,
        terms: Terms::default(),
    }
}
