//! Groups: pools of targets with a queue of their own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a group's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Bare-metal servers.
    Metal,
    /// Self-hosted runners of GitHub Actions.
    Actions,
    /// Sandboxes.
    Sandbox,
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It has not been looked at since the service started, or since it came into the configuration.
    Waiting,
    /// What it offers is known.
    Ok,
    /// It could not be looked at, or not at all of it: what was known of it before holds.
    Trouble,
}

/// A source of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupSource {
    /// Its id in the configuration.
    pub name: String,
    /// How it is.
    pub state: SourceState,
    /// Since when it is so; absent before the first look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub since: Option<String>,
    /// What the trouble is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub message: Option<String>,
    /// When it was last looked at, whatever came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    pub last_look_at: Option<String>,
}

/// A pool of targets with a queue of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its id in the configuration.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// What its targets are.
    pub kind: GroupKind,
    /// Labels that its targets must carry, all of them.
    pub labels: Vec<String>,
    /// The same, of a group of runners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub runner_labels: Option<Vec<String>>,
    /// The same, of a group of servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub host_labels: Option<Vec<String>>,
    /// It is in the configuration. One that is not starts nothing.
    pub enabled: bool,
    /// Nothing of it is started.
    pub paused: bool,
    /// It takes no more jobs, and works off those that it has.
    pub draining: bool,
    /// How many of its runs may go on at once; absent where that is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub max_concurrent: Option<u32>,
    /// Grows with each change: its `ETag`.
    #[schema(minimum = 1)]
    pub version: u64,
    /// When it was first in the configuration.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// How many of its jobs wait.
    pub queued_jobs: u64,
    /// How many of its jobs have a run that goes on.
    pub running_jobs: u64,
    /// How many of its targets could take a job at once.
    pub idle_runners: u64,
    /// How many of its targets are held for a run.
    pub busy_runners: u64,
    /// How many targets it has.
    pub total_runners: u64,
    /// How many templates it has.
    pub template_count: u64,
    /// Where its workloads come from, in the order of the configuration.
    pub sources: Vec<GroupSource>,
}
