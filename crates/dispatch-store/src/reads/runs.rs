//! Runs, by the name that anybody may know.

use std::collections::HashMap;

use dispatch_core::{GroupId, Host, HostId, Job, JobId, Run, RunId, RunName, RunState, Verdict, Workload};
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;

use super::{Statement, by_ids, distinct};
use crate::load::{add_macs, all, maybe};
use crate::{Store, StoreError, StoredEvent, rows};

/// How many runs are named in one go.
const NAMED_AT_ONCE: i64 = 500;

/// A run with what it is about.
#[derive(Clone, Debug)]
pub struct RunWith {
    /// The run.
    pub run: Run,
    /// Its job.
    pub job: Job,
    /// Its host.
    pub host: Host,
    /// What it boots.
    pub workload: Workload,
}

/// Which runs: those that fit in every respect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this group.
    pub group: Option<GroupId>,
    /// Of this job.
    pub job: Option<JobId>,
    /// On this host.
    pub host: Option<HostId>,
    /// In this state.
    pub state: Option<RunState>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
}

/// The place of a run in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunKeyset {
    /// When it was assigned, in microseconds.
    pub created: i64,
    /// Its public name.
    pub name: RunName,
}

impl From<&Run> for RunKeyset {
    fn from(run: &Run) -> Self {
        Self { created: run.created.as_microsecond(), name: run.id.public_name() }
    }
}

impl RunFilter {
    /// The statement that lists them, the latest first.
    #[must_use]
    pub fn statement(&self, after: Option<&RunKeyset>, limit: u32) -> Statement {
        let mut statement = Statement::new("SELECT * FROM runs WHERE public_name IS NOT NULL");
        statement
            .narrow(" AND grp = ?", self.group.as_ref().map(|group| group.as_str().into()))
            .narrow(" AND job = ?", self.job.map(|job| job.to_string().into()))
            .narrow(" AND host = ?", self.host.map(|host| host.to_string().into()))
            .narrow(" AND state = ?", self.state.map(|state| state.as_str().into()))
            .narrow(" AND verdict = ?", self.verdict.map(|verdict| verdict.as_str().into()));
        if let Some(key) = after {
            let values = [key.created.into(), key.name.to_string().into()];
            statement.add(" AND (created, public_name) < (?, ?)", values);
        }
        statement.add(" ORDER BY created DESC, public_name DESC LIMIT ?", [i64::from(limit).into()]);
        statement
    }
}

/// Gives a public name to each run that has none: those that were made before there was a column for it.
pub(crate) async fn name_runs(connection: &mut AnyConnection) -> Result<(), StoreError> {
    loop {
        let unnamed = sqlx::query("SELECT id FROM runs WHERE public_name IS NULL ORDER BY id LIMIT $1")
            .bind(NAMED_AT_ONCE);
        let unnamed: Vec<RunId> = all(connection, unnamed, |row| rows::parsed(row, "id")).await?;
        if unnamed.is_empty() {
            return Ok(());
        }
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        for run in unnamed {
            sqlx::query("UPDATE runs SET public_name = $1 WHERE id = $2")
                .bind(run.public_name().to_string())
                .bind(run.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
}

/// Adds to runs what they are about.
pub(super) async fn with(connection: &mut AnyConnection, runs: Vec<Run>) -> Result<Vec<RunWith>, StoreError> {
    let ids = distinct(runs.iter().map(|run| run.job.to_string()));
    let jobs = by_ids(connection, "SELECT * FROM jobs WHERE id IN ({ids})", &ids, rows::job).await?;
    let ids = distinct(runs.iter().map(|run| run.host.to_string()));
    let hosts = by_ids(connection, "SELECT * FROM hosts WHERE id IN ({ids})", &ids, rows::host).await?;
    let mut hosts = hosts;
    add_macs(connection, &mut hosts).await?;
    let ids = distinct(runs.iter().map(|run| run.workload.to_string()));
    let workloads = "SELECT * FROM workloads WHERE id IN ({ids})";
    let workloads = by_ids(connection, workloads, &ids, rows::workload).await?;
    let jobs: HashMap<_, _> = jobs.into_iter().map(|job| (job.id, job)).collect();
    let hosts: HashMap<_, _> = hosts.into_iter().map(|host| (host.id, host)).collect();
    let workloads: HashMap<_, _> = workloads.into_iter().map(|workload| (workload.id, workload)).collect();
    let whole = runs.into_iter().filter_map(|run| {
        // The database holds each run to have all three.
        let (job, host) = (jobs.get(&run.job)?.clone(), hosts.get(&run.host)?.clone());
        let workload = workloads.get(&run.workload)?.clone();
        Some(RunWith { run, job, host, workload })
    });
    Ok(whole.collect())
}

impl Store {
    /// A page of runs, the latest first.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        after: Option<&RunKeyset>,
        limit: u32,
    ) -> Result<Vec<RunWith>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let runs = all(&mut transaction, filter.statement(after, limit).query(), rows::run).await?;
        with(&mut transaction, runs).await
    }

    /// A run by its public name.
    pub async fn run_named(&self, name: RunName) -> Result<Option<RunWith>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let query = sqlx::query("SELECT * FROM runs WHERE public_name = $1").bind(name.to_string());
        let run = maybe(&mut transaction, query, rows::run).await?;
        Ok(with(&mut transaction, run.into_iter().collect()).await?.pop())
    }

    /// The identifier of a run. It is a secret: whoever knows it may report for the run.
    pub async fn run_id(&self, name: RunName) -> Result<Option<RunId>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let query = sqlx::query("SELECT id FROM runs WHERE public_name = $1").bind(name.to_string());
        maybe(&mut connection, query, |row| rows::parsed(row, "id")).await
    }

    /// All attempts of a job, the first one first, at most `limit` of the latest.
    pub async fn attempts(&self, job: JobId, limit: u32) -> Result<Vec<Run>, StoreError> {
        let filter = RunFilter { job: Some(job), ..RunFilter::default() };
        let mut connection = self.readers.acquire().await?;
        let mut runs = all(&mut connection, filter.statement(None, limit).query(), rows::run).await?;
        runs.reverse();
        Ok(runs)
    }

    /// The runs that go on, on these hosts.
    pub async fn runs_on(&self, hosts: &[HostId]) -> Result<Vec<Run>, StoreError> {
        let ids = distinct(hosts.iter().map(ToString::to_string));
        let mut connection = self.readers.acquire().await?;
        let select = "SELECT * FROM runs WHERE active = 1 AND host IN ({ids})";
        by_ids(&mut connection, select, &ids, rows::run).await
    }

    /// What happened in a run, in order: at most `limit` events after `seq`.
    pub async fn run_timeline(
        &self,
        run: RunId,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let query =
            sqlx::query("SELECT seq, data FROM events WHERE run = $1 AND seq > $2 ORDER BY seq LIMIT $3")
                .bind(run.to_string())
                .bind(seq)
                .bind(i64::from(limit));
        let mut connection = self.readers.acquire().await?;
        all(&mut connection, query, rows::event).await
    }
}
