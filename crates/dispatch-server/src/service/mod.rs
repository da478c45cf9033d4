//! A service: one engine for a lab or a team, with the groups, hosts and sources of a configuration, an API, and, where
//! there are servers to boot, the boot listener. The two listen on addresses of their own.

mod folder;
mod guard;
mod reload;
mod settings;
mod supply;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_boot::cache::{Cache, CacheError};
use dispatch_boot::{Bind, BindError, Limits, Listener, Programs, ProgramsError, Service as Announced};
use dispatch_core::SourceId;
use dispatch_core::queue::KeyConflict;
use dispatch_github::{GitHub, Now, Origin, SetUpError, SignIn, Web};
use dispatch_store::{Claim, Focus, PostgresError, Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::settings::Users;
use crate::api::{Api, Serving, Tls, TlsError, idempotency};
use crate::clock::{Clock, Random};
use crate::config::{Configuration, Loaded, Mistakes, SourceKind, Storage as Stored};
use crate::engine::Engine;
use crate::fetch::{Fetch, Images, Settings as FetchSettings};
use crate::log::Log;
use crate::reconcile::{Deadlines, Issues, Outbox, ReportSink, Story};
use crate::session::{announce, cut_downloads};
use crate::source::memory::Memory;
use crate::source::remote::{self, Remote};
use crate::source::upstream::Network;
use crate::source::{Directory, Source};
use crate::storage::{self, Backend, PlaceError, S3Options, S3OptionsError, Storage, StorageError};

use folder::Folders;
pub use guard::Fallen;
use guard::Guard;
pub use reload::{ReloadError, Reloaded, Reloader};
use supply::{Place, Supply};

/// How long what is under way may take when the service ends.
const LAST_EFFECTS: Duration = Duration::from_secs(5);

/// Longer than any download rests: runs end their own transfers before.
const STALL: Duration = Duration::from_hours(24);

/// How the configuration is read, at the start and again whenever somebody wishes it.
pub type Load = Arc<dyn Fn() -> Result<Loaded, Mistakes> + Send + Sync>;

/// What the environment says, where the configuration leaves something to it.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Why a service did not start. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has mistakes.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// The settings of PostgreSQL.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A host of the configuration has the id of another one.
    #[error(transparent)]
    Hosts(#[from] KeyConflict),
    /// The way to GitHub.
    #[error(transparent)]
    GitHub(#[from] SetUpError),
    /// The cache of images.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Where files are stored.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// How files are stored.
    #[error(transparent)]
    Options(#[from] S3OptionsError),
    /// What files are stored in.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The boot listener.
    #[error("boot.listen: {0}")]
    Boot(BindError),
    /// The API's listener.
    #[error("server.listen: cannot listen on {address}: {error}")]
    Api {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Its certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The signed programs.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A user's password.
    #[error("auth.basic: {0}")]
    Users(String),
}

/// A service that has started: its ports are open, and nothing is served before [`Service::run`].
pub struct Service {
    parts: Parts,
    api: Api,
    api_listener: TcpListener,
    serving: Serving,
    boot: Option<(Listener, Option<Announced>)>,
    issues: Issues,
    outbox: Outbox,
    fetch: Option<Fetch>,
    told: i64,
    reloader: Reloader,
    /// Held until the service ends.
    claim: Claim,
    /// What a person should know, a sentence each.
    pub notices: Vec<String>,
}

/// What sources are made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    web: Web,
    github: GitHub,
    images: Images,
    cache: PathBuf,
    folders: Folders,
}

impl Service {
    /// Starts a service.
    pub async fn start(
        load: Load,
        environment: Environment,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<Self, StartError> {
        let Loaded { configuration, warnings } = load()?;
        let mut notices: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let database = settings::database(&configuration.database)?;
        let claim = Claim::take(&database).await?;
        let now: Now = {
            let clock = Arc::clone(&clock);
            Arc::new(move || clock.now())
        };
        let web = Web::new(&configuration.ca_certs, now)?;
        let storage = open_storage(&configuration, &environment, &web, &random).await?;
        let boot = bind_boot(&configuration, &random, &mut notices)?;
        let (api_listener, serving) = bind_api(&configuration).await?;
        let store = Store::connect(&database).await?;
        let told = *store.watch_events().borrow();
        let github = GitHub::new(web.clone(), configuration.github.api.clone(), sign_in(&configuration))?;
        let engine =
            Engine::without_sources(store, Arc::default(), Arc::clone(&clock), random.clone(), "dispatch");
        let users = hashed(&configuration, &random).await?;
        let api = Api::new(engine.clone(), reload::api_settings(&configuration, users));
        let limited = github.clone();
        api.metrics().queue().watch_github(move || limited.limits().map(|limits| limits.remaining));
        let cache = configuration.cache.path.clone();
        let images = Images::new(Cache::open(&cache)?, clock);
        let parts = Parts { engine, web, github, images, cache, folders: Folders::default() };
        let reloader = Reloader::new(parts.clone(), api.clone(), load);
        reloader.start(configuration.clone(), &mut notices).await?;
        parts
            .engine
            .decide(Focus::default().within(dispatch_store::Scope::Active), |snapshot, context| {
                snapshot.recover(context.now)
            })
            .await?;
        api.set_reloader(reloader.clone());
        let fetch = fetch(&parts, &configuration);
        let issues = Issues::new(parts.engine.clone(), Some(parts.github.clone()));
        let sink = match &configuration.reports {
            Some(folder) => ReportSink::Directory(folder.clone()),
            None => ReportSink::Storage(storage),
        };
        let outbox = Outbox::new(parts.engine.clone(), sink);
        if configuration.auth.users.is_empty() {
            notices.push("nobody can sign in: give users in auth.basic, and enable it".to_owned());
        }
        Ok(Self {
            parts,
            api,
            api_listener,
            serving,
            boot,
            issues,
            outbox,
            fetch,
            told,
            reloader,
            claim,
            notices,
        })
    }

    /// Reads the configuration again when somebody wishes it.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// What the service works with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.parts.engine
    }

    /// Where the API listens.
    #[must_use]
    pub fn api_url(&self) -> String {
        let scheme = if self.serving.tls.is_some() { "https" } else { "http" };
        let address = self.api_listener.local_addr();
        address.map_or_else(|error| error.to_string(), |address| format!("{scheme}://{address}"))
    }

    /// Where servers boot from, if any do.
    #[must_use]
    pub fn boot_urls(&self) -> Vec<String> {
        let path = self.reloader.configuration().boot.path.clone();
        self.boot
            .as_ref()
            .map(|(listener, _)| crate::session::urls(listener.bound(), &path))
            .unwrap_or_default()
    }

    /// Serves until `stop`, until a part of it has failed, or until another process has taken the database.
    pub async fn run<W: Write + Send + 'static>(
        self,
        log: Log<W>,
        now: fn() -> SystemTime,
        stop: CancellationToken,
    ) -> Result<(), Fallen> {
        let Self { parts, api, api_listener, serving, boot, issues, outbox, fetch, told, reloader, .. } =
            self;
        let (mut claim, stop) = (self.claim, stop.child_token());
        let engine = parts.engine.clone();
        let tasks = TaskTracker::new();
        let later = CancellationToken::new();
        let guard = Guard::new(stop.clone());
        let deadlines = Deadlines::new(engine.clone());
        tasks.spawn(guard.over("ends runs at their deadlines", deadlines.run(later.clone())));
        tasks.spawn(guard.over("stores reports", outbox.run(later.clone())));
        tasks.spawn(guard.over("files issues", issues.run(later.clone())));
        tasks.spawn(guard.over("ends downloads", cut_downloads(engine.clone(), stop.clone())));
        tasks.spawn(guard.over("forgets old answers", idempotency::sweep(engine.clone(), stop.clone())));
        if let Some(fetch) = fetch {
            tasks.spawn(guard.over("fetches images", fetch.run(stop.clone())));
        }
        let telling = TaskTracker::new();
        let last = CancellationToken::new();
        let story = Story::new(engine.store.clone(), log, told);
        telling.spawn(guard.over("tells the story", story.run(last.clone())));
        let path = reloader.configuration().boot.path.clone();
        let booting = async {
            let Some((listener, announced)) = boot else { return };
            if let Some(service) = announced {
                tasks.spawn(guard.over("announces the boot listener", announce(service, stop.clone())));
            }
            let limits = Limits { stall: STALL, ..Limits::default() };
            listener.serve(engine.clone(), path, now, limits, stop.clone()).await;
        };
        let api = api.serve(api_listener, serving, stop.clone());
        tokio::join!(api, booting, hold(&mut claim, &engine.store, &guard, &later), reloader.follow(&guard));
        reloader.end().await;
        later.cancel();
        tasks.close();
        let _ = tokio::time::timeout(LAST_EFFECTS, tasks.wait()).await;
        last.cancel();
        telling.close();
        let _ = tokio::time::timeout(LAST_EFFECTS, telling.wait()).await;
        engine.store.close().await;
        claim.release().await;
        guard.outcome()
    }
}

/// Holds the database until the end. If another process takes it, that is the end, and from then on nothing is filed by
/// this one.
async fn hold(claim: &mut Claim, store: &Store, guard: &Guard, effects: &CancellationToken) {
    let lost = async {
        loop {
            match claim.keep().await {
                // It is away, for whoever it may be: there is nothing to be done until it is back.
                StoreError::Unclaimed { .. } if store.ping().await.is_err() => {}
                why => return why,
            }
        }
    };
    if let Some(why) = guard.stop().run_until_cancelled(lost).await {
        effects.cancel();
        guard.end(why.to_string());
    }
}

impl Parts {
    /// The sources of a configuration, and the loops that follow them.
    fn sources(&self, configuration: &Configuration) -> (BTreeMap<SourceId, Arc<Source>>, Vec<Supply>) {
        let fetched = Arc::new(Source::Fetched(self.images.clone()));
        let mut sources = BTreeMap::new();
        let mut supplies = Vec::new();
        for (terms, source) in settings::supplies(configuration) {
            let (place, opened) = match &source.kind {
                SourceKind::Directory(folder) => {
                    let directory = Directory::new(folder.clone(), source.filter.clone());
                    let folder = self.folders.open(directory);
                    let opened = Arc::new(Source::Directory(folder.directory().clone()));
                    (Place::Folder(folder), opened)
                }
                SourceKind::Release { name, watch } => {
                    let remote = self.remote(configuration, &terms.source, Some(name), &[], &source.filter);
                    (Place::Remote(Box::new(remote), *watch), Arc::clone(&fetched))
                }
                SourceKind::Urls(urls) => {
                    let remote = self.remote(configuration, &terms.source, None, urls, &source.filter);
                    (Place::Remote(Box::new(remote), None), Arc::clone(&fetched))
                }
            };
            sources.insert(terms.source.clone(), opened);
            let title = format!("the source {}", terms.source);
            supplies.push(Supply::new(self.engine.clone(), terms, place, title));
        }
        (sources, supplies)
    }

    fn remote(
        &self,
        configuration: &Configuration,
        id: &SourceId,
        release: Option<&remote::ReleaseName>,
        urls: &[crate::source::urls::FileUrl],
        filter: &[String],
    ) -> Remote {
        let key = crate::session::source_key(release, urls, &configuration.github.api);
        // Each source writes its own.
        let memory = Memory::new(&self.cache, &format!("{id}\n{key}"));
        let (web, github) = (self.web.clone(), Some(self.github.clone()));
        Remote::new(web, github, release.cloned(), urls.to_vec(), filter.to_vec(), memory)
    }
}

fn sign_in(configuration: &Configuration) -> SignIn {
    let github = &configuration.github;
    if let Some(app) = &github.app {
        return SignIn::App { id: app.id, key: app.private_key.clone() };
    }
    match &github.token {
        Some(token) => SignIn::Token { token: token.clone(), from: Origin::Configuration },
        None => SignIn::Nobody,
    }
}

async fn open_storage(
    configuration: &Configuration,
    environment: &Environment,
    web: &Web,
    random: &Random,
) -> Result<Storage, StartError> {
    let place = match &configuration.storage {
        Stored::Folder(folder) => storage::Place::Folder(folder.clone()),
        Stored::S3 { bucket, prefix } => storage::place(Some(&format!("s3://{bucket}/{prefix}")), None)?,
    };
    let backend = Backend::new(&place, S3Options::default(), &|name| environment(name))?;
    let storage = Storage::open(backend, web, random, storage::Limits::default())?;
    storage.check().await?;
    Ok(storage)
}

fn bind_boot(
    configuration: &Configuration,
    random: &Random,
    notices: &mut Vec<String>,
) -> Result<Option<(Listener, Option<Announced>)>, StartError> {
    if configuration.metal_groups.is_empty() {
        return Ok(None);
    }
    let (programs, mut warnings) = match &configuration.boot.stubs {
        Some(folder) => Programs::signed(folder)?,
        None => Default::default(),
    };
    notices.append(&mut warnings);
    let listener =
        Listener::bind(configuration.boot.listen).map_err(StartError::Boot)?.with_programs(programs);
    let bound = listener.bound();
    let is_loopback = bound.address.is_some_and(|address| address.is_loopback());
    let [a, b, c, d, ..] = random();
    let announced = (configuration.mdns && !is_loopback).then(|| Announced {
        bound,
        path: configuration.boot.path.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: "boot images".to_owned(),
        suffix: u32::from_be_bytes([a, b, c, d]),
    });
    Ok(Some((listener, announced)))
}

async fn bind_api(configuration: &Configuration) -> Result<(TcpListener, Serving), StartError> {
    let tls = match &configuration.server.tls {
        Some(tls) => Some(Tls::read(&tls.cert_file, &tls.key_file)?),
        None => None,
    };
    let Bind { address, port } = configuration.server.listen;
    let any = std::net::IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED);
    let listener = match TcpListener::bind((address.unwrap_or(any), port)).await {
        // A machine without IPv6.
        Err(_) if address.is_none() => TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await,
        bound => bound,
    };
    let address = address.map_or_else(|| format!("port {port}"), |address| format!("{address}, port {port}"));
    let failed = |error| StartError::Api { address, error };
    Ok((listener.map_err(failed)?, Serving { tls, ..Serving::default() }))
}

/// The users with their passwords hashed, which takes a while.
async fn hashed(configuration: &Configuration, random: &Random) -> Result<Users, StartError> {
    let (users, random) = (settings::users(configuration), random.clone());
    let hashed = tokio::task::spawn_blocking(move || Users::load(&users, &random)).await;
    let failed = |error: &dyn std::fmt::Display| StartError::Users(error.to_string());
    hashed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// What fetches images, if there are groups that could need any.
fn fetch(parts: &Parts, configuration: &Configuration) -> Option<Fetch> {
    if configuration.metal_groups.is_empty() {
        return None;
    }
    let network = Network::new(parts.web.clone(), Some(parts.github.clone()), false);
    let settings = FetchSettings { limit: configuration.cache.size, prefetch: configuration.cache.prefetch };
    Some(Fetch::new(parts.engine.clone(), parts.images.clone(), Arc::new(network), settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::testing::counting;

    #[test]
    fn without_a_metal_group_nothing_listens_for_firmware_and_nothing_is_announced() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = taken.local_addr().expect("an address");
        let bind = |groups: &str| {
            let text = format!("boot: {{ listen: \"{at}\" }}\ngroups: {groups}\n");
            let none = |_: &str| Err(std::env::VarError::NotPresent);
            let loaded = crate::config::parse(&text, std::path::Path::new("dispatch.yaml"), &none);
            let configuration = loaded.expect("a configuration").configuration;
            bind_boot(&configuration, &counting(), &mut Vec::new())
        };
        let runners = bind("{ github: [{ id: r, runner_labels: [x] }] }").expect("nobody wants the port");
        assert!(runners.is_none());
        let metal = bind("{ metal: [{ id: m }] }");
        assert!(matches!(metal, Err(StartError::Boot(_))), "its port is taken");
    }
}
