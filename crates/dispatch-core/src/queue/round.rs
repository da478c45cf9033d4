//! How a session begins and ends: once through the queue is a round.

use std::time::Duration;

use jiff::Timestamp;

use super::{Change, Context, Found, Job, JobState, Outcome, Round, Snapshot, tally};
use crate::host::Host;
use crate::id::JobId;
use crate::run::Run;
use crate::verdict::Verdict;

/// How a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// With a new round of so many jobs.
    Round(Round, usize),
    /// Where the last one stopped; so many jobs that were over are taken again.
    GoesOn(usize),
    /// Everything is over, and the session before was cut off before it could end.
    AllOver(String),
    /// Nothing has the verdicts that are to be taken again; this is how the last round came out.
    NothingAgain(String),
}

impl Snapshot {
    /// A session starts over what its source offers. If the round before is over, a new one begins, of everything or
    /// of what came out as `again` says; else it goes on, and what came out so is taken again as well. `self` must hold
    /// all jobs.
    #[must_use]
    pub fn open(mut self, found: &[Found], again: &[Verdict], context: &mut Context<'_>) -> Outcome<Opened> {
        let Some(round) = self.round.clone() else {
            let answer = self.begin_round(1, found.iter().collect(), &[], context);
            return self.outcome(answer);
        };
        let of_round: Vec<&Job> = self.jobs.iter().filter(|job| job.round == round.number).collect();
        let all_over = of_round.iter().all(|job| job.state.is_final());
        let is_again =
            |job: &Job| job.state == JobState::Done && job.verdict.is_some_and(|it| again.contains(&it));
        if round.is_over && all_over {
            let wanted = |file: &&Found| {
                again.is_empty() || of_round.iter().any(|job| job.name == file.name && is_again(job))
            };
            let files: Vec<&Found> = found.iter().filter(wanted).collect();
            if files.is_empty() {
                let outcome = of_round.into_iter().cloned().collect::<Vec<_>>();
                return self.outcome(Opened::NothingAgain(tally(&outcome)));
            }
            let answer = self.begin_round(round.number.saturating_add(1), files, again, context);
            return self.outcome(answer);
        }
        let retried: Vec<JobId> = of_round.iter().filter(|job| is_again(job)).map(|job| job.id).collect();
        self.remind_of_shared(context.now);
        let begun = self.sync_files(found, context);
        for job in &retried {
            // They are over and of this round.
            let _ = self.take_again(*job, context.now);
        }
        let answer = if all_over && retried.is_empty() && !begun {
            let of_round = self.jobs.iter().filter(|job| job.round == round.number).cloned();
            Opened::AllOver(tally(&of_round.collect::<Vec<_>>()))
        } else {
            Opened::GoesOn(retried.len())
        };
        self.outcome(answer)
    }

    fn begin_round(
        &mut self,
        number: u32,
        files: Vec<&Found>,
        again: &[Verdict],
        context: &mut Context<'_>,
    ) -> Opened {
        let round = Round { number, begun: context.now, again: again.to_vec(), is_over: false };
        self.changes.push(Change::Round(round.clone()));
        self.round = Some(round.clone());
        self.forget_shared();
        let count = files.len();
        for file in files {
            self.sync_file(file, context);
        }
        Opened::Round(round, count)
    }

    /// A session ends in good order. If nothing is left to do, the next one begins a new round.
    #[must_use]
    pub fn close(mut self) -> Outcome<()> {
        if let Some(mut round) = self.round.clone() {
            let is_over =
                self.jobs.iter().filter(|job| job.round == round.number).all(|job| job.state.is_final());
            if is_over && !round.is_over {
                round.is_over = true;
                self.changes.push(Change::Round(round));
            }
        }
        self.outcome(())
    }
}

/// When a session that ends by itself may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Jobs are left.
    NotYet,
    /// At this time at the latest: a host is still to be told that there is nothing left.
    At(Timestamp),
    /// At once.
    Now,
}

/// Decides when a session that ends by itself may end: when all jobs are over, and each host that ran one, or waits
/// here for one, has fetched what tells it to go; but a host that stays away is waited for no longer than `grace`.
#[must_use]
pub fn ending(jobs: &[Job], runs: &[Run], hosts: &[Host], grace: Duration) -> Ending {
    if jobs.iter().any(|job| !job.state.is_final()) {
        return Ending::NotYet;
    }
    let Some(last) = jobs.iter().map(|job| job.since).max() else { return Ending::Now };
    let has_worked = |host: &Host| runs.iter().any(|run| run.host == host.id && run.may_report());
    let waits = |host: &Host| host.idle.as_ref().is_some_and(|idle| idle.stub == Some(super::Stub::Wait));
    let has_gone = |host: &Host| {
        host.idle.as_ref().is_some_and(|idle| idle.since >= last && (idle.is_taken || idle.stub.is_none()))
    };
    let is_awaited = |host: &&Host| (has_worked(host) || waits(host)) && !has_gone(host);
    match hosts.iter().find(is_awaited) {
        Some(_) => Ending::At(last.checked_add(grace).unwrap_or(Timestamp::MAX)),
        None => Ending::Now,
    }
}

/// The exit status of a session that ends by itself: 0 if all passed or are unjudged, 3 if some failed, else 4 if some
/// errored or were cancelled. What its source no longer offered does not count.
#[must_use]
pub fn exit_status(jobs: &[Job]) -> u8 {
    let some = |wanted: &dyn Fn(&Job) -> bool| jobs.iter().any(wanted);
    if some(&|job| job.verdict == Some(Verdict::Failed)) {
        3
    } else if some(&|job| job.verdict == Some(Verdict::Errored))
        || some(&|job| job.state == JobState::Cancelled && !job.is_withdrawn)
    {
        4
    } else {
        0
    }
}
