//! What people ask for jobs: to make them, to change them, to hold them back, to take them out.
//!
//! Whoever changes a job may say which version of it they have seen; if it is another by now, nothing is changed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fit::{is_for_another, lacking};
use super::{Change, Context, Job, JobState, NotDone, Outcome, Snapshot, is_about_image};
use crate::event::Happening;
use crate::group::{GroupId, GroupKind, ListedHost, Spread, Template, TemplateId, TemplateRuns};
use crate::host::Host;
use crate::id::{JobId, WorkloadId};
use crate::workload::{Workflow, Workload};

/// How far apart two jobs are put that are queued one after the other, so that others find room between them.
pub(super) const STEP: i64 = 1 << 20;

/// The most jobs that one request may make.
pub const MOST_JOBS: usize = 1000;

/// What a new job is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What this template says.
    Template(TemplateId),
    /// This workload.
    Workload(WorkloadId),
    /// This workflow.
    Workflow(Workflow),
}

/// A job that a person wants. What it leaves out is as its template says, or as usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What it runs.
    pub wanted: Wanted,
    /// What people call it.
    pub name: Option<String>,
    /// What its workload is given, beside what the template gives.
    pub inputs: BTreeMap<String, String>,
    /// What people call it by, beside what the template says.
    pub labels: BTreeMap<String, String>,
    /// Labels that its host must carry, beside those of the template.
    pub required_labels: Vec<String>,
    /// Higher goes first.
    pub priority: Option<i64>,
    /// It does not start before.
    pub not_before: Option<Timestamp>,
    /// While another job of the group with the same one is not over, that one is meant.
    pub dedupe_key: Option<String>,
    /// How many more attempts it gets after its first one errored.
    pub retries: Option<u32>,
    /// It waits until a person lets it go.
    pub is_paused: bool,
    /// When it is over, another one like it is queued.
    pub auto_requeue: bool,
    /// How often that happens.
    pub requeue_limit: Option<u32>,
    /// How many jobs it becomes.
    pub spread: Option<Spread>,
}

impl NewJob {
    /// A job with nothing that differs from the usual.
    #[must_use]
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            name: None,
            inputs: BTreeMap::new(),
            labels: BTreeMap::new(),
            required_labels: Vec::new(),
            priority: None,
            not_before: None,
            dedupe_key: None,
            retries: None,
            is_paused: false,
            auto_requeue: false,
            requeue_limit: None,
            spread: None,
        }
    }
}

/// What is to differ of a job. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What people call it.
    pub name: Option<String>,
    /// What its workload is given: all of it.
    pub inputs: Option<BTreeMap<String, String>>,
    /// What people call it by: all of it.
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels that its host must carry: all of them.
    pub required_labels: Option<Vec<String>>,
    /// Higher goes first.
    pub priority: Option<i64>,
    /// It does not start before; or at once.
    pub not_before: Option<Option<Timestamp>>,
    /// Its dedupe key; or none.
    pub dedupe_key: Option<Option<String>>,
    /// How many more attempts it gets after its first one errored; or as many as usual.
    pub retries: Option<Option<u32>>,
    /// The workflow that it runs, if it runs one.
    pub workflow: Option<Workflow>,
}

/// One of the jobs that a workload becomes.
pub(super) struct Pin {
    /// The label that its host must carry, if it is not for any.
    pub(super) label: Option<String>,
    /// Other labels that mean the same host.
    pub(super) also: Vec<String>,
}

/// A job that was asked for, and whether it was there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Which.
    pub job: JobId,
    /// Another job with its dedupe key is not over: it is that one.
    pub was_known: bool,
}

impl Snapshot {
    /// Puts jobs into the queue of a group: all or none. `self` must hold the group's end, the workloads that are wanted
    /// or offered, the jobs with the same dedupe keys, and all hosts if the jobs spread. Of a refusal, the number says
    /// which job it is about.
    #[must_use]
    pub fn add_jobs(
        mut self,
        group: &GroupId,
        jobs: &[NewJob],
        by: Option<&str>,
        context: &mut Context<'_>,
    ) -> Outcome<Result<Vec<Made>, (usize, NotDone)>> {
        self.by = by.map(str::to_owned);
        let mut made = Vec::new();
        for (number, job) in jobs.iter().enumerate() {
            match self.add_one(group, job, by, context) {
                Ok(mut some) => made.append(&mut some),
                Err(why) => return refused((number, why)),
            }
            if made.len() > MOST_JOBS {
                return refused((number, NotDone::TooMany(MOST_JOBS)));
            }
        }
        self.outcome(Ok(made))
    }

    fn add_one(
        &mut self,
        group: &GroupId,
        new: &NewJob,
        by: Option<&str>,
        context: &mut Context<'_>,
    ) -> Result<Vec<Made>, NotDone> {
        let Some(settings) = self.policy.group(group) else { return Err(NotDone::GroupGone) };
        let kind = settings.kind;
        if self.is_draining(group) {
            return Err(NotDone::Draining);
        }
        let known = |known: &&Job| {
            known.group == *group && !known.state.is_final() && known.dedupe_key == new.dedupe_key
        };
        if let Some(known) = self.jobs.iter().find(known).filter(|_| new.dedupe_key.is_some()) {
            return Ok(vec![Made { job: known.id, was_known: true }]);
        }
        let template = match &new.wanted {
            Wanted::Template(id) => {
                let template = settings.templates.iter().find(|template| template.id == *id);
                Some(template.cloned().ok_or(NotDone::TemplateGone)?)
            }
            Wanted::Workload(_) | Wanted::Workflow(_) => None,
        };
        let workload = self.wanted_workload(group, kind, new, template.as_ref(), context)?;
        let job = Self::drawn_up(group, new, template.as_ref(), &workload, by, context);
        let spread = new.spread.clone().or(template.map(|template| template.spread)).unwrap_or_default();
        let pins: Vec<Option<String>> =
            self.pins(&job, &workload, &spread).into_iter().map(|pin| pin.label).collect();
        if pins.is_empty() {
            return Err(NotDone::NoHostFits);
        }
        if pins.len() > 1 && new.dedupe_key.is_some() {
            return Err(NotDone::SpreadWithKey);
        }
        Ok(pins
            .into_iter()
            .map(|pin| {
                let id = JobId::new(context.now, (context.random)());
                let job = pinned(Job { id, ..job.clone() }, pin);
                self.put_at_end(job, &workload, context.now);
                Made { job: id, was_known: false }
            })
            .collect())
    }

    /// The workload that a new job is to run.
    fn wanted_workload(
        &mut self,
        group: &GroupId,
        kind: GroupKind,
        new: &NewJob,
        template: Option<&Template>,
        context: &mut Context<'_>,
    ) -> Result<Workload, NotDone> {
        let runs = template.map(|template| &template.runs);
        let workflow = match (&new.wanted, runs) {
            (Wanted::Workload(id), _) => {
                let known = self.workloads.iter().find(|known| known.id == *id && known.group == *group);
                let known = known.ok_or(NotDone::WorkloadUnknown)?;
                return match kind {
                    GroupKind::Metal if self.has_source(known) => Ok(known.clone()),
                    GroupKind::Metal => Err(NotDone::SourceGone(known.name.clone())),
                    _ => Err(NotDone::OtherKind(kind)),
                };
            }
            (_, Some(runs @ TemplateRuns::Workload(name))) => {
                let offered = self.offered(group, runs).cloned();
                return offered.ok_or_else(|| NotDone::NotOffered(name.clone()));
            }
            (Wanted::Workflow(workflow), _) | (_, Some(TemplateRuns::Workflow(workflow))) => workflow,
            (Wanted::Template(_), None) => return Err(NotDone::TemplateGone),
        };
        if kind != GroupKind::Actions {
            return Err(NotDone::OtherKind(kind));
        }
        let same = self.workloads.iter().find(|known| known.workflow.as_ref() == Some(workflow));
        if let Some(same) = same.filter(|known| known.group == *group) {
            return Ok(same.clone());
        }
        let name = template.map_or(&workflow.workflow_id, |template| &template.name);
        let id = WorkloadId::new(context.now, (context.random)());
        let workload = Workload::of_workflow(id, group.clone(), name, workflow.clone(), context.now);
        self.changes.push(Change::Workload(workload.clone()));
        self.workloads.push(workload.clone());
        Ok(workload)
    }

    /// A job as it was asked for, without its place in the queue.
    fn drawn_up(
        group: &GroupId,
        new: &NewJob,
        template: Option<&Template>,
        workload: &Workload,
        by: Option<&str>,
        context: &mut Context<'_>,
    ) -> Job {
        let merged = |own: &BTreeMap<String, String>, usual: Option<&BTreeMap<String, String>>| {
            let mut all = usual.cloned().unwrap_or_default();
            all.extend(own.clone());
            all
        };
        let of_template = template.into_iter().flat_map(|template| &template.required_labels);
        let labels: BTreeSet<String> = of_template.chain(&new.required_labels).cloned().collect();
        let name = new.name.as_ref().or(template.map(|template| &template.name)).unwrap_or(&workload.name);
        let priority = new.priority.or(template.map(|template| template.priority));
        Job {
            // The order that a description gives is the order within its source.
            priority: priority.unwrap_or(workload.terms.order.saturating_neg()),
            created_by: by.map(str::to_owned),
            template: template.map(|template| template.id.clone()),
            inputs: merged(&new.inputs, template.map(|template| &template.inputs)),
            labels: merged(&new.labels, template.map(|template| &template.labels)),
            required_labels: labels.into_iter().collect(),
            not_before: new.not_before,
            dedupe_key: new.dedupe_key.clone(),
            retries: new.retries.or(template.and_then(|template| template.retries)),
            is_paused: new.is_paused,
            auto_requeue: new.auto_requeue,
            requeue_limit: new.requeue_limit,
            ..Job::new(JobId::new(context.now, [0; 10]), group.clone(), name, workload.id, context.now)
        }
    }

    /// What a job is spread to: one job each. A job that does not spread has one pin, to nothing.
    pub(super) fn pins(&self, job: &Job, workload: &Workload, spread: &Spread) -> Vec<Pin> {
        let each = match spread {
            Spread::Any => return vec![Pin { label: None, also: Vec::new() }],
            Spread::EachHost => None,
            Spread::Each(label) => Some(format!("{label}:")),
        };
        let wanted: Vec<&String> = self.wanted_labels(job).chain(&workload.terms.labels).collect();
        let has_all = |labels: &BTreeSet<String>| lacking(labels, wanted.iter().copied()).next().is_none();
        // By the label without its case, which is no difference.
        let mut pins: BTreeMap<String, Pin> = BTreeMap::new();
        let mut put = |labels: &BTreeSet<String>, own: Vec<String>| match &each {
            None => {
                let (label, also) = own
                    .split_first()
                    .map_or((None, Vec::new()), |(first, more)| (Some(first.clone()), more.to_vec()));
                pins.entry(own.join(" ").to_ascii_lowercase()).or_insert(Pin { label, also });
            }
            Some(prefix) => {
                for label in labels.iter().filter(|label| begins_with(label, prefix)) {
                    let pin = Pin { label: Some(label.clone()), also: Vec::new() };
                    pins.entry(label.to_ascii_lowercase()).or_insert(pin);
                }
            }
        };
        let may_work = |host: &&Host| {
            let is_nobody = host.shared.is_some() && host.name.is_none();
            self.policy.is_accepted(host) && !is_nobody && !is_for_another(host.arch, workload)
        };
        for host in self.hosts.iter().filter(may_work) {
            let labels = self.policy.labels_of(host);
            if has_all(&labels) {
                put(&labels, self.own_labels(host));
            }
        }
        // Those that are listed and have not asked yet.
        let is_seen = |listed: &&ListedHost| self.hosts.iter().any(|host| listed.is(host));
        for listed in self.policy.listed.iter().filter(|listed| !is_seen(listed)) {
            let labels = listed.own_labels();
            if has_all(&labels) {
                put(&labels, vec![format!("host:{}", listed.key)]);
            }
        }
        pins.into_values().collect()
    }

    /// The labels that stand for a host alone, first the one that people know it by.
    fn own_labels(&self, host: &Host) -> Vec<String> {
        let key = self.policy.key_of(host).map(|key| format!("host:{key}"));
        key.into_iter().chain([format!("host:{}", host.id)]).collect()
    }

    /// The labels that mean the same as the one that a job was spread to; the empty one if it was not.
    pub(super) fn labels_of_pin(&self, pin: Option<&str>) -> Vec<String> {
        let pin = pin.unwrap_or_default();
        let own = self.hosts.iter().map(|host| self.own_labels(host));
        let is_it = |own: &Vec<String>| own.iter().any(|label| label.eq_ignore_ascii_case(pin));
        let others = own.filter(is_it).flatten().filter(|label| label != pin);
        others.chain([pin.to_owned()]).collect()
    }

    pub(super) fn put_at_end(&mut self, mut job: Job, workload: &Workload, now: Timestamp) {
        let tail = self.tails.entry(job.group.clone()).or_default();
        *tail = tail.saturating_add(STEP);
        job.position = *tail;
        self.changes.push(Change::Job(job.clone()));
        let at = self.jobs.len();
        self.jobs.push(job);
        self.tell_of_job_at(Some(at), now, Happening::Queued { kind: workload.kind, size: workload.size });
    }

    /// A job as a person may change it: it is there, and it is one of the versions that they have seen.
    pub(super) fn to_change(&self, job: JobId, seen: Option<&[u64]>) -> Result<&Job, NotDone> {
        let known = self.jobs.iter().find(|known| known.id == job && !known.is_deleted);
        let known = known.ok_or(NotDone::Unknown)?;
        match seen {
            Some(seen) if !seen.contains(&known.version) => Err(NotDone::Changed(known.version)),
            _ => Ok(known),
        }
    }

    /// The same, if it still waits.
    fn to_change_queued(&self, job: JobId, seen: Option<&[u64]>) -> Result<&Job, NotDone> {
        let known = self.to_change(job, seen)?;
        match known.state {
            JobState::Queued => Ok(known),
            JobState::Active => Err(NotDone::Running),
            JobState::Done | JobState::Cancelled => Err(NotDone::Over),
        }
    }

    /// Holds a job back that waits, or lets it go.
    #[must_use]
    pub fn pause(
        mut self,
        job: JobId,
        is_paused: bool,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        match self.to_change_queued(job, seen) {
            Err(why) => return refused(why),
            Ok(known) if known.is_paused == is_paused => return self.outcome(Ok(())),
            Ok(_) => {}
        }
        self.change_job(job, |job| job.is_paused = is_paused);
        self.tell_of_job(job, now, if is_paused { Happening::Paused } else { Happening::Unpaused });
        self.outcome(Ok(()))
    }

    /// Says whether another job is queued when this one is over. A job that is over keeps what it did.
    #[must_use]
    pub fn set_requeue(
        mut self,
        job: JobId,
        auto: bool,
        limit: Option<u32>,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        match self.to_change(job, seen) {
            Err(why) => return refused(why),
            Ok(known) if known.state.is_final() => return refused(NotDone::Over),
            Ok(known) if (known.auto_requeue, known.requeue_limit) == (auto, limit) => {
                return self.outcome(Ok(()));
            }
            Ok(_) => {}
        }
        self.change_job(job, |job| {
            job.auto_requeue = auto;
            job.requeue_limit = limit;
        });
        self.tell_of_job(job, now, Happening::Edited);
        self.outcome(Ok(()))
    }

    /// Changes what a job that waits is.
    #[must_use]
    pub fn edit(
        mut self,
        job: JobId,
        edit: &Edit,
        seen: Option<&[u64]>,
        by: Option<&str>,
        context: &mut Context<'_>,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        let known = match self.to_change_queued(job, seen) {
            Err(why) => return refused(why),
            Ok(known) => known.clone(),
        };
        let workload = match &edit.workflow {
            None => known.workload,
            Some(workflow) => match self.other_workflow(&known, workflow, context) {
                Err(why) => return refused(why),
                Ok(workload) => workload,
            },
        };
        if let Some(Some(key)) = &edit.dedupe_key {
            let is_taken = |other: &Job| {
                other.id != job
                    && other.group == known.group
                    && !other.state.is_final()
                    && other.dedupe_key.as_ref() == Some(key)
            };
            if self.jobs.iter().any(is_taken) {
                return refused(NotDone::KeyTaken);
            }
        }
        let before = known.version;
        self.change_job(job, |job| {
            job.name = edit.name.clone().unwrap_or_else(|| job.name.clone());
            job.inputs = edit.inputs.clone().unwrap_or_else(|| job.inputs.clone());
            job.labels = edit.labels.clone().unwrap_or_else(|| job.labels.clone());
            if let Some(labels) = &edit.required_labels {
                // What it was spread to stays.
                job.required_labels =
                    labels.iter().chain(&job.pin).cloned().collect::<BTreeSet<_>>().into_iter().collect();
                // What it waits for may be another thing now, but for its image.
                job.waits = job.waits.take().filter(|waits| is_about_image(waits));
            }
            job.priority = edit.priority.unwrap_or(job.priority);
            job.not_before = edit.not_before.unwrap_or(job.not_before);
            job.dedupe_key = edit.dedupe_key.clone().unwrap_or_else(|| job.dedupe_key.clone());
            job.retries = edit.retries.unwrap_or(job.retries);
            job.workload = workload;
        });
        if self.jobs.iter().any(|known| known.id == job && known.version != before) {
            self.tell_of_job(job, context.now, Happening::Edited);
        }
        self.outcome(Ok(()))
    }

    fn other_workflow(
        &mut self,
        job: &Job,
        workflow: &Workflow,
        context: &mut Context<'_>,
    ) -> Result<WorkloadId, NotDone> {
        let kind = self.policy.group(&job.group).ok_or(NotDone::GroupGone)?.kind;
        let new = NewJob::new(Wanted::Workflow(workflow.clone()));
        let group = job.group.clone();
        self.wanted_workload(&group, kind, &new, None, context).map(|workload| workload.id)
    }

    /// Takes a job out of sight. One that runs must be cancelled first. What it ran stays known.
    #[must_use]
    pub fn delete(
        mut self,
        job: JobId,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        match self.to_change(job, seen) {
            Err(why) => return refused(why),
            Ok(known) if known.state == JobState::Active => return refused(NotDone::Running),
            Ok(_) => {}
        }
        self.change_job(job, |job| {
            if job.state == JobState::Queued {
                job.state = JobState::Cancelled;
                job.since = now;
                job.reason = Some("deleted by hand".to_owned());
                job.waits = None;
            }
            job.is_withdrawn = false;
            job.is_deleted = true;
        });
        self.tell_of_job(job, now, Happening::Deleted);
        self.outcome(Ok(()))
    }

    /// A job is over: if it is to come again, another one like it is queued, at the end. One whose predecessors errored
    /// waits, longer each time: what cannot work is not tried without end.
    pub(super) fn requeue(&mut self, job: JobId, now: Timestamp) {
        let Some(over) = self.jobs.iter().find(|known| known.id == job).cloned() else { return };
        let is_left = over.requeue_limit.is_none_or(|limit| over.requeue_count < limit);
        if !over.auto_requeue || !is_left || over.is_deleted || !over.state.is_final() {
            return;
        }
        // That takes no more jobs.
        if self.is_draining(&over.group) {
            return;
        }
        let Some(workload) = self.workloads.iter().find(|known| known.id == over.workload).cloned() else {
            return;
        };
        let has_errored = over.verdict == Some(crate::verdict::Verdict::Errored);
        let errors_in_row = if has_errored { over.errors_in_row.saturating_add(1) } else { 0 };
        let pause = crate::run::pause_after(errors_in_row);
        let next = Job {
            priority: over.priority,
            created_by: over.created_by.clone(),
            source: over.source.clone(),
            template: over.template.clone(),
            inputs: over.inputs.clone(),
            labels: over.labels.clone(),
            required_labels: over.required_labels.clone(),
            pin: over.pin.clone(),
            not_before: pause.map(|pause| now.checked_add(pause).unwrap_or(Timestamp::MAX)),
            dedupe_key: over.dedupe_key.clone(),
            retries: over.retries,
            auto_requeue: true,
            requeue_limit: over.requeue_limit,
            requeue_count: over.requeue_count.saturating_add(1),
            errors_in_row,
            round: over.round,
            ..Job::new(over.id.following(now), over.group, &over.name, over.workload, now)
        };
        self.put_at_end(next, &workload, now);
        // The line goes on there: this one, if it is asked for again, is the beginning of no second one.
        self.change_job(over.id, |job| job.auto_requeue = false);
    }
}

fn refused<T, E>(why: E) -> Outcome<Result<T, E>> {
    Outcome { answer: Err(why), changes: Vec::new() }
}

fn pinned(mut job: Job, pin: Option<String>) -> Job {
    if let Some(pin) = pin {
        if !job.required_labels.contains(&pin) {
            job.required_labels.push(pin.clone());
        }
        job.pin = Some(pin);
    }
    job
}

/// Whether a label is of this kind, whatever its case.
pub(super) fn begins_with(label: &str, prefix: &str) -> bool {
    label.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Whether a label is one of these, whatever its case.
pub(super) fn is_among(labels: &BTreeSet<String>, label: &str) -> bool {
    labels.iter().any(|known| known.eq_ignore_ascii_case(label))
}
