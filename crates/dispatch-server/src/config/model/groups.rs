//! What a configuration says of groups, their sources and templates, and of hosts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use dispatch_core::queue::WhenIdle;
use dispatch_core::verdict::{Rule, RuleError};
use dispatch_core::{Deadlines, GroupId, HostKey, HostName, Mac, Spread, TemplateId};
use dispatch_github::Slug;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::hub::ReportTo;
use crate::source::remote::ReleaseName;
use crate::source::urls::FileUrl;

/// A group of bare-metal servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetalGroup {
    /// Its id, unique over the groups of all kinds.
    pub id: GroupId,
    /// What people call it.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The labels that a host must have, all of them; none takes any host.
    pub host_labels: Vec<String>,
    /// How many of its jobs may run at once; none is as many as there are hosts.
    pub max_concurrent: Option<u32>,
    /// It starts paused when it is first seen.
    pub paused: bool,
    /// What a host without work is told.
    pub when_idle: WhenIdle,
    /// How long each state of a run may last.
    pub deadlines: Deadlines,
    /// How many more attempts a job gets after its first one errored.
    pub retries: u32,
    /// A report without a verdict passes if any of these holds.
    pub pass_if: Vec<JudgeRule>,
    /// A report without a verdict fails if any of these holds; they go before the others.
    pub fail_if: Vec<JudgeRule>,
    /// Where reports go.
    pub reporting: Reporting,
    /// Where its workloads come from.
    pub sources: Vec<Source>,
    /// Its reusable jobs.
    pub templates: Vec<MetalTemplate>,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporting {
    /// Into issues, files or both. Without a repository for issues, files alone.
    pub to: ReportTo,
    /// The repository for issues, if not that of the release.
    pub repository: Option<Slug>,
    /// Issues end with a line about their run.
    pub footer: bool,
}

/// A rule that judges reports, as it was written.
#[derive(Clone, Debug)]
pub struct JudgeRule {
    /// As it was written.
    pub text: String,
    /// What it means.
    pub rule: Rule,
}

impl PartialEq for JudgeRule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for JudgeRule {}

impl FromStr for JudgeRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Ok(Self { rule: text.parse()?, text: text.to_owned() })
    }
}

/// The id of a source, unique in its group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub(in crate::config) String);

impl SourceId {
    /// The id as it was written, or as it was made from what the source is.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where workloads come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its id: as it was written, or made of what it is, so that it stays the same wherever it stands in the file.
    pub id: SourceId,
    /// What it is.
    pub kind: SourceKind,
    /// Parts of names; any match keeps a workload, and none keeps all.
    pub filter: Vec<String>,
    /// Whether its workloads are queued by themselves.
    pub queue: Queueing,
    /// How many jobs each of its workloads becomes.
    pub spread: Spread,
    /// The priority of these jobs; higher goes first.
    pub priority: i32,
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The assets of a release.
    Release {
        /// Which.
        name: ReleaseName,
        /// How often it is looked at again, if it is.
        watch: Option<Duration>,
    },
    /// The images of a directory.
    Directory(PathBuf),
    /// Images that are named by URL.
    Urls(Vec<FileUrl>),
}

/// Whether workloads of a source are queued by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Queueing {
    /// Each once for every digest.
    #[default]
    New,
    /// They are only listed, for templates and for jobs by hand.
    Never,
}

/// A reusable job of a metal group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetalTemplate {
    /// Its id, unique over the templates of all groups.
    pub id: TemplateId,
    /// What people call it.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The name of a workload that a source of the group offers.
    pub workload: String,
    /// The inputs of its jobs, where nothing else is said.
    pub inputs: BTreeMap<String, String>,
    /// What its jobs are labelled with, for filters.
    pub labels: BTreeMap<String, String>,
    /// Further labels that a host must have.
    pub host_labels: Vec<String>,
    /// The priority of its jobs; higher goes first.
    pub priority: i32,
    /// How many jobs it becomes.
    pub spread: Spread,
    /// How many more attempts a job gets after its first one errored; none is what the group says.
    pub retries: Option<u32>,
}

/// A group of self-hosted runners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitHubGroup {
    /// Its id, unique over the groups of all kinds.
    pub id: GroupId,
    /// What people call it.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// The labels that a runner must have, all of them.
    pub runner_labels: Vec<String>,
    /// How many of its jobs may run at once; none is as many as there are runners.
    pub max_concurrent: Option<u32>,
    /// It starts paused when it is first seen.
    pub paused: bool,
    /// Its templates: those of the file first, then those of template files, in their order.
    pub templates: Vec<WorkflowTemplate>,
    /// Where more templates are fetched; what comes is read by [`crate::config::templates`].
    pub template_urls: Vec<Url>,
}

/// A workflow that can be dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowTemplate {
    /// Its id, unique over the templates of all groups.
    pub id: TemplateId,
    /// What people call it.
    pub name: String,
    /// The repository of the workflow.
    pub repository: Slug,
    /// The workflow's file name, or its number.
    pub workflow_id: String,
    /// The branch or tag.
    pub git_ref: String,
    /// The inputs, where nothing else is said.
    pub inputs: BTreeMap<String, String>,
    /// What its jobs are labelled with, for filters.
    pub labels: BTreeMap<String, String>,
    /// Where it was written.
    pub origin: TemplateOrigin,
}

/// Where a template was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateOrigin {
    /// In the configuration itself.
    Inline,
    /// In a file, as it is named in the configuration.
    File(PathBuf),
    /// Behind a URL.
    Url(Url),
}

impl TemplateOrigin {
    /// The word for it: `inline`, `file` or `url`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::File(_) => "file",
            Self::Url(_) => "url",
        }
    }
}

/// A host that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// Its id. It carries the label `host:ID`.
    pub id: HostKey,
    /// What people call it.
    pub name: String,
    /// The MACs of its cards.
    pub macs: Vec<Mac>,
    /// Its SMBIOS UUID, in lower case.
    pub uuid: Option<String>,
    /// The name in its boot URL.
    pub boot_name: Option<HostName>,
    /// Its labels, without `host:ID`.
    pub labels: Vec<String>,
}
