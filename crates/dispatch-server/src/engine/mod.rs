//! Answers the boot server: loads state, lets `dispatch-core` decide, commits, and opens files.

mod away;
mod find;
mod live;
mod looks;
mod promised;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use dispatch_boot::{Asked, Progress, Queue, Stop, Unavailable, Work};
use dispatch_core::queue::{Accepted, Ask, Context, NewReport, NoRun, NotDone};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::verdict::{Judge, ReportFacts};
use dispatch_core::{JobId, Outcome, RunId, RunState, Sighting, Snapshot, SourceId, Told};
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
use crate::source::Source;
use crate::view::{Fetching, View};

use away::Away;
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
    away: Arc<Away>,
    asked: Arc<Mutex<VecDeque<Request>>>,
    several: Arc<Mutex<BTreeSet<IpAddr>>>,
    cycles: Arc<AtomicU64>,
    title: Arc<str>,
    /// When the session began.
    pub since: Timestamp,
}

/// Of how many addresses it is said that several hosts ask from there.
const MOST_SEVERAL: usize = 1000;

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
        let (turn, sources, live, standings, promised, away, asked, several, cycles) = Default::default();
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
            away,
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
}

/// How often, and how long apart, it is tried to note the end of a transfer.
const NOTE: (u32, Duration) = (60, Duration::from_secs(1));

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
        let work = self.work_for(who, how).await.map_err(Unavailable)?;
        Ok(self.promised.kept(who, how, work, self.clock.now()))
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
    use crate::clock::testing::{Hands, counting};

    /// An engine over a folder with one image, whose only host has just been given it.
    async fn downloading(folder: &tempfile::TempDir) -> (Engine, Sighting, RunId, Arc<Progress>) {
        let images = folder.path().join("images");
        std::fs::create_dir(&images)
            .and_then(|()| std::fs::write(images.join("a.efi"), [7; 10]))
            .expect("one");
        let directory = crate::source::Directory::new(images, Vec::new());
        let found = directory.scan().expect("a source").found;
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let random = counting();
        let engine = Engine::new(
            store,
            Arc::default(),
            Arc::new(Hands::default()),
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
