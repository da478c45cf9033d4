//! What the sources of a service offer becomes workloads, and, once for each version and host that it is to run on, jobs.

use std::collections::BTreeSet;

use super::jobs::{Pin, is_among};
use super::{Change, Context, Found, Job, JobState, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::{GroupId, Spread};
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

impl Snapshot {
    /// A source was looked at. What is new in it is a workload; where the source queues, it is a job as well, once for each
    /// version and host. Jobs that wait with an older version of the same name are for the new one from now on; those that
    /// the source itself queued with what it no longer offers leave the queue, and come back with it. `self` must hold all
    /// of the source's workloads, their jobs that wait, all hosts, and the group's end. Returns whether anything came into
    /// the queue.
    #[must_use]
    pub fn sync_source(
        mut self,
        supply: &Supply,
        found: &[Found],
        context: &mut Context<'_>,
    ) -> Outcome<bool> {
        let before = self.changes.len();
        let mut offered = BTreeSet::new();
        for file in found {
            let workload = self.sync_workload(&supply.source, &supply.group, file, context);
            offered.insert(workload);
            self.replace_older(workload, context);
            if supply.is_queued && !self.is_draining(&supply.group) {
                self.queue_once(supply, workload, context);
            }
        }
        self.withdraw(supply, &offered, context);
        let is_queued = |change: &Change| matches!(change, Change::Job(job) if job.state == JobState::Queued);
        let has_begun = self.changes[before..].iter().any(is_queued);
        self.outcome(has_begun)
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
            if job.source.is_some() && !job.auto_requeue && is_queued {
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

    /// Makes the jobs of a workload that have not been made yet, and takes back those that left with it.
    fn queue_once(&mut self, supply: &Supply, workload: WorkloadId, context: &mut Context<'_>) {
        let Some(known) = self.workloads.iter().find(|known| known.id == workload).cloned() else { return };
        let left =
            |job: &&Job| job.workload == workload && job.is_withdrawn && job.state == JobState::Cancelled;
        for id in self.jobs.iter().filter(left).map(|job| job.id).collect::<Vec<_>>() {
            self.change_job(id, |job| {
                job.state = JobState::Queued;
                job.since = context.now;
                job.reason = None;
                job.is_withdrawn = false;
            });
            self.tell_of_job(id, context.now, Happening::Queued { kind: known.kind, size: known.size });
        }
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
        let mut made = Vec::new();
        for Pin { label: pin, also } in self.pins(&draft, &known, &supply.spread) {
            let name = pin.clone().unwrap_or_default();
            let is_queued = also.iter().chain([&name]).any(|label| is_among(&known.queued_for, label));
            // Whatever the host is called later.
            made.extend(also.into_iter().chain([name]));
            if is_queued {
                continue;
            }
            let id = JobId::new(context.now, (context.random)());
            let required_labels = pin.iter().cloned().collect();
            self.put_at_end(Job { id, required_labels, pin, ..draft.clone() }, &known, context.now);
        }
        self.note_queued(workload, made);
    }

    /// What the source no longer offers: what it queued of that leaves the queue.
    fn withdraw(&mut self, supply: &Supply, offered: &BTreeSet<WorkloadId>, context: &mut Context<'_>) {
        let is_gone = |known: &&mut Workload| {
            known.source == supply.source && known.is_offered && !offered.contains(&known.id)
        };
        let mut gone = Vec::new();
        for known in self.workloads.iter_mut().filter(is_gone) {
            known.is_offered = false;
            gone.push(known.clone());
        }
        for workload in gone {
            let waits = |job: &&Job| {
                job.workload == workload.id && job.state == JobState::Queued && job.source.is_some()
            };
            for id in self.jobs.iter().filter(waits).map(|job| job.id).collect::<Vec<_>>() {
                self.leave(id, "no longer offered: its source does not have it any more", context);
            }
            self.changes.push(Change::Workload(workload));
        }
    }

    fn leave(&mut self, job: JobId, reason: &str, context: &Context<'_>) {
        self.change_job(job, |job| {
            job.state = JobState::Cancelled;
            job.since = context.now;
            job.reason = Some(reason.to_owned());
            job.waits = None;
            job.is_withdrawn = true;
        });
        self.tell_of_job(job, context.now, Happening::Cancelled { reason: reason.to_owned() });
    }
}
