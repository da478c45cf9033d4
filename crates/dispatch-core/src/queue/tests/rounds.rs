//! How sessions begin and end.

use proptest::prelude::*;

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

fn open(queue: &mut Model, again: &[Again]) -> Opened {
    open_with(queue, &files(), again).opened
}

fn open_with(queue: &mut Model, files: &[Found], again: &[Again]) -> Opening {
    queue.decide(|snapshot, context| snapshot.open(files, again, context))
}

fn rebuilt(name: &str) -> Found {
    file(name, 1001)
}

/// A run of what comes next, with this report.
fn run(queue: &mut Model, host: u8, verdict: Verdict) {
    let text = format!("{host} at {}", queue.now);
    queue.boot(host);
    queue.put(host, None, &text, verdict);
    queue.pass(1000);
    queue.tick();
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
    assert!(matches!(open(&mut queue, &[Again::Failed, Again::Errored]), Opened::Round(_, 2)));
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
    let Opened::NothingAgain(tally) = open(&mut queue, &[Again::Unjudged]) else { panic!("nothing is") };
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
    assert_eq!(open(&mut queue, &[Again::Failed]), Opened::GoesOn(1));
    assert_eq!(queued(&queue), ["a", "b", "c"]);
}

fn ends(queue: &Model) -> Ending {
    let state = &queue.snapshot;
    ending(&state.jobs, &state.runs, &state.hosts, Timestamp::UNIX_EPOCH, Duration::from_mins(2))
}

/// What a host is told to do that asks for work.
fn told(queue: &mut Model, host: u8) -> Option<Stub> {
    match queue.ask(host, Ask::Get) {
        Offer::Idle(idle) => idle.stub,
        other => panic!("there is work: {other:?}"),
    }
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
    queue.snapshot.policy.ends_when_done = true;
    queue.boot(1);
    assert_eq!(told(&mut queue, 2), Some(Stub::Wait));
    queue.put(1, None, "good", Verdict::Passed);
    queue.pass(10);
    assert_eq!(told(&mut queue, 1), Some(Stub::PowerOff), "it has worked");
    assert!(matches!(ends(&queue), Ending::At(_)), "the other one has not asked since");
    queue.pass(10);
    queue.ask(2, Ask::Head);
    assert!(matches!(ends(&queue), Ending::At(_)), "the other one has not fetched it");
    assert_eq!(told(&mut queue, 2), Some(Stub::Next), "it has not");
    assert_eq!(ends(&queue), Ending::Now);
    let waits = |host: &Host| host.idle.as_ref().is_some_and(|idle| idle.stub == Some(Stub::Wait));
    assert!(!queue.snapshot.hosts.iter().any(waits), "no host waits for nobody");
}

#[test]
fn a_session_that_goes_on_has_its_hosts_wait() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::Wait);
    run(&mut queue, 1, Verdict::Passed);
    assert_eq!(told(&mut queue, 1), Some(Stub::Wait));
    assert!(matches!(ends(&queue), Ending::At(_)), "who waits has not gone");
}

#[test]
fn a_host_that_was_powered_off_before_the_last_job_ended_is_not_waited_for() {
    let mut queue = Model::new(&["a", "b"]);
    queue.snapshot.policy.retries = 0;
    queue.boot(1);
    queue.boot(2);
    queue.put(2, None, "good", Verdict::Passed);
    queue.pass(10);
    assert_eq!(told(&mut queue, 2), Some(Stub::PowerOff));
    queue.pass(10);
    queue.put(1, None, "good as well", Verdict::Passed);
    assert_eq!(told(&mut queue, 1), Some(Stub::PowerOff));
    assert_eq!(ends(&queue), Ending::Now);
}

#[test]
fn a_host_that_waited_in_an_earlier_session_is_not_waited_for() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::Wait);
    queue.boot(1);
    queue.ask(2, Ask::Get);
    queue.pass(10);
    let started = queue.now;
    queue.snapshot.policy.ends_when_done = true;
    queue.put(1, None, "good", Verdict::Passed);
    queue.ask(1, Ask::Get);
    let ends = |started| {
        let state = &queue.snapshot;
        ending(&state.jobs, &state.runs, &state.hosts, started, Duration::from_mins(2))
    };
    assert_eq!(ends(started), Ending::Now);
    assert!(matches!(ends(Timestamp::UNIX_EPOCH), Ending::At(_)), "in this one it is");
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
        exit_status(&jobs, 0, EndedBy::Itself)
    };
    let [passed, unjudged, failed, errored] =
        [Verdict::Passed, Verdict::Unjudged, Verdict::Failed, Verdict::Errored].map(Some);
    assert_eq!(with(&[passed, unjudged]), 0);
    assert_eq!(with(&[errored, failed]), 3);
    assert_eq!(with(&[passed, errored]), 4);
    assert_eq!(with(&[passed, None]), 4, "cancelled is not passed");
}

#[test]
fn a_session_that_did_not_finish_never_has_the_status_of_one_that_did() {
    let mut queue = Model::new(&["a", "b"]);
    run(&mut queue, 1, Verdict::Passed);
    let status = |queue: &Model, by| exit_status(&queue.snapshot.jobs, 0, by);
    assert_eq!(status(&queue, EndedBy::Signal(15)), 143);
    assert_eq!(status(&queue, EndedBy::Person), 5);
    assert_eq!(status(&queue, EndedBy::Itself), 5, "a person has put something back at the last moment");
    run(&mut queue, 1, Verdict::Passed);
    for by in [EndedBy::Signal(15), EndedBy::Person, EndedBy::Itself] {
        assert_eq!(status(&queue, by), 0, "all is done: it counts how it came out");
    }
}

#[test]
fn reports_that_could_not_be_written_are_not_status_0() {
    let mut queue = Model::new(&["a"]);
    run(&mut queue, 1, Verdict::Passed);
    assert_eq!(exit_status(&queue.snapshot.jobs, 1, EndedBy::Itself), 4);
}

#[test]
fn of_two_jobs_of_one_name_the_newest_is_the_exit_status() {
    let mut queue = Model::new(&["a", "b"]);
    run(&mut queue, 1, Verdict::Failed);
    open_with(&mut queue, &[rebuilt("a"), file("b", 1000)], &[]);
    run(&mut queue, 1, Verdict::Passed);
    run(&mut queue, 1, Verdict::Passed);
    assert_eq!(exit_status(&queue.snapshot.jobs, 0, EndedBy::Itself), 0);
    // Another version that was never run says nothing for the one that was.
    open_with(&mut queue, &[file("a", 1002), file("b", 1000)], &[]);
    open_with(&mut queue, &[file("b", 1000)], &[]);
    assert_eq!(queue.job("a").state, JobState::Cancelled);
    queue.snapshot.jobs.retain(|job| job.verdict != Some(Verdict::Passed) || job.name == "b");
    assert_eq!(exit_status(&queue.snapshot.jobs, 0, EndedBy::Itself), 3);
}

/// A round that goes on: `b` failed, and `a` is still to be run.
fn b_failed() -> Model {
    let mut queue = Model::new(&["b", "a", "c"]);
    run(&mut queue, 1, Verdict::Failed);
    queue
}

#[test]
fn what_failed_and_was_rebuilt_is_run_once() {
    let mut queue = b_failed();
    let files = [file("a", 1000), rebuilt("b"), file("c", 1000)];
    assert_eq!(open_with(&mut queue, &files, &[Again::Failed]).opened, Opened::GoesOn(0));
    assert_eq!(queued(&queue), ["a", "c", "b"]);
}

#[test]
fn what_the_filters_leave_out_or_is_gone_is_not_taken_again_but_named() {
    let mut queue = b_failed();
    let opening = open_with(&mut queue, &[file("a", 1000)], &[Again::Failed]);
    assert_eq!(opening, Opening { opened: Opened::GoesOn(0), missing: vec!["b".to_owned()] });
    assert_eq!(queued(&queue), ["a"]);

    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    let opening = open_with(&mut queue, &[file("a", 1000)], &[Again::Failed]);
    assert!(matches!(opening.opened, Opened::NothingAgain(_)));
    assert_eq!(opening.missing, ["b"]);
    let opening = open_with(&mut queue, &[file("c", 1000)], &[Again::Failed, Again::Errored]);
    assert!(matches!(opening.opened, Opened::Round(_, 1)));
    assert_eq!(opening.missing, ["b"]);
}

#[test]
fn what_has_no_result_is_never_left_out() {
    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    let files = [rebuilt("a"), file("b", 1000), file("c", 1000), file("d", 1000)];
    assert!(matches!(open_with(&mut queue, &files, &[Again::Failed]).opened, Opened::Round(_, 3)));
    assert_eq!(queued(&queue), ["a", "b", "d"]);
}

#[test]
fn what_left_the_queue_before_it_ran_has_no_result() {
    let mut queue = Model::new(&["a", "b"]);
    run(&mut queue, 1, Verdict::Failed);
    open_with(&mut queue, &[file("a", 1000)], &[]);
    queue.decide(|snapshot, _| snapshot.close());
    open_with(&mut queue, &[file("a", 1000), file("b", 1000)], &[Again::Failed]);
    assert_eq!(queued(&queue), ["a", "b"]);
}

#[test]
fn what_a_person_took_out_can_be_taken_again() {
    let mut queue = Model::new(&["a", "b"]);
    run(&mut queue, 1, Verdict::Passed);
    let job = queue.job("b").id;
    let cancelled =
        queue.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now));
    assert_eq!(cancelled, Ok(()));
    queue.decide(|snapshot, _| snapshot.close());
    let files = [file("a", 1000), file("b", 1000)];
    assert!(matches!(open_with(&mut queue, &files, &[Again::Failed]).opened, Opened::NothingAgain(_)));
    assert!(matches!(open_with(&mut queue, &files, &[Again::Cancelled]).opened, Opened::Round(_, 1)));
    assert_eq!(queued(&queue), ["b"]);
    for word in Again::ALL {
        assert_eq!(word.as_str().parse::<Again>().ok(), Some(word));
    }
}

#[test]
fn what_came_out_so_earlier_and_was_not_run_since_is_taken_again() {
    let mut queue = over();
    queue.decide(|snapshot, _| snapshot.close());
    open(&mut queue, &[Again::Failed]);
    run(&mut queue, 1, Verdict::Passed);
    queue.decide(|snapshot, _| snapshot.close());
    assert!(matches!(open(&mut queue, &[Again::Errored]), Opened::Round(_, 1)));
    assert_eq!(queued(&queue), ["c"]);
}

#[test]
fn hosts_that_a_session_is_for_and_nobody_knows_are_named() {
    let mut queue = Model::new(&["a"]);
    queue.head(1);
    let wanted = ["192.0.2.1", "192.0.2.2", "r1", "52-54-00-00-00-01"];
    let wanted: Vec<_> = wanted.iter().map(|text| text.parse().expect("a host")).collect();
    assert_eq!(
        not_seen(&wanted, &queue.snapshot.hosts),
        [
            "no host has asked from 192.0.2.2 yet",
            "no host called r1 has asked yet",
            "no host with the MAC 52:54:00:00:00:01 has asked yet"
        ]
    );
}

fn some_files() -> impl Strategy<Value = Vec<Found>> {
    let version = || proptest::option::of(1000..1002_u64);
    (version(), version(), version()).prop_map(|(a, b, c)| {
        let sizes = [("a", a), ("b", b), ("c", c)];
        sizes.into_iter().filter_map(|(name, size)| Some(file(name, size?))).collect()
    })
}

fn some_words() -> impl Strategy<Value = Vec<Again>> {
    proptest::sample::subsequence(Again::ALL.to_vec(), 0..3)
}

#[derive(Clone, Debug)]
enum Step {
    Open(Vec<Found>, Vec<Again>),
    Run(Verdict),
    Cancel(u8),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = proptest::sample::select(vec![Verdict::Passed, Verdict::Failed, Verdict::Unjudged]);
    prop_oneof![
        3 => (some_files(), some_words()).prop_map(|(files, words)| Step::Open(files, words)),
        6 => verdict.prop_map(Step::Run),
        1 => any::<u8>().prop_map(Step::Cancel),
        2 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// However often a session starts: each name is in the queue once, if it is offered, and the same command started
    /// once more neither takes in what it left out nor takes anything again that it has taken already.
    #[test]
    fn a_session_that_starts_again_does_the_same(
        steps in proptest::collection::vec(step(), 0..20),
        files in some_files(),
        words in some_words(),
    ) {
        let mut queue = Model::new(&["a", "b"]);
        for step in &steps {
            match step {
                Step::Open(files, words) => drop(open_with(&mut queue, files, words)),
                Step::Run(verdict) => {
                    if queue.head(1).is_some() {
                        run(&mut queue, 1, *verdict);
                    }
                }
                Step::Cancel(number) => {
                    let jobs = &queue.snapshot.jobs;
                    let job = jobs[usize::from(*number) % jobs.len()].id;
                    let _ = queue.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now));
                }
                Step::Close => queue.decide(|snapshot, _| snapshot.close()),
            }
        }
        open_with(&mut queue, &files, &words);
        let first: Vec<String> = queued(&queue).into_iter().map(str::to_owned).collect();
        let mut names = first.clone();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), first.len(), "twice in the queue");
        let has_active = queue.snapshot.jobs.iter().any(|job| job.state == JobState::Active);
        prop_assert!(!has_active);
        prop_assert!(first.iter().all(|name| files.iter().any(|file| file.name == *name)), "not offered");
        open_with(&mut queue, &files, &words);
        prop_assert_eq!(queued(&queue), first);
    }
}
