//! How workloads last came out on hosts.

use dispatch_core::queue::matrix::Cell;
use dispatch_core::{HostId, Run, RunId, WorkloadId};
use sqlx::any::AnyRow;

use super::{Statement, by_ids};
use crate::load::{all, places};
use crate::{Store, StoreError, rows};

/// How many workloads are asked for in one statement, and how many hosts.
const AT_ONCE: usize = 100;

/// The latest run of each of these workloads on each of these hosts that has a verdict and is over. Each is one look at an
/// index, however many runs there are.
#[must_use]
pub fn results_statement(workloads: &[WorkloadId], hosts: &[HostId]) -> Statement {
    let text = |ids: Vec<String>| ids.into_iter().map(Into::into);
    let values = text(workloads.iter().map(ToString::to_string).collect())
        .chain(text(hosts.iter().map(ToString::to_string).collect()))
        .collect();
    let all = places(workloads.len() + hosts.len());
    let all: Vec<&str> = all.split(", ").collect();
    let (of, on) = all.split_at(workloads.len());
    let text = format!(
        "SELECT (SELECT runs.id FROM runs WHERE runs.workload = workloads.id AND runs.host = hosts.id \
         AND runs.active = 0 AND runs.verdict IS NOT NULL \
         ORDER BY runs.created DESC, runs.public_name DESC LIMIT 1) AS run \
         FROM workloads CROSS JOIN hosts WHERE workloads.id IN ({}) AND hosts.id IN ({})",
        of.join(", "),
        on.join(", ")
    );
    Statement { text, values }
}

fn cell(run: &Run) -> Cell {
    Cell {
        workload: run.workload,
        host: run.host,
        run: run.id.public_name(),
        state: run.state,
        verdict: run.verdict,
        begun: run.created,
        at: run.since,
    }
}

impl Store {
    /// How these workloads last came out on these hosts, and what of them goes on there.
    pub async fn results(&self, workloads: &[WorkloadId], hosts: &[HostId]) -> Result<Vec<Cell>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut ids: Vec<String> = Vec::new();
        let read = |row: &AnyRow| rows::optional_parsed::<RunId>(row, "run");
        for workloads in workloads.chunks(AT_ONCE) {
            for hosts in hosts.chunks(AT_ONCE) {
                let found = all(&mut transaction, results_statement(workloads, hosts).query(), read).await?;
                ids.extend(found.into_iter().flatten().map(|run| run.to_string()));
            }
        }
        let mut runs =
            by_ids(&mut transaction, "SELECT * FROM runs WHERE id IN ({ids})", &ids, rows::run).await?;
        let on: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let going_on = "SELECT * FROM runs WHERE active = 1 AND host IN ({ids})";
        let going_on = by_ids(&mut transaction, going_on, &on, rows::run).await?;
        runs.extend(going_on.into_iter().filter(|run| workloads.contains(&run.workload)));
        Ok(runs.iter().map(cell).collect())
    }
}
