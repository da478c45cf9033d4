//! The log, or those of its events that are about something.

use super::Statement;
use crate::load::all;
use crate::{Store, StoreError, StoredEvent, rows};

/// Which events: those that fit in every respect. As somebody wrote it: what is no identifier fits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this group.
    pub group: Option<String>,
    /// About this job.
    pub job: Option<String>,
    /// About the run of this public name.
    pub run: Option<String>,
    /// About this host.
    pub host: Option<String>,
}

impl EventFilter {
    /// The statement that lists them, in order.
    #[must_use]
    pub fn statement(&self, after: i64, limit: u32) -> Statement {
        let mut statement = Statement::new("SELECT seq, data FROM events WHERE");
        statement.add(" seq > ?", [after.into()]);
        statement
            .narrow(" AND grp = ?", self.group.as_deref().map(Into::into))
            .narrow(" AND job = ?", self.job.as_deref().map(Into::into))
            .narrow(
                " AND run = (SELECT id FROM runs WHERE public_name = ?)",
                self.run.as_deref().map(Into::into),
            )
            .narrow(" AND host = ?", self.host.as_deref().map(Into::into));
        statement.add(" ORDER BY seq LIMIT ?", [i64::from(limit).into()]);
        statement
    }
}

impl Store {
    /// The events after `seq` that fit, in order, at most `limit`.
    pub async fn events_of(
        &self,
        filter: &EventFilter,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        all(&mut connection, filter.statement(seq, limit).query(), rows::event).await
    }
}
