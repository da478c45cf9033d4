//! What is measured of queues and hosts. It is brought up to date when somebody asks for it, every few seconds at most: what
//! was done is counted from the log, from where it was at the last time, and what there is from small indexes.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use dispatch_core::{Happening, Verdict};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use super::Api;
use super::recent::is_fresh;
use super::standing::{look, queue};

/// How many events are read at a time, and how often in one go: what is left is counted the next time.
const BATCHES: (u32, u32) = (1000, 100);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfGroup {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InStatus {
    group: String,
    status: &'static str,
}

/// What is measured of queues and hosts.
pub(crate) struct QueueMetrics {
    /// The last event that is counted, and when all of this was brought up to date.
    counted: Mutex<(i64, Option<Timestamp>)>,
    created: Family<OfGroup, Counter>,
    completed: Family<OfGroup, Counter>,
    failed: Family<OfGroup, Counter>,
    size: Family<InStatus, Gauge>,
    online: Family<OfGroup, Gauge>,
    busy: Family<OfGroup, Gauge>,
    outbox: Gauge,
    cycles: Counter,
    /// Without labels; none before GitHub has told.
    github: Family<Vec<(String, String)>, Gauge>,
    remaining: OnceLock<Remaining>,
}

/// What is left of GitHub's rate limit, once it has told.
type Remaining = Box<dyn Fn() -> Option<u64> + Send + Sync>;

impl QueueMetrics {
    /// `last` is the newest event: what came before is not counted.
    pub(crate) fn new(registry: &mut Registry, last: i64) -> Self {
        let own = Self {
            counted: Mutex::new((last, None)),
            created: Family::default(),
            completed: Family::default(),
            failed: Family::default(),
            size: Family::default(),
            online: Family::default(),
            busy: Family::default(),
            outbox: Gauge::default(),
            cycles: Counter::default(),
            github: Family::default(),
            remaining: OnceLock::new(),
        };
        registry.register("jobs_created", "Jobs that were queued, by group", own.created.clone());
        registry.register(
            "jobs_completed",
            "Jobs that reported nothing bad, by group",
            own.completed.clone(),
        );
        registry.register("jobs_failed", "Jobs that failed or came to nothing, by group", own.failed.clone());
        registry.register("queue_size", "Jobs that are not over, by group and status", own.size.clone());
        registry.register(
            "hosts_online",
            "Hosts that ask for work or have a run, by group",
            own.online.clone(),
        );
        registry.register("hosts_busy", "Hosts that have a run, by group", own.busy.clone());
        registry.register("outbox_waiting", "What is still to be done outside", own.outbox.clone());
        let help = "How often the queues were gone through for a host that asked for work";
        registry.register("dispatcher_cycles", help, own.cycles.clone());
        let help =
            "Requests that GitHub still allows until its limit is reset, as it told last; absent before that";
        registry.register("github_rate_limit_remaining", help, own.github.clone());
        own
    }

    /// From now on this tells what is left of GitHub's rate limit.
    pub(crate) fn watch_github(&self, remaining: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        // There is one service in a process, which does this once.
        let _ = self.remaining.set(Box::new(remaining));
    }

    /// What costs nothing to know.
    fn update_at_once(&self, api: &Api) {
        self.cycles.inner().store(api.engine().cycles(), Ordering::Relaxed);
        match self.remaining.get().and_then(|remaining| remaining()) {
            Some(left) => {
                let left = i64::try_from(left).unwrap_or(i64::MAX);
                self.github.get_or_create(&Vec::new()).set(left);
            }
            None => self.github.clear(),
        }
    }

    /// Brings it up to date. What cannot be read stays as it was, and the log says so.
    pub(crate) async fn update(&self, api: &Api) {
        self.update_at_once(api);
        // One at a time: nothing is counted twice.
        let mut known = self.counted.lock().await;
        let (counted, updated) = &mut *known;
        let now = api.clock().now();
        if updated.is_some_and(|updated| is_fresh(updated, now)) {
            return;
        }
        for _ in 0..BATCHES.1 {
            let events = match api.store().events_after(*counted, BATCHES.0).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!("the log cannot be counted: {error}");
                    return;
                }
            };
            let Some(last) = events.last() else { break };
            *counted = last.seq;
            for stored in &events {
                self.count(&stored.event);
            }
        }
        let seen = match look(api).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!("the queues cannot be counted: {error}");
                return;
            }
        };
        // A group that is gone is not to be shown as it was.
        self.size.clear();
        self.online.clear();
        self.busy.clear();
        for group in queue(&seen) {
            for (status, count) in
                [("pending", group.pending), ("triggered", group.triggered), ("running", group.running)]
            {
                let place = InStatus { group: group.group_id.clone(), status };
                self.size.get_or_create(&place).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        for (group, (online, busy)) in seen.by_group(api) {
            let group = OfGroup { group };
            self.online.get_or_create(&group).set(online);
            self.busy.get_or_create(&group).set(busy);
        }
        self.outbox.set(i64::try_from(seen.outbox.waiting).unwrap_or(i64::MAX));
        *updated = Some(now);
    }

    fn count(&self, event: &dispatch_core::Event) {
        let family = match &event.what {
            Happening::Queued { .. } => &self.created,
            Happening::Done { verdict: Verdict::Passed | Verdict::Unjudged, .. } => &self.completed,
            Happening::Done { .. } => &self.failed,
            _ => return,
        };
        let Some(group) = &event.group else { return };
        family.get_or_create(&OfGroup { group: group.to_string() }).inc();
    }
}
