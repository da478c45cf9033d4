//! What happens on the wire: requests come in, trouble meets them, answers go out. What a request does is decided by
//! `api` and `objects`.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use futures_util::stream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;

use super::access;
use super::api::{self, Answer, Ask, Payload};
use super::content::{CHUNK, Content};
use super::log::Request;
use super::model::Model;
use super::objects::{self, Odd};
use super::trouble::{Fault, Host, Trouble};
use super::web;
use super::wire::{Cut, Link};

/// The longest body that is read.
const LONGEST_BODY: usize = 32 << 20;

/// What GitHub Enterprise puts before each path of its API.
const ENTERPRISE: &str = "/api/v3";

/// What the three hosts have in common.
pub(super) struct Shared {
    model: Mutex<Model>,
    /// Somebody waits for something to be so, in a thread…
    pub(super) changed: Condvar,
    /// … or in a task.
    pub(super) noticed: Notify,
    /// Counts up when those that are held may go on.
    pub(super) gate: watch::Sender<u64>,
    pub(super) tasks: Mutex<JoinSet<()>>,
    pub(super) objects: String,
    pub(super) elsewhere: String,
}

impl Shared {
    pub(super) fn new(objects: String, elsewhere: String) -> Self {
        Self {
            model: Mutex::default(),
            changed: Condvar::new(),
            noticed: Notify::new(),
            gate: watch::Sender::new(0),
            tasks: Mutex::default(),
            objects,
            elsewhere,
        }
    }

    /// The model, also after a test that panicked with it in hand.
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the model and tells those who wait.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let result = change(&mut self.model());
        self.changed.notify_all();
        self.noticed.notify_waiters();
        result
    }

    fn entry(&self, place: usize, change: impl FnOnce(&mut Request)) {
        self.change(|model| model.requests.get_mut(place).map(change));
    }
}

/// One of the hosts.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    pub(super) host: Host,
    pub(super) address: String,
}

/// An answer on its way out.
struct Reply {
    answer: Answer,
    place: usize,
    fault: Option<Fault>,
}

/// Answers a request. It is carried out in a task of its own: GitHub does what it was asked, also for a client that
/// has gone away.
pub(super) async fn handle(
    State(seat): State<Seat>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: HttpRequest,
) -> Response<Body> {
    let method = request.method().to_string();
    let is_through_proxy = request.uri().authority().is_some();
    let query_text = request.uri().query().unwrap_or_default().to_owned();
    let Ok(ask) = read(&seat, request).await else {
        // Its body broke off: it never arrived.
        return std::future::pending().await;
    };
    let (sender, receiver) = oneshot::channel();
    let work =
        Work { seat: seat.clone(), ask, method, query_text, is_through_proxy, link: link.clone(), sender };
    {
        let mut tasks = seat.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work.run());
    }
    match receiver.await {
        Ok(reply) => respond(&seat.shared, reply, &link),
        // The connection is broken, and this ends with it.
        Err(_) => std::future::pending().await,
    }
}

async fn read(seat: &Seat, request: HttpRequest) -> Result<Ask, axum::Error> {
    let (parts, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<(String, String)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let host = headers.iter().find(|(name, _)| name == "host").map_or(&seat.address, |(_, host)| host);
    let web = format!("http://{host}");
    let path = parts.uri.path();
    let behind = path.strip_prefix(ENTERPRISE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    Ok(Ask {
        // A HEAD is a GET of which the connection keeps the body back.
        method: if parts.method == "HEAD" { "GET".to_owned() } else { parts.method.to_string() },
        path: behind.unwrap_or(path).to_owned(),
        query: url::form_urlencoded::parse(query).into_owned().collect(),
        body: to_bytes(body, LONGEST_BODY).await?.to_vec(),
        api: if behind.is_some() { format!("{web}{ENTERPRISE}") } else { web.clone() },
        web,
        objects: seat.shared.objects.clone(),
        headers,
    })
}

/// A request that is carried out.
struct Work {
    seat: Seat,
    ask: Ask,
    method: String,
    query_text: String,
    is_through_proxy: bool,
    link: Link,
    sender: oneshot::Sender<Reply>,
}

/// Says so if the fake itself panics: a test must not take that for trouble of its own making.
struct Sentinel(Arc<Shared>);

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.change(|model| model.violations.push("the fake GitHub panicked; see above".to_owned()));
        }
    }
}

impl Work {
    async fn run(self) {
        let shared = Arc::clone(&self.seat.shared);
        let _sentinel = Sentinel(Arc::clone(&shared));
        let (place, fault) = self.arrive();
        match &fault {
            Some(Fault::Delay(pause)) => tokio::time::sleep(*pause).await,
            Some(Fault::Hold) => hold(&shared, place).await,
            Some(Fault::DropBefore) => return self.break_off(place),
            Some(Fault::ApplyLate(pause)) => {
                self.link.0.now();
                tokio::time::sleep(*pause).await;
                self.apply(place, fault.as_ref());
                return shared.entry(place, |entry| entry.is_over = true);
            }
            _ => {}
        }
        let mut answer = self.apply(place, fault.as_ref());
        match &fault {
            Some(Fault::DropAfter) => return self.break_off(place),
            Some(Fault::HoldAfter) => hold(&shared, place).await,
            Some(Fault::StatusAfter(status)) => answer = failure(self.seat.host, *status),
            _ => {}
        }
        if self.sender.send(Reply { answer, place, fault }).is_err() {
            shared.entry(place, |entry| entry.is_over = true);
        }
    }

    /// Writes it into the log, and looks whether trouble is meant for it.
    fn arrive(&self) -> (usize, Option<Fault>) {
        let Self { ask, seat, .. } = self;
        seat.shared.change(|model| {
            let strikes = |trouble: &mut Trouble| trouble.strikes(seat.host, &self.method, &ask.path);
            let fault =
                model.troubles.iter_mut().find_map(|trouble| strikes(trouble).then(|| trouble.fault.clone()));
            model.troubles.retain(|trouble| !trouble.is_over());
            let has_authorization = ask.header("authorization").is_some();
            let signed_in = access::sign_in(model, ask.header("authorization"));
            if is_leaked(model, seat.host, ask) {
                let words = "a token where none may be";
                model.violations.push(format!("{} {} to {:?}: {words}", self.method, ask.path, seat.host));
            }
            model.requests.push(Request {
                at: model.now(),
                host: seat.host,
                method: self.method.clone(),
                path: ask.path.clone(),
                query: self.query_text.clone(),
                headers: ask.headers.iter().map(|(name, _)| name.clone()).collect(),
                has_authorization,
                by: signed_in.ok().and_then(|signed_in| signed_in.caller.login()),
                range: ask.header("range").map(str::to_owned),
                is_conditional: ask.header("if-none-match").is_some(),
                is_through_proxy: self.is_through_proxy,
                body_len: ask.body.len() as u64,
                is_applied: false,
                is_held: false,
                status: None,
                bytes_sent: 0,
                is_over: false,
                trouble: fault.clone(),
            });
            (model.requests.len() - 1, fault)
        })
    }

    fn break_off(&self, place: usize) {
        self.link.0.now();
        self.seat.shared.entry(place, |entry| entry.is_over = true);
    }

    /// Does what is asked, or what the trouble says instead.
    fn apply(&self, place: usize, fault: Option<&Fault>) -> Answer {
        self.seat.shared.change(|model| {
            let instead = fault.and_then(|fault| instead(model, &self.seat, &self.ask, fault));
            if let Some(answer) = instead {
                return answer;
            }
            if let Some(entry) = model.requests.get_mut(place) {
                entry.is_applied = true;
            }
            let odd = Odd {
                ignores_range: fault == Some(&Fault::IgnoreRange),
                changes_etag: fault == Some(&Fault::NewEtag),
            };
            match self.seat.host {
                Host::Objects | Host::Elsewhere => objects::answer(model, &self.ask, odd),
                Host::Api => self.ask_api(model, fault),
            }
        })
    }

    fn ask_api(&self, model: &mut Model, fault: Option<&Fault>) -> Answer {
        if let Some(page) = web::page(model, &self.ask) {
            return page;
        }
        if fault != Some(&Fault::Elsewhere) {
            return api::answer(model, &self.ask, None);
        }
        let elsewhere = &self.seat.shared.elsewhere;
        let ask = Ask { objects: elsewhere.clone(), ..self.ask.clone() };
        let answer = api::answer(model, &ask, None);
        if answer.status == 302 { answer } else { redirect(302, elsewhere, &self.ask) }
    }
}

/// Texts that are shorter are no tokens to look for: `o` is in everything.
const SHORTEST_TOKEN: usize = 8;

/// Whether a request carries a token to a host that must not have it, or where others can read it.
fn is_leaked(model: &Model, host: Host, ask: &Ask) -> bool {
    let tokens = model.tokens.iter().filter(|token| token.text.len() >= SHORTEST_TOKEN);
    let known = |text: &str| tokens.clone().any(|token| text.contains(&token.text));
    let carries = |(name, value): &(String, String)| {
        if name == "authorization" { host != Host::Api } else { known(value) }
    };
    ask.headers.iter().any(carries) || ask.query.iter().any(|(_, value)| known(value)) || known(&ask.path)
}

fn redirect(status: u16, to: &str, ask: &Ask) -> Answer {
    Answer::fail(status, "Moved").with("location", &format!("{to}{}", ask.path))
}

/// What is answered instead of doing anything.
fn instead(model: &mut Model, seat: &Seat, ask: &Ask, fault: &Fault) -> Option<Answer> {
    let status = match fault {
        Fault::Status(status) => return Some(failure(seat.host, *status)),
        Fault::Unauthorized => 401,
        Fault::NotFound => 404,
        Fault::SecondaryLimit(_) => 403,
        Fault::TooMany(_) => 429,
        Fault::PrimaryLimit(seconds) => {
            let caller = access::sign_in(model, ask.header("authorization")).ok();
            let who = caller.map(|signed_in| signed_in.caller.bucket()).unwrap_or_default();
            let now = model.now();
            let life = jiff::SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(i64::MAX));
            model.limits.exhaust(&who, now.saturating_add(life).unwrap_or(now));
            // From now on it is as the model says.
            return None;
        }
        Fault::Elsewhere if ask.method != "GET" => return Some(redirect(307, &seat.shared.elsewhere, ask)),
        _ => return None,
    };
    if seat.host != Host::Api {
        return Some(objects::trouble(status));
    }
    let words = match status {
        401 => "Bad credentials",
        404 => "Not Found",
        _ => {
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. If you reach \
             out to GitHub Support for help, please include the request ID."
        }
    };
    let forced = Answer::fail(status, words);
    let forced = match fault {
        Fault::SecondaryLimit(Some(seconds)) | Fault::TooMany(Some(seconds)) => {
            forced.with("retry-after", &seconds.to_string())
        }
        _ => forced,
    };
    Some(api::answer(model, ask, Some(forced)))
}

/// A failure of GitHub's; those of the machines before it are pages.
fn failure(host: Host, status: u16) -> Answer {
    match (host, status) {
        (Host::Api, 502 | 504) => {
            let page =
                "<html><body><h1>Unicorn!</h1><p>This page is taking too long to load.</p></body></html>";
            Answer::new(status, Payload::Text("text/html; charset=utf-8", page.to_owned()))
        }
        (Host::Api, _) => Answer::fail(status, "Server Error"),
        _ => objects::trouble(status),
    }
}

async fn hold(shared: &Shared, place: usize) {
    let mut gate = shared.gate.subscribe();
    gate.mark_unchanged();
    shared.entry(place, |entry| entry.is_held = true);
    let _ = gate.changed().await;
    shared.entry(place, |entry| entry.is_held = false);
}

/// Marks a request as over when its answer is gone, or will not go.
struct Sending {
    shared: Arc<Shared>,
    place: usize,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.shared.entry(self.place, |entry| entry.is_over = true);
    }
}

/// A body as it goes out.
struct Outgoing {
    sending: Sending,
    content: Content,
    next: u64,
    end: u64,
    chunk: u64,
    pause: Option<Duration>,
    /// Where a byte is another.
    wrong: Option<u64>,
    /// Where it stops, and whether the connection breaks there.
    stop: Option<(u64, bool)>,
    cut: Arc<Cut>,
}

impl Outgoing {
    async fn step(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.next >= self.end {
            return None;
        }
        let limit = self.stop.map_or(self.end, |(at, _)| at.min(self.end));
        if self.next >= limit {
            if self.stop.is_some_and(|(_, breaks)| breaks) {
                self.cut.when_sent();
            }
            // Nothing more comes; what was given is still sent.
            return std::future::pending().await;
        }
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        let bytes = match self.content.read(self.next, self.chunk.min(limit - self.next)) {
            Ok(bytes) if bytes.is_empty() => return Some((Err(io::ErrorKind::UnexpectedEof.into()), self)),
            Ok(bytes) => bytes,
            Err(error) => return Some((Err(error), self)),
        };
        let range = self.next..self.next + bytes.len() as u64;
        let bytes = match self.wrong.filter(|wrong| range.contains(wrong)) {
            Some(wrong) => {
                let mut bytes = bytes.to_vec();
                if let Some(byte) =
                    usize::try_from(wrong - range.start).ok().and_then(|place| bytes.get_mut(place))
                {
                    *byte ^= 0xff;
                }
                bytes.into()
            }
            None => bytes,
        };
        self.next = range.end;
        let sent = bytes.len() as u64;
        self.sending.shared.entry(self.sending.place, |entry| entry.bytes_sent += sent);
        Some((Ok(bytes), self))
    }
}

fn respond(shared: &Arc<Shared>, reply: Reply, link: &Link) -> Response<Body> {
    let Reply { answer, place, fault } = reply;
    let now = shared.change(|model| {
        if let Some(entry) = model.requests.get_mut(place) {
            entry.status = Some(answer.status);
        }
        model.now()
    });
    let (kind, content, from, mut len) = match answer.payload {
        Payload::None => (None, Content::from(""), 0, 0),
        Payload::Json(value) => of(Some("application/json; charset=utf-8"), value.to_string()),
        Payload::Text(kind, text) => of(Some(kind), text),
        Payload::Part { content, from, len } => (None, content, from, len),
    };
    if let Some(Fault::Truncate(by)) = fault {
        len = len.saturating_sub(by);
    }
    let stop = match fault {
        Some(Fault::DropBody(at)) => Some((from + at, true)),
        Some(Fault::StallBody(at)) => Some((from + at, false)),
        _ => None,
    };
    let (chunk, pause) = match fault {
        Some(Fault::SlowBody { chunk, pause }) => (chunk.max(1), Some(pause)),
        _ => (CHUNK, None),
    };
    let wrong = (fault == Some(Fault::WrongBytes)).then_some(from + len / 2);
    let sending = Sending { shared: Arc::clone(shared), place };
    let has_body = answer.status != 204 && answer.status != 304;
    let end = from + len;
    let outgoing =
        Outgoing { sending, content, next: from, end, chunk, pause, wrong, stop, cut: Arc::clone(&link.0) };
    let body = Body::from_stream(stream::unfold(outgoing, Outgoing::step));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut put = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().append(name, value);
        }
    };
    put("date", &now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    put("server", "github.com");
    put("x-github-request-id", &format!("FAKE:{place:04X}"));
    put("x-github-media-type", "github.v3; format=json");
    if let Some(kind) = kind {
        put("content-type", kind);
    }
    if has_body {
        put("content-length", &len.to_string());
    }
    for (name, value) in &answer.headers {
        put(name, value);
    }
    response
}

fn of(kind: Option<&'static str>, text: String) -> (Option<&'static str>, Content, u64, u64) {
    let len = text.len() as u64;
    (kind, Content::Bytes(text.into()), 0, len)
}
