//! `/api/v1/config/reload`: the configuration is read again.

use axum::Json;
use axum::extract::State;
use dispatch_store::StoreError;
use dispatch_wire::api::{ConfigurationChange, Reloaded};
use utoipa_axum::routes;

use super::Api;
use super::identity::Identity;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use crate::service::{ReloadError, StartError};

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
    let reloaded = reader.reload().await.map_err(|error| match error {
        ReloadError::Mistakes(mistakes) => {
            Problem::new(Kind::InvalidConfiguration, format!("nothing has changed:\n{mistakes}"))
        }
        // The database may have the new groups, or not: only reading the file again makes sure.
        ReloadError::Start(StartError::Store(error @ StoreError::Unknown(_))) => {
            Problem::new(Kind::Conflict, format!("it is not known what has changed, try again: {error}"))
        }
        ReloadError::Start(error) => Problem::new(Kind::Conflict, format!("nothing has changed: {error}")),
        error @ ReloadError::Unfinished => Problem::internal(error),
    })?;
    let changes = reloaded.differences.into_iter().map(|difference| ConfigurationChange {
        key: difference.key,
        needs_restart: difference.needs_restart,
        what: difference.what,
    });
    Ok(Json(Reloaded { changes: changes.collect(), notices: reloaded.notices }))
}
