//! Who asks.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use dispatch_wire::api::Role;
use jiff::Timestamp;

use super::problem::{Kind, Problem};

/// Who asks. The guard finds it out; whatever else may prove it one day produces one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// How they have shown that.
    pub how: How,
}

/// How somebody has shown who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By the cookie of a session.
    Session {
        /// The digest of its token.
        token: String,
        /// When it ends.
        expires: Timestamp,
    },
}

impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = parts.extensions.get::<Self>().cloned();
        // The guard lets nobody through who is not signed in, unless the endpoint is public.
        found.ok_or_else(|| Problem::new(Kind::NotSignedIn, "sign in first: POST /api/v1/auth/login"))
    }
}
