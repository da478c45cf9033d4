//! Files reports as issues: carries out what [`Filing`] says is to be done, for one report of each repository at a time.
//!
//! What is decided is in `dispatch-core`; what is asked is asked by a [`Tracker`]. Nothing is known here that is not
//! stored, but for when each report is tried next.

mod one;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatch_core::issue::{Filing, Pace, Queued, Reason, Wait, heads};
use dispatch_core::text::duration;
use dispatch_core::{Effect, ReportId, RunId};
use dispatch_github::GitHub;
use dispatch_store::{Lane, StoreError, WaitingEffect};
use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, later};
use one::{End, One};
use tracker::Tracker;

/// How many reports are looked at; the rest follows when some of these are done.
const MOST: u32 = 10_000;

/// The shortest wait between two rounds that nobody asked for.
const TROUBLE: Duration = Duration::from_secs(1);

/// How long a report is left alone that brought us down.
const BROKEN: Duration = Duration::from_mins(5);

/// Why reports wait that nobody can file.
const NOT_SIGNED_IN: &str = "this session is not signed in to GitHub: start it with the same release or --issues-to as \
                             before, and with --token or GITHUB_TOKEN";

/// Why reports wait that were not tried because others met a limit.
const LIMITED: &str = "GitHub takes no more requests for the moment";

/// See the module.
pub struct Issues(Desk<GitHub>);

impl Issues {
    /// The loop of this engine. Without a sign-in reports wait.
    #[must_use]
    pub fn new(engine: Engine, github: Option<GitHub>) -> Self {
        Self(Desk::new(engine, github.filter(GitHub::signed_in)))
    }

    /// Runs until `stop`. A request under way that makes something is then given a moment; everything else waits for
    /// the next session.
    pub async fn run(self, stop: CancellationToken) {
        self.0.run(stop).await;
    }
}

/// The loop, whoever the issues are filed with.
struct Desk<T> {
    engine: Engine,
    tracker: Option<T>,
    pace: Arc<Mutex<Pace>>,
    known: BTreeMap<String, Known>,
    /// What is being worked on: which report, and of which repository.
    busy: BTreeMap<Id, (String, String)>,
}

/// A report that waits, as this session knows it.
struct Known {
    /// How far it has come; not here while it is worked on.
    filing: Option<Filing>,
    /// When it is tried next.
    due: Timestamp,
    /// What was last told of it.
    told: Option<String>,
}

/// An effect of this lane, taken apart.
#[derive(Clone, Debug)]
struct Report {
    key: String,
    effect: Effect,
    id: ReportId,
    run: RunId,
    repository: String,
}

impl Report {
    fn of(waiting: &WaitingEffect) -> Option<Self> {
        let Effect::FileIssue { report, run, repository, .. } = &waiting.effect else { return None };
        let (key, effect) = (waiting.key.clone(), waiting.effect.clone());
        Some(Self { key, effect, id: *report, run: *run, repository: repository.clone() })
    }
}

type Worked = (Report, Filing, End);

impl<T: Tracker> Desk<T> {
    fn new(engine: Engine, tracker: Option<T>) -> Self {
        let (pace, known, busy) = Default::default();
        Self { engine, tracker, pace, known, busy }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        let mut workers = JoinSet::new();
        while !stop.is_cancelled() {
            events.mark_unchanged();
            let wake = match self.activate(&mut workers, &stop).await {
                Ok(wake) => wake,
                Err(error) => {
                    tracing::error!("the reports to be filed cannot be read at the moment: {error}");
                    Some(later(self.engine.clock.now(), TROUBLE))
                }
            };
            let clock = Arc::clone(&self.engine.clock);
            let sleep = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(worked) = workers.join_next_with_id() => self.worked(worked).await,
                () = sleep => {}
                _ = events.changed() => {}
            }
        }
        while let Some(worked) = workers.join_next_with_id().await {
            self.worked(worked).await;
        }
    }

    /// Once around: begins what may be begun. Returns when to come back at the latest.
    async fn activate(
        &mut self,
        workers: &mut JoinSet<Worked>,
        stop: &CancellationToken,
    ) -> Result<Option<Timestamp>, StoreError> {
        let waiting = self.engine.store.waiting_effects(Lane::Issues, MOST).await?;
        let keys: BTreeSet<&str> = waiting.iter().map(|effect| effect.key.as_str()).collect();
        self.known.retain(|key, _| keys.contains(key.as_str()));
        let Some(tracker) = self.tracker.clone() else {
            self.tell_stranded(&waiting, |_| NOT_SIGNED_IN.to_owned()).await?;
            return Ok(None);
        };
        let now = self.engine.clock.now();
        let api = tracker.api();
        let (waiting, elsewhere): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|effect| meant_for(effect).is_none_or(|meant| meant == api));
        self.tell_stranded(&elsewhere, |effect| not_here(meant_for(effect).unwrap_or_default(), &api))
            .await?;
        self.learn(&waiting, now);
        let reports: Vec<Report> = waiting.iter().filter_map(Report::of).collect();
        let limited_until = self.pace().limited_until(now);
        if let Some(until) = limited_until {
            self.tell_limited(&waiting, until).await?;
        }
        let queued: Vec<Queued<'_>> =
            reports.iter().map(|report| self.queued(report, limited_until)).collect();
        let busy: BTreeSet<&str> = self.busy.values().map(|(_, repository)| repository.as_str()).collect();
        let next = next_due(&queued, &busy, now);
        for place in heads(&queued, &busy, now) {
            let report = reports[place].clone();
            let Some(filing) = self.known.get_mut(&report.key).and_then(|known| known.filing.take()) else {
                continue;
            };
            let one = One {
                engine: self.engine.clone(),
                tracker: tracker.clone(),
                pace: Arc::clone(&self.pace),
                stop: stop.clone(),
            };
            let names = (report.key.clone(), report.repository.clone());
            let task = workers.spawn(async move {
                let (filing, end) = one.file(&report, filing).await;
                (report, filing, end)
            });
            self.busy.insert(task.id(), names);
        }
        Ok(next)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        // What is in it is whole even if somebody panicked while holding it.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what is new.
    fn learn(&mut self, waiting: &[WaitingEffect], now: Timestamp) {
        for effect in waiting {
            let is_busy = self.busy.values().any(|(key, _)| *key == effect.key);
            let known = self.known.get(&effect.key);
            if is_busy || known.is_some_and(|known| known.filing.is_some()) {
                continue;
            }
            let filing = stored(effect).resumed(now);
            if let Some(until) = filing.limited_until() {
                self.pace().limit(until, now);
            }
            let due = filing.limited_until().unwrap_or(Timestamp::MIN);
            let new = || Known { filing: None, due, told: None };
            self.known.entry(effect.key.clone()).or_insert_with(new).filing = Some(filing);
        }
    }

    fn queued<'a>(&self, report: &'a Report, limited_until: Option<Timestamp>) -> Queued<'a> {
        let due = self.known.get(&report.key).map_or(Timestamp::MIN, |known| known.due);
        let due = limited_until.map_or(due, |until| until.max(due));
        Queued { run: report.run, repository: &report.repository, due }
    }

    /// One is through, for now.
    async fn worked(&mut self, worked: Result<(Id, Worked), JoinError>) {
        let now = self.engine.clock.now();
        let (report, filing, end) = match worked {
            Ok((id, worked)) => {
                self.busy.remove(&id);
                worked
            }
            Err(error) => {
                // What it had stored is read again.
                let broken = self.busy.remove(&error.id()).and_then(|(key, _)| self.known.get_mut(&key));
                if let Some(known) = broken {
                    known.due = later(now, BROKEN);
                }
                tracing::error!(
                    "filing a report broke down, and is tried again in {}: {error}",
                    duration(BROKEN)
                );
                return;
            }
        };
        let limit = filing.limited_until();
        if let Some(until) = limit {
            self.pace().limit(until, now);
        }
        let Some(known) = self.known.get_mut(&report.key) else { return };
        known.filing = Some(filing);
        match end {
            End::Settled => drop(self.known.remove(&report.key)),
            End::Stopped => {}
            End::Waits { wait, name } => {
                known.due = wait.until;
                if wait.reason != Reason::Settling && known.told.as_deref() != Some(wait.why.as_str()) {
                    warn(&report, &name, &wait, now);
                    known.told = Some(wait.why.clone());
                }
                self.note(&report, &wait).await;
            }
            End::Store(error) => {
                known.due = later(now, TROUBLE);
                tracing::error!("what became of a report cannot be noted at the moment: {error}");
            }
        }
    }

    /// Notes for everybody who looks why a report waits.
    async fn note(&self, report: &Report, wait: &Wait) {
        if let Err(error) = self.engine.store.effect_failed(&report.key, &wait.why, wait.until).await {
            tracing::error!("why a report waits cannot be noted at the moment: {error}");
        }
    }

    /// Says of each report of which nothing is said yet that it waits for the others' rate limit.
    async fn tell_limited(&self, waiting: &[WaitingEffect], until: Timestamp) -> Result<(), StoreError> {
        for effect in waiting.iter().filter(|effect| effect.error.is_none()) {
            self.engine.store.effect_failed(&effect.key, LIMITED, until).await?;
        }
        Ok(())
    }

    /// Says once of each report why nobody can file it in this session.
    async fn tell_stranded(
        &mut self,
        stranded: &[WaitingEffect],
        why: impl Fn(&WaitingEffect) -> String,
    ) -> Result<(), StoreError> {
        let mut new: BTreeMap<(&str, String), u64> = BTreeMap::new();
        for effect in stranded {
            let why = why(effect);
            if effect.error.as_deref() != Some(why.as_str()) {
                self.engine.store.effect_failed(&effect.key, &why, effect.due).await?;
            }
            if let Effect::FileIssue { repository, .. } = &effect.effect
                && !self.known.contains_key(&effect.key)
            {
                *new.entry((repository, why)).or_default() += 1;
                let known = Known { filing: None, due: Timestamp::MIN, told: None };
                self.known.insert(effect.key.clone(), known);
            }
        }
        for ((repository, why), count) in new {
            let reports = dispatch_core::text::count(count, "report");
            tracing::warn!("{reports} cannot be filed as issues of {repository}: {why}");
        }
        Ok(())
    }
}

/// The root of the API that a report is to be filed with; an older state does not say.
fn meant_for(waiting: &WaitingEffect) -> Option<&str> {
    match &waiting.effect {
        Effect::FileIssue { api, .. } => api.as_deref(),
        Effect::WriteReport { .. } => None,
    }
}

/// Why a report waits that is to be filed on another GitHub.
fn not_here(meant: &str, api: &str) -> String {
    format!(
        "it is for the GitHub whose API is {meant}, and this session is signed in to {api}: start one with \
         --github-url {meant}"
    )
}

/// When the first of those is due that nobody works on.
fn next_due(queued: &[Queued<'_>], busy: &BTreeSet<&str>, now: Timestamp) -> Option<Timestamp> {
    let mut runs = BTreeSet::new();
    let heads = queued.iter().filter(|report| runs.insert(report.run));
    heads
        .filter(|report| !busy.contains(report.repository) && report.due > now)
        .map(|report| report.due)
        .min()
}

/// How far a report had come when that was last stored.
fn stored(effect: &WaitingEffect) -> Filing {
    match &effect.progress {
        None => Filing::default(),
        // Written by another version, or damaged: everything may have been done.
        Some(progress) => serde_json::from_str(progress).unwrap_or_else(|_| Filing::unknown(effect.at)),
    }
}

fn warn(report: &Report, name: &str, wait: &Wait, now: Timestamp) {
    // In whole seconds: a little of it has passed already.
    let left = wait.until.duration_since(now).unsigned_abs() + Duration::from_millis(999);
    let again = duration(Duration::from_secs(left.as_secs()));
    tracing::warn!(
        "a report of {name} cannot be filed as an issue of {} and is tried again in {again}: {}",
        report.repository,
        wait.why
    );
}

#[cfg(test)]
mod tests;
