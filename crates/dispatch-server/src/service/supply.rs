//! Follows one source of a service: what it offers is looked at again and again, and becomes workloads and jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch_core::group::Spread;
use dispatch_core::queue::{Found, Supply as Terms};
use dispatch_core::{Arch, Happening, Host, HostId, text};
use dispatch_store::{Focus, Scope, StoreError, StoredEvent};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};
use crate::source::remote::{Remote, RemoteError};
use crate::source::{Directory, SourceError};

/// How often a folder is looked at.
const FOLDER: Duration = Duration::from_secs(10);

/// How often it is tried again to look at what could not be looked at, if it is not looked at more often.
const AGAIN: Duration = Duration::from_mins(1);

/// How many events are read at once.
const EVENTS: u32 = 500;

/// What a source is looked at with.
pub(super) enum Place {
    /// A folder.
    Folder(Directory),
    /// What is fetched, and how often it is looked at.
    Remote(Box<Remote>, Option<Duration>),
}

/// See the module.
pub(super) struct Supply {
    engine: Engine,
    terms: Terms,
    place: Place,
    title: String,
    /// What it offers, as it was seen last.
    found: Option<Vec<Found>>,
    /// The trouble that was told last.
    told: Option<String>,
    /// What was said already of what it offers.
    warned: Vec<String>,
    /// A description was gone at the last look.
    has_missed: bool,
    /// The processors of the hosts whose images have been up.
    archs: BTreeMap<HostId, Arch>,
    /// The events up to here are known.
    seen: i64,
}

/// What came of a look.
enum Look {
    Found(Vec<Found>, Vec<String>),
    /// Not now; the time is when to ask again at the earliest, if that is known.
    Trouble(String, Option<Timestamp>),
}

impl Supply {
    pub(super) fn new(engine: Engine, terms: Terms, place: Place, title: String) -> Self {
        let seen = *engine.store.watch_events().borrow();
        let (told, warned, has_missed, archs) = Default::default();
        Self { engine, terms, place, title, found: None, told, warned, has_missed, archs, seen }
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        // At once.
        let mut next = Some(self.engine.clock.now());
        let mut is_behind = false;
        loop {
            // What happens while it looks is not marked as seen: it may be the host that it would make a job for.
            let clock = Arc::clone(&self.engine.clock);
            let time_comes = async {
                match next {
                    Some(next) => clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            let is_time = tokio::select! {
                () = stop.cancelled() => return,
                () = time_comes => true,
                _ = events.changed() => false,
            };
            if is_time {
                next = tokio::select! {
                    () = stop.cancelled() => return,
                    next = self.look(&mut is_behind) => next,
                };
            } else if self.concerns_hosts().await || is_behind {
                // Another host may be there that each workload is to run on.
                is_behind = self.sync().await.is_err();
                if is_behind {
                    let again = later(self.engine.clock.now(), AGAIN);
                    next = Some(next.map_or(again, |next| next.min(again)));
                }
            }
        }
    }

    /// Whether any of the latest events changes which hosts there are, or whether the group takes jobs.
    async fn concerns_hosts(&mut self) -> bool {
        let mut concerns = false;
        loop {
            let Ok(events) = self.engine.store.events_after(self.seen, EVENTS).await else { return concerns };
            let Some(last) = events.last() else { return concerns };
            self.seen = last.seq;
            // Else it is the same whoever is there; and it holds up all decisions to load all hosts.
            let spreads = self.terms.is_queued && self.terms.spread != Spread::Any;
            for stored in &events {
                concerns |= match stored.event.what {
                    Happening::HostSeen | Happening::HostAccepted | Happening::HostEdited => spreads,
                    Happening::Booting { .. } if spreads => self.is_of_another_arch(stored).await,
                    Happening::GroupOpen => stored.event.group.as_ref() == Some(&self.terms.group),
                    _ => false,
                };
            }
        }
    }

    /// Whether an image that is up has told of its host's processor what was not known.
    async fn is_of_another_arch(&mut self, stored: &StoredEvent) -> bool {
        let Some(id) = stored.event.host.as_ref().map(|host| host.id) else { return true };
        match self.engine.store.host(id).await {
            Ok(Some(Host { arch: Some(arch), .. })) => self.archs.insert(id, arch) != Some(arch),
            Ok(_) => false,
            Err(_) => true,
        }
    }

    /// Looks once. Returns when to look again.
    async fn look(&mut self, is_behind: &mut bool) -> Option<Timestamp> {
        let look = self.take_a_look().await;
        let now = self.engine.clock.now();
        let regular = match &self.place {
            Place::Folder(_) => Some(FOLDER),
            Place::Remote(_, every) => *every,
        };
        match look {
            Look::Found(found, warnings) => {
                if self.told.take().is_some() {
                    tracing::info!("{} can be read again", self.title);
                }
                for warning in warnings {
                    if !self.warned.contains(&warning) {
                        tracing::warn!("{}: {warning}", self.title);
                        self.warned.push(warning);
                    }
                }
                let is_first = self.found.is_none();
                let is_news = self.found.as_ref() != Some(&found);
                if is_first {
                    tracing::info!("{} offers {}", self.title, text::count(found.len() as u64, "workload"));
                }
                self.found = Some(found);
                if is_news || *is_behind {
                    *is_behind = self.sync().await.is_err();
                }
                let next = if *is_behind { Some(AGAIN.min(regular.unwrap_or(AGAIN))) } else { regular };
                next.map(|next| later(now, next))
            }
            Look::Trouble(why, not_before) => {
                if self.told.as_ref() != Some(&why) {
                    tracing::warn!("{} is taken as it was known before: {why}", self.title);
                    self.told = Some(why);
                }
                let again = later(now, regular.unwrap_or(AGAIN));
                Some(not_before.map_or(again, |at| at.max(again)))
            }
        }
    }

    async fn take_a_look(&mut self) -> Look {
        match &self.place {
            Place::Folder(directory) => {
                let directory = directory.clone();
                match tokio::task::spawn_blocking(move || directory.scan()).await {
                    Ok(Ok(scan)) => Look::Found(scan.found, scan.warnings),
                    // Nothing is there at the moment.
                    Ok(Err(error @ (SourceError::Empty(_) | SourceError::FilteredOut { .. }))) => {
                        Look::Found(Vec::new(), vec![error.to_string()])
                    }
                    Ok(Err(error)) => Look::Trouble(error.to_string(), None),
                    Err(error) => Look::Trouble(error.to_string(), None),
                }
            }
            Place::Remote(remote, _) => {
                let believes_gone = std::mem::take(&mut self.has_missed);
                match remote.look_again(self.engine.clock.now(), believes_gone).await {
                    Ok(looked) => Look::Found(looked.found, looked.warnings),
                    Err(error) => {
                        self.has_missed = matches!(error, RemoteError::Gone { .. });
                        Look::Trouble(error.to_string(), error.retry_at())
                    }
                }
            }
        }
    }

    /// Has the queue follow what the source offers.
    async fn sync(&mut self) -> Result<(), StoreError> {
        let Some(found) = &self.found else { return Ok(()) };
        let focus = Focus { group: Some(self.terms.group.clone()), all_hosts: true, ..Focus::default() };
        let focus = focus.within(Scope::Source(self.terms.source.clone()));
        let terms = &self.terms;
        let synced =
            self.engine.decide(focus, |snapshot, context| snapshot.sync_source(terms, found, context)).await;
        synced.map(drop).inspect_err(|error| {
            tracing::error!("what {} offers cannot be noted: {error}", self.title);
        })
    }
}
