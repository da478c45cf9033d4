//! How long to wait before asking again.

use std::time::Duration;

/// Exponential back-off with jitter: each wait is twice the one before, up to a cap, less a random part of
/// up to a half, so that a rack of hosts that lost the same server does not come back as one.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    /// Begins at `first` and never waits longer than `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { next: first.min(cap), cap }
    }

    /// The next wait; `random` decides its jitter.
    pub fn wait(&mut self, random: u64) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.cap);
        let half = whole / 2;
        // The upper half of the number is enough, and makes the product fit.
        let part = u32::try_from(random >> 32).unwrap_or(u32::MAX);
        half + half.mul_f64(f64::from(part) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        let waits: Vec<_> = (0..8).map(|_| backoff.wait(u64::MAX).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
    }

    proptest! {
        #[test]
        fn jitter_takes_away_at_most_half(random: [u64; 12]) {
            let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
            let mut whole = Duration::from_millis(500);
            for number in random {
                let wait = backoff.wait(number);
                prop_assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
                whole = (whole * 2).min(Duration::from_secs(15));
            }
        }
    }
}
