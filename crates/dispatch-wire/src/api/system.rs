//! How the service itself is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// All is well.
    Healthy,
    /// It works, and something is wrong.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// The process is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `healthy`: whoever cannot say that does not answer.
    pub status: Standing,
    /// The program's version.
    pub version: String,
}

/// The service can work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Always `healthy`: otherwise the answer is a problem.
    pub status: Standing,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The worst of its parts.
    pub status: Standing,
    /// The database.
    pub database: DatabaseStatus,
    /// The program.
    pub version: Version,
}

/// How the database is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DatabaseStatus {
    /// `unhealthy` where it does not answer, `degraded` where it is slow.
    pub status: Standing,
    /// How long it took to answer, in milliseconds.
    #[schema(minimum = 0)]
    pub latency: f64,
}

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The program's version.
    pub version: String,
    /// The version of the API.
    pub api: String,
}
