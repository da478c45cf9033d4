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

/// A message of the WebSocket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Envelope {
    /// What it is: `subscribed`, `pong`, `error`, `dispatch`, `queue_update`, `job_state`, `runner_status` or
    /// `system_status`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which group it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FromClient {
    /// What it asks for: `subscribe`, `unsubscribe` or `ping`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For which group; for all of them if none is given.
    #[serde(default)]
    pub group_id: Option<String>,
    /// What a `pong` repeats.
    #[serde(default)]
    pub payload: Option<serde_json::Value>,
}
