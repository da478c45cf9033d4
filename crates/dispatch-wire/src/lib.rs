//! The types of every protocol that dispatch speaks, shared by both of its ends.
//!
//! `beacon` and the boot server use this crate, so it stays small: no async runtime, no HTTP client.

#[cfg(feature = "api")]
pub mod api;
pub mod boot;
