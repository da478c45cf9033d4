//! Reports become issues: each one once, whatever GitHub, the network or a kill does in between.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::time::Duration;

use common::hub::{Hub, REPOSITORY, hub, hub_as};
use common::{image, terminate};
use dispatch_testkit::firmware::Firmware;
use dispatch_testkit::github::{Fault, Host, Issue, Model, Request, Role, Trouble};
use dispatch_testkit::lab::deadline::Deadline;
use dispatch_testkit::program::{PATIENCE, Program};
use serde_json::json;

/// The path by which issues are filed.
const ISSUES: &str = "/repos/AMDEPYC/sev-certify/issues";

/// Starts it, and boots a server with its only image up to the call.
fn up(hub: &mut Hub) -> (Program, Firmware) {
    let mut program = hub.lab.start().expect("a start");
    program.event("fetched", "").expect("an event");
    let firmware = program.firmware();
    image(&firmware);
    assert_eq!(firmware.post().expect("an answer").0, 200);
    (program, firmware)
}

fn report(firmware: &Firmware, report: &serde_json::Value) {
    assert_eq!(firmware.put(&report.to_string(), None).expect("an answer"), 200);
}

/// Waits until nothing is left to be filed.
fn until_filed(program: &mut Program, count: usize) {
    for _ in 0..count {
        program.event("issue-filed", "").expect("an event");
    }
}

fn titles(hub: &Hub) -> Vec<String> {
    hub.github.issues(REPOSITORY).into_iter().map(|issue| issue.title).collect()
}

fn body(issue: &Issue) -> &str {
    issue.body.as_deref().unwrap_or_default()
}

fn whole() -> serde_json::Value {
    json!({ "title": "Ubuntu 26.04: certified", "body": "# It works\n\nAll of it.", "labels": ["os:ubuntu", "passed"],
            "assignees": ["erin"], "milestone": "c3-beta", "verdict": "passed" })
}

#[test]
fn a_report_becomes_an_issue_with_labels_assignee_milestone_and_what_it_is_about() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.github.change(|model| {
        model.repository(REPOSITORY).milestone("c2");
        model.repository(REPOSITORY).milestone("c3-beta").close();
    });
    let (mut program, firmware) = up(&mut hub);
    report(&firmware, &whole());
    let filed = program.event("issue-filed", "a.efi").expect("an event");
    assert_eq!(filed["omitted"], serde_json::Value::Null, "{filed}");
    let [issue] = &hub.issues(1)[..] else { panic!("{:?}", titles(&hub)) };
    assert_eq!(issue.title, "Ubuntu 26.04: certified");
    assert_eq!(issue.labels, ["os:ubuntu", "passed"], "what was not there is made");
    assert_eq!(
        (issue.assignees.as_slice(), issue.milestone.as_deref()),
        (&["erin".to_owned()][..], Some("c3-beta"))
    );
    for words in ["# It works\n\nAll of it.", "<!-- dispatch", "passed", "a.efi", "attempt"] {
        assert!(body(issue).contains(words), "`{words}` is not in:\n{}", body(issue));
    }
    assert!(body(issue).starts_with("<!--"), "hidden:\n{}", body(issue));
    terminate(program);
}

#[test]
fn several_reports_of_a_run_are_several_issues_in_their_order() {
    let mut hub = hub(&["a.efi"], &["--no-footer"]);
    let (mut program, firmware) = up(&mut hub);
    hub.github.trouble(Trouble::new(Fault::Status(500)).method("POST").path(ISSUES).times(2));
    for title in ["one", "two", "three", "two"] {
        report(&firmware, &json!({ "title": title, "labels": ["x"] }));
    }
    until_filed(&mut program, 3);
    assert_eq!(titles(&hub), ["one", "two", "three"], "the same report twice is one");
    let issue = &hub.issues(3)[0];
    assert!(!body(issue).contains("attempt"), "{}", body(issue));
    terminate(program);
}

/// What used to hurt: if GitHub was down when a report came, the host got 500, and the report was lost.
#[test]
fn a_report_is_taken_while_github_is_down_and_filed_when_it_is_back() {
    let mut hub = hub(&["a.efi"], &[]);
    let (mut program, firmware) = up(&mut hub);
    hub.github.down(Host::Api).expect("down");
    report(&firmware, &whole());
    program
        .until("a word that it waits", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("tried again in"))
        })
        .expect("a warning");
    let deadline = Deadline::after(PATIENCE);
    while hub.lab.reports().len() < 2 {
        assert!(deadline.pause(), "the files do not wait for GitHub");
    }
    assert!(titles(&hub).is_empty());
    hub.github.up(Host::Api).expect("up");
    until_filed(&mut program, 1);
    assert_eq!(hub.issues(1).len(), 1);
    terminate(program);
}

#[test]
fn what_could_not_be_filed_is_filed_by_the_next_session() {
    let mut hub = hub(&["a.efi"], &[]);
    let (program, firmware) = up(&mut hub);
    hub.github.trouble(Trouble::new(Fault::Status(503)).method("POST").always());
    report(&firmware, &whole());
    program.kill().expect("killed");
    hub.github.calm();
    let mut program = hub.lab.start().expect("a start");
    until_filed(&mut program, 1);
    assert_eq!(titles(&hub).len(), 1);
    terminate(program);
}

/// The trouble that a request which makes something may meet.
fn troubles() -> Vec<Fault> {
    let second = Some(1);
    vec![
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::StatusAfter(500),
        Fault::StatusAfter(502),
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::ApplyLate(Duration::from_secs(3)),
        Fault::Delay(Duration::from_secs(2)),
        Fault::SecondaryLimit(second),
        Fault::TooMany(second),
        Fault::PrimaryLimit(2),
        Fault::Unauthorized,
        Fault::NotFound,
    ]
}

/// How long after a request that met trouble the next one came.
fn first_retry(hub: &Hub) -> Duration {
    let requests = hub.github.requests();
    let met = requests.iter().position(|request| request.trouble.is_some()).expect("trouble");
    let later = requests[met + 1].at.duration_since(requests[met].at);
    later.try_into().expect("later")
}

#[test]
fn whatever_becomes_of_a_request_there_is_one_issue_for_each_report_in_the_end() {
    let threads: Vec<_> = troubles()
        .into_iter()
        .map(|fault| {
            std::thread::spawn(move || {
                let mut hub = hub(&["a.efi"], &[]);
                let (mut program, firmware) = up(&mut hub);
                hub.github.trouble(Trouble::new(fault.clone()).method("POST").path(ISSUES));
                for title in ["one", "two"] {
                    report(&firmware, &json!({ "title": title }));
                }
                until_filed(&mut program, 2);
                assert_eq!(titles(&hub), ["one", "two"], "{fault:?}:\n{}", hub.github.log());
                if !matches!(fault, Fault::SecondaryLimit(_) | Fault::TooMany(_) | Fault::PrimaryLimit(_)) {
                    let next = first_retry(&hub);
                    assert!(next <= Duration::from_secs(5), "{fault:?}: {next:?}\n{}", hub.github.log());
                }
                terminate(program);
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("as it should be");
    }
}

/// Steps at which the program may be killed: what the request is that is held, before or after it has been done.
fn steps() -> Vec<(&'static str, &'static str, Fault)> {
    let mut steps = Vec::new();
    for (method, path) in [
        ("GET", "/repos/AMDEPYC/sev-certify/milestones"),
        ("POST", ISSUES),
        ("PATCH", "/repos/AMDEPYC/sev-certify/issues/*"),
        ("POST", "/repos/AMDEPYC/sev-certify/issues/*/comments"),
    ] {
        steps.extend([Fault::Hold, Fault::HoldAfter].map(|fault| (method, path, fault)));
    }
    steps
}

/// Kills the program while a request is held, starts it again, and tells what GitHub has then.
fn killed_at(method: &str, path: &str, fault: &Fault) {
    // Without the right to label, the issue is amended; its text is longer than one issue takes.
    let mut hub = hub_as(Role::Read, &["a.efi"], &[]);
    hub.github.change(|model| {
        model.repository(REPOSITORY).milestone("c3-beta");
    });
    let (program, firmware) = up(&mut hub);
    hub.github.trouble(Trouble::new(fault.clone()).method(method).path(path));
    let long = "a line of a long report\n".repeat(6000);
    report(&firmware, &json!({ "title": "one", "body": long, "labels": ["x"], "milestone": "c3-beta" }));
    report(&firmware, &json!({ "title": "two" }));
    let is_held =
        |model: &Model| model.requests.iter().any(|request: &Request| request.is_held).then_some(());
    hub.github.wait_for("a request that is held", PATIENCE, is_held).expect("it is asked for");
    program.kill().expect("killed");
    hub.github.calm();
    hub.github.let_go();
    let mut program = hub.lab.start().expect("a start");
    let all_done = |lab: &common::Lab| lab.status().expect("a state")["effects_due"] == 0;
    while !all_done(&hub.lab) {
        program.event("issue-filed", "").expect("an event");
    }
    let what = format!("{method} {path} {fault:?}:\n{}", hub.github.log());
    let issues = hub.github.issues(REPOSITORY);
    let titles: Vec<&str> = issues.iter().map(|issue| issue.title.as_str()).collect();
    assert_eq!(titles, ["one", "two"], "{what}");
    let text: String = std::iter::once(body(&issues[0]))
        .chain(issues[0].comments.iter().map(|comment| comment.body.as_str()))
        .collect();
    assert_eq!(text.matches("a line of a long report").count(), 6000, "{what}");
    assert_eq!(issues[0].comments.len(), 2, "{what}");
    assert!(body(&issues[0]).contains("push access") || text.contains("push access"), "{what}");
    terminate(program);
}

#[test]
fn killed_at_any_step_there_is_one_issue_for_each_report_in_the_end() {
    let threads: Vec<_> = steps()
        .into_iter()
        .map(|(method, path, fault)| std::thread::spawn(move || killed_at(method, path, &fault)))
        .collect();
    for thread in threads {
        thread.join().expect("as it should be");
    }
}

#[test]
fn killed_right_after_its_answer_a_report_is_filed_by_the_next_session() {
    for _ in 0..3 {
        let mut hub = hub(&["a.efi"], &[]);
        let (program, firmware) = up(&mut hub);
        report(&firmware, &json!({ "title": "one" }));
        program.kill().expect("killed");
        let mut program = hub.lab.start().expect("a start");
        if hub.lab.status().expect("a state")["effects_due"] != 0 {
            until_filed(&mut program, 1);
        }
        assert_eq!(titles(&hub), ["one"], "{}", hub.github.log());
        terminate(program);
    }
}

/// What used to hurt: labels, titles and texts that GitHub does not take, and the report with them.
#[test]
fn what_github_does_not_take_is_left_out_and_said_in_the_issue() {
    let mut hub = hub_as(Role::Read, &["a.efi"], &[]);
    let (mut program, firmware) = up(&mut hub);
    let mut said = whole();
    said["assignees"] = json!(["nobody-here"]);
    said["title"] = json!("t".repeat(400));
    said["body"] = json!(format!("{}\u{0}\u{7}", "x".repeat(70_000)));
    report(&firmware, &said);
    until_filed(&mut program, 1);
    let issue = &hub.issues(1)[0];
    assert_eq!(issue.title.chars().count(), 256);
    assert_eq!(issue.comments.len(), 1);
    for words in ["os:ubuntu", "c3-beta", "nobody-here"] {
        assert!(body(issue).contains(words), "`{words}` is not in the issue");
    }
    assert!((issue.labels.is_empty(), &issue.milestone) == (true, &None));
    terminate(program);
}

#[test]
fn an_assignee_without_access_is_left_out_and_the_others_stay() {
    let mut hub = hub(&["a.efi"], &[]);
    let (mut program, firmware) = up(&mut hub);
    report(
        &firmware,
        &json!({ "title": "one", "assignees": ["erin", "nobody-here"], "labels": ["x"], "milestone": "none" }),
    );
    let filed = program.event("issue-filed", "").expect("an event");
    let issue = &hub.issues(1)[0];
    assert_eq!(
        (issue.assignees.as_slice(), issue.labels.as_slice()),
        (&["erin".to_owned()][..], &["x".to_owned()][..])
    );
    assert!(body(issue).contains("nobody-here") && body(issue).contains("none"), "{}", body(issue));
    assert!(filed["omitted"].as_array().is_some_and(|omitted| omitted.len() == 2), "{filed}");
    terminate(program);
}

#[test]
fn issues_may_go_elsewhere_and_reports_into_files_only() {
    let mut hub = hub(&["a.efi"], &["--issues-to", "lab/results", "--report", "issue"]);
    hub.github.change(|model| {
        model.repository("lab/results").collaborator("erin", Role::Write);
    });
    let (mut program, firmware) = up(&mut hub);
    report(&firmware, &whole());
    until_filed(&mut program, 1);
    assert_eq!(hub.github.issues("lab/results").len(), 1);
    assert!(titles(&hub).is_empty() && hub.lab.reports().is_empty());
    terminate(program);
    let mut hub = self::hub(&["a.efi"], &["--report", "file"]);
    let (mut program, firmware) = up(&mut hub);
    report(&firmware, &whole());
    program.event("report", "").expect("an event");
    terminate(program);
    assert!(titles(&hub).is_empty());
    assert_eq!(hub.lab.reports().len(), 2);
}

#[test]
fn a_directory_of_images_may_file_issues_too() {
    let mut hub = hub(&[], &[]);
    hub.lab.image("a.efi", b"MZ").expect("an image");
    let images = hub.lab.folder.join("images").display().to_string();
    let api = hub.github.api();
    hub.lab.source =
        ["--dir", &images, "--issues-to", REPOSITORY, "--github-url", &api].map(Into::into).to_vec();
    let mut program = hub.lab.start().expect("a start");
    let firmware = program.firmware();
    firmware.boot().expect("a boot");
    assert_eq!(firmware.post().expect("an answer").0, 200);
    report(&firmware, &whole());
    until_filed(&mut program, 1);
    assert_eq!(titles(&hub).len(), 1);
    terminate(program);
}

#[test]
fn a_rate_limit_holds_up_nothing_else() {
    let mut hub = hub(&["a.efi"], &[]);
    let (mut program, firmware) = up(&mut hub);
    hub.github.trouble(Trouble::new(Fault::SecondaryLimit(Some(600))).method("POST").always());
    report(&firmware, &whole());
    program
        .until("a word of the limit", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("limit"))
        })
        .expect("a warning");
    report(&firmware, &json!({ "title": "two" }));
    let posts = || hub.github.requests().iter().filter(|request| request.method == "POST").count();
    let before = posts();
    program.event("report", "").expect("an event");
    assert!(firmware.boot().is_ok(), "servers are answered");
    terminate(program);
    assert_eq!(hub.lab.reports().len(), 4, "files are written");
    assert_eq!(posts(), before, "GitHub is left alone:\n{}", hub.github.log());
}
