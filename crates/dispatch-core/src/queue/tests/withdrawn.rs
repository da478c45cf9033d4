//! What leaves the queue because its source does not have it any more, and what comes back.

use super::service::{group, metal};
use super::*;
use crate::group::Spread;
use crate::workload::SourceId;

fn supply() -> Supply {
    let (source, group) = (SourceId::new("g"), group("g"));
    Supply { source, group, is_queued: true, spread: Spread::Any, priority: 0 }
}

/// A service whose source offers these, and what the looks at it agree on.
fn offering(names: &[&str]) -> (Model, Looks) {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", names);
    (queue, Looks::agreed(&files(names)))
}

fn files(names: &[&str]) -> Vec<Found> {
    names.iter().map(|name| file(name, 1000)).collect()
}

/// A complete look finds these.
fn look(queue: &mut Model, looks: &mut Looks, names: &[&str]) -> Synced {
    looks.complete(&files(names));
    queue.look(&supply(), &files(names), looks)
}

#[test]
fn a_folder_that_is_empty_for_one_look_empties_no_queue() {
    let (mut queue, mut looks) = offering(&["a", "b"]);
    assert!(look(&mut queue, &mut looks, &[]).is_missing, "another look is to decide");
    assert_eq!(queue.order("g"), ["a", "b"]);
    assert!(!look(&mut queue, &mut looks, &["a", "b"]).is_missing);
    look(&mut queue, &mut looks, &[]);
    assert_eq!(queue.order("g"), ["a", "b"], "the look between them saw everything");
    assert!(!look(&mut queue, &mut looks, &[]).is_missing);
    assert!(queue.order("g").is_empty() && queue.job("a").is_withdrawn);
}

#[test]
fn a_look_that_did_not_see_everything_says_nothing_of_what_is_gone() {
    let (mut queue, mut looks) = offering(&["a"]);
    look(&mut queue, &mut looks, &[]);
    looks.incomplete();
    queue.look(&supply(), &[], &looks);
    look(&mut queue, &mut looks, &[]);
    assert_eq!(queue.order("g"), ["a"], "no two complete looks were one directly after the other");
}

#[test]
fn the_first_look_of_a_service_withdraws_nothing() {
    let (mut queue, _) = offering(&["a"]);
    let mut looks = Looks::default();
    look(&mut queue, &mut looks, &[]);
    assert_eq!(queue.order("g"), ["a"]);
    look(&mut queue, &mut looks, &[]);
    assert!(queue.order("g").is_empty());
}

#[test]
fn what_comes_back_into_the_queue_after_its_file_has_gone_leaves_it_as_well() {
    let (mut queue, mut looks) = offering(&["a"]);
    let a = queue.id("a");
    queue.requeues(a, true, None).expect("a job");
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    look(&mut queue, &mut looks, &[]);
    assert!(look(&mut queue, &mut looks, &[]).is_left, "its run goes on");
    queue.finish("r1");
    assert_eq!(queue.order("g"), ["a"], "it comes again");
    assert_eq!(look(&mut queue, &mut looks, &[]), Synced::default());
    assert!(queue.order("g").is_empty());
    look(&mut queue, &mut looks, &["a"]);
    assert_eq!(queue.order("g"), ["a"]);
}

#[test]
fn what_a_person_asks_for_again_waits_even_without_its_file() {
    let (mut queue, mut looks) = offering(&["a"]);
    queue.given("r1").expect("work");
    queue.finish("r1");
    look(&mut queue, &mut looks, &[]);
    look(&mut queue, &mut looks, &[]);
    let a = queue.id("a");
    queue.again(a).expect("over");
    look(&mut queue, &mut looks, &[]);
    assert_eq!(queue.order("g"), ["a"]);
}

#[test]
fn what_never_ran_and_a_person_asks_for_again_waits_even_without_its_file() {
    let (mut queue, mut looks) = offering(&["a"]);
    look(&mut queue, &mut looks, &[]);
    look(&mut queue, &mut looks, &[]);
    let a = queue.id("a");
    queue.again(a).expect("it has left");
    for _ in 0..2 {
        assert_eq!(look(&mut queue, &mut looks, &[]), Synced::default(), "nobody waits for another look");
        assert_eq!(queue.order("g"), ["a"]);
    }
}

#[test]
fn what_a_person_asked_for_again_leaves_with_its_file_once_that_has_been_there_again() {
    let (mut queue, mut looks) = offering(&["a"]);
    look(&mut queue, &mut looks, &[]);
    look(&mut queue, &mut looks, &[]);
    let a = queue.id("a");
    queue.again(a).expect("it has left");
    look(&mut queue, &mut looks, &["a"]);
    leave_and_return(&mut queue);
    let mut looks = Looks::default();
    assert!(look(&mut queue, &mut looks, &[]).is_missing, "another look is to decide");
    look(&mut queue, &mut looks, &[]);
    assert!(queue.order("g").is_empty());
}

/// The source leaves the configuration and comes back.
fn leave_and_return(queue: &mut Model) {
    queue.configure(vec![crate::group::Group { sources: Vec::new(), ..metal("g", &[]) }]);
    queue.configure(vec![metal("g", &[])]);
}

#[test]
fn what_goes_while_its_source_is_not_in_the_configuration_leaves_the_queue_once_it_is_again() {
    let (mut queue, _) = offering(&["a", "b"]);
    leave_and_return(&mut queue);
    let mut looks = Looks::default();
    assert!(look(&mut queue, &mut looks, &["a"]).is_missing, "another look is to decide");
    assert_eq!(queue.order("g"), ["a", "b"]);
    assert!(!look(&mut queue, &mut looks, &["a"]).is_missing);
    assert_eq!((queue.order("g"), queue.job("b").is_withdrawn), (vec!["a"], true));
}

#[test]
fn what_comes_back_while_its_source_is_in_trouble_leaves_once_that_is_over() {
    let (mut queue, mut looks) = offering(&["a"]);
    let a = queue.id("a");
    queue.requeues(a, true, None).expect("a job");
    queue.given("r1").expect("work");
    look(&mut queue, &mut looks, &[]);
    look(&mut queue, &mut looks, &[]);
    looks.incomplete();
    queue.finish("r1");
    assert!(queue.look(&supply(), &[], &looks).is_missing, "it waits, and nobody knows whether it is gone");
    assert!(look(&mut queue, &mut looks, &[]).is_missing);
    assert_eq!(look(&mut queue, &mut looks, &[]), Synced::default());
    assert!(queue.order("g").is_empty());
}

#[test]
fn nothing_comes_back_into_a_group_that_is_drained() {
    let (mut queue, mut looks) = offering(&["a"]);
    look(&mut queue, &mut looks, &[]);
    look(&mut queue, &mut looks, &[]);
    queue.switch("g", Switch::Draining).expect("a group");
    look(&mut queue, &mut looks, &["a"]);
    assert!(queue.order("g").is_empty());
    queue.switch("g", Switch::Open).expect("a group");
    look(&mut queue, &mut looks, &["a"]);
    assert_eq!((queue.order("g"), queue.jobs("a").len()), (vec!["a"], 1));
}

#[test]
fn a_new_version_of_what_has_left_is_queued_once_and_leaves_the_old_one_where_it_is() {
    let (mut queue, _) = offering(&["a"]);
    queue.offer("g", &[]);
    let old = queue.job("a").id;
    for _ in 0..2 {
        queue.offer("g", &[file("a", 2000)]);
        assert_eq!(queue.order("g"), ["a"]);
        let (new, jobs) = (queue.job("a"), queue.jobs("a"));
        assert_eq!((new.is_withdrawn, new.state, jobs.len()), (false, JobState::Queued, 2));
        assert_eq!(jobs.iter().find(|job| job.id == old).expect("kept").state, JobState::Cancelled);
    }
    queue.given("r1").expect("work");
    queue.finish("r1");
    queue.offer("g", &[file("a", 3000)]);
    assert_eq!(queue.order("g"), ["a"]);
    assert!(queue.jobs("a").iter().filter(|job| job.state == JobState::Queued).all(|job| !job.is_withdrawn));
}

#[test]
fn what_a_person_asked_for_again_is_for_the_version_that_is_offered() {
    let (mut queue, _) = offering(&["a"]);
    queue.given("r1").expect("work");
    queue.finish("r1");
    queue.offer("g", &[file("a", 2000)]);
    queue.given("r1").expect("work");
    queue.finish("r1");
    let old = queue.jobs("a")[0].id;
    queue.again(old).expect("over");
    for _ in 0..2 {
        queue.offer("g", &[file("a", 2000)]);
        assert_eq!(queue.order("g"), ["a"]);
    }
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    let run = queue.snapshot.runs.last().expect("a run");
    assert_eq!((run.job, run.size), (old, 2000));
}
