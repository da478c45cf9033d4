//! A service with two groups, and what it has done so far: written into the store as decisions write it.

use std::sync::Arc;
use std::time::Duration;

use dispatch_core::group::ListedHost;
use dispatch_core::queue::{Change, Lease, NewReport, Report};
use dispatch_core::run::{Policy, Transfer};
use dispatch_core::{
    Group, GroupId, GroupKind, Host, HostId, Job, JobId, JobState, Outcome, ReportId, Run, RunId, RunState,
    SourceId, Terms, UnknownHosts, Verdict, Workload, WorkloadId,
};
use dispatch_server::clock::Clock as _;
use dispatch_store::Focus;
use dispatch_wire::api::Role;
use jiff::Timestamp;

use crate::world::{Client, World};

/// A service with the group `epyc`, which takes hosts with the label `epyc`, and the group `any`.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) reader: Client,
    pub(crate) operator: Client,
    count: u8,
}

/// A host that is listed, and has not asked.
pub(crate) fn rack_nine() -> ListedHost {
    ListedHost {
        key: "r9".parse().expect("an id"),
        name: Some("rack 9".to_owned()),
        macs: vec!["52:54:00:00:00:99".parse().expect("a MAC")],
        uuid: None,
        boot_name: None,
        labels: vec!["epyc".to_owned(), "rack:9".to_owned()],
    }
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let world = World::new().await;
        let group = |id: &str, labels: &[&str]| Group {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            sources: vec![SourceId::new("dir")],
            ..Group::new(id.parse().expect("an id"), GroupKind::Metal)
        };
        let policy = Policy {
            groups: Some(Arc::new([group("epyc", &["epyc"]), group("any", &[])])),
            listed: Arc::new([rack_nine()]),
            unknown_hosts: UnknownHosts::Enroll,
            ..Policy::default()
        };
        world.api.engine().set_policy(Arc::new(policy));
        Self::over(world).await
    }

    /// The same over any service.
    pub(crate) async fn over(world: World) -> Self {
        let (reader, operator) = (world.client(Role::Readonly).await, world.client(Role::Operator).await);
        Self { world, reader, operator, count: 0 }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    pub(crate) async fn commit(&self, changes: Vec<Change>) {
        let policy = self.world.api.engine().policy();
        let decided = self
            .world
            .store
            .decide(Focus::default(), &policy, |_| Outcome { answer: (), changes: changes.clone() });
        decided.await.expect("committed");
    }

    fn random(&mut self) -> [u8; 10] {
        self.count += 1;
        [self.count; 10]
    }

    /// A host that has asked from 192.0.2.`number`.
    pub(crate) async fn host(&mut self, number: u8) -> Host {
        let (now, random) = (self.now(), self.random());
        let host = Host {
            macs: vec![dispatch_core::Mac([0x52, 0x54, 0, 0, 0, number])],
            ..Host::new(HostId::new(now, random), [192, 0, 2, number].into(), now)
        };
        self.commit(vec![Change::Host(host.clone())]).await;
        host
    }

    /// A workload that a source of a group offers.
    pub(crate) async fn workload(&mut self, group: &str, name: &str) -> Workload {
        let (now, random) = (self.now(), self.random());
        let group: GroupId = group.parse().expect("an id");
        let workload = Workload {
            id: WorkloadId::new(now, random),
            name: name.to_owned(),
            kind: dispatch_core::Kind::Efi,
            size: 1000,
            modified: now,
            digest: None,
            origin: None,
            made_for: None,
            terms: Terms::default(),
            source: SourceId::new("dir"),
            group,
            is_offered: true,
            queued_for: std::collections::BTreeSet::new(),
            first_seen: now,
            workflow: None,
        };
        self.commit(vec![Change::Workload(workload.clone())]).await;
        workload
    }

    /// A job of the workload that has run on the host for a minute, and is over, or still runs if it has no verdict.
    pub(crate) async fn ran(
        &mut self,
        workload: &Workload,
        host: &Host,
        verdict: Option<Verdict>,
        labels: &[(&str, &str)],
    ) -> (Job, Run) {
        let (begun, random, of_run) = (self.now(), self.random(), self.random());
        self.world.clock.pass(Duration::from_mins(1));
        let ended = self.now();
        let state = if verdict.is_some() { JobState::Done } else { JobState::Active };
        let pairs = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let job = Job {
            state,
            verdict,
            since: ended,
            labels: pairs.collect(),
            ..Job::new(JobId::new(begun, random), workload.group.clone(), &workload.name, workload.id, begun)
        };
        let run = Run {
            id: RunId::new(begun, of_run),
            job: job.id,
            host: host.id,
            workload: workload.id,
            epoch: u64::from(self.count),
            attempt: 1,
            state: if verdict.is_some() { RunState::Finished } else { RunState::Booting },
            verdict,
            reason: None,
            created: begun,
            since: ended,
            deadline: None,
            size: 1000,
            transfer: Transfer::Whole,
            transfers: 1,
            sent: 1000,
            most_sent: 1000,
            broken: 0,
            wholes: 1,
            reboots: 0,
            reboots_allowed: 0,
            booted_at: Some(begun),
            is_disputed: false,
            reports: u32::from(verdict.is_some()),
        };
        let lease = Lease { host: host.id, run: run.id, epoch: run.epoch, until: ended };
        let event = dispatch_core::Event {
            at: begun,
            group: Some(workload.group.clone()),
            job: Some((&job).into()),
            run: Some((&run).into()),
            host: Some(host.into()),
            by: None,
            what: dispatch_core::Happening::Assigned { attempt: 1 },
        };
        let mut changes = vec![
            Change::Job(job.clone()),
            Change::Lease(lease),
            Change::Run(run.clone()),
            Change::Event(Box::new(event)),
        ];
        if let Some(verdict) = verdict {
            changes.push(Change::Release(lease));
            let content = NewReport {
                digest: run.id.to_string(),
                title: "it ran".to_owned(),
                json: "{\"title\":\"it ran\",\"body\":\"# all\\nof it\"}".to_owned(),
                verdict,
            };
            let id = ReportId::new(begun, random);
            changes.push(Change::Report(Report { id, run: run.id, at: ended, late: false, content }));
        }
        self.commit(changes).await;
        (job, run)
    }
}
