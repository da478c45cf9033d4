//! What is in the way of images.

use std::time::Duration;

use dispatch_core::queue::{Found, JobState, Outlook};
use dispatch_core::{Happening, Verdict};
use proptest::prelude::*;

use super::*;
use crate::clock::Clock as _;
use crate::fetch::FetchError;

fn waits(what: &Happening) -> bool {
    matches!(what, Happening::Waits { .. })
}

/// An image whose first download breaks after 70,000 of 100,000 bytes, and whose second goes as told.
async fn broken(then: &[Act]) -> (World, Vec<u8>) {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    world.server.will("a.efi", &[Act::Break(70_000)]);
    world.server.will("a.efi", then);
    world.start();
    world.until_told("a.efi", 1, waits).await;
    (world, a)
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let (world, a) = broken(&[]).await;
    let reason = "its image is not here yet: the connection broke; it is tried again by itself";
    assert_eq!(world.job("a.efi").await.waits.as_deref(), Some(reason));
    world.clock.pass(Duration::from_secs(1));
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
    let rest = Request::new("a.efi", 70_000, Some("\"v1\""));
    assert_eq!(world.server.asked(), [Request::new("a.efi", 0, None), rest]);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_sends_it_all_again() {
    let (world, a) = broken(&[Act::Whole]).await;
    world.clock.pass(Duration::from_secs(1));
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
}

#[tokio::test]
async fn what_was_here_of_another_version_is_not_gone_on_with() {
    for act in [None, Some(Act::AnyVersion), Some(Act::Odd(10))] {
        let a = bytes(1);
        let world = World::new(&[("a.efi", &a)]).await;
        world.server.has("a.efi", &bytes(9), Some("\"v0\""));
        world.server.will("a.efi", &[Act::Break(70_000)]);
        world.server.will("a.efi", act.as_slice());
        world.start();
        world.until_told("a.efi", 1, waits).await;
        world.server.has("a.efi", &a, Some("\"v1\""));
        world.clock.pass(Duration::from_secs(1));
        world.until_fetched("a.efi").await;
        assert_eq!(world.open("a.efi").await, Ok(a), "{act:?}");
        let told = world.told("a.efi").await;
        let wrong = told.iter().any(|what| matches!(what, Happening::NotFetched { .. }));
        assert!(!wrong, "its digest was never wrong: {told:?}");
    }
}

#[tokio::test]
async fn an_image_without_digest_goes_on_after_a_break_only_by_a_strong_tag() {
    for (etag, then) in [(None, 0), (Some("W/\"v1\""), 0), (Some("\"v1\""), 70_000)] {
        let a = bytes(1);
        let found = [Found { digest: None, ..file("a.efi", &a) }];
        let server = Server::new();
        server.has("a.efi", &a, etag);
        server.will("a.efi", &[Act::Break(70_000)]);
        let world = World::of(tempfile::TempDir::new().expect("a folder"), server, &found).await;
        world.start();
        world.until_told("a.efi", 1, waits).await;
        world.clock.pass(Duration::from_secs(1));
        world.until_fetched("a.efi").await;
        assert_eq!(world.open("a.efi").await, Ok(a));
        let if_range = etag.filter(|_| then > 0);
        let rest = Request::new("a.efi", then, if_range);
        assert_eq!(world.server.asked(), [Request::new("a.efi", 0, None), rest]);
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_is_no_whole_image() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    world.server.will("a.efi", &[Act::End(70_000)]);
    world.start();
    let told = world.until_told("a.efi", 1, waits).await;
    let ended = |what: &Happening| matches!(what, Happening::Waits { reason } if reason.contains("it ended after 68.4 KiB of 97.7 KiB"));
    assert!(told.iter().any(ended), "{told:?}");
    assert!(world.open("a.efi").await.is_err());
    world.clock.pass(Duration::from_secs(1));
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
}

#[tokio::test]
async fn a_wrong_digest_once_is_thrown_away_and_fetched_again_from_the_beginning() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    world.server.will("a.efi", &[Act::Wrong]);
    world.start();
    world.until_told("a.efi", 1, |what| matches!(what, Happening::NotFetched { .. })).await;
    world.clock.pass(Duration::from_secs(10));
    world.until_fetched("a.efi").await;
    assert_eq!(world.open("a.efi").await, Ok(a));
    let whole = Request::new("a.efi", 0, None);
    assert_eq!(world.server.asked(), [whole.clone(), whole]);
    let told = world.told("a.efi").await;
    let wrong = |what: &Happening| matches!(what, Happening::NotFetched { reason } if reason.contains("its source says sha256:"));
    assert_eq!(told.iter().filter(|what| wrong(what)).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_wrong_digest_twice_errs_the_job_and_nothing_of_it_is_served() {
    for act in [Act::Wrong, Act::Size(100_001), Act::Long] {
        let (a, b) = (bytes(1), bytes(2));
        let world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
        world.server.will("a.efi", &[act.clone(), act]);
        world.start();
        world.until_told("a.efi", 1, |what| matches!(what, Happening::NotFetched { .. })).await;
        world.clock.pass(Duration::from_secs(10));
        world.until_told("a.efi", 1, |what| matches!(what, Happening::Done { .. })).await;
        let job = world.job("a.efi").await;
        assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Errored)));
        let reason = job.reason.unwrap_or_default();
        assert!(reason.contains("its source") && reason.ends_with("fetched twice"), "{reason}");
        assert!(world.open("a.efi").await.is_err());
        world.until_fetched("b.efi").await;
        assert_eq!(world.open("b.efi").await, Ok(b));
        // A person who asks for it again gets it, now that it is right.
        world.engine.retry(job.id).await.expect("a store").expect("it is over");
        world.until_fetched("a.efi").await;
        assert_eq!(world.open("a.efi").await, Ok(a));
    }
}

#[tokio::test]
async fn what_is_gone_or_refused_waits_with_its_reason_and_is_tried_again() {
    let no = |words: &str| words.to_owned();
    for error in [FetchError::NotThere(no("it is gone")), FetchError::Denied(no("it is gone"))] {
        let a = bytes(1);
        let world = World::new(&[("a.efi", &a)]).await;
        world.server.will("a.efi", &[Act::Fail(error)]);
        world.start();
        world.until_told("a.efi", 1, waits).await;
        let reason = "its image cannot be read: it is gone; it is tried again by itself";
        assert_eq!(world.job("a.efi").await.waits.as_deref(), Some(reason));
        assert_eq!(world.absent("a.efi").await.map(|absent| absent.outlook), Some(Outlook::Lasting));
        world.clock.pass(Duration::from_secs(30));
        world.until_fetched("a.efi").await;
        assert_eq!(world.job("a.efi").await.waits, None);
    }
}

#[tokio::test]
async fn the_same_trouble_is_told_once_however_often_it_is_tried() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    let error = FetchError::Unreachable("example.org cannot be reached".to_owned());
    world.server.will("a.efi", &vec![Act::Fail(error); 4]);
    world.start();
    world.until_told("a.efi", 1, waits).await;
    for times in 2..=5 {
        // A pause begins when the loop has come to it.
        while world.server.asked().len() < times {
            world.clock.pass(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    }
    world.until_fetched("a.efi").await;
    let told = world.told("a.efi").await;
    assert_eq!(told.iter().filter(|what| waits(what)).count(), 1, "{told:?}");
}

#[tokio::test]
async fn a_limit_on_requests_holds_for_all_images_until_it_is_over() {
    let (a, b, c) = (bytes(1), bytes(2), bytes(3));
    let world = World::new(&[("a.efi", &a), ("b.efi", &b), ("c.efi", &c)]).await;
    world.server.will("b.efi", &[Act::Hang(0)]);
    let until = crate::engine::later(world.clock.now(), Duration::from_mins(10));
    world.server.will("a.efi", &[Act::Fail(FetchError::Limited { until, words: "asked too often".into() })]);
    world.start();
    for name in ["a.efi", "c.efi"] {
        world.until_told(name, 1, waits).await;
    }
    assert_eq!(world.server.asked().len(), 2);
    world.server.go_on();
    world.until_fetched("b.efi").await;
    assert_eq!(world.server.asked().len(), 2);
    world.clock.pass(Duration::from_mins(10));
    world.until_fetched("a.efi").await;
    world.until_fetched("c.efi").await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_again() {
    let a = bytes(1);
    let world = World::new(&[("a.efi", &a)]).await;
    world.server.will("a.efi", &[Act::Hang(70_000)]);
    world.start();
    while world.images.progress().first().is_none_or(|progress| progress.got < 70_000) {
        tokio::task::yield_now().await;
    }
    let told = loop {
        // It may look at the clock only after that has moved.
        world.clock.pass(Duration::from_mins(1));
        tokio::task::yield_now().await;
        let told = world.told("a.efi").await;
        if told.iter().any(waits) {
            break told;
        }
    };
    let silent = |what: &Happening| matches!(what, Happening::Waits { reason } if reason.contains("nothing came for 1 min"));
    assert!(told.iter().any(silent), "{told:?}");
    world.clock.pass(Duration::from_secs(1));
    world.until_fetched("a.efi").await;
    assert_eq!(world.server.asked()[1], Request::new("a.efi", 70_000, Some("\"v1\"")));
}

#[tokio::test]
async fn an_image_larger_than_the_cache_waits_and_says_what_to_do() {
    let (a, b) = (bytes(1), b"small".to_vec());
    let mut world = World::new(&[("a.efi", &a), ("b.efi", &b)]).await;
    world.settings.limit = 1000;
    world.start();
    world.until_fetched("b.efi").await;
    world.until_told("a.efi", 1, waits).await;
    let reason = world.job("a.efi").await.waits.unwrap_or_default();
    assert!(reason.contains("--cache-size"), "{reason}");
    assert_eq!(world.server.asked().len(), 1);
}

fn any_act() -> impl Strategy<Value = Act> {
    let part = || 0..100_000_usize;
    let error = |make: fn(String) -> FetchError| Act::Fail(make("trouble".to_owned()));
    prop_oneof![
        4 => part().prop_map(Act::Break),
        2 => part().prop_map(Act::End),
        1 => Just(Act::Whole),
        1 => Just(Act::AnyVersion),
        1 => (0..100_000_u64).prop_map(Act::Odd),
        2 => Just(Act::Wrong),
        1 => Just(Act::Long),
        1 => Just(Act::Size(7)),
        1 => Just(error(FetchError::Unreachable)),
        1 => Just(error(FetchError::NotThere)),
        1 => Just(error(FetchError::Denied)),
    ]
}

/// Fetches an image in spite of all that, in sessions that end after so many requests.
async fn in_spite_of(acts: &[Act], sessions: &[usize]) {
    let a = bytes(1);
    let found = [file("a.efi", &a)];
    let server = Server::new();
    server.has("a.efi", &a, Some("\"v1\""));
    server.will("a.efi", acts);
    let mut world = World::of(tempfile::TempDir::new().expect("a folder"), server, &found).await;
    for requests in sessions.iter().copied().chain([usize::MAX]) {
        world.start();
        loop {
            let read = world.open("a.efi").await;
            if let Ok(read) = &read {
                assert_eq!(*read, a, "nothing else is ever served");
            }
            let job = world.job("a.efi").await;
            if job.state == JobState::Done {
                let wrongs = acts.iter().filter(|act| matches!(act, Act::Wrong | Act::Long | Act::Size(_)));
                assert!(wrongs.count() >= 2, "{:?}", job.reason);
                return;
            }
            if requests == usize::MAX && read.is_ok() {
                return;
            }
            if read.is_ok() || world.server.asked().len() >= requests {
                break;
            }
            world.clock.pass(Duration::from_secs(5));
            tokio::task::yield_now().await;
        }
        world = world.restart(&found).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn whatever_the_server_does_nothing_but_the_image_is_served_and_it_comes_in_the_end(
        acts in proptest::collection::vec(any_act(), 0..8),
        sessions in proptest::collection::vec(1..6_usize, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(within(in_spite_of(&acts, &sessions)));
    }
}
