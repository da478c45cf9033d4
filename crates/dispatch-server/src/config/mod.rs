//! The configuration of the service: one YAML file, and the template files that it names.

mod mistake;
mod model;

pub use mistake::{Mistake, Mistakes, Note, Place, Warning};
pub use model::{
    App, Auth, BasicUser, Boot, Cache, Configuration, Connection, Database, Dispatcher, GitHub, GitHubGroup,
    GitHubOauth, History, HostEntry, JudgeRule, MetalGroup, MetalTemplate, Parts, Postgres, Queueing,
    RateLimit, Reporting, Role, Server, Source, SourceId, SourceKind, SslMode, Storage, TemplateOrigin, Tls,
    WorkflowTemplate,
};

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub configuration: Configuration,
    /// What a person should know of it.
    pub warnings: Vec<Warning>,
}
