//! A session without hosts: jobs, a cache, a server of images, and the loop.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dispatch_boot::cache::Cache;
use dispatch_core::queue::{Found, Unreadable};
use dispatch_core::{Digest, Happening, Job, Kind, Terms, Workload};
use dispatch_store::{Focus, Overview, Store, StoredEvent};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use crate::clock::{Clock, Random};
use crate::engine::Engine;
use crate::fetch::{Fetch, Images, Settings};
use crate::source::{Directory, Source};

/// Whoever waits longer than this waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(super) struct Still(watch::Sender<Timestamp>);

impl Still {
    pub(super) fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now = now.checked_add(time).expect("a time"));
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut now = self.0.subscribe();
        Box::pin(async move {
            // The sender lives as long as the clock.
            let _ = now.wait_for(|now| *now >= at).await;
        })
    }
}

/// A hundred KiB or so that are all different.
pub(super) fn bytes(seed: u8) -> Vec<u8> {
    (0..100_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1] ^ seed).collect()
}

/// An image that its source knows the digest of.
pub(super) fn file(name: &str, bytes: &[u8]) -> Found {
    Found {
        name: name.to_owned(),
        kind: Kind::Efi,
        size: bytes.len() as u64,
        modified: Timestamp::UNIX_EPOCH,
        digest: Some(Digest::new(Sha256::digest(bytes).into())),
        origin: Some(format!("https://example.org/{name}")),
        terms: Terms::default(),
    }
}

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<Still>,
    pub(super) engine: Engine,
    pub(super) images: Images,
    pub(super) server: Server,
    pub(super) settings: Settings,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    /// Jobs for these images, which the server has. Nothing is fetched before [`World::start`].
    pub(super) async fn new(images: &[(&str, &[u8])]) -> Self {
        let server = Server::new();
        for (name, bytes) in images {
            server.has(name, bytes, Some("\"v1\""));
        }
        let found: Vec<Found> = images.iter().map(|(name, bytes)| file(name, bytes)).collect();
        Self::of(TempDir::new().expect("a folder"), server, &found).await
    }

    pub(super) async fn of(folder: TempDir, server: Server, found: &[Found]) -> Self {
        let start = Timestamp::from_second(1_700_000_000).expect("a time");
        let clock = Arc::new(Still(watch::Sender::new(start)));
        Self::at(folder, server, found, clock).await
    }

    async fn at(folder: TempDir, server: Server, found: &[Found], clock: Arc<Still>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let random: Random = Arc::new(|| {
            let mut bytes = [7; 10];
            bytes[2..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        });
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let directory = Directory::new(folder.path().to_owned(), Vec::new());
        let engine =
            Engine::new(store, Arc::default(), clock.clone(), random, Source::Directory(directory), "a test");
        let open = engine.decide(Focus::last_round(), |snapshot, context| snapshot.open(found, &[], context));
        open.await.expect("a round");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        let images = Images::new(cache, clock.clone());
        let settings = Settings { limit: 1 << 30, prefetch: true };
        let (tasks, stop) = Default::default();
        Self { folder, clock, engine, images, server, settings, tasks, stop }
    }

    /// Begins to fetch.
    pub(super) fn start(&self) {
        let (engine, images) = (self.engine.clone(), self.images.clone());
        let fetch = Fetch::new(engine, images, Arc::new(self.server.clone()), self.settings);
        self.tasks.spawn(fetch.run(self.stop.clone()));
    }

    /// The session ends, and another one goes on with its state and its cache.
    pub(super) async fn restart(self, found: &[Found]) -> Self {
        let Self { folder, clock, engine, images, server, settings, tasks, stop } = self;
        stop.cancel();
        tasks.close();
        within(tasks.wait()).await;
        engine.store.close().await;
        drop((engine, images));
        let next = Self::at(folder, server, found, clock).await;
        Self { settings, ..next }
    }

    pub(super) async fn overview(&self) -> Overview {
        self.engine.store.overview().await.expect("a store")
    }

    /// Waits until something has happened to a job so often. Returns all that has.
    pub(super) async fn until_told(
        &self,
        name: &str,
        times: usize,
        wanted: impl Fn(&Happening) -> bool,
    ) -> Vec<Happening> {
        let mut events = self.engine.store.watch_events();
        within(async {
            loop {
                events.mark_unchanged();
                let told = self.told(name).await;
                if told.iter().filter(|what| wanted(what)).count() >= times {
                    return told;
                }
                events.changed().await.expect("a store");
            }
        })
        .await
    }

    pub(super) async fn told(&self, name: &str) -> Vec<Happening> {
        let all: Vec<StoredEvent> = self.engine.store.events_after(0, 10_000).await.expect("a store");
        let of_job = |event: &StoredEvent| event.event.job.as_ref().is_some_and(|job| job.name == name);
        all.into_iter().filter(of_job).map(|event| event.event.what).collect()
    }

    pub(super) async fn until_fetched(&self, name: &str) {
        self.until_told(name, 1, |what| matches!(what, Happening::Fetched { .. })).await;
    }

    /// Waits until the server was asked so often.
    pub(super) async fn until_asked(&self, times: usize) -> Vec<super::Request> {
        let mut requests = self.server.requests.subscribe();
        within(async { requests.wait_for(|all| all.len() >= times).await.expect("a server").clone() }).await
    }

    pub(super) async fn job(&self, name: &str) -> Job {
        self.overview().await.jobs.into_iter().rfind(|job| job.name == name).expect("a job")
    }

    pub(super) async fn workload(&self, name: &str) -> Workload {
        let (overview, job) = (self.overview().await, self.job(name).await);
        overview.workloads.into_iter().find(|known| known.id == job.workload).expect("a workload")
    }

    /// What a host would be sent.
    pub(super) async fn open(&self, name: &str) -> Result<Vec<u8>, Unreadable> {
        let workload = self.workload(name).await;
        let mut opened = self.images.open(&workload).await?;
        let mut read = Vec::new();
        opened.file.read_to_end(&mut read).expect("its bytes");
        assert_eq!(opened.size, read.len() as u64);
        Ok(read)
    }

    /// Waits until a host would be sent an image.
    pub(super) async fn until_open(&self, name: &str) -> Vec<u8> {
        within(async {
            loop {
                if let Ok(read) = self.open(name).await {
                    return read;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The words for why an image is not here.
    pub(super) async fn absent(&self, name: &str) -> Option<Unreadable> {
        let workload = self.workload(name).await;
        let absent: BTreeMap<_, _> = self.images.absent(std::slice::from_ref(&workload));
        absent.get(&workload.id).cloned()
    }

    pub(super) fn cache_folder(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("cache")
    }
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}
