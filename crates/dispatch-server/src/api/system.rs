//! How the service is, and what it can do.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use dispatch_wire::api::system::{HostsStatus, OutboxStatus};
use dispatch_wire::api::{DatabaseStatus, Health, ProblemKind, Ready, Standing, Status, Version};
use utoipa_axum::routes;

use super::Api;
use super::extract::Ids;
use super::metrics::OPENMETRICS;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::shown::maybe_time;
use super::standing::{self, Seen};

/// From when on a database is slow.
const SLOW: Duration = Duration::from_millis(500);

/// How long it may take to say whether it is there.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) fn routes() -> Routes {
    Routes::new()
        .public(routes!(health))
        .public(routes!(ready))
        .public(routes!(metrics))
        .public(routes!(openapi))
        .public(routes!(problem_kind))
        .reader(routes!(status))
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Whether the process is alive
///
/// Asks nobody else.
#[utoipa::path(
    get, path = "/health", tag = "system",
    responses((status = 200, description = "It is", body = Health))
)]
async fn health() -> Json<Health> {
    Json(Health { status: Standing::Healthy, version: version() })
}

/// Whether the service can work
///
/// A problem with status 503 where the database does not answer.
#[utoipa::path(
    get, path = "/ready", tag = "system",
    responses((status = 200, description = "It can", body = Ready))
)]
async fn ready(State(api): State<Api>) -> Answer<Json<Ready>> {
    match database(&api).await.status {
        Standing::Unhealthy => {
            let problem = Problem::new(Kind::Unavailable, "the database does not answer: ask again");
            Err(problem.retry_after(Duration::from_secs(5)))
        }
        Standing::Healthy | Standing::Degraded => Ok(Json(Ready { status: Standing::Healthy })),
    }
}

/// What is measured
///
/// For Prometheus, as OpenMetrics.
#[utoipa::path(
    get, path = "/metrics", tag = "system",
    responses((status = 200, description = "All metrics", content_type = "application/openmetrics-text", body = String))
)]
async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    api.metrics().queue().update(&api).await;
    ([(CONTENT_TYPE, OPENMETRICS)], api.metrics().encode())
}

/// This description
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "system",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value))
)]
async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], super::openapi::text())
}

/// What a kind of problem means
#[utoipa::path(
    get, path = "/problems/{kind}", tag = "system",
    params(("kind" = String, Path, description = "The end of a problem's `type`", example = "not-found")),
    responses((status = 200, description = "What it means, and what to do", body = ProblemKind))
)]
async fn problem_kind(Ids(slug): Ids<String>) -> Answer<Json<ProblemKind>> {
    let kind = Kind::ALL.iter().find(|kind| kind.slug() == slug);
    kind.map(|kind| Json(kind.describe())).ok_or_else(|| Problem::not_found("kind of problem", slug))
}

/// How the service is
#[utoipa::path(
    get, path = "/api/v1/status", tag = "system",
    responses((status = 200, description = "How it is, and each of its parts", body = Status))
)]
async fn status(State(api): State<Api>) -> Json<Status> {
    let database = database(&api).await;
    // Without a database there is nothing to count, and the answer must not wait for it.
    let seen = if database.status == Standing::Unhealthy {
        Seen::default()
    } else {
        standing::look(&api).await.unwrap_or_else(|error| {
            tracing::warn!("the queues cannot be counted: {error}");
            Seen::default()
        })
    };
    let reasons = standing::reasons(database.status, &seen.outbox, api.clock().now());
    let all = if reasons.is_empty() { Standing::Healthy } else { database.status.max(Standing::Degraded) };
    let version = Version { version: version(), api: super::openapi::VERSION.to_owned() };
    Json(Status {
        status: all,
        reasons,
        queue: standing::queue(&seen),
        hosts: HostsStatus { online: seen.online(), busy: seen.busy() },
        outbox: OutboxStatus {
            waiting: seen.outbox.waiting,
            failing: seen.outbox.failing,
            oldest: maybe_time(seen.outbox.oldest),
        },
        last_event: seen.last_event.as_ref().map(|stored| stored.seq),
        last_event_at: maybe_time(seen.last_event.as_ref().map(|stored| stored.event.at)),
        database,
        version,
    })
}

async fn database(api: &Api) -> DatabaseStatus {
    let began = api.clock().now();
    let asked = tokio::time::timeout(PATIENCE, api.store().ping()).await;
    let took = Duration::try_from(api.clock().now().duration_since(began)).unwrap_or_default();
    let status = match asked {
        Ok(Ok(())) if took < SLOW => Standing::Healthy,
        Ok(Ok(())) => Standing::Degraded,
        Ok(Err(error)) => {
            tracing::warn!("{error}");
            Standing::Unhealthy
        }
        Err(_) => Standing::Unhealthy,
    };
    DatabaseStatus { status, latency: took.as_secs_f64() * 1000.0 }
}
