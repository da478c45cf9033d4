//! The loop with the real client, against the fake GitHub.

use std::time::Duration;

use dispatch_github::{Now, Origin, SignIn, Web};
use dispatch_testkit::github::{FakeGithub, Fault, Role, Token, Trouble};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::*;

const TOKEN: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";

/// How long a test may take.
const LIMIT: Duration = Duration::from_mins(1);

fn fake(role: Role) -> FakeGithub {
    let github = FakeGithub::start().expect("a fake GitHub");
    github.change(|model| {
        model.repository("o/r").collaborator("will", role);
        model.repository("o/r").milestone("c1");
        model.add_token(TOKEN, Token::classic("will", &["repo"]));
    });
    github
}

fn client(github: &FakeGithub) -> GitHub {
    client_with(github, Arc::new(real_now))
}

/// A client whose clock is this one.
fn client_with(github: &FakeGithub, now: Now) -> GitHub {
    let web = Web::new(&[], now).expect("the web");
    let sign_in = SignIn::Token { token: SecretString::from(TOKEN), from: Origin::Flag };
    GitHub::new(web, Url::parse(&github.api()).expect("a URL"), sign_in).expect("a client")
}

/// An engine whose reports are for this GitHub.
async fn rig(github: &FakeGithub, clock: Arc<dyn Clock>) -> Rig {
    let mut rig = Rig::new(clock, &["a.efi"]).await;
    rig.api = client(github).api().to_string();
    rig
}

/// Files all that waits, as a session does.
async fn file_all(rig: &Rig, github: &FakeGithub) {
    file_all_by(client(github), rig, github).await;
}

async fn file_all_by(client: GitHub, rig: &Rig, github: &FakeGithub) {
    let issues = Issues::new(rig.engine.clone(), Some(client));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(issues.run(stop.clone()));
    let mut events = rig.engine.store.watch_events();
    let done = async {
        while !rig.waiting().await.is_empty() {
            events.changed().await.expect("an event");
        }
    };
    tokio::time::timeout(LIMIT, done).await.unwrap_or_else(|_| panic!("in time:\n{}", github.log()));
    stop.cancel();
    tasks.join_next().await.expect("a task").expect("it ends");
}

/// What is filed in spite of some trouble, with the clock that skips or the real one.
async fn filed_in_spite_of(trouble: Trouble, clock: Arc<dyn Clock>) -> FakeGithub {
    let github = fake(Role::Write);
    let rig = rig(&github, clock).await;
    rig.report(0, &json!({ "title": "t", "body": "b", "labels": ["os:x"], "milestone": "c1" })).await;
    github.trouble(trouble);
    let client = client(&github);
    // As in a session, which knows as whom it files.
    client.whoami().await.expect("an answer");
    assert_eq!(client.known_as(), Some("will"));
    file_all_by(client, &rig, &github).await;
    github
}

fn posting(fault: Fault) -> Trouble {
    Trouble::new(fault).method("POST").path("*/issues")
}

fn count(github: &FakeGithub, method: &str) -> usize {
    github.requests().iter().filter(|request| request.method == method).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_filed_with_all_that_belongs_to_it() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Skipping::default())).await;
    let report = json!({
        "title": "level 1", "body": "# ok", "labels": ["os:x"], "assignees": ["will"], "milestone": "c1",
        "verdict": "passed",
    });
    rig.report(0, &report).await;
    file_all(&rig, &github).await;
    let issues = github.issues("o/r");
    assert_eq!(issues.len(), 1);
    let issue = &issues[0];
    assert_eq!((issue.title.as_str(), issue.milestone.as_deref()), ("level 1", Some("c1")));
    assert_eq!((issue.labels.join(","), issue.assignees.join(",")), ("os:x".to_owned(), "will".to_owned()));
    let body = issue.body.as_deref().unwrap_or_default();
    assert!(body.starts_with("<!-- dispatch report=") && body.contains("**passed** · `a.efi`"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_files_nothing_twice() {
    for fault in [Fault::DropAfter, Fault::StatusAfter(500), Fault::StatusAfter(502)] {
        let github = filed_in_spite_of(posting(fault.clone()), Arc::new(Real)).await;
        assert_eq!(github.issues("o/r").len(), 1, "{fault:?}");
        assert_eq!(count(&github, "POST"), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_lost_is_sent_again_when_it_cannot_come_any_more() {
    for fault in [Fault::DropBefore, Fault::Status(500), Fault::Status(503), Fault::Status(504)] {
        let github = filed_in_spite_of(posting(fault.clone()), Arc::new(Skipping::default())).await;
        assert_eq!(github.issues("o/r").len(), 1, "{fault:?}");
        assert_eq!(count(&github, "POST"), 2, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_carried_out_late_files_nothing_twice() {
    let late = Fault::ApplyLate(Duration::from_secs(9));
    let github = filed_in_spite_of(posting(late), Arc::new(Real)).await;
    assert_eq!(github.issues("o/r").len(), 1);
    assert_eq!(count(&github, "POST"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_waited_for() {
    for fault in [Fault::SecondaryLimit(Some(1)), Fault::TooMany(Some(1)), Fault::PrimaryLimit(1)] {
        let github = filed_in_spite_of(posting(fault.clone()), Arc::new(Real)).await;
        assert_eq!(github.issues("o/r").len(), 1, "{fault:?}");
        let at: Vec<_> = github
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .map(|request| request.at)
            .collect();
        assert_eq!(at.len(), 2, "{fault:?}");
        assert!(at[1].duration_since(at[0]) >= SignedDuration::from_secs(1), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_push_files_without_and_says_so() {
    let github = fake(Role::Read);
    let rig = rig(&github, Arc::new(Skipping::default())).await;
    rig.report(0, &json!({ "title": "t", "labels": ["os:x"], "assignees": ["will"], "milestone": "c1" }))
        .await;
    file_all(&rig, &github).await;
    let body = github.issues("o/r")[0].body.clone().unwrap_or_default();
    for what in ["label `os:x`", "assignee `will`", "milestone `c1`"] {
        assert!(body.contains(&format!("{what} (not set by GitHub")), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_will_not_take_is_left_out_one_by_one() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Skipping::default())).await;
    let report = json!({
        "title": "t", "labels": ["os:x"], "assignees": ["mallory", "will"], "milestone": "c3-beta",
    });
    rig.report(0, &report).await;
    github.change(|model| model.user("mallory").id);
    file_all(&rig, &github).await;
    let issues = github.issues("o/r");
    assert_eq!((issues.len(), issues[0].assignees.join(",")), (1, "will".to_owned()));
    let body = issues[0].body.clone().unwrap_or_default();
    assert!(body.contains("milestone `c3-beta` (there is none of that title)"), "{body}");
    assert!(body.contains("assignee `mallory` (cannot be assigned issues of this repository)"), "{body}");
    let told = rig.told().await;
    assert!(matches!(&told[..], [Happening::IssueFiled { omitted, .. }] if omitted.len() == 2), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_milestone_is_found_among_many() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Skipping::default())).await;
    rig.report(0, &json!({ "title": "t", "milestone": "the last" })).await;
    github.change(|model| {
        let repository = model.repository("o/r");
        for number in 0..150 {
            repository.milestone(&format!("m{number}"));
        }
        repository.milestone("the last").close();
    });
    file_all(&rig, &github).await;
    assert_eq!(github.issues("o/r")[0].milestone.as_deref(), Some("the last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_text_goes_on_in_comments_in_spite_of_trouble() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Real)).await;
    let line = "a line of what was tested, with a good word at its end: ok\n";
    rig.report(0, &json!({ "title": "t\u{0}".repeat(300), "body": line.repeat(3500) })).await;
    github.trouble(Trouble::new(Fault::DropAfter).method("POST").path("*/comments").after(1));
    github.trouble(Trouble::new(Fault::Status(500)).method("POST").path("*/comments"));
    file_all(&rig, &github).await;
    let issues = github.issues("o/r");
    let texts: Vec<_> = issues[0].comments.iter().map(|comment| comment.body.as_str()).collect();
    assert_eq!((issues.len(), texts.len()), (1, 3));
    for (part, text) in (2..).zip(&texts) {
        assert!(text.contains(&format!("part={part}/4 -->")), "{}", &text[..200]);
    }
    let whole = issues[0].body.clone().unwrap_or_default() + &texts.concat();
    assert_eq!(whole.matches(line.trim_end()).count(), 3500);
    assert_eq!(issues[0].title.chars().count(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_reports_of_a_run_are_filed_in_their_order_through_an_outage() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Skipping::default())).await;
    for title in ["one", "two", "three"] {
        rig.report(0, &json!({ "title": title })).await;
    }
    github.trouble(Trouble::new(Fault::Status(503)).times(4));
    file_all(&rig, &github).await;
    let titles: Vec<_> = github.issues("o/r").into_iter().map(|issue| issue.title).collect();
    assert_eq!(titles, ["one", "two", "three"]);
}

fn desk(rig: &Rig, github: &FakeGithub) -> Desk<GitHub> {
    Desk::new(rig.engine.clone(), Some(client(github)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_with_what_to_do_and_never_shown() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Real)).await;
    rig.report(0, &json!({ "title": "t" })).await;
    github.trouble(posting(Fault::Unauthorized));
    turn(&mut desk(&rig, &github)).await;
    let waiting = rig.waiting().await;
    let told = format!("{waiting:?}");
    assert!(told.contains("start again with a token that is good") && !told.contains(TOKEN), "{told}");
    turn(&mut desk(&rig, &github)).await;
    assert_eq!(github.issues("o/r").len(), 1, "who starts again has mended it");
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_a_repository_that_is_gone_wait_and_say_what_to_do() {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Real)).await;
    rig.report_to("o/gone", 0, &json!({ "title": "t" })).await;
    turn(&mut desk(&rig, &github)).await;
    let told = rig.waiting().await[0].error.clone().expect("a reason");
    assert!(told.contains("its reports wait until there is one of this name again"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_off_files_nothing_twice() {
    for hours in [-5, 5] {
        let github = fake(Role::Write);
        let rig = rig(&github, Arc::new(Skipping::default())).await;
        rig.report(0, &json!({ "title": "t" })).await;
        github.change(|model| model.set_clock_ahead(SignedDuration::from_hours(hours)));
        github.trouble(posting(Fault::DropAfter));
        file_all(&rig, &github).await;
        assert_eq!(github.issues("o/r").len(), 1, "{hours}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_while_a_session_runs_files_nothing_twice() {
    for step in [-3600, 230, 3600] {
        let clock = Arc::new(Skipping::default());
        let github = fake(Role::Write);
        let rig = rig(&github, Arc::clone(&clock) as Arc<dyn Clock>).await;
        let ours = Arc::clone(&clock);
        let tracker = client_with(&github, Arc::new(move || ours.now()));
        let mut desk = Desk::new(rig.engine.clone(), Some(tracker));
        rig.report(0, &json!({ "title": "one" })).await;
        all(&mut desk).await;
        clock.0.fetch_add(step * 1_000_000, Ordering::SeqCst);
        github.trouble(posting(Fault::DropAfter));
        rig.report(0, &json!({ "title": "two" })).await;
        all(&mut desk).await;
        let titles: Vec<_> = github.issues("o/r").into_iter().map(|issue| issue.title).collect();
        assert_eq!(titles, ["one", "two"], "{step}");
    }
}

/// A report with three parts, of which the last comment is still to be written, and its desk.
async fn half_commented() -> (Rig, FakeGithub, Desk<GitHub>) {
    let github = fake(Role::Write);
    let rig = rig(&github, Arc::new(Real)).await;
    rig.report(0, &json!({ "title": "t", "body": "a line of text\n".repeat(10_000) })).await;
    github.trouble(Trouble::new(Fault::Status(503)).method("POST").path("*/comments").after(1));
    let mut desk = desk(&rig, &github);
    turn(&mut desk).await;
    assert_eq!(github.issues("o/r")[0].comments.len(), 1);
    (rig, github, desk)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_closes_and_renames_an_issue_changes_nothing() {
    let (rig, github, mut desk) = half_commented().await;
    github.change(|model| {
        let now = model.now();
        let issue = &mut model.repository("o/r").issues[0];
        (issue.closed, issue.title) = (Some(now), "another".to_owned());
    });
    all(&mut desk).await;
    assert_eq!(github.issues("o/r")[0].comments.len(), 2);
    assert!(rig.waiting().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_deletes_an_issue_has_the_last_word() {
    let (rig, github, mut desk) = half_commented().await;
    github.change(|model| model.repository("o/r").issues.clear());
    all(&mut desk).await;
    assert!(github.issues("o/r").is_empty() && rig.waiting().await.is_empty());
    let told = rig.told().await;
    let [Happening::IssueFiled { omitted, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(omitted, &["text `part 3` (the issue was deleted or moved before)"]);
}
