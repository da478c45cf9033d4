//! A release on GitHub, real firmware, and the issues that come of it. `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::time::Duration;

use common::hub::{EFI, REPOSITORY, hub};

use dispatch_testkit::lab::qemu::{HOST, Server, ServerConfig};
use dispatch_testkit::rig::{CERTIFICATES, HELLO, Workload, cache, prepare, until_off};

const LIMIT: Duration = Duration::from_mins(12);

/// Three servers boot the three images of a release, whose assets come once each, and send five reports.
#[test]
fn servers_boot_the_assets_of_a_release_and_their_reports_become_issues_with_labels_and_milestones() {
    const OTHER: Workload = Workload { name: "other", ..HELLO };
    let mut hub = hub(&[], &[]);
    *hub.lab = hub.lab.clone().for_qemu();
    let images = hub.lab.folder.join("images");
    let workloads = [CERTIFICATES, HELLO, OTHER];
    prepare(&cache(), &images, &workloads).expect("images");
    hub.github.change(|model| {
        let repository = model.repository(REPOSITORY);
        for level in ["c1", "c2", "c3"] {
            repository.milestone(level);
        }
        let release = repository.release("devel");
        for workload in workloads {
            let name = format!("{}.efi", workload.name);
            release.asset(&name, EFI, images.join(&name));
        }
    });
    let mut program = hub.lab.start().expect("a start");
    let mut servers: Vec<Server> = (1..=3_u8)
        .map(|number| {
            // All of them come from one address: each has a name.
            let port = program.address.port();
            let url = format!("http://{HOST}:{port}{}/@r{number}", program.path);
            let (mac, uuid) =
                ([0x52, 0x54, 0, 0, 4, number], format!("d15ba7c4-0000-4000-8000-00000000040{number}"));
            let folder = hub.lab.folder.join(format!("server-{number}"));
            Server::start(&ServerConfig::http(&folder, mac, &uuid, &url)).expect("a server")
        })
        .collect();
    let told = until_off(&mut program, &mut servers, LIMIT).expect("the servers power off");
    let issues = hub.issues(5);
    common::terminate(program);
    let of = |event: &str| told.iter().filter(|line| line["event"] == event).count();
    assert_eq!((of("fetched"), of("booting"), of("report")), (3, 3, 5), "{told:#?}");
    for workload in workloads {
        let name = format!("{}.efi", workload.name);
        assert_eq!(hub.fetched(&name), 1, "{name}:\n{}", hub.github.log());
    }
    let certificates: Vec<_> =
        issues.iter().filter(|issue| issue.title.starts_with("certificate level")).collect();
    assert_eq!(issues.len(), 5);
    assert_eq!(certificates.len(), 3);
    for (issue, level) in certificates.iter().zip(["1", "2", "3"]) {
        assert_eq!(issue.title, format!("certificate level {level}"), "in their order");
        assert_eq!(
            (issue.labels.as_slice(), issue.milestone.clone()),
            (&["os:demo".to_owned()][..], Some(format!("c{level}")))
        );
        let body = issue.body.clone().unwrap_or_default();
        assert!(
            body.contains(&format!("level {level} of SEV: certified")) && body.contains("certificates.efi"),
            "{body}"
        );
    }
}
