//! A session: one directory of images, one state folder, one listener.

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_boot::route::BootPath;
use dispatch_boot::{
    Announcement, Bind, BindError, Limits, Listener, Programs, ProgramsError, Service, Stop,
};
use dispatch_core::Verdict;
use dispatch_core::queue::{Opened, exit_status};
use dispatch_core::run::Policy;
use dispatch_store::{Cursor, Focus, Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::own_addresses;
use crate::clock::{Clock, Random};
use crate::engine::Engine;
use crate::log::Log;
use crate::reconcile::{Deadlines, Ending, Hook, Outbox, Story};
use crate::source::{Directory, SourceError};
use crate::state::{State, StateError};
use crate::view::View;

/// How much longer than its run's deadline a transfer's own is: the run's comes first and has the better words.
const STALL_MARGIN: Duration = Duration::from_secs(10);

/// How long what is under way may take when the session ends.
const LAST_EFFECTS: Duration = Duration::from_secs(5);

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of images.
    pub dir: PathBuf,
    /// Parts of names; any match keeps an image.
    pub filters: Vec<String>,
    /// Where to listen.
    pub bind: Bind,
    /// The boot path.
    pub path: BootPath,
    /// Announce the server by mDNS, unless it listens on loopback.
    pub mdns: bool,
    /// The state folder.
    pub state: PathBuf,
    /// Forget what the state folder holds.
    pub fresh: bool,
    /// Where the reports go.
    pub reports: PathBuf,
    /// The settings of the queue.
    pub policy: Policy,
    /// What came out so is run again.
    pub again: Vec<Verdict>,
    /// A directory of signed programs for hosts without work.
    pub stubs: Option<PathBuf>,
    /// End when all jobs are over.
    pub exit_when_done: bool,
    /// A shell command to be run with each event.
    pub on_event: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How the queue stands.
    pub view: View,
    /// The exit status of a session that ended by itself.
    pub status: u8,
}

/// Why a session did not start. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The signed programs.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// Nothing came out as `--again` says.
    #[error(
        "nothing is to be run again: no job of the last round is {wanted} ({tally}); without --again everything is run"
    )]
    NothingAgain {
        /// What was wanted, in words.
        wanted: String,
        /// How the last round came out.
        tally: String,
    },
}

/// A session that has started: its port is open, and its queue is up to date.
pub struct Session {
    engine: Engine,
    listener: Listener,
    config: Config,
    /// Held until the session ends.
    state: State,
    told: i64,
    announced: Option<Service>,
    /// What a person should know, a sentence each.
    pub notices: Vec<String>,
}

impl Session {
    /// Starts a session. Nothing is served before [`Session::run`].
    pub async fn start(config: Config, clock: Arc<dyn Clock>, random: Random) -> Result<Self, StartError> {
        let directory = Directory::new(config.dir.clone(), config.filters.clone());
        let scan = directory.scan()?;
        let state = State::take(&config.state)?;
        let (programs, mut warnings) = match &config.stubs {
            Some(directory) => Programs::signed(directory)?,
            None => Default::default(),
        };
        let listener = Listener::bind(config.bind)?.with_programs(programs);
        if config.fresh {
            // Only now that nothing but the database itself can keep the session from starting.
            state.forget()?;
        }
        let store = Store::open(&state.database()).await?;
        let told = *store.watch_events().borrow();
        let title = config.dir.display().to_string();
        let announced = announced(&config, listener.bound(), &random);
        let arch = config.policy.arch.or(scan.arch());
        let policy = Arc::new(Policy { arch, ..config.policy.clone() });
        let engine = Engine::new(store, policy, clock, random, directory, &title);
        engine.decide(Focus::default(), |snapshot, context| snapshot.recover(context.now)).await?;
        let everything = Focus { all_jobs: true, ..Focus::default() };
        let again = config.again.clone();
        let opened = engine
            .decide(everything, |snapshot, context| snapshot.open(&scan.found, &again, context))
            .await?;
        let mut notices = scan.warnings;
        notices.append(&mut warnings);
        match opened {
            Opened::NothingAgain(tally) => {
                let wanted = again.iter().map(|verdict| verdict.as_str()).collect::<Vec<_>>().join(" or ");
                return Err(StartError::NothingAgain { wanted, tally });
            }
            Opened::AllOver(tally) => notices.push(format!(
                "everything in this state is done ({tally}), and the session before was cut off: this one ends it; \
                 start again to run everything anew"
            )),
            Opened::Round(..) | Opened::GoesOn(_) => {}
        }
        match (&config.on_event, engine.store.cursor(Cursor::OnEvent).await?) {
            // From here on; what happened before it was asked for is nobody's news.
            (Some(_), None) => engine.store.set_cursor(Cursor::OnEvent, Some(told)).await?,
            (None, Some(_)) => engine.store.set_cursor(Cursor::OnEvent, None).await?,
            _ => {}
        }
        Ok(Self { engine, listener, config, state, told, announced, notices })
    }

    /// What the session works with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The URLs to type into a boot menu, the likeliest first.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let Bind { address, port } = self.listener.bound();
        let addresses = match address {
            Some(address) if !address.is_unspecified() => vec![address],
            _ => own_addresses(address != Some(IpAddr::from([0, 0, 0, 0]))),
        };
        let url = |address: IpAddr| {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            format!("http://{host}:{port}{}", self.config.path.as_str())
        };
        addresses.into_iter().map(url).collect()
    }

    /// Serves until `stop`. Returns how the queue stands then.
    pub async fn run<W: Write + Send + 'static>(
        self,
        log: Log<W>,
        now: fn() -> SystemTime,
        stop: CancellationToken,
    ) -> Result<Ended, StoreError> {
        let Self { engine, listener, config, state, told, announced, .. } = self;
        let overview = engine.store.overview().await?;
        let log = log.with_names(overview.jobs.iter().map(|job| job.name.as_str()));
        let tasks = TaskTracker::new();
        let later = CancellationToken::new();
        tasks.spawn(Deadlines::new(engine.clone()).run(later.clone()));
        tasks.spawn(Outbox::new(engine.clone(), config.reports).run(later.clone()));
        tasks.spawn(cut_downloads(engine.clone(), stop.clone()));
        if let Some(service) = announced {
            tasks.spawn(announce(service, stop.clone()));
        }
        let telling = TaskTracker::new();
        let last = CancellationToken::new();
        telling.spawn(Story::new(engine.store.clone(), log, told).run(last.clone()));
        if let Some(command) = config.on_event {
            telling.spawn(Hook::new(engine.store.clone(), command).run(last.clone()));
        }
        if config.exit_when_done {
            tasks.spawn(Ending::new(engine.clone()).run(stop.clone()));
        }
        let stall = config.policy.deadlines.download.saturating_add(STALL_MARGIN);
        let limits = Limits { stall, ..Limits::default() };
        listener.serve(engine.clone(), config.path, now, limits, stop).await;
        later.cancel();
        tasks.close();
        if tokio::time::timeout(LAST_EFFECTS, tasks.wait()).await.is_err() {
            tracing::warn!("some reports are not written yet; the next start writes them");
        }
        engine.decide(Focus { all_jobs: true, ..Focus::default() }, |snapshot, _| snapshot.close()).await?;
        last.cancel();
        telling.close();
        let _ = tokio::time::timeout(LAST_EFFECTS, telling.wait()).await;
        let view = engine.view().await;
        let status = engine.store.overview().await.map(|all| exit_status(&all.jobs));
        engine.store.close().await;
        drop(state);
        Ok(Ended { view: view?, status: status? })
    }
}

/// Cuts off the downloads that are going on when the session ends, while their ends can still be noted: the next
/// start takes them up again.
async fn cut_downloads(engine: Engine, stop: CancellationToken) {
    stop.cancelled().await;
    for (_, progress) in engine.live().all() {
        progress.stop(Stop::WeEnd);
    }
}

/// What is announced of a session: nothing of one that only this machine can reach.
fn announced(config: &Config, bound: Bind, random: &Random) -> Option<Service> {
    let is_loopback = bound.address.is_some_and(|address| address.is_loopback());
    let [a, b, c, d, ..] = random();
    (config.mdns && !is_loopback).then(|| Service {
        bound,
        path: config.path.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: description(&config.dir),
        suffix: u32::from_be_bytes([a, b, c, d]),
    })
}

/// What is served, in words. Not the whole path: it is nobody's business on the network.
fn description(dir: &Path) -> String {
    // `.` and `..` have no name of their own.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    dir.file_name()
        .map_or_else(|| "boot images".to_owned(), |name| format!("boot images of {}", name.display()))
}

/// Lets images find the server until `stop`. A session goes on without.
async fn announce(service: Service, stop: CancellationToken) {
    match Announcement::start(&service) {
        Ok(announcement) => {
            tracing::debug!("announced by mDNS as {}", announcement.name());
            stop.run_until_cancelled(announcement.watch()).await;
            announcement.stop().await;
        }
        Err(error) => {
            tracing::warn!(
                "not announced by mDNS, hosts need the boot URL (--no-mdns does not try): {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_described_by_its_name_however_it_is_written() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let images = folder.path().join("images");
        std::fs::create_dir_all(images.join("old")).expect("folders");
        for written in ["", ".", "old/..", "../images/"] {
            assert_eq!(description(&images.join(written)), "boot images of images", "{written}");
        }
        assert_eq!(description(Path::new("/")), "boot images");
        assert_ne!(description(Path::new(".")), "boot images");
    }
}
