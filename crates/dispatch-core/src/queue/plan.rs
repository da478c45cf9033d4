//! Why each job waits and each host is idle, in one sentence each.
//!
//! The sentences say what [`Snapshot::ask`] would do: one that begins with `can start` is of a job that a host which is
//! free now may be given, or of a host that may be given one; any other says what stands in the way. They name moments,
//! not durations, so that a sentence stays the same for as long as what it says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::fit::{Unfit, lacking};
use super::{Hindrance, Job, JobState, Outlook, Snapshot, Stub, Unreadable, is_about_image, waits_for_image};
use crate::group::{Group, GroupId, GroupKind, ListedHost, UnknownHosts};
use crate::host::Host;
use crate::id::{HostId, JobId, WorkloadId};
use crate::run::Run;
use crate::text;
use crate::workload::Workload;

/// What the sentences are made from.
#[derive(Clone, Debug, Default)]
pub struct PlanInput {
    /// The settings, how the groups stand, all hosts, the jobs that go on with their runs, the jobs that are asked about
    /// with their earlier runs, and the workloads of all of these. Each job here that waits gets a sentence.
    pub snapshot: Snapshot,
    /// How many jobs of a group wait before the first of those here, where that is known.
    pub before: BTreeMap<GroupId, u64>,
    /// How many jobs of a group wait in all, where that is known. With as many of them here, nothing is said with
    /// reserve.
    pub waiting: BTreeMap<GroupId, u64>,
    /// The images that cannot be read at the moment, as far as that is known. What was noted when a host asked last is
    /// with the jobs.
    pub unreadable: BTreeMap<WorkloadId, Unreadable>,
}

/// A sentence for each waiting job and for each host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Why each job waits, or that it can start.
    pub jobs: BTreeMap<JobId, String>,
    /// Why each host is idle, what it can start, or what it runs.
    pub hosts: BTreeMap<HostId, String>,
}

/// Says of each waiting job and of each host why it waits.
#[must_use]
pub fn plan(input: &PlanInput, now: Timestamp) -> Plan {
    let view = View::new(input, now);
    Plan {
        jobs: (0..view.jobs.len()).map(|at| (view.jobs[at].job.id, view.of_job(at))).collect(),
        hosts: view.of_hosts(),
    }
}

/// The sentences of the hosts alone, as [`plan`] has them: where many jobs wait, those of the jobs take long.
#[must_use]
pub fn plan_hosts(input: &PlanInput, now: Timestamp) -> BTreeMap<HostId, String> {
    View::new(input, now).of_hosts()
}

/// Whether a host could be given work if it asked.
#[derive(Clone, Copy, Debug)]
enum Standing<'a> {
    Free,
    Busy(&'a Run),
    /// What it is known by stands for several.
    Shared(&'a str),
    /// The session is for others.
    Unwanted,
    NotAccepted,
    Paused,
}

struct Known<'a> {
    host: &'a Host,
    name: String,
    labels: BTreeSet<String>,
    standing: Standing<'a>,
    /// What it has errored comes last.
    errored: Vec<&'a Run>,
}

struct Waiting<'a> {
    job: &'a Job,
    workload: Option<&'a Workload>,
    /// The labels that it needs, each once.
    wanted: Vec<&'a String>,
    hindrance: Option<Hindrance>,
    /// Its image is known to be out of reach now.
    is_unreadable: bool,
}

struct View<'a> {
    input: &'a PlanInput,
    snapshot: &'a Snapshot,
    hosts: Vec<Known<'a>>,
    /// In the order of the queue.
    jobs: Vec<Waiting<'a>>,
    /// Listed hosts that have not asked yet, with their labels.
    unseen: Vec<(&'a ListedHost, BTreeSet<String>)>,
}

impl<'a> View<'a> {
    fn new(input: &'a PlanInput, now: Timestamp) -> Self {
        let snapshot = &input.snapshot;
        let mut queued: Vec<&Job> =
            snapshot.jobs.iter().filter(|job| job.state == JobState::Queued && !job.is_deleted).collect();
        queued.sort_unstable_by_key(|job| job.rank());
        let jobs = queued.into_iter().map(|job| Waiting::new(input, job, now)).collect();
        let active: BTreeMap<HostId, &Run> =
            snapshot.runs.iter().filter(|run| !run.state.is_final()).map(|run| (run.host, run)).collect();
        let hosts = snapshot.hosts.iter().map(|host| Known {
            host,
            name: called(snapshot, host),
            labels: snapshot.policy.labels_of(host),
            standing: standing(snapshot, host, active.get(&host.id).copied()),
            errored: snapshot.runs.iter().filter(|run| run.host == host.id && run.has_errored()).collect(),
        });
        let mut hosts: Vec<Known<'_>> = hosts.collect();
        hosts.sort_by(|one, other| (&one.name, one.host.id).cmp(&(&other.name, other.host.id)));
        let is_seen = |listed: &&ListedHost| snapshot.hosts.iter().any(|host| listed.is(host));
        let unseen = snapshot.policy.listed.iter().filter(|listed| !is_seen(listed));
        let unseen = unseen.map(|listed| (listed, listed.own_labels())).collect();
        Self { input, snapshot, hosts, jobs, unseen }
    }

    /// Whether all that waits in a group is here.
    fn is_whole(&self, group: &GroupId) -> bool {
        let here = self.jobs.iter().filter(|waiting| waiting.job.group == *group).count();
        self.input.waiting.get(group).is_some_and(|all| *all == here as u64)
    }

    /// The groups whose work a host may get.
    fn groups_of(&self, host: &Host) -> Vec<GroupId> {
        if self.snapshot.policy.is_service() {
            self.snapshot.groups_of(host).map(|group| group.id.clone()).collect()
        } else {
            vec![GroupId::session()]
        }
    }

    fn unfit(&self, waiting: &Waiting<'_>, host: &Known<'_>) -> Option<Unfit> {
        self.snapshot.unfit(waiting.job, &host.labels, host.host.arch)
    }

    /// Whether a host gets a job when its turn comes.
    fn takes(&self, host: &Known<'_>, waiting: &Waiting<'_>) -> bool {
        waiting.can_start() && self.unfit(waiting, host).is_none()
    }

    /// What a host is given first, of what it takes.
    fn turn(host: &Known<'_>, waiting: &Waiting<'_>) -> impl Ord + use<> {
        let has_errored = host.errored.iter().any(|run| Snapshot::is_attempt_of(run, waiting.job));
        (has_errored, waiting.job.rank())
    }

    fn since(&self, run: &Run) -> String {
        let job = self.snapshot.jobs.iter().find(|job| job.id == run.job);
        format!("{} since {:.0}", job.map_or("a job", |job| &job.name), run.created)
    }

    // Jobs.

    fn of_job(&self, at: usize) -> String {
        let waiting = &self.jobs[at];
        if let Some(hindrance) = &waiting.hindrance {
            let runs = match hindrance {
                Hindrance::GroupFull(_) => self.runs_of(&waiting.job.group),
                _ => String::new(),
            };
            return format!("waits: {hindrance}{runs}");
        }
        if let Some(image) = self.input.unreadable.get(&waiting.job.workload) {
            return match image.outlook {
                Outlook::Coming => "waits: its image is still being fetched".to_owned(),
                Outlook::Lasting | Outlook::Passing => format!("waits: {}", waits_for_image(image)),
            };
        }
        if let Some(noted) = waiting.job.waits.as_deref().filter(|waits| is_about_image(waits)) {
            return format!("waits: {noted}; that is looked at again when a host asks for it");
        }
        if waiting.workload.is_none() {
            return "waits: its workload is not known here".to_owned();
        }
        let fitting: Vec<&Known<'_>> =
            self.hosts.iter().filter(|host| self.unfit(waiting, host).is_none()).collect();
        let free = fitting.iter().filter(|host| matches!(host.standing, Standing::Free));
        // The host that gets to it first.
        match free.map(|host| (self.ahead(host, waiting), *host)).min_by_key(|(ahead, _)| *ahead) {
            Some((ahead, host)) => self.can_start(waiting, ahead, host),
            None => format!("waits: {}", self.no_host(waiting, &fitting)),
        }
    }

    /// The runs of a group that go on, one or two of them by name.
    fn runs_of(&self, group: &GroupId) -> String {
        let is_of_group = |run: &&Run| {
            let job = self.snapshot.jobs.iter().find(|job| job.id == run.job);
            job.is_some_and(|job| job.group == *group)
        };
        let runs = self.hosts.iter().filter_map(|host| match host.standing {
            Standing::Busy(run) => Some((run, host)).filter(|(run, _)| is_of_group(run)),
            _ => None,
        });
        let words: Vec<String> =
            runs.map(|(run, host)| format!("{} is running {}", host.name, self.since(run))).collect();
        if words.is_empty() { String::new() } else { format!("; {}", some(&words)) }
    }

    /// How many jobs a host would be given before this one, of those here.
    fn ahead(&self, host: &Known<'_>, waiting: &Waiting<'_>) -> usize {
        let turn = Self::turn(host, waiting);
        self.jobs.iter().filter(|other| Self::turn(host, other) < turn && self.takes(host, other)).count()
    }

    fn can_start(&self, waiting: &Waiting<'_>, ahead: usize, host: &Known<'_>) -> String {
        let (name, seen) = (&host.name, host.host.last_seen);
        let is_known = self.groups_of(host.host).iter().all(|group| self.is_whole(group));
        match (is_known, ahead) {
            (true, 0) => {
                format!("can start: {name} gets it when it asks next, and was last seen at {seen:.0}")
            }
            (true, _) => {
                let others = text::count(ahead as u64, "other job");
                format!("can start after {others}: {name} is free and fits, and was last seen at {seen:.0}")
            }
            (false, _) => {
                let group = &waiting.job.group;
                let of_group = self.jobs.iter().filter(|other| other.job.group == *group);
                let here = of_group.take_while(|other| other.job.id != waiting.job.id).count() as u64;
                let most = self.input.before.get(group).map(|before| before.saturating_add(here));
                let when = match most {
                    Some(0) => "it is the first of its group".to_owned(),
                    Some(most) => format!("{} of its group at most may go first", text::count(most, "job")),
                    None => "jobs before it may go first".to_owned(),
                };
                format!("can start, {when}: {name} is free and fits, and was last seen at {seen:.0}")
            }
        }
    }

    /// Why no host can start a job that nothing else holds back.
    fn no_host(&self, waiting: &Waiting<'_>, fitting: &[&Known<'_>]) -> String {
        let names = |is_meant: &dyn Fn(&Standing<'_>) -> bool| -> Vec<String> {
            fitting.iter().filter(|host| is_meant(&host.standing)).map(|host| host.name.clone()).collect()
        };
        let needs = waiting.needs();
        let busy: Vec<String> = fitting
            .iter()
            .filter_map(|host| match host.standing {
                Standing::Busy(run) => Some(format!("{} is running {}", host.name, self.since(run))),
                _ => None,
            })
            .collect();
        if !busy.is_empty() {
            return format!("{needs}no {}host is free; {}", such(&needs), some(&busy));
        }
        let paused = names(&|standing| matches!(standing, Standing::Paused));
        if !paused.is_empty() {
            return format!("{needs}{} {} paused", some(&paused), fits_and_is(&paused));
        }
        let strangers = names(&|standing| matches!(standing, Standing::NotAccepted));
        if !strangers.is_empty() {
            let why = match (self.snapshot.policy.unknown_hosts, strangers.len()) {
                (UnknownHosts::Ignore, 1) => "fits, but is not listed and is ignored",
                (UnknownHosts::Ignore, _) => "fit, but are not listed and are ignored",
                (_, 1) => "fits and waits to be accepted",
                _ => "fit and wait to be accepted",
            };
            return format!("{needs}{} {why}", some(&strangers));
        }
        let shared = names(&|standing| matches!(standing, Standing::Shared(_)));
        if !shared.is_empty() {
            return format!("{needs}{} would fit, and stands for several hosts", some(&shared));
        }
        self.no_such_host(waiting, &needs)
    }

    /// Why no host that is known fits.
    fn no_such_host(&self, waiting: &Waiting<'_>, needs: &str) -> String {
        let has_all =
            |labels: &BTreeSet<String>| lacking(labels, waiting.wanted.iter().copied()).next().is_none();
        let unseen: Vec<String> = self
            .unseen
            .iter()
            .filter(|(_, labels)| has_all(labels))
            .map(|(listed, _)| listed.key.to_string())
            .collect();
        if !unseen.is_empty() {
            let verb = if unseen.len() == 1 { "has" } else { "have" };
            return format!("{needs}{} {verb} not asked yet", some(&unseen));
        }
        let wanted = |host: &&Known<'_>| !matches!(host.standing, Standing::Unwanted);
        let hosts: Vec<&Known<'_>> = self.hosts.iter().filter(wanted).collect();
        if let Some(arch) = waiting.workload.and_then(Workload::arch)
            && hosts.iter().any(|host| has_all(&host.labels))
        {
            let kind = if needs.is_empty() { "no host that is known is" } else { "no such host is" };
            return format!("{needs}it is made for {arch}, and {kind} of that kind");
        }
        if hosts.is_empty() && self.unseen.is_empty() {
            return format!("{needs}no host has asked yet");
        }
        let carried =
            hosts.iter().map(|host| &host.labels).chain(self.unseen.iter().map(|(_, labels)| labels));
        let carried: Vec<&BTreeSet<String>> = carried.collect();
        let is_nowhere =
            |label: &&String| !carried.iter().any(|labels| lacking(labels, [*label]).next().is_none());
        let nowhere: Vec<&String> = waiting.wanted.iter().copied().filter(is_nowhere).collect();
        match nowhere[..] {
            [] => format!("{}, which no host carries together", labels_in_words(&waiting.wanted)),
            _ => format!("{}, which no host carries", labels_in_words(&nowhere)),
        }
    }

    // Hosts.

    fn of_hosts(&self) -> BTreeMap<HostId, String> {
        self.hosts.iter().map(|host| (host.host.id, self.of_host(host))).collect()
    }

    fn of_host(&self, host: &Known<'_>) -> String {
        let told = told(host.host);
        match host.standing {
            Standing::Busy(run) => format!("is running {}", self.since(run)),
            Standing::Shared(why) => format!("gets no work: {why}"),
            Standing::Unwanted => "gets no work: this session is for other hosts".to_owned(),
            Standing::NotAccepted if self.snapshot.policy.unknown_hosts == UnknownHosts::Ignore => {
                "gets no work: it is not listed, and others are ignored".to_owned()
            }
            Standing::NotAccepted => format!("gets no work: it is enrolled and waits to be accepted{told}"),
            Standing::Paused => format!("gets no work: it is paused{told}"),
            Standing::Free => self.of_free_host(host, &told),
        }
    }

    fn of_free_host(&self, host: &Known<'_>, told: &str) -> String {
        let groups = self.groups_of(host.host);
        if groups.is_empty() {
            return format!("gets no work: it belongs to no group{}{told}", self.nearest_group(host));
        }
        let takes = self.jobs.iter().filter(|waiting| self.takes(host, waiting));
        if let Some(next) = takes.min_by_key(|waiting| Self::turn(host, waiting)) {
            let (name, seen) = (&next.job.name, host.host.last_seen);
            let or =
                if groups.iter().all(|group| self.is_whole(group)) { "" } else { ", or what is before it," };
            return format!("can start {name}{or} when it asks next, and was last seen at {seen:.0}");
        }
        let mut reasons: Vec<String> = groups.iter().map(|group| self.nothing_in(group, host)).collect();
        reasons.dedup();
        format!("idle: {}{told}", reasons.join(", "))
    }

    /// Which labels a host lacks for the group that it is nearest to.
    fn nearest_group(&self, host: &Known<'_>) -> String {
        let groups = self.snapshot.policy.groups.iter().flat_map(|groups| groups.iter());
        let metal = groups.filter(|group| group.kind == GroupKind::Metal);
        let missing =
            |group: &'a Group| -> Vec<&'a String> { lacking(&host.labels, &group.labels).collect() };
        match metal.map(|group| (group, missing(group))).min_by_key(|(_, missing)| missing.len()) {
            None => "; there is none of servers in the configuration".to_owned(),
            Some((group, missing)) => format!("; {} {}", group.id, labels_in_words(&missing)),
        }
    }

    /// Why nothing of a group is for a host.
    fn nothing_in(&self, group: &GroupId, host: &Known<'_>) -> String {
        let place = if self.snapshot.policy.is_service() { format!("in {group}") } else { "here".to_owned() };
        let here: Vec<&Waiting<'_>> =
            self.jobs.iter().filter(|waiting| waiting.job.group == *group).collect();
        if self.snapshot.groups.iter().any(|state| state.id == *group && state.is_paused) {
            return format!("{group} is paused");
        }
        if let Some(most) = self.snapshot.is_full(group) {
            return format!("{group} has {} going on, and may have no more", text::count(most.into(), "run"));
        }
        let is_whole = self.is_whole(group);
        let what = match (is_whole, self.input.waiting.get(group)) {
            (true, _) if here.is_empty() => return format!("nothing waits {place}"),
            (true, _) => format!("what waits {place}"),
            (false, Some(all)) if here.is_empty() => {
                return format!("{} {place}, none of which was looked at", wait(*all));
            }
            (false, _) if here.is_empty() => return format!("what waits {place} was not looked at"),
            (false, _) => format!("what was looked at of what waits {place}"),
        };
        if let Some(held) = here.iter().find(|waiting| self.unfit(waiting, host).is_none()) {
            let why = held.hindrance.as_ref().map_or_else(|| self.image_of(held), ToString::to_string);
            return format!("{what} and fits is held back, as {}: {why}", held.job.name);
        }
        let first = here[0];
        match self.unfit(first, host) {
            Some(Unfit::Arch(arch)) => {
                format!("{what} is for others, as {}, which is made for {arch}", first.job.name)
            }
            Some(Unfit::Labels(missing)) => {
                let missing: Vec<&String> = missing.iter().collect();
                format!("{what} is for others, as {}, which {}", first.job.name, labels_in_words(&missing))
            }
            None => format!("{what} is for others"),
        }
    }

    fn image_of(&self, waiting: &Waiting<'_>) -> String {
        match self.input.unreadable.get(&waiting.job.workload) {
            Some(Unreadable { outlook: Outlook::Coming, .. }) => {
                "its image is still being fetched".to_owned()
            }
            Some(image) => waits_for_image(image),
            None => "its workload is not known here".to_owned(),
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(input: &'a PlanInput, job: &'a Job, now: Timestamp) -> Self {
        let snapshot = &input.snapshot;
        let mut wanted: Vec<&String> = Vec::new();
        for label in snapshot.wanted_labels(job) {
            if !wanted.iter().any(|known| known.eq_ignore_ascii_case(label)) {
                wanted.push(label);
            }
        }
        Self {
            job,
            workload: snapshot.workloads.iter().find(|workload| workload.id == job.workload),
            wanted,
            hindrance: snapshot.hindrance(job, now),
            is_unreadable: input.unreadable.contains_key(&job.workload),
        }
    }

    /// Nothing but the lack of a host holds it back.
    fn can_start(&self) -> bool {
        self.hindrance.is_none() && !self.is_unreadable && self.workload.is_some()
    }

    /// The labels that it needs, as the beginning of a sentence.
    fn needs(&self) -> String {
        if self.wanted.is_empty() { String::new() } else { format!("{}, ", labels_in_words(&self.wanted)) }
    }
}

fn standing<'a>(snapshot: &'a Snapshot, host: &'a Host, active: Option<&'a Run>) -> Standing<'a> {
    let wanted = &snapshot.policy.hosts;
    match (active, &host.shared) {
        (Some(run), _) => Standing::Busy(run),
        (None, Some(why)) if host.name.is_none() => Standing::Shared(why),
        _ if !wanted.is_empty() && !wanted.iter().any(|pattern| pattern.matches(host)) => Standing::Unwanted,
        _ if !snapshot.policy.is_accepted(host) => Standing::NotAccepted,
        _ if host.is_paused => Standing::Paused,
        _ => Standing::Free,
    }
}

/// What people call a host: its id of the configuration or the one that a person gave it, else how it was seen.
fn called(snapshot: &Snapshot, host: &Host) -> String {
    snapshot.policy.key_of(host).map_or_else(|| host.label(), ToString::to_string)
}

/// What a host was told when it asked last, if there was nothing for it.
fn told(host: &Host) -> String {
    let Some(idle) = &host.idle else { return String::new() };
    let what = match idle.stub {
        Some(Stub::PowerOff) => "to power off",
        Some(Stub::Reboot) => "to reset and ask again",
        Some(Stub::Next) => "to go on with its next boot device",
        Some(Stub::Wait) => "to wait",
        None => "that there is nothing",
    };
    format!("; it was told {what} at {:.0}", idle.since)
}

/// `r1`, `r1 and r2`, `r1, r2 and 3 more`.
fn some(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [one, other, more @ ..] => format!("{one}, {other} and {} more", more.len()),
    }
}

fn fits_and_is(names: &[String]) -> &'static str {
    if names.len() == 1 { "fits and is" } else { "fit and are" }
}

fn such(needs: &str) -> &'static str {
    if needs.is_empty() { "" } else { "such " }
}

fn wait(all: u64) -> String {
    if all == 1 { "1 job waits".to_owned() } else { format!("{all} jobs wait") }
}

/// `needs label a`, `needs labels a, b`.
fn labels_in_words(labels: &[&String]) -> String {
    let all = labels.iter().map(|label| label.as_str()).collect::<Vec<_>>().join(", ");
    format!("needs label{} {all}", if labels.len() == 1 { "" } else { "s" })
}
