//! Jobs that are over.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use dispatch_core::queue::stats::{Ended, Past};
use dispatch_core::{GroupId, Host, Job, JobId, Run};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::{Statement, by_ids, distinct};
use crate::load::all;
use crate::{Store, StoreError, rows};

/// What is over, and was not taken out of sight. In the words of the index.
const OVER: &str = "state IN ('done', 'cancelled') AND deleted = 0";

/// Which jobs that are over: those that fit in every respect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Of this group.
    pub group: GroupId,
    /// That ended in one of these ways; all of them if none is named.
    pub ended: Vec<Ended>,
    /// That carry all of these labels.
    pub labels: BTreeMap<String, String>,
}

/// The place of a job in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HistoryKey {
    /// When it was over, in microseconds.
    pub at: i64,
    /// Which it is. None stands for all of that moment.
    pub id: Option<JobId>,
}

impl From<&Job> for HistoryKey {
    fn from(job: &Job) -> Self {
        Self { at: job.since.as_microsecond(), id: Some(job.id) }
    }
}

/// A job that is over, with its attempts.
#[derive(Clone, Debug)]
pub struct PastJob {
    /// The job.
    pub job: Job,
    /// Its attempts, the first one first.
    pub runs: Vec<Run>,
    /// The host of the last one.
    pub host: Option<Host>,
}

impl HistoryFilter {
    /// All of a group.
    #[must_use]
    pub fn all(group: GroupId) -> Self {
        Self { group, ended: Vec::new(), labels: BTreeMap::new() }
    }

    fn narrowed(&self, select: &str, ended: Option<Ended>) -> Statement {
        let mut statement = Statement::new(select);
        statement.add(" FROM jobs WHERE grp = ?", [self.group.as_str().into()]);
        match ended {
            // This alone says that it is over, and an index has it.
            Some(ended) => statement.add(" AND deleted = 0 AND ended = ?", [ended.as_str().into()]),
            None => statement.add(&format!(" AND {OVER}"), []),
        };
        for (name, value) in &self.labels {
            statement.add(
                " AND id IN (SELECT job FROM job_labels WHERE name = ? AND value = ?)",
                [name.as_str().into(), value.as_str().into()],
            );
        }
        statement
    }

    fn ordered(mut statement: Statement, after: Option<&HistoryKey>, limit: u32) -> Statement {
        match after {
            Some(HistoryKey { at, id: Some(id) }) => {
                statement.add(" AND (since, id) < (?, ?)", [(*at).into(), id.to_string().into()]);
            }
            Some(HistoryKey { at, id: None }) => {
                statement.add(" AND since < ?", [(*at).into()]);
            }
            None => {}
        }
        statement.add(" ORDER BY since DESC, id DESC LIMIT ?", [i64::from(limit).into()]);
        statement
    }

    /// The ways of ending to look for, each by itself: then the index has each in order.
    fn ways(&self) -> Vec<Option<Ended>> {
        let mut ways: Vec<_> = self.ended.iter().copied().map(Some).collect();
        ways.sort_unstable();
        ways.dedup();
        if ways.is_empty() || ways.len() == Ended::ALL.len() { vec![None] } else { ways }
    }

    /// The statements that count them: how many there are is the sum.
    #[must_use]
    pub fn count_statements(&self) -> Vec<Statement> {
        let count = |ended: Option<Ended>| {
            if !self.labels.is_empty() {
                return self.narrowed("SELECT COUNT(*) AS count", ended);
            }
            // The sum of whole numbers is of another type on PostgreSQL.
            let mut statement = Statement::new(
                "SELECT CAST(COALESCE(SUM(jobs), 0) AS BIGINT) AS count FROM history_counts WHERE",
            );
            statement
                .add(" grp = ?", [self.group.as_str().into()])
                .narrow(" AND ended = ?", ended.map(|ended| ended.as_str().into()));
            statement
        };
        self.ways().into_iter().map(count).collect()
    }

    /// The statements that list them, the latest first: the page is the first of all that they find together.
    #[must_use]
    pub fn statements(&self, after: Option<&HistoryKey>, limit: u32) -> Vec<Statement> {
        let narrowed = self.ways().into_iter().map(|ended| self.narrowed("SELECT *", ended));
        narrowed.map(|statement| Self::ordered(statement, after, limit)).collect()
    }
}

fn past(row: &AnyRow) -> Result<(Past, HistoryKey), StoreError> {
    let at = rows::time(row, "since")?;
    let (state, verdict) = (rows::parsed(row, "state")?, rows::optional_parsed(row, "verdict")?);
    let created = rows::time(row, "created")?;
    let could = rows::optional_time(row, "not_before")?.map_or(created, |time| time.max(created));
    let (first, last) = (rows::optional_time(row, "first_run")?, rows::optional_time(row, "last_run")?);
    let key = HistoryKey { at: at.as_microsecond(), id: Some(rows::parsed(row, "id")?) };
    let past = Past {
        ended: Ended::of(state, verdict).unwrap_or(Ended::Failed),
        verdict,
        at,
        waited: first.map(|first| between(could, first)),
        ran: last.map(|last| between(last, at)),
    };
    Ok((past, key))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Adds to jobs what became of them.
async fn with_runs(connection: &mut AnyConnection, jobs: Vec<Job>) -> Result<Vec<PastJob>, StoreError> {
    let ids = distinct(jobs.iter().map(|job| job.id.to_string()));
    let runs = "SELECT * FROM runs WHERE job IN ({ids}) ORDER BY created, public_name";
    let mut of_job: HashMap<JobId, Vec<Run>> = HashMap::new();
    for run in by_ids(connection, runs, &ids, rows::run).await? {
        of_job.entry(run.job).or_default().push(run);
    }
    let last = of_job.values().filter_map(|runs| runs.last());
    let ids = distinct(last.map(|run| run.host.to_string()));
    let mut hosts = by_ids(connection, "SELECT * FROM hosts WHERE id IN ({ids})", &ids, rows::host).await?;
    crate::load::add_macs(connection, &mut hosts).await?;
    let with = jobs.into_iter().map(|job| {
        let runs = of_job.remove(&job.id).unwrap_or_default();
        let last = runs.last().map(|run| run.host);
        let host = hosts.iter().find(|host| Some(host.id) == last).cloned();
        PastJob { job, runs, host }
    });
    Ok(with.collect())
}

impl Store {
    /// A page of a group's history, the latest first.
    pub async fn history(
        &self,
        filter: &HistoryFilter,
        after: Option<&HistoryKey>,
        limit: u32,
    ) -> Result<Vec<PastJob>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut jobs = Vec::new();
        for statement in filter.statements(after, limit) {
            jobs.append(&mut all(&mut transaction, statement.query(), rows::job).await?);
        }
        jobs.sort_by_key(|job| std::cmp::Reverse((job.since, job.id)));
        jobs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        with_runs(&mut transaction, jobs).await
    }

    /// How many jobs a history has.
    pub async fn history_count(&self, filter: &HistoryFilter) -> Result<u64, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut count = 0;
        for statement in filter.count_statements() {
            let row = statement.query().fetch_one(&mut *transaction).await?;
            count += rows::number::<u64>(&row, "count")?;
        }
        Ok(count)
    }

    /// What became of a group's jobs that were over since then, as far as statistics go: the latest first, a page at a
    /// time.
    pub async fn past(
        &self,
        group: &GroupId,
        since: Timestamp,
        after: Option<&HistoryKey>,
        limit: u32,
    ) -> Result<Vec<(Past, HistoryKey)>, StoreError> {
        let select = "SELECT id, state, verdict, since, created, not_before, \
                      (SELECT MIN(runs.created) FROM runs WHERE runs.job = jobs.id) AS first_run, \
                      (SELECT MAX(runs.created) FROM runs WHERE runs.job = jobs.id) AS last_run";
        let mut statement = HistoryFilter::all(group.clone()).narrowed(select, None);
        statement.add(" AND since >= ?", [since.as_microsecond().into()]);
        let statement = HistoryFilter::ordered(statement, after, limit);
        let mut connection = self.readers.acquire().await?;
        all(&mut connection, statement.query(), past).await
    }

    /// When the oldest job of a group's history was over.
    pub async fn oldest_past(&self, group: &GroupId) -> Result<Option<Timestamp>, StoreError> {
        let mut statement = HistoryFilter::all(group.clone()).narrowed("SELECT since", None);
        statement.add(" ORDER BY since, id LIMIT 1", []);
        let mut connection = self.readers.acquire().await?;
        let row = statement.query().fetch_optional(&mut *connection).await?;
        row.map(|row| rows::time(&row, "since")).transpose()
    }

    /// Whether there is, or was, such a group.
    pub async fn has_group(&self, group: &GroupId) -> Result<bool, StoreError> {
        let query = sqlx::query("SELECT 1 AS one FROM job_groups WHERE id = $1").bind(group.to_string());
        let mut connection = self.readers.acquire().await?;
        Ok(query.fetch_optional(&mut *connection).await?.is_some())
    }
}
