//! Time and chance as arguments, so that two hours of retries are tested in a millisecond.

use std::time::Duration;

/// A clock that only goes forward, can be waited for, and has dice. Used by [`crate::call`].
pub trait Clock {
    /// The time since some moment that stays the same while the program runs.
    fn now(&self) -> Duration;

    /// Returns once `time` has passed.
    fn sleep(&self, time: Duration);

    /// Any number, each as likely as the other. Not for secrets.
    fn random(&self) -> u64;
}

/// A span of time in words for people: `90 s`, `2 min`, `1 h 30 min`. Parts of a second are dropped.
#[must_use]
pub fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0 | 1, _) if seconds < 120 => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_fitting_units() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(words(0), "0 s");
        assert_eq!(words(90), "90 s");
        assert_eq!(words(120), "2 min");
        assert_eq!(words(125), "2 min 5 s");
        assert_eq!(words(7200), "2 h");
        assert_eq!(words(5400), "1 h 30 min");
    }
}
