//! What a configuration means to the rooms: the settings of the queue, its groups and templates, its sources, the people
//! who may sign in, the database. Pure.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use dispatch_core::group::{TemplateOrigin, TemplateRuns};
use dispatch_core::queue::Supply;
use dispatch_core::run::{DeadlineChanges, IssueTarget, Policy, Sinks};
use dispatch_core::verdict::Judge;
use dispatch_core::{
    Deadlines, Group, GroupKind, GroupState, SourceId, Template, TemplateId, Workflow, group::ListedHost,
};
use dispatch_store::{Database, Postgres, PostgresError, SslMode};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use crate::api::settings::{BasicUser, Limits};
use crate::config::{
    self, Configuration, Connection, GitHubGroup, MetalGroup, MetalTemplate, Queueing, Source, SourceKind,
    WorkflowTemplate,
};
use crate::hub::ReportTo;

/// The settings of the queue. `templates` are those that groups of runners have from URLs; `files_issues` says whether
/// there is somebody as whom issues can be filed.
pub(super) fn policy(
    configuration: &Configuration,
    templates: &[(usize, WorkflowTemplate)],
    files_issues: bool,
) -> Policy {
    let metal =
        configuration.metal_groups.iter().map(|group| metal_group(group, configuration, files_issues));
    let actions = configuration.github_groups.iter().enumerate().map(|(at, group)| {
        let fetched = templates.iter().filter(|(of, _)| *of == at).map(|(_, template)| template);
        actions_group(group, fetched)
    });
    Policy {
        groups: Some(metal.chain(actions).collect()),
        listed: configuration.hosts.iter().map(listed).collect(),
        unknown_hosts: configuration.boot.unknown_hosts,
        is_dispatching: configuration.dispatcher.enabled,
        deadlines: Deadlines { grace: configuration.grace, ..Deadlines::default() },
        when_idle: configuration.boot.when_idle,
        ..Policy::default()
    }
}

fn metal_group(group: &MetalGroup, configuration: &Configuration, files_issues: bool) -> Group {
    let api = configuration.github.api.to_string();
    let wants_issues = group.reporting.to != ReportTo::File && files_issues;
    let target = |repository: String| IssueTarget { repository, api: api.clone() };
    let named = group.reporting.repository.as_ref().filter(|_| wants_issues);
    let of_source = |source: &Source| match &source.kind {
        SourceKind::Release { name, .. } => Some((id(group, source), target(name.repository.to_string()))),
        SourceKind::Directory(_) | SourceKind::Urls(_) => None,
    };
    let targets = group.sources.iter().filter(|_| wants_issues).filter_map(of_source);
    Group {
        labels: group.host_labels.clone(),
        max_concurrent: group.max_concurrent,
        when_idle: Some(group.when_idle),
        deadlines: all_of(group.deadlines),
        retries: Some(group.retries),
        judge: Some(Arc::new(judge(group))),
        sinks: Some(Sinks {
            // What cannot be filed is kept in files.
            files: group.reporting.to != ReportTo::Issue || !files_issues,
            issues: named.map(|repository| target(repository.to_string())),
        }),
        targets: targets.collect(),
        has_footer: Some(group.reporting.footer),
        is_watching: group.sources.iter().any(is_watched),
        sources: group.sources.iter().map(|source| id(group, source)).collect(),
        templates: group.templates.iter().map(|template| metal_template(group, template)).collect(),
        ..Group::new(group.id.clone(), GroupKind::Metal)
    }
}

fn is_watched(source: &Source) -> bool {
    match source.kind {
        SourceKind::Release { watch, .. } => watch.is_some(),
        SourceKind::Directory(_) => true,
        SourceKind::Urls(_) => false,
    }
}

fn judge(group: &MetalGroup) -> Judge {
    let rules = |rules: &[config::JudgeRule]| rules.iter().map(|rule| rule.rule.clone()).collect();
    Judge { pass_if: rules(&group.pass_if), fail_if: rules(&group.fail_if), ..Judge::default() }
}

fn all_of(deadlines: Deadlines) -> DeadlineChanges {
    let Deadlines { assigned, download, boot, run, grace } = deadlines;
    DeadlineChanges {
        assigned: Some(assigned),
        download: Some(download),
        boot: Some(boot),
        run: Some(run),
        grace: Some(grace),
    }
}

fn metal_template(group: &MetalGroup, template: &MetalTemplate) -> Template {
    Template {
        id: template.id.clone(),
        group: group.id.clone(),
        name: template.name.clone(),
        description: some(&template.description),
        runs: TemplateRuns::Workload(template.workload.clone()),
        inputs: template.inputs.clone(),
        labels: template.labels.clone(),
        required_labels: template.host_labels.clone(),
        priority: template.priority.into(),
        spread: template.spread.clone(),
        retries: template.retries,
        origin: TemplateOrigin::Inline,
    }
}

fn actions_group<'a>(group: &'a GitHubGroup, fetched: impl Iterator<Item = &'a WorkflowTemplate>) -> Group {
    let templates = group.templates.iter().chain(fetched);
    Group {
        labels: group.runner_labels.clone(),
        max_concurrent: group.max_concurrent,
        templates: templates.map(|template| workflow_template(group, template)).collect(),
        ..Group::new(group.id.clone(), GroupKind::Actions)
    }
}

fn workflow_template(group: &GitHubGroup, template: &WorkflowTemplate) -> Template {
    let repository = template.repository.to_string();
    let (owner, repo) = repository.split_once('/').unwrap_or((&repository, ""));
    let workflow = Workflow {
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        workflow_id: template.workflow_id.clone(),
        git_ref: template.git_ref.clone(),
    };
    Template {
        id: template.id.clone(),
        group: group.id.clone(),
        name: template.name.clone(),
        description: None,
        runs: TemplateRuns::Workflow(workflow),
        inputs: template.inputs.clone(),
        labels: template.labels.clone(),
        required_labels: Vec::new(),
        priority: 0,
        spread: dispatch_core::Spread::Any,
        retries: None,
        origin: match &template.origin {
            config::TemplateOrigin::Inline => TemplateOrigin::Inline,
            config::TemplateOrigin::File(path) => TemplateOrigin::File(path.display().to_string()),
            config::TemplateOrigin::Url(url) => TemplateOrigin::Url(url.to_string()),
        },
    }
}

fn listed(host: &config::HostEntry) -> ListedHost {
    ListedHost {
        key: host.id.clone(),
        name: some(&host.name),
        macs: host.macs.clone(),
        uuid: host.uuid.clone(),
        boot_name: host.boot_name.clone(),
        labels: host.labels.clone(),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// How the groups of the configuration stand when they are first in it.
pub(super) fn groups(configuration: &Configuration) -> Vec<GroupState> {
    let state = |place: usize, id: &dispatch_core::GroupId, kind, name: &str, description: &str| GroupState {
        id: id.clone(),
        kind,
        name: name.to_owned(),
        description: some(description),
        labels: Vec::new(),
        is_paused: false,
        is_draining: false,
        in_config: true,
        place: i64::try_from(place).unwrap_or(i64::MAX),
        version: 1,
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    };
    let metal = configuration.metal_groups.iter().enumerate().map(|(place, group)| GroupState {
        labels: group.host_labels.clone(),
        is_paused: group.paused,
        ..state(place, &group.id, GroupKind::Metal, &group.name, &group.description)
    });
    let behind = configuration.metal_groups.len();
    let actions = configuration.github_groups.iter().enumerate().map(|(place, group)| GroupState {
        labels: group.runner_labels.clone(),
        is_paused: group.paused,
        ..state(behind + place, &group.id, GroupKind::Actions, &group.name, &group.description)
    });
    metal.chain(actions).collect()
}

/// What a source is known by in the state. Two groups may each have one of the same name, or even the same one: what
/// one of them has run is not what the other has.
pub(super) fn id(group: &MetalGroup, source: &Source) -> SourceId {
    SourceId::new(&format!("{}/{}", group.id, source.id))
}

/// What is to become of what the configured sources offer.
pub(super) fn supplies(configuration: &Configuration) -> Vec<(Supply, Source)> {
    let of_group = |group: &MetalGroup| {
        let supply = |source: &Source| Supply {
            source: id(group, source),
            group: group.id.clone(),
            is_queued: source.queue == Queueing::New,
            spread: source.spread.clone(),
            priority: source.priority.into(),
        };
        group.sources.iter().map(|source| (supply(source), source.clone())).collect::<Vec<_>>()
    };
    configuration.metal_groups.iter().flat_map(of_group).collect()
}

/// Where the state is.
pub(super) fn database(database: &config::Database) -> Result<Database, PostgresError> {
    let postgres = match database {
        config::Database::Sqlite { path } => return Ok(Database::Sqlite { path: path.clone() }),
        config::Database::Postgres(postgres) => postgres,
    };
    let mut there = match &postgres.connection {
        Connection::Url(url) => Postgres::from_url(url.expose_secret())?,
        Connection::Parts(parts) => Postgres {
            host: parts.host.clone(),
            port: parts.port,
            user: parts.user.clone(),
            password: parts.password.clone(),
            database: parts.database.clone(),
            ..Postgres::default()
        },
    };
    if let Some(mode) = postgres.sslmode {
        there.sslmode = match mode {
            config::SslMode::Disable => SslMode::Disable,
            config::SslMode::Prefer => SslMode::Prefer,
            config::SslMode::Require => SslMode::Require,
            config::SslMode::VerifyCa => SslMode::VerifyCa,
            config::SslMode::VerifyFull => SslMode::VerifyFull,
        };
    }
    there.ca_cert = postgres.ca_cert.clone().or(there.ca_cert);
    there.max_connections = postgres.max_connections;
    there.statement_timeout = postgres.statement_timeout;
    Ok(Database::Postgres(there))
}

/// Who may sign in.
pub(super) fn users(configuration: &Configuration) -> Vec<BasicUser> {
    let user = |user: &config::BasicUser| BasicUser {
        username: user.username.clone(),
        password: user.password.clone(),
        role: match user.role {
            config::Role::Readonly => dispatch_wire::api::Role::Readonly,
            config::Role::Operator => dispatch_wire::api::Role::Operator,
            config::Role::Admin => dispatch_wire::api::Role::Admin,
        },
    };
    configuration.auth.users.iter().map(user).collect()
}

/// How often anybody may ask.
pub(super) fn limits(limit: config::RateLimit) -> Limits {
    let number = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    Limits {
        is_enabled: limit.enabled,
        sign_in: number(limit.auth),
        public: number(limit.public),
        authenticated: number(limit.authenticated),
    }
}

/// The URLs of templates, each with the place of its group among those of runners.
pub(super) fn template_urls(configuration: &Configuration) -> Vec<(usize, url::Url)> {
    let mut all = Vec::new();
    for (at, group) in configuration.github_groups.iter().enumerate() {
        all.extend(group.template_urls.iter().map(|url| (at, url.clone())));
    }
    all
}

/// The ids of the templates that are in the file, and in the files that it names.
pub(super) fn template_ids(configuration: &Configuration) -> BTreeSet<TemplateId> {
    let metal = configuration.metal_groups.iter().flat_map(|group| &group.templates);
    let actions = configuration.github_groups.iter().flat_map(|group| &group.templates);
    metal.map(|template| &template.id).chain(actions.map(|template| &template.id)).cloned().collect()
}

/// A template that was fetched, as the state knows it.
pub(super) fn known_template(template: &Template, url: &url::Url) -> Option<WorkflowTemplate> {
    let TemplateRuns::Workflow(workflow) = &template.runs else { return None };
    Some(WorkflowTemplate {
        id: template.id.clone(),
        name: template.name.clone(),
        repository: format!("{}/{}", workflow.owner, workflow.repo).parse().ok()?,
        workflow_id: workflow.workflow_id.clone(),
        git_ref: workflow.git_ref.clone(),
        inputs: template.inputs.clone(),
        labels: template.labels.clone(),
        origin: config::TemplateOrigin::Url(url.clone()),
    })
}
