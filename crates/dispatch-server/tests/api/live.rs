//! Events as they happen: server-sent events and the WebSocket.

use std::time::Duration;

use dispatch_core::Event;
use dispatch_core::queue::{Change, Outcome};
use dispatch_core::run::Policy;
use dispatch_server::api::Serving;
use dispatch_store::{Focus, Store};
use dispatch_wire::api::Role;
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::contract::CONTRACT;
use crate::world::{Client, World, settings};

const EVENTS: &str = "/api/v1/events";

const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8001";

/// Something happens. Each has a number, by which a test knows it again.
async fn happens(store: &Store, numbers: std::ops::Range<u32>, job: Option<&str>) {
    happens_at_length(store, numbers, job, 1).await;
}

/// The same, and each takes `width` bytes to tell.
async fn happens_at_length(store: &Store, numbers: std::ops::Range<u32>, job: Option<&str>, width: usize) {
    let events = numbers.map(|number| {
        let mut event =
            json!({"at": "2026-01-02T03:04:05Z", "event": "cancelled", "reason": format!("{number:0>width$}")});
        if let Some(job) = job {
            event["job"] = json!({"id": job, "name": "a"});
        }
        let event: Event = serde_json::from_value(event).expect("an event");
        Change::Event(Box::new(event))
    });
    let changes: Vec<_> = events.collect();
    store
        .decide(Focus::default(), &Policy::default(), |_| Outcome { answer: (), changes: changes.clone() })
        .await
        .expect("committed");
}

/// A reader of server-sent events.
pub(crate) struct Reader {
    response: Response,
    text: String,
}

impl Reader {
    pub(crate) async fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let request = client.request(Method::GET, path);
        let request = match last {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next block up to its blank line; nothing at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block = self.text.drain(..end + 2).collect::<String>();
                return Some(block.trim_end().to_owned());
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event: its id and its data.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let block = self.block().await.expect("an event");
        let line = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("no {name} in {block}"))
        };
        let data: Value = serde_json::from_str(line("data: ")).expect("JSON");
        let wrongs = CONTRACT.check_json("/components/schemas/EventData", line("data: ").as_bytes());
        assert!(wrongs.is_empty(), "{wrongs:?}");
        assert_eq!(line("event: "), data["event"]);
        assert_eq!(line("id: "), data["seq"].to_string());
        (line("id: ").to_owned(), data)
    }

    async fn numbers(&mut self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let (_, data) = self.event().await;
            numbers.push(data["reason"].as_str().expect("a reason").parse().expect("a number"));
        }
        numbers
    }
}

#[tokio::test]
async fn a_reader_hears_what_happens_from_now_on() {
    let world = World::new().await;
    happens(&world.store, 0..3, None).await;
    let mut reader = Reader::open(&world.client(Role::Readonly).await, EVENTS, None).await;
    happens(&world.store, 3..5, None).await;
    assert_eq!(reader.numbers(2).await, [3, 4]);
}

#[tokio::test]
async fn nothing_is_missed_or_told_twice_over_a_reconnect() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    happens(&world.store, 0..250, None).await;
    let mut reader = Reader::open(&client, "/api/v1/events?after=0", None).await;
    assert_eq!(reader.numbers(120).await, (0..120).collect::<Vec<_>>());
    let (last, data) = reader.event().await;
    assert_eq!(data["reason"], "120");
    drop(reader);
    happens(&world.store, 250..300, None).await;
    let mut reader = Reader::open(&client, "/api/v1/events?after=0", Some(&last)).await;
    assert_eq!(reader.numbers(179).await, (121..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_hears_only_what_it_asked_for() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    happens(&world.store, 0..3, None).await;
    happens(&world.store, 3..5, Some(JOB)).await;
    let mut reader = Reader::open(&client, &format!("{EVENTS}?after=0&job={JOB}"), None).await;
    assert_eq!(reader.numbers(2).await, [3, 4]);
    let mut reader = Reader::open(&client, &format!("{EVENTS}?after=0&types=done"), None).await;
    world.clock.pass(Duration::from_secs(15));
    assert!(reader.block().await.expect("a sign of life").starts_with(':'), "nothing of that name happened");
}

#[tokio::test]
async fn a_place_that_cannot_be_one_is_refused() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    for bad in ["-1", "x", "1e3"] {
        let request = client.request(Method::GET, EVENTS).header("Last-Event-ID", bad);
        let reply = client.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "invalid-header"), "{bad}");
        let reply = client.get(&format!("{EVENTS}?after={bad}")).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "invalid-parameter"), "{bad}");
    }
}

#[tokio::test]
async fn whoever_is_signed_out_hears_no_more() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    let mut reader = Reader::open(&client, EVENTS, None).await;
    let nobody = dispatch_server::api::settings::Users::default();
    world.api.set_settings(dispatch_server::api::Settings { users: nobody, ..settings() });
    assert_eq!(reader.block().await, None);
}

#[tokio::test]
async fn streams_end_with_the_service() {
    let mut world = World::new().await;
    let client = world.client(Role::Readonly).await;
    let mut reader = Reader::open(&client, EVENTS, None).await;
    let mut socket = connect(&world, &client, None).await.expect("a WebSocket");
    world.stop.cancel();
    assert_eq!(reader.block().await, None);
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    world.serving.join_next().await.expect("it ends").expect("without a panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    const ALL: u32 = 4000;
    let dir = TempDir::new().expect("a folder");
    let store = Store::open(&dir.path().join("dispatch.db")).await.expect("a store");
    let serving = Serving { write_time: Some(Duration::from_secs(2)), ..Serving::default() };
    let world = World::over(store, settings(), serving).await;
    let client = world.client(Role::Readonly).await;
    happens_at_length(&world.store, 0..ALL, Some(JOB), 4000).await;
    let mut slow = TcpStream::connect(world.address).await.expect("connected");
    let cookie = client.cookie.as_deref().expect("a cookie");
    let head = format!("GET /api/v1/events?after=0 HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    slow.write_all(head.as_bytes()).await.expect("written");
    let mut quick = Reader::open(&client, "/api/v1/events?after=0", None).await;
    assert_eq!(quick.numbers(ALL as usize).await.last(), Some(&(ALL - 1)));
    // Nothing is read here. Writing fails once the server has closed the connection, and waits before that.
    let more = b"\r\n".repeat(32 * 1024);
    let mut written = 0;
    while slow.write_all(&more).await.is_ok() {
        written += 1;
        assert!(written < 10_000, "it goes on for ever");
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn connect(world: &World, client: &Client, origin: Option<&str>) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/api/v1/ws", world.address).into_client_request().expect("a request");
    if let Some(cookie) = &client.cookie {
        request.headers_mut().insert("cookie", cookie.parse().expect("a cookie"));
    }
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("an origin"));
    }
    let socket = TcpStream::connect(world.address).await.expect("connected");
    client_async(request, socket).await.map(|(socket, _)| socket)
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::Text(message.to_string().into())).await.expect("sent");
}

/// The next message, in the envelope that is described.
async fn hear(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.expect("a message").expect("a message") {
            Message::Text(text) => return serde_json::from_str(text.as_str()).expect("JSON"),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_hears_by_websocket_what_it_subscribed_to() {
    let world = World::new().await;
    let mut socket = connect(&world, &world.client(Role::Readonly).await, None).await.expect("a WebSocket");
    say(&mut socket, json!({"type": "ping", "payload": 1})).await;
    assert_eq!(hear(&mut socket).await, json!({"type": "pong", "payload": 1}));
    happens(&world.store, 0..1, Some(JOB)).await;
    say(&mut socket, json!({"type": "nonsense"})).await;
    assert_eq!(hear(&mut socket).await["type"], "error");
    say(&mut socket, json!({"type": "subscribe"})).await;
    assert_eq!(hear(&mut socket).await, json!({"type": "subscribed"}));
    happens(&world.store, 1..2, Some(JOB)).await;
    loop {
        let told = hear(&mut socket).await;
        assert_eq!(told["type"], "job_state");
        // The first may have been read only after the subscription.
        if told["payload"]["reason"] == "1" {
            assert_eq!(told["payload"]["job"]["id"], JOB);
            break;
        }
    }
}

#[tokio::test]
async fn another_sites_page_opens_no_websocket() {
    let world = World::new().await;
    let client = world.client(Role::Admin).await;
    let own = format!("http://{}", world.address);
    connect(&world, &client, Some(&own)).await.expect("our own page");
    for (client, origin, status) in
        [(&client, Some("http://evil.example"), 403), (&world.nobody(), None, 401)]
    {
        match connect(&world, client, origin).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("{other:?}"),
        }
    }
    let reply = client.get("/api/v1/ws").await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (426, "upgrade-required"));
}

/// A service with so many places for connections, and the cookie of somebody whose own connection is closed.
async fn with_places(places: usize) -> (World, Client, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let store = Store::open(&dir.path().join("dispatch.db")).await.expect("a store");
    let serving = Serving { most_connections: Some(places), ..Serving::default() };
    let world = World::over(store, settings(), serving).await;
    let mut client = world.client(Role::Readonly).await;
    let cookie = client.cookie.take();
    // Its connection goes with it.
    client = world.nobody();
    client.cookie = cookie;
    (world, client, dir)
}

#[tokio::test]
async fn a_websocket_counts_as_a_connection_for_as_long_as_it_is_there() {
    let (world, client, _dir) = with_places(1).await;
    let mut socket = connect(&world, &client, None).await.expect("a WebSocket");
    let other = world.nobody();
    let mut asking = std::pin::pin!(other.get("/health"));
    for number in 0..200 {
        tokio::select! {
            biased;
            _ = asking.as_mut() => panic!("there was a second connection"),
            () = say(&mut socket, json!({"type": "ping", "payload": number})) => {}
        }
        assert_eq!(hear(&mut socket).await["payload"], number);
    }
    drop(socket);
    assert_eq!(asking.await.status, 200);
}
