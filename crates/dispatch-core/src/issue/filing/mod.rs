//! How a report becomes an issue exactly once, whatever becomes of the answers: a state machine without IO.
//!
//! Whoever drives it asks [`Filing::next`], notes that a request goes out ([`Filing::before`]) and stores that before
//! it does, and tells what came of it ([`Filing::after`]). A request that makes something and of which nobody knows what
//! became is followed by a look for the marker; it is sent again only when the marker is not there and the request
//! cannot be at work any more. After a crash [`Filing::resumed`] goes on from what was stored last.

mod after;
mod refused;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Draft;
use super::fields::{Field, LeftOut};

/// How long after we have lost sight of a request it may still be carried out. GitHub ends each after ten seconds; the
/// rest is for the way there and for what it takes until everybody sees it.
const AT_WORK: Duration = Duration::from_secs(12);

/// The same of one that a process sent which has died since: its system may have gone on with that for eight seconds.
const AFTER_DEATH: Duration = Duration::from_secs(20);

/// How long before a request by GitHub's clock a look begins, so that a clock that is a little off hides nothing.
const MARGIN: Duration = Duration::from_mins(2);

/// How long a rate limit is taken to hold that does not say; whenever it still holds then, for twice as long.
const LIMIT: Duration = Duration::from_mins(1);

/// Up to this.
const LONGEST_UNSAID: Duration = Duration::from_mins(15);

/// A rate limit that says it holds for longer is not believed; GitHub's last an hour.
const LONGEST_LIMIT: Duration = Duration::from_hours(24);

/// How many labels are left out by themselves to find the one that is refused; then it is all of them.
const MOST_TRIED: usize = 10;

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What an issue is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIssue {
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Login names.
    pub assignees: Vec<String>,
    /// The number of its milestone.
    pub milestone: Option<u64>,
}

/// Something to be asked of GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Find the number of a milestone, open or closed.
    FindMilestone {
        /// Its title.
        title: String,
    },
    /// Ask whether somebody may be assigned issues.
    AskAssignee {
        /// The login name.
        login: String,
    },
    /// List the issues, open and closed, that changed since this time by GitHub's clock.
    Look {
        /// Since when.
        since: Timestamp,
    },
    /// Make the issue.
    Create(NewIssue),
    /// Replace the text of the issue.
    Amend {
        /// Which issue.
        number: u64,
        /// The whole text.
        body: String,
    },
    /// List the comments of an issue that changed since this time by GitHub's clock.
    LookForComments {
        /// Which issue.
        number: u64,
        /// Since when.
        since: Timestamp,
    },
    /// Write a comment.
    Comment {
        /// Which issue.
        number: u64,
        /// Its text.
        body: String,
    },
}

impl Request {
    /// Whether it makes something that must not be made twice: [`Filing::before`] has to be stored first.
    #[must_use]
    pub fn makes_something(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Comment { .. })
    }
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Ask GitHub.
    Ask(Request),
    /// Nothing before a certain time.
    Wait(Wait),
    /// Nothing any more: there is the issue.
    Done {
        /// Which.
        issue: Filed,
        /// What it has to do without.
        left_out: Vec<LeftOut>,
    },
    /// Nothing any more: there will be no issue.
    Refused {
        /// Why.
        why: String,
    },
}

/// What GitHub answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::FindMilestone`]: its number, if there is one of that title.
    Milestone(Option<u64>),
    /// To [`Request::AskAssignee`].
    MayBeAssigned(bool),
    /// To [`Request::Look`].
    Issues(Vec<Seen>),
    /// To [`Request::Create`].
    Created(Seen),
    /// To [`Request::Amend`].
    Amended,
    /// To [`Request::LookForComments`].
    Comments(Vec<SeenComment>),
    /// To [`Request::Comment`].
    Commented,
}

/// An issue as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// Where people read it.
    pub url: String,
    /// Its text.
    pub body: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Login names.
    pub assignees: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
    /// The login name of who made it, if there is such a user.
    pub user: Option<String>,
    /// When it was made, by GitHub's clock.
    pub created: Timestamp,
}

/// A comment as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenComment {
    /// Its text.
    pub body: String,
    /// The login name of who wrote it, if there is such a user.
    pub user: Option<String>,
}

/// What kind of failure a request ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// GitHub cannot be reached, or is in trouble itself.
    Passing,
    /// A rate limit.
    Limited,
    /// Somebody must mend it: credentials, permissions, a repository that is not there.
    Lasting,
    /// What was asked about is not there, or not for us (404, 410).
    NotThere,
    /// What was sent is wrong (400, 422).
    Refused,
}

/// What may have become of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It was not carried out and will not be: no look is needed.
    NotNeeded,
    /// It may have been carried out, or may be at this moment: also where a server in trouble has answered, another one
    /// behind it may still be at work, and a list may not show yet what was made.
    Needed,
}

/// What GitHub says of one field of a request that it refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldTrouble {
    /// What kind of thing was to be made, as `Issue`.
    pub resource: String,
    /// The field, as `assignees`.
    pub field: String,
    /// The value that was wrong.
    pub value: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it was.
    pub trouble: Trouble,
    /// What may have become of the request.
    pub look: Look,
    /// One sentence for people.
    pub words: String,
    /// When GitHub says to come back, by our clock; None if it does not say.
    pub retry_at: Option<Timestamp>,
    /// What is wrong with single fields.
    pub fields: Vec<FieldTrouble>,
}

/// An issue that was made of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// Its number.
    pub number: u64,
    /// Where people read it.
    pub url: String,
    /// When it was made, by GitHub's clock.
    pub created: Timestamp,
    /// The login name of who made it.
    #[serde(default)]
    pub user: Option<String>,
}

/// A time before which nothing is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Until when, by our clock.
    pub until: Timestamp,
    /// Why.
    pub why: String,
    /// What kind of reason that is.
    pub reason: Reason,
}

/// What kind of reason there is to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A request failed.
    Trouble,
    /// A rate limit, which holds for everybody of this sign-in, and also after a restart.
    Limit,
    /// What was made may not be seen yet.
    Settling,
}

/// A request that makes something, and of which nobody knows yet what became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    /// When the first of its kind was sent, by GitHub's clock.
    since: Timestamp,
    /// From when on it cannot be carried out any more, by our clock, if it was not until then.
    quiet_at: Option<Timestamp>,
    /// It was looked for after that, and is not there.
    is_lost: bool,
    /// As whom it was sent. None where that is not known: it may have been anybody.
    #[serde(default)]
    by: Option<Vec<String>>,
}

/// What is to be done with the issue that is there, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// See whether it is still there, and as it was.
    Verify,
    /// Let it say what it has to do without.
    Amend,
    /// See how many comments there are.
    Count,
    /// Write the comments.
    Comment,
}

/// How far a report has come on its way to an issue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filing {
    /// The number of the milestone, once it is known.
    milestone: Option<u64>,
    /// What GitHub would not take.
    left_out: Vec<LeftOut>,
    /// Assignees of whom it is still to be asked whether they may be, once that is in doubt.
    to_ask: Option<Vec<String>>,
    /// Labels of which one is refused, and it is not known which: these were not left out yet, to see.
    to_try: Option<Vec<String>>,
    /// The label that is left out to see whether it is that one.
    on_trial: Option<String>,
    flight: Option<Flight>,
    issue: Option<Filed>,
    /// Since when the issue is known, by our clock.
    known_at: Option<Timestamp>,
    /// How much of `left_out` the issue said from the beginning.
    said: usize,
    /// What is still to be done once there is the issue.
    tasks: BTreeSet<Task>,
    /// How many comments are there for certain.
    comments: usize,
    refused: Option<String>,
    wait: Option<Wait>,
    /// How often in a row it was tried in vain.
    failures: u32,
    /// How often in a row it met a rate limit.
    #[serde(default)]
    limits: u32,
}

impl Filing {
    /// How far it has come is not known: everything may have been done since `at`, by our clock.
    #[must_use]
    pub fn unknown(at: Timestamp) -> Self {
        // By our clock, which nobody compared with GitHub's.
        let since = earlier(at, Duration::from_hours(24));
        Self { flight: Some(Flight { since, quiet_at: None, is_lost: false, by: None }), ..Self::default() }
    }

    /// What is to be done next.
    #[must_use]
    pub fn next(&self, draft: &Draft, now: Timestamp) -> Todo {
        if let Some(why) = &self.refused {
            return Todo::Refused { why: why.clone() };
        }
        if let Some(wait) = self.wait.as_ref().filter(|wait| !is_due(wait.until, now)) {
            return Todo::Wait(wait.clone());
        }
        match &self.issue {
            Some(issue) => self.next_of(issue, draft),
            None => Todo::Ask(self.next_without_issue(draft)),
        }
    }

    fn next_without_issue(&self, draft: &Draft) -> Request {
        if let Some(flight) = self.flight.as_ref().filter(|flight| !flight.is_lost) {
            return Request::Look { since: earlier(flight.since, MARGIN) };
        }
        if let Some(login) = self.to_ask.as_ref().and_then(|logins| logins.first()) {
            return Request::AskAssignee { login: login.clone() };
        }
        match self.wanted_milestone(draft) {
            Some(title) if self.milestone.is_none() => Request::FindMilestone { title: title.to_owned() },
            _ => Request::Create(self.request(draft)),
        }
    }

    fn next_of(&self, issue: &Filed, draft: &Draft) -> Todo {
        let (number, since) = (issue.number, earlier(issue.created, MARGIN));
        let is_unsure = self.flight.as_ref().is_some_and(|flight| !flight.is_lost);
        match (self.tasks.first(), draft.comments.get(self.comments)) {
            (Some(Task::Verify), _) => Todo::Ask(Request::Look { since }),
            (Some(Task::Amend), _) => Todo::Ask(Request::Amend { number, body: draft.body(&self.left_out) }),
            (Some(Task::Count), Some(_)) => Todo::Ask(Request::LookForComments { number, since }),
            (Some(Task::Comment), Some(_)) if is_unsure => {
                Todo::Ask(Request::LookForComments { number, since })
            }
            (Some(Task::Comment), Some(body)) => Todo::Ask(Request::Comment { number, body: body.clone() }),
            (Some(Task::Count | Task::Comment), None) | (None, _) => self.done(issue, draft),
        }
    }

    fn done(&self, issue: &Filed, draft: &Draft) -> Todo {
        let left_out = draft.left_out.iter().chain(&self.left_out).cloned().collect();
        Todo::Done { issue: issue.clone(), left_out }
    }

    /// Notes that this is about to be asked, not before a time by GitHub's clock, and by whom, if that is known. For what
    /// [makes something](Request::makes_something) it has to be stored before it is sent.
    pub fn before(&mut self, request: &Request, github_time: Timestamp, us: Option<&str>) {
        self.wait = None;
        if request.makes_something() {
            let (mut since, mut by) = (github_time, us.map(|us| vec![us.to_owned()]));
            // The one before may still come to light.
            if let Some(before) = self.flight.take() {
                since = since.min(before.since);
                by = by.zip(before.by).map(|(us, others)| [others, us].concat());
            }
            self.flight = Some(Flight { since, quiet_at: None, is_lost: false, by });
        }
    }

    /// What was stored, found when a session starts. A person who starts again has mended what was wrong: nothing but a
    /// rate limit still holds. What was under way when the session before ended may be under way still.
    #[must_use]
    pub fn resumed(mut self, now: Timestamp) -> Self {
        self.wait = self.wait.filter(|wait| wait.reason == Reason::Limit && !is_due(wait.until, now));
        self.failures = 0;
        // A person may have changed the text in the meantime.
        if self.tasks.contains(&Task::Amend) {
            self.tasks.insert(Task::Verify);
        }
        if let Some(flight) = &mut self.flight {
            // From now on, not from when it was sent: clocks are set, also while nobody looks.
            flight.quiet_at = Some(later(now, AFTER_DEATH));
        }
        self
    }

    /// The rate limit that it waits for, if it does.
    #[must_use]
    pub fn limited_until(&self) -> Option<Timestamp> {
        self.wait.as_ref().filter(|wait| wait.reason == Reason::Limit).map(|wait| wait.until)
    }

    fn is_left_out(&self, field: Field, name: &str) -> bool {
        self.left_out.iter().any(|left_out| left_out.is(field, name))
    }

    fn wanted(&self, field: Field, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| !self.is_left_out(field, name)).cloned().collect()
    }

    fn wanted_milestone<'a>(&self, draft: &'a Draft) -> Option<&'a str> {
        draft.milestone.as_deref().filter(|title| !self.is_left_out(Field::Milestone, title))
    }

    fn request(&self, draft: &Draft) -> NewIssue {
        NewIssue {
            title: draft.title.clone(),
            body: draft.body(&self.left_out),
            labels: self.wanted(Field::Label, &draft.labels),
            assignees: self.wanted(Field::Assignee, &draft.assignees),
            milestone: self.wanted_milestone(draft).and(self.milestone),
        }
    }
}

/// Whether what was to wait until `until` may be done now. What would have to wait for longer than anything does was told
/// by a clock that was wrong: it may be done, too.
pub(super) fn is_due(until: Timestamp, now: Timestamp) -> bool {
    until <= now || until > later(now, LONGEST_LIMIT + Duration::from_secs(1))
}

pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
