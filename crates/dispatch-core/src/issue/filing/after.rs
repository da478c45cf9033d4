//! What an answer changes.

use jiff::Timestamp;

use super::super::fields::{Field, LeftOut, Why, same};
use super::super::{Draft, find_marker};
use super::{
    AFTER_DEATH, AT_WORK, Answer, Duration, Failure, Filed, Filing, LIMIT, LONGEST_LIMIT, LONGEST_UNSAID,
    LONGEST_WAIT, Look, Reason, Request, Seen, SeenComment, Task, Trouble, Wait, later,
};

impl Filing {
    /// What came of `request`, which was asked at `asked` and answered at `now`.
    pub fn after(
        &mut self,
        draft: &Draft,
        request: &Request,
        answer: Result<Answer, Failure>,
        asked: Timestamp,
        now: Timestamp,
    ) {
        match answer {
            Ok(answer) => self.succeeded(draft, request, answer, asked, now),
            Err(failure) => self.failed(draft, request, &failure, now),
        }
    }

    fn succeeded(
        &mut self,
        draft: &Draft,
        request: &Request,
        answer: Answer,
        asked: Timestamp,
        now: Timestamp,
    ) {
        match (answer, request) {
            (Answer::Milestone(None), Request::FindMilestone { title }) => {
                self.leave_out(Field::Milestone, title, Why::NoSuchMilestone);
            }
            (Answer::Milestone(number), _) => self.milestone = number,
            (Answer::MayBeAssigned(may), Request::AskAssignee { login }) => self.asked_about(login, may),
            (Answer::Issues(issues), _) => match self.issue.clone() {
                Some(known) => self.verify(&known, draft, &issues, asked),
                None => self.look(draft, issues, asked, now),
            },
            (Answer::Created(seen), _) => self.take(draft, &seen, true, now),
            (Answer::Amended, _) => {
                self.tasks.remove(&Task::Amend);
                self.went_well();
            }
            (Answer::Comments(comments), _) => self.count(draft, &comments, asked),
            (Answer::Commented, _) => {
                self.comments += 1;
                self.flight = None;
                self.went_well();
            }
            // An answer to something else: whoever drives this is wrong, and nothing is known.
            (Answer::MayBeAssigned(_), _) => {}
        }
    }

    /// Something was made, or is there.
    fn went_well(&mut self) {
        (self.failures, self.limits) = (0, 0);
    }

    pub(super) fn asked_about(&mut self, login: &str, may_be: bool) {
        if let Some(logins) = &mut self.to_ask {
            logins.retain(|known| known != login);
        }
        if !may_be {
            self.leave_out(Field::Assignee, login, Why::NotAssignable);
        }
    }

    pub(super) fn leave_out(&mut self, field: Field, name: &str, why: Why) {
        if !self.is_left_out(field, name) {
            self.left_out.push(LeftOut::new(field, name, why));
        }
    }

    /// The issue may be among these. If somebody has copied it, the oldest is it.
    fn look(&mut self, draft: &Draft, issues: Vec<Seen>, asked: Timestamp, now: Timestamp) {
        let by = self.flight.as_ref().and_then(|flight| flight.by.as_deref());
        let is_ours = |seen: &Seen| {
            // Whoever quotes a whole issue quotes its marker.
            by.is_none_or(|by| is_one_of(seen.user.as_deref(), by))
                && find_marker(&seen.body)
                    .is_some_and(|marker| marker.report == draft.report && marker.part == 1)
        };
        let ours = issues.into_iter().filter(is_ours).min_by_key(|seen| seen.number);
        match ours {
            Some(seen) => {
                let is_as_sent = is_same_text(&seen.body, &draft.body(&self.left_out));
                self.take(draft, &seen, is_as_sent, now);
                self.tasks.insert(Task::Count);
            }
            None => self.not_there(asked),
        }
    }

    /// A look that began at `asked` has not found what a request may have made.
    fn not_there(&mut self, asked: Timestamp) {
        let Some(flight) = &mut self.flight else { return };
        // Our clock may have been set back since.
        let quiet_at = flight.quiet_at.unwrap_or(Timestamp::MAX).min(later(asked, AFTER_DEATH));
        flight.quiet_at = Some(quiet_at);
        if asked >= quiet_at {
            flight.is_lost = true;
        } else {
            let why = "it is not known yet whether GitHub has taken it".to_owned();
            self.wait = Some(Wait { until: quiet_at, why, reason: Reason::Settling });
        }
    }

    /// There is the issue. What GitHub has dropped without a word is said in it, unless a person has changed its text
    /// by now.
    fn take(&mut self, draft: &Draft, seen: &Seen, is_as_sent: bool, now: Timestamp) {
        self.issue = Some(Filed {
            number: seen.number,
            url: seen.url.clone(),
            created: seen.created,
            user: seen.user.clone(),
        });
        self.known_at = Some(now);
        (self.flight, self.said) = (None, self.left_out.len());
        self.went_well();
        for (field, wanted, given) in [
            (Field::Label, &draft.labels, &seen.labels),
            (Field::Assignee, &draft.assignees, &seen.assignees),
        ] {
            for name in self.wanted(field, wanted) {
                if !given.iter().any(|given| same(given, &name)) {
                    self.leave_out(field, &name, Why::Dropped);
                }
            }
        }
        if let Some(title) = self.wanted_milestone(draft)
            && seen.milestone.is_none()
        {
            self.leave_out(Field::Milestone, title, Why::Dropped);
        }
        self.tasks.insert(Task::Comment);
        if is_as_sent && self.left_out.len() > self.said {
            self.tasks.insert(Task::Amend);
        }
    }

    /// Whether the issue is still there, and still says what we wrote.
    fn verify(&mut self, known: &Filed, draft: &Draft, issues: &[Seen], asked: Timestamp) {
        let seen = issues.iter().find(|seen| seen.number == known.number);
        // A list may not show yet what was made a moment ago.
        let known_at = self.known_at.unwrap_or(asked).min(asked);
        self.known_at = Some(known_at);
        let shown_at = later(known_at, AT_WORK);
        if seen.is_none() && asked < shown_at {
            let why = "the issue is not in the repository's list yet".to_owned();
            self.wait = Some(Wait { until: shown_at, why, reason: Reason::Settling });
            return;
        }
        self.tasks.remove(&Task::Verify);
        let Some(seen) = seen else {
            self.tasks.remove(&Task::Amend);
            self.close(draft, &Why::Deleted);
            return;
        };
        let first = draft.body(self.left_out.get(..self.said).unwrap_or_default());
        if !is_same_text(&seen.body, &first) {
            self.tasks.remove(&Task::Amend);
        }
    }

    /// The issue gets no more comments.
    pub(super) fn close(&mut self, draft: &Draft, why: &Why) {
        self.tasks.remove(&Task::Count);
        self.tasks.remove(&Task::Comment);
        self.flight = None;
        for part in self.comments + 2..=draft.comments.len() + 1 {
            self.leave_out(Field::Text, &format!("part {part}"), why.clone());
        }
    }

    fn count(&mut self, draft: &Draft, comments: &[SeenComment], asked: Timestamp) {
        self.tasks.remove(&Task::Count);
        let mut ours = self.flight.as_ref().and_then(|flight| flight.by.clone()).unwrap_or_default();
        let maker = self.issue.as_ref().and_then(|issue| issue.user.clone());
        let is_known = maker.is_some();
        ours.extend(maker);
        let parts: Vec<u32> = comments
            .iter()
            .filter(|comment| !is_known || is_one_of(comment.user.as_deref(), &ours))
            .filter_map(|comment| find_marker(&comment.body))
            .filter(|marker| marker.report == draft.report)
            .map(|marker| marker.part)
            .collect();
        let before = self.comments;
        while (u32::try_from(self.comments + 2)).is_ok_and(|next| parts.contains(&next)) {
            self.comments += 1;
        }
        if self.comments > before {
            self.flight = None;
            self.went_well();
        } else {
            self.not_there(asked);
        }
    }

    fn failed(&mut self, draft: &Draft, request: &Request, failure: &Failure, now: Timestamp) {
        if request.makes_something() {
            match (&mut self.flight, failure.look) {
                (flight, Look::NotNeeded) => *flight = None,
                (None, _) => {}
                (Some(flight), Look::Needed) => flight.quiet_at = Some(later(now, AT_WORK)),
            }
        }
        if failure.trouble == Trouble::Limited || failure.is_too_quick() {
            let unsaid = LONGEST_UNSAID.min(LIMIT * (1 << self.limits.min(8)));
            self.limits = self.limits.saturating_add(1);
            let at = failure.retry_at.unwrap_or_else(|| later(now, unsaid));
            let until = later(believed(Some(at), now), Duration::from_secs(1));
            self.wait = Some(Wait { until, why: failure.words.clone(), reason: Reason::Limit });
            return;
        }
        if failure.trouble == Trouble::Refused && self.was_refused(draft, request, failure) {
            return;
        }
        if matches!(request, Request::Comment { .. }) && failure.says_locked() {
            self.close(draft, &Why::Locked);
            return;
        }
        // A person may have changed the text by then, or deleted it all.
        let is_to_verify = match request {
            Request::Amend { .. } => true,
            Request::Comment { .. } | Request::LookForComments { .. } => failure.trouble == Trouble::NotThere,
            _ => false,
        };
        if is_to_verify {
            self.tasks.insert(Task::Verify);
        }
        self.failures = self.failures.saturating_add(1);
        let wait = LONGEST_WAIT.min(Duration::from_secs(1 << (self.failures - 1).min(16)));
        let until = later(now, wait).max(believed(failure.retry_at, now));
        self.wait = Some(Wait { until, why: failure.words.clone(), reason: Reason::Trouble });
    }
}

/// When to come back, as far as that can be.
fn believed(retry_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    retry_at.unwrap_or(now).clamp(now, later(now, LONGEST_LIMIT))
}

/// Whether a user is one of these.
fn is_one_of(user: Option<&str>, names: &[String]) -> bool {
    user.is_some_and(|user| names.iter().any(|name| same(name, user)))
}

/// Whether a text is still what we sent. GitHub's own pages send lines that end with CR and LF.
fn is_same_text(one: &str, other: &str) -> bool {
    one.trim_end().replace("\r\n", "\n") == other.trim_end()
}
