//! What was answered to requests that may come again.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AnyConnection, Row as _};

use crate::{Store, StoreError};

/// By what a request is known when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub who: String,
    /// The key that they chose.
    pub key: String,
    /// What they ask, hashed: the same key must not stand for something else.
    pub fingerprint: String,
    /// When it came.
    pub at: Timestamp,
}

/// The answer to a request that may have come before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered<T> {
    /// It was decided now.
    Now(T),
    /// It came before, and this was answered then.
    Before(T),
    /// Another request came before with its key.
    OtherRequest,
}

pub(crate) async fn find<T: DeserializeOwned>(
    connection: &mut AnyConnection,
    request: &Request,
) -> Result<Option<Answered<T>>, StoreError> {
    let query = sqlx::query("SELECT fingerprint, answer FROM answers WHERE who = $1 AND request_key = $2")
        .bind(request.who.clone())
        .bind(request.key.clone());
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let fingerprint: String = row.try_get("fingerprint")?;
    if fingerprint != request.fingerprint {
        return Ok(Some(Answered::OtherRequest));
    }
    let answer: String = row.try_get("answer")?;
    match serde_json::from_str(&answer) {
        Ok(answer) => Ok(Some(Answered::Before(answer))),
        Err(error) => Err(StoreError::Damaged { column: "answer", value: error.to_string() }),
    }
}

pub(crate) async fn save<T: Serialize>(
    connection: &mut AnyConnection,
    request: &Request,
    answer: &T,
) -> Result<(), StoreError> {
    let answer = serde_json::to_string(answer)
        .map_err(|error| StoreError::Damaged { column: "answer", value: error.to_string() })?;
    sqlx::query(
        "INSERT INTO answers (who, request_key, fingerprint, answer, at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(request.who.clone())
    .bind(request.key.clone())
    .bind(request.fingerprint.clone())
    .bind(answer)
    .bind(request.at.as_microsecond())
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Forgets the answers to requests that came before then. Returns how many they were.
    pub async fn forget_answers(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM answers WHERE at < $1")
            .bind(before.as_microsecond())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }
}
