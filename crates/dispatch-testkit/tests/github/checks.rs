//! That the fake notices who does not speak GitHub's language, and says so.

use serde_json::json;

use crate::client::{Ask, get, post};
use crate::{at, github};

/// Does something to a fake and gives what it says of it.
fn violations(ask: impl FnOnce(&str) -> Ask) -> (u16, Vec<String>) {
    let github = github();
    let reply = ask(&github.api()).send();
    (reply.status, github.take_violations())
}

#[test]
fn the_search_is_not_there() {
    let (status, found) = violations(|api| get(&format!("{api}/search/issues?q=x")).token("alice"));
    assert_eq!((status, found.len()), (404, 1));
    assert!(found[0].contains("/search/issues"), "{found:?}");
}

#[test]
fn a_query_that_github_does_not_know_is_a_violation() {
    let (status, found) = violations(|api| get(&format!("{api}/repos/o/r/issues?states=all")));
    // GitHub itself looks away.
    assert_eq!((status, found.len()), (200, 1));
    assert!(found[0].contains("states"), "{found:?}");
}

#[test]
fn a_body_that_github_does_not_know_is_a_violation() {
    let body = json!({ "title": "t", "label": ["x"] });
    let (status, found) = violations(|api| post(&format!("{api}/repos/o/r/issues"), &body).token("alice"));
    assert_eq!((status, found.len()), (201, 1));
    assert!(found[0].contains("label"), "{found:?}");
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let (status, found) = violations(|api| {
        Ask::new("POST", &format!("{api}/repos/o/r/issues")).raw("{\"title\":").token("alice")
    });
    assert_eq!((status, found.len()), (400, 1));
}

#[test]
fn whoever_does_not_say_what_they_are_is_refused() {
    let (status, found) = violations(|api| get(&format!("{api}/repos/o/r")).with("user-agent", ""));
    assert_eq!((status, found.len()), (403, 1));
}

#[test]
fn another_version_of_the_api_is_refused() {
    let version = "x-github-api-version";
    let (status, found) = violations(|api| get(&format!("{api}/repos/o/r")).with(version, "1999-01-01"));
    assert_eq!((status, found.len()), (400, 1));
    let (status, found) = violations(|api| get(&format!("{api}/repos/o/r")).with(version, "2022-11-28"));
    assert_eq!((status, found.len()), (200, 0));
}

#[test]
fn a_violation_fails_the_test_when_the_fake_goes() {
    let failed = std::panic::catch_unwind(|| {
        let github = github();
        get(&at(&github, "/search/code?q=x")).send();
    });
    let words = failed.expect_err("a panic").downcast::<String>().expect("words");
    assert!(words.contains("not as GitHub describes its API") && words.contains("/search/code"), "{words}");
}

#[test]
fn a_fake_that_nobody_wronged_goes_quietly() {
    let github = github();
    assert_eq!(get(&at(&github, "/repos/o/r")).send().status, 200);
    drop(github);
}

#[test]
fn a_fake_listens_where_it_is_told() {
    let first = github();
    let address = first.api().replace("http://", "").parse().expect("an address");
    let taken = dispatch_testkit::github::FakeGithub::start_at(address).map(drop).expect_err("it is taken");
    assert!(taken.to_string().contains(&first.api().replace("http://", "")), "{taken}");
}
