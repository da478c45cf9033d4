//! The table: state × event → next state.

use std::time::Duration;

use jiff::Timestamp;

use super::{Deadlines, End, MAX_BROKEN, MAX_WHOLE, Refused, Run, RunEvent, RunState, Step, Transfer};
use crate::event::Happening;
use crate::text;
use crate::verdict::Verdict;

/// Decides what becomes of `run` when `event` happens at `now`.
pub fn decide(run: &Run, event: &RunEvent, deadlines: &Deadlines, now: Timestamp) -> Result<Step, Refused> {
    use RunEvent as E;
    let at = At { run: run.clone(), deadlines, now };
    match run.state {
        RunState::Finished | RunState::Failed | RunState::Cancelled => match event {
            E::Reported { verdict } => at.report_late(*verdict),
            _ => Err(Refused::Final),
        },
        RunState::Assigned => match event {
            E::Asked => Ok(at.ask_unbooted()),
            E::Unreadable { why } => Ok(at.lose_image(why)),
            E::Began { size, start } => Ok(at.begin(*size, *start)),
            E::Progress { .. } => Err(Refused::Stale),
            E::Ended { sent, count, end, .. } => Ok(at.end_older_transfer(*sent, *count, *end)),
            E::Started => at.start(),
            E::Reported { verdict } => at.report(*verdict),
            E::Expired => at.expire(),
            E::Recovered => Ok(at.recover()),
            E::Superseded => Ok(at.supersede()),
            E::Cancelled { why } => Ok(at.cancel(why)),
            E::Disputed { why } => Ok(at.dispute(why)),
        },
        RunState::Downloading => match event {
            E::Asked => Ok(at.ask_unbooted()),
            E::Unreadable { why } => Ok(at.lose_image(why)),
            E::Began { size, start } => Ok(at.begin(*size, *start)),
            E::Progress { transfer, sent } => at.progress(*transfer, *sent),
            E::Ended { transfer, sent, count, end } => at.end_transfer(*transfer, *sent, *count, *end),
            E::Started => at.start(),
            E::Reported { verdict } => at.report(*verdict),
            E::Expired => at.expire(),
            E::Recovered => Ok(at.recover()),
            E::Superseded => Ok(at.supersede()),
            E::Cancelled { why } => Ok(at.cancel(why)),
            E::Disputed { why } => Ok(at.dispute(why)),
        },
        RunState::Booting => match event {
            E::Asked => Ok(at.reboot()),
            E::Began { .. } | E::Progress { .. } | E::Unreadable { .. } | E::Superseded => {
                Err(Refused::TooLate)
            }
            E::Ended { transfer, sent, count, end } => at.end_transfer(*transfer, *sent, *count, *end),
            E::Started => at.start(),
            E::Reported { verdict } => at.report(*verdict),
            E::Expired => at.expire(),
            E::Recovered => Ok(at.recover()),
            E::Cancelled { why } => Ok(at.cancel(why)),
            E::Disputed { why } => Ok(at.dispute(why)),
        },
        RunState::Reported => match event {
            E::Asked => Ok(at.finish()),
            E::Began { .. } | E::Progress { .. } | E::Ended { .. } | E::Unreadable { .. } | E::Superseded => {
                Err(Refused::TooLate)
            }
            E::Started => at.start(),
            E::Reported { verdict } => at.report(*verdict),
            E::Expired => at.expire(),
            E::Recovered => Ok(at.recover()),
            E::Cancelled { why } => Ok(at.cancel(why)),
            E::Disputed { why } => Ok(at.dispute(why)),
        },
    }
}

/// A run at a moment; each method is one row of the table.
struct At<'a> {
    run: Run,
    deadlines: &'a Deadlines,
    now: Timestamp,
}

impl At<'_> {
    fn step(self, happened: impl Into<Option<Happening>>) -> Step {
        Step { run: self.run, happened: happened.into() }
    }

    fn enter(&mut self, state: RunState) {
        if self.run.state != state {
            self.run.state = state;
            self.run.since = self.now;
        }
        self.renew();
    }

    /// How long the run may stay as it is.
    fn limit(&self) -> Option<Duration> {
        match (self.run.state, self.run.transfer) {
            (RunState::Assigned, _) => Some(self.deadlines.assigned),
            (RunState::Downloading, Transfer::Whole | Transfer::Lost | Transfer::Unsure) => {
                Some(self.deadlines.boot)
            }
            (RunState::Downloading, _) => Some(self.deadlines.download),
            (RunState::Booting, _) => Some(self.deadlines.run),
            (RunState::Reported, _) => Some(self.deadlines.grace),
            (RunState::Finished | RunState::Failed | RunState::Cancelled, _) => None,
        }
    }

    /// Starts the deadline of the present state anew.
    fn renew(&mut self) {
        self.run.deadline = self.limit().map(|limit| after(self.now, limit));
    }

    fn errored(mut self, reason: String) -> Step {
        // What it has reported before may be worse.
        self.run.verdict = self.run.verdict.max(Some(Verdict::Errored));
        self.run.reason = Some(reason.clone());
        self.enter(RunState::Failed);
        self.step(Happening::Failed { reason })
    }

    /// The host asks, and its image has not called yet: it gets the same again.
    fn ask_unbooted(mut self) -> Step {
        if self.run.wholes >= MAX_WHOLE {
            let reason = format!(
                "the image was sent whole {} and the host asked again each time: it crashes before it can call",
                text::count(u64::from(self.run.wholes), "time"),
            );
            return self.errored(reason);
        }
        match self.run.transfer {
            // It would not ask if it had the image. That we were down is no fault of its own.
            Transfer::Lost => {
                self.assign_again();
                self.step(None)
            }
            Transfer::Unsure => {
                let sent = self.run.sent;
                self.break_off(sent)
            }
            _ => self.step(None),
        }
    }

    fn lose_image(mut self, why: &str) -> Step {
        let reason = format!("the image cannot be read: {why}");
        if self.run.most_sent > 0 {
            return self.errored(reason);
        }
        self.run.reason = Some(reason.clone());
        self.enter(RunState::Cancelled);
        self.step(Happening::Returned { reason })
    }

    fn begin(mut self, size: u64, start: u64) -> Step {
        if self.run.transfer == Transfer::Sending && start > self.run.most_sent {
            // It goes on where an older transfer has come to, whose end is not noted yet.
            self.run.most_sent = start;
        }
        self.run.transfers += 1;
        self.run.transfer = Transfer::Sending;
        self.run.size = size;
        self.run.sent = start;
        // A range that follows others has no time of its own: only bytes are progress.
        let deadline = self.run.deadline.filter(|_| start > 0 && self.run.state == RunState::Downloading);
        self.enter(RunState::Downloading);
        self.run.deadline = deadline.or(self.run.deadline);
        self.run.since = self.now;
        self.step(Happening::Downloading { size, start })
    }

    fn progress(mut self, transfer: u32, sent: u64) -> Result<Step, Refused> {
        if transfer != self.run.transfers || self.run.transfer != Transfer::Sending {
            return Err(Refused::Stale);
        }
        self.run.sent = sent;
        self.run.most_sent = self.run.most_sent.max(1);
        self.renew();
        Ok(self.step(None))
    }

    fn end_transfer(mut self, transfer: u32, sent: u64, count: u64, end: End) -> Result<Step, Refused> {
        if transfer != self.run.transfers && self.run.state == RunState::Downloading {
            return Ok(self.end_older_transfer(sent, count, end));
        }
        if transfer != self.run.transfers || self.run.transfer == Transfer::Whole {
            return Err(Refused::Stale);
        }
        let had = self.run.most_sent;
        let follows = self.note_bytes(sent, count);
        match end {
            End::Whole if follows => {
                let took = since(self.run.since, self.now);
                self.run.sent = sent;
                self.run.transfer = Transfer::Whole;
                self.run.wholes += 1;
                if self.run.state != RunState::Downloading {
                    // The call was faster than our bookkeeping.
                    return Ok(self.step(None));
                }
                self.renew();
                let size = self.run.size;
                Ok(self.step(Happening::Downloaded { size, took }))
            }
            // The image is up already: what our bookkeeping still says of its download is of no interest.
            _ if self.run.state != RunState::Downloading => Err(Refused::TooLate),
            End::Whole | End::Partial => {
                self.run.sent = sent;
                self.run.transfer = Transfer::Partial;
                if self.run.most_sent > had {
                    self.renew();
                }
                Ok(self.step(None))
            }
            End::Unsure if follows => {
                self.run.sent = sent;
                self.run.transfer = Transfer::Unsure;
                self.renew();
                Ok(self.step(None))
            }
            // We broke it off; or nothing has ever gone out, as with a boot menu that only checks.
            End::Broken | End::Cut if end == End::Cut || self.run.most_sent == 0 => {
                self.assign_again();
                Ok(self.step(None))
            }
            End::Broken | End::Unsure | End::Cut => Ok(self.break_off(sent)),
        }
    }

    /// The host has asked for the image anew since: how the older transfer ended is counted, and changes no state.
    fn end_older_transfer(mut self, sent: u64, count: u64, end: End) -> Step {
        let follows = self.note_bytes(sent, count);
        match end {
            End::Whole if follows => self.run.wholes += 1,
            End::Broken | End::Unsure if count > 0 => return self.count_break(sent),
            _ => {}
        }
        self.step(None)
    }

    /// Notes what a transfer brought. Returns whether it left no gap behind it: one that did makes nothing whole.
    fn note_bytes(&mut self, sent: u64, count: u64) -> bool {
        let follows = sent.saturating_sub(count) <= self.run.most_sent;
        if count > 0 {
            self.run.most_sent = self.run.most_sent.max(if follows { sent } else { 1 });
        }
        follows
    }

    /// Back to assigned, with the deadline that the assignment had if nothing was ever fetched: asking often enough
    /// must not hold it for ever.
    fn assign_again(&mut self) {
        self.run.transfer = Transfer::None;
        self.enter(RunState::Assigned);
        if self.run.most_sent == 0 {
            self.run.deadline = Some(after(self.run.created, self.deadlines.assigned));
        }
    }

    fn break_off(mut self, sent: u64) -> Step {
        self.run.sent = sent;
        self.run.transfer = Transfer::None;
        self.enter(RunState::Assigned);
        self.count_break(sent)
    }

    fn count_break(mut self, sent: u64) -> Step {
        let size = self.run.size;
        self.run.broken += 1;
        if self.run.broken >= MAX_BROKEN {
            let reason = format!(
                "the download broke off {MAX_BROKEN} times, last after {} of {}",
                text::bytes(sent),
                text::bytes(size),
            );
            return self.errored(reason);
        }
        let nth = self.run.broken;
        self.step(Happening::Broken { sent, size, nth, limit: MAX_BROKEN })
    }

    fn start(mut self) -> Result<Step, Refused> {
        match self.run.state {
            RunState::Assigned if self.run.wholes == 0 => return Err(Refused::NotReached),
            RunState::Booting => {
                self.renew();
                return Ok(self.step(None));
            }
            RunState::Reported => return Ok(self.step(None)),
            _ => {}
        }
        // It could not call if it had not arrived whole, whatever our bookkeeping has come to.
        self.run.sent = self.run.size;
        self.run.most_sent = self.run.size;
        self.run.booted_at.get_or_insert(self.now);
        let took = since(self.run.since, self.now);
        self.enter(RunState::Booting);
        Ok(self.step(Happening::Booting { took }))
    }

    fn report(mut self, verdict: Verdict) -> Result<Step, Refused> {
        let verdict = self.believed(verdict)?;
        self.run.verdict = self.run.verdict.max(Some(verdict));
        self.run.reports += 1;
        self.enter(RunState::Reported);
        Ok(self.step(None))
    }

    /// A final run takes a late report. It can make the verdict worse, never better.
    fn report_late(mut self, verdict: Verdict) -> Result<Step, Refused> {
        let verdict = self.believed(verdict)?;
        self.run.reports += 1;
        self.run.verdict = match self.run.verdict {
            Some(known) => Some(known.max(verdict)),
            // A cancelled run has no verdict; of all late news only a failure counts.
            None => Some(verdict).filter(|late| *late == Verdict::Failed),
        };
        Ok(self.step(None))
    }

    /// What a report's verdict counts for this run. Where the image may have arrived or not, the report may be from
    /// an older system on the host's disk: it is kept, but nothing passes by it.
    fn believed(&self, verdict: Verdict) -> Result<Verdict, Refused> {
        if self.run.is_reached() {
            Ok(verdict)
        } else if self.run.may_report() {
            Ok(verdict.max(Verdict::Unjudged))
        } else {
            Err(Refused::NotReached)
        }
    }

    /// The host asks again after its image had called.
    fn reboot(mut self) -> Step {
        if self.run.reboots >= self.run.reboots_allowed {
            let reason = match self.run.reboots {
                0 => "rebooted without a report".to_owned(),
                more => {
                    format!(
                        "rebooted without a report after {} it may make",
                        text::count(more.into(), "reboot")
                    )
                }
            };
            return self.errored(reason);
        }
        self.run.reboots += 1;
        self.run.broken = 0;
        self.run.wholes = 0;
        self.run.transfer = Transfer::None;
        self.enter(RunState::Assigned);
        let (nth, allowed) = (self.run.reboots, self.run.reboots_allowed);
        self.step(Happening::Rebooting { nth, allowed })
    }

    fn finish(mut self) -> Step {
        self.enter(RunState::Finished);
        let reports = self.run.reports;
        let verdict = self.run.verdict.unwrap_or(Verdict::Unjudged);
        self.run.verdict = Some(verdict);
        self.step(Happening::Finished { verdict, reports })
    }

    fn expire(mut self) -> Result<Step, Refused> {
        if self.run.deadline.is_none_or(|deadline| deadline > self.now) {
            return Err(Refused::NotYet);
        }
        let limit = text::duration(self.limit().unwrap_or_default());
        let (sent, size) = (text::bytes(self.run.sent), text::bytes(self.run.size));
        let reason = match (self.run.state, self.run.transfer) {
            (RunState::Reported, _) => return Ok(self.finish()),
            (RunState::Assigned, _) if self.run.most_sent == 0 => {
                let reason = format!("not fetched within {limit}");
                self.run.reason = Some(reason.clone());
                self.enter(RunState::Cancelled);
                return Ok(self.step(Happening::Returned { reason }));
            }
            (RunState::Assigned, _) if self.run.reboots > 0 => {
                format!("the host did not come back for its image within {limit} of its reboot")
            }
            (RunState::Assigned, _) => {
                format!(
                    "the download broke off at {sent} of {size} and was not taken up again within {limit}"
                )
            }
            (RunState::Downloading, Transfer::Whole | Transfer::Lost | Transfer::Unsure) => {
                format!(
                    "no call from the image within {limit} of its last byte: it does not boot, or has no network"
                )
            }
            (RunState::Downloading, _) => format!("the download stood still at {sent} of {size} for {limit}"),
            _ => format!("no report within {limit} of the last sign of life"),
        };
        Ok(self.errored(reason))
    }

    /// We were down. Bytes on their way were cut off, or arrived; deadlines that passed restart in full.
    fn recover(mut self) -> Step {
        if self.run.state == RunState::Downloading && self.run.transfer == Transfer::Sending {
            self.run.transfer = Transfer::Lost;
            self.run.most_sent = self.run.size.max(1);
            self.renew();
        } else if self.run.deadline.is_some_and(|deadline| deadline <= self.now) {
            self.renew();
        }
        let state = self.run.state;
        self.step(Happening::Resumed { state })
    }

    fn dispute(mut self, why: &str) -> Step {
        self.run.is_disputed = true;
        self.errored(why.to_owned())
    }

    fn supersede(self) -> Step {
        self.cancel("an earlier attempt reported after all")
    }

    fn cancel(mut self, why: &str) -> Step {
        let reason = why.to_owned();
        self.run.reason = Some(reason.clone());
        self.enter(RunState::Cancelled);
        self.step(Happening::Cancelled { reason })
    }
}

fn after(now: Timestamp, limit: Duration) -> Timestamp {
    now.checked_add(limit).unwrap_or(Timestamp::MAX)
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}
