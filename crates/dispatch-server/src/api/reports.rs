//! `/api/v1/reports`: what workloads say of themselves.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use dispatch_core::{GroupId, ReportId, RunName};
use dispatch_store::reads::{ReportFilter, ReportKeyset, ReportLine};
use dispatch_wire::api::Page;
use dispatch_wire::api::report::{Report as Shown, ReportLine as Line};
use dispatch_wire::api::run::Verdict;
use serde::Deserialize;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Ids, Query};
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Problem};
use super::routes::Routes;
use super::runs::host_id;
use super::shown::time;

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(reports)).reader(routes!(report))
}

/// Markdown (RFC 7763).
pub(crate) const MARKDOWN: &str = "text/markdown; charset=utf-8";

impl Key for ReportKeyset {
    const LIST: &'static str = "reports";
}

/// Which reports: those that fit in every respect.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this group.
    group: Option<String>,
    /// Only those of this job.
    job: Option<String>,
    /// Only those of this run.
    run: Option<String>,
    /// Only those from this host, by its `id` or its `uid`.
    host: Option<String>,
    /// Only those with this verdict.
    #[param(inline)]
    verdict: Option<Verdict>,
}

pub(crate) fn line(report: &ReportLine) -> Line {
    Line {
        id: report.id.to_string(),
        run_id: report.run.to_string(),
        job_id: report.job.to_string(),
        host_id: report.host.to_string(),
        group_id: report.group.to_string(),
        title: report.title.clone(),
        verdict: report.verdict.into(),
        late: report.is_late,
        issue_url: report.issue.as_ref().map(|issue| issue.url.clone()),
        created_at: time(report.at),
    }
}

/// All reports
///
/// The latest first.
#[utoipa::path(
    get, path = "/api/v1/reports", tag = "reports", params(Which, PageParams),
    responses((status = 200, description = "A page of them", body = Page<Line>))
)]
async fn reports(
    State(api): State<Api>,
    Query(which): Query<Which>,
    pages: Pages<ReportKeyset>,
) -> Answer<Json<Page<Line>>> {
    let Some(filter) = filter(&api, &which).await? else {
        return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
    };
    let found = api.store().reports(&filter, pages.after.as_ref(), pages.to_load()).await?;
    Ok(Json(pages.page(found, |report| ReportKeyset::from(report), |report| line(&report))))
}

/// What is asked for; none if nothing can be it.
async fn filter(api: &Api, which: &Which) -> Answer<Option<ReportFilter>> {
    let group = which.group.as_ref().map(|group| group.parse::<GroupId>()).transpose();
    let job = which.job.as_ref().map(|job| job.parse()).transpose();
    let run = which.run.as_ref().map(|run| run.parse::<RunName>()).transpose();
    let (Ok(group), Ok(job), Ok(run)) = (group, job, run) else { return Ok(None) };
    let mut filter =
        ReportFilter { group, job, verdict: which.verdict.map(Into::into), ..ReportFilter::default() };
    if let Some(run) = run {
        filter.run = api.store().run_id(run).await?;
        if filter.run.is_none() {
            return Ok(None);
        }
    }
    if let Some(host) = &which.host {
        filter.host = host_id(api, host).await?;
        if filter.host.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(filter))
}

/// A report
///
/// As JSON, or where `Accept` asks for `text/markdown`, its text only.
#[utoipa::path(
    get, path = "/api/v1/reports/{id}", tag = "reports",
    params(("id" = String, Path, description = "The report")),
    responses((status = 200, description = "The report",
        content((Shown = "application/json"), (String = "text/markdown"))))
)]
async fn report(State(api): State<Api>, Ids(id): Ids<String>, headers: HeaderMap) -> Answer<Response> {
    let unknown = || Problem::not_found("report", &id);
    let report: ReportId = id.parse().map_err(|_| unknown())?;
    let stored = api.store().report(report).await?.ok_or_else(unknown)?;
    let content: serde_json::Value =
        serde_json::from_str(&stored.report.content.json).map_err(Problem::internal)?;
    let body = content.get("body").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    if wants_markdown(&headers) {
        return Ok(([(CONTENT_TYPE, MARKDOWN), (VARY, "Accept")], body).into_response());
    }
    let report = line(&ReportLine {
        id: stored.report.id,
        run: stored.run.id.public_name(),
        job: stored.job.id,
        host: stored.host.id,
        group: stored.job.group.clone(),
        at: stored.report.at,
        is_late: stored.report.late,
        title: stored.report.content.title.clone(),
        verdict: stored.report.content.verdict,
        issue: stored.issue.clone(),
    });
    Ok(([(VARY, "Accept")], Json(Shown { report, body, content })).into_response())
}

/// Whether Markdown is asked for, and not JSON before it.
pub(crate) fn wants_markdown(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let media =
        accepts.flat_map(|value| value.split(',')).map(|part| part.split(';').next().unwrap_or("").trim());
    let mut media = media;
    let first = media
        .find(|media| ["text/markdown", "application/json"].contains(&media.to_ascii_lowercase().as_str()));
    first.is_some_and(|media| media.eq_ignore_ascii_case("text/markdown"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn markdown_is_for_whoever_asks_for_it() {
        let asks = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            wants_markdown(&headers)
        };
        assert!(asks("text/markdown") && asks("Text/Markdown;q=1, application/json"));
        assert!(!asks("*/*") && !asks("application/json, text/markdown") && !asks("text/html"));
    }
}
