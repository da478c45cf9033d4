//! A source spreads its workloads otherwise than before. What was queued then counts: a version that has come out on a host
//! is not run there again, and what waits follows.
//!
//! Jobs for single hosts stay as they are: they count for whatever their hosts are part of. Jobs for several hosts leave
//! the queue once there are others for the same hosts.

use std::collections::BTreeSet;

use super::jobs::{Pin, begins_with, is_among};
use super::sync::Supply;
use super::{Context, Job, JobState, Snapshot};
use crate::event::Happening;
use crate::group::Spread;
use crate::id::{HostId, JobId};
use crate::workload::Workload;

/// What is to become of a pin for which nothing was queued as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fresh {
    /// A job.
    Make,
    /// Nothing, as it was done or queued under another spread.
    Covered,
    /// That shows when a run is over which was queued under another spread.
    Later,
}

/// Whether a label is what a spread pins jobs by; the empty one is no pin.
fn is_of(spread: &Spread, label: &str) -> bool {
    match spread {
        Spread::Any => label.is_empty(),
        Spread::EachHost => begins_with(label, "host:"),
        Spread::Each(name) => begins_with(label, &format!("{name}:")),
    }
}

impl Snapshot {
    /// Whether something of a workload was queued under another spread than its source has now.
    pub(super) fn was_spread_otherwise(workload: &Workload, spread: &Spread) -> bool {
        workload.queued_for.iter().any(|label| !is_of(spread, label))
    }

    /// What is to become of a pin of a workload that was queued under another spread.
    pub(super) fn fresh(&self, workload: &Workload, pin: &Pin) -> Fresh {
        let Some(label) = &pin.label else { return Fresh::Covered };
        let has_label = |labels: &BTreeSet<String>| is_among(labels, label);
        let hosts = self.hosts.iter().map(|host| (Some(host.id), self.policy.labels_of(host)));
        let is_unseen = |listed: &&crate::group::ListedHost| !self.hosts.iter().any(|host| listed.is(host));
        let unseen = self.policy.listed.iter().filter(is_unseen).map(|listed| (None, listed.own_labels()));
        let carriers: Vec<(Option<HostId>, BTreeSet<String>)> =
            hosts.chain(unseen).filter(|(_, labels)| has_label(labels)).collect();
        let past = self.past.get(&workload.id);
        let has_come_out = |host: &HostId| past.is_some_and(|past| past.contains(host));
        let was_queued = |labels: &BTreeSet<String>| {
            let own = labels.iter().filter(|label| begins_with(label, "host:"));
            own.into_iter().any(|label| is_among(&workload.queued_for, label))
        };
        let is_covered = |(host, labels): &(Option<HostId>, BTreeSet<String>)| {
            host.as_ref().is_some_and(has_come_out) || was_queued(labels)
        };
        if carriers.iter().any(is_covered) {
            return Fresh::Covered;
        }
        let is_on = |host: &HostId| {
            let of_run = |job: JobId| self.jobs.iter().find(|known| known.id == job);
            let mut active = self.runs.iter().filter(|run| run.host == *host && !run.state.is_final());
            active.any(|run| of_run(run.job).is_some_and(|job| job.workload == workload.id))
        };
        let is_busy = carriers.iter().filter_map(|(host, _)| host.as_ref()).any(is_on);
        if is_busy { Fresh::Later } else { Fresh::Make }
    }

    /// What waits for several hosts, of which each has its own job by now or needs none, leaves the queue.
    pub(super) fn make_room(
        &mut self,
        supply: &Supply,
        workload: &Workload,
        pins: &[Pin],
        context: &Context<'_>,
    ) {
        let labels: Vec<BTreeSet<String>> =
            self.hosts.iter().map(|host| self.policy.labels_of(host)).collect();
        let pinned: Vec<&String> = pins.iter().filter_map(|pin| pin.label.as_ref()).collect();
        let goes_to_one = |pin: &Option<String>| {
            let Some(pin) = pin else { return !pinned.is_empty() };
            let both = |labels: &BTreeSet<String>| {
                is_among(labels, pin) && pinned.iter().any(|label| is_among(labels, label))
            };
            labels.iter().any(both)
        };
        let is_left = |job: &&Job| {
            let pin = job.pin.as_deref().unwrap_or_default();
            job.workload == workload.id
                && job.state == JobState::Queued
                && job.source.as_ref() == Some(&supply.source)
                && !job.auto_requeue
                && !is_of(&supply.spread, pin)
                && !is_of(&Spread::EachHost, pin)
                && goes_to_one(&job.pin)
        };
        let left: Vec<JobId> = self.jobs.iter().filter(is_left).map(|job| job.id).collect();
        for job in left {
            let reason = format!("its source spreads what it has otherwise by now: {}", supply.spread);
            self.change_job(job, |job| {
                job.state = JobState::Cancelled;
                job.since = context.now;
                job.reason = Some(reason.clone());
                job.waits = None;
            });
            self.tell_of_job(job, context.now, Happening::Cancelled { reason });
        }
    }
}
