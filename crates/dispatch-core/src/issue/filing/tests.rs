//! Each rule of filing by name.

use super::super::{Facts, Options, Why, compose};
use super::*;
use crate::id::{ReportId, RunId};
use crate::verdict::Verdict;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

pub(super) fn draft_of(body: &str) -> Draft {
    let facts = Facts {
        report: ReportId::new(at(0), [1; 10]),
        run: RunId::new(at(0), [2; 10]),
        title: "a title",
        body,
        labels: &["bug".to_owned(), "os:ubuntu".to_owned()],
        assignees: &["octocat".to_owned(), "nobody".to_owned()],
        milestone: Some("m"),
        verdict: Verdict::Passed,
        late: false,
        host: "r1",
        workload: "a.efi",
        digest: None,
        attempt: 1,
        took: Duration::from_mins(1),
    };
    compose(&facts, Options { footer: true })
}

/// Who files.
const US: Option<&str> = Some("will");

/// A filing with its draft, at a time.
struct Case {
    draft: Draft,
    filing: Filing,
    now: Timestamp,
}

impl Case {
    fn new(body: &str) -> Self {
        Self { draft: draft_of(body), filing: Filing::default(), now: at(1000) }
    }

    /// One whose milestone is found already.
    fn with_milestone(body: &str) -> Self {
        let mut case = Self::new(body);
        case.answer(Ok(Answer::Milestone(Some(7))));
        case
    }

    fn next(&self) -> Todo {
        self.filing.next(&self.draft, self.now)
    }

    fn answer(&mut self, answer: Result<Answer, Failure>) {
        let Todo::Ask(request) = self.next() else { panic!("it asks nothing: {:?}", self.next()) };
        self.filing.before(&request, self.now, US);
        self.filing.after(&self.draft, &request, answer, self.now, self.now);
    }

    fn fail(&mut self, trouble: Trouble, look: Look) {
        self.answer(Err(failure(trouble, look)));
    }

    fn refuse(&mut self, field: &str, value: Option<&str>) {
        let mut failure = failure(Trouble::Refused, Look::NotNeeded);
        failure.fields.push(FieldTrouble {
            resource: "Issue".into(),
            field: field.into(),
            value: value.map(Into::into),
            message: "is wrong".into(),
        });
        self.answer(Err(failure));
    }

    fn wait(&self) -> Wait {
        match self.next() {
            Todo::Wait(wait) => wait,
            other => panic!("it does not wait: {other:?}"),
        }
    }

    fn pass_wait(&mut self) -> Duration {
        let until = self.wait().until;
        let waited = until.duration_since(self.now).unsigned_abs();
        self.now = until;
        waited
    }

    fn request(&self) -> NewIssue {
        match self.next() {
            Todo::Ask(Request::Create(issue)) => issue,
            other => panic!("it makes no issue: {other:?}"),
        }
    }

    /// The issue as it would be made of the next request.
    fn seen(&self) -> Seen {
        let NewIssue { body, labels, assignees, milestone, .. } = self.filing.request(&self.draft);
        let milestone = milestone.map(|_| "m".to_owned());
        let url = "https://h.example/o/r/issues/5".to_owned();
        Seen {
            number: 5,
            url,
            body,
            labels,
            assignees,
            milestone,
            user: US.map(Into::into),
            created: self.now,
        }
    }

    fn left_out(&self) -> Vec<(Field, &str, &Why)> {
        self.filing.left_out.iter().map(|one| (one.field, one.name.as_str(), &one.why)).collect()
    }

    fn is_done(&self) -> bool {
        matches!(self.next(), Todo::Done { .. })
    }
}

fn failure(trouble: Trouble, look: Look) -> Failure {
    Failure { trouble, look, words: "no".into(), retry_at: None, fields: Vec::new() }
}

#[test]
fn what_all_goes_well_with_takes_two_requests() {
    let mut case = Case::new("body");
    assert_eq!(case.next(), Todo::Ask(Request::FindMilestone { title: "m".into() }));
    case.answer(Ok(Answer::Milestone(Some(7))));
    let request = case.request();
    assert_eq!((request.milestone, request.labels.len(), request.assignees.len()), (Some(7), 2, 2));
    let seen = case.seen();
    case.answer(Ok(Answer::Created(seen)));
    assert!(case.is_done());
}

#[test]
fn an_unknown_milestone_is_left_out_and_said() {
    let mut case = Case::new("body");
    case.answer(Ok(Answer::Milestone(None)));
    let request = case.request();
    assert_eq!(request.milestone, None);
    assert!(request.body.contains("**Left out:** milestone `m` (there is none of that title)."));
}

#[test]
fn a_lost_answer_is_looked_for_before_anything_is_sent_again() {
    let mut case = Case::with_milestone("body");
    let sent = case.now;
    case.fail(Trouble::Passing, Look::Needed);
    assert_eq!(case.pass_wait(), Duration::from_secs(1));
    assert_eq!(case.next(), Todo::Ask(Request::Look { since: earlier(sent, MARGIN) }));
    let seen = case.seen();
    case.answer(Ok(Answer::Issues(vec![seen])));
    assert!(case.is_done());
}

#[test]
fn a_request_that_may_still_be_at_work_is_not_sent_again_before_twelve_seconds() {
    let mut case = Case::with_milestone("body");
    let sent = case.now;
    case.fail(Trouble::Passing, Look::Needed);
    case.pass_wait();
    case.answer(Ok(Answer::Issues(Vec::new())));
    case.pass_wait();
    assert_eq!(case.now, later(sent, AT_WORK));
    assert!(matches!(case.next(), Todo::Ask(Request::Look { .. })), "it looks once more first");
    case.answer(Ok(Answer::Issues(Vec::new())));
    assert!(matches!(case.next(), Todo::Ask(Request::Create(_))));
}

#[test]
fn somebody_who_starts_again_looks_first_and_waits_until_the_request_is_over() {
    let mut case = Case::with_milestone("body");
    let Todo::Ask(request) = case.next() else { panic!("{:?}", case.next()) };
    case.filing.before(&request, case.now, US);
    let stored = serde_json::to_string(&case.filing).expect("json");
    case.now = at(9000);
    case.filing = serde_json::from_str::<Filing>(&stored).expect("a filing").resumed(case.now);
    assert!(matches!(case.next(), Todo::Ask(Request::Look { .. })));
    case.answer(Ok(Answer::Issues(Vec::new())));
    assert_eq!(case.pass_wait(), AFTER_DEATH);
}

#[test]
fn of_two_issues_with_the_marker_the_oldest_is_ours() {
    let mut case = Case::with_milestone("body");
    case.fail(Trouble::Passing, Look::Needed);
    case.pass_wait();
    let (seen, copy) = (case.seen(), Seen { number: 9, ..case.seen() });
    case.answer(Ok(Answer::Issues(vec![copy, seen])));
    assert_eq!(case.filing.issue.as_ref().map(|issue| issue.number), Some(5));
}

#[test]
fn an_issue_that_only_quotes_the_marker_is_not_ours() {
    let mut case = Case::with_milestone("body");
    case.fail(Trouble::Passing, Look::Needed);
    case.pass_wait();
    let quoting = Seen { body: format!("> {}", case.seen().body), ..case.seen() };
    case.answer(Ok(Answer::Issues(vec![quoting])));
    assert_eq!(case.filing.issue, None);
}

#[test]
fn an_issue_of_somebody_else_is_not_ours_whatever_it_says() {
    for (user, is_ours) in [(Some("mallory"), false), (None, false), (Some("Will"), true)] {
        let mut case = Case::with_milestone("body");
        case.fail(Trouble::Passing, Look::Needed);
        case.pass_wait();
        let seen = Seen { user: user.map(Into::into), ..case.seen() };
        case.answer(Ok(Answer::Issues(vec![seen])));
        assert_eq!(case.filing.issue.is_some(), is_ours, "{user:?}");
    }
}

#[test]
fn what_was_sent_as_somebody_else_by_an_earlier_session_is_still_ours() {
    let mut case = Case::with_milestone("body");
    let request = Request::Create(case.request());
    case.filing.before(&request, case.now, Some("octocat"));
    case.filing.before(&request, case.now, US);
    let seen = Seen { user: Some("octocat".into()), ..case.seen() };
    case.answer(Ok(Answer::Issues(vec![seen])));
    assert!(case.filing.issue.is_some());
}

#[test]
fn where_it_is_not_known_who_we_are_the_marker_will_do() {
    let mut case = Case::with_milestone("body");
    let Todo::Ask(request) = case.next() else { panic!("{:?}", case.next()) };
    case.filing.before(&request, case.now, None);
    let seen = Seen { user: Some("github-actions[bot]".into()), ..case.seen() };
    case.answer(Ok(Answer::Issues(vec![seen])));
    assert!(case.filing.issue.is_some());
}

#[test]
fn a_comment_of_somebody_else_is_not_ours_whatever_it_says() {
    for (user, is_ours) in [(Some("mallory"), false), (None, false), (Some("will"), true)] {
        let mut case = Case::with_milestone(&"line\n".repeat(20_000));
        let seen = case.seen();
        case.answer(Ok(Answer::Created(seen)));
        case.fail(Trouble::Passing, Look::Needed);
        case.pass_wait();
        let comment = SeenComment { body: case.draft.comments[0].clone(), user: user.map(Into::into) };
        case.answer(Ok(Answer::Comments(vec![comment])));
        assert_eq!(case.is_done(), is_ours, "{user:?}");
    }
}

#[test]
fn what_was_not_carried_out_is_tried_again_ever_more_slowly() {
    let mut case = Case::new("body");
    let mut waits = Vec::new();
    for _ in 0..12 {
        case.fail(Trouble::Passing, Look::NotNeeded);
        waits.push(case.pass_wait().as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    case.filing = case.filing.resumed(case.now);
    case.fail(Trouble::Lasting, Look::NotNeeded);
    assert_eq!(case.pass_wait().as_secs(), 1, "who starts again has mended it");
}

#[test]
fn a_rate_limit_is_waited_for_to_the_second_and_counts_as_no_try() {
    let mut case = Case::new("body");
    let limit = Failure { retry_at: Some(at(1500)), ..failure(Trouble::Limited, Look::NotNeeded) };
    case.answer(Err(limit));
    assert_eq!(case.wait().until, at(1501));
    assert_eq!(case.filing.limited_until(), Some(at(1501)));
    assert_eq!(
        case.filing.clone().resumed(at(1100)).limited_until(),
        Some(at(1501)),
        "also for the next session"
    );
    case.pass_wait();
    case.fail(Trouble::Passing, Look::NotNeeded);
    assert_eq!(case.pass_wait().as_secs(), 1);
}

#[test]
fn a_rate_limit_that_does_not_say_when_it_ends_is_obeyed_with_growing_pauses() {
    let mut case = Case::with_milestone("body");
    let mut waits = Vec::new();
    for _ in 0..6 {
        case.fail(Trouble::Limited, Look::NotNeeded);
        case.filing = case.filing.resumed(case.now);
        waits.push((case.pass_wait().as_secs() - 1) / 60);
    }
    assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    let said =
        Failure { retry_at: Some(later(case.now, LIMIT)), ..failure(Trouble::Limited, Look::NotNeeded) };
    case.answer(Err(said));
    assert_eq!(case.pass_wait().as_secs(), 61, "what it says counts");
    let seen = Seen { labels: Vec::new(), ..case.seen() };
    case.answer(Ok(Answer::Created(seen)));
    case.fail(Trouble::Limited, Look::NotNeeded);
    assert_eq!(case.pass_wait().as_secs(), 61, "it begins anew when something was made");
}

#[test]
fn a_clock_that_was_in_the_future_stops_nobody() {
    let mut case = Case::new("body");
    case.now = at(4_000_000_000);
    let limit = Failure { retry_at: Some(at(4_000_000_500)), ..failure(Trouble::Limited, Look::NotNeeded) };
    case.answer(Err(limit));
    case.now = at(1000);
    assert!(matches!(case.next(), Todo::Ask(_)));
    assert_eq!(case.filing.clone().resumed(case.now).limited_until(), None);
    // So also where it is not known yet what became of a request.
    let mut case = Case::with_milestone("body");
    case.now = at(4_000_000_000);
    case.fail(Trouble::Passing, Look::Needed);
    case.now = at(1000);
    case.answer(Ok(Answer::Issues(Vec::new())));
    // As long as it can be at most.
    assert_eq!(case.pass_wait(), AFTER_DEATH);
    case.answer(Ok(Answer::Issues(Vec::new())));
    assert!(matches!(case.next(), Todo::Ask(Request::Create(_))));
}

#[test]
fn a_server_that_says_when_to_come_back_is_not_asked_before() {
    let mut case = Case::new("body");
    let busy = Failure { retry_at: Some(at(1030)), ..failure(Trouble::Passing, Look::NotNeeded) };
    case.answer(Err(busy));
    assert_eq!(case.pass_wait().as_secs(), 30);
}

#[test]
fn requests_that_follow_too_quickly_are_a_rate_limit() {
    let mut case = Case::with_milestone("body");
    let mut failure = failure(Trouble::Refused, Look::NotNeeded);
    failure
        .fields
        .push(FieldTrouble { message: "was submitted too quickly".into(), ..FieldTrouble::default() });
    case.answer(Err(failure));
    assert_eq!(case.pass_wait().as_secs(), 61);
    assert_eq!(case.left_out(), []);
}

#[test]
fn an_assignee_that_is_named_is_left_out() {
    let mut case = Case::with_milestone("body");
    case.refuse("assignees", Some("[\"Nobody\"]"));
    assert_eq!(case.request().assignees, ["octocat"]);
    assert_eq!(case.left_out(), [(Field::Assignee, "nobody", &Why::NotAssignable)]);
}

#[test]
fn assignees_that_are_not_named_are_asked_about_one_by_one() {
    let mut case = Case::with_milestone("body");
    case.refuse("assignees", None);
    assert_eq!(case.next(), Todo::Ask(Request::AskAssignee { login: "octocat".into() }));
    case.answer(Ok(Answer::MayBeAssigned(true)));
    case.answer(Ok(Answer::MayBeAssigned(false)));
    assert_eq!(case.request().assignees, ["octocat"]);
    case.refuse("assignees", None);
    assert!(case.request().assignees.is_empty(), "nothing else can be wrong with them");
}

#[test]
fn a_label_that_is_named_is_left_out() {
    let mut case = Case::with_milestone("body");
    case.refuse("labels", Some("BUG"));
    assert_eq!(case.request().labels, ["os:ubuntu"]);
}

#[test]
fn labels_that_are_not_named_are_left_out_one_at_a_time() {
    let mut case = Case::with_milestone("body");
    case.refuse("labels", None);
    assert_eq!(case.request().labels, ["os:ubuntu"]);
    case.refuse("labels", None);
    assert_eq!(case.request().labels, ["bug"], "it was not that one");
    assert_eq!(case.left_out(), [(Field::Label, "os:ubuntu", &Why::Refused("is wrong".into()))]);
    let seen = case.seen();
    case.answer(Ok(Answer::Created(seen)));
    assert!(case.is_done());
    let mut case = Case::with_milestone("body");
    for _ in 0..3 {
        case.refuse("labels", None);
    }
    assert!(case.request().labels.is_empty(), "it is more than one");
    assert_eq!(case.left_out().len(), 2);
}

#[test]
fn of_very_many_labels_that_are_not_named_all_are_left_out_in_the_end() {
    let mut case = Case::with_milestone("body");
    case.draft.labels = (0..100).map(|number| format!("l{number}")).collect();
    for _ in 0..MOST_TRIED {
        case.refuse("labels", None);
        assert_eq!(case.request().labels.len(), 99);
    }
    case.refuse("labels", None);
    assert!(case.request().labels.is_empty());
}

#[test]
fn labels_are_left_out_before_assignees_of_whom_it_is_known_that_they_may_be() {
    let mut case = Case::with_milestone("body");
    let mut left_out = Vec::new();
    for _ in 0..20 {
        match case.next() {
            Todo::Ask(Request::AskAssignee { .. }) => case.answer(Ok(Answer::MayBeAssigned(true))),
            Todo::Ask(Request::Create(_)) => case.fail(Trouble::Refused, Look::NotNeeded),
            _ => break,
        }
        left_out.extend(case.left_out().last().map(|(field, ..)| *field));
        left_out.dedup();
    }
    assert_eq!(left_out, [Field::Milestone, Field::Label, Field::Assignee]);
}

#[test]
fn what_is_still_refused_without_everything_is_refused_for_good() {
    let mut case = Case::with_milestone("body");
    for _ in 0..8 {
        match case.next() {
            Todo::Ask(Request::AskAssignee { .. }) => case.answer(Ok(Answer::MayBeAssigned(true))),
            Todo::Ask(Request::Create(_)) => case.refuse("title", None),
            _ => break,
        }
    }
    let mut requests = 0;
    while let Todo::Ask(Request::Create(_)) = case.next() {
        case.refuse("title", None);
        requests += 1;
    }
    assert!(requests <= 1);
    assert_eq!(case.next(), Todo::Refused { why: "GitHub refuses the issue: no".into() });
    assert_eq!(case.left_out().len(), 5);
}

#[test]
fn what_github_drops_without_a_word_is_said_in_the_issue() {
    let mut case = Case::with_milestone("body");
    let seen = Seen { labels: vec!["BUG".into()], assignees: Vec::new(), milestone: None, ..case.seen() };
    case.answer(Ok(Answer::Created(seen)));
    let Todo::Ask(Request::Amend { number: 5, body }) = case.next() else { panic!("{:?}", case.next()) };
    assert!(body.contains("label `os:ubuntu` (not set by GitHub"), "{body}");
    assert_eq!(case.left_out().len(), 4);
    case.answer(Ok(Answer::Amended));
    assert!(case.is_done());
}

#[test]
fn a_text_that_a_person_has_changed_is_left_alone() {
    let mut case = Case::with_milestone("body");
    let seen = Seen { labels: Vec::new(), ..case.seen() };
    case.answer(Ok(Answer::Created(seen.clone())));
    case.fail(Trouble::Passing, Look::Needed);
    case.pass_wait();
    assert!(matches!(case.next(), Todo::Ask(Request::Look { .. })));
    let mut edited = Case { draft: case.draft.clone(), filing: case.filing.clone(), now: case.now };
    case.answer(Ok(Answer::Issues(vec![Seen { body: seen.body.replace('\n', "\r\n"), ..seen.clone() }])));
    assert!(matches!(case.next(), Todo::Ask(Request::Amend { .. })), "it is as it was");
    edited.answer(Ok(Answer::Issues(vec![Seen { body: format!("{} I saw this.", seen.body), ..seen }])));
    assert!(edited.is_done());
}

#[test]
fn an_issue_that_was_deleted_gets_no_comments_and_is_done() {
    let mut case = Case::with_milestone(&"line\n".repeat(30_000));
    let seen = case.seen();
    case.answer(Ok(Answer::Created(seen)));
    assert!(matches!(case.next(), Todo::Ask(Request::Comment { number: 5, .. })));
    case.fail(Trouble::NotThere, Look::NotNeeded);
    case.pass_wait();
    case.answer(Ok(Answer::Issues(Vec::new())));
    assert!(!case.is_done(), "a list may not show yet what is new");
    case.pass_wait();
    case.answer(Ok(Answer::Issues(Vec::new())));
    assert!(case.is_done());
    let texts: Vec<_> = case.filing.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "text `part 2` (the issue was deleted or moved before)",
            "text `part 3` (the issue was deleted or moved before)"
        ]
    );
}

#[test]
fn a_repository_that_cannot_be_seen_for_a_while_is_no_deleted_issue() {
    let mut case = Case::with_milestone(&"line\n".repeat(30_000));
    let seen = case.seen();
    case.answer(Ok(Answer::Created(seen.clone())));
    case.fail(Trouble::NotThere, Look::NotNeeded);
    case.pass_wait();
    case.fail(Trouble::NotThere, Look::NotNeeded);
    assert_eq!(case.pass_wait().as_secs(), 2);
    case.answer(Ok(Answer::Issues(vec![seen])));
    assert!(matches!(case.next(), Todo::Ask(Request::Comment { .. })));
}

#[test]
fn a_comment_that_is_refused_is_said_to_be_missing() {
    let mut case = Case::with_milestone(&"line\n".repeat(20_000));
    let seen = case.seen();
    case.answer(Ok(Answer::Created(seen)));
    case.fail(Trouble::Refused, Look::NotNeeded);
    assert!(case.is_done());
    assert_eq!(case.left_out(), [(Field::Text, "part 2", &Why::Refused("no".into()))]);
}

#[test]
fn an_issue_that_people_locked_gets_no_more_comments_and_is_done() {
    let locked = "cannot comment on issue 5 in o/r: the token may not do this (403) (\"Unable to create comment because \
                  issue is locked.\")";
    for (words, is_done) in
        [(locked, true), ("cannot comment on issue 5 in o/locked: you may not (403)", false)]
    {
        let mut case = Case::with_milestone(&"line\n".repeat(20_000));
        let seen = case.seen();
        case.answer(Ok(Answer::Created(seen)));
        case.answer(Err(Failure { words: words.into(), ..failure(Trouble::Lasting, Look::NotNeeded) }));
        assert_eq!(case.is_done(), is_done, "{words}");
        assert_eq!(case.left_out() == [(Field::Text, "part 2", &Why::Locked)], is_done);
    }
}

#[test]
fn progress_that_cannot_be_read_is_no_reason_to_file_twice() {
    let mut case = Case::new(&"line\n".repeat(20_000));
    case.filing = Filing::unknown(case.now).resumed(case.now);
    assert!(matches!(case.next(), Todo::Ask(Request::Look { .. })));
    let seen = Seen { milestone: Some("m".into()), ..case.seen() };
    case.answer(Ok(Answer::Issues(vec![seen])));
    assert!(!case.filing.tasks.contains(&Task::Amend));
    assert!(matches!(case.next(), Todo::Ask(Request::LookForComments { .. })));
    let comment = SeenComment { body: case.draft.comments[0].clone(), user: US.map(Into::into) };
    case.answer(Ok(Answer::Comments(vec![comment])));
    assert!(case.is_done());
}
