//! An empty database on either engine.

use std::path::PathBuf;

use dispatch_store::{Database, Postgres, Store, StoreError};
use dispatch_testkit::postgres;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};
use tempfile::TempDir;

/// An empty database, thrown away at the end.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().expect("a folder"))
    }

    pub(crate) fn postgres() -> Self {
        let server = postgres::Postgres::shared().expect("a server");
        Self::Postgres(server.database().expect("a database"))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("dispatch.db"),
            Self::Postgres(_) => panic!("a file"),
        }
    }

    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Sqlite(_) => Database::Sqlite { path: self.path() },
            Self::Postgres(database) => Database::Postgres(there(database)),
        }
    }

    /// A store, as each process has one.
    pub(crate) async fn store(&self) -> Store {
        self.try_store().await.expect("a store")
    }

    pub(crate) async fn try_store(&self) -> Result<Store, StoreError> {
        Store::connect(&self.database()).await
    }

    /// A connection that goes around the store.
    pub(crate) async fn connection(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let url = match self {
            Self::Sqlite(_) => format!("sqlite://{}?mode=rwc", self.path().display()),
            Self::Postgres(database) => format!(
                "postgres:///{}?user={}&host={}&port={}",
                database.name,
                postgres::USER,
                database.server.folder.display(),
                database.server.port
            ),
        };
        AnyConnection::connect(&url).await.expect("a connection")
    }

    /// Runs a statement around the store; says how many rows it concerned.
    pub(crate) async fn execute(&self, statement: &str) -> Result<u64, sqlx::Error> {
        let mut connection = self.connection().await;
        let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        connection.close().await?;
        Ok(done?.rows_affected())
    }
}

/// How to get to a database of the tests.
pub(crate) fn there(database: &postgres::Database) -> Postgres {
    Postgres {
        host: "127.0.0.1".to_owned(),
        port: database.server.port,
        user: postgres::USER.to_owned(),
        password: Some(postgres::PASSWORD.into()),
        database: database.name.clone(),
        ..Postgres::default()
    }
}
