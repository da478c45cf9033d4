//! Jobs: entries in the queues of groups. What is asked for them is in [`wish`].

pub mod wish;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::{Named, RunState, Verdict};

pub use wish::{
    BulkAction, BulkJobs, EditJob, JobList, MoveJob, NewJob, NewJobs, RequeueJob, VersionOnly, WishedWorkflow,
};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// ⏳ It waits.
    Queued,
    /// 📌 A target was given to it, and has not begun.
    Assigned,
    /// 📥 The image is on its way.
    Downloading,
    /// ⚡ The image is up.
    Booting,
    /// ▶ An agent in it has begun with its stages.
    Running,
    /// 📝 At least one report is stored; more may follow.
    Reported,
    /// 🏁 It is over, and reported, whatever it said: the verdict is a member of its own.
    Finished,
    /// ❌ It is over, and never reported.
    Failed,
    /// 🚫 It was ended before it could say anything.
    Cancelled,
    /// ✋ It is over, and its target is kept for a person.
    Held,
}

/// Where a job stands, in the six words of other queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits.
    Pending,
    /// It was started, and nothing has come of it yet: `assigned`, `booting`.
    Triggered,
    /// It runs: `downloading`, `running`, `reported`.
    Running,
    /// It is over, and nothing was found to be wrong.
    Completed,
    /// It is over, and something was wrong, with what it ran or with us.
    Failed,
    /// It was taken out.
    Cancelled,
}

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobWorkload {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub digest: Option<String>,
}

/// An attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// The name of its run.
    pub run_id: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// What happened, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Where it runs, or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub host: Option<Named>,
    /// How many reports it has sent.
    pub reports: u32,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it entered its state.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// An entry in the queue of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its identity.
    pub id: String,
    /// The group whose queue it is in.
    pub group_id: String,
    /// The template that it was made from; empty where it was made by hand or by a source.
    pub template_id: String,
    /// What people call it.
    pub name: String,
    /// Higher goes first.
    pub priority: i64,
    /// Among equal priorities, lower goes first.
    pub position: i64,
    /// Where it stands.
    pub state: JobState,
    /// The same in the words of other queues.
    pub status: JobStatus,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// What happened in its attempts, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Why it does not run, in one sentence, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waits: Option<String>,
    /// It does not start until a person says so.
    pub paused: bool,
    /// When it is over, another one like it is queued.
    pub auto_requeue: bool,
    /// How often that happens; absent means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub requeue_limit: Option<u32>,
    /// How often that has happened in the line of jobs that this one comes from.
    pub requeue_count: u32,
    /// What it is given.
    pub inputs: BTreeMap<String, String>,
    /// What people call it by, for filters.
    pub labels: BTreeMap<String, String>,
    /// Labels that its host must carry, beside those of its group and its workload.
    pub required_labels: Vec<String>,
    /// The label that it was spread to: one of the required ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pin: Option<String>,
    /// It does not start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub not_before: Option<String>,
    /// While it is not over, no other job of its group has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub dedupe_key: Option<String>,
    /// How many more attempts it gets after its first one errored, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retries: Option<u32>,
    /// Who made it; empty where its source did.
    pub created_by: String,
    /// The source that queued it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub source: Option<String>,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub workload: Option<JobWorkload>,
    /// Where it runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub host: Option<Named>,
    /// The identity of that host, under the name that other queues have for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub runner_id: Option<String>,
    /// How people see that host; empty where there is none.
    pub runner_name: String,
    /// The name of its latest run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub run_id: Option<String>,
    /// Where that run can be looked at; empty where there is none.
    pub run_url: String,
    /// Of a workflow: whose repository it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub owner: Option<String>,
    /// In which of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub repo: Option<String>,
    /// Its file name there, or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub workflow_id: Option<String>,
    /// The branch or tag that it is run on.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub git_ref: Option<String>,
    /// What went wrong; empty where nothing did.
    pub error_message: String,
    /// Grows with each change: its `ETag`.
    #[schema(minimum = 1)]
    pub version: u64,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed, or something last happened to it.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// When its first run was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub triggered_at: Option<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub completed_at: Option<String>,
    /// Its runs, the first one first; only where one job is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub runs: Option<Vec<Attempt>>,
    /// All jobs that one wish has become, this one first; only in the answer to that wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, no_recursion)]
    pub jobs: Option<Vec<Job>>,
}

/// What became of many wishes for new jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManyMade {
    /// All of them, in the order of the wishes.
    pub jobs: Vec<Job>,
}

/// What a new order came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reordered {
    /// How many jobs have another place now.
    pub moved: u64,
    /// Those of the list that do not wait any more: they keep the place that they had.
    pub left: Vec<String>,
}

/// What became of one job of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkOutcome {
    /// Which.
    pub id: String,
    /// It was done.
    pub done: bool,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub why: Option<String>,
}

/// What became of many jobs, each by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BulkDone {
    /// In the order of the request.
    pub outcomes: Vec<BulkOutcome>,
}
