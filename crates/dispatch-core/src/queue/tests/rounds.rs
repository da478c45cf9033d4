//! How sessions begin and end.

use super::*;

fn files() -> [Found; 3] {
    [file("a", 1000), file("b", 1000), file("c", 1000)]
}

/// A round in which `a` passed, `b` failed and `c` errored.
fn over() -> Model {
    let mut queue = Model::new(&["a", "b", "c"]);
    queue.snapshot.policy.retries = 0;
    for (text, verdict) in [("one", Verdict::Passed), ("two", Verdict::Failed)] {
        queue.boot(1);
        queue.put(1, None, text, verdict);
        queue.pass(1000);
        queue.tick();
    }
    queue.boot(1);
    queue.pass(100_000);
    queue.tick();
    queue
}

fn open(queue: &mut Model, again: &[Verdict]) -> Opened {
    queue.decide(|snapshot, context| snapshot.open(&files(), again, context))
}

fn queued(queue: &Model) -> Vec<&str> {
    let jobs = queue.snapshot.jobs.iter().filter(|job| job.state == JobState::Queued);
    jobs.map(|job| job.name.as_str()).collect()
}

#[test]
fn when_everything_is_over_starting_again_begins_a_new_round_with_fresh_attempts() {
    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    let Opened::Round(round, 3) = open(&mut queue, &[]) else { panic!("a new round") };
    assert_eq!(round.number, 2);
    assert_eq!(queued(&queue), ["a", "b", "c"]);
    queue.boot(2);
    assert_eq!(queue.latest("a").attempt, 1);
    assert_eq!(queue.snapshot.workloads.len(), 3, "the same files are the same workloads");
}

#[test]
fn only_what_came_out_so_is_run_again() {
    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    assert!(matches!(open(&mut queue, &[Verdict::Failed, Verdict::Errored]), Opened::Round(_, 2)));
    assert_eq!(queued(&queue), ["b", "c"]);
    // Cut off, and started again without the option: it goes on with the same.
    assert_eq!(open(&mut queue, &[]), Opened::GoesOn(0));
    assert_eq!(queued(&queue), ["b", "c"]);
    let more = [file("a", 1000), file("b", 1000), file("c", 1000), file("d", 1000)];
    queue.decide(|snapshot, context| snapshot.open(&more, &[], context));
    assert_eq!(queued(&queue), ["b", "c", "d"], "a new file is new in every round");
}

#[test]
fn nothing_that_came_out_so_is_said_and_begins_nothing() {
    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    let Opened::NothingAgain(tally) = open(&mut queue, &[Verdict::Unjudged]) else { panic!("nothing is") };
    assert_eq!(tally, "1 passed, 1 failed, 1 errored");
    assert!(queued(&queue).is_empty());
    assert!(matches!(open(&mut queue, &[]), Opened::Round(_, 3)));
}

/// A restart by a supervisor after a crash must not run everything again.
#[test]
fn a_session_that_was_cut_off_begins_no_new_round() {
    let mut queue = over();
    assert!(matches!(open(&mut queue, &[]), Opened::AllOver(_)));
    assert!(queued(&queue).is_empty());
}

#[test]
fn a_session_that_ends_with_jobs_left_goes_on() {
    let mut queue = Model::new(&["a", "b", "c"]);
    queue.decide(|snapshot, _| snapshot.close());
    assert_eq!(open(&mut queue, &[]), Opened::GoesOn(0));
    assert_eq!(queued(&queue).len(), 3);
}

#[test]
fn what_came_out_so_is_taken_again_while_others_are_left() {
    let mut queue = Model::new(&["a", "b", "c"]);
    queue.boot(1);
    queue.put(1, None, "bad", Verdict::Failed);
    queue.pass(1000);
    queue.tick();
    assert_eq!(open(&mut queue, &[Verdict::Failed]), Opened::GoesOn(1));
    assert_eq!(queued(&queue), ["a", "b", "c"]);
}

fn ends(queue: &Model) -> Ending {
    let state = &queue.snapshot;
    ending(&state.jobs, &state.runs, &state.hosts, Duration::from_mins(2))
}

#[test]
fn a_session_ends_when_all_is_over_and_its_hosts_have_been_told() {
    let mut queue = Model::new(&["a"]);
    assert_eq!(ends(&queue), Ending::NotYet);
    queue.boot(1);
    queue.put(1, None, "good", Verdict::Passed);
    assert_eq!(ends(&queue), Ending::NotYet);
    queue.pass(10);
    // It asks, which ends its run; what tells it to power off is not fetched yet.
    queue.ask(1, Ask::Head);
    let until = queue.now.checked_add(Duration::from_mins(2)).expect("a time");
    assert_eq!(ends(&queue), Ending::At(until));
    queue.ask(1, Ask::Get);
    assert_eq!(ends(&queue), Ending::Now);
}

#[test]
fn a_host_that_waits_here_is_sent_away_before_the_end() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::Wait);
    queue.boot(1);
    queue.ask(2, Ask::Get);
    queue.put(1, None, "good", Verdict::Passed);
    queue.pass(10);
    queue.ask(1, Ask::Get);
    assert!(matches!(ends(&queue), Ending::At(_)), "the other one has not asked since");
    queue.pass(10);
    queue.ask(2, Ask::Get);
    assert_eq!(ends(&queue), Ending::Now);
}

#[test]
fn the_exit_status_is_that_of_the_worst_job() {
    let with = |verdicts: &[Option<Verdict>]| {
        let queue = Model::new(&["a", "b"]);
        let mut jobs = queue.snapshot.jobs.clone();
        for (job, verdict) in jobs.iter_mut().zip(verdicts) {
            job.verdict = *verdict;
            job.state = if verdict.is_some() { JobState::Done } else { JobState::Cancelled };
        }
        exit_status(&jobs)
    };
    let [passed, unjudged, failed, errored] =
        [Verdict::Passed, Verdict::Unjudged, Verdict::Failed, Verdict::Errored].map(Some);
    assert_eq!(with(&[passed, unjudged]), 0);
    assert_eq!(with(&[errored, failed]), 3);
    assert_eq!(with(&[passed, errored]), 4);
    assert_eq!(with(&[passed, None]), 4, "cancelled is not passed");
}
