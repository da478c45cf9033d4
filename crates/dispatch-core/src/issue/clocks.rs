//! GitHub's clock and ours, of which either may be wrong, and ours may be set at any time.

use std::time::Duration;

use jiff::Timestamp;

use super::filing::earlier;

/// For how long nobody has to ask again what GitHub's clock shows: the more time has passed, the more there is to be
/// listed when an answer is lost.
const RECENT: Duration = Duration::from_mins(5);

/// How wrong a clock may be that nobody has compared with GitHub's.
const UNCOMPARED: Duration = Duration::from_hours(24);

/// What the two clocks showed when GitHub answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// GitHub's, as it said.
    pub theirs: Timestamp,
    /// Ours.
    pub ours: Timestamp,
}

impl Heard {
    /// Whether it will do as the time of what is asked `now`, by our clock. After a clock was set it will not.
    #[must_use]
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.ours).unsigned_abs() <= RECENT
    }

    /// A time by GitHub's clock that is not after what is asked `now`, by our clock. It is what GitHub said, and not what
    /// our clock makes of it: that may have been set since then.
    #[must_use]
    pub fn no_later_than(heard: Option<Self>, now: Timestamp) -> Timestamp {
        heard.map_or_else(|| earlier(now, UNCOMPARED), |heard| heard.theirs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn a_clock_that_was_set_is_compared_again() {
        let heard = Heard { theirs: at(5000), ours: at(100_000) };
        assert!(heard.is_recent(at(100_300)) && heard.is_recent(at(99_700)));
        assert!(!heard.is_recent(at(100_301)) && !heard.is_recent(at(99_699)));
    }

    proptest! {
        #[test]
        fn no_step_of_our_clock_makes_githubs_time_later(heard in 0..10_000_i64, ours in 0..10_000_i64, step in -5000..5000_i64) {
            let known = Heard { theirs: at(heard), ours: at(ours) };
            prop_assert_eq!(Heard::no_later_than(Some(known), at(ours + step)), at(heard));
        }
    }
}
