//! [`Exchange`] over plain HTTP/1.1.

use std::io::{self, Read as _};
use std::time::Duration;

use dispatch_wire::boot::{HOST_MAC_HEADER, HOST_UUID_HEADER, RUN_HEADER};
use ureq::http::Response;
use ureq::{Agent, Body, Timeout};

use crate::exchange::{Answer, Exchange, Message, NoAnswer, Request};
use crate::resolve::Names;
use crate::run_id::RunId;
use crate::transport;
use crate::url::ServerUrl;

const CONNECT: Duration = Duration::from_secs(5);
const SEND_HEAD: Duration = Duration::from_secs(10);
/// Eight megabytes over a bad line.
const SEND_BODY: Duration = Duration::from_mins(10);
const ANSWER: Duration = Duration::from_secs(30);
/// For the text of a refusal, which is only nice to have.
const READ_BODY: Duration = Duration::from_secs(2);
/// As much of that text as is read.
const MAX_SAID: u64 = 512;

/// The real network.
pub struct Http {
    agent: Agent,
}

impl Http {
    /// Looks names up with `names`. Proxies of the environment are not used: the firmware fetched the image
    /// from that server directly as well.
    #[must_use]
    pub fn new(names: Names) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .user_agent(concat!("beacon/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(SEND_HEAD))
            .timeout_send_body(Some(SEND_BODY))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(READ_BODY))
            .build();
        Self { agent: Agent::with_parts(config, transport::connector(), names) }
    }
}

impl Exchange for Http {
    fn exchange(
        &self,
        request: &Request,
        url: &ServerUrl,
        run: Option<&RunId>,
        limit: Duration,
    ) -> Result<Answer, NoAnswer> {
        let mut call = match request.message {
            Message::Boot => self.agent.post(url.uri()),
            Message::Report => self.agent.put(url.uri()).content_type("application/json"),
        };
        if let Some(uuid) = &request.host.uuid {
            call = call.header(HOST_UUID_HEADER, uuid);
        }
        if !request.host.macs.is_empty() {
            call = call.header(HOST_MAC_HEADER, request.host.macs.join(","));
        }
        if let Some(run) = run {
            call = call.header(RUN_HEADER, run.as_str());
        }
        let call = call.config().timeout_global(Some(limit)).build();
        match call.send(&request.body[..]) {
            Ok(response) => Ok(answer(response)),
            Err(error) => Err(NoAnswer(in_words(&error, limit))),
        }
    }
}

/// Only the head of an answer counts: a 200 is a promise, and one whose body breaks off has been given.
fn answer(response: Response<Body>) -> Answer {
    let status = response.status().as_u16();
    let run = response.headers().get(RUN_HEADER).map(|value| value.as_bytes().to_vec());
    let said = if status == 200 { String::new() } else { first_line(response.into_body()) };
    Answer { status, run, said }
}

/// The first line of a text for people; a page made for a browser is none.
fn first_line(body: Body) -> String {
    let mut bytes = Vec::new();
    // What came before an error is good enough.
    let _ = body.into_reader().take(MAX_SAID).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    if line.starts_with('<') { String::new() } else { line.chars().filter(|c| !c.is_control()).collect() }
}

fn in_words(error: &ureq::Error, limit: Duration) -> String {
    let within = |what: &str, time: Duration| format!("{what} within {} s", time.min(limit).as_secs());
    match error {
        ureq::Error::Timeout(Timeout::Connect) => within("no connection", CONNECT),
        ureq::Error::Timeout(Timeout::RecvResponse) => within("no answer", ANSWER),
        ureq::Error::Timeout(_) => "it takes too long".to_owned(),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused, nothing listens there".to_owned(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => {
                "it closed the connection without an answer".to_owned()
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the connection broke".to_owned(),
            _ => error.to_string(),
        },
        ureq::Error::Protocol(_) => "what answers there does not speak HTTP".to_owned(),
        other => other.to_string(),
    }
}
