//! Reports: what workloads say of themselves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::Verdict;

/// A report in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportLine {
    /// Its identifier.
    pub id: String,
    /// The name of its run.
    pub run_id: String,
    /// The run's job.
    pub job_id: String,
    /// The run's host.
    pub host_id: String,
    /// The run's group.
    pub group_id: String,
    /// Its title.
    pub title: String,
    /// Its verdict, given or judged.
    pub verdict: Verdict,
    /// The run was over when it came.
    pub late: bool,
    /// The issue that it was filed as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub issue_url: Option<String>,
    /// When it came.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// What a list shows of it.
    pub report: ReportLine,
    /// Its text, as Markdown.
    pub body: String,
    /// All of it, as it came.
    #[schema(value_type = Object, additional_properties = true)]
    pub content: serde_json::Value,
}
