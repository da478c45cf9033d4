//! Who may do what, rate limits, entity tags, other names.

use serde_json::json;

use crate::client::{Reply, get, patch, post};
use crate::{at, github};
use dispatch_testkit::github::{FakeGithub, Level, Role, Token};
use jiff::SignedDuration;

fn number(reply: &Reply, header: &str) -> u64 {
    reply.header(header).and_then(|value| value.parse().ok()).expect("a number")
}

fn file(github: &FakeGithub, repository: &str, token: &str) -> Reply {
    post(&at(github, &format!("/repos/{repository}/issues")), &json!({ "title": "t" })).token(token).send()
}

#[test]
fn a_token_that_nobody_knows_is_bad_credentials() {
    let github = github();
    let reply = get(&at(&github, "/repos/o/r")).token("unknown").send();
    assert_eq!((reply.status, reply.json()["message"].clone()), (401, json!("Bad credentials")));
}

#[test]
fn a_token_ends_and_can_be_taken_back() {
    let github = github();
    let now = github.read(dispatch_testkit::github::Model::now);
    github.change(|model| {
        let end = now + SignedDuration::from_hours(1);
        model.add_token("short", Token::classic("alice", &["repo"]).expiring(end));
    });
    let ask = |token: &str| get(&at(&github, "/user")).token(token).send();
    let reply = ask("short");
    assert_eq!(reply.status, 200);
    assert!(reply.header("github-authentication-token-expiration").is_some_and(|end| end.ends_with(" UTC")));
    github.change(|model| model.set_clock_ahead(SignedDuration::from_hours(2)));
    assert_eq!(ask("short").status, 401);
    assert_eq!(ask("alice").status, 200);
    github.change(|model| model.token("alice").revoke());
    assert_eq!(ask("alice").status, 401);
}

#[test]
fn who_a_token_is_can_be_asked() {
    let github = github();
    let reply = get(&at(&github, "/user")).token("alice").send();
    assert_eq!(reply.json()["login"], "alice");
    assert_eq!(reply.header("x-oauth-scopes"), Some("repo"));
    assert_eq!(get(&at(&github, "/user")).send().status, 401);
    assert_eq!(get(&at(&github, "/users/alice")).send().json()["login"], "alice");
}

#[test]
fn the_word_before_a_token_may_be_token_as_well() {
    let github = github();
    let reply = get(&at(&github, "/user")).with("authorization", "token alice").send();
    assert_eq!(reply.status, 200);
    assert_eq!(get(&at(&github, "/user")).with("authorization", "Basic alice").send().status, 401);
}

#[test]
fn a_private_repository_is_not_there_for_strangers() {
    let github = github();
    github.change(|model| model.repository("o/r").private = true);
    assert_eq!(get(&at(&github, "/repos/o/r")).send().status, 404);
    assert_eq!(get(&at(&github, "/repos/o/r")).token("mallory").send().status, 404);
    assert_eq!(get(&at(&github, "/repos/o/r")).token("alice").send().status, 200);
    assert_eq!(file(&github, "o/r", "mallory").status, 404);
}

#[test]
fn nobody_is_told_no_permissions() {
    let github = github();
    let reply = get(&at(&github, "/repos/o/r")).send();
    assert!(reply.json().get("permissions").is_none());
    assert_eq!(reply.header("x-oauth-scopes"), None);
}

#[test]
fn a_fine_grained_token_has_permissions_and_no_scopes() {
    let github = github();
    github.change(|model| {
        let reads = [("issues", Level::Read), ("contents", Level::Read)];
        model.add_token("reads", Token::fine_grained("will", &["o/r"], &reads));
        model.add_token("writes", Token::fine_grained("will", &["o/r"], &[("issues", Level::Write)]));
    });
    let reply = file(&github, "o/r", "reads");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["message"], "Resource not accessible by personal access token");
    assert_eq!(reply.header("x-accepted-github-permissions"), Some("issues=write"));
    assert_eq!(reply.header("x-oauth-scopes"), None);
    assert_eq!(file(&github, "o/r", "writes").status, 201);
}

#[test]
fn a_fine_grained_token_reaches_its_repositories_only() {
    let github = github();
    github.change(|model| {
        model.repository("o/other").collaborator("will", Role::Write).private = true;
        model.repository("o/r").private = true;
        let all = [("issues", Level::Write), ("contents", Level::Read)];
        model.add_token("fine", Token::fine_grained("will", &["o/r"], &all));
        model.add_token("bare", Token::fine_grained("will", &["o/r"], &[]));
    });
    assert_eq!(get(&at(&github, "/repos/o/other")).token("fine").send().status, 404);
    github.change(|model| model.repository("o/public").collaborator("will", Role::Write).id);
    assert_eq!(get(&at(&github, "/repos/o/public/issues")).token("fine").send().status, 200);
    assert_eq!(file(&github, "o/public", "fine").status, 403);
    assert_eq!(get(&at(&github, "/repos/o/r/releases")).token("fine").send().status, 200);
    let reply = get(&at(&github, "/repos/o/r/releases")).token("bare").send();
    assert_eq!((reply.status, reply.header("x-accepted-github-permissions")), (403, Some("contents=read")));
    assert_eq!(get(&at(&github, "/repos/o/r")).token("bare").send().status, 200);
}

#[test]
fn each_answer_says_how_the_caller_stands() {
    let github = github();
    let first = get(&at(&github, "/user")).token("alice").send();
    let second = get(&at(&github, "/user")).token("alice").send();
    assert_eq!(number(&first, "x-ratelimit-limit"), 5_000);
    assert_eq!(number(&first, "x-ratelimit-remaining"), number(&second, "x-ratelimit-remaining") + 1);
    assert_eq!(number(&get(&at(&github, "/repos/o/r")).send(), "x-ratelimit-limit"), 60);
    assert!(first.header("date").is_some_and(|date| date.ends_with(" GMT")));
    assert!(number(&first, "x-ratelimit-reset") > 1_700_000_000);
}

#[test]
fn what_has_not_changed_costs_nothing() {
    let github = github();
    let ask = || get(&at(&github, "/repos/o/r")).token("alice");
    let tag = ask().send().header("etag").expect("a tag").to_owned();
    let before = github.read(|model| model.limits.used("alice"));
    let reply = ask().with("if-none-match", &tag).send();
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    assert_eq!(github.read(|model| model.limits.used("alice")), before);
    github.change(|model| model.repository("o/r").has_issues = false);
    assert_eq!(ask().with("if-none-match", &tag).send().status, 200);
    assert_eq!(github.read(|model| model.limits.used("alice")), before + 1);
    assert!(github.requests().iter().any(|request| request.is_conditional));
}

#[test]
fn whoever_has_used_up_their_requests_waits_for_the_reset() {
    let github = github();
    github.change(|model| {
        let reset = model.now() + SignedDuration::from_mins(10);
        model.limits.exhaust("alice", reset);
    });
    let reply = get(&at(&github, "/repos/o/r")).token("alice").send();
    assert_eq!((reply.status, number(&reply, "x-ratelimit-remaining")), (403, 0));
    assert_eq!(get(&at(&github, "/repos/o/r")).token("will").send().status, 200);
    // How one stands may always be asked.
    let core = get(&at(&github, "/rate_limit")).token("alice").send().json()["resources"]["core"].clone();
    assert_eq!(core["remaining"], 0);
    github.change(|model| model.set_clock_ahead(SignedDuration::from_mins(11)));
    assert_eq!(get(&at(&github, "/repos/o/r")).token("alice").send().status, 200);
}

#[test]
fn a_repository_with_another_name_redirects() {
    let github = github();
    github.change(|model| model.rename("o/r", "o/new"));
    let reply = get(&at(&github, "/repos/o/r/issues?state=all")).send();
    assert_eq!((reply.status, reply.json()["message"].clone()), (301, json!("Moved Permanently")));
    let there = reply.header("location").expect("a location");
    assert!(there.contains("/repositories/") && there.ends_with("/issues?state=all"), "{there}");
    assert_eq!(get(there).send().status, 200);
    // What changes something keeps its method.
    let reply = file(&github, "o/r", "alice");
    assert_eq!(reply.status, 307);
    let there = reply.header("location").expect("a location");
    assert_eq!(post(there, &json!({ "title": "t" })).token("alice").send().status, 201);
    assert_eq!(github.issues("o/new").len(), 1);
}

#[test]
fn an_archived_repository_is_only_read() {
    let github = github();
    github.change(|model| model.repository("o/r").issue("t", "b").id);
    github.change(|model| model.repository("o/r").archived = true);
    assert_eq!(file(&github, "o/r", "o").status, 403);
    let change = patch(&at(&github, "/repos/o/r/issues/1"), &json!({ "state": "closed" }));
    assert_eq!(change.token("o").send().status, 403);
    assert_eq!(get(&at(&github, "/repos/o/r/issues/1")).send().status, 200);
}

#[test]
fn the_api_is_also_where_github_enterprise_has_it() {
    let github = github();
    let reply = get(&format!("{}/repos/o/r", github.api_enterprise())).send();
    assert_eq!(reply.status, 200);
    let url = reply.json()["url"].as_str().expect("a URL").to_owned();
    assert!(url.starts_with(&github.api_enterprise()), "{url}");
    assert_eq!(github.requests()[0].path, "/repos/o/r");
}

#[test]
fn no_secret_is_in_the_log() {
    let github = github();
    github.change(|model| model.add_token("ghp_secret", Token::classic("alice", &["repo"])));
    assert_eq!(get(&at(&github, "/user")).token("ghp_secret").send().status, 200);
    let requests = github.requests();
    assert!(requests[0].has_authorization && requests[0].by.as_deref() == Some("alice"));
    let everything = format!("{requests:?}\n{}", github.read(|model| format!("{model:?}")));
    assert!(!everything.contains("ghp_secret"), "{everything}");
}

#[test]
fn a_token_in_an_address_is_a_violation() {
    let github = github();
    github.change(|model| model.add_token("ghp_secret", Token::classic("alice", &["repo"])));
    get(&at(&github, "/repos/o/r?access_token=ghp_secret")).send();
    let violations = github.take_violations().join("\n");
    assert!(
        violations.contains("a token where none may be") && !violations.contains("ghp_secret"),
        "{violations}"
    );
}

#[test]
fn a_request_that_was_written_for_a_proxy_is_seen_as_such() {
    use std::io::{Read as _, Write as _};
    let github = github();
    let mut stream = std::net::TcpStream::connect(github.api().replace("http://", "")).expect("a connection");
    let head = "GET http://api.example/repos/o/r HTTP/1.1\r\nhost: api.example\r\n";
    write!(stream, "{head}user-agent: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("http://api.example/repos/o/r"), "{reply}");
    assert!(github.requests()[0].is_through_proxy);
}
