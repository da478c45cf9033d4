//! What people look at: lists that come in pages, and single things with what belongs to them.
//!
//! A page begins after the key of the last item of the page before, in an order that an index has, so that no list is read
//! from its beginning, and nothing is shown twice or missed when items come and go. Keys are times and identifiers, never
//! names: the engines do not agree on the order of text. Statements are made of the constants of this module; what comes
//! from outside is bound.

mod counts;
mod events;
mod history;
mod hosts;
mod matrix;
pub mod queue;
mod reports;
mod runs;
mod told;
mod workloads;

pub use counts::{Counts, OutboxCounts, waits_statement};
pub use events::EventFilter;
pub use history::{HistoryFilter, HistoryKey, PastJob};
pub use hosts::HostKeyset;
pub use matrix::results_statement;
pub use reports::{ReportFilter, ReportKeyset, ReportLine};
pub use runs::{RunFilter, RunKeyset, RunWith};
pub use workloads::{LastResult, WorkloadFilter, WorkloadKeyset, last_results_statement};

pub(crate) use runs::name_runs;

use std::fmt::Write as _;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row as _};

use crate::load::{MOST_VALUES, all, places};
use crate::{Store, StoreError};

/// What is bound to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        // Neither engine has such a thing stored, and one refuses to look for it.
        Self::Text(crate::save::plain(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A statement with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// A statement that begins so.
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    /// Adds text. Each `?` in it stands for one of the values.
    fn add<const N: usize>(&mut self, text: &str, values: [Value; N]) -> &mut Self {
        let mut number = self.values.len();
        for part in text.split_inclusive('?') {
            match part.strip_suffix('?') {
                Some(before) => {
                    number += 1;
                    // Writing into a string cannot fail.
                    let _ = write!(self.text, "{before}${number}");
                }
                None => self.text.push_str(part),
            }
        }
        self.values.extend(values);
        self
    }

    /// Adds a condition, if there is a value for it.
    fn narrow(&mut self, text: &str, value: Option<Value>) -> &mut Self {
        match value {
            Some(value) => self.add(text, [value]),
            None => self,
        }
    }

    fn query(&self) -> Query<'static, Any, AnyArguments> {
        // Statements are made of constants.
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        self.values.iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text.clone()),
            Value::Number(number) => query.bind(*number),
        })
    }
}

/// What is found by identifiers, however many.
async fn by_ids<T>(
    connection: &mut AnyConnection,
    select: &str,
    ids: &[String],
    read: impl Fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(MOST_VALUES) {
        let text = select.replace("{ids}", &places(ids.len()));
        // The text is made of nothing but constants and numbers.
        let query = sqlx::query(AssertSqlSafe(text));
        let query = ids.iter().fold(query, |query, id| query.bind(id.clone()));
        found.append(&mut all(connection, query, &read).await?);
    }
    Ok(found)
}

/// Each text once, in order.
fn distinct(ids: impl Iterator<Item = String>) -> Vec<String> {
    ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

impl Store {
    /// How the database would carry a statement out, a line for each step: for tests, and for whoever looks into a slow
    /// one.
    pub async fn plan(&self, statement: &Statement) -> Result<Vec<String>, StoreError> {
        let is_sqlite = self.engine.is_sqlite();
        let explain = if is_sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
        let explained =
            Statement { text: format!("{explain} {}", statement.text), values: statement.values.clone() };
        let mut connection = self.readers.acquire().await?;
        let column = if is_sqlite { "detail" } else { "QUERY PLAN" };
        all(&mut connection, explained.query(), |row| Ok(row.try_get(column)?)).await
    }
}
