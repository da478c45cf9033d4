//! A service with a configuration of its own, for each test, and a client of its API.

use std::net::SocketAddr;
use std::path::PathBuf;

use dispatch_testkit::firmware::{Answer, Firmware};
use dispatch_testkit::postgres;
use dispatch_testkit::program::Program;
use serde_json::{Value, json};

use super::{Lab, lab};

/// What each test's configuration begins with: who may sign in.
const USERS: &str = r#"
auth:
  basic:
    enabled: true
    users:
      - { username: admin, password: "of the lab", role: admin }
      - { username: operator, password: "of the lab", role: operator }
      - { username: readonly, password: "of the lab", role: readonly }
mdns: false
"#;

/// Where the state is.
pub(crate) enum Engine {
    Sqlite,
    Postgres(Box<postgres::Database>),
}

impl Engine {
    pub(crate) fn postgres() -> Self {
        let server = postgres::Postgres::shared().expect("PostgreSQL");
        Self::Postgres(Box::new(server.database().expect("a database")))
    }

    fn section(&self) -> String {
        match self {
            Self::Sqlite => "database: { sqlite: { path: state/dispatch.db } }\n".to_owned(),
            Self::Postgres(database) => {
                // JSON is YAML.
                let there = json!({
                    "host": "127.0.0.1",
                    "port": database.server.port,
                    "user": postgres::USER,
                    "password": postgres::PASSWORD,
                    "database": database.name,
                    "sslmode": "disable",
                });
                format!("database: {{ driver: postgres, postgres: {there} }}\nstorage: {{ url: STORAGE }}\n")
            }
        }
    }
}

/// A service that is not running yet, or not any more.
pub(crate) struct ServiceLab {
    pub(crate) lab: Lab,
    engine: Engine,
    /// What stands in the configuration beside the database, the listeners and the users.
    pub(crate) config: String,
    api: SocketAddr,
}

/// A service that runs.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) api: SocketAddr,
}

impl ServiceLab {
    /// A service with these images in its folder, and this configuration.
    pub(crate) fn new(engine: Engine, images: &[&str], config: &str) -> Self {
        let mut lab = lab(images, &[]);
        lab.service = Some(lab.folder.path().join("dispatch.yaml"));
        let api = SocketAddr::from((lab.bind.ip(), 0));
        Self { lab, engine, config: config.to_owned(), api }
    }

    /// The same where a virtual server in QEMU can reach it.
    pub(crate) fn for_qemu(mut self) -> Self {
        self.lab.setup = self.lab.setup.clone().for_qemu();
        self.api = SocketAddr::from((self.lab.bind.ip(), 0));
        self
    }

    fn file(&self) -> PathBuf {
        self.lab.folder.path().join("dispatch.yaml")
    }

    /// Writes the configuration as it is to be from now on.
    pub(crate) fn write(&self) {
        let listeners = format!("server: {{ listen: \"{}\" }}\n", self.api);
        let boot = self.config.replace("BOOT", &self.lab.bind.to_string());
        let storage = format!("file://{}/storage", self.lab.folder.path().display());
        let text = format!("{listeners}{}{USERS}{boot}", self.engine.section().replace("STORAGE", &storage));
        std::fs::write(self.file(), text).expect("written");
    }

    /// Starts it; the next start has the same ports.
    pub(crate) fn start(&mut self) -> Running {
        self.write();
        let program = self.lab.start().expect("a start");
        let api = program.seen.iter().find_map(|line| {
            line["message"].as_str()?.strip_prefix("API: http://")?.parse::<SocketAddr>().ok()
        });
        self.api = api.expect("the API listens");
        Running { program, api: self.api }
    }
}

impl Running {
    /// A client that is signed in with this role.
    pub(crate) fn client(&self, role: &str) -> Client {
        let mut client = Client { api: self.api, cookie: None };
        let answer = client.send(
            "POST",
            "/api/v1/auth/login",
            Some(&json!({ "username": role, "password": "of the lab" })),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.field("set-cookie").expect("a cookie");
        client.cookie = Some(cookie.split(';').next().unwrap_or_default().to_owned());
        client
    }
}

/// A client of the API.
pub(crate) struct Client {
    api: SocketAddr,
    cookie: Option<String>,
}

impl Client {
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send_with(method, path, "", body)
    }

    /// The same with more fields, each with its line's end.
    pub(crate) fn send_with(&self, method: &str, path: &str, more: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let content = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{cookie}{content}{more}Content-Length: {}\r\n\r\n{body}",
            self.api,
            body.len()
        );
        let mut connection = Firmware::new(self.api, path).connect().expect("a connection");
        connection.send(request.as_bytes()).expect("sent");
        let mut answer = connection.head().expect("an answer");
        // A 204 has no length (RFC 9110 §8.6).
        if answer.status != 204 && method != "HEAD" {
            let length = answer.length().expect("a length");
            answer.body = connection.body(length).expect("a body");
        }
        answer
    }

    /// What is answered, if that is a success.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.send(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, Some(body))
    }

    /// The items of a list that has one page.
    pub(crate) fn items(&self, path: &str) -> Vec<Value> {
        let mut page = self.get(path);
        assert!(page.get("next_cursor").is_none(), "{path} has more than one page");
        match page["items"].take() {
            Value::Array(items) => items,
            other => panic!("{path} is no list: {other}"),
        }
    }

    /// The entity tag of something, to be changed only as it was seen.
    pub(crate) fn tag(&self, path: &str) -> String {
        let answer = self.send("GET", path, None);
        answer.field("etag").unwrap_or_else(|| panic!("{path} has no ETag: {}", answer.text())).to_owned()
    }

    /// Tries to change something that was seen as this entity tag says; tells the status.
    pub(crate) fn if_match(&self, tag: &str, method: &str, path: &str, body: Option<&Value>) -> u16 {
        self.send_with(method, path, &format!("If-Match: {tag}\r\n"), body).status
    }

    /// The items of `GET /api/v1/boot/requests` that this name asked.
    pub(crate) fn asked_by(&self, name: &str) -> Vec<Value> {
        let mut items = self.items("/api/v1/boot/requests");
        items.retain(|item| item["name"] == name);
        items
    }
}
