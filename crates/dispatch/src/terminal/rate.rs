//! How fast downloads are, from what has been seen of them.

use std::collections::HashMap;
use std::time::Duration;

use dispatch_core::RunId;
use jiff::Timestamp;

/// How long an old rate is remembered: long enough that the number can be read, short enough that it is true.
const MEMORY: f64 = 3.0;

/// Samples that are closer together than this say nothing.
const SHORTEST: f64 = 0.05;

/// One download, as it was seen last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    at: Timestamp,
    sent: u64,
    /// Bytes that moved and seconds that passed, the older the less they count.
    moved_lately: (f64, f64),
    /// When bytes were last seen to move.
    moved: Timestamp,
}

/// How fast a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    /// Bytes a second, smoothed; none while it is not known yet.
    pub(crate) rate: Option<f64>,
    /// How long no byte has moved.
    pub(crate) still: Duration,
}

/// How fast each download is that is going on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates(HashMap<RunId, Seen>);

impl Rates {
    /// What is known once these downloads have been seen at `now`; those that are not among them are forgotten.
    pub(crate) fn after(&self, downloads: &[(RunId, u64)], now: Timestamp) -> Self {
        let seen = downloads.iter().map(|&(run, sent)| {
            let seen = match self.0.get(&run) {
                // Fewer bytes than before: it has begun anew.
                Some(before) if sent >= before.sent => before.after(sent, now),
                _ => Seen { at: now, sent, moved_lately: (0.0, 0.0), moved: now },
            };
            (run, seen)
        });
        Self(seen.collect())
    }

    /// How fast a download is.
    pub(crate) fn of(&self, run: RunId) -> Pace {
        self.0.get(&run).map_or_else(Pace::default, |seen| Pace {
            rate: Some(seen.moved_lately).filter(|(_, time)| *time > 0.0).map(|(bytes, time)| bytes / time),
            still: Duration::try_from(seen.at.duration_since(seen.moved)).unwrap_or_default(),
        })
    }
}

impl Seen {
    fn after(self, sent: u64, now: Timestamp) -> Self {
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds < SHORTEST {
            return self;
        }
        #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
        let latest = (sent - self.sent) as f64;
        // By time, so that it does not matter how often one looks; and not from the first sample alone, which says
        // little.
        let fades = (-seconds / MEMORY).exp();
        let (bytes, time) = self.moved_lately;
        let moved_lately = (bytes * fades + latest, time * fades + seconds);
        let moved = if sent > self.sent { now } else { self.moved };
        Self { at: now, sent, moved_lately, moved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).expect("a time")
    }

    fn run() -> RunId {
        RunId::new(Timestamp::UNIX_EPOCH, [7; 10])
    }

    fn seen(samples: &[(i64, u64)]) -> Pace {
        let rates = samples
            .iter()
            .fold(Rates::default(), |rates, (millis, sent)| rates.after(&[(run(), *sent)], at(*millis)));
        rates.of(run())
    }

    #[test]
    fn a_rate_needs_two_samples() {
        assert_eq!(seen(&[(0, 500)]).rate, None);
        assert_eq!(seen(&[(0, 500), (500, 1500)]).rate, Some(2000.0));
    }

    #[test]
    fn a_steady_download_has_a_steady_rate_however_often_one_looks() {
        let often: Vec<(i64, u64)> =
            (0..100_i64).map(|step| (step * 250, step.unsigned_abs() * 250_000)).collect();
        let rate = seen(&often).rate.expect("a rate");
        assert!((rate - 1e6).abs() < 1.0, "{rate}");
    }

    #[test]
    fn a_slow_start_is_soon_forgotten() {
        let rate =
            seen(&[(0, 0), (250, 0), (500, 250_000), (750, 500_000), (1000, 750_000)]).rate.expect("a rate");
        assert!((700_000.0..900_000.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_hiccup_does_not_make_the_rate_jump_and_a_stall_is_told() {
        let hiccup = seen(&[(0, 0), (1000, 1_000_000), (1250, 1_000_000)]);
        assert!(hiccup.rate.expect("a rate") > 750_000.0);
        let stall: Vec<(i64, u64)> =
            (0..40_i64).map(|step| (step * 1000, 1_000_000 * step.min(10).unsigned_abs())).collect();
        let stall = seen(&stall);
        assert!(stall.rate.expect("a rate") < 1000.0);
        assert_eq!(stall.still, Duration::from_secs(29));
    }

    #[test]
    fn a_download_that_begins_anew_is_measured_anew() {
        assert_eq!(seen(&[(0, 0), (1000, 1_000_000), (2000, 10)]).rate, None);
        assert_eq!(Rates::default().of(run()), Pace::default());
    }
}
