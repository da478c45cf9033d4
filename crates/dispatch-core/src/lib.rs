//! The rules of the queue, as pure functions: no IO, no clock, no randomness, no async.
//!
//! * [`run::decide`] is the state machine of one run: state × event → next state.
//! * [`queue::Snapshot`] holds the rules that span jobs, runs and hosts: which job a host gets, what becomes
//!   of a job when its run ends, what an idle host is told. Its methods return an [`queue::Outcome`]: the
//!   answer, and the [`queue::Change`]s that the store commits in one transaction.
//! * [`verdict`] judges reports and puts verdicts in order.
//! * [`issue`] makes an issue of a report, and says what is to be asked of GitHub so that it is filed exactly once.
//!
//! Everything above this crate only loads a snapshot, asks, and carries out what it is told.

pub mod asset;
pub mod event;
pub mod fetch;
pub mod group;
pub mod host;
pub mod id;
pub mod issue;
pub mod mac;
pub mod queue;
pub mod run;
pub mod text;
pub mod verdict;
pub mod workload;

pub use event::{Effect, Event, Happening};
pub use group::{Group, GroupId, GroupKind, GroupState, HostKey, Spread, Template, TemplateId, UnknownHosts};
pub use host::{Host, HostName, HostPattern, Sighting, Told};
pub use id::{HostId, JobId, ReportId, RunId, RunName, WorkloadId};
pub use mac::Mac;
pub use queue::{Change, Job, JobState, Outcome, Snapshot};
pub use run::{Deadlines, Policy, Run, RunState};
pub use verdict::Verdict;
pub use workload::{Arch, Digest, Kind, SourceId, Terms, Workflow, Workload};
