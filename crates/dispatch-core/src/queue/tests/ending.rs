//! The rules for metal from the end of a run on: verdicts, retries, idle hosts, changed files; one test each.

use super::*;

const MINUTE: u64 = 60;

#[test]
fn a_run_is_finished_when_its_host_asks_again() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"));
    assert_eq!(queue.latest("a.efi").state, RunState::Finished);
    assert_eq!(queue.job("a.efi").verdict, Some(Verdict::Passed));
}

#[test]
fn a_run_is_finished_two_minutes_after_its_last_report() {
    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    queue.put(1, None, "one", Verdict::Passed);
    queue.pass(119);
    queue.put(1, None, "two", Verdict::Passed);
    queue.pass(119);
    queue.tick();
    assert_eq!(queue.state(1), Some(RunState::Reported));
    queue.pass(1);
    queue.tick();
    assert_eq!(queue.latest("a.efi").state, RunState::Finished);
}

#[test]
fn a_late_report_makes_a_verdict_worse_never_better() {
    for (first, late, then) in [
        (Verdict::Passed, Verdict::Failed, Verdict::Failed),
        (Verdict::Passed, Verdict::Unjudged, Verdict::Unjudged),
        (Verdict::Failed, Verdict::Passed, Verdict::Failed),
        (Verdict::Unjudged, Verdict::Passed, Verdict::Unjudged),
    ] {
        let mut queue = Model::new(&["a.efi"]);
        let run = queue.boot(1);
        queue.put(1, None, "first", first);
        queue.head(1);
        assert!(queue.put(1, Some(run), "late", late).is_some());
        assert_eq!(queue.run(run).verdict, Some(then));
        assert_eq!(queue.job("a.efi").verdict, Some(then));
        assert_eq!(queue.run(run).state, RunState::Finished);
    }
}

#[test]
fn a_late_report_ends_a_retry_that_has_not_booted() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    queue.pass(24 * 60 * MINUTE);
    queue.tick();
    assert_eq!(queue.job("a.efi").state, JobState::Queued);
    queue.head(2);
    queue.get(2, 1000);
    assert_eq!(queue.state(2), Some(RunState::Downloading));

    let late = queue.put(1, Some(run), "after all", Verdict::Passed).expect("taken");
    assert_eq!(late.run, run);
    assert_eq!(queue.state(2), None);
    let job = queue.job("a.efi");
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Errored)));
}

#[test]
fn a_late_report_ends_a_job_that_waits_for_its_retry() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    queue.pass(24 * 60 * MINUTE);
    queue.tick();
    queue.put(1, Some(run), "after all", Verdict::Failed).expect("taken");
    let job = queue.job("a.efi");
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Failed)));
}

#[test]
fn a_late_report_leaves_a_retry_that_has_booted_but_its_failure_counts() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    queue.pass(24 * 60 * MINUTE);
    queue.tick();
    queue.boot(2);
    queue.put(1, Some(run), "after all", Verdict::Failed).expect("taken");
    assert_eq!(queue.state(2), Some(RunState::Booting));
    queue.put(2, None, "fine", Verdict::Passed);
    queue.head(2);
    assert_eq!(queue.latest("a.efi").verdict, Some(Verdict::Passed));
    assert_eq!(queue.job("a.efi").verdict, Some(Verdict::Failed));
}

#[test]
fn the_verdict_of_several_reports_is_the_worst() {
    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    for (text, verdict, then) in [
        ("one", Verdict::Passed, Verdict::Passed),
        ("two", Verdict::Unjudged, Verdict::Unjudged),
        ("three", Verdict::Passed, Verdict::Unjudged),
        ("four", Verdict::Failed, Verdict::Failed),
        ("five", Verdict::Unjudged, Verdict::Failed),
    ] {
        queue.put(1, None, text, verdict);
        assert_eq!(queue.active(1).expect("a run").verdict, Some(then));
    }
}

#[test]
fn a_host_that_asks_again_without_having_reported_ends_its_run_errored() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    let run = queue.boot(1);
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"));
    assert_eq!(queue.run(run).verdict, Some(Verdict::Errored));
    assert_eq!(queue.run(run).reason.as_deref(), Some("rebooted without a report"));
}

#[test]
fn a_workload_that_may_reboot_is_given_again_that_often() {
    let mut queue = Model::new(&[]);
    let found = Found { terms: Terms { reboots: 2, ..Terms::default() }, ..file("kernel.efi", 1000) };
    queue.decide(|snapshot, context| snapshot.open(&[found], &[], context));
    let run = queue.boot(1);
    for nth in 1..=2 {
        assert_eq!(queue.head(1).as_deref(), Some("kernel.efi"));
        assert_eq!(queue.active(1).map(|run| (run.id, run.reboots)), Some((run, nth)));
        assert_eq!(queue.post(1), None, "its image has not been fetched again");
        queue.get(1, 1000);
        assert_eq!(queue.post(1), Some(run));
    }
    queue.head(1);
    assert_eq!(queue.run(run).verdict, Some(Verdict::Errored));
}

/// What used to hurt: a workload that hung stayed `booting` for ever.
#[test]
fn every_deadline_ends_its_run_errored_with_a_reason_in_words() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.pass(2 * MINUTE);
    queue.tick();
    assert!(queue.latest("a.efi").reason.as_deref().is_some_and(|reason| reason.contains("stood still")));

    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    queue.get(1, 1000);
    queue.pass(15 * MINUTE);
    queue.tick();
    assert!(queue.latest("a.efi").reason.as_deref().is_some_and(|reason| reason.contains("no call")));

    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    queue.pass(24 * 60 * MINUTE);
    queue.tick();
    let run = queue.latest("a.efi");
    assert!(run.reason.as_deref().is_some_and(|reason| reason.contains("no report within 1 d")), "{run:?}");
    assert_eq!((run.state, run.verdict), (RunState::Failed, Some(Verdict::Errored)));
}

#[test]
fn progress_renews_the_download_and_signs_of_life_the_run() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.pass(119);
    let run = queue.active(1).expect("a run").id;
    let progress = RunEvent::Progress { transfer: 1, sent: 10 };
    assert!(queue.decide(|snapshot, context| snapshot.note(run, &progress, context.now)));
    queue.pass(119);
    queue.tick();
    assert_eq!(queue.state(1), Some(RunState::Downloading));
    queue.end(1, 1000, End::Whole);
    queue.post(1);
    queue.pass(23 * 60 * MINUTE);
    queue.post(1);
    queue.pass(23 * 60 * MINUTE);
    queue.tick();
    assert_eq!(queue.state(1), Some(RunState::Booting));
}

#[test]
fn deadlines_that_passed_while_we_were_down_restart_in_full() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    queue.head(2);
    queue.pass(25 * 60 * MINUTE);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    queue.tick();
    assert_eq!(queue.state(1), Some(RunState::Booting));
    assert_eq!(queue.state(2), Some(RunState::Assigned));
    queue.pass(5 * MINUTE);
    queue.tick();
    assert_eq!((queue.state(1), queue.state(2)), (Some(RunState::Booting), None));
}

#[test]
fn deadlines_that_have_not_passed_are_not_touched_by_a_restart() {
    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    let before = queue.active(1).cloned();
    queue.pass(MINUTE);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    assert_eq!(queue.active(1).cloned(), before);
}

/// The image may have arrived whole while we died: its call and its report must not be lost.
#[test]
fn after_a_restart_inside_a_download_the_call_and_the_report_are_taken() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    assert!(queue.post(1).is_some());

    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    assert!(queue.put(1, None, "r", Verdict::Passed).is_some());
}

#[test]
fn after_a_restart_inside_a_download_a_host_that_asks_has_not_got_its_image() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    queue.head(1);
    assert!(queue.put(1, None, "of an old system", Verdict::Passed).is_none());
    queue.get(1, 1000);
    assert!(queue.post(1).is_some());
    assert_eq!(queue.active(1).expect("a run").broken, 0, "our restart is not the host's fault");
}

#[test]
fn an_errored_run_is_retried_twice_and_then_the_job_is_errored_and_says_why() {
    let mut queue = Model::new(&["a.efi"]);
    for attempt in 1..=3 {
        queue.boot(1);
        assert_eq!(queue.active(1).expect("a run").attempt, attempt);
        queue.pass(24 * 60 * MINUTE);
        queue.tick();
    }
    let job = queue.job("a.efi");
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Errored)));
    let reason = job.reason.as_deref().expect("a reason");
    for attempt in 1..=3 {
        assert!(reason.contains(&format!("attempt {attempt} on 192.0.2.1: no report within")), "{reason}");
    }
    assert_eq!(queue.head(1), None);
}

#[test]
fn a_failed_run_is_not_retried() {
    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    queue.put(1, None, "bad", Verdict::Failed);
    assert_eq!(queue.head(1), None);
    let job = queue.job("a.efi");
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Failed)));
}

#[test]
fn a_host_gets_what_it_errored_only_after_every_other_job_and_then_at_once() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"), "a.efi has errored here");
    assert_eq!(queue.head(2).as_deref(), Some("a.efi"), "but not there");
    queue.pass(5 * MINUTE);
    queue.tick();
    queue.boot(1);
    queue.put(1, None, "b", Verdict::Passed);
    queue.head(1);
    assert_eq!(queue.latest("a.efi").attempt, 2);
    assert_eq!(queue.state(1), Some(RunState::Assigned));
}

/// What used to hurt: powering off is right for a host that worked here, and dangerous for a stranger.
#[test]
fn an_idle_host_is_powered_off_only_if_it_worked_here_and_nothing_can_come() {
    let mut queue = Model::new(&["a.efi"]);
    let stub = |queue: &mut Model, host| match queue.ask(host, Ask::Head) {
        Offer::Idle(idle) => idle.stub,
        other => panic!("there is no work: {other:?}"),
    };
    queue.boot(1);
    assert_eq!(stub(&mut queue, 2), Some(Stub::Next), "a stranger");
    queue.put(1, None, "r", Verdict::Passed);
    assert_eq!(stub(&mut queue, 1), Some(Stub::PowerOff));
    assert_eq!(stub(&mut queue, 2), Some(Stub::Next), "still a stranger");
}

#[test]
fn an_idle_host_that_only_asked_but_never_fetched_is_still_a_stranger() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(2);
    queue.pass(5 * MINUTE);
    queue.tick();
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.head(1);
    assert!(matches!(queue.ask(2, Ask::Head), Offer::Idle(Idle { stub: Some(Stub::Next), .. })));
}

#[test]
fn a_host_to_which_a_retry_can_still_come_asks_again() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.boot(2);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("there is no work") };
    assert_eq!(idle.stub, Some(Stub::Wait));
    assert!(idle.reason.contains("b.efi is still with 192.0.2.2"), "{}", idle.reason);
    queue.put(2, None, "r", Verdict::Passed);
    queue.head(2);
    queue.pass(60);
    assert!(matches!(queue.ask(1, Ask::Head), Offer::Idle(Idle { stub: Some(Stub::PowerOff), .. })));
}

#[test]
fn what_a_head_promised_the_get_keeps() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    let Offer::Idle(promised) = queue.ask(2, Ask::Head) else { panic!("there is no work") };
    queue.pass(1);
    let run = queue.active(1).expect("a run").id;
    queue.unreadable.clear();
    queue.decide(|snapshot, context| {
        snapshot.note(run, &RunEvent::Unreadable { why: "gone".into() }, context.now)
    });
    assert_eq!(queue.job("a.efi").state, JobState::Queued);
    assert_eq!(queue.ask(2, Ask::Get), Offer::Idle(promised));
    queue.pass(60);
    assert!(matches!(queue.ask(2, Ask::Get), Offer::Image { .. }));
}

#[test]
fn the_setting_for_idle_hosts_is_obeyed() {
    for setting in ["poweroff", "reboot", "next", "none"] {
        let mut queue = Model::new(&[]);
        queue.snapshot.policy.when_idle = setting.parse().expect("a setting");
        let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("there is no work") };
        assert_eq!(idle.stub.map_or("none", Stub::as_str), setting);
    }
}

#[test]
fn an_idle_host_that_asks_again_and_again_is_told_of_once() {
    let mut queue = Model::new(&[]);
    for _ in 0..5 {
        queue.head(1);
        queue.pass(40);
    }
    assert_eq!(queue.told(|what| matches!(what, Happening::Idle { .. })), 1);
}

#[test]
fn an_image_that_cannot_be_read_waits_with_its_reason_and_others_go_first() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    let workload = queue.job("a.efi").workload;
    queue.unreadable.insert(workload, gone());
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"));
    let job = queue.job("a.efi");
    assert_eq!(job.state, JobState::Queued);
    assert_eq!(job.waits.as_deref(), Some("its image cannot be read: No such file"));
    queue.unreadable.clear();
    assert_eq!(queue.head(2).as_deref(), Some("a.efi"));
    assert_eq!(queue.job("a.efi").waits, None);
}

#[test]
fn a_vanished_directory_uses_up_no_attempts() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    let workload = queue.job("a.efi").workload;
    queue.unreadable.insert(workload, gone());
    for _ in 0..10 {
        assert_eq!(queue.head(1), None);
    }
    queue.unreadable.clear();
    assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
    assert_eq!(queue.active(1).expect("a run").attempt, 1);
}

#[test]
fn starting_again_changes_nothing_for_files_that_are_the_same() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.head(1);
    let (jobs, runs) = (queue.snapshot.jobs.clone(), queue.snapshot.runs.clone());
    queue
        .decide(|snapshot, context| snapshot.open(&[file("a.efi", 1000), file("b.efi", 1000)], &[], context));
    assert_eq!((queue.snapshot.jobs, queue.snapshot.runs), (jobs, runs));
}

#[test]
fn a_changed_file_is_queued_again_and_a_vanished_one_leaves_until_it_returns() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.pass(180);
    queue.tick();
    queue.decide(|snapshot, context| snapshot.open(&[file("a.efi", 2000)], &[], context));
    assert_eq!(queue.job("a.efi").state, JobState::Queued);
    assert_eq!(queue.job("b.efi").state, JobState::Cancelled);
    queue
        .decide(|snapshot, context| snapshot.open(&[file("a.efi", 2000), file("b.efi", 1000)], &[], context));
    assert_eq!(queue.job("b.efi").state, JobState::Queued);
    assert_eq!(queue.snapshot.jobs.len(), 3, "one for each version that was to run");
}

#[test]
fn a_file_that_changed_before_its_download_is_served_as_it_is_now() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    let old = queue.job("a.efi").workload;
    queue.decide(|snapshot, context| snapshot.replace(old, &file("a.efi", 4000), context));
    let run = queue.active(1).expect("a run");
    assert_eq!(run.size, 4000);
    assert_eq!(run.workload, queue.job("a.efi").workload);
    assert_ne!(run.workload, old);
}

#[test]
fn the_tally_reads_well() {
    let mut queue = Model::new(&["a.efi", "b.efi"]);
    assert_eq!(tally(&queue.snapshot.jobs), "2 queued");
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.head(1);
    assert_eq!(tally(&queue.snapshot.jobs), "1 passed, 1 running");
    assert_eq!(tally(&[]), "0 jobs");
}

#[test]
fn a_host_whose_image_vanished_while_it_was_up_gets_another() {
    let mut queue = Model::new(&[]);
    let files = [
        Found { terms: Terms { reboots: 1, ..Terms::default() }, ..file("a.efi", 1000) },
        file("b.efi", 1000),
    ];
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    let run = queue.boot(1);
    queue.unreadable.insert(queue.job("a.efi").workload, gone());
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"));
    assert_eq!(queue.run(run).verdict, Some(Verdict::Errored));
}

#[test]
fn an_image_that_is_unreadable_for_a_moment_costs_its_run_nothing() {
    let mut queue = Model::new(&["a.efi"]);
    queue.head(1);
    queue.get(1, 500);
    let before = queue.active(1).cloned();
    queue.unreadable.insert(queue.job("a.efi").workload, Unreadable { outlook: Outlook::Passing, ..gone() });
    assert!(matches!(queue.ask(1, Ask::Head), Offer::NotNow(_)));
    assert_eq!(queue.active(1).cloned(), before);
    queue.unreadable.clear();
    assert_eq!(queue.head(1).as_deref(), Some("a.efi"));
}

/// The connection is reset right after the last byte, as firmware may: whether all of it arrived, only the host knows.
#[test]
fn a_reset_over_the_last_bytes_is_decided_by_what_comes_next() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.end(1, 1000, End::Unsure);
    assert!(queue.post(1).is_some(), "it had arrived");

    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.end(1, 1000, End::Unsure);
    queue.head(1);
    let run = queue.active(1).expect("a run");
    assert_eq!((run.state, run.broken), (RunState::Assigned, 1), "it had not");
    assert_eq!(queue.post(1), None);
}

#[test]
fn nothing_passes_by_a_report_of_an_image_that_may_not_have_arrived() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    assert!(queue.put(1, None, "r", Verdict::Passed).is_some(), "kept");
    queue.head(1);
    assert_eq!(queue.job("a.efi").verdict, Some(Verdict::Unjudged));
}

#[test]
fn after_a_restart_inside_a_download_a_call_of_an_old_system_is_refused_once_the_host_has_asked() {
    let mut queue = Model::new(&["a.efi"]);
    queue.ask(1, Ask::Get);
    queue.begin(1);
    queue.decide(|snapshot, context| snapshot.recover(context.now));
    queue.head(1);
    assert_eq!(queue.post(1), None);
    assert_eq!(queue.active(1).expect("a run").broken, 0);
}

#[test]
fn a_download_that_we_cut_off_ourselves_is_no_break() {
    let mut queue = Model::new(&["a.efi"]);
    for _ in 0..5 {
        queue.ask(1, Ask::Get);
        queue.begin(1);
        queue.end(1, 500, End::Cut);
        assert_eq!(queue.active(1).map(|run| (run.state, run.broken)), Some((RunState::Assigned, 0)));
    }
}

#[test]
fn a_late_report_of_an_older_version_does_not_end_the_new_one() {
    let mut queue = Model::new(&["a.efi"]);
    let run = queue.boot(1);
    queue.pass(24 * 60 * MINUTE);
    queue.tick();
    queue.decide(|snapshot, context| snapshot.open(&[file("a.efi", 2000)], &[], context));
    queue.put(1, Some(run), "of the old one", Verdict::Failed).expect("stored");
    assert_eq!(queue.job("a.efi").state, JobState::Queued);
    queue.boot(1);
    queue.put(1, None, "of the new one", Verdict::Passed).expect("stored");
    queue.head(1);
    assert_eq!(queue.job("a.efi").verdict, Some(Verdict::Passed));
}

#[test]
fn what_is_finished_stays_finished_when_its_description_changes() {
    let mut queue = Model::new(&["a.efi"]);
    queue.boot(1);
    queue.put(1, None, "r", Verdict::Passed);
    queue.head(1);
    let changed = Found { terms: Terms { reboots: 1, ..Terms::default() }, ..file("a.efi", 1000) };
    queue.decide(|snapshot, context| snapshot.open(&[changed], &[], context));
    assert_eq!((queue.snapshot.jobs.len(), queue.job("a.efi").state), (1, JobState::Done));
}

/// What is said of an image is not the image: what an attempt with it reports late counts for its job.
#[test]
fn an_attempt_stays_one_when_only_what_is_said_of_its_image_changes() {
    let mut queue = Model::new(&["a"]);
    let first = queue.boot(1);
    queue.pass(100_000);
    queue.tick();
    let files = [Found {
        terms: Terms { arch: Some(Arch::X86_64), reboots: 1, ..Terms::default() },
        ..file("a", 1000)
    }];
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    assert_eq!(queue.snapshot.workloads.len(), 1);
    queue.boot(1);
    assert_eq!((queue.latest("a").attempt, queue.latest("a").reboots_allowed), (2, 1));
    queue.put(1, Some(first), "late", Verdict::Failed).expect("a report");
    queue.put(1, None, "retry", Verdict::Passed);
    queue.pass(1000);
    queue.tick();
    assert_eq!(queue.job("a").verdict, Some(Verdict::Failed));
}
