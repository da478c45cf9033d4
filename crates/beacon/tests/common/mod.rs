//! What the integration tests share: a made-up machine, simulated time, and small servers.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use beacon::clock::Clock;
use beacon::exchange::{Answer, Exchange, NoAnswer, Request};
use beacon::root::Root;
use beacon::run_id::RunId;
use beacon::tell::Tell;
use beacon::url::ServerUrl;

pub(crate) const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// A file system tree of a machine.
pub(crate) struct Machine(tempfile::TempDir);

impl Machine {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn root(&self) -> Root {
        Root::from(self.0.path().to_owned())
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().expect("a UTF-8 path")
    }

    pub(crate) fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, content).expect("written");
        self
    }

    /// An EFI variable of the firmware's own namespace, as efivarfs shows it.
    pub(crate) fn with_variable(self, name: &str, data: &[u8]) -> Self {
        self.with(&format!("sys/firmware/efi/efivars/{name}-{GLOBAL}"), [&[7, 0, 0, 0], data].concat())
    }

    pub(crate) fn with_identity(self) -> Self {
        self.with("sys/class/dmi/id/product_uuid", "4C4C4544-0051-3610-8052-B4C04F4E3332\n")
            .with("sys/class/net/eth0/type", "1\n")
            .with("sys/class/net/eth0/address", "52:54:00:77:00:02\n")
            .with("sys/class/net/eth0/device/vendor", "")
            .with("sys/class/net/eth1/type", "1\n")
            .with("sys/class/net/eth1/address", "52:54:00:77:00:01\n")
            .with("sys/class/net/eth1/device/vendor", "")
    }

    pub(crate) fn state(&self) -> String {
        fs::read_to_string(self.0.path().join("run/dispatch/beacon.json")).expect("a state file")
    }
}

/// One node of a device path (UEFI 2.10 §10.2).
pub(crate) fn node(kind: u8, subtype: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).expect("a short node").to_le_bytes();
    [&[kind, subtype][..], &length, data].concat()
}

/// A device path as OVMF makes it for HTTP boot over IPv4.
pub(crate) fn http_path(uri: &str) -> Vec<u8> {
    let mut mac = vec![0x52, 0x54, 0x00, 0x77, 0x00, 0x01];
    mac.resize(32, 0);
    mac.push(1);
    [
        node(2, 1, &[0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0]),
        node(1, 1, &[0, 1]),
        node(3, 11, &mac),
        node(3, 12, &[0; 23]),
        node(3, 24, uri.as_bytes()),
        node(0x7f, 0xff, &[]),
    ]
    .concat()
}

/// A load option (UEFI 2.10 §3.1.3).
pub(crate) fn load_option(description: &str, paths: &[u8], optional: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0];
    bytes.extend(u16::try_from(paths.len()).expect("short paths").to_le_bytes());
    bytes.extend(description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    bytes.extend(paths);
    bytes.extend(optional);
    bytes
}

/// Keeps the lines instead of printing them.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Vec<String>);

impl Tell for Lines {
    fn warn(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn detail(&mut self, _: &str) {}
}

/// Time that passes only when somebody waits.
#[derive(Default)]
pub(crate) struct Simulated {
    now: Cell<Duration>,
}

impl Simulated {
    pub(crate) fn pass(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }
}

impl Clock for Simulated {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn sleep(&self, time: Duration) {
        assert!(!time.is_zero(), "a wait of no time is a busy loop");
        self.pass(time);
    }

    fn random(&self) -> u64 {
        u64::MAX / 2
    }
}

/// An attempt as a scripted network saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) at: Duration,
    pub(crate) url: String,
    pub(crate) run: Option<String>,
}

/// A network on which a function says what each server answers at which time.
pub(crate) struct Scripted<'a, F> {
    pub(crate) clock: &'a Simulated,
    pub(crate) script: F,
    pub(crate) attempts: RefCell<Vec<Attempt>>,
}

impl<'a, F: Fn(&str, Duration) -> Result<Answer, NoAnswer>> Scripted<'a, F> {
    pub(crate) fn new(clock: &'a Simulated, script: F) -> Self {
        Self { clock, script, attempts: RefCell::default() }
    }

    pub(crate) fn count(&self, url: &str) -> usize {
        self.attempts.borrow().iter().filter(|attempt| attempt.url == url).count()
    }
}

impl<F: Fn(&str, Duration) -> Result<Answer, NoAnswer>> Exchange for Scripted<'_, F> {
    fn exchange(
        &self,
        _: &Request,
        url: &ServerUrl,
        run: Option<&RunId>,
        limit: Duration,
    ) -> Result<Answer, NoAnswer> {
        assert!(!limit.is_zero(), "every attempt has some time");
        let at = self.clock.now();
        let run = run.map(ToString::to_string);
        self.attempts.borrow_mut().push(Attempt { at, url: url.to_string(), run });
        (self.script)(url.as_str(), at)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "scripts return it beside failures")]
pub(crate) fn status(status: u16) -> Result<Answer, NoAnswer> {
    Ok(Answer { status, ..Answer::default() })
}

pub(crate) fn refused() -> Result<Answer, NoAnswer> {
    Err(NoAnswer("connection refused, nothing listens there".to_owned()))
}

/// A server on loopback that gives one prepared answer per connection and keeps what it was asked.
pub(crate) struct Server {
    pub(crate) port: u16,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    pub(crate) fn new(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let thread = thread::spawn(move || {
            answers
                .iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().expect("a connection");
                    let request = read_request(&mut stream);
                    stream.write_all(answer.as_bytes()).expect("answered");
                    request
                })
                .collect()
        });
        Self { port, thread }
    }

    pub(crate) fn url(&self, path: &str) -> ServerUrl {
        format!("http://127.0.0.1:{}{path}", self.port).parse().expect("a URL")
    }

    /// Waits until every answer was given; what was asked, with the port replaced by `PORT`.
    pub(crate) fn requests(self) -> Vec<String> {
        let host = format!("127.0.0.1:{}", self.port);
        let requests = self.thread.join().expect("the server's thread");
        requests.iter().map(|request| request.replace(&host, "127.0.0.1:PORT")).collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).expect("an ASCII head");
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").and_then(|n| n.parse().ok())
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a whole body");
    head + &String::from_utf8(body).expect("a UTF-8 body")
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
pub(crate) const NOT_MINE: &str = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
