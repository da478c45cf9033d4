//! What PostgreSQL can do to us that a file cannot.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dispatch_core::run::Policy;
use dispatch_core::{Change, Outcome, Snapshot};
use dispatch_store::{Database, Focus, Postgres, Store, StoreError};
use dispatch_testkit::postgres;
use sqlx::{Connection as _, Executor as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::lab::Lab;
use crate::place::{Place, there};

const SOON: Duration = Duration::from_secs(20);

/// A change that is seen: the first job's reason.
fn changed(mut snapshot: Snapshot, why: &str) -> Outcome<()> {
    let mut job = snapshot.jobs.remove(0);
    job.reason = Some(why.to_owned());
    Outcome { answer: (), changes: vec![Change::Job(job)] }
}

async fn reason(store: &Store) -> Option<String> {
    store.overview().await.expect("an overview").jobs[0].reason.clone()
}

fn server_of(place: &Place) -> &postgres::Database {
    match place {
        Place::Postgres(database) => database,
        Place::Sqlite(_) => panic!("no server"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_made_again() {
    let mut lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    server_of(&lab.place).disconnect_all().expect("disconnected");
    lab.decide(Focus::default(), |snapshot, _| changed(snapshot, "again")).await.expect("decided");
    assert_eq!(reason(&lab.store).await.as_deref(), Some("again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_whose_connection_is_lost_is_made_again_and_counts_once() {
    let mut lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let server = server_of(&lab.place).server.clone();
    let name = server_of(&lab.place).name.clone();
    let database = std::mem::ManuallyDrop::new(postgres::Database { server, name });
    let mut count = 0;
    lab.decide(Focus::default(), |snapshot, _| {
        count += 1;
        if count == 1 {
            database.disconnect_all().expect("disconnected");
        }
        changed(snapshot, &format!("decision {count}"))
    })
    .await
    .expect("decided");
    assert_eq!(count, 2);
    assert_eq!(reason(&lab.store).await.as_deref(), Some("decision 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_with_somebody_else_is_tried_again() {
    let lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let mut other = lab.place.connection().await;
    // So that it is us who are found to be in the way.
    for statement in ["SET deadlock_timeout = '1min'", "BEGIN", "UPDATE jobs SET reason = 'theirs'"] {
        other.execute(statement).await.expect("done");
    }
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let mut theirs = JoinSet::new();
    theirs.spawn(async move {
        has_begun.await.expect("begun");
        let lock = i64::from_be_bytes(*b"dispatch");
        let wait = format!("SELECT pg_advisory_xact_lock({lock})");
        other.execute(sqlx::AssertSqlSafe(wait)).await.expect("they get it");
        other.execute("COMMIT").await.expect("committed");
        other.close().await.expect("closed");
    });
    let (mut begun, mut count) = (Some(begun), 0);
    let decision = |snapshot| {
        count += 1;
        if let Some(begun) = begun.take() {
            begun.send(()).expect("they wait");
        }
        changed(snapshot, "ours")
    };
    lab.store.decide(Focus::default(), &Policy::default(), decision).await.expect("decided");
    theirs.join_next().await.expect("they").expect("no trouble");
    assert_eq!(count, 2);
    assert_eq!(reason(&lab.store).await.as_deref(), Some("ours"));
}

/// Stands between a store and its server, and cuts the connection when it is told to commit.
async fn cut_at_commit(server: u16, is_told: bool) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            connections.spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await.expect("a server");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = async { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
                let there = async {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                        let is_commit = bytes[..count].windows(7).any(|word| word == b"COMMIT\0");
                        if !is_commit || is_told {
                            to_server.write_all(&bytes[..count]).await.expect("sent");
                        }
                        if is_commit {
                            return;
                        }
                    }
                };
                // The answer to the commit is not waited for.
                tokio::select! { () = back => (), () = there => () }
            });
        }
    });
    (port, tasks)
}

async fn a_commit_is_cut(is_told: bool) -> (Result<(), StoreError>, u32, Option<String>) {
    let lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let database = server_of(&lab.place);
    let (port, _proxy) = cut_at_commit(database.server.port, is_told).await;
    let store =
        Store::connect(&Database::Postgres(Postgres { port, ..there(database) })).await.expect("a store");
    let count = AtomicU32::new(0);
    let decided = store
        .decide(Focus::default(), &Policy::default(), |snapshot| {
            count.fetch_add(1, Ordering::Relaxed);
            changed(snapshot, "cut")
        })
        .await;
    // Whoever decides next waits until the server has done with the one before.
    let look = |_: Snapshot| Outcome { answer: (), changes: Vec::new() };
    lab.store.decide(Focus::default(), &Policy::default(), look).await.expect("decided");
    (decided, count.into_inner(), reason(&lab.store).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_answered_is_an_error_and_is_not_tried_again() {
    let (decided, count, reason) = a_commit_is_cut(true).await;
    assert!(matches!(decided, Err(StoreError::Unknown(_))), "{decided:?}");
    assert_eq!((count, reason.as_deref()), (1, Some("cut")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_does_not_arrive_is_an_error_as_well() {
    let (decided, count, reason) = a_commit_is_cut(false).await;
    assert!(matches!(decided, Err(StoreError::Unknown(_))), "{decided:?}");
    assert_eq!((count, reason), (1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_another_process_are_noticed() {
    let mut lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let other = lab.place.store().await;
    let mut newest = other.watch_events();
    newest.borrow_and_update();
    lab.ask(1).await;
    let last = *lab.store.watch_events().borrow();
    let noticed = tokio::time::timeout(SOON, newest.wait_for(|seq| *seq == last)).await;
    noticed.expect("in time").expect("a store");
}

/// As when the connection that listens is lost, or somebody changed the tables by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_nobody_hints_at_are_noticed_too() {
    let lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let mut newest = lab.store.watch_events();
    lab.place.execute("UPDATE counters SET value = 77 WHERE name = 'event'").await.expect("done");
    let noticed = tokio::time::timeout(SOON, newest.wait_for(|seq| *seq == 77)).await;
    noticed.expect("in time").expect("a store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_noticed_after_all_connections_were_lost() {
    let mut lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let other = lab.place.store().await;
    server_of(&lab.place).disconnect_all().expect("disconnected");
    lab.ask(1).await;
    let last = *lab.store.watch_events().borrow();
    let noticed =
        tokio::time::timeout(SOON, other.watch_events().wait_for(|seq| *seq == last)).await.map(drop);
    noticed.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_given_up_and_says_so() {
    let lab = Lab::new(Place::postgres(), &["a.efi"]).await;
    let mut other = lab.place.connection().await;
    let lock = i64::from_be_bytes(*b"dispatch");
    let hold = format!("SELECT pg_advisory_lock({lock})");
    other.execute(sqlx::AssertSqlSafe(hold)).await.expect("held");
    let hasty = Postgres { statement_timeout: Duration::from_millis(100), ..there(server_of(&lab.place)) };
    let store = Store::connect(&Database::Postgres(hasty)).await.expect("a store");
    let decided = store.decide(Focus::default(), &Policy::default(), |snapshot| changed(snapshot, "x")).await;
    let error = decided.expect_err("given up");
    assert!(matches!(error, StoreError::Slow(_)), "{error}");
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    other.close().await.expect("closed");
    // And the connection is as good as new.
    store
        .decide(Focus::default(), &Policy::default(), |snapshot| changed(snapshot, "y"))
        .await
        .expect("decided");
}
