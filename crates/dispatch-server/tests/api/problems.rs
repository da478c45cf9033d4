//! Whatever is wrong with a request is answered with a problem that says what to do.

use dispatch_core::{Change, Host, HostId, Job, JobId, Outcome, WorkloadId};
use dispatch_server::api::problem::Kind;
use dispatch_server::api::{Problem, Settings};
use dispatch_server::clock::Clock as _;
use dispatch_store::{Focus, Scope};
use dispatch_wire::api::Role;
use reqwest::Method;
use serde_json::json;

use crate::lab::{Lab, Place, metal, on_both};
use crate::world::{World, settings};

on_both![what_the_database_refuses_is_no_outage];

const LOGIN: &str = "/api/v1/auth/login";

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new().await;
    for path in ["/nowhere", "/api/v1", "/api/v1/", "/api/v2/status", "/health/", "//health", "/%ff"] {
        let reply = world.nobody().get(path).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (404, "not-found"), "{path}");
    }
}

#[tokio::test]
async fn another_method_is_answered_with_those_that_there_are() {
    let world = World::new().await;
    let client = world.nobody();
    for (path, allow) in [("/health", "GET, HEAD, OPTIONS"), (LOGIN, "POST, OPTIONS")] {
        for method in [Method::DELETE, Method::TRACE, Method::from_bytes(b"BREW").expect("a method")] {
            let reply = client.send(client.request(method, path)).await;
            assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, allow));
        }
        let reply = client.send(client.request(Method::OPTIONS, path)).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (204, allow));
    }
}

#[tokio::test]
async fn a_head_is_answered_as_a_get_without_its_body() {
    let world = World::new().await;
    let client = world.nobody();
    let head = client.send(client.request(Method::HEAD, "/health")).await;
    let get = client.get("/health").await;
    assert!(head.body.is_empty());
    assert_eq!(head.status, get.status);
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert_eq!(client.send(client.request(Method::HEAD, "/nowhere")).await.status, 404);
}

#[tokio::test]
async fn a_body_that_cannot_be_taken_says_why() {
    let world = World::new().await;
    let client = world.nobody();
    let json = "application/json";
    let large = format!("{{\"username\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (media, body, status, kind, field) in [
        (json, "", 400, "malformed-json", None),
        (json, "{\"username\":\n1e}", 400, "malformed-json", None),
        (json, "{}", 422, "invalid-body", Some("")),
        (json, "{\"username\":7,\"password\":\"x\"}", 422, "invalid-body", Some("/username")),
        (json, "{\"user\":\"x\",\"password\":\"x\"}", 422, "invalid-body", Some("/user")),
        (json, "{\"username\":\"\",\"password\":\"x\"}", 422, "invalid-body", Some("/username")),
        (json, large.as_str(), 413, "too-large", None),
        ("text/plain", "{}", 415, "unsupported-media-type", Some("Content-Type")),
        (
            "application/x-www-form-urlencoded",
            "username=a",
            415,
            "unsupported-media-type",
            Some("Content-Type"),
        ),
    ] {
        let request = client.request(Method::POST, LOGIN).header("content-type", media).body(body.to_owned());
        let reply = client.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (status, kind), "{reply:?}");
        assert_eq!(reply.json().get("field").and_then(|field| field.as_str()), field, "{reply:?}");
    }
}

#[tokio::test]
async fn a_query_parameter_that_nobody_knows_is_refused_by_name() {
    let world = World::new().await;
    let reply = world.nobody().get("/health?verbose=1").await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "invalid-parameter"));
    assert_eq!(reply.json()["field"], "verbose");
}

#[tokio::test]
async fn a_request_id_comes_back_and_what_is_none_is_replaced() {
    let world = World::new().await;
    let client = world.nobody();
    let with = |id: &'static str| client.request(Method::GET, "/nowhere").header("X-Request-Id", id);
    let reply = client.send(with("mine-1")).await;
    assert_eq!((reply.header("x-request-id"), &reply.json()["request_id"]), ("mine-1", &json!("mine-1")));
    let reply = client.send(with("a b")).await;
    assert_eq!(reply.header("x-request-id").len(), 32);
    assert_ne!(client.get("/health").await.header("x-request-id"), reply.header("x-request-id"));
}

#[tokio::test]
async fn another_sites_page_changes_nothing_whatever_cookie_it_has() {
    let public_url = Some("https://dispatch.example".parse().expect("a URL"));
    let world = World::with(Settings { public_url, ..settings() }).await;
    let client = world.client(Role::Admin).await;
    let logout = |name: &'static str, value: &str| {
        client.request(Method::POST, "/api/v1/auth/logout").header(name, value)
    };
    for (name, value) in
        [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
    {
        let reply = client.send(logout(name, value)).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (403, "foreign-origin"));
    }
    let reply =
        client.send(client.request(Method::PUT, "/nowhere").header("Origin", "http://evil.example")).await;
    assert_eq!(reply.status, 403);
    assert_eq!(client.send(logout("Origin", "https://dispatch.example")).await.status, 204);
    let client = world.client(Role::Admin).await;
    let own = format!("http://{}", world.address);
    let logout = client.request(Method::POST, "/api/v1/auth/logout").header("Origin", own);
    assert_eq!(client.send(logout).await.status, 204);
}

#[tokio::test]
async fn each_kind_of_problem_is_explained_where_its_reference_leads() {
    let world = World::new().await;
    for kind in Kind::ALL {
        let reply = world.nobody().get(&kind.reference()).await;
        assert_eq!(reply.json()["type"], kind.reference());
        assert_eq!(reply.json()["status"], kind.status().as_u16());
    }
    assert_eq!(world.nobody().get("/problems/nonsense").await.status, 404);
}

#[tokio::test]
async fn without_its_database_the_service_is_alive_and_not_ready() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    assert_eq!(client.get("/ready").await.status, 200);
    let status = client.get("/api/v1/status").await.json();
    assert_eq!((&status["status"], &status["database"]["status"]), (&json!("healthy"), &json!("healthy")));
    world.store.close().await;
    assert_eq!(client.get("/health").await.status, 200);
    let reply = client.get("/ready").await;
    assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (503, "unavailable"));
    let reply = client.get("/api/v1/auth/me").await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, "5"));
    assert!(!reply.json()["detail"].as_str().expect("a detail").contains("pool"), "no internals");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_what_strangers_write() {
    let world = World::new().await;
    let client = world.nobody();
    client.get("/problems/not-found").await;
    client.get("/made-up").await;
    client.send(client.request(Method::from_bytes(b"BREW").expect("a method"), "/health")).await;
    let reply = client.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8(reply.body.to_vec()).expect("text");
    let line = |labels: &str| format!("dispatch_http_requests_total{{{labels}}} 1\n");
    assert!(text.contains(&line("method=\"GET\",route=\"/problems/{kind}\",status=\"200\"")), "{text}");
    assert!(text.contains(&line("method=\"GET\",route=\"none\",status=\"404\"")), "{text}");
    assert!(text.contains(&line("method=\"other\",route=\"/health\",status=\"405\"")), "{text}");
    assert!(!text.contains("made-up") && !text.contains("BREW"));
    assert!(text.contains("dispatch_build_info{version="));
}

#[tokio::test]
async fn a_body_that_nobody_would_read_is_refused() {
    let world = World::new().await;
    let client = world.client(Role::Admin).await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for (method, path) in [
        (Method::POST, "/api/v1/auth/logout".to_owned()),
        (Method::POST, "/api/v1/runners/refresh".to_owned()),
        (Method::DELETE, format!("/api/v1/jobs/{nobody}")),
        (Method::GET, "/api/v1/auth/me".to_owned()),
    ] {
        let reply = client.json(method.clone(), &path, &json!({"version": 1})).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "unexpected-body"), "{path}");
        if method == Method::GET {
            continue; // The client sends none of unknown length.
        }
        let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("{}")]);
        let body = reqwest::Body::wrap_stream(chunks);
        let reply = client.send(client.request(method, &path).body(body)).await;
        assert_eq!(reply.problem(), "unexpected-body", "{path}, in chunks");
    }
    let empty = client.request(Method::POST, "/api/v1/runners/refresh").header("Content-Length", "0");
    assert_eq!(client.send(empty).await.status, 200);
    assert_eq!(client.get("/api/v1/auth/me").await.status, 200, "nobody was signed out");
}

async fn what_the_database_refuses_is_no_outage(place: Place) {
    let lab = Lab::new(place).await;
    let now = lab.world.clock.now();
    let commit = async |changes: Vec<Change>| {
        let focus = Focus::default().within(Scope::Active);
        let engine = lab.world.api.engine();
        let decided = engine.decide(focus, |_, _| Outcome { answer: (), changes: changes.clone() }).await;
        Problem::from(decided.expect_err("it cannot be stored")).kind()
    };
    let host = |number: u8| {
        let host = Host::new(HostId::new(now, [number; 10]), [192, 0, 2, number].into(), now);
        Change::Host(Host { key: Some("r1".parse().expect("an id")), ..host })
    };
    assert_eq!(commit(vec![host(1), host(2)]).await, Kind::Conflict, "there is one host of an id");
    let job = Job::new(JobId::new(now, [1; 10]), metal(), "a", WorkloadId::new(now, [2; 10]), now);
    assert_eq!(commit(vec![Change::Job(job)]).await, Kind::Internal, "its workload is not there");
    lab.world.store.close().await;
    assert_eq!(commit(vec![host(1)]).await, Kind::Unavailable);
}
