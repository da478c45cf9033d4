//! Templates: definitions of jobs that are used again and again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a template is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceType {
    /// In the configuration itself.
    Inline,
    /// In a file beside it.
    File,
    /// Behind a URL.
    Url,
}

/// A definition of jobs that is used again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Its id, unique over all groups.
    pub id: String,
    /// The group whose queue its jobs are for.
    pub group_id: String,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<String>,
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
    /// Of an image: the name of the workload, of which the newest that the group's sources offer is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub workload: Option<String>,
    /// What its jobs are given, unless they say otherwise.
    pub default_inputs: BTreeMap<String, String>,
    /// What its jobs are called by, for filters.
    pub labels: BTreeMap<String, String>,
    /// Labels that its jobs' hosts must carry.
    pub required_labels: Vec<String>,
    /// How its jobs spread over hosts: `any`, `each-host` or `each:LABEL`.
    pub spread: String,
    /// The priority of its jobs.
    pub priority: i64,
    /// How many more attempts its jobs get after the first one errored, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retries: Option<u32>,
    /// It is in the configuration. One that is not starts nothing.
    pub in_config: bool,
    /// Where it is written.
    pub source_type: SourceType,
    /// In which file, or behind which URL; empty where it is in the configuration itself.
    pub source_path: String,
    /// When it was first in the configuration.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
}
