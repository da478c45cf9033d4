//! What keeps a store from its PostgreSQL is told in one sentence, without the password.

use std::time::Duration;

use dispatch_store::{Database, Postgres, PostgresError, SslMode, Store, StoreError};
use dispatch_testkit::postgres::{self, Certificate};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::place::{Place, there};

/// The error, and that it has no secret.
async fn refused(there: Postgres) -> PostgresError {
    let secret = there.password.clone();
    let error = Store::connect(&Database::Postgres(there)).await.expect_err("refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(postgres::PASSWORD) && !text.contains("hush"), "{text} {secret:?}");
    let StoreError::Postgres(error) = error else { panic!("{error:?}") };
    error
}

fn database(place: &Place) -> Postgres {
    match place.database() {
        Database::Postgres(there) => there,
        Database::Sqlite { .. } => panic!("no server"),
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let place = Place::postgres();
    let error = refused(Postgres { password: Some("hush".into()), ..database(&place) }).await;
    assert!(matches!(error, PostgresError::Password { .. }), "{error}");
    assert!(error.to_string().contains("does not take the password of user `dispatch`"), "{error}");
}

#[tokio::test]
async fn a_user_that_is_not_known_is_told() {
    let place = Place::postgres();
    let error = refused(Postgres { user: "nobody".to_owned(), ..database(&place) }).await;
    assert!(error.to_string().contains("user `nobody`"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_with_its_address() {
    // Bound, and nobody listens.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let port = socket.local_addr().expect("an address").as_socket().expect("an address").port();
    let error = refused(Postgres { host: "127.0.0.1".to_owned(), port, ..Postgres::default() }).await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_how_to_make_it() {
    let place = Place::postgres();
    let error = refused(Postgres { database: "elsewhere".to_owned(), ..database(&place) }).await;
    assert!(error.to_string().contains("createdb -O dispatch elsewhere"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_make_no_tables_is_told_with_what_to_do() {
    let place = Place::postgres();
    let there = database(&place);
    let (user, name) = (format!("guest_{}", there.database), there.database.clone());
    let make = format!("CREATE ROLE {user} LOGIN PASSWORD 'hush'");
    place.execute(&make).await.expect("a user");
    let error = refused(Postgres { user: user.clone(), password: Some("hush".into()), ..there }).await;
    assert!(error.to_string().contains(&format!("ALTER DATABASE {name} OWNER TO {user}")), "{error}");
    place.execute(&format!("DROP ROLE {user}")).await.expect("gone");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let place = Place::postgres();
    for sslmode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let error = refused(Postgres { sslmode, ..database(&place) }).await;
        assert!(matches!(error, PostgresError::Tls { .. }), "{error}");
        assert!(error.to_string().contains(sslmode.as_str()), "{error}");
    }
}

#[tokio::test]
async fn a_store_does_not_show_its_password() {
    let place = Place::postgres();
    let store = place.store().await;
    let text = format!("{store:?} {:?}", place.database());
    assert!(!text.contains(postgres::PASSWORD) && !text.contains("p%40ss"), "{text}");
    store.close().await;
}

/// Somebody who vouches for servers, and one that is vouched for by the name `localhost`.
fn certificates() -> (String, Certificate) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &ca).expect("a certificate").pem();
    (ca.pem(), Certificate { certificate, key: key.serialize_pem() })
}

#[tokio::test]
async fn tls_is_as_strict_as_its_mode_says() {
    let (ca, certificate) = certificates();
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        Some(path)
    };
    let (ours, another) = (file("ca.pem", ca), file("another.pem", certificates().0));
    let server = postgres::Postgres::start(Some(&certificate)).expect("a server");
    let place = Place::Postgres(server.database().expect("a database"));
    let Place::Postgres(empty) = &place else { panic!("a server") };
    let there = |host: &str, sslmode, ca_cert: &Option<std::path::PathBuf>| Postgres {
        host: host.to_owned(),
        sslmode,
        ca_cert: ca_cert.clone(),
        ..there(empty)
    };
    let encrypted = format!(
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND datname = '{}'",
        empty.name
    );
    for (there, is_encrypted) in [
        (there("127.0.0.1", SslMode::Disable, &None), false),
        (there("127.0.0.1", SslMode::Prefer, &None), true),
        (there("127.0.0.1", SslMode::Require, &None), true),
        (there("127.0.0.1", SslMode::Require, &ours), true),
        (there("127.0.0.1", SslMode::VerifyCa, &ours), true),
        (there("localhost", SslMode::VerifyFull, &ours), true),
    ] {
        let store = Store::connect(&Database::Postgres(there.clone())).await.expect("a store");
        let count = empty.sql(&encrypted).expect("a count");
        assert_eq!(count != "0", is_encrypted, "{there:?}: {count}");
        store.close().await;
    }
    for there in [
        there("127.0.0.1", SslMode::VerifyFull, &ours),
        there("localhost", SslMode::VerifyFull, &None),
        there("127.0.0.1", SslMode::VerifyCa, &another),
        there("127.0.0.1", SslMode::Require, &another),
    ] {
        let shown = format!("{there:?}");
        let error = refused(there).await;
        assert!(matches!(error, PostgresError::Tls { .. }), "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let there = Postgres { host: "127.0.0.1".to_owned(), port, ..Postgres::default() };
    let error = tokio::time::timeout(Duration::from_mins(1), refused(there)).await.expect("in time");
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
}
