//! The loop with a tracker that does what it is told.

use std::collections::VecDeque;
use std::sync::MutexGuard;

use dispatch_core::Verdict;
use dispatch_core::issue::{Answer, Failure, Heard, Look, Request, Seen, SeenComment, Trouble, find_marker};
use dispatch_core::queue::{Change, NewReport, Outcome, Report};
use dispatch_github::Slug;
use serde_json::json;

use super::*;

/// What becomes of a request.
#[derive(Clone, Debug)]
enum Fate {
    Fine,
    Fails(Trouble, Look),
    Limited(Duration),
    /// It is done, and there is never an answer.
    Hangs,
    /// Whoever asks is brought down.
    Breaks,
}

#[derive(Default)]
struct State {
    issues: Vec<(String, Seen)>,
    comments: Vec<String>,
    fates: VecDeque<Fate>,
    /// The requests, a word or two each.
    log: Vec<String>,
    /// What was stored of each report when something was to be made.
    stored: Vec<Option<String>>,
}

/// A tracker that does what it is told.
#[derive(Clone)]
struct Scripted {
    engine: Engine,
    state: Arc<Mutex<State>>,
}

impl Scripted {
    fn new(rig: &Rig, fates: &[Fate]) -> Self {
        let state = State { fates: fates.iter().cloned().collect(), ..State::default() };
        Self { engine: rig.engine.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn titles(&self) -> Vec<String> {
        self.state().issues.iter().map(|(title, _)| title.clone()).collect()
    }

    fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn apply(&self, repository: &Slug, request: &Request) -> Answer {
        let mut state = self.state();
        match request {
            Request::FindMilestone { .. } => Answer::Milestone(None),
            Request::AskAssignee { .. } => Answer::MayBeAssigned(true),
            Request::Look { .. } => {
                Answer::Issues(state.issues.iter().map(|(_, seen)| seen.clone()).collect())
            }
            Request::Create(issue) => {
                let number = state.issues.len() as u64 + 1;
                let seen = Seen {
                    number,
                    url: format!("https://h.example/{repository}/issues/{number}"),
                    body: issue.body.clone(),
                    labels: issue.labels.clone(),
                    assignees: issue.assignees.clone(),
                    milestone: None,
                    user: self.us(),
                    created: self.engine.clock.now(),
                };
                state.issues.push((issue.title.clone(), seen.clone()));
                Answer::Created(seen)
            }
            Request::Amend { .. } => Answer::Amended,
            Request::LookForComments { .. } => Answer::Comments(
                state
                    .comments
                    .iter()
                    .map(|body| SeenComment { body: body.clone(), user: self.us() })
                    .collect(),
            ),
            Request::Comment { body, .. } => {
                state.comments.push(body.clone());
                Answer::Commented
            }
        }
    }
}

impl Tracker for Scripted {
    async fn ask(&self, repository: &Slug, request: &Request) -> Result<Answer, Failure> {
        let word = match request {
            Request::Create(issue) => format!("create {}", issue.title),
            Request::Look { .. } => "look".to_owned(),
            Request::Comment { .. } => "comment".to_owned(),
            other => format!("{other:?}"),
        };
        if request.makes_something() {
            let waiting = self.engine.store.waiting_effects(Lane::Issues, 1).await.expect("a state");
            self.state().stored.push(waiting.into_iter().next().and_then(|effect| effect.progress));
        }
        let fate = {
            let mut state = self.state();
            state.log.push(word);
            state.fates.pop_front().unwrap_or(Fate::Fine)
        };
        let (trouble, look, retry_at) = match fate {
            Fate::Fine => return Ok(self.apply(repository, request)),
            Fate::Hangs => {
                self.apply(repository, request);
                std::future::pending().await
            }
            Fate::Breaks => panic!("a tracker that breaks"),
            Fate::Fails(trouble, look) => (trouble, look, None),
            Fate::Limited(time) => {
                (Trouble::Limited, Look::NotNeeded, Some(later(self.engine.clock.now(), time)))
            }
        };
        Err(Failure { trouble, look, words: format!("{trouble:?}"), retry_at, fields: Vec::new() })
    }

    async fn greet(&self, _: &Slug) -> Result<(), Failure> {
        Ok(())
    }

    fn api(&self) -> String {
        API.to_owned()
    }

    fn us(&self) -> Option<String> {
        Some("will".to_owned())
    }

    fn heard(&self) -> Option<Heard> {
        let now = self.engine.clock.now();
        Some(Heard { theirs: now, ours: now })
    }
}

fn desk(rig: &Rig, tracker: &Scripted) -> Desk<Scripted> {
    Desk::new(rig.engine.clone(), Some(tracker.clone()))
}

async fn rig(images: &[&str]) -> Rig {
    Rig::new(Arc::new(Skipping::default()), images).await
}

#[tokio::test]
async fn a_report_becomes_an_issue_and_an_event_tells_where() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t", "milestone": "m" })).await;
    let tracker = Scripted::new(&rig, &[]);
    all(&mut desk(&rig, &tracker)).await;
    assert!(rig.waiting().await.is_empty());
    let told = rig.told().await;
    let [Happening::IssueFiled { url, omitted, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(url, "https://h.example/o/r/issues/1");
    assert_eq!(omitted, &["milestone `m` (there is none of that title)"]);
    let stored =
        rig.engine.store.reports_of(rig.engine.store.overview().await.expect("a state").jobs[0].id).await;
    assert_eq!(stored.expect("a state")[0].issue.as_ref().map(|issue| issue.number), Some(1));
}

#[tokio::test]
async fn it_is_stored_that_a_request_may_be_out_before_it_is_sent() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t", "body": "line\n".repeat(20_000) })).await;
    let tracker = Scripted::new(&rig, &[]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.log(), ["create t", "comment"]);
    for stored in tracker.state().stored.drain(..) {
        let stored: Value = serde_json::from_str(&stored.expect("progress")).expect("json");
        assert_eq!(stored["flight"]["is_lost"], false, "{stored}");
    }
}

#[tokio::test]
async fn the_reports_of_a_run_are_filed_in_their_order_whatever_happens_to_the_first() {
    let rig = rig(&["a.efi"]).await;
    for title in ["one", "two", "three"] {
        rig.report(0, &json!({ "title": title })).await;
    }
    let failure = Fate::Fails(Trouble::Passing, Look::NotNeeded);
    let tracker =
        Scripted::new(&rig, &[failure.clone(), failure, Fate::Fails(Trouble::Passing, Look::Needed)]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles(), ["one", "two", "three"]);
}

#[tokio::test]
async fn a_clock_that_is_set_back_between_two_reports_does_not_change_their_order() {
    let clock = Arc::new(Skipping::default());
    let rig = Rig::new(Arc::clone(&clock) as Arc<dyn Clock>, &["a.efi"]).await;
    for title in ["one", "two", "three"] {
        rig.report(0, &json!({ "title": title })).await;
        clock.0.fetch_sub(3_600_000_000, Ordering::SeqCst);
    }
    let tracker = Scripted::new(&rig, &[]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles(), ["one", "two", "three"]);
}

#[tokio::test]
async fn why_and_until_when_a_report_waits_is_there_to_be_seen() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Fails(Trouble::Lasting, Look::NotNeeded)]);
    let wake = turn(&mut desk(&rig, &tracker)).await;
    let waiting = rig.waiting().await;
    assert_eq!((waiting[0].error.as_deref(), Some(waiting[0].due)), (Some("Lasting"), wake));
}

#[tokio::test]
async fn a_report_that_is_refused_for_good_holds_up_no_other() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "one" })).await;
    rig.report(0, &json!({ "title": "two" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Fails(Trouble::Refused, Look::NotNeeded)]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles(), ["two"]);
    let told = rig.told().await;
    assert!(
        matches!(&told[0], Happening::IssueRefused { reason, .. } if reason.contains("Refused")),
        "{told:?}"
    );
    assert_eq!(rig.engine.store.effects_refused().await.expect("a state"), 1);
}

#[tokio::test]
async fn a_report_that_is_damaged_or_lost_is_refused_and_holds_up_no_other() {
    let rig = rig(&["a.efi"]).await;
    let run = rig.runs[0].1;
    let now = rig.engine.clock.now();
    let effect = |report| Effect::FileIssue { report, run, repository: "o/r".to_owned(), api: None };
    let (damaged, lost) = (ReportId::new(now, [1; 10]), ReportId::new(now, [2; 10]));
    let content = NewReport {
        digest: "d".to_owned(),
        title: "t".to_owned(),
        json: "{\"title\":".to_owned(),
        verdict: Verdict::Passed,
    };
    let changes = vec![
        Change::Report(Report { id: damaged, run, at: now, late: false, content }),
        Change::Effect(effect(damaged)),
        Change::Effect(effect(lost)),
    ];
    let decision = |_| Outcome { answer: (), changes: changes.clone() };
    let policy = rig.engine.policy();
    rig.engine.store.decide(Focus::run(run), &policy, decision).await.expect("a state");
    rig.report(0, &json!({ "title": "whole" })).await;
    let tracker = Scripted::new(&rig, &[]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles(), ["whole"]);
    let told = rig.told().await;
    let [Happening::IssueRefused { reason: one, .. }, Happening::IssueRefused { reason: two, .. }, _] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(one.starts_with("the report in the state is damaged and cannot be read: "), "{one}");
    assert_eq!(two, "the report is not in the state any more: nobody knows what it said");
}

#[tokio::test]
async fn a_session_that_ends_with_a_request_under_way_leaves_it_to_the_next_to_look() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Hangs]);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(desk(&rig, &tracker).run(stop.clone()));
    while tracker.log().is_empty() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tasks.join_next().await.expect("a task").expect("it ends");
    assert_eq!(rig.waiting().await.len(), 1);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.log(), ["create t", "look"]);
    assert_eq!(tracker.titles(), ["t"]);
}

#[tokio::test]
async fn who_starts_again_has_mended_what_was_wrong() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let tracker = Scripted::new(&rig, &vec![Fate::Fails(Trouble::Lasting, Look::NotNeeded); 8]);
    let mut first = desk(&rig, &tracker);
    for _ in 0..8 {
        let at = turn(&mut first).await.expect("later");
        first.engine.clock.sleep_until(at).await;
    }
    tracker.state().fates.push_back(Fate::Fails(Trouble::Lasting, Look::NotNeeded));
    let at = turn(&mut first).await.expect("later");
    let left = at.duration_since(rig.engine.clock.now());
    assert!(left > SignedDuration::from_mins(3), "{left}");
    turn(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles(), ["t"]);
}

#[tokio::test]
async fn a_rate_limit_holds_for_every_repository_and_in_the_next_session() {
    let rig = rig(&["a.efi", "b.efi"]).await;
    rig.report_to("o/r", 0, &json!({ "title": "one" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Limited(Duration::from_mins(10))]);
    let mut first = desk(&rig, &tracker);
    let until = turn(&mut first).await;
    rig.report_to("o/s", 1, &json!({ "title": "two" })).await;
    for desk in [&mut first, &mut desk(&rig, &tracker)] {
        assert_eq!(turn(desk).await, until);
        assert_eq!(tracker.log(), ["create one"]);
    }
    assert_eq!(rig.waiting().await[1].error.as_deref(), Some(LIMITED));
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.titles().len(), 2);
}

#[tokio::test]
async fn a_repository_that_does_not_answer_holds_up_no_other() {
    let rig = rig(&["a.efi", "b.efi"]).await;
    rig.report_to("o/slow", 0, &json!({ "title": "one" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Hangs]);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(desk(&rig, &tracker).run(stop.clone()));
    while tracker.log().is_empty() {
        tokio::task::yield_now().await;
    }
    rig.report_to("o/r", 1, &json!({ "title": "two" })).await;
    while rig.told().await.is_empty() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tasks.join_next().await.expect("a task").expect("it ends");
    assert_eq!(tracker.titles(), ["one", "two"]);
}

#[tokio::test]
async fn without_a_sign_in_reports_wait_and_say_what_to_do() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let mut desk: Desk<Scripted> = Desk::new(rig.engine.clone(), None);
    assert_eq!(turn(&mut desk).await, None);
    let waiting = rig.waiting().await;
    assert_eq!(
        waiting[0].error.as_deref(),
        Some(
            "this session is not signed in to GitHub: start it with the same release or --issues-to as before, and \
             with --token or GITHUB_TOKEN"
        )
    );
}

#[tokio::test]
async fn a_report_for_another_github_waits_there_and_holds_up_no_other() {
    let mut rig = rig(&["a.efi"]).await;
    "https://ghe.example/api/v3/".clone_into(&mut rig.api);
    rig.report(0, &json!({ "title": "one" })).await;
    API.clone_into(&mut rig.api);
    rig.report(0, &json!({ "title": "two" })).await;
    let tracker = Scripted::new(&rig, &[]);
    let told = Told::default();
    let _guard = tracing::subscriber::set_default(told.clone());
    let mut desk = desk(&rig, &tracker);
    all(&mut desk).await;
    assert_eq!(turn(&mut desk).await, None);
    assert_eq!(tracker.titles(), ["two"]);
    let why = "it is for the GitHub whose API is https://ghe.example/api/v3/, and this session is signed in to \
               http://api.test/: start one with --github-url https://ghe.example/api/v3/";
    assert_eq!(rig.waiting().await[0].error.as_deref(), Some(why));
    let told = told.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(told, [format!("1 report cannot be filed as issues of o/r: {why}")]);
}

/// What is told to people, a line each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Told {
    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        *of.level() <= tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                line = format!("{value:?}");
            }
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_person_is_told_once_of_each_reason_to_wait() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let fails = Fate::Fails;
    let (passing, lasting) =
        (fails(Trouble::Passing, Look::NotNeeded), fails(Trouble::Lasting, Look::NotNeeded));
    let unknown = fails(Trouble::Passing, Look::Needed);
    let fates =
        [passing.clone(), passing.clone(), unknown, passing.clone(), lasting.clone(), lasting, passing];
    let tracker = Scripted::new(&rig, &fates);
    let told = Told::default();
    let _guard = tracing::subscriber::set_default(told.clone());
    all(&mut desk(&rig, &tracker)).await;
    let told = told.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let [first, second, third] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(
        first,
        "a report of a.efi cannot be filed as an issue of o/r and is tried again in 1 s: Passing"
    );
    assert!(second.ends_with(": Lasting") && third.ends_with(": Passing"), "{told:#?}");
}

#[tokio::test]
async fn damaged_progress_is_looked_after_before_anything_is_sent() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let tracker = Scripted::new(&rig, &[]);
    let key = rig.waiting().await[0].key.clone();
    rig.engine.store.effect_progress(&key, "{\"from\": \"another version\"").await.expect("noted");
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.log(), ["look", "look", "create t"]);
}

#[tokio::test]
async fn a_report_that_brings_its_worker_down_is_looked_after_and_tried_again() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let tracker = Scripted::new(&rig, &[Fate::Breaks]);
    all(&mut desk(&rig, &tracker)).await;
    assert_eq!(tracker.log(), ["create t", "look", "create t"]);
    assert_eq!(tracker.titles(), ["t"]);
}

#[tokio::test]
async fn what_makes_something_is_asked_a_second_apart() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t", "body": "line\n".repeat(60_000) })).await;
    let tracker = Scripted::new(&rig, &[]);
    let before = rig.engine.clock.now();
    all(&mut desk(&rig, &tracker)).await;
    let took = rig.engine.clock.now().duration_since(before);
    assert_eq!(tracker.log(), ["create t", "comment", "comment", "comment", "comment"]);
    assert!(took >= SignedDuration::from_secs(4), "{took}");
}

#[tokio::test]
async fn from_an_issue_a_person_finds_the_files_of_its_report() {
    let rig = rig(&["a.efi"]).await;
    rig.report(0, &json!({ "title": "t" })).await;
    let effect = rig.waiting().await[0].effect.clone();
    let Effect::FileIssue { report, .. } = effect else { panic!("{effect:?}") };
    let tracker = Scripted::new(&rig, &[]);
    all(&mut desk(&rig, &tracker)).await;
    let body = tracker.state().issues[0].1.body.clone();
    let run = find_marker(&body).expect("a marker").run;
    let stored = rig.engine.store.report(report).await.expect("a state").expect("a report");
    let folder = TempDir::new().expect("a folder");
    let page = crate::reports::write(folder.path(), &stored).expect("written");
    let json = std::fs::read(page.with_extension("json")).expect("a file");
    let json: Value = serde_json::from_slice(&json).expect("json");
    assert_eq!(json["public_run"], run.to_string());
    assert!(std::fs::read_to_string(page).expect("a file").contains(&run.to_string()));
}
