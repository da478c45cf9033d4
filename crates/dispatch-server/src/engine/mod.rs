//! Answers the boot server: loads state, lets `dispatch-core` decide, commits, and opens files.

mod live;
mod looks;
mod promised;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use dispatch_boot::{Asked, Image, Progress, Queue, Stop, Unavailable, Work};
use dispatch_core::queue::{
    Accepted, Ask, Context, Found, NewReport, NoRun, NotDone, Offer, Outlook, Unreadable,
};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::verdict::{Judge, ReportFacts};
use dispatch_core::{
    JobId, Outcome, RunId, RunState, Sighting, Snapshot, SourceId, Told, Workload, WorkloadId,
};
use dispatch_store::{Answered, Focus, Store, StoreError};
use dispatch_wire::boot::Report;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::clock::{Clock, Random};
use crate::page;
use crate::requests::{Request, joined};
use crate::source::{Opened, Source};
use crate::view::{Fetching, View};

pub use live::Live;
pub use looks::{SourceStanding, SourceStandings};
use promised::Promised;

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// The state.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    random: Random,
    policy: watch::Sender<Arc<Policy>>,
    /// Held by whoever decides, and alone by whoever changes the settings: no decision is by settings that are not in
    /// force any more.
    turn: Arc<tokio::sync::RwLock<()>>,
    sources: Arc<RwLock<BTreeMap<SourceId, Arc<Source>>>>,
    live: Arc<Live>,
    standings: Arc<SourceStandings>,
    promised: Arc<Promised>,
    asked: Arc<Mutex<VecDeque<Request>>>,
    several: Arc<Mutex<BTreeSet<IpAddr>>>,
    cycles: Arc<AtomicU64>,
    title: Arc<str>,
    /// When the session began.
    pub since: Timestamp,
}

/// Of how many addresses it is said that several hosts ask from there.
const MOST_SEVERAL: usize = 1000;

/// What a host would be given, before anything is committed.
enum Preview {
    Idle,
    Image { workload: Box<Workload>, is_untouched: bool },
}

impl Engine {
    /// An engine over a store and the source of a session. `title` names the source for people.
    #[must_use]
    pub fn new(
        store: Store,
        policy: Arc<Policy>,
        clock: Arc<dyn Clock>,
        random: Random,
        source: Source,
        title: &str,
    ) -> Self {
        let engine = Self::without_sources(store, policy, clock, random, title);
        engine.set_sources(BTreeMap::from([(SourceId::session(), Arc::new(source))]));
        engine
    }

    /// An engine whose sources are still to be named. `title` is what people read above its page.
    #[must_use]
    pub fn without_sources(
        store: Store,
        policy: Arc<Policy>,
        clock: Arc<dyn Clock>,
        random: Random,
        title: &str,
    ) -> Self {
        let (turn, sources, live, standings, promised, asked, several, cycles) = Default::default();
        let (policy, title, since) = (watch::Sender::new(policy), title.into(), clock.now());
        Self {
            store,
            clock,
            random,
            policy,
            turn,
            sources,
            live,
            standings,
            promised,
            asked,
            several,
            cycles,
            title,
            since,
        }
    }

    /// The random source.
    #[must_use]
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// The transfers that are going on.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// How often the queues were gone through for a host that asked for work, since the start.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.cycles.load(Ordering::Relaxed)
    }

    /// How the sources are.
    #[must_use]
    pub fn standings(&self) -> &SourceStandings {
        &self.standings
    }

    /// Decides and commits. The decision is made again if it was lost on its way into the database.
    pub async fn decide<T>(
        &self,
        focus: Focus,
        mut decision: impl FnMut(Snapshot, &mut Context<'_>) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut random = || (self.random)();
        let _turn = self.turn.read().await;
        self.store
            .decide(focus, &self.policy(), |snapshot| {
                // Not before: waiting for our turn takes time.
                let now = self.clock.now();
                decision(snapshot, &mut Context { now, random: &mut random })
            })
            .await
    }

    /// The same for a request that may come again.
    pub async fn decide_answered<T: Serialize + DeserializeOwned>(
        &self,
        request: &dispatch_store::Request,
        focus: Focus,
        mut decision: impl FnMut(Snapshot, &mut Context<'_>) -> Outcome<T>,
    ) -> Result<Answered<T>, StoreError> {
        let mut random = || (self.random)();
        let _turn = self.turn.read().await;
        self.store
            .decide_answered(request, focus, &self.policy(), |snapshot| {
                let now = self.clock.now();
                decision(snapshot, &mut Context { now, random: &mut random })
            })
            .await
    }

    /// The latest requests, oldest first, each as often as it came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes a job out of the queue, by hand.
    pub async fn cancel(&self, job: JobId) -> Result<Result<(), NotDone>, StoreError> {
        self.decide(Focus::job(job), |snapshot, context| {
            snapshot.cancel(job, "cancelled by hand", None, None, context.now)
        })
        .await
    }

    /// Puts a job that is over back into the queue.
    pub async fn retry(&self, job: JobId) -> Result<Result<(), NotDone>, StoreError> {
        self.decide(Focus::job(job), |snapshot, context| snapshot.retry(job, None, None, context.now)).await
    }

    /// Two hosts take the image of one run: nobody can tell any more which of them it is on.
    pub(crate) async fn dispute(&self, run: RunId) -> Result<bool, StoreError> {
        let why = "two downloads of one image go on at the same time";
        self.decide(self.about_run(run), |snapshot, context| snapshot.dispute(run, why, context.now)).await
    }

    /// What people see of the queue.
    pub async fn view(&self) -> Result<View, StoreError> {
        let overview = self.store.overview().await?;
        let live = self.live.all().into_iter().map(|(run, progress)| (run, progress.sent())).collect();
        Ok(View::new(&overview, &live, &self.fetching(), self.since, self.clock.now()))
    }

    /// The images that are being fetched, and how far they are.
    #[must_use]
    pub fn fetching(&self) -> Vec<Fetching> {
        let coming = self.images().map(|images| images.progress()).unwrap_or_default();
        coming.into_iter().filter(|progress| !progress.is_check).map(Into::into).collect()
    }

    /// Notes what happened to a run. What is not noted is a run that comes out wrong: not given up at the first
    /// trouble.
    async fn note(&self, run: RunId, event: &RunEvent) -> Result<(), StoreError> {
        let mut tries = NOTE.0;
        loop {
            let note = |snapshot: Snapshot, context: &mut Context<'_>| snapshot.note(run, event, context.now);
            tries -= 1;
            match self.decide(self.about_run(run), note).await {
                Err(error) if tries > 0 => {
                    tracing::warn!("the end of a transfer cannot be noted yet: {error}");
                    self.clock.sleep_until(later(self.clock.now(), NOTE.1)).await;
                }
                noted => return noted.map(drop),
            }
        }
    }

    async fn preview(
        &self,
        who: &Sighting,
        how: Ask,
        unreadable: &BTreeMap<WorkloadId, Unreadable>,
    ) -> Result<Preview, StoreError> {
        let now = self.clock.now();
        let mut random = || (self.random)();
        let look = |snapshot: Snapshot| {
            let (workloads, runs) = (snapshot.workloads.clone(), snapshot.runs.clone());
            let outcome = snapshot.ask(who, how, unreadable, &mut Context { now, random: &mut random });
            let (run, workload) = match outcome.answer {
                Offer::Image { run, workload } => (Some(run), workload),
                // Not for an image that it would have to wait for.
                Offer::Reset { workload, .. } => (None, workload),
                Offer::Idle(_) | Offer::Several(_) | Offer::NotNow(_) => return Preview::Idle,
            };
            let is_untouched =
                runs.iter().find(|known| Some(known.id) == run).is_none_or(|run| run.transfers == 0);
            match workloads.into_iter().find(|known| known.id == workload) {
                Some(workload) => Preview::Image { workload: Box::new(workload), is_untouched },
                None => Preview::Idle,
            }
        };
        self.store.look(self.about_asking(who, unreadable), &self.policy(), look).await
    }

    /// Finds work for a host. Files are opened between decisions, never inside one: a file system that hangs
    /// must not hold up the queue.
    async fn find_work(&self, who: &Sighting, how: Ask) -> Result<Work, FindError> {
        let mut unreadable: BTreeMap<WorkloadId, Unreadable> = BTreeMap::new();
        let mut hangs = None;
        for _ in 0..MOST_ROUNDS {
            self.cycles.fetch_add(1, Ordering::Relaxed);
            let opened = match self.preview(who, how, &unreadable).await? {
                Preview::Idle => None,
                Preview::Image { workload, is_untouched } => {
                    let id = workload.id;
                    match self.open(&workload, is_untouched, &mut hangs).await {
                        Ok(opened) => Some((workload, opened)),
                        Err(OpenError::Unreadable(why)) => {
                            if why.outlook == Outlook::Coming {
                                // It has been asked for; the others that are not here need not be.
                                self.leave_out_absent(who, &mut unreadable).await?;
                            }
                            unreadable.insert(id, why);
                            continue;
                        }
                        Err(OpenError::Replaced(found)) => {
                            let focus = Focus::host(who).within(self.of_source(&workload));
                            self.decide(focus, |snapshot, context| snapshot.replace(id, &found, context))
                                .await?;
                            continue;
                        }
                    }
                }
            };
            let focus = self.about_asking(who, &unreadable);
            let offer =
                self.decide(focus, |snapshot, context| snapshot.ask(who, how, &unreadable, context)).await?;
            match (offer, opened) {
                (Offer::Idle(idle), _) => return Ok(Work::Idle(idle)),
                (Offer::Several(idle), _) => {
                    self.warn_of_several(who, &idle.reason);
                    return Ok(Work::Idle(idle));
                }
                (Offer::NotNow(why), _) => return Ok(Work::NotNow(why)),
                (Offer::Image { run, workload }, Some((known, opened))) if workload == known.id => {
                    return Ok(Work::Image(image(run, &known, opened)));
                }
                (Offer::Reset { idle, workload }, Some((known, _))) if workload == known.id => {
                    return Ok(Work::Idle(idle));
                }
                // Somebody was faster; this host has been given something else by now.
                (Offer::Image { .. } | Offer::Reset { .. }, _) => {}
            }
        }
        Err(FindError::Unsettled)
    }

    /// Leaves out all images that have to be fetched first.
    async fn leave_out_absent(
        &self,
        who: &Sighting,
        unreadable: &mut BTreeMap<WorkloadId, Unreadable>,
    ) -> Result<(), StoreError> {
        if let Some(images) = self.images() {
            let focus = self.about_asking(who, unreadable);
            let mut workloads = self.store.look(focus, &self.policy(), |snapshot| snapshot.workloads).await?;
            let is_fetched = |workload: &Workload| {
                matches!(self.source(&workload.source).as_deref(), Some(Source::Fetched(_)))
            };
            workloads.retain(is_fetched);
            unreadable.extend(images.absent(&workloads));
        }
        Ok(())
    }

    /// Says once for each address that nobody can be told apart there.
    fn warn_of_several(&self, who: &Sighting, why: &str) {
        let mut several = self.several.lock().unwrap_or_else(PoisonError::into_inner);
        if several.len() < MOST_SEVERAL && several.insert(who.address) {
            tracing::warn!("{why}");
        }
    }

    /// Opens the image of a workload, if it is the version that the workload stands for. Once a file system has
    /// hung, nothing more is opened for this request: the host waits for an answer.
    async fn open(
        &self,
        workload: &Workload,
        is_untouched: bool,
        hangs: &mut Option<Unreadable>,
    ) -> Result<Opened, OpenError> {
        if let Some(why) = hangs {
            return Err(OpenError::Unreadable(why.clone()));
        }
        let Some(source) = self.source(&workload.source) else {
            let why = "its source has left the configuration".to_owned();
            return Err(OpenError::Unreadable(Unreadable { why, outlook: Outlook::Lasting }));
        };
        let opened = source.open(workload).await.map_err(|why| {
            if why.outlook == Outlook::Passing {
                *hangs = Some(why.clone());
            }
            OpenError::Unreadable(why)
        })?;
        let unreadable = |why: &str, outlook| OpenError::Unreadable(Unreadable { why: why.into(), outlook });
        match () {
            // What was fetched has been compared with its digest.
            () if opened.is(workload) || matches!(*source, Source::Fetched(_)) => Ok(opened),
            () if opened.is_fresh(self.clock.now()) => {
                Err(unreadable("it is being written at the moment", Outlook::Passing))
            }
            () if is_untouched => Err(OpenError::Replaced(Box::new(opened.found(workload)))),
            () => Err(unreadable("its file has changed since the download began", Outlook::Lasting)),
        }
    }
}

/// How often work is looked for before the request is given up: each round but the last has found an image that
/// cannot be read, or has lost a job to another host.
const MOST_ROUNDS: usize = 10_000;

/// How long a request for work may take: firmware gives up after four to five seconds.
const FIND: Duration = Duration::from_secs(3);

/// How often, and how long apart, it is tried to note the end of a transfer.
const NOTE: (u32, Duration) = (60, Duration::from_secs(1));

enum OpenError {
    Unreadable(Unreadable),
    Replaced(Box<Found>),
}

#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the queue changes faster than it can be read; ask again")]
    Unsettled,
}

fn image(run: RunId, workload: &Workload, opened: Opened) -> Image {
    Image {
        run,
        name: workload.name.clone(),
        kind: workload.kind,
        size: opened.size,
        modified: opened.modified,
        // Each version of each image has its own, however alike their sizes and times are.
        etag: format!("\"{}\"", workload.id),
        file: opened.file,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn unavailable(error: StoreError) -> Unavailable {
    Unavailable(error.to_string())
}

/// A report as the rules want it: judged, and with the digest of its content.
fn judged(report: &Report, json: String, judge: &Judge) -> NewReport {
    let digest =
        Sha256::digest(json.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let verdict = judge.verdict(&ReportFacts {
        title: &report.title,
        body: &report.body,
        labels: &report.labels,
        milestone: report.milestone.as_deref(),
        verdict: report.verdict.map(Into::into),
    });
    NewReport { digest, title: report.title.clone(), json, verdict }
}

impl Queue for Engine {
    async fn ask(&self, who: &Sighting, how: Ask) -> Result<Work, Unavailable> {
        match tokio::time::timeout(FIND, self.find_work(who, how)).await {
            Ok(Ok(work)) => Ok(self.promised.kept(who, how, work, self.clock.now())),
            Ok(Err(error)) => Err(Unavailable(error.to_string())),
            Err(_) => Err(Unavailable("the state does not answer in time; ask again".to_owned())),
        }
    }

    async fn begin(&self, run: RunId, size: u64, start: u64) -> Result<Option<Arc<Progress>>, Unavailable> {
        let begun = self
            .decide(self.about_run(run), |snapshot, context| snapshot.begin(run, size, start, context.now));
        let transfer = begun.await.map_err(unavailable)?;
        Ok(transfer.map(|transfer| {
            let progress = Arc::new(Progress::new(transfer, start));
            self.live.add(run, Arc::clone(&progress));
            progress
        }))
    }

    async fn end(&self, run: RunId, progress: &Progress, count: u64, end: End) -> Result<(), Unavailable> {
        let transfer = progress.transfer;
        let sent = progress.start() + count;
        let noted = self.note(run, &RunEvent::Ended { transfer, sent, count, end }).await;
        self.live.remove(run, transfer);
        if progress.is_read_by_another() {
            // If it cannot be noted now, the other transfer is still going on, and shows it again.
            let _ = self.dispute(run).await;
        }
        noted.map_err(unavailable)
    }

    async fn spoiled(&self, run: RunId, why: &str) -> Result<(), Unavailable> {
        // The one event that ends a run in every state: the image may have called before we could look.
        let event = RunEvent::Disputed { why: format!("the image cannot be trusted: {why}") };
        self.note(run, &event).await.map_err(unavailable)
    }

    async fn started(&self, who: &Sighting, told: &Told) -> Result<Result<RunId, NoRun>, Unavailable> {
        let focus = Focus { cards: told.macs.clone(), ..Focus::host(who) }.within(self.at_work());
        self.decide(focus, |snapshot, context| snapshot.start(who, told, context)).await.map_err(unavailable)
    }

    async fn reported(
        &self,
        who: &Sighting,
        told: &Told,
        run: Option<RunId>,
        report: Report,
    ) -> Result<Result<Accepted, NoRun>, Unavailable> {
        let json = serde_json::to_string(&report).map_err(|error| Unavailable(error.to_string()))?;
        let focus = Focus { run, cards: told.macs.clone(), ..Focus::host(who) }.within(self.at_work());
        let decision = |snapshot: Snapshot, context: &mut Context<'_>| {
            let report = judged(&report, json.clone(), snapshot.judge_for(who, told, run));
            snapshot.report(who, told, run, report, context)
        };
        self.decide(focus, decision).await.map_err(unavailable)
    }

    fn asked(&self, asked: Asked) {
        let mut requests = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *requests = joined(std::mem::take(&mut *requests), asked);
    }

    async fn page(&self) -> Result<String, Unavailable> {
        if self.policy().is_service() {
            // Who may see the queue is asked for a name elsewhere.
            return Ok(page::of_service());
        }
        let view = self.view().await.map_err(unavailable)?;
        Ok(page::render(&self.title, &view))
    }

    async fn health(&self) -> Result<String, Unavailable> {
        if self.policy().is_service() {
            let health = serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
            return Ok(health.to_string());
        }
        let view = self.view().await.map_err(unavailable)?;
        let health = serde_json::json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "jobs": view.tally,
            "effects_due": view.effects_due,
        });
        Ok(health.to_string())
    }
}

/// Ends those transfers that nobody waits for any more: their runs are over, or their images are up. `live` must be
/// older than the snapshot, which then knows all their runs.
pub(crate) fn stop_orphans(live: &[(RunId, Arc<Progress>)], snapshot: &Snapshot) {
    for (run, progress) in live {
        let is_wanted = snapshot.runs.iter().any(|known| {
            known.id == *run && matches!(known.state, RunState::Assigned | RunState::Downloading)
        });
        if !is_wanted {
            progress.stop(Stop::Over);
        }
    }
}

/// The time so long after `now`.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            at(0)
        }

        fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    /// An engine over a folder with one image, whose only host has just been given it.
    async fn downloading(folder: &tempfile::TempDir) -> (Engine, Sighting, RunId, Arc<Progress>) {
        let images = folder.path().join("images");
        std::fs::create_dir(&images)
            .and_then(|()| std::fs::write(images.join("a.efi"), [7; 10]))
            .expect("one");
        let directory = crate::source::Directory::new(images, Vec::new());
        let found = directory.scan().expect("a source").found;
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let count = AtomicU64::new(0);
        let random: Random = Arc::new(move || {
            let mut bytes = [7; 10];
            bytes[2..].copy_from_slice(&count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        });
        let engine = Engine::new(
            store,
            Arc::default(),
            Arc::new(Still),
            random,
            Source::Directory(directory),
            "a test",
        );
        let all = Focus::last_round();
        engine.decide(all, |snapshot, context| snapshot.open(&found, &[], context)).await.expect("a round");
        let who = Sighting { address: [192, 0, 2, 7].into(), mac: None, name: None };
        let Ok(Work::Image(image)) = engine.ask(&who, Ask::Get).await else { panic!("an image") };
        let progress = engine.begin(image.run, 10, 0).await.expect("a state").expect("a transfer");
        (engine, who, image.run, progress)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    #[tokio::test]
    async fn a_run_whose_image_was_changed_under_its_host_errs_even_if_the_image_has_called() {
        for has_called in [false, true] {
            let folder = tempfile::TempDir::new().expect("a folder");
            let (engine, who, run, progress) = downloading(&folder).await;
            let call = || async { engine.started(&who, &Told::default()).await.expect("a state") };
            if has_called {
                assert_eq!(call().await, Ok(run));
            }
            engine.spoiled(run, "its file was changed").await.expect("noted");
            engine.end(run, &progress, 10, End::Broken).await.expect("noted");
            assert!(call().await.is_err(), "it is no call of this run");
            let report = Report::from_json(br#"{"title":"t","verdict":"passed"}"#).expect("a report");
            let _ = engine.reported(&who, &Told::default(), Some(run), report).await.expect("a state");
            let view = engine.view().await.expect("a state");
            assert_ne!(view.jobs[0].verdict, Some(dispatch_core::Verdict::Passed));
            assert!(view.jobs[0].note.contains("its file was changed"), "{}", view.jobs[0].note);
        }
    }
}
