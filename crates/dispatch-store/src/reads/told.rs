//! When something was last told of jobs.

use std::collections::BTreeMap;

use dispatch_core::JobId;
use jiff::Timestamp;

use super::{by_ids, distinct};
use crate::{Store, StoreError, rows};

impl Store {
    /// When the latest event about each of these jobs happened: each change that people see of a job is one.
    pub async fn last_told(&self, jobs: &[JobId]) -> Result<BTreeMap<JobId, Timestamp>, StoreError> {
        let ids = distinct(jobs.iter().map(ToString::to_string));
        let mut connection = self.readers.acquire().await?;
        // The first step is all in an index. Clocks are set, so the latest is not the one with the latest time.
        let select = "SELECT job, at FROM events WHERE seq IN \
                      (SELECT MAX(seq) FROM events WHERE job IN ({ids}) GROUP BY job)";
        let read = |row: &sqlx::any::AnyRow| Ok((rows::parsed(row, "job")?, rows::time(row, "at")?));
        Ok(by_ids(&mut connection, select, &ids, read).await?.into_iter().collect())
    }
}
