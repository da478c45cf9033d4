//! Lists: their pages, and how the engines find them.

use std::collections::BTreeMap;

use dispatch_core::queue::stats::Ended;
use dispatch_core::{GroupId, HostId, RunId, RunState, Verdict, WorkloadId};
use dispatch_store::reads::{
    HistoryFilter, HistoryKey, HostKeyset, ReportFilter, ReportKeyset, RunFilter, RunKeyset, Statement,
    last_results_statement, results_statement,
};
use dispatch_store::{Focus, Store};

use crate::lab::Lab;
use crate::place::Place;

on_both![
    a_run_is_found_by_its_public_name_and_listed_once,
    runs_of_an_older_program_get_their_public_names,
    the_third_page_of_a_history_does_not_repeat_the_second,
    a_history_is_narrowed_by_how_jobs_ended_and_by_all_of_their_labels,
    the_latest_result_on_each_host_is_found,
    of_a_hundred_thousand_jobs_no_list_is_read_from_its_beginning,
];

fn session() -> GroupId {
    GroupId::session()
}

async fn a_run_is_found_by_its_public_name_and_listed_once(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi", "c.efi"]).await;
    let mut made = Vec::new();
    for host in 1..=3 {
        made.push(lab.boot(host).await.public_name());
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = lab.store.runs(&RunFilter::default(), after.as_ref(), 1).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(RunKeyset::from(&last.run));
        seen.extend(page.iter().map(|with| with.run.id.public_name()));
    }
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
    for name in made {
        let found = lab.store.run_named(name).await.expect("an answer").expect("a run");
        assert_eq!((found.run.id.public_name(), found.run.job), (name, found.job.id));
        assert_eq!(lab.store.run_id(name).await.expect("an answer"), Some(found.run.id));
        let timeline = lab.store.run_timeline(found.run.id, 0, 100).await.expect("a timeline");
        assert!(timeline.len() > 3 && timeline.is_sorted_by_key(|stored| stored.seq), "{timeline:?}");
    }
    let other = RunFilter { verdict: Some(Verdict::Passed), ..RunFilter::default() };
    assert!(lab.store.runs(&other, None, 10).await.expect("a page").is_empty());
    let booting =
        RunFilter { state: Some(RunState::Booting), group: Some(session()), ..RunFilter::default() };
    assert_eq!(lab.store.runs(&booting, None, 10).await.expect("a page").len(), 3);
    let counts = lab.store.counts().await.expect("counts");
    assert_eq!(counts[&session()].runs[&RunState::Booting], 3);
}

async fn runs_of_an_older_program_get_their_public_names(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let name = lab.boot(1).await.public_name();
    lab.place.execute("UPDATE runs SET public_name = NULL").await.expect("as it was");
    assert!(lab.store.run_named(name).await.expect("an answer").is_none());
    let lab = lab.restart().await;
    assert!(lab.store.run_named(name).await.expect("an answer").is_some());
}

/// Jobs that are over, in a group: of each number, its identifier ends with it, and it was over at that second divided by
/// three, so that several are of one moment.
async fn over(lab: &Lab, group: &str, numbers: std::ops::RangeInclusive<u32>, ended: &str) {
    let (from, to) = numbers.into_inner();
    let (state, verdict) = match ended {
        "cancelled" => ("cancelled", "NULL"),
        "completed" => ("done", "'passed'"),
        _ => ("done", "'failed'"),
    };
    let hex = if lab.place.is_postgres() { "lpad(to_hex(i), 12, '0')" } else { "printf('%012x', i)" };
    let statement = format!(
        "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) \
         INSERT INTO jobs (id, name, workload, priority, position, state, verdict, since, created, grp, ended) \
         SELECT '01890a5d-ac96-774b-bcce-' || {hex}, 'a.efi', (SELECT MIN(id) FROM workloads), 0, i, '{state}', \
         {verdict}, CAST(i / 3 AS BIGINT) * 1000000, 0, '{group}', '{ended}' FROM n"
    );
    lab.place.execute(&statement).await.expect("filled");
    let statement = format!(
        "INSERT INTO history_counts (grp, ended, jobs) VALUES ('{group}', '{ended}', {}) \
         ON CONFLICT (grp, ended) DO UPDATE SET jobs = history_counts.jobs + excluded.jobs",
        to - from + 1
    );
    lab.place.execute(&statement).await.expect("counted");
}

async fn the_third_page_of_a_history_does_not_repeat_the_second(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    over(&lab, "g", 1..=25, "completed").await;
    over(&lab, "g", 26..=40, "failed").await;
    over(&lab, "other", 41..=50, "completed").await;
    for ended in [Vec::new(), vec![Ended::Completed, Ended::Failed]] {
        let filter = HistoryFilter { ended, ..HistoryFilter::all("g".parse().expect("an id")) };
        let (mut seen, mut after): (Vec<HistoryKey>, _) = (Vec::new(), None);
        let mut page_number = 0_u32;
        loop {
            let page = lab.store.history(&filter, after.as_ref(), 7).await.expect("a page");
            let Some(last) = page.last() else { break };
            after = Some(HistoryKey::from(&last.job));
            seen.extend(page.iter().map(|past| HistoryKey::from(&past.job)));
            // New ones come while somebody reads.
            page_number += 1;
            let next = 1000 + page_number + 10 * u32::try_from(filter.ended.len()).expect("a few");
            over(&lab, "g", next..=next, "completed").await;
        }
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
        let first: Vec<_> = seen.iter().filter(|key| key.at < 300_000_000).collect();
        assert_eq!(first.len(), 40, "each once, none left out");
    }
}

async fn a_history_is_narrowed_by_how_jobs_ended_and_by_all_of_their_labels(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    over(&lab, "g", 1..=3, "completed").await;
    over(&lab, "g", 4..=5, "failed").await;
    over(&lab, "g", 6..=9, "cancelled").await;
    let job = |number: u32| format!("01890a5d-ac96-774b-bcce-{number:012x}");
    for (number, name, value) in
        [(1, "os", "linux"), (1, "el", "geth"), (2, "os", "linux"), (4, "el", "geth")]
    {
        let statement = format!(
            "INSERT INTO job_labels (job, name, value) VALUES ('{}', '{name}', '{value}')",
            job(number)
        );
        lab.place.execute(&statement).await.expect("labelled");
    }
    let count = async |ended: &[Ended], labels: &[(&str, &str)]| {
        let labels: BTreeMap<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let filter = HistoryFilter { group: "g".parse().expect("an id"), ended: ended.to_vec(), labels };
        let found = lab.store.history(&filter, None, 100).await.expect("a page");
        let count = lab.store.history_count(&filter).await.expect("a count");
        assert_eq!(count, found.len() as u64);
        count
    };
    assert_eq!(count(&[], &[]).await, 9);
    assert_eq!(count(&[Ended::Completed], &[]).await, 3);
    assert_eq!(count(&[Ended::Failed, Ended::Cancelled, Ended::Failed], &[]).await, 6);
    assert_eq!(count(&[], &[("os", "linux")]).await, 2);
    assert_eq!(count(&[], &[("os", "linux"), ("el", "geth")]).await, 1);
    assert_eq!(count(&[Ended::Completed], &[("el", "geth")]).await, 1);
    assert_eq!(count(&[], &[("os", "li\0nux")]).await, 0, "it cannot be");
}

async fn the_latest_result_on_each_host_is_found(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    lab.report(1, "good", Verdict::Passed).await;
    lab.ask(1).await;
    let overview = lab.store.overview().await.expect("an overview");
    let workloads: Vec<WorkloadId> = overview.workloads.iter().map(|workload| workload.id).collect();
    let hosts: Vec<HostId> = overview.hosts.iter().map(|host| host.id).collect();
    let mut cells = lab.store.results(&workloads, &hosts).await.expect("results");
    cells.sort_by_key(|cell| cell.state);
    let shown: Vec<_> = cells.iter().map(|cell| (cell.state, cell.verdict)).collect();
    assert_eq!(shown, [(RunState::Assigned, None), (RunState::Finished, Some(Verdict::Passed))]);
}

/// What goes through a whole table, in the words of either engine.
fn reads_all(line: &str) -> bool {
    let line = line.trim();
    let sqlite = line.starts_with("SCAN ") && !line.contains("INDEX") && !line.contains("CONSTANT");
    let sorts = line.contains("TEMP B-TREE FOR ORDER BY") || line.contains("Sort ");
    sqlite || line.contains("Seq Scan") || sorts
}

pub(crate) async fn assert_found(store: &Store, what: &str, statement: &Statement) {
    let plan = store.plan(statement).await.expect("a plan");
    assert!(!plan.is_empty() && !plan.iter().any(|line| reads_all(line)), "{what}: {plan:#?}");
}

/// A hundred thousand jobs that are over, and ten thousand of all else. Returns a run of a real one.
pub(crate) async fn a_hundred_thousand(lab: &mut Lab) -> RunId {
    let run = lab.boot(1).await;
    lab.report(1, "good", Verdict::Passed).await;
    over(lab, "g", 1..=60_000, "completed").await;
    over(lab, "other", 60_001..=100_000, "failed").await;
    let hex = |number: &str| {
        if lab.place.is_postgres() {
            format!("lpad(to_hex({number}), 12, '0')")
        } else {
            format!("printf('%012x', {number})")
        }
    };
    let (i, columns) =
        (hex("i"), "transfer, transfers, sent, most_sent, broken, wholes, reboots, reboots_allowed, reports");
    let n = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)";
    for statement in [
        format!(
            "{n} INSERT INTO runs (id, public_name, grp, job, host, workload, epoch, attempt, state, active, verdict, \
             created, since, size, {columns}) SELECT '01890a5d-ac96-774b-bcdf-' || {i}, \
             '01890a5d-ac96-574b-bcdf-' || {i}, CASE WHEN i % 50 = 0 THEN 'g' ELSE 'other' END, \
             '01890a5d-ac96-774b-bcce-' || {i}, (SELECT MIN(id) FROM hosts), (SELECT MIN(id) FROM workloads), 1, 1, \
             'finished', 0, 'passed', i, i, 1, 'whole', 1, 1, 1, 0, 1, 0, 0, 1 FROM n"
        ),
        format!(
            "{n} INSERT INTO reports (id, run, at, late, digest, title, verdict, content, grp, job, host) SELECT \
             '01890a5d-ac96-774b-bce0-' || {i}, '01890a5d-ac96-774b-bcdf-' || {i}, i, 0, 'd', 't', 'passed', '{{}}', \
             CASE WHEN i % 50 = 0 THEN 'g' ELSE 'other' END, '01890a5d-ac96-774b-bcce-' || {i}, \
             (SELECT MIN(id) FROM hosts) FROM n"
        ),
        format!(
            "{n} INSERT INTO workloads (id, name, kind, size, modified, reboots, grp, first_seen) SELECT \
             '01890a5d-ac96-774b-bce1-' || {i}, 'w', 'efi', 1, 1, 0, 'other', i FROM n"
        ),
        format!(
            "{n} INSERT INTO hosts (id, address, epoch, first_seen, last_seen) SELECT \
             '01890a5d-ac96-774b-bce2-' || {i}, '192.0.2.1', 0, i, i FROM n"
        ),
        format!(
            "{n} INSERT INTO job_labels (job, name, value) SELECT '01890a5d-ac96-774b-bcce-' || {i}, 'rare', \
             CASE WHEN i % 1000 = 0 THEN 'yes' ELSE 'no' END FROM n"
        ),
        format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
             INSERT INTO events (seq, at, job, run, host, grp, data) SELECT 1000000 + i, i, \
             '01890a5d-ac96-774b-bcce-' || {i}, '01890a5d-ac96-774b-bcdf-' || {i}, '01890a5d-ac96-774b-bce2-' || {i}, \
             CASE WHEN i % 1000 = 0 THEN 'g' ELSE 'other' END, '{{}}' FROM n"
        ),
        "ANALYZE".to_owned(),
    ] {
        lab.place.execute(&statement).await.expect("filled");
    }
    run
}

async fn of_a_hundred_thousand_jobs_no_list_is_read_from_its_beginning(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let run = a_hundred_thousand(&mut lab).await;
    let store = lab.store.clone();
    let found = store.run_named(run.public_name()).await.expect("an answer").expect("a run");
    let group: GroupId = "g".parse().expect("an id");
    let key = RunKeyset { created: 10_000, name: run.public_name() };
    for (what, filter) in [
        ("runs", RunFilter::default()),
        ("runs of a group", RunFilter { group: Some(group.clone()), ..RunFilter::default() }),
        ("runs of a job", RunFilter { job: Some(found.job.id), ..RunFilter::default() }),
        ("runs of a host", RunFilter { host: Some(found.host.id), ..RunFilter::default() }),
        ("runs in a state", RunFilter { state: Some(RunState::Failed), ..RunFilter::default() }),
        ("runs with a verdict", RunFilter { verdict: Some(Verdict::Failed), ..RunFilter::default() }),
    ] {
        assert_found(&store, what, &filter.statement(None, 50)).await;
        assert_found(&store, what, &filter.statement(Some(&key), 50)).await;
    }
    let ids: ReportKeyset =
        ReportKeyset { at: 5000, id: "01890a5d-ac96-774b-bce0-000000000001".parse().expect("an id") };
    for (what, filter) in [
        ("reports", ReportFilter::default()),
        ("reports of a group", ReportFilter { group: Some(group.clone()), ..ReportFilter::default() }),
        ("reports of a host", ReportFilter { host: Some(found.host.id), ..ReportFilter::default() }),
    ] {
        assert_found(&store, what, &filter.statement(Some(&ids), 50)).await;
    }
    let at = HistoryKey { at: 9_000_000_000, id: Some(found.job.id) };
    for (what, ended) in [
        ("history", Vec::new()),
        ("failed ones", vec![Ended::Failed]),
        ("two", vec![Ended::Failed, Ended::Cancelled]),
    ] {
        let filter = HistoryFilter { ended, ..HistoryFilter::all(group.clone()) };
        for statement in filter.statements(Some(&at), 50) {
            assert_found(&store, what, &statement).await;
        }
    }
    let host = HostKeyset { first_seen: 10_000, id: found.host.id };
    assert_found(&store, "hosts", &HostKeyset::statement(Some(&host), 50)).await;
    assert_found(&store, "results", &results_statement(&[found.workload.id], &[found.host.id])).await;
    assert_found(&store, "last results", &last_results_statement(&[found.workload.id])).await;
    let look = store.look(Focus::default(), &dispatch_core::run::Policy::default(), |_| ()).await;
    look.expect("it still works");
}
