//! `dispatch --dir PATH`, `dispatch --repo OWNER/NAME`: a session.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use dispatch_core::queue::EndedBy;
use dispatch_core::run::Policy;
use dispatch_core::verdict::Judge;
use dispatch_github::{GhCli, Given};
use dispatch_server::check::CheckError;
use dispatch_server::engine::Engine;
use dispatch_server::hub::HubConfig;
use dispatch_server::log::{Format, Log};
use dispatch_server::session::{Config, RemoteConfig, Session, SourceConfig, StartError, source_key};
use dispatch_server::{state, view};
use dispatch_store::StoreError;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use url::Url;

use crate::cli::{Chosen, SessionArgs, Switch};
use crate::console::Console;
use crate::diagnostics::Notices;
use crate::terminal::Facts;
use crate::{diagnostics, real, terminal};

/// Why the program ends with a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(dispatch_server::service::StartError),
    #[error(transparent)]
    Fallen(#[from] dispatch_server::service::Fallen),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Programs(#[from] dispatch_boot::ProgramsError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{0}")]
    CommandLine(String),
    #[error("there is no place for the state: set HOME or XDG_STATE_HOME, or give --state")]
    NoHome,
    #[error("there is no place for fetched images: set HOME or XDG_CACHE_HOME, or give --cache")]
    NoCache,
    #[error("the App's key {} cannot be read: {error}; give the file that GitHub made with --app-key", path.display())]
    AppKey { path: PathBuf, error: io::Error },
    #[error("{0} before the session had started")]
    NotStarted(&'static str),
    #[error("a second {0}: ended at once, and the next start goes on from here")]
    Impatient(&'static str),
    #[error("signals cannot be received: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot write to the terminal: {0}")]
    Output(#[source] io::Error),
}

/// Runs a session until a signal ends it, or all is done if it is to end then. Returns the exit status.
pub(crate) async fn run(args: SessionArgs, chosen: Chosen) -> Result<u8, Failure> {
    // First of all: whatever follows, the first signal ends it in good order.
    let signals = Signals::new().map_err(Failure::Signals)?;
    let format = Format::from(args.log);
    let zone = TimeZone::system();
    let notices = Notices::default();
    diagnostics::install(format, zone.clone(), notices.clone());
    let with_view = !args.no_tui && terminal::is_there();
    let config = config(args, chosen).await?;
    let log = config.state.join("dispatch.log");
    let source = config.title();
    let (reports, exit_when_done) = (config.reports.clone(), config.exit_when_done);
    let stop = CancellationToken::new();
    // Dropped as soon as it has come: whoever insists is heard by the same signals.
    let mut first = Box::pin(signals.next());
    let starting = Session::start(config, Arc::new(real::SystemClock), real::random());
    let session = tokio::select! {
        session = starting => session?,
        // A directory on a file server that is away, say.
        name = &mut first => return Err(Failure::NotStarted(name)),
    };
    // From here on: the file has everything that the terminal would have had.
    let with_view = with_view && divert(&log);
    announce(&session);
    let engine = session.engine().clone();
    let log_of_view = with_view.then(|| log.clone());
    let urls = session.urls();
    let (since, urls_shown) = (engine.since, urls.clone());
    let facts = Facts { source, urls: urls_shown, reports: reports.clone(), log, since, zone: zone.clone() };
    let viewing = async {
        if !with_view {
            return std::future::pending().await;
        }
        if let Err(error) = view(&engine, facts, &notices).await {
            warn!("there can be no view: {error}; log lines instead");
            for url in &urls {
                info!("boot URL: {url}");
            }
            std::future::pending::<()>().await;
        }
    };
    let mut serving = pin!(session.run(Log::new(Console, format, zone), real::now, stop.clone()));
    let why = tokio::select! {
        ended = &mut serving => Err(ended),
        name = first => Ok(name),
        () = viewing => Ok("q"),
    };
    let by = why.as_ref().map_or(EndedBy::Itself, |why| ended_by(why));
    let ended = match why {
        Err(ended) => ended?,
        Ok(why) => {
            info!("{why}: ending");
            stop.cancel();
            tokio::select! {
                ended = serving => ended?,
                name = signals.insists() => return Err(Failure::Impatient(name)),
            }
        }
    };
    if format == Format::Text {
        let table = view::table(&ended.view, terminal_width());
        // Nobody may be there to read it any more.
        let _ = write!(Console, "\n{table}Reports are in {}\n", reports.display());
        if let Some(log) = log_of_view {
            let _ = writeln!(Console, "What happened while the view was up is in {}", log.display());
        }
    }
    Ok(if exit_when_done { ended.status(by) } else { 0 })
}

/// What ended the session, by its name: that of a signal, or the view's key.
fn ended_by(name: &str) -> EndedBy {
    let known = [
        ("SIGTERM", SignalKind::terminate()),
        ("SIGINT", SignalKind::interrupt()),
        ("SIGHUP", SignalKind::hangup()),
    ];
    let signal = known.into_iter().find(|(known, _)| *known == name);
    let number = signal.and_then(|(_, kind)| u8::try_from(kind.as_raw_value()).ok());
    number.map_or(EndedBy::Person, EndedBy::Signal)
}

/// Sends the log to its file, and returns whether it goes there: what is printed must not be drawn into a view.
fn divert(log: &Path) -> bool {
    let file = File::options().create(true).append(true).open(log);
    let diverted = file.and_then(|file| {
        let is_taken = Console::divert(Some(file));
        is_taken.then_some(()).ok_or_else(|| io::Error::other("the terminal does not take its lines"))
    });
    if let Err(error) = &diverted {
        warn!(
            "there can be no view, because the log cannot go to {}: {error}; log lines instead",
            log.display()
        );
    }
    diverted.is_ok()
}

/// Shows the session until a person ends it. The log has gone to its file before.
async fn view(engine: &Engine, facts: Facts, notices: &Notices) -> io::Result<()> {
    // However it ends, and also where a signal ends it: what comes after is for the terminal again.
    let _back = Back;
    // What was written before must not be drawn into the view.
    Console::finish();
    terminal::run(engine, facts, notices).await
}

/// Gives the terminal back to the log.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        // One that is gone takes no lines: they stay in the file then.
        if io::stdout().is_terminal() {
            Console::divert(None);
        }
    }
}

fn announce(session: &Session) {
    for url in session.urls() {
        info!("boot URL: {url}");
    }
    if let Some(filing) = &session.filing {
        info!("{filing}");
    }
    for notice in &session.notices {
        warn!("{notice}");
    }
}

/// The width that `COLUMNS` names, or that of the terminal, or the usual one.
pub(crate) fn terminal_width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .or_else(terminal::width)
        .filter(|width| *width >= 40)
        .unwrap_or(100)
}

/// The session that a command line asks for.
pub(crate) async fn config(args: SessionArgs, chosen: Chosen) -> Result<Config, Failure> {
    let hub = hub(&args).await?;
    let policy = Policy {
        deadlines: args.rules.deadlines(),
        retries: args.rules.retries,
        when_idle: args.rules.when_idle,
        ends_when_done: args.exit_when_done,
        hosts: args.host,
        labels: args.rules.host_labels,
        judge: Arc::new(Judge {
            pass_if: args.rules.pass_if,
            fail_if: args.rules.fail_if,
            ..Judge::default()
        }),
        // The rest follows from the source and the sign-in.
        ..Policy::default()
    };
    let state = match args.state {
        Some(state) => state,
        None => default_state(&chosen, &hub.api)?,
    };
    let source = match chosen {
        Chosen::Directory(dir) => SourceConfig::Directory(dir),
        Chosen::Remote(release, urls) => SourceConfig::Remote(RemoteConfig {
            release,
            urls,
            watch: args.fetch.watch,
            cache: args.fetch.cache.map_or_else(default_cache, Ok)?,
            cache_size: args.fetch.cache_size,
            prefetch: args.fetch.prefetch == Switch::On,
        }),
    };
    Ok(Config {
        source,
        hub,
        offline: args.fetch.offline,
        filters: args.filters,
        bind: args.bind.unwrap_or_default(),
        path: args.path,
        mdns: !args.no_mdns,
        state,
        fresh: args.fresh,
        reports: args.reports,
        policy,
        again: args.again,
        stubs: args.rules.stubs,
        exit_when_done: args.exit_when_done,
        on_event: args.on_event,
    })
}

/// The way to GitHub, and what there is to sign in with.
async fn hub(args: &SessionArgs) -> Result<HubConfig, Failure> {
    let api = args.source.api().map_err(Failure::CommandLine)?;
    let app = match (args.github.app_id, &args.github.app_key) {
        (Some(id), Some(path)) => {
            let failed = |error| Failure::AppKey { path: path.clone(), error };
            Some((id, SecretString::from(std::fs::read_to_string(path).map_err(failed)?)))
        }
        _ => None,
    };
    let given = Given { token: args.github.token.clone(), app };
    // Nobody is signed in where nothing is asked of GitHub.
    let is_needed = args.source.repo.is_some() || args.github.issues_to.is_some();
    let candidates = if is_needed {
        dispatch_github::candidates(given, |name| std::env::var(name).ok(), &GhCli::default(), &api).await
    } else {
        Vec::new()
    };
    Ok(HubConfig {
        api,
        ca_certs: args.github.ca_cert.clone(),
        candidates,
        issues_to: args.github.issues_to.clone(),
        report: args.github.report.into(),
        footer: !args.github.no_footer,
    })
}

fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Where fetched images are kept if nothing else is said.
fn default_cache() -> Result<PathBuf, Failure> {
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(Failure::NoCache)?.join("dispatch"))
}

/// The state folder of a source where none is given.
pub(crate) fn default_state(chosen: &Chosen, api: &Url) -> Result<PathBuf, Failure> {
    let base = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let base = base.ok_or(Failure::NoHome)?;
    match chosen {
        Chosen::Directory(dir) => {
            // One folder however the directory is written; one that is not there is somebody else's error to tell.
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            Ok(state::default_folder(&base, &dir))
        }
        Chosen::Remote(release, urls) => {
            let name = match (release, urls.as_slice()) {
                (Some(release), _) => {
                    format!("{}-{}", release.repository.name().to_lowercase(), release.tag)
                }
                // Whatever order they are given in.
                (None, urls) => urls.iter().map(|file| file.name.clone()).min().unwrap_or_default(),
            };
            let key = source_key(release.as_ref(), urls, api);
            Ok(state::named_folder(&base, &name, key.as_bytes()))
        }
    }
}

pub(crate) struct Signals {
    terminate: Mutex<Signal>,
    interrupt: Mutex<Signal>,
    /// None where it is ignored, as `nohup` has it: then the session outlives its terminal.
    hang_up: Option<Mutex<Signal>>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let receive = |kind| signal(kind).map(Mutex::new);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_ignored = ignores(&status, SignalKind::hangup());
        Ok(Self {
            terminate: receive(SignalKind::terminate())?,
            interrupt: receive(SignalKind::interrupt())?,
            hang_up: (!is_ignored).then(|| receive(SignalKind::hangup())).transpose()?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&self) -> &'static str {
        let hang_up = async {
            match &self.hang_up {
                Some(hang_up) => hang_up.lock().await.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            name = self.insists() => name,
            _ = hang_up => "SIGHUP",
        }
    }

    /// The next one of a person who wants it to end now. A terminal that is closed is told by the kernel, and by the
    /// shell once more: that is nobody's impatience.
    pub(crate) async fn insists(&self) -> &'static str {
        let (mut terminate, mut interrupt) = (self.terminate.lock().await, self.interrupt.lock().await);
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

/// Whether a process ignores a signal, by its `/proc/PID/status` (proc(5)).
fn ignores(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_ignores_is_in_its_status() {
        let status = "Name:\tdispatch\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, SignalKind::hangup()) && ignores(status, SignalKind::pipe()));
        assert!(!ignores(status, SignalKind::terminate()));
        assert!(!ignores("", SignalKind::hangup()), "what cannot be known is not so");
    }
}
