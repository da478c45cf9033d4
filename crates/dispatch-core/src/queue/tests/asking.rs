//! The rules for metal from the first request of a host to its reports, one test each.

use super::*;

const MINUTE: u64 = 60;

#[test]
fn head_assigns_the_first_job_by_priority_then_position() {
    let mut queue = Model::new(&["a.efi", "b.efi", "c.efi"]);
    queue.snapshot.jobs[2].priority = 5;
    assert_eq!(queue.head(1).as_deref(), Some("c.efi"));
    assert_eq!(queue.head(2).as_deref(), Some("a.efi"));
    assert_eq!(queue.head(3).as_deref(), Some("b.efi"));
    assert_eq!(queue.head(4), None);
}

#[test]
fn a_get_without_a_head_assigns_as_well() {
    let mut queue = Model::new(&["a.efi"]);
    assert!(matches!(queue.ask(1, Ask::Get), Offer::Image { .. }));
    assert_eq!(queue.state(1), Some(RunState::Assigned));
}

/// What used to hurt: a firmware that asks again was given the next workload.
#[test]
fn asking_again_gets_the_same_run_until_it_has_booted() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
    let run = queue.active(1).expect("a run").id;
    for _ in 0..4 {
        assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
        queue.get(1, 1000);
        assert_eq!(queue.active(1).expect("a run").id, run);
    }
    assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
}

#[test]
fn asking_again_extends_no_deadline() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    let deadline = queue.active(1).expect("a run").deadline;
    queue.pass(MINUTE);
    queue.head(1);
    queue.ask(1, Ask::Get);
    assert_eq!(queue.active(1).expect("a run").deadline, deadline);

    queue.get(1, 1000);
    let deadline = queue.active(1).expect("a run").deadline;
    queue.pass(MINUTE);
    queue.head(1);
    assert_eq!(queue.active(1).expect("a run").deadline, deadline);
}

#[test]
fn a_download_of_nothing_extends_no_deadline_either() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    let deadline = queue.active(1).expect("a run").deadline;
    queue.pass(MINUTE);
    queue.get(1, 0);
    let run = queue.active(1).expect("a run");
    assert_eq!((run.state, run.deadline, run.broken), (RunState::Assigned, deadline, 0));
}

#[test]
fn an_assignment_that_is_never_fetched_goes_back_after_five_minutes_and_is_no_attempt() {
    let mut queue = Model::new(&["a.efi"]);
    for _ in 0..5 {
        queue.head(1);
        assert_eq!(queue.active(1).expect("a run").attempt, 1);
        queue.pass(5 * MINUTE - 1);
        queue.tick();
        assert_eq!(queue.state(1), Some(RunState::Assigned));
        queue.pass(1);
        queue.tick();
        assert_eq!(queue.state(1), None);
        assert_eq!(queue.job("a.efi").state, JobState::Queued);
    }
}

#[test]
fn get_moves_to_downloading_when_the_first_byte_goes_out() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    assert_eq!(queue.state(1), Some(RunState::Assigned));
    queue.begin(1);
    assert_eq!(queue.state(1), Some(RunState::Downloading));
}

#[test]
fn a_broken_download_returns_to_assigned_and_the_third_ends_the_run_errored() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    for nth in 1..=2 {
        queue.get(1, 500);
        let run = queue.active(1).expect("the run goes on");
        assert_eq!((run.state, run.broken), (RunState::Assigned, nth));
    }
    queue.get(1, 500);
    let run = queue.latest("a.efi");
    assert_eq!((run.state, run.verdict), (RunState::Failed, Some(Verdict::Errored)));
    assert!(run.reason.as_deref().is_some_and(|reason| reason.contains("broke off 3 times")), "{run:?}");
}

/// A host that was reset inside a download asks anew before we notice that the old connection is dead.
#[test]
fn how_an_older_transfer_ended_is_counted_and_disturbs_the_new_one_not() {
    for (end, sent, broken, wholes) in
        [(End::Broken, 700, 1, 0), (End::Whole, 1000, 0, 1), (End::Broken, 0, 0, 0)]
    {
        let mut queue = Model::new(&["a.efi"]);
        queue.ask(1, Ask::Get);
        queue.begin(1);
        let old = queue.active(1).expect("a run").clone();
        queue.ask(1, Ask::Get);
        queue.begin(1);
        let older = RunEvent::Ended { transfer: old.transfers, sent, count: sent, end };
        assert!(queue.decide(|snapshot, context| snapshot.note(old.id, &older, context.now)));
        let run = queue.active(1).expect("a run");
        assert_eq!((run.state, run.broken, run.wholes), (RunState::Downloading, broken, wholes));
        queue.end(1, 1000, End::Whole);
        assert!(queue.post(1).is_some());
    }
}

#[test]
fn a_broken_download_that_is_not_taken_up_again_is_errored_not_returned() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    queue.get(1, 500);
    queue.pass(5 * MINUTE);
    queue.tick();
    assert_eq!(queue.latest("a.efi").verdict, Some(Verdict::Errored));
}

#[test]
fn the_sixth_request_after_five_whole_downloads_ends_the_run_errored() {
    let mut queue = Model::new(&["a.efi"]);
    for _ in 0..5 {
        assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
        queue.get(1, 1000);
    }
    assert_eq!(queue.state(1), Some(RunState::Downloading));
    queue.head(1);
    let first = &queue.snapshot.runs[0];
    assert_eq!((first.state, first.verdict), (RunState::Failed, Some(Verdict::Errored)));
    assert!(first.reason.as_deref().is_some_and(|reason| reason.contains("crashes")), "{first:?}");
}

#[test]
fn post_moves_to_booting_and_is_idempotent() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    assert_eq!(queue.state(1), Some(RunState::Booting));
    assert_eq!(queue.post(1), Some(run));
    assert_eq!(queue.told(|what| matches!(what, Happening::Booting { .. })), 1);
}

#[test]
fn post_before_any_body_byte_is_refused_and_changes_nothing() {
    let mut queue = Model::new(&["a.efi"]);
    assert_eq!(queue.post(1), None);
    queue.head(1);
    let before = queue.active(1).cloned();
    assert_eq!(queue.post(1), None);
    assert_eq!(queue.active(1).cloned(), before);
    queue.get(1, 500);
    assert_eq!(queue.post(1), None, "a broken download is no image");
}

#[test]
fn post_while_downloading_is_taken() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    assert!(queue.post(1).is_some());
    assert_eq!(queue.state(1), Some(RunState::Booting));
    queue.end(1, 1000, End::Whole);
    assert_eq!(queue.state(1), Some(RunState::Booting));
}

/// What used to hurt: a second report of the same boot got 417 and was lost.
#[test]
fn a_second_different_report_is_stored_and_the_same_one_is_not_stored_twice() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    let first = queue.put(1, None, "one", Verdict::Passed).expect("taken");
    let again = queue.put(1, None, "one", Verdict::Passed).expect("taken");
    let second = queue.put(1, Some(run), "two", Verdict::Passed).expect("taken");
    assert!(!first.known && again.known && !second.known);
    assert_eq!((first.report, first.run), (again.report, second.run));
    assert_eq!(queue.stored.len(), 2);
    assert_eq!(queue.active(1).expect("a run").reports, 2);
}

#[test]
fn a_report_counts_once_the_image_was_sent_whole_even_without_post() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    queue.get(1, 1000);
    assert!(queue.put(1, None, "r", Verdict::Passed).is_some());
    assert_eq!(queue.state(1), Some(RunState::Reported));
}

#[test]
fn a_report_before_the_image_arrived_belongs_to_the_previous_run_and_is_late() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    let first = queue.boot(1);
    queue.put(1, None, "one", Verdict::Passed);
    queue.head(1);
    assert_eq!(queue.latest("b.efi").state, RunState::Assigned);
    let late = queue.put(1, None, "two", Verdict::Failed).expect("taken");
    assert_eq!(late.run, first);
    assert!(queue.stored[1].late);
    assert_eq!(queue.latest("b.efi").state, RunState::Assigned);
}

#[test]
fn a_report_of_a_host_without_any_run_is_refused() {
    let mut queue = Model::new(&["a.efi"]);
    assert_eq!(queue.put(1, None, "r", Verdict::Passed), None);
    queue.head(1);
    assert_eq!(queue.put(1, None, "r", Verdict::Passed), None);
    assert!(queue.stored.is_empty());
}

#[test]
fn the_named_run_outranks_the_address() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    let a = queue.boot(1);
    queue.boot(2);
    let accepted = queue.put(2, Some(a), "of a", Verdict::Passed).expect("taken");
    assert_eq!(accepted.run, a);
    assert_eq!(queue.state(2), Some(RunState::Booting));
    let unknown = RunId::new(queue.now, [255; 10]);
    assert_eq!(queue.put(2, Some(unknown), "of nobody", Verdict::Passed), None);
}

#[test]
fn the_same_range_again_and_again_is_no_progress() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.end(1, 10, End::Partial);
    let deadline = queue.active(1).expect("a run").deadline;
    for _ in 0..5 {
        queue.pass(20);
        let run = queue.active(1).expect("a run").id;
        queue.decide(|snapshot, context| snapshot.begin(run, 1000, 5, context.now));
        let transfer = queue.active(1).expect("a run").transfers;
        let event = RunEvent::Ended { transfer, sent: 10, count: 5, end: End::Partial };
        queue.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        assert_eq!(queue.active(1).expect("a run").deadline, deadline);
    }
    queue.pass(20);
    queue.tick();
    assert_eq!(queue.state(1), None);
}

/// Else a host that asks and takes nothing, after it had taken something once, would hold its run for ever.
#[test]
fn once_bytes_have_gone_out_a_download_of_nothing_is_a_break_too() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    queue.get(1, 500);
    queue.get(1, 0);
    assert_eq!(queue.active(1).expect("a run").broken, 2);
    queue.get(1, 0);
    assert_eq!(queue.latest("a.efi").verdict, Some(Verdict::Errored));
}

/// Its file was replaced inside a download; the firmware goes on where the old one broke off.
#[test]
fn a_host_that_has_the_beginning_of_another_image_gets_no_rest_of_this_one() {
    let mut queue = Model::new(&["a", "b"]);
    // How far it had come is not known yet when a person takes the job out of the queue.
    let _ = queue.ask(1, Ask::Get);
    assert!(queue.begin(1));
    let first = queue.active(1).expect("a run").id;
    let job = queue.run(first).job;
    queue
        .decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now))
        .expect("cancelled");
    let Offer::Image { run, .. } = queue.ask(1, Ask::Get) else { panic!("there is b") };
    let mut begin = |start| queue.decide(|snapshot, context| snapshot.begin(run, 1000, start, context.now));
    assert_eq!(begin(600), None);
    queue.pass(301);
    queue.tick();
    let Offer::Image { run, .. } = queue.ask(1, Ask::Get) else {
        panic!("b was returned, and is given again")
    };
    let mut begin = |start| queue.decide(|snapshot, context| snapshot.begin(run, 1000, start, context.now));
    assert_eq!(begin(600), None, "what it fetched last is still the other one");
    assert_eq!(begin(0), Some(1), "from its start it gets it");
    assert_eq!(begin(600), Some(2), "and may go on with that");
}

#[test]
fn a_host_that_reads_an_image_piece_by_piece_may_begin_anywhere() {
    let mut queue = Model::new(&["a"]);
    let Offer::Image { run, .. } = queue.ask(1, Ask::Get) else { panic!("there is work") };
    assert_eq!(queue.decide(|snapshot, context| snapshot.begin(run, 1000, 600, context.now)), Some(1));
}

#[test]
fn whoever_has_had_its_image_may_begin_the_next_one_anywhere_and_go_on_with_the_same_one() {
    let mut queue = Model::new(&["a", "b"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    let Offer::Image { run, .. } = queue.ask(1, Ask::Get) else { panic!("there is b") };
    let mut begin =
        |run, start| queue.decide(|snapshot, context| snapshot.begin(run, 1000, start, context.now));
    assert_eq!(begin(run, 600), Some(1));
    queue.pass(100_000);
    queue.tick();
    let Offer::Image { run: again, .. } = queue.ask(1, Ask::Get) else { panic!("b is tried again") };
    assert_ne!(again, run);
    let rest = queue.decide(|snapshot, context| snapshot.begin(again, 1000, 600, context.now));
    assert_eq!(rest, Some(1), "it has the beginning of this very image");
}
