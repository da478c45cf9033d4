//! Every migration is applied over a database that the program before it has filled.

use std::path::Path;

use dispatch_core::run::Policy;
use dispatch_core::{Effect, JobState, Sighting};
use dispatch_store::{Focus, Lane, Store, StoreError};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::place::Place;

on_both![
    the_second_migration_keeps_hosts_runs_and_what_was_left_out,
    an_empty_database_of_the_first_version_has_no_round_yet,
    the_third_migration_keeps_rounds_reports_and_what_is_to_be_done,
];

/// What a session of the first version left: a host that was seen by its MAC with a run that is going on, one known by
/// its address, a job that is done, and one that the filters had left out.
const FIRST: &str = "
INSERT INTO hosts (id, mac, address, uuid, epoch, idle, first_seen, last_seen) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8001', '52:54:00:00:00:01', '192.0.2.1', 'u', 2, NULL, 1, 2),
 ('01890a5d-ac96-774b-bcce-b302099a8002', NULL, '192.0.2.2', NULL, 1,
  '{\"stub\":\"reboot\",\"reason\":\"r\",\"since\":\"2026-01-01T00:00:00Z\",\"promised\":\"2026-01-01T00:00:00Z\"}', 1, 2);
INSERT INTO workloads (id, name, kind, size, modified, reboots, description) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8003', 'a.efi', 'efi', 10, 1, 0, NULL);
INSERT INTO jobs (id, name, workload, priority, position, state, verdict, reason, waits, since) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8004', 'a.efi', '01890a5d-ac96-774b-bcce-b302099a8003', 0, 1, 'active', NULL, NULL, NULL, 5),
 ('01890a5d-ac96-774b-bcce-b302099a8005', 'b.efi', '01890a5d-ac96-774b-bcce-b302099a8003', 0, 2, 'cancelled', NULL, 'gone', NULL, 4);
INSERT INTO runs (id, job, host, workload, epoch, attempt, state, active, created, since, size, transfer, transfers,
 sent, most_sent, broken, wholes, reboots, reboots_allowed, reports) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8006', '01890a5d-ac96-774b-bcce-b302099a8004',
  '01890a5d-ac96-774b-bcce-b302099a8001', '01890a5d-ac96-774b-bcce-b302099a8003', 2, 1, 'booting', 1, 1, 1, 10, 'whole',
  1, 10, 10, 0, 1, 0, 0, 0);
INSERT INTO leases (host, run, epoch, held_until) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8001', '01890a5d-ac96-774b-bcce-b302099a8006', 2, 9);
";

/// A database as the versions up to this migration made it.
pub(crate) async fn database(place: &Place, last: &str) -> AnyConnection {
    let folder = TempDir::new().expect("a folder");
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for entry in std::fs::read_dir(all).expect("the migrations") {
        let entry = entry.expect("a migration");
        if entry.file_name().to_string_lossy().as_ref() <= last {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
        }
    }
    let migrator = sqlx::migrate::Migrator::new(folder.path()).await.expect("migrations");
    let mut connection = place.connection().await;
    migrator.run(&mut connection).await.expect("migrated");
    connection
}

async fn the_second_migration_keeps_hosts_runs_and_what_was_left_out(place: Place) {
    let mut connection = database(&place, "0001_queue.sql").await;
    connection.execute(FIRST).await.expect("filled");
    connection.close().await.expect("closed");

    let error = Store::connect_to_read(&place.database()).await.expect_err("it is older");
    assert!(matches!(error, StoreError::Older { .. }), "{error}");

    let store = place.store().await;
    let all = store.overview().await.expect("an overview");
    assert_eq!(all.round.as_ref().map(|round| (round.number, round.is_over)), Some((1, false)));
    assert_eq!(all.jobs.len(), 2);
    assert_eq!((all.jobs[0].state, all.jobs[0].round), (JobState::Active, 1));
    assert!(all.jobs[1].is_withdrawn);
    assert_eq!(all.hosts[0].macs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["52:54:00:00:00:01"]);
    assert!(all.hosts[1].macs.is_empty() && all.hosts[1].idle.is_some());
    let who = Sighting { address: [192, 0, 2, 77].into(), mac: "52:54:00:00:00:01".parse().ok(), name: None };
    let told = dispatch_core::Told::default();
    let policy = Policy::default();
    let started = store.decide(Focus::host(&who), &policy, |snapshot| {
        let mut random = || [7; 10];
        let now = jiff::Timestamp::UNIX_EPOCH;
        snapshot.start(&who, &told, &mut dispatch_core::queue::Context { now, random: &mut random })
    });
    assert_eq!(started.await.expect("an answer"), Ok(all.runs[0].id), "its run is still its own");
    store.close().await;
}

async fn an_empty_database_of_the_first_version_has_no_round_yet(place: Place) {
    database(&place, "0001_queue.sql").await.close().await.expect("closed");
    let store = place.store().await;
    assert_eq!(store.overview().await.expect("an overview").round, None);
    store.close().await;
}

/// What a session of the second version left: a job of a second round that was forgiven an attempt, and a report that is
/// still to be written into a file.
const SECOND: &str = "
INSERT INTO hosts (id, address, name, arch, shared, epoch, first_seen, last_seen) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8001', '192.0.2.1', 'r1', 'x86-64', NULL, 1, 1, 2);
INSERT INTO host_macs (host, mac, seen, place) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8001', '52:54:00:00:00:01', 1, 0);
INSERT INTO workloads (id, name, kind, size, modified, reboots, description, arch) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8003', 'a.efi', 'efi', 10, 1, 2, 'words', 'x86-64');
INSERT INTO rounds (number, begun, again, is_over) VALUES (1, 1, '[]', 1), (2, 5, '[\"failed\"]', 0);
INSERT INTO jobs (id, name, workload, priority, position, state, verdict, since, round, forgiven, withdrawn) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8004', 'a.efi', '01890a5d-ac96-774b-bcce-b302099a8003', 0, 1, 'done', 'passed', 5,
  2, 1, 0);
INSERT INTO runs (id, job, host, workload, epoch, attempt, state, active, verdict, created, since, size, transfer,
 transfers, sent, most_sent, broken, wholes, reboots, reboots_allowed, reports, disputed) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8006', '01890a5d-ac96-774b-bcce-b302099a8004',
  '01890a5d-ac96-774b-bcce-b302099a8001', '01890a5d-ac96-774b-bcce-b302099a8003', 1, 2, 'finished', 0, 'passed', 1, 1, 10,
  'whole', 1, 10, 10, 0, 1, 0, 2, 1, 0);
INSERT INTO reports (id, run, at, late, digest, title, verdict, content) VALUES
 ('01890a5d-ac96-774b-bcce-b302099a8007', '01890a5d-ac96-774b-bcce-b302099a8006', 6, 0, 'd', 'title', 'passed', '{}');
INSERT INTO outbox (idempotency_key, effect, at, due, attempts) VALUES
 ('write-report:01890a5d-ac96-774b-bcce-b302099a8007',
  '{\"effect\":\"write-report\",\"report\":\"01890a5d-ac96-774b-bcce-b302099a8007\"}', 6, 6, 3);
UPDATE counters SET value = 41 WHERE name = 'event';
";

async fn the_third_migration_keeps_rounds_reports_and_what_is_to_be_done(place: Place) {
    let mut connection = database(&place, "0002_identity_and_rounds.sql").await;
    connection.execute(SECOND).await.expect("filled");
    connection.close().await.expect("closed");
    let store = place.store().await;
    assert_eq!(*store.watch_events().borrow(), 41);
    let all = store.overview().await.expect("an overview");
    assert_eq!(all.round.as_ref().map(|round| (round.number, round.again.len())), Some((2, 1)));
    assert_eq!((all.jobs[0].state, all.jobs[0].forgiven), (JobState::Done, 1));
    assert_eq!((all.workloads[0].terms.reboots, all.workloads[0].terms.labels.len()), (2, 0));
    assert_eq!(all.hosts[0].label(), "r1 (192.0.2.1)");
    let due = store.waiting_effects(Lane::Files, 10).await.expect("effects");
    assert_eq!((due.len(), due[0].attempts, due[0].progress.clone()), (1, 3, None));
    let Effect::WriteReport { report } = due[0].effect else { panic!("another effect") };
    let report = store.report(report).await.expect("an answer").expect("a report");
    assert_eq!((report.report.content.title.as_str(), report.issue), ("title", None));
    store.close().await;
}
