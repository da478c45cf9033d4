//! Workloads, and how each came out the last time.

use std::collections::HashMap;

use dispatch_core::{GroupId, Verdict, Workload, WorkloadId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use super::{Statement, by_ids, distinct};
use crate::load::{all, maybe, places};
use crate::{Store, StoreError, rows};

/// Which workloads: those that fit in every respect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Of this group.
    pub group: Option<GroupId>,
    /// Those that their source offers, or those that it does not.
    pub is_offered: Option<bool>,
    /// With this name.
    pub name: Option<String>,
}

/// The place of a workload in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadKeyset {
    /// When it was first seen, in microseconds.
    pub first_seen: i64,
    /// Which it is.
    pub id: WorkloadId,
}

impl From<&Workload> for WorkloadKeyset {
    fn from(workload: &Workload) -> Self {
        Self { first_seen: workload.first_seen.as_microsecond(), id: workload.id }
    }
}

/// How a workload came out the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// How.
    pub verdict: Verdict,
    /// When.
    pub at: Timestamp,
}

/// The latest job of each workload that is done. Each is one look at an index.
const LAST_RESULTS: &str = "SELECT jobs.workload AS workload, jobs.verdict AS verdict, jobs.since AS since \
     FROM workloads JOIN jobs ON jobs.id = (SELECT latest.id FROM jobs AS latest WHERE latest.workload = workloads.id \
     AND latest.state = 'done' AND latest.verdict IS NOT NULL ORDER BY latest.since DESC, latest.id DESC LIMIT 1) \
     WHERE workloads.id IN ({ids})";

/// The statement behind [`Store::last_results`].
#[must_use]
pub fn last_results_statement(workloads: &[WorkloadId]) -> Statement {
    let text = LAST_RESULTS.replace("{ids}", &places(workloads.len()));
    Statement { text, values: workloads.iter().map(|id| id.to_string().into()).collect() }
}

impl WorkloadFilter {
    /// The statement that lists them, the latest first.
    #[must_use]
    pub fn statement(&self, after: Option<&WorkloadKeyset>, limit: u32) -> Statement {
        let mut statement = Statement::new("SELECT * FROM workloads WHERE 1 = 1");
        statement
            .narrow(" AND grp = ?", self.group.as_ref().map(|group| group.as_str().into()))
            .narrow(" AND offered = ?", self.is_offered.map(|is_offered| i64::from(is_offered).into()))
            .narrow(" AND name = ?", self.name.as_deref().map(Into::into));
        if let Some(key) = after {
            statement
                .add(" AND (first_seen, id) < (?, ?)", [key.first_seen.into(), key.id.to_string().into()]);
        }
        statement.add(" ORDER BY first_seen DESC, id DESC LIMIT ?", [i64::from(limit).into()]);
        statement
    }
}

impl Store {
    /// A page of workloads, the latest first.
    pub async fn workloads(
        &self,
        filter: &WorkloadFilter,
        after: Option<&WorkloadKeyset>,
        limit: u32,
    ) -> Result<Vec<Workload>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        all(&mut connection, filter.statement(after, limit).query(), rows::workload).await
    }

    /// A workload.
    pub async fn workload(&self, id: WorkloadId) -> Result<Option<Workload>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let query = sqlx::query("SELECT * FROM workloads WHERE id = $1").bind(id.to_string());
        maybe(&mut connection, query, rows::workload).await
    }

    /// How these workloads came out the last time, where a job of theirs is done.
    pub async fn last_results(
        &self,
        workloads: &[WorkloadId],
    ) -> Result<HashMap<WorkloadId, LastResult>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let ids = distinct(workloads.iter().map(ToString::to_string));
        let read = |row: &AnyRow| {
            let last = LastResult { verdict: rows::parsed(row, "verdict")?, at: rows::time(row, "since")? };
            Ok((rows::parsed(row, "workload")?, last))
        };
        Ok(by_ids(&mut connection, LAST_RESULTS, &ids, read).await?.into_iter().collect())
    }
}
