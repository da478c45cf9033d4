//! The state machine of one run on metal.
//!
//! [`decide`] takes a run, what happened to it and the time, and says what the run is then. It knows nothing
//! of other runs; the rules that span jobs and hosts are in [`crate::queue`].
//! `docs/run-states.md` shows the whole table and is checked against this code.

mod decide;
mod policy;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::Happening;
use crate::id::{HostId, JobId, RunId, WorkloadId};
use crate::verdict::Verdict;
use crate::workload::UnknownWord;

pub use decide::decide;
pub use policy::{IssueTarget, Policy, Sinks};

/// A download that breaks off this often ends its run.
pub const MAX_BROKEN: u32 = 3;

/// A host that asks again after this many whole downloads without a call has an image that crashes.
pub const MAX_WHOLE: u32 = 5;

/// Where a run stands. `queued` is a state of the job, see [`crate::queue::JobState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// A host asked for work and this is what it gets.
    Assigned,
    /// The image is on its way, or was sent and has not called yet.
    Downloading,
    /// `beacon boot` called: the image is up.
    Booting,
    /// At least one report is stored; more may follow.
    Reported,
    /// Ended after it had reported, whatever it said.
    Finished,
    /// Ended without a report.
    Failed,
    /// Ended by us or by a person before it could say anything.
    Cancelled,
}

impl RunState {
    /// All states, in the order in which a run goes through them.
    pub const ALL: [Self; 7] = [
        Self::Assigned,
        Self::Downloading,
        Self::Booting,
        Self::Reported,
        Self::Finished,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the run is over.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Downloading => "downloading",
            Self::Booting => "booting",
            Self::Reported => "reported",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The sign that people see.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Assigned => "📌",
            Self::Downloading => "📥",
            Self::Booting => "⚡",
            Self::Reported => "📝",
            Self::Finished => "🏁",
            Self::Failed => "❌",
            Self::Cancelled => "🚫",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// What is known of the run's latest transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// None has begun since the host was (re)assigned.
    None,
    /// Bytes are going out.
    Sending,
    /// Everything up to the end of the image was taken by the host.
    Whole,
    /// A range was sent, and the rest is to come.
    Partial,
    /// We were down while bytes were going out: the host may have all of them, or not.
    Lost,
    /// All bytes went out, and the connection broke before the host had acknowledged the last of them: it may have
    /// all of them, or not.
    Unsure,
}

impl Transfer {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sending => "sending",
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Lost => "lost",
            Self::Unsure => "unsure",
        }
    }
}

impl FromStr for Transfer {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Sending, Self::Whole, Self::Partial, Self::Lost, Self::Unsure]
            .into_iter()
            .find(|transfer| transfer.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// How long each non-final state may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From assignment to the first byte.
    pub assigned: Duration,
    /// Without progress inside a download.
    pub download: Duration,
    /// From the last byte to `POST`.
    pub boot: Duration,
    /// From `POST` to a report, renewed by every sign of life.
    pub run: Duration,
    /// From the last report to the end of the run.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            assigned: minutes(5),
            download: minutes(2),
            boot: minutes(15),
            run: minutes(24 * 60),
            grace: minutes(2),
        }
    }
}

/// Deadlines of a workload that differ from those of its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlineChanges {
    /// From assignment to the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Duration>,
    /// Without progress inside a download.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download: Option<Duration>,
    /// From the last byte to `POST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Duration>,
    /// From `POST` to a report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Duration>,
    /// From the last report to the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Duration>,
}

impl Deadlines {
    /// These, but for what is to differ.
    #[must_use]
    pub fn with(self, changes: &DeadlineChanges) -> Self {
        Self {
            assigned: changes.assigned.unwrap_or(self.assigned),
            download: changes.download.unwrap_or(self.download),
            boot: changes.boot.unwrap_or(self.boot),
            run: changes.run.unwrap_or(self.run),
            grace: changes.grace.unwrap_or(self.grace),
        }
    }
}

/// One attempt of a job on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// The job that it is an attempt of.
    pub job: JobId,
    /// The host that it occupies.
    pub host: HostId,
    /// What it boots.
    pub workload: WorkloadId,
    /// The fencing epoch of its lease on the host.
    pub epoch: u64,
    /// Which attempt of the job this is, from 1; one that was never fetched does not count.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// How it came out, as far as is known.
    pub verdict: Option<Verdict>,
    /// Why it ended, in words; none while all is well.
    pub reason: Option<String>,
    /// When it was assigned.
    pub created: Timestamp,
    /// When it entered its state.
    pub since: Timestamp,
    /// When its state expires; final states do not.
    pub deadline: Option<Timestamp>,
    /// Size of the image in bytes, as it was last offered.
    pub size: u64,
    /// What is known of its latest transfer.
    pub transfer: Transfer,
    /// How many transfers have begun; numbers the latest one.
    pub transfers: u32,
    /// Bytes of the image that the latest transfer brought to the host, from its start.
    pub sent: u64,
    /// How much of the image, from its start and without a gap, the transfers have brought to the host, as far
    /// as they have ended. Nothing means that the image was never fetched.
    pub most_sent: u64,
    /// Downloads that broke off in this boot cycle.
    pub broken: u32,
    /// Whole downloads in this boot cycle.
    pub wholes: u32,
    /// Reboots that the image has made.
    pub reboots: u32,
    /// Reboots that the image may make.
    pub reboots_allowed: u32,
    /// When the image first called.
    pub booted_at: Option<Timestamp>,
    /// Several hosts took part in it: it is nobody's.
    pub is_disputed: bool,
    /// Reports that are stored for it.
    pub reports: u32,
}

impl Run {
    /// Whether the image has reached its host for certain: it was sent whole, or it has called.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.wholes > 0 || self.booted_at.is_some()
    }

    /// Whether a report of this host can be from this run: the image has reached it, or may have, and only a new
    /// request would say that it has not.
    #[must_use]
    pub fn may_report(&self) -> bool {
        self.is_reached()
            || matches!(self.transfer, Transfer::Lost | Transfer::Unsure)
            || self.is_disputed && self.transfers > 0
    }

    /// Whether this attempt used up one of the job's attempts.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.state != RunState::Cancelled || self.most_sent > 0
    }

    /// Whether the run errored: it is over, and the lab is to blame.
    #[must_use]
    pub fn has_errored(&self) -> bool {
        self.state.is_final() && self.verdict == Some(Verdict::Errored)
    }
}

/// How long a job waits whose `errors` predecessors errored, one after the other: a minute, and each time twice as long, up to
/// an hour.
#[must_use]
pub fn pause_after(errors: u32) -> Option<Duration> {
    let doublings = errors.checked_sub(1)?.min(6);
    Some(Duration::from_secs(60 << doublings).min(Duration::from_hours(1)))
}

/// How much of a transfer may still be acknowledged after the host that it was for has asked for the image anew, in
/// bytes: what was on its way, and what its network card took. No firmware has a window so large.
const UNDER_WAY: u64 = 4 << 20;

/// Whether a transfer that had come to `at` when its host asked for the image anew, and has come to `now`, is being read
/// by another host.
#[must_use]
pub const fn is_read_by_another(at: u64, now: u64) -> bool {
    now.saturating_sub(at) > UNDER_WAY
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host has taken the last byte of the image, and everything before it.
    Whole,
    /// The host has taken the range that it asked for; the rest is to come.
    Partial,
    /// It broke off before its promised end.
    Broken,
    /// Everything went out, and the connection broke before the host had acknowledged the last bytes.
    Unsure,
    /// We cut it off ourselves, because we end.
    Cut,
}

/// What can happen to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// Its host asked for work: by `HEAD` or by `GET`.
    Asked,
    /// The image cannot be read, in the words of the operating system.
    Unreadable {
        /// Why.
        why: String,
    },
    /// The first body byte is about to go out.
    Began {
        /// Size of the image in bytes.
        size: u64,
        /// Where the transfer starts in the image.
        start: u64,
    },
    /// Bytes went out.
    Progress {
        /// Which transfer.
        transfer: u32,
        /// How far into the image it has come.
        sent: u64,
    },
    /// A transfer ended.
    Ended {
        /// Which transfer.
        transfer: u32,
        /// How far into the image it came.
        sent: u64,
        /// Bytes of this transfer alone.
        count: u64,
        /// How it ended.
        end: End,
    },
    /// `POST`: the image is up.
    Started,
    /// `PUT`: a report with this verdict.
    Reported {
        /// The verdict, given or judged.
        verdict: Verdict,
    },
    /// Its deadline has passed.
    Expired,
    /// We were down, and are up again.
    Recovered,
    /// A late report of an earlier attempt made this one pointless.
    Superseded,
    /// A person ended it.
    Cancelled {
        /// Why.
        why: String,
    },
    /// It turned out that nobody can tell which host this run is on.
    Disputed {
        /// Why.
        why: String,
    },
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The run is over.
    #[error("the run is over")]
    Final,
    /// The image has not reached the host, so this is from something else.
    #[error("the image has not reached the host")]
    NotReached,
    /// It is about an earlier transfer.
    #[error("it is about an earlier transfer")]
    Stale,
    /// It is too late for that.
    #[error("the run has come too far")]
    TooLate,
    /// The deadline has not passed.
    #[error("the deadline has not passed")]
    NotYet,
}

/// A run after an event, and what is worth telling of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The run as it is now.
    pub run: Run,
    /// What happened, if anybody wants to know.
    pub happened: Option<Happening>,
}

#[cfg(test)]
mod tests;
