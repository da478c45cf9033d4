//! The time of the fake: real, because the program under test keeps real time as well, and moved where a test says so.

use jiff::{SignedDuration, Timestamp};

/// What time it is on GitHub.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// How far it is ahead of ours.
    pub(super) ahead: SignedDuration,
}

impl Clock {
    /// Now, in whole seconds, as all of GitHub's times are.
    pub(super) fn now(self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the program under test lives in real time")]
        let now = Timestamp::now();
        let moved = now.saturating_add(self.ahead).unwrap_or(now);
        Timestamp::from_second(moved.as_second()).unwrap_or(moved)
    }
}
