//! A queue of a hundred thousand jobs: a host that asks is answered as quickly as by a short one, and does not starve
//! behind what is for others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch_core::group::{Group, GroupKind};
use dispatch_core::queue::{Ask, Context, Offer};
use dispatch_core::run::Policy;
use dispatch_core::{Sighting, SourceId};
use dispatch_store::{Focus, Scope, Store};
use jiff::Timestamp;

use crate::lab::at;
use crate::place::Place;

on_both![
    a_host_does_not_starve_behind_thousands_of_jobs_for_others,
    the_first_of_a_hundred_thousand_is_found_at_once
];

const SOME: u32 = 100_000;

fn policy() -> Policy {
    let group = Group {
        sources: vec![SourceId::new("s")],
        ..Group::new("g".parse().expect("an id"), GroupKind::Metal)
    };
    Policy { groups: Some(Arc::from(vec![group])), ..Policy::default() }
}

/// Many jobs that want these labels, and a last one that wants none.
async fn fill(place: &Place, labels: &str) -> Store {
    let store = place.store().await;
    place
        .execute(
            "INSERT INTO workloads (id, name, kind, size, modified, reboots, source, grp) \
             VALUES ('018bcfe5-6800-7000-8000-000000000001', 'w', 'efi', 1000, 0, 0, 's', 'g')",
        )
        .await
        .expect("a workload");
    let insert = |labels: &str, numbers: &str| {
        let pin = if labels == "[]" { "NULL" } else { "'host:other'" };
        format!(
            "INSERT INTO jobs (id, name, workload, priority, position, state, since, grp, required_labels, pin) \
             SELECT '018bcfe5-6800-7000-8000-' || SUBSTR('' || (100000000000 + n), 1, 12), 'j' || n, \
             '018bcfe5-6800-7000-8000-000000000001', 0, n, 'queued', 0, 'g', '{labels}', {pin} FROM ({numbers}) AS numbers"
        )
    };
    let many = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {SOME}) \
         SELECT n FROM numbers"
    );
    place.execute(&insert(labels, &many)).await.expect("jobs");
    place.execute(&insert("[]", &format!("SELECT {} AS n", SOME + 1))).await.expect("a job");
    place.execute("ANALYZE").await.expect("statistics");
    store
}

async fn ask(store: &Store, who: &Sighting) -> Offer {
    let now = Timestamp::from_second(1_700_000_000).expect("a time");
    let std::net::IpAddr::V4(address) = who.address else { panic!("an address") };
    let mut random = || [address.octets()[3]; 10];
    store
        .decide(Focus::host(who).within(Scope::Candidates), &policy(), |snapshot| {
            let mut context = Context { now, random: &mut random };
            snapshot.ask(who, Ask::Head, &BTreeMap::new(), &mut context)
        })
        .await
        .expect("an answer")
}

async fn given(store: &Store) -> BTreeSet<String> {
    let jobs = |snapshot: dispatch_core::Snapshot| snapshot.jobs.iter().map(|job| job.name.clone()).collect();
    store.look(Focus::default().within(Scope::Active), &policy(), jobs).await.expect("a look")
}

async fn a_host_does_not_starve_behind_thousands_of_jobs_for_others(place: Place) {
    let store = fill(&place, "[\"host:other\"]").await;
    assert!(matches!(ask(&store, &at(1)).await, Offer::Image { .. }));
    assert_eq!(given(&store).await, BTreeSet::from([format!("j{}", SOME + 1)]));
}

async fn the_first_of_a_hundred_thousand_is_found_at_once(place: Place) {
    let store = fill(&place, "[]").await;
    let loaded = |snapshot: dispatch_core::Snapshot| snapshot.jobs.len();
    let focus = Focus::host(&at(1)).within(Scope::Candidates);
    let loaded = store.look(focus, &policy(), loaded).await.expect("a look");
    assert!(loaded < 10, "{loaded} jobs are loaded");
    ask(&store, &at(2)).await;
    assert!(matches!(ask(&store, &at(1)).await, Offer::Image { .. }));
    assert_eq!(given(&store).await, BTreeSet::from(["j1".to_owned(), "j2".to_owned()]));
}
