//! `/api/v1/groups/{id}/history/export`: a whole history, a page of it in memory at a time.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dispatch_store::StoreError;
use dispatch_store::reads::{HistoryFilter, HistoryKey};
use dispatch_wire::api::history::{ExportFormat, PastJob};
use futures_util::{Stream, stream};
use serde::Deserialize;
use utoipa_axum::routes;

use super::Api;
use super::extract::{Ids, Query};
use super::history::{Which, on_one_line, show};
use super::problem::Answer;
use super::routes::Routes;
use super::shown::group;

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(history_export))
}

/// How many jobs are loaded at a time.
const AT_ONCE: u32 = 500;

/// The first line of the CSV.
const HEAD: [&str; 18] = [
    "id",
    "name",
    "group_id",
    "template_id",
    "status",
    "verdict",
    "reason",
    "host",
    "run_id",
    "attempts",
    "created_by",
    "created_at",
    "triggered_at",
    "completed_at",
    "waiting_seconds",
    "running_seconds",
    "labels",
    "inputs",
];

/// In which form.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Form {
    /// In which form.
    #[param(inline)]
    format: ExportFormat,
}

/// A whole history
///
/// As CSV (RFC 4180, with a first line of names) or as JSON Lines, the latest first, in pieces as it is read: if something
/// goes wrong on the way, the connection breaks, and what came is not all. In CSV, a text that a spreadsheet might take for
/// a formula, because it begins with `=`, `+`, `-`, `@`, a tab or a line break, has a `'` before it.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}/history/export", tag = "history",
    params(("id" = String, Path, description = "The group"), Form, Which),
    responses((status = 200, description = "All of it",
        content((String = "text/csv"), (String = "application/jsonl"))))
)]
async fn history_export(
    State(api): State<Api>,
    Ids(id): Ids<String>,
    Query(Form { format }): Query<Form>,
    Query(which): Query<Which>,
    RawQuery(query): RawQuery,
) -> Answer<Response> {
    let group = group(&api, &id).await?;
    let filter = which.filter(group, query.as_deref())?;
    let (media, ending) = match format {
        ExportFormat::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        ExportFormat::Jsonl => ("application/jsonl", "jsonl"),
    };
    // The id of a group is good in a file name.
    let name = format!("attachment; filename=\"{id}-history.{ending}\"");
    let body = Body::from_stream(pieces(api, filter, format));
    Ok(([(CONTENT_TYPE, media.to_owned()), (CONTENT_DISPOSITION, name)], body).into_response())
}

enum Next {
    Head,
    After(Option<HistoryKey>),
    Over,
}

fn pieces(
    api: Api,
    filter: Option<HistoryFilter>,
    format: ExportFormat,
) -> impl Stream<Item = Result<Bytes, StoreError>> {
    stream::unfold((api, filter, Next::Head), move |(api, filter, next)| async move {
        let (piece, then) = match next {
            Next::Over => return None,
            Next::Head => {
                let head = if format == ExportFormat::Csv {
                    csv_line(HEAD.map(str::to_owned))
                } else {
                    String::new()
                };
                (Ok(head.into()), Next::After(None))
            }
            Next::After(after) => {
                let wanted = filter.as_ref()?;
                match api.store().history(wanted, after.as_ref(), AT_ONCE).await {
                    Ok(jobs) => {
                        let last = jobs.last().map(|past| HistoryKey::from(&past.job))?;
                        let lines = jobs.iter().map(|past| line(&show(&api, past), format));
                        (Ok(lines.collect::<String>().into()), Next::After(Some(last)))
                    }
                    Err(error) => {
                        tracing::warn!("an export breaks off: {error}");
                        (Err(error), Next::Over)
                    }
                }
            }
        };
        Some((piece, (api, filter, then)))
    })
}

fn line(job: &PastJob, format: ExportFormat) -> String {
    match format {
        ExportFormat::Jsonl => serde_json::to_string(job).unwrap_or_default() + "\n",
        ExportFormat::Csv => {
            let word = |value: serde_json::Result<serde_json::Value>| {
                value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
            };
            let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
            csv_line([
                job.id.clone(),
                job.name.clone(),
                job.group_id.clone(),
                job.template_id.clone(),
                word(serde_json::to_value(job.status)),
                word(serde_json::to_value(job.verdict)),
                job.reason.clone().unwrap_or_default(),
                job.host.as_ref().map(|host| host.name.clone()).unwrap_or_default(),
                job.run_id.clone().unwrap_or_default(),
                job.attempts.to_string(),
                job.created_by.clone(),
                job.created_at.clone(),
                job.triggered_at.clone().unwrap_or_default(),
                job.completed_at.clone(),
                number(job.waiting_seconds),
                number(job.running_seconds),
                on_one_line(&job.labels),
                on_one_line(&job.inputs),
            ])
        }
    }
}

/// A line of CSV (RFC 4180 §2).
fn csv_line<const N: usize>(fields: [String; N]) -> String {
    fields.map(|field| csv_field(&field)).join(",") + "\r\n"
}

/// A field that is text for a spreadsheet, whatever it begins with.
fn csv_field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let safe = if is_formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains([',', '"', '\r', '\n']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a line of CSV as RFC 4180 has it.
    fn read(line: &str) -> Vec<String> {
        let mut fields = vec![String::new()];
        let mut is_quoted = false;
        let mut characters = line.strip_suffix("\r\n").expect("an end").chars().peekable();
        while let Some(character) = characters.next() {
            let field = fields.last_mut().expect("one");
            match character {
                '"' if is_quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(String::new()),
                other => field.push(other),
            }
        }
        assert!(!is_quoted, "{line}");
        fields
    }

    #[test]
    fn a_formula_is_text_in_a_spreadsheet() {
        assert_eq!(csv_field("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(csv_field("@SUM(1,1)"), "\"'@SUM(1,1)\"");
        assert_eq!(csv_field("a=b"), "a=b");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::array::uniform3("[a,\"\\r\\n=+é ]{0,8}")) {
            let back = read(&csv_line(texts.clone()));
            for (text, back) in texts.iter().zip(back) {
                let as_text = back.strip_prefix('\'').unwrap_or(&back);
                prop_assert_eq!(text, as_text);
                prop_assert!(!back.starts_with(['=', '+', '\r', '\n']));
            }
        }
    }
}
