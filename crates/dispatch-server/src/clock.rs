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
