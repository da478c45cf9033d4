//! How a session begins and ends: once through the queue is a round.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, Context, Found, Job, JobState, Outcome, Round, Snapshot, Stub, tally};
use crate::host::{Host, HostPattern};
use crate::id::JobId;
use crate::run::Run;
use crate::verdict::Verdict;
use crate::workload::UnknownWord;

/// How a job came out that is to be run again: a word of `--again`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Again {
    /// It failed.
    Failed,
    /// It errored.
    Errored,
    /// A person took it out of the queue.
    Cancelled,
    /// It reported, and said neither.
    Unjudged,
    /// It passed.
    Passed,
}

impl Again {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Failed, Self::Errored, Self::Cancelled, Self::Unjudged, Self::Passed];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Errored => "errored",
            Self::Cancelled => "cancelled",
            Self::Unjudged => "unjudged",
            Self::Passed => "passed",
        }
    }

    /// How a job came out, if it is over. What its source no longer offered did not come out at all.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        match (job.state, job.verdict) {
            (JobState::Cancelled, _) if !job.is_withdrawn => Some(Self::Cancelled),
            (JobState::Done, Some(Verdict::Failed)) => Some(Self::Failed),
            (JobState::Done, Some(Verdict::Errored)) => Some(Self::Errored),
            (JobState::Done, Some(Verdict::Unjudged)) => Some(Self::Unjudged),
            (JobState::Done, Some(Verdict::Passed)) => Some(Self::Passed),
            _ => None,
        }
    }
}

impl FromStr for Again {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// How a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// With a new round of so many jobs.
    Round(Round, usize),
    /// Where the last one stopped; so many jobs that were over are taken again.
    GoesOn(usize),
    /// Everything is over, and the session before was cut off before it could end.
    AllOver(String),
    /// Nothing that is offered is to be taken again; this is how the last round came out.
    NothingAgain(String),
}

/// How a session begins, and what of the last round it would have taken again, were it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How it begins.
    pub opened: Opened,
    /// The names of the jobs that came out as was asked for, but are no longer offered.
    pub missing: Vec<String>,
}

/// Of these jobs, the newest.
fn newest<'a>(jobs: impl Iterator<Item = &'a Job>) -> Option<&'a Job> {
    jobs.max_by_key(|job| (job.round, job.position))
}

/// Of these jobs, the newest of each name: the others were for earlier versions of their files.
fn newest_of_each(jobs: &[&Job]) -> Vec<Job> {
    let is_newest = |job: &Job| {
        let of_name = jobs.iter().copied().filter(|other| other.name == job.name);
        newest(of_name).is_some_and(|newest| newest.id == job.id)
    };
    jobs.iter().copied().filter(|job| is_newest(job)).cloned().collect()
}

fn is_among(again: &[Again], job: &Job) -> bool {
    Again::of(job).is_some_and(|came_out| again.contains(&came_out))
}

impl Snapshot {
    /// A session starts over what its source offers. If the round before is over, a new one begins, of everything or
    /// of what came out as `again` says; else it goes on, and what came out so is taken again as well. `self` must hold
    /// all jobs of the latest round, and of each name the newest.
    #[must_use]
    pub fn open(mut self, found: &[Found], again: &[Again], context: &mut Context<'_>) -> Outcome<Opening> {
        let Some(round) = self.round.clone() else {
            let opened = self.begin_round(1, found, &[], context);
            return self.outcome(Opening { opened, missing: Vec::new() });
        };
        let is_offered = |job: &Job| found.iter().any(|file| file.name == job.name);
        let wanted = self.newest_of_round(round.number).into_iter().filter(|job| is_among(again, job));
        let (wanted, missing): (Vec<Job>, Vec<Job>) = wanted.partition(is_offered);
        let missing: Vec<String> = missing.into_iter().map(|job| job.name).collect();
        let all_over = self.of_round(round.number).all(|job| job.state.is_final());
        if round.is_over && all_over {
            let number = round.number.saturating_add(1);
            let files = self.taken(number, found, again);
            let opened = if files.is_empty() {
                Opened::NothingAgain(self.tally_of(round.number))
            } else {
                self.begin_round(number, &files, again, context)
            };
            return self.outcome(Opening { opened, missing });
        }
        // A round of everything goes on with everything.
        let words = if round.again.is_empty() { Vec::new() } else { [&round.again, again].concat() };
        let files = self.taken(round.number, found, &words);
        self.remind_of_shared(context.now);
        let begun = self.sync_files(&files, context);
        let newest = self.newest_of_round(round.number);
        // What has been rebuilt is in the queue with its new version.
        let retried: Vec<JobId> = newest
            .into_iter()
            .filter(|job| wanted.iter().any(|wanted| wanted.id == job.id) && job.state.is_final())
            .map(|job| job.id)
            .collect();
        for job in &retried {
            // They are over and of this round.
            let _ = self.take_again(*job, context.now);
        }
        let opened = if all_over && retried.is_empty() && !begun {
            Opened::AllOver(self.tally_of(round.number))
        } else {
            Opened::GoesOn(retried.len())
        };
        self.outcome(Opening { opened, missing })
    }

    fn of_round(&self, number: u32) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| job.round == number)
    }

    fn newest_of_round(&self, number: u32) -> Vec<Job> {
        newest_of_each(&self.of_round(number).collect::<Vec<_>>())
    }

    fn tally_of(&self, number: u32) -> String {
        tally(&self.of_round(number).cloned().collect::<Vec<_>>())
    }

    /// The files that a round takes of those found, if it takes only what came out as `again` says: these, and those
    /// that have no result at all, because they are new, have changed since, or left the queue before they ran. What
    /// the round has taken stays in it.
    pub(super) fn taken(&self, round: u32, found: &[Found], again: &[Again]) -> Vec<Found> {
        let is_taken = |file: &&Found| {
            let newest = newest(self.jobs.iter().filter(|job| job.name == file.name));
            let Some(job) = newest.filter(|job| job.round != round && !again.is_empty()) else { return true };
            job.is_withdrawn || is_among(again, job) || !self.is_for(job, file)
        };
        found.iter().filter(is_taken).cloned().collect()
    }

    /// Whether a job was made for this version of its file.
    fn is_for(&self, job: &Job, file: &Found) -> bool {
        let workload = self.workloads.iter().find(|workload| workload.id == job.workload);
        workload.is_some_and(|known| known.is_version(file))
    }

    fn begin_round(
        &mut self,
        number: u32,
        files: &[Found],
        again: &[Again],
        context: &mut Context<'_>,
    ) -> Opened {
        let round = Round { number, begun: context.now, again: again.to_vec(), is_over: false };
        self.changes.push(Change::Round(round.clone()));
        self.round = Some(round.clone());
        self.forget_shared();
        let count = files.len();
        for file in files {
            self.sync_file(file, context);
        }
        Opened::Round(round, count)
    }

    /// A session ends in good order. If nothing is left to do, the next one begins a new round. `self` must hold all
    /// jobs of the latest round.
    #[must_use]
    pub fn close(mut self) -> Outcome<()> {
        if let Some(mut round) = self.round.clone() {
            let is_over =
                self.jobs.iter().filter(|job| job.round == round.number).all(|job| job.state.is_final());
            if is_over && !round.is_over {
                round.is_over = true;
                self.changes.push(Change::Round(round));
            }
        }
        self.outcome(())
    }

    /// What to tell a host in place of `stub`, if the session is about to end by itself: nobody would be there to tell
    /// one that waits to go on.
    pub(super) fn last_word(&self, stub: Stub, has_worked: bool) -> Stub {
        let is_end = self.policy.ends_when_done && self.jobs.iter().all(|job| job.state.is_final());
        match stub {
            Stub::Wait if is_end && has_worked => Stub::PowerOff,
            Stub::Wait if is_end => Stub::Next,
            stub => stub,
        }
    }
}

/// When a session that ends by itself may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Jobs are left.
    NotYet,
    /// At this time at the latest: a host is still to be told that there is nothing left.
    At(Timestamp),
    /// At once.
    Now,
}

/// Decides when a session that `started` then and ends by itself may end: when all jobs of the round are over, and each
/// host that ran one, or waits here for one, has fetched what tells it to go; but a host that stays away is waited for
/// no longer than `grace`. `jobs` and `runs` are those of the round.
#[must_use]
pub fn ending(jobs: &[Job], runs: &[Run], hosts: &[Host], started: Timestamp, grace: Duration) -> Ending {
    if jobs.iter().any(|job| !job.state.is_final()) {
        return Ending::NotYet;
    }
    let Some(last) = jobs.iter().map(|job| job.since).max() else { return Ending::Now };
    let has_worked = |host: &Host| runs.iter().any(|run| run.host == host.id && run.may_report());
    let is_here = |host: &Host| host.last_seen >= started;
    let is_awaited = |host: &Host| match &host.idle {
        None => has_worked(host),
        // It asks again: it is not gone, whenever it was told.
        Some(idle) if idle.stub == Some(Stub::Wait) => has_worked(host) || is_here(host),
        // It is gone, also if it was told before the last job was over: with work it would not be idle.
        Some(idle) if idle.is_taken || idle.stub.is_none() => false,
        // Its `GET` follows.
        Some(idle) => has_worked(host) || (is_here(host) && idle.since >= last),
    };
    if hosts.iter().any(is_awaited) {
        Ending::At(last.checked_add(grace).unwrap_or(Timestamp::MAX))
    } else {
        Ending::Now
    }
}

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// That all was done.
    Itself,
    /// This signal.
    Signal(u8),
    /// A person, in the terminal view.
    Person,
}

/// The exit status of a session that was to end by itself: 0 if all jobs of the round passed or are unjudged, 3 if some
/// failed, else 4 if some errored or were cancelled, or reports are still to be written. Of the jobs of one name, the
/// newest counts; what the source no longer offered does not. If jobs are left, 128 and the signal that ended the
/// session, or 5.
#[must_use]
pub fn exit_status(jobs: &[Job], unwritten: u64, by: EndedBy) -> u8 {
    if jobs.iter().any(|job| !job.state.is_final()) {
        return match by {
            EndedBy::Signal(signal) => 128_u8.saturating_add(signal),
            EndedBy::Itself | EndedBy::Person => 5,
        };
    }
    let jobs = newest_of_each(&jobs.iter().filter(|job| !job.is_withdrawn).collect::<Vec<_>>());
    let some = |wanted: Again| jobs.iter().any(|job| Again::of(job) == Some(wanted));
    if some(Again::Failed) {
        3
    } else if some(Again::Errored) || some(Again::Cancelled) || unwritten > 0 {
        4
    } else {
        0
    }
}

/// What a person should know of the hosts that a session is for: those of which none is known, a sentence each.
#[must_use]
pub fn not_seen(wanted: &[HostPattern], hosts: &[Host]) -> Vec<String> {
    let unknown = wanted.iter().filter(|pattern| !hosts.iter().any(|host| pattern.matches(host)));
    unknown
        .map(|pattern| match pattern {
            HostPattern::Name(name) => format!("no host called {name} has asked yet"),
            HostPattern::Mac(mac) => format!("no host with the MAC {mac} has asked yet"),
            HostPattern::Address(address) => format!("no host has asked from {address} yet"),
        })
        .collect()
}
