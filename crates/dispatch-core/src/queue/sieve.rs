//! Which of the jobs that wait in a group a host that asks is to be decided about, so that the others need not be
//! loaded: a queue may be long, and most of it for others.
//!
//! Whoever loads passes the jobs through a [`Sieve`] in the order of the queue, by what little is needed for that.
//! [`Snapshot::ask`] decides the same on what is kept as on everything, but for two things that are not told: a job whose
//! image cannot be read is noted so only if it is among these; and of more than [`SCHEDULED`] jobs that are not to start
//! before some time, one that is due is there, but it may not be the first of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Snapshot;
use super::fit::{is_other_arch, lacking};
use crate::group::{Group, GroupId, TemplateId};
use crate::host::{Host, Recognised, Sighting, recognise};
use crate::id::{HostId, JobId, WorkloadId};
use crate::workload::{Arch, SourceId};

/// With jobs for so many images there is something for a host, even if most of these are not here yet.
const IMAGES: usize = 200;

/// With so many jobs there is something for a host, whatever images they are for.
const ENOUGH: usize = 1000;

/// How many jobs for one image are kept.
const OF_ONE_IMAGE: usize = 3;

/// How many jobs are kept that were tried, as the host may have been the one.
const TRIED: usize = 200;

/// How many jobs are kept that are not to start before some time: the first ones, and as many of those that are due
/// first.
pub const SCHEDULED: usize = 200;

/// What is looked at of a job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Light {
    /// Which.
    pub id: JobId,
    /// What it runs.
    pub workload: WorkloadId,
    /// The labels that it wants of its host.
    pub required_labels: Vec<String>,
    /// Its template.
    pub template: Option<TemplateId>,
    /// It is paused.
    pub is_paused: bool,
    /// It does not start before.
    pub not_before: Option<Timestamp>,
    /// It may have been tried.
    pub is_tried: bool,
    /// The labels that its workload wants.
    pub workload_labels: Vec<String>,
    /// What its workload is made for.
    pub arch: Option<Arch>,
    /// Where its workload comes from; nothing for a workflow.
    pub source: Option<SourceId>,
}

/// Keeps what matters of the jobs that wait in one group.
#[derive(Clone, Debug)]
pub struct Sieve<'a> {
    group: Group,
    is_paused: bool,
    labels: BTreeSet<String>,
    arch: Option<Arch>,
    leave_out: &'a BTreeSet<WorkloadId>,
    kept: Vec<JobId>,
    images: BTreeMap<WorkloadId, usize>,
    count: usize,
    tried: usize,
    scheduled: Vec<(Timestamp, JobId)>,
    /// Of which kinds of jobs that cannot start one is kept, for what the host is told if there is nothing else.
    has: BTreeSet<Lame>,
}

/// Why a job cannot start on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lame {
    Held,
    LacksLabel,
    OtherArch,
}

impl<'a> Sieve<'a> {
    /// For a host that asks, and a group that it belongs to. Jobs with the workloads of `leave_out` are known not to be
    /// ready for it.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        host: &Host,
        group: &GroupId,
        leave_out: &'a BTreeSet<WorkloadId>,
    ) -> Option<Self> {
        let is_paused = snapshot.groups.iter().any(|state| state.id == *group && state.is_paused);
        Some(Self {
            group: snapshot.policy.group(group)?.clone(),
            is_paused,
            labels: snapshot.policy.labels_of(host),
            arch: host.arch,
            leave_out,
            kept: Vec::new(),
            images: BTreeMap::new(),
            count: 0,
            tried: 0,
            scheduled: Vec::new(),
            has: BTreeSet::new(),
        })
    }

    /// The next job of the queue.
    pub fn put(&mut self, job: &Light) {
        let wanted = self.group.labels.iter().chain(&job.workload_labels).chain(&job.required_labels);
        let lacks_label = lacking(&self.labels, wanted).next().is_some();
        let is_other = is_other_arch(self.arch, job.arch);
        let lame = match (is_other, lacks_label) {
            (true, _) => Some(Lame::OtherArch),
            (false, true) => Some(Lame::LacksLabel),
            (false, false) => Some(Lame::Held).filter(|_| self.is_held(job)),
        };
        if let Some(lame) = lame {
            if self.has.insert(lame) {
                self.kept.push(job.id);
            }
        } else if let Some(time) = job.not_before {
            self.scheduled.push((time, job.id));
        } else if job.is_tried {
            self.tried += 1;
            if self.tried <= TRIED {
                self.kept.push(job.id);
            }
        } else {
            let of_image = self.images.entry(job.workload).or_default();
            *of_image += 1;
            if *of_image <= OF_ONE_IMAGE {
                self.kept.push(job.id);
            }
            if !self.leave_out.contains(&job.workload) {
                self.count += 1;
            }
        }
    }

    /// Whether a job that fits is held back, for a reason that does not pass with time.
    fn is_held(&self, job: &Light) -> bool {
        let has_template = |id: &TemplateId| self.group.templates.iter().any(|template| template.id == *id);
        self.is_paused
            || job.is_paused
            || job.template.as_ref().is_some_and(|id| !has_template(id))
            || job.source.as_ref().is_some_and(|source| !self.group.sources.contains(source))
    }

    /// Whether what is still to come of the queue makes no difference.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        let images = self.images.keys().filter(|image| !self.leave_out.contains(image)).count();
        self.count >= ENOUGH || images >= IMAGES || (self.is_paused && self.has.contains(&Lame::Held))
    }

    /// The jobs that are to be loaded.
    #[must_use]
    pub fn kept(mut self) -> Vec<JobId> {
        self.kept.extend(self.scheduled.iter().take(SCHEDULED).map(|(_, job)| *job));
        let mut rest = self.scheduled.split_off(self.scheduled.len().min(SCHEDULED));
        rest.sort_unstable();
        self.kept.extend(rest.into_iter().take(SCHEDULED).map(|(_, job)| job));
        self.kept
    }
}

impl Snapshot {
    /// The host that asks, as it will be known by its request; none where nothing can be given to it, whatever there is.
    #[must_use]
    pub fn asking(&self, who: &Sighting) -> Option<Host> {
        let mut host = match recognise(&self.hosts, who) {
            Recognised::Several => return None,
            Recognised::Host(host) => host.clone(),
            Recognised::Stranger => {
                let never = Timestamp::UNIX_EPOCH;
                Host::new(HostId::new(never, [0; 10]), who.address, never)
            }
        };
        host.address = who.address;
        host.macs.extend(who.mac.filter(|mac| !host.macs.contains(mac)).into_iter().collect::<Vec<_>>());
        host.name = who.name.clone().or(host.name);
        (self.policy.is_accepted(&host) && !host.is_paused).then_some(host)
    }
}
