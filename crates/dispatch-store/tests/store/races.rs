//! Several processes on one database: each has a store of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_core::queue::{Ask, Context, Lease, Offer};
use dispatch_core::run::Policy;
use dispatch_core::{Change, Outcome, RunId, Snapshot};
use dispatch_store::{Cursor, Focus, Store, StoreError};
use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::lab::{Lab, at};
use crate::place::Place;

on_both![
    two_processes_give_each_job_to_one_host,
    hosts_that_race_for_one_job_do_not_share_it,
    a_host_that_asks_two_processes_at_once_gets_one_run,
    whoever_reads_the_events_misses_none,
    what_is_seen_of_the_queue_is_of_one_moment,
    a_lease_belongs_to_one_run_until_it_is_let_go,
    processes_that_start_together_bring_the_database_up_to_date_once,
    the_newest_event_never_goes_back,
    who_no_longer_waits_for_a_decision_leaves_nothing_behind,
];

/// A host asks one of the processes for work.
async fn ask(store: Store, host: u8) -> Option<RunId> {
    let who = at(host);
    let mut count = 0_u8;
    let mut random = || {
        count += 1;
        [host, count, 0, 0, 0, 0, 0, 0, 0, 0]
    };
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let policy = Policy::default();
    let asked = store.decide(Focus::host(&who), &policy, |snapshot| {
        snapshot.ask(&who, Ask::Get, &BTreeMap::new(), &mut Context { now, random: &mut random })
    });
    match asked.await.expect("an answer") {
        Offer::Image { run, .. } => Some(run),
        _ => None,
    }
}

/// So many hosts ask two processes at once.
async fn all_ask(lab: &Lab, hosts: &[u8]) -> Vec<RunId> {
    let other = lab.place.store().await;
    let mut asking = JoinSet::new();
    for (number, host) in hosts.iter().enumerate() {
        let store = if number % 2 == 0 { lab.store.clone() } else { other.clone() };
        asking.spawn(ask(store, *host));
    }
    let runs = asking.join_all().await.into_iter().flatten().collect();
    other.close().await;
    runs
}

async fn two_processes_give_each_job_to_one_host(place: Place) {
    let lab = Lab::new(place, &["a.efi", "b.efi", "c.efi", "d.efi", "e.efi", "f.efi"]).await;
    let hosts: Vec<u8> = (1..=12).collect();
    let mut runs = all_ask(&lab, &hosts).await;
    runs.sort();
    let mut known = lab.store.overview().await.expect("an overview").runs;
    known.sort_by_key(|run| run.id);
    assert_eq!(known.iter().map(|run| run.id).collect::<Vec<_>>(), runs);
    let distinct = |mut ids: Vec<String>| {
        ids.sort();
        ids.dedup();
        ids.len()
    };
    assert_eq!(distinct(known.iter().map(|run| run.job.to_string()).collect()), 6);
    assert_eq!(distinct(known.iter().map(|run| run.host.to_string()).collect()), 6);
}

async fn hosts_that_race_for_one_job_do_not_share_it(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    assert_eq!(all_ask(&lab, &[1, 2, 3, 4, 5, 6]).await.len(), 1);
}

async fn a_host_that_asks_two_processes_at_once_gets_one_run(place: Place) {
    let lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    let mut runs = all_ask(&lab, &[1, 1, 1, 1]).await;
    assert_eq!(runs.len(), 4, "each time the same");
    runs.dedup();
    assert_eq!(runs.len(), 1);
    assert_eq!(lab.store.overview().await.expect("an overview").hosts.len(), 1);
}

async fn whoever_reads_the_events_misses_none(place: Place) {
    let lab = Lab::new(place, &["a.efi", "b.efi", "c.efi", "d.efi"]).await;
    let reader = lab.place.store().await;
    let (done, mut is_done) = tokio::sync::oneshot::channel();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut last = 0;
        loop {
            let is_last = is_done.try_recv().is_ok();
            for event in reader.events_after(last, 7).await.expect("events") {
                assert_eq!(event.seq, last + 1, "what was committed later has the larger number");
                last = event.seq;
            }
            if is_last {
                break;
            }
        }
        // The rest of them.
        while let [first, ..] = reader.events_after(last, 1).await.expect("events").as_slice() {
            assert_eq!(first.seq, last + 1);
            last = first.seq;
        }
        reader.close().await;
        last
    });
    let hosts: Vec<u8> = (1..=40).collect();
    all_ask(&lab, &hosts).await;
    done.send(()).expect("a reader");
    let read = reading.join_next().await.expect("a reader").expect("no gap");
    let all = lab.store.events_after(0, 1000).await.expect("events");
    assert_eq!(usize::try_from(read).expect("few"), all.len());
    assert!(read > 40, "{read}");
}

async fn what_is_seen_of_the_queue_is_of_one_moment(place: Place) {
    let lab = Lab::new(place, &["a.efi", "b.efi", "c.efi", "d.efi", "e.efi", "f.efi"]).await;
    let reader = lab.place.store().await;
    let mut asking = JoinSet::new();
    for host in 1..=12 {
        asking.spawn(ask(lab.store.clone(), host));
    }
    while !asking.is_empty() {
        let seen = reader.overview().await.expect("an overview");
        for run in &seen.runs {
            let job = seen.jobs.iter().find(|job| job.id == run.job).expect("its job");
            assert_eq!(job.state, dispatch_core::JobState::Active);
            assert!(seen.hosts.iter().any(|host| host.id == run.host), "its host");
        }
        while asking.try_join_next().is_some() {}
    }
    reader.close().await;
}

async fn a_lease_belongs_to_one_run_until_it_is_let_go(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    let run = lab.boot(1).await;
    let held = lab.store.overview().await.expect("an overview").runs[0].clone();
    let other: RunId = "01890a5d-ac96-774b-bcce-b302099a8999".parse().expect("an id");
    let lease = |run, epoch| Lease { host: held.host, run, epoch, until: Timestamp::UNIX_EPOCH };
    let written = async |change: Change| {
        let decision = |_: Snapshot| Outcome { answer: (), changes: vec![change.clone()] };
        lab.store.decide(Focus::default(), &Policy::default(), decision).await
    };
    for stranger in [lease(other, held.epoch), lease(other, held.epoch + 1), lease(run, held.epoch - 1)] {
        let taken = written(Change::Lease(stranger)).await;
        assert!(matches!(taken, Err(StoreError::Fenced { .. })), "{taken:?}");
        // Nor can it be let go by who does not hold it.
        written(Change::Release(stranger)).await.expect("nothing to do");
    }
    written(Change::Lease(lease(run, held.epoch))).await.expect("renewed");
    written(Change::Release(lease(run, held.epoch))).await.expect("let go");
    written(Change::Lease(lease(other, held.epoch + 1))).await.expect("taken");
    let late = written(Change::Run(held)).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
}

async fn processes_that_start_together_bring_the_database_up_to_date_once(place: Place) {
    let mut starting = JoinSet::new();
    for _ in 0..4 {
        let database = place.database();
        starting.spawn(async move { Store::connect(&database).await });
    }
    for store in starting.join_all().await {
        let store = store.expect("a store");
        assert!(!store.has_open_jobs().await.expect("an answer"));
        store.close().await;
    }
}

async fn the_newest_event_never_goes_back(place: Place) {
    let lab = Lab::new(place, &["a.efi", "b.efi", "c.efi"]).await;
    let mut newest = lab.store.watch_events();
    let mut watching = JoinSet::new();
    watching.spawn(async move {
        let mut last = *newest.borrow_and_update();
        while newest.changed().await.is_ok() {
            let seq = *newest.borrow_and_update();
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
        last
    });
    all_ask(&lab, &[1, 2, 3, 4, 5, 6, 7, 8]).await;
    // Of what another process has done, only PostgreSQL tells.
    ask(lab.store.clone(), 9).await;
    let newest = lab.store.events_after(0, 1000).await.expect("events").len();
    lab.store.close().await;
    drop(lab);
    let last = watching.join_next().await.expect("a watcher").expect("never back");
    assert_eq!(usize::try_from(last).expect("few"), newest);
}

/// As a host that hangs up.
async fn who_no_longer_waits_for_a_decision_leaves_nothing_behind(place: Place) {
    let lab = Lab::new(place, &["a.efi"]).await;
    let other = lab.place.store().await;
    for micros in 0..100 {
        let patience = Duration::from_micros(micros * 20);
        let asking = tokio::time::timeout(patience, ask(lab.store.clone(), 1)).await;
        let cursor = Some(i64::try_from(micros).expect("few"));
        lab.store.set_cursor(Cursor::OnEvent, cursor).await.expect("written");
        let seen = other.cursor(Cursor::OnEvent).await.expect("read");
        assert_eq!(seen, cursor, "after {patience:?}, {asking:?}: the next one is committed");
    }
    other.close().await;
}
