//! One process works with a database, and another one is refused until that one is gone.

use std::time::Duration;

use dispatch_store::{Claim, Database, Postgres, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::place::Place;

on_both![a_database_that_a_process_works_with_is_refused_to_others_until_it_is_let_go];

const SOON: Duration = Duration::from_secs(30);

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
/// is not told.
async fn loses_the_first(server: u16, is_cut: oneshot::Receiver<()>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut connections, mut is_cut) = (JoinSet::new(), Some(is_cut));
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.expect("a server");
            let is_cut = is_cut.take();
            connections.spawn(async move {
                let copied = tokio::io::copy_bidirectional(&mut client, &mut server);
                let Some(is_cut) = is_cut else { return drop(copied.await) };
                tokio::select! { _ = copied => {}, _ = is_cut => {} }
                drop(client);
                // The server's side stays as it is.
                std::future::pending::<()>().await;
                drop(server);
            });
        }
    });
    (port, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_does_not_take_its_own_old_connection_for_another_process() {
    let place = Place::postgres();
    let (cut, is_cut) = oneshot::channel();
    let (port, _proxy) = loses_the_first(database_of(&place).server.port, is_cut).await;
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
