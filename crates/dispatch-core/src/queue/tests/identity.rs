//! Who is asking, and what becomes of a run if nobody can tell.

use super::*;
use crate::host::HostName;
use crate::mac::Mac;

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
            Offer::Idle(_) | Offer::Reset { .. } | Offer::Several(_) | Offer::NotNow(_) => None,
        }
    }

    /// `GET` of the whole image.
    fn fetches(&mut self, who: &Sighting) -> Option<RunId> {
        let Offer::Image { run, .. } = self.ask_as(who, Ask::Get) else { return None };
        let transfer = self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now))?;
        let event = RunEvent::Ended { transfer, sent: 1000, count: 1000, end: End::Whole };
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        Some(run)
    }

    /// `GET` of the whole image, and `POST`.
    fn boots(&mut self, who: &Sighting, told: &Told) -> Option<RunId> {
        self.fetches(who)?;
        self.calls(who, told).ok()
    }

    /// `POST`.
    fn calls(&mut self, who: &Sighting, told: &Told) -> Result<RunId, NoRun> {
        self.decide(|snapshot, context| snapshot.start(who, told, context))
    }

    /// `PUT`.
    fn reports(
        &mut self,
        who: &Sighting,
        told: &Told,
        run: Option<RunId>,
        verdict: Verdict,
    ) -> Result<RunId, NoRun> {
        let (digest, title) = (format!("{who:?} {told:?} {verdict}"), "a report".to_owned());
        let report = NewReport { digest, title, json: "{}".into(), verdict };
        self.decide(|snapshot, context| snapshot.report(who, told, run, report, context))
            .map(|accepted| accepted.run)
    }
}

/// What whoever is turned away is told: to use names.
fn is_several(answer: Result<RunId, NoRun>) -> bool {
    matches!(answer, Err(NoRun::Several(why)) if why.contains("several hosts ask") && why.contains("give each"))
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
    assert!(is_several(queue.calls(&router(), &told("second", &[2]))));
    assert_eq!(queue.run(run).state, RunState::Failed);
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
    let reason = queue.run(run).reason.clone().expect("a reason");
    assert!(reason.contains("several hosts ask from 192.0.2.1") && reason.contains("/@NAME"), "{reason}");
    assert_eq!(queue.told(|what| matches!(what, Happening::HostShared { .. })), 1);
    let of_nobody = queue.reports(&router(), &Told::default(), None, Verdict::Passed);
    assert!(is_several(of_nobody), "whose report that is cannot be told");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
}

#[test]
fn a_shared_address_gets_no_work_and_is_told_to_use_names_and_names_work() {
    let mut queue = Model::new(&["a", "b"]);
    let router = from(1, None, None);
    queue.boots(&router, &told("first", &[1])).expect("it is up");
    assert!(is_several(queue.calls(&router, &told("second", &[2]))));
    let Offer::Several(idle) = queue.ask_as(&router, Ask::Get) else { panic!("no work for nobody") };
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
    assert!(is_several(queue.calls(&router, &told("second", &[2]))));
    assert_eq!(queue.reports(&router, &Told::default(), Some(run), Verdict::Failed), Ok(run));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Failed));
}

#[test]
fn powering_off_is_never_what_a_shared_address_is_told() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::PowerOff);
    let router = from(1, None, None);
    queue.boots(&router, &told("first", &[1])).expect("it is up");
    assert!(is_several(queue.calls(&router, &told("second", &[2]))));
    let Offer::Several(idle) = queue.ask_as(&router, Ask::Get) else { panic!("no work for nobody") };
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
    assert!(is_several(queue.calls(&other, &told("second", &[2]))));
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
    for stub in Stub::ALL {
        // Neither off, nor kept here, nor reset again and again.
        queue.snapshot.policy.when_idle = WhenIdle::Always(stub);
        let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("it is not for this host") };
        assert_eq!((idle.stub, idle.reason.as_str()), (Some(Stub::Next), "this session is for other hosts"));
    }
    queue.snapshot.policy.when_idle = WhenIdle::None;
    let Offer::Idle(idle) = queue.ask(1, Ask::Head) else { panic!("it is not for this host") };
    assert_eq!(idle.stub, None);
    assert_eq!(queue.head(2).as_deref(), Some("a"));
}

#[test]
fn an_image_for_another_processor_is_for_another_host() {
    let mut queue = Model::new(&[]);
    let arm = |name: &str| Found {
        terms: Terms { arch: Some(Arch::Aarch64), ..Terms::default() },
        ..file(name, 1000)
    };
    let intel = |name: &str| Found {
        terms: Terms { arch: Some(Arch::X86_64), ..Terms::default() },
        ..file(name, 1000)
    };
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
    assert_eq!(idle.reason, "no job for aarch64 is left", "the queue is not empty");
    let waits = "it is made for x86-64, and waits for a server of that kind to ask";
    assert_eq!(queue.job("b").waits.as_deref(), Some(waits));
    let _ = queue.ask(1, Ask::Head);
    assert_eq!(queue.told(|what| matches!(what, Happening::Waits { .. })), 1, "once is enough");
    assert_eq!(queue.head(2).as_deref(), Some("b"));
    assert_eq!(queue.job("b").waits, None);
}

/// The management controllers of one model of board may all have the same card.
#[test]
fn two_hosts_that_have_a_card_in_common_are_told_apart_by_their_boards() {
    let router = || from(1, Some(200), None);
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    queue.boots(&router(), &told("first", &[1, 99])).expect("the first is up");
    assert!(is_several(queue.calls(&router(), &told("second", &[2, 99]))));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
}

#[test]
fn a_report_that_names_no_run_and_is_of_another_machine_is_nobodys() {
    let router = from(1, Some(200), None);
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    queue.boots(&router, &told("first", &[1])).expect("the first is up");
    assert!(is_several(queue.reports(&router, &told("second", &[2]), None, Verdict::Passed)));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
    assert_eq!(queue.told(|what| matches!(what, Happening::HostShared { .. })), 1);
}

/// Images that never call, and only report.
#[test]
fn a_second_report_of_another_machine_is_noticed_where_nobody_has_called() {
    let router = from(1, Some(200), None);
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let run = queue.fetches(&router).expect("there is work");
    assert_eq!(queue.reports(&router, &told("first", &[1]), None, Verdict::Passed), Ok(run));
    assert!(is_several(queue.reports(&router, &told("second", &[2]), None, Verdict::Passed)));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
}

#[test]
fn a_card_that_moves_to_another_host_does_not_make_one_host_of_two() {
    let mut queue = Model::new(&["a", "b"]);
    queue.snapshot.policy.retries = 0;
    let first = from(1, Some(1), None);
    queue.boots(&first, &told("first", &[1, 50])).expect("it is up");
    queue.reports(&first, &told("first", &[1, 50]), None, Verdict::Passed).expect("it has passed");
    assert_eq!(queue.gets(&first).as_deref(), Some("b"));
    // The card 50 is in another host now, which asks, and is up first.
    let second = from(2, Some(50), None);
    queue.boots(&second, &told("second", &[2, 50])).expect("by that card it is the first");
    assert!(is_several(queue.calls(&first, &told("first", &[1]))));
    assert_eq!(queue.job("b").verdict, Some(Verdict::Errored));
}

#[test]
fn what_a_run_has_reported_as_failed_stays_failed_whatever_else_comes_of_it() {
    let router = from(1, Some(200), None);
    let mut queue = Model::new(&["a"]);
    let run = queue.boots(&router, &told("first", &[1])).expect("it is up");
    queue.reports(&router, &told("first", &[1]), Some(run), Verdict::Failed).expect("a report");
    assert!(is_several(queue.calls(&router, &told("second", &[2]))));
    assert_eq!(
        (queue.run(run).verdict, queue.job("a").verdict),
        (Some(Verdict::Failed), Some(Verdict::Failed))
    );
    assert_eq!(queue.job("a").state, JobState::Done, "no retry can better that");
}

#[test]
fn a_late_pass_of_a_disputed_run_does_not_end_its_retry_and_a_late_failure_does() {
    for (verdict, state) in [(Verdict::Passed, JobState::Queued), (Verdict::Failed, JobState::Done)] {
        let router = from(1, Some(200), None);
        let mut queue = Model::new(&["a"]);
        let run = queue.boots(&router, &told("first", &[1])).expect("it is up");
        assert!(is_several(queue.calls(&router, &told("second", &[2]))));
        assert_eq!(queue.job("a").state, JobState::Queued, "it is tried again");
        assert_eq!(queue.reports(&router, &told("first", &[1]), Some(run), verdict), Ok(run));
        assert_eq!(queue.job("a").state, state, "{verdict}");
    }
}

/// What used to hurt: a mark of suspicion that was set too soon and never went away.
#[test]
fn an_address_that_is_given_to_another_machine_later_is_that_machines() {
    for (minutes, is_taken) in [(5, false), (180, true)] {
        let mut queue = Model::new(&["a", "b"]);
        let routed = from(1, None, None);
        queue.boots(&routed, &told("first", &[1])).expect("it is up");
        queue.reports(&routed, &told("first", &[1]), None, Verdict::Passed).expect("a report");
        queue.pass(minutes * 60);
        let answer = queue.boots(&routed, &told("second", &[2]));
        assert_eq!(answer.is_some(), is_taken, "after {minutes} minutes");
        let late = queue.reports(&routed, &told("first", &[1]), None, Verdict::Failed);
        assert!(late.is_err(), "the first machine is not there any more");
    }
}

#[test]
fn what_is_known_to_be_shared_is_said_again_in_each_session_and_forgotten_with_the_round() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let router = from(1, Some(200), None);
    queue.boots(&router, &told("first", &[1])).expect("it is up");
    assert!(is_several(queue.calls(&router, &told("second", &[2]))));
    let shared = |queue: &Model| queue.told(|what| matches!(what, Happening::HostShared { .. }));
    let files = [file("a", 1000), file("b", 1000)];
    assert_eq!(shared(&queue), 1);
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    assert_eq!(shared(&queue), 2, "the next session");
    assert!(matches!(queue.ask_as(&router, Ask::Head), Offer::Several(_)));
    assert_eq!(queue.gets(&from(3, Some(3), None)).as_deref(), Some("b"));
    queue.boot(3);
    let by_name = from(1, Some(200), Some("r1"));
    queue.boots(&by_name, &told("first", &[1]));
    queue.reports(&by_name, &told("first", &[1]), None, Verdict::Passed).ok();
    let open: Vec<JobId> =
        queue.snapshot.jobs.iter().filter(|job| !job.state.is_final()).map(|job| job.id).collect();
    for job in open {
        let cancelled =
            queue.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now));
        assert_eq!(cancelled, Ok(()));
    }
    queue.decide(|snapshot, _| snapshot.close());
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    assert!(queue.snapshot.hosts.iter().all(|host| host.shared.is_none()));
}

/// A host with several cards: its firmware fetches through one, its system calls through another.
#[test]
fn a_call_through_another_card_is_of_the_host_whose_cards_it_tells() {
    let mut queue = Model::new(&["a", "b"]);
    let (one, other) = (from(1, Some(1), None), from(2, Some(2), None));
    // Its firmware has asked through the other card before, and got a job of its own that it did not fetch.
    assert_eq!(queue.gets(&other).as_deref(), Some("a"));
    let run = queue.fetches(&one).expect("there is work");
    assert_eq!(queue.name_of(run), "b");
    assert_eq!(queue.calls(&other, &told("u", &[1, 2])), Ok(run));
    assert_eq!(queue.reports(&other, &told("u", &[1, 2]), None, Verdict::Passed), Ok(run));
    assert_eq!(queue.job("a").state, JobState::Queued, "the machine has not begun with it");
    assert_eq!(queue.gets(&other).as_deref(), Some("a"), "from now on, both are this host");
    assert_eq!(queue.gets(&one).as_deref(), Some("a"));
}

#[test]
fn a_stranger_that_tells_of_no_known_card_calls_for_nobody() {
    let mut queue = Model::new(&["a"]);
    queue.gets(&from(1, Some(1), None)).expect("there is work");
    assert_eq!(queue.calls(&from(2, Some(2), None), &told("u", &[2, 3])), Err(NoRun::Nothing));
    assert_eq!(queue.snapshot.hosts.len(), 1, "and is not remembered");
}

#[test]
fn a_host_that_worked_in_an_earlier_round_is_a_stranger_in_this_one() {
    let mut queue = Model::new(&["a"]);
    queue.boots(&from(1, Some(1), None), &told("u", &[1])).expect("it is up");
    queue.reports(&from(1, Some(1), None), &told("u", &[1]), None, Verdict::Passed).expect("a report");
    let idle = |queue: &mut Model| match queue.ask_as(&from(1, Some(1), None), Ask::Head) {
        Offer::Idle(idle) => idle.stub,
        offer => panic!("{offer:?}"),
    };
    assert_eq!(idle(&mut queue), Some(Stub::PowerOff));
    queue.decide(|snapshot, _| snapshot.close());
    let files = [file("b", 1000)];
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    queue.boot(2);
    assert_eq!(idle(&mut queue), Some(Stub::Next), "it may be in production by now");
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
                let (Offer::Idle(idle) | Offer::Reset { idle, .. }) = queue.ask(1, how) else {
                    panic!("it is to reset first")
                };
                assert_eq!((idle.stub, idle.is_urgent), (Some(Stub::Reboot), true));
            }
        }
        assert_eq!(queue.head(1).as_deref(), Some("b"), "{kind}");
    }
}

/// The firmware of a host with several cards asks through another one than before, and its system calls through the
/// first: what that says is said of the image that it has now.
#[test]
fn what_runs_now_is_not_taken_for_what_the_same_machine_ran_before() {
    let mut queue = Model::new(&["a", "b"]);
    queue.snapshot.policy.retries = 0;
    let (one, other) = (from(1, Some(1), None), from(2, Some(2), None));
    assert_eq!(queue.gets(&one).as_deref(), Some("a"), "not fetched");
    queue.pass(3600);
    queue.decide(|snapshot, context| snapshot.tick(context.now));
    let before = queue.boots(&other, &told("u", &[1, 2])).expect("it is up");
    let now = queue.fetches(&one).expect("it has reset, and asks through its first card");
    assert_ne!(now, before);
    assert_eq!(queue.run(before).verdict, Some(Verdict::Errored), "it rebooted without a report");
    assert_eq!(queue.calls(&other, &told("u", &[1, 2])), Ok(now));
    assert_eq!(queue.reports(&other, &told("u", &[1, 2]), None, Verdict::Passed), Ok(now));
}

/// Firmware on the cable, systems behind NAT.
#[test]
fn systems_that_call_through_one_address_are_told_apart_by_their_cards() {
    for nat in [None, Some(200)] {
        let mut queue = Model::new(&["a", "b"]);
        let first = queue.fetches(&from(1, Some(1), None)).expect("there is work");
        let second = queue.fetches(&from(2, Some(2), None)).expect("there is more");
        let nat = from(9, nat, None);
        assert_eq!(queue.calls(&nat, &told("first", &[1])), Ok(first));
        assert_eq!(queue.calls(&nat, &told("second", &[2])), Ok(second));
        assert_eq!(queue.reports(&nat, &told("first", &[1]), None, Verdict::Passed), Ok(first));
        assert_eq!(queue.reports(&nat, &told("second", &[2]), None, Verdict::Failed), Ok(second));
        assert_eq!((queue.job("a").verdict, queue.run(first).verdict), (None, Some(Verdict::Passed)));
        assert!(queue.snapshot.hosts.iter().all(|host| host.shared.is_none() && host.macs.len() == 1));
    }
}

#[test]
fn a_name_that_another_host_has_is_not_given_to_a_second_one() {
    let mut queue = Model::new(&["a", "b"]);
    queue.gets(&from(2, Some(2), Some("r1"))).expect("there is work");
    let run = queue.fetches(&from(1, Some(1), None)).expect("there is more");
    assert_eq!(queue.calls(&from(1, Some(1), Some("r1")), &told("u", &[1])), Ok(run));
}

#[test]
fn within_a_run_cards_may_come_and_go() {
    let mut queue = Model::new(&["a"]);
    let who = from(1, None, None);
    let run = queue.boots(&who, &told("u", &[1, 2])).expect("it is up");
    for cards in [&[1][..], &[2], &[]] {
        assert_eq!(queue.calls(&who, &told("u", cards)), Ok(run), "{cards:?}");
    }
}

#[test]
fn another_image_of_the_same_machine_may_know_other_cards() {
    let mut queue = Model::new(&["a", "b"]);
    let who = from(1, None, None);
    queue.boots(&who, &told("u", &[1])).expect("it is up");
    queue.reports(&who, &told("u", &[1]), None, Verdict::Passed).expect("a report");
    assert!(queue.boots(&who, &told("u", &[2])).is_some());
    assert_eq!(queue.told(|what| matches!(what, Happening::HostShared { .. })), 0);
}

#[test]
fn a_call_that_no_run_waits_for_marks_nobody() {
    let mut queue = Model::new(&["a", "b"]);
    let routed = from(1, None, None);
    queue.boots(&routed, &told("first", &[1])).expect("it is up");
    queue.reports(&routed, &told("first", &[1]), None, Verdict::Passed).expect("a report");
    queue.pass(1000);
    queue.tick();
    assert_eq!(queue.calls(&routed, &told("second", &[2])), Err(NoRun::Nothing));
    assert_eq!(queue.reports(&routed, &told("second", &[2]), None, Verdict::Passed), Err(NoRun::Nothing));
    assert_eq!(queue.gets(&routed).as_deref(), Some("b"));
}

/// Its image was changed under it before the last byte was noted; it boots what it has, and reports without naming a
/// run.
#[test]
fn what_a_host_says_of_a_disputed_run_is_not_said_of_the_run_before() {
    let mut queue = Model::new(&["a", "b"]);
    let who = from(1, Some(1), None);
    queue.boots(&who, &Told::default()).expect("it is up");
    queue.reports(&who, &Told::default(), None, Verdict::Passed).expect("a report");
    let Offer::Image { run, .. } = queue.ask_as(&who, Ask::Get) else { panic!("there is b") };
    queue.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now)).expect("it begins");
    let spoiled = RunEvent::Disputed { why: "its file was changed".into() };
    assert!(queue.decide(|snapshot, context| snapshot.note(run, &spoiled, context.now)));
    assert_eq!(queue.reports(&who, &Told::default(), None, Verdict::Failed), Ok(run));
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
}

impl Model {
    /// `GET` of the first half of the image.
    fn fetches_half(&mut self, who: &Sighting) -> Option<RunId> {
        let Offer::Image { run, .. } = self.ask_as(who, Ask::Get) else { return None };
        let transfer = self.decide(|snapshot, context| snapshot.begin(run, 1000, 0, context.now))?;
        let event = RunEvent::Ended { transfer, sent: 500, count: 500, end: End::Broken };
        self.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        self.pass(5);
        Some(run)
    }
}

/// One machine, whose firmware falls over from one card to the other and back.
#[test]
fn what_a_machine_says_is_said_of_the_image_that_it_fetched_last() {
    let told = told("u", &[1, 2]);
    let (one, other) = (from(1, Some(1), None), from(2, Some(2), None));
    for (case, fetched) in ["broken", "not started", "up, and crashed"].into_iter().enumerate() {
        let mut queue = Model::new(&["a", "b"]);
        let run = queue.fetches_half(&one).expect("a");
        let before = match case {
            0 => queue.fetches_half(&other),
            1 => queue.fetches(&other),
            _ => queue.boots(&other, &told),
        };
        assert_ne!(before.expect("b"), run);
        queue.pass(5);
        assert_eq!(queue.fetches(&one), Some(run), "{fetched}");
        queue.pass(20);
        assert_eq!(queue.calls(&one, &told), Ok(run), "{fetched}");
        assert_eq!(queue.reports(&one, &told, None, Verdict::Passed), Ok(run), "{fetched}");
    }
}

#[test]
fn a_card_that_has_moved_to_another_machine_takes_no_run_with_it() {
    for is_up in [false, true] {
        let mut queue = Model::new(&["x", "a", "b", "c"]);
        let (adapter, first, second) =
            (from(9, Some(50), None), from(1, Some(1), None), from(2, Some(2), None));
        for who in [&adapter, &first] {
            queue.boots(who, &told("first", &[1, 50])).expect("both cards are the first machine's");
            queue.reports(who, &told("first", &[1, 50]), None, Verdict::Passed).expect("a report");
            queue.pass(1000);
            queue.tick();
        }
        let run = queue.fetches(&first).expect("b");
        if is_up {
            assert_eq!(queue.calls(&first, &told("first", &[1])), Ok(run));
        }
        queue.pass(2);
        let of_second = queue.fetches(&second).expect("c");
        assert_eq!(queue.calls(&second, &told("second", &[2, 50])), Ok(of_second));
        assert_eq!(queue.calls(&first, &told("first", &[1])), Ok(run), "it goes on: {is_up}");
        assert_eq!(queue.told(|what| matches!(what, Happening::HostShared { .. })), 0);
    }
}

#[test]
fn what_is_left_of_a_host_that_became_another_is_nobody_who_asks_later() {
    let mut queue = Model::new(&["a", "b"]);
    let (one, other) = (from(1, Some(1), None), from(2, Some(2), None));
    queue.boots(&other, &told("u", &[2])).expect("it is up");
    queue.reports(&other, &told("u", &[2]), None, Verdict::Passed).expect("a report");
    queue.pass(10);
    queue.boots(&one, &told("u", &[1, 2])).expect("it is up");
    queue.reports(&one, &told("u", &[1, 2]), None, Verdict::Passed).expect("a report");
    queue.pass(600);
    queue.tick();
    let stranger = from(2, Some(77), None);
    let Offer::Idle(idle) = queue.ask_as(&stranger, Ask::Head) else { panic!("there is no work") };
    assert_eq!(idle.stub, Some(Stub::Next), "a stranger is left alone, whatever its address was");
}

/// The other way round: the machine that the card was in fetches later.
#[test]
fn a_card_that_has_moved_says_nothing_of_what_its_old_machine_fetches() {
    let mut queue = Model::new(&["x", "a", "b", "c"]);
    let (adapter, first, second) = (from(9, Some(50), None), from(1, Some(1), None), from(2, Some(2), None));
    for who in [&adapter, &first] {
        queue.boots(who, &told("first", &[1, 50])).expect("both cards are the first machine's");
        queue.reports(who, &told("first", &[1, 50]), None, Verdict::Passed).expect("a report");
        queue.pass(1000);
        queue.tick();
    }
    let of_second = queue.fetches(&second).expect("b");
    queue.pass(2);
    let of_first = queue.fetches(&first).expect("c");
    assert_eq!(queue.calls(&second, &told("second", &[2, 50])), Ok(of_second));
    assert_eq!(queue.calls(&first, &told("first", &[1])), Ok(of_first));
}
