//! How many jobs a workload becomes, and that each is made once.

use super::service::{group, key, listed, metal};
use super::*;
use crate::group::Spread;
use crate::workload::SourceId;

fn supply(spread: Spread) -> Supply {
    Supply { source: SourceId::new("g"), group: group("g"), is_queued: true, spread, priority: 0 }
}

fn pins<'a>(queue: &'a Model, name: &str) -> Vec<Option<&'a str>> {
    let mut pins: Vec<Option<&str>> = queue.jobs(name).iter().map(|job| job.pin.as_deref()).collect();
    pins.sort_unstable();
    pins
}

fn own(queue: &Model, name: &str) -> String {
    format!("host:{}", queue.host(name).id)
}

#[test]
fn each_host_that_fits_gets_a_job_of_its_own() {
    let mut queue = Model::service(vec![metal("g", &["x"])]);
    for name in ["r1", "r2", "r3"] {
        queue.idle(name);
    }
    queue.label("r1", &["x"]);
    queue.label("r3", &["X"]);
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    let mut wanted = [own(&queue, "r1"), own(&queue, "r3")];
    wanted.sort();
    assert_eq!(pins(&queue, "a"), wanted.each_ref().map(|pin| Some(pin.as_str())));
    assert_eq!(queue.given("r2"), None);
    for name in ["r1", "r3"] {
        assert_eq!(queue.given(name).as_deref(), Some("a"));
        queue.finish(name);
        assert_eq!(queue.given(name), None);
    }
}

#[test]
fn a_host_that_joins_later_gets_its_job_once() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.idle("r1");
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    queue.idle("r2");
    for _ in 0..3 {
        queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    }
    assert_eq!(queue.jobs("a").len(), 2);
}

#[test]
fn a_listed_host_that_was_never_seen_has_its_job_waiting() {
    let mut queue = Model::service(vec![metal("g", &["x"])]);
    queue.snapshot.policy.listed = [listed("r1", &["x"]), listed("r2", &[])].into();
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    assert_eq!(pins(&queue, "a"), [Some("host:r1")]);
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    assert_eq!(queue.jobs("a").len(), 1, "it is the same host");
}

#[test]
fn a_host_that_is_called_otherwise_does_not_run_it_again() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.idle("r1");
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    queue.finish("r1");
    for name in ["one", "two"] {
        let edit = HostEdit { key: Some(Some(key(name))), ..HostEdit::default() };
        queue.edit_host("r1", &edit).expect("a host");
        queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
        assert_eq!(queue.jobs("a").len(), 1, "{name}");
    }
}

#[test]
fn each_value_of_a_label_gets_one_whatever_its_case() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for (name, label) in [("r1", "rack:1"), ("r2", "RACK:1"), ("r3", "Rack:2"), ("r4", "row:3")] {
        queue.idle(name);
        queue.label(name, &[label]);
    }
    queue.supply(&supply(Spread::Each("rack".into())), &[file("a", 1000)]);
    assert_eq!(queue.jobs("a").len(), 2);
    assert!(queue.given("r4").is_none() && queue.given("r3").is_some() && queue.given("r1").is_some());
    assert_eq!(queue.given("r2"), None, "its rack has it");
}

#[test]
fn a_job_by_hand_for_each_host_needs_one_and_no_dedupe_key() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    let spread = NewJob { spread: Some(Spread::EachHost), ..queue.by_hand("a") };
    assert_eq!(queue.add("g", spread.clone()), Err((0, NotDone::NoHostFits)));
    queue.pause("a", true).expect("paused");
    queue.idle("r1");
    queue.idle("r2");
    let keyed = NewJob { dedupe_key: Some("k".into()), ..spread.clone() };
    assert_eq!(queue.add("g", keyed), Err((0, NotDone::SpreadWithKey)));
    assert_eq!(queue.add("g", spread).expect("made").len(), 2);
}

#[test]
fn a_source_that_never_queues_lists_what_jobs_can_be_made_of() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.supply(&Supply { is_queued: false, ..supply(Spread::Any) }, &[file("a", 1000)]);
    assert!(queue.snapshot.jobs.is_empty());
    queue.add("g", queue.by_hand("a")).expect("made");
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
}

#[test]
fn a_version_that_has_run_is_not_run_again_when_it_comes_back() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for size in [1000, 2000] {
        queue.offer("g", &[file("a", size)]);
        queue.given("r1").expect("work");
        queue.finish("r1");
    }
    for size in [1000, 2000, 1000] {
        queue.offer("g", &[file("a", size)]);
        assert_eq!(queue.given("r1"), None, "{size}");
    }
    queue.offer("g", &[file("a", 3000)]);
    assert!(queue.given("r1").is_some(), "that is a new one");
}

#[test]
fn a_version_that_was_replaced_before_it_ran_is_run_when_it_comes_back() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for size in [1000, 2000, 1000] {
        queue.offer("g", &[file("a", size)]);
    }
    assert_eq!(queue.jobs("a").len(), 1);
    queue.given("r1").expect("work");
    assert_eq!(
        queue.snapshot.workloads.iter().find(|known| known.id == queue.job("a").workload).expect("one").size,
        1000
    );
    queue.finish("r1");
    queue.offer("g", &[file("a", 2000)]);
    assert!(queue.given("r1").is_some(), "the other has not run");
}

#[test]
fn what_is_offered_no_more_leaves_the_queue_and_comes_back_with_its_file() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a", "b"]);
    let mine = NewJob { name: Some("mine".into()), ..queue.by_hand("a") };
    queue.add("g", mine).expect("made");
    queue.offer_names("g", &["b"]);
    assert_eq!((queue.job("a").state, queue.job("a").is_withdrawn), (JobState::Cancelled, true));
    assert_eq!(queue.job("mine").state, JobState::Queued, "a person asked for it");
    queue.offer_names("g", &["a", "b"]);
    assert_eq!(queue.jobs("a").len(), 1);
    assert_eq!(queue.job("a").state, JobState::Queued);
}

#[test]
fn what_a_person_took_out_does_not_come_back_with_its_file() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue.delete("a").expect("deleted");
    let b = queue.id("b");
    queue.stop(b).expect("cancelled");
    for names in [&["a", "b"][..], &[], &["a", "b"]] {
        queue.offer_names("g", names);
        assert!(queue.order("g").is_empty());
    }
}

#[test]
fn a_group_that_is_drained_queues_nothing_until_it_is_open_again() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    queue.switch("g", Switch::Draining).expect("a group");
    queue.offer_names("g", &["a", "b"]);
    assert_eq!(queue.order("g"), ["a"]);
    assert_eq!(queue.add("g", queue.by_hand("b")), Err((0, NotDone::Draining)));
    assert!(queue.given("r1").is_some(), "what it has goes on");
    let a = queue.id("a");
    queue.stop(a).expect("cancelled");
    assert_eq!(queue.again(a), Err(NotDone::Draining));
    queue.switch("g", Switch::Open).expect("a group");
    queue.offer_names("g", &["a", "b"]);
    assert_eq!(queue.order("g"), ["b"]);
}

#[test]
fn a_new_version_keeps_the_place_that_people_gave_the_job() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue.edit("b", &Edit { priority: Some(7), ..Edit::default() }).expect("edited");
    queue.offer("g", &[file("a", 1000), file("b", 2000)]);
    assert_eq!((queue.job("b").priority, queue.order("g")), (7, vec!["b", "a"]));
}

#[test]
fn a_file_that_is_found_changed_when_it_is_asked_for_is_a_version_of_the_same_source() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.idle("r1");
    queue.idle("r2");
    queue.supply(&supply(Spread::EachHost), &[file("a", 1000)]);
    let old = queue.job("a").workload;
    queue.decide(|snapshot, context| snapshot.replace(old, &file("a", 2000), context));
    assert!(queue.jobs("a").iter().all(|job| job.workload != old));
    queue.supply(&supply(Spread::EachHost), &[file("a", 2000)]);
    assert_eq!(queue.jobs("a").len(), 2, "they are for it already");
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
}
