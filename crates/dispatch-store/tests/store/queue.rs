//! What the rules decide is what the database holds, also after it was closed, and the database refuses what
//! the rules would never decide.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_core::queue::{Ask, Found, Issue, Offer};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::{Effect, Kind, Mac, ReportId, Sighting, Snapshot, Terms, Told, Verdict};
use dispatch_store::{Cursor, Focus, Lane, Refused, Store, StoreError};
use tempfile::TempDir;

use crate::lab::{Lab, at};
use crate::place::Place;

on_both![
    everything_survives_closing_and_opening,
    a_snapshot_is_the_same_before_and_after,
    events_are_numbered_without_gaps_and_tell_the_whole_story,
    an_effect_stays_until_it_is_done,
    what_became_of_the_issues_of_a_round_is_seen,
    a_report_is_found_with_its_run_job_and_host,
    a_job_has_its_own_timeline_and_its_own_reports,
    a_decision_that_fails_commits_nothing,
    the_database_itself_refuses_two_active_runs_of_a_job_or_on_a_host,
    a_state_of_a_newer_version_is_refused_and_says_what_to_do,
    a_host_keeps_its_name_and_all_of_its_macs,
    a_cursor_is_kept_until_it_is_removed,
    a_session_begins_and_ends_without_the_runs_and_reports_of_earlier_rounds,
    whether_jobs_are_left_is_known_without_the_overview,
    forty_thousand_hosts_are_seen_with_their_macs,
    a_host_that_has_the_beginning_of_another_image_gets_no_rest_of_this_one,
    the_cards_of_one_machine_become_one_host,
];

async fn everything_survives_closing_and_opening(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    assert!(lab.report(1, "one", Verdict::Passed).await);
    lab.ask(2).await;
    let before = lab.store.overview().await.expect("an overview");
    let lab = lab.restart().await;
    let after = lab.store.overview().await.expect("an overview");
    assert_eq!((before.jobs, before.runs, before.hosts), (after.jobs, after.runs, after.hosts));
    assert_eq!(after.effects_due, 1);
}

/// What core's rules see after a restart is what they saw before, row for row.
async fn a_snapshot_is_the_same_before_and_after(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    lab.report(1, "one", Verdict::Failed).await;
    let look = |snapshot: Snapshot| format!("{snapshot:?}");
    let focus = Focus::host(&at(1));
    let before = lab.store.look(focus.clone(), &Policy::default(), look).await.expect("a look");
    let lab = lab.restart().await;
    assert_eq!(lab.store.look(focus, &Policy::default(), look).await.expect("a look"), before);
}

async fn events_are_numbered_without_gaps_and_tell_the_whole_story(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    lab.boot(1).await;
    lab.report(1, "one", Verdict::Passed).await;
    lab.ask(1).await;
    let events = lab.store.events_after(0, 100).await.expect("events");
    let numbers: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(events.len()).expect("few")).collect::<Vec<_>>());
    let words: Vec<String> = events
        .iter()
        .map(|event| {
            serde_json::to_value(&event.event).expect("json")["event"].as_str().expect("a word").to_owned()
        })
        .collect();
    assert_eq!(
        words,
        [
            "queued",
            "host-seen",
            "assigned",
            "downloading",
            "downloaded",
            "booting",
            "report",
            "finished",
            "done",
            "drained",
            "idle"
        ]
    );
    assert_eq!(*lab.store.watch_events().borrow(), numbers[numbers.len() - 1]);
    assert_eq!(lab.store.events_after(numbers[2], 2).await.expect("events")[0].seq, numbers[3]);
}

async fn an_effect_stays_until_it_is_done(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    lab.boot(1).await;
    lab.report(1, "one", Verdict::Passed).await;
    let lab = lab.restart().await;
    let due = lab.store.due_effects(Lane::Files, lab.now, 10).await.expect("effects");
    assert_eq!((due.len(), due[0].attempts), (1, 0));

    let later = lab.now + Duration::from_mins(1);
    lab.store.effect_failed(&due[0].key, "disk full", later).await.expect("noted");
    assert!(lab.store.due_effects(Lane::Files, lab.now, 10).await.expect("effects").is_empty());
    assert_eq!(lab.store.next_effect(Lane::Files).await.expect("a time"), Some(later));
    let due = lab.store.due_effects(Lane::Files, later, 10).await.expect("effects");
    assert_eq!(due[0].attempts, 1);

    lab.store.effect_done(&due[0].key, later).await.expect("noted");
    assert!(lab.store.due_effects(Lane::Files, later, 10).await.expect("effects").is_empty());
    assert_eq!(lab.store.next_effect(Lane::Files).await.expect("a time"), None);
}

async fn what_became_of_the_issues_of_a_round_is_seen(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let run = lab.boot(1).await;
    lab.report(1, "one", Verdict::Passed).await;
    lab.report(1, "two", Verdict::Passed).await;
    let report = |effect: &Effect| match effect {
        Effect::WriteReport { report } | Effect::FileIssue { report, .. } => *report,
    };
    let due = lab.store.due_effects(Lane::Files, lab.now, 10).await.expect("effects");
    let reports: Vec<ReportId> = due.iter().map(|due| report(&due.effect)).collect();
    // Both are also to be filed.
    sqlx_execute(
        &lab,
        "INSERT INTO outbox (idempotency_key, effect, at, due, attempts) SELECT 'file-issue:' || id, \
         '{\"effect\":\"file-issue\",\"report\":\"' || id || '\",\"run\":\"' || run || '\",\"repository\":\"o/r\"}', \
         0, 0, 0 FROM reports",
    )
    .await;
    let now = lab.now;
    let effect = |report| Effect::FileIssue { report, run, repository: "o/r".to_owned(), api: None };
    let url = "https://github.test/o/r/issues/7".to_owned();
    let issue = Issue { report: reports[0], repository: "o/r".to_owned(), number: 7, url };
    let filed = issue.clone();
    lab.decide(Focus::run(run), |snapshot, _| {
        snapshot.issue_filed(run, &effect(reports[0]), filed.clone(), Vec::new(), now)
    })
    .await
    .expect("noted");
    lab.decide(Focus::run(run), |snapshot, _| {
        snapshot.issue_refused(run, &effect(reports[1]), reports[1], "it is spam", now)
    })
    .await
    .expect("noted");
    let seen = lab.restart().await.store.overview().await.expect("an overview");
    assert_eq!(seen.issues, [(run, issue)]);
    assert_eq!(seen.refused, [Refused { report: reports[1], run, why: "it is spam".to_owned() }]);
    assert_eq!(seen.outbox.len(), 2, "the files are still to be written");
}

async fn a_report_is_found_with_its_run_job_and_host(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let run = lab.boot(1).await;
    lab.report(1, "one", Verdict::Failed).await;
    let due = lab.store.due_effects(Lane::Files, lab.now, 1).await.expect("effects");
    let Effect::WriteReport { report } = due[0].effect else { panic!("another effect") };
    let stored = lab.store.report(report).await.expect("an answer").expect("a report");
    assert_eq!((stored.run.id, stored.job.name.as_str()), (run, "a.efi"));
    assert_eq!(stored.host.uuid.as_deref(), Some("uuid"));
    assert_eq!(stored.report.content.verdict, Verdict::Failed);
}

async fn a_job_has_its_own_timeline_and_its_own_reports(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    lab.report(1, "one", Verdict::Passed).await;
    lab.report(1, "two", Verdict::Failed).await;
    lab.boot(2).await;
    lab.report(2, "another", Verdict::Passed).await;
    let job = lab.store.overview().await.expect("an overview").jobs[0].id;
    let titles: Vec<String> = lab
        .store
        .reports_of(job)
        .await
        .expect("reports")
        .into_iter()
        .map(|stored| stored.report.content.title)
        .collect();
    assert_eq!(titles, ["one", "two"]);
    let timeline = lab.store.timeline(job, 100).await.expect("a timeline");
    assert!(timeline.iter().all(|stored| stored.event.job.as_ref().is_some_and(|known| known.id == job)));
    assert!(timeline.is_sorted_by_key(|stored| stored.seq) && timeline.len() > 5, "{timeline:?}");
    let latest = lab.store.timeline(job, 2).await.expect("a timeline");
    assert_eq!(latest, timeline[timeline.len() - 2..]);
}

async fn a_decision_that_fails_commits_nothing(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let run = lab.boot(1).await;
    let before = lab.store.overview().await.expect("an overview");
    // Somebody else has taken the host: the lease has another epoch.
    let other = sqlx_execute(&lab, "UPDATE leases SET epoch = epoch + 1").await;
    assert_eq!(other, 1);
    let event = RunEvent::Expired;
    lab.now += Duration::from_secs(200_000);
    let now = lab.now;
    let fenced = lab.decide(Focus::run(run), |snapshot, _| snapshot.note(run, &event, now)).await;
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })), "{fenced:?}");
    let after = lab.store.overview().await.expect("an overview");
    assert_eq!((before.jobs, before.runs), (after.jobs, after.runs));
}

async fn the_database_itself_refuses_two_active_runs_of_a_job_or_on_a_host(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    lab.boot(2).await;
    for column in ["job", "host"] {
        let statement = format!("UPDATE runs SET {column} = (SELECT MIN({column}) FROM runs)");
        assert!(lab.place.execute(&statement).await.is_err(), "{column}");
    }
}

async fn a_state_of_a_newer_version_is_refused_and_says_what_to_do(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    sqlx_execute(
        &lab,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    lab.store.close().await;
    let database = lab.place.database();
    for error in [Store::connect(&database).await.err(), Store::connect_to_read(&database).await.err()] {
        let error = error.expect("refused");
        assert!(matches!(error, StoreError::Newer { version: 9999, .. }), "{error}");
        let instead = if lab.place.is_postgres() { "another database" } else { "--fresh" };
        assert!(error.to_string().contains(instead), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_its_name() {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("dispatch.db");
    std::fs::write(&path, "this is no database, though it is longer than a header would be").expect("a file");
    let error = Store::open(&path).await.expect_err("refused").to_string();
    assert!(error.contains("dispatch.db"), "{error}");
    let missing = Store::open_to_read(&dir.path().join("none.db")).await.expect_err("refused");
    assert!(missing.to_string().contains("no state at"), "{missing}");
}

#[tokio::test]
async fn odd_characters_in_the_path_are_part_of_the_path() {
    let dir = TempDir::new().expect("a folder");
    let folder = dir.path().join("50% off? #1");
    std::fs::create_dir(&folder).expect("a folder");
    Store::open(&folder.join("dispatch.db")).await.expect("a store").close().await;
    assert!(folder.join("dispatch.db").is_file());
}

async fn a_host_keeps_its_name_and_all_of_its_macs(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let macs = |numbers: &[u8]| numbers.iter().map(|n| Mac([2, 0, 0, 0, 0, *n])).collect::<Vec<_>>();
    let mut who = Sighting { name: "r1".parse().ok(), ..at(1) };
    for mac in macs(&[9, 1, 5]) {
        who.mac = Some(mac);
        let asking = who.clone();
        lab.decide(Focus::host(&who), |snapshot, context| {
            snapshot.ask(&asking, Ask::Get, &BTreeMap::new(), context)
        })
        .await
        .expect("an answer");
    }
    let lab = lab.restart().await;
    let hosts = lab.store.overview().await.expect("an overview").hosts;
    assert_eq!(hosts.len(), 1);
    assert_eq!((hosts[0].macs.clone(), hosts[0].label()), (macs(&[9, 1, 5]), "r1 (192.0.2.1)".to_owned()));
}

async fn a_cursor_is_kept_until_it_is_removed(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    assert_eq!(lab.store.cursor(Cursor::OnEvent).await.expect("read"), None);
    for seq in [3, 7] {
        lab.store.set_cursor(Cursor::OnEvent, Some(seq)).await.expect("written");
    }
    let lab = lab.restart().await;
    assert_eq!(lab.store.cursor(Cursor::OnEvent).await.expect("read"), Some(7));
    let events = lab.store.events_after(0, 100).await.expect("events");
    lab.store.set_cursor(Cursor::OnEvent, Some(0)).await.expect("written");
    assert_eq!(lab.store.events_left(Cursor::OnEvent).await.expect("read"), events.len() as u64);
    lab.store.set_cursor(Cursor::OnEvent, None).await.expect("written");
    assert_eq!(lab.store.cursor(Cursor::OnEvent).await.expect("read"), None);
}

async fn a_session_begins_and_ends_without_the_runs_and_reports_of_earlier_rounds(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    for text in ["one", "two"] {
        lab.boot(1).await;
        lab.report(1, text, Verdict::Passed).await;
    }
    lab.ask(1).await;
    let all = |snapshot: &Snapshot| {
        let mut jobs: Vec<_> = snapshot.jobs.iter().map(|job| (job.name.clone(), job.round)).collect();
        jobs.sort();
        (jobs, snapshot.runs.len(), snapshot.workloads.len(), snapshot.reports.len())
    };
    let (a, b) = ("a.efi".to_owned(), "b.efi".to_owned());
    let look = |snapshot: Snapshot| all(&snapshot);
    let whole = lab.store.look(Focus::last_round(), &Policy::default(), look).await.expect("a look");
    assert_eq!(whole, (vec![(a.clone(), 1), (b.clone(), 1)], 2, 2, 2));
    lab.decide(Focus::last_round(), |snapshot, _| snapshot.close()).await.expect("closed");
    // The next round takes only one of them.
    let found = [Found {
        name: b.clone(),
        kind: Kind::Efi,
        size: 1000,
        modified: lab.now,
        digest: None,
        origin: None,
        terms: Terms::default(),
    }];
    lab.decide(Focus::last_round(), |snapshot, context| snapshot.open(&found, &[], context))
        .await
        .expect("opened");
    let part = lab.store.look(Focus::last_round(), &Policy::default(), look).await.expect("a look");
    assert_eq!(part, (vec![(a, 1), (b, 2)], 0, 2, 0), "of each name the newest");
    let hosts = |snapshot: Snapshot| snapshot.hosts.len();
    assert_eq!(lab.store.look(Focus::last_round(), &Policy::default(), hosts).await.expect("a look"), 0);
    sqlx_execute(&lab, "UPDATE hosts SET shared = 'several hosts'").await;
    let marked = lab.store.look(Focus::last_round(), &Policy::default(), hosts).await.expect("a look");
    assert_eq!(marked, 1, "the next round forgets such a mark, wherever it is from");
    sqlx_execute(&lab, "UPDATE hosts SET shared = NULL").await;
    lab.boot(1).await;
    lab.report(1, "good", Verdict::Passed).await;
    let (_, runs, _, reports) =
        lab.store.look(Focus::last_round(), &Policy::default(), look).await.expect("a look");
    assert_eq!((runs, reports), (1, 1));
}

async fn whether_jobs_are_left_is_known_without_the_overview(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    assert!(lab.store.has_open_jobs().await.expect("an answer"));
    lab.boot(1).await;
    lab.report(1, "good", Verdict::Passed).await;
    assert!(lab.store.has_open_jobs().await.expect("an answer"));
    lab.ask(1).await;
    assert!(!lab.store.has_open_jobs().await.expect("an answer"));
}

/// More hosts than one query takes values.
async fn forty_thousand_hosts_are_seen_with_their_macs(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    let numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)";
    let hex = |number: &str, width: u8| {
        if lab.place.is_postgres() {
            format!("lpad(to_hex({number}), {width}, '0')")
        } else {
            format!("printf('%0{width}x', {number})")
        }
    };
    let id = format!("{} || '-0000-7000-8000-000000000000'", hex("i", 8));
    let hosts = format!(
        "{numbers} INSERT INTO hosts (id, address, epoch, first_seen, last_seen) SELECT {id}, '192.0.2.1', 0, i, i FROM n"
    );
    assert_eq!(sqlx_execute(&lab, &hosts).await, 40_000);
    let macs = format!(
        "{numbers} INSERT INTO host_macs (host, mac, seen, place) \
         SELECT {id}, '52:54:00:00:' || {} || ':' || {}, 1, 0 FROM n",
        hex("i / 256", 2),
        hex("i % 256", 2),
    );
    assert_eq!(sqlx_execute(&lab, &macs).await, 40_000);
    let hosts = lab.store.overview().await.expect("an overview").hosts;
    assert_eq!(hosts.len(), 40_000);
    assert!(hosts.iter().all(|host| host.macs.len() == 1));
    // So many behind one address are found as well.
    let who = Sighting { mac: None, ..at(1) };
    let known = lab.store.look(Focus::host(&who), &Policy::default(), |snapshot| snapshot.hosts.len()).await;
    assert_eq!(known.expect("a look"), 40_000);
}

async fn sqlx_execute(lab: &Lab, statement: &str) -> u64 {
    lab.place.execute(statement).await.expect("a statement that works")
}

/// What begins a transfer knows what its host had before, also of a job that is over.
async fn a_host_that_has_the_beginning_of_another_image_gets_no_rest_of_this_one(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    let now = lab.now;
    let Offer::Image { run, .. } = lab.ask(1).await else { panic!("no work") };
    let begun = lab.decide(Focus::run(run), |snapshot, _| snapshot.begin(run, 1000, 0, now)).await;
    let transfer = begun.expect("an answer").expect("a transfer");
    let broken = RunEvent::Ended { transfer, sent: 600, count: 600, end: End::Broken };
    lab.decide(Focus::run(run), |snapshot, _| snapshot.note(run, &broken, now)).await.expect("noted");
    let job = lab.store.overview().await.expect("an overview").runs[0].job;
    let cancelled =
        lab.decide(Focus::job(job), |snapshot, _| snapshot.cancel(job, "by hand", None, None, now)).await;
    cancelled.expect("an answer").expect("cancelled");
    let Offer::Image { run, .. } = lab.ask(1).await else { panic!("no work") };
    let rest = lab.decide(Focus::run(run), |snapshot, _| snapshot.begin(run, 1000, 600, now)).await;
    assert_eq!(rest.expect("an answer"), None);
}

/// A machine with two cards, of which each has asked: what it tells is written for both of the hosts it was taken for.
async fn the_cards_of_one_machine_become_one_host(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.ask(1).await;
    let Offer::Image { run, .. } = lab.ask(2).await else { panic!("no work") };
    let now = lab.now;
    let begun = lab.decide(Focus::run(run), |snapshot, _| snapshot.begin(run, 1000, 0, now)).await;
    begun.expect("an answer").expect("a transfer");
    let (one, other) = (at(1), at(2));
    let cards: Vec<Mac> = [&one, &other].iter().filter_map(|who| who.mac).collect();
    let told = Told { uuid: None, macs: cards.clone() };
    let focus = Focus { cards, ..Focus::host(&other) };
    let started = lab.decide(focus, |snapshot, context| snapshot.start(&other, &told, context)).await;
    assert_eq!(started.expect("an answer"), Ok(run));
    lab.ask(1).await;
    let lab = lab.restart().await;
    let hosts = lab.store.overview().await.expect("an overview").hosts;
    let macs: Vec<usize> = hosts.iter().map(|host| host.macs.len()).collect();
    assert_eq!(macs, [0, 2], "{hosts:?}");
}
