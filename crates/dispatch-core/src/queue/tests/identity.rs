//! Who is asking, and what becomes of a run if nobody can tell.

use super::*;
use crate::host::{HostName, Mac};

fn from(address: u8, mac: Option<u8>, name: Option<&str>) -> Sighting {
    Sighting {
        address: [192, 0, 2, address].into(),
        mac: mac.map(|mac| Mac([2, 0, 0, 0, 0, mac])),
        name: name.map(|name| name.parse::<HostName>().expect("a name")),
    }
}

fn told(uuid: &str, macs: &[u8]) -> Told {
    let macs = macs.iter().map(|mac| Mac([2, 0, 0, 0, 0, *mac])).collect();
    Told { uuid: Some(uuid.into()), macs }
}

impl Model {
    fn ask_as(&mut self, who: &Sighting, how: Ask) -> Offer {
        self.decide(|snapshot, context| snapshot.ask(who, how, &BTreeMap::new(), context))
    }

    fn gets(&mut self, who: &Sighting) -> Option<String> {
        match self.ask_as(who, Ask::Head) {
            Offer::Image { run, .. } => Some(self.name_of(run)),
            Offer::Idle(_) | Offer::NotNow(_) => None,
        }
    }

    /// `GET` of the whole image, and `POST`.
    fn boots(&mut self, who: &Sighting, told: &Told) -> Option<RunId> {
        let Offer::Image { run, .. } = self.ask_as(who, Ask::Get) else { return None };
        let transfer = self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now))?;
        let event = RunEvent::Ended { transfer, sent: 1000, count: 1000, end: End::Whole };
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        self.decide(|snapshot, context| snapshot.start(who, told, context))
    }
}

#[test]
fn a_host_keeps_its_run_by_its_name_whatever_its_address_and_mac_are() {
    let mut queue = Model::new(&["a", "b"]);
    assert_eq!(queue.gets(&from(1, Some(1), Some("r1"))).as_deref(), Some("a"));
    assert_eq!(queue.gets(&from(9, Some(9), Some("R1"))).as_deref(), Some("a"));
    assert_eq!(queue.gets(&from(9, Some(9), Some("r2"))).as_deref(), Some("b"));
}

#[test]
fn a_second_network_card_that_the_beacon_told_of_is_the_same_host() {
    let mut queue = Model::new(&["a", "b"]);
    queue.boots(&from(1, Some(1), None), &told("u", &[1, 2])).expect("it is up");
    assert_eq!(
        queue.gets(&from(7, Some(2), None)).as_deref(),
        Some("b"),
        "a, which it rebooted in, comes last"
    );
    assert_eq!(queue.snapshot.hosts.len(), 1);
}

/// What used to hurt: a host was its address, so that two hosts behind one NAT shared a run, and what one of them
/// reported was said of the other.
#[test]
fn two_hosts_behind_one_address_are_noticed_and_neither_passes() {
    let router = || from(1, Some(200), None);
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let run = queue.boots(&router(), &told("first", &[1])).expect("the first is up");
    // The second one is taken for the first, and gets the same image as somebody who asks again.
    let second = queue.decide(|snapshot, context| snapshot.start(&router(), &told("second", &[2]), context));
    assert_eq!(second, None);
    assert_eq!(queue.run(run).state, RunState::Failed);
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
    let reason = queue.run(run).reason.clone().expect("a reason");
    assert!(reason.contains("several hosts ask from 192.0.2.1") && reason.contains("/@NAME"), "{reason}");
    assert_eq!(queue.told(|what| matches!(what, Happening::HostShared { .. })), 1);
    let report = |queue: &mut Model, text: &str| {
        let report = NewReport {
            digest: text.into(),
            title: text.into(),
            json: "{}".into(),
            verdict: Verdict::Passed,
        };
        queue.decide(|snapshot, context| snapshot.report(&router(), None, report, context))
    };
    assert_eq!(report(&mut queue, "of nobody"), None, "whose report that is cannot be told");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
}

#[test]
fn a_shared_address_gets_no_work_and_is_told_to_use_names_and_names_work() {
    let mut queue = Model::new(&["a", "b"]);
    let router = from(1, None, None);
    queue.boots(&router, &told("first", &[1])).expect("it is up");
    queue.decide(|snapshot, context| snapshot.start(&router, &told("second", &[2]), context));
    let Offer::Idle(idle) = queue.ask_as(&router, Ask::Get) else { panic!("no work for nobody") };
    assert_eq!(idle.stub, Some(Stub::Next));
    assert!(idle.reason.contains("/@NAME"), "{}", idle.reason);
    assert_eq!(queue.gets(&from(1, None, Some("r1"))).as_deref(), Some("a"));
    assert_eq!(queue.gets(&from(1, None, Some("r2"))).as_deref(), Some("b"));
}

#[test]
fn a_report_that_names_its_run_counts_whatever_the_address_stands_for() {
    let mut queue = Model::new(&["a"]);
    let router = from(1, None, None);
    let run = queue.boots(&router, &told("first", &[1])).expect("it is up");
    queue.decide(|snapshot, context| snapshot.start(&router, &told("second", &[2]), context));
    let report =
        NewReport { digest: "x".into(), title: "x".into(), json: "{}".into(), verdict: Verdict::Failed };
    let accepted = queue.decide(|snapshot, context| snapshot.report(&router, Some(run), report, context));
    assert_eq!(accepted.map(|accepted| accepted.run), Some(run));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Failed));
}

#[test]
fn powering_off_is_never_what_a_shared_address_is_told() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::PowerOff);
    let router = from(1, None, None);
    queue.boots(&router, &told("first", &[1])).expect("it is up");
    queue.decide(|snapshot, context| snapshot.start(&router, &told("second", &[2]), context));
    let Offer::Idle(idle) = queue.ask_as(&router, Ask::Get) else { panic!("no work for nobody") };
    assert_eq!(idle.stub, Some(Stub::Next));
}

#[test]
fn two_downloads_that_both_go_on_make_a_run_errored() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let Offer::Image { run, .. } = queue.ask(1, Ask::Get) else { panic!("there is work") };
    queue.begin(1);
    assert!(queue.decide(|snapshot, context| snapshot.dispute(run, "two downloads", context.now)));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
    assert!(!queue.decide(|snapshot, context| snapshot.dispute(run, "two downloads", context.now)));
}

#[test]
fn one_name_for_two_hosts_is_noticed_while_the_first_one_runs() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let run = queue.boots(&from(1, Some(1), Some("r1")), &told("first", &[1])).expect("it is up");
    let other = from(2, None, Some("r1"));
    assert_eq!(
        queue.decide(|snapshot, context| snapshot.start(&other, &told("second", &[2]), context)),
        None
    );
    let reason = queue.run(run).reason.clone().expect("a reason");
    assert!(reason.contains("several hosts ask by the name r1"), "{reason}");
}

#[test]
fn a_named_host_may_come_back_with_another_board() {
    let mut queue = Model::new(&["a", "b"]);
    queue.boots(&from(1, Some(1), Some("r1")), &told("first", &[1])).expect("it is up");
    assert!(queue.boots(&from(1, Some(2), Some("r1")), &told("second", &[2])).is_some());
    assert_eq!(queue.snapshot.hosts.len(), 1);
}

#[test]
fn a_session_for_some_hosts_leaves_the_others_alone() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.hosts = vec!["192.0.2.2".parse().expect("a host")];
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::PowerOff);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("it is not for this host") };
    assert_eq!((idle.stub, idle.reason.as_str()), (Some(Stub::Next), "this session is for other hosts"));
    assert_eq!(queue.head(2).as_deref(), Some("a"));
}

#[test]
fn an_image_for_another_processor_is_for_another_host() {
    let mut queue = Model::new(&[]);
    let arm = |name: &str| Found { arch: Some(Arch::Aarch64), ..file(name, 1000) };
    let intel = |name: &str| Found { arch: Some(Arch::X86_64), ..file(name, 1000) };
    let files = [arm("a"), intel("b"), arm("c")];
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    assert_eq!(queue.head(1).as_deref(), Some("a"), "nothing is known of it yet");
    queue.boot(1);
    queue.put(1, None, "x", Verdict::Passed);
    assert_eq!(queue.head(1).as_deref(), Some("c"), "it is an Arm host: b is not for it");
    queue.boot(1);
    queue.put(1, None, "y", Verdict::Passed);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("b is not for it") };
    assert_eq!((idle.stub, idle.arch), (Some(Stub::PowerOff), Some(Arch::Aarch64)));
}

#[test]
fn a_program_is_for_the_processor_that_the_images_are_made_for_if_the_host_is_a_stranger() {
    let mut queue = Model::new(&[]);
    queue.snapshot.policy.arch = Some(Arch::Aarch64);
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("there is no work") };
    assert_eq!(idle.arch, Some(Arch::Aarch64));
}

#[test]
fn a_waiting_host_resets_for_a_disk_image_and_for_nothing_else() {
    for (kind, resets) in [(Kind::Efi, false), (Kind::Iso, true), (Kind::Img, true)] {
        let mut queue = Model::new(&["a"]);
        queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::Wait);
        queue.boot(2);
        let Offer::Idle(idle) = queue.ask(1, Ask::Get) else { panic!("there is no work") };
        assert_eq!(idle.stub, Some(Stub::Wait));
        queue.pass(60);
        let files = [file("a", 1000), Found { kind, ..file("b", 1000) }];
        queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
        if resets {
            for how in [Ask::Head, Ask::Get] {
                let Offer::Idle(idle) = queue.ask(1, how) else { panic!("it is to reset first") };
                assert_eq!((idle.stub, idle.is_urgent), (Some(Stub::Reboot), true));
            }
        }
        assert_eq!(queue.head(1).as_deref(), Some("b"), "{kind}");
    }
}
