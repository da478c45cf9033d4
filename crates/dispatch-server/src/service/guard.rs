//! A service of which a part is gone is none: it would take jobs and never end them. If a part panics, the whole ends in
//! good order, and whoever keeps it running starts it anew.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

/// A part of the service is gone, so that all of it has ended. Nothing is lost: it goes on where it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; dispatch has ended, and goes on from here when it is started again")]
pub struct Fallen(String);

/// Watches over the parts of a service. Cheap to clone.
#[derive(Clone)]
pub(super) struct Guard {
    stop: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Guard {
    /// A guard that ends the service by this.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, why: Arc::default() }
    }

    /// What ends the service.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a part. `name` is what people know it by.
    pub(super) fn over<F: Future<Output = ()>>(
        &self,
        name: &'static str,
        part: F,
    ) -> impl Future<Output = ()> + use<F> {
        let guard = self.clone();
        // A part that has panicked is not touched any more; what it shares with others holds through a panic.
        let part = AssertUnwindSafe(part).catch_unwind();
        async move {
            if part.await.is_err() {
                guard.end(format!("what {name} has failed, which is a defect of dispatch: please report it"));
            }
        }
    }

    /// Ends the service.
    pub(super) fn end(&self, why: String) {
        tracing::error!("{why}");
        // The first is the cause.
        let _ = self.why.set(why);
        self.stop.cancel();
    }

    /// Whether the service has ended as it should.
    pub(super) fn outcome(&self) -> Result<(), Fallen> {
        self.why.get().map_or(Ok(()), |why| Err(Fallen(why.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_ends_the_whole_and_one_that_ends_does_not() {
        let guard = Guard::new(CancellationToken::new());
        guard.over("files reports", async {}).await;
        assert!(!guard.stop().is_cancelled());
        assert_eq!(guard.outcome(), Ok(()));
        guard.over("files reports", async { panic!("as it must not") }).await;
        assert!(guard.stop().is_cancelled());
        guard.end("another".to_owned());
        let why = guard.outcome().expect_err("fallen").to_string();
        assert!(
            why.starts_with("what files reports has failed") && why.contains("goes on from here"),
            "{why}"
        );
    }
}
