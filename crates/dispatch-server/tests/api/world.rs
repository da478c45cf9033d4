//! A server on loopback, and clients of it.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use dispatch_server::api::settings::{BasicUser, Limits, Users};
use dispatch_server::api::{Api, Serving, Settings};
use dispatch_server::clock::{Clock, Random};
use dispatch_server::engine::Engine;
use dispatch_store::Store;
use dispatch_wire::api::Role;
use jiff::Timestamp;
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::contract::{CONTRACT, media};

/// A clock that stands still until it is moved.
pub(crate) struct Hand(watch::Sender<Timestamp>);

impl Hand {
    /// Time passes.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now = now.checked_add(time).expect("a time"));
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut watch = self.0.subscribe();
            watch.wait_for(|now| *now >= at).await.expect("the clock is there");
        })
    }
}

/// Numbers that look random, never the same twice.
pub(crate) fn random() -> Random {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    Arc::new(|| {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let digest = Sha256::digest(count.to_be_bytes());
        digest[..10].try_into().expect("ten bytes")
    })
}

/// The user of each role has the role's name, and this behind it as password.
const PASSWORD: &str = "-secret";

/// A user.
pub(crate) fn user(name: &str, password: &str, role: Role) -> BasicUser {
    BasicUser { username: name.to_owned(), password: password.into(), role }
}

/// The users of most tests, hashed once.
pub(crate) static USERS: LazyLock<Users> = LazyLock::new(|| {
    let users = Role::ALL.map(|role| user(role.as_str(), &format!("{role}{PASSWORD}"), role));
    Users::load(&users, &random()).expect("users")
});

/// Settings with the usual users, and no limit that a test could reach by accident.
pub(crate) fn settings() -> Settings {
    let many = NonZeroU32::new(100_000).expect("a number");
    let limits = Limits { is_enabled: false, sign_in: many, public: many, authenticated: many };
    Settings { users: USERS.clone(), limits, ..Settings::default() }
}

/// A server, which ends with its test.
pub(crate) struct World {
    pub(crate) api: Api,
    pub(crate) clock: Arc<Hand>,
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinSet<()>,
    /// Where the store is, if it is ours.
    dir: Option<TempDir>,
}

impl World {
    /// A server over an SQLite database of its own.
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    /// The same, with other settings.
    pub(crate) async fn with(settings: Settings) -> Self {
        let dir = TempDir::new().expect("a folder");
        let store = Store::open(&dir.path().join("dispatch.db")).await.expect("a store");
        let mut world = Self::over(store, settings, Serving::default()).await;
        world.dir = Some(dir);
        world
    }

    /// A server over any store.
    pub(crate) async fn over(store: Store, settings: Settings, serving: Serving) -> Self {
        let start: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let clock = Arc::new(Hand(watch::Sender::new(start)));
        let engine = Engine::without_sources(
            store.clone(),
            Arc::default(),
            Arc::clone(&clock) as _,
            random(),
            "a test",
        );
        let api = Api::new(engine, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(api.clone().serve(listener, serving, stop.clone()));
        Self { api, clock, store, address, stop, serving: tasks, dir: None }
    }

    /// Somebody who is not signed in.
    pub(crate) fn nobody(&self) -> Client {
        // reqwest is built without a provider of its own.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Client { http, base: format!("http://{}", self.address), cookie: None }
    }

    /// Somebody who is signed in, with that role.
    pub(crate) async fn client(&self, role: Role) -> Client {
        let mut client = self.nobody();
        let reply = client.sign_in(role.as_str(), &format!("{role}{PASSWORD}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        client
    }
}

/// A client that holds every answer against the document.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    pub(crate) cookie: Option<String>,
}

/// An answer, which is as it is described.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The end of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let kind = self.json()["type"].as_str().expect("a problem").to_owned();
        kind.strip_prefix("/problems/").expect("a reference").to_owned()
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

impl Client {
    /// A request that is still to be sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }

    /// Sends it. Panics where the answer is not as it is described.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Reply {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let is_endless = media(&headers) == "text/event-stream";
        let body = if is_endless { Bytes::new() } else { response.bytes().await.expect("a body") };
        let wrongs = CONTRACT.check(&method, &path, status, &headers, &body);
        assert!(
            wrongs.is_empty(),
            "{method} {path} {status}: {wrongs:#?}\n{}",
            String::from_utf8_lossy(&body)
        );
        Reply { status, headers, body }
    }

    /// The answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(self.request(Method::GET, path)).await
    }

    /// The answer to a request with JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.send(self.request(method, path).json(body)).await
    }

    /// Signs in, and keeps the cookie.
    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Reply {
        let body = json!({ "username": name, "password": password });
        let reply = self.json(Method::POST, "/api/v1/auth/login", &body).await;
        let cookie = reply.header(SET_COOKIE.as_str()).split(';').next().unwrap_or_default();
        self.cookie = Some(cookie.to_owned()).filter(|cookie| !cookie.is_empty());
        reply
    }
}
