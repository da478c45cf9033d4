//! The real clock, the real random source.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_server::clock::{Clock, Random};
use jiff::Timestamp;

/// The longest sleep at a stretch: the system's clock may be set while we sleep.
const STRETCH: Duration = Duration::from_secs(10);

/// The system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            while let Ok(left) = Duration::try_from(at.duration_since(self.now()))
                && !left.is_zero()
            {
                tokio::time::sleep(left.min(STRETCH)).await;
            }
        })
    }
}

/// The time, for the `Date` of an HTTP answer.
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// The system's random source.
pub(crate) fn random() -> Random {
    Arc::new(|| {
        let mut bytes = [0; 10];
        #[expect(clippy::disallowed_methods, reason = "this is the source that everything else is given")]
        #[expect(
            clippy::expect_used,
            reason = "without randomness no identifier is safe: nothing may go on"
        )]
        getrandom::fill(&mut bytes).expect("the system's random source works");
        bytes
    })
}

/// Each client takes a descriptor, and the usual limit of 1024 is there for programs that use `select`.
pub(crate) fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With fewer, the listener says so when it runs out.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(65_536), hard);
    }
}
