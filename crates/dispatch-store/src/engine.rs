//! The two engines, SQLite and PostgreSQL, and the few things that they do not agree on: how to connect, how a
//! transaction begins, and how others are told of an event.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::any::AnyPoolOptions;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Executor as _, Transaction};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::postgres::{self, CONNECT, Postgres};
use crate::{StoreError, reads};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a statement waits for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The lock that whoever decides holds on PostgreSQL until the commit: the same number in all of our processes, and
/// hardly in anybody else's.
const LOCK: i64 = i64::from_be_bytes(*b"dispatch");

/// Where the state is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file.
    Sqlite {
        /// Which.
        path: PathBuf,
    },
    /// A server.
    Postgres(Postgres),
}

impl Database {
    /// What it is called in messages.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Sqlite { path } => Place::File(path.clone()),
            Self::Postgres(there) => {
                Place::Server { database: there.database.clone(), address: there.address() }
            }
        }
    }

    fn url(&self, mode: &str) -> Result<SecretString, StoreError> {
        match self {
            Self::Sqlite { path } => sqlite_url(path, mode).map(Into::into),
            Self::Postgres(there) => Ok(there.url()),
        }
    }

    /// What a fresh connection is told.
    fn set_up(&self) -> Vec<String> {
        match self {
            Self::Sqlite { .. } => [
                "PRAGMA busy_timeout = 5000",
                "PRAGMA journal_mode = WAL",
                // A report that was answered with 200 survives a power cut.
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
            ]
            .map(str::to_owned)
            .into(),
            Self::Postgres(there) => there.set_up(),
        }
    }

    pub(crate) fn not_open(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Sqlite { path } => StoreError::Open { path: path.clone(), error },
            Self::Postgres(there) => there.not_connected(error).into(),
        }
    }

    /// One connection by itself. A pool would go on trying until its time is up, whatever is wrong.
    pub(crate) async fn connection(&self, mode: &str) -> Result<AnyConnection, StoreError> {
        let url = self.url(mode)?;
        let Ok(connection) = tokio::time::timeout(CONNECT, AnyConnection::connect(url.expose_secret())).await
        else {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(self.not_open(sqlx::Error::Io(late)));
        };
        let mut connection = connection.map_err(|error| self.not_open(error))?;
        for statement in self.set_up() {
            connection.execute(AssertSqlSafe(statement)).await.map_err(|error| self.not_open(error))?;
        }
        Ok(connection)
    }

    /// How many connections read.
    fn readers(&self) -> u32 {
        match self {
            Self::Sqlite { .. } => 4,
            // One writes, one listens, and one holds the claim.
            Self::Postgres(there) => there.max_connections.saturating_sub(3).max(1),
        }
    }
}

fn sqlite_url(path: &Path, mode: &str) -> Result<String, StoreError> {
    let Some(name) = path.to_str() else {
        return Err(StoreError::Path { path: path.to_owned() });
    };
    // The name is part of a URL: these characters would end it.
    let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Ok(format!("sqlite://{name}?mode={mode}"))
}

/// What a database is called in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A database on a server.
    Server {
        /// Its name.
        database: String,
        /// The server.
        address: String,
    },
}

impl Place {
    /// What to use instead.
    pub(crate) fn another(&self) -> &'static str {
        match self {
            Self::File(_) => "another --state, or --fresh to begin anew",
            Self::Server { .. } => "another database",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the state {}", path.display()),
            Self::Server { database, address } => write!(f, "the database `{database}` at {address}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// What follows the events of other processes; ends when the last store that it is for is gone.
#[derive(Debug, Default)]
struct Follower(Mutex<JoinSet<()>>);

/// The connections to a database.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    kind: Kind,
    /// One connection: whoever decides decides alone, and waiting in our own queue is fairer than in the engine's.
    pub(crate) writer: AnyPool,
    pub(crate) readers: AnyPool,
    follower: Arc<Follower>,
    /// Commits that somebody waits for, or did.
    commits: TaskTracker,
}

impl Engine {
    /// Connects, makes the database if it is a file that is not there, and brings it up to date.
    pub(crate) async fn open(database: &Database) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let mut connection = database.connection("rwc").await?;
        let mut migrated = migrate(database, &mut connection).await;
        if migrated.is_ok() {
            migrated = reads::name_runs(&mut connection).await;
        }
        // Closed in any case: with it goes the lock that others wait for who start at the same time.
        let closed = connection.close().await;
        migrated?;
        closed?;
        Self::pools(database, "rwc").await
    }

    /// Connects to a database that is there and up to date.
    pub(crate) async fn open_to_read(database: &Database) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if let Database::Sqlite { path } = database
            && !path.is_file()
        {
            return Err(StoreError::Missing { path: path.clone() });
        }
        database.connection("rw").await?.close().await?;
        let engine = Self::pools(database, "rw").await?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        let newest = sqlx::query("SELECT MAX(version) AS version FROM _sqlx_migrations");
        let row = newest.fetch_one(&engine.readers).await?;
        let version: Option<i64> = sqlx::Row::try_get(&row, "version")?;
        let version = version.unwrap_or(0);
        if version > known {
            return Err(StoreError::Newer { place: database.place(), version });
        }
        if version < known {
            return Err(StoreError::Older { place: database.place() });
        }
        Ok(engine)
    }

    async fn pools(database: &Database, mode: &str) -> Result<Self, StoreError> {
        let url = database.url(mode)?;
        let kind = match database {
            Database::Sqlite { .. } => Kind::Sqlite,
            Database::Postgres(_) => Kind::Postgres,
        };
        let pool = |connections: u32| {
            let set_up = Arc::new(database.set_up());
            let options = AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(BUSY * 6)
                .after_connect(move |connection: &mut AnyConnection, _| {
                    let set_up = Arc::clone(&set_up);
                    Box::pin(async move {
                        for statement in set_up.iter() {
                            connection.execute(AssertSqlSafe(statement.clone())).await?;
                        }
                        Ok(())
                    })
                });
            match kind {
                Kind::Sqlite => options,
                Kind::Postgres => options
                    .test_before_acquire(false)
                    .before_acquire(|connection, _| Box::pin(postgres::is_idle(connection))),
            }
        };
        let open = |error| database.not_open(error);
        let writer = pool(1).connect(url.expose_secret()).await.map_err(open)?;
        let readers = pool(database.readers()).connect(url.expose_secret()).await.map_err(open)?;
        Ok(Self { kind, writer, readers, follower: Arc::default(), commits: TaskTracker::new() })
    }

    /// From now on, `last` is told of the events of other processes. A file has one process that writes.
    pub(crate) fn follow(&self, database: &Database, last: &watch::Sender<i64>) {
        if let Database::Postgres(there) = database {
            let following = postgres::follow(there.clone(), self.readers.clone(), last.clone());
            self.follower.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(following);
        }
    }

    /// Begins to decide. What is read from here to the commit is the newest there is, and nobody else writes it.
    ///
    /// On PostgreSQL, a lock that all of our processes take makes it so. Each statement sees what was committed before it
    /// began (READ COMMITTED), which is what the one before us left: whoever holds the lock lets go of it only when all
    /// can see what it did. With any stricter level the first statement would settle what is seen, and that is the one
    /// that waits for the lock.
    pub(crate) async fn begin_to_decide(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.writer.begin_with("BEGIN IMMEDIATE").await,
            Kind::Postgres => {
                let mut transaction =
                    self.writer.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
                let lock = format!("SELECT pg_advisory_xact_lock({LOCK})");
                transaction.execute(AssertSqlSafe(lock)).await?;
                Ok(transaction)
            }
        }
    }

    /// Which of the two it is.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.kind == Kind::Sqlite
    }

    /// Begins to read: all statements see the same moment.
    pub(crate) async fn begin_to_read(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        match self.kind {
            Kind::Sqlite => self.readers.begin().await,
            Kind::Postgres => {
                self.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        }
    }

    /// Tells other processes of an event, once it is committed.
    pub(crate) async fn tell(&self, connection: &mut AnyConnection, seq: i64) -> Result<(), sqlx::Error> {
        if self.kind == Kind::Postgres {
            connection.execute(AssertSqlSafe(postgres::hint(seq))).await?;
        }
        Ok(())
    }

    /// Commits, and then says so by `done`. If nobody knows whether that worked, the error says so.
    ///
    /// As a task of its own: whoever no longer waits for it (a host that hung up) has changed something all the same, and
    /// what follows from that waits to be told.
    pub(crate) async fn commit(
        &self,
        transaction: Transaction<'static, Any>,
        done: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let commit = async move {
            transaction.commit().await.map_err(not_committed)?;
            done();
            Ok(())
        };
        // It ends before its time with the runtime only.
        self.commits.spawn(commit).await.unwrap_or(Err(StoreError::Unknown(sqlx::Error::WorkerCrashed)))
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        let mut follower =
            std::mem::take(&mut *self.follower.0.lock().unwrap_or_else(PoisonError::into_inner));
        follower.shutdown().await;
        self.commits.close();
        self.commits.wait().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// What is known of a commit that failed. Whoever still answers has not done it; a server that goes may have, and so may
/// whoever does not answer at all: the server, or SQLite's own thread.
fn not_committed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(ref answer)
            if !answer.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08")) =>
        {
            error.into()
        }
        error => StoreError::Unknown(error),
    }
}

/// Brings a database up to date. Processes that start at the same time wait for one another: on SQLite for the one that
/// may write, on PostgreSQL for the lock that sqlx takes.
///
/// `run_direct` and not `run`: with a single connection, the latter cannot be awaited where a task may change its thread.
async fn migrate(database: &Database, connection: &mut AnyConnection) -> Result<(), StoreError> {
    let migrated = match database {
        Database::Sqlite { .. } => {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let migrated = MIGRATIONS.run_direct(None, &mut *transaction, false).await;
            if migrated.is_ok() {
                transaction.commit().await?;
            }
            migrated
        }
        Database::Postgres(_) => {
            // It takes as long as it takes, and so does the wait for another that does it.
            connection.execute("SET statement_timeout = 0").await?;
            MIGRATIONS.run_direct(None, connection, false).await
        }
    };
    migrated.map_err(|error| not_migrated(database, error))
}

fn not_migrated(database: &Database, error: MigrateError) -> StoreError {
    match (error, database) {
        (MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _), _) => {
            StoreError::Newer { place: database.place(), version }
        }
        (
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _),
            Database::Postgres(there),
        ) if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501")) => {
            there.not_connected(error).into()
        }
        (MigrateError::Execute(error), _) => error.into(),
        (error, _) => StoreError::Migrate { place: database.place(), error: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_is_not_answered_is_unknown_and_not_repeated_whoever_did_not_answer() {
        let io = sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into());
        for error in [sqlx::Error::WorkerCrashed, io] {
            let error = not_committed(error);
            assert!(matches!(error, StoreError::Unknown(_)), "{error:?}");
            assert!(!error.is_passing(), "{error:?}");
        }
    }
}
