//! Keeps time: notes how far downloads have come, lets deadlines pass, and ends transfers nobody waits for.

use std::collections::HashMap;
use std::time::Duration;

use dispatch_boot::Stop;
use dispatch_core::run::RunEvent;
use dispatch_core::{RunId, Snapshot, Workload};
use dispatch_store::{Focus, StoreError};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later, stop_orphans};

/// A client that takes fewer bytes than this in a while makes no progress, or a byte a minute would hold a
/// host for ever.
const PROGRESS: u64 = 64 * 1024;

/// How often downloads are looked at. Not at every event, or each of many hosts that boot at once would have the
/// progress of all the others noted.
const GLANCE: Duration = Duration::from_secs(5);

/// However short a deadline is.
const SHORTEST_GLANCE: Duration = Duration::from_millis(100);

/// How long it takes to see whether anybody reads a transfer that its host has left.
const STILL: Duration = Duration::from_secs(4);

/// How long to wait after the store failed.
const TROUBLE: Duration = Duration::from_secs(1);

/// See the module.
pub struct Deadlines {
    engine: Engine,
    /// How far each transfer was when that was last noted.
    noted: HashMap<(RunId, u32), u64>,
    /// Since when each transfer is known to be no longer wanted by its host.
    left: HashMap<(RunId, u32), Timestamp>,
    /// When downloads are looked at next.
    next_glance: Timestamp,
}

impl Deadlines {
    /// The loop of this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, noted: HashMap::new(), left: HashMap::new(), next_glance: Timestamp::MIN }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        loop {
            events.mark_unchanged();
            let wake = match self.activate().await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::error!("deadlines cannot be kept at the moment: {error}");
                    Some(later(self.engine.clock.now(), TROUBLE))
                }
            };
            let clock = &self.engine.clock;
            let sleep = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep => {}
                _ = events.changed() => {}
            }
        }
    }

    /// Once around. Returns when to come back at the latest.
    async fn activate(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.engine.clock.now();
        if now >= self.next_glance {
            self.note_progress().await?;
            self.look_at_left().await?;
            self.next_glance = later(now, self.glance().await?);
        }
        let focus = Focus::default().within(self.engine.at_work());
        let next = self.engine.decide(focus, |snapshot, context| snapshot.tick(context.now)).await?;
        let live = self.engine.live().all();
        if live.is_empty() {
            return Ok(next);
        }
        let look = |snapshot| stop_orphans(&live, &snapshot);
        let focus = Focus::default().within(self.engine.at_work());
        self.engine.store.look(focus, &self.engine.policy(), look).await?;
        Ok(Some(next.map_or(self.next_glance, |next| next.min(self.next_glance))))
    }

    /// How long progress may go unnoted: a quarter of the shortest deadline that it renews.
    async fn glance(&self) -> Result<Duration, StoreError> {
        let policy = self.engine.policy();
        let shortest = |snapshot: Snapshot| {
            let usual = |known: &Workload| policy.deadlines_of(&known.group);
            let own =
                snapshot.workloads.iter().map(|known| usual(known).with(&known.terms.deadlines).download);
            own.min().unwrap_or(policy.deadlines.download)
        };
        let focus = Focus::default().within(self.engine.at_work());
        let shortest = self.engine.store.look(focus, &policy, shortest).await?;
        Ok(GLANCE.min(shortest / 4).max(SHORTEST_GLANCE))
    }

    async fn note_progress(&mut self) -> Result<(), StoreError> {
        let live = self.engine.live().all();
        self.noted.retain(|(run, transfer), _| {
            live.iter().any(|(known, progress)| known == run && progress.transfer == *transfer)
        });
        for (run, progress) in live {
            let (transfer, sent) = (progress.transfer, progress.sent());
            let noted = self.noted.entry((run, transfer)).or_insert(progress.start());
            if sent < noted.saturating_add(PROGRESS) {
                continue;
            }
            *noted = sent;
            let event = RunEvent::Progress { transfer, sent };
            self.engine
                .decide(self.engine.about_run(run), |snapshot, context| {
                    snapshot.note(run, &event, context.now)
                })
                .await?;
        }
        Ok(())
    }

    /// A host that asks for its image anew does not read the transfer before any more. If somebody does, it is another
    /// host; if nobody does, it is ended.
    async fn look_at_left(&mut self) -> Result<(), StoreError> {
        let live = self.engine.live().all();
        let now = self.engine.clock.now();
        self.left.retain(|(run, transfer), _| {
            live.iter().any(|(known, progress)| known == run && progress.transfer == *transfer)
        });
        for (run, progress) in live.into_iter().filter(|(_, progress)| progress.was_asked_anew()) {
            let since = *self.left.entry((run, progress.transfer)).or_insert(now);
            if progress.is_read_by_another() {
                self.engine.dispute(run).await?;
            } else if now >= later(since, STILL) {
                progress.stop(Stop::AskedAnew);
            }
        }
        Ok(())
    }
}
