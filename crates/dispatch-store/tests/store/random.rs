//! Whatever happens, both engines end in the same state and tell the same story.

use dispatch_core::queue::{Found, NewReport, Offer};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::{Kind, Terms, Told, Verdict};
use dispatch_store::{Cursor, Focus, Lane, StoredEvent};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::lab::{Lab, at};
use crate::place::Place;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    /// It asks, downloads the image to some end, and says that it has started.
    Start(u8, End),
    Report(u8, String, Verdict),
    Cancel(usize),
    Retry(usize),
    Later(u32),
    Effect {
        fails: bool,
    },
    Cursor(Option<i64>),
    Restart,
    Round(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 1_u8..5;
    let verdict = prop_oneof![
        Just(Verdict::Passed),
        Just(Verdict::Failed),
        Just(Verdict::Errored),
        Just(Verdict::Unjudged)
    ];
    let end = prop_oneof![3 => Just(End::Whole), 1 => Just(End::Broken)];
    // All that a text may have: quotes, other alphabets, and what is no letter at all.
    let text = proptest::collection::vec(prop_oneof![3 => any::<char>(), 1 => Just('\0')], 0..6)
        .prop_map(String::from_iter);
    let step = prop_oneof![
        4 => host.clone().prop_map(Step::Ask),
        4 => (host.clone(), end).prop_map(|(host, end)| Step::Start(host, end)),
        4 => (host, text, verdict).prop_map(|(host, text, verdict)| Step::Report(host, text, verdict)),
        1 => (0_usize..6).prop_map(Step::Cancel),
        1 => (0_usize..6).prop_map(Step::Retry),
        2 => (1_u32..100_000).prop_map(Step::Later),
        1 => any::<bool>().prop_map(|fails| Step::Effect { fails }),
        1 => proptest::option::of(0_i64..50).prop_map(Step::Cursor),
        1 => Just(Step::Restart),
        1 => proptest::collection::vec(0_u8..4, 1..4).prop_map(Step::Round),
    ];
    proptest::collection::vec(step, 1..40)
}

impl Lab {
    /// Has it happen. Returns what came of it, as text.
    async fn happen(&mut self, step: &Step) -> String {
        let now = self.now;
        match step {
            Step::Ask(host) => format!("{:?}", self.ask(*host).await),
            Step::Start(host, end) => {
                let Offer::Image { run, .. } = self.ask(*host).await else { return String::new() };
                let focus = Focus::run(run);
                let begun = self.decide(focus.clone(), |snapshot, _| snapshot.begin(run, 1000, 0, now)).await;
                let Some(transfer) = begun.expect("an answer") else { return "no transfer".to_owned() };
                let sent = if *end == End::Whole { 1000 } else { 400 };
                let ended = RunEvent::Ended { transfer, sent, count: sent, end: *end };
                let noted = self.decide(focus, |snapshot, _| snapshot.note(run, &ended, now)).await;
                let who = at(*host);
                let told = Told { uuid: Some(format!("\0{host}")), macs: who.mac.into_iter().collect() };
                let started =
                    self.decide(Focus::host(&who), |snapshot, context| snapshot.start(&who, &told, context));
                format!("{noted:?} {:?}", started.await)
            }
            Step::Report(host, text, verdict) => {
                let who = at(*host);
                let json = serde_json::json!({ "title": text }).to_string();
                let (digest, title) = (format!("{text:?}"), text.clone());
                let report = NewReport { digest, title, json, verdict: *verdict };
                let reported = self.decide(Focus::host(&who), |snapshot, context| {
                    snapshot.report(&who, &Told::default(), None, report.clone(), context)
                });
                format!("{:?}", reported.await)
            }
            Step::Cancel(place) | Step::Retry(place) => {
                let jobs = self.store.overview().await.expect("an overview").jobs;
                let Some(job) = jobs.get(*place).map(|job| job.id) else { return String::new() };
                let done = self.decide(Focus::job(job), |snapshot, _| match step {
                    Step::Cancel(_) => snapshot.cancel(job, "by hand", None, None, now),
                    _ => snapshot.retry(job, None, None, now),
                });
                format!("{:?}", done.await)
            }
            Step::Later(seconds) => {
                self.now += std::time::Duration::from_secs(u64::from(*seconds));
                let now = self.now;
                let ticked = self.decide(Focus::default(), |snapshot, _| snapshot.tick(now));
                format!("{:?}", ticked.await)
            }
            Step::Effect { fails } => {
                let due = self.store.due_effects(Lane::Files, now, 1).await.expect("effects");
                let Some(effect) = due.first() else { return String::new() };
                let done = if *fails {
                    let later = now + std::time::Duration::from_mins(1);
                    self.store.effect_failed(&effect.key, "disk full\0", later).await
                } else {
                    self.store.effect_done(&effect.key, now).await
                };
                format!("{done:?}")
            }
            Step::Cursor(seq) => format!("{:?}", self.store.set_cursor(Cursor::OnEvent, *seq).await),
            Step::Restart => {
                self.store.close().await;
                self.store = self.place.store().await;
                String::new()
            }
            Step::Round(names) => {
                let found = |number: &u8| Found {
                    name: format!("{number}.efi"),
                    kind: Kind::Efi,
                    size: 1000 + u64::from(*number),
                    modified: now,
                    digest: None,
                    origin: None,
                    terms: Terms::default(),
                };
                let found: Vec<Found> = names.iter().map(found).collect();
                let opened =
                    self.decide(Focus::last_round(), |snapshot, context| snapshot.open(&found, &[], context));
                format!("{:?}", opened.await)
            }
        }
    }

    /// Everything that can be seen.
    async fn all(&self) -> (String, Vec<StoredEvent>) {
        let overview = self.store.overview().await.expect("an overview");
        let policy = Policy::default();
        let look = |all| format!("{all:#?}");
        let last_round = self.store.look(Focus::last_round(), &policy, look).await.expect("a look");
        let mut reports = Vec::new();
        for job in &overview.jobs {
            reports.push(self.store.reports_of(job.id).await.expect("reports"));
        }
        let waiting = self.store.waiting_effects(Lane::Files, 1000).await.expect("effects");
        let cursor = self.store.cursor(Cursor::OnEvent).await.expect("a cursor");
        let events = self.store.events_after(0, 10_000).await.expect("events");
        (format!("{overview:#?} {last_round} {reports:#?} {waiting:#?} {cursor:?}"), events)
    }
}

#[test]
fn both_engines_end_in_the_same_state_with_the_same_log() {
    let runtime = Runtime::new().expect("a runtime");
    let config = Config { cases: 8, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let images = ["0.efi", "1.efi", "2.efi"];
            let mut sqlite = Lab::new(Place::sqlite(), &images).await;
            let mut postgres = Lab::new(Place::postgres(), &images).await;
            for step in &steps {
                let (one, other) = (sqlite.happen(step).await, postgres.happen(step).await);
                prop_assert_eq!(one, other, "{:?}", step);
            }
            let (one, other) = (sqlite.all().await, postgres.all().await);
            for (one, other) in one.0.lines().zip(other.0.lines()) {
                prop_assert_eq!(one, other);
            }
            prop_assert_eq!(one.0.len(), other.0.len());
            prop_assert_eq!(one.1, other.1);
            sqlite.store.close().await;
            postgres.store.close().await;
            Ok(())
        })
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
