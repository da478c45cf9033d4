//! The view of a session, on a terminal of its own: what it shows, what keys do, and how the terminal is given back.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;
#[path = "common/window.rs"]
mod window;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Lab, PASSED, image, lab, stub, terminate, whole_run};
use dispatch_testkit::firmware::Firmware;
use dispatch_testkit::lab::deadline::Deadline;
use dispatch_testkit::program::PATIENCE;
use window::Window;

const SIZE: (u16, u16) = (100, 30);

/// A session in a window, and a firmware that boots from the URL that is on the screen.
fn session(lab: &Lab) -> (Window, Firmware) {
    session_in(lab, Window::open(&lab.in_terminal(), SIZE, false))
}

fn session_in(lab: &Lab, mut window: Window) -> (Window, Firmware) {
    let url = format!("http://{}:", lab.bind.ip());
    let text = window.until_it_says(&[&url, "/dispatch", "q quit"]);
    let at = text.find(&url).expect("the URL") + "http://".len();
    let end = at + text[at..].find("/dispatch").expect("its path");
    let address: SocketAddr = text[at..end].parse().expect("an address");
    (window, Firmware::new(address, "/dispatch"))
}

fn log(lab: &Lab) -> String {
    std::fs::read_to_string(lab.folder.join("state/dispatch.log")).unwrap_or_default()
}

/// Waits until the log of the view has these words.
fn until_logged(lab: &Lab, words: &str) {
    let deadline = Deadline::after(PATIENCE);
    while !log(lab).contains(words) {
        assert!(deadline.pause(), "`{words}` is not in the log:\n{}", log(lab));
    }
}

/// The next start does not say that the session before was cut off, as it does of one that could not note its end.
fn has_ended_in_good_order(lab: &mut Lab) -> bool {
    let program = lab.start().expect("a start");
    let is_told = program.seen.iter().any(|line| line.to_string().contains("was cut off"));
    terminate(program);
    !is_told
}

#[test]
fn a_session_is_seen_from_its_start_to_its_end_and_the_terminal_is_given_back() {
    let lab = lab(&["ubuntu.efi", "fedora.efi"], &[]);
    let (mut window, firmware) = session(&lab);
    assert!(window.has_view() && window.hides_cursor());
    window.until_it_says(&["2 queued", "fedora.efi", "ubuntu.efi", "no server has asked yet"]);

    assert_eq!(image(&firmware), "fedora.efi");
    window.until_it_says(&["1 downloading", "has its image", "127.0.0.1", "1 is at work"]);
    let (_, run) = firmware.post().expect("an answer");
    window.until_it_says(&["1 booting", "its image is up"]);
    assert_eq!(firmware.put(PASSED, run.as_deref()).expect("an answer"), 200);
    window.until_it_says(&["1 reported", "1 report, passed so far"]);

    window.press("?");
    window.until_it_says(&["Keys", "States", "Esc back"]);
    window.press("\u{1b}");
    window.until_it_says(&["q quit"]);
    window.press("\t");
    window.until_it_says(&["The last requests", "HEAD", "PUT", "UefiHttpBoot/1.0"]);
    window.press("\t");
    window.until_it_says(&["q quit"]);
    window.press("\r");
    window.until_it_says(&["Timeline", "assigned", "Reports", "all good"]);
    window.press("\u{1b}");
    window.until_it_says(&["q quit"]);
    window.press("/ubu");
    window.until_it_says(&["filter: ubu", "1 of 2 jobs"]);
    window.until_it_no_longer_says("fedora.efi");
    window.press("\u{1b}");
    window.until_it_says(&["fedora.efi"]);

    for (columns, rows) in [(80, 24), (200, 60), SIZE] {
        window.resize((columns, rows));
        let is_filled = |window: &Window| {
            let text = window.text();
            let lines: Vec<&str> = text.lines().collect();
            let title = lines.first().copied().unwrap_or_default();
            // The clock is at the right edge, the keys are in the last row.
            let is_wide = title.trim_end().chars().count() == usize::from(columns) - 1;
            is_wide && lines.len() == usize::from(rows) && lines[lines.len() - 1].contains("q quit")
        };
        window.until(&format!("a view of {columns} x {rows}"), is_filled);
    }

    window.press("q");
    window.until_it_says(&["End the session?", "1 run is going on"]);
    // Held down, it does not answer.
    window.press("qqq");
    window.press("n");
    window.until_it_no_longer_says("End the session?");
    window.press("q");
    window.until_it_says(&["End the session?"]);
    window.press("y");
    assert!(window.ends(PATIENCE).success());
    let text = window.text();
    assert!(!window.has_view() && !window.hides_cursor() && window.is_as_before(), "{text}");
    for words in
        ["workload", "fedora.efi", "reported", "1 running, 1 queued", "Reports are in", "dispatch.log"]
    {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let log = log(&lab);
    for words in ["boot URL: http://", "queued", "assigned", "booting", "all good"] {
        assert!(log.contains(words), "{words} is not in\n{log}");
    }
}

#[test]
fn where_the_log_cannot_be_written_there_are_log_lines_and_no_view() {
    let lab = lab(&["a.efi"], &[]);
    std::fs::create_dir_all(lab.folder.join("state/dispatch.log")).expect("a folder in the way");
    let mut window = Window::open(&lab.in_terminal(), (200, 40), false);
    window.until_it_says(&["there can be no view", "log lines instead", "boot URL: http://"]);
    assert!(!window.has_view() && window.is_as_before());
    // Ctrl-C is a signal here.
    window.press("\u{3}");
    assert!(window.ends(PATIENCE).success());
    assert!(window.text().contains("1 queued"), "{}", window.text());
}

#[test]
fn without_a_view_there_are_log_lines() {
    let lab = lab(&["a.efi"], &["--no-tui"]);
    let mut window = Window::open(&lab.in_terminal(), (200, 40), false);
    window.until_it_says(&["boot URL: http://", "a.efi"]);
    assert!(!window.has_view() && window.is_as_before());
    window.press("\u{3}");
    assert!(window.ends(PATIENCE).success());
    assert!(!lab.folder.join("state/dispatch.log").exists());
}

#[test]
fn a_session_whose_terminal_is_closed_ends_in_good_order() {
    let mut lab = lab(&["a.efi"], &[]);
    let (mut window, firmware) = session(&lab);
    whole_run(&firmware);
    stub(&firmware);
    window.until_it_says(&["all done: 1 passed"]);
    window.close();
    window.hang_up();
    assert!(window.ends(Duration::from_secs(20)).success(), "being told twice is no impatience");
    until_logged(&lab, "SIGHUP: ending");
    // All is over: one that was cut off would have to be ended first, before there is a new round.
    assert!(has_ended_in_good_order(&mut lab));
    assert_eq!(lab.status().expect("a status")["tally"], "1 queued", "it is a new round");
}

#[test]
fn a_session_without_hang_up_outlives_its_terminal_and_costs_nothing() {
    let lab = lab(&["a.efi", "b.efi"], &[]);
    let (mut window, firmware) = session_in(&lab, Window::open(&lab.in_terminal(), SIZE, true));
    window.close();
    until_logged(&lab, "there can be no view: the terminal is gone");
    assert_eq!(whole_run(&firmware), "a.efi");
    until_logged(&lab, "all good");
    costs_nothing(&window, &firmware);
    assert_eq!(whole_run(&firmware), "b.efi", "it still serves");
}

#[test]
fn what_is_pasted_by_mistake_costs_nothing_and_keys_still_work() {
    let lab = lab(&["a.efi"], &["--host", "127.0.0.9"]);
    let (mut window, firmware) = session(&lab);
    window.press(&"z".repeat(3000));
    window.press("?");
    window.until_it_says(&["Keys", "run the job again"]);
    costs_nothing(&window, &firmware);
}

#[test]
fn a_second_session_says_that_nobody_has_asked_this_time() {
    let lab = lab(&["a.efi"], &["--host", "127.0.0.9"]);
    let (mut window, firmware) = session(&lab);
    window.until_it_says(&["no server has asked yet"]);
    stub(&firmware);
    window.until_it_says(&["goes to the server that asks next", "this session is for other hosts"]);
    window.press("q");
    assert!(window.ends(PATIENCE).success());
    let (window, _) = session(&lab);
    let text = window.text();
    assert!(text.contains("no server has asked yet") && !text.contains("other hosts"), "{text}");
}

#[test]
fn hosts_that_wait_are_seen_and_asked_about_and_do_not_flood_the_requests() {
    let lab = lab(&["a.efi"], &["--when-idle", "wait"]);
    let (mut window, firmware) = session(&lab);
    whole_run(&firmware);
    assert_eq!(firmware.of_host(7).at("/favicon.ico").head().expect("an answer").status, 404);
    for _ in 0..60 {
        stub(&firmware);
    }
    stub(&firmware.of_host(2));
    window.until_it_says(&["all done: 1 passed", "told to wait: queue empty", "1 more: Tab"]);
    window.press("\t");
    let text = window.until_it_says(&["Hosts without work", "127.0.0.2", "×60", "/favicon.ico"]);
    assert_eq!(text.matches("×60").count(), 2, "HEAD and GET\n{text}");
    window.press("\t");
    window.until_it_says(&["q quit"]);
    window.press("q");
    window.until_it_says(&["2 hosts wait for work and will give up after about ten"]);
    window.press("y");
    assert!(window.ends(PATIENCE).success());
}

/// What the process has used of the processors (proc(5)): the kernel counts in hundredths of a second.
/// Measures a session in which nothing happens.
fn costs_nothing(window: &Window, firmware: &Firmware) {
    let before = processor_time(window.id());
    // Nothing is waited for: this is what is measured.
    let mut quiet = firmware.connect().expect("a connection");
    quiet.within(Duration::from_secs(2)).expect("a limit");
    assert!(quiet.wait().is_err(), "nobody has asked for anything");
    let used = processor_time(window.id()).saturating_sub(before);
    assert!(used < Duration::from_millis(200), "{used:?} of two seconds");
}

fn processor_time(id: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("proc");
    let after_name = stat.rsplit(") ").next().expect("fields");
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
