//! The only SQL of the project: jobs, runs, hosts, leases, events, reports and the outbox.
//!
//! [`Store::decide`] is how anything changes: it loads a [`Snapshot`], lets `dispatch-core` decide, and commits
//! the new state, the events and the effects in one transaction. Nothing else happens inside a transaction.

pub mod access;
mod answers;
mod claim;
mod engine;
mod error;
mod focus;
mod load;
mod postgres;
pub mod reads;
mod rows;
mod save;

use std::path::Path;

use dispatch_core::queue::{Change, Issue, Round, Snapshot};
use dispatch_core::run::Policy;
use dispatch_core::{Effect, Event, Host, Job, JobId, Outcome, ReportId, Run, RunId, Template, Workload};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::AnyPool;
use tokio::sync::watch;

pub use answers::{Answered, Request};
pub use claim::{Claim, Patience};
use engine::Engine;
pub use engine::{Database, Place};
pub use error::StoreError;
pub use focus::{Focus, Near, Scope};
pub use postgres::{Postgres, PostgresError, SslMode};
pub use reads::queue;

/// How often a decision is made that was lost before it was committed.
const TRIES: u32 = 5;

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
    engine: Engine,
    writer: AnyPool,
    readers: AnyPool,
    last_event: watch::Sender<i64>,
}

impl Store {
    /// Opens the SQLite database at `path`, makes it if it is not there, and brings it up to date. A database
    /// that a newer program has written is refused.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::connect(&Database::Sqlite { path: path.to_owned() }).await
    }

    /// Opens a database, on whichever engine, and brings it up to date. One that a newer program has written is refused.
    pub async fn connect(database: &Database) -> Result<Self, StoreError> {
        let store = Self::new(Engine::open(database).await?);
        store.last_event.send_replace(store.last_seq().await?);
        store.engine.follow(database, &store.last_event);
        Ok(store)
    }

    /// Opens a database that is there already, to look at it while another process works with it.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        Self::connect_to_read(&Database::Sqlite { path: path.to_owned() }).await
    }

    /// The same, on whichever engine.
    pub async fn connect_to_read(database: &Database) -> Result<Self, StoreError> {
        Ok(Self::new(Engine::open_to_read(database).await?))
    }

    fn new(engine: Engine) -> Self {
        let (writer, readers) = (engine.writer.clone(), engine.readers.clone());
        Self { engine, writer, readers, last_event: watch::Sender::new(0) }
    }

    /// Loads a snapshot, lets `decision` decide, and commits what it decided in one transaction. `decision` must
    /// not wait for anything. It is asked again, on a new snapshot, if what it decided was lost before it was committed.
    ///
    /// Decisions are made one after the other, by however many processes.
    pub async fn decide<T>(
        &self,
        focus: Focus,
        policy: &Policy,
        mut decision: impl FnMut(Snapshot) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut tries = 1;
        loop {
            match self.attempt(&focus, policy, &mut decision).await {
                Err(error) if error.is_passing() && tries < TRIES => tries += 1,
                decided => return decided,
            }
        }
    }

    /// The same for a request that may come again, because its answer was lost: what was decided then is answered, and
    /// nothing is decided. The answer is stored in the transaction that commits what it says, also where that is nothing:
    /// what was refused stays refused.
    pub async fn decide_answered<T: Serialize + DeserializeOwned>(
        &self,
        request: &Request,
        focus: Focus,
        policy: &Policy,
        mut decision: impl FnMut(Snapshot) -> Outcome<T>,
    ) -> Result<Answered<T>, StoreError> {
        let mut tries = 1;
        loop {
            match self.attempt_answered(request, &focus, policy, &mut decision).await {
                Err(error) if error.is_passing() && tries < TRIES => tries += 1,
                decided => return decided,
            }
        }
    }

    async fn attempt<T>(
        &self,
        focus: &Focus,
        policy: &Policy,
        decision: &mut impl FnMut(Snapshot) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut transaction = self.engine.begin_to_decide().await?;
        let snapshot = load::snapshot(&mut transaction, focus.clone(), policy).await?;
        let Outcome { answer, changes } = decision(snapshot);
        if changes.is_empty() {
            transaction.rollback().await?;
            return Ok(answer);
        }
        self.finish(transaction, &changes).await?;
        Ok(answer)
    }

    async fn attempt_answered<T: Serialize + DeserializeOwned>(
        &self,
        request: &Request,
        focus: &Focus,
        policy: &Policy,
        decision: &mut impl FnMut(Snapshot) -> Outcome<T>,
    ) -> Result<Answered<T>, StoreError> {
        let mut transaction = self.engine.begin_to_decide().await?;
        if let Some(known) = answers::find(&mut transaction, request).await? {
            transaction.rollback().await?;
            return Ok(known);
        }
        let snapshot = load::snapshot(&mut transaction, focus.clone(), policy).await?;
        let Outcome { answer, changes } = decision(snapshot);
        answers::save(&mut transaction, request, &answer).await?;
        self.finish(transaction, &changes).await?;
        Ok(Answered::Now(answer))
    }

    /// Writes the changes and commits.
    async fn finish(
        &self,
        mut transaction: sqlx::Transaction<'static, sqlx::Any>,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        let last = save::changes(&mut transaction, changes).await?;
        if let Some(last) = last {
            self.engine.tell(&mut transaction, last).await?;
        }
        let newest = self.last_event.clone();
        let tell = move || {
            if let Some(last) = last {
                postgres::advance(&newest, last);
            }
        };
        self.engine.commit(transaction, tell).await
    }

    /// Loads a snapshot only to look at it.
    pub async fn look<T>(
        &self,
        focus: Focus,
        policy: &Policy,
        look: impl FnOnce(Snapshot) -> T,
    ) -> Result<T, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
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
            .bind(save::plain(progress))
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
        .bind(save::plain(error))
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
        let mut transaction = self.engine.begin_to_read().await?;
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
        let mut transaction = self.engine.begin_to_read().await?;
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

    /// All templates, also those that have left the configuration, and whether they are in it.
    pub async fn all_templates(&self) -> Result<Vec<(Template, bool)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM templates ORDER BY id").fetch_all(&self.readers).await?;
        rows.iter().map(rows::template).collect()
    }

    /// The jobs of the latest round in queue order, their runs in the order of their making, and all hosts.
    pub async fn overview(&self) -> Result<Overview, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        load::overview(&mut transaction).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.engine.close().await;
    }
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
