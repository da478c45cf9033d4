//! The listener: clients that are slow, TLS, the end.

use std::time::Duration;

use dispatch_server::api::{Serving, Tls};
use dispatch_store::Store;
use reqwest::{Method, StatusCode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, settings};

/// A head, or a body, that does not come to its end.
#[tokio::test]
async fn clients_that_are_slow_hold_nobody_up() {
    let world = World::new().await;
    let mut slow = Vec::new();
    for begun in [
        "GET /hea",
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    ] {
        for _ in 0..100 {
            let mut socket = TcpStream::connect(world.address).await.expect("connected");
            socket.write_all(begun.as_bytes()).await.expect("written");
            slow.push(socket);
        }
    }
    assert_eq!(world.nobody().get("/health").await.status, StatusCode::OK);
    drop(slow);
}

#[tokio::test]
async fn what_is_no_http_is_answered_and_closed() {
    let world = World::new().await;
    let mut socket = TcpStream::connect(world.address).await.expect("connected");
    socket.write_all(b"\x16\x03\x01 this is TLS\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an end");
    assert!(answer.starts_with(b"HTTP/1.1 400") || answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(world.nobody().get("/health").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_that_has_begun_is_answered_when_the_service_ends() {
    let mut world = World::new().await;
    let mut socket = TcpStream::connect(world.address).await.expect("connected");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
                Content-Length: 2\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("written");
    let mut interim = [0; 25];
    // It reads the body now.
    socket.read_exact(&mut interim).await.expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    world.stop.cancel();
    socket.write_all(b"{}").await.expect("written");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("an end");
    assert!(answer.starts_with(b"HTTP/1.1 422"), "{}", String::from_utf8_lossy(&answer));
    world.serving.join_next().await.expect("it ends").expect("without a panic");
    TcpStream::connect(world.address).await.expect_err("nobody listens");
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_the_cookie_is_secure() {
    let dir = TempDir::new().expect("a folder");
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    let tls = Some(Tls::read(&cert, &key).expect("a pair"));
    let store = Store::open(&dir.path().join("dispatch.db")).await.expect("a store");
    let world = World::over(store, settings(), Serving { tls, ..Serving::default() }).await;

    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).expect("a root");
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let socket = TcpStream::connect(world.address).await.expect("connected");
    let name = "localhost".try_into().expect("a name");
    let mut stream = connector.connect(name, socket).await.expect("a handshake");
    let body = r#"{"username":"admin","password":"admin-secret"}"#;
    let request = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("SameSite=Lax; Secure"), "{answer}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let dir = TempDir::new().expect("a folder");
    let missing = dir.path().join("cert.pem");
    let error = Tls::read(&missing, &missing).err().expect("refused").to_string();
    assert!(error.contains("cert.pem") && error.contains("server.tls"), "{error}");
}

/// Whoever asks for more and more and reads none of it.
#[tokio::test]
async fn whoever_does_not_read_is_cut_off() {
    let dir = TempDir::new().expect("a folder");
    let store = Store::open(&dir.path().join("dispatch.db")).await.expect("a store");
    let serving = Serving { write_time: Some(Duration::from_millis(200)), ..Serving::default() };
    let world = World::over(store, settings(), serving).await;
    let mut socket = TcpStream::connect(world.address).await.expect("connected");
    let request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let mut sent = 0_usize;
    // Ends when the other side has closed the connection: nothing is read here before that.
    while socket.write_all(&request).await.is_ok() {
        sent += 1;
        assert!(sent < 100_000, "it goes on for ever");
    }
    assert_eq!(
        world.nobody().send(world.nobody().request(Method::GET, "/health")).await.status,
        StatusCode::OK
    );
}
