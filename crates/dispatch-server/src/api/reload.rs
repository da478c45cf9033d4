//! `/api/v1/config/reload`: the configuration is read again.

use axum::Json;
use axum::extract::State;
use dispatch_wire::api::{ConfigurationChange, Reloaded};
use tokio_util::task::TaskTracker;
use utoipa_axum::routes;

use super::Api;
use super::identity::Identity;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use crate::service::ReloadError;

pub(crate) fn routes() -> Routes {
    Routes::new().admin(routes!(reload))
}

/// Read the configuration again
///
/// What is different applies from then on; what needs a restart is said. A file with a mistake changes nothing, and the
/// problem says where each mistake is. `SIGHUP` does the same.
#[utoipa::path(
    post, path = "/api/v1/config/reload", tag = "system",
    responses(
        (status = 200, description = "It is in force", body = Reloaded),
        (status = 409, description = "It cannot be put in force", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It has mistakes", body = dispatch_wire::api::Problem,
            content_type = "application/problem+json"),
    )
)]
async fn reload(State(api): State<Api>, who: Identity) -> Answer<Json<Reloaded>> {
    let Some(reader) = api.reloader() else {
        let detail = "this program was started without a configuration file: restart it with another one";
        return Err(Problem::new(Kind::Conflict, detail));
    };
    tracing::info!("{} has the configuration read again", who.name);
    // In a task of its own: a client that hangs up must not leave half of it done.
    let reader = reader.clone();
    let reading = TaskTracker::new().spawn(async move { reader.reload().await });
    let reloaded = reading.await.map_err(Problem::internal)?.map_err(|error| match error {
        ReloadError::Mistakes(mistakes) => {
            Problem::new(Kind::InvalidConfiguration, format!("nothing has changed:\n{mistakes}"))
        }
        ReloadError::Start(error) => Problem::new(Kind::Conflict, format!("nothing has changed: {error}")),
    })?;
    let changes = reloaded.differences.into_iter().map(|difference| ConfigurationChange {
        key: difference.key,
        needs_restart: difference.needs_restart,
        what: difference.what,
    });
    Ok(Json(Reloaded { changes: changes.collect(), notices: reloaded.notices }))
}
