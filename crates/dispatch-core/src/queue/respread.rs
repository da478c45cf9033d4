//! A source spreads its workloads otherwise than before. What was queued then counts: a version that has come out on a host
//! is not run there again, and what waits follows.
//!
//! Jobs for single hosts stay as they are: they count for whatever their hosts are part of. Jobs for several hosts leave
//! the queue once there are others for the same hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::jobs::{Pin, begins_with, is_among};
use super::sync::Supply;
use super::{Context, Job, JobState, Snapshot};
use crate::event::Happening;
use crate::group::{ListedHost, Spread};
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

/// Whether a job is for several hosts, other than those that the spread makes.
fn is_wide(spread: &Spread, job: &Job) -> bool {
    let pin = job.pin.as_deref().unwrap_or_default();
    !is_of(spread, pin) && !is_of(&Spread::EachHost, pin)
}

/// Whether what a person has asked for again is spread as its source no longer does: no job of the source stands for it.
pub(super) fn is_kept_asked(supply: &Supply, job: &Job) -> bool {
    supply.spread != Spread::Any
        && job.source.as_ref() == Some(&supply.source)
        && is_wide(&supply.spread, job)
}

/// A host that carries labels; one that is listed and has not asked yet has no identity.
struct Carrier {
    host: Option<HostId>,
    labels: BTreeSet<String>,
}

/// All hosts, by what they carry. For many workloads this is made once.
pub(super) struct Carriers {
    all: Vec<Carrier>,
    /// The places in `all`, by label without its case, which is no difference.
    by_label: BTreeMap<String, Vec<usize>>,
}

impl Carriers {
    fn of<'a>(&'a self, label: &str) -> impl Iterator<Item = &'a Carrier> + use<'a> {
        let places = self.by_label.get(&label.to_ascii_lowercase()).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.all.get(*place))
    }
}

/// What is known of a workload that was queued under another spread.
pub(super) struct Earlier<'a> {
    carriers: &'a Carriers,
    /// What it was queued for, without its case.
    queued_for: BTreeSet<String>,
    /// The hosts on which it has come out.
    past: Option<&'a BTreeSet<HostId>>,
    /// The hosts on which it runs.
    busy: BTreeSet<HostId>,
    /// What its jobs that run are pinned to, where that is more than one host: they may come back for each of these.
    wide: BTreeSet<Option<String>>,
}

impl Earlier<'_> {
    /// What is to become of a pin for which nothing was queued as such.
    pub(super) fn fresh(&self, pin: &Pin) -> Fresh {
        let Some(label) = &pin.label else { return Fresh::Covered };
        let was_queued = |labels: &BTreeSet<String>| {
            let mut own = labels.iter().filter(|label| begins_with(label, "host:"));
            own.any(|label| self.queued_for.contains(&label.to_ascii_lowercase()))
        };
        let has_come_out = |host: HostId| self.past.is_some_and(|past| past.contains(&host));
        let is_covered =
            |carrier: &Carrier| carrier.host.is_some_and(has_come_out) || was_queued(&carrier.labels);
        if self.carriers.of(label).any(is_covered) {
            return Fresh::Covered;
        }
        let may_return = |carrier: &Carrier| {
            let mut wide = self.wide.iter();
            wide.any(|pin| pin.as_ref().is_none_or(|pin| is_among(&carrier.labels, pin)))
        };
        let is_busy = |carrier: &Carrier| carrier.host.is_some_and(|host| self.busy.contains(&host));
        let is_open = |carrier: &Carrier| is_busy(carrier) || may_return(carrier);
        if self.carriers.of(label).any(is_open) { Fresh::Later } else { Fresh::Make }
    }
}

impl Snapshot {
    /// Whether something of a workload was queued under another spread than its source has now.
    pub(super) fn was_spread_otherwise(workload: &Workload, spread: &Spread) -> bool {
        workload.queued_for.iter().any(|label| !is_of(spread, label))
    }

    /// All hosts, those that are listed and have not asked yet as well.
    pub(super) fn carriers(&self) -> Carriers {
        let hosts = self.hosts.iter();
        let hosts = hosts.map(|host| Carrier { host: Some(host.id), labels: self.policy.labels_of(host) });
        let is_unseen = |listed: &&ListedHost| !self.hosts.iter().any(|host| listed.is(host));
        let unseen = self.policy.listed.iter().filter(is_unseen);
        let unseen = unseen.map(|listed| Carrier { host: None, labels: listed.own_labels() });
        let all: Vec<Carrier> = hosts.chain(unseen).collect();
        let mut by_label: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, carrier) in all.iter().enumerate() {
            for label in &carrier.labels {
                by_label.entry(label.to_ascii_lowercase()).or_default().push(place);
            }
        }
        Carriers { all, by_label }
    }

    /// What is known of a workload that was queued under another spread.
    pub(super) fn earlier<'a>(
        &'a self,
        supply: &Supply,
        workload: &Workload,
        carriers: &'a Carriers,
    ) -> Earlier<'a> {
        let of_it = |job: &&Job| job.workload == workload.id && job.state == JobState::Active;
        let active: Vec<&Job> = self.jobs.iter().filter(of_it).collect();
        let is_on = |job: &JobId| active.iter().any(|known| known.id == *job);
        let runs = self.runs.iter().filter(|run| !run.state.is_final() && is_on(&run.job));
        // What comes again and again would be waited for without end.
        let may_return = |job: &&&Job| {
            job.source.as_ref() == Some(&supply.source) && !job.auto_requeue && is_wide(&supply.spread, job)
        };
        Earlier {
            carriers,
            queued_for: workload.queued_for.iter().map(|label| label.to_ascii_lowercase()).collect(),
            past: self.past.get(&workload.id),
            busy: runs.map(|run| run.host).collect(),
            wide: active.iter().filter(may_return).map(|job| job.pin.clone()).collect(),
        }
    }

    /// What waits for several hosts, of which each has its own job by now or needs none, leaves the queue; but not what a
    /// person has asked for again.
    pub(super) fn make_room(
        &mut self,
        supply: &Supply,
        workload: &Workload,
        pins: &[Pin],
        carriers: &Carriers,
        context: &Context<'_>,
    ) {
        let pinned: Vec<&String> = pins.iter().filter_map(|pin| pin.label.as_ref()).collect();
        let goes_to_one = |pin: &Option<String>| {
            let Some(pin) = pin else { return !pinned.is_empty() };
            let has_other = |carrier: &Carrier| pinned.iter().any(|label| is_among(&carrier.labels, label));
            carriers.of(pin).filter(|carrier| carrier.host.is_some()).any(has_other)
        };
        let is_left = |job: &&Job| {
            job.workload == workload.id
                && job.state == JobState::Queued
                && job.source.as_ref() == Some(&supply.source)
                && !job.auto_requeue
                && !job.is_asked
                && is_wide(&supply.spread, job)
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
