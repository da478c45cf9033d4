//! What became of the jobs of a group over a stretch of time: how many, how they came out, how long they waited and ran.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::JobState;
use crate::verdict::Verdict;
use crate::workload::UnknownWord;

/// How a job that is over is counted. One that never reported counts as failed; one that reported and said neither good
/// nor bad is completed, and its verdict says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ended {
    /// It reported, and nothing bad.
    Completed,
    /// What it tested is bad, or it came to nothing.
    Failed,
    /// Somebody took it out.
    Cancelled,
}

impl Ended {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    /// How a job ended, if it is over.
    #[must_use]
    pub fn of(state: JobState, verdict: Option<Verdict>) -> Option<Self> {
        match (state, verdict) {
            (JobState::Queued | JobState::Active, _) => None,
            (JobState::Cancelled, _) => Some(Self::Cancelled),
            (JobState::Done, Some(Verdict::Passed | Verdict::Unjudged)) => Some(Self::Completed),
            (JobState::Done, Some(Verdict::Errored | Verdict::Failed) | None) => Some(Self::Failed),
        }
    }

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Ended {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|ended| ended.as_str() == word).ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// Over which time statistics are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Range {
    /// The last hour, in parts of five minutes.
    Hour,
    /// Six hours, in parts of half an hour.
    SixHours,
    /// A day, in hours.
    Day,
    /// A week, in parts of six hours.
    Week,
    /// Thirty days, each a part.
    Month,
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

impl Range {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::SixHours, Self::Day, Self::Week, Self::Month];

    /// The word that is asked for and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// How long a part is, in seconds, and how many there are.
    fn parts(self) -> (i64, i64) {
        match self {
            Self::Hour => (5 * MINUTE, 12),
            Self::SixHours => (30 * MINUTE, 12),
            Self::Day => (HOUR, 24),
            Self::Week => (6 * HOUR, 28),
            Self::Month => (24 * HOUR, 30),
        }
    }

    /// When its first part begins. Parts begin at whole multiples of their length since the epoch, so that they stay where
    /// they are while time goes on; the last one is the one that goes on.
    #[must_use]
    pub fn from(self, now: Timestamp) -> Timestamp {
        let (width, count) = self.parts();
        let last = now.as_second().div_euclid(width).saturating_mul(width);
        Timestamp::from_second(last.saturating_sub((count - 1) * width)).unwrap_or(Timestamp::MIN)
    }

    /// The shortest that reaches back to the oldest there is; the longest, if none does. A day, where there is nothing.
    #[must_use]
    pub fn that_shows(oldest: Option<Timestamp>, now: Timestamp) -> Self {
        let Some(oldest) = oldest else { return Self::Day };
        Self::ALL.into_iter().find(|range| range.from(now) <= oldest).unwrap_or(Self::Month)
    }
}

impl FromStr for Range {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|range| range.as_str() == word).ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// A job that is over, as far as statistics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// How it ended.
    pub ended: Ended,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// When it was over.
    pub at: Timestamp,
    /// From when it could start until its first run; none if it never ran.
    pub waited: Option<Duration>,
    /// From the beginning of its last run until it was over; none if it never ran.
    pub ran: Option<Duration>,
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Those that completed.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
}

impl Totals {
    fn add(&mut self, ended: Ended) {
        match ended {
            Ended::Completed => self.completed += 1,
            Ended::Failed => self.failed += 1,
            Ended::Cancelled => self.cancelled += 1,
        }
    }

    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }
}

/// How many came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// What they tested is good.
    pub passed: u64,
    /// What they tested is bad.
    pub failed: u64,
    /// Our side or the lab is bad.
    pub errored: u64,
    /// They said neither.
    pub unjudged: u64,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Of how many.
    pub count: u64,
    /// Half of them took no longer.
    pub median: Duration,
    /// 95 of a hundred took no longer.
    pub p95: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let (median, p95) = percentile(&times, 50).zip(percentile(&times, 95))?;
        Some(Self { count: times.len() as u64, median, p95 })
    }
}

/// The time that `percent` of a hundred of these did not exceed, by nearest rank: it is one of them. They must be in
/// order.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent.min(100)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Statistics that are still being made, so that the jobs can come in parts.
#[derive(Clone, Debug)]
pub struct Counting {
    range: Range,
    from: Timestamp,
    buckets: Vec<Totals>,
    verdicts: Verdicts,
    waited: Vec<Duration>,
    ran: Vec<Duration>,
}

/// What became of the jobs of a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Over which time.
    pub range: Range,
    /// Each part, with when it begins, the oldest first.
    pub buckets: Vec<(Timestamp, Totals)>,
    /// All parts together.
    pub totals: Totals,
    /// Of those that were not cancelled.
    pub verdicts: Verdicts,
    /// How long those waited that ran at all.
    pub waiting: Option<Times>,
    /// How long they ran.
    pub running: Option<Times>,
}

impl Counting {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(range: Range, now: Timestamp) -> Self {
        let (_, count) = range.parts();
        let buckets = vec![Totals::default(); usize::try_from(count).unwrap_or(0)];
        let (verdicts, waited, ran) = Default::default();
        Self { range, from: range.from(now), buckets, verdicts, waited, ran }
    }

    /// Counts a job. One that was over before the range begins, or after it ends, does not count.
    pub fn add(&mut self, past: &Past) {
        let (width, _) = self.range.parts();
        let place = past.at.as_second().saturating_sub(self.from.as_second()).div_euclid(width);
        let bucket = usize::try_from(place).ok().and_then(|place| self.buckets.get_mut(place));
        let Some(bucket) = bucket else { return };
        bucket.add(past.ended);
        if past.ended == Ended::Cancelled {
            return;
        }
        match past.verdict {
            Some(Verdict::Passed) => self.verdicts.passed += 1,
            Some(Verdict::Failed) => self.verdicts.failed += 1,
            Some(Verdict::Errored) | None => self.verdicts.errored += 1,
            Some(Verdict::Unjudged) => self.verdicts.unjudged += 1,
        }
        self.waited.extend(past.waited);
        self.ran.extend(past.ran);
    }

    /// What was counted.
    #[must_use]
    pub fn done(self) -> Stats {
        let (width, _) = self.range.parts();
        let begins = (0_i64..).map(|number| {
            Timestamp::from_second(self.from.as_second().saturating_add(number * width)).unwrap_or(self.from)
        });
        let mut totals = Totals::default();
        for bucket in &self.buckets {
            totals.completed += bucket.completed;
            totals.failed += bucket.failed;
            totals.cancelled += bucket.cancelled;
        }
        Stats {
            range: self.range,
            buckets: begins.zip(self.buckets).collect(),
            totals,
            verdicts: self.verdicts,
            waiting: Times::of(self.waited),
            running: Times::of(self.ran),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn verdicts() -> impl Strategy<Value = Option<Verdict>> {
        prop::option::of(prop::sample::select(vec![
            Verdict::Passed,
            Verdict::Unjudged,
            Verdict::Errored,
            Verdict::Failed,
        ]))
    }

    #[test]
    fn only_a_job_that_reported_nothing_bad_is_completed() {
        for verdict in [None, Some(Verdict::Errored), Some(Verdict::Failed)] {
            assert_eq!(Ended::of(JobState::Done, verdict), Some(Ended::Failed));
        }
        assert_eq!(Ended::of(JobState::Done, Some(Verdict::Unjudged)), Some(Ended::Completed));
        assert_eq!(Ended::of(JobState::Cancelled, Some(Verdict::Passed)), Some(Ended::Cancelled));
        assert_eq!(Ended::of(JobState::Active, Some(Verdict::Passed)), None);
    }

    #[test]
    fn the_middle_of_a_few_is_one_of_them() {
        let times: Vec<Duration> = [1, 2, 3, 40].map(Duration::from_secs).into();
        assert_eq!(percentile(&times, 50), Some(Duration::from_secs(2)));
        assert_eq!(percentile(&times, 95), Some(Duration::from_secs(40)));
        assert_eq!(percentile(&[], 50), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_not_exceeded_by_that_share_and_by_no_fewer(
            mut times in prop::collection::vec(0..50_u64, 1..60),
            percent in 0..=100_usize,
        ) {
            times.sort_unstable();
            let sorted: Vec<Duration> = times.iter().copied().map(Duration::from_secs).collect();
            let found = percentile(&sorted, percent).expect("one");
            let within = sorted.iter().filter(|time| **time <= found).count();
            let below = sorted.iter().filter(|time| **time < found).count();
            prop_assert!(within * 100 >= sorted.len() * percent);
            prop_assert!(below * 100 < sorted.len() * percent || below == 0, "no smaller one would do");
        }

        #[test]
        fn each_job_of_the_range_is_counted_once_and_no_other(
            now in 3_000_000..2_000_000_000_i64,
            ages in prop::collection::vec((-100..4_000_000_i64, verdicts(), any::<bool>()), 0..60),
            range in prop::sample::select(Range::ALL.to_vec()),
        ) {
            let mut counting = Counting::new(range, second(now));
            let mut within = 0;
            let mut judged = 0;
            for (age, verdict, is_cancelled) in ages {
                let state = if is_cancelled { JobState::Cancelled } else { JobState::Done };
                let ended = Ended::of(state, verdict).expect("it is over");
                let at = second(now - age);
                let took = Some(Duration::from_secs(1));
                counting.add(&Past { ended, verdict, at, waited: took, ran: None });
                if range.from(second(now)) <= at && age >= 0 {
                    within += 1;
                    judged += u64::from(!is_cancelled);
                }
            }
            // What is a little ahead of the clock may still be in the part that goes on.
            let ahead = 100;
            let stats = counting.done();
            let sum: u64 = stats.buckets.iter().map(|(_, totals)| totals.sum()).sum();
            prop_assert_eq!(sum, stats.totals.sum());
            prop_assert!(sum >= within && sum <= within + ahead);
            let Verdicts { passed, failed, errored, unjudged } = stats.verdicts;
            prop_assert_eq!(passed + unjudged, stats.totals.completed);
            prop_assert_eq!(failed + errored, stats.totals.failed);
            prop_assert!(stats.waiting.map_or(0, |times| times.count) >= judged);
            prop_assert_eq!(stats.running, None);
        }

        #[test]
        fn the_parts_follow_one_another_and_the_last_one_goes_on(
            now in 3_000_000..2_000_000_000_i64,
            range in prop::sample::select(Range::ALL.to_vec()),
        ) {
            let stats = Counting::new(range, second(now)).done();
            let begins: Vec<i64> = stats.buckets.iter().map(|(at, _)| at.as_second()).collect();
            let width = begins[1] - begins[0];
            prop_assert!(begins.windows(2).all(|pair| pair[1] - pair[0] == width));
            let last = begins[begins.len() - 1];
            prop_assert!(last <= now && now < last + width);
            prop_assert_eq!(begins[0], range.from(second(now)).as_second());
        }

        #[test]
        fn a_range_that_is_chosen_shows_the_oldest_or_is_the_longest(
            now in 3_000_000..2_000_000_000_i64,
            age in 0..4_000_000_i64,
        ) {
            let oldest = second(now - age);
            let chosen = Range::that_shows(Some(oldest), second(now));
            prop_assert!(chosen.from(second(now)) <= oldest || chosen == Range::Month);
            let shorter = Range::ALL.into_iter().filter(|range| *range < chosen);
            for range in shorter {
                prop_assert!(range.from(second(now)) > oldest);
            }
        }
    }
}
