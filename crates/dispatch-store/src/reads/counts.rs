//! How many there are of what: for the status and the metrics. Each is a look at a small index, not at a table.

use std::collections::BTreeMap;

use dispatch_core::{GroupId, HostId, RunState};
use jiff::Timestamp;

use super::{Statement, by_ids};
use crate::load::part::FIRST_OF_EACH_WAIT;
use crate::load::{all, groups, maybe};
use crate::{Store, StoreError, StoredEvent, rows};

/// What a group has that is not over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that wait.
    pub queued: u64,
    /// Runs that go on, by their state.
    pub runs: BTreeMap<RunState, u64>,
}

/// What is still to be done outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// How much.
    pub waiting: u64,
    /// How much of that was tried, and did not work.
    pub failing: u64,
    /// Since when the oldest waits.
    pub oldest: Option<Timestamp>,
}

impl Counts {
    /// The statements behind [`Store::counts`].
    #[must_use]
    pub fn statements() -> [Statement; 3] {
        [
            "SELECT grp, COUNT(*) AS count FROM jobs WHERE state IN ('queued', 'active') GROUP BY grp",
            "SELECT grp, COUNT(*) AS count FROM jobs WHERE state = 'active' GROUP BY grp",
            "SELECT grp, state, COUNT(*) AS count FROM runs WHERE active = 1 GROUP BY grp, state",
        ]
        .map(Statement::new)
    }
}

/// The statement behind [`Scope::Images`](crate::Scope::Images).
#[must_use]
pub fn waits_statement() -> Statement {
    Statement::new(FIRST_OF_EACH_WAIT)
}

impl Store {
    /// What each group has that is not over. Groups that are known have an entry in any case.
    pub async fn counts(&self) -> Result<BTreeMap<GroupId, Counts>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let known = groups(&mut transaction).await?.into_iter().map(|group| (group.id, Counts::default()));
        let mut counts: BTreeMap<GroupId, Counts> = known.collect();
        let [open, active, runs] = Counts::statements();
        let of_group = |row: &sqlx::any::AnyRow| {
            Ok((rows::parsed::<GroupId>(row, "grp")?, rows::number::<u64>(row, "count")?))
        };
        for (group, count) in all(&mut transaction, open.query(), of_group).await? {
            counts.entry(group).or_default().queued += count;
        }
        for (group, count) in all(&mut transaction, active.query(), of_group).await? {
            let counts = counts.entry(group).or_default();
            counts.queued = counts.queued.saturating_sub(count);
        }
        let with_state =
            |row: &sqlx::any::AnyRow| Ok((of_group(row)?, rows::parsed::<RunState>(row, "state")?));
        for ((group, count), state) in all(&mut transaction, runs.query(), with_state).await? {
            counts.entry(group).or_default().runs.insert(state, count);
        }
        Ok(counts)
    }

    /// Which of these hosts have a run that goes on.
    pub async fn busy_hosts(&self, hosts: &[HostId]) -> Result<Vec<HostId>, StoreError> {
        let ids: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut connection = self.readers.acquire().await?;
        let select = "SELECT host FROM runs WHERE active = 1 AND host IN ({ids})";
        by_ids(&mut connection, select, &ids, |row| rows::parsed(row, "host")).await
    }

    /// What is still to be done outside.
    pub async fn outbox_counts(&self) -> Result<OutboxCounts, StoreError> {
        let query = sqlx::query(
            "SELECT COUNT(*) AS waiting, COUNT(error) AS failing, MIN(at) AS oldest FROM outbox \
             WHERE done_at IS NULL",
        );
        let mut connection = self.readers.acquire().await?;
        let row = query.fetch_one(&mut *connection).await?;
        Ok(OutboxCounts {
            waiting: rows::number(&row, "waiting")?,
            failing: rows::number(&row, "failing")?,
            oldest: rows::optional_time(&row, "oldest")?,
        })
    }

    /// The newest event.
    pub async fn newest_event(&self) -> Result<Option<StoredEvent>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let query = sqlx::query("SELECT seq, data FROM events ORDER BY seq DESC LIMIT 1");
        maybe(&mut connection, query, rows::event).await
    }
}
