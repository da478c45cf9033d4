//! However a list of a hundred thousand is narrowed and counted, an index leads to what is asked for.

use std::collections::BTreeMap;

use dispatch_core::group::ListedHost;
use dispatch_core::queue::stats::Ended;
use dispatch_core::queue::{Outlook, Unreadable};
use dispatch_core::{GroupId, RunState, Verdict};
use dispatch_store::reads::{
    Counts, EventFilter, HistoryFilter, HistoryKey, ReportFilter, RunFilter, Statement, WorkloadFilter,
    WorkloadKeyset,
};
use dispatch_store::{Focus, Store};

use crate::lab::{Lab, at};
use crate::place::Place;
use crate::reads::{a_hundred_thousand, assert_found};

on_both![
    of_a_hundred_thousand_jobs_every_filter_finds_its_own_by_an_index,
    events_are_narrowed_in_the_database,
    the_last_results_of_many_workloads_are_those_of_each,
    of_listed_hosts_those_that_never_asked_are_found_at_once,
    a_job_may_say_at_length_why_it_waits,
];

/// That no table is read as a whole, however what is found is put together.
async fn assert_no_scan(store: &Store, what: &str, statement: &Statement) {
    let plan = store.plan(statement).await.expect("a plan");
    let is_scan = |line: &String| {
        let line = line.trim();
        let sqlite = line.starts_with("SCAN ") && !line.contains("INDEX") && !line.contains("CONSTANT");
        // A table with a few rows for each group is read at once.
        (sqlite || line.contains("Seq Scan")) && !line.contains("history_counts")
    };
    assert!(!plan.is_empty() && !plan.iter().any(is_scan), "{what}: {plan:#?}");
}

fn group() -> GroupId {
    "g".parse().expect("an id")
}

fn labels(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("rare".to_owned(), value.to_owned())])
}

async fn of_a_hundred_thousand_jobs_every_filter_finds_its_own_by_an_index(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let run = a_hundred_thousand(&mut lab).await;
    let store = lab.store.clone();
    let found = store.run_named(run.public_name()).await.expect("an answer").expect("a run");
    let (own, name) = (Some(group()), Some("w".to_owned()));
    let after = WorkloadKeyset { first_seen: 5000, id: found.workload.id };
    let all = WorkloadFilter::default();
    for filter in [
        WorkloadFilter { name: name.clone(), ..all.clone() },
        WorkloadFilter { is_offered: Some(false), ..all.clone() },
        WorkloadFilter { group: own.clone(), ..all.clone() },
        WorkloadFilter { group: own.clone(), name: name.clone(), ..all.clone() },
        WorkloadFilter { group: own.clone(), is_offered: Some(false), ..all.clone() },
        WorkloadFilter { group: own.clone(), is_offered: Some(true), name },
    ] {
        assert_found(&store, &format!("{filter:?}"), &filter.statement(None, 50)).await;
        assert_found(&store, &format!("{filter:?}"), &filter.statement(Some(&after), 50)).await;
    }
    for filter in [
        RunFilter { group: own.clone(), state: Some(RunState::Failed), ..RunFilter::default() },
        RunFilter { group: own.clone(), verdict: Some(Verdict::Failed), ..RunFilter::default() },
        RunFilter { host: Some(found.host.id), state: Some(RunState::Failed), ..RunFilter::default() },
    ] {
        assert_no_scan(&store, &format!("{filter:?}"), &filter.statement(None, 50)).await;
    }
    for filter in [
        ReportFilter { group: own.clone(), verdict: Some(Verdict::Failed), ..ReportFilter::default() },
        ReportFilter { job: Some(found.job.id), verdict: Some(Verdict::Failed), ..ReportFilter::default() },
        ReportFilter { run: Some(found.run.id), host: Some(found.host.id), ..ReportFilter::default() },
    ] {
        assert_no_scan(&store, &format!("{filter:?}"), &filter.statement(None, 50)).await;
    }
    let after = HistoryKey { at: 9_000_000_000, id: Some(found.job.id) };
    for ended in [Vec::new(), vec![Ended::Failed], vec![Ended::Failed, Ended::Cancelled]] {
        for carried in [BTreeMap::new(), labels("yes"), labels("no"), labels("never")] {
            let filter = HistoryFilter { group: group(), ended: ended.clone(), labels: carried };
            let pages = [None, Some(&after)].into_iter().flat_map(|after| filter.statements(after, 50));
            for statement in pages {
                assert_no_scan(&store, &format!("{filter:?}"), &statement).await;
            }
            // Of what most of the jobs with labels have, all are looked at, once for the first page.
            for statement in filter.count_statements().iter().filter(|_| filter.labels != labels("no")) {
                assert_no_scan(&store, &format!("the count of {filter:?}"), statement).await;
            }
        }
    }
    for statement in Counts::statements() {
        assert_no_scan(&store, "counts", &statement).await;
    }
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        EventFilter::default(),
        EventFilter { group: text("g"), ..EventFilter::default() },
        EventFilter { job: text(&found.job.id.to_string()), ..EventFilter::default() },
        EventFilter { run: text(&run.public_name().to_string()), ..EventFilter::default() },
        EventFilter { host: text(&found.host.id.to_string()), group: text("g"), ..EventFilter::default() },
    ] {
        assert_found(&store, &format!("{filter:?}"), &filter.statement(7, 100)).await;
    }
    store.close().await;
}

async fn events_are_narrowed_in_the_database(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    let (one, other) = (lab.boot(1).await, lab.boot(2).await);
    lab.report(2, "good", Verdict::Passed).await;
    let all = lab.store.events_after(0, 1000).await.expect("events");
    let found = lab.store.run_named(other.public_name()).await.expect("an answer").expect("a run");
    let of = async |filter: EventFilter, after| {
        let events = lab.store.events_of(&filter, after, 1000).await.expect("events");
        events.iter().map(|stored| stored.seq).collect::<Vec<_>>()
    };
    let text = |text: &dyn ToString| Some(text.to_string());
    let seqs = |wanted: &dyn Fn(&dispatch_core::Event) -> bool| {
        let fit = all.iter().filter(|stored| wanted(&stored.event));
        fit.map(|stored| stored.seq).collect::<Vec<_>>()
    };
    let job = found.job.id;
    let of_job = seqs(&|event| event.job.as_ref().is_some_and(|known| known.id == job));
    assert!(of_job.len() > 3 && of_job.len() < all.len(), "{of_job:?}");
    assert_eq!(of(EventFilter { job: text(&job), ..EventFilter::default() }, 0).await, of_job);
    assert_eq!(of(EventFilter { job: text(&job), ..EventFilter::default() }, of_job[1]).await, of_job[2..]);
    let of_run = seqs(&|event| event.run.as_ref().is_some_and(|known| known.id == other));
    let by_name = EventFilter { run: text(&other.public_name()), ..EventFilter::default() };
    assert_eq!(of(by_name, 0).await, of_run);
    let secret = EventFilter { run: text(&one), ..EventFilter::default() };
    assert!(of(secret, 0).await.is_empty(), "a run's identifier is no name of it");
    let of_host = seqs(&|event| event.host.as_ref().is_some_and(|known| known.id == found.host.id));
    let host = text(&found.host.id);
    assert_eq!(of(EventFilter { host: host.clone(), ..EventFilter::default() }, 0).await, of_host);
    let both = EventFilter { host, job: text(&job), group: text(&"session"), ..EventFilter::default() };
    let in_both: Vec<_> = of_host.into_iter().filter(|seq| of_job.contains(seq)).collect();
    assert_eq!(of(both, 0).await, in_both);
    let nothing = EventFilter { group: text(&"no\0thing"), ..EventFilter::default() };
    assert!(of(nothing, 0).await.is_empty());
}

async fn the_last_results_of_many_workloads_are_those_of_each(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi", "c.efi"]).await;
    for (host, verdict) in [(1, Verdict::Passed), (2, Verdict::Failed)] {
        lab.boot(host).await;
        lab.report(host, "over", verdict).await;
        lab.ask(host).await;
    }
    let all = lab.store.overview().await.expect("an overview");
    let ids: Vec<_> = all.workloads.iter().map(|workload| workload.id).collect();
    let last = lab.store.last_results(&ids).await.expect("results");
    let done: BTreeMap<_, _> =
        all.jobs.iter().filter_map(|job| Some((job.workload, (job.verdict?, job.since)))).collect();
    assert_eq!(done.len(), 2);
    let last: BTreeMap<_, _> = last.into_iter().map(|(id, last)| (id, (last.verdict, last.at))).collect();
    assert_eq!(last, done);
}

async fn of_listed_hosts_those_that_never_asked_are_found_at_once(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    for host in [1, 2] {
        lab.boot(host).await;
    }
    let listed = |key: &str, mac: Option<u8>, name: Option<&str>, uuid: Option<&str>| ListedHost {
        key: key.parse().expect("an id"),
        name: None,
        macs: mac.and_then(|mac| at(mac).mac).into_iter().collect(),
        uuid: uuid.map(str::to_owned),
        boot_name: name.and_then(|name| name.parse().ok()),
        labels: Vec::new(),
    };
    let all = [
        listed("seen", Some(1), None, None),
        listed("never", Some(9), None, None),
        listed("by-uuid", None, None, Some("uuid")),
        listed("by-name", None, Some("r9"), None),
        listed("nothing", None, None, None),
    ];
    let all: Vec<&ListedHost> = all.iter().collect();
    let found = lab.store.not_seen(&all).await.expect("an answer");
    let mut one_by_one = Vec::new();
    for listed in all {
        if lab.store.hosts_listed(listed).await.expect("an answer").is_empty() {
            one_by_one.push(listed);
        }
    }
    assert_eq!(found, one_by_one);
    assert_eq!(
        found.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(),
        ["never", "by-name", "nothing"]
    );
    assert!(lab.store.not_seen(&[]).await.expect("an answer").is_empty());
}

async fn a_job_may_say_at_length_why_it_waits(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let image = lab.store.overview().await.expect("an overview").workloads[0].id;
    // Nothing of it can be made shorter than it is.
    let mut seed = 1_u64;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_u32(0x1_0000 + u32::try_from(seed >> 48).expect("a few bits")).unwrap_or('x')
    };
    let why = Unreadable { why: (0..20_000).map(|_| letter()).collect(), outlook: Outlook::Coming };
    for _ in 0..2 {
        let now = lab.now;
        lab.decide(Focus::default(), |snapshot, _| snapshot.image_waits(&[image], &why, now))
            .await
            .expect("told");
    }
    let all = lab.store.overview().await.expect("an overview");
    assert!(
        all.jobs[0].waits.as_ref().is_some_and(|waits| waits.chars().count() == 400),
        "{:?}",
        all.jobs[0].waits
    );
    let told = lab.store.events_after(0, 100).await.expect("events");
    let told =
        told.iter().filter(|stored| matches!(stored.event.what, dispatch_core::Happening::Waits { .. }));
    assert_eq!(told.count(), 1, "the same is told once");
}
