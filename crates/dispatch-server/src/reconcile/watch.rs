//! Looks at a source again and again: what is new joins the queue, what was replaced is queued again, what is gone and
//! has not begun leaves.

use std::time::Duration;

use dispatch_store::Focus;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};
use crate::source::remote::{Remote, RemoteError};

/// See the module.
pub struct Watch {
    engine: Engine,
    remote: Remote,
    every: Duration,
    /// The trouble that was told last.
    told: Option<String>,
    /// A description was gone at the last look.
    has_missed: bool,
    /// What was said already of what the source offers.
    warned: Vec<String>,
}

impl Watch {
    /// The loop of this engine; `warned` is what was said at the start.
    #[must_use]
    pub fn new(engine: Engine, remote: Remote, every: Duration, warned: Vec<String>) -> Self {
        Self { engine, remote, every, told: None, has_missed: false, warned }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut next = later(self.engine.clock.now(), self.every);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.engine.clock.sleep_until(next) => {}
            }
            let not_before = tokio::select! {
                () = stop.cancelled() => return,
                not_before = self.activate() => not_before,
            };
            let regular = later(self.engine.clock.now(), self.every);
            next = not_before.map_or(regular, |at| at.max(regular));
        }
    }

    /// Looks once. Returns until when not to ask again, if that is known.
    async fn activate(&mut self) -> Option<jiff::Timestamp> {
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
                // Also where nothing is new at the source: what it replaced while a run was on it is due after that.
                let found = looked.found;
                let focus = Focus::last_round();
                let synced =
                    self.engine.decide(focus, |snapshot, context| snapshot.look_again(&found, context)).await;
                if let Err(error) = synced {
                    tracing::error!("what {} offers now cannot be noted: {error}", self.remote.title());
                }
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
