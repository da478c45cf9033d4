//! What is known not to be ready for a host that asks: single images, and whole sources whose images are not even tried.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Outcome, Outlook, Snapshot, Unreadable};
use crate::host::{Sighting, recognise};
use crate::id::WorkloadId;
use crate::workload::{SourceId, Workload};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absent {
    /// These images were looked for.
    pub workloads: BTreeMap<WorkloadId, Unreadable>,
    /// Nothing of these sources can be read.
    pub sources: BTreeMap<SourceId, Unreadable>,
}

impl Absent {
    /// Nothing is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.sources.is_empty()
    }

    /// Whether an image is known not to be ready, and whether that will change.
    #[must_use]
    pub fn outlook(&self, workload: WorkloadId, source: Option<&SourceId>) -> Option<Outlook> {
        let of_source = || source.and_then(|source| self.sources.get(source));
        self.workloads.get(&workload).or_else(of_source).map(|why| why.outlook)
    }

    fn of(&self, workload: &Workload) -> Option<&Unreadable> {
        let of_source = || self.sources.get(&workload.source).filter(|_| workload.workflow.is_none());
        self.workloads.get(&workload.id).or_else(of_source)
    }
}

impl Snapshot {
    /// The workloads here that are not ready for the host that asks. What it has begun with is always looked for: a source
    /// that could not be read for a while ends no run.
    #[must_use]
    pub fn unreadable(&self, who: &Sighting, absent: &Absent) -> BTreeMap<WorkloadId, Unreadable> {
        let host = recognise(&self.hosts, who).host().map(|host| host.id);
        let begun = host.and_then(|host| self.active_run(host)).map(|run| run.workload);
        let mut unreadable = absent.workloads.clone();
        let others = self.workloads.iter().filter(|workload| Some(workload.id) != begun);
        unreadable.extend(others.filter_map(|workload| Some((workload.id, absent.of(workload)?.clone()))));
        unreadable
    }

    /// Notes with the jobs here why they wait, where nothing else comes of a request.
    #[must_use]
    pub fn note_absent(mut self, who: &Sighting, absent: &Absent, now: Timestamp) -> Outcome<()> {
        let unreadable = self.unreadable(who, absent);
        self.note_unreadable(&unreadable, now);
        self.outcome(())
    }
}
