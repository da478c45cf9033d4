//! Real time for the lab, and the only place in it that reads a clock or sleeps.
//!
//! Elsewhere in the project time is an argument; a real firmware cannot be given one.

use std::time::{Duration, Instant};

/// How often a waiting loop looks again.
const POLL: Duration = Duration::from_millis(10);

/// A point in real time until which something is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

#[allow(
    clippy::disallowed_methods,
    reason = "the lab waits for real machines, which no clock of ours can hurry"
)]
impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self { start: Instant::now(), limit }
    }

    /// What is left; zero when it is over.
    #[must_use]
    pub fn left(self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Sleeps a moment before the caller looks again; false, without sleeping, when the deadline is over.
    #[must_use]
    pub fn pause(self) -> bool {
        let left = self.left();
        std::thread::sleep(POLL.min(left));
        !left.is_zero()
    }

    /// How long it was when it was set, for error messages.
    pub(crate) fn limit(self) -> Duration {
        self.limit
    }
}
