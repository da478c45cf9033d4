//! Which images the open jobs need.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Key;
use crate::id::WorkloadId;
use crate::queue::{JobState, Snapshot};
use crate::run::RunState;
use crate::workload::Workload;

/// How long after it asked a host is taken to wait for its image. One that is told to wait asks again within a minute.
const PATIENCE: Duration = Duration::from_mins(10);

/// Whether somebody is taken to wait now for what was last asked for then.
#[must_use]
pub fn is_asked(last: Timestamp, now: Timestamp) -> bool {
    now.duration_since(last).unsigned_abs() < PATIENCE
}

/// An image that open jobs need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Its name in the cache.
    pub key: Key,
    /// The name of the first workload that it is.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The URL that it is fetched from.
    pub origin: String,
    /// All workloads that it is.
    pub workloads: Vec<WorkloadId>,
    /// A host waits for it.
    pub is_asked: bool,
    /// A run is on it.
    pub is_held: bool,
}

/// The images that the jobs of a snapshot need which are not over, in queue order. `key` names the image of a workload,
/// if that is fetched at all; `asked` holds when hosts last asked for which.
#[must_use]
pub fn needs(
    snapshot: &Snapshot,
    key: impl Fn(&Workload) -> Option<Key>,
    asked: &BTreeMap<Key, Timestamp>,
    now: Timestamp,
) -> Vec<Need> {
    let mut jobs: Vec<_> = snapshot.jobs.iter().filter(|job| !job.state.is_final()).collect();
    jobs.sort_by_key(|job| job.rank());
    let workloads: BTreeMap<_, _> = snapshot.workloads.iter().map(|known| (known.id, known)).collect();
    let going_on = snapshot.runs.iter().filter(|run| !run.state.is_final());
    let runs: BTreeMap<_, _> = going_on.map(|run| (run.job, run)).collect();
    let mut places: BTreeMap<Key, usize> = BTreeMap::new();
    let mut needs: Vec<Need> = Vec::new();
    for job in jobs {
        let Some(workload) = workloads.get(&job.workload) else { continue };
        let (Some(key), Some(origin)) = (key(workload), &workload.origin) else { continue };
        let run = runs.get(&job.id);
        let is_held = job.state == JobState::Active;
        // Its host has begun with it, or is about to.
        let is_read = run.is_some_and(|run| matches!(run.state, RunState::Assigned | RunState::Downloading));
        let is_asked = is_read || asked.get(&key).is_some_and(|last| is_asked(*last, now));
        let place = *places.entry(key).or_insert(needs.len());
        if let Some(known) = needs.get_mut(place) {
            known.is_asked |= is_asked;
            known.is_held |= is_held;
            if !known.workloads.contains(&workload.id) {
                known.workloads.push(workload.id);
            }
            continue;
        }
        needs.push(Need {
            key,
            name: workload.name.clone(),
            size: workload.size,
            origin: origin.clone(),
            workloads: vec![workload.id],
            is_asked,
            is_held,
        });
    }
    needs
}
