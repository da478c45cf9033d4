//! Images that cannot be read keep nothing else from its host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dispatch_boot::Queue as _;
use dispatch_core::group::{Group, GroupKind, Spread, UnknownHosts};
use dispatch_core::queue::{Found, Looks, Supply};
use dispatch_core::run::Policy;
use dispatch_core::{GroupId, Kind, SourceId, Terms};
use dispatch_store::{Scope, Store};
use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock as _;
use crate::clock::testing::{Hands, counting};
use crate::source::Directory;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    engine: Engine,
}

fn group() -> GroupId {
    "g".parse().expect("an id")
}

impl World {
    /// A service with two folders: what the first one is said to have goes first.
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock = Arc::new(Hands::default());
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let random = counting();
        let sources: Vec<SourceId> = ["first", "second"].map(SourceId::new).into();
        let settings = Group { sources: sources.clone(), ..Group::new(group(), GroupKind::Metal) };
        let policy = Policy {
            groups: Some(Arc::from(vec![settings])),
            unknown_hosts: UnknownHosts::Accept,
            ..Policy::default()
        };
        let engine = Engine::without_sources(store, Arc::new(policy), Arc::clone(&clock) as _, random, "t");
        let open = |source: &SourceId| {
            let here = folder.path().join(source.as_str());
            std::fs::create_dir(&here).expect("a folder");
            (source.clone(), Arc::new(Source::Directory(Directory::new(here, Vec::new()))))
        };
        engine.set_sources(sources.iter().map(open).collect::<BTreeMap<_, _>>());
        Self { folder, clock, engine }
    }

    fn file(&self, source: &str, name: &str) -> PathBuf {
        self.folder.path().join(source).join(name)
    }

    /// A source is said to have these, whether it has or not.
    async fn offer(&self, source: &str, names: &[String], priority: i64) {
        let file = |name: &String| Found {
            name: name.clone(),
            kind: Kind::Efi,
            size: 1,
            modified: Timestamp::UNIX_EPOCH,
            digest: None,
            origin: None,
            terms: Terms::default(),
        };
        let found: Vec<Found> = names.iter().map(file).collect();
        let source = SourceId::new(source);
        let supply =
            Supply { source: source.clone(), group: group(), is_queued: true, spread: Spread::Any, priority };
        let focus = Focus { group: Some(group()), all_hosts: true, ..Focus::default() };
        let synced = self.engine.decide(focus.within(Scope::Source(source)), |snapshot, context| {
            snapshot.sync_source(&supply, &found, &Looks::agreed(&found), context)
        });
        synced.await.expect("offered");
    }

    /// The name of the image that a host gets, if it gets one.
    async fn given(&self, host: u8) -> Option<String> {
        let who = Sighting { address: [192, 0, 2, host].into(), mac: None, name: None };
        match self.engine.ask(&who, Ask::Get).await.expect("an answer") {
            Work::Image(image) => Some(image.name),
            Work::Idle(_) | Work::NotNow(_) => None,
        }
    }

    /// Why jobs wait.
    async fn waits(&self) -> Vec<String> {
        let focus = Focus::default().within(Scope::Group(group()));
        let waits = |snapshot: Snapshot| snapshot.jobs.into_iter().filter_map(|job| job.waits).collect();
        self.engine.store.look(focus, &self.engine.policy(), waits).await.expect("a look")
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("a{number:04}.efi")).collect()
}

#[tokio::test]
async fn a_source_that_is_away_is_left_out_at_once_and_for_a_while() {
    let world = World::new().await;
    world.offer("first", &names(1500), 1).await;
    world.offer("second", &["b.efi".to_owned(), "c.efi".to_owned()], 0).await;
    for name in ["b.efi", "c.efi"] {
        std::fs::write(world.file("second", name), "x").expect("an image");
    }
    assert_eq!(world.given(1).await.as_deref(), Some("b.efi"));
    assert!(world.waits().await.iter().any(|waits| waits.contains("cannot be read: No such file")));
    // It is back, and nobody has looked yet.
    std::fs::write(world.file("first", "a0000.efi"), "x").expect("an image");
    assert_eq!(world.given(2).await.as_deref(), Some("c.efi"));
    assert_eq!(world.given(3).await, None);
    world.clock.second.store(31, Ordering::Relaxed);
    assert_eq!(world.given(3).await.as_deref(), Some("a0000.efi"));
}

#[tokio::test]
async fn an_image_is_found_behind_hundreds_that_cannot_be_opened() {
    let world = World::new().await;
    let mut all = names(1500);
    all.push("b.efi".to_owned());
    world.offer("first", &all, 0).await;
    std::fs::write(world.file("first", "b.efi"), "x").expect("an image");
    assert_eq!(world.given(1).await.as_deref(), Some("b.efi"));
    assert!(world.waits().await.len() >= 200, "it is said why they wait");
}

#[tokio::test]
async fn what_a_host_has_begun_with_is_looked_for_though_its_source_was_away() {
    let world = World::new().await;
    world.offer("first", &["a.efi".to_owned()], 1).await;
    std::fs::write(world.file("first", "a.efi"), "x").expect("an image");
    assert_eq!(world.given(1).await.as_deref(), Some("a.efi"));
    let why = Unreadable { why: "away".to_owned(), outlook: Outlook::Lasting };
    world.engine.away.note(&SourceId::new("first"), &why, world.clock.now());
    assert_eq!(world.given(1).await.as_deref(), Some("a.efi"), "it is its own");
}

#[test]
fn a_host_whose_begun_image_hangs_takes_no_thread_for_each_time_that_it_asks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new().await;
        world.offer("first", &["a.efi".to_owned()], 1).await;
        let begun = world.file("first", "a.efi");
        std::fs::write(&begun, "x").expect("an image");
        assert_eq!(world.given(1).await.as_deref(), Some("a.efi"));
        std::fs::remove_file(&begun).expect("removed");
        let made = std::process::Command::new("mkfifo").arg(&begun).status().expect("mkfifo");
        assert!(made.success());
        let mut given = Vec::new();
        for ask in 1..=6 {
            world.clock.second.store(ask * 31, Ordering::Relaxed);
            given.push(world.given(1).await);
        }
        world.offer("second", &["b.efi".to_owned()], 0).await;
        std::fs::write(world.file("second", "b.efi"), "x").expect("an image");
        let other = world.given(2).await;
        // Whoever waits for it goes on.
        let writer = std::fs::File::options().read(true).write(true).open(&begun).expect("a pipe");
        assert_eq!(given, vec![None; 6]);
        assert_eq!(other.as_deref(), Some("b.efi"), "the other folder is served");
        drop(writer);
    });
}
