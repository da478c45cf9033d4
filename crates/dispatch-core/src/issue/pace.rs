//! Which reports may be worked on, and how fast.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::filing::{is_due, later};
use crate::id::RunId;

/// GitHub asks for at least this long between two requests that make something ("Best practices for using the REST
/// API"); who does not keep to it meets the secondary rate limit.
const BETWEEN: Duration = Duration::from_secs(1);

/// A report that is to be filed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued<'a> {
    /// Its run: the reports of one run are filed in their order.
    pub run: RunId,
    /// Where it is filed.
    pub repository: &'a str,
    /// When it is tried next.
    pub due: Timestamp,
}

/// Which of the reports, given in the order in which they came, may be worked on at the same time, as places in
/// `queued`: of each run the first, if it is due; of each repository one. Repositories in `busy` have one already.
#[must_use]
pub fn heads(queued: &[Queued<'_>], busy: &BTreeSet<&str>, now: Timestamp) -> Vec<usize> {
    let (mut runs, mut busy) = (BTreeSet::new(), busy.clone());
    let mut heads = Vec::new();
    for (at, report) in queued.iter().enumerate() {
        if runs.insert(report.run) && is_due(report.due, now) && busy.insert(report.repository) {
            heads.push(at);
        }
    }
    heads
}

/// How fast one sign-in may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    next_making: Timestamp,
    limited_until: Timestamp,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next_making: Timestamp::MIN, limited_until: Timestamp::MIN }
    }
}

impl Pace {
    /// When a request may be sent that makes something. It takes the place: the next one comes later.
    #[must_use]
    pub fn making(&mut self, now: Timestamp) -> Timestamp {
        // A clock that was set back must not hold anybody up for long.
        let next = self.next_making.min(later(now, BETWEEN * 60));
        let at = now.max(next);
        self.next_making = later(at, BETWEEN);
        at
    }

    /// A rate limit holds until then, for all that are of this sign-in.
    pub fn limit(&mut self, until: Timestamp, now: Timestamp) {
        self.limited_until = self.limited_until(now).map_or(until, |known| known.max(until));
    }

    /// Until when nothing may be asked at all, if that is so.
    #[must_use]
    pub fn limited_until(&self, now: Timestamp) -> Option<Timestamp> {
        (!is_due(self.limited_until, now)).then_some(self.limited_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(number: u8) -> RunId {
        RunId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn queued(run_number: u8, repository: &str, due: i64) -> Queued<'_> {
        Queued { run: run(run_number), repository, due: at(due) }
    }

    #[test]
    fn the_second_report_of_a_run_waits_for_the_first() {
        let reports = [queued(1, "o/r", 50), queued(1, "o/r", 0), queued(2, "o/r", 0)];
        assert_eq!(heads(&reports, &BTreeSet::new(), at(10)), [2]);
        assert_eq!(heads(&reports, &BTreeSet::new(), at(50)), [0]);
    }

    #[test]
    fn repositories_do_not_wait_for_each_other() {
        let reports = [queued(1, "o/r", 0), queued(2, "o/s", 0), queued(3, "o/r", 0), queued(4, "o/t", 0)];
        assert_eq!(heads(&reports, &BTreeSet::new(), at(0)), [0, 1, 3]);
        assert_eq!(heads(&reports, &BTreeSet::from(["o/r"]), at(0)), [1, 3]);
    }

    #[test]
    fn a_rate_limit_holds_for_everybody_until_it_ends() {
        let mut pace = Pace::default();
        pace.limit(at(100), at(0));
        pace.limit(at(50), at(0));
        assert_eq!(pace.limited_until(at(99)), Some(at(100)));
        assert_eq!(pace.limited_until(at(100)), None);
    }

    #[test]
    fn a_clock_that_was_in_the_future_stops_nobody() {
        let mut pace = Pace::default();
        let year = 365 * 24 * 3600;
        pace.limit(at(year), at(year - 60));
        assert_eq!(pace.limited_until(at(0)), None);
        pace.limit(at(100), at(0));
        assert_eq!(pace.limited_until(at(0)), Some(at(100)));
        assert_eq!(heads(&[queued(1, "o/r", year)], &BTreeSet::new(), at(0)), [0]);
    }

    proptest! {
        #[test]
        fn what_makes_something_is_sent_a_second_apart(steps in proptest::collection::vec(0..3000_u64, 1..30)) {
            let (mut pace, mut now, mut last) = (Pace::default(), at(0), None::<Timestamp>);
            for step in steps {
                now = later(now, Duration::from_millis(step));
                let next = pace.making(now);
                prop_assert!(next >= now);
                if let Some(last) = last {
                    prop_assert!(next >= later(last, BETWEEN));
                    // Not later than need be.
                    prop_assert!(next == now || next == later(last, BETWEEN));
                }
                last = Some(next);
            }
        }

        #[test]
        fn no_two_reports_of_one_run_or_repository_are_worked_on_at_once(
            reports in proptest::collection::vec((0..4_u8, 0..3_usize, 0..20_i64), 0..20), now in 0..20_i64,
        ) {
            let names = ["o/a", "o/b", "o/c"];
            let reports: Vec<_> = reports.iter().map(|(run, name, due)| queued(*run, names[*name], *due)).collect();
            let heads = heads(&reports, &BTreeSet::new(), at(now));
            let runs: BTreeSet<_> = heads.iter().map(|at| reports[*at].run).collect();
            let repositories: BTreeSet<_> = heads.iter().map(|at| reports[*at].repository).collect();
            prop_assert!(runs.len() == heads.len() && repositories.len() == heads.len());
            for head in heads {
                prop_assert!(reports[head].due <= at(now));
                prop_assert!(reports[..head].iter().all(|earlier| earlier.run != reports[head].run));
            }
        }
    }
}
