//! The real HTTP client against small servers on loopback: what goes over the wire, byte by byte.

#![cfg(test)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use beacon::exchange::{Answer, Exchange as _, Message, NoAnswer, Request};
use beacon::host::HostIdentity;
use beacon::http::Http;
use beacon::resolve::Names;
use beacon::root::Root;
use beacon::run_id::RunId;
use beacon::url::ServerUrl;
use common::{Machine, NOT_MINE, OK, Server};

const LIMIT: Duration = Duration::from_secs(20);

fn http(root: Root) -> Http {
    Http::new(Names { root, dns_port: 1, random: || 1 })
}

fn boot() -> Request {
    Request { message: Message::Boot, body: Vec::new(), host: HostIdentity::default() }
}

fn ask(url: &ServerUrl, request: &Request) -> Result<Answer, NoAnswer> {
    http(Machine::new().root()).exchange(request, url, None, LIMIT)
}

/// The request line, the sorted header lines, and the body.
fn parts(request: &str) -> (&str, Vec<String>, &str) {
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let (line, headers) = head.split_once("\r\n").expect("headers");
    let mut headers: Vec<_> = headers
        .split("\r\n")
        .map(|header| header.split_once(": ").expect("a header"))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    headers.sort();
    (line, headers, body)
}

#[test]
fn boot_is_a_post_with_an_empty_body_and_says_who_asks() {
    let server = Server::new(&["HTTP/1.1 200 OK\r\nDispatch-Run: 0193-x\r\nContent-Length: 0\r\n\r\n"]);
    let host = HostIdentity::read(&Machine::new().with_identity().root());
    let request = Request { host, ..boot() };
    let answer = ask(&server.url("/dispatch?foo.efi#part"), &request).expect("an answer");
    assert_eq!((answer.status, answer.run.as_deref()), (200, Some(&b"0193-x"[..])));

    let requests = server.requests();
    let (line, headers, body) = parts(&requests[0]);
    assert_eq!(line, "POST /dispatch?foo.efi HTTP/1.1");
    assert_eq!(
        headers,
        [
            "accept: */*",
            "content-length: 0",
            "dispatch-host-mac: 52:54:00:77:00:01,52:54:00:77:00:02",
            "dispatch-host-uuid: 4c4c4544-0051-3610-8052-b4c04f4e3332",
            "host: 127.0.0.1:PORT",
            &format!("user-agent: beacon/{}", env!("CARGO_PKG_VERSION")),
        ]
    );
    assert_eq!(body, "");
}

#[test]
fn a_report_is_a_put_of_json_with_the_name_of_the_run() {
    let server = Server::new(&[OK]);
    let body = br#"{"title":"t","body":"b"}"#.to_vec();
    let request = Request { message: Message::Report, body, host: HostIdentity::default() };
    let run = RunId::from_bytes(b"0193-x").expect("a run");
    let url = server.url("/dispatch");
    let answer = http(Machine::new().root()).exchange(&request, &url, Some(&run), LIMIT).expect("an answer");
    assert_eq!((answer.status, answer.run), (200, None));

    let requests = server.requests();
    let (line, headers, body) = parts(&requests[0]);
    assert_eq!(line, "PUT /dispatch HTTP/1.1");
    assert_eq!(
        headers,
        [
            "accept: */*",
            "content-length: 24",
            "content-type: application/json",
            "dispatch-run: 0193-x",
            "host: 127.0.0.1:PORT",
            &format!("user-agent: beacon/{}", env!("CARGO_PKG_VERSION")),
        ]
    );
    assert_eq!(body, r#"{"title":"t","body":"b"}"#);
}

#[test]
fn a_report_of_the_largest_size_arrives_whole() {
    let server = Server::new(&[OK]);
    let body = vec![b'x'; 8 * 1024 * 1024];
    let request = Request { message: Message::Report, body, host: HostIdentity::default() };
    assert_eq!(ask(&server.url("/dispatch"), &request).expect("an answer").status, 200);
    assert!(server.requests()[0].ends_with(&"x".repeat(8 * 1024 * 1024)));
}

#[test]
fn a_refusal_before_the_whole_report_was_sent_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url =
        format!("http://{}/dispatch", listener.local_addr().expect("an address")).parse().expect("a URL");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.read_exact(&mut [0; 100]).expect("the beginning of a request");
        // Closing with unread data resets the connection.
        stream.write_all(NOT_MINE.as_bytes()).expect("answered");
    });
    let body = vec![b'x'; 8 * 1024 * 1024];
    let request = Request { message: Message::Report, body, host: HostIdentity::default() };
    assert_eq!(ask(&url, &request).expect("an answer").status, 417);
    server.join().expect("the server's thread");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("a setting");
    let port = elsewhere.local_addr().expect("an address").port();
    for code in [301, 302, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {code} Moved\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        );
        let server = Server::new(&[&answer]);
        assert_eq!(ask(&server.url("/dispatch"), &boot()).expect("an answer").status, code);
        assert!(elsewhere.accept().is_err(), "{code} led somewhere");
    }
}

#[test]
fn an_answer_that_breaks_off_in_its_head_is_none() {
    for answer in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let server = Server::new(&[answer]);
        let error = ask(&server.url("/dispatch"), &boot()).expect_err("no answer");
        assert_eq!(error.to_string(), "it closed the connection without an answer", "{answer:?}");
    }
}

#[test]
fn a_200_whose_body_breaks_off_has_been_given() {
    let server = Server::new(&["HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"]);
    assert_eq!(ask(&server.url("/dispatch"), &boot()).expect("an answer").status, 200);
}

#[test]
fn the_first_line_of_a_refusal_is_kept_and_pages_for_browsers_are_not() {
    for (body, said) in [
        ("the report has no `title`\nmore", "the report has no `title`"),
        ("a\u{1b}[31mb", "a[31mb"),
        ("<html>no</html>", ""),
        ("", ""),
    ] {
        let answer = format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let server = Server::new(&[&answer]);
        let answer = ask(&server.url("/dispatch"), &boot()).expect("an answer");
        assert_eq!((answer.status, answer.said.as_str()), (400, said));
    }
    let server = Server::new(&["HTTP/1.1 400 Bad Request\r\nContent-Length: 900\r\n\r\nbroken off"]);
    assert_eq!(ask(&server.url("/dispatch"), &boot()).expect("an answer").said, "broken off");
}

#[test]
fn an_answer_that_is_not_http_is_told() {
    let server = Server::new(&["SSH-2.0-OpenSSH_9.2\r\n\r\n"]);
    let error = ask(&server.url("/dispatch"), &boot()).expect_err("no answer");
    assert_eq!(error.to_string(), "what answers there does not speak HTTP");
}

#[test]
fn old_and_terse_servers_are_understood() {
    for answer in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] {
        let server = Server::new(&[answer]);
        assert_eq!(ask(&server.url("/dispatch"), &boot()).expect("an answer").status, 200, "{answer:?}");
    }
}

#[test]
fn a_closed_port_is_told_in_words() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}/").parse().expect("a URL");
    let error = ask(&url, &boot()).expect_err("no answer");
    assert_eq!(error.to_string(), "connection refused, nothing listens there");
}

#[test]
fn a_server_that_never_answers_does_not_hold_us_for_longer_than_allowed() {
    // The kernel accepts for a listener that never does.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}/").parse().expect("a URL");
    let result = http(Machine::new().root()).exchange(&boot(), &url, None, Duration::from_millis(200));
    assert_eq!(result.expect_err("no answer").to_string(), "it takes too long");
}

#[test]
fn a_name_of_the_hosts_file_is_reached_and_kept_in_the_host_header() {
    let server = Server::new(&[OK]);
    let machine = Machine::new().with("etc/hosts", "127.0.0.1 dispatch.lab\n");
    let url = format!("http://dispatch.lab:{}/dispatch", server.port).parse().expect("a URL");
    http(machine.root()).exchange(&boot(), &url, None, LIMIT).expect("an answer");
    assert!(server.requests()[0].to_ascii_lowercase().contains("\r\nhost: dispatch.lab:"));
}

#[test]
fn an_unknown_name_is_told_with_its_reason() {
    let url = "http://dispatch.lab/dispatch".parse().expect("a URL");
    let error = ask(&url, &boot()).expect_err("no answer").to_string();
    assert!(error.starts_with("no address for `dispatch.lab`"), "{error}");
}

#[test]
fn a_417_is_an_answer() {
    let server = Server::new(&[NOT_MINE]);
    assert_eq!(ask(&server.url("/dispatch"), &boot()).expect("an answer").status, 417);
}
