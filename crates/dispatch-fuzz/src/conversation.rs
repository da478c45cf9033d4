//! A whole conversation with a listener, over a socket: every request gets its one answer, whole and in order.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use dispatch_boot::http::range::Part;
use dispatch_boot::http::request::Head;
use dispatch_boot::route::{BootPath, Route};
use dispatch_boot::{Asked, Bind, Image, Limits, Listener, Progress, Queue, Unavailable, Work};
use dispatch_core::queue::{Accepted, Ask, Idle, NoRun, Stub};
use dispatch_core::run::End;
use dispatch_core::{Kind, ReportId, RunId, Sighting, Told};
use dispatch_wire::boot::Report;
use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::framing::{BOOT_PATH, Fate, read};

/// How long an answer may take: nothing here waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the image holds.
fn content() -> Vec<u8> {
    (0..=255).chain(0..44).collect()
}

/// Hosts that name themselves have no work, the others get the image.
struct Fixed(tempfile::NamedTempFile);

impl Queue for Fixed {
    async fn ask(&self, who: &Sighting, _: Ask) -> Result<Work, Unavailable> {
        let Some(name) = &who.name else {
            let unavailable = |error: std::io::Error| Unavailable(error.to_string());
            let file = File::open(self.0.path()).map_err(unavailable)?;
            let (size, modified) = (content().len() as u64, SystemTime::UNIX_EPOCH);
            let (name, etag) = ("x.efi".into(), "\"x\"".into());
            return Ok(Work::Image(Image { run: run(), name, kind: Kind::Efi, file, size, modified, etag }));
        };
        if name.as_str() == "not-now" {
            return Ok(Work::NotNow("it is just being written".into()));
        }
        Ok(Work::Idle(Idle {
            stub: Stub::ALL.into_iter().find(|stub| stub.to_string() == name.as_str()),
            reason: format!("this is {name}"),
            since: Timestamp::UNIX_EPOCH,
            promised: Timestamp::UNIX_EPOCH,
            is_taken: false,
            is_urgent: false,
            arch: None,
        }))
    }

    async fn begin(&self, _: RunId, _: u64, start: u64) -> Result<Option<Arc<Progress>>, Unavailable> {
        Ok(Some(Arc::new(Progress::new(1, start))))
    }

    async fn end(&self, _: RunId, _: &Progress, _: u64, _: End) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn spoiled(&self, _: RunId, _: &str) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn started(&self, _: &Sighting, told: &Told) -> Result<Result<RunId, NoRun>, Unavailable> {
        Ok(told.macs.is_empty().then(run).ok_or(NoRun::Nothing))
    }

    async fn reported(
        &self,
        _: &Sighting,
        _: &Told,
        run: Option<RunId>,
        report: Report,
    ) -> Result<Result<Accepted, NoRun>, Unavailable> {
        let id = ReportId::new(Timestamp::UNIX_EPOCH, [2; 10]);
        let known = report.body.is_empty();
        Ok(run.map(|run| Accepted { report: id, run, known }).ok_or(NoRun::Nothing))
    }

    fn asked(&self, _: Asked) {}

    async fn page(&self) -> Result<String, Unavailable> {
        Ok("<!doctype html>".into())
    }

    async fn health(&self) -> Result<String, Unavailable> {
        Err(Unavailable("the state cannot be read".into()))
    }
}

fn run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, [1; 10])
}

/// The one listener of this process, on loopback.
fn listener() -> SocketAddr {
    static LISTENER: OnceLock<(Runtime, SocketAddr)> = OnceLock::new();
    LISTENER
        .get_or_init(|| {
            let mut image = tempfile::NamedTempFile::new().expect("a file");
            image.write_all(&content()).expect("an image");
            image.as_file().set_modified(SystemTime::UNIX_EPOCH).expect("its time");
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            let _entered = runtime.enter();
            let listener =
                Listener::bind(Bind { address: Some([127, 0, 0, 1].into()), port: 0 }).expect("a port");
            let address = SocketAddr::from(([127, 0, 0, 1], listener.bound().port));
            let path = BootPath::new(BOOT_PATH).expect("a path");
            let (limits, stop) = (Limits::default(), CancellationToken::new());
            runtime.spawn(listener.serve(Fixed(image), path, || SystemTime::UNIX_EPOCH, limits, stop));
            (runtime, address)
        })
        .1
}

/// Says these bytes to a listener and hangs up: it answers what a reader of the whole finds in them, nothing else, each
/// answer as long as it says.
pub fn conversations(bytes: &[u8]) {
    let said = read(bytes, false);
    let mut stream = TcpStream::connect(listener()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    // It may have heard enough, and have closed.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("answers, and an end");
    let mut rest = &answers[..];
    let mut words = 0;
    for fate in &said.fates {
        while let Some(after) = rest.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            (words, rest) = (words + 1, after);
        }
        rest = after_answer(fate, rest);
    }
    while let Some(after) = rest.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
        (words, rest) = (words + 1, after);
    }
    assert!(rest.is_empty(), "more than was asked for: {}", String::from_utf8_lossy(rest));
    assert_eq!(words, said.expected, "whether the client may go on");
}

/// Checks one answer, and returns what follows it.
fn after_answer<'a>(fate: &Fate, bytes: &'a [u8]) -> &'a [u8] {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).expect("an answer");
    let httparse::Status::Complete(length) = parsed else {
        panic!("half an answer to {fate:?}: {}", String::from_utf8_lossy(bytes));
    };
    let status = response.code.expect("a status");
    let field = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map(|field| std::str::from_utf8(field.value).expect("text"))
    };
    let promised: usize = field("Content-Length").expect("a length").parse().expect("a number");
    let (body, is_image) = match fate {
        Fate::Refused(refused) => {
            assert_eq!((status, field("Connection")), (*refused, Some("close")));
            (promised, false)
        }
        Fate::Answered(head, route) => {
            let stays = if head.keep_alive { "keep-alive" } else { "close" };
            assert_eq!(field("Connection"), Some(stays), "{head:?}");
            match route {
                Route::Unknown => assert_eq!(status, 404, "{head:?}"),
                Route::BadName(_) => assert_eq!(status, 400, "{head:?}"),
                Route::Health => assert!(matches!(status, 405 | 503), "{status} to {head:?}"),
                Route::Boot(name) => {
                    assert!(expected(head, name.is_some()).contains(&status), "{status} to {head:?}");
                }
            }
            let is_image = field("ETag").is_some() && head.method == "GET";
            (if head.method == "HEAD" { 0 } else { promised }, is_image)
        }
    };
    let body = bytes.get(length..length + body).expect("the whole body");
    if is_image {
        let content = content();
        let expected = match field("Content-Range").and_then(|range| range.strip_prefix("bytes ")) {
            None => &content[..],
            Some(range) => {
                let range = range.strip_suffix("/300").expect("the size");
                let (first, last) = range.split_once('-').expect("a range");
                let number = |text: &str| text.parse::<usize>().expect("a number");
                &content[number(first)..=number(last)]
            }
        };
        assert_eq!(body, expected, "other bytes than were asked for");
    }
    &bytes[length + body.len()..]
}

/// How a request to the boot path may be answered, by a queue in which named hosts have no work.
fn expected(head: &Head, is_named: bool) -> &'static [u16] {
    match head.method.as_str() {
        "HEAD" | "GET" if head.is_browser => &[200],
        "HEAD" | "GET" if is_named => &[200, 404, 503],
        "HEAD" => &[200],
        "GET" => match Part::asked(head, content().len() as u64, "\"x\"", SystemTime::UNIX_EPOCH) {
            Part::Everything => &[200],
            Part::Range { .. } => &[206],
            Part::Unsatisfiable => &[416],
            Part::Changed => &[412],
        },
        "POST" => &[200, 417],
        "PUT" => &[200, 400, 417],
        _ => &[405],
    }
}
