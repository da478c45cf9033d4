//! What can go wrong with the database.

use std::path::PathBuf;

use dispatch_core::{HostId, RunId};

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It was written by an older version, and has not been brought up to date.
    #[error("the state in {} is of an older version: start its session once with this one", path.display())]
    Older {
        /// The database.
        path: PathBuf,
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
    #[error(
        "the state {} was written by a newer dispatch (schema {version}): use that version, or another --state, or \
         --fresh to begin anew",
        path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its schema.
        version: i64,
    },
    /// It cannot be brought up to date.
    #[error("cannot bring the state {} up to date: {error}", path.display())]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Box<sqlx::migrate::MigrateError>,
    },
    /// A statement failed.
    #[error("the state cannot be read or written: {0}; is there room on its disk?")]
    Sql(#[from] sqlx::Error),
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
