//! Time and chance, as arguments: the binary has the real ones, tests have their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

/// A clock.
pub trait Clock: Send + Sync + 'static {
    /// The time, in whole microseconds: that is what the store keeps.
    fn now(&self) -> Timestamp;

    /// Waits until it is `at` or later.
    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Where random bytes come from.
pub type Random = Arc<dyn Fn() -> [u8; 10] + Send + Sync>;

#[cfg(test)]
pub(crate) mod testing {
    //! A clock and a random source for tests.

    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

    use super::{Arc, Clock, Future, Pin, Random, Timestamp};

    /// A clock whose hands are moved by the test. Whoever waits for a time waits for ever, or not at all.
    #[derive(Default)]
    pub(crate) struct Hands {
        pub(crate) second: AtomicI64,
        /// Each time that somebody waits for has come.
        pub(crate) is_late: AtomicBool,
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(1_700_000_000 + self.second.load(Ordering::Relaxed)).expect("a time")
        }

        fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            if self.is_late.load(Ordering::Relaxed) {
                Box::pin(std::future::ready(()))
            } else {
                Box::pin(std::future::pending())
            }
        }
    }

    /// Bytes that are never the same twice, and the same in each run of a test.
    pub(crate) fn counting() -> Random {
        let count = AtomicU64::new(0);
        Arc::new(move || {
            let mut bytes = [7; 10];
            bytes[2..].copy_from_slice(&count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        })
    }
}
