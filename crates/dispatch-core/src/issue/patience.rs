//! How long a session that is done with its jobs waits for what is still to be written and filed.

use std::time::Duration;

use jiff::Timestamp;

use super::filing::later;

/// As long as one effect after the other is settled, everything goes well and is waited for. Without any progress it
/// waits for `grace`, counted from when there could be progress: the session must have started, and the jobs be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// When there was progress last.
    since: Timestamp,
    /// How many effects were left then.
    left: u64,
}

impl Patience {
    /// That of a session that starts now.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self { since: started, left: 0 }
    }

    /// Until when is waited for the effects that are `left`, now that the last job was over at `over`.
    #[must_use]
    pub fn until(&mut self, left: u64, over: Timestamp, grace: Duration, now: Timestamp) -> Timestamp {
        // A clock that was set back must not hold anybody up.
        self.since = self.since.min(now);
        if over <= now {
            self.since = self.since.max(over);
        }
        if left < self.left {
            self.since = now;
        }
        self.left = left;
        later(self.since, grace)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn the_wait_counts_from_the_last_job_or_from_a_start_that_comes_later() {
        assert_eq!(Patience::new(at(0)).until(3, at(500), GRACE, at(510)), at(600));
        assert_eq!(Patience::new(at(9000)).until(3, at(500), GRACE, at(9010)), at(9100));
    }

    #[test]
    fn whatever_is_settled_begins_the_wait_anew() {
        let mut patience = Patience::new(at(0));
        for second in 0..500 {
            let left = 500 - u64::try_from(second).expect("a few");
            assert!(patience.until(left, at(0), GRACE, at(second)) > at(second));
        }
        assert_eq!(patience.until(1, at(0), GRACE, at(550)), at(599));
    }

    proptest! {
        #[test]
        fn whoever_gets_no_further_is_waited_for_no_longer_than_the_grace(
            started in 0..10_000_i64, over in 0..10_000_i64, left in 1..9_u64,
            steps in proptest::collection::vec(-500..500_i64, 1..20),
        ) {
            let mut patience = Patience::new(at(started));
            let mut now = started.max(over);
            let _ = patience.until(left, at(over), GRACE, at(now));
            for step in steps {
                now = (now + step).max(0);
                prop_assert!(patience.until(left, at(over), GRACE, at(now)) <= later(at(now), GRACE));
            }
        }
    }
}
