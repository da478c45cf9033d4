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
fn a_host_that_has_begun_with_an_image_is_not_given_another_while_it_is_fetched_again() {
    let mut queue = queue(&[asset("a", 1), asset("b", 2)]);
    queue.head(1);
    queue.get(1, 500);
    queue.unreadable.insert(queue.job("a").workload, coming());
    assert!(matches!(queue.ask(1, Ask::Head), Offer::NotNow(_)));
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
    assert!(look_again(&mut queue, &[asset("a", 9), asset("b", 2), asset("d", 4)]));
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
    assert!(!look_again(&mut queue, &[asset("a", 9)]));
    assert!(!look_again(&mut queue, &[]));
    assert_eq!(states(&queue), [("a", Active)]);
    queue.put(1, Some(run), "fine", Verdict::Passed);
    let _ = queue.ask(1, Ask::Head);
    assert!(look_again(&mut queue, &[asset("a", 9)]));
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
    assert!(!look_again(&mut queue, &files));
    let of_round = |name: &str| queue.snapshot.jobs.iter().any(|job| job.name == name && job.round == 2);
    assert!(!of_round("a") && of_round("b"));
}

#[test]
fn what_the_bytes_told_of_the_processor_is_not_forgotten() {
    let mut queue = queue(&[asset("a", 1)]);
    queue.snapshot.workloads[0].terms.arch = Some(Arch::Aarch64);
    look_again(&mut queue, &[with(asset("a", 1), |terms| terms.description = Some("an image".into()))]);
    let terms = &queue.snapshot.workloads[0].terms;
    assert_eq!((terms.arch, terms.description.as_deref()), (Some(Arch::Aarch64), Some("an image")));
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
