//! Images that are fetched, what a description says of them, and a source that changes while the session goes on.

use super::*;
use crate::host::HostPattern;
use crate::run::DeadlineChanges;

use JobState::{Active, Cancelled, Done, Queued};

/// An asset of a release.
fn asset(name: &str, byte: u8) -> Found {
    Found {
        digest: Some(Digest::new([byte; 32])),
        origin: Some(format!("https://api.github.test/assets/{byte}")),
        ..file(name, 1000)
    }
}

fn with(found: Found, change: impl FnOnce(&mut Terms)) -> Found {
    let mut found = found;
    change(&mut found.terms);
    found
}

fn queue(files: &[Found]) -> Model {
    let mut queue = Model::new(&[]);
    queue.decide(|snapshot, context| snapshot.open(files, &[], context));
    queue
}

fn coming() -> Unreadable {
    Unreadable { why: "43 % of it is here".into(), outlook: Outlook::Coming }
}

fn states(queue: &Model) -> Vec<(&str, JobState)> {
    queue.snapshot.jobs.iter().map(|job| (job.name.as_str(), job.state)).collect()
}

fn look_again(queue: &mut Model, files: &[Found]) -> bool {
    queue.decide(|snapshot, context| snapshot.look_again(files, context))
}

#[test]
fn a_host_whose_image_is_on_its_way_waits_whatever_idle_hosts_are_told() {
    let settings = [WhenIdle::Auto].into_iter().chain(Stub::ALL.map(WhenIdle::Always));
    for when_idle in settings {
        let mut queue = queue(&[asset("a", 1)]);
        queue.snapshot.policy.when_idle = when_idle;
        queue.unreadable.insert(queue.job("a").workload, coming());
        let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("a is not here") };
        assert_eq!(idle.stub, Some(Stub::Wait), "{when_idle}");
        assert!(idle.reason.contains("a is still being fetched"), "{}", idle.reason);
        assert_eq!(queue.job("a").waits, None, "it changes with every byte");
        queue.unreadable.clear();
        queue.pass(60);
        assert_eq!(queue.head(1).as_deref(), Some("a"), "{when_idle}");
    }
    let mut queue = queue(&[asset("a", 1)]);
    queue.snapshot.policy.when_idle = WhenIdle::None;
    queue.unreadable.insert(queue.job("a").workload, coming());
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("a is not here") };
    assert_eq!(idle.stub, None, "a firmware that takes none of our programs");
}

#[test]
fn a_host_gets_the_next_image_that_is_here() {
    let mut queue = queue(&[asset("a", 1), asset("b", 2)]);
    queue.unreadable.insert(queue.job("a").workload, coming());
    assert_eq!(queue.head(1).as_deref(), Some("b"));
    queue.unreadable.clear();
    assert_eq!(queue.head(2).as_deref(), Some("a"));
}

#[test]
fn a_host_that_has_begun_with_an_image_is_kept_near_while_that_is_looked_at_again() {
    for (kind, stub) in [(Kind::Efi, Stub::Wait), (Kind::Iso, Stub::Reboot)] {
        let mut queue = queue(&[Found { kind, ..asset("a", 1) }, asset("b", 2)]);
        queue.head(1);
        queue.get(1, 500);
        let run = queue.active(1).map(|run| run.id);
        queue.unreadable.insert(queue.job("a").workload, coming());
        for how in [Ask::Head, Ask::Get] {
            let Offer::Idle(idle) = queue.ask(1, how) else { panic!("it is not refused") };
            assert_eq!(idle.stub, Some(stub), "{kind} {how:?}");
        }
        queue.unreadable.clear();
        assert_eq!(queue.head(1).as_deref(), Some("a"));
        assert!(matches!(queue.ask(1, Ask::Get), Offer::Image { .. }), "what `HEAD` promised last");
        assert_eq!(queue.active(1).map(|run| run.id), run, "the run goes on");
    }
    let mut queue = queue(&[asset("a", 1)]);
    queue.head(1);
    queue.get(1, 500);
    queue.unreadable.insert(queue.job("a").workload, coming());
    assert!(matches!(queue.ask(1, Ask::Get), Offer::NotNow(_)), "it has made room for the image");
    queue.ask(1, Ask::Head);
    queue.unreadable.clear();
    let Offer::Idle(idle) = queue.ask(1, Ask::Get) else { panic!("it has made room for a program") };
    assert_eq!(idle.stub, Some(Stub::Wait));
}

#[test]
fn a_waiting_host_is_not_reset_for_an_image_that_is_not_here() {
    let iso = Found { kind: Kind::Iso, ..asset("a.iso", 1) };
    let mut queue = queue(&[iso, asset("b.efi", 2)]);
    for name in ["a.iso", "b.efi"] {
        queue.unreadable.insert(queue.job(name).workload, coming());
    }
    for _ in 0..3 {
        let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("nothing is here") };
        assert_eq!(idle.stub, Some(Stub::Wait));
        queue.pass(31);
    }
    let b = queue.job("b.efi").workload;
    queue.unreadable.remove(&b);
    assert_eq!(queue.head(1).as_deref(), Some("b.efi"), "what it can start is here");
    queue.unreadable.clear();
    let iso = queue.job("a.iso").workload;
    queue.unreadable.insert(iso, coming());
    assert_eq!(queue.head(2), None, "a.iso is not here");
    queue.unreadable.clear();
    queue.pass(31);
    let Offer::Reset { idle, workload } = queue.ask(2, Ask::Head) else { panic!("it is here") };
    assert_eq!((idle.stub, workload), (Some(Stub::Reboot), iso));
}

#[test]
fn a_host_that_is_kept_near_does_not_run_out_of_time() {
    let mut queue = queue(&[asset("a", 1)]);
    queue.head(1);
    queue.get(1, 500);
    queue.unreadable.insert(queue.job("a").workload, coming());
    for _ in 0..20 {
        let _ = queue.ask(1, Ask::Head);
        queue.pass(60);
        queue.tick();
    }
    queue.unreadable.clear();
    assert_eq!(queue.head(1).as_deref(), Some("a"));
    assert_eq!(queue.latest("a").attempt, 1);
}

#[test]
fn only_a_host_with_all_labels_gets_what_needs_them() {
    let mut queue = queue(&[with(asset("a", 1), |terms| terms.labels = vec!["EPYC".into(), "lab-2".into()])]);
    let pattern = |text: &str| text.parse::<HostPattern>().expect("a host");
    queue.snapshot.policy.labels =
        vec![(pattern("192.0.2.1"), vec!["epyc".into()]), (pattern("192.0.2.2"), vec!["epyc".into()])];
    queue.snapshot.policy.labels.push((pattern("192.0.2.2"), vec!["lab-2".into()]));
    assert_eq!(queue.head(1), None, "it has one of two");
    let waits = queue.job("a").waits.clone().expect("a reason");
    assert!(waits.contains("EPYC, lab-2"), "{waits}");
    assert_eq!(queue.head(3), None, "it has none");
    assert_eq!(queue.head(2).as_deref(), Some("a"), "case is no difference");
    assert_eq!(queue.job("a").waits, None);
}

#[test]
fn a_host_that_is_done_is_not_kept_for_what_needs_another_host() {
    let mut queue = queue(&[asset("a", 1), with(asset("b", 2), |terms| terms.labels = vec!["x".into()])]);
    queue.boot(1);
    queue.put(1, None, "fine", Verdict::Passed);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("b is not for it") };
    assert_eq!((idle.stub, idle.reason.as_str()), (Some(Stub::PowerOff), "what is left needs other hosts"));
}

#[test]
fn the_order_of_a_description_comes_before_that_of_the_names() {
    let mut queue = queue(&[
        asset("a", 1),
        with(asset("b", 2), |terms| terms.order = -1),
        with(asset("c", 3), |terms| terms.order = 5),
        asset("d", 4),
    ]);
    let order: Vec<_> = (1..=4).map(|host| queue.head(host).expect("a job")).collect();
    assert_eq!(order, ["b", "a", "d", "c"]);
}

#[test]
fn an_order_that_changes_moves_what_waits() {
    let mut queue = queue(&[asset("a", 1), asset("b", 2)]);
    look_again(&mut queue, &[with(asset("a", 1), |terms| terms.order = 9), asset("b", 2)]);
    assert_eq!(queue.head(1).as_deref(), Some("b"));
}

#[test]
fn deadlines_and_retries_of_a_workload_are_its_own() {
    let quick = DeadlineChanges { assigned: Some(Duration::from_secs(7)), ..DeadlineChanges::default() };
    let boot = DeadlineChanges { boot: Some(Duration::from_secs(9)), ..quick };
    let own = |terms: &mut Terms| (terms.deadlines, terms.retries) = (boot, Some(0));
    let mut queue = queue(&[with(asset("a", 1), own), asset("b", 2)]);
    let left = |queue: &Model, host: u8| {
        let deadline = queue.active(host).and_then(|run| run.deadline).expect("a deadline");
        deadline.duration_since(queue.now).as_secs()
    };
    queue.head(1);
    queue.head(2);
    assert_eq!((left(&queue, 1), left(&queue, 2)), (7, 300));
    queue.get(1, 1000);
    queue.get(2, 1000);
    assert_eq!((left(&queue, 1), left(&queue, 2)), (9, 900));
    queue.pass(10);
    queue.tick();
    assert_eq!((queue.job("a").state, queue.job("a").verdict), (Done, Some(Verdict::Errored)));
    queue.pass(900);
    queue.tick();
    assert_eq!(queue.job("b").state, Queued, "it is tried again");
}

#[test]
fn a_new_asset_joins_a_replaced_one_is_queued_again_and_a_removed_one_leaves() {
    let mut queue = queue(&[asset("a", 1), asset("b", 2), asset("c", 3)]);
    queue.boot(1);
    queue.put(1, None, "fine", Verdict::Passed);
    let _ = queue.ask(1, Ask::Head);
    assert!(!look_again(&mut queue, &[asset("a", 9), asset("b", 2), asset("d", 4)]), "what runs is the same");
    let expected =
        [("a", Done), ("b", Active), ("c", Cancelled), ("a", Queued), ("d", Queued)].map(|(n, s)| (n, s));
    assert_eq!(states(&queue), expected);
    assert!(!look_again(&mut queue, &[asset("a", 9), asset("b", 2), asset("d", 4)]), "nothing is new");
    assert_eq!(states(&queue), expected);
}

#[test]
fn what_runs_is_left_alone_until_it_is_over_and_then_queued_again_if_it_was_replaced() {
    let mut queue = queue(&[asset("a", 1)]);
    let run = queue.boot(1);
    assert!(look_again(&mut queue, &[asset("a", 9)]), "it is to be looked at again");
    assert!(!look_again(&mut queue, &[]));
    assert_eq!(states(&queue), [("a", Active)]);
    queue.put(1, Some(run), "fine", Verdict::Passed);
    let _ = queue.ask(1, Ask::Head);
    assert!(!look_again(&mut queue, &[asset("a", 9)]));
    assert_eq!(states(&queue), [("a", Done), ("a", Queued)]);
}

#[test]
fn the_same_bytes_uploaded_again_are_the_same_workload() {
    let mut queue = queue(&[asset("a", 1)]);
    queue.boot(1);
    queue.put(1, None, "fine", Verdict::Passed);
    let _ = queue.ask(1, Ask::Head);
    let elsewhere = Found {
        origin: Some("https://api.github.test/assets/77".into()),
        modified: queue.now,
        ..asset("a", 1)
    };
    assert!(!look_again(&mut queue, &[elsewhere]));
    let workload = &queue.snapshot.workloads[0];
    assert!(workload.origin.as_deref().is_some_and(|url| url.ends_with("/77")), "its new place is known");
}

#[test]
fn a_source_that_is_looked_at_again_keeps_to_what_the_round_takes() {
    let mut queue = queue(&[asset("a", 1), asset("b", 2)]);
    for name in ["fine", "bad"] {
        let verdict = if name == "bad" { Verdict::Failed } else { Verdict::Passed };
        queue.boot(1);
        queue.put(1, None, name, verdict);
    }
    let _ = queue.ask(1, Ask::Head);
    queue.decide(|snapshot, _| snapshot.close());
    let files = [asset("a", 1), asset("b", 2)];
    queue.decide(|snapshot, context| snapshot.open(&files, &[Again::Failed], context));
    look_again(&mut queue, &files);
    let of_round = |name: &str| queue.snapshot.jobs.iter().any(|job| job.name == name && job.round == 2);
    assert!(!of_round("a") && of_round("b"));
}

#[test]
fn the_bytes_tell_the_processor_and_a_description_that_is_taken_back_is_forgotten() {
    let arch = |queue: &Model| queue.snapshot.workloads[0].arch();
    let mut queue = queue(&[with(asset("a", 1), |terms| terms.arch = Some(Arch::Aarch64))]);
    assert_eq!(arch(&queue), Some(Arch::Aarch64));
    look_again(&mut queue, &[asset("a", 1)]);
    assert_eq!(arch(&queue), None);
    let image = [queue.job("a").workload];
    let here = |snapshot: Snapshot, now| {
        snapshot.image_here(&image, Digest::new([1; 32]), Some(Arch::X86_64), None, now)
    };
    queue.decide(|snapshot, context| here(snapshot, context.now));
    look_again(&mut queue, &[with(asset("a", 1), |terms| terms.arch = Some(Arch::Aarch64))]);
    assert_eq!(arch(&queue), Some(Arch::X86_64), "the bytes know best");
}

#[test]
fn the_same_bytes_as_another_kind_of_image_are_another_workload() {
    let mut queue = queue(&[asset("a.iso", 1)]);
    queue.boot(1);
    queue.put(1, None, "bad", Verdict::Failed);
    let _ = queue.ask(1, Ask::Head);
    look_again(&mut queue, &[Found { kind: Kind::Iso, ..asset("a.iso", 1) }]);
    assert_eq!(states(&queue), [("a.iso", Done), ("a.iso", Queued)]);
}

#[test]
fn a_host_is_not_powered_off_while_the_source_is_watched() {
    let mut queue = queue(&[asset("a", 1)]);
    queue.snapshot.policy.is_watching = true;
    queue.boot(1);
    queue.put(1, None, "fine", Verdict::Passed);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("nothing is left") };
    assert_eq!(idle.stub, Some(Stub::Wait));
    look_again(&mut queue, &[asset("a", 1), asset("b", 2)]);
    assert_eq!(queue.head(1).as_deref(), Some("b"));
}

#[test]
fn the_last_job_that_leaves_with_its_asset_leaves_nothing_to_do() {
    let mut queue = queue(&[asset("a", 1)]);
    let drained = |queue: &Model| queue.told(|what| matches!(what, Happening::Drained));
    look_again(&mut queue, &[asset("b", 2)]);
    assert_eq!(drained(&queue), 0);
    look_again(&mut queue, &[]);
    assert_eq!(drained(&queue), 1);
}

#[test]
fn an_asset_that_moved_while_its_run_goes_on_is_known_by_its_new_place() {
    let mut queue = queue(&[asset("a", 1)]);
    queue.boot(1);
    look_again(&mut queue, &[Found { origin: Some("https://h.test/new".into()), ..asset("a", 1) }]);
    assert_eq!(queue.snapshot.workloads[0].origin.as_deref(), Some("https://h.test/new"));
}

#[test]
fn reports_go_where_the_settings_say() {
    let sinks = |files, issues: Option<&str>| crate::run::Sinks {
        files,
        issues: issues.map(|repository| crate::run::IssueTarget {
            repository: repository.into(),
            api: "https://api.test/".into(),
        }),
    };
    for (sinks, expected) in [
        (sinks(true, None), vec!["write-report"]),
        (sinks(true, Some("o/r")), vec!["write-report", "file-issue"]),
        (sinks(false, Some("o/r")), vec!["file-issue"]),
    ] {
        let mut queue = queue(&[asset("a", 1)]);
        queue.snapshot.policy.sinks = sinks;
        queue.boot(1);
        queue.put(1, None, "fine", Verdict::Passed);
        queue.put(1, None, "fine", Verdict::Passed);
        let keys = queue.effects.iter().map(Effect::idempotency_key);
        let kinds: Vec<String> = keys.map(|key| key.split(':').next().unwrap_or_default().into()).collect();
        assert_eq!(kinds, expected, "the same report twice is one report");
    }
}
