//! How the service itself is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// All is well.
    Healthy,
    /// It works, and something is wrong.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// The process is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `healthy`: whoever cannot say that does not answer.
    pub status: Standing,
    /// The program's version.
    pub version: String,
}

/// The service can work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Always `healthy`: otherwise the answer is a problem.
    pub status: Standing,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The worst of its parts.
    pub status: Standing,
    /// What is wrong, a sentence each.
    pub reasons: Vec<String>,
    /// The database.
    pub database: DatabaseStatus,
    /// What each group has that is not over.
    pub queue: Vec<QueueStatus>,
    /// The hosts.
    pub hosts: HostsStatus,
    /// What is still to be done outside, such as issues to be filed.
    pub outbox: OutboxStatus,
    /// The place of the newest event in the log; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_event: Option<i64>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub last_event_at: Option<String>,
    /// The program.
    pub version: Version,
}

/// What a group has that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// Which group.
    pub group_id: String,
    /// Jobs that wait.
    pub pending: u64,
    /// Jobs that were started, and nothing has come of it yet.
    pub triggered: u64,
    /// Jobs that run.
    pub running: u64,
}

/// How many hosts there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostsStatus {
    /// Those that have a run, or ask for work.
    pub online: u64,
    /// Those that have a run.
    pub busy: u64,
}

/// What is still to be done outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutboxStatus {
    /// How much.
    pub waiting: u64,
    /// How much of that was tried, and did not work yet.
    pub failing: u64,
    /// Since when the oldest waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub oldest: Option<String>,
}

/// How the database is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseStatus {
    /// `unhealthy` where it does not answer, `degraded` where it is slow.
    pub status: Standing,
    /// How long it took to answer, in milliseconds.
    #[schema(minimum = 0)]
    pub latency: f64,
}

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The program's version.
    pub version: String,
    /// The version of the API.
    pub api: String,
}
