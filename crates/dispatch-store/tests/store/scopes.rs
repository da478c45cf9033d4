//! What is decided on the few jobs that are loaded for it is what would be decided on all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use dispatch_core::fetch::{Key, needs};
use dispatch_core::group::{Group, GroupKind, Spread};
use dispatch_core::queue::stats::Ended;
use dispatch_core::queue::{
    Absent, Ask, Change, Context, Edit, Found, Looks, NewJob, Outlook, Place as At, Supply, Unreadable,
    Wanted,
};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::{
    Digest, GroupId, GroupState, Host, HostId, Job, JobId, Kind, Outcome, RunId, Sighting, Snapshot,
    SourceId, Terms, Workload, WorkloadId,
};
use dispatch_store::reads::{HistoryFilter, WorkloadFilter};
use dispatch_store::{Focus, Near, Scope, Store};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::lab::at;
use crate::place::Place;

fn group(number: u8) -> GroupId {
    format!("g{number}").parse().expect("an id")
}

fn noon() -> Timestamp {
    Timestamp::from_second(1_700_000_000).expect("a time")
}

/// Three groups; the second wants a label, the third may have one run.
fn policy() -> Policy {
    let of = |number: u8| Group {
        labels: if number == 1 { vec!["rack:1".into()] } else { Vec::new() },
        max_concurrent: (number == 2).then_some(1),
        sources: vec![SourceId::new(&format!("s{number}"))],
        ..Group::new(group(number), GroupKind::Metal)
    };
    Policy { groups: Some(Arc::from(vec![of(0), of(1), of(2)])), ..Policy::default() }
}

fn workload(number: u8, of: u8) -> Workload {
    Workload {
        id: WorkloadId::new(noon(), [number; 10]),
        name: format!("w{number}"),
        kind: Kind::Efi,
        size: 1000,
        modified: noon(),
        digest: None,
        // Of two in three, the image is fetched; two workloads are one image.
        origin: (number % 3 != 2).then(|| format!("https://example.org/{}", number / 2)),
        made_for: None,
        terms: Terms::default(),
        source: SourceId::new(&format!("s{of}")),
        group: group(of),
        is_offered: true,
        queued_for: BTreeSet::new(),
        first_seen: noon(),
        workflow: None,
    }
}

fn host(number: u8) -> Host {
    let who = at(number);
    let mut host = Host::new(HostId::new(noon(), [number; 10]), who.address, noon());
    host.macs.extend(who.mac);
    if number % 2 == 1 {
        host.labels.push("RACK:1".into());
    }
    host
}

/// A job as the test makes it.
#[derive(Clone, Debug)]
struct Made {
    group: u8,
    workload: u8,
    priority: i64,
    position: i64,
    pin: Option<u8>,
    is_paused: bool,
    later: Option<i64>,
    key: Option<u8>,
    is_over: bool,
    again: bool,
    waits: Option<u8>,
}

fn made() -> impl Strategy<Value = Made> {
    let numbers = (0..3_u8, 0..3_u8, -1..2_i64, 0..6_i64, proptest::option::weighted(0.3, 0..6_u8));
    let flags = (
        proptest::bool::weighted(0.2),
        proptest::option::weighted(0.2, -10..10_i64),
        proptest::option::weighted(0.3, 0..8_u8),
        proptest::bool::weighted(0.2),
        any::<bool>(),
        proptest::option::of(0..3_u8),
    );
    (numbers, flags).prop_map(
        |((group, workload, priority, position, pin), (is_paused, later, key, is_over, again, waits))| Made {
            group,
            workload,
            priority,
            position,
            pin,
            is_paused,
            later,
            key,
            is_over,
            again,
            waits,
        },
    )
}

impl Made {
    fn job(&self, number: u8) -> Job {
        let workload = workload(self.group * 3 + self.workload, self.group);
        let mut id = [0; 10];
        id[9] = number;
        let mut job =
            Job::new(JobId::new(noon(), id), group(self.group), &format!("j{number}"), workload.id, noon());
        job.priority = self.priority;
        job.position = self.position;
        job.pin = self.pin.map(|host| format!("host:{}", HostId::new(noon(), [host; 10])));
        job.required_labels = job.pin.iter().cloned().collect();
        job.is_paused = self.is_paused;
        job.not_before = self.later.map(|seconds| noon() + Duration::from_secs(100).mul(seconds));
        job.auto_requeue = self.again;
        job.waits = self.waits.filter(|_| !self.is_over).map(|of| format!("its image is not here yet: {of}"));
        if self.is_over {
            job.state = dispatch_core::JobState::Cancelled;
        }
        job
    }
}

/// A duration and how often, either way.
trait Mul {
    fn mul(self, times: i64) -> jiff::SignedDuration;
}

impl Mul for Duration {
    fn mul(self, times: i64) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(times * i64::try_from(self.as_secs()).expect("few"))
    }
}

/// What is asked.
#[derive(Clone, Debug)]
enum Verb {
    Ask(u8, Vec<u8>),
    Move(u8, u8, Option<u8>),
    Cancel(u8),
    Retry(u8),
    Pause(u8, bool),
    Delete(u8),
    Edit(u8, Option<u8>),
    Add(u8, u8, Option<u8>),
    Reorder(u8, Vec<u8>),
    Over(u8),
    Sync(u8, Vec<(u8, bool)>, u8),
    Apart(u8),
    MakeRoom(u8, u8),
    Image(u8, u8),
    Needs,
}

fn verb() -> impl Strategy<Value = Verb> {
    let job = 0..30_u8;
    prop_oneof![
        4 => (0..6_u8, proptest::collection::vec(0..9_u8, 0..3)).prop_map(|(host, out)| Verb::Ask(host, out)),
        6 => (job.clone(), 0..4_u8, proptest::option::of(job.clone())).prop_map(|(j, p, o)| Verb::Move(j, p, o)),
        1 => job.clone().prop_map(Verb::Cancel),
        2 => job.clone().prop_map(Verb::Retry),
        1 => (job.clone(), any::<bool>()).prop_map(|(job, on)| Verb::Pause(job, on)),
        1 => job.clone().prop_map(Verb::Delete),
        2 => (job.clone(), proptest::option::of(0..8_u8)).prop_map(|(job, key)| Verb::Edit(job, key)),
        2 => (0..3_u8, 0..9_u8, proptest::option::of(0..8_u8)).prop_map(|(g, w, k)| Verb::Add(g, w, k)),
        1 => (0..3_u8, proptest::collection::vec(job.clone(), 0..6)).prop_map(|(g, jobs)| Verb::Reorder(g, jobs)),
        2 => (0..6_u8).prop_map(Verb::Over),
        3 => (0..3_u8, proptest::collection::vec((0..5_u8, any::<bool>()), 0..4), 0..3_u8)
            .prop_map(|(source, found, spread)| Verb::Sync(source, found, spread)),
        1 => (0..3_u8).prop_map(Verb::Apart),
        1 => (job.clone(), 0..2_u8).prop_map(|(job, place)| Verb::MakeRoom(job, place)),
        3 => (0..9_u8, 0..6_u8).prop_map(|(workload, what)| Verb::Image(workload, what)),
        3 => Just(Verb::Needs),
    ]
}

struct Lab {
    store: Store,
    policy: Policy,
    now: Timestamp,
    seed: u64,
    jobs: Vec<Job>,
}

impl Lab {
    async fn new(place: &Place, jobs: &[Made]) -> Self {
        let (store, policy) = (place.store().await, policy());
        let mut keys = BTreeSet::new();
        let mut all: Vec<Job> = Vec::new();
        for (number, made) in (0_u8..).zip(jobs) {
            let mut job = made.job(number);
            let key = made.key.map(|key| format!("k{key}"));
            job.dedupe_key = key.filter(|key| made.is_over || keys.insert((made.group, key.clone())));
            all.push(job);
        }
        let states = policy.groups.iter().flat_map(|groups| groups.iter()).map(state);
        let workloads = (0..9).map(|number| Change::Workload(workload(number, number / 3)));
        let changes: Vec<Change> = states
            .map(Change::Group)
            .chain(workloads)
            .chain((1..6).map(|number| Change::Host(host(number))))
            .chain(all.iter().cloned().map(Change::Job))
            .collect();
        let put = |_| Outcome { answer: (), changes: changes.clone() };
        store.decide(Focus::default(), &policy, put).await.expect("put");
        Self { store, policy, now: noon(), seed: 0, jobs: all }
    }

    fn job(&self, number: u8) -> JobId {
        self.jobs[usize::from(number) % self.jobs.len()].id
    }

    /// Decides on everything, to look, and then on what the focus loads, in earnest.
    async fn both<T: Debug>(
        &mut self,
        focus: Focus,
        whole: Focus,
        decision: impl Fn(Snapshot, &mut Context<'_>) -> Outcome<T>,
    ) -> (String, String) {
        self.seed += 1;
        let (seed, now) = (self.seed, self.now);
        let decide = |snapshot: Snapshot| {
            let mut bytes = [9; 10];
            bytes[2..].copy_from_slice(&seed.to_be_bytes());
            let mut random = || {
                bytes[1] = bytes[1].wrapping_add(1);
                bytes
            };
            decision(snapshot, &mut Context { now, random: &mut random })
        };
        let of_all = self.store.look(whole, &self.policy, decide).await.expect("a look");
        let mut changes = None;
        let in_earnest = |snapshot: Snapshot| {
            let outcome = decide(snapshot);
            changes = Some(outcome.changes.clone());
            outcome
        };
        let answer = self.store.decide(focus, &self.policy, in_earnest).await.expect("decided");
        let changes = changes.expect("changes");
        (in_words(&answer, &changes), in_words(&of_all.answer, &of_all.changes))
    }

    async fn act(&mut self, verb: &Verb) -> (String, String) {
        let now = self.now;
        let all = Focus { all_hosts: true, ..Focus::default() };
        let active = |job| Focus::job(job).within(Scope::Active);
        match verb {
            Verb::Ask(number, out) => {
                let who = at(*number);
                let why = Unreadable { why: "gone".into(), outlook: Outlook::Coming };
                let out: BTreeMap<WorkloadId, Unreadable> =
                    out.iter().map(|number| (workload(*number, 0).id, why.clone())).collect();
                let leave_out = Absent { workloads: out.clone(), ..Absent::default() };
                let focus = Focus { leave_out, now, ..Focus::host(&who).within(Scope::Candidates) };
                self.both(focus, Focus::host(&who), |snapshot, context| {
                    snapshot.ask(&who, Ask::Head, &out, context)
                })
                .await
            }
            Verb::Move(job, place, other) => {
                let (id, other) = (self.job(*job), other.map(|other| self.job(other)));
                let of = self.jobs[usize::from(*job) % self.jobs.len()].group.clone();
                let (place, near) = match (place, other) {
                    (0, _) | (_, None) if place % 2 == 0 => (At::First, Near::First(of)),
                    (1, _) | (_, None) => (At::Last, Near::Last(of)),
                    (2, Some(other)) => (At::Before(other), Near::Job(other)),
                    (_, Some(other)) => (At::After(other), Near::Job(other)),
                };
                let focus = Focus { near: Some(near), ..active(id) };
                self.both(focus, Focus { jobs: vec![id], ..all }, |snapshot, _| {
                    snapshot.move_job(id, place, None, None, now)
                })
                .await
            }
            Verb::Cancel(job) => {
                let id = self.job(*job);
                self.both(active(id), with_tails(id), |snapshot, _| {
                    snapshot.cancel(id, "so", None, None, now)
                })
                .await
            }
            Verb::Retry(job) => {
                let id = self.job(*job);
                let whole = Focus::job(id);
                self.both(active(id), whole, |snapshot, _| snapshot.retry(id, None, None, now)).await
            }
            Verb::Pause(job, on) => {
                let id = self.job(*job);
                self.both(active(id), Focus::job(id), |snapshot, _| snapshot.pause(id, *on, None, None, now))
                    .await
            }
            Verb::Delete(job) => {
                let id = self.job(*job);
                self.both(active(id), Focus::job(id), |snapshot, _| snapshot.delete(id, None, None, now))
                    .await
            }
            Verb::Edit(job, key) => {
                let id = self.job(*job);
                let of = self.jobs[usize::from(*job) % self.jobs.len()].group.clone();
                let key = key.map(|key| format!("k{key}"));
                let dedupe = key.iter().map(|key| (of.clone(), key.clone())).collect();
                let edit = Edit {
                    dedupe_key: Some(key),
                    priority: Some(1),
                    name: Some("n".into()),
                    ..Edit::default()
                };
                let focus = Focus { dedupe, ..active(id) };
                self.both(focus, Focus::job(id), |snapshot, context| {
                    snapshot.edit(id, &edit, None, None, context)
                })
                .await
            }
            Verb::Add(of, number, key) => {
                let of = group(*of);
                let id = workload(*number, 0).id;
                let key = key.map(|key| format!("k{key}"));
                let dedupe = key.iter().map(|key| (of.clone(), key.clone())).collect();
                let new = NewJob { dedupe_key: key, ..NewJob::new(Wanted::Workload(id)) };
                let group = Some(of.clone());
                let focus = Focus { dedupe, group: group.clone(), workloads: vec![id], ..Focus::default() };
                let focus = focus.within(Scope::Active);
                let whole = Focus { group, workloads: vec![id], ..all };
                self.both(focus, whole, |snapshot, context| {
                    snapshot.add_jobs(&of, std::slice::from_ref(&new), None, context)
                })
                .await
            }
            _ => self.act_on_many(verb).await,
        }
    }

    /// The same for what concerns more than a job.
    async fn act_on_many(&mut self, verb: &Verb) -> (String, String) {
        let now = self.now;
        let all = Focus { all_hosts: true, ..Focus::default() };
        match verb {
            Verb::Reorder(of, jobs) => {
                let (of, jobs) = (group(*of), jobs.iter().map(|job| self.job(*job)).collect::<Vec<_>>());
                let focus = Focus { jobs: jobs.clone(), ..Focus::default() };
                self.both(focus.clone().within(Scope::Active), focus, |snapshot, _| {
                    snapshot.reorder(&of, &jobs, &BTreeMap::new(), None, now)
                })
                .await
            }
            Verb::Over(number) => self.end(*number).await,
            Verb::Sync(source, found, spread) => self.sync(*source, found, *spread).await,
            Verb::Apart(of) => {
                let of = group(*of);
                let focus = Focus::default().within(Scope::Group(of.clone()));
                self.both(focus, all, |snapshot, _| in_order(snapshot).spread_out(&of)).await
            }
            Verb::MakeRoom(job, place) => {
                let id = self.job(*job);
                let of = self.jobs[usize::from(*job) % self.jobs.len()].group.clone();
                let place = if *place == 0 { At::First } else { At::Last };
                let focus = Focus::job(id).within(Scope::Group(of));
                self.both(focus, Focus { jobs: vec![id], ..all }, |snapshot, _| {
                    in_order(snapshot).move_with_room(id, place, None, None, now)
                })
                .await
            }
            Verb::Image(number, what) => self.tell_of_image(*number, *what).await,
            Verb::Needs => self.needs().await,
            one => panic!("about one job: {one:?}"),
        }
    }

    /// A host's run ends without a word.
    async fn end(&mut self, number: u8) -> (String, String) {
        let who = at(number);
        let run = self.run_of(&who).await;
        let Some(run) = run else { return Default::default() };
        let (now, focus) = (self.now, Focus::run(run));
        let begin = |snapshot: Snapshot| snapshot.begin(run, 1000, 0, now);
        self.store.decide(focus.clone(), &self.policy, begin).await.expect("begun");
        let event = RunEvent::Ended { transfer: 1, sent: 1000, count: 1000, end: End::Whole };
        let ended = |snapshot: Snapshot| snapshot.note(run, &event, now);
        self.store.decide(focus.clone(), &self.policy, ended).await.expect("ended");
        let event = RunEvent::Disputed { why: "two".into() };
        self.both(focus.clone().within(Scope::Active), focus, |snapshot, _| snapshot.note(run, &event, now))
            .await
    }

    /// A source is looked at.
    async fn sync(&mut self, source: u8, found: &[(u8, bool)], spread: u8) -> (String, String) {
        let mut names = BTreeSet::new();
        let file = |(number, is_new): &(u8, bool)| Found {
            name: format!("w{}", source * 3 + number),
            kind: Kind::Efi,
            size: if *is_new { 2000 } else { 1000 },
            modified: noon(),
            digest: None,
            origin: None,
            terms: Terms { order: i64::from(*number), ..Terms::default() },
        };
        let found: Vec<Found> = found.iter().filter(|(number, _)| names.insert(*number)).map(file).collect();
        let supply = Supply {
            source: SourceId::new(&format!("s{source}")),
            group: group(source),
            is_queued: spread < 3,
            spread: match spread {
                0 => Spread::Any,
                1 => Spread::EachHost,
                _ => Spread::Each("rack".to_owned()),
            },
            priority: 1,
        };
        // What one look does not find stays.
        let looks = if spread == 0 { Looks::default() } else { Looks::agreed(&found) };
        let focus = Focus { group: Some(supply.group.clone()), all_hosts: true, ..Focus::default() };
        let part = Focus { found: found.clone(), ..focus.clone() };
        let part = part.within(Scope::Source(supply.source.clone()));
        // Jobs that left with their files, and workloads without a job, are in no other scope.
        let mut whole = focus;
        whole.jobs = self.jobs_that_left().await;
        whole.workloads = (0..9).map(|number| workload(number, 0).id).collect();
        whole.workloads.extend(self.new_workloads().await);
        self.both(part, whole, |snapshot, context| {
            in_order(snapshot).sync_source(&supply, &found, &looks, context)
        })
        .await
    }

    /// The jobs that left the queue.
    async fn jobs_that_left(&self) -> Vec<JobId> {
        let mut left = Vec::new();
        for number in 0..3 {
            let filter = HistoryFilter { ended: vec![Ended::Cancelled], ..HistoryFilter::all(group(number)) };
            let past = self.store.history(&filter, None, 1000).await.expect("a history");
            left.extend(past.iter().filter(|past| past.job.is_withdrawn).map(|past| past.job.id));
        }
        left
    }

    async fn new_workloads(&self) -> Vec<WorkloadId> {
        let all = self.store.workloads(&WorkloadFilter::default(), None, 1000).await.expect("workloads");
        all.iter().map(|workload| workload.id).collect()
    }

    /// Something is told of the image of a workload, which may be that of its neighbour as well.
    async fn tell_of_image(&mut self, number: u8, what: u8) -> (String, String) {
        let now = self.now;
        let image = [workload(number, 0).id, workload(number ^ 1, 0).id];
        let digest = Digest::new([number; 32]);
        let why = Unreadable { why: format!("{number}"), outlook: Outlook::Coming };
        let focus = Focus::default().within(Scope::Workloads(image.to_vec()));
        self.both(focus, Focus::default(), |snapshot, _| {
            let snapshot = in_order(snapshot);
            match what {
                0 => snapshot.fetch_begins(&image, 1000, 0, now),
                1 => snapshot.image_here(&image, digest, None, Some(Duration::from_secs(1)), now),
                2 => snapshot.image_wrong(&image, "wrong", now),
                3 => snapshot.image_spoiled(&image, "spoiled", now),
                4 => snapshot.image_waits(&image, &why, now),
                _ => snapshot.image_to_come(&image),
            }
        })
        .await
    }

    /// Which images are needed, and what the jobs that wait say of them.
    async fn needs(&mut self) -> (String, String) {
        let now = self.now;
        let seen = async |focus| {
            let snapshot = self.store.look(focus, &self.policy, |snapshot| snapshot).await.expect("a look");
            let key = |workload: &Workload| {
                let last = workload.origin.as_ref()?.bytes().last()?;
                Some(Key::Digest(Digest::new([last; 32])))
            };
            let needs = needs(&snapshot, key, &BTreeMap::new(), now);
            let is_fetched = |job: &&Job| {
                let workload = snapshot.workloads.iter().find(|known| known.id == job.workload);
                workload.is_some_and(|workload| workload.origin.is_some())
            };
            let waiting = snapshot.jobs.iter().filter(|job| job.state == dispatch_core::JobState::Queued);
            let said: BTreeSet<_> =
                waiting.filter(is_fetched).map(|job| (job.workload, job.waits.clone())).collect();
            let known: Vec<bool> = needs.iter().map(|need| snapshot.knows_image(&need.workloads)).collect();
            format!("{needs:#?}\n{said:#?}\n{known:?}")
        };
        (seen(Focus::default().within(Scope::Images)).await, seen(Focus::default()).await)
    }

    async fn run_of(&self, who: &Sighting) -> Option<RunId> {
        let find = |snapshot: Snapshot| {
            let host = snapshot.hosts.iter().find(|host| host.address == who.address)?.id;
            snapshot.runs.iter().find(|run| run.host == host && !run.state.is_final()).map(|run| run.id)
        };
        self.store.look(Focus::host(who), &self.policy, find).await.expect("a look")
    }
}

/// The same, in one order: of what is done for each of many jobs, the order does not matter.
fn in_order(mut snapshot: Snapshot) -> Snapshot {
    snapshot.jobs.sort_by_key(|job| (job.position, job.id));
    snapshot.workloads.sort_by_key(|workload| (workload.first_seen, workload.id));
    snapshot.hosts.sort_by_key(|host| (host.first_seen, host.id));
    snapshot
}

/// On everything, with what a job that comes again needs to know.
fn with_tails(job: JobId) -> Focus {
    Focus::job(job)
}

fn state(group: &Group) -> GroupState {
    GroupState {
        id: group.id.clone(),
        kind: group.kind,
        name: group.id.to_string(),
        description: None,
        labels: group.labels.clone(),
        is_paused: false,
        is_draining: false,
        in_config: true,
        place: 0,
        version: 1,
        created: noon(),
        updated: noon(),
    }
}

/// What was decided, but for what is noted of images that cannot be read.
fn in_words<T: Debug>(answer: &T, changes: &[Change]) -> String {
    changes.iter().fold(format!("{answer:?}\n"), |words, change| format!("{words}{change:?}\n"))
}

#[test]
fn on_some_of_the_jobs_the_same_is_decided_as_on_all() {
    let runtime = Runtime::new().expect("a runtime");
    let config = Config { cases: 24, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let jobs = proptest::collection::vec(made(), 3..30);
    let verbs = proptest::collection::vec(verb(), 1..25);
    let ran = runner.run(&(jobs, verbs), |(jobs, verbs)| {
        runtime.block_on(async {
            let place = Place::sqlite();
            let mut lab = Lab::new(&place, &jobs).await;
            for verb in &verbs {
                lab.now += Duration::from_secs(45);
                let (some, all) = lab.act(verb).await;
                for (some, all) in some.lines().zip(all.lines()) {
                    prop_assert_eq!(some, all, "{:?}", verb);
                }
                prop_assert_eq!(some.lines().count(), all.lines().count(), "{:?}", verb);
            }
            for number in 0..3 {
                let filter = HistoryFilter::all(group(number));
                let past = lab.store.history(&filter, None, 1000).await.expect("a history");
                let count = lab.store.history_count(&filter).await.expect("a count");
                prop_assert_eq!(count, past.len() as u64, "jobs that come and go are counted");
            }
            lab.store.close().await;
            Ok(())
        })
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
