//! A session: one source of images, one state folder, one listener.

mod config;
mod offered;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_boot::cache::CacheError;
use dispatch_boot::route::BootPath;
use dispatch_boot::{
    Announcement, Bind, BindError, Limits, Listener, Programs, ProgramsError, Service, Stop,
};
use dispatch_core::queue::{Again, EndedBy, Opened, exit_status, not_seen};
use dispatch_core::run::Policy;
use dispatch_core::text::count;
use dispatch_core::{Effect, Job, Workload};
use dispatch_github::GitHub;
use dispatch_store::{Cursor, Focus, Lane, Store, StoreError, WaitingEffect};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::addresses::own_addresses;
use crate::clock::{Clock, Random};
use crate::engine::Engine;
use crate::fetch::{Fetch, Settings};
use crate::hub::HubError;
use crate::log::Log;
use crate::reconcile::{Deadlines, Ending, Hook, Issues, Outbox, ReportSink, Story, Watch};
use crate::source::SourceError;
use crate::source::remote::RemoteError;
use crate::state::{State, StateError};
use crate::view::View;

pub use config::{Config, RemoteConfig, SourceConfig, remote_of, source_key};
use offered::{Fetched, offered};

/// How much longer than its run's deadline a transfer's own is: the run's comes first and has the better words.
const STALL_MARGIN: Duration = Duration::from_secs(10);

/// How long what is under way may take when the session ends.
const LAST_EFFECTS: Duration = Duration::from_secs(5);

/// How long the command of `--on-event` may take for the last events, if nobody waits for the end.
const LAST_EVENTS: Duration = Duration::from_secs(30);

/// Longer than any download rests.
const A_DAY: Duration = Duration::from_hours(24);

/// How often a source is looked at by somebody who is not signed in.
const ANONYMOUS: Duration = Duration::from_mins(3);

/// How a session ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How the queue stands.
    pub view: View,
    jobs: Vec<Job>,
    /// How many reports will never be issues.
    refused: u64,
}

impl Ended {
    /// The exit status, if the session was to end by itself.
    #[must_use]
    pub fn status(&self, by: EndedBy) -> u8 {
        exit_status(&self.jobs, self.view.effects_due + self.refused, by)
    }
}

/// Why a session did not start. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The source, if it is a directory.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source, if it is fetched.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The way to GitHub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The cache of images.
    #[error(transparent)]
    Cache(#[from] CacheError),
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
    /// Nothing that is offered came out as `--again` says.
    #[error(
        "nothing is to be run again: nothing that is offered came out as {} (the last round: {tally}){}; without \
         --again everything is run",
        in_words(again),
        missing(again, names).map(|missing| format!("; {missing}")).unwrap_or_default()
    )]
    NothingAgain {
        /// What was wanted.
        again: Vec<Again>,
        /// How the last round came out.
        tally: String,
        /// What came out so, and is not offered.
        names: Vec<String>,
    },
}

fn in_words(again: &[Again]) -> String {
    again.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" or ")
}

/// What would be run again, were it there.
fn missing(again: &[Again], names: &[String]) -> Option<String> {
    let (file, leave) = match names.len() {
        0 => return None,
        1 => ("its file is", "it"),
        _ => ("their files are", "them"),
    };
    let (names, words) = (names.join(", "), in_words(again));
    Some(format!("{names} came out as {words}, but {file} gone, or the filters leave {leave} out"))
}

/// A session that has started: its port is open, and its queue is up to date.
pub struct Session {
    engine: Engine,
    listener: Listener,
    config: Config,
    /// Held until the session ends.
    state: State,
    told: i64,
    refused: u64,
    announced: Option<Service>,
    github: Option<GitHub>,
    fetched: Option<Fetched>,
    /// Where issues will be filed and as whom, or why they will not.
    pub filing: Option<String>,
    /// What a person should know, a sentence each.
    pub notices: Vec<String>,
}

impl Session {
    /// Starts a session. Nothing is served before [`Session::run`].
    pub async fn start(config: Config, clock: Arc<dyn Clock>, random: Random) -> Result<Self, StartError> {
        let offered = offered(&config, Arc::clone(&clock)).await?;
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
        // Before anything happens, or a start that is cut off would take it from the command.
        match (&config.on_event, store.cursor(Cursor::OnEvent).await?) {
            // From here on; what happened before it was asked for is nobody's news.
            (Some(_), None) => store.set_cursor(Cursor::OnEvent, Some(told)).await?,
            (None, Some(_)) => store.set_cursor(Cursor::OnEvent, None).await?,
            _ => {}
        }
        let refused = store.effects_refused().await?;
        let waiting = store.waiting_effects(Lane::Issues, u32::MAX).await?;
        let title = config.title();
        let announced = announced(&config, listener.bound(), &random);
        let arch = config.policy.arch.or(offered.arch);
        let ends_when_done = config.exit_when_done;
        let sinks = offered.hub.as_ref().map(|hub| hub.sinks.clone()).unwrap_or_default();
        let is_watching = matches!(&config.source, SourceConfig::Remote(remote) if remote.watch.is_some());
        let policy = Arc::new(Policy {
            arch,
            ends_when_done,
            is_watching,
            sinks,
            has_footer: config.hub.footer,
            ..config.policy.clone()
        });
        let engine = Engine::new(store, policy, clock, random, offered.source, &title);
        engine.decide(Focus::default(), |snapshot, context| snapshot.recover(context.now)).await?;
        let again = config.again.clone();
        let opening = engine
            .decide(Focus::last_round(), |snapshot, context| snapshot.open(&offered.found, &again, context))
            .await?;
        let (github, filing, mut notices) =
            offered.hub.map_or_else(Default::default, |hub| (hub.github, hub.filing, hub.warnings));
        notices.extend(offered.warnings);
        notices.append(&mut warnings);
        notices.extend(still_waiting(&waiting, github.as_ref().is_some_and(GitHub::signed_in)));
        match opening.opened {
            Opened::NothingAgain(tally) => {
                return Err(StartError::NothingAgain { again, tally, names: opening.missing });
            }
            Opened::AllOver(tally) => notices.push(format!(
                "everything in this state is done ({tally}), and the session before was cut off: this one ends it; \
                 start again to run everything anew"
            )),
            Opened::Round(..) | Opened::GoesOn(_) => {}
        }
        notices.extend(missing(&again, &opening.missing));
        let hosts = engine.policy().hosts.clone();
        if !hosts.is_empty() {
            notices.extend(not_seen(&hosts, &engine.store.overview().await?.hosts));
        }
        let fetched = offered.fetched;
        Ok(Self {
            engine,
            listener,
            config,
            state,
            told,
            refused,
            announced,
            github,
            fetched,
            filing,
            notices,
        })
    }

    /// What the session works with.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The URLs to type into a boot menu, the likeliest first.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        urls(self.listener.bound(), &self.config.path)
    }

    /// Serves until `stop`. Returns how the queue stands then.
    pub async fn run<W: Write + Send + 'static>(
        self,
        log: Log<W>,
        now: fn() -> SystemTime,
        stop: CancellationToken,
    ) -> Result<Ended, StoreError> {
        let Self {
            engine, listener, config, state, told, refused, announced, github, fetched, notices, ..
        } = self;
        let overview = engine.store.overview().await?;
        let stall = longest_download(&config, &overview.workloads).saturating_add(STALL_MARGIN);
        let log = log.with_names(overview.jobs.iter().map(|job| job.name.as_str()));
        let tasks = TaskTracker::new();
        let later = CancellationToken::new();
        tasks.spawn(Deadlines::new(engine.clone()).run(later.clone()));
        let reports = ReportSink::Directory(config.reports.clone());
        tasks.spawn(Outbox::new(engine.clone(), reports).run(later.clone()));
        let is_anonymous = github.as_ref().is_some_and(|github| !github.signed_in());
        tasks.spawn(Issues::new(engine.clone(), github).run(later.clone()));
        tasks.spawn(cut_downloads(engine.clone(), stop.clone()));
        if let (Some(fetched), SourceConfig::Remote(remote)) = (fetched, &config.source) {
            let Fetched { remote: source, found, images, network } = fetched;
            let settings = Settings { limit: remote.cache_size, prefetch: remote.prefetch };
            tasks.spawn(Fetch::new(engine.clone(), images, Arc::new(network), settings).run(stop.clone()));
            let every = remote.watch.map(|every| at_least(every, is_anonymous));
            tasks.spawn(Watch::new(engine.clone(), source, every, found, notices).run(stop.clone()));
        }
        if let Some(service) = announced {
            tasks.spawn(announce(service, stop.clone()));
        }
        let telling = TaskTracker::new();
        let last = CancellationToken::new();
        telling.spawn(Story::new(engine.store.clone(), log, told).run(last.clone()));
        let give_up = CancellationToken::new();
        let has_hook = config.on_event.is_some();
        if let Some(command) = config.on_event {
            telling.spawn(Hook::new(engine.store.clone(), command).run(last.clone(), give_up.clone()));
        }
        let ending =
            config.exit_when_done.then(|| tasks.spawn(Ending::new(engine.clone()).run(stop.clone())));
        let limits = Limits { stall, ..Limits::default() };
        listener.serve(engine.clone(), config.path, now, limits, stop).await;
        later.cancel();
        tasks.close();
        // What is not done by then is told below.
        let _ = tokio::time::timeout(LAST_EFFECTS, tasks.wait()).await;
        let by_itself = match ending {
            Some(ending) => ending.await.unwrap_or(false),
            None => false,
        };
        engine.decide(Focus::last_round(), |snapshot, _| snapshot.close()).await?;
        last.cancel();
        telling.close();
        let patience = if by_itself { LAST_EVENTS } else { LAST_EFFECTS };
        if tokio::time::timeout(patience, telling.wait()).await.is_err() {
            give_up.cancel();
            let _ = tokio::time::timeout(LAST_EFFECTS, telling.wait()).await;
        }
        let ended = Self::ended(&engine, has_hook, &config.reports, refused).await;
        engine.store.close().await;
        drop(state);
        ended
    }

    /// How it ended, and what a person should know of what is left to do.
    async fn ended(
        engine: &Engine,
        has_hook: bool,
        reports: &Path,
        refused: u64,
    ) -> Result<Ended, StoreError> {
        let left = if has_hook { engine.store.events_left(Cursor::OnEvent).await? } else { 0 };
        if left > 0 {
            tracing::warn!(
                "--on-event: {} could not be told to the command any more; the next start with --on-event tells what \
                 is left",
                count(left, "event")
            );
        }
        let view = engine.view().await?;
        let of_lane =
            async |lane| engine.store.waiting_effects(lane, u32::MAX).await.map(|all| all.len() as u64);
        let (files, issues) = (of_lane(Lane::Files).await?, of_lane(Lane::Issues).await?);
        if files > 0 {
            tracing::warn!(
                "{} could not be written to {}; the state has everything, and the next start writes it",
                count(files, "report"),
                reports.display()
            );
        }
        if issues > 0 {
            tracing::warn!(
                "{} could not be filed yet; the state has everything, and the next start files what is left",
                count(issues, "issue")
            );
        }
        let refused = engine.store.effects_refused().await?.saturating_sub(refused);
        let jobs = engine.store.overview().await?.jobs;
        Ok(Ended { view, jobs, refused })
    }
}

/// The URLs of a boot listener, the likeliest first.
pub(crate) fn urls(bound: Bind, path: &BootPath) -> Vec<String> {
    let Bind { address, port } = bound;
    let addresses = match address {
        Some(address) if !address.is_unspecified() => vec![address],
        _ => own_addresses(address != Some(IpAddr::from([0, 0, 0, 0]))),
    };
    let url = |address: IpAddr| {
        let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        format!("http://{host}:{port}{}", path.as_str())
    };
    addresses.into_iter().map(url).collect()
}

/// What is left to be filed of sessions before, and what that needs: this one may have no destination, or another.
fn still_waiting(waiting: &[WaitingEffect], is_signed_in: bool) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for effect in waiting {
        if let Effect::FileIssue { repository, .. } = &effect.effect {
            *counts.entry(repository).or_default() += 1;
        }
    }
    let words = |(repository, number): (&str, u64)| {
        let what =
            format!("{} of before wait to be filed as issues of {repository}", count(number, "report"));
        if is_signed_in {
            what
        } else {
            format!("{what}: for that, start with --issues-to {repository}, and --token or GITHUB_TOKEN")
        }
    };
    counts.into_iter().map(words).collect()
}

/// The longest that a download may rest, whichever image it is of: a run ends its own transfers before.
fn longest_download(config: &Config, workloads: &[Workload]) -> Duration {
    let usual = config.policy.deadlines;
    let own = workloads.iter().map(|known| usual.with(&known.terms.deadlines).download);
    // What a description will say of images that are still to come nobody knows.
    let to_come =
        matches!(&config.source, SourceConfig::Remote(remote) if remote.watch.is_some()).then_some(A_DAY);
    own.chain(to_come).chain([usual.download]).max().unwrap_or(usual.download)
}

/// How often a source is looked at: whoever is not signed in may ask GitHub sixty times in an hour, and pays also for
/// the answer that nothing is new.
fn at_least(every: Duration, is_anonymous: bool) -> Duration {
    if is_anonymous && every < ANONYMOUS {
        tracing::warn!(
            "not signed in, GitHub takes sixty requests in an hour: --watch looks every {}",
            dispatch_core::text::duration(ANONYMOUS)
        );
        return ANONYMOUS;
    }
    every
}

/// Cuts off the downloads that are going on when the session ends, while their ends can still be noted: the next
/// start takes them up again.
pub(crate) async fn cut_downloads(engine: Engine, stop: CancellationToken) {
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
        description: description(&config.source),
        suffix: u32::from_be_bytes([a, b, c, d]),
    })
}

/// What is served, in words. Not the whole path: it is nobody's business on the network.
fn description(source: &SourceConfig) -> String {
    let dir = match source {
        SourceConfig::Directory(dir) => dir,
        SourceConfig::Remote(RemoteConfig { release: Some(release), .. }) => {
            return format!("boot images of {release}");
        }
        SourceConfig::Remote(_) => return "boot images".to_owned(),
    };
    // `.` and `..` have no name of their own.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    dir.file_name()
        .map_or_else(|| "boot images".to_owned(), |name| format!("boot images of {}", name.display()))
}

/// Lets images find the server until `stop`. A session goes on without.
pub(crate) async fn announce(service: Service, stop: CancellationToken) {
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
    use std::pin::pin;
    use std::sync::atomic::{AtomicU8, Ordering};
    use std::task::Poll;

    use tempfile::TempDir;

    use super::*;
    use crate::clock::testing::Hands;
    use crate::hub::{HubConfig, ReportTo};

    fn config(folder: &TempDir) -> Config {
        let images = folder.path().join("images");
        std::fs::create_dir_all(&images).expect("a folder");
        std::fs::write(images.join("a.efi"), "MZ").expect("an image");
        Config {
            source: SourceConfig::Directory(images),
            hub: HubConfig {
                api: "https://api.github.test/".parse().expect("a URL"),
                ca_certs: Vec::new(),
                candidates: Vec::new(),
                issues_to: None,
                report: ReportTo::Both,
                footer: true,
            },
            offline: false,
            filters: Vec::new(),
            bind: "127.0.0.1:0".parse().expect("an address"),
            path: BootPath::new("/dispatch").expect("a path"),
            mdns: false,
            state: folder.path().join("state"),
            fresh: false,
            reports: folder.path().join("reports"),
            policy: Policy::default(),
            again: Vec::new(),
            stubs: None,
            exit_when_done: false,
            on_event: Some("true".to_owned()),
        }
    }

    /// Starts a session, and cuts that off once it has been polled so often. Tells how often it was.
    async fn start(config: Config, most: usize) -> (Option<Session>, usize) {
        static SEED: AtomicU8 = AtomicU8::new(0);
        let random: Random = Arc::new(|| [SEED.fetch_add(1, Ordering::Relaxed); 10]);
        let mut starting = pin!(Session::start(config, Arc::new(Hands::default()), random));
        let mut polls = 0;
        let session = std::future::poll_fn(|context| {
            polls += 1;
            match starting.as_mut().poll(context) {
                Poll::Ready(session) => Poll::Ready(Some(session.expect("a start"))),
                Poll::Pending if polls >= most => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        (session, polls)
    }

    #[tokio::test]
    async fn a_start_that_is_cut_off_takes_no_event_from_the_command() {
        let folder = TempDir::new().expect("a folder");
        let (session, whole) = start(config(&folder), usize::MAX).await;
        assert!(session.is_some());
        for most in whole.saturating_sub(30)..whole {
            let folder = TempDir::new().expect("a folder");
            let config = config(&folder);
            drop(start(config.clone(), most.max(1)).await);
            let (session, _) = start(config, usize::MAX).await;
            let store = &session.expect("a start").engine.store;
            let cursor = store.cursor(Cursor::OnEvent).await.expect("read");
            assert_eq!(cursor, Some(0), "cut off at {most} of {whole}: that the job was queued is not told");
        }
    }

    #[test]
    fn a_directory_is_described_by_its_name_however_it_is_written() {
        let folder = TempDir::new().expect("a folder");
        let images = folder.path().join("images");
        std::fs::create_dir_all(images.join("old")).expect("folders");
        for written in ["", ".", "old/..", "../images/"] {
            assert_eq!(
                description(&SourceConfig::Directory(images.join(written))),
                "boot images of images",
                "{written}"
            );
        }
        assert_eq!(description(&SourceConfig::Directory("/".into())), "boot images");
        assert_ne!(description(&SourceConfig::Directory(".".into())), "boot images");
    }
}
