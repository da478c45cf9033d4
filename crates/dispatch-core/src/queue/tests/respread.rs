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
fn a_host_that_runs_it_is_asked_for_no_more_until_that_is_over() {
    let mut queue = service();
    offer(&mut queue, &Spread::Any);
    queue.given("r1").expect("work");
    let synced = offer(&mut queue, &Spread::EachHost);
    assert!(synced.is_left, "it is to be looked at when that run is over");
    assert_eq!(queue.order("g").len(), 2);
    queue.finish("r1");
    assert!(!offer(&mut queue, &Spread::EachHost).is_left);
    assert_eq!(run_all(&mut queue), ["r2", "r3"]);
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
