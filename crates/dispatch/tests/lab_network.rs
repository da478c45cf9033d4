//! On real firmware, on a network of its own: servers on a bridge, with DHCP, at addresses and with MACs of their own.
//! `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Lab, lab, verdict};
use dispatch_boot::stub::{Arch, Stub, build};
use dispatch_testkit::lab::LabError;
use dispatch_testkit::lab::disk;
use dispatch_testkit::lab::machine::Machine;
use dispatch_testkit::lab::network::{BRIDGE, BRIDGE_V6, BootUrls, Network, PORT, boot_url};
use dispatch_testkit::lab::packages::{Need, ensure_packages};
use dispatch_testkit::lab::process::{prefixed, run};
use dispatch_testkit::lab::qemu::{BootEntry, Server, ServerConfig};
use dispatch_testkit::lab::secure_boot::Signer;
use dispatch_testkit::rig::{HELLO, Parts, STUCK, Workload, bridge_config, cache, until_off};
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(5);

/// A network, and a session in it. None where this system gives no networks; CI has to.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn bridged(urls: BootUrls<'_>, more: &[&str]) -> Option<(Network, Lab)> {
    ensure_packages(Need::ALL).expect("packages");
    let network = match Network::start(urls) {
        Err(LabError::Network(why)) if std::env::var_os("CI").is_none() => {
            eprintln!("left out: {why}");
            return None;
        }
        network => network.expect("a network"),
    };
    let mut lab = lab(&[], more);
    lab.prefix = network.prefix().to_vec();
    lab.bind = (BRIDGE, PORT).into();
    Some((network, lab))
}

fn parts() -> Parts {
    Parts::get(&cache()).expect("what images are made of")
}

/// Of all events of this name, these fields.
fn told(lines: &[Value], event: &str, field: fn(&Value) -> &Value) -> Vec<String> {
    let lines = lines.iter().filter(|line| line["event"] == event);
    lines.map(|line| field(line).as_str().unwrap_or_default().to_owned()).collect()
}

/// Two servers boot what DHCP names, each its own job. The first to be done waits until the other is done too,
/// because a job of that might still come to it; then both are powered off.
#[test]
fn two_servers_at_once_get_a_job_each_and_none_is_off_before_both_are_done() {
    const QUICK: Workload = Workload { name: "quick", ..HELLO };
    // Is done once the other is, by what the status page says.
    const LONG: Workload = Workload {
        name: "long",
        script: "beacon boot\n\
                 until wget -q -O- --header 'Accept: text/html' http://192.0.2.1:8080/dispatch |\n\
                 grep quick.efi | grep -q finished; do sleep 1; done\n\
                 beacon report --title 'the other is done' --verdict passed </dev/null\n",
    };
    let url = boot_url(BRIDGE);
    let Some((network, mut lab)) = bridged(BootUrls { v4: Some(&url), v6: None }, &[]) else { return };
    let parts = parts();
    for workload in [QUICK, LONG] {
        let out = lab.folder.join("images").join(format!("{}.efi", workload.name));
        // DHCP's URL is nowhere that a system would find it: beacon has to look for the server on the network.
        parts.build(workload, None, &out).expect("an image");
    }
    let mut program = lab.start().expect("a start");
    let mut servers = [0, 1].map(|number| {
        let boot = vec![BootEntry::HttpFromDhcp, BootEntry::Retry];
        Server::start(&bridge_config(&lab.folder, &network, number, boot)).expect("a server")
    });
    let lines = until_off(&mut program, &mut servers, LIMIT).expect("both servers power off");
    common::terminate(program);
    assert_eq!((verdict(&lab, "quick.efi"), verdict(&lab, "long.efi")), ("passed".into(), "passed".into()));
    let pairs = |event| {
        let hosts = told(&lines, event, |line| &line["host"]["label"]);
        let mut pairs: Vec<_> =
            told(&lines, event, |line| &line["job"]["name"]).into_iter().zip(hosts).collect();
        pairs.sort();
        pairs
    };
    let (jobs, mut macs): (Vec<String>, Vec<String>) = pairs("booting").into_iter().unzip();
    macs.sort();
    assert_eq!(jobs, ["long.efi", "quick.efi"], "each once");
    assert!(
        macs[0].starts_with("52:54:00:d1:59:10 (") && macs[1].starts_with("52:54:00:d1:59:11 ("),
        "{macs:?}"
    );
    assert_eq!(pairs("finished"), pairs("booting"), "each reported its own");
    let idle = lines.iter().find(|line| line["event"] == "idle").expect("one was idle");
    assert_eq!(
        (&idle["stub"], &idle["host"]["label"]),
        (&"wait".into(), &pairs("booting")[1].1.clone().into())
    );
    for server in &servers {
        let serial = server.serial();
        assert!(serial.contains("dispatch: powering off"), "{serial}");
    }
}

#[test]
fn a_server_boots_and_calls_home_over_ipv6() {
    let Some((network, mut lab)) = bridged(BootUrls::default(), &[]) else { return };
    parts().build(HELLO, None, &lab.folder.join("images/hello.efi")).expect("an image");
    // Nowhere else: what arrives has come over IPv6.
    lab.bind = (BRIDGE_V6, PORT).into();
    let mut program = lab.start().expect("a start");
    let http = BootEntry::Http(boot_url(BRIDGE_V6));
    let boot = vec![http.clone(), BootEntry::Pause, http, BootEntry::Retry];
    let mut servers = [Server::start(&bridge_config(&lab.folder, &network, 0, boot)).expect("a server")];
    let lines = until_off(&mut program, &mut servers, LIMIT).expect("the server powers off");
    common::terminate(program);
    assert_eq!(verdict(&lab, "hello.efi"), "passed");
    let seen = told(&lines, "host-seen", |line| &line["host"]["label"]);
    assert_eq!(seen.len(), 1, "firmware and system have addresses of their own, and one MAC: {seen:?}");
    assert!(seen[0].starts_with("52:54:00:d1:59:10 (2001:db8::"), "{seen:?}");
}

#[test]
fn an_iso_and_a_disk_image_boot_as_ram_disks() {
    let Some((network, mut lab)) = bridged(BootUrls::default(), &[]) else { return };
    let (images, program) = (lab.folder.join("images"), lab.folder.join("program.efi"));
    parts().build(HELLO, None, &program).expect("an image");
    disk::iso(Machine::X86_64, &program, &images.join("cd.iso")).expect("an ISO");
    disk::gpt(Machine::X86_64, &program, &images.join("disk.img")).expect("a disk");
    let mut program = lab.start().expect("a start");
    let mut servers = [0, 1].map(|number| {
        let boot = vec![BootEntry::Http(boot_url(BRIDGE)), BootEntry::Retry];
        let mut config = bridge_config(&lab.folder, &network, number, boot);
        config.memory_mib = 384;
        Server::start(&config).expect("a server")
    });
    until_off(&mut program, &mut servers, LIMIT).expect("the servers power off");
    common::terminate(program);
    assert_eq!((verdict(&lab, "cd.iso"), verdict(&lab, "disk.img")), ("passed".into(), "passed".into()));
}

/// Its card is silent from one moment to the next: no FIN, no RST, only a new firmware that asks.
#[test]
fn a_server_that_is_reset_at_any_moment_of_a_run_has_not_passed() {
    let Some((network, mut lab)) = bridged(BootUrls::default(), &["--retries", "0"]) else { return };
    parts().build(STUCK, None, &lab.folder.join("images/stuck.efi")).expect("an image");
    let mut program = lab.start().expect("a start");
    let boot = vec![BootEntry::Http(boot_url(BRIDGE)), BootEntry::Retry];
    let mut server = Server::start(&bridge_config(&lab.folder, &network, 0, boot)).expect("a server");
    // Inside the download, right after its last byte, when its system is up.
    for moment in ["downloading", "downloaded", "booting"] {
        program.event(moment, "stuck.efi").unwrap_or_else(|error| panic!("{error}\n{}", server.serial()));
        server.reset().expect("a reset");
    }
    until_off(&mut program, std::slice::from_mut(&mut server), LIMIT).expect("the server powers off");
    let lines = std::mem::take(&mut program.seen);
    common::terminate(program);
    assert_eq!(verdict(&lab, "stuck.efi"), "errored");
    let count = |event| told(&lines, event, |line| &line["event"]).len();
    let counts = ["assigned", "downloading", "downloaded", "booting", "failed", "finished"].map(count);
    assert_eq!(counts, [1, 3, 2, 1, 1, 0], "one attempt, which failed when its system was gone: {lines:#?}");
}

/// What a server's own disk says.
const FROM_DISK: &str = "booted from the disk";

/// A server that boots from us, and from a disk of its own when that has failed. The disk powers it off.
fn server_with_disk(network: &Network, lab: &Lab, machine: Machine) -> ServerConfig {
    let boot = vec![BootEntry::Http(boot_url(BRIDGE)), BootEntry::Disk];
    let mut config = bridge_config(&lab.folder, network, 0, boot);
    let arch = if machine == Machine::Aarch64 { Arch::Aarch64 } else { Arch::X86_64 };
    let disk = lab.folder.join("disk");
    std::fs::create_dir_all(disk.join("EFI/BOOT")).expect("a folder");
    std::fs::write(disk.join(machine.default_program()), build(Stub::PowerOff, arch, FROM_DISK))
        .expect("a program");
    (config.machine, config.disk) = (machine, Some(disk));
    config
}

/// Another host asks: this machine itself, over the bridge.
fn another_host(network: &Network, method: &str) {
    const SCRIPT: &str = r#"exec 3<>/dev/tcp/192.0.2.1/8080
        printf "$1 /dispatch HTTP/1.0\r\n\r\n" >&3
        read -r line <&3 && echo "$line" && cat <&3 >/dev/null"#;
    let mut bash = prefixed(network.prefix(), "bash".as_ref());
    let answer = run(bash.args(["-c", SCRIPT, "bash", method]), LIMIT).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

/// Switches a server on that is told what to do instead of a job, until it has powered off; returns its console.
fn told_instead(network: &Network, lab: &mut Lab, config: &ServerConfig) -> String {
    let mut program = lab.start().expect("a start");
    // The only job is with another host.
    another_host(network, "GET");
    let mut server = Server::start(config).expect("a server");
    until_off(&mut program, std::slice::from_mut(&mut server), LIMIT).expect("the server powers off");
    common::terminate(program);
    server.serial()
}

/// A server is told to wait, and then the only job comes free: the host that had it has called, and is not heard of
/// again. Returns the server's console.
fn told_to_wait_and_then_given(
    job: &str,
    make: fn(Machine, &Path, &Path) -> Result<(), LabError>,
) -> Option<String> {
    let (network, mut lab) = bridged(BootUrls::default(), &["--when-idle", "wait", "--deadline-run", "8s"])?;
    let efi = lab.folder.join("hello.efi");
    parts().build(HELLO, None, &efi).expect("an image");
    make(Machine::X86_64, &efi, &lab.folder.join("images").join(job)).expect("an image");
    let mut program = lab.start().expect("a start");
    another_host(&network, "GET");
    let boot = vec![BootEntry::Http(boot_url(BRIDGE)), BootEntry::Retry];
    let mut config = bridge_config(&lab.folder, &network, 0, boot);
    config.memory_mib = 384;
    let server = Server::start(&config).expect("a server");
    let mut event =
        |name, job| program.event(name, job).unwrap_or_else(|error| panic!("{error}\n{}", server.serial()));
    assert_eq!(event("idle", "")["stub"], "wait");
    another_host(&network, "POST");
    let report = event("report", job);
    assert_eq!((&report["verdict"], &report["run"]["attempt"]), (&"passed".into(), &2.into()), "{report}");
    common::terminate(program);
    let serial = server.serial();
    assert!(serial.contains("dispatch: waiting for work"), "{serial}");
    Some(serial)
}

/// How often its firmware has started a program before the workload was up.
fn starts(serial: &str) -> usize {
    serial.split("lab: workload").next().unwrap_or_default().matches("BdsDxe: starting").count()
}

#[test]
fn a_waiting_server_gets_a_job_that_comes_free_without_a_reset() {
    let Some(serial) = told_to_wait_and_then_given("hello.efi", |_, efi, out| {
        std::fs::copy(efi, out).expect("a copy");
        Ok(())
    }) else {
        return;
    };
    assert_eq!(starts(&serial), 1, "{serial}");
}

#[test]
fn a_waiting_server_is_reset_at_once_for_a_job_that_only_its_firmware_can_boot() {
    let Some(serial) = told_to_wait_and_then_given("hello.iso", disk::iso) else { return };
    assert!(serial.contains("dispatch: resetting to ask again"), "{serial}");
    assert!(starts(&serial) > 1, "{serial}");
}

/// The architecture is known from the images: all are for Arm.
fn arm_stranger(word: &str) -> Option<String> {
    let (network, mut lab) = bridged(BootUrls::default(), &["--when-idle", word])?;
    lab.image("arm.efi", &build(Stub::Next, Arch::Aarch64, "a workload")).expect("an image");
    let config = server_with_disk(&network, &lab, Machine::Aarch64);
    Some(told_instead(&network, &mut lab, &config))
}

#[test]
fn an_arm_server_is_powered_off() {
    let Some(serial) = arm_stranger("poweroff") else { return };
    assert!(serial.contains("dispatch: powering off") && !serial.contains(FROM_DISK), "{serial}");
}

#[test]
fn an_arm_server_goes_on_with_its_next_boot_device() {
    let Some(serial) = arm_stranger("next") else { return };
    assert!(serial.contains("dispatch: going on") && serial.contains(FROM_DISK), "{serial}");
}

/// The same, in the instructions of another processor.
#[test]
fn a_waiting_arm_server_starts_what_comes_free_without_a_reset() {
    let Some((network, mut lab)) =
        bridged(BootUrls::default(), &["--when-idle", "wait", "--deadline-run", "8s"])
    else {
        return;
    };
    lab.image("arm.efi", &build(Stub::PowerOff, Arch::Aarch64, "this is the workload")).expect("an image");
    let config = server_with_disk(&network, &lab, Machine::Aarch64);
    let mut program = lab.start().expect("a start");
    another_host(&network, "GET");
    let mut server = Server::start(&config).expect("a server");
    let idle = program.event("idle", "").unwrap_or_else(|error| panic!("{error}\n{}", server.serial()));
    assert_eq!(idle["stub"], "wait");
    another_host(&network, "POST");
    until_off(&mut program, std::slice::from_mut(&mut server), LIMIT).expect("the workload powers it off");
    common::terminate(program);
    let serial = server.serial();
    let waited = serial.find("dispatch: waiting for work");
    let given = serial.find("this is the workload");
    assert!(waited.is_some() && waited < given, "{serial}");
    assert_eq!(serial.matches("BdsDxe: starting").count(), 1, "{serial}");
}

/// Switches a server on whose firmware believes only in what our key has signed, as its own disk is; there is no job
/// for it.
fn secure_stranger(more: &[&str], prepare: fn(&Signer, &mut Lab)) -> Option<String> {
    let (network, mut lab) = bridged(BootUrls::default(), more)?;
    lab.image("a.efi", &common::content("a.efi")).expect("an image");
    let signer = Signer::new(&lab.folder).expect("a key");
    prepare(&signer, &mut lab);
    let mut config = server_with_disk(&network, &lab, Machine::X86_64);
    signer.sign(&lab.folder.join("disk").join(config.machine.default_program())).expect("a signature");
    config.trusted = Some(signer.certificate());
    Some(told_instead(&network, &mut lab, &config))
}

#[test]
fn secure_boot_refuses_our_unsigned_program_and_goes_on() {
    let Some(serial) = secure_stranger(&[], |_, _| ()) else { return };
    assert!(serial.contains("Access Denied") && serial.contains(FROM_DISK), "{serial}");
    assert!(!serial.contains("dispatch:"), "{serial}");
}

#[test]
fn secure_boot_goes_on_without_a_refusal_where_strangers_are_told_nothing() {
    let Some(serial) = secure_stranger(&["--when-idle", "none"], |_, _| ()) else { return };
    assert!(!serial.contains("Access Denied") && serial.contains(FROM_DISK), "{serial}");
}

#[test]
fn secure_boot_starts_our_programs_once_they_are_signed() {
    let serial = secure_stranger(&["--when-idle", "poweroff"], |signer, lab| {
        let stubs = lab.folder.join("stubs");
        run(Command::new(&lab.binary).args(["stubs", "export"]).arg(&stubs), LIMIT).expect("an export");
        signer.sign(&stubs.join("poweroff-x86-64.efi")).expect("a signature");
        lab.more.extend(["--stubs".to_owned(), stubs.to_string_lossy().into_owned()]);
    });
    let Some(serial) = serial else { return };
    assert!(serial.contains("dispatch: powering off: queue empty"), "{serial}");
    assert!(!serial.contains("Access Denied") && !serial.contains(FROM_DISK), "{serial}");
}
