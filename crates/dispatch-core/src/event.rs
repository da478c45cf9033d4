//! Facts that happened, and effects still to be done.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::group::GroupId;
use crate::host::Host;
use crate::id::{HostId, JobId, ReportId, RunId};
use crate::queue::{Job, Stub};
use crate::run::{Run, RunState};
use crate::verdict::Verdict;
use crate::workload::Kind;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happening {
    /// A host was seen for the first time.
    HostSeen,
    /// What a host is known by turned out to stand for several hosts.
    HostShared {
        /// What showed it, and what to do.
        reason: String,
    },
    /// A job entered the queue.
    Queued {
        /// Which boot asset.
        kind: Kind,
        /// Bytes.
        size: u64,
    },
    /// The file behind a job is another one than before.
    Replaced {
        /// Bytes, now.
        size: u64,
    },
    /// A job cannot run at the moment.
    Waits {
        /// Why.
        reason: String,
    },
    /// A host was given a job.
    Assigned {
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// An assignment came to nothing; the job is back in the queue as if it had not been made.
    Returned {
        /// Why.
        reason: String,
    },
    /// The image is on its way.
    Downloading {
        /// Bytes of the whole image.
        size: u64,
        /// The first byte of this transfer.
        start: u64,
    },
    /// A download broke off; the host may ask again.
    Broken {
        /// Bytes that had been sent.
        sent: u64,
        /// Bytes of the whole image.
        size: u64,
        /// How many downloads of this run have broken off.
        nth: u32,
        /// How many end the run.
        limit: u32,
    },
    /// The host has the whole image.
    Downloaded {
        /// Bytes.
        size: u64,
        /// From the first byte to the last.
        #[serde(with = "seconds")]
        took: Duration,
    },
    /// The image is up.
    Booting {
        /// From the first byte to the call.
        #[serde(with = "seconds")]
        took: Duration,
    },
    /// The image rebooted its host, as it may.
    Rebooting {
        /// Which reboot, from 1.
        nth: u32,
        /// How many it may make.
        allowed: u32,
    },
    /// A report was stored.
    Report {
        /// Its identity.
        id: ReportId,
        /// Its title.
        title: String,
        /// Its verdict, given or judged.
        verdict: Verdict,
        /// It came when the run was over.
        late: bool,
    },
    /// A run is over, and reported.
    Finished {
        /// The worst of its reports.
        verdict: Verdict,
        /// How many reports it sent.
        reports: u32,
    },
    /// A run is over, and did not report.
    Failed {
        /// Why.
        reason: String,
    },
    /// A run or a job was ended by us.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// The job will be tried again.
    Retry {
        /// The attempt to come.
        attempt: u32,
        /// The last attempt that it gets.
        of: u32,
    },
    /// A person asked for a job that was over to be run again.
    Requeued,
    /// A late report changed what is known of a job that is over.
    Revised {
        /// The verdict, now.
        verdict: Verdict,
    },
    /// The job is over.
    Done {
        /// How it came out.
        verdict: Verdict,
        /// What happened in its attempts, where that needs saying.
        reason: Option<String>,
    },
    /// No job is left that is not over.
    Drained,
    /// A run goes on after we were down.
    Resumed {
        /// Where it stands.
        state: RunState,
    },
    /// An image is being fetched.
    Fetching {
        /// Bytes of the whole image.
        size: u64,
        /// How many of them are here from an earlier try.
        start: u64,
    },
    /// An image is here, and its digest is right.
    Fetched {
        /// Bytes.
        size: u64,
        /// From the first byte to the last.
        #[serde(with = "seconds")]
        took: Duration,
    },
    /// An image could not be fetched, or is not what it should be.
    NotFetched {
        /// Why, and what follows.
        reason: String,
    },
    /// A report was filed as an issue.
    IssueFiled {
        /// Which report.
        report: ReportId,
        /// Where people read it.
        url: String,
        /// What the issue could not be given, a few words each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        omitted: Vec<String>,
    },
    /// A report will never be an issue.
    IssueRefused {
        /// Which report.
        report: ReportId,
        /// Why.
        reason: String,
    },
    /// A person changed what a job is, or when and where it runs.
    Edited,
    /// A job has another place in the queue.
    Moved,
    /// A job is not to start until a person says so.
    Paused,
    /// A job may start again.
    Unpaused,
    /// A job was taken out of sight.
    Deleted,
    /// Nothing of a group is started until a person says so.
    GroupPaused,
    /// A group takes no more jobs, and works off those that it has.
    GroupDraining,
    /// A group takes and starts jobs again.
    GroupOpen,
    /// A person let a host work.
    HostAccepted,
    /// A person changed what is said of a host.
    HostEdited,
    /// A host gets no work until a person says so.
    HostPaused,
    /// A host gets work again.
    HostUnpaused,
    /// A host asked, and there was no work for it.
    Idle {
        /// What it was told to do; nothing if it was told that there is nothing.
        stub: Option<Stub>,
        /// Why.
        reason: String,
    },
}

impl Happening {
    /// The word for it in the log and in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostSeen => "host-seen",
            Self::HostShared { .. } => "host-shared",
            Self::Queued { .. } => "queued",
            Self::Replaced { .. } => "replaced",
            Self::Waits { .. } => "waits",
            Self::Assigned { .. } => "assigned",
            Self::Returned { .. } => "returned",
            Self::Downloading { .. } => "downloading",
            Self::Broken { .. } => "broken",
            Self::Downloaded { .. } => "downloaded",
            Self::Booting { .. } => "booting",
            Self::Rebooting { .. } => "rebooting",
            Self::Report { .. } => "report",
            Self::Finished { .. } => "finished",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Retry { .. } => "retry",
            Self::Requeued => "requeued",
            Self::Revised { .. } => "revised",
            Self::Done { .. } => "done",
            Self::Drained => "drained",
            Self::Resumed { .. } => "resumed",
            Self::Fetching { .. } => "fetching",
            Self::Fetched { .. } => "fetched",
            Self::NotFetched { .. } => "not-fetched",
            Self::IssueFiled { .. } => "issue-filed",
            Self::IssueRefused { .. } => "issue-refused",
            Self::Edited => "edited",
            Self::Moved => "moved",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::Deleted => "deleted",
            Self::GroupPaused => "group-paused",
            Self::GroupDraining => "group-draining",
            Self::GroupOpen => "group-open",
            Self::HostAccepted => "host-accepted",
            Self::HostEdited => "host-edited",
            Self::HostPaused => "host-paused",
            Self::HostUnpaused => "host-unpaused",
            Self::Idle { .. } => "idle",
        }
    }
}

/// A job as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    /// Its identity.
    pub id: JobId,
    /// Its name at that time.
    pub name: String,
}

impl From<&Job> for JobRef {
    fn from(job: &Job) -> Self {
        Self { id: job.id, name: job.name.clone() }
    }
}

/// A run as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// Its identity.
    pub id: RunId,
    /// Which attempt of its job.
    pub attempt: u32,
}

impl From<&Run> for RunRef {
    fn from(run: &Run) -> Self {
        Self { id: run.id, attempt: run.attempt }
    }
}

/// A host as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRef {
    /// Its identity.
    pub id: HostId,
    /// How people saw it at that time.
    pub label: String,
}

impl From<&Host> for HostRef {
    fn from(host: &Host) -> Self {
        Self { id: host.id, label: host.label() }
    }
}

/// A fact. The store gives it its place in the one global sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// The group it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// The job it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRef>,
    /// The run it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// The host it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRef>,
    /// Who wished it so, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// Something still to be done in the outside world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
pub enum Effect {
    /// Write a report's files into the reports directory.
    WriteReport {
        /// Which report.
        report: ReportId,
    },
    /// File a report as an issue.
    FileIssue {
        /// Which report.
        report: ReportId,
        /// Its run: the issues of one run are filed in the order of its reports.
        run: RunId,
        /// Where, as `owner/name`.
        repository: String,
        /// On which GitHub: the root of its API.
        #[serde(default)]
        api: Option<String>,
    },
}

impl Effect {
    /// Doing two effects of the same key is doing one.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        match self {
            Self::WriteReport { report } => format!("write-report:{report}"),
            Self::FileIssue { report, .. } => format!("file-issue:{report}"),
        }
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
