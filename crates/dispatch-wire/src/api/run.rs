//! Runs: attempts of jobs on hosts.
//!
//! A run is called by its public name. Its identifier is a secret of the image that runs: whoever knows it may report.

use dispatch_core::Verdict as CoreVerdict;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::event::EventData;
use super::report::ReportLine;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// 📌 A host was given to it.
    Assigned,
    /// 📥 The image is on its way.
    Downloading,
    /// ⚡ The image is up.
    Booting,
    /// 📝 At least one report is stored; more may follow.
    Reported,
    /// 🏁 It is over, and reported, whatever it said.
    Finished,
    /// ❌ It is over, and never reported.
    Failed,
    /// 🚫 It was ended before it could say anything.
    Cancelled,
}

impl From<dispatch_core::RunState> for RunState {
    fn from(state: dispatch_core::RunState) -> Self {
        use dispatch_core::RunState as Core;
        match state {
            Core::Assigned => Self::Assigned,
            Core::Downloading => Self::Downloading,
            Core::Booting => Self::Booting,
            Core::Reported => Self::Reported,
            Core::Finished => Self::Finished,
            Core::Failed => Self::Failed,
            Core::Cancelled => Self::Cancelled,
        }
    }
}

impl From<RunState> for dispatch_core::RunState {
    fn from(state: RunState) -> Self {
        match state {
            RunState::Assigned => Self::Assigned,
            RunState::Downloading => Self::Downloading,
            RunState::Booting => Self::Booting,
            RunState::Reported => Self::Reported,
            RunState::Finished => Self::Finished,
            RunState::Failed => Self::Failed,
            RunState::Cancelled => Self::Cancelled,
        }
    }
}

/// How something came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The thing under test is good.
    Passed,
    /// It reported, and said neither good nor bad.
    Unjudged,
    /// Our side or the lab is bad.
    Errored,
    /// The thing under test is bad.
    Failed,
}

impl From<CoreVerdict> for Verdict {
    fn from(verdict: CoreVerdict) -> Self {
        match verdict {
            CoreVerdict::Passed => Self::Passed,
            CoreVerdict::Unjudged => Self::Unjudged,
            CoreVerdict::Errored => Self::Errored,
            CoreVerdict::Failed => Self::Failed,
        }
    }
}

impl From<Verdict> for CoreVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Unjudged => Self::Unjudged,
            Verdict::Errored => Self::Errored,
            Verdict::Failed => Self::Failed,
        }
    }
}

/// Something that has an identifier and a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Named {
    /// Its identifier.
    pub id: String,
    /// What people call it.
    pub name: String,
}

/// An attempt of a job on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its name.
    pub id: String,
    /// The group of its job.
    pub group_id: String,
    /// The job that it is an attempt of.
    pub job: Named,
    /// The host that it occupies.
    pub host: Named,
    /// What it boots.
    pub workload: Named,
    /// Which attempt of the job it is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// The sign of its state.
    pub sign: String,
    /// How it came out, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// Why it ended, in words, where that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// When it was assigned.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it entered its state.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// When the image first called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub booted_at: Option<String>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub ended_at: Option<String>,
    /// When its state expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    pub deadline: Option<String>,
    /// From its assignment to the first call of its image, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub boot_seconds: Option<f64>,
    /// From its assignment until it was over, or until now, in seconds.
    pub seconds: f64,
    /// Size of the image in bytes.
    pub size: u64,
    /// How much of it the host has, in bytes, from its start.
    pub sent: u64,
    /// How often the image rebooted its host.
    pub reboots: u32,
    /// How many reports are stored for it.
    pub reports: u32,
    /// Several hosts took part in it, so that it is nobody's.
    pub disputed: bool,
}

/// An attempt of a job, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunLine {
    /// Its name.
    pub id: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// How it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, inline)]
    pub verdict: Option<Verdict>,
    /// When it was assigned.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it entered its state.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// A run with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetails {
    /// The run.
    pub run: Run,
    /// What happened in it, in order: the first hundred events. The rest is at `/api/v1/runs/{id}/timeline`.
    pub timeline: Vec<EventData>,
    /// Its reports, the latest first, at most a hundred.
    pub reports: Vec<ReportLine>,
    /// All attempts of its job, the first one first, at most the latest hundred.
    pub attempts: Vec<RunLine>,
}
