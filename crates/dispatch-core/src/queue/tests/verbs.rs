//! What people ask of a queue in these tests, in short.

use super::service::group;
use super::*;
use crate::group::Template;

impl Model {
    pub(super) fn id(&self, name: &str) -> JobId {
        self.job(name).id
    }

    pub(super) fn add(&mut self, to: &str, new: NewJob) -> Result<Vec<Made>, (usize, NotDone)> {
        self.decide(|snapshot, context| snapshot.add_jobs(&group(to), &[new], Some("anna"), context))
    }

    /// A job by hand for what the sources offer by this name.
    pub(super) fn by_hand(&self, workload: &str) -> NewJob {
        let known = self.snapshot.workloads.iter().rfind(|known| known.name == workload);
        NewJob::new(Wanted::Workload(known.expect("a workload").id))
    }

    pub(super) fn edit(&mut self, name: &str, edit: &Edit) -> Result<(), NotDone> {
        let job = self.id(name);
        self.decide(|snapshot, context| snapshot.edit(job, edit, None, None, context))
    }

    pub(super) fn pause(&mut self, name: &str, on: bool) -> Result<(), NotDone> {
        let job = self.id(name);
        self.decide(|snapshot, context| snapshot.pause(job, on, None, None, context.now))
    }

    pub(super) fn delete(&mut self, name: &str) -> Result<(), NotDone> {
        let job = self.id(name);
        self.decide(|snapshot, context| snapshot.delete(job, None, None, context.now))
    }

    pub(super) fn stop(&mut self, job: JobId) -> Result<(), NotDone> {
        self.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now))
    }

    pub(super) fn again(&mut self, job: JobId) -> Result<(), NotDone> {
        self.decide(|snapshot, context| snapshot.retry(job, None, None, context.now))
    }

    pub(super) fn requeues(&mut self, job: JobId, on: bool, limit: Option<u32>) -> Result<(), NotDone> {
        self.decide(|snapshot, context| snapshot.set_requeue(job, on, limit, None, None, context.now))
    }

    pub(super) fn shift(&mut self, name: &str, place: Place) -> Result<(), NotDone> {
        let job = self.id(name);
        self.decide(|snapshot, context| snapshot.move_job(job, place, None, None, context.now))
    }

    pub(super) fn reorder(&mut self, of: &str, names: &[&str]) -> Result<Reordered, NotDone> {
        let list: Vec<JobId> = names.iter().map(|name| self.id(name)).collect();
        self.decide(|snapshot, context| {
            snapshot.reorder(&group(of), &list, &BTreeMap::new(), None, context.now)
        })
    }

    /// The names of what waits in a group, in order.
    pub(super) fn order(&self, of: &str) -> Vec<&str> {
        let waits = |job: &&Job| job.group == group(of) && job.state == JobState::Queued;
        let mut jobs: Vec<&Job> = self.snapshot.jobs.iter().filter(waits).collect();
        jobs.sort_by_key(|job| job.rank());
        jobs.iter().map(|job| job.name.as_str()).collect()
    }

    /// The jobs of this name, in the order in which they were made.
    pub(super) fn jobs(&self, name: &str) -> Vec<&Job> {
        self.snapshot.jobs.iter().filter(|job| job.name == name).collect()
    }
}

/// A template of the group that runs what is offered as `runs`.
pub(super) fn template(id: &str, of: &str, runs: &str) -> Template {
    Template {
        id: id.parse().expect("an id"),
        group: group(of),
        name: id.to_owned(),
        description: None,
        runs: crate::group::TemplateRuns::Workload(runs.to_owned()),
        inputs: BTreeMap::new(),
        labels: BTreeMap::new(),
        required_labels: Vec::new(),
        priority: 0,
        spread: crate::group::Spread::Any,
        retries: None,
        origin: crate::group::TemplateOrigin::Inline,
    }
}
