//! End to end, on real firmware: OVMF in QEMU boots from the real program, and the images call home with the real
//! beacon. `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{lab_for_qemu, status};
use dispatch_testkit::lab::app::EfiApp;
use dispatch_testkit::lab::app::End;
use dispatch_testkit::lab::qemu::{BootEntry, Server};
use dispatch_testkit::rig::{DEMO, DEMO_RUN, HELLO, Then, cache, prepare, server_config, watch};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(12);

/// How each job of the demo comes out, and how many report files it leaves.
fn check_demo(lab: &common::Lab) {
    let status = status(lab);
    let verdicts: BTreeMap<&str, &str> = status["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .map(|job| (job["name"].as_str().expect("a name"), job["verdict"].as_str().unwrap_or("none")))
        .collect();
    let expected = [("certificates.efi", "passed"), ("hello.efi", "passed"), ("stuck.efi", "errored")];
    assert_eq!(verdicts, BTreeMap::from(expected), "{status:#}");
    let stuck = status["jobs"].as_array().expect("jobs").iter().find(|job| job["name"] == "stuck.efi");
    let note = stuck.and_then(|job| job["note"].as_str()).expect("a note");
    assert!(note.contains("attempt 1") && note.contains("attempt 2"), "{note}");
    let reports = lab.reports();
    let count = |name: &str| reports.iter().filter(|report| report.contains(name)).count();
    assert_eq!((count("certificates"), count("hello"), count("stuck")), (6, 2, 0), "{reports:?}");
}

fn demo_arguments() -> [String; 4] {
    ["--retries".into(), "1".into(), "--deadline-run".into(), format!("{}s", DEMO_RUN.as_secs())]
}

#[test]
fn the_demo_boots_every_image_resets_what_hangs_and_powers_off() {
    let mut lab = lab_for_qemu(&[]);
    lab.more.extend(demo_arguments());
    prepare(&cache(), &lab.folder.join("images"), &DEMO).expect("images");
    let program = lab.start().expect("a start");
    let mut server = Server::start(&server_config(&lab.folder, &program)).expect("a server");
    let mut told: Vec<Value> = Vec::new();
    let (program, summary) = watch(&mut lab, program, &mut server, LIMIT, |line| {
        told.push(line.clone());
        Then::GoOn
    })
    .expect("the server powers off");
    common::terminate(program);
    assert_eq!(summary.resets, 2, "stuck.efi hung twice");
    check_demo(&lab);
    let order: Vec<&str> = told
        .iter()
        .filter(|line| line["event"] == "booting")
        .map(|line| line["job"]["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(order, ["certificates.efi", "hello.efi", "stuck.efi", "stuck.efi"]);
    assert!(told.iter().any(|line| line["event"] == "idle" && line["stub"] == "poweroff"));
    let serial = server.serial();
    assert!(serial.contains("dispatch: powering off: no more work in the queue"), "{serial}");
}

/// Killed whenever a run has entered another state, in every state of every run.
#[test]
fn killing_dispatch_at_every_state_of_the_demo_loses_nothing() {
    let mut lab = lab_for_qemu(&[]);
    lab.more.extend(demo_arguments());
    prepare(&cache(), &lab.folder.join("images"), &DEMO).expect("images");
    let program = lab.start().expect("a start");
    let mut server = Server::start(&server_config(&lab.folder, &program)).expect("a server");
    let mut killed: Vec<(String, String, String)> = Vec::new();
    let (program, summary) = watch(&mut lab, program, &mut server, LIMIT, |line| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let moment = (word(&line["event"]), word(&line["job"]["name"]), line["run"]["attempt"].to_string());
        let states =
            ["assigned", "downloading", "downloaded", "booting", "report", "finished", "failed", "done"];
        if states.contains(&moment.0.as_str()) && !killed.contains(&moment) {
            killed.push(moment);
            return Then::Kill;
        }
        Then::GoOn
    })
    .expect("the server powers off");
    common::terminate(program);
    check_demo(&lab);
    let at = |event: &str| killed.iter().filter(|(known, ..)| known == event).count();
    for event in ["assigned", "downloading", "booting", "report", "failed"] {
        assert!(at(event) > 0, "never killed at `{event}`: {killed:?}");
    }
    assert!(summary.kills >= 10, "{killed:?}");
}

#[test]
fn next_goes_on_with_the_next_boot_device_and_a_worker_is_powered_off() {
    let mut lab = lab_for_qemu(&["--when-idle", "next"]);
    prepare(&cache(), &lab.folder.join("images"), &[HELLO]).expect("images");
    let mut program = lab.start().expect("a start");
    let mut config = server_config(&lab.folder, &program);
    // Behind the network there is a disk, which says so and powers off.
    let disk = lab.folder.join("disk");
    std::fs::create_dir_all(disk.join("EFI/BOOT")).expect("a folder");
    let from_disk = EfiApp::new(End::PowerOff).message("booted from the disk\r\n").build();
    std::fs::write(disk.join("EFI/BOOT/BOOTX64.EFI"), from_disk).expect("an application");
    config.boot.truncate(1);
    config.boot.push(BootEntry::Disk);
    config.disk = Some(disk);
    let mut server = Server::start(&config).expect("a server");
    let idle = program.event("idle", "");
    assert!(server.powered_off(Duration::from_mins(3)).expect("an answer"), "{}", server.serial());
    assert_eq!(idle.or_else(|_| program.event("idle", "")).expect("an event")["stub"], "next");
    let serial = server.serial();
    let (stub, disk) =
        (serial.find("dispatch: going on with the next boot device"), serial.find("booted from the disk"));
    assert!(stub.is_some() && stub < disk, "{serial}");
    assert_eq!(common::verdict(&lab, "hello.efi"), "passed");
}
