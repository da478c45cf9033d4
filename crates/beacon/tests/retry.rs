//! How patient beacon is, in simulated time.

#![cfg(test)]

mod common;

use std::cell::Cell;
use std::time::Duration;

use beacon::call::{Call, GaveUp, Pace, Taken};
use beacon::clock::Clock as _;
use beacon::exchange::{Answer, Exchange, Message, Request};
use beacon::find::{Finder, Finding, Found, Known, finders};
use beacon::host::HostIdentity;
use beacon::run_id::RunId;
use beacon::state::Remembered;
use common::{Lines, Machine, Scripted, Simulated, refused, status};
use proptest::prelude::*;

const A: &str = "http://a/dispatch";
const B: &str = "http://b/dispatch";

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn found(url: &str) -> Found {
    Found { url: url.parse().expect("a URL"), from: "test".to_owned() }
}

/// Servers that were looked for and found, as opposed to given.
struct Discovered(&'static [&'static str]);

impl Finder for Discovered {
    fn find(&self) -> Finding {
        Finding { found: self.0.iter().map(|url| found(url)).collect(), ..Finding::default() }
    }
}

fn discovered(urls: &'static [&'static str]) -> Vec<Box<dyn Finder>> {
    vec![Box::new(Discovered(urls))]
}

fn given(url: &str) -> Vec<Box<dyn Finder>> {
    vec![Box::new(Known(found(url)))]
}

/// Makes a call on a scripted network and keeps the lines.
struct Test<'a> {
    clock: &'a Simulated,
    pace: Pace,
    finders: Vec<Box<dyn Finder>>,
    remembered: Option<Remembered>,
    lines: Vec<String>,
}

impl<'a> Test<'a> {
    fn new(clock: &'a Simulated, pace: Pace, finders: Vec<Box<dyn Finder>>) -> Self {
        Self { clock, pace, finders, remembered: None, lines: Vec::new() }
    }

    fn run(&mut self, exchange: &dyn Exchange) -> Result<Taken, GaveUp> {
        let message = if self.pace.cap == Pace::BOOT.cap { Message::Boot } else { Message::Report };
        let request = Request { message, body: Vec::new(), host: HostIdentity::default() };
        let mut lines = Lines::default();
        let call = Call {
            request: &request,
            pace: self.pace,
            finders: &self.finders,
            remembered: self.remembered.as_ref(),
            exchange,
            clock: self.clock,
        };
        let result = call.run(&mut lines);
        self.lines = lines.0;
        result
    }
}

#[test]
fn a_server_that_comes_up_later_is_told() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, now| if now < minutes(1) { refused() } else { status(200) });
    let mut test = Test::new(&clock, Pace::BOOT, discovered(&[A]));
    assert_eq!(test.run(&network).expect("told").url.as_str(), A);
    assert!(clock.now() < minutes(1) + Pace::BOOT.cap);
    assert_eq!(test.lines.len(), 1, "one line for one trouble: {:?}", test.lines);
    assert!(test.lines[0].contains("connection refused"), "{:?}", test.lines);
}

#[test]
fn boot_gives_up_after_two_minutes_and_says_what_was_tried() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |url, _| if url == A { refused() } else { status(503) });
    let error = Test::new(&clock, Pace::BOOT, discovered(&[A, B])).run(&network).expect_err("nobody");
    assert_eq!(clock.now(), minutes(2));
    assert_eq!(
        error.to_string(),
        "the start could not be told in 2 min: http://a/dispatch (test): connection refused, nothing listens \
         there; http://b/dispatch (test): 503, it is in trouble; check that dispatch runs there and that this \
         host's network is up"
    );
}

#[test]
fn boot_asks_often_but_not_without_pause() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| refused());
    Test::new(&clock, Pace::BOOT, discovered(&[A])).run(&network).expect_err("nobody");
    let count = network.count(A);
    assert!((24..60).contains(&count), "{count} attempts in two minutes");
}

#[test]
fn a_report_survives_an_outage_of_ninety_minutes() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, now| if now < minutes(90) { refused() } else { status(200) });
    let mut test = Test::new(&clock, Pace::REPORT, discovered(&[A]));
    test.run(&network).expect("told");
    assert!(clock.now() < minutes(90) + Pace::REPORT.cap);
    assert_eq!(test.lines.len(), 1, "{:?}", test.lines);
}

#[test]
fn a_report_is_given_up_after_two_hours() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| refused());
    let error = Test::new(&clock, Pace::REPORT, discovered(&[A])).run(&network).expect_err("nobody");
    assert_eq!(clock.now(), minutes(120));
    assert!(error.to_string().contains("in 2 h"), "{error}");
}

#[test]
fn when_every_server_says_417_two_minutes_are_enough() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| status(417));
    let mut test = Test::new(&clock, Pace::REPORT, discovered(&[A, B]));
    let error = test.run(&network).expect_err("nobody");
    assert_eq!(clock.now(), minutes(2));
    assert!(error.to_string().contains("was this system started by one of these servers?"), "{error}");
    assert_eq!(test.lines.len(), 2, "one for each: {:?}", test.lines);
}

#[test]
fn trouble_of_one_server_keeps_the_time_for_saying_no_from_running() {
    let clock = Simulated::default();
    // A says no all the time; B is down for ten minutes, then says no as well.
    let network =
        Scripted::new(&clock, |url, now| if url == B && now < minutes(10) { refused() } else { status(417) });
    Test::new(&clock, Pace::REPORT, discovered(&[A, B])).run(&network).expect_err("nobody");
    assert!(clock.now() >= minutes(12) && clock.now() < minutes(13), "{:?}", clock.now());
}

#[test]
fn a_417_that_becomes_a_200_is_noticed() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, now| status(if now < minutes(1) { 417 } else { 200 }));
    Test::new(&clock, Pace::BOOT, discovered(&[A])).run(&network).expect("told");
}

#[test]
fn after_a_417_the_next_server_is_asked_at_once() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |url, _| status(if url == A { 417 } else { 200 }));
    let taken = Test::new(&clock, Pace::REPORT, discovered(&[A, B])).run(&network).expect("told");
    assert_eq!((taken.url.as_str(), clock.now()), (B, Duration::ZERO));
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    for trouble in [408, 429, 500, 502, 503] {
        let clock = Simulated::default();
        let first = Cell::new(true);
        let network = Scripted::new(&clock, |_, _| status(if first.replace(false) { trouble } else { 200 }));
        Test::new(&clock, Pace::REPORT, discovered(&[A])).run(&network).expect("told");
        assert_eq!(network.count(A), 2, "{trouble}");
    }
}

#[test]
fn a_server_that_refuses_the_request_is_not_asked_again() {
    for refusal in [400, 413] {
        let clock = Simulated::default();
        let network = Scripted::new(&clock, |url, now| match url {
            A => status(refusal),
            _ if now < minutes(5) => refused(),
            _ => status(200),
        });
        let taken = Test::new(&clock, Pace::REPORT, discovered(&[A, B])).run(&network).expect("told");
        assert_eq!((taken.url.as_str(), network.count(A)), (B, 1), "{refusal}");
    }
}

#[test]
fn when_the_only_server_that_was_given_refuses_waiting_is_pointless() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| {
        Ok(Answer { status: 400, said: "the report has an empty `title`".to_owned(), ..Answer::default() })
    });
    let error = Test::new(&clock, Pace::REPORT, given(A)).run(&network).expect_err("refused");
    assert_eq!((network.count(A), clock.now()), (1, Duration::ZERO));
    assert!(error.to_string().contains("empty `title`"), "{error}");
}

#[test]
fn when_every_server_that_was_found_refuses_another_may_turn_up_for_two_minutes() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| status(413));
    Test::new(&clock, Pace::REPORT, discovered(&[A])).run(&network).expect_err("refused");
    assert_eq!((network.count(A), clock.now()), (1, minutes(2)));
}

#[test]
fn a_stranger_may_turn_into_dispatch() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, now| status(if now < minutes(30) { 404 } else { 200 }));
    Test::new(&clock, Pace::REPORT, given(A)).run(&network).expect("told");
}

#[test]
fn people_hear_of_each_change_once() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, now| match now.as_secs() {
        0..60 => refused(),
        60..100 => status(503),
        _ => status(200),
    });
    let mut test = Test::new(&clock, Pace::REPORT, discovered(&[A]));
    test.run(&network).expect("told");
    assert_eq!(test.lines.len(), 2, "{:?}", test.lines);
}

#[test]
fn a_timeout_of_nothing_is_one_round() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| refused());
    let pace = Pace { timeout: Duration::ZERO, ..Pace::REPORT };
    Test::new(&clock, pace, discovered(&[A, B])).run(&network).expect_err("nobody");
    assert_eq!((network.count(A), network.count(B)), (1, 1));
}

#[test]
fn time_that_attempts_take_counts() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| {
        clock.pass(Duration::from_secs(30));
        refused()
    });
    Test::new(&clock, Pace::BOOT, discovered(&[A])).run(&network).expect_err("nobody");
    assert!(
        clock.now() >= minutes(2) && clock.now() <= minutes(2) + Duration::from_secs(30),
        "{:?}",
        clock.now()
    );
}

#[test]
fn only_the_remembered_server_hears_the_name_of_its_run() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |url, _| status(if url == A { 417 } else { 200 }));
    let mut test = Test::new(&clock, Pace::REPORT, discovered(&[A, B]));
    let run = RunId::from_bytes(b"0193").expect("a run");
    test.remembered =
        Some(Remembered { url: "http://A:80/dispatch".parse().expect("a URL"), run: Some(run) });
    test.run(&network).expect("told");
    let runs: Vec<_> = network.attempts.borrow().iter().map(|attempt| attempt.run.clone()).collect();
    assert_eq!(runs, [Some("0193".to_owned()), None]);
}

#[test]
fn a_remembered_server_that_is_down_is_asked_again_beside_the_others() {
    let clock = Simulated::default();
    let machine = Machine::new().with("proc/cmdline", format!("dispatch.url={B}"));
    let remembered = Remembered { url: A.parse().expect("a URL"), run: None };
    let network = Scripted::new(&clock, |url, now| match url {
        A if now > minutes(30) => status(200),
        A => refused(),
        _ => status(417),
    });
    let finders = finders(&machine.root(), None, Some(&remembered), vec![]);
    let taken = Test::new(&clock, Pace::REPORT, finders).run(&network).expect("told");
    assert_eq!(taken.url.as_str(), A);
    assert_eq!(network.count(B), network.count(A) - 1);
    assert_eq!(network.attempts.borrow()[0].url, A, "the remembered one comes first");
}

#[test]
fn a_bad_name_of_a_run_is_told_and_forgotten() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| {
        Ok(Answer { status: 200, run: Some(b"a b".to_vec()), said: String::new() })
    });
    let mut test = Test::new(&clock, Pace::BOOT, discovered(&[A]));
    assert_eq!(test.run(&network).expect("told").run, None);
    assert!(test.lines[0].contains("visible ASCII"), "{:?}", test.lines);
}

/// A finder that finds nothing for some time, as before the network is up.
struct Later(Cell<u32>);

impl Finder for Later {
    fn find(&self) -> Finding {
        let rounds = self.0.get();
        if rounds == 0 {
            return Finding { found: vec![found(A)], ..Finding::default() };
        }
        self.0.set(rounds - 1);
        Finding {
            warnings: vec!["Boot0001 is skipped".to_owned()],
            nothing: Some("no EFI boot variables".to_owned()),
            ..Finding::default()
        }
    }
}

#[test]
fn servers_are_looked_for_in_every_round() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| status(200));
    let mut test = Test::new(&clock, Pace::BOOT, vec![Box::new(Later(Cell::new(5)))]);
    test.run(&network).expect("told");
    assert_eq!(test.lines.len(), 2, "the warning and the news, once each: {:?}", test.lines);
}

#[test]
fn when_no_server_is_found_one_sentence_says_what_to_do() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| status(200));
    let finders = finders(&Machine::new().root(), None, None, vec![]);
    let error = Test::new(&clock, Pace::BOOT, finders).run(&network).expect_err("nobody").to_string();
    assert_eq!(clock.now(), minutes(2));
    for part in [
        "no server was found in 2 min",
        "no kernel command line",
        "no EFI boot variables",
        "--url",
        "DISPATCH_URL",
        "dispatch.url=",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_later_finder_is_not_looked_at_when_an_earlier_server_takes_it() {
    struct Untouched;
    impl Finder for Untouched {
        fn find(&self) -> Finding {
            panic!("the network is asked only when nothing else helps")
        }
    }
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| status(200));
    let finders: Vec<Box<dyn Finder>> = vec![Box::new(Discovered(&[A])), Box::new(Untouched)];
    Test::new(&clock, Pace::BOOT, finders).run(&network).expect("told");
}

#[test]
fn a_server_that_is_found_twice_is_asked_once_a_round() {
    let clock = Simulated::default();
    let network = Scripted::new(&clock, |_, _| refused());
    let pace = Pace { timeout: Duration::ZERO, ..Pace::BOOT };
    Test::new(&clock, pace, discovered(&[A, "http://a:80/dispatch#x", A])).run(&network).expect_err("nobody");
    assert_eq!(network.attempts.borrow().len(), 1);
}

proptest! {
    #[test]
    fn whatever_servers_answer_the_call_ends_in_time(
        answers in proptest::collection::vec(prop_oneof![Just(0_u16), Just(417), Just(404), 200_u16..600], 1..40),
        seconds in 0_u64..8000,
    ) {
        let clock = Simulated::default();
        let next = Cell::new(0);
        let network = Scripted::new(&clock, |_, _| {
            let at = next.replace(next.get() + 1);
            match answers[at % answers.len()] {
                0 => refused(),
                code => status(code),
            }
        });
        let pace = Pace { timeout: Duration::from_secs(seconds), ..Pace::REPORT };
        let result = Test::new(&clock, pace, discovered(&[A, B])).run(&network);
        prop_assert!(clock.now() <= pace.timeout);
        if result.is_err() {
            prop_assert!(clock.now() == pace.timeout || clock.now() >= minutes(2));
        }
    }
}
