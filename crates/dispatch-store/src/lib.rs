//! The only SQL of the project: jobs, runs, hosts, leases, events, reports and the outbox.
//!
//! [`Store::decide`] is how anything changes: it loads a [`Snapshot`], lets `dispatch-core` decide, and commits
//! the new state, the events and the effects in one transaction. Nothing else happens inside a transaction.

pub mod access;
mod error;
mod load;
mod rows;
mod save;

use std::path::Path;
use std::time::Duration;

use dispatch_core::queue::{Issue, Round, Snapshot};
use dispatch_core::run::Policy;
use dispatch_core::{
    Effect, Event, Host, Job, JobId, Mac, Outcome, ReportId, Run, RunId, Sighting, Workload,
};
use jiff::Timestamp;
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};
use tokio::sync::watch;

pub use error::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// What a decision is about, so that no more is loaded than it needs.
#[derive(Clone, Debug, Default)]
pub struct Focus {
    /// The host that asks.
    pub who: Option<Sighting>,
    /// The network cards that a host tells: whoever was seen with one of them is concerned.
    pub cards: Vec<Mac>,
    /// A run that is named.
    pub run: Option<RunId>,
    /// A job that is named.
    pub job: Option<JobId>,
    /// All jobs of the latest round, and of each name the newest, and not only what is not over.
    pub last_round: bool,
}

impl Focus {
    /// About the host that asks.
    #[must_use]
    pub fn host(who: &Sighting) -> Self {
        Self { who: Some(who.clone()), ..Self::default() }
    }

    /// About how a session begins or ends.
    #[must_use]
    pub fn last_round() -> Self {
        Self { last_round: true, ..Self::default() }
    }

    /// About one job.
    #[must_use]
    pub fn job(job: JobId) -> Self {
        Self { job: Some(job), ..Self::default() }
    }

    /// About one run.
    #[must_use]
    pub fn run(run: RunId) -> Self {
        Self { run: Some(run), ..Self::default() }
    }
}

/// An event and its place in the one global sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place; later events have larger ones, in the order in which they were committed.
    pub seq: i64,
    /// The fact.
    pub event: Event,
}

/// An effect that is still to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEffect {
    /// Its idempotency key.
    pub key: String,
    /// What is to be done.
    pub effect: Effect,
    /// Since when.
    pub at: Timestamp,
    /// When it is tried next.
    pub due: Timestamp,
    /// How often it has been tried.
    pub attempts: u32,
    /// Why it could not be done the last time.
    pub error: Option<String>,
    /// How far it has come, if it takes several steps.
    pub progress: Option<String>,
}

/// Effects of one kind: those of another do not wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Reports are written into files.
    Files,
    /// Reports are filed as issues.
    Issues,
}

impl Lane {
    /// How the idempotency keys of its effects begin.
    fn pattern(self) -> &'static str {
        match self {
            Self::Files => "write-report:%",
            Self::Issues => "file-issue:%",
        }
    }
}

/// A report that will never be an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub report: ReportId,
    /// Its run.
    pub run: RunId,
    /// Why.
    pub why: String,
}

/// A stored report with what belongs to it.
#[derive(Clone, Debug)]
pub struct StoredReport {
    /// The report.
    pub report: dispatch_core::queue::Report,
    /// Its run.
    pub run: Run,
    /// The run's job.
    pub job: Job,
    /// The run's host.
    pub host: Host,
    /// What the run boots.
    pub workload: Workload,
    /// The issue that it was filed as.
    pub issue: Option<Issue>,
}

/// A reader of the events that goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The command of `--on-event`.
    OnEvent,
}

impl Cursor {
    fn name(self) -> &'static str {
        match self {
            Self::OnEvent => "on-event",
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    /// One connection: SQLite has one writer, and waiting in our own queue is fairer than its busy handler.
    writer: AnyPool,
    readers: AnyPool,
    last_event: watch::Sender<i64>,
}

impl Store {
    /// Opens the SQLite database at `path`, makes it if it is not there, and brings it up to date. A database
    /// that a newer program has written is refused.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path, "rwc").await?;
        match MIGRATIONS.run(&store.writer).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _)) => {
                return Err(StoreError::Newer { path: path.to_owned(), version });
            }
            Err(MigrateError::Execute(error)) => return Err(error.into()),
            Err(error) => return Err(StoreError::Migrate { path: path.to_owned(), error: Box::new(error) }),
        }
        let last = store.last_seq().await?;
        store.last_event.send_replace(last);
        Ok(store)
    }

    /// Opens a database that is there already, to look at it while another process works with it.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        if !path.is_file() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let store = Self::connect(path, "rw").await?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let row = sqlx::query("SELECT MAX(version) AS version FROM _sqlx_migrations")
            .fetch_one(&store.readers)
            .await?;
        let version: i64 = sqlx::Row::try_get(&row, "version")?;
        if version > known {
            return Err(StoreError::Newer { path: path.to_owned(), version });
        }
        if version < known {
            return Err(StoreError::Older { path: path.to_owned() });
        }
        Ok(store)
    }

    async fn connect(path: &Path, mode: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let Some(name) = path.to_str() else {
            return Err(StoreError::Path { path: path.to_owned() });
        };
        // The name is part of a URL: these characters would end it.
        let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let url = format!("sqlite://{name}?mode={mode}");
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY * 6)
                .after_connect(|connection: &mut AnyConnection, _| Box::pin(set_up(connection)))
        };
        let open = |error| StoreError::Open { path: path.to_owned(), error };
        // One connection by itself first: a pool would go on trying until its time is up, whatever is wrong.
        let mut first = AnyConnection::connect(&url).await.map_err(open)?;
        set_up(&mut first).await.map_err(open)?;
        first.close().await.map_err(open)?;
        let writer = pool(1).connect(&url).await.map_err(open)?;
        let readers = pool(4).connect(&url).await.map_err(open)?;
        Ok(Self { writer, readers, last_event: watch::Sender::new(0) })
    }

    /// Loads a snapshot, lets `decision` decide, and commits what it decided in one transaction. `decision` must
    /// not wait for anything.
    pub async fn decide<T>(
        &self,
        focus: Focus,
        policy: &Policy,
        decision: impl FnOnce(Snapshot) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let snapshot = load::snapshot(&mut transaction, focus, policy).await?;
        let Outcome { answer, changes } = decision(snapshot);
        if changes.is_empty() {
            transaction.rollback().await?;
            return Ok(answer);
        }
        let last = save::changes(&mut transaction, &changes).await?;
        transaction.commit().await?;
        if let Some(last) = last {
            self.last_event.send_replace(last);
        }
        Ok(answer)
    }

    /// Loads a snapshot only to look at it.
    pub async fn look<T>(
        &self,
        focus: Focus,
        policy: &Policy,
        look: impl FnOnce(Snapshot) -> T,
    ) -> Result<T, StoreError> {
        let mut transaction = self.readers.begin().await?;
        let snapshot = load::snapshot(&mut transaction, focus, policy).await?;
        transaction.rollback().await?;
        Ok(look(snapshot))
    }

    /// Tells the sequence number of the newest event, now and whenever it changes.
    #[must_use]
    pub fn watch_events(&self) -> watch::Receiver<i64> {
        self.last_event.subscribe()
    }

    async fn last_seq(&self) -> Result<i64, StoreError> {
        let row =
            sqlx::query("SELECT value FROM counters WHERE name = 'event'").fetch_one(&self.readers).await?;
        Ok(sqlx::Row::try_get(&row, "value")?)
    }

    /// The events after `seq`, in order, at most `limit`.
    pub async fn events_after(&self, seq: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query("SELECT seq, data FROM events WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(seq)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(rows::event).collect()
    }

    /// The effects of a lane that are due, oldest first, at most `limit`.
    pub async fn due_effects(
        &self,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<WaitingEffect>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE done_at IS NULL AND due <= $1 AND idempotency_key LIKE $2 \
             ORDER BY due, seq, idempotency_key LIMIT $3",
        )
        .bind(now.as_microsecond())
        .bind(lane.pattern())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(rows::waiting_effect).collect()
    }

    /// The effects of a lane that are still to be done, in the order in which they were asked for, whatever the clock
    /// showed then, at most `limit`.
    pub async fn waiting_effects(&self, lane: Lane, limit: u32) -> Result<Vec<WaitingEffect>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE done_at IS NULL AND idempotency_key LIKE $1 \
             ORDER BY seq, at, idempotency_key LIMIT $2",
        )
        .bind(lane.pattern())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(rows::waiting_effect).collect()
    }

    /// When the next effect of a lane is due.
    pub async fn next_effect(&self, lane: Lane) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(
            "SELECT MIN(due) AS due FROM outbox WHERE done_at IS NULL AND idempotency_key LIKE $1",
        )
        .bind(lane.pattern())
        .fetch_one(&self.readers)
        .await?;
        rows::optional_time(&row, "due")
    }

    /// Notes how far an effect has come, before its next step is taken.
    pub async fn effect_progress(&self, key: &str, progress: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET progress = $1 WHERE idempotency_key = $2")
            .bind(progress)
            .bind(key)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// How many effects were refused for good.
    pub async fn effects_refused(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS refused FROM outbox WHERE refused = 1")
            .fetch_one(&self.readers)
            .await?;
        let refused: i64 = sqlx::Row::try_get(&row, "refused")?;
        Ok(u64::try_from(refused).unwrap_or(0))
    }

    /// An effect is done.
    pub async fn effect_done(&self, key: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET done_at = $1, error = NULL, attempts = attempts + 1 WHERE idempotency_key = $2")
            .bind(now.as_microsecond())
            .bind(key)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// An effect could not be done; it is due again at `due`.
    pub async fn effect_failed(&self, key: &str, error: &str, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET due = $1, error = $2, attempts = attempts + 1 WHERE idempotency_key = $3",
        )
        .bind(due.as_microsecond())
        .bind(error)
        .bind(key)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// How far a reader of the events has come that goes on where it was.
    pub async fn cursor(&self, cursor: Cursor) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT value FROM counters WHERE name = $1")
            .bind(cursor.name())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| Ok(sqlx::Row::try_get(&row, "value")?)).transpose()
    }

    /// Notes how far a reader of the events has come, or that it is no longer there.
    pub async fn set_cursor(&self, cursor: Cursor, seq: Option<i64>) -> Result<(), StoreError> {
        let query = match seq {
            Some(_) => {
                "INSERT INTO counters (name, value) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            }
            None => "DELETE FROM counters WHERE name = $1",
        };
        let query = sqlx::query(query).bind(cursor.name());
        let query = if seq.is_some() { query.bind(seq) } else { query };
        query.execute(&self.writer).await?;
        Ok(())
    }

    /// One report with its run, job and host.
    pub async fn report(&self, id: ReportId) -> Result<Option<StoredReport>, StoreError> {
        let mut transaction = self.readers.begin().await?;
        load::report(&mut transaction, id).await
    }

    /// What happened to a job, in order: the latest `limit` events about it.
    pub async fn timeline(&self, job: JobId, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let rows = sqlx::query("SELECT seq, data FROM events WHERE job = $1 ORDER BY seq DESC LIMIT $2")
            .bind(job.to_string())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().rev().map(rows::event).collect()
    }

    /// The reports of all runs of a job, in the order in which they came.
    pub async fn reports_of(&self, job: JobId) -> Result<Vec<StoredReport>, StoreError> {
        let mut transaction = self.readers.begin().await?;
        load::reports_of(&mut transaction, job).await
    }

    /// Whether any job is not over: cheaper to ask than for the overview.
    pub async fn has_open_jobs(&self) -> Result<bool, StoreError> {
        let mut connection = self.readers.acquire().await?;
        load::has_open_jobs(&mut connection).await
    }

    /// How many events a reader that goes on where it was has still to be told.
    pub async fn events_left(&self, cursor: Cursor) -> Result<u64, StoreError> {
        let told = self.cursor(cursor).await?.unwrap_or(0);
        Ok(u64::try_from(self.last_seq().await? - told).unwrap_or(0))
    }

    /// The jobs of the latest round in queue order, their runs in the order of their making, and all hosts.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let mut transaction = self.readers.begin().await?;
        load::overview(&mut transaction).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes a fresh connection ready.
async fn set_up(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for pragma in [
        "PRAGMA busy_timeout = 5000",
        "PRAGMA journal_mode = WAL",
        // A report that was answered with 200 survives a power cut.
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
    ] {
        connection.execute(pragma).await?;
    }
    Ok(())
}

/// Everything there is to see of a queue.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// The latest round: what follows is of it.
    pub round: Option<Round>,
    /// In queue order.
    pub jobs: Vec<Job>,
    /// In the order in which they were made.
    pub runs: Vec<Run>,
    /// What the jobs run.
    pub workloads: Vec<Workload>,
    /// In the order in which they were first seen.
    pub hosts: Vec<Host>,
    /// Effects that are still to be done.
    pub effects_due: u64,
    /// The first of these.
    pub outbox: Vec<WaitingEffect>,
    /// The issues that reports of these runs were filed as, with their runs, in the order of the reports.
    pub issues: Vec<(RunId, Issue)>,
    /// The reports of these runs that will never be issues, in their order.
    pub refused: Vec<Refused>,
}
