//! One entry in a queue.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::group::{GroupId, TemplateId};
use crate::id::{JobId, WorkloadId};
use crate::verdict::Verdict;
use crate::workload::{SourceId, UnknownWord};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for a host.
    Queued,
    /// A run of it is going on.
    Active,
    /// It is over and has a verdict.
    Done,
    /// It left the queue without one.
    Cancelled,
}

impl JobState {
    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Active => "active",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Queued, Self::Active, Self::Done, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// One entry in the queue of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "people switch each of them by itself")]
pub struct Job {
    /// Its identity.
    pub id: JobId,
    /// Grows with each change: whoever changes a job may say which version of it they have seen.
    pub version: u64,
    /// The group whose queue it is in.
    pub group: GroupId,
    /// The name of its workload.
    pub name: String,
    /// What it runs.
    pub workload: WorkloadId,
    /// Higher goes first.
    pub priority: i64,
    /// Among equal priorities, lower goes first.
    pub position: i64,
    /// Where it stands.
    pub state: JobState,
    /// How it came out.
    pub verdict: Option<Verdict>,
    /// What happened in its attempts, where that needs saying.
    pub reason: Option<String>,
    /// Why it cannot run at the moment, where it could otherwise.
    pub waits: Option<String>,
    /// When it entered its state.
    pub since: Timestamp,
    /// The round that it belongs to.
    pub round: u32,
    /// How many attempts it had when it was last asked for again: these no longer count.
    pub forgiven: u32,
    /// It left the queue because its file is no longer offered, and comes back with it.
    pub is_withdrawn: bool,
    /// A person has asked for it again since its workload was last seen to be offered: it waits, whatever the source says.
    pub is_asked: bool,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it; nobody where its source did.
    pub created_by: Option<String>,
    /// The source that queued it, if one did.
    pub source: Option<SourceId>,
    /// The template that it was made from.
    pub template: Option<TemplateId>,
    /// What its workload is given.
    pub inputs: BTreeMap<String, String>,
    /// What people call it by, for filters; no host needs to have it.
    pub labels: BTreeMap<String, String>,
    /// Labels that its host must carry, beside those of its group and its workload.
    pub required_labels: Vec<String>,
    /// The label that it was spread to: one of the required ones.
    pub pin: Option<String>,
    /// It does not start before.
    pub not_before: Option<Timestamp>,
    /// While it is not over, no other job of its group has the same.
    pub dedupe_key: Option<String>,
    /// How many more attempts it gets after its first one errored, if that differs.
    pub retries: Option<u32>,
    /// It is not to start until a person says so.
    pub is_paused: bool,
    /// When it is over, another one like it is queued.
    pub auto_requeue: bool,
    /// How often that happens; nothing means for ever.
    pub requeue_limit: Option<u32>,
    /// How often it has happened in the line of jobs that this one comes from.
    pub requeue_count: u32,
    /// How many of the jobs before it in that line errored, one after the other.
    pub errors_in_row: u32,
    /// A person has taken it out of sight. What it ran stays known.
    pub is_deleted: bool,
}

impl Job {
    /// A job that has just been queued, with nothing that differs from the usual.
    #[must_use]
    pub fn new(id: JobId, group: GroupId, name: &str, workload: WorkloadId, now: Timestamp) -> Self {
        Self {
            id,
            version: 1,
            group,
            name: name.to_owned(),
            workload,
            priority: 0,
            position: 0,
            state: JobState::Queued,
            verdict: None,
            reason: None,
            waits: None,
            since: now,
            round: 1,
            forgiven: 0,
            is_withdrawn: false,
            is_asked: false,
            created: now,
            created_by: None,
            source: None,
            template: None,
            inputs: BTreeMap::new(),
            labels: BTreeMap::new(),
            required_labels: Vec::new(),
            pin: None,
            not_before: None,
            dedupe_key: None,
            retries: None,
            is_paused: false,
            auto_requeue: false,
            requeue_limit: None,
            requeue_count: 0,
            errors_in_row: 0,
            is_deleted: false,
        }
    }

    /// Its place in the queue of its group: lower goes first.
    #[must_use]
    pub fn rank(&self) -> (std::cmp::Reverse<i64>, i64, JobId) {
        (std::cmp::Reverse(self.priority), self.position, self.id)
    }
}
