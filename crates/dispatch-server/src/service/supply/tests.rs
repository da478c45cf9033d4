//! A folder whose file system does not answer, and one that is empty for a moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use dispatch_core::queue::{Ask, Outlook, Unreadable};
use dispatch_core::run::Policy;
use dispatch_core::{Group, GroupId, GroupKind, JobState, SourceId};
use dispatch_store::Store;
use tempfile::TempDir;

use super::super::folder::Folders;
use super::*;
use crate::clock::testing::{Hands, counting};
use crate::source::Directory;

struct World {
    folder: TempDir,
    clock: Arc<Hands>,
    supply: Supply,
}

fn id() -> SourceId {
    SourceId::new("g/images")
}

fn group() -> GroupId {
    "g".parse().expect("an id")
}

impl World {
    /// A service with one source, a folder with these images, that queues each of them.
    async fn new(images: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let here = folder.path().join("images");
        std::fs::create_dir(&here).expect("a folder");
        for image in images {
            std::fs::write(here.join(image), "x").expect("an image");
        }
        let clock = Arc::new(Hands::default());
        let store = Store::open(&folder.path().join("state.db")).await.expect("a store");
        let random = counting();
        let settings = Group { sources: vec![id()], ..Group::new(group(), GroupKind::Metal) };
        let policy = Policy { groups: Some(Arc::from(vec![settings])), ..Policy::default() };
        let engine = Engine::without_sources(store, Arc::new(policy), Arc::clone(&clock) as _, random, "t");
        engine.set_sources(BTreeMap::new());
        let terms = Terms { source: id(), group: group(), is_queued: true, spread: Spread::Any, priority: 0 };
        let place = Place::Folder(Folders::default().open(Directory::new(here, Vec::new())));
        let supply = Supply::new(engine, terms, place, "the source".to_owned());
        Self { folder, clock, supply }
    }

    /// The configuration is read again, with the source or without it.
    async fn is_configured(&self, has_source: bool) {
        let sources = if has_source { vec![id()] } else { Vec::new() };
        let settings = Group { sources, ..Group::new(group(), GroupKind::Metal) };
        let engine = &self.supply.engine;
        let policy = Policy { groups: Some(Arc::from(vec![settings])), ..(*engine.policy()).clone() };
        let configure = |snapshot: Snapshot, policy: &Policy, now| snapshot.configure(&[], policy, now);
        let changed = engine.change(policy, BTreeMap::new(), configure).await;
        changed.expect("a decision").expect("a configuration");
    }

    /// A host that may work asks what there is for it, while these cannot be read.
    async fn is_asked(&self, unreadable: &BTreeMap<WorkloadId, Unreadable>) {
        let engine = &self.supply.engine;
        let mut policy = (*engine.policy()).clone();
        policy.unknown_hosts = dispatch_core::UnknownHosts::Accept;
        engine.set_policy(Arc::new(policy));
        let who = dispatch_core::Sighting { address: [192, 0, 2, 1].into(), mac: None, name: None };
        let asked = engine.decide(Focus::host(&who).within(Scope::Candidates), |snapshot, context| {
            snapshot.ask(&who, Ask::Head, unreadable, context)
        });
        asked.await.expect("an answer");
    }

    /// Another loop follows the source, as after each reading of the configuration.
    fn follow_anew(&mut self) {
        let place = Place::Folder(Folders::default().open(Directory::new(self.images(), Vec::new())));
        let (engine, terms) = (self.supply.engine.clone(), self.supply.terms.clone());
        self.supply = Supply::new(engine, terms, place, "the source".to_owned());
    }

    fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.images().join(name)
    }

    async fn look(&mut self) {
        self.clock.second.fetch_add(10, Ordering::Relaxed);
        let mut is_behind = false;
        let next = self.supply.look(&mut is_behind).await;
        assert!(!is_behind && next.is_some(), "it goes on");
    }

    /// The names of the jobs that wait.
    async fn waiting(&self) -> Vec<String> {
        let engine = &self.supply.engine;
        let focus = Focus::default().within(Scope::Group(group()));
        let waiting = |snapshot: Snapshot| {
            let queued = snapshot.jobs.into_iter().filter(|job| job.state == JobState::Queued);
            queued.map(|job| job.name).collect()
        };
        engine.store.look(focus, &engine.policy(), waiting).await.expect("a look")
    }

    fn trouble(&self) -> Option<String> {
        self.supply.engine.standings().of(&id()).expect("it was looked at").trouble
    }
}

/// Whoever reads this file waits until somebody writes to it: as with a share whose server is away.
pub(in crate::service) fn hang(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
}

/// Whoever waits for this file goes on, and nobody waits for it again.
pub(in crate::service) fn answer(path: &Path) {
    let writer = std::fs::File::options().write(true).open(path).expect("somebody reads it");
    std::fs::remove_file(path).expect("removed");
    drop(writer);
}

#[tokio::test]
async fn a_file_system_that_does_not_answer_is_trouble_that_people_see_and_nothing_is_lost() {
    let mut world = World::new(&["a.efi"]).await;
    world.look().await;
    assert_eq!((world.waiting().await, world.trouble()), (vec!["a.efi".to_owned()], None));
    std::fs::remove_file(world.file("a.efi")).expect("removed");
    let description = world.file("dispatch.yaml");
    hang(&description);
    world.clock.is_late.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        world.look().await;
        let trouble = world.trouble().expect("trouble");
        assert!(trouble.contains("has not answered"), "{trouble}");
    }
    assert_eq!(world.waiting().await, ["a.efi"]);
    world.clock.is_late.store(false, Ordering::Relaxed);
    std::fs::write(world.file("a.efi"), "x").expect("an image");
    answer(&description);
    world.look().await;
    assert_eq!((world.waiting().await, world.trouble()), (vec!["a.efi".to_owned()], None));
}

#[tokio::test]
async fn a_folder_that_is_empty_for_one_look_loses_no_job() {
    let mut world = World::new(&["a.efi"]).await;
    world.look().await;
    std::fs::remove_file(world.file("a.efi")).expect("removed");
    world.look().await;
    assert_eq!(world.waiting().await, ["a.efi"]);
    std::fs::write(world.file("a.efi"), "x").expect("an image");
    world.look().await;
    std::fs::remove_file(world.file("a.efi")).expect("removed");
    world.look().await;
    assert_eq!(world.waiting().await, ["a.efi"], "they were not one directly after the other");
    world.look().await;
    assert!(world.waiting().await.is_empty(), "two looks agree");
}

#[tokio::test]
async fn what_goes_while_its_source_is_not_in_the_configuration_leaves_after_two_looks() {
    let mut world = World::new(&["a.efi", "b.efi"]).await;
    world.look().await;
    world.is_configured(false).await;
    std::fs::remove_file(world.file("b.efi")).expect("removed");
    world.is_configured(true).await;
    world.follow_anew();
    world.look().await;
    assert_eq!(world.waiting().await, ["a.efi", "b.efi"], "one look is no agreement");
    world.look().await;
    assert_eq!(world.waiting().await, ["a.efi"]);
}

#[tokio::test]
async fn what_a_person_asks_for_again_waits_however_often_its_source_is_looked_at() {
    let mut world = World::new(&["a.efi", "b.efi"]).await;
    world.look().await;
    let engine = world.supply.engine.clone();
    let focus = Focus::default().within(Scope::Group(group()));
    let of_a = |snapshot: Snapshot| snapshot.jobs.into_iter().find(|job| job.name == "a.efi");
    let job = engine.store.look(focus, &engine.policy(), of_a).await.expect("a look").expect("a job").id;
    std::fs::remove_file(world.file("a.efi")).expect("removed");
    world.look().await;
    world.look().await;
    assert_eq!(world.waiting().await, ["b.efi"]);
    let retried = engine.decide(Focus::job(job).within(Scope::Active), |snapshot, context| {
        snapshot.retry(job, None, None, context.now)
    });
    retried.await.expect("a decision").expect("it has left");
    std::fs::remove_file(world.file("b.efi")).expect("removed");
    world.follow_anew();
    world.look().await;
    world.look().await;
    assert_eq!(world.waiting().await, ["a.efi"]);
}

#[tokio::test]
async fn what_a_host_gives_back_of_what_is_gone_leaves_the_queue() {
    let mut world = World::new(&["a.efi"]).await;
    world.look().await;
    world.is_asked(&BTreeMap::new()).await;
    assert!(world.waiting().await.is_empty(), "a host has it");
    std::fs::remove_file(world.file("a.efi")).expect("removed");
    world.look().await;
    world.look().await;
    // All that has happened so far is known.
    world.supply.concerns().await;
    let engine = &world.supply.engine;
    let focus = Focus::default().within(Scope::Active);
    let of_job = |snapshot: Snapshot| snapshot.jobs.first().map(|job| job.workload);
    let workload = engine.store.look(focus, &engine.policy(), of_job).await.expect("a look").expect("a job");
    let gone = Unreadable { why: "No such file".to_owned(), outlook: Outlook::Lasting };
    world.is_asked(&BTreeMap::from([(workload, gone)])).await;
    assert_eq!(world.waiting().await, ["a.efi"], "the host has given it back");
    assert!(world.supply.concerns().await);
    world.supply.sync().await.expect("noted");
    assert!(world.waiting().await.is_empty());
}

#[tokio::test]
async fn an_image_that_cannot_be_looked_at_is_not_gone() {
    let mut world = World::new(&["a.efi", "b.efi"]).await;
    world.look().await;
    let (a, b) = (world.file("a.efi"), world.file("b.efi"));
    std::fs::remove_file(&a).and_then(|()| std::fs::remove_file(&b)).expect("removed");
    // A link to itself cannot be followed, whoever asks.
    std::os::unix::fs::symlink("a.efi", &a).expect("a link");
    for name in ["c.efi", "d.efi", "e.efi"] {
        std::fs::write(world.file(name), "x").expect("an image");
        world.look().await;
        assert!(world.waiting().await.iter().any(|waits| waits == name), "{name} is new");
    }
    assert!(world.trouble().expect("trouble").contains("a.efi cannot be looked at"));
    assert_eq!(world.waiting().await.len(), 5, "nothing is taken to be gone");
    std::fs::remove_file(&a).expect("removed");
    world.look().await;
    world.look().await;
    assert_eq!(world.waiting().await.len(), 3);
    assert_eq!(world.trouble(), None);
}

#[tokio::test]
async fn a_source_that_is_spread_otherwise_by_now_queues_what_has_not_come_out() {
    let mut world = World::new(&["a.efi"]).await;
    world.look().await;
    let mut policy = (*world.supply.engine.policy()).clone();
    policy.unknown_hosts = dispatch_core::UnknownHosts::Accept;
    policy.is_dispatching = false;
    world.supply.engine.set_policy(Arc::new(policy));
    let who = dispatch_core::Sighting { address: [192, 0, 2, 1].into(), mac: None, name: None };
    let asked =
        world.supply.engine.decide(Focus::host(&who).within(Scope::Candidates), |snapshot, context| {
            snapshot.ask(&who, Ask::Get, &BTreeMap::new(), context)
        });
    asked.await.expect("an answer");
    world.supply.terms.spread = Spread::EachHost;
    world.supply.sync().await.expect("noted");
    let engine = &world.supply.engine;
    let focus = Focus::default().within(Scope::Group(group()));
    let pins = |snapshot: Snapshot| snapshot.jobs.into_iter().map(|job| job.pin).collect::<Vec<_>>();
    let pins = engine.store.look(focus, &engine.policy(), pins).await.expect("a look");
    assert!(matches!(&pins[..], [Some(pin)] if pin.starts_with("host:")), "{pins:?}");
}
