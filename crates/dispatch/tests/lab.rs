//! End to end, on real firmware: OVMF in QEMU boots from the real program, and the images call home with the real
//! beacon. `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::time::Duration;

use common::lab_for_qemu;
use dispatch_boot::stub::{Arch, Stub, build};
use dispatch_testkit::lab::qemu::{BootEntry, Server};
use dispatch_testkit::rig::{DEMO, Then, cache, check_demo, demo_arguments, prepare, server_config, watch};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(12);

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
    check_demo(&lab).expect("as it should");
    let order: Vec<&str> = told
        .iter()
        .filter(|line| line["event"] == "booting")
        .map(|line| line["job"]["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(order, ["certificates.efi", "hello.efi", "stuck.efi", "stuck.efi"]);
    assert!(told.iter().any(|line| line["event"] == "idle" && line["stub"] == "poweroff"));
    let serial = server.serial();
    assert!(serial.contains("dispatch: powering off: queue empty"), "{serial}");
}

/// Killed whenever a run has entered another state, in every state of every run.
#[test]
fn killing_dispatch_at_every_state_of_the_demo_loses_nothing() {
    let mut lab = lab_for_qemu(&[]);
    lab.more.extend(demo_arguments());
    prepare(&cache(), &lab.folder.join("images"), &DEMO).expect("images");
    let program = lab.start().expect("a start");
    let mut server = Server::start(&server_config(&lab.folder, &program)).expect("a server");
    let states = ["assigned", "downloading", "downloaded", "booting", "report", "finished", "failed"];
    let moment = |line: &Value| {
        let state = states.iter().find(|state| line["event"] == **state)?;
        Some((
            *state,
            line["job"]["name"].to_string(),
            line["run"]["attempt"].to_string(),
            line["title"].to_string(),
        ))
    };
    let mut known = Vec::new();
    let (program, summary) = watch(&mut lab, program, &mut server, LIMIT, |line| match moment(line) {
        Some(moment) if !known.contains(&moment) => {
            known.push(moment);
            Then::Kill
        }
        _ => Then::GoOn,
    })
    .expect("the server powers off");
    common::terminate(program);
    check_demo(&lab).expect("as it should");
    for state in states {
        let kills = summary.killed_at.iter().filter(|line| line["event"] == state).count();
        assert!(kills > 0, "never killed at `{state}`: {:?}", summary.killed_at);
    }
}

/// What used to hurt: a server that only happened to boot from the network was powered off.
#[test]
fn a_stranger_goes_on_with_its_next_boot_device() {
    let mut lab = lab_for_qemu(&[]);
    lab.image("a.efi", &common::content("a.efi")).expect("an image");
    let mut program = lab.start().expect("a start");
    // The only job is with another host.
    assert_eq!(common::image(&program.firmware().of_host(9)), "a.efi");
    let mut config = server_config(&lab.folder, &program);
    // Behind the network there is a disk, which says so and powers off.
    let disk = lab.folder.join("disk");
    std::fs::create_dir_all(disk.join("EFI/BOOT")).expect("a folder");
    let from_disk = build(Stub::PowerOff, Arch::X86_64, "booted from the disk");
    std::fs::write(disk.join("EFI/BOOT/BOOTX64.EFI"), from_disk).expect("an application");
    config.boot.truncate(1);
    config.boot.push(BootEntry::Disk);
    config.disk = Some(disk);
    let mut server = Server::start(&config).expect("a server");
    assert_eq!(program.event("idle", "").expect("an event")["stub"], "next");
    assert!(server.powered_off(Duration::from_mins(3)).expect("an answer"), "{}", server.serial());
    let serial = server.serial();
    let (stub, disk) =
        (serial.find("dispatch: going on with the next boot device"), serial.find("booted from the disk"));
    assert!(stub.is_some() && stub < disk, "{serial}");
}
