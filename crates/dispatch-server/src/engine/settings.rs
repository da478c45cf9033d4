//! What may change while an engine runs: its settings, its sources, and what goes on; and what a decision needs by them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use dispatch_core::queue::Absent;
use dispatch_core::run::Policy;
use dispatch_core::{Outcome, RunId, Sighting, Snapshot, SourceId, Workload, WorkloadId};
use dispatch_store::{Focus, Scope, StoreError};
use jiff::Timestamp;

use super::{Engine, Live};
use crate::fetch::Images;
use crate::source::Source;

impl Engine {
    /// The settings as they are now.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// The transfers that are going on.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// How often the queues were gone through for a host that asked for work, since the start.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.cycles.load(Ordering::Relaxed)
    }

    /// From now on these are the settings. What is being decided is decided by those before.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        self.policy.send_replace(policy);
    }

    /// Puts other settings and sources into force, and with them what this decision makes of them. If it fails, or
    /// decides against it, all stays as it is. No other decision is made meanwhile: each is by the settings before, or by these.
    pub(crate) async fn change<E>(
        &self,
        policy: Policy,
        sources: BTreeMap<SourceId, Arc<Source>>,
        mut decision: impl FnMut(Snapshot, &Policy, Timestamp) -> Outcome<Result<(), E>>,
    ) -> Result<Result<(), E>, StoreError> {
        let _turn = self.turn.write().await;
        let policy = Arc::new(policy.after(&self.policy()));
        let focus = Focus { all_hosts: true, ..Focus::default() }.within(Scope::Active);
        let decided = self
            .store
            .decide(focus, &policy, |snapshot| decision(snapshot, &policy, self.clock.now()))
            .await?;
        if decided.is_ok() {
            self.policy.send_replace(policy);
            self.set_sources(sources);
        }
        Ok(decided)
    }

    /// From now on these are the sources.
    pub(crate) fn set_sources(&self, sources: BTreeMap<SourceId, Arc<Source>>) {
        self.standings.retain(|source| sources.contains_key(source));
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = sources;
    }

    pub(super) fn source(&self, id: &SourceId) -> Option<Arc<Source>> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The images that are fetched: all sources that fetch share one cache.
    pub(super) fn images(&self) -> Option<Images> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        sources.values().find_map(|source| match &**source {
            Source::Fetched(images) => Some(images.clone()),
            Source::Directory(_) => None,
        })
    }

    /// Which of the jobs that are not over matter where a host asks: in a session all, so that it is told when none is
    /// left.
    pub(super) fn candidates(&self) -> Scope {
        if self.policy().is_service() { Scope::Candidates } else { Scope::Open }
    }

    /// A host asks, and these images are known not to be there for it.
    pub(super) fn about_asking(&self, who: &Sighting, absent: &Absent) -> Focus {
        let (leave_out, now) = (absent.clone(), self.clock.now());
        Focus { leave_out, now, ..Focus::host(who).within(self.candidates()) }
    }

    /// Which of the jobs that are not over matter where the file of a workload is another by now.
    pub(super) fn of_source(&self, workload: &Workload) -> Scope {
        if self.policy().is_service() { Scope::Source(workload.source.clone()) } else { Scope::Open }
    }

    /// Which of the jobs that are not over matter where nothing is given to anybody.
    pub(crate) fn at_work(&self) -> Scope {
        if self.policy().is_service() { Scope::Active } else { Scope::Open }
    }

    /// Which of the jobs that are not over matter where something is told of an image.
    pub(crate) fn of_image(&self, image: &[WorkloadId]) -> Focus {
        let scope = if self.policy().is_service() { Scope::Workloads(image.to_vec()) } else { Scope::Open };
        Focus::default().within(scope)
    }

    pub(crate) fn about_run(&self, run: RunId) -> Focus {
        Focus::run(run).within(self.at_work())
    }
}
