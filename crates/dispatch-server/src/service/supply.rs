//! Follows one source of a service: what it offers is looked at again and again, and becomes workloads and jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch_core::group::Spread;
use dispatch_core::queue::{Context, Found, Looks, Supply as Terms, Synced};
use dispatch_core::{Arch, Happening, Host, HostId, Snapshot, WorkloadId, text};
use dispatch_store::{Focus, Scope, StoreError, StoredEvent};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::folder::{ANSWER, Folder};
use crate::clock::Clock;
use crate::engine::{Engine, later};
use crate::source::remote::{Remote, RemoteError};
use crate::source::{Scan, SourceError};

/// How often a folder is looked at.
const FOLDER: Duration = Duration::from_secs(10);

/// How often it is tried again to look at what could not be looked at, if it is not looked at more often.
const AGAIN: Duration = Duration::from_mins(1);

/// How many events are read at once.
const EVENTS: u32 = 500;

/// What a source is looked at with.
pub(super) enum Place {
    /// A folder.
    Folder(Folder),
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
    /// What the latest looks agree on.
    looks: Looks,
    /// What came of noting what it offers.
    synced: Synced,
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
    /// It offers these; there is something that a person should know; and perhaps there is more, which could not be
    /// looked at.
    Found(Vec<Found>, Vec<String>, Option<String>),
    /// Not now; the time is when to ask again at the earliest, if that is known.
    Trouble(String, Option<Timestamp>),
}

impl Supply {
    pub(super) fn new(engine: Engine, terms: Terms, place: Place, title: String) -> Self {
        let seen = *engine.store.watch_events().borrow();
        let (told, warned, has_missed, archs) = Default::default();
        let (found, looks, synced) = Default::default();
        Self { engine, terms, place, title, found, looks, synced, told, warned, has_missed, archs, seen }
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
            } else if self.concerns().await || is_behind {
                // Another host may be there that each workload is to run on; or what is no longer offered is back in the
                // queue.
                is_behind = self.sync().await.is_err();
                if is_behind {
                    let again = later(self.engine.clock.now(), AGAIN);
                    next = Some(next.map_or(again, |next| next.min(again)));
                }
            }
        }
    }

    /// Whether any of the latest events changes which hosts there are, whether the group takes jobs, or what waits of
    /// what is no longer offered.
    async fn concerns(&mut self) -> bool {
        let mut concerns = false;
        loop {
            let Ok(events) = self.engine.store.events_after(self.seen, EVENTS).await else { return concerns };
            let Some(last) = events.last() else { return concerns };
            self.seen = last.seq;
            // Else it is the same whoever is there; and it holds up all decisions to load all hosts.
            let spreads = self.terms.is_queued && self.terms.spread != Spread::Any;
            let is_left = self.synced.is_left;
            for stored in &events {
                let is_of_group = stored.event.group.as_ref() == Some(&self.terms.group);
                concerns |= match stored.event.what {
                    Happening::HostSeen | Happening::HostAccepted | Happening::HostEdited => spreads,
                    Happening::Booting { .. } if spreads => self.is_of_another_arch(stored).await,
                    Happening::GroupOpen => is_of_group,
                    Happening::Queued { .. }
                    | Happening::Retry { .. }
                    | Happening::Returned { .. }
                    | Happening::Cancelled { .. }
                    | Happening::Done { .. } => is_left && is_of_group,
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
            Look::Found(found, warnings, unread) => {
                for warning in warnings {
                    if !self.warned.contains(&warning) {
                        tracing::warn!("{}: {warning}", self.title);
                        self.warned.push(warning);
                    }
                }
                if unread.is_some() {
                    self.looks.incomplete();
                } else {
                    self.looks.complete(&found);
                }
                self.note_trouble(unread, now);
                if self.found.is_none() {
                    tracing::info!("{} offers {}", self.title, text::count(found.len() as u64, "workload"));
                }
                let is_news = self.found.as_ref() != Some(&found);
                self.found = Some(found);
                if is_news || *is_behind || self.synced.is_missing {
                    *is_behind = self.sync().await.is_err();
                }
                let is_soon = *is_behind || self.synced.is_missing;
                let next = if is_soon { Some(AGAIN.min(regular.unwrap_or(AGAIN))) } else { regular };
                next.map(|next| later(now, next))
            }
            Look::Trouble(why, not_before) => {
                self.looks.incomplete();
                self.note_trouble(Some(why), now);
                let again = later(now, regular.unwrap_or(AGAIN));
                Some(not_before.map_or(again, |at| at.max(again)))
            }
        }
    }

    /// Says once that the source cannot be looked at, or not at all of it, and once that it can be again.
    fn note_trouble(&mut self, trouble: Option<String>, now: Timestamp) {
        match &trouble {
            Some(why) if self.told.as_ref() != Some(why) => {
                tracing::warn!("{} is taken as it was known before: {why}", self.title);
            }
            None if self.told.is_some() => tracing::info!("{} can be read again", self.title),
            _ => {}
        }
        self.told.clone_from(&trouble);
        self.engine.standings().looked(&self.terms.source, trouble, now);
    }

    /// Looks through a folder.
    async fn scan(folder: &Folder, clock: &dyn Clock) -> Look {
        match folder.scan(clock).await {
            None => {
                let seconds = ANSWER.as_secs();
                let why = format!("its file system has not answered for {seconds} s; look at its mount");
                Look::Trouble(why, None)
            }
            Some(Ok(Ok(scan))) => looked(scan),
            // Nothing is there at the moment.
            Some(Ok(Err(error @ (SourceError::Empty(_) | SourceError::FilteredOut { .. })))) => {
                Look::Found(Vec::new(), vec![error.to_string()], None)
            }
            Some(Ok(Err(error))) => Look::Trouble(error.to_string(), None),
            Some(Err(error)) => Look::Trouble(error.to_string(), None),
        }
    }

    async fn take_a_look(&mut self) -> Look {
        match &self.place {
            Place::Folder(folder) => Self::scan(folder, &*self.engine.clock).await,
            Place::Remote(remote, _) => {
                let believes_gone = std::mem::take(&mut self.has_missed);
                match remote.look_again(self.engine.clock.now(), believes_gone).await {
                    Ok(looked) => Look::Found(looked.found, looked.warnings, None),
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
        let (terms, looks) = (&self.terms, &self.looks);
        let mut decision = |snapshot: Snapshot, context: &mut Context<'_>| {
            snapshot.sync_source(terms, found, looks, context)
        };
        let mut synced = self.engine.decide(self.focus(found, Vec::new()), &mut decision).await;
        if let Ok(Synced { wants_past, .. }) = &synced
            && !wants_past.is_empty()
        {
            // It is spread otherwise than before, which is seldom: else nobody needs to know what came out where.
            synced = self.engine.decide(self.focus(found, wants_past.clone()), &mut decision).await;
        }
        match synced {
            Ok(synced) => {
                self.synced = synced;
                Ok(())
            }
            Err(error) => {
                tracing::error!("what {} offers cannot be noted: {error}", self.title);
                Err(error)
            }
        }
    }

    /// What has to be known to follow what was found.
    fn focus(&self, found: &[Found], past_of: Vec<WorkloadId>) -> Focus {
        let (group, found) = (Some(self.terms.group.clone()), found.to_vec());
        let focus = Focus { group, found, past_of, all_hosts: true, ..Focus::default() };
        focus.within(Scope::Source(self.terms.source.clone()))
    }
}

/// What a scan has shown: what could not be looked at is left as it was known.
fn looked(scan: Scan) -> Look {
    let Scan { mut found, warnings, unread } = scan;
    found.retain(|file| !unread.iter().any(|(name, _)| *name == file.name));
    let unread = unread.first().map(|(name, why)| {
        let more = match unread.len() - 1 {
            0 => String::new(),
            more => format!(" (nor can {})", text::count(more as u64, "other image")),
        };
        format!(
            "{name} cannot be looked at: {why}{more}; nothing of this source is taken to be gone until then"
        )
    });
    Look::Found(found, warnings, unread)
}

#[cfg(test)]
pub(super) mod tests;
