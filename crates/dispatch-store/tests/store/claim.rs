//! One process works with a database, and another one is refused until that one is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dispatch_store::{Claim, Database, Patience, Postgres, SslMode, Store, StoreError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::place::Place;
use crate::pooler::Pooler;

on_both![a_database_that_a_process_works_with_is_refused_to_others_until_it_is_let_go];

const SOON: Duration = Duration::from_secs(30);

/// So that nobody waits for it longer than the tests must.
const HASTY: Patience = Patience {
    look: Duration::from_millis(50),
    taking: Duration::from_secs(5),
    unclaimed: Duration::from_mins(1),
};

/// Who holds a database, and who waits for it.
const HOLDERS: &str = "FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn refused(database: &Database) {
    let error = Claim::take(database).await.expect_err("it is taken");
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&database.place().to_string()), "{text}");
    assert!(text.contains("in use by another dispatch: end that one, or name another"), "{text}");
}

async fn a_database_that_a_process_works_with_is_refused_to_others_until_it_is_let_go(place: Place) {
    let database = place.database();
    let first = Claim::take(&database).await.expect("nobody has it");
    refused(&database).await;
    first.release().await;
    let second = Claim::take(&database).await.expect("it was let go");
    refused(&database).await;
    // As the system does it for a process that was killed.
    drop(second);
    Claim::take(&database).await.expect("it was let go").release().await;
}

#[tokio::test]
async fn two_databases_of_one_server_are_two() {
    let (one, other) = (Place::postgres(), Place::postgres());
    let first = Claim::take(&one.database()).await.expect("nobody has it");
    let second = Claim::take(&other.database()).await.expect("nobody has it");
    first.release().await;
    second.release().await;
}

fn database_of(place: &Place) -> &dispatch_testkit::postgres::Database {
    match place {
        Place::Postgres(database) => database,
        Place::Sqlite(_) => panic!("no server"),
    }
}

/// Looks until the server says this.
async fn until(place: &Place, statement: &str, wanted: impl Fn(&str) -> bool) -> String {
    let look = async {
        loop {
            let seen = database_of(place).sql(statement).expect("an answer");
            if wanted(&seen) {
                return seen;
            }
            // The server tells nobody of its locks.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_connection_takes_the_database_again() {
    let place = Place::postgres();
    let mut claim = Claim::take(&place.database()).await.expect("nobody has it");
    let pid = format!("SELECT pid {HOLDERS} AND granted");
    let before = until(&place, &pid, |pid| !pid.is_empty()).await;
    let mut keeping = JoinSet::new();
    keeping.spawn(async move { claim.keep().await });
    database_of(&place).disconnect_all().expect("disconnected");
    until(&place, &pid, |pid| !pid.is_empty() && pid != before).await;
    refused(&place.database()).await;
    assert!(keeping.try_join_next().is_none(), "it is kept");
    keeping.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_database_to_another_is_told() {
    let place = Place::postgres();
    let mut claim = Claim::take(&place.database()).await.expect("nobody has it");
    let pid = format!("SELECT pid {HOLDERS} AND granted");
    let before = until(&place, &pid, |pid| !pid.is_empty()).await;
    let other = place.database();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move { Claim::take(&other).await });
    until(&place, &format!("SELECT pid {HOLDERS} AND NOT granted"), |pid| !pid.is_empty()).await;
    database_of(&place).sql(&format!("SELECT pg_terminate_backend({before})")).expect("ended");
    let second = waiting.join_next().await.expect("a try").expect("no panic").expect("it is free");
    let told = tokio::time::timeout(SOON, claim.keep()).await.expect("in time");
    assert!(matches!(told, StoreError::Taken { .. }), "{told:?}");
    assert!(told.to_string().contains("was taken by another dispatch"), "{told}");
    refused(&place.database()).await;
    second.release().await;
}

/// Stands between a process and its server. When it is told to, the first connection ends for the process, and the server
/// is not told. Of those that come then, this many answer only until they are asked to set something.
async fn loses_the_first(server: u16, is_cut: oneshot::Receiver<()>, silent: usize) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let was_cut = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut connections, mut is_cut, mut silent) = (JoinSet::new(), Some(is_cut), silent);
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.expect("a server");
            if was_cut.load(Ordering::SeqCst) && silent > 0 {
                silent -= 1;
                connections.spawn(until_it_sets(client, server));
                continue;
            }
            let (is_cut, was_cut) = (is_cut.take(), Arc::clone(&was_cut));
            connections.spawn(async move {
                let copied = tokio::io::copy_bidirectional(&mut client, &mut server);
                let Some(is_cut) = is_cut else { return drop(copied.await) };
                tokio::select! { _ = copied => {}, _ = is_cut => {} }
                was_cut.store(true, Ordering::SeqCst);
                drop(client);
                // The server's side stays as it is.
                std::future::pending::<()>().await;
                drop(server);
            });
        }
    });
    (port, tasks)
}

/// A path that dies without a word once the connection is made.
async fn until_it_sets(client: TcpStream, server: TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = async { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
    let there = async {
        let mut bytes = vec![0; 65_536];
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            if bytes[..count].windows(4).any(|word| word == b"SET ") {
                break;
            }
            to_server.write_all(&bytes[..count]).await.expect("sent");
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(back, there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_does_not_take_its_own_old_connection_for_another_process() {
    let place = Place::postgres();
    let (cut, is_cut) = oneshot::channel();
    let (port, _proxy) = loses_the_first(database_of(&place).server.port, is_cut, 0).await;
    let Database::Postgres(there) = place.database() else { panic!("a server") };
    let through = Database::Postgres(Postgres { port, ..there });
    let mut claim = Claim::take(&through).await.expect("nobody has it");
    let pid = format!("SELECT pid {HOLDERS} AND granted");
    let before = until(&place, &pid, |pid| !pid.is_empty()).await;
    let mut keeping = JoinSet::new();
    keeping.spawn(async move { claim.keep().await });
    cut.send(()).expect("cut");
    until(&place, &pid, |pid| !pid.is_empty() && pid != before).await;
    assert!(keeping.try_join_next().is_none(), "it is kept");
    keeping.shutdown().await;
}

/// The database of a place, by a way through another port.
fn through(place: &Place, port: u16) -> Database {
    let Database::Postgres(there) = place.database() else { panic!("a server") };
    Database::Postgres(Postgres { port, sslmode: SslMode::Disable, ..there })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_no_answer_while_taking_it_again_tries_once_more() {
    let place = Place::postgres();
    let (cut, is_cut) = oneshot::channel();
    let (port, _proxy) = loses_the_first(database_of(&place).server.port, is_cut, 1).await;
    let mut claim = Claim::take(&through(&place, port)).await.expect("nobody has it");
    let pid = format!("SELECT pid {HOLDERS} AND granted");
    let before = until(&place, &pid, |pid| !pid.is_empty()).await;
    cut.send(()).expect("cut");
    let mut keeping = JoinSet::new();
    keeping.spawn(async move { claim.keep_with(HASTY).await });
    until(&place, &pid, |pid| !pid.is_empty() && pid != before).await;
    assert!(keeping.try_join_next().is_none(), "it is kept");
    keeping.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_have_it_again_is_told_to_end() {
    let place = Place::postgres();
    let (cut, is_cut) = oneshot::channel();
    let (port, _proxy) = loses_the_first(database_of(&place).server.port, is_cut, usize::MAX).await;
    let mut claim = Claim::take(&through(&place, port)).await.expect("nobody has it");
    cut.send(()).expect("cut");
    let patience = Patience { taking: Duration::from_secs(1), unclaimed: Duration::from_secs(3), ..HASTY };
    let told = tokio::time::timeout(SOON, claim.keep_with(patience)).await.expect("in time");
    assert!(matches!(told, StoreError::Unclaimed { .. }), "{told:?}");
    let text = told.to_string();
    assert!(text.starts_with("the database `"), "{text}");
    assert!(text.contains("could not be held for 3 seconds (no PostgreSQL answers at"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_connections_between_transactions_is_refused() {
    let place = Place::postgres();
    let pooler = Pooler::start(database_of(&place).server.port, true).await;
    let error = Claim::take(&through(&place, pooler.port)).await.expect_err("it cannot be held");
    assert!(matches!(error, StoreError::Pooled { .. }), "{error:?}");
    assert!(error.to_string().contains("give host and port of PostgreSQL itself"), "{error}");
    let held = database_of(&place).sql(&format!("SELECT count(*) {HOLDERS}")).expect("an answer");
    assert_eq!(held, "0", "nothing is left held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_another_session_of_the_server_answers_for_counts_as_lost() {
    let place = Place::postgres();
    let pooler = Pooler::start(database_of(&place).server.port, false).await;
    let through = through(&place, pooler.port);
    let mut claim = Claim::take(&through).await.expect("nobody has it");
    let bystander = Store::connect(&through).await.expect("a store");
    pooler.share();
    // So that its session is there to be given to somebody else.
    let _ = bystander.has_open_jobs().await;
    let told = tokio::time::timeout(SOON, claim.keep_with(HASTY)).await.expect("in time");
    assert!(matches!(told, StoreError::Pooled { .. }), "{told:?}");
}

#[tokio::test]
async fn one_file_under_two_names_is_one_database() {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| Database::Sqlite { path: folder.path().join(name) };
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(name)).expect("a link");
    };
    std::fs::create_dir(folder.path().join("real")).expect("a folder");
    link("real", "folder");
    link("real/a.db", "before.db");
    let first = Claim::take(&at("real/a.db")).await.expect("nobody has it");
    for name in ["folder/a.db", "before.db"] {
        refused(&at(name)).await;
    }
    std::fs::write(folder.path().join("real/a.db"), "").expect("a file");
    link("folder/a.db", "after.db");
    for name in ["folder/a.db", "before.db", "after.db", "real/../real/a.db"] {
        refused(&at(name)).await;
    }
    first.release().await;
    Claim::take(&at("after.db")).await.expect("it was let go").release().await;
}
