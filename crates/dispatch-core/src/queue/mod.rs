//! The rules that span jobs, runs and hosts.
//!
//! A [`Snapshot`] is what the store knows of the jobs that are not over, their runs, and the hosts concerned.
//! Each of its methods takes something that happened and returns an [`Outcome`]: the answer for whoever asked,
//! and the changes that the store commits in one transaction. The snapshot itself is used up or moved on; the
//! store loads a fresh one for the next decision.

mod absent;
mod fetch;
mod filed;
mod fit;
mod groups;
mod idle;
mod job;
mod jobs;
pub mod matrix;
mod orders;
mod places;
mod plan;
mod requests;
mod respread;
mod round;
mod settle;
mod sieve;
mod source;
mod standing;
pub mod stats;
mod status;
mod sync;

pub use absent::Absent;
pub use fetch::{ON_ITS_WAY, is_about_image, waits_for_image};
pub use fit::Hindrance;
pub use groups::{HostEdit, KeyConflict, Switch};
pub use job::{Job, JobState};
pub use jobs::{Edit, MOST_JOBS, Made, NewJob, Wanted};
pub use orders::NotDone;
pub use places::{Place, Reordered};
pub use plan::{Plan, PlanInput, plan, plan_hosts};
pub use round::{Again, EndedBy, Ending, Opened, Opening, ending, exit_status, not_seen};
pub use sieve::{Light, SCHEDULED, Sieve};
pub use standing::{Standing, standing};
pub use status::{Phase, Status};
pub use sync::{Looks, Supply, Synced};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Effect, Event, Happening};
use crate::group::{GroupId, GroupState, Template, TemplateId};
use crate::host::{Host, Recognised, Sighting, recognise};
use crate::id::{HostId, JobId, ReportId, RunId, WorkloadId};
use crate::run::{Policy, Run};
use crate::text;
use crate::verdict::Verdict;
use crate::workload::{Arch, Digest, Kind, SourceId, Terms, UnknownWord, Workload};

/// A `GET` that follows a `HEAD` this closely gets what the `HEAD` promised, even if work has turned up in
/// between: firmware has allocated memory for the size it was told.
const IDLE_PROMISE: Duration = Duration::from_secs(30);

/// Once through the queue. A round begins when a session starts and everything before is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// Which, from 1.
    pub number: u32,
    /// When it began.
    pub begun: Timestamp,
    /// What it takes again of what came before, by how it came out; nothing means that it takes everything.
    pub again: Vec<Again>,
    /// A session ended in good order when all of its jobs were over.
    pub is_over: bool,
}

/// What a host is told to do when there is no work for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stub {
    /// Power off.
    PowerOff,
    /// Wait a little, reset, and ask again.
    Reboot,
    /// Go on with the next boot device.
    Next,
    /// Wait without a reset, and ask again.
    Wait,
}

impl Stub {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PowerOff, Self::Reboot, Self::Next, Self::Wait];

    /// The word of `--when-idle`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Next => "next",
            Self::Wait => "wait",
        }
    }
}

impl fmt::Display for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The setting for hosts without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenIdle {
    /// Power off a host that ran something here and to which no job can come any more; have one wait to which
    /// one can; leave strangers alone.
    Auto,
    /// Always this.
    Always(Stub),
    /// Say that there is nothing.
    None,
}

impl fmt::Display for WhenIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always(stub) => stub.as_str(),
            Self::None => "none",
        })
    }
}

impl FromStr for WhenIdle {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ => Stub::ALL
                .into_iter()
                .find(|stub| stub.as_str() == word)
                .map(Self::Always)
                .ok_or_else(|| UnknownWord(word.to_owned())),
        }
    }
}

/// What a host without work was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// What it is to do; none means that it is told that there is nothing.
    pub stub: Option<Stub>,
    /// Why, in words.
    pub reason: String,
    /// When it was told first.
    pub since: Timestamp,
    /// When it was last promised to a `HEAD`.
    pub promised: Timestamp,
    /// Its `GET` has come.
    #[serde(default)]
    pub is_taken: bool,
    /// There is an image for it once it has reset, so that it need not pause before.
    #[serde(default)]
    pub is_urgent: bool,
    /// What its processor is, so that it gets a program for it.
    #[serde(default)]
    pub arch: Option<Arch>,
}

/// A host held for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The target.
    pub host: HostId,
    /// Who holds it.
    pub run: RunId,
    /// The fencing epoch: whoever writes with an older one is refused.
    pub epoch: u64,
    /// Until when, unless it is renewed.
    pub until: Timestamp,
}

/// What the rules need to know of a stored report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportKey {
    /// Its identity.
    pub id: ReportId,
    /// The run that it belongs to.
    pub run: RunId,
    /// SHA-256 of its content, in hexadecimal.
    pub digest: String,
}

/// A report as it came in, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReport {
    /// SHA-256 of its content, in hexadecimal: the same content is the same report.
    pub digest: String,
    /// Its title.
    pub title: String,
    /// Its content as JSON.
    pub json: String,
    /// Its verdict, given or judged.
    pub verdict: Verdict,
}

/// A report to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its identity.
    pub id: ReportId,
    /// The run that it belongs to.
    pub run: RunId,
    /// When it came.
    pub at: Timestamp,
    /// Whether the run was over by then.
    pub late: bool,
    /// What it says.
    pub content: NewReport,
}

/// One row to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Insert or update.
    Host(Host),
    /// Insert or update.
    Workload(Workload),
    /// Insert or update.
    Job(Job),
    /// Insert or update, if the lease still has the run's epoch.
    Run(Run),
    /// Take or renew.
    Lease(Lease),
    /// Give back.
    Release(Lease),
    /// Insert.
    Report(Report),
    /// Insert or update.
    Round(Round),
    /// Insert or update.
    Group(GroupState),
    /// Insert or update, at this time: what a template was is kept when it has left the configuration.
    Template(Template, Timestamp),
    /// Those that are not among these have left the configuration at this time.
    TemplatesAre(Vec<TemplateId>, Timestamp),
    /// Those that are not among these have left the configuration: nothing of what they had is offered. Workflows come
    /// from no source.
    SourcesAre(Vec<SourceId>),
    /// Append.
    Event(Box<Event>),
    /// Put into the outbox.
    Effect(Effect),
    /// Take out of the outbox, because it is done or will never be.
    Settled(Settled),
    /// Insert.
    Issue(Issue),
}

/// An effect that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its idempotency key.
    pub key: String,
    /// Since when.
    pub at: Timestamp,
    /// Why it was refused for good, if it was.
    pub refused: Option<String>,
}

/// An issue that a report was filed as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Which report.
    pub report: ReportId,
    /// Where, as `owner/name`.
    pub repository: String,
    /// Its number there.
    pub number: u64,
    /// Where people read it.
    pub url: String,
}

/// A decision: what to answer, and what to commit first.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// What to tell whoever asked, once `changes` are committed.
    pub answer: T,
    /// What to commit, in this order, in one transaction.
    pub changes: Vec<Change>,
}

/// Time and chance, handed in.
pub struct Context<'a> {
    /// The time.
    pub now: Timestamp,
    /// Ten random bytes at a time.
    pub random: &'a mut dyn FnMut() -> [u8; 10],
}

/// Why an image cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Why, in the words of the operating system.
    pub why: String,
    /// Whether that will change.
    pub outlook: Outlook,
}

/// Whether an image that cannot be read will be readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Not by itself.
    Lasting,
    /// It may pass by itself: a file system that hangs, a file that is being written.
    Passing,
    /// It is on its way here: whoever would get it is to wait for it.
    Coming,
}

/// How a host asks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `HEAD`.
    Head,
    /// `GET`.
    Get,
}

/// What a host that asks for work gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// An image.
    Image {
        /// For this run.
        run: RunId,
        /// This workload.
        workload: WorkloadId,
    },
    /// Nothing to run.
    Idle(Idle),
    /// To reset first: only its firmware can boot what comes next.
    Reset {
        /// What it is told.
        idle: Idle,
        /// What comes next.
        workload: WorkloadId,
    },
    /// Nothing, because it may be any of several hosts.
    Several(Idle),
    /// Its own image, which cannot be read at the moment; the text says why.
    NotNow(String),
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Which report it is.
    pub report: ReportId,
    /// The run that it was stored with.
    pub run: RunId,
    /// It was there already.
    pub known: bool,
}

/// Why a call or a report belongs to no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRun {
    /// No run of this host waits for it.
    #[error("no run waits for this host")]
    Nothing,
    /// Nobody can tell which host it comes from; the text says why, and what to do.
    #[error("{0}")]
    Several(String),
}

/// A file of a source, as the scan found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file name.
    pub name: String,
    /// Which boot asset.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: Timestamp,
    /// The digest of its bytes, where the source tells.
    pub digest: Option<Digest>,
    /// The URL that it is fetched from; nothing for a file that is here.
    pub origin: Option<String>,
    /// What is said of it.
    pub terms: Terms,
}

/// What the rules know when they decide.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The settings.
    pub policy: Policy,
    /// The hosts concerned: those that may be the one that asks, and those that runs are on.
    pub hosts: Vec<Host>,
    /// Jobs that are not over, and those that the runs here belong to.
    pub jobs: Vec<Job>,
    /// All runs of the jobs here, and the latest ones of the hosts here.
    pub runs: Vec<Run>,
    /// The workloads of the jobs here.
    pub workloads: Vec<Workload>,
    /// The reports of the runs here.
    pub reports: Vec<ReportKey>,
    /// The latest round.
    pub round: Option<Round>,
    /// How the groups stand. One that is not here is open.
    pub groups: Vec<GroupState>,
    /// Only some of the jobs that are not over are here: those that wait for others are not.
    pub is_part: bool,
    /// The hosts on which workloads have come out already, of those workloads for which that was asked.
    pub past: BTreeMap<WorkloadId, BTreeSet<HostId>>,
    /// The last place in the queue of each group that is concerned.
    pub tails: BTreeMap<GroupId, i64>,
    /// The person whose wish is carried out, for the events.
    pub by: Option<String>,
    changes: Vec<Change>,
}

impl Snapshot {
    fn outcome<T>(self, answer: T) -> Outcome<T> {
        Outcome { answer, changes: self.changes }
    }

    fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == id)
    }

    fn was_fetched(&self, id: RunId) -> bool {
        self.run(id).is_some_and(|run| run.transfers > 0)
    }

    /// Whether a run is an attempt with what its job stands for now: not with an older version of the file, and not
    /// from before somebody asked for it again.
    fn is_attempt_of(run: &Run, job: &Job) -> bool {
        run.job == job.id && run.workload == job.workload && run.attempt > job.forgiven
    }

    fn active_run(&self, host: HostId) -> Option<&Run> {
        self.runs.iter().find(|run| run.host == host && !run.state.is_final())
    }

    /// The host that a sighting belongs to; it is a new one if need be. None, if it may be any of several.
    fn meet(&mut self, who: &Sighting, context: &mut Context<'_>) -> Option<HostId> {
        let now = context.now;
        let mac = who.mac.as_slice();
        match recognise(&self.hosts, who) {
            Recognised::Several => None,
            Recognised::Host(host) => {
                let id = host.id;
                self.change_host(id, |host| {
                    host.address = who.address;
                    host.macs.extend(
                        mac.iter().filter(|mac| !host.macs.contains(mac)).copied().collect::<Vec<_>>(),
                    );
                    host.name = who.name.clone().or(host.name.take());
                    host.last_seen = now;
                });
                Some(id)
            }
            Recognised::Stranger => {
                let host = Host {
                    name: who.name.clone(),
                    macs: mac.to_vec(),
                    ..Host::new(HostId::new(now, (context.random)()), who.address, now)
                };
                let id = host.id;
                self.changes.push(Change::Host(host.clone()));
                self.hosts.push(host);
                self.tell(None, Some(id), now, Happening::HostSeen);
                Some(id)
            }
        }
    }

    fn change_host(&mut self, id: HostId, change: impl FnOnce(&mut Host)) {
        if let Some(host) = self.hosts.iter_mut().find(|host| host.id == id) {
            let before = host.clone();
            change(host);
            if *host != before {
                let host = host.clone();
                self.changes.push(Change::Host(host));
            }
        }
    }

    fn change_job(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        if let Some(at) = self.jobs.iter().position(|job| job.id == id) {
            self.change_job_at(at, change);
        }
    }

    /// The same for the job at that place of `jobs`: where many are changed, each should not be looked for.
    fn change_job_at(&mut self, at: usize, change: impl FnOnce(&mut Job)) {
        if let Some(job) = self.jobs.get_mut(at) {
            let before = job.clone();
            change(job);
            if *job == before {
                return;
            }
            job.version = job.version.saturating_add(1);
            let job = job.clone();
            self.changes.push(Change::Job(job));
        }
    }

    fn tell_of_job(&mut self, job: JobId, now: Timestamp, what: Happening) {
        let at = self.jobs.iter().position(|known| known.id == job);
        self.tell_of_job_at(at, now, what);
    }

    fn tell_of_job_at(&mut self, at: Option<usize>, now: Timestamp, what: Happening) {
        let job = at.and_then(|at| self.jobs.get(at));
        let (group, by) = (job.map(|job| job.group.clone()), self.by.clone());
        let job = job.map(Into::into);
        self.changes.push(Change::Event(Box::new(Event {
            at: now,
            group,
            job,
            run: None,
            host: None,
            by,
            what,
        })));
    }

    fn tell_of_group(&mut self, group: &GroupId, now: Timestamp, what: Happening) {
        let (group, by) = (Some(group.clone()), self.by.clone());
        let event = Event { at: now, group, job: None, run: None, host: None, by, what };
        self.changes.push(Change::Event(Box::new(event)));
    }

    fn tell(&mut self, run: Option<RunId>, host: Option<HostId>, now: Timestamp, what: Happening) {
        let run = run.and_then(|id| self.run(id));
        let host = host.or(run.map(|run| run.host));
        let job = run.and_then(|run| self.jobs.iter().find(|job| job.id == run.job));
        let event = Event {
            at: now,
            group: job.map(|job| job.group.clone()),
            job: job.map(Into::into),
            by: self.by.clone(),
            run: run.map(Into::into),
            host: host.and_then(|id| self.hosts.iter().find(|host| host.id == id)).map(Into::into),
            what,
        };
        self.changes.push(Change::Event(Box::new(event)));
    }
}

/// `1 passed, 2 errored`: how the jobs of a queue came out, and what is left of it.
#[must_use]
pub fn tally(jobs: &[Job]) -> String {
    let count = |label: &str, wanted: &dyn Fn(&Job) -> bool| {
        let number = jobs.iter().filter(|job| wanted(job)).count();
        (number > 0).then(|| format!("{number} {label}"))
    };
    let verdict = |verdict| move |job: &Job| job.state == JobState::Done && job.verdict == Some(verdict);
    let parts: Vec<String> = [
        count("passed", &verdict(Verdict::Passed)),
        count("failed", &verdict(Verdict::Failed)),
        count("errored", &verdict(Verdict::Errored)),
        count("unjudged", &verdict(Verdict::Unjudged)),
        count("cancelled", &|job| job.state == JobState::Cancelled),
        count("running", &|job| job.state == JobState::Active),
        count("queued", &|job| job.state == JobState::Queued),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() { text::count(0, "job") } else { parts.join(", ") }
}

#[cfg(test)]
mod tests;
