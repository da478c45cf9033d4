//! One client: reads requests, has them answered, sends the answers. Every wait has a deadline.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use dispatch_core::Sighting;
use dispatch_core::run::End;
use dispatch_wire::boot::MAX_REPORT_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::clients::Client;
use crate::http::chunked::{Chunked, Decoder};
use crate::http::request::{BadRequest, BodyLength, Head, MAX_HEAD};
use crate::http::response::Response;
use crate::listener::Shared;
use crate::protocol::{self, Answer, FileAnswer, sentence};
use crate::queue::{self, Asked, Queue};
use crate::route::Route;
use crate::transfer::{self, Broke, Sent, Version};

/// The longest body that is read only to be thrown away.
const MAX_IGNORED_BODY: u64 = 64 * 1024;

/// The longest body that is always taken; a larger one needs room in the memory that all have in common.
const SMALL_BODY: u64 = 16 * 1024;

/// How much of a body is read at once, at most.
const MAX_READ: usize = 64 * 1024;

pub(crate) struct Connection<Q> {
    shared: Arc<Shared<Q>>,
    stream: TcpStream,
    peer: SocketAddr,
    client: Arc<Client>,
    buffer: Vec<u8>,
}

/// Room for one body.
struct Room<'a> {
    all: &'a Semaphore,
    taken: Option<SemaphorePermit<'a>>,
}

impl Room<'_> {
    /// Takes room for so many bytes in all. Waiting for it would let a few slow clients hold up all others.
    fn take(&mut self, bytes: u64) -> Result<(), Stop> {
        let has = self.taken.as_ref().map_or(0, SemaphorePermit::num_permits) as u64;
        if bytes <= SMALL_BODY.max(has) {
            return Ok(());
        }
        let more = u32::try_from(bytes - has).ok().and_then(|more| self.all.try_acquire_many(more).ok());
        let full = || Stop::Refuse(sentence(503, "too many large reports are arriving; send it again"));
        let more = more.ok_or_else(full)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

/// Why a connection ends.
enum Stop {
    /// In good order, or because the other side is gone.
    Close,
    /// With a last word.
    Refuse(Answer),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Close
    }
}

impl From<BadRequest> for Stop {
    fn from(bad: BadRequest) -> Self {
        Self::Refuse(sentence(bad.status(), &bad.to_string()))
    }
}

impl<Q: Queue> Connection<Q> {
    pub(crate) fn new(
        shared: Arc<Shared<Q>>,
        stream: TcpStream,
        peer: SocketAddr,
        client: Arc<Client>,
    ) -> Self {
        Self { shared, stream, peer, client, buffer: Vec::with_capacity(1024) }
    }

    /// Serves the client until one side has had enough.
    pub(crate) async fn run(mut self) {
        loop {
            match self.exchange().await {
                Ok(true) => {}
                Ok(false) | Err(Stop::Close) => break,
                Err(Stop::Refuse(answer)) => {
                    let who = self.who(&Route::Unknown).await;
                    self.note(who, None, &answer);
                    if let Answer::Small(response, body, _) = answer {
                        let _ = self.send_small(&response, &body, false, false).await;
                    }
                    break;
                }
            }
        }
        self.linger().await;
    }

    /// One request and its answer. Returns whether the connection stays open.
    async fn exchange(&mut self) -> Result<bool, Stop> {
        let Some(head) = self.read_head().await? else { return Ok(false) };
        let route = self.shared.path.route(&head.target);
        let takes_report = protocol::takes_report(&route, &head);
        let limit = if takes_report { MAX_REPORT_BYTES } else { MAX_IGNORED_BODY };
        let shared = Arc::clone(&self.shared);
        // Held until the body has become an answer.
        let mut room = Room { all: &shared.bodies, taken: None };
        let body = self.read_body(&head, limit, &mut room).await?;
        let who = self.who(&route).await;
        // Held until the answer has been sent. Without a place nothing is begun: a host that asks again finds one.
        let place = protocol::may_download(&route, &head).then(|| shared.downloads.try_acquire());
        let answer = if let Some(Err(_)) = place {
            sentence(503, "too many downloads are going on; ask again")
        } else {
            protocol::answer(&shared.queue, &shared.programs, &who, &route, &head, &body).await
        };
        drop((body, room));
        let (is_head, keep_alive) = (head.method == "HEAD", head.keep_alive);
        self.note(who, Some(head), &answer);
        match answer {
            Answer::Small(response, body, _) => {
                drop(place);
                self.send_small(&response, &body, is_head, keep_alive).await?;
                Ok(keep_alive)
            }
            Answer::File(file) => {
                let is_whole = self.send_file(*file, keep_alive).await;
                drop(place);
                Ok(is_whole && keep_alive)
            }
        }
    }

    /// Tells the queue what was asked and answered.
    fn note(&self, who: Sighting, head: Option<Head>, answer: &Answer) {
        let (status, answer) = answer.told();
        let (method, target, agent) =
            head.map_or_else(Default::default, |head| (head.method, head.target, head.agent));
        let at = (self.shared.now)();
        self.shared.queue.asked(Asked { at, who, agent, method, target, status, answer });
    }

    async fn who(&self, route: &Route) -> Sighting {
        let address = self.peer.ip().to_canonical();
        let name = if let Route::Boot(name) = route { name.clone() } else { None };
        Sighting { address, mac: self.shared.neighbours.mac_of(address).await, name }
    }

    async fn read_head(&mut self) -> Result<Option<Head>, Stop> {
        if self.buffer.is_empty() {
            self.client.set_idle(true);
            let first = tokio::select! {
                biased;
                first = timeout(self.shared.limits.idle, self.stream.read_buf(&mut self.buffer)) => first,
                () = self.client.is_to_leave() => return Ok(None),
            };
            self.client.set_idle(false);
            match first {
                Ok(Ok(0)) | Err(_) => return Ok(None),
                Ok(result) => result?,
            };
        }
        let read = async {
            loop {
                // Some clients put an empty line before a request (RFC 9112 §2.2).
                let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                self.buffer.drain(..blank);
                if let Some((head, length)) = Head::parse(&self.buffer)? {
                    self.buffer.drain(..length);
                    return Ok(Some(head));
                }
                self.buffer.reserve(MAX_HEAD / 4);
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Ok(None);
                }
            }
        };
        match timeout(self.shared.limits.head, read).await {
            Ok(result) => result,
            Err(_) => Err(Stop::Refuse(sentence(408, "the request took too long to arrive"))),
        }
    }

    async fn read_body(&mut self, head: &Head, limit: u64, room: &mut Room<'_>) -> Result<Vec<u8>, Stop> {
        if let BodyLength::Exact(length) = head.body {
            if length > limit {
                return Err(too_large(limit));
            }
            room.take(length)?;
        }
        if head.expects_continue && head.body != BodyLength::Exact(0) && !head.is_http_1_0 {
            timeout(self.shared.limits.write, self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"))
                .await
                .map_err(|_| Stop::Close)??;
        }
        let limit_of_time = self.shared.limits.body;
        let read = async {
            match head.body {
                BodyLength::Exact(0) => Ok(Vec::new()),
                BodyLength::Exact(length) => self.read_exact(length).await,
                BodyLength::Chunked => self.read_chunked(limit, room).await,
            }
        };
        match timeout(limit_of_time, read).await {
            Ok(result) => result,
            Err(_) => Err(Stop::Refuse(sentence(408, "the body took too long to arrive"))),
        }
    }

    async fn read_exact(&mut self, length: u64) -> Result<Vec<u8>, Stop> {
        let length = usize::try_from(length).map_err(|_| Stop::Close)?;
        let mut body = std::mem::take(&mut self.buffer);
        while body.len() < length {
            let rest = length - body.len();
            self.read_more(&mut body, rest.min(MAX_READ)).await?;
        }
        self.buffer = body.split_off(length);
        Ok(body)
    }

    async fn read_chunked(&mut self, limit: u64, room: &mut Room<'_>) -> Result<Vec<u8>, Stop> {
        let mut read = 0;
        let mut decoder = Decoder::new(limit);
        let mut bytes = std::mem::take(&mut self.buffer);
        loop {
            match decoder.feed(&bytes) {
                (Chunked::More, _) => {
                    read += bytes.len() as u64;
                    // How long it will be is not known; what is between its chunks is not kept.
                    room.take(read.min(limit))?;
                    bytes.clear();
                    self.read_more(&mut bytes, MAX_READ).await?;
                }
                (Chunked::Done, used) => {
                    self.buffer = bytes.split_off(used);
                    return Ok(decoder.into_body());
                }
                (Chunked::TooLong, _) => return Err(too_large(limit)),
                (Chunked::Bad, _) => return Err(BadRequest::Length.into()),
            }
        }
    }

    async fn read_more(&mut self, into: &mut Vec<u8>, room: usize) -> Result<(), Stop> {
        into.reserve(room);
        match timeout(self.shared.limits.silence, self.stream.read_buf(into)).await {
            Ok(Ok(0)) => Err(Stop::Close),
            Ok(result) => Ok(result.map(drop)?),
            Err(_) => Err(Stop::Refuse(sentence(408, "the body stopped arriving"))),
        }
    }

    async fn send_small(
        &mut self,
        response: &Response,
        body: &[u8],
        is_head: bool,
        keep_alive: bool,
    ) -> Result<(), Stop> {
        let mut bytes = response.head(keep_alive, (self.shared.now)()).into_bytes();
        if !is_head {
            bytes.extend_from_slice(body);
        }
        for piece in bytes.chunks(64 * 1024) {
            timeout(self.shared.limits.write, self.stream.write_all(piece))
                .await
                .map_err(|_| Stop::Close)??;
        }
        Ok(())
    }

    /// Sends a part of an image and tells the queue how it ended. Returns whether it was sent as promised.
    async fn send_file(&mut self, answer: FileAnswer, keep_alive: bool) -> bool {
        let FileAnswer { response, image, progress, start, length } = answer;
        let head = response.head(keep_alive, (self.shared.now)()).into_bytes();
        let sent = match timeout(self.shared.limits.write, self.stream.write_all(&head)).await {
            Ok(Ok(())) => {
                let version = Version { size: image.size, modified: image.modified };
                self.send_body(image.file, version, start, length, &progress).await
            }
            _ => None,
        };
        let nothing = Sent { count: 0, is_unsure: false, broke: Some(Broke::Head) };
        let Sent { count, is_unsure, broke } = sent.unwrap_or(nothing);
        if let Some(broke) = &broke {
            let (sent, size) =
                (dispatch_core::text::bytes(start + count), dispatch_core::text::bytes(image.size));
            tracing::warn!("{} to {} broke off after {sent} of {size}: {broke}", image.name, self.peer.ip());
        }
        let reaches_end = start + length == image.size;
        if let Some(why @ Broke::Spoiled) = &broke
            && reaches_end
            // First of all: the host may boot it.
            && let Err(error) = self.shared.queue.spoiled(image.run, &why.to_string()).await
        {
            tracing::error!("it could not be noted that {} was changed: {error}", image.name);
        }
        let end = match &broke {
            None if reaches_end => End::Whole,
            None => End::Partial,
            Some(_) if is_unsure && reaches_end => End::Unsure,
            Some(Broke::Stopped(queue::Stop::WeEnd)) => End::Cut,
            Some(_) => End::Broken,
        };
        if let Err(error) = self.shared.queue.end(image.run, &progress, count, end).await {
            // The run stays as it is; its deadline, or a restart, brings it on.
            tracing::error!("the end of a transfer could not be noted: {error}");
        }
        broke.is_none()
    }

    /// The thread that sends has a descriptor of its own, so that this future can be dropped at any time.
    async fn send_body(
        &self,
        file: std::fs::File,
        version: Version,
        start: u64,
        length: u64,
        progress: &Arc<queue::Progress>,
    ) -> Option<Sent> {
        let socket = self.stream.as_fd().try_clone_to_owned().ok()?;
        let (progress, stall) = (Arc::clone(progress), self.shared.limits.stall);
        tokio::task::spawn_blocking(move || {
            transfer::send_file(socket.as_fd(), &file, version, start, length, &progress, stall)
        })
        .await
        .ok()
    }

    /// Closes so that the last answer is read: a socket closed over unread bytes is reset, and takes the answer
    /// with it (RFC 9112 §9.6).
    async fn linger(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            let mut scratch = vec![0; 64 * 1024];
            while matches!(self.stream.read(&mut scratch).await, Ok(count) if count > 0) {}
        };
        let _ = timeout(self.shared.limits.linger, drain).await;
    }
}

fn too_large(limit: u64) -> Stop {
    let limit = dispatch_core::text::bytes(limit);
    Stop::Refuse(sentence(413, &format!("the body is larger than the {limit} that are taken")))
}
