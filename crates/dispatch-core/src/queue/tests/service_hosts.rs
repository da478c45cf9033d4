//! Which hosts of a service may work, and what idle ones are told.

use super::service::{group, key, listed, metal, named};
use super::verbs::template;
use super::*;
use crate::group::{Group, ListedHost, UnknownHosts};
use crate::mac::Mac;
use crate::run::Policy;

fn enrolling() -> Model {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.snapshot.policy.unknown_hosts = UnknownHosts::Enroll;
    queue.offer_names("g", &["a", "b"]);
    queue
}

fn accepted(yes: bool) -> HostEdit {
    HostEdit { is_accepted: Some(yes), ..HostEdit::default() }
}

#[test]
fn an_enrolled_host_gets_no_work_until_somebody_accepts_it_and_reads_so() {
    let mut queue = enrolling();
    let idle = queue.idle("r1");
    assert!(idle.reason.contains("waits to be accepted"), "{}", idle.reason);
    assert!(idle.reason.contains(&queue.host("r1").id.to_string()), "{}", idle.reason);
    queue.edit_host("r1", &accepted(true)).expect("a host");
    assert_eq!(queue.given("r1").as_deref(), Some("a"));
    assert_eq!(queue.told(|what| *what == Happening::HostAccepted), 1);
}

#[test]
fn what_runs_on_a_host_that_is_no_more_accepted_goes_on() {
    let mut queue = enrolling();
    queue.idle("r1");
    queue.edit_host("r1", &accepted(true)).expect("a host");
    queue.given("r1").expect("a");
    queue.edit_host("r1", &accepted(false)).expect("a host");
    assert_eq!(queue.given("r1").as_deref(), Some("a"), "the same");
    queue.finish("r1");
    assert_eq!(queue.given("r1"), None);
}

#[test]
fn a_listed_host_may_work_at_once_by_its_name_its_card_or_its_board() {
    let mut queue = enrolling();
    let card = Mac([2, 0, 0, 0, 0, 9]);
    queue.snapshot.policy.listed = [
        listed("r1", &[]),
        ListedHost { boot_name: None, macs: vec![card], ..listed("r2", &[]) },
        ListedHost { boot_name: None, uuid: Some("board".into()), ..listed("r3", &[]) },
    ]
    .into();
    assert!(queue.given("r1").is_some());
    let who = Sighting { mac: Some(card), name: None, address: [192, 0, 2, 77].into() };
    let offer = queue.decide(|snapshot, context| snapshot.ask(&who, Ask::Head, &BTreeMap::new(), context));
    assert!(matches!(offer, Offer::Image { .. }), "{offer:?}");
    queue.offer_names("g", &["a", "b", "c"]);
    assert_eq!(queue.given("r3"), None, "its board is not known yet");
    let id = queue.host("r3").id;
    queue.snapshot.hosts.iter_mut().find(|host| host.id == id).expect("a host").uuid = Some("board".into());
    assert!(queue.given("r3").is_some());
}

#[test]
fn an_unlisted_host_that_is_ignored_is_not_even_remembered() {
    let mut queue = enrolling();
    queue.snapshot.policy.unknown_hosts = UnknownHosts::Ignore;
    queue.snapshot.policy.listed = [listed("r1", &[])].into();
    assert_eq!(queue.idle("stranger").stub, Some(Stub::Next));
    assert!(queue.snapshot.hosts.is_empty());
    assert!(queue.given("r1").is_some());
}

#[test]
fn a_paused_host_gets_no_work_and_says_so() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    queue.decide(|snapshot, context| snapshot.ask(&named("r1"), Ask::Head, &BTreeMap::new(), context));
    queue.finish("r1");
    queue.offer_names("g", &["a", "b"]);
    let paused = |on| HostEdit { is_paused: Some(on), ..HostEdit::default() };
    queue.edit_host("r1", &paused(true)).expect("a host");
    assert!(queue.idle("r1").reason.contains("is paused"));
    queue.edit_host("r1", &paused(false)).expect("a host");
    assert_eq!(queue.given("r1").as_deref(), Some("b"));
}

#[test]
fn an_idle_host_is_told_what_the_first_of_its_groups_says() {
    let wait = Group { when_idle: Some(WhenIdle::Always(Stub::Wait)), ..metal("w", &["w"]) };
    let off = Group { when_idle: Some(WhenIdle::Always(Stub::PowerOff)), ..metal("o", &["o"]) };
    let mut queue = Model::service(vec![wait, off]);
    queue.snapshot.policy.when_idle = WhenIdle::Always(Stub::Next);
    assert_eq!(queue.idle("r1").stub, Some(Stub::Next), "it belongs to none");
    queue.label("r1", &["o"]);
    assert_eq!(queue.idle("r1").stub, Some(Stub::PowerOff));
    queue.label("r1", &["o", "w"]);
    assert_eq!(queue.idle("r1").stub, Some(Stub::Wait));
}

#[test]
fn of_two_hosts_one_has_an_id_whatever_its_case() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.snapshot.policy.listed = [listed("r9", &[])].into();
    queue.idle("r1");
    queue.idle("r2");
    let called = |name: &str| HostEdit { key: Some(Some(key(name))), ..HostEdit::default() };
    queue.edit_host("r1", &called("one")).expect("a host");
    let own = queue.host("r1").id.to_string();
    for taken in ["one", "ONE", "R9", own.as_str()] {
        assert_eq!(queue.edit_host("r2", &called(taken)), Err(NotDone::KeyTaken), "{taken}");
    }
    queue.edit_host("r1", &called("ONE")).expect("its own");
}

#[test]
fn a_job_can_be_pinned_to_a_host_by_either_of_its_ids() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    queue.idle_or_work("r1");
    queue.edit_host("r1", &HostEdit { key: Some(Some(key("one"))), ..HostEdit::default() }).expect("a host");
    queue.finish("r1");
    for label in ["host:one".to_owned(), format!("host:{}", queue.host("r1").id)] {
        let new = NewJob { required_labels: vec![label.clone()], ..queue.by_hand("a") };
        queue.add("g", new).expect("made");
        assert_eq!(queue.given("r2"), None, "{label}");
        assert_eq!(queue.given("r1").as_deref(), Some("a"), "{label}");
        queue.finish("r1");
    }
}

#[test]
fn what_left_the_configuration_starts_nothing_at_once_and_keeps_what_it_did() {
    let mut queue = Model::service(vec![metal("g", &[]), metal("h", &[])]);
    queue.offer_names("g", &["a", "b"]);
    queue.given("r1").expect("a");
    queue.configure(vec![metal("h", &[])]);
    assert_eq!(queue.given("r2"), None);
    queue.finish("r1");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
    let state = queue.snapshot.groups.iter().find(|state| state.id == group("g")).expect("it is known");
    assert!(!state.in_config);
    queue.configure(vec![metal("g", &[]), metal("h", &[])]);
    assert_eq!(queue.given("r2").as_deref(), Some("b"));
}

#[test]
fn what_is_of_a_source_that_left_the_configuration_waits() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    queue.configure(vec![Group { sources: Vec::new(), ..metal("g", &[]) }]);
    assert_eq!(queue.given("r1"), None);
    assert_eq!(queue.job("a").state, JobState::Queued);
}

#[test]
fn a_host_of_the_configuration_does_not_take_the_id_that_a_person_gave_another() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    for name in ["r1", "r2"] {
        queue.idle(name);
        let edit = HostEdit { key: Some(Some(key(&format!("Rack-{name}")))), ..HostEdit::default() };
        queue.edit_host(name, &edit).expect("a host");
    }
    let mut configure = |listed: Vec<ListedHost>| {
        let policy = Policy { listed: listed.into(), ..queue.snapshot.policy.clone() };
        queue.decide(|snapshot, context| snapshot.configure(&[], &policy, context.now))
    };
    let of_another = ListedHost { key: key("rack-R1"), ..listed("r2", &[]) };
    let conflict = configure(vec![of_another.clone()]).expect_err("r1 is called so");
    let said = conflict.to_string();
    assert!(said.contains("rack-R1") && said.contains("by hand, r1 ("), "{said}");
    assert_eq!(configure(vec![ListedHost { key: key("rack-R1"), ..listed("r1", &[]) }]), Ok(()), "its own");
    // What r1 is called by hand does not count where the file calls it otherwise.
    assert_eq!(configure(vec![listed("r1", &[]), of_another]), Ok(()));
}

#[test]
fn nobody_queues_from_a_source_that_left_the_configuration() {
    let with = Group { templates: vec![template("t", "g", "a")], ..metal("g", &[]) };
    let without = Group { sources: Vec::new(), ..with.clone() };
    let mut queue = Model::service(vec![with.clone()]);
    queue.offer_names("g", &["a"]);
    queue.given("r1").expect("work");
    queue.finish("r1");
    let by_id = queue.by_hand("a");
    let by_template = NewJob::new(Wanted::Template("t".parse().expect("an id")));
    queue.configure(vec![without]);
    assert!(!queue.snapshot.workloads[0].is_offered, "people see that it is not there");
    assert_eq!(queue.add("g", by_id.clone()), Err((0, NotDone::SourceGone("a".into()))));
    assert_eq!(queue.add("g", by_template.clone()), Err((0, NotDone::NotOffered("a".into()))));
    // What it was just looked at for comes to nothing.
    queue.offer_names("g", &["a", "b"]);
    assert!(queue.order("g").is_empty() && !queue.snapshot.workloads[0].is_offered);
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed), "what it did stays known");
    queue.configure(vec![with]);
    assert_eq!(queue.add("g", by_template.clone()), Err((0, NotDone::NotOffered("a".into()))), "not yet");
    queue.offer_names("g", &["a"]);
    assert!(queue.order("g").is_empty(), "it was run");
    for wanted in [by_id, by_template] {
        queue.add("g", wanted).expect("made");
    }
}

#[test]
fn a_pause_outlives_the_configuration() {
    let mut queue = Model::service(vec![metal("g", &[])]);
    queue.switch("g", Switch::Paused).expect("a group");
    queue.configure(Vec::new());
    queue.configure(vec![metal("g", &[])]);
    queue.offer_names("g", &["a"]);
    assert_eq!(queue.given("r1"), None);
}

impl Model {
    fn idle_or_work(&mut self, name: &str) {
        drop(self.offer_to(name));
    }
}
