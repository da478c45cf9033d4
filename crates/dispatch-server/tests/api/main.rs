//! The API over the wire: a server on loopback with a real store, and a client that holds every answer against the
//! OpenAPI document.
#![expect(clippy::expect_used, clippy::panic, reason = "a test may panic, also in its helpers")]

mod access;
mod contract;
mod document;
mod full;
mod groups;
mod history;
mod hosts;
mod jobs;
mod jobs_verbs;
mod lab;
mod live;
mod matrix;
mod past;
mod problems;
mod races;
mod races_service;
mod runs;
mod schemathesis;
mod serving;
mod status;
mod walk;
mod world;
