//! Signing in, and what becomes of sessions.

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dispatch_server::api::settings::{Limits, Users};
use dispatch_server::api::{Serving, Settings};
use dispatch_server::clock::Clock as _;
use dispatch_wire::api::Role;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::world::{Client, World, random, settings, user};

const ME: &str = "/api/v1/auth/me";

async fn status(client: &Client) -> u16 {
    client.get(ME).await.status.as_u16()
}

fn users(entries: &[(&str, &str, Role)]) -> Settings {
    let entries: Vec<_> = entries.iter().map(|(name, password, role)| user(name, password, *role)).collect();
    Settings { users: Users::load(&entries, &random()).expect("users"), ..settings() }
}

#[tokio::test]
async fn whoever_signs_in_is_known_from_then_on() {
    let world = World::new().await;
    let mut client = world.nobody();
    let reply = client.sign_in("operator", "operator-secret").await;
    assert_eq!(reply.json()["user"], json!({"username": "operator", "role": "operator"}));
    assert_eq!(reply.json()["expires_at"], "2026-01-03T03:04:05Z");
    let cookie = reply.header("set-cookie");
    for part in ["; Path=/", "; Max-Age=86400", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "the request came in plain text");
    assert_eq!(client.get(ME).await.json(), json!({"username": "operator", "role": "operator"}));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_look_the_same() {
    let world = World::new().await;
    let wrong = world.nobody().sign_in("admin", "wrong").await;
    let unknown = world.nobody().sign_in("stranger", "wrong").await;
    assert_eq!((wrong.status.as_u16(), unknown.status.as_u16()), (401, 401));
    assert_eq!(wrong.problem(), "wrong-password");
    assert_eq!(wrong.json()["detail"], unknown.json()["detail"]);
    assert!(wrong.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn nobody_signs_in_where_no_users_are_configured() {
    let world = World::with(Settings { users: Users::default(), ..settings() }).await;
    assert_eq!(world.nobody().sign_in("admin", "admin-secret").await.status, 401);
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let world = World::new().await;
    let client = world.client(Role::Readonly).await;
    world.clock.pass(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(status(&client).await, 200);
    world.clock.pass(Duration::from_secs(1));
    assert_eq!(status(&client).await, 401);
}

#[tokio::test]
async fn whoever_signs_out_ends_this_session_and_no_other() {
    let world = World::new().await;
    let (one, other) = (world.client(Role::Admin).await, world.client(Role::Admin).await);
    let reply = one.send(one.request(Method::POST, "/api/v1/auth/logout")).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").starts_with("dispatch_session=; Path=/; Max-Age=0;"));
    assert_eq!((status(&one).await, status(&other).await), (401, 200));
}

#[tokio::test]
async fn a_session_holds_on_another_instance_with_the_same_configuration() {
    let world = World::new().await;
    let mut client = world.client(Role::Operator).await;
    // Hashed anew, as after a restart.
    let fresh = users(&[("operator", "operator-secret", Role::Operator)]);
    let other = World::over(world.store.clone(), fresh, Serving::default()).await;
    let cookie = client.cookie.take();
    client = other.nobody();
    client.cookie = cookie;
    assert_eq!(status(&client).await, 200);
}

#[tokio::test]
async fn whoever_leaves_the_configuration_or_gets_another_password_or_role_is_signed_out_at_once() {
    for (what, entries) in [
        ("gone", vec![("somebody", "operator-secret", Role::Operator)]),
        ("another password", vec![("operator", "another", Role::Operator)]),
        ("another role", vec![("operator", "operator-secret", Role::Readonly)]),
    ] {
        let world = World::new().await;
        let client = world.client(Role::Operator).await;
        world.api.set_settings(users(&entries));
        assert_eq!(status(&client).await, 401, "{what}");
    }
}

#[tokio::test]
async fn what_the_database_holds_of_a_session_opens_no_door() {
    let world = World::new().await;
    let client = world.client(Role::Admin).await;
    let token = client.cookie.as_deref().expect("a cookie").split_once('=').expect("a value").1;
    let digest = Sha256::digest(BASE64_URL_SAFE_NO_PAD.decode(token).expect("base64"));
    let hex = digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let kept = world.store.session(&hex, world.clock.now()).await.expect("a look");
    assert!(kept.is_some(), "it is kept by its digest");
    let mut forged = world.nobody();
    forged.cookie = Some(format!("dispatch_session={}", BASE64_URL_SAFE_NO_PAD.encode(digest)));
    assert_eq!(status(&forged).await, 401);
}

#[tokio::test]
async fn the_eleventh_try_to_sign_in_within_a_minute_has_to_wait() {
    let limits = Limits { sign_in: NonZeroU32::new(10).expect("ten"), ..settings().limits };
    let world = World::with(Settings { limits, ..settings() }).await;
    let mut client = world.nobody();
    for _ in 0..10 {
        assert_eq!(client.sign_in("admin", "wrong").await.status, 401);
    }
    let refused = client.sign_in("admin", "admin-secret").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "6"));
    world.clock.pass(Duration::from_secs(6));
    assert_eq!(client.sign_in("admin", "admin-secret").await.status, 200);
}

/// From elsewhere anybody could do that, and lock somebody out.
#[tokio::test]
async fn whoever_tries_a_name_from_elsewhere_takes_nothing_from_its_owner() {
    let limits = Limits { sign_in: NonZeroU32::new(3).expect("three"), ..settings().limits };
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let world = World::with(Settings { limits, trusted_proxies, ..settings() }).await;
    let client = world.nobody();
    let sign_in = async |password: &str, address: &str| {
        let body = json!({"username": "admin", "password": password});
        let request = client.request(Method::POST, "/api/v1/auth/login").json(&body);
        client.send(request.header("X-Forwarded-For", address)).await.status.as_u16()
    };
    for _ in 0..3 {
        assert_eq!(sign_in("guess", "192.0.2.1").await, 401);
    }
    assert_eq!(sign_in("guess", "192.0.2.1").await, 429);
    assert_eq!(sign_in("admin-secret", "192.0.2.2").await, 200);
}

/// A proxy that we do not know of may end the encryption.
#[tokio::test]
async fn the_cookie_is_secure_where_people_reach_the_service_encrypted() {
    let public_url = Some("https://dispatch.example/".parse().expect("a URL"));
    let world = World::with(Settings { public_url, ..settings() }).await;
    let mut client = world.nobody();
    let reply = client.sign_in("admin", "admin-secret").await;
    assert!(reply.header("set-cookie").ends_with("; Secure"), "{reply:?}");
    let reply = client.send(client.request(Method::POST, "/api/v1/auth/logout")).await;
    assert!(reply.header("set-cookie").ends_with("; Secure"), "{reply:?}");
}

#[tokio::test]
async fn requests_are_limited_where_that_is_wanted() {
    let few = NonZeroU32::new(3).expect("three");
    let limits = Limits { is_enabled: true, public: few, ..settings().limits };
    let world = World::with(Settings { limits, ..settings() }).await;
    let client = world.nobody();
    for _ in 0..3 {
        assert_eq!(client.get("/health").await.status, 200);
    }
    let refused = client.get("/health").await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too-many-requests"));
    assert_eq!(client.get("/nowhere").await.status, 429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_cookie_is_secure_and_limits_count_the_client() {
    let limits = Limits { sign_in: NonZeroU32::MIN, ..settings().limits };
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let world = World::with(Settings { limits, trusted_proxies, ..settings() }).await;
    let client = world.nobody();
    let sign_in = async |name: &str, address: &str| {
        let body = json!({"username": name, "password": format!("{name}-secret")});
        let request = client.request(Method::POST, "/api/v1/auth/login").json(&body);
        client.send(request.header("X-Forwarded-For", address).header("X-Forwarded-Proto", "https")).await
    };
    let reply = sign_in("admin", "192.0.2.1").await;
    assert!(reply.header("set-cookie").ends_with("; Secure"), "{reply:?}");
    assert_eq!(sign_in("operator", "192.0.2.1").await.status, 429);
    assert_eq!(sign_in("operator", "192.0.2.2").await.status, 200);
}
