//! That each knob does what it says.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Ask, get, post};
use crate::{LIMIT, at, github};
use dispatch_testkit::github::{Content, FakeGithub, Fault, Host, Model, Trouble};

/// What a thing that should not happen is waited for; too short makes a test blind, never wrong.
const WHILE: Duration = Duration::from_millis(200);

fn filing(github: &FakeGithub) -> Ask {
    post(&at(github, "/repos/o/r/issues"), &json!({ "title": "t" })).token("will")
}

fn count(github: &FakeGithub) -> usize {
    github.issues("o/r").len()
}

/// A fake with `a.efi` of a hundred thousand bytes, and where its bytes are.
fn with_bytes() -> (FakeGithub, String, Vec<u8>) {
    let github = github();
    let content = Content::pattern(100_000, 5);
    let bytes = content.bytes().expect("bytes").to_vec();
    let id = github.change(|model| model.repository("o/r").release("v").asset("a.efi", "x/y", content).id);
    let ask = get(&at(&github, &format!("/repos/o/r/releases/assets/{id}")));
    let reply = ask.with("accept", "application/octet-stream").send();
    let location = reply.header("location").expect("a location").to_owned();
    (github, location, bytes)
}

/// Waits until a request waits.
fn held(github: &FakeGithub) {
    let is_held = |model: &Model| model.requests.iter().any(|request| request.is_held).then_some(());
    github.wait_for("a request that is held", LIMIT, is_held).expect("a request");
}

fn elapsed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    #[expect(clippy::disallowed_methods, reason = "how long it really takes is what is tested")]
    let start = Instant::now();
    let done = what();
    (start.elapsed(), done)
}

#[test]
fn a_failure_comes_instead_of_what_was_asked() {
    let github = github();
    for status in [500, 502, 503] {
        github.fault(Fault::Status(status));
        assert_eq!(filing(&github).send().status, status);
    }
    assert_eq!(count(&github), 0);
    assert_eq!(filing(&github).send().status, 201, "and is over then");
    assert_eq!(github.requests()[0].trouble, Some(Fault::Status(500)));
}

#[test]
fn a_failure_can_come_though_it_was_done() {
    let github = github();
    github.fault(Fault::StatusAfter(502));
    assert_eq!(filing(&github).send().status, 502);
    assert_eq!(count(&github), 1);
}

#[test]
fn a_delay_delays() {
    let github = github();
    github.fault(Fault::Delay(Duration::from_millis(300)));
    let (time, reply) = elapsed(|| filing(&github).send());
    assert_eq!(reply.status, 201);
    assert!(time >= Duration::from_millis(300), "{time:?}");
}

#[test]
fn a_request_can_be_held_before_it_is_done() {
    let github = github();
    github.fault(Fault::Hold);
    thread::scope(|scope| {
        let filed = scope.spawn(|| filing(&github).send());
        held(&github);
        assert_eq!(count(&github), 0);
        github.let_go();
        assert_eq!(filed.join().expect("a reply").status, 201);
    });
    assert_eq!(count(&github), 1);
}

#[test]
fn an_answer_can_be_held_after_it_was_done() {
    let github = github();
    github.fault(Fault::HoldAfter);
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let ask = filing(&github);
        scope.spawn(move || sender.send(ask.send().status));
        held(&github);
        assert_eq!(count(&github), 1);
        assert_eq!(receiver.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout));
        github.let_go();
        assert_eq!(receiver.recv_timeout(LIMIT), Ok(201));
    });
}

#[test]
fn a_connection_breaks_before_anything_is_done() {
    let github = github();
    github.fault(Fault::DropBefore);
    filing(&github).try_send().expect_err("no answer");
    assert_eq!(count(&github), 0);
    let entry = &github.requests()[0];
    assert!(!entry.is_applied && entry.status.is_none() && entry.is_over);
}

#[test]
fn a_connection_breaks_after_it_was_done() {
    let github = github();
    github.fault(Fault::DropAfter);
    filing(&github).try_send().expect_err("no answer");
    assert_eq!(count(&github), 1);
    assert!(github.requests()[0].is_applied);
}

#[test]
fn a_request_is_done_after_its_connection_broke() {
    let github = github();
    github.fault(Fault::ApplyLate(Duration::from_millis(300)));
    filing(&github).try_send().expect_err("no answer");
    assert_eq!(count(&github), 0);
    let filed = |model: &Model| model.issues("o/r").first().cloned();
    github.wait_for("the issue", LIMIT, filed).expect("an issue");
}

#[test]
fn what_a_client_that_went_away_asked_for_is_done() {
    let github = github();
    github.fault(Fault::Hold);
    {
        use std::io::Write as _;
        let body = r#"{"title":"t"}"#;
        let host = github.api().replace("http://", "");
        let mut stream = std::net::TcpStream::connect(&host).expect("a connection");
        let head = format!("POST /repos/o/r/issues HTTP/1.1\r\nhost: {host}\r\nuser-agent: x\r\n");
        let rest = format!("authorization: Bearer will\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all((head + &rest).as_bytes()).expect("sent");
        held(&github);
    }
    github.let_go();
    let filed = |model: &Model| model.issues("o/r").first().cloned();
    github.wait_for("the issue", LIMIT, filed).expect("an issue");
}

#[test]
fn a_body_breaks_after_so_many_bytes() {
    let (github, location, bytes) = with_bytes();
    github.fault(Fault::DropBody(70_000));
    let reply = get(&location).send();
    assert_eq!((reply.status, reply.is_whole, reply.is_over), (200, false, true));
    assert_eq!(reply.header("content-length"), Some("100000"));
    assert_eq!(reply.body, bytes[..70_000]);
    let rest = get(&location).with("range", "bytes=70000-").send();
    assert_eq!((rest.status, rest.body), (206, bytes[70_000..].to_vec()));
    let sent: Vec<u64> = github.requests().iter().skip(1).map(|request| request.bytes_sent).collect();
    assert_eq!(sent, [70_000, 30_000]);
}

#[test]
fn a_body_stalls_after_so_many_bytes() {
    let (github, location, _) = with_bytes();
    github.fault(Fault::StallBody(1_000));
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(get(&location).try_send().is_ok_and(|reply| reply.is_whole)));
    let sent = |model: &Model| model.requests.last().filter(|last| last.bytes_sent == 1_000).map(|_| ());
    github.wait_for("a thousand bytes", LIMIT, sent).expect("bytes");
    assert_eq!(receiver.recv_timeout(WHILE), Err(RecvTimeoutError::Timeout));
    drop(github);
    assert_eq!(receiver.recv_timeout(LIMIT), Ok(false));
}

#[test]
fn a_body_comes_slowly() {
    let (github, location, bytes) = with_bytes();
    github.fault(Fault::SlowBody { chunk: 50_000, pause: Duration::from_millis(150) });
    let (time, reply) = elapsed(|| get(&location).send());
    assert_eq!(reply.body, bytes);
    assert!(time >= Duration::from_millis(300), "{time:?}");
}

#[test]
fn bytes_can_be_wrong() {
    let (github, location, bytes) = with_bytes();
    github.fault(Fault::WrongBytes);
    let reply = get(&location).send();
    assert!(reply.is_whole);
    let differences = reply.body.iter().zip(&bytes).filter(|(one, other)| one != other).count();
    assert_eq!((reply.body.len(), differences), (bytes.len(), 1));
}

#[test]
fn an_asset_can_be_shorter_than_it_is() {
    let (github, location, bytes) = with_bytes();
    github.fault(Fault::Truncate(1));
    let reply = get(&location).send();
    assert_eq!((reply.is_whole, reply.header("content-length")), (true, Some("99999")));
    assert_eq!(reply.body, bytes[..99_999]);
}

#[test]
fn a_range_can_be_ignored() {
    let (github, location, bytes) = with_bytes();
    github.fault(Fault::IgnoreRange);
    let reply = get(&location).with("range", "bytes=5-").send();
    assert_eq!((reply.status, reply.body), (200, bytes));
}

#[test]
fn an_entity_tag_can_change() {
    let (github, location, _) = with_bytes();
    let tag = get(&location).send().header("etag").expect("a tag").to_owned();
    github.fault(Fault::NewEtag);
    let reply = get(&location).with("range", "bytes=5-").with("if-range", &tag).send();
    assert_eq!((reply.status, reply.header("etag") == Some(tag.as_str())), (200, false));
}

#[test]
fn the_secondary_limit_comes_with_and_without_a_time() {
    let github = github();
    github.fault(Fault::SecondaryLimit(Some(7)));
    let reply = filing(&github).send();
    assert_eq!((reply.status, reply.header("retry-after")), (403, Some("7")));
    assert!(reply.json()["message"].as_str().is_some_and(|words| words.contains("secondary rate limit")));
    assert_ne!(reply.header("x-ratelimit-remaining"), Some("0"));
    github.fault(Fault::SecondaryLimit(None));
    assert_eq!(filing(&github).send().header("retry-after"), None);
    github.fault(Fault::TooMany(Some(3)));
    let reply = filing(&github).send();
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("3")));
    assert_eq!(count(&github), 0);
}

#[test]
fn the_primary_limit_lasts_until_its_reset() {
    let github = github();
    github.fault(Fault::PrimaryLimit(600));
    for _ in 0..2 {
        let reply = filing(&github).send();
        assert_eq!((reply.status, reply.header("x-ratelimit-remaining")), (403, Some("0")));
    }
    let reset = github.requests()[0].at.as_second() + 600;
    let told = filing(&github).send();
    let told: i64 = told.header("x-ratelimit-reset").and_then(|text| text.parse().ok()).expect("a time");
    assert!((reset..=reset + 2).contains(&told), "{told}, and {reset} was to be");
    github.change(|model| model.set_clock_ahead(jiff::SignedDuration::from_secs(605)));
    assert_eq!(filing(&github).send().status, 201);
}

#[test]
fn a_token_can_be_bad_from_now_on() {
    let github = github();
    github.trouble(Trouble::new(Fault::Unauthorized).always());
    for _ in 0..3 {
        assert_eq!(filing(&github).send().status, 401);
    }
    github.calm();
    assert_eq!(filing(&github).send().status, 201);
}

#[test]
fn what_is_there_can_be_missing_for_a_while() {
    let github = github();
    github.trouble(Trouble::new(Fault::NotFound).path("/repos/*").times(2));
    let statuses: Vec<u16> = (0..3).map(|_| filing(&github).send().status).collect();
    assert_eq!(statuses, [404, 404, 201]);
}

#[test]
fn an_asset_s_bytes_can_be_on_yet_another_host() {
    let (github, _, bytes) = with_bytes();
    let id = github.read(|model| model.repositories[0].releases[0].assets[0].id);
    github.fault(Fault::Elsewhere);
    let ask = get(&at(&github, &format!("/repos/o/r/releases/assets/{id}"))).token("will");
    let reply = ask.with("accept", "application/octet-stream").send();
    let location = reply.header("location").expect("a location");
    assert!(location.starts_with(&github.elsewhere()), "{location}");
    assert_eq!(get(location).send().body, bytes);
    assert_eq!(github.take_violations(), [""; 0]);
    // Whoever brings a token there is found out.
    get(location).token("will").send();
    assert!(
        github.requests().last().is_some_and(|last| last.host == Host::Elsewhere && last.has_authorization)
    );
    assert!(!github.take_violations().is_empty());
}

#[test]
fn any_request_can_be_sent_to_yet_another_host() {
    let github = github();
    github.trouble(Trouble::new(Fault::Elsewhere).times(2));
    let reply = get(&at(&github, "/repos/o/r")).send();
    assert_eq!(reply.status, 302);
    assert_eq!(reply.header("location"), Some(format!("{}/repos/o/r", github.elsewhere()).as_str()));
    assert_eq!(filing(&github).send().status, 307);
    assert_eq!(count(&github), 0);
}

#[test]
fn trouble_can_meet_the_host_of_the_bytes() {
    let (github, location, _) = with_bytes();
    github.trouble(Trouble::new(Fault::Status(503)).host(Host::Objects).path("*/a.efi"));
    assert_eq!(get(&location).send().status, 503);
    assert_eq!(get(&location).send().status, 200);
}

#[test]
fn a_host_that_is_down_refuses_and_comes_back_at_the_same_address() {
    let github = github();
    github.down(Host::Api).expect("down");
    let refused = filing(&github).try_send().expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    github.up(Host::Api).expect("up");
    assert_eq!(filing(&github).send().status, 201);
    // And it can be down again.
    github.down(Host::Api).expect("down");
    filing(&github).try_send().expect_err("nobody listens");
}

#[test]
fn the_port_of_a_host_that_is_down_is_given_to_nobody_else() {
    let github = github();
    let address: std::net::SocketAddr = github.api().replace("http://", "").parse().expect("an address");
    github.down(Host::Api).expect("down");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&address.into()).expect_err("it is taken");
}

#[test]
fn a_host_that_goes_down_breaks_what_is_under_way() {
    let (github, location, _) = with_bytes();
    github.fault(Fault::StallBody(1_000));
    thread::scope(|scope| {
        let reply = scope.spawn(|| get(&location).try_send());
        let sent = |model: &Model| model.requests.last().filter(|last| last.bytes_sent == 1_000).map(|_| ());
        github.wait_for("a thousand bytes", LIMIT, sent).expect("bytes");
        github.down(Host::Objects).expect("down");
        // It may break before the first byte is on its way.
        match reply.join().expect("an end") {
            Ok(reply) => assert!(reply.is_over && !reply.is_whole),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it did not break"),
        }
    });
}

#[test]
fn waiting_for_what_does_not_come_says_what_came() {
    let github = github();
    filing(&github).send();
    let late = github.wait_for("a comet", Duration::from_millis(50), |_| None::<()>).expect_err("none");
    let words = late.to_string();
    assert!(words.contains("a comet") && words.contains("POST  /repos/o/r/issues → 201"), "{words}");
}

#[test]
fn it_runs_beside_a_test_that_is_a_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let github = github();
        let ask = filing(&github);
        let filed = tokio::task::spawn_blocking(move || ask.send().status);
        let issue = |model: &Model| model.issues("o/r").first().cloned();
        github.reached("the issue", LIMIT, issue).await.expect("an issue");
        assert_eq!(filed.await.expect("a status"), 201);
    });
}
