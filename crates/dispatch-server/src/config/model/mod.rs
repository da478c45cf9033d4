//! What a configuration says, once it was read and found free of mistakes: defaults are filled in, paths are absolute
//! or relative to the working directory, variables and secret files are read.

mod access;
mod groups;

use std::path::PathBuf;
use std::time::Duration;

use dispatch_boot::Bind;
use dispatch_boot::route::BootPath;
use dispatch_core::UnknownHosts;
use dispatch_core::queue::WhenIdle;
use ipnet::IpNet;
use url::Url;

pub use access::{
    App, Auth, BasicUser, Connection, Database, GitHub, GitHubOauth, Parts, Postgres, Role, SslMode,
};
pub use groups::{
    GitHubGroup, HostEntry, JudgeRule, MetalGroup, MetalTemplate, Queueing, Reporting, Source, SourceId,
    SourceKind, TemplateOrigin, WorkflowTemplate,
};

/// A whole service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The folder of the file, to which relative paths in it belong.
    pub folder: PathBuf,
    /// `server`: the listener of the API.
    pub server: Server,
    /// `dispatcher`: how groups of runners are served.
    pub dispatcher: Dispatcher,
    /// `database`: where the state is kept.
    pub database: Database,
    /// `auth`: who may sign in.
    pub auth: Auth,
    /// `history`: how long finished jobs are kept.
    pub history: History,
    /// `github`: the way to GitHub.
    pub github: GitHub,
    /// `boot`: the listener that firmware asks.
    pub boot: Boot,
    /// `storage`: where large things are kept.
    pub storage: Storage,
    /// `reports`: the folder that reports are written to.
    pub reports: Option<PathBuf>,
    /// `cache`: where fetched images are kept.
    pub cache: Cache,
    /// `grace`: from the last report of a run to its end. Groups have it in their deadlines already.
    pub grace: Duration,
    /// `mdns`: the boot listener is announced.
    pub mdns: bool,
    /// `ca_cert`: authorities to trust beside the system's (PEM files).
    pub ca_certs: Vec<PathBuf>,
    /// `groups.github`, in the order of the file.
    pub github_groups: Vec<GitHubGroup>,
    /// `groups.metal`, in the order of the file.
    pub metal_groups: Vec<MetalGroup>,
    /// `hosts`, in the order of the file.
    pub hosts: Vec<HostEntry>,
}

/// The listener of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens; the default is port 9090 of every address.
    pub listen: Bind,
    /// The origin that people see, without a slash at its end, where it is known.
    pub public_url: Option<Url>,
    /// Other origins that may call the API from a browser. `*` is never among them.
    pub cors_origins: Vec<String>,
    /// TLS, if the listener speaks it by itself.
    pub tls: Option<Tls>,
    /// Proxies whose word on a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How much one client may ask.
    pub rate_limit: RateLimit,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate and those between it and the authority (PEM).
    pub cert_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
}

/// How much one client may ask, in requests a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Whether there is a limit at all.
    pub enabled: bool,
    /// For signing in.
    pub auth: u32,
    /// For what needs no sign-in.
    pub public: u32,
    /// For everything else.
    pub authenticated: u32,
}

/// How groups of runners are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dispatcher {
    /// Whether anything is dispatched; jobs of every kind of group wait while it is not.
    pub enabled: bool,
    /// How often the queue is looked at without an event.
    pub interval: Duration,
    /// How often jobs that run elsewhere are looked at without an event.
    pub tracking_interval: Duration,
}

/// How long finished jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// How long; none is for ever.
    pub retention: Option<Duration>,
    /// How often what is older goes.
    pub cleanup_interval: Duration,
}

/// The listener that firmware asks. There is one only if there is a metal group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Where it listens.
    pub listen: Bind,
    /// The path of the boot URL.
    pub path: BootPath,
    /// What becomes of hosts that are not listed.
    pub unknown_hosts: UnknownHosts,
    /// What a host without work is told, where its group says nothing else.
    pub when_idle: WhenIdle,
    /// A folder of signed programs for hosts without work.
    pub stubs: Option<PathBuf>,
}

/// Where large things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a folder.
    Folder(PathBuf),
    /// In an S3-compatible store.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all names in it begin with; without a slash at either end, and empty for none.
        prefix: String,
    },
}

/// Where fetched images are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// In which folder.
    pub path: PathBuf,
    /// How much, in bytes.
    pub size: u64,
    /// Images are fetched before a host asks for them.
    pub prefetch: bool,
}
