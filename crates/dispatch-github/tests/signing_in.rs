//! Signing in: which credentials are taken, and the tokens of an App's installations.

#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Does, Server, TOKEN, clock, json, says, token, web};
use dispatch_github::{GitHub, Kind, Origin, SignIn, Slug, Web, sign_in};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

const KEY: &str = include_str!("../src/testdata/app.pkcs1.pem");

fn repo() -> Slug {
    "o/r".parse().expect("a repository")
}

fn other(from: Origin) -> SignIn {
    SignIn::Token { token: SecretString::from("ghp_old"), from }
}

fn app() -> SignIn {
    SignIn::App { id: 7, key: SecretString::from(KEY) }
}

/// Takes the one token and no other.
async fn strict() -> Server {
    Server::start(|asked| match asked.header("authorization") {
        Some(header) if header == format!("Bearer {TOKEN}") => json(r#"{"login": "mona"}"#),
        _ => says("401 Unauthorized", &[], r#"{"message": "Bad credentials"}"#),
    })
    .await
}

#[tokio::test]
async fn credentials_that_are_not_taken_are_passed_over_with_a_notice() {
    let server = strict().await;
    let candidates = vec![other(Origin::GithubTokenVariable), token(Origin::GhCli)];
    let (github, who, notices) =
        sign_in(web(), server.url("/"), candidates, &repo()).await.expect("signed in");
    assert!(github.signed_in());
    assert_eq!(who.as_deref(), Some("mona"));
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert!(notice.starts_with("the token of GITHUB_TOKEN was passed over"), "{notice}");
    assert!(!notice.contains("ghp_old"), "{notice}");
}

#[tokio::test]
async fn without_good_credentials_we_are_nobody() {
    let server = strict().await;
    let candidates = vec![other(Origin::GhTokenVariable)];
    let (github, who, notices) = sign_in(web(), server.url("/"), candidates, &repo()).await.expect("asked");
    assert!(!github.signed_in());
    assert_eq!((who, notices.len()), (None, 1));
}

#[tokio::test]
async fn a_token_that_a_person_gave_is_not_passed_over() {
    let server = strict().await;
    let candidates = vec![other(Origin::Flag), token(Origin::GhCli)];
    let error = sign_in(web(), server.url("/"), candidates, &repo()).await.expect_err("refused");
    assert!(error.is_bad_credentials());
}

#[tokio::test]
async fn a_token_that_no_header_may_have_is_not_shown() {
    let server = strict().await;
    let odd = |from| SignIn::Token { token: SecretString::from("ghp_od\nd"), from };
    let error = sign_in(web(), server.url("/"), vec![odd(Origin::Flag)], &repo()).await.expect_err("refused");
    assert!(error.is_bad_credentials() && !error.to_string().contains("ghp_od"), "{error}");
    let candidates = vec![odd(Origin::GhTokenVariable), token(Origin::GhCli)];
    let (github, ..) = sign_in(web(), server.url("/"), candidates, &repo()).await.expect("signed in");
    assert!(github.signed_in());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_server_in_trouble_says_nothing_against_the_credentials() {
    let server = Server::start(|_| says("500 No", &[], "")).await;
    let candidates = vec![token(Origin::GithubTokenVariable)];
    let error = sign_in(web(), server.url("/"), candidates, &repo()).await.expect_err("in trouble");
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[tokio::test]
async fn a_token_of_an_installation_belongs_to_no_user() {
    let server =
        Server::start(|_| says("403 Forbidden", &[], r#"{"message": "Resource not accessible"}"#)).await;
    let installation =
        SignIn::Token { token: SecretString::from("ghs_x"), from: Origin::GithubTokenVariable };
    let (github, who, _) =
        sign_in(web(), server.url("/"), vec![installation], &repo()).await.expect("signed in");
    assert!(github.signed_in());
    assert_eq!(who, None);
}

/// GitHub for one App: counts the tokens that it gives out, and takes none but the last one.
struct ForApp {
    server: Server,
    given: Arc<AtomicUsize>,
    valid: Arc<Mutex<String>>,
}

impl ForApp {
    async fn start(expires_in: SignedDuration) -> Self {
        let given = Arc::new(AtomicUsize::new(0));
        let valid = Arc::new(Mutex::new(String::new()));
        let (count, current) = (Arc::clone(&given), Arc::clone(&valid));
        let server = Server::start(move |asked| {
            let target = asked.target();
            if target == "/app" {
                return json(r#"{"slug": "dispatcher"}"#);
            }
            if target.ends_with("/installation") {
                let id = if target.contains("/o/r/") { 11 } else { 12 };
                return json(&format!(r#"{{"id": {id}}}"#));
            }
            if target.ends_with("/access_tokens") {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                let token = format!("ghs_{number}_of{}", target.replace('/', "_"));
                (*current.lock().expect("a token")).clone_from(&token);
                let expires_at = common::noon().saturating_add(expires_in).expect("a time");
                let body = format!(
                    r#"{{"token": "{token}", "expires_at": "{expires_at}", "permissions": {{"issues": "write"}}}}"#
                );
                return says("201 Created", &[], &body);
            }
            let wanted = format!("Bearer {}", current.lock().expect("a token"));
            if asked.header("authorization") == Some(&wanted) {
                says("204 No Content", &[], "")
            } else {
                says("401 Unauthorized", &[], r#"{"message": "Bad credentials"}"#)
            }
        })
        .await;
        Self { server, given, valid }
    }

    fn github(&self) -> GitHub {
        GitHub::new(web(), self.server.url("/"), app()).expect("a client")
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_app_finds_its_installation_and_signs_in_as_its_bot() {
    let fake = ForApp::start(SignedDuration::from_hours(1)).await;
    let (github, who, _) =
        sign_in(web(), fake.server.url("/"), vec![app()], &repo()).await.expect("signed in");
    assert_eq!(who.as_deref(), Some("dispatcher[bot]"));
    github.may_be_assigned(&repo(), "mona").await.expect("asked");
    assert_eq!(fake.given(), 1);
    assert!(fake.valid.lock().expect("a token").contains("installations_11"));
}

#[tokio::test]
async fn another_repository_may_belong_to_another_installation() {
    let fake = ForApp::start(SignedDuration::from_hours(1)).await;
    let github = fake.github();
    let elsewhere = "other/r".parse().expect("a repository");
    assert!(github.may_be_assigned(&elsewhere, "mona").await.expect("asked"));
    assert!(fake.valid.lock().expect("a token").contains("installations_12"));
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_token() {
    let fake = ForApp::start(SignedDuration::from_hours(1)).await;
    let github = fake.github();
    let repo = repo();
    let asking = (0..20).map(|_| github.may_be_assigned(&repo, "mona"));
    let answers = futures_util::future::join_all(asking).await;
    assert!(answers.into_iter().all(|answer| answer.expect("asked")));
    assert_eq!(fake.given(), 1);
}

#[tokio::test]
async fn a_token_that_ends_soon_is_renewed_before_it_is_used_again() {
    let fake = ForApp::start(SignedDuration::from_mins(4)).await;
    let github = fake.github();
    for _ in 0..2 {
        github.may_be_assigned(&repo(), "mona").await.expect("asked");
    }
    assert_eq!(fake.given(), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_and_the_request_sent_once_more() {
    let fake = ForApp::start(SignedDuration::from_hours(1)).await;
    let github = fake.github();
    github.may_be_assigned(&repo(), "mona").await.expect("asked");
    "revoked".clone_into(&mut fake.valid.lock().expect("a token"));
    assert!(github.may_be_assigned(&repo(), "mona").await.expect("asked"));
    assert_eq!(fake.given(), 2);
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_too_is_an_error() {
    let server = Server::start(|asked| match asked.target() {
        target if target.ends_with("/installation") => json(r#"{"id": 11}"#),
        target if target.ends_with("/access_tokens") => {
            says("201 Created", &[], r#"{"token": "ghs_x", "expires_at": "2026-11-21T13:00:00Z"}"#)
        }
        _ => says("401 Unauthorized", &[], "{}"),
    })
    .await;
    let github = GitHub::new(web(), server.url("/"), app()).expect("a client");
    let error = github.may_be_assigned(&repo(), "mona").await.expect_err("refused");
    assert!(error.is_bad_credentials());
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|asked| asked.target().contains("assignees")).count(), 2);
}

#[tokio::test]
async fn an_app_that_is_not_installed_says_where_to_install_it() {
    let server = Server::start(|asked| match asked.target() {
        "/app" => json(r#"{"slug": "dispatcher"}"#),
        _ => says("404 Not Found", &[], r#"{"message": "Not Found"}"#),
    })
    .await;
    let error = sign_in(web(), server.url("/"), vec![app()], &repo()).await.expect_err("not installed");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("not installed"), "{error}");
}

#[tokio::test]
async fn what_fails_while_a_token_is_fetched_has_filed_nothing() {
    let server = Server::start(|_| Does::Say(String::new())).await;
    let github = GitHub::new(web(), server.url("/"), app()).expect("a client");
    let error =
        github.create_issue(&repo(), &dispatch_github::NewIssue::default()).await.expect_err("broken");
    assert!(!error.may_have_been_applied(), "{error:?}");
}

#[tokio::test]
async fn an_app_signs_by_githubs_clock_where_ours_is_wrong() {
    let second = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&second);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => says(
            "401 Unauthorized",
            &["date: Sat, 21 Nov 2026 12:00:00 GMT"],
            r#"{"message": "'iat' claim"}"#,
        ),
        _ => says("200 OK", &["date: Sat, 21 Nov 2026 12:00:00 GMT"], r#"{"slug": "dispatcher"}"#),
    })
    .await;
    let slow: dispatch_github::Now = Arc::new(|| "2026-11-21T03:00:00Z".parse().expect("a time"));
    let web = Web::new(&[], slow).expect("the web");
    let github = GitHub::new(web, server.url("/"), app()).expect("a client");
    assert_eq!(github.whoami().await.expect("signed in").as_deref(), Some("dispatcher[bot]"));
    let begins: Vec<i64> =
        server.asked().iter().map(|asked| issued_at(asked.header("authorization"))).collect();
    let slow: Timestamp = "2026-11-21T03:00:00Z".parse().expect("a time");
    assert_eq!(begins, [slow.as_second() - 60, clock()().as_second() - 60]);
}

#[tokio::test]
async fn a_jwt_that_is_refused_by_the_right_clock_is_not_sent_again() {
    let server = Server::start(|_| {
        says("401 Unauthorized", &["date: Sat, 21 Nov 2026 12:00:00 GMT"], r#"{"message": "no such App"}"#)
    })
    .await;
    let github = GitHub::new(web(), server.url("/"), app()).expect("a client");
    assert!(github.whoami().await.expect_err("refused").is_bad_credentials());
    assert_eq!(server.asked().len(), 1);
}

/// The `iat` of a JWT, whose signature is another test's.
fn issued_at(authorization: Option<&str>) -> i64 {
    let jwt = authorization.and_then(|header| header.strip_prefix("Bearer ")).expect("a JWT");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.validate_exp = false;
    let public = include_bytes!("../src/testdata/app.public.pem");
    let key = jsonwebtoken::DecodingKey::from_rsa_pem(public).expect("a key");
    let claims = jsonwebtoken::decode::<serde_json::Value>(jwt, &key, &validation).expect("verified").claims;
    claims["iat"].as_i64().expect("a time")
}
