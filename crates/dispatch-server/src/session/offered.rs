//! What a session's source offers at its start.

use dispatch_boot::cache::Cache;
use dispatch_core::Arch;
use dispatch_core::queue::Found;

use std::sync::Arc;

use super::StartError;
use super::config::{Config, SourceConfig, remote_of};
use crate::clock::Clock;
use crate::fetch::Images;
use crate::hub::Hub;
use crate::source::remote::{self, Remote};
use crate::source::upstream::Network;
use crate::source::{Directory, Scan, Source, all_alike};

/// What goes on in a session whose images are fetched.
pub(super) struct Fetched {
    pub(super) remote: Remote,
    pub(super) found: Vec<Found>,
    pub(super) images: Images,
    pub(super) network: Network,
}

/// What a source offers at the start.
pub(super) struct Offered {
    pub(super) found: Vec<Found>,
    /// What all images are made for, as far as is known.
    pub(super) arch: Option<Arch>,
    pub(super) warnings: Vec<String>,
    pub(super) source: Source,
    pub(super) fetched: Option<Fetched>,
    pub(super) hub: Option<Hub>,
}

/// Looks at the source, and connects to GitHub where that is needed.
pub(super) async fn offered(config: &Config, clock: Arc<dyn Clock>) -> Result<Offered, StartError> {
    let now = clock.now();
    let connect = || Hub::connect(&config.hub, config.release(), config.offline, Arc::clone(&clock));
    let remote_config = match &config.source {
        SourceConfig::Directory(dir) => {
            let directory = Directory::new(dir.clone(), config.filters.clone());
            let scan = directory.scan()?;
            let arch = scan.arch();
            let Scan { found, warnings, .. } = scan;
            // Not for nothing: reading the system's authorities takes a while.
            let hub = if config.hub.target(None).is_some() { Some(connect().await?) } else { None };
            return Ok(Offered {
                found,
                arch,
                warnings,
                source: Source::Directory(directory),
                fetched: None,
                hub,
            });
        }
        SourceConfig::Remote(remote) => remote,
    };
    let hub = connect().await?;
    let remote = remote_of(config, remote_config, &hub);
    let (looked, mut warnings) = if config.offline {
        let looked = remote.remembered()?;
        let age = remote::age(looked.at, now);
        let notice = format!("offline: {} is taken as it was {age} ago", remote.title());
        (looked, vec![notice])
    } else {
        remote.look_at_start(now).await?
    };
    if let Some(nothing) = remote.nothing(&looked) {
        return Err(nothing.into());
    }
    warnings.extend(looked.warnings);
    let network = Network::new(hub.web.clone(), hub.github.clone(), config.offline);
    let cache = Cache::open(&remote_config.cache)?;
    if config.offline {
        warnings.extend(not_cached(&looked.found, &cache));
    }
    let images = Images::new(cache, clock);
    let source = Source::Fetched(images.clone());
    let arch = all_alike(&looked.found);
    let fetched = Some(Fetched { remote, found: looked.found.clone(), images, network });
    Ok(Offered { found: looked.found, arch, warnings, source, fetched, hub: Some(hub) })
}

/// Which images there can be no run of without network.
fn not_cached(found: &[Found], cache: &Cache) -> Option<String> {
    // One without a digest at its source may be known from before.
    let is_missing = |file: &&Found| file.digest.is_some_and(|digest| !cache.has(&digest));
    let names: Vec<&str> = found.iter().filter(is_missing).map(|file| file.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("offline: not in the cache, so not to be had: {}", names.join(", ")))
}
