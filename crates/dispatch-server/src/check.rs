//! What a session would serve and what it would miss, without starting one.

use std::fmt::Write as _;
use std::sync::Arc;

use dispatch_core::asset::{Asset, Fate};
use dispatch_core::queue::Found;
use dispatch_core::text;

use crate::clock::Clock;
use crate::hub::{Hub, HubError};
use crate::log::harmless;
use crate::session::{Config, SourceConfig, remote_of};
use crate::source::remote::RemoteError;
use crate::source::{Directory, Scan, SourceError};
use crate::view::columns;

/// Why there would be no session.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The way to GitHub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The source, if it is fetched.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The source, if it is a directory.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Checked {
    /// What the source is called.
    pub title: String,
    /// What would be run, in the order of the queue.
    pub found: Vec<Found>,
    /// What would not, and why.
    pub left: Vec<(String, String)>,
    /// Where issues would be filed and as whom, or why they would not.
    pub filing: Option<String>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
    /// Why a session would not start.
    pub nothing: Option<RemoteError>,
}

/// Looks, and changes nothing.
pub async fn run(config: &Config, clock: Arc<dyn Clock>) -> Result<Checked, CheckError> {
    let mut checked = Checked { title: config.title(), ..Checked::default() };
    let needs_hub = matches!(config.source, SourceConfig::Remote(_)) || config.hub.target(None).is_some();
    let hub = if needs_hub {
        let connecting = Hub::connect(&config.hub, config.release(), config.offline, Arc::clone(&clock));
        let hub = connecting.await?;
        (checked.filing, checked.warnings) = (hub.filing.clone(), hub.warnings.clone());
        Some(hub)
    } else {
        None
    };
    match &config.source {
        SourceConfig::Directory(dir) => {
            let Scan { found, warnings, .. } = Directory::new(dir.clone(), config.filters.clone()).scan()?;
            checked.found = found;
            checked.warnings.extend(warnings);
        }
        SourceConfig::Remote(settings) => {
            let Some(hub) = &hub else { return Ok(checked) };
            let remote = remote_of(config, settings, hub);
            let looked = if config.offline {
                remote.remembered()?
            } else {
                let (looked, warnings) = remote.look_at_start(clock.now()).await?;
                checked.warnings.extend(warnings);
                looked
            };
            checked.nothing = remote.nothing(&looked);
            checked.found = looked.found;
            checked.left = looked.fates.into_iter().filter_map(left).collect();
            checked.warnings.extend(looked.warnings);
        }
    }
    // As the queue has it.
    checked.found.sort_by(|a, b| (a.terms.order, &a.name).cmp(&(b.terms.order, &b.name)));
    Ok(checked)
}

fn left((asset, fate): (Asset, Fate)) -> Option<(String, String)> {
    match fate {
        Fate::Taken(_) => None,
        Fate::Description => Some((asset.name, "describes workloads".to_owned())),
        Fate::Ignored(why) => Some((asset.name, why)),
    }
}

/// What was seen, for a terminal of `width` columns.
#[must_use]
pub fn told(checked: &Checked, width: usize) -> String {
    let mut text = format!("{}\n", harmless(&checked.title));
    if let Some(filing) = &checked.filing {
        let _ = writeln!(text, "{filing}");
    }
    if !checked.found.is_empty() {
        let rows: Vec<Vec<String>> = checked.found.iter().map(row).collect();
        let _ = write!(text, "\n{}", columns(&["taken", "type", "size", "digest", "terms"], &rows, width));
    }
    if !checked.left.is_empty() {
        let rows: Vec<Vec<String>> =
            checked.left.iter().map(|(name, why)| vec![harmless(name), harmless(why)]).collect();
        let _ = write!(text, "\n{}", columns(&["not taken", "why"], &rows, width));
    }
    for warning in &checked.warnings {
        let _ = writeln!(text, "\n⚠ {}", harmless(warning));
    }
    text.trim_end().to_owned() + "\n"
}

fn row(found: &Found) -> Vec<String> {
    let terms = &found.terms;
    let mut words: Vec<String> = Vec::new();
    words.extend(terms.description.as_ref().map(|description| harmless(description)));
    words.extend(terms.arch.map(|arch| arch.to_string()));
    words.extend(Some(terms.labels.join(", ")).filter(|labels| !labels.is_empty()));
    words.extend(
        terms.retries.map(|retries| format!("{} at most", text::count(u64::from(retries) + 1, "attempt"))),
    );
    words.extend((terms.reboots > 0).then(|| text::count(terms.reboots.into(), "reboot")));
    let digest =
        found.digest.map_or_else(|| "none".to_owned(), |digest| digest.hex().chars().take(12).collect());
    vec![harmless(&found.name), found.kind.to_string(), text::bytes(found.size), digest, words.join("; ")]
}
