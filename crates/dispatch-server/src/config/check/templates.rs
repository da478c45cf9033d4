//! Workflow templates: inline, from files, from URLs.

use std::path::Path;

use dispatch_core::{GroupId, TemplateId};
use dispatch_github::Slug;

use super::{Context, Once};
use crate::config::file;
use crate::config::kinds::List;
use crate::config::mistake::{Notes, Place};
use crate::config::model::{TemplateOrigin, WorkflowTemplate};
use crate::config::schema::{Shape, schema, templates_schema};
use crate::config::tree::{self, Key};
use crate::config::variables::Environment;
use crate::config::walk::Walk;

/// What is wrong with an owner and a name. They are not repeated: a variable may have been in them.
pub(super) const NO_REPOSITORY: &str = "`owner` and `repo` name no repository: write letters, digits, `-` or `_`, in `repo` \
                                        also `.`";

/// Ids that are unique over all groups.
pub(in crate::config) struct Ids {
    pub(super) groups: Once<GroupId>,
    pub(super) templates: Once<TemplateId>,
}

impl Ids {
    pub(in crate::config) fn new() -> Self {
        Self { groups: Once::new(), templates: Once::new() }
    }

    /// Notes an id that is taken by something else.
    pub(in crate::config) fn take(&mut self, id: &TemplateId, file: &Path, key: &str) {
        self.templates.seen.insert(id.clone(), (file.to_owned(), key.to_owned()));
    }
}

/// Reads a list of templates. Without an environment, no variables are replaced.
pub(in crate::config) fn templates_of(
    text: &str,
    file: &Path,
    env: Option<Environment<'_>>,
    origin: &TemplateOrigin,
    notes: &mut Notes,
    ids: &mut Ids,
) -> Vec<WorkflowTemplate> {
    let (root, faults) = tree::parse(text);
    for (place, key, what) in faults {
        notes.mistake(file, place, &key, what);
    }
    let Some(root) = root else { return Vec::new() };
    let is_empty = matches!(&root.value, tree::Value::Map(entries) if entries.is_empty());
    if is_empty {
        notes.warning(file, Place::START, "", "there are no templates in it");
        return Vec::new();
    }
    let mut walk = Walk { file, env, notes, whole: Shape::of(schema()) };
    let value = walk.value(&root, Shape::of(templates_schema()), &Key::default(), false);
    let list = value.map(serde_json::from_value::<List<file::WorkflowTemplate>>);
    let nothing = |_: &str| Err(std::env::VarError::NotPresent);
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut context = Context { file, root: &root, folder, env: env.unwrap_or(&nothing), notes };
    match list {
        Some(Ok(list)) => workflow_templates(&mut context, &Key::default(), list, origin, ids),
        Some(Err(_)) => {
            // The walk has let something pass that the structs do not take. The error may have a secret.
            context.mistake(&Key::default(), "this cannot be read; please tell the makers of dispatch");
            Vec::new()
        }
        None => Vec::new(),
    }
}

pub(super) fn workflow_templates(
    context: &mut Context<'_>,
    key: &Key,
    list: List<file::WorkflowTemplate>,
    origin: &TemplateOrigin,
    ids: &mut Ids,
) -> Vec<WorkflowTemplate> {
    let mut templates = Vec::new();
    for (index, template) in list.into_items() {
        let key = key.nth(index);
        let id = template.id.and_then(|id| id.0.parse::<TemplateId>().ok());
        if let Some(id) = &id {
            ids.templates.check(context, &key.at("id"), id, "the template");
        }
        let repository = template.owner.zip(template.repo).and_then(|(owner, repo)| {
            let slug = Slug::new(&owner.0, &repo.0);
            slug.map_err(|_| context.mistake(&key.at("repo"), NO_REPOSITORY)).ok()
        });
        let (Some(id), Some(repository), Some(workflow)) = (id, repository, template.workflow_id) else {
            continue;
        };
        templates.push(WorkflowTemplate {
            name: template.name.map_or_else(|| id.to_string(), |name| name.0),
            id,
            repository,
            workflow_id: workflow.0,
            git_ref: template.git_ref.map_or_else(|| "main".to_owned(), |name| name.0),
            inputs: template.inputs.unwrap_or_default(),
            labels: template.labels.unwrap_or_default(),
            origin: origin.clone(),
        });
    }
    templates
}
