//! Working with a session: who is asking, rounds, sessions that end by themselves, commands with each event, programs
//! for idle hosts.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::process::Command;

use common::{PASSED, image, lab, stub, terminate, verdict, whole_run};
use dispatch_testkit::firmware::{Booted, Firmware};
use dispatch_testkit::program::Program;
use serde_json::Value;

const FAILED: &str = r#"{"title":"not good","verdict":"failed"}"#;

/// Boots, calls, reports, and asks again, which ends the run.
fn run_with(firmware: &Firmware, report: &str) -> String {
    let name = image(firmware);
    let (_, run) = firmware.post().expect("an answer");
    assert_eq!(firmware.put(report, run.as_deref()).expect("an answer"), 200);
    name
}

fn post_as(firmware: &Firmware, uuid: &str, mac: &str) -> u16 {
    let fields = format!("Dispatch-Host-Uuid: {uuid}\r\nDispatch-Host-Mac: {mac}\r\n");
    firmware.exchange("POST", &fields, b"").expect("an answer").status
}

const UUIDS: [&str; 2] = ["4c4c4544-0000-1111-8042-b9c04f4e3132", "4c4c4544-0000-2222-8042-b9c04f4e3132"];
const MACS: [&str; 2] = ["52:54:00:00:00:01", "52:54:00:00:00:02"];

/// What used to hurt: a host was its address. Here two are behind one, as behind NAT: the second one is taken for the
/// first that asks again, gets the same image, and would have its own report counted for the other.
#[test]
fn two_hosts_behind_one_address_are_noticed_neither_passes_and_names_tell_them_apart() {
    let mut lab = lab(&["a.efi", "b.efi"], &["--retries", "0"]);
    let mut program = lab.start().expect("a start");
    let nat = program.firmware();
    assert_eq!(image(&nat), "a.efi");
    assert_eq!(image(&nat), "a.efi", "nobody can know yet");
    assert_eq!(post_as(&nat, UUIDS[0], MACS[0]), 200);
    assert_eq!(post_as(&nat, UUIDS[1], MACS[1]), 417);
    let event = program.event("host-shared", "").expect("an event");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("/@NAME")), "{event}");
    assert_eq!(program.event("done", "a.efi").expect("an event")["verdict"], "errored");
    assert_eq!(nat.put(PASSED, None).expect("an answer"), 417, "whose that is cannot be told");
    let text = stub(&nat);
    assert!(text.contains("going on with the next boot device: several hosts ask from"), "{text}");
    let (first, second) = (nat.at("/dispatch/@r1"), nat.at("/dispatch/@r2.efi"));
    assert_eq!(run_with(&first, PASSED), "b.efi");
    assert!(stub(&second).contains("no work for this host"));
    terminate(program);
}

#[test]
fn two_downloads_that_both_go_on_are_two_hosts() {
    let mut lab = lab(&[], &["--retries", "0"]);
    lab.image("big.efi", &vec![7; 48 << 20]).expect("an image");
    let mut program = lab.start().expect("a start");
    let nat = program.firmware();
    let mut first = common::begun_download(&nat);
    program.event("downloading", "big.efi").expect("an event");
    let mut second = common::begun_download(&nat);
    program.event("downloading", "big.efi").expect("an event");
    // Both go on reading, until one of them is cut off.
    let reader = |connection: &mut dispatch_testkit::firmware::Connection| connection.body(40 << 20).is_ok();
    std::thread::scope(|scope| {
        let _ = scope.spawn(|| reader(&mut first));
        let _ = reader(&mut second);
    });
    let failed = program.event("failed", "big.efi").expect("an event");
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.contains("two downloads of one image"), "{reason}");
    terminate(program);
}

#[test]
fn a_named_host_is_the_same_from_every_address_and_a_bad_name_is_told() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    let mut program = lab.start().expect("a start");
    let named = program.firmware().at("/dispatch/@Rack-1.efi");
    assert_eq!(image(&named), "a.efi");
    assert_eq!(image(&named.of_host(7)), "a.efi", "from another address");
    assert_eq!(named.of_host(8).post().expect("an answer").0, 200);
    assert_eq!(image(&named.of_host(7).at("/dispatch/@rack-2")), "b.efi");
    let seen: Vec<&Value> = program.seen.iter().filter(|line| line["event"] == "host-seen").collect();
    assert!(seen.is_empty());
    program.event("booting", "a.efi").expect("an event");
    let hosts: Vec<&str> = program
        .seen
        .iter()
        .filter(|line| line["event"] == "host-seen")
        .filter_map(|line| line["host"]["label"].as_str())
        .collect();
    assert!(hosts.iter().all(|label| label.starts_with("rack-")), "{hosts:?}");
    let answer = named.at("/dispatch/@-").head().expect("an answer");
    assert_eq!(answer.status, 400);
    terminate(program);
}

#[test]
fn a_session_for_some_hosts_gives_work_to_no_other() {
    let mut lab = lab(&["a.efi"], &["--host", "127.0.0.2", "--host", "r1"]);
    let mut program = lab.start().expect("a start");
    said(&mut program, "no host called r1 has asked yet");
    let firmware = program.firmware();
    let text = stub(&firmware.of_host(3));
    assert!(text.contains("this session is for other hosts"), "{text}");
    assert_eq!(image(&firmware.of_host(3).at("/dispatch/@r1")), "a.efi");
    terminate(program);
}

/// Waits until the program says so.
fn said(program: &mut Program, text: &str) -> String {
    let has_text = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(text));
    let line = program.until(text, has_text).expect("a line");
    line["message"].as_str().unwrap_or_default().to_owned()
}

fn ended(program: Program) -> i32 {
    program.ends().expect("an end").code().expect("a status")
}

#[test]
fn a_session_ends_by_itself_when_all_is_done_and_says_how_it_came_out() {
    for (report, expected) in [(PASSED, 0), (FAILED, 3), (r#"{"title":"neither"}"#, 0)] {
        let mut lab = lab(&["a.efi", "b.efi"], &["--exit-when-done"]);
        let program = lab.start().expect("a start");
        let firmware = program.firmware();
        run_with(&firmware, report);
        run_with(&firmware, PASSED);
        // The host comes back once more, and is told to power off before the session goes.
        assert!(stub(&firmware).contains("powering off: queue empty"));
        assert_eq!(ended(program), expected);
        assert_eq!(lab.reports().len(), 4, "no report is left behind");
    }
}

#[test]
fn a_session_whose_host_stays_away_ends_after_its_grace_and_errored_is_status_4() {
    let more = ["--exit-when-done", "--retries", "0", "--deadline-run", "300ms", "--grace", "300ms"];
    let mut lab = lab(&["a.efi"], &more);
    let program = lab.start().expect("a start");
    image(&program.firmware());
    program.firmware().post().expect("an answer");
    assert_eq!(ended(program), 4);
}

#[test]
fn starting_again_when_all_is_done_begins_a_new_round_of_everything_or_of_what_is_asked_for() {
    let mut lab = lab(&["a.efi", "b.efi"], &["--exit-when-done"]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    run_with(&firmware, FAILED);
    run_with(&firmware, PASSED);
    stub(&firmware);
    assert_eq!(ended(program), 3);

    lab.more.extend(["--again".to_owned(), "failed,errored".to_owned()]);
    let program = lab.start().expect("a start");
    assert_eq!(run_with(&firmware, PASSED), "a.efi");
    stub(&firmware);
    assert_eq!(ended(program), 0);
    assert_eq!(lab.status().expect("a status")["tally"], "1 passed");

    let (status, text) = lab.start_badly().expect("an end");
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("came out as failed or errored (the last round: 1 passed)"), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");

    lab.more.truncate(1);
    let program = lab.start().expect("a start");
    assert_eq!((run_with(&firmware, PASSED), run_with(&firmware, PASSED)), ("a.efi".into(), "b.efi".into()));
    stub(&firmware);
    assert_eq!(ended(program), 0);
}

/// A supervisor that starts it again after a crash must not have everything run again.
#[test]
fn a_session_that_was_killed_when_all_was_done_runs_nothing_again() {
    let mut lab = lab(&["a.efi"], &[]);
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    run_with(&firmware, PASSED);
    assert!(stub(&firmware).contains("powering off"));
    program.event("drained", "").expect("an event");
    program.kill().expect("killed");
    // Its host has been told already: there is nothing that it would have to ask for.
    lab.more.push("--exit-when-done".to_owned());
    let program = lab.start().expect("a start");
    assert_eq!(ended(program), 0);
    assert_eq!(verdict(&lab, "a.efi"), "passed");
}

#[test]
fn a_session_that_is_ended_before_all_is_done_does_not_say_that_all_is_well() {
    let mut lab = lab(&["a.efi", "b.efi"], &["--exit-when-done"]);
    let program = lab.start().expect("a start");
    run_with(&program.firmware(), PASSED);
    assert_eq!(program.terminate().expect("an end").code(), Some(143));
    let program = lab.start().expect("a start");
    assert_eq!(program.interrupt().expect("an end").code(), Some(130));
    let mut program = lab.start().expect("a start");
    let firmware = program.firmware();
    whole_run(&firmware);
    firmware.head().expect("an answer");
    program.event("drained", "").expect("an event");
    assert_eq!(program.terminate().expect("an end").code(), Some(0), "only its host was still to be told");
}

#[test]
fn reports_that_cannot_be_written_are_said_at_the_end_and_are_not_status_0() {
    let mut lab = lab(&["a.efi"], &["--exit-when-done", "--grace", "300ms"]);
    std::fs::write(lab.folder.join("reports"), "a file, not a folder").expect("written");
    let mut program = lab.start().expect("a start");
    run_with(&program.firmware(), PASSED);
    stub(&program.firmware());
    let text = said(&mut program, "the next start writes it");
    assert!(text.starts_with("1 report could not be written to"), "{text}");
    assert_eq!(ended(program), 4);
}

#[test]
fn what_failed_and_is_gone_is_named_when_it_is_to_be_run_again() {
    let mut lab = lab(&["a.efi", "b.efi"], &["--exit-when-done"]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    run_with(&firmware, FAILED);
    run_with(&firmware, FAILED);
    stub(&firmware);
    assert_eq!(ended(program), 3);
    std::fs::remove_file(lab.folder.join("images/a.efi")).expect("removed");
    lab.more.extend(["--again".to_owned(), "failed".to_owned()]);
    let mut program = lab.start().expect("a start");
    said(&mut program, "a.efi came out as failed, but its file is gone, or the filters leave it out");
    assert_eq!(run_with(&firmware, FAILED), "b.efi");
    stub(&firmware);
    assert_eq!(ended(program), 3);
    // With what passed alone there is nothing to be run again, and the reason is told.
    lab.more = ["--exit-when-done", "a.efi"].map(str::to_owned).to_vec();
    lab.image("a.efi", &common::content("a.efi")).expect("an image");
    let program = lab.start().expect("a start");
    assert_eq!(run_with(&firmware, PASSED), "a.efi");
    stub(&firmware);
    assert_eq!(ended(program), 0);
    lab.more = ["--exit-when-done", "b.efi"].map(str::to_owned).to_vec();
    let program = lab.start().expect("a start");
    assert_eq!(run_with(&firmware, FAILED), "b.efi");
    stub(&firmware);
    assert_eq!(ended(program), 3);
    lab.more = ["--again", "failed", "a.efi"].map(str::to_owned).to_vec();
    let (status, text) = lab.start_badly().expect("an end");
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("(the last round: 1 failed); b.efi came out as failed, but its file"), "{text}");
}

#[test]
fn every_event_goes_to_the_command_once_in_order_and_none_is_lost_by_a_kill() {
    let mut lab = lab(&["a.efi", "b.efi"], &[]);
    let told = lab.folder.join("told");
    let command = format!("cat >> '{0}'; echo $DISPATCH_EVENT >> '{0}.names'", told.display());
    lab.more.extend(["--on-event".to_owned(), command]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    whole_run(&firmware);
    program.kill().expect("killed");
    let mut program = lab.start().expect("a start");
    whole_run(&firmware);
    stub(&firmware);
    program.event("drained", "").expect("an event");
    terminate(program);
    let text = std::fs::read_to_string(&told).expect("what was told");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut numbers: Vec<i64> = events.iter().map(|event| event["seq"].as_i64().expect("a number")).collect();
    // The one that was being told when it was killed may have been told twice.
    numbers.dedup();
    let expected: Vec<i64> = (numbers[0]..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "in order, and none left out");
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert!(count("report") >= 2 && count("drained") == 1, "{text}");
    let names = std::fs::read_to_string(told.with_extension("names")).expect("names");
    assert!(names.lines().any(|name| name == "booting"), "{names}");
}

#[test]
fn a_command_that_fails_is_told_with_its_last_words_and_stops_nothing() {
    let mut lab = lab(&["a.efi"], &["--on-event", "echo no power >&2; exit 7"]);
    let mut program = lab.start().expect("a start");
    let line = program
        .until("a warning", |line| line["message"].as_str().is_some_and(|text| text.contains("--on-event")))
        .expect("a warning");
    assert!(line["message"].as_str().is_some_and(|text| text.contains("exit status: 7: no power")), "{line}");
    assert_eq!(whole_run(&program.firmware()), "a.efi");
    terminate(program);
}

/// Its standard error stays open in what it has left running, and that may run on.
#[test]
fn a_command_that_leaves_something_running_holds_up_nothing() {
    let mut lab = lab(&["a.efi"], &["--exit-when-done"]);
    let left = lab.folder.join("left");
    let command = format!("sleep 600 & echo $! >> '{}'", left.display());
    lab.more.extend(["--on-event".to_owned(), command]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    whole_run(&firmware);
    stub(&firmware);
    assert_eq!(ended(program), 0, "within less than one of them takes");
    let text = std::fs::read_to_string(left).expect("what was left");
    assert!(text.lines().count() > 5, "{text}");
    for id in text.lines() {
        let killed = Command::new("kill").arg(id).status().expect("it runs");
        assert!(killed.success(), "what it leaves running is its own");
    }
}

#[test]
fn a_command_that_is_under_way_at_the_end_ends_with_all_that_it_started_and_what_is_left_is_said() {
    let mut lab = lab(&["a.efi"], &[]);
    let pipe = lab.folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("it runs").success());
    // Whoever is left of it holds the pipe open.
    let command = format!("exec 3> '{}'; sleep 600; true", pipe.display());
    lab.more.extend(["--on-event".to_owned(), command]);
    let mut program = lab.start().expect("a start");
    let mut pipe = std::fs::File::open(pipe).expect("somebody writes");
    program.ask_to_end().expect("asked");
    let text = said(&mut program, "the next start with --on-event tells what is left");
    assert!(text.starts_with("--on-event: 1 event could not be told"), "{text}");
    assert_eq!(ended(program), 0);
    let (sender, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(std::io::Read::read(&mut pipe, &mut [0])));
    let read = end.recv_timeout(dispatch_testkit::program::PATIENCE).expect("all of it has ended");
    assert_eq!(read.expect("read"), 0);
}

#[test]
fn exported_programs_are_served_when_they_are_given_back() {
    let mut lab = lab(&["a.efi"], &[]);
    let folder = lab.folder.join("stubs");
    let export = Command::new(env!("CARGO_BIN_EXE_dispatch")).args(["stubs", "export"]).arg(&folder).output();
    let export = export.expect("it runs");
    assert!(export.status.success(), "{export:?}");
    assert_eq!(
        String::from_utf8_lossy(&export.stdout).lines().filter(|line| line.contains(".efi")).count(),
        8
    );
    let next = folder.join("next-x86-64.efi");
    let mut signed = std::fs::read(&next).expect("read");
    signed.extend([0xaa; 100]);
    std::fs::write(&next, &signed).expect("written");
    lab.more.extend(["--stubs".to_owned(), folder.display().to_string()]);
    let program = lab.start().expect("a start");
    assert_eq!(image(&program.firmware().of_host(2)), "a.efi");
    let answer = program.firmware().exchange("GET", "", b"").expect("an answer");
    assert_eq!(answer.body, signed);
    terminate(program);
    let nothing = lab.folder.join("nothing").display().to_string();
    lab.more = vec!["--stubs".to_owned(), nothing];
    let (status, text) = lab.start_badly().expect("an end");
    assert_eq!((status.code(), text.trim_end().lines().count()), (Some(1), 1), "{text}");
}

#[test]
fn a_host_that_waits_is_asked_to_reset_for_an_iso_and_for_nothing_else() {
    let mut lab =
        lab(&["a.efi", "b.iso"], &["--when-idle", "wait", "--retries", "1", "--deadline-assigned", "2s"]);
    let mut program = lab.start().expect("a start");
    let (one, two, three) =
        (program.firmware(), program.firmware().of_host(2), program.firmware().of_host(3));
    assert_eq!(image(&one), "a.efi");
    // Assigned, and never fetched: it goes back into the queue.
    assert_eq!(two.head().expect("an answer").status, 200);
    let text = stub(&three);
    assert!(text.contains("waiting for work: a.efi is still with"), "{text}");
    program.event("returned", "b.iso").expect("an event");
    // The promise of a moment ago holds for a GET, not for the next HEAD.
    let text = stub(&three);
    assert!(
        text.contains("resetting to ask again: only a firmware that has just started can boot b.iso"),
        "{text}"
    );
    let Booted::Image { media_type, .. } = three.boot().expect("a boot") else { panic!("the image") };
    assert_eq!(media_type, "application/vnd.efi-iso");
    terminate(program);
}
