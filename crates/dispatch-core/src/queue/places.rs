//! Places in a queue: jobs that wait are put before and behind one another.
//!
//! The order is by priority, then by position. A job that is put beside another takes its priority: what people see
//! after a move is what they have asked for.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::jobs::STEP;
use super::{Job, JobState, NotDone, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::GroupId;
use crate::id::JobId;

/// Where a job is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before everything else that waits.
    First,
    /// Behind everything else that waits.
    Last,
    /// Just before this job.
    Before(JobId),
    /// Just behind this job.
    After(JobId),
}

/// What a new order of a queue came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reordered {
    /// How many jobs have another place now.
    pub moved: usize,
    /// Those that do not wait any more: they keep the place that they had.
    pub left: Vec<JobId>,
}

impl Snapshot {
    /// Puts the jobs of a list into this order: together they take the places that they have. `self` must hold them.
    /// With the whole queue in the list, that is its order then; jobs that the list leaves out stay where they are.
    #[must_use]
    pub fn reorder(
        mut self,
        group: &GroupId,
        list: &[JobId],
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<Reordered, NotDone>> {
        self.by = by.map(str::to_owned);
        let mut seen = BTreeSet::new();
        if list.iter().any(|job| !seen.insert(*job)) {
            return Outcome { answer: Err(NotDone::Twice), changes: Vec::new() };
        }
        let of_group = |id: &JobId| self.jobs.iter().find(|job| job.id == *id && job.group == *group);
        let known: Option<Vec<&Job>> = list.iter().map(of_group).collect();
        let Some(known) = known else {
            return Outcome { answer: Err(NotDone::Elsewhere), changes: Vec::new() };
        };
        let (waiting, left): (Vec<&Job>, Vec<&Job>) =
            known.into_iter().partition(|job| job.state == JobState::Queued && !job.is_deleted);
        let mut places: Vec<_> = waiting.iter().map(|job| job.rank()).collect();
        places.sort_unstable();
        let left = left.into_iter().map(|job| job.id).collect();
        let wanted: Vec<(JobId, i64, i64)> = waiting
            .iter()
            .zip(apart(&places))
            .map(|(job, (priority, position))| (job.id, priority, position))
            .collect();
        let mut moved = 0;
        for (id, priority, position) in wanted {
            if self.put(id, priority, position, now) {
                moved += 1;
            }
        }
        self.outcome(Ok(Reordered { moved, left }))
    }

    /// Moves a job that waits. `self` must hold it, and what waits around the place. [`NotDone::Crowded`] means that
    /// there is no room between two jobs: [`Snapshot::spread_out`] makes some.
    #[must_use]
    pub fn move_job(
        mut self,
        job: JobId,
        place: Place,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        match self.place_for(job, place, seen) {
            Err(why) => Outcome { answer: Err(why), changes: Vec::new() },
            Ok(Some((priority, position))) => {
                self.put(job, priority, position, now);
                self.outcome(Ok(()))
            }
            // It is there already.
            Ok(None) => self.outcome(Ok(())),
        }
    }

    fn place_for(
        &self,
        job: JobId,
        place: Place,
        seen: Option<&[u64]>,
    ) -> Result<Option<(i64, i64)>, NotDone> {
        let known = self.to_change(job, seen)?;
        match known.state {
            JobState::Queued => {}
            JobState::Active => return Err(NotDone::Running),
            JobState::Done | JobState::Cancelled => return Err(NotDone::Over),
        }
        let others = self.jobs.iter().filter(|other| {
            other.id != job
                && other.group == known.group
                && other.state == JobState::Queued
                && !other.is_deleted
        });
        let mut others: Vec<&Job> = others.collect();
        others.sort_unstable_by_key(|other| other.rank());
        let at = match place {
            Place::First => 0,
            Place::Last => others.len(),
            Place::Before(other) | Place::After(other) => {
                let Some(at) = others.iter().position(|known| known.id == other) else {
                    return if other == job { Ok(None) } else { Err(NotDone::NotBeside) };
                };
                if matches!(place, Place::Before(_)) { at } else { at + 1 }
            }
        };
        let (before, behind) = (at.checked_sub(1).map(|at| others[at]), others.get(at).copied());
        let is_there = before.is_none_or(|before| before.rank() < known.rank())
            && behind.is_none_or(|behind| known.rank() < behind.rank());
        if is_there {
            return Ok(None);
        }
        let neighbour = match place {
            Place::First | Place::Before(_) => behind,
            Place::Last | Place::After(_) => before,
        };
        let Some(priority) = neighbour.map(|job| job.priority) else { return Ok(None) };
        let of_priority =
            |job: Option<&Job>| job.filter(|job| job.priority == priority).map(|job| job.position);
        let position = match (of_priority(before), of_priority(behind)) {
            (Some(low), Some(high)) => between(low, high).ok_or(NotDone::Crowded)?,
            (Some(low), None) => low.checked_add(STEP).ok_or(NotDone::Crowded)?,
            (None, Some(high)) => high.checked_sub(STEP).ok_or(NotDone::Crowded)?,
            (None, None) => return Ok(None),
        };
        Ok(Some((priority, position)))
    }

    /// Puts room between the jobs of a queue, in the order that they have. `self` must hold all that wait. Nobody sees
    /// a difference.
    #[must_use]
    pub fn spread_out(mut self, group: &GroupId) -> Outcome<()> {
        let waiting = self.jobs.iter().filter(|job| job.group == *group && job.state == JobState::Queued);
        let mut waiting: Vec<&Job> = waiting.collect();
        waiting.sort_unstable_by_key(|job| job.rank());
        let places: Vec<(JobId, i64)> =
            waiting.iter().zip(1_i64..).map(|(job, place)| (job.id, place.saturating_mul(STEP))).collect();
        for (id, position) in places {
            self.change_job(id, |job| job.position = position);
        }
        self.outcome(())
    }

    /// Returns whether it was elsewhere.
    fn put(&mut self, id: JobId, priority: i64, position: i64, now: Timestamp) -> bool {
        let known = self.jobs.iter().find(|job| job.id == id);
        if known.is_none_or(|job| (job.priority, job.position) == (priority, position)) {
            return false;
        }
        self.change_job(id, |job| {
            job.priority = priority;
            job.position = position;
        });
        self.tell_of_job(id, now, Happening::Moved);
        true
    }
}

/// The middle of two positions, if there is one.
fn between(low: i64, high: i64) -> Option<i64> {
    let middle = low.midpoint(high);
    (low < middle && middle < high).then_some(middle)
}

/// Priorities and positions of these places. Two jobs may share one where their ids decide; here none does, or the ids
/// would go on deciding.
fn apart(places: &[(std::cmp::Reverse<i64>, i64, JobId)]) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = Vec::with_capacity(places.len());
    for (std::cmp::Reverse(priority), position, _) in places {
        let before = all.last().filter(|(known, _)| known == priority).map(|(_, position)| *position);
        let position = before.map_or(*position, |before| (*position).max(before.saturating_add(1)));
        all.push((*priority, position));
    }
    all
}
