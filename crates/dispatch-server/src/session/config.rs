//! What a session is made of.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_boot::Bind;
use dispatch_boot::route::BootPath;
use dispatch_core::queue::Again;
use dispatch_core::run::Policy;
use dispatch_github::Slug;
use url::Url;

use crate::hub::{Hub, HubConfig};
use crate::source::memory::Memory;
use crate::source::remote::{self, ReleaseName, Remote};
use crate::source::urls::FileUrl;

/// Where a session's images come from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// From a directory.
    Directory(PathBuf),
    /// From a release, from URLs, or both.
    Remote(RemoteConfig),
}

/// What is fetched, and how.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// A release on GitHub.
    pub release: Option<ReleaseName>,
    /// Images that are named by URL.
    pub urls: Vec<FileUrl>,
    /// How often the source is looked at again.
    pub watch: Option<Duration>,
    /// Where fetched images are kept.
    pub cache: PathBuf,
    /// How much of them, in bytes.
    pub cache_size: u64,
    /// Images are fetched before a host asks for them.
    pub prefetch: bool,
}

/// What a session is made of.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Config {
    /// Where images come from.
    pub source: SourceConfig,
    /// The way to GitHub.
    pub hub: HubConfig,
    /// Nobody is asked at the start, and nothing is fetched: what is known and cached must do.
    pub offline: bool,
    /// Parts of names; any match keeps an image.
    pub filters: Vec<String>,
    /// Where to listen.
    pub bind: Bind,
    /// The boot path.
    pub path: BootPath,
    /// Announce the server by mDNS, unless it listens on loopback.
    pub mdns: bool,
    /// The state folder.
    pub state: PathBuf,
    /// Forget what the state folder holds.
    pub fresh: bool,
    /// Where the reports go.
    pub reports: PathBuf,
    /// The settings of the queue.
    pub policy: Policy,
    /// What came out so is run again.
    pub again: Vec<Again>,
    /// A directory of signed programs for hosts without work.
    pub stubs: Option<PathBuf>,
    /// End when all jobs are over.
    pub exit_when_done: bool,
    /// A shell command to be run with each event.
    pub on_event: Option<String>,
}

impl Config {
    /// The repository whose release is served.
    pub(crate) fn release(&self) -> Option<&Slug> {
        match &self.source {
            SourceConfig::Remote(RemoteConfig { release: Some(release), .. }) => Some(&release.repository),
            SourceConfig::Remote(_) | SourceConfig::Directory(_) => None,
        }
    }

    /// What the source is called.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.source {
            SourceConfig::Directory(dir) => dir.display().to_string(),
            SourceConfig::Remote(remote) => remote::title(remote.release.as_ref(), &remote.urls),
        }
    }
}

impl RemoteConfig {
    /// What tells this source from others.
    #[must_use]
    pub fn key(&self, api: &Url) -> String {
        source_key(self.release.as_ref(), &self.urls, api)
    }
}

/// The source that is fetched.
#[must_use]
pub fn remote_of(config: &Config, remote: &RemoteConfig, hub: &Hub) -> Remote {
    let memory = Memory::new(&remote.cache, &remote.key(&config.hub.api));
    let (release, urls) = (remote.release.clone(), remote.urls.clone());
    Remote::new(hub.web.clone(), hub.github.clone(), release, urls, config.filters.clone(), memory)
}

/// What tells a source that is fetched from others.
#[must_use]
pub fn source_key(release: Option<&ReleaseName>, urls: &[FileUrl], api: &Url) -> String {
    // GitHub does not tell the case of names apart, but that of tags.
    let release = release
        .map(|release| format!("{api} {} {}", release.repository.to_string().to_lowercase(), release.tag));
    let mut urls: Vec<&str> = urls.iter().map(|file| file.url.as_str()).collect();
    urls.sort_unstable();
    release.iter().map(String::as_str).chain(urls).collect::<Vec<_>>().join("\n")
}
