//! What can go wrong with the database.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_core::{HostId, RunId};
use sqlx::error::DatabaseError;

use crate::engine::Place;
use crate::postgres::PostgresError;

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was written by an older version, and has not been brought up to date.
    #[error("{place} is of an older version: start what works with it once with this one")]
    Older {
        /// The database.
        place: Place,
    },
    /// The path cannot be part of a URL.
    #[error("the path {} is not valid UTF-8: choose another place for the state", path.display())]
    Path {
        /// Which.
        path: PathBuf,
    },
    /// It is not there.
    #[error("there is no state at {}: start a session there first, or give another --state", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error("cannot open the state {}: {error}; give another --state, or --fresh to begin anew", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: sqlx::Error,
    },
    /// A newer program has written it.
    #[error("{place} was written by a newer dispatch (schema {version}): use that version, or {}", place.another())]
    Newer {
        /// Which.
        place: Place,
        /// Its schema.
        version: i64,
    },
    /// It cannot be brought up to date.
    #[error("cannot bring {place} up to date: {error}; use the version that it was last used with, or {}", place.another())]
    Migrate {
        /// Which.
        place: Place,
        /// Why.
        error: Box<sqlx::migrate::MigrateError>,
    },
    /// Another process works with it.
    #[error(
        "{place} is in use by another dispatch: end that one, or name another in `database` of the configuration"
    )]
    InUse {
        /// The database.
        place: Place,
    },
    /// Another process has taken it while we had no connection.
    #[error(
        "{place} was taken by another dispatch while this one had no connection to it: see that only one is started, or \
         name another in `database` of the configuration"
    )]
    Taken {
        /// The database.
        place: Place,
    },
    /// We had no connection that holds it for too long.
    #[error(
        "{place} could not be held for {} seconds ({why}), and another dispatch may take it: see that its server can be \
         reached and has connections left, then start again",
        after.as_secs()
    )]
    Unclaimed {
        /// The database.
        place: Place,
        /// How long we tried.
        after: Duration,
        /// Why the last try failed.
        why: String,
    },
    /// What we say in one connection does not reach one session of the server.
    #[error(
        "{place} is reached by a pooler that shares connections between transactions, and cannot be held that way: give \
         host and port of PostgreSQL itself, or let the pooler share them between sessions"
    )]
    Pooled {
        /// The database.
        place: Place,
    },
    /// The folder of the database, or the file that it is held by.
    #[error("cannot use {}: {error}; see who owns it, or name another place in `database.sqlite.path`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A server that does not let us in.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The connection was lost, or there was none in time. Nothing was changed.
    #[error("the database does not answer: {0}; check that its server runs, and try again")]
    Lost(#[source] sqlx::Error),
    /// The connection was lost at the worst moment.
    #[error(
        "the connection to the database was lost while a change was committed, and nobody knows whether it was: look \
         before trying again ({0})"
    )]
    Unknown(#[source] sqlx::Error),
    /// A statement took longer than it may.
    #[error(
        "the database took longer than its statement_timeout allows: allow more, or see what keeps it ({0})"
    )]
    Slow(#[source] sqlx::Error),
    /// Somebody else was in the way. Nothing was changed.
    #[error("somebody else works with the database in a way that keeps us from it ({0}): try again")]
    Conflict(#[source] sqlx::Error),
    /// A statement failed.
    #[error("the state cannot be read or written: {0}; is there room on its disk?")]
    Sql(#[source] sqlx::Error),
    /// A row says something that this program does not know.
    #[error(
        "the state is damaged: column {column} holds `{value}`; give another --state, or --fresh to begin anew"
    )]
    Damaged {
        /// Where.
        column: &'static str,
        /// What.
        value: String,
    },
    /// Somebody else holds the host by now.
    #[error("run {run} has lost its lease on host {host}")]
    Fenced {
        /// Who tried to write.
        run: RunId,
        /// The target.
        host: HostId,
    },
}

impl StoreError {
    /// Whether somebody else was in the way, and nothing has been changed: as what there may be one of was made twice.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Conflict(_) => true,
            Self::Sql(error) => error.as_database_error().is_some_and(DatabaseError::is_unique_violation),
            _ => false,
        }
    }

    /// Whether nothing has been changed, and it may be otherwise when it is tried again at once.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            // Who waited for a connection has waited long enough; and we have closed them ourselves.
            Self::Lost(error) => !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed),
            other => matches!(other, Self::Conflict(_)),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    /// PostgreSQL has a code of five characters for each error ("PostgreSQL Error Codes", appendix A of its manual); those
    /// of SQLite are numbers of one to four.
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(DatabaseError::code).unwrap_or_default().into_owned();
        match (&error, code.as_str()) {
            // The server ends or begins, took us for gone, or has too many.
            (
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Tls(_),
                _,
            )
            | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "53300" | "08006") => Self::Lost(error),
            // Of SQLite: busy, locked, and their kinds.
            (_, "40001" | "40P01" | "55P03" | "5" | "6" | "261" | "262" | "517" | "773") => {
                Self::Conflict(error)
            }
            (_, "57014") => Self::Slow(error),
            _ => Self::Sql(error),
        }
    }
}
