//! Issues, comments, labels, milestones, assignees.

use serde_json::{Value, json};

use crate::client::{Reply, get, patch, post};
use crate::{at, github};
use dispatch_testkit::github::{FakeGithub, Token};
use jiff::SignedDuration;

fn file(github: &FakeGithub, token: &str, body: &Value) -> Reply {
    post(&at(github, "/repos/o/r/issues"), body).token(token).send()
}

fn errors(reply: &Reply) -> Value {
    assert_eq!(reply.status, 422, "{}", reply.json());
    assert_eq!(reply.json()["message"], "Validation Failed");
    reply.json()["errors"].clone()
}

fn numbers(reply: &Reply) -> Vec<u64> {
    let list = reply.json();
    list.as_array().expect("a list").iter().filter_map(|issue| issue["number"].as_u64()).collect()
}

#[test]
fn an_issue_is_filed_as_it_was_sent() {
    let github = github();
    github.change(|model| model.repository("o/r").milestone("c1").number);
    let body = json!({
        "title": "level 1", "body": "text <!-- hidden -->", "labels": ["os:x"], "assignees": ["will"], "milestone": 1,
    });
    let reply = file(&github, "will", &body);
    assert_eq!(reply.status, 201, "{}", reply.json());
    assert_eq!(reply.json()["milestone"]["title"], "c1");
    assert_eq!(reply.json()["user"]["login"], "will");
    let location = reply.header("location").expect("where it is");
    assert_eq!(get(location).send().json()["number"], 1);
    let issues = github.issues("o/r");
    assert_eq!(issues.len(), 1);
    assert_eq!(issues[0].body.as_deref(), Some("text <!-- hidden -->"));
    assert_eq!((issues[0].labels.len(), issues[0].assignees.len()), (1, 1));
    assert_eq!(issues[0].milestone.as_deref(), Some("c1"));
}

#[test]
fn what_only_pushing_lets_set_is_dropped_for_others_without_a_word() {
    let github = github();
    github.change(|model| model.repository("o/r").milestone("c1").number);
    // Also what would be refused: nobody looks at it.
    let body = json!({ "title": "t", "labels": ["bug"], "assignees": ["nobody"], "milestone": 77 });
    for token in ["alice", "tina", "mallory"] {
        let reply = file(&github, token, &body);
        assert_eq!(reply.status, 201, "{}", reply.json());
        assert_eq!(reply.json()["labels"], json!([]));
        assert_eq!(reply.json()["assignees"], json!([]));
        assert_eq!(reply.json()["milestone"], Value::Null);
    }
    assert!(github.read(|model| model.repositories[0].labels.is_empty()));
}

#[test]
fn a_label_that_is_not_there_is_made_by_whoever_pushes() {
    let github = github();
    assert_eq!(file(&github, "will", &json!({ "title": "t", "labels": ["new"] })).status, 201);
    let labels = get(&at(&github, "/repos/o/r/labels")).send().json();
    assert_eq!(labels[0]["name"], "new");
    let reply = file(&github, "will", &json!({ "title": "t", "labels": ["NEW", "new"] }));
    assert_eq!(reply.json()["labels"].as_array().map(Vec::len), Some(1), "capitals make no difference");
    assert_eq!(get(&at(&github, "/repos/o/r/labels/other")).send().status, 404);
}

#[test]
fn who_triages_gives_labels_afterwards_and_makes_none() {
    let github = github();
    github.change(|model| model.repository("o/r").label("bug").id);
    assert_eq!(
        file(&github, "tina", &json!({ "title": "t", "labels": ["bug"] })).json()["labels"],
        json!([])
    );
    let label = |name: &str| {
        patch(&at(&github, "/repos/o/r/issues/1"), &json!({ "labels": [name] })).token("tina").send()
    };
    assert_eq!(label("bug").json()["labels"][0]["name"], "bug");
    let refused = label("other");
    assert_eq!((refused.status, refused.json()["errors"][0]["code"].clone()), (403, json!("unauthorized")));
}

#[test]
fn a_label_of_more_than_fifty_characters_is_refused() {
    let github = github();
    let name = "x".repeat(51);
    let errors = errors(&file(&github, "will", &json!({ "title": "t", "labels": [name] })));
    assert_eq!((&errors[0]["resource"], &errors[0]["code"]), (&json!("Label"), &json!("invalid")));
}

#[test]
fn an_assignee_without_access_is_refused() {
    let github = github();
    let errors = errors(&file(&github, "will", &json!({ "title": "t", "assignees": ["alice", "mallory"] })));
    let expected =
        json!([{ "resource": "Issue", "code": "invalid", "field": "assignees", "value": "mallory" }]);
    assert_eq!(errors, expected);
    assert!(github.issues("o/r").is_empty());
}

#[test]
fn who_can_be_assigned_can_be_asked() {
    let github = github();
    assert_eq!(get(&at(&github, "/repos/o/r/assignees/alice")).token("will").send().status, 204);
    assert_eq!(get(&at(&github, "/repos/o/r/assignees/mallory")).token("will").send().status, 404);
}

#[test]
fn a_milestone_that_is_not_there_is_refused() {
    let github = github();
    let errors = errors(&file(&github, "will", &json!({ "title": "t", "milestone": 5 })));
    assert_eq!(errors[0]["field"], "milestone");
}

#[test]
fn milestones_have_closed_ones_and_pages() {
    let github = github();
    github.change(|model| {
        for number in 1..=5 {
            model.repository("o/r").milestone(&format!("m{number}"));
        }
        model.repository("o/r").milestone("m2").close();
    });
    let open = get(&at(&github, "/repos/o/r/milestones")).send().json();
    assert_eq!(open.as_array().map(Vec::len), Some(4));
    let url = at(&github, "/repos/o/r/milestones?state=all&per_page=2");
    let first = get(&url).send();
    assert_eq!(first.json().as_array().map(Vec::len), Some(2));
    let link = first.header("link").expect("links").to_owned();
    assert!(link.contains("rel=\"next\"") && link.contains("rel=\"last\""), "{link}");
    assert!(!link.contains("rel=\"prev\""), "{link}");
    let next = link.split(['<', '>']).nth(1).expect("an address");
    let second = get(next).send();
    assert_eq!(second.json()[0]["title"], "m3");
    assert!(second.header("link").expect("links").contains("rel=\"prev\""));
    let last = get(&format!("{url}&page=3")).send();
    assert_eq!(last.json().as_array().map(Vec::len), Some(1));
    assert!(!last.header("link").expect("links").contains("rel=\"next\""));
}

#[test]
fn a_closed_milestone_can_be_given() {
    let github = github();
    github.change(|model| model.repository("o/r").milestone("old").close());
    assert_eq!(file(&github, "will", &json!({ "title": "t", "milestone": 1 })).status, 201);
}

#[test]
fn a_title_ends_at_256_characters_and_a_body_at_65_536() {
    let github = github();
    let fits = json!({ "title": "ü".repeat(256), "body": "ü".repeat(65_536) });
    assert_eq!(file(&github, "alice", &fits).status, 201);
    let title = errors(&file(&github, "alice", &json!({ "title": "ü".repeat(257) })));
    assert_eq!(title[0]["message"], "title is too long (maximum is 256 characters)");
    let body = errors(&file(&github, "alice", &json!({ "title": "t", "body": "x".repeat(65_537) })));
    assert_eq!(body[0]["message"], "body is too long (maximum is 65536 characters)");
}

#[test]
fn a_nul_is_refused() {
    let github = github();
    assert_eq!(errors(&file(&github, "alice", &json!({ "title": "t", "body": "a\0b" })))[0]["field"], "body");
    assert_eq!(errors(&file(&github, "alice", &json!({ "title": "a\0b" })))[0]["field"], "title");
}

#[test]
fn a_repository_without_issues_is_gone() {
    let github = github();
    github.change(|model| model.repository("o/r").has_issues = false);
    let reply = file(&github, "o", &json!({ "title": "t" }));
    assert_eq!(reply.status, 410);
    assert_eq!(reply.json()["message"], "Issues are disabled for this repo");
    github.change(|model| {
        model.repository("o/r").issue("an issue", "");
        model.repository("o/r").issue("a change", "").is_pull_request = true;
    });
    // What is left are pull requests.
    assert_eq!(numbers(&get(&at(&github, "/repos/o/r/issues")).send()), [2]);
}

#[test]
fn nothing_is_filed_by_nobody() {
    let github = github();
    let reply = post(&at(&github, "/repos/o/r/issues"), &json!({ "title": "t" })).send();
    assert_eq!((reply.status, reply.json()["message"].clone()), (401, json!("Requires authentication")));
}

#[test]
fn since_looks_at_when_an_issue_changed() {
    let github = github();
    file(&github, "alice", &json!({ "title": "first" }));
    file(&github, "alice", &json!({ "title": "second" }));
    let later = github.change(|model| {
        model.set_clock_ahead(SignedDuration::from_hours(2));
        model.now()
    });
    let list = |since: &str| {
        let url = format!("/repos/o/r/issues?state=all&sort=created&direction=asc&since={since}");
        numbers(&get(&at(&github, &url)).send())
    };
    assert_eq!(list(&later.to_string()), [0_u64; 0]);
    let comment = post(&at(&github, "/repos/o/r/issues/1/comments"), &json!({ "body": "more" }));
    assert_eq!(comment.token("alice").send().status, 201);
    // The moment itself is in it.
    assert_eq!(list(&later.to_string()), [1]);
    assert_eq!(list("2020-01-01T00:00:00Z"), [1, 2]);
}

#[test]
fn a_list_shows_open_ones_newest_first_unless_it_is_asked_otherwise() {
    let github = github();
    for title in ["a", "b", "c"] {
        file(&github, "alice", &json!({ "title": title }));
    }
    let close = patch(&at(&github, "/repos/o/r/issues/2"), &json!({ "state": "closed" })).token("tina");
    assert_eq!(close.send().json()["state"], "closed");
    let list = |query: &str| numbers(&get(&at(&github, &format!("/repos/o/r/issues{query}"))).send());
    assert_eq!(list(""), [3, 1]);
    assert_eq!(list("?state=closed"), [2]);
    assert_eq!(list("?state=all&direction=asc"), [1, 2, 3]);
}

#[test]
fn comments_are_listed_oldest_first() {
    let github = github();
    file(&github, "alice", &json!({ "title": "t" }));
    let url = at(&github, "/repos/o/r/issues/1/comments");
    for body in ["one", "two"] {
        assert_eq!(post(&url, &json!({ "body": body })).token("alice").send().status, 201);
    }
    let list = get(&url).send().json();
    assert_eq!((&list[0]["body"], &list[1]["body"]), (&json!("one"), &json!("two")));
    assert_eq!(github.issues("o/r")[0].comments.len(), 2);
    assert_eq!(post(&url, &json!({ "body": "x".repeat(65_537) })).token("alice").send().status, 422);
}

#[test]
fn an_issue_is_changed_by_its_author_and_by_those_with_a_role() {
    let github = github();
    file(&github, "alice", &json!({ "title": "t" }));
    let change = |token: &str| {
        patch(&at(&github, "/repos/o/r/issues/1"), &json!({ "body": token })).token(token).send().status
    };
    assert_eq!(change("alice"), 200);
    assert_eq!(change("tina"), 200);
    assert_eq!(change("mallory"), 403);
    assert_eq!(github.issues("o/r")[0].body.as_deref(), Some("tina"));
}

#[test]
fn a_pull_request_is_among_the_issues() {
    let github = github();
    github.change(|model| model.repository("o/r").issue("change", "").is_pull_request = true);
    let list = get(&at(&github, "/repos/o/r/issues")).send().json();
    assert!(list[0]["pull_request"]["url"].is_string());
}

#[test]
fn a_title_is_needed() {
    let github = github();
    let reply = file(&github, "alice", &json!({ "body": "b" }));
    assert_eq!(errors(&reply)[0]["code"], "missing_field");
    assert_eq!(github.take_violations().len(), 1, "the description says so as well");
}

#[test]
fn a_token_without_a_scope_finds_nothing_to_write_to() {
    let github = github();
    github.change(|model| model.add_token("bare", Token::classic("alice", &["read:org"])));
    let reply = file(&github, "bare", &json!({ "title": "t" }));
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("x-oauth-scopes"), Some("read:org"));
    assert_eq!(reply.header("x-accepted-oauth-scopes"), Some("public_repo, repo"));
}
