//! Tells what happens: every event becomes a line of the log, in the order of the log's sequence.

use std::io::Write;
use std::time::Duration;

use dispatch_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::log::Log;

const BATCH: u32 = 200;

/// See the module.
pub struct Story<W> {
    store: Store,
    log: Log<W>,
    told: i64,
}

impl<W: Write + Send> Story<W> {
    /// Tells the events after `told`.
    pub fn new(store: Store, log: Log<W>, told: i64) -> Self {
        Self { store, log, told }
    }

    /// Runs until `stop`, and tells what happened until then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.store.watch_events();
        loop {
            events.mark_unchanged();
            let is_last = stop.is_cancelled();
            if let Err(error) = self.activate().await {
                tracing::error!("the log cannot be read at the moment: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = events.changed() => {}
            }
        }
    }

    async fn activate(&mut self) -> Result<(), StoreError> {
        loop {
            let events = self.store.events_after(self.told, BATCH).await?;
            for event in &events {
                // Nobody listens any more; what happened is in the store.
                let _ = self.log.write(event);
                self.told = event.seq;
            }
            if events.is_empty() {
                return Ok(());
            }
        }
    }
}
