//! The queues of a service: groups by labels, how many at once, pauses, and who may work.

use std::sync::Arc;

use super::*;
use crate::group::{Group, GroupKind, HostKey, ListedHost};
use crate::run::Policy;
use crate::workload::SourceId;

/// A group of servers with one source, which is called as it is.
pub(super) fn metal(id: &str, labels: &[&str]) -> Group {
    Group {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        sources: vec![SourceId::new(id)],
        ..Group::new(group(id), GroupKind::Metal)
    }
}

pub(super) fn group(id: &str) -> GroupId {
    id.parse().expect("an id")
}

pub(super) fn key(id: &str) -> HostKey {
    id.parse().expect("an id")
}

/// A host of the configuration, known by its boot name.
pub(super) fn listed(id: &str, labels: &[&str]) -> ListedHost {
    ListedHost {
        key: key(id),
        name: None,
        macs: Vec::new(),
        uuid: None,
        boot_name: Some(id.parse().expect("a name")),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

impl Model {
    /// A service with these groups, where each host that asks may work.
    pub(super) fn service(groups: Vec<Group>) -> Self {
        let mut model = Self::new(&[]);
        model.snapshot.round = None;
        model.told.clear();
        model.configure(groups);
        model
    }

    /// The configuration is read with these groups.
    pub(super) fn configure(&mut self, groups: Vec<Group>) {
        let state = |(place, group): (usize, &Group)| GroupState {
            id: group.id.clone(),
            kind: group.kind,
            name: group.id.to_string(),
            description: None,
            labels: group.labels.clone(),
            is_paused: false,
            is_draining: false,
            in_config: true,
            place: i64::try_from(place).expect("few"),
            version: 1,
            created: self.now,
            updated: self.now,
        };
        let states: Vec<GroupState> = groups.iter().enumerate().map(state).collect();
        let policy = Policy { groups: Some(Arc::from(groups)), ..self.snapshot.policy.clone() };
        let configured = self.decide(|snapshot, context| snapshot.configure(&states, &policy, context.now));
        configured.expect("no two hosts of one id");
        self.snapshot.policy = policy;
    }

    /// The group's source offers these.
    pub(super) fn offer(&mut self, id: &str, files: &[Found]) {
        let supply = Supply {
            source: SourceId::new(id),
            group: group(id),
            is_queued: true,
            spread: crate::group::Spread::Any,
            priority: 0,
        };
        self.supply(&supply, files);
    }

    pub(super) fn supply(&mut self, supply: &Supply, files: &[Found]) {
        self.look(supply, files, &Looks::agreed(files));
    }

    /// One of several looks at a source.
    pub(super) fn look(&mut self, supply: &Supply, files: &[Found], looks: &Looks) -> Synced {
        let mut synced = self.decide(|snapshot, context| snapshot.sync_source(supply, files, looks, context));
        if !synced.wants_past.is_empty() {
            // As the store tells it when it is asked.
            let is_over = |run: &&Run| {
                let job = self.snapshot.jobs.iter().find(|job| job.id == run.job).expect("its job");
                let is_last = |run: &Run| {
                    let later = |other: &Run| other.job == run.job && other.attempt > run.attempt;
                    job.state == JobState::Done && !self.snapshot.runs.iter().any(later)
                };
                let says = |verdict| verdict != Verdict::Errored || is_last(run);
                run.verdict.is_some_and(says) && job.state.is_final()
            };
            let mut past: BTreeMap<WorkloadId, BTreeSet<HostId>> = BTreeMap::new();
            for workload in &synced.wants_past {
                let of_it = self.snapshot.runs.iter().filter(|run| run.workload == *workload);
                past.insert(*workload, of_it.filter(is_over).map(|run| run.host).collect());
            }
            synced = self.decide(|snapshot, context| {
                Snapshot { past, ..snapshot }.sync_source(supply, files, looks, context)
            });
            assert!(synced.wants_past.is_empty());
        }
        synced
    }

    /// The same, by name alone.
    pub(super) fn offer_names(&mut self, id: &str, names: &[&str]) {
        let files: Vec<Found> = names.iter().map(|name| file(name, 1000)).collect();
        self.offer(id, &files);
    }

    pub(super) fn switch(&mut self, id: &str, switch: Switch) -> Result<(), NotDone> {
        self.decide(|snapshot, context| snapshot.switch_group(&group(id), switch, None, context.now))
    }

    /// A host asks with `HEAD` by this name, and gets the job of this name.
    pub(super) fn given(&mut self, name: &str) -> Option<String> {
        match self.offer_to(name) {
            Offer::Image { run, .. } => Some(self.name_of(run)),
            _ => None,
        }
    }

    pub(super) fn offer_to(&mut self, name: &str) -> Offer {
        let (who, unreadable) = (named(name), self.unreadable.clone());
        self.decide(|snapshot, context| snapshot.ask(&who, Ask::Head, &unreadable, context))
    }

    /// What it was told that there is no work for.
    pub(super) fn idle(&mut self, name: &str) -> Idle {
        match self.offer_to(name) {
            Offer::Idle(idle) => idle,
            offer => panic!("{offer:?}"),
        }
    }

    pub(super) fn host(&self, name: &str) -> &Host {
        let name = name.parse().expect("a name");
        self.snapshot.hosts.iter().find(|host| host.name.as_ref() == Some(&name)).expect("a host")
    }

    pub(super) fn edit_host(&mut self, name: &str, edit: &HostEdit) -> Result<(), NotDone> {
        let host = self.host(name).id;
        self.decide(|snapshot, context| snapshot.edit_host(host, edit, None, None, context.now))
    }

    pub(super) fn label(&mut self, name: &str, labels: &[&str]) {
        let labels = Some(labels.iter().map(|label| (*label).to_owned()).collect());
        self.edit_host(name, &HostEdit { labels, ..HostEdit::default() }).expect("a host");
    }

    /// The run on a host ends without a word.
    pub(super) fn lose(&mut self, name: &str) {
        let host = self.host(name).id;
        let run = self.snapshot.runs.iter().find(|run| run.host == host && !run.state.is_final());
        let run = run.expect("a run").id;
        self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now));
        let event = RunEvent::Ended { transfer: 1, sent: 1000, count: 1000, end: End::Whole };
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        self.pass(100_000);
        self.tick();
    }

    /// The run on a host passes.
    pub(super) fn finish(&mut self, name: &str) {
        let host = self.host(name).id;
        let run = self.snapshot.runs.iter().find(|run| run.host == host && !run.state.is_final());
        let run = run.expect("a run").id;
        self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now));
        let event = RunEvent::Ended { transfer: 1, sent: 1000, count: 1000, end: End::Whole };
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        let report = NewReport {
            digest: run.to_string(),
            title: "good".into(),
            json: "{}".into(),
            verdict: Verdict::Passed,
        };
        let who = named(name);
        self.decide(|snapshot, context| {
            snapshot.report(&who, &Told::default(), Some(run), report.clone(), context)
        })
        .expect("a report");
        self.pass(130);
        self.tick();
    }
}

/// Who asks by this name.
pub(super) fn named(name: &str) -> Sighting {
    let last = name.bytes().fold(0_u8, u8::wrapping_add);
    Sighting { address: [192, 0, 2, last].into(), mac: None, name: Some(name.parse().expect("a name")) }
}

#[test]
fn a_host_gets_work_of_the_groups_whose_labels_it_carries_all() {
    let mut queue = Model::service(vec![metal("gpu", &["gpu", "x86"]), metal("any", &[])]);
    queue.offer_names("gpu", &["g"]);
    queue.offer_names("any", &["a", "b"]);
    assert_eq!(queue.given("r1").as_deref(), Some("a"), "it carries nothing");
    queue.finish("r1");
    queue.label("r1", &["GPU", "x86", "more"]);
    assert_eq!(queue.given("r1").as_deref(), Some("g"), "the case of labels is no difference");
    assert_eq!(queue.given("r2").as_deref(), Some("b"));
    assert_eq!(queue.given("r3"), None);
}

#[test]
fn no_more_runs_of_a_group_go_on_than_it_may_have() {
    let mut queue = Model::service(vec![
        Group { max_concurrent: Some(2), ..metal("few", &[]) },
        Group { max_concurrent: Some(0), ..metal("none", &[]) },
    ]);
    queue.offer_names("few", &["a", "b", "c"]);
    queue.offer_names("none", &["n"]);
    assert!(queue.given("r1").is_some() && queue.given("r2").is_some());
    assert_eq!(queue.given("r3"), None);
    queue.finish("r1");
    assert_eq!(queue.given("r3").as_deref(), Some("c"));
}

#[test]
fn while_nothing_is_dispatched_jobs_are_taken_and_runs_go_on() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a", "b"]);
    assert!(queue.given("r1").is_some());
    queue.snapshot.policy.is_dispatching = false;
    assert_eq!(queue.given("r2"), None);
    queue.finish("r1");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
    queue.snapshot.policy.is_dispatching = true;
    assert_eq!(queue.given("r2").as_deref(), Some("b"));
}

#[test]
fn a_paused_group_starts_nothing_takes_jobs_and_lets_its_runs_go_on() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    assert!(queue.given("r1").is_some());
    queue.switch("g", Switch::Paused).expect("a group");
    queue.offer_names("g", &["a", "b"]);
    assert_eq!(queue.job("b").state, JobState::Queued);
    assert_eq!(queue.given("r2"), None);
    queue.finish("r1");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
    queue.switch("g", Switch::Open).expect("a group");
    assert_eq!(queue.given("r2").as_deref(), Some("b"));
}
