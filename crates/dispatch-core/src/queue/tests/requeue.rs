//! Jobs that come again by themselves.

use super::service::metal;
use super::*;
use crate::group::Group;

fn queue(limit: Option<u32>) -> Model {
    let mut queue = Model::service(vec![Group { retries: Some(0), ..metal("g", &[]) }]);
    queue.offer_names("g", &["a", "b"]);
    let a = queue.id("a");
    queue.requeues(a, true, limit).expect("set");
    queue
}

#[test]
fn a_job_comes_again_at_the_end_with_all_that_it_was() {
    let mut queue = queue(None);
    let edit = Edit {
        inputs: Some(BTreeMap::from([("k".into(), "v".into())])),
        priority: Some(0),
        dedupe_key: Some(Some("key".into())),
        ..Edit::default()
    };
    queue.edit("a", &edit).expect("edited");
    queue.given("r1").expect("a");
    queue.finish("r1");
    assert_eq!(queue.order("g"), ["b", "a"]);
    let jobs = queue.jobs("a");
    let (first, next) = (jobs[0], jobs[1]);
    assert_eq!((&first.inputs, &first.dedupe_key), (&next.inputs, &next.dedupe_key));
    assert_eq!((next.requeue_count, next.auto_requeue, next.not_before), (1, true, None));
    assert_eq!((first.verdict, first.auto_requeue), (Some(Verdict::Passed), false), "its line goes on there");
}

#[test]
fn a_job_comes_again_no_more_often_than_its_limit() {
    let mut queue = queue(Some(2));
    queue.delete("b").expect("deleted");
    for _ in 0..5 {
        if queue.given("r1").is_some() {
            queue.finish("r1");
        }
    }
    assert_eq!(queue.jobs("a").len(), 3);
    let first = queue.jobs("a")[0].id;
    queue.again(first).expect("retried");
    queue.given("r1").expect("a");
    queue.finish("r1");
    assert_eq!(queue.jobs("a").len(), 3, "one that is asked for again begins no second line");
}

#[test]
fn after_errors_a_job_waits_longer_each_time_and_not_after_it_passed() {
    let mut queue = queue(None);
    queue.delete("b").expect("deleted");
    for seconds in [60, 120, 240] {
        queue.given("r1").expect("a");
        queue.lose("r1");
        let next = queue.job("a");
        assert_eq!(next.not_before, Some(queue.now + Duration::from_secs(seconds)));
        assert_eq!(queue.given("r1"), None);
        queue.pass(seconds);
    }
    queue.given("r1").expect("a");
    queue.finish("r1");
    assert_eq!(queue.job("a").not_before, None);
}

#[test]
fn a_cancelled_job_comes_again_and_a_deleted_one_does_not() {
    let mut queue = queue(None);
    let a = queue.id("a");
    queue.stop(a).expect("cancelled");
    assert_eq!(queue.order("g"), ["b", "a"]);
    queue.delete("a").expect("deleted");
    assert_eq!(queue.order("g"), ["b"]);
}

#[test]
fn the_end_of_a_job_and_its_next_one_are_one_transaction() {
    let mut queue = queue(None);
    queue.given("r1").expect("a");
    let run = queue.latest("a").id;
    let snapshot = queue.snapshot.clone();
    let outcome = snapshot.note(run, &RunEvent::Disputed { why: "two".into() }, queue.now);
    let jobs = outcome.changes.iter().filter_map(|change| match change {
        Change::Job(job) if job.name == "a" => Some(job.state),
        _ => None,
    });
    let states: Vec<JobState> = jobs.collect();
    assert!(states.contains(&JobState::Done) && states.contains(&JobState::Queued), "{states:?}");
}

#[test]
fn a_group_that_is_drained_gets_no_next_one() {
    let mut queue = queue(None);
    queue.given("r1").expect("a");
    queue.switch("g", Switch::Draining).expect("a group");
    queue.finish("r1");
    assert_eq!(queue.order("g"), ["b"]);
}

#[test]
fn a_new_version_is_what_comes_again() {
    let mut queue = queue(None);
    queue.given("r1").expect("a");
    queue.offer("g", &[file("a", 2000), file("b", 1000)]);
    queue.finish("r1");
    queue.offer("g", &[file("a", 2000), file("b", 1000)]);
    let waits = queue.jobs("a").into_iter().filter(|job| job.state == JobState::Queued);
    let sizes = waits.map(|job| queue.snapshot.workload_of(job.id).expect("one").size);
    assert!(sizes.clone().count() > 0 && sizes.into_iter().all(|size| size == 2000));
}
