//! What a decision is about, so that no more is loaded than it needs.

use dispatch_core::queue::{Absent, Found};
use dispatch_core::{GroupId, HostId, JobId, Mac, RunId, Sighting, SourceId, WorkloadId};
use jiff::Timestamp;

/// What a decision is about, so that no more is loaded than it needs.
#[derive(Clone, Debug, Default)]
pub struct Focus {
    /// The host that asks.
    pub who: Option<Sighting>,
    /// The network cards that a host tells: whoever was seen with one of them is concerned.
    pub cards: Vec<Mac>,
    /// A host that is named.
    pub host: Option<HostId>,
    /// A run that is named.
    pub run: Option<RunId>,
    /// Jobs that are named.
    pub jobs: Vec<JobId>,
    /// Workloads that are named.
    pub workloads: Vec<WorkloadId>,
    /// Jobs that are not over and have one of these dedupe keys.
    pub dedupe: Vec<(GroupId, String)>,
    /// The jobs around a place in a queue.
    pub near: Option<Near>,
    /// What a source was found to offer: with [`Scope::Source`], which of its versions are known of that.
    pub found: Vec<Found>,
    /// Workloads of which it is to be known on which hosts they have come out.
    pub past_of: Vec<WorkloadId>,
    /// The end of this group's queue, and the workloads that its sources offer.
    pub group: Option<GroupId>,
    /// What is known not to be ready for the host that asks: with [`Scope::Candidates`], others are looked for.
    pub leave_out: Absent,
    /// When it asks: with [`Scope::Candidates`], what is due by then is looked for.
    pub now: Timestamp,
    /// All hosts.
    pub all_hosts: bool,
    /// All jobs of the latest round, and of each name the newest, and not only what is not over.
    pub last_round: bool,
    /// Which of the jobs that are not over.
    pub scope: Scope,
}

/// Which of the jobs that are not over a decision needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All.
    #[default]
    Open,
    /// Those that run, and those that are named.
    Active,
    /// Those that run, those that are named, and all of this group; of those that wait without what was tried of them.
    Group(GroupId),
    /// Those that run in the groups of the host that asks, or on it, those that are named, and the first of those that it
    /// might be given.
    Candidates,
    /// Those that run, and those that wait with a workload of this source or left the queue with what is found; with its
    /// workloads that are offered, that wait, or that are found. What else it ever had is not looked at.
    Source(SourceId),
    /// Those that run, and those with one of these workloads, in the order in which they came.
    Workloads(Vec<WorkloadId>),
    /// Those that run, and of those that wait for an image which is fetched the first one for each workload and each reason
    /// that they give: enough to see which images are needed, and what is said of them.
    Images,
}

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// At its beginning.
    First(GroupId),
    /// At its end.
    Last(GroupId),
    /// Beside this job.
    Job(JobId),
}

impl Focus {
    /// About the host that asks.
    #[must_use]
    pub fn host(who: &Sighting) -> Self {
        Self { who: Some(who.clone()), ..Self::default() }
    }

    /// About how a session begins or ends.
    #[must_use]
    pub fn last_round() -> Self {
        Self { last_round: true, ..Self::default() }
    }

    /// About one job.
    #[must_use]
    pub fn job(job: JobId) -> Self {
        Self { jobs: vec![job], ..Self::default() }
    }

    /// About one run.
    #[must_use]
    pub fn run(run: RunId) -> Self {
        Self { run: Some(run), ..Self::default() }
    }

    /// The same, with no more of the jobs that are not over.
    #[must_use]
    pub fn within(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
}
