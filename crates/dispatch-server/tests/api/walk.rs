//! All operations, with all roles and none, on things that are there: each is open to the right roles only, and no answer
//! tells the identifier of a run, which is a secret.

use std::collections::BTreeSet;

use dispatch_core::RunId;
use dispatch_wire::api::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::contract::{CONTRACT, Operation};
use crate::full::{Full, somebody};
use crate::live::Reader;
use crate::world::{Client, Reply};

const ROLES: [Option<Role>; 4] = [None, Some(Role::Readonly), Some(Role::Operator), Some(Role::Admin)];

/// What a service without a configuration file, and a request without an upgrade, cannot have.
const CANNOT: [(&str, u16); 2] = [("reload", 409), ("ws", 426)];

/// Gives each request something real, and a job that no other request has had.
struct Things {
    full: Full,
    waiting: Vec<String>,
    over: Vec<String>,
}

impl Things {
    async fn new() -> Self {
        let full = Full::new(100).await;
        let waiting = full.ids("jobs").iter().rev().take(90).cloned().collect();
        let over = full.ids("jobs").iter().take(4).cloned().collect();
        Self { full, waiting, over }
    }

    fn waits(&mut self) -> String {
        self.waiting.pop().expect("a job that waits")
    }

    fn path(&mut self, operation: &Operation) -> String {
        let Some(kind) = Full::kind(&operation.path) else { return operation.path.clone() };
        let id = match (kind, operation.name.as_str()) {
            ("jobs", "retry_job") => self.over.pop().expect("a job that is over"),
            ("jobs", _) => self.waits(),
            // The other one still takes jobs.
            ("groups", "drain_group" | "pause_group") => "actions".to_owned(),
            ("groups", _) => "metal".to_owned(),
            _ => self.full.ids(kind)[0].clone(),
        };
        concrete(&operation.path, &id)
    }

    /// What such an operation takes.
    fn body(&mut self, name: &str) -> Value {
        let workload = &self.full.ids("workloads")[0];
        match name {
            "login" => json!({"username": "admin", "password": "admin-secret"}),
            "add_job" => json!({"template_id": "boot-a"}),
            "add_jobs" => json!({"jobs": [{"template_id": "boot-a"}, {"workload_id": workload}]}),
            "rerun_cell" => json!({"workload_id": workload, "host": "r11"}),
            "reorder" => json!({"job_ids": [self.waits(), self.waits()]}),
            "many_jobs" => json!({"ids": [self.waits()], "action": "pause"}),
            "move_job" => json!({"to": "first"}),
            "edit_job" | "edit_host" => json!({"name": "another"}),
            "set_auto_requeue" => json!({"auto_requeue": true}),
            _ => json!({}),
        }
    }

    fn request(&mut self, client: &Client, operation: &Operation) -> RequestBuilder {
        let mut path = self.path(operation);
        if let Some(format) = operation.formats.first() {
            path = format!("{path}?format={format}");
        }
        let request = client.request(operation.method.clone(), &path);
        if operation.takes_body { request.json(&self.body(&operation.name)) } else { request }
    }
}

/// The path to something.
fn concrete(path: &str, id: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { id } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A request that is wrong in each way that comes after the question who asks.
fn rotten(client: &Client, operation: &Operation) -> RequestBuilder {
    let path = concrete(&operation.path, "nothing-of-this-name");
    let request = client.request(operation.method.clone(), &format!("{path}?nonsense=1"));
    let request = request.header("if-match", "rotten").header("idempotency-key", "");
    if operation.takes_body { request.header("content-type", "text/plain").body("{") } else { request }
}

fn names_a_run(reply: &Reply, secrets: &BTreeSet<RunId>) -> bool {
    let headers = format!("{:?}", reply.headers);
    let is_there = |text: &str| secrets.iter().any(|run| tells(text, *run));
    is_there(&headers) || is_there(&String::from_utf8_lossy(&reply.body))
}

/// Whether a text has the identifier of a run in it, written in whichever way.
fn tells(text: &str, run: RunId) -> bool {
    let bare = |text: &str| text.to_ascii_lowercase().replace('-', "");
    bare(text).contains(&bare(&run.to_string()))
}

#[tokio::test]
async fn every_operation_is_open_to_the_right_roles_only() {
    let mut things = Things::new().await;
    let mut clients = Vec::new();
    for role in ROLES {
        clients.push(somebody(&things.full.world, role).await);
    }
    let mut walked = 0;
    // The one that ends the session comes last.
    let mut operations = CONTRACT.operations();
    operations.sort_by_key(|operation| operation.name == "logout");
    for operation in operations {
        let needs: Option<Role> = operation.role.parse().ok();
        assert!(needs.is_some() || operation.role == "none", "{operation:?} has no role");
        for (role, client) in ROLES.into_iter().zip(&clients) {
            let what = format!("{} as {role:?}", operation.name);
            let reply = client.send(things.request(client, &operation)).await;
            let status = reply.status.as_u16();
            walked += 1;
            let refusal = match (needs, role) {
                (Some(_), None) => 401,
                (Some(needs), Some(role)) if role < needs => {
                    assert!(reply.json()["detail"].as_str().expect("a detail").contains(needs.as_str()));
                    403
                }
                _ => {
                    let cannot = CANNOT.iter().find(|(name, _)| *name == operation.name);
                    match cannot {
                        Some((_, refusal)) => assert_eq!(status, *refusal, "{what}: {reply:?}"),
                        None => assert!(reply.status.is_success(), "{what}: {reply:?}"),
                    }
                    continue;
                }
            };
            assert_eq!(status, refusal, "{what}: {reply:?}");
            let reply = client.send(rotten(client, &operation)).await;
            assert_eq!(reply.status.as_u16(), refusal, "{what}, before anything else: {reply:?}");
        }
    }
    assert!(walked >= 200, "only {walked} requests were sent");
}

#[tokio::test]
async fn no_answer_tells_the_identifier_of_a_run() {
    let mut things = Things::new().await;
    let admin = things.full.world.client(Role::Admin).await;
    let mut walked = 0;
    for operation in CONTRACT.operations() {
        let is_endless = matches!(operation.name.as_str(), "events" | "ws" | "logout");
        if is_endless {
            continue;
        }
        if operation.method != Method::GET {
            let reply = admin.send(things.request(&admin, &operation)).await;
            let secrets = things.full.secrets().await;
            assert!(!names_a_run(&reply, &secrets), "{} tells a run: {reply:?}", operation.name);
            continue;
        }
        let secrets = things.full.secrets().await;
        let ids = Full::kind(&operation.path).map(|kind| things.full.ids(kind).to_vec());
        for id in ids.unwrap_or_else(|| vec![String::new()]) {
            let path = concrete(&operation.path, &id);
            let asked = operation.formats.iter().map(|format| format!("{path}?format={format}"));
            for path in asked.chain([path.clone()]) {
                let reply = admin.get(&path).await;
                assert!(!names_a_run(&reply, &secrets), "{path} tells a run: {reply:?}");
                walked += 1;
            }
        }
    }
    let secrets = things.full.secrets().await;
    assert!(secrets.len() >= 8 && walked >= 150, "{} runs, {walked} answers", secrets.len());
}

#[tokio::test]
async fn no_event_tells_the_identifier_of_a_run() {
    let things = Things::new().await;
    let (full, secrets) = (&things.full, things.full.secrets().await);
    let last = *full.world.store.watch_events().borrow();
    let reader = full.world.client(Role::Readonly).await;
    let mut events = Reader::open(&reader, "/api/v1/events?after=0", None).await;
    let mut of_runs = 0;
    loop {
        let (seq, data) = events.event().await;
        let text = data.to_string();
        assert!(!secrets.iter().any(|run| tells(&text, *run)), "{text}");
        of_runs += usize::from(data.get("run").is_some());
        if seq.parse::<i64>().expect("a number") >= last {
            break;
        }
    }
    assert!(of_runs >= 8, "only {of_runs} events are of runs");
}

#[test]
fn the_identifier_of_a_run_is_seen_however_it_is_written() {
    let run: RunId = "01890a5d-ac96-774b-bcce-b302099a8001".parse().expect("an id");
    for text in ["x01890A5DAC96774BBCCEB302099A8001x", "{\"run\":\"01890a5d-ac96-774b-bcce-b302099a8001\"}"] {
        assert!(tells(text, run), "{text}");
    }
    assert!(!tells(&run.public_name().to_string(), run));
}
