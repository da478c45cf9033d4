//! The listener over real sockets, with a queue that has one image and remembers what it is told.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dispatch_boot::route::BootPath;
use dispatch_boot::{Asked, Bind, Image, Limits, Listener, Progress, Queue, Stop, Unavailable, Work};
use dispatch_core::queue::{Accepted, Ask, NoRun};
use dispatch_core::run::End;
use dispatch_core::{Kind, RunId, Sighting, Told};
use dispatch_wire::boot::Report;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct OneImage {
    path: PathBuf,
    ends: UnboundedSender<(u64, End)>,
    progress: Arc<Mutex<Option<Arc<Progress>>>>,
    is_broken: bool,
}

fn run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, [1; 10])
}

impl Queue for OneImage {
    async fn ask(&self, _: &Sighting, _: Ask) -> Result<Work, Unavailable> {
        if self.is_broken {
            return Err(Unavailable("the state cannot be read: disk on fire".into()));
        }
        let file = File::open(&self.path).expect("the image");
        let meta = file.metadata().expect("its size");
        Ok(Work::Image(Image {
            run: run(),
            name: "x.efi".into(),
            kind: Kind::Efi,
            size: meta.len(),
            modified: meta.modified().expect("its time"),
            etag: "\"x\"".into(),
            file,
        }))
    }

    async fn begin(&self, _: RunId, _: u64, start: u64) -> Result<Option<Arc<Progress>>, Unavailable> {
        let progress = Arc::new(Progress::new(1, start));
        *self.progress.lock().expect("whole") = Some(Arc::clone(&progress));
        Ok(Some(progress))
    }

    async fn end(&self, _: RunId, _: &Progress, count: u64, end: End) -> Result<(), Unavailable> {
        self.ends.send((count, end)).expect("somebody listens");
        Ok(())
    }

    async fn spoiled(&self, _: RunId, _: &str) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn started(&self, _: &Sighting, _: &Told) -> Result<Result<RunId, NoRun>, Unavailable> {
        Ok(Ok(run()))
    }

    async fn reported(
        &self,
        _: &Sighting,
        _: &Told,
        _: Option<RunId>,
        _: Report,
    ) -> Result<Result<Accepted, NoRun>, Unavailable> {
        Ok(Err(NoRun::Nothing))
    }

    fn asked(&self, _: Asked) {}

    async fn page(&self) -> Result<String, Unavailable> {
        Ok("<html>".into())
    }

    async fn health(&self) -> Result<String, Unavailable> {
        Ok("{}".into())
    }
}

struct Server {
    address: SocketAddr,
    queue: OneImage,
    ends: UnboundedReceiver<(u64, End)>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn serve(size: usize, limits: Limits, is_broken: bool) -> Server {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("x.efi");
    std::fs::write(&path, vec![7; size]).expect("an image");
    let (sender, ends) = unbounded_channel();
    let queue = OneImage { path, ends: sender, progress: Arc::default(), is_broken };
    let listener = Listener::bind(Bind { address: Some([127, 0, 0, 1].into()), port: 0 }).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], listener.bound().port));
    let stop = CancellationToken::new();
    let boot = BootPath::new("/dispatch").expect("a path");
    let serving = listener.serve(queue.clone(), boot, || SystemTime::UNIX_EPOCH, limits, stop.clone());
    #[expect(clippy::disallowed_methods, reason = "the test joins it")]
    let served = tokio::spawn(serving);
    Server { address, queue, ends, stop, served, _folder: folder }
}

/// Sends bytes from a thread, and returns everything that comes until the connection is closed.
async fn talk(address: SocketAddr, bytes: &'static [u8]) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(bytes).expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    })
    .await
    .expect("a client")
}

const GET: &[u8] = b"GET /dispatch HTTP/1.1\r\n\r\n";
const CLOSE: &[u8] = b"GET /dispatch HTTP/1.1\r\nConnection: close\r\n\r\n";

/// Connects and asks, and then takes nothing.
async fn lazy(address: SocketAddr) -> TcpStream {
    lazy_with_buffer(address, 4 << 20).await
}

/// The same with room for only so many bytes that it does not take.
async fn lazy_with_buffer(address: SocketAddr, buffer: usize) -> TcpStream {
    lazy_with_request(address, buffer, GET).await.0
}

/// With another request, and what it has taken of the answer.
async fn lazy_with_request(
    address: SocketAddr,
    buffer: usize,
    request: &'static [u8],
) -> (TcpStream, [u8; 1000]) {
    tokio::task::spawn_blocking(move || {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(buffer).expect("a buffer");
        socket.connect(&address.into()).expect("a connection");
        let mut stream = TcpStream::from(socket);
        stream.write_all(request).expect("sent");
        let mut first = [0; 1000];
        stream.read_exact(&mut first).expect("the first bytes");
        (stream, first)
    })
    .await
    .expect("a client")
}

/// How much of the image is in the beginning of an answer.
fn image_bytes(beginning: &[u8]) -> usize {
    let head = beginning.windows(4).position(|end| end == b"\r\n\r\n").expect("a whole head");
    beginning.len() - head - 4
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_image_is_told_as_whole() {
    let mut server = serve(3_000_000, Limits::default(), false);
    let answer = talk(server.address, CLOSE).await;
    assert!(answer.ends_with(&[7; 1000]) && answer.len() > 3_000_000);
    assert_eq!(server.ends.recv().await, Some((3_000_000, End::Whole)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_told_as_a_part() {
    let mut server = serve(3_000_000, Limits::default(), false);
    let answer =
        talk(server.address, b"GET /dispatch HTTP/1.1\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with(b"HTTP/1.1 206 ") && answer.ends_with(&[7; 10]));
    assert_eq!(server.ends.recv().await, Some((10, End::Partial)));
}

/// What lies in our own socket's buffer has not arrived: a host that is switched off has not got it.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_only_our_own_side_has_taken_do_not_count_as_sent() {
    // Fits into the buffers of both sockets, so that handing it over takes no time, and not into one of them.
    let mut server =
        serve(1_500_000, Limits { stall: Duration::from_millis(700), ..Limits::default() }, false);
    let client = lazy_with_buffer(server.address, 100_000).await;
    let (count, end) = server.ends.recv().await.expect("an end");
    assert!(end == End::Broken && count < 1_500_000, "{count} {end:?}");
    drop(client);
}

/// Firmware resets its connection as soon as it has the last byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_right_after_the_last_byte_is_no_break() {
    for _ in 0..20 {
        let mut server = serve(300_000, Limits::default(), false);
        let (mut client, first) = lazy_with_request(server.address, 4 << 20, GET).await;
        let mut left = 300_000 - image_bytes(&first);
        tokio::task::spawn_blocking(move || {
            let mut rest = vec![0; 300_000];
            while left > 0 {
                let count = client.read(&mut rest).expect("bytes");
                assert_ne!(count, 0, "{left} are missing");
                left -= count;
            }
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a reset");
        })
        .await
        .expect("a client");
        let (count, end) = server.ends.recv().await.expect("an end");
        assert!(matches!(end, End::Whole | End::Unsure) && count == 300_000, "{count} {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_taking_bytes_is_dropped_at_its_limit() {
    let limits = Limits { stall: Duration::from_millis(600), ..Limits::default() };
    let mut server = serve(64 << 20, limits, false);
    let client = lazy(server.address).await;
    let (count, end) = server.ends.recv().await.expect("an end");
    assert!(end == End::Broken && count < 64 << 20, "{count} {end:?}");
    drop(client);
}

/// Half of one version and half of another would boot, and pass for an image that there never was.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_written_in_place_while_it_is_sent_is_never_whole() {
    const SIZE: usize = 64 << 20;
    let mut server = serve(SIZE, Limits::default(), false);
    let (mut client, first) = lazy_with_request(server.address, 4 << 20, GET).await;
    let path = server.queue.path.clone();
    let got = tokio::task::spawn_blocking(move || {
        let mut file = File::options().write(true).open(path).expect("the image");
        file.write_all(&vec![8; SIZE]).expect("written in place");
        drop(file);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        assert!(rest.contains(&8), "some of each version");
        image_bytes(&first) + rest.len()
    });
    let (count, end) = server.ends.recv().await.expect("an end");
    assert!(end == End::Broken && count < SIZE as u64, "{count} {end:?}");
    assert!(got.await.expect("a client") < SIZE, "the host has it all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_image_that_was_written_in_place_is_not_told_as_a_part() {
    let mut server = serve(64 << 20, Limits::default(), false);
    let range = b"GET /dispatch HTTP/1.1\r\nRange: bytes=0-67000000\r\n\r\n";
    let (mut client, _) = lazy_with_request(server.address, 4 << 20, range).await;
    std::fs::write(&server.queue.path, vec![8; 64 << 20]).expect("written");
    tokio::task::spawn_blocking(move || client.read_to_end(&mut Vec::new()));
    assert!(matches!(server.ends.recv().await, Some((_, End::Broken))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_whose_run_is_over_is_stopped() {
    let mut server = serve(64 << 20, Limits::default(), false);
    let client = lazy(server.address).await;
    server.queue.progress.lock().expect("whole").as_ref().expect("a transfer").stop(Stop::Over);
    assert!(matches!(server.ends.recv().await, Some((_, End::Broken))));
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_slow_clients_are_dropped_at_their_limits() {
    let limits = Limits {
        idle: Duration::from_millis(300),
        head: Duration::from_millis(300),
        silence: Duration::from_millis(300),
        linger: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = serve(10, limits, false);
    assert_eq!(talk(server.address, b"").await, b"", "nothing was asked");
    let slow_head = talk(server.address, b"GET /disp").await;
    assert!(slow_head.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&slow_head));
    let slow_body = talk(server.address, b"PUT /dispatch HTTP/1.1\r\nContent-Length: 100\r\n\r\n{").await;
    assert!(slow_body.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&slow_body));
    let kept = talk(server.address, b"POST /dispatch HTTP/1.1\r\n\r\n").await;
    assert!(kept.starts_with(b"HTTP/1.1 200 "), "answered, then closed when nothing more came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_cannot_answer_is_told_as_503_with_its_reason() {
    let server = serve(10, Limits::default(), true);
    let answer = String::from_utf8(talk(server.address, CLOSE).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("disk on fire"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_a_word_before_its_body_gets_it() {
    let server = serve(10, Limits::default(), false);
    let request =
        b"PUT /dispatch HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 13\r\nConnection: close\r\n\r\n\
                    {\"title\":\"t\"}";
    let answer = String::from_utf8(talk(server.address, request).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 417 "), "{answer}");
}

/// Reads what comes until the connection is closed.
fn rest(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_in_chunks_takes_no_more_room_than_it_needs() {
    let server = serve(10, Limits::default(), false);
    let address = server.address;
    let slow = tokio::task::spawn_blocking(move || {
        let begin = || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream
                .write_all(b"PUT /dispatch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7a0000\r\n")
                .expect("sent");
            stream.write_all(&vec![b' '; 20 << 10]).expect("sent");
            stream
        };
        (0..6).map(|_| begin()).collect::<Vec<_>>()
    });
    let slow = slow.await.expect("six that have begun");
    let report = vec![b' '; 1 << 20];
    let mut request =
        b"PUT /dispatch HTTP/1.1\r\nContent-Length: 1048576\r\nConnection: close\r\n\r\n".to_vec();
    request.extend(report);
    let answer = talk(server.address, request.leak()).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "it is read: {}", String::from_utf8_lossy(&answer));
    drop(slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_reports_that_stop_arriving_take_no_more_memory_than_there_is_for_them() {
    const CLIENTS: usize = 12;
    /// Of seven million bytes or more.
    const ROOM: usize = 4;
    // On a busy machine it takes a while until all have heard why they are refused.
    let server = serve(10, Limits { linger: Duration::from_mins(1), ..Limits::default() }, false);
    let address = server.address;
    for body in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        let (sender, answers) = std::sync::mpsc::channel();
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            let stream = TcpStream::connect(address).expect("a connection");
            streams.push(stream.try_clone().expect("another handle"));
            let sender = sender.clone();
            std::thread::spawn(move || {
                let head = format!("PUT /dispatch HTTP/1.1\r\n{body}\r\n\r\n7a0000\r\n");
                (&stream).write_all(head.as_bytes()).expect("sent");
                // It may be refused before it has sent everything.
                let _ = (&stream).write_all(&vec![b' '; 7 << 20]);
                let _ = sender.send(rest(stream));
            });
        }
        let answers = tokio::task::spawn_blocking(move || {
            for _ in ROOM..CLIENTS {
                let answer = answers.recv_timeout(Duration::from_mins(1)).expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("send it again"), "{answer}");
            }
            answers
        });
        let answers = answers.await.expect("all but those that there is room for");
        let head = talk(address, b"HEAD /dispatch HTTP/1.1\r\nConnection: close\r\n\r\n");
        let head = tokio::time::timeout(Duration::from_secs(1), head).await;
        assert!(head.expect("an answer within a second").starts_with(b"HTTP/1.1 200 "));
        assert!(answers.try_recv().is_err(), "they still wait");
        let small = b"PUT /dispatch HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        assert!(talk(address, small).await.starts_with(b"HTTP/1.1 400 "), "a small one is taken");
        // Those that are held end, and leave their room to the next.
        for stream in &streams {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        drop(sender);
        let left = tokio::task::spawn_blocking(move || answers.iter().count());
        assert_eq!(left.await.expect("the last ones"), ROOM);
        drop(streams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_an_idle_one_makes_room() {
    let limits = Limits { connections: 2, linger: Duration::from_millis(100), ..Limits::default() };
    let server = serve(64 << 20, limits, false);
    let address = server.address;
    let busy = lazy(address).await;
    let health = b"GET /health HTTP/1.1\r\n\r\n";
    let (idle, _) = tokio::task::spawn_blocking(move || {
        let mut idle = TcpStream::connect(address).expect("a connection");
        idle.write_all(health).expect("sent");
        let mut first = [0; 12];
        idle.read_exact(&mut first).expect("an answer");
        (idle, first)
    })
    .await
    .expect("a client");
    let second_busy = lazy(address).await;
    let left = tokio::task::spawn_blocking(move || rest(idle));
    assert!(left.await.expect("a client").ends_with("{}"), "the idle one is closed");
    assert_eq!(talk(address, CLOSE).await, b"", "busy ones are not");
    drop((busy, second_busy));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_listener_is_not_held_up_by_a_download() {
    let server = serve(64 << 20, Limits::default(), false);
    let client = lazy(server.address).await;
    server.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.served).await;
    ended.expect("it ends in time").expect("in good order");
    server.queue.progress.lock().expect("whole").as_ref().expect("a transfer").stop(Stop::Over);
    drop(client);
}
