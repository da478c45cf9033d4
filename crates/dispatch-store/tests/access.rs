//! The sessions of people.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

use dispatch_store::Store;
use dispatch_store::access::{MOST_SESSIONS, Session};
use jiff::Timestamp;
use tempfile::TempDir;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn session(token: &str, username: &str, created: i64, expires: i64) -> Session {
    Session {
        token: token.to_owned(),
        username: username.to_owned(),
        seal: format!("seal of {token}"),
        created: at(created),
        expires: at(expires),
    }
}

async fn store(dir: &TempDir) -> Store {
    Store::open(&dir.path().join("dispatch.db")).await.expect("a store")
}

#[tokio::test]
async fn a_session_survives_a_restart_until_it_expires() {
    let dir = TempDir::new().expect("a folder");
    let first = store(&dir).await;
    let own = session("a", "ada", 10, 20);
    first.add_session(&own).await.expect("added");
    first.close().await;
    let store = store(&dir).await;
    assert_eq!(store.session("a", at(19)).await.expect("a look"), Some(own));
    assert_eq!(store.session("a", at(20)).await.expect("a look"), None);
    assert_eq!(store.session("b", at(19)).await.expect("a look"), None);
}

#[tokio::test]
async fn a_session_that_was_ended_is_over_and_others_are_not() {
    let dir = TempDir::new().expect("a folder");
    let store = store(&dir).await;
    store.add_session(&session("a", "ada", 10, 20)).await.expect("added");
    store.add_session(&session("b", "ada", 10, 20)).await.expect("added");
    store.end_session("a").await.expect("ended");
    store.end_session("a").await.expect("it is over already");
    assert!(store.session("a", at(11)).await.expect("a look").is_none());
    assert!(store.session("b", at(11)).await.expect("a look").is_some());
}

#[tokio::test]
async fn one_users_sessions_do_not_fill_the_database() {
    let dir = TempDir::new().expect("a folder");
    let store = store(&dir).await;
    store.add_session(&session("other", "bob", 1, 1000)).await.expect("added");
    for number in 0..=MOST_SESSIONS {
        store.add_session(&session(&number.to_string(), "ada", 2, 1000 + number)).await.expect("added");
    }
    assert!(store.session("0", at(3)).await.expect("a look").is_none(), "the one that would end first");
    for kept in ["1", "100", "other"] {
        assert!(store.session(kept, at(3)).await.expect("a look").is_some(), "{kept}");
    }
    // What has expired goes with the next sign-in.
    store.add_session(&session("late", "ada", 5000, 6000)).await.expect("added");
    assert!(store.session("other", at(3)).await.expect("a look").is_none());
}
