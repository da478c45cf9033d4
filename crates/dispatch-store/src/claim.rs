//! That one process works with a database. Two would both follow the sources, fetch images and file issues.
//!
//! A file is held by a lock on another one beside it, which the system gives back however the process ends. A database on
//! a server is held by an advisory lock of a connection that is kept for nothing else; the server gives it back when that
//! connection ends, and asks every few seconds whether whoever holds it is still there.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use crate::postgres::CONNECT;
use crate::{Database, StoreError};

/// The lock of whoever works with a database on a server; another one than that of whoever decides.
const LOCK: i64 = i64::from_be_bytes(*b"dispatc1");

/// How long to wait for who holds it: the server may not have noticed yet that its process is gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often we look whether the connection is still there.
const LOOK: Duration = Duration::from_secs(2);

/// What the connection is told. A machine that is gone without a word is noticed after twenty seconds (the system's usual
/// patience is two hours).
const SET_UP: [&str; 4] = [
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    // The wait for the lock has a limit of its own.
    "SET statement_timeout = 0",
];

/// The right to work with a database, for as long as this lives.
#[derive(Debug)]
pub struct Claim(Held);

#[derive(Debug)]
enum Held {
    /// Locked until it is closed.
    File(#[expect(dead_code, reason = "it is kept open")] File),
    Server {
        database: Box<Database>,
        session: Option<Session>,
        last: Backend,
    },
}

/// A connection that has the lock.
#[derive(Debug)]
struct Session {
    connection: AnyConnection,
    backend: Backend,
}

/// A connection, as the server calls it. Numbers come again, with another time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Backend {
    number: i32,
    begun: String,
}

impl Claim {
    /// Takes a database. If another process has it, the error says so.
    pub async fn take(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite { path } => take_file(database, path).map(Held::File).map(Self),
            Database::Postgres(_) => {
                let session = Session::begin(database, None).await?;
                let last = session.backend.clone();
                Ok(Self(Held::Server { database: Box::new(database.clone()), session: Some(session), last }))
            }
        }
    }

    /// Keeps it. If the connection is lost it is taken again, however long the server is away. Returns when another
    /// process has taken it meanwhile: then this one must end.
    pub async fn keep(&mut self) -> StoreError {
        let Held::Server { database, session, last } = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            match session {
                Some(held) => {
                    tokio::time::sleep(LOOK).await;
                    if !held.is_there().await {
                        *session = None;
                    }
                }
                None => match Session::begin(database, Some(last)).await {
                    Ok(again) => {
                        last.clone_from(&again.backend);
                        *session = Some(again);
                    }
                    Err(StoreError::InUse { place }) => return StoreError::Taken { place },
                    // Whoever needs the database notices, and says what is wrong.
                    Err(_) => tokio::time::sleep(LOOK).await,
                },
            }
        }
    }

    /// Gives it back at once. Else the server has to notice first that the connection is gone.
    pub async fn release(self) {
        if let Held::Server { session: Some(session), .. } = self.0 {
            // It is gone in any case.
            let _ = session.connection.close().await;
        }
    }
}

impl Session {
    /// Connects, and takes the lock. `before` is the connection that had it: the server may not know that it is gone.
    async fn begin(database: &Database, before: Option<&Backend>) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let mut connection = database.connection("rw").await?;
        for statement in SET_UP {
            connection.execute(statement).await?;
        }
        if let Some(Backend { number, begun }) = before {
            // Nobody else has it for this long.
            sqlx::query(
                "SELECT pg_terminate_backend(pid) AS gone FROM pg_stat_activity \
                 WHERE pid = $1 AND CAST(backend_start AS TEXT) = $2",
            )
            .bind(number)
            .bind(begun)
            .fetch_optional(&mut connection)
            .await?;
        }
        let patience = format!("SET lock_timeout = {}", PATIENCE.as_millis());
        connection.execute(AssertSqlSafe(patience)).await?;
        let lock = format!("SELECT pg_advisory_lock({LOCK})");
        match connection.execute(AssertSqlSafe(lock)).await {
            Ok(_) => {}
            Err(error) => {
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                let is_held = code.as_deref() == Some("55P03");
                return Err(if is_held {
                    StoreError::InUse { place: database.place() }
                } else {
                    error.into()
                });
            }
        }
        let backend = "SELECT pid, CAST(backend_start AS TEXT) AS begun FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = connection.fetch_one(backend).await?;
        let backend = Backend { number: row.try_get("pid")?, begun: row.try_get("begun")? };
        Ok(Self { connection, backend })
    }

    /// Whether the connection answers: with it, the lock is ours.
    async fn is_there(&mut self) -> bool {
        let answer = tokio::time::timeout(CONNECT, self.connection.execute("SELECT 1"));
        answer.await.is_ok_and(|answer| answer.is_ok())
    }
}

/// Takes a file. Its folder is made if it is not there.
fn take_file(database: &Database, path: &Path) -> Result<File, StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| StoreError::Folder { path, error }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    let mut name = path.to_owned().into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed(&name))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { place: database.place() }),
        Err(TryLockError::Error(error)) => Err(failed(&name)(error)),
    }
}
