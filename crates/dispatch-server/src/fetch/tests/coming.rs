//! How images come.

use std::time::Duration;

use dispatch_core::queue::{Found, Outlook};
use dispatch_core::{Digest, Happening};
use sha2::{Digest as _, Sha256};

use super::*;

#[tokio::test]
async fn images_are_fetched_ahead_two_at_a_time_in_queue_order_and_each_once() {
    let (a, b, c) = (bytes(1), bytes(2), bytes(3));
    let world = World::new(&[("a.efi", &a), ("b.efi", &b), ("c.efi", &c)]).await;
    world.server.will("a.efi", &[Act::Hang(10)]);
    world.server.will("b.efi", &[Act::Hang(10)]);
    world.start();
    let mut asked = world.until_asked(2).await;
    asked.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(asked, [Request::new("a.efi", 0, None), Request::new("b.efi", 0, None)]);
    world.server.go_on();
    for (name, bytes) in [("a.efi", a), ("b.efi", b), ("c.efi", c)] {
        world.until_fetched(name).await;
        assert_eq!(world.open(name).await.expect("here"), bytes);
        let told = world.told(name).await;
        let fetching = told.iter().filter(|what| matches!(what, Happening::Fetching { start: 0, .. }));
        assert_eq!(fetching.count(), 1, "{told:?}");
    }
    assert_eq!(world.server.asked().len(), 3);
}

#[tokio::test]
async fn while_an_image_comes_hosts_and_people_are_told_how_far_it_is() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    assert_eq!(world.absent("a.efi").await.expect("not here").why, "its image is still to be fetched");
    world.server.will("a.efi", &[Act::Hang(50_000)]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Fetching { .. })).await;
    let progress = loop {
        let progress = world.images.progress();
        if progress.first().is_some_and(|progress| progress.got == 50_000) {
            break progress;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((progress[0].name.as_str(), progress[0].size), ("a.efi", 100_000));
    assert_eq!(progress[0].workload, world.workload("a.efi").await.id);
    let why = world.open("a.efi").await.expect_err("not here yet");
    assert_eq!(why.why, "its image is still on its way here, 50 % of 97.7 KiB");
    assert_eq!(why.outlook, Outlook::Coming);
    assert_eq!(world.absent("a.efi").await, Some(why));
    assert_eq!(world.job("a.efi").await.waits.as_deref(), Some("its image is still on its way here"));
    world.server.go_on();
    world.until_fetched("a.efi").await;
    assert_eq!(world.absent("a.efi").await, None);
    assert_eq!(world.job("a.efi").await.waits, None);
    assert_eq!(world.images.progress(), []);
}

#[tokio::test]
async fn without_prefetching_an_image_is_fetched_when_a_host_asks_and_once_for_all_that_do() {
    let (a, b) = (bytes(1), bytes(2));
    let mut world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
    world.settings.prefetch = false;
    world.start();
    let (first, second) = tokio::join!(world.open("b.efi"), world.open("b.efi"));
    assert!(first.is_err() && second.is_err());
    world.until_fetched("b.efi").await;
    assert_eq!(world.open("b.efi").await.as_ref(), Ok(&b));
    assert_eq!(world.open("b.efi").await, Ok(b));
    assert_eq!(world.server.asked(), [Request::new("b.efi", 0, None)]);
}

#[tokio::test]
async fn what_a_host_asks_for_comes_before_what_is_fetched_ahead() {
    let (a, b, c) = (bytes(1), bytes(2), bytes(3));
    let world = World::new(&[("a.efi", &a), ("b.efi", &b), ("c.efi", &c)]).await;
    for name in ["a.efi", "b.efi"] {
        world.server.will(name, &[Act::Hang(40_000)]);
    }
    world.start();
    for name in ["a.efi", "b.efi"] {
        world.until_told(name, 1, |what| matches!(what, Happening::Fetching { .. })).await;
    }
    assert!(world.open("c.efi").await.is_err());
    world.until_fetched("c.efi").await;
    world.server.go_on();
    world.until_fetched("a.efi").await;
    world.until_fetched("b.efi").await;
    let asked = world.server.asked();
    let of_b: Vec<_> = asked.iter().filter(|request| request.name == "b.efi").collect();
    assert_eq!(of_b.len(), 2, "it gave way, and went on");
    assert!(of_b[1].start > 0 && of_b[1].if_range.as_deref() == Some("\"v1\""), "{of_b:?}");
    assert_eq!(asked.len(), 4);
}

#[tokio::test]
async fn jobs_of_one_image_share_it() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a), ("b.efi", &a)]).await;
    world.start();
    world.until_fetched("b.efi").await;
    assert_eq!((world.open("a.efi").await.as_ref(), world.open("b.efi").await.as_ref()), (Ok(&a), Ok(&a)));
    assert_eq!(world.server.asked().len(), 1);
}

#[tokio::test]
async fn a_digest_that_was_not_known_is_recorded_and_the_next_session_fetches_nothing() {
    let a = bytes(1);
    let found = [Found { digest: None, ..file("a.efi", &a) }];
    let server = Server::new();
    server.has("a.efi", &a, Some("\"v1\""));
    let world = World::of(tempfile::TempDir::new().expect("a folder"), server, &found).await;
    world.start();
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await.as_ref(), Ok(&a));
    let digest = Digest::new(Sha256::digest(&a).into());
    assert_eq!(world.workload("a.efi").await.digest, Some(digest));
    let world = world.restart(&found).await;
    world.start();
    assert_eq!(world.until_open("a.efi").await, a);
    assert_eq!(world.server.asked().len(), 1);
}

#[tokio::test]
async fn a_session_that_ends_ends_at_once_and_the_next_one_goes_on_with_the_image() {
    let a = bytes(1);
    let found = [file("a.efi", &a)];
    let world = World::new(&[("a.efi", &a)]).await;
    // More than is written at once only where it breaks.
    world.server.will("a.efi", &[Act::Break(70_000), Act::Hang(0)]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Waits { .. })).await;
    world.clock.pass(Duration::from_secs(1));
    world.until_asked(2).await;
    let world = world.restart(&found).await;
    world.start();
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
    let rest = Request::new("a.efi", 70_000, Some("\"v1\""));
    assert_eq!(world.server.asked(), [Request::new("a.efi", 0, None), rest.clone(), rest]);
    assert_eq!(world.job("a.efi").await.waits, None);
}

#[tokio::test]
async fn an_image_in_the_cache_is_hashed_before_it_is_served_and_fetched_again_if_it_has_rotted() {
    let a = bytes(1);
    let found = [file("a.efi", &a)];
    let world = World::new(&[("a.efi", &a)]).await;
    world.start();
    world.until_fetched("a.efi").await;
    let digest = found[0].digest.expect("a digest");
    let path = world.cache_folder().join("sha256").join(&digest.hex()[..2]).join(digest.hex());
    let world = world.restart(&found).await;
    std::fs::remove_file(&path).and_then(|()| std::fs::write(&path, bytes(9))).expect("ours");
    world.start();
    let told = world.until_told("a.efi", 2, |what| matches!(what, Happening::Fetched { .. })).await;
    assert!(
        told.iter()
            .any(|what| matches!(what, Happening::NotFetched { reason } if reason.contains("thrown away")))
    );
    assert_eq!(world.open("a.efi").await, Ok(a));
    assert_eq!(world.server.asked().len(), 2);
}

#[tokio::test]
async fn an_image_that_is_changed_while_we_run_is_not_served_and_fetched_again() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    world.start();
    world.until_fetched("a.efi").await;
    let digest = world.workload("a.efi").await.digest.expect("a digest");
    let path = world.cache_folder().join("sha256").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::remove_file(&path).and_then(|()| std::fs::write(&path, bytes(9))).expect("ours");
    let why = world.open("a.efi").await.expect_err("it has changed");
    assert_eq!(why.outlook, Outlook::Coming);
    assert_eq!(world.until_open("a.efi").await, a);
    assert_eq!(world.server.asked().len(), 2);
}

#[tokio::test]
async fn what_another_process_fetches_is_waited_for_and_found() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    let other = dispatch_boot::cache::Cache::open(&world.cache_folder()).expect("a cache");
    let key = dispatch_boot::cache::key_of(&world.workload("a.efi").await).expect("it is fetched");
    let begun = other.begin(key, 100_000, &dispatch_boot::cache::Watch::default()).expect("a cache");
    let dispatch_boot::cache::Begun::Part(mut part) = begun else { panic!("a part") };
    world.start();
    let told = world.until_told("a.efi", 1, |what| matches!(what, Happening::Waits { .. })).await;
    let waits = "its image is not here yet: another dispatch that shares the cache is fetching it";
    assert!(told.contains(&Happening::Waits { reason: waits.into() }), "{told:?}");
    part.append(&a).expect("room");
    drop(part.finish(None).expect("a cache"));
    world.clock.pass(Duration::from_secs(2));
    assert_eq!(world.until_open("a.efi").await, a);
    assert_eq!(world.server.asked(), []);
}

#[tokio::test]
async fn an_image_that_no_job_needs_any_more_is_fetched_no_further() {
    let (a, b) = (bytes(1), bytes(2));
    let world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
    world.server.will("a.efi", &[Act::Hang(40_000)]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Fetching { .. })).await;
    let job = world.job("a.efi").await.id;
    world.engine.cancel(job).await.expect("a store").expect("it is queued");
    while world.images.progress().iter().any(|progress| progress.name == "a.efi") {
        tokio::task::yield_now().await;
    }
    world.until_fetched("b.efi").await;
    assert_eq!(world.server.asked().len(), 2);
}

#[tokio::test]
async fn an_image_that_a_host_asks_for_drives_out_what_is_needed_later_where_room_is_short() {
    let (a, b) = (bytes(1), bytes(2));
    let mut world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
    world.settings.limit = 150_000;
    world.start();
    world.until_fetched("a.efi").await;
    assert_eq!(world.server.asked().len(), 1, "there is no room for the other");
    assert!(world.open("b.efi").await.is_err());
    world.until_fetched("b.efi").await;
    assert_eq!(world.open("b.efi").await, Ok(b));
    assert!(world.open("a.efi").await.is_err());
}

#[tokio::test]
async fn what_is_here_of_an_image_in_trouble_gives_way_to_what_a_host_asks_for() {
    let (a, b) = (bytes(1), bytes(2));
    let mut world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
    world.settings.limit = 150_000;
    world.server.will("a.efi", &[Act::Break(70_000)]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Waits { .. })).await;
    assert!(world.open("b.efi").await.is_err());
    world.until_fetched("b.efi").await;
    assert_eq!(world.open("b.efi").await, Ok(b));
}

#[tokio::test]
async fn a_job_no_longer_waits_for_what_was_in_the_way_in_an_earlier_session() {
    let a = bytes(1);
    let found = [file("a.efi", &a)];
    let world = World::new(&[("a.efi", &a)]).await;
    world.server.will("a.efi", &[Act::Hang(0)]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::Fetching { .. })).await;
    assert!(world.job("a.efi").await.waits.is_some());
    let mut world = world.restart(&found).await;
    world.settings.prefetch = false;
    world.start();
    within(async {
        while world.job("a.efi").await.waits.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.server.asked().len(), 1);
}
