//! A session that ends by itself, and what it waits for.

use dispatch_core::queue::Ending as End;
use serde_json::json;

use super::*;
use crate::reconcile::Ending;

/// A rig whose only job is over, with two reports to be filed.
async fn over() -> Rig {
    let rig = Rig::new(Arc::new(Skipping::default()), &["a.efi"]).await;
    for title in ["one", "two"] {
        rig.report(0, &json!({ "title": title, "verdict": "passed" })).await;
    }
    rig.engine.ask(&rig.runs[0].0, Ask::Get).await.expect("a state");
    assert!(!rig.engine.store.has_open_jobs().await.expect("a state"));
    rig
}

#[tokio::test]
async fn a_session_that_starts_long_after_the_last_job_gives_its_reports_their_time() {
    let rig = over().await;
    rig.engine.clock.sleep_until(later(rig.engine.clock.now(), Duration::from_hours(3))).await;
    let now = rig.engine.clock.now();
    let mut ending = Ending::new(rig.engine.clone());
    let End::At(at) = ending.activate(now).await.expect("a state") else { panic!("it waits") };
    assert!(at >= later(now, rig.engine.policy().deadlines.grace), "{at} {now}");
}

#[tokio::test]
async fn a_report_that_is_filed_gives_the_next_one_its_time() {
    let rig = over().await;
    let mut ending = Ending::new(rig.engine.clone());
    let grace = rig.engine.policy().deadlines.grace;
    let before = rig.engine.clock.now();
    let End::At(_) = ending.activate(before).await.expect("a state") else { panic!("it waits") };
    let key = rig.waiting().await[0].key.clone();
    let now = later(before, grace.saturating_sub(Duration::from_secs(1)));
    rig.engine.store.effect_done(&key, now).await.expect("noted");
    assert_eq!(ending.activate(now).await.expect("a state"), End::At(later(now, grace)));
    let End::At(at) = ending.activate(later(now, grace)).await.expect("a state") else { panic!("it waits") };
    assert_eq!(at, later(now, grace), "without progress it ends");
}
