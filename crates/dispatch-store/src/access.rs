//! Who is signed in: the sessions of people. Called by the API only.
//!
//! A session is found by the digest of its token, which nobody can turn back: a copy of the database opens no door.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::{Store, StoreError};

/// How many sessions one user has at a time. A new one beyond that ends the oldest.
pub const MOST_SESSIONS: i64 = 100;

/// Somebody's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its token, as hexadecimal digits.
    pub token: String,
    /// Whose it is.
    pub username: String,
    /// SHA-256 over the token and the user's entry in the configuration, as hexadecimal digits.
    pub seal: String,
    /// When it began.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, StoreError> {
    let microseconds: i64 = row.try_get(column)?;
    Timestamp::from_microsecond(microseconds)
        .map_err(|_| StoreError::Damaged { column, value: microseconds.to_string() })
}

impl Store {
    /// Keeps a new session. What has expired by its beginning goes, and of its user's sessions all but the
    /// [`MOST_SESSIONS`] that end last.
    pub async fn add_session(&self, session: &Session) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires <= $1")
            .bind(session.created.as_microsecond())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE username = $1 AND token NOT IN \
             (SELECT token FROM sessions WHERE username = $2 ORDER BY expires DESC, token LIMIT $3)",
        )
        .bind(&session.username)
        .bind(&session.username)
        .bind(MOST_SESSIONS - 1)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO sessions (token, username, seal, created, expires) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&session.token)
        .bind(&session.username)
        .bind(&session.seal)
        .bind(session.created.as_microsecond())
        .bind(session.expires.as_microsecond())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The session with this digest of its token, unless it has expired.
    pub async fn session(&self, token: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let row = sqlx::query("SELECT * FROM sessions WHERE token = $1 AND expires > $2")
            .bind(token)
            .bind(now.as_microsecond())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| {
            Ok(Session {
                token: row.try_get("token")?,
                username: row.try_get("username")?,
                seal: row.try_get("seal")?,
                created: time(&row, "created")?,
                expires: time(&row, "expires")?,
            })
        })
        .transpose()
    }

    /// Ends a session. One that is not there is no error: it is over.
    pub async fn end_session(&self, token: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sessions WHERE token = $1").bind(token).execute(&self.writer).await?;
        Ok(())
    }

    /// Asks the database for nothing in particular, to see whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT value FROM counters WHERE name = 'event'").fetch_one(&self.readers).await?;
        Ok(())
    }
}
