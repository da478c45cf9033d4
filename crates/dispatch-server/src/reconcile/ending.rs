//! Ends a session when all is done, if it is to end by itself.

use std::time::Duration;

use dispatch_core::issue::Patience;
use dispatch_core::queue::{Ending as End, ending};
use dispatch_store::StoreError;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};

/// How often it is looked at while a host is still to be told that there is nothing left: that it has fetched what
/// tells it so is no event.
const GLANCE: Duration = Duration::from_millis(500);

/// How long to wait after the store failed.
const TROUBLE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Ending {
    engine: Engine,
    /// When the session started to serve.
    started: Timestamp,
    patience: Patience,
}

impl Ending {
    /// The loop of this engine, whose session starts to serve now.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let started = engine.clock.now();
        Self { engine, started, patience: Patience::new(started) }
    }

    /// Runs until `stop`, or until all is done; then it is what stops everything else. Returns whether it was.
    pub async fn run(mut self, stop: CancellationToken) -> bool {
        let mut events = self.engine.store.watch_events();
        loop {
            events.mark_unchanged();
            let now = self.engine.clock.now();
            let wake = match self.activate(now).await {
                Ok(End::Now) => return end(&stop),
                Ok(End::At(at)) if at <= now => return end(&stop),
                Ok(End::At(at)) => Some(at.min(later(now, GLANCE))),
                Ok(End::NotYet) => None,
                Err(error) => {
                    tracing::error!("whether all is done cannot be told at the moment: {error}");
                    Some(later(now, TROUBLE))
                }
            };
            let sleep = async {
                match wake {
                    Some(at) => self.engine.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return false,
                () = sleep => {}
                _ = events.changed() => {}
            }
        }
    }

    pub(super) async fn activate(&mut self, now: Timestamp) -> Result<End, StoreError> {
        // Asked with every event; the overview may be long.
        if self.engine.store.has_open_jobs().await? {
            return Ok(End::NotYet);
        }
        let all = self.engine.store.overview().await?;
        let grace = self.engine.policy().deadlines.grace;
        // What cannot be written or filed now is in the state, and done by the next start.
        let last = all.jobs.iter().map(|job| job.since).max().unwrap_or(now);
        let until = self.patience.until(all.effects_due, last, grace, now);
        Ok(match ending(&all.jobs, &all.runs, &all.hosts, self.started, grace) {
            End::Now if all.effects_due > 0 => End::At(until),
            End::At(at) if all.effects_due > 0 => End::At(at.max(until)),
            ending => ending,
        })
    }
}

/// Returns whether a session that nobody else has ended ends now.
fn end(stop: &CancellationToken) -> bool {
    let is_ours = !stop.is_cancelled();
    stop.cancel();
    is_ours
}
