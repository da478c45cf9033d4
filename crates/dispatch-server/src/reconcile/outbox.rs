//! Carries the effects out, at least once each, until they are done.

use std::path::PathBuf;
use std::time::Duration;

use dispatch_core::Effect;
use dispatch_store::{DueEffect, StoreError};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};
use crate::reports;

/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// How many effects are fetched at once.
const BATCH: u32 = 50;

/// See the module.
pub struct Outbox {
    engine: Engine,
    reports: PathBuf,
}

impl Outbox {
    /// The loop of this engine; reports go to this folder.
    #[must_use]
    pub fn new(engine: Engine, reports: PathBuf) -> Self {
        Self { engine, reports }
    }

    /// Runs until `stop`, and then once more: what is due is done before the session ends.
    pub async fn run(self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        loop {
            events.mark_unchanged();
            let is_last = stop.is_cancelled();
            if let Err(error) = self.activate().await {
                tracing::error!("the outbox cannot be read at the moment: {error}");
            }
            if is_last {
                return;
            }
            let clock = &self.engine.clock;
            let next = self.engine.store.next_effect().await.unwrap_or(Some(later(clock.now(), MAX_WAIT)));
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
        }
    }

    async fn activate(&self) -> Result<(), StoreError> {
        loop {
            let due = self.engine.store.due_effects(self.engine.clock.now(), BATCH).await?;
            if due.is_empty() {
                return Ok(());
            }
            for effect in due {
                self.carry_out(&effect).await?;
            }
        }
    }

    async fn carry_out(&self, due: &DueEffect) -> Result<(), StoreError> {
        let result = match due.effect {
            Effect::WriteReport { report } => match self.engine.store.report(report).await? {
                Some(stored) => {
                    let folder = self.reports.clone();
                    let written = tokio::task::spawn_blocking(move || reports::write(&folder, &stored)).await;
                    written
                        .map_err(|error| error.to_string())
                        .and_then(|done| done.map_err(|error| error.to_string()))
                }
                None => Err("the report is not in the state".to_owned()),
            },
        };
        let now = self.engine.clock.now();
        match result {
            Ok(_) => self.engine.store.effect_done(&due.key, now).await,
            Err(error) => {
                let wait = MAX_WAIT.min(Duration::from_secs(1 << due.attempts.min(6)));
                tracing::warn!(
                    "a report cannot be written to {} and is tried again in {}: {error}",
                    self.reports.display(),
                    dispatch_core::text::duration(wait),
                );
                self.engine.store.effect_failed(&due.key, &error, later(now, wait)).await
            }
        }
    }
}
