//! What may change while an engine runs: its settings and its sources; and what a decision needs by them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use dispatch_core::queue::Absent;
use dispatch_core::run::Policy;
use dispatch_core::{RunId, Sighting, SourceId, Workload};
use dispatch_store::{Focus, Scope};

use super::Engine;
use crate::fetch::Images;
use crate::source::Source;

impl Engine {
    /// The settings as they are now.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.borrow())
    }

    /// From now on these are the settings. What is being decided is decided by those before.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        self.policy.send_replace(policy);
    }

    /// From now on these are the sources.
    pub fn set_sources(&self, sources: BTreeMap<SourceId, Arc<Source>>) {
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

    pub(crate) fn about_run(&self, run: RunId) -> Focus {
        Focus::run(run).within(self.at_work())
    }
}
