//! The terminal view of a session: the queue as a table, and what one would ask about it.
//!
//! [`adapt`] makes a [`model::Board`] of what the session knows, [`keys`] says what a key does, [`draw`] draws; all of
//! them are pure. [`tty`] is the terminal. [`run`] puts them together, and looks at the session only through its
//! [`Engine`]: with the view or without it, the session is the same.

mod adapt;
mod commands;
mod draw;
mod keys;
mod model;
mod rate;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tty;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dispatch_core::JobId;
use dispatch_server::engine::Engine;
use dispatch_store::{Lane, StoreError};
use tokio::time::MissedTickBehavior;

pub(crate) use self::adapt::Facts;
use self::adapt::{Known, Seen};
use self::keys::{Action, press};
use self::model::{Board, Screen, Sheet, Ui};
use self::tty::{Input, Tty};
use crate::diagnostics::Notices;

pub(crate) use self::tty::{is_there, width};

/// How often the view is drawn at most, but for keys.
const FRAME: Duration = Duration::from_millis(250);

/// In how many frames everything is looked at anew, whether or not anything is known to have happened.
const SECOND: u32 = 4;

/// How many events of a job are shown.
const TIMELINE: u32 = 500;

/// Among how many issues that are still to be filed those of a job are looked for.
const WAITING: u32 = 1000;

/// Shows the session until a person ends it: `Ok` then, else why there can be no view any more.
pub(crate) async fn run(engine: &Engine, facts: Facts, notices: &Notices) -> io::Result<()> {
    let mut tty = Tty::take()?;
    let mut view = Viewer::new(engine, facts, notices);
    let mut events = engine.store.watch_events();
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u32 = 0;
    let mut is_stale = true;
    loop {
        tokio::select! {
            input = tty.next() => {
                match input {
                    Input::Broken(error) => return Err(error),
                    Input::Resized(columns, rows) => view.ui.size = (columns, rows),
                    Input::Key(key) => if view.press(key).await { return Ok(()) },
                }
                view.settle();
                is_stale = !tty.show(&view.board, &view.ui) || is_stale;
            }
            _ = frames.tick() => {
                count = count.wrapping_add(1);
                let has_happened = events.has_changed().unwrap_or(false);
                if has_happened || is_stale || count.is_multiple_of(SECOND) {
                    events.mark_unchanged();
                    view.reload().await;
                } else if !view.is_moving() {
                    continue;
                }
                view.refresh();
                is_stale = !tty.show(&view.board, &view.ui);
            }
        }
    }
}

/// What is shown, and how it is looked at.
struct Viewer<'a> {
    engine: &'a Engine,
    facts: Facts,
    seen: Seen,
    notices: &'a Notices,
    board: Arc<Board>,
    ui: Ui,
}

impl<'a> Viewer<'a> {
    fn new(engine: &'a Engine, facts: Facts, notices: &'a Notices) -> Self {
        let ui = Ui::new(Tty::size(), tty::has_colours());
        Self { engine, facts, seen: Seen::default(), notices, board: Arc::default(), ui }
    }

    fn settle(&mut self) {
        self.ui = self.ui.clone().settled(&self.board);
    }

    /// Whether there is something that moves between two events.
    fn is_moving(&self) -> bool {
        self.board.jobs.iter().any(|job| job.progress().is_some())
    }

    /// Looks at the store.
    async fn reload(&mut self) {
        match self.engine.store.overview().await {
            Ok(overview) => self.seen.overview = overview,
            // What was known is still shown.
            Err(error) => self.ui.said = Some(error.to_string()),
        }
        match self.ui.screen {
            Screen::Sheet(Sheet::Story(job), _) => self.load_story(job).await,
            _ => self.seen.story = None,
        }
    }

    async fn load_story(&mut self, job: JobId) {
        let now = self.engine.clock.now();
        let read = async {
            let events = self.engine.store.timeline(job, TIMELINE).await?;
            let reports = self.engine.store.reports_of(job).await?;
            let waiting = self.engine.store.waiting_effects(Lane::Issues, WAITING).await?;
            let refused = &self.seen.overview.refused;
            let known = Known { events: &events, reports: &reports, waiting: &waiting, refused };
            Ok::<_, StoreError>(adapt::story(job, known, &self.facts, now))
        };
        match read.await {
            Ok(story) => self.seen.story = Some(story),
            Err(error) => self.ui.said = Some(error.to_string()),
        }
    }

    /// Makes a new board of what is known.
    fn refresh(&mut self) {
        let now = self.engine.clock.now();
        self.seen.live =
            self.engine.live().all().into_iter().map(|(run, progress)| (run, progress.sent())).collect();
        self.seen.fetching = self.engine.fetching();
        let downloads = adapt::downloads(&self.seen.overview, &self.seen.live);
        self.seen.rates = self.seen.rates.after(&downloads, now);
        self.seen.notices = adapt::notices(&self.notices.all(), &self.facts.zone);
        self.seen.requests = adapt::requests(&self.engine.requests(), &self.facts.zone);
        self.board = Arc::new(adapt::board(&self.facts, &self.seen, now));
        self.settle();
    }

    /// Does what a key does; returns whether the session is to end.
    async fn press(&mut self, key: keys::Key) -> bool {
        let before = self.ui.screen;
        let (ui, action) = press(self.ui.clone(), key, &self.board);
        self.ui = ui;
        match action {
            None => {}
            Some(Action::Quit) => return true,
            Some(Action::Retry(job)) => self.retry(job).await,
            Some(Action::Cancel(job)) => self.cancel(job).await,
        }
        if self.ui.screen != before
            && let Screen::Sheet(Sheet::Story(job), _) = self.ui.screen
        {
            self.load_story(job).await;
            self.refresh();
        }
        false
    }
}
