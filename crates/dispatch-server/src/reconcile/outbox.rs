//! Carries the effects out, at least once each, until they are done.

use std::collections::BTreeSet;
use std::time::Duration;

use dispatch_core::Effect;
use dispatch_store::{Lane, StoreError, WaitingEffect};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::sink::ReportSink;
use crate::engine::{Engine, later};

/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The shortest wait between two rounds that nobody asked for.
const TROUBLE: Duration = Duration::from_secs(1);

/// How many effects are fetched at once.
const BATCH: u32 = 50;

/// See the module.
pub struct Outbox {
    engine: Engine,
    reports: ReportSink,
}

impl Outbox {
    /// The loop of this engine; reports go there.
    #[must_use]
    pub fn new(engine: Engine, reports: ReportSink) -> Self {
        Self { engine, reports }
    }

    /// Runs until `stop`, and then once more: what is due is done before the session ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        // A person who starts again has mended what was wrong: nothing waits for its next turn.
        let mut now = Timestamp::MAX;
        loop {
            events.mark_unchanged();
            let is_last = stop.is_cancelled();
            if let Err(error) = self.activate(now).await {
                tracing::error!("the outbox cannot be read at the moment: {error}");
            }
            if is_last {
                return;
            }
            let clock = &self.engine.clock;
            let next = match self.engine.store.next_effect(Lane::Files).await {
                // What is due and could not be noted as done or failed must not be tried without a pause.
                Ok(next) => next.map(|next| next.max(later(clock.now(), TROUBLE))),
                Err(_) => Some(later(clock.now(), MAX_WAIT)),
            };
            let sleep = async {
                match next {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep => {}
                _ = events.changed() => {}
            }
            now = self.engine.clock.now();
        }
    }

    /// Does what is due by `now`, each effect once.
    async fn activate(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tried = BTreeSet::new();
        loop {
            let limit = BATCH + u32::try_from(tried.len()).unwrap_or(0);
            let due = self.engine.store.due_effects(Lane::Files, now, limit).await?;
            let new: Vec<WaitingEffect> =
                due.into_iter().filter(|effect| !tried.contains(&effect.key)).collect();
            if new.is_empty() {
                return Ok(());
            }
            for effect in new {
                self.carry_out(&effect).await?;
                tried.insert(effect.key);
            }
        }
    }

    async fn carry_out(&self, due: &WaitingEffect) -> Result<(), StoreError> {
        let result = match due.effect {
            Effect::WriteReport { report } => match self.engine.store.report(report).await {
                Ok(Some(stored)) => self.reports.write(stored).await.map_err(|error| error.to_string()),
                Ok(None) => Err("the report is not in the state".to_owned()),
                // One damaged report must not hold up the others.
                Err(error) => Err(error.to_string()),
            },
            // It is in another lane.
            Effect::FileIssue { .. } => return Ok(()),
        };
        let now = self.engine.clock.now();
        match result {
            Ok(()) => self.engine.store.effect_done(&due.key, now).await,
            Err(error) => {
                let wait = MAX_WAIT.min(Duration::from_secs(1 << due.attempts.min(6)));
                tracing::warn!(
                    "a report cannot be written to {} and is tried again in {}: {error}",
                    self.reports,
                    dispatch_core::text::duration(wait),
                );
                self.engine.store.effect_failed(&due.key, &error, later(now, wait)).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
