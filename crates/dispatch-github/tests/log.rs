//! What is logged: which requests were made, and no secret, at whatever level.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use common::{Server, TOKEN, all, github, says, web};
use dispatch_github::NewIssue;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps everything that anybody logs.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Line(&mut self.0.lock().expect("the log")));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().expect("the log")));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut log = self.0.lock().expect("the log");
        event.record(&mut Line(&mut log));
        log.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn requests_are_logged_without_tokens_and_without_the_queries_of_signed_addresses() {
    let keeper = Keeper::default();
    let _guard = tracing::subscriber::set_default(keeper.clone());
    let blobs = Server::start(|_| says("200 OK", &[], "bytes")).await;
    let there = blobs.url("/blob?sig=hush");
    let api = Server::start(move |asked| match asked.method() {
        "GET" => says("302 Found", &[&format!("location: {there}")], ""),
        _ => says("500 No", &[], TOKEN),
    })
    .await;
    let github = github(web(), api.url("/"));
    let asset = api.url("/repos/o/r/releases/assets/7");
    all(github.asset(&asset, 0, None).await.expect("begun")).await.expect("whole");
    let repo = "o/r".parse().expect("a repository");
    github.create_issue(&repo, &NewIssue::default()).await.expect_err("in trouble");
    let log = keeper.0.lock().expect("the log").clone();
    for expected in ["/releases/assets/7", "/blob", "/repos/o/r/issues"] {
        assert!(log.contains(expected), "{expected} is missing: {log}");
    }
    for secret in ["SecretSecret", "hush"] {
        assert!(!log.contains(secret), "{log}");
    }
}
