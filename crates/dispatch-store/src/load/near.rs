//! The jobs around a place in a queue.

use std::collections::BTreeSet;

use dispatch_core::queue::Snapshot;
use dispatch_core::{GroupId, JobId};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{all, maybe};
use crate::{Near, StoreError, rows};

/// That a job waits; the first half is the condition of the index.
const WAITS: &str = "other.state IN ('queued', 'active') AND other.state = 'queued'";

/// The jobs that wait beside a place: the one that is there, the one before it and the one behind it.
pub(super) async fn jobs(
    connection: &mut AnyConnection,
    near: Option<&Near>,
) -> Result<Vec<JobId>, StoreError> {
    let at_end = |order: &str| {
        sqlx::query(AssertSqlSafe(format!(
            "SELECT other.id AS id FROM jobs AS other WHERE other.grp = $1 AND {WAITS} ORDER BY {order} LIMIT 1"
        )))
    };
    let query = match near {
        None => return Ok(Vec::new()),
        Some(Near::First(group)) => {
            at_end("other.priority DESC, other.position, other.id").bind(group.to_string())
        }
        Some(Near::Last(group)) => {
            at_end("other.priority, other.position DESC, other.id DESC").bind(group.to_string())
        }
        Some(Near::Job(job)) => return beside(connection, *job).await,
    };
    all(connection, query, |row| rows::parsed(row, "id")).await
}

/// A job and its neighbours in the queue: two on each side, for the one that is to be moved may be the first.
async fn beside(connection: &mut AnyConnection, job: JobId) -> Result<Vec<JobId>, StoreError> {
    let mut found = vec![job];
    // Of the same priority, then of the next; each is one stretch of an index. Of the four, the nearest two count.
    let before = "other.priority, other.position DESC, other.id DESC";
    let behind = "other.priority DESC, other.position, other.id";
    let sides = [
        (
            "other.priority = jobs.priority AND other.position <= jobs.position \
          AND (other.position < jobs.position OR other.id < jobs.id)",
            before,
        ),
        ("other.priority > jobs.priority", before),
        (
            "other.priority = jobs.priority AND other.position >= jobs.position \
          AND (other.position > jobs.position OR other.id > jobs.id)",
            behind,
        ),
        ("other.priority < jobs.priority", behind),
    ];
    for (is_there, order) in sides {
        let query = format!(
            "SELECT other.id AS id FROM jobs JOIN jobs AS other ON other.grp = jobs.grp AND {is_there} \
             WHERE jobs.id = $1 AND {WAITS} ORDER BY {order} LIMIT 2"
        );
        // The text is made of nothing but the words above.
        let query = sqlx::query(AssertSqlSafe(query)).bind(job.to_string());
        found.append(&mut all(connection, query, |row| rows::parsed::<JobId>(row, "id")).await?);
    }
    Ok(found)
}

/// The jobs that are not over and have the dedupe key of one of these: none of these can come back beside them.
pub(super) async fn with_same_keys(
    connection: &mut AnyConnection,
    snapshot: &Snapshot,
    jobs: &[JobId],
) -> Result<BTreeSet<JobId>, StoreError> {
    let named = snapshot.jobs.iter().filter(|job| jobs.contains(&job.id) && job.state.is_final());
    let mut found = BTreeSet::new();
    for job in named {
        if let Some(key) = &job.dedupe_key {
            found.extend(with_dedupe_key(connection, &job.group, key).await?);
        }
    }
    found.retain(|id| !snapshot.jobs.iter().any(|job| job.id == *id));
    Ok(found)
}

/// The job of a group that is not over and has this dedupe key.
pub(super) async fn with_dedupe_key(
    connection: &mut AnyConnection,
    group: &GroupId,
    key: &str,
) -> Result<Option<JobId>, StoreError> {
    let query = sqlx::query(
        "SELECT id FROM jobs WHERE grp = $1 AND dedupe_key = $2 AND dedupe_key IS NOT NULL \
         AND state IN ('queued', 'active')",
    )
    .bind(group.to_string())
    .bind(key);
    maybe(connection, query, |row| rows::parsed(row, "id")).await
}
