//! Groups, their sources and templates, and hosts.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_core::queue::WhenIdle;
use dispatch_core::{Deadlines, GroupId, HostId, HostKey, TemplateId};
use dispatch_github::Slug;

use super::templates::{NO_REPOSITORY, templates_of, workflow_templates};
use super::{Context, Ids, Once};
use crate::config::file;
use crate::config::kinds::{GitRef, Id, Label, List, Several, Watch, Words};
use crate::config::model::{
    GitHubGroup, HostEntry, MetalGroup, MetalTemplate, Reporting, Source, SourceId, SourceKind,
    TemplateOrigin,
};
use crate::config::tree::{Key, MAX_FILE};
use crate::hub::ReportTo;
use crate::source::remote::ReleaseName;

/// How often a release is looked at.
const WATCH: Duration = Duration::from_mins(1);

/// How many more attempts a job gets.
const RETRIES: u32 = 2;

pub(super) fn groups(
    context: &mut Context<'_>,
    groups: file::Groups,
    grace: Duration,
    when_idle: WhenIdle,
    ids: &mut Ids,
) -> (Vec<GitHubGroup>, Vec<MetalGroup>) {
    let above = Key::default().at("groups");
    let (mut github, mut metal) = (Vec::new(), Vec::new());
    for (index, group) in groups.github.into_iter().flat_map(List::into_items) {
        github.extend(github_group(context, &above.at("github").nth(index), group, ids));
    }
    for (index, group) in groups.metal.into_iter().flat_map(List::into_items) {
        metal.extend(metal_group(context, &above.at("metal").nth(index), group, (grace, when_idle), ids));
    }
    (github, metal)
}

fn group_id(context: &mut Context<'_>, key: &Key, id: Option<Id>, ids: &mut Ids) -> Option<GroupId> {
    let id = id?.0.parse::<GroupId>().ok()?;
    ids.groups.check(context, &key.at("id"), &id, "the group");
    Some(id)
}

/// The name that people gave, or the id.
fn named(name: Option<Words>, id: &impl ToString) -> String {
    name.map_or_else(|| id.to_string(), |name| name.0)
}

/// Labels, each once.
fn labels(list: Option<List<Label>>) -> Vec<String> {
    let mut labels = Vec::new();
    for (_, label) in list.into_iter().flat_map(List::into_items) {
        if !labels.contains(&label.0) {
            labels.push(label.0);
        }
    }
    labels
}

fn several<T>(several: Option<Several<T>>) -> impl Iterator<Item = T> {
    several.into_iter().flat_map(|several| several.0.into_items()).map(|(_, item)| item)
}

fn github_group(
    context: &mut Context<'_>,
    key: &Key,
    group: file::GitHubGroup,
    ids: &mut Ids,
) -> Option<GitHubGroup> {
    let id = group_id(context, key, group.id, ids);
    let inline = group.workflow_dispatch_templates.unwrap_or(List(Vec::new()));
    let inline_key = key.at("workflow_dispatch_templates");
    let mut templates = workflow_templates(context, &inline_key, inline, &TemplateOrigin::Inline, ids);
    for (index, path) in group.workflow_dispatch_templates_files.into_iter().flat_map(List::into_items) {
        let key = key.at("workflow_dispatch_templates_files").nth(index);
        let file = context.path(&path.0);
        match read(&file) {
            Ok(text) => {
                let origin = TemplateOrigin::File(PathBuf::from(path.0));
                templates.extend(templates_of(&text, &file, Some(context.env), &origin, context.notes, ids));
            }
            Err(what) => context.mistake(&key, what),
        }
    }
    let urls = group.workflow_dispatch_templates_urls.into_iter().flat_map(List::into_items);
    let template_urls: Vec<_> = urls.map(|(_, url)| url.0).collect();
    let runner_labels = labels(group.runner_labels);
    if runner_labels.is_empty() && context.is_written(&key.at("runner_labels")) {
        context.warning(&key.at("runner_labels"), "without labels the group takes every runner that it sees");
    }
    let id = id?;
    Some(GitHubGroup {
        name: named(group.name, &id),
        id,
        description: group.description.unwrap_or_default(),
        runner_labels,
        max_concurrent: group.max_concurrent,
        paused: group.paused.unwrap_or(false),
        templates,
        template_urls,
    })
}

/// A text file of a reasonable size.
pub(in crate::config) fn read(file: &std::path::Path) -> Result<String, String> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", file.display());
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(cannot)?;
    // One more than is read of a file: the parser then says that it is too large.
    opened.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let line = 1 + good.matches('\n').count();
        format!("{} is no UTF-8 text: look at line {line}", file.display())
    })
}

fn metal_group(
    context: &mut Context<'_>,
    key: &Key,
    group: file::MetalGroup,
    (grace, when_idle): (Duration, WhenIdle),
    ids: &mut Ids,
) -> Option<MetalGroup> {
    let id = group_id(context, key, group.id, ids);
    let mut sources: Vec<Source> = Vec::new();
    let mut names = Once::new();
    for (index, written) in group.sources.into_iter().flat_map(List::into_items) {
        let key = key.at("sources").nth(index);
        let is_named = written.id.is_some();
        let Some(source) = source(context, &key, written) else { continue };
        let id_key = if is_named { key.at("id") } else { key };
        names.check(
            context,
            &id_key,
            &source.id,
            if is_named { "the id" } else { "the name made for it, the id" },
        );
        sources.push(source);
    }
    let templates = metal_templates(context, &key.at("templates"), group.templates, ids);
    let has_sources = ["sources", "templates"].into_iter().any(|name| context.is_written(&key.at(name)));
    if !has_sources {
        context.warning(key, "it has neither `sources` nor `templates`: there is nothing that it could run");
    }
    let reporting = reporting(context, &key.at("issues"), group.issues.unwrap_or_default(), &sources);
    let written = group.deadlines.unwrap_or_default();
    let default = Deadlines::default();
    let time = |time: Option<crate::config::kinds::Time>, default| time.map_or(default, |time| time.0);
    let id = id?;
    Some(MetalGroup {
        name: named(group.name, &id),
        id,
        description: group.description.unwrap_or_default(),
        host_labels: labels(group.host_labels),
        max_concurrent: group.max_concurrent,
        paused: group.paused.unwrap_or(false),
        when_idle: group.when_idle.map_or(when_idle, |word| word.0),
        deadlines: Deadlines {
            assigned: time(written.assigned, default.assigned),
            download: time(written.download, default.download),
            boot: time(written.boot, default.boot),
            run: time(written.run, default.run),
            grace: time(written.grace, grace),
        },
        retries: group.retries.unwrap_or(RETRIES),
        pass_if: several(group.pass_if).map(|rule| rule.0).collect(),
        fail_if: several(group.fail_if).map(|rule| rule.0).collect(),
        reporting,
        sources,
        templates,
    })
}

fn reporting(context: &mut Context<'_>, key: &Key, issues: file::Issues, sources: &[Source]) -> Reporting {
    let to = issues.report.map_or(ReportTo::Both, |word| word.0);
    let has_release = sources.iter().any(|source| matches!(source.kind, SourceKind::Release { .. }));
    if context.is_written(&key.at("to")) && to == ReportTo::File {
        context
            .mistake(&key.at("to"), "`report: file` says that there are no issues: leave out one of the two");
    } else if to == ReportTo::Issue && !context.is_written(&key.at("to")) && !has_release {
        let what = "no release names a repository for issues: give one with `to: OWNER/NAME`";
        context.mistake(&key.at("report"), what);
    }
    Reporting { to, repository: issues.to.map(|slug| slug.0), footer: issues.footer.unwrap_or(true) }
}

fn source(context: &mut Context<'_>, key: &Key, source: file::Source) -> Option<Source> {
    let given: Vec<&str> =
        ["release", "dir", "urls"].into_iter().filter(|name| context.is_written(&key.at(name))).collect();
    match given.as_slice() {
        [_] => {}
        [] => context.mistake(key, "a source has to say what it is: give one of `release`, `dir` and `urls`"),
        [_, second, ..] => {
            let what = format!("a source is one thing: make `{second}` an item of `sources` of its own");
            context.mistake(&key.at(second), what);
        }
    }
    let mut filter: Vec<String> = several(source.filter).map(|word| word.0).collect();
    let kind = if let Some(written) = source.release {
        let key = key.at("release");
        if !filter.is_empty() && written.filter.is_some() {
            context.mistake(&key.at("filter"), "the source has a `filter` as well: keep one of them");
        }
        filter.extend(several(written.filter).map(|word| word.0));
        release(context, &key, (written.owner, written.repo, written.tag), written.watch)?
    } else if let Some(dir) = source.dir {
        SourceKind::Directory(context.path(&dir.0))
    } else {
        let urls: Vec<_> = source.urls?.into_items().map(|(_, url)| url.0).collect();
        if urls.is_empty() {
            context.warning(&key.at("urls"), "there are no URLs: it offers nothing");
        }
        SourceKind::Urls(urls)
    };
    Some(Source {
        id: SourceId(source.id.map_or_else(|| made_id(&kind), |id| id.0)),
        kind,
        filter,
        queue: source.queue.unwrap_or_default(),
        spread: source.spread.map(|word| word.0).unwrap_or_default(),
        priority: source.priority.unwrap_or(0),
    })
}

fn release(
    context: &mut Context<'_>,
    key: &Key,
    (owner, repo, tag): (Option<Words>, Option<Words>, Option<GitRef>),
    watch: Option<Watch>,
) -> Option<SourceKind> {
    let Ok(repository) = Slug::new(&owner?.0, &repo?.0) else {
        context.mistake(&key.at("repo"), NO_REPOSITORY);
        return None;
    };
    let watch = match watch {
        None | Some(Watch::Whether(true)) => Some(WATCH),
        Some(Watch::Whether(false)) => None,
        Some(Watch::Every(time)) => Some(time),
    };
    let tag = tag.map_or_else(|| "latest".to_owned(), |tag| tag.0);
    Some(SourceKind::Release { name: ReleaseName { repository, tag }, watch })
}

/// An id for a source without one: it stays the same wherever the source stands in the file.
fn made_id(kind: &SourceKind) -> String {
    let name = match kind {
        SourceKind::Release { name, .. } => {
            format!("{}-{}-{}", name.repository.owner(), name.repository.name(), name.tag)
        }
        SourceKind::Directory(dir) => {
            format!("dir-{}", dir.file_name().map(|name| name.to_string_lossy()).unwrap_or_default())
        }
        SourceKind::Urls(urls) => format!("urls-{}", urls.first().map_or("", |file| file.name.as_str())),
    };
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name: String = name.chars().map(|c| if is_good(c) { c } else { '-' }).take(100).collect();
    name.trim_start_matches(['-', '_', '.']).to_owned()
}

fn metal_templates(
    context: &mut Context<'_>,
    key: &Key,
    list: Option<List<file::MetalTemplate>>,
    ids: &mut Ids,
) -> Vec<MetalTemplate> {
    let mut templates = Vec::new();
    for (index, template) in list.into_iter().flat_map(List::into_items) {
        let key = key.nth(index);
        let id = template.id.and_then(|id| id.0.parse::<TemplateId>().ok());
        if let Some(id) = &id {
            ids.templates.check(context, &key.at("id"), id, "the template");
        }
        let (Some(id), Some(workload)) = (id, template.workload) else { continue };
        templates.push(MetalTemplate {
            name: named(template.name, &id),
            id,
            description: template.description.unwrap_or_default(),
            workload: workload.0,
            inputs: template.inputs.unwrap_or_default(),
            labels: template.labels.unwrap_or_default(),
            host_labels: labels(template.host_labels),
            priority: template.priority.unwrap_or(0),
            spread: template.spread.map(|word| word.0).unwrap_or_default(),
            retries: template.retries,
        });
    }
    templates
}

pub(super) fn hosts(
    context: &mut Context<'_>,
    key: &Key,
    list: Option<List<file::HostEntry>>,
) -> Vec<HostEntry> {
    let (mut ids, mut macs, mut uuids, mut names) = (Once::new(), Once::new(), Once::new(), Once::new());
    let mut hosts = Vec::new();
    for (index, host) in list.into_iter().flat_map(List::into_items) {
        let key = key.nth(index);
        let id = host.id.and_then(|id| id.0.parse::<HostKey>().ok());
        if let Some(id) = &id {
            // It becomes a label, of which the case is no difference.
            ids.check(context, &key.at("id"), &id.as_str().to_ascii_lowercase(), "the host");
            if id.as_str().parse::<HostId>().is_ok() {
                context.mistake(&key.at("id"), "it looks like the identifier of a host: choose another");
            }
        }
        let mut cards = Vec::new();
        for (position, mac) in host.mac.into_iter().flat_map(|several| several.0.into_items()) {
            macs.check(context, &key.at("mac").nth(position), &mac.0, "the MAC");
            cards.push(mac.0);
        }
        if let Some(uuid) = &host.uuid {
            uuids.check(context, &key.at("uuid"), &uuid.0, "the UUID");
        }
        if let Some(name) = &host.boot_name {
            names.check(context, &key.at("boot_name"), &name.0, "the name");
        }
        let is_known_by =
            ["mac", "uuid", "boot_name"].into_iter().any(|name| context.is_written(&key.at(name)));
        if !is_known_by {
            context
                .mistake(&key, "nobody could tell which host this is: give its `mac`, `boot_name` or `uuid`");
        }
        for (position, label) in host.labels.iter().flat_map(|labels| labels.0.iter().flatten()).enumerate() {
            if label.0.trim_start().to_ascii_lowercase().starts_with("host:") {
                let what = "labels that begin with `host:` are given by the service: leave it out";
                context.mistake(&key.at("labels").nth(position), what);
            }
        }
        let Some(id) = id else { continue };
        hosts.push(HostEntry {
            name: named(host.name, &id),
            id,
            macs: cards,
            uuid: host.uuid.map(|uuid| uuid.0),
            boot_name: host.boot_name.map(|name| name.0),
            labels: labels(host.labels),
        });
    }
    hosts
}
