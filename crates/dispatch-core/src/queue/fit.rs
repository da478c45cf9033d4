//! Which job may go to which host, and what stands in the way.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::{Job, JobState, Snapshot};
use crate::group::{GroupId, GroupKind, TemplateRuns};
use crate::host::Host;
use crate::id::{HostId, JobId};
use crate::workload::{Arch, Workload};

/// What keeps a job from any host. Each is half a sentence that follows "waits: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The configuration says that nothing is started.
    NotDispatching,
    /// Its group is not in the configuration.
    GroupGone,
    /// Nothing of its kind of group is started by this program.
    NoDriver(GroupKind),
    /// Its template is not in the configuration.
    TemplateGone,
    /// Its workload's source is not in the configuration.
    SourceGone,
    /// A person paused its group.
    GroupPaused,
    /// A person paused it.
    Paused,
    /// It is not to start before then.
    NotBefore(Timestamp),
    /// As many runs of its group as may go on do so.
    GroupFull(u32),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDispatching => f.write_str("dispatcher.enabled is false in the configuration"),
            Self::GroupGone => f.write_str("its group has left the configuration"),
            Self::NoDriver(kind) => write!(f, "groups of kind {kind} wait for their driver"),
            Self::TemplateGone => f.write_str("its template has left the configuration"),
            Self::SourceGone => f.write_str("the source of its workload has left the configuration"),
            Self::GroupPaused => f.write_str("its group is paused"),
            Self::Paused => f.write_str("it is paused"),
            Self::NotBefore(time) => write!(f, "it starts at {time:.0} at the earliest"),
            Self::GroupFull(1) => f.write_str("a run of its group goes on, and it may have one at a time"),
            Self::GroupFull(most) => {
                write!(f, "{most} runs of its group go on, which is as many as it may have")
            }
        }
    }
}

/// Why a job cannot go to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The host lacks these labels.
    Labels(Vec<String>),
    /// The image is made for this processor, and the host has another.
    Arch(Arch),
}

/// The jobs that a host cannot run.
pub(super) struct Fitting(BTreeSet<JobId>);

impl Fitting {
    pub(super) fn takes(&self, job: &Job) -> bool {
        !self.0.contains(&job.id)
    }

    /// Whether it takes all.
    pub(super) fn takes_all(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether an image is made for another processor than that of its host, as far as both are known.
pub(super) fn is_for_another(host: Option<Arch>, workload: &Workload) -> bool {
    is_other_arch(host, workload.arch())
}

/// Whether an image is made for another processor than a host has, as far as both are known.
pub(super) fn is_other_arch(host: Option<Arch>, image: Option<Arch>) -> bool {
    host.zip(image).is_some_and(|(host, image)| host != image)
}

/// Which of the wanted labels are not there. Labels are names that people write by hand: their case is no difference.
pub(super) fn lacking<'a, 'b>(
    labels: &'a BTreeSet<String>,
    wanted: impl IntoIterator<Item = &'b String> + 'a,
) -> impl Iterator<Item = &'b String> + 'a
where
    'b: 'a,
{
    wanted.into_iter().filter(|wanted| !labels.iter().any(|label| label.eq_ignore_ascii_case(wanted)))
}

impl Snapshot {
    /// The labels that a job wants of its host: its own, its workload's, its group's.
    pub(super) fn wanted_labels<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a String> {
        let workload = self.workloads.iter().find(|workload| workload.id == job.workload);
        let group = self.policy.group(&job.group);
        let of_group = group.into_iter().flat_map(|group| &group.labels);
        let of_workload = workload.into_iter().flat_map(|workload| &workload.terms.labels);
        of_group.chain(of_workload).chain(&job.required_labels)
    }

    /// Why a job cannot go to a host with these labels and this processor, as far as is known.
    pub(super) fn unfit(&self, job: &Job, labels: &BTreeSet<String>, arch: Option<Arch>) -> Option<Unfit> {
        let missing: Vec<String> = lacking(labels, self.wanted_labels(job)).cloned().collect();
        if !missing.is_empty() {
            return Some(Unfit::Labels(missing));
        }
        let workload = self.workloads.iter().find(|workload| workload.id == job.workload)?;
        is_for_another(arch, workload).then(|| workload.arch()).flatten().map(Unfit::Arch)
    }

    /// Which jobs a host can run, as far as is known: an image for another processor would be fetched for nothing.
    pub(super) fn fitting(&self, host: HostId) -> Fitting {
        let host = self.hosts.iter().find(|known| known.id == host);
        let arch = host.and_then(|host| host.arch);
        let labels = host.map(|host| self.policy.labels_of(host)).unwrap_or_default();
        let unfit = self.jobs.iter().filter(|job| self.unfit(job, &labels, arch).is_some());
        Fitting(unfit.map(|job| job.id).collect())
    }

    /// What keeps a job from any host. The groups and the runs that go on must be here.
    #[must_use]
    pub fn hindrance(&self, job: &Job, now: Timestamp) -> Option<Hindrance> {
        self.hindrance_of_group(job).or_else(|| {
            if job.is_paused {
                Some(Hindrance::Paused)
            } else if let Some(time) = job.not_before.filter(|time| *time > now) {
                Some(Hindrance::NotBefore(time))
            } else {
                self.is_full(&job.group).map(Hindrance::GroupFull)
            }
        })
    }

    fn hindrance_of_group(&self, job: &Job) -> Option<Hindrance> {
        if !self.policy.is_service() {
            return None;
        }
        if !self.policy.is_dispatching {
            return Some(Hindrance::NotDispatching);
        }
        let Some(group) = self.policy.group(&job.group) else { return Some(Hindrance::GroupGone) };
        if group.kind != GroupKind::Metal {
            return Some(Hindrance::NoDriver(group.kind));
        }
        if self.groups.iter().any(|state| state.id == job.group && state.is_paused) {
            return Some(Hindrance::GroupPaused);
        }
        if let Some(template) = &job.template
            && !group.templates.iter().any(|known| known.id == *template)
        {
            return Some(Hindrance::TemplateGone);
        }
        let workload = self.workloads.iter().find(|workload| workload.id == job.workload)?;
        let is_gone = workload.workflow.is_none() && !group.sources.contains(&workload.source);
        is_gone.then_some(Hindrance::SourceGone)
    }

    /// How many runs of a group may go on, if as many do.
    pub(super) fn is_full(&self, group: &GroupId) -> Option<u32> {
        let most = self.policy.group(group)?.max_concurrent?;
        let active = |job: &&Job| job.group == *group && job.state == JobState::Active;
        let going_on = self.jobs.iter().filter(active).count();
        (going_on >= most as usize).then_some(most)
    }

    /// The newest workload that a template's group is offered by the name that the template gives.
    pub(super) fn offered(&self, job_group: &GroupId, runs: &TemplateRuns) -> Option<&Workload> {
        let TemplateRuns::Workload(name) = runs else { return None };
        let by_name = self.workloads.iter().filter(|known| known.name == *name && known.group == *job_group);
        let offered = by_name.filter(|known| known.is_offered && self.has_source(known));
        offered.max_by_key(|known| (known.first_seen, known.id))
    }

    /// Whether the source of a workload is one of its group's in the configuration. A workflow comes from none.
    pub(super) fn has_source(&self, workload: &Workload) -> bool {
        let group = self.policy.group(&workload.group);
        workload.workflow.is_some() || group.is_some_and(|group| group.sources.contains(&workload.source))
    }

    /// What a host without work is told to do where its groups say so, else what all are told.
    pub(super) fn when_idle(&self, host: HostId) -> super::WhenIdle {
        let Some(host) = self.hosts.iter().find(|known| known.id == host) else {
            return self.policy.when_idle;
        };
        let own = self.groups_of(host).find_map(|group| group.when_idle);
        own.unwrap_or(self.policy.when_idle)
    }

    /// The groups of servers that a host belongs to, by its labels, in the order of the configuration.
    pub fn groups_of(&self, host: &Host) -> impl Iterator<Item = &crate::group::Group> {
        let labels = self.policy.labels_of(host);
        let metal = self.policy.groups.iter().flat_map(|groups| groups.iter());
        metal.filter(move |group| {
            group.kind == GroupKind::Metal && lacking(&labels, &group.labels).next().is_none()
        })
    }
}
