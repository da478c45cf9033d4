//! What happens, as it happens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A fact of the log: the data of a server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// Its place in the one order of all events.
    pub seq: i64,
    /// What happened, in one word.
    pub event: String,
    /// When it happened.
    #[schema(format = DateTime)]
    pub at: String,
    /// What the kind of event adds.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}
