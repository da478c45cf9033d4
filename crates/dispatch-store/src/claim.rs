//! That one process works with a database. Two would both follow the sources, fetch images and file issues.
//!
//! A file is held by a lock on another one beside it, which the system gives back however the process ends. A database on
//! a server is held by an advisory lock of a connection that is kept for nothing else; the server gives it back when that
//! connection ends, and asks every few seconds whether whoever holds it is still there.
//!
//! A lock that we only believe to have is worse than none. So the server is asked for the lock itself, not only for an
//! answer; whoever has been without it for a minute, and can use the database, ends; and a pooler that hands out one session of the server to
//! several of its clients is refused, because all of them would have the lock.

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

/// How long somebody without a claim goes on with a database that can be used, if nobody is known to have it instead.
const UNCLAIMED: Duration = Duration::from_mins(1);

/// How long one try to take a database on a server may last: to connect, to wait for who holds it, and some more.
const TAKING: Duration = Duration::from_secs(20);

/// How many links lead to a file at most, as on Linux (`path_resolution(7)`).
const LINKS: u32 = 40;

/// How long the end of a connection may last.
const CLOSING: Duration = Duration::from_secs(2);

/// How long a claim waits for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Between two looks whether it is still there, and between two tries to take it again.
    pub look: Duration,
    /// For one try.
    pub taking: Duration,
    /// For all tries together. From a look that is not answered to the end it is this and twelve seconds at most.
    pub unclaimed: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { look: LOOK, taking: TAKING, unclaimed: UNCLAIMED }
    }
}

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
        past: Vec<Backend>,
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
                let mut past = Vec::new();
                let session = Session::begin(database, &mut past, TAKING).await?;
                Ok(Self(Held::Server { database: Box::new(database.clone()), session: Some(session), past }))
            }
        }
    }

    /// Keeps it. If the connection is lost it is taken again. Returns when another process has taken it meanwhile, or
    /// when it could not be had again within a minute: then this one must end, unless nobody can use the database anyway;
    /// it may be kept again then.
    pub async fn keep(&mut self) -> StoreError {
        self.keep_with(Patience::default()).await
    }

    /// The same, with another patience.
    pub async fn keep_with(&mut self, patience: Patience) -> StoreError {
        let Held::Server { database, session, past } = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            if let Some(held) = session {
                tokio::time::sleep(patience.look).await;
                if held.is_there().await {
                    continue;
                }
                *session = None;
            }
            match take_again(database, past, patience).await {
                Ok(again) => *session = Some(again),
                Err(error) => return error,
            }
        }
    }

    /// Gives it back at once. Else the server has to notice first that the connection is gone.
    pub async fn release(self) {
        if let Held::Server { session: Some(session), .. } = self.0 {
            // It is gone in any case.
            let _ = tokio::time::timeout(CLOSING, session.connection.close()).await;
        }
    }
}

/// Tries until it is taken, or another process has it, or the patience ends.
async fn take_again(
    database: &Database,
    past: &mut Vec<Backend>,
    patience: Patience,
) -> Result<Session, StoreError> {
    let mut why = "its server does not answer".to_owned();
    let tries = async {
        loop {
            match Session::begin(database, past, patience.taking).await {
                Err(StoreError::InUse { place }) => return Err(StoreError::Taken { place }),
                Err(error) if !matches!(error, StoreError::Pooled { .. }) => why = error.to_string(),
                taken => return taken,
            }
            tokio::time::sleep(patience.look).await;
        }
    };
    let ended = tokio::time::timeout(patience.unclaimed, tries).await;
    ended.unwrap_or_else(|_| {
        Err(StoreError::Unclaimed { place: database.place(), after: patience.unclaimed, why })
    })
}

impl Session {
    /// Connects, and takes the lock. `past` are the connections that may have had it: the server may not know that they
    /// are gone. This one is added to them.
    async fn begin(
        database: &Database,
        past: &mut Vec<Backend>,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        let begun = tokio::time::timeout(limit, Self::begin_at_last(database, past)).await;
        begun.unwrap_or_else(|_| {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(database.not_open(sqlx::Error::Io(late)))
        })
    }

    async fn begin_at_last(database: &Database, past: &mut Vec<Backend>) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let mut connection = database.connection("rw").await?;
        for backend in &*past {
            backend.end(&mut connection).await?;
        }
        let own = "SELECT pid, CAST(backend_start AS TEXT) AS begun FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = connection.fetch_one(own).await?;
        let backend = Backend { number: row.try_get("pid")?, begun: row.try_get("begun")? };
        if is_shared(database, &mut connection, &backend, past.is_empty()).await? {
            return Err(StoreError::Pooled { place: database.place() });
        }
        for statement in SET_UP {
            connection.execute(statement).await?;
        }
        // Before it has the lock: nobody may be left to say who has it.
        past.push(backend.clone());
        let patience = format!("SET lock_timeout = {}", PATIENCE.as_millis());
        connection.execute(AssertSqlSafe(patience)).await?;
        let lock = format!("SELECT pg_advisory_lock({LOCK})");
        if let Err(error) = connection.execute(AssertSqlSafe(lock)).await {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            let is_held = code.as_deref() == Some("55P03");
            return Err(if is_held { StoreError::InUse { place: database.place() } } else { error.into() });
        }
        past.retain(|other| *other == backend);
        Ok(Self { connection, backend })
    }

    /// Whether the lock is ours: the server says so, of the session that it answers in, and that is the one that took it.
    async fn is_there(&mut self) -> bool {
        let number = self.backend.number;
        let look = format!(
            "SELECT CASE WHEN pg_backend_pid() = {number} AND EXISTS (SELECT 1 FROM pg_locks AS l \
             WHERE l.pid = {number} AND {}) THEN 1 ELSE 0 END AS held",
            is_lock()
        );
        let answer = tokio::time::timeout(CONNECT, self.connection.fetch_one(AssertSqlSafe(look))).await;
        answer.is_ok_and(|row| row.is_ok_and(|row| row.try_get::<i32, _>("held").is_ok_and(|held| held == 1)))
    }
}

impl Backend {
    /// Ends it, if it is still there and has the lock: anything else is not ours to end.
    async fn end(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let end = format!(
            "SELECT CASE WHEN pg_terminate_backend(a.pid) THEN 1 ELSE 0 END AS gone \
             FROM pg_stat_activity AS a JOIN pg_locks AS l ON l.pid = a.pid \
             WHERE a.pid = $1 AND CAST(a.backend_start AS TEXT) = $2 AND {}",
            is_lock()
        );
        let end = sqlx::query(AssertSqlSafe(end)).persistent(false);
        end.bind(self.number).bind(&self.begun).fetch_optional(connection).await?;
        Ok(())
    }
}

/// That the row `l` of `pg_locks` is the lock of this database, and somebody has it. It shows the halves of its number
/// (PostgreSQL's manual, "`pg_locks`").
fn is_lock() -> String {
    format!(
        "l.locktype = 'advisory' AND l.granted AND l.classid = {} AND l.objid = {} AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        LOCK >> 32,
        LOCK & 0xffff_ffff
    )
}

/// Whether a pooler stands between, and gives one session of the server to several of its clients: then two of our
/// connections are answered by the same one, or one connection by two, as soon as another is in a transaction.
///
/// Whoever takes it again may find no room for a second connection; that is no reason to lose the database.
async fn is_shared(
    database: &Database,
    connection: &mut AnyConnection,
    backend: &Backend,
    is_first: bool,
) -> Result<bool, StoreError> {
    let mut other = match database.connection("rw").await {
        Ok(other) => other,
        Err(error) if is_first => return Err(error),
        Err(_) => return Ok(answers(connection).await? != backend.number),
    };
    other.execute("BEGIN").await?;
    let theirs = answers(&mut other).await?;
    let ours = answers(connection).await?;
    other.execute("ROLLBACK").await?;
    // It is gone in any case.
    let _ = other.close().await;
    Ok(theirs == backend.number || ours != backend.number)
}

/// Which session of the server answers.
async fn answers(connection: &mut AnyConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one("SELECT pg_backend_pid() AS pid").await?.try_get("pid")
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
    let mut name = real(path).map_err(failed(path))?.into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed(&name))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { place: database.place() }),
        Err(TryLockError::Error(error)) => Err(failed(&name)(error)),
    }
}

/// The one name of a file that may have several, by symbolic links to it or to its folder. It need not be there yet.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match path.canonicalize() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            found => return found,
        }
        let folder = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => folder.canonicalize()?,
            None => Path::new(".").canonicalize()?,
        };
        match path.read_link() {
            // To a file that is not there: it will be made where the link leads.
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name))),
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}
