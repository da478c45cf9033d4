//! What the sources of a service offer becomes workloads, and, once for each version and host that it is to run on, jobs.

use std::collections::BTreeSet;

use super::jobs::{Pin, is_among};
use super::respread::{Carriers, Fresh, is_kept_asked};
use super::{Change, Context, Found, Job, JobState, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::{Group, GroupId, Spread};
use crate::id::{JobId, WorkloadId};
use crate::workload::{SourceId, Workload};

/// What is to become of what a source offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supply {
    /// Which source.
    pub source: SourceId,
    /// The group that it belongs to.
    pub group: GroupId,
    /// Each of its workloads is queued once. Else they are only listed.
    pub is_queued: bool,
    /// How many jobs each becomes.
    pub spread: Spread,
    /// Added to the priority that a workload's own order gives its job.
    pub priority: i64,
}

/// What the latest looks at a source agree on. What one look does not find may be there all the same: a file system that
/// is not mounted at the moment is an empty folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    last: Option<BTreeSet<String>>,
    before: Option<BTreeSet<String>>,
}

impl Looks {
    /// Several looks have found just this.
    #[must_use]
    pub fn agreed(found: &[Found]) -> Self {
        let mut looks = Self::default();
        looks.complete(found);
        looks.complete(found);
        looks
    }

    /// Another look has seen all that there is.
    pub fn complete(&mut self, found: &[Found]) {
        let names = found.iter().map(|file| file.name.clone()).collect();
        self.before = self.last.replace(names);
    }

    /// Another look could not see everything: what it says of what is not there is nothing, and those before it say no
    /// more than it does.
    pub fn incomplete(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing of this name was there at the latest two looks, one directly after the other.
    #[must_use]
    pub fn is_gone(&self, name: &str) -> bool {
        let lacks =
            |look: &Option<BTreeSet<String>>| look.as_ref().is_some_and(|names| !names.contains(name));
        lacks(&self.last) && lacks(&self.before)
    }
}

/// What came of noting what a source offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Something came into the queue.
    pub has_begun: bool,
    /// Something was not found that is offered as far as is known, or that waits because it was offered once: another look
    /// is to decide whether it is gone.
    pub is_missing: bool,
    /// A run goes on with what is no longer offered, or with what is spread otherwise by now: what it was given may come
    /// back into the queue, or shows what is still to be queued.
    pub is_left: bool,
    /// These are spread otherwise than they were before, and nothing was queued of them: it has to be known on which hosts
    /// they have come out.
    pub wants_past: Vec<WorkloadId>,
}

/// What came of queueing a workload for all that it is to run on.
enum Queued {
    /// It is queued for all.
    All,
    /// For some it is to be seen later.
    NotYet,
    /// It has to be known on which hosts it has come out.
    Unknown,
}

/// Whether a job waits that a source has queued.
fn waits_of_source(job: &Job) -> bool {
    job.state == JobState::Queued && job.source.is_some()
}

impl Snapshot {
    /// A source was looked at. What is new in it is a workload; where the source queues, it is a job as well, once for each
    /// version and host. Jobs that wait with an older version of the same name are for the new one from now on; those that
    /// the source itself queued with what it no longer offers leave the queue once two looks agree that it is gone, and
    /// come back with it. `self` must hold the source's workloads that are offered, those that wait or were found, their
    /// jobs that wait, all hosts, and the group's end.
    #[must_use]
    pub fn sync_source(
        mut self,
        supply: &Supply,
        found: &[Found],
        looks: &Looks,
        context: &mut Context<'_>,
    ) -> Outcome<Synced> {
        let has_source = |group: &Group| group.sources.contains(&supply.source);
        if !self.policy.group(&supply.group).is_some_and(has_source) {
            // It has left the configuration since it was looked at.
            return self.outcome(Synced::default());
        }
        let before = self.changes.len();
        let mut offered = BTreeSet::new();
        let carriers = self.carriers();
        let (mut wants_past, mut is_late) = (Vec::new(), false);
        for file in found {
            let workload = self.sync_workload(&supply.source, &supply.group, file, context);
            offered.insert(workload);
            self.replace_older(workload, context);
            if supply.is_queued && !self.is_draining(&supply.group) {
                match self.queue_once(supply, workload, &carriers, context) {
                    Queued::All => {}
                    Queued::NotYet => is_late = true,
                    Queued::Unknown => wants_past.push(workload),
                }
            }
        }
        self.forget_asked(|job| offered.contains(&job.workload) && !is_kept_asked(supply, job));
        self.withdraw(supply, &offered, looks, context);
        let is_queued = |change: &Change| matches!(change, Change::Job(job) if job.state == JobState::Queued);
        let has_begun = self.changes[before..].iter().any(is_queued);
        let others = self.workloads.iter().filter(|known| known.source == supply.source);
        let others: Vec<&Workload> = others.filter(|known| !offered.contains(&known.id)).collect();
        let is_of_others = |job: &Job| others.iter().any(|known| known.id == job.workload);
        let is_kept = |job: &Job| waits_of_source(job) && !job.is_asked && is_of_others(job);
        let is_missing = others.iter().any(|known| known.is_offered) || self.jobs.iter().any(is_kept);
        let is_running =
            |job: &Job| job.state == JobState::Active && job.source.is_some() && is_of_others(job);
        let is_left = is_late || self.jobs.iter().any(is_running);
        self.outcome(Synced { has_begun, is_missing, is_left, wants_past })
    }

    /// Whether a group takes no more jobs.
    pub(super) fn is_draining(&self, group: &GroupId) -> bool {
        self.groups.iter().any(|state| state.id == *group && state.is_draining)
    }

    /// The workload that a file is: one that is known, or a new one.
    pub(super) fn sync_workload(
        &mut self,
        source: &SourceId,
        group: &GroupId,
        file: &Found,
        context: &mut Context<'_>,
    ) -> WorkloadId {
        let of_source = |known: &&mut Workload| known.source == *source && known.name == file.name;
        let same = self.workloads.iter_mut().filter(of_source).filter(|known| known.is_version(file));
        if let Some(known) = same.max_by_key(|known| (known.first_seen, known.id)) {
            let before = known.clone();
            known.is_offered = true;
            known.terms.clone_from(&file.terms);
            known.origin.clone_from(&file.origin);
            known.digest = known.digest.or(file.digest);
            if *known != before {
                let known = known.clone();
                self.changes.push(Change::Workload(known));
            }
            self.reorder_own(before.id, before.terms.order, file.terms.order);
            return before.id;
        }
        let id = WorkloadId::new(context.now, (context.random)());
        let workload = Workload {
            id,
            name: file.name.clone(),
            kind: file.kind,
            size: file.size,
            modified: file.modified,
            digest: file.digest,
            origin: file.origin.clone(),
            made_for: None,
            terms: file.terms.clone(),
            source: source.clone(),
            group: group.clone(),
            is_offered: true,
            queued_for: BTreeSet::new(),
            first_seen: context.now,
            workflow: None,
        };
        self.changes.push(Change::Workload(workload.clone()));
        self.workloads.push(workload);
        id
    }

    /// A description gives a workload another place: what its source queued of it and still waits moves by as much as
    /// that, from wherever people have put it.
    fn reorder_own(&mut self, workload: WorkloadId, before: i64, now: i64) {
        let shift = before.saturating_sub(now);
        let is_own = |job: &&Job| {
            shift != 0 && job.workload == workload && job.state == JobState::Queued && job.source.is_some()
        };
        for id in self.jobs.iter().filter(is_own).map(|job| job.id).collect::<Vec<_>>() {
            self.change_job(id, |job| job.priority = job.priority.saturating_add(shift));
        }
    }

    /// What waits with an older version is for the newer one from now on; and that counts as having been queued. The older
    /// one does not, if it has not come to its end: should it be offered again, it is to be run.
    pub(super) fn replace_older(&mut self, workload: WorkloadId, context: &mut Context<'_>) {
        let Some(new) = self.workloads.iter().find(|known| known.id == workload).cloned() else { return };
        let is_older =
            |known: &Workload| known.source == new.source && known.name == new.name && known.id != new.id;
        let older: BTreeSet<WorkloadId> =
            self.workloads.iter().filter(|known| is_older(known)).map(|known| known.id).collect();
        let waiting =
            self.jobs.iter().filter(|job| job.state == JobState::Queued && older.contains(&job.workload));
        let mut covered = Vec::new();
        for job in waiting.cloned().collect::<Vec<_>>() {
            let labels = self.labels_of_pin(job.pin.as_deref());
            let is_queued = labels.iter().any(|label| is_among(&new.queued_for, label));
            // What a person has asked for again is not what was queued before.
            if job.source.is_some() && !job.auto_requeue && !job.is_asked && is_queued {
                let why = "another version of it is offered, which was queued before";
                self.leave(job.id, why, context);
                continue;
            }
            self.repoint(&job, workload, new.size);
            self.tell_of_job(job.id, context.now, Happening::Replaced { size: new.size });
            if job.source.is_some() {
                if job.requeue_count == 0 && job.forgiven == 0 {
                    self.note_not_queued(job.workload, &labels);
                }
                covered.extend(labels);
            }
        }
        self.note_queued(workload, covered);
        for id in older {
            if let Some(known) = self.workloads.iter_mut().find(|known| known.id == id && known.is_offered) {
                known.is_offered = false;
                let known = known.clone();
                self.changes.push(Change::Workload(known));
            }
        }
    }

    pub(super) fn note_queued(&mut self, workload: WorkloadId, pins: Vec<String>) {
        let Some(known) = self.workloads.iter_mut().find(|known| known.id == workload) else { return };
        let before = known.queued_for.len();
        known.queued_for.extend(pins);
        if known.queued_for.len() != before {
            let known = known.clone();
            self.changes.push(Change::Workload(known));
        }
    }

    fn note_not_queued(&mut self, workload: WorkloadId, pins: &[String]) {
        let Some(known) = self.workloads.iter_mut().find(|known| known.id == workload) else { return };
        let before = known.queued_for.len();
        known.queued_for.retain(|label| !pins.iter().any(|pin| pin.eq_ignore_ascii_case(label)));
        if known.queued_for.len() != before {
            let known = known.clone();
            self.changes.push(Change::Workload(known));
        }
    }

    /// What left the queue with a workload comes back with it.
    fn take_back(&mut self, workload: &Workload, context: &Context<'_>) {
        let left =
            |job: &&Job| job.workload == workload.id && job.is_withdrawn && job.state == JobState::Cancelled;
        for id in self.jobs.iter().filter(left).map(|job| job.id).collect::<Vec<_>>() {
            let is_taken = self.has_taken_key(id);
            self.change_job(id, |job| {
                job.state = JobState::Queued;
                job.since = context.now;
                job.reason = None;
                job.is_withdrawn = false;
                // Another one was given it meanwhile.
                job.dedupe_key = job.dedupe_key.take().filter(|_| !is_taken);
            });
            self.tell_of_job(id, context.now, Happening::Queued { kind: workload.kind, size: workload.size });
        }
    }

    /// Makes the jobs of a workload that have not been made yet, and takes back those that left with it.
    fn queue_once(
        &mut self,
        supply: &Supply,
        workload: WorkloadId,
        carriers: &Carriers,
        context: &mut Context<'_>,
    ) -> Queued {
        let known = self.workloads.iter().find(|known| known.id == workload).cloned();
        let Some(known) = known else { return Queued::All };
        self.take_back(&known, context);
        let draft = Job {
            priority: supply.priority.saturating_sub(known.terms.order),
            source: Some(supply.source.clone()),
            ..Job::new(
                JobId::new(context.now, (context.random)()),
                supply.group.clone(),
                &known.name,
                workload,
                context.now,
            )
        };
        let pins = self.pins(&draft, &known, &supply.spread);
        let before: BTreeSet<String> =
            known.queued_for.iter().map(|label| label.to_ascii_lowercase()).collect();
        let is_new = |pin: &Pin| {
            let label = pin.label.clone().unwrap_or_default();
            !pin.also.iter().chain([&label]).any(|label| before.contains(&label.to_ascii_lowercase()))
        };
        let was_otherwise = Self::was_spread_otherwise(&known, &supply.spread);
        let is_changed = was_otherwise && pins.iter().any(is_new);
        if is_changed && supply.spread != Spread::Any && !self.past.contains_key(&workload) {
            return Queued::Unknown;
        }
        let earlier = is_changed.then(|| self.earlier(supply, &known, carriers));
        let fresh = |pin: &Pin| {
            is_new(pin).then(|| earlier.as_ref().map_or(Fresh::Make, |earlier| earlier.fresh(pin)))
        };
        let of_pins: Vec<Option<Fresh>> = pins.iter().map(fresh).collect();
        let (mut made, mut queued) = (Vec::new(), Queued::All);
        for (pin, fresh) in pins.iter().zip(of_pins) {
            if fresh == Some(Fresh::Later) {
                queued = Queued::NotYet;
                continue;
            }
            // Whatever the host is called later.
            made.extend(pin.also.iter().cloned().chain([pin.label.clone().unwrap_or_default()]));
            if fresh == Some(Fresh::Make) {
                let id = JobId::new(context.now, (context.random)());
                let pin = pin.label.clone();
                let required_labels = pin.iter().cloned().collect();
                self.put_at_end(Job { id, required_labels, pin, ..draft.clone() }, &known, context.now);
            }
        }
        if was_otherwise && supply.spread != Spread::Any {
            self.make_room(supply, &known, &pins, carriers, context);
        }
        self.note_queued(workload, made);
        queued
    }

    /// What the source no longer offers: what it queued of that leaves the queue. So does what came back into it since,
    /// because a run with it has ended, or before its source was followed again; but not what a person has asked for again
    /// since it is not offered.
    fn withdraw(
        &mut self,
        supply: &Supply,
        offered: &BTreeSet<WorkloadId>,
        looks: &Looks,
        context: &mut Context<'_>,
    ) {
        let is_gone = |known: &&Workload| {
            known.source == supply.source && !offered.contains(&known.id) && looks.is_gone(&known.name)
        };
        for mut workload in self.workloads.iter().filter(is_gone).cloned().collect::<Vec<_>>() {
            let was_offered = std::mem::take(&mut workload.is_offered);
            // Whoever asked for it before did not know that it would go.
            let leaves = |job: &&Job| {
                job.workload == workload.id && waits_of_source(job) && (was_offered || !job.is_asked)
            };
            for id in self.jobs.iter().filter(leaves).map(|job| job.id).collect::<Vec<_>>() {
                self.leave(id, "no longer offered: its source does not have it any more", context);
            }
            if was_offered {
                self.forget_asked(|job| job.workload == workload.id);
                self.put_workload(workload);
            }
        }
    }

    /// That people asked for these again says nothing any more: they did while they were not offered, and they are; or
    /// before they went.
    fn forget_asked(&mut self, is_meant: impl Fn(&Job) -> bool) {
        let is_asked = |job: &&Job| job.is_asked && !job.state.is_final() && is_meant(job);
        for id in self.jobs.iter().filter(is_asked).map(|job| job.id).collect::<Vec<_>>() {
            self.change_job(id, |job| job.is_asked = false);
        }
    }

    fn put_workload(&mut self, workload: Workload) {
        if let Some(known) = self.workloads.iter_mut().find(|known| known.id == workload.id) {
            known.clone_from(&workload);
        }
        self.changes.push(Change::Workload(workload));
    }

    fn leave(&mut self, job: JobId, reason: &str, context: &Context<'_>) {
        self.change_job(job, |job| {
            job.state = JobState::Cancelled;
            job.since = context.now;
            job.reason = Some(reason.to_owned());
            job.waits = None;
            job.is_withdrawn = true;
            job.is_asked = false;
        });
        self.tell_of_job(job, context.now, Happening::Cancelled { reason: reason.to_owned() });
    }
}
