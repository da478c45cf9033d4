//! The service's HTTP API, and what it is served with.
//!
//! A resource is a file here with a function `routes`, which `endpoints` below lists. An endpoint is an async function with a
//! `#[utoipa::path]`; its role is said where it is registered ([`routes::Routes`]). The OpenAPI document made of that is
//! what the guard goes by ([`guard`]): what it does not know is not served, and what it says is held. So an endpoint has
//! nothing to do with sign-in, roles, limits, unknown parameters, or reading bodies; it takes
//!
//! * `State<Api>`, the store, the clock and everything else;
//! * [`identity::Identity`], who asks;
//! * [`extract::Ids`], [`extract::Query`], [`page::Pages`], [`extract::Body`], [`extract::MaybeBody`];
//! * [`conditional::IfMatch`] and [`idempotency::Once`], where it changes something;
//!
//! and answers with JSON, with [`conditional::Tagged`] where the object has a version, or with a [`problem::Problem`].

mod auth;
mod boot;
pub mod client;
pub mod conditional;
mod events;
pub mod extract;
mod feed;
mod groups;
pub mod guard;
mod history;
mod history_export;
mod hosts;
mod hosts_show;
pub mod idempotency;
pub mod identity;
mod jobs;
mod jobs_show;
pub mod limits;
mod matrix;
pub mod metrics;
mod metrics_queue;
mod observe;
pub mod openapi;
pub mod origin;
pub mod page;
pub mod password;
pub mod problem;
mod queue;
mod recent;
mod reload;
mod reports;
pub mod request_id;
pub mod routes;
mod runs;
mod serve;
pub mod session;
pub mod settings;
mod shown;
mod standing;
mod system;
mod templates;
mod wishes;
mod workloads;
mod ws;

use std::sync::{Arc, OnceLock};

use dispatch_core::GroupId;
use dispatch_store::Store;
use dispatch_wire::api::history::HistoryStats;
use tokio::sync::{Semaphore, watch};

use crate::clock::{Clock, Random};
use crate::engine::Engine;
use crate::service::Reloader;

pub use identity::{How, Identity};
pub use openapi::document;
pub use problem::{Answer, Problem};
pub use serve::{Serving, Tls, TlsError};
pub use settings::Settings;

use limits::Limiters;
use metrics::Metrics;
use recent::Recent;
use routes::Routes;

/// How many passwords are verified at the same time: each takes 19 MiB.
const VERIFIED_AT_ONCE: usize = 4;

/// Everything that an endpoint needs. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    engine: Engine,
    reloader: OnceLock<Reloader>,
    settings: watch::Sender<Arc<Settings>>,
    limiters: Limiters,
    metrics: Metrics,
    stats: Recent<(GroupId, &'static str), HistoryStats>,
    verifying: Arc<Semaphore>,
}

impl Api {
    /// An API over an engine.
    #[must_use]
    pub fn new(engine: Engine, settings: Settings) -> Self {
        let limiters = Limiters::new(&settings.limits, &engine.clock);
        let last = *engine.store.watch_events().borrow();
        Self(Arc::new(Inner {
            engine,
            reloader: OnceLock::new(),
            settings: watch::Sender::new(Arc::new(settings)),
            limiters,
            metrics: Metrics::new(last),
            stats: Recent::default(),
            verifying: Arc::new(Semaphore::new(VERIFIED_AT_ONCE)),
        }))
    }

    /// What reads the configuration again, where there is one.
    pub(crate) fn reloader(&self) -> Option<&Reloader> {
        self.0.reloader.get()
    }

    /// From now on the configuration can be read again by this.
    pub(crate) fn set_reloader(&self, reloader: Reloader) {
        // There is one service in a process, which does this once.
        let _ = self.0.reloader.set(reloader);
    }

    /// What decides.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The state.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.engine.store
    }

    /// The time.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.engine.clock
    }

    /// The random source.
    #[must_use]
    pub fn random(&self) -> &Random {
        self.0.engine.random()
    }

    /// `N` random bytes.
    #[must_use]
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for part in bytes.chunks_mut(10) {
            part.copy_from_slice(&(self.random())()[..part.len()]);
        }
        bytes
    }

    /// The settings as they are now.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.settings.borrow())
    }

    /// Tells when the settings change.
    #[must_use]
    pub fn watch_settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.0.settings.subscribe()
    }

    /// Puts other settings in place, for all requests from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.0.limiters.set(&settings.limits);
        self.0.settings.send_replace(Arc::new(settings));
    }

    /// What is measured.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The statistics that were counted last, by group and range.
    pub(crate) fn stats(&self) -> &Recent<(GroupId, &'static str), HistoryStats> {
        &self.0.stats
    }

    pub(crate) fn limiters(&self) -> &Limiters {
        &self.0.limiters
    }

    pub(crate) fn verifying(&self) -> &Arc<Semaphore> {
        &self.0.verifying
    }
}

/// All endpoints. A new resource is a line here.
fn endpoints() -> Routes {
    Routes::new()
        .and(system::routes())
        .and(auth::routes())
        .and(groups::routes())
        .and(templates::routes())
        .and(queue::routes())
        .and(jobs::routes())
        .and(events::routes())
        .and(ws::routes())
        .and(hosts::routes())
        .and(runs::routes())
        .and(workloads::routes())
        .and(reports::routes())
        .and(history::routes())
        .and(history_export::routes())
        .and(matrix::routes())
        .and(boot::routes())
        .and(reload::routes())
}
