//! Requests to the API: what they carry, what becomes of them in trouble, and that each is sent once.

#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Does, Server, TOKEN, clock, github, impatient, json, noon, says, web};
use dispatch_github::{Answer, Kind, NewIssue, Slug, TimeLimits, Web};
use url::Url;

const ISSUE: &str = r#"{"number": 5, "html_url": "https://h.example/5", "title": "t", "body": "b", "labels": [],
    "assignees": [], "milestone": null, "user": {"login": "mona"}, "created_at": "2026-11-21T12:00:00Z"}"#;

fn repo() -> Slug {
    "o/r".parse().expect("a repository")
}

fn new_issue() -> NewIssue {
    NewIssue { title: "t".to_owned(), body: "b".to_owned(), ..NewIssue::default() }
}

#[tokio::test]
async fn a_request_says_who_asks_and_which_api_it_means() {
    let server = Server::start(|_| says("201 Created", &[], ISSUE)).await;
    let issue =
        github(web(), server.url("/api/v3")).create_issue(&repo(), &new_issue()).await.expect("filed");
    assert_eq!((issue.number, issue.user.as_deref()), (5, Some("mona")));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /api/v3/repos/o/r/issues HTTP/1.1");
    assert_eq!(asked.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(asked.header("x-github-api-version"), Some("2022-11-28"));
    assert_eq!(asked.header("user-agent"), Some(concat!("dispatch/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(asked.body, r#"{"body":"b","title":"t"}"#);
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_a_request_that_was_never_sent() {
    let port = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        gone.local_addr().expect("an address").port()
    };
    let api = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL");
    let error = github(web(), api).create_issue(&repo(), &new_issue()).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(!error.may_have_been_applied());
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_a_request_that_was_never_sent() {
    let api = Url::parse("http://nowhere.invalid/").expect("a URL");
    let error = github(web(), api).create_issue(&repo(), &new_issue()).await.expect_err("unknown");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("nowhere.invalid cannot be reached"), "{error}");
}

#[tokio::test]
async fn a_connection_that_ends_without_an_answer_may_have_been_carried_out_and_is_not_tried_again() {
    let server = Server::start(|_| Does::Say(String::new())).await;
    let error = github(web(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("broken");
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(error.may_have_been_applied() && error.may_still_be_applied());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_request_on_a_connection_used_before_is_not_sent_twice_either() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Does::Keep(format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{ISSUE}", ISSUE.len())),
        _ => Does::Say(String::new()),
    })
    .await;
    let github = github(web(), server.url("/"));
    github.create_issue(&repo(), &new_issue()).await.expect("filed");
    let error = github.create_issue(&repo(), &new_issue()).await.expect_err("broken");
    assert!(error.may_have_been_applied());
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_takes_too_long_may_still_be_at_it() {
    let server = Server::start(|_| Does::Hang(String::new())).await;
    let error =
        github(impatient(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("silent");
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(error.may_still_be_applied());
}

#[tokio::test]
async fn an_answer_that_breaks_off_was_carried_out_by_somebody_who_is_done() {
    for head in ["HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{", "HTTP/1.1 201 Created\r\n\r\n{"] {
        let server = Server::start(move |_| Does::Say(head.to_owned())).await;
        let error =
            github(web(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("broken");
        assert!(error.may_have_been_applied() && !error.may_still_be_applied(), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_stalls_was_given_by_somebody_who_is_done() {
    let server =
        Server::start(|_| Does::Hang("HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{".to_owned()))
            .await;
    let error =
        github(impatient(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("broken");
    assert!(error.may_have_been_applied() && !error.may_still_be_applied(), "{error:?}");
}

#[tokio::test]
async fn a_refusal_without_its_body_is_still_a_refusal() {
    let server =
        Server::start(|_| Does::Say("HTTP/1.1 422 Unprocessable\r\ncontent-length: 99\r\n\r\n{".to_owned()))
            .await;
    let error =
        github(web(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert!(!error.may_have_been_applied());
}

#[tokio::test]
async fn a_token_that_the_server_repeats_is_shown_nowhere() {
    let echo = format!(r#"{{"message": "who is {TOKEN}?", "errors": ["{TOKEN}"], "number": "{TOKEN}"}}"#);
    for status in ["200 OK", "302 Found", "401 Unauthorized", "403 Forbidden", "422 No", "500 No"] {
        let echo = echo.clone();
        let server = Server::start(move |_| {
            says(status, &[&format!("x-github-request-id: {TOKEN}"), &format!("location: /{TOKEN}")], &echo)
        })
        .await;
        let github = github(web(), server.url("/"));
        let error = github.create_issue(&repo(), &new_issue()).await.expect_err("refused");
        let shown = format!("{error} {error:?} {github:?}");
        assert!(!shown.contains("SecretSecret"), "{shown}");
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed_within_the_api() {
    let server = Server::start(|asked| match (asked.method(), asked.target()) {
        ("GET", "/repos/o/r/assignees/mona") => {
            says("301 Moved", &["location: /repositories/5/assignees/mona"], "")
        }
        ("POST", "/repos/o/r/issues") => says("307 Temporary", &["location: /repositories/5/issues"], ""),
        ("POST", "/repositories/5/issues") => says("201 Created", &[], ISSUE),
        _ => says("204 No Content", &[], ""),
    })
    .await;
    let github = github(web(), server.url("/"));
    assert!(github.may_be_assigned(&repo(), "mona").await.expect("asked"));
    github.create_issue(&repo(), &new_issue()).await.expect("filed");
    let asked = server.asked();
    assert_eq!(asked[3].body, asked[2].body, "the same request");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_some()));
}

#[tokio::test]
async fn no_request_that_writes_becomes_another_one_by_a_redirect() {
    let server = Server::start(|_| says("302 Found", &["location: /elsewhere"], "")).await;
    let error = github(web(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("moved");
    assert_eq!(error.kind(), Kind::Other(302));
    assert!(!error.may_have_been_applied());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn the_api_sends_nobody_out_of_the_api() {
    let other = Server::start(|_| says("201 Created", &[], ISSUE)).await;
    let there = other.url("/repos/o/r/issues");
    let server = Server::start(move |_| says("307 Temporary", &[&format!("location: {there}")], "")).await;
    github(web(), server.url("/")).create_issue(&repo(), &new_issue()).await.expect_err("refused");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn pages_are_followed_to_the_end_and_no_entry_comes_twice() {
    let issue = |number: u64| ISSUE.replace("\"number\": 5", &format!("\"number\": {number}"));
    let pages = [
        format!("[{},{}]", issue(1), issue(2)),
        format!("[{},{}]", issue(2), issue(3).replace("\"title\"", "\"pull_request\": {}, \"title\"")),
        format!("[{}]", issue(4)),
    ];
    let server = Server::start(move |asked| {
        let page = (0..3).find(|page| asked.target().ends_with(&format!("&page={page}"))).unwrap_or(0);
        let next = format!("link: <{}&page={}>; rel=\"next\"", asked.target(), page + 1);
        let next = if page < 2 { next.as_str() } else { "link: </>; rel=\"first\"" };
        says("200 OK", &[next], &pages[page])
    })
    .await;
    let issues = github(web(), server.url("/")).issues_since(&repo(), noon()).await.expect("listed");
    assert_eq!(issues.iter().map(|issue| issue.number).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(
        server.asked()[0].target(),
        "/repos/o/r/issues?state=all&sort=created&direction=desc&since=2026-11-21T12%3A00%3A00Z&per_page=100"
    );
}

#[tokio::test]
async fn no_page_is_asked_for_behind_one_that_ends_with_an_issue_that_is_too_old() {
    let old = ISSUE.replace("\"number\": 5", "\"number\": 4").replace("2026", "2025");
    let server = Server::start(move |asked| {
        let next = format!("link: <{}&page=2>; rel=\"next\"", asked.target());
        says("200 OK", &[&next], &format!("[{ISSUE},{old}]"))
    })
    .await;
    let issues = github(web(), server.url("/")).issues_since(&repo(), noon()).await.expect("listed");
    assert_eq!(issues.iter().map(|issue| issue.number).collect::<Vec<_>>(), [5]);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_issue_that_moves_between_two_pages_while_they_are_read_is_found() {
    let issue = |number: u64| ISSUE.replace("\"number\": 5", &format!("\"number\": {number}"));
    // Between the two pages issue 4 is deleted, and issue 3 moves from the second to the first.
    let first = [format!("[{},{}]", issue(5), issue(4)), format!("[{},{}]", issue(5), issue(3))];
    let last = format!("[{}]", issue(2));
    let asked_before = AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        if asked.target().ends_with("&page=2") {
            return says("200 OK", &[], &last);
        }
        let place = asked_before.fetch_add(1, Ordering::SeqCst).min(1);
        says("200 OK", &[&format!("link: <{}&page=2>; rel=\"next\"", asked.target())], &first[place])
    })
    .await;
    let issues = github(web(), server.url("/")).issues_since(&repo(), noon()).await.expect("listed");
    let numbers: Vec<_> = issues.iter().map(|issue| issue.number).collect();
    assert!(numbers.contains(&3), "{numbers:?}");
}

#[tokio::test]
async fn a_next_page_at_another_host_is_not_asked_for() {
    let other = Server::start(|_| json("[]")).await;
    let there = other.url("/page");
    let server =
        Server::start(move |_| says("200 OK", &[&format!("link: <{there}>; rel=\"next\"")], "[]")).await;
    let error = github(web(), server.url("/")).milestone(&repo(), "v1").await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Malformed);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error_and_not_cut() {
    let server = Server::start(|_| says("200 OK", &["link: </again>; rel=\"next\""], "[]")).await;
    let error = github(web(), server.url("/")).milestone(&repo(), "v1").await.expect_err("endless");
    assert_eq!(error.kind(), Kind::Malformed);
    assert_eq!(server.asked().len(), 100);
}

#[tokio::test]
async fn githubs_clock_and_limits_are_those_of_the_last_answer_that_told_them() {
    let reset = noon().as_second() + 600;
    let server = Server::start(move |asked| {
        let reset = format!("x-ratelimit-reset: {reset}");
        let told = [
            "date: Sat, 21 Nov 2026 14:00:00 GMT",
            "x-ratelimit-limit: 5000",
            "x-ratelimit-remaining: 4999",
            &reset,
        ];
        let says_nothing = asked.target().ends_with("/silent");
        says("204 No Content", if says_nothing { &[] } else { &told }, "")
    })
    .await;
    let github = github(web(), server.url("/"));
    assert_eq!(github.github_time(), noon());
    assert_eq!(github.limits(), None);
    for login in ["mona", "silent"] {
        github.may_be_assigned(&repo(), login).await.expect("asked");
        assert_eq!(github.github_time(), "2026-11-21T14:00:00Z".parse().expect("a time"));
        let limits = github.limits().expect("limits");
        assert_eq!((limits.limit, limits.remaining, limits.reset.as_second()), (5000, 4999, reset));
    }
}

#[tokio::test]
async fn a_login_that_cannot_be_one_is_not_asked_for() {
    let server = Server::start(|_| json("[]")).await;
    let github = github(web(), server.url("/"));
    for login in ["", "..", "a/b", "mona?x"] {
        assert!(!github.may_be_assigned(&repo(), login).await.expect("told"));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn latest_is_a_tag_before_it_is_the_latest_release() {
    let release = |tag: &str| {
        format!(r#"{{"id": 1, "tag_name": "{tag}", "html_url": "u", "published_at": null, "assets": []}}"#)
    };
    let (tagged, newest) = (release("latest"), release("v9"));
    let server = Server::start(move |asked| match asked.target() {
        "/repos/o/tagged/releases/tags/latest" => says("200 OK", &["etag: W/\"a\""], &tagged),
        "/repos/o/untagged/releases/latest" if asked.header("if-none-match") == Some("W/\"b\"") => {
            Does::Say("HTTP/1.1 304 Not Modified\r\n\r\n".to_owned())
        }
        "/repos/o/untagged/releases/latest" => says("200 OK", &["etag: W/\"b\""], &newest),
        _ => says("404 Not Found", &[], r#"{"message": "Not Found"}"#),
    })
    .await;
    let github = github(web(), server.url("/"));
    let tag = |answer| match answer {
        Answer::New { value: dispatch_github::Release { tag_name, .. }, etag } => (tag_name, etag),
        Answer::NotModified => panic!("it is new"),
    };
    let tagged =
        github.release(&"o/tagged".parse().expect("a repository"), "latest", None).await.expect("read");
    assert_eq!(tag(tagged), ("latest".to_owned(), Some("W/\"a\"".to_owned())));
    let untagged: Slug = "o/untagged".parse().expect("a repository");
    let newest = github.release(&untagged, "latest", None).await.expect("read");
    assert_eq!(tag(newest), ("v9".to_owned(), Some("W/\"b\"".to_owned())));
    let again = github.release(&untagged, "latest", Some("W/\"b\"")).await.expect("read");
    assert_eq!(again, Answer::NotModified);
}

#[tokio::test]
async fn a_tag_with_a_slash_is_one_segment_of_the_path() {
    let server = Server::start(|_| says("404 Not Found", &[], "{}")).await;
    let error = github(web(), server.url("/")).release(&repo(), "v1/../x?", None).await.expect_err("none");
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(server.asked()[0].target(), "/repos/o/r/releases/tags/v1%2F..%2Fx%3F");
}

#[tokio::test]
async fn assets_of_a_release_that_may_have_been_cut_are_read_page_by_page() {
    let asset = |id: u64| {
        format!(
            r#"{{"id": {id}, "name": "a{id}", "content_type": "x/y", "size": 1, "url": "https://h.example/{id}",
                "updated_at": "2026-11-21T12:00:00Z", "state": "uploaded"}}"#
        )
    };
    let list = |ids: std::ops::Range<u64>| format!("[{}]", ids.map(asset).collect::<Vec<_>>().join(","));
    let release = format!(
        r#"{{"id": 1, "tag_name": "v1", "html_url": "u", "published_at": null, "assets": {}}}"#,
        list(0..30)
    );
    let (first, second) = (list(0..100), list(99..105));
    let server = Server::start(move |asked| match asked.target() {
        "/repos/o/r/releases/tags/v1" => json(&release),
        "/repos/o/r/releases/1/assets?per_page=100" => {
            says("200 OK", &["link: </repos/o/r/releases/1/assets?page=2>; rel=\"next\""], &first)
        }
        _ => json(&second),
    })
    .await;
    let answer = github(web(), server.url("/")).release(&repo(), "v1", None).await.expect("read");
    let Answer::New { value, .. } = answer else { panic!("it is new") };
    assert!(value.assets.iter().map(|asset| asset.id).eq(0..105));
}

#[tokio::test]
async fn what_nobody_acknowledges_is_given_up_before_it_is_sent_again() {
    // It takes the connection and reads nothing: soon the kernel has more than it may send.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", deaf.local_addr().expect("an address"));
    let limits = TimeLimits { answer: Duration::from_mins(1), ..TimeLimits::default() };
    let web = Web::with_limits(&[], clock(), limits).expect("the web");
    let github = github(web, Url::parse(&url).expect("a URL"));
    let issue = NewIssue { body: "x".repeat(32 << 20), ..new_issue() };
    let (repo, taken) = (repo(), deaf.accept());
    let filing = github.create_issue(&repo, &issue);
    let both = async { tokio::join!(taken, filing) };
    let (connection, filed) =
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is given up");
    drop(connection);
    assert!(filed.expect_err("nobody took it").may_have_been_applied());
}
