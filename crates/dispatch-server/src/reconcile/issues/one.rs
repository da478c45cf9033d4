//! Files one report, as far as that can be done now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_core::issue::{
    Draft, Facts, Failure, Filed, Filing, Heard, LeftOut, Look, Options, Pace, Reason, Request, Todo,
    Trouble, Wait, compose,
};
use dispatch_core::queue::Issue;
use dispatch_github::Slug;
use dispatch_store::{Focus, StoreError, StoredReport};
use dispatch_wire::boot;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Report;
use super::tracker::Tracker;
use crate::engine::{Engine, later};

/// How long a request that makes something may still take when the session ends. It is shorter than the session waits.
const LAST_REQUEST: Duration = Duration::from_secs(3);

/// How long a report is left alone that cannot be read.
const UNREADABLE: Duration = Duration::from_mins(5);

/// What it takes to file one report.
pub(super) struct One<T> {
    pub(super) engine: Engine,
    pub(super) tracker: T,
    pub(super) pace: Arc<Mutex<Pace>>,
    pub(super) stop: CancellationToken,
}

/// How it ended, for now.
#[derive(Debug)]
pub(super) enum End {
    /// It is an issue, or will never be one.
    Settled,
    /// It is to be tried again. The name is the workload's.
    Waits { wait: Wait, name: String },
    /// The session ends.
    Stopped,
    /// What became of it cannot be noted.
    Store(StoreError),
}

/// Why there is nothing to be filed.
enum Unreadable {
    /// The state cannot be read at the moment.
    Now(String),
    /// What is there will never be better.
    ForGood(String),
}

impl<T: Tracker> One<T> {
    /// Goes on with one report until it is done or has to wait. What is given back is at least as far as what is stored.
    pub(super) async fn file(&self, report: &Report, mut filing: Filing) -> (Filing, End) {
        let end = self.go_on(report, &mut filing).await.unwrap_or_else(End::Store);
        (filing, end)
    }

    async fn go_on(&self, report: &Report, filing: &mut Filing) -> Result<End, StoreError> {
        let repository: Slug = match report.repository.parse() {
            Ok(repository) => repository,
            Err(error) => return self.refuse(report, &format!("there is nowhere to file it: {error}")).await,
        };
        let (draft, name) = match self.draft(report).await {
            Ok(draft) => draft,
            Err(Unreadable::ForGood(why)) => return self.refuse(report, &why).await,
            Err(Unreadable::Now(why)) => {
                let until = later(self.engine.clock.now(), UNREADABLE);
                let wait = Wait { until, why, reason: Reason::Trouble };
                return Ok(End::Waits { wait, name: "a run".to_owned() });
            }
        };
        loop {
            let now = self.engine.clock.now();
            match filing.next(&draft, now) {
                Todo::Wait(wait) => return Ok(End::Waits { wait, name }),
                Todo::Done { issue, left_out } => return self.done(report, issue, &left_out).await,
                Todo::Refused { why } => return self.refuse(report, &why).await,
                Todo::Ask(request) => {
                    if !self.ask(report, &repository, &draft, filing, &request).await? {
                        return Ok(End::Stopped);
                    }
                }
            }
        }
    }

    /// Asks for one thing. Returns whether there was an answer before the session ended.
    async fn ask(
        &self,
        report: &Report,
        repository: &Slug,
        draft: &Draft,
        filing: &mut Filing,
        request: &Request,
    ) -> Result<bool, StoreError> {
        if request.makes_something() {
            let at = self.pace().making(self.engine.clock.now());
            let turn = self.stop.run_until_cancelled(self.engine.clock.sleep_until(at));
            if turn.await.is_none() {
                return Ok(false);
            }
            // By a clock that is wrong nobody would find again what was made.
            let now = self.engine.clock.now();
            if !self.tracker.heard().is_some_and(|heard| heard.is_recent(now))
                && !self.greet(report, repository, draft, filing, request).await?
            {
                return Ok(!self.stop.is_cancelled());
            }
        }
        if self.stop.is_cancelled() {
            return Ok(false);
        }
        let mut asking = filing.clone();
        let time = Heard::no_later_than(self.tracker.heard(), self.engine.clock.now());
        asking.before(request, time, self.tracker.us().as_deref());
        if request.makes_something() {
            // Nothing is sent before it is known that it may have been.
            self.store(report, &asking).await?;
        }
        *filing = asking;
        let asked = self.engine.clock.now();
        let answer = tokio::select! {
            answer = self.tracker.ask(repository, request) => answer,
            () = self.out_of_time(request) => return Ok(false),
        };
        filing.after(draft, request, answer, asked, self.engine.clock.now());
        self.store(report, filing).await?;
        Ok(true)
    }

    /// Makes sure that the tracker's clock is known. Returns whether it is; if not, the filing knows why.
    async fn greet(
        &self,
        report: &Report,
        repository: &Slug,
        draft: &Draft,
        filing: &mut Filing,
        request: &Request,
    ) -> Result<bool, StoreError> {
        let asked = self.engine.clock.now();
        match self.stop.run_until_cancelled(self.tracker.greet(repository)).await {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(failure)) => {
                // It is not the request that failed, which was not even sent.
                let trouble = match failure.trouble {
                    Trouble::Refused => Trouble::Passing,
                    other => other,
                };
                let failure = Failure { trouble, look: Look::NotNeeded, ..failure };
                filing.after(draft, request, Err(failure), asked, self.engine.clock.now());
                self.store(report, filing).await?;
                Ok(false)
            }
        }
    }

    /// Waits until the session ends, and a moment more for what makes something.
    async fn out_of_time(&self, request: &Request) {
        self.stop.cancelled().await;
        if request.makes_something() {
            let clock = &self.engine.clock;
            clock.sleep_until(later(clock.now(), LAST_REQUEST)).await;
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // What is in it is whole even if somebody panicked while holding it.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store(&self, report: &Report, filing: &Filing) -> Result<(), StoreError> {
        // It is made of nothing that could not be written.
        let progress = serde_json::to_string(filing).unwrap_or_default();
        self.engine.store.effect_progress(&report.key, &progress).await
    }

    async fn done(&self, report: &Report, issue: Filed, left_out: &[LeftOut]) -> Result<End, StoreError> {
        let issue = Issue {
            report: report.id,
            repository: report.repository.clone(),
            number: issue.number,
            url: issue.url,
        };
        let omitted: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        self.engine
            .decide(Focus::run(report.run), |snapshot, context| {
                let (issue, omitted) = (issue.clone(), omitted.clone());
                snapshot.issue_filed(report.run, &report.effect, issue, omitted, context.now)
            })
            .await?;
        Ok(End::Settled)
    }

    async fn refuse(&self, report: &Report, why: &str) -> Result<End, StoreError> {
        self.engine
            .decide(Focus::run(report.run), |snapshot, context| {
                snapshot.issue_refused(report.run, &report.effect, report.id, why, context.now)
            })
            .await?;
        Ok(End::Settled)
    }

    /// The report as an issue, and the name of its workload; or why it cannot be read.
    async fn draft(&self, report: &Report) -> Result<(Draft, String), Unreadable> {
        let stored = self.engine.store.report(report.id).await.map_err(|error| match error {
            StoreError::Damaged { .. } => {
                Unreadable::ForGood(format!("the report in the state is damaged: {error}"))
            }
            other => Unreadable::Now(other.to_string()),
        })?;
        let stored = stored.ok_or_else(|| {
            Unreadable::ForGood(
                "the report is not in the state any more: nobody knows what it said".to_owned(),
            )
        })?;
        let content = serde_json::from_str(&stored.report.content.json).map_err(|error| {
            Unreadable::ForGood(format!("the report in the state is damaged and cannot be read: {error}"))
        })?;
        let has_footer = self.engine.policy().has_footer_of(&stored.job.group);
        let options = Options { footer: has_footer };
        let name = stored.job.name.clone();
        // A report may have megabytes.
        let draft = tokio::task::spawn_blocking(move || draft(&stored, &content, options)).await;
        Ok((draft.map_err(|error| Unreadable::Now(error.to_string()))?, name))
    }
}

fn draft(stored: &StoredReport, content: &boot::Report, options: Options) -> Draft {
    let StoredReport { report, run, job, host, workload, .. } = stored;
    let facts = Facts {
        report: report.id,
        run: run.id,
        title: &content.title,
        body: &content.body,
        labels: &content.labels,
        assignees: &content.assignees,
        milestone: content.milestone.as_deref(),
        verdict: report.content.verdict,
        late: report.late,
        host: &host.label(),
        workload: &job.name,
        digest: workload.digest,
        attempt: run.attempt,
        took: since_start(run.booted_at.unwrap_or(run.created), report.at),
    };
    compose(&facts, options)
}

/// Nothing, where a clock was set back.
fn since_start(start: Timestamp, report: Timestamp) -> Duration {
    Duration::try_from(report.duration_since(start)).unwrap_or_default()
}
