//! A queue on one engine, and the hosts that ask it for work.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dispatch_core::queue::{Ask, Context, Found, NewReport, Offer};
use dispatch_core::run::{End, Policy, RunEvent};
use dispatch_core::{Kind, Mac, Outcome, RunId, Sighting, Snapshot, Terms, Told, Verdict};
use dispatch_store::{Focus, Store, StoreError};
use jiff::Timestamp;

use crate::place::Place;

/// A queue with images, and the hosts that ask for them.
pub(crate) struct Lab {
    pub(crate) place: Place,
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
    pub(crate) seed: u64,
}

impl Lab {
    pub(crate) async fn new(place: Place, images: &[&str]) -> Self {
        let store = place.store().await;
        let now = Timestamp::from_second(1_700_000_000).expect("a time");
        let mut lab = Self { place, store, now, seed: 0 };
        let found: Vec<Found> = images
            .iter()
            .map(|name| Found {
                name: (*name).into(),
                kind: Kind::Efi,
                size: 1000,
                modified: lab.now,
                digest: None,
                origin: None,
                terms: Terms::default(),
            })
            .collect();
        lab.decide(Focus::last_round(), |snapshot, context| snapshot.open(&found, &[], context))
            .await
            .expect("a sync");
        lab
    }

    pub(crate) async fn decide<T>(
        &mut self,
        focus: Focus,
        mut decision: impl FnMut(Snapshot, &mut Context<'_>) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let (seed, now) = (&mut self.seed, self.now);
        let mut random = || {
            *seed += 1;
            let mut bytes = [7; 10];
            bytes[2..].copy_from_slice(&seed.to_be_bytes());
            bytes
        };
        self.store
            .decide(focus, &Policy::default(), |snapshot| {
                decision(snapshot, &mut Context { now, random: &mut random })
            })
            .await
    }

    pub(crate) async fn ask(&mut self, host: u8) -> Offer {
        let who = at(host);
        self.decide(Focus::host(&who), |snapshot, context| {
            snapshot.ask(&who, Ask::Get, &BTreeMap::new(), context)
        })
        .await
        .expect("an answer")
    }

    pub(crate) async fn boot(&mut self, host: u8) -> RunId {
        let Offer::Image { run, .. } = self.ask(host).await else { panic!("no work") };
        let now = self.now;
        let focus = Focus::run(run);
        let transfer =
            self.decide(focus.clone(), |snapshot, _| snapshot.begin(run, 1000, 0, now)).await.expect("begun");
        let transfer = transfer.expect("a transfer");
        let event = RunEvent::Ended { transfer, sent: 1000, count: 1000, end: End::Whole };
        self.decide(focus, |snapshot, _| snapshot.note(run, &event, now)).await.expect("ended");
        let who = at(host);
        let told = Told { uuid: Some("uuid".into()), macs: who.mac.into_iter().collect() };
        self.decide(Focus::host(&who), |snapshot, context| snapshot.start(&who, &told, context))
            .await
            .expect("started")
            .expect("a run")
    }

    pub(crate) async fn report(&mut self, host: u8, text: &str, verdict: Verdict) -> bool {
        let who = at(host);
        let report = NewReport { digest: text.into(), title: text.into(), json: "{}".into(), verdict };
        self.decide(Focus::host(&who), |snapshot, context| {
            snapshot.report(&who, &Told::default(), None, report.clone(), context)
        })
        .await
        .expect("an answer")
        .is_ok()
    }

    pub(crate) async fn restart(self) -> Self {
        self.store.close().await;
        let store = self.place.store().await;
        Self { store, ..self }
    }
}

/// The sighting of a host.
pub(crate) fn at(host: u8) -> Sighting {
    let mac = Mac([0x52, 0x54, 0, 0, 0, host]);
    Sighting { address: IpAddr::from([192, 0, 2, host]), mac: Some(mac), name: None }
}
