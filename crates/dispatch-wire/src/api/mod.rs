//! What the service's HTTP API takes and gives, under `/api/v1`.
//!
//! The OpenAPI document is made of these types: their comments are its descriptions. Requests refuse members that they
//! do not know; times are RFC 3339 in UTC; what is absent is left out, never `null`.

pub mod auth;
pub mod boot;
pub mod event;
pub mod group;
pub mod history;
pub mod host;
pub mod job;
pub mod matrix;
pub mod page;
pub mod problem;
pub mod reload;
pub mod report;
pub mod run;
pub mod system;
pub mod template;
pub mod workload;

pub use auth::{Credentials, Me, Role, SignedIn};
pub use event::EventData;
pub use group::Group;
pub use job::Job;
pub use page::Page;
pub use problem::{Problem, ProblemKind};
pub use reload::{ConfigurationChange, Reloaded};
pub use system::{DatabaseStatus, Health, Ready, Standing, Status, Version};
pub use template::Template;
