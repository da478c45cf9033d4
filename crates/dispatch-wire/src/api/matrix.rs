//! Which workload came out how on which host.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::run::{RunState, Verdict};

/// A column: a host, or all hosts with one value of a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatrixColumn {
    /// What to give as `host` to run a cell again: the id of a host, or a label.
    pub id: String,
    /// What people read above it.
    pub title: String,
}

/// The latest run of a workload in a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatrixCell {
    /// The column, by its place from 0.
    pub column: u64,
    /// The name of the run.
    pub run_id: String,
    /// Where it stands.
    pub state: RunState,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// When it entered its state.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatrixRow {
    /// Which.
    pub workload_id: String,
    /// Its name.
    pub name: String,
    /// The columns in which it ran.
    pub cells: Vec<MatrixCell>,
}

/// Which workload came out how on which host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Matrix {
    /// From left to right.
    pub columns: Vec<MatrixColumn>,
    /// From top to bottom.
    pub rows: Vec<MatrixRow>,
    /// There are more workloads or hosts than are shown.
    pub truncated: bool,
}

/// In which form the table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MatrixFormat {
    /// JSON.
    Json,
    /// A table of Markdown.
    Markdown,
}

/// Run a cell again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerunCell {
    /// Which workload.
    #[schema(format = "uuid")]
    pub workload_id: String,
    /// Where: the `id` of a column.
    pub host: String,
}

/// A job that was queued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rerun {
    /// Its identifier.
    pub id: String,
}
