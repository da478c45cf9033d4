//! Reports on their way into a folder and into a storage.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dispatch_boot::{Queue as _, Work};
use dispatch_core::queue::Ask;
use dispatch_core::run::{End as TransferEnd, Policy, Sinks};
use dispatch_core::{ReportId, Sighting, Told};
use dispatch_store::{Focus, Store, StoredReport};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::clock::testing::Hands;
use crate::clock::{Clock as _, Random};
use crate::reports;
use crate::source::{Directory, Source};
use crate::storage::tests::{BUCKET, both, in_bucket, in_folder, key, open, options, read};
use crate::storage::{Limits, Storage};

/// An engine with one report that waits to be written.
struct Waiting {
    _folder: TempDir,
    engine: Engine,
}

impl Waiting {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let images = folder.path().join("images");
        std::fs::create_dir(&images).expect("a folder");
        std::fs::write(images.join("größe 1.efi"), [7; 10]).expect("an image");
        let directory = Directory::new(images, Vec::new());
        let found = directory.scan().expect("a source").found;
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let random: Random = Arc::new(|| [7; 10]);
        let policy = Policy { sinks: Sinks { files: true, issues: None }, ..Policy::default() };
        let source = Source::Directory(directory);
        let engine =
            Engine::new(store, Arc::new(policy), Arc::new(Hands::default()), random, source, "a test");
        let all = Focus::last_round();
        engine.decide(all, |snapshot, context| snapshot.open(&found, &[], context)).await.expect("a round");
        let who = Sighting { address: [192, 0, 2, 1].into(), mac: None, name: None };
        let Ok(Work::Image(image)) = engine.ask(&who, Ask::Get).await else { panic!("an image") };
        let progress = engine.begin(image.run, 10, 0).await.expect("a state").expect("a transfer");
        engine.end(image.run, &progress, 10, TransferEnd::Whole).await.expect("noted");
        let run = engine.started(&who, &Told::default()).await.expect("a state").expect("a run");
        let report = json!({ "title": "t", "body": "b", "verdict": "passed" }).to_string();
        let report = dispatch_wire::boot::Report::from_json(report.as_bytes()).expect("a report");
        let taken = engine.reported(&who, &Told::default(), Some(run), report).await.expect("a state");
        assert!(taken.is_ok(), "it belongs to the run");
        Self { _folder: folder, engine }
    }

    /// Tries once what is due.
    async fn carry_out(&self, sink: ReportSink) {
        let stop = CancellationToken::new();
        stop.cancel();
        Outbox::new(self.engine.clone(), sink).run(stop).await;
    }

    async fn left(&self) -> Vec<WaitingEffect> {
        self.engine.store.waiting_effects(Lane::Files, 10).await.expect("a state")
    }

    async fn report(&self) -> StoredReport {
        let Effect::WriteReport { report } = self.left().await[0].effect else { panic!("another effect") };
        self.engine.store.report(report).await.expect("a state").expect("a report")
    }
}

/// Both files, as names below `reports` and texts.
fn expected(stored: &StoredReport) -> [(String, String); 2] {
    reports::files(stored).expect("files").map(|file| (format!("reports/{}", file.name), file.text))
}

async fn assert_written(storage: &Storage, stored: &StoredReport) {
    for (name, text) in expected(stored) {
        assert_eq!(read(storage, &name).await.as_deref(), Some(text.as_bytes()), "{name}");
    }
}

#[tokio::test]
async fn a_report_goes_into_a_folder_as_it_goes_into_a_storage() {
    let waiting = Waiting::new().await;
    let stored = waiting.report().await;
    let folder = TempDir::new().expect("a folder");
    waiting.carry_out(ReportSink::Directory(folder.path().join("reports"))).await;
    assert!(waiting.left().await.is_empty());
    for (name, text) in expected(&stored) {
        assert_eq!(std::fs::read_to_string(folder.path().join(&name)).expect("a file"), text, "{name}");
    }
}

#[tokio::test]
async fn a_report_goes_into_the_storage_and_is_done_then() {
    for rig in both() {
        let waiting = Waiting::new().await;
        let stored = waiting.report().await;
        waiting.carry_out(ReportSink::Storage(rig.storage.clone())).await;
        assert!(waiting.left().await.is_empty());
        assert_written(&rig.storage, &stored).await;
    }
}

#[tokio::test]
async fn a_report_may_be_written_twice() {
    for rig in both() {
        let stored = Waiting::new().await.report().await;
        let sink = ReportSink::Storage(rig.storage.clone());
        sink.write(stored.clone()).await.expect("written");
        sink.write(stored.clone()).await.expect("written again");
        assert_written(&rig.storage, &stored).await;
    }
}

#[tokio::test]
async fn a_report_waits_while_the_storage_is_away_and_says_why() {
    let Some(mut rig) = in_bucket() else { return };
    let mut server = rig.server.take().expect("a server");
    let waiting = Waiting::new().await;
    let stored = waiting.report().await;
    server.kill();
    waiting.carry_out(ReportSink::Storage(rig.storage.clone())).await;
    let left = waiting.left().await;
    let why = left[0].error.clone().expect("a reason");
    assert!(why.contains("cannot be reached"), "{why}");
    server.restart().expect("up again");
    let storage = open(&format!("s3://{BUCKET}"), options(&server.endpoint), Limits::default());
    waiting.carry_out(ReportSink::Storage(storage.clone())).await;
    assert!(waiting.left().await.is_empty());
    assert_written(&storage, &stored).await;
}

#[tokio::test]
async fn a_report_that_was_half_written_when_its_host_had_another_name_is_written_whole() {
    for rig in both() {
        let waiting = Waiting::new().await;
        let stored = waiting.report().await;
        let [(json, text), _] = expected(&stored);
        let mut earlier: Value = serde_json::from_str(&text).expect("json");
        earlier["host"]["name"] = json!("another");
        let earlier = Bytes::from(earlier.to_string());
        rig.storage.put(&key(&json), earlier, "application/json").await.expect("stored");
        waiting.carry_out(ReportSink::Storage(rig.storage.clone())).await;
        assert!(waiting.left().await.is_empty());
        assert_written(&rig.storage, &stored).await;
    }
}

#[tokio::test]
async fn the_file_of_another_report_is_kept_and_this_one_waits() {
    let rig = in_folder();
    let waiting = Waiting::new().await;
    let stored = waiting.report().await;
    let [(json, text), _] = expected(&stored);
    let mut another: Value = serde_json::from_str(&text).expect("json");
    another["report"] = json!(ReportId::new(Hands::default().now(), [9; 10]));
    let another = Bytes::from(another.to_string());
    rig.storage.put(&key(&json), another.clone(), "application/json").await.expect("stored");
    waiting.carry_out(ReportSink::Storage(rig.storage.clone())).await;
    let why = waiting.left().await[0].error.clone().expect("a reason");
    assert!(why.contains("another object of the name reports/"), "{why}");
    assert_eq!(read(&rig.storage, &json).await, Some(another));
}
