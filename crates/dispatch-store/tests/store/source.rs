//! What is loaded to follow a source: what matters of it now, and not all that it ever had.

use std::collections::BTreeSet;

use dispatch_core::queue::{Change, Found, Snapshot};
use dispatch_core::run::Policy;
use dispatch_core::{Outcome, SourceId, Terms, Verdict, Workload, WorkloadId};
use dispatch_store::{Focus, Scope};

use crate::lab::Lab;
use crate::place::Place;

on_both![
    of_the_past_of_a_source_only_what_is_found_is_looked_at,
    where_a_workload_has_come_out_is_known_to_whoever_asks,
];

async fn look(lab: &Lab, focus: Focus) -> Snapshot {
    let focus = focus.within(Scope::Source(SourceId::session()));
    lab.store.look(focus, &Policy::default(), |snapshot| snapshot).await.expect("a look")
}

fn found(known: &Workload) -> Found {
    Found {
        name: known.name.clone(),
        kind: known.kind,
        size: known.size,
        modified: known.modified,
        digest: known.digest,
        origin: None,
        terms: Terms::default(),
    }
}

async fn of_the_past_of_a_source_only_what_is_found_is_looked_at(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    let now = look(&lab, Focus::default()).await.workloads.remove(0);
    let version = |size: u64| Workload {
        id: WorkloadId::new(now.first_seen, [u8::try_from(size).expect("small"); 10]),
        size,
        is_offered: false,
        ..now.clone()
    };
    let changes: Vec<Change> = (1..=50).map(|size| Change::Workload(version(size))).collect();
    lab.decide(Focus::default(), |_, _| Outcome { answer: (), changes: changes.clone() }).await.expect("put");
    let loaded =
        |snapshot: Snapshot| snapshot.workloads.iter().map(|known| known.size).collect::<BTreeSet<u64>>();
    assert_eq!(loaded(look(&lab, Focus::default()).await), [1000].into());
    for (files, sizes) in [
        (vec![found(&now)], vec![1000]),
        (vec![found(&version(7))], vec![7, 1000]),
        (vec![Found { size: 51, ..found(&now) }], vec![1000]),
    ] {
        let focus = Focus { found: files, ..Focus::default() };
        assert_eq!(loaded(look(&lab, focus).await), sizes.into_iter().collect());
    }
    // What waits is known with what it is for, whether that is offered or not.
    let gone = Workload { is_offered: false, ..now.clone() };
    let changes = vec![Change::Workload(gone)];
    lab.decide(Focus::default(), |_, _| Outcome { answer: (), changes: changes.clone() }).await.expect("put");
    let snapshot = look(&lab, Focus::default()).await;
    assert_eq!((snapshot.jobs.len(), loaded(snapshot)), (1, [1000].into()));
}

async fn where_a_workload_has_come_out_is_known_to_whoever_asks(place: Place) {
    let mut lab = Lab::new(place, &["a.efi", "b.efi"]).await;
    lab.boot(1).await;
    lab.boot(2).await;
    let past = async |lab: &Lab| {
        let of = look(lab, Focus::default()).await.workloads;
        let past_of: Vec<WorkloadId> = of.iter().map(|known| known.id).collect();
        let past = look(lab, Focus { past_of, ..Focus::default() }).await.past;
        past.values().map(BTreeSet::len).sum::<usize>()
    };
    assert_eq!(past(&lab).await, 0, "both go on");
    assert!(lab.report(1, "t", Verdict::Passed).await);
    assert_eq!(past(&lab).await, 0, "it may say more");
    lab.now = lab.now.checked_add(std::time::Duration::from_secs(100_000)).expect("a time");
    let now = lab.now;
    lab.decide(Focus::default(), |snapshot, _| snapshot.tick(now)).await.expect("time passes");
    assert_eq!(past(&lab).await, 1, "the other is tried again");
    lab.boot(1).await;
    assert!(lab.report(1, "u", Verdict::Passed).await);
    lab.now = lab.now.checked_add(std::time::Duration::from_secs(100_000)).expect("a time");
    let now = lab.now;
    lab.decide(Focus::default(), |snapshot, _| snapshot.tick(now)).await.expect("time passes");
    assert_eq!(past(&lab).await, 2, "of the host on which it errored nothing is known");
    assert!(look(&lab, Focus::default()).await.past.is_empty(), "nobody asked");
}
