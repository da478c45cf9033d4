//! A service with groups, templates, workloads and hosts, on either engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dispatch_core::group::{
    Group, GroupId, GroupKind, GroupState, Spread, Template, TemplateOrigin, TemplateRuns,
};
use dispatch_core::queue::{Ask, Found, Looks, Offer, Supply};
use dispatch_core::run::Policy;
use dispatch_core::{Job, Kind, RunId, Sighting, SourceId, Terms, UnknownHosts, Workflow};
use dispatch_server::api::Serving;
use dispatch_store::{Database, Focus, Postgres, Scope, Store};
use dispatch_testkit::postgres;
use dispatch_wire::api::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{Client, Reply, World, settings};

/// Makes two tests of each function that takes a [`Place`].
macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::lab::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::lab::Place::postgres()).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// An empty database on either engine, thrown away at the end.
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(postgres::Database),
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().expect("a folder"))
    }

    pub(crate) fn postgres() -> Self {
        let server = postgres::Postgres::shared().expect("a server");
        Self::Postgres(server.database().expect("a database"))
    }

    async fn store(&self) -> Store {
        let database = match self {
            Self::Sqlite(folder) => Database::Sqlite { path: folder.path().join("dispatch.db") },
            Self::Postgres(database) => Database::Postgres(Postgres {
                host: "127.0.0.1".to_owned(),
                port: database.server.port,
                user: postgres::USER.to_owned(),
                password: Some(postgres::PASSWORD.into()),
                database: database.name.clone(),
                ..Postgres::default()
            }),
        };
        Store::connect(&database).await.expect("a store")
    }
}

/// A service: the group of servers `metal` with the workloads `a.efi` and `b.efi`, and the group of runners `actions`.
pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) operator: Client,
    place: Place,
    /// What the configuration says.
    pub(crate) groups: Vec<Group>,
}

fn template(id: &str, group: &str, runs: TemplateRuns) -> Template {
    Template {
        id: id.parse().expect("an id"),
        group: group.parse().expect("an id"),
        name: format!("Template {id}"),
        description: None,
        runs,
        inputs: BTreeMap::from([("usual".to_owned(), "1".to_owned())]),
        labels: BTreeMap::from([("made".to_owned(), "template".to_owned())]),
        required_labels: Vec::new(),
        priority: 0,
        spread: Spread::Any,
        retries: None,
        origin: TemplateOrigin::default(),
    }
}

pub(crate) fn workflow() -> Workflow {
    let [owner, repo, workflow_id, git_ref] = ["o", "r", "w.yaml", "main"].map(str::to_owned);
    Workflow { owner, repo, workflow_id, git_ref }
}

fn group(id: &str, kind: GroupKind, templates: Vec<Template>) -> Group {
    Group {
        sources: vec![SourceId::new("images")],
        templates,
        ..Group::new(id.parse().expect("an id"), kind)
    }
}

impl Lab {
    pub(crate) async fn new(place: Place) -> Self {
        let store = place.store().await;
        let world = World::over(store, settings(), Serving::default()).await;
        let workload = |name: &str| TemplateRuns::Workload(name.to_owned());
        let groups = vec![
            group(
                "metal",
                GroupKind::Metal,
                vec![
                    template("boot-a", "metal", workload("a.efi")),
                    template("gone", "metal", workload("x.efi")),
                ],
            ),
            group(
                "actions",
                GroupKind::Actions,
                vec![template("flow", "actions", TemplateRuns::Workflow(workflow()))],
            ),
        ];
        let policy = Policy {
            groups: Some(Arc::from(groups.clone())),
            unknown_hosts: UnknownHosts::Accept,
            ..Policy::default()
        };
        world.api.engine().set_policy(Arc::new(policy));
        let operator = world.client(Role::Operator).await;
        let lab = Self { world, operator, place, groups };
        lab.configure(&lab.groups).await;
        lab.offer(&["a.efi", "b.efi"]).await;
        lab
    }

    /// The server, and where its database is.
    pub(crate) fn apart(self) -> (World, Place) {
        (self.world, self.place)
    }

    /// The configuration is read with these groups, after their settings were put into force.
    pub(crate) async fn configure(&self, groups: &[Group]) {
        let state = |(place, group): (usize, &Group)| GroupState {
            id: group.id.clone(),
            kind: group.kind,
            name: format!("Group {}", group.id),
            description: None,
            labels: group.labels.clone(),
            is_paused: false,
            is_draining: false,
            in_config: true,
            place: i64::try_from(place).expect("few"),
            version: 1,
            created: jiff::Timestamp::UNIX_EPOCH,
            updated: jiff::Timestamp::UNIX_EPOCH,
        };
        let states: Vec<GroupState> = groups.iter().enumerate().map(state).collect();
        let engine = self.world.api.engine();
        let policy = engine.policy();
        let focus = Focus::default().within(Scope::Active);
        let configured =
            engine.decide(focus, |snapshot, context| snapshot.configure(&states, &policy, context.now));
        configured.await.expect("an answer").expect("configured");
    }

    /// The source of `metal` offers these, and queues none.
    async fn offer(&self, names: &[&str]) {
        let file = |name: &&str| Found {
            name: (*name).to_owned(),
            kind: Kind::Efi,
            size: 1000,
            modified: jiff::Timestamp::UNIX_EPOCH,
            digest: None,
            origin: None,
            terms: Terms::default(),
        };
        let found: Vec<Found> = names.iter().map(file).collect();
        let (source, group) = (SourceId::new("images"), metal());
        let supply =
            Supply { source: source.clone(), group, is_queued: false, spread: Spread::Any, priority: 0 };
        let focus = Focus { group: Some(metal()), all_hosts: true, ..Focus::default() };
        let engine = self.world.api.engine();
        let offered = engine.decide(focus.within(Scope::Source(source)), |snapshot, context| {
            snapshot.sync_source(&supply, &found, &Looks::agreed(&found), context)
        });
        offered.await.expect("offered");
    }

    /// The id of a workload.
    pub(crate) async fn workload(&self, name: &str) -> String {
        let focus = Focus { group: Some(metal()), ..Focus::default() }.within(Scope::Active);
        let policy = self.world.api.engine().policy();
        let find = |snapshot: dispatch_core::Snapshot| {
            snapshot.workloads.iter().find(|known| known.name == name).map(|known| known.id.to_string())
        };
        self.world.store.look(focus, &policy, find).await.expect("a look").expect("a workload")
    }

    /// A host asks for work.
    pub(crate) async fn boot(&self, host: u8) -> Option<RunId> {
        let address = IpAddr::from([192, 0, 2, host]);
        let who = Sighting { address, mac: None, name: format!("r{host}").parse().ok() };
        let engine = self.world.api.engine();
        let offer = engine.decide(Focus::host(&who).within(Scope::Candidates), |snapshot, context| {
            snapshot.ask(&who, Ask::Head, &BTreeMap::new(), context)
        });
        match offer.await.expect("an answer") {
            Offer::Image { run, .. } => Some(run),
            _ => None,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.operator.json(Method::POST, &format!("/api/v1{path}"), body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.operator.json(Method::PUT, &format!("/api/v1{path}"), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.operator.get(&format!("/api/v1{path}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.json()
    }

    /// Puts a job into the queue of servers; its id.
    pub(crate) async fn job(&self, name: &str) -> String {
        self.job_with(json!({"template_id": "boot-a", "name": name})).await
    }

    pub(crate) async fn job_with(&self, wish: Value) -> String {
        let reply = self.post("/groups/metal/queue", &wish).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        reply.json()["id"].as_str().expect("an id").to_owned()
    }

    /// The names in the queue of servers, in its order.
    pub(crate) async fn names(&self, query: &str) -> Vec<String> {
        let page = self.get(&format!("/groups/metal/queue{query}")).await;
        let items = page["items"].as_array().expect("a list").iter();
        items.map(|job| job["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Every job that there is, as it is stored.
    pub(crate) async fn all_jobs(&self, ids: &BTreeSet<String>) -> Vec<Job> {
        let jobs = ids.iter().map(|id| id.parse().expect("an id")).collect();
        let focus = Focus { jobs, ..Focus::default() }.within(Scope::Active);
        let policy = self.world.api.engine().policy();
        self.world.store.look(focus, &policy, |snapshot| snapshot.jobs).await.expect("a look")
    }
}

pub(crate) fn metal() -> GroupId {
    "metal".parse().expect("an id")
}
