//! Answers the boot server: loads state, lets `dispatch-core` decide, commits, and opens files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dispatch_boot::{About, Image, Progress, Queue, Unavailable, Work};
use dispatch_core::queue::{Accepted, Ask, Context, NewReport, Offer};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::verdict::ReportFacts;
use dispatch_core::{Outcome, RunId, RunState, Sighting, Snapshot, Workload, WorkloadId};
use dispatch_store::{Focus, Store, StoreError};
use dispatch_wire::boot::Report;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::clock::{Clock, Random};
use crate::page;
use crate::source::{Directory, Opened};
use crate::view::View;

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// The state.
    pub store: Store,
    /// The settings.
    pub policy: Arc<Policy>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    random: Random,
    directory: Arc<Directory>,
    live: Arc<Live>,
    title: Arc<str>,
}

/// The transfers that are going on. A run may have several: ranges, or an old one whose host was reset.
#[derive(Debug, Default)]
pub struct Live(Mutex<Vec<(RunId, Arc<Progress>)>>);

impl Live {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<(RunId, Arc<Progress>)>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfers that are going on, in the order in which they began.
    #[must_use]
    pub fn all(&self) -> Vec<(RunId, Arc<Progress>)> {
        self.list().clone()
    }

    fn add(&self, run: RunId, progress: Arc<Progress>) {
        let mut list = self.list();
        if progress.start() == 0 {
            // The host has asked for the whole image anew, so it no longer reads what it was being sent.
            list.iter().filter(|(known, _)| *known == run).for_each(|(_, older)| older.stop());
        }
        list.push((run, progress));
    }

    fn remove(&self, run: RunId, transfer: u32) {
        self.list().retain(|(known, progress)| *known != run || progress.transfer != transfer);
    }
}

/// What a host would be given, before anything is committed.
enum Preview {
    Idle,
    Image { workload: Box<Workload>, is_untouched: bool },
}

impl Engine {
    /// An engine over a store and a directory. `title` names the source for people.
    #[must_use]
    pub fn new(
        store: Store,
        policy: Arc<Policy>,
        clock: Arc<dyn Clock>,
        random: Random,
        directory: Directory,
        title: &str,
    ) -> Self {
        let (directory, live) = (Arc::new(directory), Arc::default());
        Self { store, policy, clock, random, directory, live, title: title.into() }
    }

    /// The transfers that are going on.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Decides and commits.
    pub async fn decide<T>(
        &self,
        focus: Focus,
        decision: impl FnOnce(Snapshot, &mut Context<'_>) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let now = self.clock.now();
        let mut random = || (self.random)();
        self.store
            .decide(focus, &self.policy, |snapshot| {
                decision(snapshot, &mut Context { now, random: &mut random })
            })
            .await
    }

    /// What people see of the queue.
    pub async fn view(&self) -> Result<View, StoreError> {
        let overview = self.store.overview().await?;
        let live = self.live.all().into_iter().map(|(run, progress)| (run, progress.sent())).collect();
        Ok(View::new(&overview, &live, self.clock.now()))
    }

    async fn preview(
        &self,
        who: Sighting,
        how: Ask,
        unreadable: &BTreeMap<WorkloadId, String>,
    ) -> Result<Preview, StoreError> {
        let now = self.clock.now();
        let mut random = || (self.random)();
        let look = |snapshot: Snapshot| {
            let (workloads, runs) = (snapshot.workloads.clone(), snapshot.runs.clone());
            let outcome = snapshot.ask(who, how, unreadable, &mut Context { now, random: &mut random });
            let Offer::Image { run, workload } = outcome.answer else { return Preview::Idle };
            let is_untouched = runs.iter().find(|known| known.id == run).is_none_or(|run| run.most_sent == 0);
            match workloads.into_iter().find(|known| known.id == workload) {
                Some(workload) => Preview::Image { workload: Box::new(workload), is_untouched },
                None => Preview::Idle,
            }
        };
        self.store.look(Focus::host(who), &self.policy, look).await
    }

    /// Finds work for a host. Files are opened between decisions, never inside one: a file system that hangs
    /// must not hold up the queue.
    async fn find_work(&self, who: Sighting, how: Ask) -> Result<Work, StoreError> {
        let mut unreadable = BTreeMap::new();
        loop {
            let opened = match self.preview(who, how, &unreadable).await? {
                Preview::Idle => None,
                Preview::Image { workload, is_untouched } => {
                    let id = workload.id;
                    match self.directory.open(&workload).await {
                        Err(why) => {
                            unreadable.insert(id, why);
                            continue;
                        }
                        Ok(opened) if opened.is(&workload) => Some((workload, opened)),
                        Ok(opened) if opened.is_fresh(self.clock.now()) => {
                            unreadable.insert(id, "it is being written at the moment".to_owned());
                            continue;
                        }
                        Ok(opened) if is_untouched => {
                            let found = opened.found(&workload);
                            let focus = Focus::host(who);
                            self.decide(focus, |snapshot, context| snapshot.replace(id, &found, context))
                                .await?;
                            continue;
                        }
                        Ok(_) => {
                            unreadable.insert(id, "its file has changed since the download began".to_owned());
                            continue;
                        }
                    }
                }
            };
            let offer = self
                .decide(Focus::host(who), |snapshot, context| snapshot.ask(who, how, &unreadable, context))
                .await?;
            match (offer, opened) {
                (Offer::Idle(idle), _) => return Ok(Work::Idle(idle)),
                (Offer::Image { run, workload }, Some((known, opened))) if workload == known.id => {
                    return Ok(Work::Image(image(run, &known, opened)));
                }
                // Somebody was faster; this host has been given something else by now.
                (Offer::Image { .. }, _) => {}
            }
        }
    }
}

fn image(run: RunId, workload: &Workload, opened: Opened) -> Image {
    Image {
        run,
        name: workload.name.clone(),
        kind: workload.kind,
        size: opened.size,
        modified: opened.modified,
        etag: format!("\"{:x}-{:x}\"", opened.size, workload.modified.as_microsecond()),
        file: opened.file,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
fn unavailable(error: StoreError) -> Unavailable {
    Unavailable(error.to_string())
}

/// A report as the rules want it: judged, and with the digest of its content.
fn judged(report: &Report, policy: &Policy) -> Result<NewReport, serde_json::Error> {
    let json = serde_json::to_string(report)?;
    let digest =
        Sha256::digest(json.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let verdict = policy.judge.verdict(&ReportFacts {
        title: &report.title,
        body: &report.body,
        labels: &report.labels,
        milestone: report.milestone.as_deref(),
        verdict: report.verdict.map(Into::into),
    });
    Ok(NewReport { digest, title: report.title.clone(), json, verdict })
}

impl Queue for Engine {
    async fn ask(&self, who: Sighting, how: Ask) -> Result<Work, Unavailable> {
        self.find_work(who, how).await.map_err(unavailable)
    }

    async fn begin(&self, run: RunId, size: u64, start: u64) -> Result<Option<Arc<Progress>>, Unavailable> {
        let begun =
            self.decide(Focus::run(run), |snapshot, context| snapshot.begin(run, size, start, context.now));
        let transfer = begun.await.map_err(unavailable)?;
        Ok(transfer.map(|transfer| {
            let progress = Arc::new(Progress::new(transfer, start));
            self.live.add(run, Arc::clone(&progress));
            progress
        }))
    }

    async fn end(&self, run: RunId, progress: &Progress, count: u64, end: End) -> Result<(), Unavailable> {
        let transfer = progress.transfer;
        // What the host has taken; the live figure counts what the kernel has taken.
        let sent = progress.start() + count;
        let event = RunEvent::Ended { transfer, sent, count, end };
        let noted =
            self.decide(Focus::run(run), |snapshot, context| snapshot.note(run, &event, context.now)).await;
        self.live.remove(run, transfer);
        noted.map(drop).map_err(unavailable)
    }

    async fn started(&self, who: Sighting, about: &About) -> Result<Option<RunId>, Unavailable> {
        let uuid = about.uuid.as_deref();
        self.decide(Focus::host(who), |snapshot, context| snapshot.start(who, uuid, context))
            .await
            .map_err(unavailable)
    }

    async fn reported(
        &self,
        who: Sighting,
        run: Option<RunId>,
        report: Report,
    ) -> Result<Option<Accepted>, Unavailable> {
        let report = judged(&report, &self.policy).map_err(|error| Unavailable(error.to_string()))?;
        let focus = Focus { run, ..Focus::host(who) };
        self.decide(focus, |snapshot, context| snapshot.report(who, run, report, context))
            .await
            .map_err(unavailable)
    }

    async fn page(&self) -> Result<String, Unavailable> {
        let view = self.view().await.map_err(unavailable)?;
        Ok(page::render(&self.title, &view))
    }

    async fn health(&self) -> Result<String, Unavailable> {
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

/// Ends the transfers that nobody waits for any more: their runs are over, or their images are up.
pub(crate) fn stop_orphans(live: &Live, snapshot: &Snapshot) {
    for (run, progress) in live.all() {
        let is_wanted = snapshot.runs.iter().any(|known| {
            known.id == run && matches!(known.state, RunState::Assigned | RunState::Downloading)
        });
        if !is_wanted {
            progress.stop();
        }
    }
}

/// The time so long after `now`.
pub(crate) fn later(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}
