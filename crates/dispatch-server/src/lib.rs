//! Wires the rooms together.
//!
//! * [`session::Session`] is a queue in front of one engineer: a source of images, one state folder.
//! * [`engine`] answers the boot server from the store: load, let `dispatch-core` decide, commit.
//! * [`reconcile`] holds the loops that compare what is with what should be: deadlines, the outbox, the log.
//! * [`storage`] keeps what is too large for the database: in a folder, or in a bucket of S3.
//! * [`service::Service`] is one for a lab or a team: groups, hosts and sources of a configuration, and an API.
//! * [`api`] is the service's HTTP API.
//! * [`view`], [`doing`], [`log`] and [`page`] are what people see.

pub mod addresses;
pub mod api;
pub mod check;
pub mod clock;
pub mod config;
pub mod doing;
pub mod engine;
pub mod fetch;
pub mod hub;
pub mod log;
pub mod page;
pub mod reconcile;
pub mod reports;
pub mod requests;
pub mod service;
pub mod session;
pub mod source;
pub mod state;
pub mod storage;
pub mod view;
