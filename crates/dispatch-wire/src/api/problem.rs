//! What is answered where something is wrong (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What is wrong, and what to do about it (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem: a reference to its description, the same for all problems of that kind and in all
    /// versions.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/not-found")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong here, and what to do about it.
    pub detail: String,
    /// What it is about: a JSON pointer into the request's body (`/inputs/kernel`), or the name of a parameter or
    /// header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub field: Option<String>,
    /// By which the service's log knows this request.
    pub request_id: String,
}

/// A kind of problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemKind {
    /// As in the member `type` of a problem.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/not-found")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answers that have it.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// When it is answered, and what to do then.
    pub meaning: String,
}
