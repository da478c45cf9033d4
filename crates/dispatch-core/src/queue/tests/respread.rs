//! A source spreads its workloads otherwise than before.

use super::service::{group, metal};
use super::*;
use crate::group::Spread;
use crate::workload::SourceId;

/// A service with three hosts, of which the first two are in one rack.
fn service() -> Model {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for (name, rack) in [("r1", "rack:1"), ("r2", "rack:1"), ("r3", "rack:2")] {
        queue.idle(name);
        queue.label(name, &[rack]);
    }
    queue
}

/// The source offers one file, spread so.
fn offer(queue: &mut Model, spread: &Spread) -> Synced {
    let (source, group) = (SourceId::new("g"), group("g"));
    let supply = Supply { source, group, is_queued: true, spread: spread.clone(), priority: 0 };
    let files = [file("a", 1000)];
    queue.look(&supply, &files, &Looks::agreed(&files))
}

fn racks() -> Spread {
    Spread::Each("rack".to_owned())
}

/// All that waits runs. Returns the hosts that it ran on.
fn run_all(queue: &mut Model) -> Vec<&'static str> {
    let mut ran = Vec::new();
    loop {
        let before = ran.len();
        for name in ["r1", "r2", "r3"] {
            if queue.given(name).is_some() {
                queue.finish(name);
                ran.push(name);
            }
        }
        if ran.len() == before {
            ran.sort_unstable();
            return ran;
        }
    }
}

#[test]
fn a_host_on_which_a_version_has_come_out_does_not_run_it_again() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    assert_eq!(run_all(&mut queue), ["r1"]);
    offer(&mut queue, &racks());
    assert_eq!(run_all(&mut queue), ["r3"], "rack 1 has it");
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(run_all(&mut queue), ["r2"]);
    for spread in [Spread::Any, racks(), Spread::EachHost] {
        offer(&mut queue, &spread);
        assert!(run_all(&mut queue).is_empty(), "{spread}");
    }
}

#[test]
fn a_job_for_any_host_that_waits_makes_room_for_one_for_each() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(queue.order("g").len(), 3);
    let first = queue.jobs("a")[0];
    assert!(
        first.state == JobState::Cancelled && first.reason.as_deref().expect("why").contains("each-host")
    );
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(queue.order("g").len(), 3, "it stays where it is");
    assert_eq!(run_all(&mut queue), ["r1", "r2", "r3"]);
}

#[test]
fn jobs_for_single_hosts_that_wait_stay_and_nothing_is_added() {
    for spread in [Spread::Any, racks()] {
        let mut queue = service();
        offer(&mut queue, &Spread::EachHost);
        offer(&mut queue, &spread);
        assert_eq!(queue.jobs("a").len(), 3, "{spread}");
        assert_eq!(run_all(&mut queue), ["r1", "r2", "r3"]);
        offer(&mut queue, &spread);
        assert!(run_all(&mut queue).is_empty());
    }
}

#[test]
fn nothing_is_added_while_a_run_may_yet_come_back_for_any_host() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    queue.given("r1").expect("work");
    let synced = offer(&mut queue, &Spread::EachHost);
    assert!(synced.is_left, "it is to be looked at when that run is over");
    assert!(queue.order("g").is_empty());
    queue.finish("r1");
    assert!(!offer(&mut queue, &Spread::EachHost).is_left);
    assert_eq!(run_all(&mut queue), ["r2", "r3"]);
}

#[test]
fn a_run_in_one_rack_keeps_no_host_of_another_from_its_own() {
    let mut queue = service();
    offer(&mut queue, &racks());
    queue.given("r1").expect("work");
    assert!(offer(&mut queue, &Spread::EachHost).is_left);
    assert_eq!(queue.given("r2"), None, "it may come back for that");
    assert_eq!(queue.given("r3").as_deref(), Some("a"));
}

#[test]
fn each_host_has_one_run_though_what_was_for_any_errored_on_one_and_passed_on_another() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    queue.given("r1").expect("work");
    offer(&mut queue, &Spread::EachHost);
    queue.lose("r1");
    queue.given("r2").expect("it is tried again");
    queue.finish("r2");
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(run_all(&mut queue), ["r1", "r3"], "of r1 nothing is known, and r2 has it");
}

/// What was for any host is done on the first; each is to have its own by now, and a person asks for the first again.
fn asked_again() -> (Model, JobId) {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    assert_eq!(run_all(&mut queue), ["r1"]);
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(run_all(&mut queue), ["r2", "r3"]);
    let job = queue.jobs("a")[0].id;
    queue.again(job).expect("over");
    (queue, job)
}

fn state_of(queue: &Model, id: JobId) -> JobState {
    queue.snapshot.jobs.iter().find(|job| job.id == id).expect("a job").state
}

#[test]
fn what_a_person_asked_for_again_makes_no_room() {
    let (mut queue, job) = asked_again();
    for _ in 0..3 {
        offer(&mut queue, &Spread::EachHost);
        assert_eq!(state_of(&queue, job), JobState::Queued);
    }
    assert_eq!(run_all(&mut queue).len(), 1);
}

#[test]
fn what_a_person_asked_for_again_leaves_with_its_file_also_if_it_runs_then() {
    let (mut queue, job) = asked_again();
    offer(&mut queue, &Spread::EachHost);
    queue.given("r1").expect("work");
    let supply = Supply {
        source: SourceId::new("g"),
        group: group("g"),
        is_queued: true,
        spread: Spread::EachHost,
        priority: 0,
    };
    queue.look(&supply, &[], &Looks::agreed(&[]));
    queue.lose("r1");
    assert_eq!(state_of(&queue, job), JobState::Queued);
    queue.look(&supply, &[], &Looks::agreed(&[]));
    assert_eq!(state_of(&queue, job), JobState::Cancelled);
}

/// What a source offers, for as many hosts, of which none has joined after the others yet.
fn many(hosts: usize, files: &[Found]) -> Model {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for number in 0..hosts {
        queue.idle(&format!("h{number}"));
    }
    queue.offer("g", files);
    queue.snapshot.jobs.clear();
    for workload in queue.snapshot.workloads.clone() {
        queue.snapshot.past.insert(workload.id, BTreeSet::new());
    }
    queue
}

/// How long it takes to decide, and how many jobs come of it.
#[expect(clippy::disallowed_methods, reason = "that it does not take long is what is to be shown")]
fn decided(queue: &mut Model, files: &[Found]) -> (Duration, usize) {
    let (source, group) = (SourceId::new("g"), group("g"));
    let supply = Supply { source, group, is_queued: true, spread: Spread::EachHost, priority: 0 };
    let (now, mut seed, snapshot) = (queue.now, 1_u64 << 40, queue.snapshot.clone());
    let mut random = || {
        seed += 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&seed.to_be_bytes());
        bytes
    };
    let mut context = Context { now, random: &mut random };
    let begin = std::time::Instant::now();
    let outcome = snapshot.sync_source(&supply, files, &Looks::agreed(files), &mut context);
    let took = begin.elapsed();
    for change in &outcome.changes {
        if let Change::Workload(workload) = change {
            let known = queue.snapshot.workloads.iter_mut().find(|known| known.id == workload.id);
            known.expect("known").clone_from(workload);
        }
    }
    (took, outcome.changes.iter().filter(|change| matches!(change, Change::Job(_))).count())
}

#[test]
fn many_workloads_on_many_hosts_do_not_hold_up_everybody_else() {
    let files: Vec<Found> = (0..500).map(|number| file(&format!("f{number}"), 1000)).collect();
    let mut queue = many(100, &files);
    let (took, jobs) = decided(&mut queue, &files);
    assert!(jobs == 50_000 && took.as_secs() < 30, "{jobs} jobs in {took:?}");
    queue.idle("late");
    let (took, jobs) = decided(&mut queue, &files);
    assert!(jobs == 500 && took.as_secs() < 15, "{jobs} jobs in {took:?}");
}

#[test]
fn what_errored_and_was_to_be_tried_again_is_tried_under_the_new_spread() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    queue.given("r1").expect("work");
    queue.lose("r1");
    assert_eq!(queue.order("g").len(), 1, "it is tried again");
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(run_all(&mut queue), ["r1", "r2", "r3"]);
}

#[test]
fn a_host_that_joins_after_the_change_gets_its_own() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    run_all(&mut queue);
    offer(&mut queue, &Spread::EachHost);
    run_all(&mut queue);
    queue.idle("r4");
    offer(&mut queue, &Spread::EachHost);
    assert_eq!(queue.given("r4").as_deref(), Some("a"));
}
