//! What a session of the third version left is what the programs since then find, and go on with.

use dispatch_core::queue::stats::Ended;
use dispatch_core::queue::{Ask, Context, NewReport, Offer};
use dispatch_core::run::Policy;
use dispatch_core::{GroupId, JobState, Outcome, RunId, RunState, Snapshot, Told, Verdict};
use dispatch_store::access::Session;
use dispatch_store::reads::{
    HistoryFilter, ReportFilter, ReportKeyset, RunFilter, RunKeyset, WorkloadFilter, WorkloadKeyset,
};
use dispatch_store::{Focus, Lane, Store, StoreError, queue::QueueFilter};
use jiff::Timestamp;
use sqlx::{Connection as _, Executor as _};

use crate::lab::at;
use crate::migrations::database;
use crate::place::Place;

on_both![
    what_a_session_left_at_the_third_version_reads_the_same,
    what_a_session_left_at_the_third_version_goes_on,
    the_fifth_migration_keeps_groups_templates_and_labels,
    the_sixth_migration_keeps_sessions_and_gives_runs_and_reports_their_groups,
];

/// Identifiers end with a number.
macro_rules! id {
    ($number:literal) => {
        concat!("01890a5d-ac96-774b-bcce-b3020990", $number)
    };
}

/// Three jobs that are over, each another way, one that runs and one that waits; a report that is an issue, and one whose
/// issue was refused.
const THIRD: &str = concat!(
    "INSERT INTO hosts (id, address, name, arch, uuid, shared, epoch, first_seen, last_seen) VALUES
     ('", id!("8001"), "', '192.0.2.1', 'r1', 'x86-64', 'u', NULL, 4, 1000000, 2000000),
     ('", id!("8002"), "', '192.0.2.2', NULL, NULL, NULL, 'why', 1, 3000000, 4000000);
    INSERT INTO host_macs (host, mac, seen, place) VALUES
     ('", id!("8001"), "', '52:54:00:00:00:01', 1, 0), ('", id!("8001"), "', '52:54:00:00:00:21', 0, 0);
    INSERT INTO workloads (id, name, kind, size, modified, reboots, description, arch, digest, origin, made_for, labels,
     retries, deadlines, place) VALUES
     ('", id!("8101"), "', 'a.efi', 'efi', 10, 7000000, 2, 'words', 'x86-64', NULL, NULL, NULL, '[\"big\"]', 3, '{}', 1),
     ('", id!("8102"), "', 'b.efi', 'efi', 20, 8000000, 0, NULL, NULL,
      'sha256:0000000000000000000000000000000000000000000000000000000000000007', 'https://x/b.efi', 'aarch64', '[]', NULL,
      '{}', 2);
    INSERT INTO rounds (number, begun, again, is_over) VALUES (1, 1, '[]', 0);
    INSERT INTO jobs (id, name, workload, priority, position, state, verdict, reason, waits, since, round, forgiven,
     withdrawn) VALUES
     ('", id!("8201"), "', 'a.efi', '", id!("8101"), "', 0, 1, 'done', 'passed', NULL, NULL, 5000000, 1, 1, 0),
     ('", id!("8202"), "', 'a.efi', '", id!("8101"), "', 0, 2, 'done', 'errored', 'never called', NULL, 6000000, 1, 0, 0),
     ('", id!("8203"), "', 'b.efi', '", id!("8102"), "', 0, 3, 'cancelled', NULL, 'gone', NULL, 4000000, 1, 0, 1),
     ('", id!("8204"), "', 'a.efi', '", id!("8101"), "', 2, 4, 'active', NULL, NULL, NULL, 7000000, 1, 0, 0),
     ('", id!("8205"), "', 'a.efi', '", id!("8101"), "', -1, 5, 'queued', NULL, NULL, 'it waits', 3000000, 1, 2, 0);
    INSERT INTO runs (id, job, host, workload, epoch, attempt, state, active, verdict, reason, created, since, size,
     transfer, transfers, sent, most_sent, broken, wholes, reboots, reboots_allowed, booted_at, reports, disputed) VALUES
     ('", id!("8301"), "', '", id!("8201"), "', '", id!("8001"), "', '", id!("8101"), "', 1, 1, 'finished', 0, 'passed',
      NULL, 4000000, 5000000, 10, 'whole', 1, 10, 10, 0, 1, 1, 2, 4500000, 2, 0),
     ('", id!("8302"), "', '", id!("8202"), "', '", id!("8001"), "', '", id!("8101"), "', 2, 1, 'failed', 0, 'errored',
      'never called', 5500000, 6000000, 10, 'whole', 1, 10, 10, 0, 1, 0, 2, NULL, 0, 0),
     ('", id!("8304"), "', '", id!("8204"), "', '", id!("8001"), "', '", id!("8101"), "', 4, 1, 'booting', 1, NULL, NULL,
      7000000, 7000000, 10, 'whole', 1, 10, 10, 0, 1, 0, 2, NULL, 0, 0);
    INSERT INTO leases (host, run, epoch, held_until) VALUES ('", id!("8001"), "', '", id!("8304"), "', 4, 9000000);
    INSERT INTO reports (id, run, at, late, digest, title, verdict, content) VALUES
     ('", id!("8401"), "', '", id!("8301"), "', 4600000, 0, 'd1', 'first', 'passed', '{}'),
     ('", id!("8402"), "', '", id!("8301"), "', 4700000, 1, 'd2', 'second', 'passed', '{}');
    INSERT INTO issues (report, repository, number, url) VALUES ('", id!("8401"), "', 'o/r', 7, 'https://x/7');
    INSERT INTO outbox (idempotency_key, effect, at, due, attempts, error, seq, progress, refused, done_at) VALUES
     ('write-report:", id!("8401"), "', '{\"effect\":\"write-report\",\"report\":\"", id!("8401"), "\"}', 6, 6, 3, 'no',
      1, 'half', 0, NULL);
    UPDATE counters SET value = 2 WHERE name = 'event';
    UPDATE counters SET value = 1 WHERE name = 'effect';
    INSERT INTO events (seq, at, job, run, host, data) VALUES
     (1, 4000000, '", id!("8201"), "', NULL, NULL, '{\"at\":\"2026-01-01T00:00:00Z\",\"event\":\"drained\"}'),
     (2, 4000000, '", id!("8201"), "', '", id!("8301"), "', NULL,
      '{\"at\":\"2026-01-01T00:00:00Z\",\"event\":\"drained\"}');"
);

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

async fn filled(place: &Place) -> Store {
    let mut connection = database(place, "0003_github.sql").await;
    connection.execute(THIRD).await.expect("filled");
    connection.close().await.expect("closed");
    let error = Store::connect_to_read(&place.database()).await.expect_err("it is older");
    assert!(matches!(error, StoreError::Older { .. }), "{error}");
    place.store().await
}

async fn what_a_session_left_at_the_third_version_reads_the_same(place: Place) {
    let store = filled(&place).await;
    let (session, policy) = (GroupId::session(), Policy::default());
    let all = store.overview().await.expect("an overview");
    let seen: Vec<_> =
        all.jobs.iter().map(|job| (job.state, job.verdict, job.priority, job.position)).collect();
    assert_eq!(
        seen,
        [
            (JobState::Active, None, 2, 4),
            (JobState::Done, Some(Verdict::Passed), 0, 1),
            (JobState::Done, Some(Verdict::Errored), 0, 2),
            (JobState::Cancelled, None, 0, 3),
            (JobState::Queued, None, -1, 5),
        ]
    );
    assert!(all.jobs.iter().all(|job| job.group == session && job.version == 1 && job.created == job.since));
    assert!(all.jobs.iter().all(|job| job.source.is_some() && !job.is_deleted && !job.is_paused));
    assert_eq!((all.jobs[1].forgiven, all.jobs[3].is_withdrawn), (1, true));
    let asked: Vec<bool> = all.jobs.iter().map(|job| job.is_asked).collect();
    assert_eq!(asked, [false, false, false, false, true], "what waits and was forgiven was asked for again");
    assert_eq!(all.jobs[4].waits.as_deref(), Some("it waits"));
    assert_eq!((all.runs.len(), all.issues.len(), all.outbox.len()), (3, 1, 1));
    assert_eq!(all.outbox[0].progress.as_deref(), Some("half"));
    let (one, other) = (&all.hosts[0], &all.hosts[1]);
    assert_eq!((one.label().as_str(), one.macs.len(), one.told_macs.len()), ("r1 (192.0.2.1)", 1, 1));
    assert_eq!((one.labels.len(), one.is_accepted, one.is_paused, one.version), (0, false, false, 1));
    assert_eq!(other.shared.as_deref(), Some("why"));

    // Page by page, as people see it.
    let history = store.history(&HistoryFilter::all(session.clone()), None, 10).await.expect("a history");
    let over: Vec<_> = history.iter().map(|past| (past.job.since, past.runs.len())).collect();
    assert_eq!(over, [(second(6), 1), (second(5), 1), (second(4), 0)]);
    for (ended, count) in [(Ended::Completed, 1), (Ended::Failed, 1), (Ended::Cancelled, 1)] {
        let filter = HistoryFilter { ended: vec![ended], ..HistoryFilter::all(session.clone()) };
        assert_eq!(store.history(&filter, None, 10).await.expect("a history").len(), count, "{ended:?}");
        assert_eq!(store.history_count(&filter).await.expect("a count"), count as u64, "{ended:?}");
    }
    let open = store.queue(&QueueFilter::all(session.clone()), None, 10, &policy).await.expect("a queue");
    assert_eq!(open.jobs.iter().map(|job| job.priority).collect::<Vec<_>>(), [2, -1]);
    let runs = store.runs(&RunFilter::default(), None, 2).await.expect("runs");
    let after = RunKeyset::from(&runs[1].run);
    let rest = store.runs(&RunFilter::default(), Some(&after), 2).await.expect("runs");
    let states: Vec<_> = runs.iter().chain(&rest).map(|with| with.run.state).collect();
    assert_eq!(states, [RunState::Booting, RunState::Failed, RunState::Finished]);
    let named = store.run_named(rest[0].run.id.public_name()).await.expect("an answer").expect("a run");
    assert_eq!((named.run.reports, named.host.id), (2, one.id));
    let filter = ReportFilter { group: Some(session.clone()), host: Some(one.id), ..ReportFilter::default() };
    let reports = store.reports(&filter, None, 1).await.expect("reports");
    assert_eq!(
        (reports[0].title.as_str(), reports[0].is_late, reports[0].job),
        ("second", true, named.job.id)
    );
    let rest = store.reports(&filter, Some(&ReportKeyset::from(&reports[0])), 1).await.expect("reports");
    assert_eq!(rest[0].issue.as_ref().map(|issue| issue.number), Some(7));
    let workloads = store.workloads(&WorkloadFilter::default(), None, 1).await.expect("workloads");
    assert_eq!((workloads[0].name.as_str(), workloads[0].first_seen), ("b.efi", second(8)));
    let after = WorkloadKeyset::from(&workloads[0]);
    let rest = store.workloads(&WorkloadFilter::default(), Some(&after), 9).await.expect("workloads");
    assert_eq!((rest[0].terms.retries, rest[0].terms.labels.len(), rest[0].is_offered), (Some(3), 1, true));
    assert_eq!(store.events_after(0, 10).await.expect("events").len(), 2);
    assert_eq!(store.timeline(named.job.id, 10).await.expect("a timeline").len(), 2);
    store.close().await;
}

async fn decide<T>(
    store: &Store,
    focus: Focus,
    mut decision: impl FnMut(Snapshot, &mut Context<'_>) -> Outcome<T>,
) -> T {
    let policy = Policy::default();
    let mut count = 0;
    let decided = store.decide(focus, &policy, |snapshot| {
        let mut random = || {
            count += 1;
            [count; 10]
        };
        decision(snapshot, &mut Context { now: second(8), random: &mut random })
    });
    decided.await.expect("decided")
}

async fn what_a_session_left_at_the_third_version_goes_on(place: Place) {
    let store = filled(&place).await;
    let who = at(1);
    let run: RunId = id!("8304").parse().expect("an id");
    let told = Told::default();
    let started =
        decide(&store, Focus::host(&who), |snapshot, context| snapshot.start(&who, &told, context)).await;
    assert_eq!(started, Ok(run), "its run is still its own");
    let report =
        NewReport { digest: "d3".into(), title: "third".into(), json: "{}".into(), verdict: Verdict::Failed };
    let reported = decide(&store, Focus::host(&who), |snapshot, context| {
        snapshot.report(&who, &told, None, report.clone(), context)
    });
    assert!(reported.await.is_ok());
    let none = std::collections::BTreeMap::new();
    let offer =
        decide(&store, Focus::host(&who), |snapshot, context| snapshot.ask(&who, Ask::Get, &none, context));
    assert!(matches!(offer.await, Offer::Idle(_)), "what waits is for a host with another label");
    let job = store.run_named(run.public_name()).await.expect("an answer").expect("a run").job;
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Failed)));
    let failed = HistoryFilter { ended: vec![Ended::Failed], ..HistoryFilter::all(GroupId::session()) };
    let latest = store.history(&failed, None, 1).await.expect("a history");
    assert_eq!(latest[0].job.id, job.id);
    // The effects and events of before come first.
    let waiting = store.waiting_effects(Lane::Files, 10).await.expect("effects");
    assert_eq!((waiting.len(), waiting[0].attempts), (2, 3));
    assert!(store.events_after(2, 100).await.expect("events").len() > 2);
    assert_eq!(store.history_count(&failed).await.expect("a count"), 2, "and that of before");
    let retried = decide(&store, Focus::job(job.id), |snapshot, context| {
        snapshot.retry(job.id, None, None, context.now)
    });
    assert_eq!(retried.await, Ok(()));
    assert_eq!(store.history_count(&failed).await.expect("a count"), 1);
    store.close().await;
}

/// Two groups, and what is in one of them, as the fourth version wrote it.
const FOURTH: &str = concat!(
    "INSERT INTO job_groups (id, kind, name, labels, paused, draining, in_config, place, version, created, updated) VALUES
     ('lab', 'metal', 'Lab', '[\"big\"]', 1, 0, 1, 0, 3, 1, 2), ('old', 'metal', 'Old', '[]', 0, 1, 0, 1, 1, 1, 2);
    INSERT INTO hosts (id, address, epoch, first_seen, last_seen, host_key, title, labels, accepted, paused, version)
     VALUES ('", id!("8001"), "', '192.0.2.1', 1, 1, 2, 'r1', 'One', '[\"big\"]', 1, 1, 5);
    INSERT INTO workloads (id, name, kind, size, modified, reboots, source, grp, offered, queued_for, first_seen) VALUES
     ('", id!("8101"), "', 'a.efi', 'efi', 10, 7000000, 0, 's', 'lab', 1, '[\"\"]', 7000000);
    INSERT INTO jobs (id, name, workload, priority, position, state, verdict, since, grp, version, created, created_by,
     source, inputs, labels, required_labels, pin, dedupe_key, paused, auto_requeue, requeue_limit, requeue_count) VALUES
     ('", id!("8201"), "', 'a.efi', '", id!("8101"), "', 0, 1, 'done', 'unjudged', 5000000, 'lab', 4, 1000000, 'me', NULL,
      '{\"x\":\"y\"}', '{\"os\":\"linux\"}', '[\"host:r1\"]', 'host:r1', 'key', 0, 0, NULL, 0),
     ('", id!("8202"), "', 'a.efi', '", id!("8101"), "', 0, 2, 'queued', NULL, 6000000, 'lab', 1, 1000000, 'me', NULL,
      '{}', '{\"os\":\"linux\"}', '[]', NULL, 'key', 1, 1, 7, 2);
    INSERT INTO job_labels (job, name, value) VALUES ('", id!("8201"), "', 'os', 'linux'),
     ('", id!("8202"), "', 'os', 'linux');
    INSERT INTO runs (id, job, host, workload, epoch, attempt, state, active, verdict, created, since, size, transfer,
     transfers, sent, most_sent, broken, wholes, reboots, reboots_allowed, reports, disputed) VALUES
     ('", id!("8301"), "', '", id!("8201"), "', '", id!("8001"), "', '", id!("8101"), "', 1, 1, 'finished', 0, 'unjudged',
      4000000, 5000000, 10, 'whole', 1, 10, 10, 0, 1, 0, 0, 1, 0);
    INSERT INTO reports (id, run, at, late, digest, title, verdict, content) VALUES
     ('", id!("8401"), "', '", id!("8301"), "', 4600000, 0, 'd1', 'first', 'unjudged', '{}');"
);

async fn reads_as_the_fourth_wrote_it(store: &Store) {
    let (lab, policy): (GroupId, _) = ("lab".parse().expect("an id"), Policy::default());
    let groups = store.look(Focus::default(), &policy, |snapshot| snapshot.groups).await.expect("a look");
    let seen: Vec<_> =
        groups.iter().map(|group| (group.is_paused, group.is_draining, group.in_config)).collect();
    assert_eq!(seen, [(true, false, true), (false, true, false)]);
    let labels = vec![("os".to_owned(), "linux".to_owned())];
    let filter = QueueFilter { labels: labels.clone(), ..QueueFilter::all(lab.clone()) };
    let open = store.queue(&filter, None, 10, &policy).await.expect("a queue");
    let job = &open.jobs[0];
    assert_eq!((open.jobs.len(), job.is_paused, job.requeue_count, job.requeue_limit), (1, true, 2, Some(7)));
    assert_eq!((job.dedupe_key.as_deref(), job.created_by.as_deref()), (Some("key"), Some("me")));
    let labels = labels.into_iter().collect();
    let filter = HistoryFilter { group: lab.clone(), ended: vec![Ended::Completed], labels };
    let over = store.history(&filter, None, 10).await.expect("a history");
    let past = &over[0];
    assert_eq!((over.len(), past.runs.len(), past.job.pin.as_deref()), (1, 1, Some("host:r1")));
    let host = past.host.as_ref().expect("a host");
    assert_eq!((host.is_accepted, host.is_paused, host.version), (true, true, 5));
    let runs = RunFilter { group: Some(lab.clone()), ..RunFilter::default() };
    assert_eq!(store.runs(&runs, None, 10).await.expect("runs").len(), 1);
    let reports = ReportFilter { group: Some(lab), job: Some(past.job.id), ..ReportFilter::default() };
    assert_eq!(store.reports(&reports, None, 10).await.expect("reports").len(), 1);
    let none = RunFilter { group: Some(GroupId::session()), ..RunFilter::default() };
    assert!(store.runs(&none, None, 10).await.expect("runs").is_empty());
    // The key is taken, and counts.
    let taken = place_of(store).await;
    assert_eq!(taken, 1);
}

/// How many jobs that are not over have the dedupe key.
async fn place_of(store: &Store) -> usize {
    let dedupe = vec![("lab".parse().expect("an id"), "key".to_owned())];
    let focus = Focus { dedupe, ..Focus::default() }.within(dispatch_store::Scope::Active);
    store.look(focus, &Policy::default(), |snapshot| snapshot.jobs.len()).await.expect("a look")
}

async fn the_fifth_migration_keeps_groups_templates_and_labels(place: Place) {
    let mut connection = database(&place, "0004_groups.sql").await;
    connection.execute(FOURTH).await.expect("filled");
    connection.close().await.expect("closed");
    let store = place.store().await;
    reads_as_the_fourth_wrote_it(&store).await;
    let now = second(5);
    let session = Session {
        token: "t".into(),
        username: "me".into(),
        seal: "s".into(),
        created: now,
        expires: second(9),
    };
    store.add_session(&session).await.expect("there is a table for it");
    assert!(store.session("t", now).await.expect("an answer").is_some());
    store.close().await;
}

async fn the_sixth_migration_keeps_sessions_and_gives_runs_and_reports_their_groups(place: Place) {
    let mut connection = database(&place, "0005_access.sql").await;
    connection.execute(FOURTH).await.expect("filled");
    let session =
        "INSERT INTO sessions (token, username, seal, created, expires) VALUES ('t', 'me', 's', 1, 9000000)";
    connection.execute(session).await.expect("filled");
    connection.close().await.expect("closed");
    let store = place.store().await;
    reads_as_the_fourth_wrote_it(&store).await;
    let found = store.session("t", second(5)).await.expect("an answer").expect("a session");
    assert_eq!((found.username.as_str(), found.seal.as_str()), ("me", "s"));
    store.close().await;
}
