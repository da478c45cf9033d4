//! `/api/v1/groups/{id}/templates` and `/api/v1/templates`: definitions of jobs.

use axum::Json;
use axum::extract::State;
use dispatch_core::TemplateId;
use dispatch_core::group::{TemplateOrigin, TemplateRuns};
use dispatch_store::queue::KnownTemplate;
use dispatch_wire::api::Page;
use dispatch_wire::api::template::{SourceType, Template as Shown};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::extract::Ids;
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Problem};
use super::routes::Routes;
use super::shown::group;

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(templates)).reader(routes!(template))
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TemplateKey(TemplateId);

impl Key for TemplateKey {
    const LIST: &'static str = "templates";
}

/// The templates of a group
///
/// By their ids. Those that have left the configuration say so.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/templates", tag = "templates",
    params(("id" = String, Path, description = "The group's id in the configuration"), PageParams),
    responses((status = 200, description = "The templates", body = Page<Shown>))
)]
async fn templates(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    pages: Pages<TemplateKey>,
) -> Answer<Json<Page<Shown>>> {
    let group = group(&api, &id).await?;
    let after = pages.after.as_ref().map(|key| &key.0);
    let found = api.store().templates(&group, after, pages.to_load()).await?;
    let key = |known: &KnownTemplate| TemplateKey(known.template.id.clone());
    Ok(Json(pages.page(found, key, shown)))
}

/// One template
#[utoipa::path(
    get, path = "/api/v1/templates/{id}", tag = "templates",
    params(("id" = String, Path, description = "The template's id in the configuration")),
    responses((status = 200, description = "The template", body = Shown))
)]
async fn template(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Json<Shown>> {
    let unknown = || Problem::not_found("template", &id);
    let wanted: TemplateId = id.parse().map_err(|_| unknown())?;
    let known = api.store().template(&wanted).await?.ok_or_else(unknown)?;
    Ok(Json(shown(known)))
}

fn shown(known: KnownTemplate) -> Shown {
    let template = known.template;
    let (workload, workflow) = match template.runs {
        TemplateRuns::Workload(name) => (Some(name), None),
        TemplateRuns::Workflow(workflow) => (None, Some(workflow)),
    };
    let (source_type, source_path) = match template.origin {
        TemplateOrigin::Inline => (SourceType::Inline, String::new()),
        TemplateOrigin::File(path) => (SourceType::File, path),
        TemplateOrigin::Url(url) => (SourceType::Url, url),
    };
    let part = |read: fn(&dispatch_core::Workflow) -> &String| workflow.as_ref().map(read).cloned();
    Shown {
        id: template.id.to_string(),
        group_id: template.group.to_string(),
        name: template.name,
        description: template.description,
        owner: part(|workflow| &workflow.owner),
        repo: part(|workflow| &workflow.repo),
        workflow_id: part(|workflow| &workflow.workflow_id),
        git_ref: part(|workflow| &workflow.git_ref),
        workload,
        default_inputs: template.inputs,
        labels: template.labels,
        required_labels: template.required_labels,
        spread: template.spread.to_string(),
        priority: template.priority,
        retries: template.retries,
        in_config: known.in_config,
        source_type,
        source_path,
        created_at: known.created.to_string(),
        updated_at: known.updated.to_string(),
    }
}
