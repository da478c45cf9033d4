//! Which of the jobs that wait in a group a host that asks is to be decided about, so that the others need not be
//! loaded: a queue may be long, and most of it for others.
//!
//! Whoever loads passes the jobs through a [`Sieve`] in the order of the queue, by what little is needed for that.
//! [`Snapshot::ask`] decides the same on what is kept as on everything, but for one thing that is not told: a job whose
//! image is known not to be ready is noted so only if it is among these.
//!
//! Only what the host could be given is counted: however many jobs stand before it that cannot start, are not ready, are
//! not due or have errored on this host, one that can start is found.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::fit::{is_other_arch, lacking};
use super::{Absent, Snapshot};
use crate::group::{Group, GroupId, TemplateId};
use crate::host::{Host, Recognised, Sighting, recognise};
use crate::id::{HostId, JobId, WorkloadId};
use crate::workload::{Arch, SourceId};

/// With jobs for so many images there is something for a host, even if most of these cannot be read. Where more are known
/// not to be ready, as many as these: the number of times that a queue is looked through grows with its logarithm.
const IMAGES: usize = 200;

/// With so many jobs there is something for a host, whatever images they are for.
const ENOUGH: usize = 1000;

/// How many jobs for one image are kept.
const OF_ONE_IMAGE: usize = 3;

/// How many jobs are kept that have errored on this host: it is given them when there is nothing else.
const TRIED: usize = 200;

/// How many jobs are kept of those whose images are not ready and have the same outlook, so that it is noted with them.
const ABSENT: usize = 200;

/// How many jobs are kept that are not to start before some time: the first one, and those that are due first.
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
    /// An attempt of it has errored on this host.
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
    absent: &'a Absent,
    now: Timestamp,
    kept: Vec<JobId>,
    /// How many jobs there are for each image that may be ready.
    images: BTreeMap<WorkloadId, usize>,
    count: usize,
    /// The same of what has errored on this host.
    tried: BTreeMap<WorkloadId, usize>,
    /// The same of what is known not to be ready, by outlook.
    not_ready: [BTreeMap<WorkloadId, usize>; 3],
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
    /// For a host that asks at this time, and a group that it belongs to. What is `absent` is known not to be ready for it.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        host: &Host,
        group: &GroupId,
        absent: &'a Absent,
        now: Timestamp,
    ) -> Option<Self> {
        let is_paused = snapshot.groups.iter().any(|state| state.id == *group && state.is_paused);
        Some(Self {
            group: snapshot.policy.group(group)?.clone(),
            is_paused,
            labels: snapshot.policy.labels_of(host),
            arch: host.arch,
            absent,
            now,
            kept: Vec::new(),
            images: BTreeMap::new(),
            count: 0,
            tried: BTreeMap::new(),
            not_ready: Default::default(),
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
        let is_kept = if let Some(lame) = lame {
            self.has.insert(lame)
        } else if let Some(time) = job.not_before.filter(|time| *time > self.now) {
            self.scheduled.push((time, job.id));
            self.scheduled.len() == 1
        } else if let Some(outlook) = self.absent.outlook(job.workload, job.source.as_ref()) {
            is_one_more(&mut self.not_ready[outlook as usize], job.workload, ABSENT)
        } else if job.is_tried {
            is_one_more(&mut self.tried, job.workload, TRIED)
        } else {
            self.count += 1;
            is_one_more(&mut self.images, job.workload, usize::MAX)
        };
        if is_kept {
            self.kept.push(job.id);
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
        let known = self.absent.workloads.len();
        self.count >= ENOUGH.max(known)
            || self.images.len() >= IMAGES.max(known)
            || (self.is_paused && self.has.contains(&Lame::Held))
    }

    /// The jobs that are to be loaded.
    #[must_use]
    pub fn kept(mut self) -> Vec<JobId> {
        self.scheduled.sort_unstable();
        self.kept.extend(self.scheduled.into_iter().take(SCHEDULED).map(|(_, job)| job));
        self.kept
    }
}

/// Whether one more job for an image is to be kept, of those for so many images at most.
fn is_one_more(images: &mut BTreeMap<WorkloadId, usize>, image: WorkloadId, most: usize) -> bool {
    if images.len() >= most && !images.contains_key(&image) {
        return false;
    }
    let of_image = images.entry(image).or_default();
    *of_image += 1;
    *of_image <= OF_ONE_IMAGE
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
