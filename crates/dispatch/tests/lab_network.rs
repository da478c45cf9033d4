//! On real firmware, on a network of its own: servers on a bridge, with DHCP, at addresses and with MACs of their own.
//! `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Lab, lab, verdict};
use dispatch_testkit::lab::LabError;
use dispatch_testkit::lab::disk;
use dispatch_testkit::lab::machine::Machine;
use dispatch_testkit::lab::network::{BRIDGE, BRIDGE_V6, BootUrls, Network, PORT, boot_url};
use dispatch_testkit::lab::packages::{Need, ensure_packages};
use dispatch_testkit::lab::qemu::{BootEntry, Server};
use dispatch_testkit::rig::{HELLO, Parts, Workload, bridge_config, cache, until_off};
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

/// Two servers boot what DHCP names, each its own job. The first to be done is sent round until the other is done
/// too, because a job of that might still come to it; then both are powered off.
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
        // DHCP's URL is nowhere that a system would find it.
        parts.build(workload, Some(&url), &out).expect("an image");
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
        (&"reboot".into(), &pairs("booting")[1].1.clone().into())
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
    let make: [(_, fn(_, &Path, &Path) -> _); 2] = [("cd.iso", disk::iso), ("disk.img", disk::gpt)];
    for (name, make) in make {
        make(Machine::X86_64, &program, &images.join(name)).expect("a disk");
    }
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
