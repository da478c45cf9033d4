//! What is measured, for Prometheus: `GET /metrics`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::metrics_queue::QueueMetrics;

/// The media type of what [`Metrics::encode`] writes.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In which times requests are counted, in seconds.
const TIMES: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

/// What is measured.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    queue: QueueMetrics,
}

impl Metrics {
    /// `last` is the newest event: what came before is not counted.
    pub(crate) fn new(last: i64) -> Self {
        let mut registry = Registry::with_prefix("dispatch");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program", Info::new(version));
        let requests = Family::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(TIMES));
        let help = "How long requests took, in seconds, to the beginning of their answer";
        registry.register("http_request_duration_seconds", help, durations.clone());
        let queue = QueueMetrics::new(&mut registry, last);
        Self { registry: Mutex::new(registry), requests, durations, queue }
    }

    /// What is measured of queues and hosts.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// Adds what somebody else measures.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything, as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(
            &mut text,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        );
        text
    }

    /// A request was answered. `route` is the template of its path: there are only so many.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        // A method can be any word of a stranger's.
        const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = if KNOWN.contains(&method) { method } else { "other" };
        let (method, route) = (method.to_owned(), route.to_owned());
        self.requests.get_or_create(&Answered { method: method.clone(), route: route.clone(), status }).inc();
        self.durations.get_or_create(&Route { method, route }).observe(took.as_secs_f64());
    }
}
