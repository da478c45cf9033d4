//! What was asked on the boot path.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request on the boot path, as often as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BootRequest {
    /// When the latest of them came.
    #[schema(format = DateTime)]
    pub at: String,
    /// How many they are.
    pub count: u32,
    /// Where they came from.
    pub address: String,
    /// The MAC that the neighbour table has for this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub mac: Option<String>,
    /// The name in the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// The host that this is, by the id under which it is accepted, paused and edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub host_id: Option<String>,
    /// Whether that host may work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub accepted: Option<bool>,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    /// The method; empty if it was no request of HTTP.
    pub method: String,
    /// What was asked for.
    pub target: String,
    /// The status that was answered.
    pub status: u16,
    /// What was answered, or why nothing was, in words.
    pub answer: String,
}

/// A runner of GitHub Actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Runner {
    /// Its number on GitHub.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// `online` or `offline`.
    pub status: String,
    /// Whether it has a job.
    pub busy: bool,
    /// Its operating system.
    pub os: String,
    /// When it was last seen online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub last_seen_at: Option<String>,
}

/// What came of looking at the runners anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Refreshed {
    /// How many runners were looked at.
    pub refreshed: u64,
    /// What that means, in words.
    pub detail: String,
}
