//! Workloads, and how each came out the last time.

use std::collections::HashMap;

use dispatch_core::{GroupId, Verdict, Workload, WorkloadId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Statement;
use crate::load::{all, maybe};
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
        let mut transaction = self.engine.begin_to_read().await?;
        let mut results = HashMap::new();
        for id in workloads {
            let query = sqlx::query(
                "SELECT verdict, since FROM jobs WHERE workload = $1 AND state = 'done' AND verdict IS NOT NULL \
                 ORDER BY since DESC, id DESC LIMIT 1",
            )
            .bind(id.to_string());
            let result = maybe(&mut transaction, query, |row| {
                Ok(LastResult { verdict: rows::parsed(row, "verdict")?, at: rows::time(row, "since")? })
            });
            if let Some(result) = result.await? {
                results.insert(*id, result);
            }
        }
        Ok(results)
    }
}
