//! A service in the middle of its day: groups of both kinds, templates, workloads, hosts of all sorts, and jobs that wait,
//! run, and are over. With it each operation has something real to be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch_boot::Queue as _;
use dispatch_core::run::Policy;
use dispatch_core::{Change, Host, RunId, Verdict};
use dispatch_server::clock::Clock as _;
use dispatch_store::reads::RunFilter;
use dispatch_wire::api::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::lab::{self, Place};
use crate::past;
use crate::world::{Client, World};

/// More than there are.
const ALL: u32 = 10_000;

/// The service, and the identifiers of what is in it.
pub(crate) struct Full {
    pub(crate) world: World,
    pub(crate) operator: Client,
    /// The identifiers of all things, by the word that stands before them in a path.
    ids: BTreeMap<String, Vec<String>>,
    _place: Place,
}

impl Full {
    /// A service where `waiting` jobs wait, beside all that has run.
    pub(crate) async fn new(waiting: usize) -> Self {
        let lab = lab::Lab::new(Place::sqlite()).await;
        // Whom it sees first works for it.
        for number in [1, 2] {
            lab.job(&format!("runs {number}")).await;
            lab.boot(number).await.expect("an image");
        }
        let (world, place) = lab.apart();
        list_a_host(&world);
        let mut past = past::Lab::over(world).await;
        let mut jobs = what_was(&mut past).await;
        jobs.extend(queue(&past.operator, waiting).await);
        let past::Lab { world, operator, .. } = past;
        asked(&world);
        let mut full = Self { world, operator, ids: BTreeMap::new(), _place: place };
        full.ids.insert("jobs".to_owned(), jobs);
        full.ids.insert("problems".to_owned(), vec!["not-found".to_owned()]);
        for list in ["templates", "workloads"] {
            for group in ["metal", "actions"] {
                let ids = full.listed(&format!("/groups/{group}/{list}")).await;
                full.ids.entry(list.to_owned()).or_default().extend(ids);
            }
        }
        for list in ["groups", "hosts", "runs", "reports"] {
            let ids = full.listed(&format!("/{list}?limit=100")).await;
            full.ids.insert(list.to_owned(), ids);
        }
        assert!(full.ids.values().all(|ids| !ids.is_empty()), "{:?}", full.ids);
        full
    }

    async fn listed(&self, path: &str) -> Vec<String> {
        let page = self.operator.get(&format!("/api/v1{path}")).await.json();
        let items = page["items"].as_array().expect("a list").iter();
        items.map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// What stands before the name in a path: `jobs` in `/api/v1/jobs/{id}/pause`.
    pub(crate) fn kind(path: &str) -> Option<&str> {
        path.split_once("/{")?.0.rsplit('/').next()
    }

    /// All identifiers of a kind.
    pub(crate) fn ids(&self, kind: &str) -> &[String] {
        self.ids.get(kind).unwrap_or_else(|| panic!("there are no {kind}"))
    }

    /// All kinds of things that have an identifier, with the identifiers.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.ids.iter().map(|(kind, ids)| (kind.as_str(), ids.as_slice()))
    }

    /// The identifiers of all runs, which nobody is to see.
    pub(crate) async fn secrets(&self) -> BTreeSet<RunId> {
        let runs = self.world.store.runs(&RunFilter::default(), None, ALL).await.expect("runs");
        runs.into_iter().map(|with| with.run.id).collect()
    }
}

/// The configuration lists a host that has never asked.
fn list_a_host(world: &World) {
    let engine = world.api.engine();
    let policy = Policy { listed: Arc::new([past::rack_nine()]), ..(*engine.policy()).clone() };
    engine.set_policy(Arc::new(policy));
}

/// Jobs of each outcome and some that run, on hosts of all sorts; their identifiers.
async fn what_was(past: &mut past::Lab) -> Vec<String> {
    let workload = past.workload("metal", "c.efi").await;
    let mut ids = Vec::new();
    let verdicts = [Verdict::Passed, Verdict::Unjudged, Verdict::Errored, Verdict::Failed].map(Some);
    for (number, verdict) in (11..).zip(verdicts.into_iter().chain([None, None])) {
        let host = past.host(number).await;
        let key = format!("r{number}").parse().ok();
        let host = Host { key, labels: vec!["rack:1".to_owned()], is_accepted: true, ..host };
        past.commit(vec![Change::Host(host.clone())]).await;
        let (job, _) = past.ran(&workload, &host, verdict, &[("kernel", "6.12")]).await;
        ids.push(job.id.to_string());
    }
    // A stranger.
    past.host(30).await;
    ids
}

/// Puts jobs into the queues; the identifiers of those in the queue of servers.
async fn queue(operator: &Client, waiting: usize) -> Vec<String> {
    let flow = json!({"template_id": "flow", "name": "for a runner"});
    let reply = operator.json(Method::POST, "/api/v1/groups/actions/queue", &flow).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let paused = json!({"template_id": "boot-a", "name": "held", "paused": true, "auto_requeue": true});
    let wish = |number: usize| json!({"template_id": "boot-a", "name": format!("waits {number}"), "labels": {"kernel": "6.13"}});
    let jobs: Vec<Value> = (1..waiting).map(wish).chain([paused]).collect();
    let bulk = json!({ "jobs": jobs });
    let reply = operator.json(Method::POST, "/api/v1/groups/metal/queue/bulk", &bulk).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    let made = reply.json();
    let jobs = made["jobs"].as_array().expect("a list").iter();
    jobs.map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
}

/// Somebody has asked on the boot path.
fn asked(world: &World) {
    world.api.engine().asked(dispatch_boot::Asked {
        at: std::time::SystemTime::from(world.clock.now()),
        who: dispatch_core::Sighting { address: [192, 0, 2, 40].into(), mac: None, name: None },
        agent: Some("UefiHttpBoot/1.0".to_owned()),
        method: "HEAD".to_owned(),
        target: "/dispatch".to_owned(),
        status: 200,
        answer: "told to wait".to_owned(),
    });
}

/// Somebody of that role, or nobody in particular.
pub(crate) async fn somebody(world: &World, role: Option<Role>) -> Client {
    match role {
        None => world.nobody(),
        Some(role) => world.client(role).await,
    }
}
