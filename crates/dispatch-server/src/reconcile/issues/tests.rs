//! The loop, with a tracker that does what it is told, and with the real client against the fake GitHub.

mod ending;
mod github;
mod scripted;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dispatch_boot::{Queue as _, Work};
use dispatch_core::queue::Ask;
use dispatch_core::run::{End as TransferEnd, IssueTarget, Policy, Sinks};
use dispatch_core::{Happening, Sighting, Told};
use dispatch_store::{Focus, Store};
use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::clock::testing::counting;
use crate::source::{Directory, Source};

/// A clock that does not wait: whoever waits for a time makes it that time.
#[derive(Default)]
struct Skipping(AtomicI64);

#[expect(clippy::disallowed_methods, reason = "the other side of these tests keeps real time")]
fn real_now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).expect("a time")
}

impl Clock for Skipping {
    fn now(&self) -> Timestamp {
        real_now() + SignedDuration::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = at.as_microsecond() - self.now().as_microsecond();
        self.0.fetch_add(left.max(0), Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}

/// A clock that goes as all clocks do.
struct Real;

impl Clock for Real {
    fn now(&self) -> Timestamp {
        real_now()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let left = at.duration_since(self.now());
        Box::pin(tokio::time::sleep(Duration::try_from(left).unwrap_or_default()))
    }
}

/// An engine whose hosts have run its images and may report.
struct Rig {
    /// Holds the state.
    _folder: TempDir,
    engine: Engine,
    /// A run for each image, in the order of their names.
    runs: Vec<(Sighting, RunId)>,
    /// The root of the API that reports are for.
    api: String,
}

/// The API of a tracker that is told what to do.
const API: &str = "http://api.test/";

impl Rig {
    async fn new(clock: Arc<dyn Clock>, images: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let from = folder.path().join("images");
        std::fs::create_dir(&from).expect("a folder");
        for image in images {
            std::fs::write(from.join(image), [7; 10]).expect("an image");
        }
        let directory = Directory::new(from, Vec::new());
        let found = directory.scan().expect("a source").found;
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let random = counting();
        let engine =
            Engine::new(store, policy("o/r", API), clock, random, Source::Directory(directory), "a test");
        let all = Focus::last_round();
        engine.decide(all, |snapshot, context| snapshot.open(&found, &[], context)).await.expect("a round");
        let mut runs = Vec::new();
        for last in 1..=u8::try_from(images.len()).expect("a few") {
            let who = Sighting { address: [192, 0, 2, last].into(), mac: None, name: None };
            let run = boot(&engine, &who).await;
            runs.push((who, run));
        }
        Self { _folder: folder, engine, runs, api: API.to_owned() }
    }

    /// The image at this place reports.
    async fn report(&self, place: usize, report: &Value) {
        self.report_to("o/r", place, report).await;
    }

    /// The image at this place reports, while reports go to this repository.
    async fn report_to(&self, repository: &str, place: usize, report: &Value) {
        let (who, run) = &self.runs[place];
        let engine = &self.engine;
        let before = engine.policy();
        engine.set_policy(policy(repository, &self.api));
        let report = dispatch_wire::boot::Report::from_json(report.to_string().as_bytes()).expect("a report");
        let taken = engine.reported(who, &Told::default(), Some(*run), report).await.expect("a state");
        assert!(taken.is_ok(), "it belongs to the run");
        engine.set_policy(before);
    }

    async fn waiting(&self) -> Vec<WaitingEffect> {
        self.engine.store.waiting_effects(Lane::Issues, 100).await.expect("a state")
    }

    /// What was told of issues, in order.
    async fn told(&self) -> Vec<Happening> {
        let events = self.engine.store.events_after(0, 10_000).await.expect("a state");
        let is_of_issue =
            |what: &Happening| matches!(what, Happening::IssueFiled { .. } | Happening::IssueRefused { .. });
        events.into_iter().map(|stored| stored.event.what).filter(is_of_issue).collect()
    }
}

fn policy(repository: &str, api: &str) -> Arc<Policy> {
    let sinks = Sinks {
        files: false,
        issues: Some(IssueTarget { repository: repository.to_owned(), api: api.to_owned() }),
    };
    Arc::new(Policy { sinks, ..Policy::default() })
}

/// Lets a host fetch its image and call.
async fn boot(engine: &Engine, who: &Sighting) -> RunId {
    let Ok(Work::Image(image)) = engine.ask(who, Ask::Get).await else { panic!("an image") };
    let progress = engine.begin(image.run, 10, 0).await.expect("a state").expect("a transfer");
    engine.end(image.run, &progress, 10, TransferEnd::Whole).await.expect("noted");
    engine.started(who, &Told::default()).await.expect("a state").expect("a run")
}

/// Does all that can be done now. Returns when there is more to do.
async fn turn<T: Tracker>(desk: &mut Desk<T>) -> Option<Timestamp> {
    let stop = CancellationToken::new();
    loop {
        let mut workers = JoinSet::new();
        let wake = desk.activate(&mut workers, &stop).await.expect("a state");
        if workers.is_empty() {
            return wake;
        }
        while let Some(worked) = workers.join_next_with_id().await {
            desk.worked(worked).await;
        }
    }
}

/// Goes on until nothing is left that could be done later.
async fn all<T: Tracker>(desk: &mut Desk<T>) {
    while let Some(at) = turn(desk).await {
        desk.engine.clock.sleep_until(at).await;
    }
}

#[test]
fn each_of_many_reports_that_wait_for_another_is_no_reason_to_wake() {
    let run = |number: u8| RunId::new(Timestamp::UNIX_EPOCH, [number; 10]);
    let at = |seconds| Timestamp::from_second(seconds).expect("a time");
    let queued = |number, repository, due| Queued { run: run(number), repository, due: at(due) };
    let reports = [queued(1, "o/r", 50), queued(1, "o/r", 20), queued(2, "o/s", 30), queued(3, "o/t", 5)];
    assert_eq!(next_due(&reports, &BTreeSet::new(), at(10)), Some(at(30)));
    assert_eq!(next_due(&reports, &BTreeSet::from(["o/s"]), at(10)), Some(at(50)));
    assert_eq!(next_due(&reports, &BTreeSet::new(), at(50)), None);
}
