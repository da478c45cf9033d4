//! Finds work for a host that asks. Files are opened between decisions, never inside one: a file system that hangs must not
//! hold up the queue. What cannot be opened is left out, and looked past: it keeps nothing else from its host.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dispatch_boot::{Image, Work};
use dispatch_core::queue::{Absent, Ask, Context, Found, Offer, Outlook, Unreadable};
use dispatch_core::{RunId, Sighting, Snapshot, Workload};
use dispatch_store::{Focus, StoreError};

use super::{Engine, MOST_SEVERAL};
use crate::source::{NotOpened, Opened, Source};

/// How often work is looked for before the request is given up: each round but the last has found an image that
/// cannot be read, or has lost a job to another host.
const MOST_ROUNDS: usize = 10_000;

/// How long a request for work may take: firmware gives up after four to five seconds.
const FIND: Duration = Duration::from_secs(3);

/// How long it may take to note why jobs wait, where nothing came of a request.
const NOTES: Duration = Duration::from_millis(500);

/// What a host would be given, before anything is committed.
enum Preview {
    Idle,
    Image { workload: Box<Workload>, is_untouched: bool },
}

enum OpenError {
    Unreadable(NotOpened),
    Replaced(Box<Found>),
}

#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the queue changes faster than it can be read; ask again")]
    Unsettled,
}

impl Engine {
    /// What there is for a host, in time for its firmware. Why nothing could be found in time is one sentence.
    pub(super) async fn work_for(&self, who: &Sighting, how: Ask) -> Result<Work, String> {
        let mut absent = Absent::default();
        if self.policy().is_service() {
            absent.sources = self.away.sources(self.clock.now());
        }
        let found = tokio::time::timeout(FIND, self.find_work(who, how, &mut absent)).await;
        let why = match found {
            Ok(Ok(work)) => return Ok(work),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the state does not answer in time; ask again".to_owned(),
        };
        if !absent.is_empty() {
            // Else nobody would read why its jobs wait: what was found out is with no decision.
            let note = self.decide(self.about_asking(who, &absent), |snapshot, context| {
                snapshot.note_absent(who, &absent, context.now)
            });
            if !matches!(tokio::time::timeout(NOTES, note).await, Ok(Ok(()))) {
                tracing::warn!("it cannot be noted which images could not be read");
            }
        }
        Err(why)
    }

    async fn preview(&self, who: &Sighting, how: Ask, absent: &Absent) -> Result<Preview, StoreError> {
        let now = self.clock.now();
        let mut random = || (self.random)();
        let look = |snapshot: Snapshot| {
            let (workloads, runs) = (snapshot.workloads.clone(), snapshot.runs.clone());
            let unreadable = snapshot.unreadable(who, absent);
            let mut context = Context { now, random: &mut random };
            let outcome = snapshot.ask(who, how, &unreadable, &mut context);
            let (run, workload) = match outcome.answer {
                Offer::Image { run, workload } => (Some(run), workload),
                // Not for an image that it would have to wait for.
                Offer::Reset { workload, .. } => (None, workload),
                Offer::Idle(_) | Offer::Several(_) | Offer::NotNow(_) => return Preview::Idle,
            };
            let is_untouched =
                runs.iter().find(|known| Some(known.id) == run).is_none_or(|run| run.transfers == 0);
            match workloads.into_iter().find(|known| known.id == workload) {
                Some(workload) => Preview::Image { workload: Box::new(workload), is_untouched },
                None => Preview::Idle,
            }
        };
        self.store.look(self.about_asking(who, absent), &self.policy(), look).await
    }

    async fn find_work(&self, who: &Sighting, how: Ask, absent: &mut Absent) -> Result<Work, FindError> {
        for _ in 0..MOST_ROUNDS {
            self.cycles.fetch_add(1, Ordering::Relaxed);
            let opened = match self.preview(who, how, absent).await? {
                Preview::Idle => None,
                Preview::Image { workload, is_untouched } => {
                    let id = workload.id;
                    match self.open(&workload, is_untouched).await {
                        Ok(opened) => Some((workload, opened)),
                        Err(OpenError::Unreadable(not_opened)) => {
                            self.leave_out(who, &workload, not_opened, absent).await?;
                            continue;
                        }
                        Err(OpenError::Replaced(found)) => {
                            let focus = Focus { found: vec![(*found).clone()], ..Focus::host(who) }
                                .within(self.of_source(&workload));
                            self.decide(focus, |snapshot, context| snapshot.replace(id, &found, context))
                                .await?;
                            continue;
                        }
                    }
                }
            };
            let decision = |snapshot: Snapshot, context: &mut Context<'_>| {
                let unreadable = snapshot.unreadable(who, absent);
                snapshot.ask(who, how, &unreadable, context)
            };
            let offer = self.decide(self.about_asking(who, absent), decision).await?;
            match (offer, opened) {
                (Offer::Idle(idle), _) => return Ok(Work::Idle(idle)),
                (Offer::Several(idle), _) => {
                    self.warn_of_several(who, &idle.reason);
                    return Ok(Work::Idle(idle));
                }
                (Offer::NotNow(why), _) => return Ok(Work::NotNow(why)),
                (Offer::Image { run, workload }, Some((known, opened))) if workload == known.id => {
                    return Ok(Work::Image(image(run, &known, opened)));
                }
                (Offer::Reset { idle, workload }, Some((known, _))) if workload == known.id => {
                    return Ok(Work::Idle(idle));
                }
                // Somebody was faster; this host has been given something else by now.
                (Offer::Image { .. } | Offer::Reset { .. }, _) => {}
            }
        }
        Err(FindError::Unsettled)
    }

    /// Leaves out an image that cannot be opened, and with it at once what else is known not to be there: one after the
    /// other, those of a long queue would take longer than a host waits.
    async fn leave_out(
        &self,
        who: &Sighting,
        workload: &Workload,
        not_opened: NotOpened,
        absent: &mut Absent,
    ) -> Result<(), StoreError> {
        let NotOpened { why, is_whole } = not_opened;
        let outlook = why.outlook;
        absent.workloads.insert(workload.id, why.clone());
        if is_whole {
            if self.policy().is_service() {
                self.away.note(&workload.source, &why, self.clock.now());
            }
            absent.sources.insert(workload.source.clone(), why);
            return Ok(());
        }
        let Some(source) = self.source(&workload.source) else { return Ok(()) };
        if matches!(*source, Source::Fetched(_)) && outlook != Outlook::Coming {
            return Ok(());
        }
        let focus = self.about_asking(who, absent);
        let mut others = self.store.look(focus, &self.policy(), |snapshot| snapshot.workloads).await?;
        others.retain(|known| !absent.workloads.contains_key(&known.id));
        let more = match &*source {
            // It has been asked for; the others that are not here need not be.
            Source::Fetched(images) => {
                let is_fetched = |known: &Workload| {
                    matches!(self.source(&known.source).as_deref(), Some(Source::Fetched(_)))
                };
                others.retain(is_fetched);
                images.absent(&others)
            }
            Source::Directory(directory) => {
                others.retain(|known| known.source == workload.source);
                directory.absent(others).await
            }
        };
        absent.workloads.extend(more);
        Ok(())
    }

    /// Says once for each address that nobody can be told apart there.
    fn warn_of_several(&self, who: &Sighting, why: &str) {
        let mut several = self.several.lock().unwrap_or_else(PoisonError::into_inner);
        if several.len() < MOST_SEVERAL && several.insert(who.address) {
            tracing::warn!("{why}");
        }
    }

    /// Opens the image of a workload, if it is the version that the workload stands for.
    async fn open(&self, workload: &Workload, is_untouched: bool) -> Result<Opened, OpenError> {
        let not_opened = |why: &str, outlook, is_whole| {
            OpenError::Unreadable(NotOpened { why: Unreadable { why: why.to_owned(), outlook }, is_whole })
        };
        let Some(source) = self.source(&workload.source) else {
            return Err(not_opened("its source has left the configuration", Outlook::Lasting, false));
        };
        let opened = source.open(workload).await.map_err(OpenError::Unreadable)?;
        match () {
            // What was fetched has been compared with its digest.
            () if opened.is(workload) || matches!(*source, Source::Fetched(_)) => Ok(opened),
            () if opened.is_fresh(self.clock.now()) => {
                Err(not_opened("it is being written at the moment", Outlook::Passing, false))
            }
            () if is_untouched => Err(OpenError::Replaced(Box::new(opened.found(workload)))),
            () => {
                let why = "its file has changed since the download began";
                Err(not_opened(why, Outlook::Lasting, false))
            }
        }
    }
}

fn image(run: RunId, workload: &Workload, opened: Opened) -> Image {
    Image {
        run,
        name: workload.name.clone(),
        kind: workload.kind,
        size: opened.size,
        modified: opened.modified,
        // Each version of each image has its own, however alike their sizes and times are.
        etag: format!("\"{}\"", workload.id),
        file: opened.file,
    }
}

#[cfg(test)]
mod tests;
