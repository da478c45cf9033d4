//! A service and real firmware: a server is enrolled, accepted by the API, boots by its label, and its report outlives
//! the service. `cargo nextest run --profile lab`.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::time::Duration;

use common::service::{Engine, Running, ServiceLab};
use dispatch_testkit::lab::deadline::Deadline;
use dispatch_testkit::lab::qemu::{HOST, Server, ServerConfig};
use dispatch_testkit::program::Program;
use dispatch_testkit::rig::{HELLO, MAC, UUID, Workload, cache, prepare, until_off};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(12);

/// Two groups, told apart by a label. Whoever may work and has nothing to do is powered off, so that this ends.
const CONFIG: &str = r#"
boot: { listen: "BOOT", when_idle: poweroff }
groups:
  metal:
    - id: big
      name: Big servers
      host_labels: [big]
      sources: [{ id: big-images, dir: ./images, filter: [big] }]
    - id: small
      name: Small servers
      host_labels: [small]
      sources: [{ id: small-images, dir: ./images, filter: [small] }]
"#;

/// Kills the service at the next event of this name about this job, and starts it again.
fn killed_at(lab: &mut ServiceLab, mut running: Running, event: &str, job: &str, server: &Server) -> Running {
    let seen = running.program.event(event, job);
    seen.unwrap_or_else(|error| panic!("{error}\n{}", server.serial()));
    running.program.kill().expect("killed");
    lab.start()
}

/// Waits until a server's console says these words. Nobody tells when it does: it is looked at between the lines of the
/// log.
fn until_console(program: &mut Program, server: &Server, words: &str) {
    let deadline = Deadline::after(LIMIT);
    while !server.serial().contains(words) {
        assert!(!deadline.left().is_zero(), "`{words}` did not come:\n{}", server.serial());
        program.next(Duration::from_millis(250)).expect("the service runs");
    }
}

#[test]
fn a_server_is_enrolled_accepted_and_boots_by_its_label_through_a_service_that_is_killed() {
    // `big.efi` comes first in every list, and boots nowhere.
    let mut lab = ServiceLab::new(Engine::Sqlite, &["big.efi"], CONFIG).for_qemu();
    let small = Workload { name: "small", ..HELLO };
    prepare(&cache(), &lab.lab.folder.join("images"), &[small]).expect("images");
    let mut running = lab.start();
    let (port, path) = (running.program.address.port(), running.program.path.clone());
    let url = format!("http://{HOST}:{port}{path}/@r7");
    let config = ServerConfig::http(&lab.lab.folder.join("server"), MAC, UUID, &url);
    let server = Server::start(&config).expect("a server");

    // It is not known. It says so, with its id, and whoever looks for it finds the same.
    until_console(&mut running.program, &server, "waits to be accepted; its id is ");
    let operator = running.client("operator");
    let asked = operator.asked_by("r7");
    let first = asked.first().expect("its request is shown");
    assert_eq!((&first["accepted"], &first["status"]), (&json!(false), &json!(200)), "{first}");
    let id = first["host_id"].as_str().expect("its id").to_owned();
    assert!(server.serial().contains(&format!("its id is {id}")), "{id}:\n{}", server.serial());
    let accept = format!("/api/v1/hosts/{id}/accept");
    let accepted = operator.post(&accept, &json!({ "labels": ["small"], "key": "r7", "name": "Seven" }));
    assert_eq!((&accepted["id"], &accepted["groups"]), (&json!("r7"), &json!(["small"])), "{accepted}");

    // It asks again by itself. The service dies when it has its image, and once more when that is up.
    let running = killed_at(&mut lab, running, "downloaded", "small.efi", &server);
    let mut running = killed_at(&mut lab, running, "booting", "small.efi", &server);
    let mut servers = [server];
    until_off(&mut running.program, &mut servers, LIMIT).expect("it is powered off after its work");
    let serial = servers[0].serial();
    assert!(serial.contains("dispatch: powering off"), "{serial}");

    let reader = running.client("readonly");
    let history = reader.get("/api/v1/groups/small/history");
    let over = &history["items"][0];
    assert_eq!((&history["total_count"], &over["name"]), (&json!(1), &json!("small.efi")), "{history}");
    assert_eq!((&over["verdict"], &over["attempts"]), (&json!("passed"), &json!(1)), "{history}");
    assert_eq!(over["host"], json!({ "id": "r7", "name": "Seven" }), "{history}");
    let matrix = reader.get("/api/v1/groups/small/matrix");
    assert_eq!(matrix["columns"], json!([{ "id": "r7", "title": "Seven" }]), "{matrix}");
    let cell = &matrix["rows"][0]["cells"][0];
    assert_eq!((&cell["verdict"], &cell["run_id"]), (&json!("passed"), &over["run_id"]), "{matrix}");
    let run = over["run_id"].as_str().expect("a run");
    let reports = reader.items(&format!("/api/v1/reports?run={run}"));
    assert_eq!(reports.len(), 1, "once, however often it was sent: {reports:?}");
    assert_eq!(reports[0]["title"], "hello from a virtual server");
    // The other group's image went to nobody.
    assert_eq!(reader.get("/api/v1/groups/big/history")["total_count"], 0);
    assert_eq!(reader.items("/api/v1/groups/big/queue").len(), 1);
    common::terminate(running.program);
}
