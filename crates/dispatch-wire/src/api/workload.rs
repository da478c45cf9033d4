//! Workloads: what can be run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::Verdict;

/// One version of something that can be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workload {
    /// Its identifier.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The group that its source belongs to.
    pub group_id: String,
    /// Where it comes from.
    pub source: String,
    /// What it is: `efi`, `iso`, `img` or `workflow`.
    pub kind: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub digest: Option<String>,
    /// The processor that it is made for, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub arch: Option<String>,
    /// One line about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
    /// Labels that its host must carry.
    pub required_labels: Vec<String>,
    /// How often it may reboot its host before it reports.
    pub reboots: u32,
    /// How many more attempts it gets after its first one errored, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retries: Option<u32>,
    /// Its source offers it, as far as is known.
    pub offered: bool,
    /// When it was last written.
    #[schema(format = DateTime)]
    pub modified_at: String,
    /// When it was first seen.
    #[schema(format = DateTime)]
    pub first_seen: String,
    /// How its last job that is done came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub last_verdict: Option<Verdict>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub last_done_at: Option<String>,
}
