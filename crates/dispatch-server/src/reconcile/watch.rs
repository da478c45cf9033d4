//! Looks at a source again and again: what is new joins the queue, what was replaced is queued again, what is gone and
//! has not begun leaves. What was replaced while a run was on it is queued again when that is over, also where the
//! source is looked at only once.

use std::sync::Arc;
use std::time::Duration;

use dispatch_core::queue::Found;

use dispatch_store::Focus;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};
use crate::source::remote::{Remote, RemoteError};

/// See the module.
pub struct Watch {
    engine: Engine,
    remote: Remote,
    every: Option<Duration>,
    /// What the source offers, as it was seen last.
    found: Vec<Found>,
    /// A run is going on with something that the source has replaced.
    is_left: bool,
    /// The trouble that was told last.
    told: Option<String>,
    /// A description was gone at the last look.
    has_missed: bool,
    /// What was said already of what the source offers.
    warned: Vec<String>,
}

impl Watch {
    /// The loop of this engine. `every` is how often the source is looked at, `found` what it offered at the start, and
    /// `warned` what was said then.
    #[must_use]
    pub fn new(
        engine: Engine,
        remote: Remote,
        every: Option<Duration>,
        found: Vec<Found>,
        warned: Vec<String>,
    ) -> Self {
        Self { engine, remote, every, found, is_left: true, told: None, has_missed: false, warned }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        let mut next = self.every.map(|every| later(self.engine.clock.now(), every));
        loop {
            events.mark_unchanged();
            if self.is_left {
                self.sync().await;
            }
            let clock = Arc::clone(&self.engine.clock);
            let time_comes = async {
                match next {
                    Some(next) => clock.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = time_comes => {}
                _ = events.changed(), if self.is_left => continue,
            }
            let not_before = tokio::select! {
                () = stop.cancelled() => return,
                not_before = self.look() => not_before,
            };
            let regular = self.every.map(|every| later(self.engine.clock.now(), every));
            next = regular.map(|regular| not_before.map_or(regular, |at| at.max(regular)));
        }
    }

    /// Has the queue follow what the source offers.
    async fn sync(&mut self) {
        let found = &self.found;
        let focus = Focus::last_round();
        match self.engine.decide(focus, |snapshot, context| snapshot.look_again(found, context)).await {
            Ok(is_left) => self.is_left = is_left,
            Err(error) => {
                tracing::error!("what {} offers now cannot be noted: {error}", self.remote.title());
                self.is_left = true;
            }
        }
    }

    /// Looks once. Returns until when not to ask again, if that is known.
    async fn look(&mut self) -> Option<jiff::Timestamp> {
        let believes_gone = std::mem::take(&mut self.has_missed);
        match self.remote.look_again(self.engine.clock.now(), believes_gone).await {
            Ok(looked) => {
                if self.told.take().is_some() {
                    tracing::info!("{} can be read again", self.remote.title());
                }
                for warning in looked.warnings {
                    if !self.warned.contains(&warning) {
                        tracing::warn!("{warning}");
                        self.warned.push(warning);
                    }
                }
                self.found = looked.found;
                self.sync().await;
                None
            }
            Err(error) => {
                self.has_missed = matches!(error, RemoteError::Gone { .. });
                let words = error.to_string();
                if self.told.as_ref() != Some(&words) {
                    tracing::warn!("--watch goes on with what was known before: {words}");
                    self.told = Some(words);
                }
                error.retry_at()
            }
        }
    }
}
