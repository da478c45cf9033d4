//! What became of jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::{Named, Verdict};

/// How a job that is over is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PastStatus {
    /// It reported, and nothing bad.
    Completed,
    /// What it tested is bad, or it came to nothing.
    Failed,
    /// Somebody took it out.
    Cancelled,
}

/// A job that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastJob {
    /// Its identifier.
    pub id: String,
    /// Its group.
    pub group_id: String,
    /// The template that it was made from; empty where it was not.
    pub template_id: String,
    /// What people call it.
    pub name: String,
    /// How it is counted.
    pub status: PastStatus,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// What happened in its attempts, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// Its priority.
    pub priority: i64,
    /// What it was given.
    pub inputs: BTreeMap<String, String>,
    /// What people call it by.
    pub labels: BTreeMap<String, String>,
    /// Who made it; empty where its source did.
    pub created_by: String,
    /// How often it was tried.
    pub attempts: u64,
    /// The name of its last run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub run_id: Option<String>,
    /// Where it ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub host: Option<Named>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its first run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub triggered_at: Option<String>,
    /// When it was over.
    #[schema(format = DateTime)]
    pub completed_at: String,
    /// How long it waited for its first run, in seconds, from when it could start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waiting_seconds: Option<f64>,
    /// How long its last run took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub running_seconds: Option<f64>,
}

/// A page of a group's history, the latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// What is on this page.
    pub items: Vec<PastJob>,
    /// What to give as `cursor`, or as `before`, to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
    /// How many jobs the history has, with these filters.
    pub total_count: u64,
}

/// Over which time statistics are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum StatsRange {
    /// An hour, in parts of five minutes.
    #[serde(rename = "1h")]
    Hour,
    /// Six hours, in parts of half an hour.
    #[serde(rename = "6h")]
    SixHours,
    /// A day, in hours.
    #[serde(rename = "24h")]
    Day,
    /// A week, in parts of six hours.
    #[serde(rename = "7d")]
    Week,
    /// Thirty days, each a part.
    #[serde(rename = "30d")]
    Month,
    /// The shortest that shows all there is, or the longest.
    #[default]
    #[serde(rename = "auto")]
    Auto,
}

/// How many ended how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsTotals {
    /// Those that completed.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
}

/// A part of the range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsBucket {
    /// When it begins.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Jobs that completed in it.
    pub completed: u64,
    /// Jobs that failed in it.
    pub failed: u64,
    /// Jobs that were cancelled in it.
    pub cancelled: u64,
}

/// How many came out how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsVerdicts {
    /// What they tested is good.
    pub passed: u64,
    /// What they tested is bad.
    pub failed: u64,
    /// Our side or the lab is bad.
    pub errored: u64,
    /// They said neither.
    pub unjudged: u64,
}

/// How long something took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsTimes {
    /// Of how many jobs.
    pub count: u64,
    /// Half of them took no longer, in seconds.
    pub median_seconds: f64,
    /// 95 of a hundred took no longer, in seconds.
    pub p95_seconds: f64,
}

/// What became of the jobs of a group over some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryStats {
    /// Over which time.
    pub range: String,
    /// Each part of it, the oldest first.
    pub buckets: Vec<StatsBucket>,
    /// All parts together.
    pub totals: StatsTotals,
    /// Of those that were not cancelled.
    pub verdicts: StatsVerdicts,
    /// How long those waited that ran at all; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub waiting: Option<StatsTimes>,
    /// How long they ran; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub running: Option<StatsTimes>,
}

/// In which form a history is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// A JSON object in each line.
    Jsonl,
}
