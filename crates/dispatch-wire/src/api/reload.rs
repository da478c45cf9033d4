//! The configuration, read again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What reading the configuration again came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What is different from before; nothing where the file says the same.
    pub changes: Vec<ConfigurationChange>,
    /// What a person should know, a sentence each.
    pub notices: Vec<String>,
}

/// One thing that is different in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigurationChange {
    /// Which key.
    #[schema(example = "groups.metal.epyc")]
    pub key: String,
    /// It takes effect when dispatch is restarted; until then what was stays.
    pub needs_restart: bool,
    /// One sentence. It has no values in it.
    pub what: String,
}
