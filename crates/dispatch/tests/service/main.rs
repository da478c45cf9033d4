//! A service, as hosts and people see it: the real program, over real sockets, on both engines.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

#[path = "../common/mod.rs"]
mod common;

use common::service::{Engine, Running, ServiceLab};
use common::{PASSED, image, stub, terminate, whole_run};
use dispatch_testkit::firmware::{Booted, Firmware};

/// One test for each engine.
macro_rules! on_both {
    ($($(#[$doc:meta])* $name:ident)*) => {
        mod sqlite {
            $($(#[$doc])* #[test] fn $name() { super::$name(super::Engine::Sqlite); })*
        }
        mod postgres {
            $($(#[$doc])* #[test] fn $name() { super::$name(super::Engine::postgres()); })*
        }
    };
}

mod hundred;
mod people;

on_both! {
    hosts_get_the_jobs_of_the_groups_that_their_labels_make_them_part_of
    a_group_runs_no_more_at_once_than_it_may
    a_kill_loses_nothing_and_does_nothing_twice
    a_host_that_is_enrolled_reads_so_on_its_own_console
    the_configuration_of_the_seed_starts_with_metal_beside_it
    what_left_the_file_stops_at_once_and_a_bad_file_changes_nothing
    what_runs_of_a_group_that_left_the_file_is_judged_as_the_group_was
    a_second_service_on_one_database_is_refused_until_the_first_is_gone
}

/// Two groups, told apart by a label; two hosts are listed by the names in their boot URLs.
const TWO_GROUPS: &str = r#"
boot: { listen: "BOOT" }
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
hosts:
  - { id: r1, boot_name: r1, labels: [big] }
  - { id: r2, boot_name: r2, labels: [small] }
"#;

/// One group, for whoever asks.
const ONE_GROUP: &str = r#"
boot: { listen: "BOOT", unknown_hosts: accept }
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ dir: ./images }] }
"#;

fn named(running: &Running, name: &str) -> Firmware {
    let path = format!("{}/@{name}", running.program.path);
    running.program.firmware().at(&path)
}

fn ready(running: &mut Running, jobs: usize) {
    for _ in 0..jobs {
        running.program.event("queued", "").expect("queued");
    }
}

fn hosts_get_the_jobs_of_the_groups_that_their_labels_make_them_part_of(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["big.efi", "small.efi"], TWO_GROUPS);
    let mut running = lab.start();
    ready(&mut running, 2);
    let (big, small) = (named(&running, "r1"), named(&running, "r2").of_host(2));
    assert_eq!(whole_run(&small), "small.efi");
    assert_eq!(whole_run(&big), "big.efi");
    assert!(
        stub(&big).contains("next boot device"),
        "nothing is left, and nobody is powered off by surprise"
    );
    terminate(running.program);
}

fn a_group_runs_no_more_at_once_than_it_may(engine: Engine) {
    let config = r#"
boot: { listen: "BOOT", unknown_hosts: accept, when_idle: wait }
groups:
  metal:
    - { id: lab, name: Lab, max_concurrent: 1, sources: [{ dir: ./images }] }
"#;
    let mut lab = ServiceLab::new(engine, &["a.efi", "b.efi"], config);
    let mut running = lab.start();
    ready(&mut running, 2);
    let firmware = running.program.firmware();
    let (one, two) = (firmware.of_host(1), firmware.of_host(2));
    let first = image(&one);
    let words = stub(&two);
    assert!(words.contains("one at a time"), "{words}");
    let (_, run) = one.post().expect("an answer");
    assert_eq!(one.put(PASSED, run.as_deref()).expect("an answer"), 200);
    // It is over when its host asks again; what is left is for whoever asks first.
    let second = image(&one);
    assert_ne!(first, second);
    terminate(running.program);
}

fn a_kill_loses_nothing_and_does_nothing_twice(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi", "b.efi"], ONE_GROUP);
    let mut running = lab.start();
    ready(&mut running, 2);
    let firmware = running.program.firmware();
    assert_eq!(image(&firmware), "a.efi");
    let (_, run) = firmware.post().expect("an answer");
    running.program.kill().expect("killed");
    let running = lab.start();
    let firmware = running.program.firmware();
    assert_eq!(firmware.put(PASSED, run.as_deref()).expect("an answer"), 200);
    assert_eq!(whole_run(&firmware), "b.efi", "and not a.efi once more");
    running.program.kill().expect("killed");
    let running = lab.start();
    assert!(stub(&running.program.firmware()).contains("queue empty"), "each once");
    terminate(running.program);
}

fn a_host_that_is_enrolled_reads_so_on_its_own_console(engine: Engine) {
    let config = r#"
boot: { listen: "BOOT", when_idle: poweroff }
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ dir: ./images }] }
"#;
    let mut lab = ServiceLab::new(engine, &["a.efi"], config);
    let mut running = lab.start();
    ready(&mut running, 1);
    let words = stub(&running.program.firmware());
    assert!(words.contains("waits to be accepted") && words.contains("next boot device"), "{words}");
    terminate(running.program);
}

/// The pieces of configuration that the system before this one shows in its README, put together, with a group of
/// servers beside them.
const SEED: &str = r#"
boot: { listen: "BOOT", unknown_hosts: accept }
github:
  token: ${GITHUB_TOKEN}
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ dir: ./images }] }
  github:
    - id: sync-tests
      name: Sync Tests
      description: Ethereum sync testing jobs
      runner_labels:
        - self-hosted
        - sync-test
      workflow_dispatch_templates:
        - id: sync-geth-prysm
          name: Sync Test geth/prysm
          owner: ethpandaops
          repo: syncoor-tests
          workflow_id: syncoor.yaml
          ref: master
          inputs:
            el-client: "geth"
            cl-client: "prysm"
            config: '{"network": "mainnet"}'
"#;

fn the_configuration_of_the_seed_starts_with_metal_beside_it(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], SEED);
    lab.lab.environment.push(("GITHUB_TOKEN".to_owned(), "ghp_of_the_seed".to_owned()));
    let mut running = lab.start();
    ready(&mut running, 1);
    let firmware = running.program.firmware();
    assert_eq!(whole_run(&firmware), "a.efi");
    let me = running.client("admin").get("/api/v1/auth/me");
    assert_eq!(me["role"], "admin", "{me}");
    // Two sockets, and nothing of the one on the other.
    for path in ["/api/v1/auth/me", "/api/v1/openapi.json", "/metrics", "/ready"] {
        let answer = firmware.at(path).exchange("GET", "", b"").expect("an answer");
        assert_eq!(answer.status, 404, "{path} of the API is not on the boot listener");
    }
    let boot = running.client("admin").send("GET", "/dispatch", None);
    assert_eq!(boot.status, 404, "nothing of the boot listener is on the API's");
    terminate(running.program);
}

fn what_left_the_file_stops_at_once_and_a_bad_file_changes_nothing(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["big.efi", "small.efi"], TWO_GROUPS);
    let mut running = lab.start();
    ready(&mut running, 2);
    let good = lab.config.clone();
    lab.config = good.replace("host_labels: [big]", "host_lables: [big]");
    lab.write();
    running.program.hang_up().expect("a signal");
    let line = running.program.until("the mistake", |line| {
        line["message"].as_str().is_some_and(|text| text.contains("host_lables"))
    });
    let line = line.expect("it is told");
    assert!(line["message"].as_str().expect("text").contains("host_labels"), "with what was meant: {line}");
    let admin = running.client("admin");
    let answer = admin.send("POST", "/api/v1/config/reload", None);
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("host_lables"), "{}", answer.text());
    assert_eq!(image(&named(&running, "r1")), "big.efi", "it goes on as before");
    // Now without the group of small servers.
    let until = good.find("    - id: small").expect("the group");
    let hosts = good.find("hosts:").expect("the hosts");
    lab.config = format!("{}{}", &good[..until], &good[hosts..]);
    lab.write();
    let changes = admin.call("POST", "/api/v1/config/reload", None);
    assert!(changes["changes"].to_string().contains("groups.metal.small"), "{changes}");
    let small = named(&running, "r2").of_host(2);
    assert!(matches!(small.boot().expect("an answer"), Booted::Stub(_)), "nothing of the group is started");
    // It comes back, with what waited in it.
    lab.config = good;
    lab.write();
    admin.call("POST", "/api/v1/config/reload", None);
    assert_eq!(image(&small), "small.efi");
    terminate(running.program);
}

fn what_runs_of_a_group_that_left_the_file_is_judged_as_the_group_was(engine: Engine) {
    let config = r#"
boot: { listen: "BOOT", unknown_hosts: accept }
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ dir: ./images }], fail_if: ["body:panic"] }
"#;
    let mut lab = ServiceLab::new(engine, &["a.efi"], config);
    let mut running = lab.start();
    ready(&mut running, 1);
    let firmware = running.program.firmware();
    assert_eq!(image(&firmware), "a.efi");
    let (_, run) = firmware.post().expect("an answer");
    let until = config.find("groups:").expect("the groups");
    lab.config = format!("{}groups: {{ metal: [{{ id: other }}] }}\n", &config[..until]);
    lab.write();
    running.client("admin").call("POST", "/api/v1/config/reload", None);
    let report = r#"{"title":"all went well","body":"but for a kernel panic"}"#;
    assert_eq!(firmware.put(report, run.as_deref()).expect("an answer"), 200);
    let told = running.program.event("report", "a.efi").expect("told");
    assert_eq!(told["verdict"], "failed", "{told}");
    terminate(running.program);
}

fn a_second_service_on_one_database_is_refused_until_the_first_is_gone(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], ONE_GROUP);
    let mut running = lab.start();
    ready(&mut running, 1);
    let (status, stderr) = lab.lab.start_badly().expect("a try");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is in use by another dispatch: end that one, or name another"), "{stderr}");
    assert_eq!(whole_run(&running.program.firmware()), "a.efi", "the first one goes on");
    running.program.kill().expect("killed");
    terminate(lab.start().program);
}

/// The connection that holds the database is lost, and another process was waiting for it.
#[test]
fn a_service_that_lost_its_database_to_another_ends_and_says_so() {
    let config = "boot: { listen: \"BOOT\" }\ngroups: { metal: [{ id: lab, name: Lab, sources: [{ dir: ./images }] }] }\n";
    let engine = Engine::postgres();
    let Engine::Postgres(database) = &engine else { panic!("a server") };
    let (server, name) = (database.server.clone(), database.name.clone());
    let mut lab = ServiceLab::new(engine, &["a.efi"], config);
    let running = lab.start();
    let lock = i64::from_be_bytes(*b"dispatc1");
    let other = {
        let (server, name) = (server.clone(), name.clone());
        std::thread::spawn(move || {
            let wait = format!("SELECT pg_advisory_lock({lock}); SELECT pg_sleep(60)");
            drop(server.sql(&name, &wait));
        })
    };
    let of_database = "locktype = 'advisory' AND objsubid = 1 AND database = \
                       (SELECT oid FROM pg_database WHERE datname = current_database())";
    let waits = format!(
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND {of_database}) \
         LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
    );
    server.sql(&name, &waits).expect("somebody waits");
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE granted AND {of_database} AND classid <> 0"
    );
    server.sql(&name, &end).expect("ended");
    let status = running.program.ends().expect("an end");
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(lab.lab.folder.join("stderr.log")).expect("what it said");
    assert!(said.contains("was taken by another dispatch"), "{said}");
    let _ = server.sql(
        "postgres",
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    );
    other.join().expect("gone");
}
