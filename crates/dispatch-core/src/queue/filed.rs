//! What became of the effects that leave a trace: issues.

use jiff::Timestamp;

use super::{Change, Issue, Outcome, Settled, Snapshot};
use crate::event::{Effect, Happening};
use crate::id::{ReportId, RunId};

impl Snapshot {
    /// A report of this run is an issue now. `omitted` says what the issue could not be given.
    #[must_use]
    pub fn issue_filed(
        mut self,
        run: RunId,
        effect: &Effect,
        issue: Issue,
        omitted: Vec<String>,
        now: Timestamp,
    ) -> Outcome<()> {
        let what = Happening::IssueFiled { report: issue.report, url: issue.url.clone(), omitted };
        self.changes.push(Change::Issue(issue));
        self.changes.push(Change::Settled(Settled { key: effect.idempotency_key(), at: now, refused: None }));
        self.tell(Some(run), None, now, what);
        self.outcome(())
    }

    /// A report of this run will never be an issue.
    #[must_use]
    pub fn issue_refused(
        mut self,
        run: RunId,
        effect: &Effect,
        report: ReportId,
        why: &str,
        now: Timestamp,
    ) -> Outcome<()> {
        let refused = Some(why.to_owned());
        self.changes.push(Change::Settled(Settled { key: effect.idempotency_key(), at: now, refused }));
        self.tell(Some(run), None, now, Happening::IssueRefused { report, reason: why.to_owned() });
        self.outcome(())
    }
}
