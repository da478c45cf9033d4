//! Places in a queue: priorities, moves, new orders.

use super::service::{group, metal};
use super::*;

fn queue(names: &[&str]) -> Model {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", names);
    queue
}

#[test]
fn higher_priority_goes_first_and_among_equals_the_place_decides() {
    let mut queue = queue(&["a", "b", "c"]);
    queue.edit("c", &Edit { priority: Some(1), ..Edit::default() }).expect("edited");
    assert_eq!(queue.order("g"), ["c", "a", "b"]);
    assert_eq!(queue.given("r1").as_deref(), Some("c"));
}

#[test]
fn a_job_goes_before_behind_first_or_last() {
    let mut queue = queue(&["a", "b", "c", "d"]);
    queue.shift("d", Place::First).expect("moved");
    assert_eq!(queue.order("g"), ["d", "a", "b", "c"]);
    queue.shift("d", Place::Last).expect("moved");
    assert_eq!(queue.order("g"), ["a", "b", "c", "d"]);
    let (b, c) = (queue.id("b"), queue.id("c"));
    queue.shift("d", Place::Before(b)).expect("moved");
    assert_eq!(queue.order("g"), ["a", "d", "b", "c"]);
    queue.shift("a", Place::After(c)).expect("moved");
    assert_eq!(queue.order("g"), ["d", "b", "c", "a"]);
}

#[test]
fn a_job_that_is_put_beside_another_takes_its_priority() {
    let mut queue = queue(&["a", "b", "c"]);
    queue.edit("a", &Edit { priority: Some(5), ..Edit::default() }).expect("edited");
    let a = queue.id("a");
    queue.shift("c", Place::Before(a)).expect("moved");
    assert_eq!(queue.order("g"), ["c", "a", "b"]);
    assert_eq!(queue.job("c").priority, 5);
}

#[test]
fn a_job_that_is_there_already_is_not_changed() {
    let mut queue = queue(&["a", "b"]);
    queue.edit("a", &Edit { priority: Some(5), ..Edit::default() }).expect("edited");
    let before = queue.job("a").clone();
    let b = queue.id("b");
    for place in [Place::First, Place::Before(b), Place::Before(before.id)] {
        queue.shift("a", place).expect("there");
        assert_eq!(*queue.job("a"), before);
    }
    assert_eq!(queue.told(|what| *what == Happening::Moved), 0);
}

#[test]
fn without_room_a_move_says_so_and_room_can_be_made_unseen() {
    let mut queue = queue(&["a", "b", "c"]);
    let b = queue.id("b");
    let crowd = |job: &mut Job, position| job.position = position;
    for (job, position) in queue.snapshot.jobs.iter_mut().zip([7, 8, 9]) {
        crowd(job, position);
    }
    assert_eq!(queue.shift("c", Place::Before(b)), Err(NotDone::Crowded));
    queue.decide(|snapshot, _| snapshot.spread_out(&group("g")));
    assert_eq!(queue.order("g"), ["a", "b", "c"]);
    queue.shift("c", Place::Before(b)).expect("there is room");
    assert_eq!(queue.order("g"), ["a", "c", "b"]);
}

#[test]
fn only_beside_what_waits_in_the_same_queue_there_is_a_place() {
    let mut queue = Model::service(vec![metal("g", &[]), metal("h", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue.offer_names("h", &["x"]);
    let (x, a) = (queue.id("x"), queue.id("a"));
    assert_eq!(queue.shift("a", Place::After(x)), Err(NotDone::NotBeside));
    queue.given("r1").expect("a");
    assert_eq!(queue.shift("b", Place::After(a)), Err(NotDone::NotBeside));
    assert_eq!(queue.shift("a", Place::First), Err(NotDone::Running));
}

#[test]
fn a_whole_list_is_the_order_of_the_queue_then() {
    let mut queue = queue(&["a", "b", "c", "d"]);
    let done = queue.reorder("g", &["c", "d", "b", "a"]).expect("ordered");
    assert_eq!((done.moved, done.left), (4, Vec::new()));
    assert_eq!(queue.order("g"), ["c", "d", "b", "a"]);
    assert_eq!(queue.reorder("g", &["c", "d", "b", "a"]).expect("ordered").moved, 0);
}

#[test]
fn a_list_of_some_changes_their_places_among_themselves_alone() {
    let mut queue = queue(&["a", "b", "c", "d"]);
    queue.edit("a", &Edit { priority: Some(5), ..Edit::default() }).expect("edited");
    queue.reorder("g", &["d", "a"]).expect("ordered");
    assert_eq!(queue.order("g"), ["d", "b", "c", "a"]);
    assert_eq!((queue.job("d").priority, queue.job("a").priority), (5, 0));
}

#[test]
fn a_list_names_what_has_begun_meanwhile_and_orders_the_rest() {
    let mut queue = queue(&["a", "b", "c"]);
    queue.given("r1").expect("a");
    let done = queue.reorder("g", &["c", "a", "b"]).expect("ordered");
    assert_eq!(done.left, [queue.id("a")]);
    assert_eq!(queue.order("g"), ["c", "b"]);
}

#[test]
fn a_list_with_a_job_twice_or_of_elsewhere_changes_nothing() {
    let mut queue = Model::service(vec![metal("g", &[]), metal("h", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue.offer_names("h", &["x"]);
    assert_eq!(queue.reorder("g", &["b", "a", "b"]), Err(NotDone::Twice));
    assert_eq!(queue.reorder("g", &["b", "x"]), Err(NotDone::Elsewhere));
    assert_eq!(queue.order("g"), ["a", "b"]);
}

#[test]
fn an_order_is_given_to_jobs_as_they_were_seen_or_to_none() {
    let mut queue = queue(&["a", "b"]);
    let list = [queue.id("b"), queue.id("a")];
    let seen =
        list.map(|id| (id, queue.snapshot.jobs.iter().find(|job| job.id == id).map_or(0, |job| job.version)));
    queue.edit("a", &Edit { retries: Some(Some(1)), ..Edit::default() }).expect("edited");
    let reorder = |queue: &mut Model, seen: &[(JobId, u64)]| {
        let seen = seen.iter().copied().collect();
        queue.decide(|snapshot, context| snapshot.reorder(&group("g"), &list, &seen, None, context.now))
    };
    assert_eq!(reorder(&mut queue, &seen), Err(NotDone::OneChanged(list[1], seen[1].1 + 1)));
    assert_eq!(queue.order("g"), ["a", "b"]);
    reorder(&mut queue, &seen[..1]).expect("what is not named may be any version");
    assert_eq!(queue.order("g"), ["b", "a"]);
}

/// As many as one request may name, while everybody else waits for the decision.
#[test]
fn ten_thousand_jobs_are_turned_round() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    let first = queue.job("a").clone();
    let job = |number: i64| {
        let id = JobId::new(
            queue.now,
            u128::try_from(number).expect("positive").to_be_bytes()[6..].try_into().expect("ten"),
        );
        Job { id, position: number, ..first.clone() }
    };
    let jobs: Vec<Job> = (1..=10_000).map(job).collect();
    let list: Vec<JobId> = jobs.iter().rev().map(|job| job.id).collect();
    queue.snapshot.jobs = jobs;
    let done = queue.snapshot.clone().reorder(&group("g"), &list, &BTreeMap::new(), None, queue.now);
    assert_eq!(done.answer.map(|done| done.moved), Ok(10_000));
    let places = done.changes.iter().filter_map(|change| match change {
        Change::Job(job) => Some((job.id, job.position)),
        _ => None,
    });
    assert!(places.eq(list.into_iter().zip(1..=10_000)));
}
