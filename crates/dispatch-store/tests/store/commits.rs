//! Whoever waits for a decision may leave at any moment: a host hangs up, a request takes too long.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dispatch_core::run::Policy;
use dispatch_core::{Change, Outcome, Snapshot};
use dispatch_store::Focus;

use crate::lab::Lab;
use crate::place::Place;

on_both![what_was_committed_is_told_however_early_whoever_wished_it_has_left];

const SOON: Duration = Duration::from_secs(20);

/// How often somebody leaves, at the most.
const TRIES: u32 = 2000;

/// Waits until this is over, or has been looked at so often.
async fn at_most<T>(looks: u32, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), looks);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        let polled = future.as_mut().poll(context).map(Some);
        if polled.is_pending() && left == 0 { Poll::Ready(None) } else { polled }
    })
    .await
}

async fn what_was_committed_is_told_however_early_whoever_wished_it_has_left(place: Place) {
    let mut lab = Lab::new(place, &["a.efi"]).await;
    lab.ask(1).await;
    let events = lab.store.events_after(0, 1).await.expect("events");
    let event = events[0].event.clone();
    let append = |_: Snapshot| Outcome { answer: (), changes: vec![Change::Event(Box::new(event.clone()))] };
    let nothing = |_: Snapshot| Outcome { answer: (), changes: Vec::new() };
    let policy = Policy::default();
    let mut newest = lab.store.watch_events();
    let (mut looks, mut left_in_commit, mut before) = (1, 0, *newest.borrow());
    for _ in 0..TRIES {
        let decided = at_most(looks, lab.store.decide(Focus::default(), &policy, append)).await;
        // Whoever decides next waits until the one before is done.
        lab.store.decide(Focus::default(), &policy, nothing).await.expect("decided");
        let last = lab.store.events_after(before, 10).await.expect("events").last().map(|event| event.seq);
        let last = last.unwrap_or(before);
        let told = tokio::time::timeout(SOON, newest.wait_for(|seq| *seq == last)).await;
        assert!(told.is_ok(), "after {looks} looks");
        // How often it is looked at changes a little: the commit is there or thereabouts.
        if let Some(decided) = decided {
            decided.expect("decided");
            looks -= 1;
        } else {
            left_in_commit += u32::from(last > before);
            looks += 1;
        }
        if left_in_commit == 3 {
            return;
        }
        before = last;
    }
    panic!("nobody has left during a commit");
}
