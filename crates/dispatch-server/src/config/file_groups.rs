//! What may be written of groups and hosts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::section;
use crate::config::kinds::{
    BootName, FilePath, GitRef, Id, IdleWord, ImageUrl, Label, List, MacAddress, ReportWord, Repository,
    RuleText, Several, SmbiosUuid, SpreadWord, Time, Watch, WebUrl, Words,
};
use crate::config::model::Queueing;

section! {
    /// Pools of targets, each with its own queue.
    struct Groups {
        /// Groups of self-hosted runners of GitHub Actions.
        github: List<GitHubGroup>,
        /// Groups of bare-metal servers.
        metal: List<MetalGroup>,
    }

    /// A group of self-hosted runners.
    #[schemars(extend("required" = ["id", "runner_labels"]))]
    struct GitHubGroup {
        /// Its id, unique over all groups.
        id: Id,
        /// What people call it. By default its id.
        name: Words,
        /// What it is for.
        description: String,
        /// The labels that a runner must have, all of them.
        runner_labels: List<Label>,
        /// How many of its jobs may run at once. By default as many as there are runners.
        #[schemars(range(min = 1))]
        max_concurrent: u32,
        /// Start it paused, when it is first seen. Default: `false`.
        paused: bool,
        /// Workflows that can be dispatched.
        workflow_dispatch_templates: List<WorkflowTemplate>,
        /// Files with lists of more of them, relative to this file's folder.
        workflow_dispatch_templates_files: List<FilePath>,
        /// URLs of lists of more of them. No variables are replaced in what comes from there.
        workflow_dispatch_templates_urls: List<WebUrl>,
    }

    /// A workflow that can be dispatched.
    #[schemars(extend("required" = ["id", "owner", "repo", "workflow_id"]))]
    struct WorkflowTemplate {
        /// Its id, unique over the templates of all groups.
        id: Id,
        /// What people call it. By default its id.
        name: Words,
        /// The owner of the repository.
        owner: Words,
        /// The repository's own name.
        repo: Words,
        /// The workflow's file name, or its number.
        workflow_id: Words,
        /// The branch or tag. Default: `main`.
        #[serde(rename = "ref")]
        git_ref: GitRef,
        /// The workflow's inputs, where a job says nothing else.
        inputs: BTreeMap<String, String>,
        /// What its jobs are labelled with, for filters.
        labels: BTreeMap<String, String>,
    }

    /// A group of bare-metal servers.
    #[schemars(extend("required" = ["id"]))]
    struct MetalGroup {
        /// Its id, unique over all groups.
        id: Id,
        /// What people call it. By default its id.
        name: Words,
        /// What it is for.
        description: String,
        /// The labels that a host must have, all of them. By default none, which takes any host.
        host_labels: List<Label>,
        /// How many of its jobs may run at once. By default as many as there are hosts.
        #[schemars(range(min = 1))]
        max_concurrent: u32,
        /// Start it paused, when it is first seen. Default: `false`.
        paused: bool,
        /// What a host of the group without work is told. By default what `boot.when_idle` says.
        when_idle: IdleWord,
        /// How long each state of a run may last.
        deadlines: Deadlines,
        /// How many more attempts a job gets after its first one errored. Default: `2`.
        #[schemars(range(max = 1000))]
        retries: u32,
        /// A report without a verdict passes if any of these holds: `milestone`, `label:NAME`, `title:REGEX` or
        /// `body:REGEX`.
        pass_if: Several<RuleText>,
        /// A report without a verdict fails if any of these holds; they go before `pass_if`.
        fail_if: Several<RuleText>,
        /// Where reports go.
        issues: Issues,
        /// Where workloads come from.
        sources: List<Source>,
        /// Reusable jobs.
        templates: List<MetalTemplate>,
    }

    /// How long each state of a run may last.
    struct Deadlines {
        /// From assignment to the first byte; then the job goes to whoever asks next. Default: `5m`.
        assigned: Time,
        /// Without progress inside a download. Default: `2m`.
        download: Time,
        /// From the last byte of an image to its first call. Default: `15m`.
        boot: Time,
        /// From an image's call to its report, renewed by every sign of life. Default: `24h`.
        run: Time,
        /// From the last report of a run to its end. By default what the `grace` of the whole file says.
        grace: Time,
    }

    /// Where reports go.
    struct Issues {
        /// The repository whose issues they become. By default that of the release.
        to: Repository,
        /// Into issues, files or both. Default: `both`.
        report: ReportWord,
        /// End issues with a line about host, workload and attempt. Default: `true`.
        footer: bool,
    }

    /// Where workloads come from: exactly one of `release`, `dir` and `urls`.
    struct Source {
        /// Its id, unique in the group. By default made of what the source is.
        id: Id,
        /// A release on GitHub.
        release: Release,
        /// A directory of images.
        dir: FilePath,
        /// Single images by URL, with their digest behind #sha256= or in a SHA256SUMS beside them.
        urls: List<ImageUrl>,
        /// Only workloads with any of these in their name.
        filter: Several<Words>,
        /// Whether its workloads are queued by themselves, each once for every digest, or only listed for templates and
        /// jobs by hand. Default: `new`.
        queue: Queueing,
        /// How many jobs each workload becomes: one, one for each host (`each-host`), or one for each value of a label
        /// (`each:LABEL`). Where it is changed, what has come out on a host, whatever the verdict, is not run there again;
        /// jobs for single hosts that wait stay, and others that wait make room for the new ones. Default: `any`.
        spread: SpreadWord,
        /// The priority of these jobs; higher goes first. Default: `0`.
        priority: i32,
    }

    /// A release on GitHub.
    #[schemars(extend("required" = ["owner", "repo"]))]
    struct Release {
        /// The owner of the repository.
        owner: Words,
        /// The repository's own name.
        repo: Words,
        /// The tag; `latest` is the latest release. Default: `latest`.
        tag: GitRef,
        /// Only assets with any of these in their name.
        filter: Several<Words>,
        /// Look again every minute, or every so often: what is new joins the queue. Default: `true`.
        watch: Watch,
    }

    /// A reusable job.
    #[schemars(extend("required" = ["id", "workload"]))]
    struct MetalTemplate {
        /// Its id, unique over the templates of all groups.
        id: Id,
        /// What people call it. By default its id.
        name: Words,
        /// What it is for.
        description: String,
        /// The name of a workload that a source of the group offers.
        workload: Words,
        /// The inputs of its jobs, where a job says nothing else.
        inputs: BTreeMap<String, String>,
        /// What its jobs are labelled with, for filters.
        labels: BTreeMap<String, String>,
        /// Further labels that a host must have.
        host_labels: List<Label>,
        /// The priority of its jobs; higher goes first. Default: `0`.
        priority: i32,
        /// How many jobs it becomes: one, one for each host (`each-host`), or one for each value of a label
        /// (`each:LABEL`). Default: `any`.
        spread: SpreadWord,
        /// How many more attempts a job gets after its first one errored. By default what the group says.
        #[schemars(range(max = 1000))]
        retries: u32,
    }

    /// A server that is known by name.
    #[schemars(extend("required" = ["id"]))]
    struct HostEntry {
        /// Its id, unique over all hosts whatever its case, also over those that were named by hand. It carries the label
        /// `host:ID`.
        id: Id,
        /// What people call it. By default its id.
        name: Words,
        /// The MAC address of its card, or a list of them.
        mac: Several<MacAddress>,
        /// Its SMBIOS UUID.
        uuid: SmbiosUuid,
        /// The name in its boot URL: `/dispatch/@NAME`.
        boot_name: BootName,
        /// Its labels.
        labels: List<Label>,
    }
}
