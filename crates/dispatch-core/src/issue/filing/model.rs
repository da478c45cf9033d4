//! A server that applies requests, loses answers, applies requests late and limits, and one who drives a filing and may
//! die at any point. What must hold however it goes: one issue, each comment once, in order.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::tests::{at, draft_of};
use super::*;
use crate::issue::{Marker, find_marker};

/// How long it takes until a list shows what was made.
const LAG: Duration = Duration::from_secs(2);

/// What becomes of one request.
#[derive(Clone, Debug)]
enum Fate {
    Fine,
    /// Carried out after so many milliseconds, at most ten seconds; the answer is lost after so many.
    Lost {
        applied: Option<u64>,
        noticed: u64,
    },
    /// 500, as a whole answer; carried out after so many milliseconds by a server behind it.
    Error {
        applied: Option<u64>,
    },
    Unreachable,
    Limited {
        seconds: u64,
    },
    Forbidden,
    /// 422.
    Refused {
        field: u8,
        is_named: bool,
    },
    /// We die before it is sent, or with it under way, and are back after so many milliseconds.
    Crash {
        is_sent: bool,
        applied: Option<u64>,
        back: u64,
    },
    /// We die when the answer is here and not yet stored.
    CrashAfter {
        back: u64,
    },
}

fn fate() -> impl Strategy<Value = Fate> {
    let applied = || prop_oneof![Just(None), (0..=10_000_u64).prop_map(Some)];
    let back = || prop_oneof![0..1000_u64, 0..60_000_u64];
    prop_oneof![
        3 => Just(Fate::Fine),
        4 => (applied(), 0..30_000_u64).prop_map(|(applied, noticed)| Fate::Lost { applied, noticed }),
        2 => applied().prop_map(|applied| Fate::Error { applied }),
        1 => Just(Fate::Unreachable),
        1 => (0..100_u64).prop_map(|seconds| Fate::Limited { seconds }),
        1 => Just(Fate::Forbidden),
        1 => (0..5_u8, any::<bool>()).prop_map(|(field, is_named)| Fate::Refused { field, is_named }),
        3 => (any::<bool>(), applied(), back())
            .prop_map(|(is_sent, applied, back)| Fate::Crash { is_sent, applied, back }),
        2 => back().prop_map(|back| Fate::CrashAfter { back }),
    ]
}

#[derive(Clone, Debug)]
struct Made {
    at: Timestamp,
    what: Request,
}

struct World {
    now: Timestamp,
    draft: Draft,
    filing: Filing,
    stored: String,
    /// What was carried out, or will be at its time.
    made: Vec<Made>,
    has_push_access: bool,
}

impl World {
    fn new(draft: Draft, has_push_access: bool) -> Self {
        let filing = Filing::default();
        let stored = serde_json::to_string(&filing).expect("json");
        Self { now: at(1_000_000), draft, filing, stored, made: Vec::new(), has_push_access }
    }

    fn pass(&mut self, millis: u64) {
        self.now = later(self.now, Duration::from_millis(millis));
    }

    fn apply(&mut self, request: &Request, after: u64) {
        if request.makes_something() || matches!(request, Request::Amend { .. }) {
            self.made.push(Made { at: later(self.now, Duration::from_millis(after)), what: request.clone() });
        }
    }

    /// What was carried out by `until`, in that order.
    fn made(&self, until: Timestamp) -> Vec<Made> {
        let mut made: Vec<_> = self.made.iter().filter(|made| made.at <= until).cloned().collect();
        made.sort_by_key(|made| made.at);
        made
    }

    fn issues(&self, until: Timestamp) -> Vec<Seen> {
        let made = self.made(until);
        let text = made.iter().rev().find_map(|made| match &made.what {
            Request::Amend { body, .. } => Some(body),
            _ => None,
        });
        let made = made.iter().filter_map(|made| match &made.what {
            Request::Create(issue) => Some((made.at, issue)),
            _ => None,
        });
        (1..)
            .zip(made)
            .map(|(number, (created, issue))| Seen {
                number,
                url: format!("https://h.example/o/r/issues/{number}"),
                body: text.unwrap_or(&issue.body).clone(),
                labels: if self.has_push_access { issue.labels.clone() } else { Vec::new() },
                assignees: if self.has_push_access { issue.assignees.clone() } else { Vec::new() },
                milestone: issue.milestone.filter(|_| self.has_push_access).map(|_| "m".to_owned()),
                user: Some("will".into()),
                created,
            })
            .collect()
    }

    fn comments(&self, until: Timestamp) -> Vec<SeenComment> {
        let made = self.made(until).into_iter().filter_map(|made| match made.what {
            Request::Comment { body, .. } => Some(SeenComment { body, user: Some("will".into()) }),
            _ => None,
        });
        made.collect()
    }

    fn answer(&self, request: &Request) -> Answer {
        let seen = earlier(self.now, LAG);
        match request {
            Request::FindMilestone { .. } => Answer::Milestone(Some(7)),
            Request::AskAssignee { login } => Answer::MayBeAssigned(login != "nobody"),
            Request::Look { since } => {
                let mut issues = self.issues(seen);
                issues.retain(|seen| seen.created >= *since);
                Answer::Issues(issues)
            }
            Request::Create(_) => Answer::Created(self.issues(self.now).pop().expect("one was made")),
            Request::Amend { .. } => Answer::Amended,
            Request::LookForComments { .. } => Answer::Comments(self.comments(seen)),
            Request::Comment { .. } => Answer::Commented,
        }
    }

    fn store(&mut self) {
        self.stored = serde_json::to_string(&self.filing).expect("json");
    }

    fn crash(&mut self, back: u64) {
        self.pass(back);
        self.filing = serde_json::from_str::<Filing>(&self.stored).expect("a filing").resumed(self.now);
    }

    /// One request, or one wait. Returns how it ended.
    fn step(&mut self, fate: &Fate) -> Option<Todo> {
        let request = match self.filing.next(&self.draft, self.now) {
            end @ (Todo::Done { .. } | Todo::Refused { .. }) => return Some(end),
            Todo::Wait(wait) => {
                assert!(wait.until > self.now, "it waits for something that is over");
                self.now = wait.until;
                return None;
            }
            Todo::Ask(request) => request,
        };
        self.filing.before(&request, self.now, Some("will"));
        if request.makes_something() {
            self.store();
        }
        let asked = self.now;
        let answer = self.carry_out(&request, fate)?;
        self.filing.after(&self.draft, &request, answer, asked, self.now);
        match fate {
            Fate::CrashAfter { back } => self.crash(*back),
            _ => self.store(),
        }
        None
    }

    fn carry_out(&mut self, request: &Request, fate: &Fate) -> Option<Result<Answer, Failure>> {
        let (trouble, look) = match *fate {
            Fate::Fine | Fate::CrashAfter { .. } => {
                self.apply(request, 50);
                self.pass(100);
                return Some(Ok(self.answer(request)));
            }
            Fate::Crash { is_sent, applied, back } => {
                if let Some(after) = applied.filter(|_| is_sent) {
                    self.apply(request, after);
                }
                self.crash(back);
                return None;
            }
            Fate::Lost { applied, noticed } => {
                if let Some(after) = applied {
                    self.apply(request, after);
                }
                self.pass(noticed);
                (Trouble::Passing, Look::Needed)
            }
            Fate::Error { applied } => {
                if let Some(after) = applied {
                    self.apply(request, after);
                }
                (Trouble::Passing, Look::Needed)
            }
            Fate::Unreachable => (Trouble::Passing, Look::NotNeeded),
            Fate::Limited { .. } => (Trouble::Limited, Look::NotNeeded),
            Fate::Forbidden => (Trouble::Lasting, Look::NotNeeded),
            Fate::Refused { .. } => (Trouble::Refused, Look::NotNeeded),
        };
        let mut failure = Failure { trouble, look, words: "no".into(), retry_at: None, fields: Vec::new() };
        match *fate {
            Fate::Limited { seconds } => {
                failure.retry_at = Some(later(self.now, Duration::from_secs(seconds)));
            }
            // A comment that is refused is not written: that is another test.
            Fate::Refused { .. } if !matches!(request, Request::Create(_)) => {
                failure.trouble = Trouble::Lasting;
            }
            Fate::Refused { field, is_named } => {
                let (field, value) =
                    [("assignees", "nobody"), ("labels", "bug"), ("milestone", "7"), ("title", ""), ("", "")]
                        [usize::from(field)];
                failure.fields.push(FieldTrouble {
                    resource: "Issue".into(),
                    field: field.into(),
                    value: is_named.then(|| value.into()),
                    message: "is wrong".into(),
                });
            }
            _ => {}
        }
        Some(Err(failure))
    }
}

static LONG: LazyLock<Draft> = LazyLock::new(|| draft_of(&"a line of the report\n".repeat(8000)));

/// Goes on without further trouble until it is over.
fn finish(world: &mut World) -> Todo {
    (0..300).find_map(|_| world.step(&Fate::Fine)).expect("it comes to an end")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn there_is_one_issue_with_each_comment_once_and_in_order(
        fates in proptest::collection::vec(fate(), 0..25),
        has_push_access in any::<bool>(),
    ) {
        let mut world = World::new(LONG.clone(), has_push_access);
        let mut end = None;
        for fate in &fates {
            end = end.or_else(|| world.step(fate));
            let issues = world.issues(Timestamp::MAX);
            prop_assert!(issues.len() <= 1, "{} issues", issues.len());
        }
        let end = end.unwrap_or_else(|| finish(&mut world));
        let issues = world.issues(Timestamp::MAX);
        if let Todo::Refused { .. } = end {
            prop_assert!(issues.is_empty());
            let refusals = fates.iter().filter(|fate| matches!(fate, Fate::Refused { .. })).count();
            prop_assert!(refusals >= 3);
            return Ok(());
        }
        prop_assert_eq!(issues.len(), 1);
        let comments: Vec<_> = world.comments(Timestamp::MAX).into_iter().map(|comment| comment.body).collect();
        prop_assert!(comments == world.draft.comments, "{} comments", comments.len());
        let parts: Vec<_> = comments.iter().filter_map(|text| find_marker(text)).map(|Marker { part, .. }| part).collect();
        prop_assert_eq!(parts, [2, 3]);
        let Todo::Done { issue, left_out } = end else { unreachable!("it is over") };
        prop_assert_eq!(issue.number, 1);
        prop_assert_eq!(left_out.is_empty(), !issues[0].body.contains("**Left out:**"));
        prop_assert!(has_push_access || left_out.len() == 5);
    }

    #[test]
    fn a_first_look_or_try_comes_within_five_seconds(fate in fate()) {
        let mut world = World::new(draft_of("short"), true);
        world.step(&Fate::Fine);
        world.step(&fate);
        let is_limited = world.filing.limited_until().is_some();
        if let Todo::Wait(wait) = world.filing.next(&world.draft, world.now) {
            prop_assert!(is_limited || wait.until <= later(world.now, Duration::from_secs(5)));
        }
    }
}
