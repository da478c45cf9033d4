//! Places in a queue: jobs that wait are put before and behind one another.
//!
//! The order is by priority, then by position. A job that is put beside another takes its priority: what people see
//! after a move is what they have asked for.

use std::collections::{BTreeMap, BTreeSet};

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
    /// With the whole queue in the list, that is its order then; jobs that the list leaves out stay where they are. If one
    /// of `seen` is another version by now, nothing is changed.
    #[must_use]
    pub fn reorder(
        mut self,
        group: &GroupId,
        list: &[JobId],
        seen: &BTreeMap<JobId, u64>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<Reordered, NotDone>> {
        self.by = by.map(str::to_owned);
        let known = match self.to_reorder(group, list, seen) {
            Ok(known) => known,
            Err(why) => return Outcome { answer: Err(why), changes: Vec::new() },
        };
        let (waiting, left): (Vec<usize>, Vec<usize>) = known.into_iter().partition(|at| {
            let job = &self.jobs[*at];
            job.state == JobState::Queued && !job.is_deleted
        });
        let mut places: Vec<_> = waiting.iter().map(|at| self.jobs[*at].rank()).collect();
        places.sort_unstable();
        let left = left.into_iter().map(|at| self.jobs[at].id).collect();
        let mut moved = 0;
        for (at, (priority, position)) in waiting.into_iter().zip(apart(&places)) {
            if self.put(at, priority, position, now) {
                moved += 1;
            }
        }
        self.outcome(Ok(Reordered { moved, left }))
    }

    /// Where the jobs of a list are in `jobs`, if all of them are, once, of this group, and as they were seen.
    fn to_reorder(
        &self,
        group: &GroupId,
        list: &[JobId],
        seen: &BTreeMap<JobId, u64>,
    ) -> Result<Vec<usize>, NotDone> {
        let mut met = BTreeSet::new();
        if list.iter().any(|job| !met.insert(*job)) {
            return Err(NotDone::Twice);
        }
        let of_group = self.jobs.iter().enumerate().filter(|(_, job)| job.group == *group);
        let of_group: BTreeMap<JobId, usize> = of_group.map(|(at, job)| (job.id, at)).collect();
        let find = |id: &JobId| {
            let at = *of_group.get(id).ok_or(NotDone::Elsewhere)?;
            let version = self.jobs[at].version;
            match seen.get(id) {
                Some(seen) if *seen != version => Err(NotDone::OneChanged(*id, version)),
                _ => Ok(at),
            }
        };
        list.iter().map(find).collect()
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
                if let Some(at) = self.jobs.iter().position(|known| known.id == job) {
                    self.put(at, priority, position, now);
                }
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
        self.put_apart(group);
        self.outcome(())
    }

    fn put_apart(&mut self, group: &GroupId) {
        let is_meant = |at: &usize| {
            let job = &self.jobs[*at];
            job.group == *group && job.state == JobState::Queued
        };
        let mut waiting: Vec<usize> = (0..self.jobs.len()).filter(is_meant).collect();
        waiting.sort_unstable_by_key(|at| self.jobs[*at].rank());
        for (at, place) in waiting.into_iter().zip(1_i64..) {
            self.change_job_at(at, |job| job.position = place.saturating_mul(STEP));
        }
    }

    /// Moves a job where there was no room: makes some first. `self` must hold all that wait in its queue.
    #[must_use]
    pub fn move_with_room(
        mut self,
        job: JobId,
        place: Place,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        // Before anything moves: that is no change that anybody sees, and counts as one.
        let group = match self.place_for(job, place, seen) {
            Ok(_) | Err(NotDone::Crowded) => {
                self.jobs.iter().find(|known| known.id == job).map(|known| known.group.clone())
            }
            Err(why) => return Outcome { answer: Err(why), changes: Vec::new() },
        };
        if let Some(group) = group {
            self.put_apart(&group);
        }
        self.move_job(job, place, None, by, now)
    }

    /// Returns whether the job at that place of `jobs` was elsewhere in its queue.
    fn put(&mut self, at: usize, priority: i64, position: i64, now: Timestamp) -> bool {
        let job = &self.jobs[at];
        if (job.priority, job.position) == (priority, position) {
            return false;
        }
        self.change_job_at(at, |job| {
            job.priority = priority;
            job.position = position;
        });
        self.tell_of_job_at(Some(at), now, Happening::Moved);
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
