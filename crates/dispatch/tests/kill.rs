//! SIGKILL at any moment loses nothing and does nothing twice.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use common::{Lab, PASSED, SIZE, begun_download, big_image, image, lab, stub, terminate, verdict};
use dispatch_testkit::firmware::{BootError, Firmware};
use dispatch_testkit::program::Program;

/// Kills the program without a warning and starts it again.
fn kill(lab: &mut Lab, program: Program) -> Program {
    program.kill().expect("killed");
    lab.start().expect("a start")
}

/// The rest of a run, as a host does it whose server was killed: it asks again until it is answered.
fn finish(lab: &Lab, program: Program, firmware: &Firmware, run: Option<&str>) {
    assert_eq!(firmware.put(PASSED, run).expect("an answer"), 200);
    assert!(stub(firmware).contains("powering off"));
    terminate(program);
    let status = lab.status().expect("a status");
    assert_eq!(status["tally"], "1 passed", "{status}");
    assert_eq!(status["jobs"][0]["attempt"], 1, "our death is no attempt of the host's");
    assert_eq!(lab.reports().len(), 2, "one report, once: {:?}", lab.reports());
}

#[test]
fn while_a_job_is_queued() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let program = kill(&mut lab, program);
    let firmware = program.firmware();
    assert_eq!(image(&firmware), "a.efi");
    firmware.post().expect("an answer");
    finish(&lab, program, &firmware, None);
}

#[test]
fn while_a_run_is_assigned() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    firmware.head().expect("an answer");
    let program = kill(&mut lab, program);
    assert_eq!(verdict(&lab, "a.efi"), "assigned");
    assert_eq!(image(&firmware), "a.efi");
    let (_, run) = firmware.post().expect("an answer");
    finish(&lab, program, &firmware, run.as_deref());
}

#[test]
fn inside_a_download() {
    let mut lab = lab(&[], &[]);
    lab.image("a.efi", &big_image()).expect("an image");
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let mut connection = begun_download(&firmware);
    let program = kill(&mut lab, program);
    assert!(matches!(connection.body(64 << 20), Err(BootError::Io(_))), "it is cut off, not made up");
    firmware.boot().expect("the same again");
    let (_, run) = firmware.post().expect("an answer");
    finish(&lab, program, &firmware, run.as_deref());
}

/// SIGTERM knows what it cuts off: the host's attempt is as if it had not been made.
#[test]
fn a_clean_end_inside_a_download_is_no_break_and_no_attempt() {
    let mut lab = lab(&[], &[]);
    lab.image("a.efi", &big_image()).expect("an image");
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let _connection = begun_download(&firmware);
    terminate(program);
    let program = lab.start().expect("a start");
    assert_eq!(verdict(&lab, "a.efi"), "assigned");
    assert_eq!(firmware.post().expect("an answer").0, 417, "it has not got its image");
    firmware.boot().expect("the same again");
    let (_, run) = firmware.post().expect("an answer");
    finish(&lab, program, &firmware, run.as_deref());
}

#[test]
fn after_the_last_byte_before_anybody_knew() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    assert_eq!(image(&firmware), "a.efi");
    // At once: whether the end of the transfer was noted is a race, and either is right.
    let program = kill(&mut lab, program);
    let (status, run) = firmware.post().expect("an answer");
    assert_eq!(status, 200);
    finish(&lab, program, &firmware, run.as_deref());
}

#[test]
fn while_an_image_is_up() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    let (_, run) = firmware.post().expect("an answer");
    let program = kill(&mut lab, program);
    assert_eq!(firmware.post().expect("an answer"), (200, run.clone()), "its answer may have been lost");
    finish(&lab, program, &firmware, run.as_deref());
}

#[test]
fn after_a_report() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    let (_, run) = firmware.post().expect("an answer");
    assert_eq!(firmware.put(PASSED, run.as_deref()).expect("an answer"), 200);
    let program = kill(&mut lab, program);
    // The same report again, in `finish`: its answer may have been lost.
    finish(&lab, program, &firmware, run.as_deref());
}

#[test]
fn after_all_is_done() {
    let mut lab = lab(&["a.efi"], &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    image(&firmware);
    let (_, run) = firmware.post().expect("an answer");
    assert_eq!(firmware.put(PASSED, run.as_deref()).expect("an answer"), 200);
    assert!(stub(&firmware).contains("powering off"));
    let program = kill(&mut lab, program);
    finish(&lab, program, &firmware, run.as_deref());
}

/// What a host does whose server is gone: it tries again until it is answered, as firmware in a loop and beacon do.
fn stubbornly<T>(mut attempt: impl FnMut() -> Result<T, BootError>) -> T {
    for _ in 0..20_000 {
        match attempt() {
            Ok(answer) => return answer,
            Err(BootError::Io(_)) => std::thread::yield_now(),
            Err(odd) => panic!("{odd}"),
        }
    }
    panic!("the program does not come back")
}

/// Three hosts work through a queue while the program is killed again and again, each time at another moment.
#[test]
fn again_and_again_under_load() {
    const KILLS: usize = 25;
    let names: Vec<String> = (10..40).map(|number| format!("job{number}.efi")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lab = lab(&names, &[]);
    let program = lab.start().expect("a start");
    let firmware = program.firmware();
    let program = std::thread::scope(|scope| {
        let mut program = program;
        let hosts: Vec<_> = (2..=4)
            .map(|host| {
                let firmware = firmware.of_host(host);
                scope.spawn(move || work(&firmware))
            })
            .collect();
        for nth in 0..KILLS {
            // The moment is an event of the log, a different one each time.
            for _ in 0..=(nth * 7 % 11) {
                let next = program.next(std::time::Duration::from_millis(500));
                if next.expect("it runs").is_none() {
                    break;
                }
            }
            program = kill(&mut lab, program);
        }
        for host in hosts {
            host.join().expect("a host");
        }
        program
    });
    for host in 2..=4 {
        stub(&firmware.of_host(host));
    }
    terminate(program);
    let status = lab.status().expect("a status");
    assert_eq!(status["tally"], "30 passed", "{status:#}");
    for job in status["jobs"].as_array().expect("jobs") {
        assert_eq!((&job["attempt"], &job["reports"]), (&1.into(), &1.into()), "{job}");
    }
    assert_eq!(lab.reports().len(), 60, "{:?}", lab.reports());
}

fn work(firmware: &Firmware) {
    use dispatch_testkit::firmware::Booted;
    loop {
        match stubbornly(|| firmware.boot()) {
            Booted::Image { bytes, .. } => assert_eq!(bytes.len(), SIZE),
            Booted::Stub(_) => return,
            Booted::Refused(status) => panic!("{status}"),
        }
        let (status, run) = stubbornly(|| firmware.post());
        assert_eq!(status, 200);
        let json = format!(r#"{{"title":"from {}","verdict":"passed"}}"#, firmware.address());
        assert_eq!(stubbornly(|| firmware.put(&json, run.as_deref())), 200);
    }
}
