//! GitHub Apps: JSON Web Tokens, installations, their tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::client::{Ask, Reply, get, post};
use crate::{at, github};
use dispatch_testkit::github::{APP_KEY, APP_PUBLIC_KEY, FakeGithub, Level};
use jiff::SignedDuration;

const APP: u64 = 12_345;

/// A GitHub with an App of `o`'s, installed in `o/r` with what filing issues takes.
fn with_app() -> FakeGithub {
    let github = github();
    github.change(|model| {
        model.repository("o/r").private = true;
        model.app(APP, "dispatcher", "o", APP_PUBLIC_KEY);
        let given = [("issues", Level::Write), ("contents", Level::Read)];
        model.install(APP, "o", &["o/r"], &given).id
    });
    github
}

fn jwt(claims: &Value) -> String {
    let lines: String = APP_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_der(&STANDARD.decode(lines).expect("PEM")).expect("a key");
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The App's word, issued and ending so many seconds from now.
fn word(github: &FakeGithub, issued: i64, ends: i64) -> String {
    let now = github.read(|model| model.now().as_second());
    jwt(&json!({ "iss": APP.to_string(), "iat": now + issued, "exp": now + ends }))
}

fn app(github: &FakeGithub, word: &str) -> Reply {
    get(&at(github, "/app")).token(word).send()
}

fn tokens(github: &FakeGithub, body: &Value) -> Reply {
    let word = word(github, -60, 540);
    let home = get(&at(github, "/repos/o/r/installation")).token(&word).send().json();
    let url = home["access_tokens_url"].as_str().expect("a URL").to_owned();
    post(&url, body).token(&word).send()
}

#[test]
fn an_app_says_who_it_is() {
    let github = with_app();
    let reply = app(&github, &word(&github, -60, 540));
    assert_eq!((reply.status, reply.json()["slug"].clone()), (200, json!("dispatcher")));
    assert_eq!(reply.json()["permissions"]["issues"], "write");
}

#[test]
fn a_word_that_was_changed_is_refused() {
    let github = with_app();
    let word = word(&github, -60, 540);
    let mut parts: Vec<&str> = word.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(json!({ "iss": APP, "iat": 0, "exp": 9_999_999_999_u64 }).to_string());
    parts[1] = &other;
    let reply = app(&github, &parts.join("."));
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["message"], "A JSON web token could not be decoded");
}

#[test]
fn a_word_that_is_over_or_lasts_too_long_is_refused() {
    let github = with_app();
    assert_eq!(app(&github, &word(&github, -600, -1)).status, 401);
    let long = app(&github, &word(&github, -60, 660));
    assert_eq!(long.json()["message"], "'Expiration time' claim ('exp') is too far in the future");
    assert_eq!(app(&github, &word(&github, 300, 540)).status, 401, "it comes from the future");
}

#[test]
fn a_clock_that_is_wrong_makes_a_word_worthless() {
    let github = with_app();
    let word = word(&github, -60, 540);
    github.change(|model| model.set_clock_ahead(-SignedDuration::from_mins(20)));
    assert_eq!(app(&github, &word).status, 401);
}

#[test]
fn an_app_that_nobody_knows_is_refused() {
    let github = with_app();
    let now = github.read(|model| model.now().as_second());
    let reply = app(&github, &jwt(&json!({ "iss": 1, "iat": now - 60, "exp": now + 500 })));
    assert_eq!((reply.status, reply.json()["message"].clone()), (404, json!("Integration not found")));
}

#[test]
fn an_installation_is_found_by_its_repository() {
    let github = with_app();
    let word = word(&github, -60, 540);
    let home = get(&at(&github, "/repos/o/r/installation")).token(&word).send();
    assert_eq!((home.status, home.json()["app_id"].clone()), (200, json!(APP)));
    github.change(|model| model.repository("o/other").id);
    assert_eq!(get(&at(&github, "/repos/o/other/installation")).token(&word).send().status, 404);
    let all = get(&at(&github, "/app/installations")).token(&word).send().json();
    assert_eq!(all.as_array().map(Vec::len), Some(1));
}

#[test]
fn an_installation_files_issues_as_its_bot() {
    let github = with_app();
    let made = tokens(&github, &json!({}));
    assert_eq!(made.status, 201, "{}", made.json());
    let token = made.json()["token"].as_str().expect("a token").to_owned();
    let issue = json!({ "title": "t", "labels": ["new"] });
    let reply = post(&at(&github, "/repos/o/r/issues"), &issue).token(&token).send();
    assert_eq!(reply.status, 201, "{}", reply.json());
    assert_eq!(reply.json()["user"]["login"], "dispatcher[bot]");
    assert_eq!(reply.json()["user"]["type"], "Bot");
    assert_eq!(reply.json()["performed_via_github_app"]["slug"], "dispatcher");
    assert_eq!(reply.json()["labels"][0]["name"], "new");
    assert_eq!(get(&at(&github, "/user")).token(&token).send().status, 403);
    let reached = get(&at(&github, "/installation/repositories")).token(&token).send().json();
    assert_eq!((&reached["total_count"], &reached["repositories"][0]["name"]), (&json!(1), &json!("r")));
}

#[test]
fn a_token_of_an_installation_lives_for_an_hour() {
    let github = with_app();
    let made = tokens(&github, &json!({})).json();
    let token = made["token"].as_str().expect("a token");
    let status = || get(&at(&github, "/repos/o/r")).token(token).send().status;
    assert_eq!(status(), 200);
    github.change(|model| model.set_clock_ahead(SignedDuration::from_mins(61)));
    assert_eq!(status(), 401);
}

#[test]
fn a_token_can_have_less_than_its_installation() {
    let github = with_app();
    let made =
        tokens(&github, &json!({ "permissions": { "contents": "read" }, "repositories": ["r"] })).json();
    assert_eq!(made["repositories"][0]["full_name"], "o/r");
    let token = made["token"].as_str().expect("a token");
    let reply = post(&at(&github, "/repos/o/r/issues"), &json!({ "title": "t" })).token(token).send();
    assert_eq!((reply.status, reply.header("x-accepted-github-permissions")), (403, Some("issues=write")));
    assert_eq!(reply.json()["message"], "Resource not accessible by integration");
}

#[test]
fn a_token_cannot_have_more_than_its_installation() {
    let github = with_app();
    assert_eq!(tokens(&github, &json!({ "permissions": { "contents": "write" } })).status, 422);
    assert_eq!(tokens(&github, &json!({ "repositories": ["other"] })).status, 422);
}

#[test]
fn an_installation_that_was_stopped_does_nothing() {
    let github = with_app();
    let token = tokens(&github, &json!({})).json()["token"].as_str().expect("a token").to_owned();
    github.change(|model| model.installations[0].is_suspended = true);
    assert_eq!(get(&at(&github, "/repos/o/r")).token(&token).send().status, 401);
    assert_eq!(tokens(&github, &json!({})).status, 403);
}

#[test]
fn a_token_is_asked_for_without_a_body_as_well() {
    let github = with_app();
    let id = github.read(|model| model.installations[0].id);
    let url = at(&github, &format!("/app/installations/{id}/access_tokens"));
    let made = Ask::new("POST", &url).token(&word(&github, -60, 540)).send();
    assert_eq!((made.status, made.json()["permissions"]["issues"].clone()), (201, json!("write")));
}
