//! How far an image is that is being fetched or checked.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dispatch_boot::cache::Watch;
use dispatch_core::fetch::{per_second, share};
use dispatch_core::{WorkloadId, text};
use jiff::Timestamp;

/// Over how long the speed is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// How often the speed is measured at most.
const SAMPLE: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Course {
    /// All workloads that the image is.
    pub(super) workloads: Vec<WorkloadId>,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) since: Timestamp,
    /// It is here, and is hashed.
    pub(super) is_check: bool,
    pub(super) watch: Watch,
    samples: Mutex<VecDeque<(Timestamp, u64)>>,
}

impl Course {
    pub(super) fn new(
        workloads: Vec<WorkloadId>,
        name: String,
        size: u64,
        is_check: bool,
        since: Timestamp,
    ) -> Self {
        let (watch, samples) = Default::default();
        Self { workloads, name, size, since, is_check, watch, samples }
    }

    fn samples(&self) -> std::sync::MutexGuard<'_, VecDeque<(Timestamp, u64)>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much of it is here.
    pub(super) fn note(&self, got: u64, now: Timestamp) {
        let mut samples = self.samples();
        let age = |at: Timestamp| now.duration_since(at).unsigned_abs();
        // The latest says how far it is, so that it is replaced rather than left out.
        let is_new = samples.iter().rev().nth(1).is_none_or(|(at, _)| age(*at) >= SAMPLE);
        if !is_new {
            samples.pop_back();
        }
        samples.push_back((now, got));
        while samples.len() > 2 && samples.front().is_some_and(|(at, _)| age(*at) > WINDOW) {
            samples.pop_front();
        }
    }

    /// How much of it is here, or has been checked.
    pub(super) fn got(&self) -> u64 {
        if self.is_check {
            return self.watch.done();
        }
        self.samples().back().map_or(0, |(_, got)| *got)
    }

    /// How fast it comes, in bytes a second.
    pub(super) fn per_second(&self) -> u64 {
        per_second(self.samples().make_contiguous())
    }

    /// Why a host does not get the image, in words.
    pub(super) fn words(&self) -> String {
        let share = share(self.got(), self.size);
        if self.is_check {
            format!("its image is being checked, {share}")
        } else {
            format!("{}, {share}", dispatch_core::queue::ON_ITS_WAY)
        }
    }

    /// For the log, such as `a.efi: ████░░░░░░ 43 % of 1.2 GiB, 35.1 MiB/s, 20 s left`.
    pub(super) fn line(&self) -> String {
        let (got, speed) = (self.got(), self.per_second());
        let share = share(got, self.size);
        let left = self.size.saturating_sub(got).checked_div(speed);
        let left = left.map_or("nothing comes at the moment".to_owned(), |seconds| {
            format!("{}/s, {} left", text::bytes(speed), text::duration(Duration::from_secs(seconds.max(1))))
        });
        format!("{}: {} {share}, {left}", self.name, bar(got, self.size))
    }
}

/// Ten cells, of which so many are full as there are whole tenths here.
fn bar(got: u64, size: u64) -> String {
    let full = u128::from(got.min(size)) * 10 / u128::from(size.max(1));
    (0..10).map(|cell| if cell < full { '█' } else { '░' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).expect("a time")
    }

    #[test]
    fn the_log_says_how_far_an_image_is_and_how_long_it_takes_yet() {
        let course = Course::new(Vec::new(), "a.efi".to_owned(), 1 << 30, false, at(0));
        assert_eq!(course.line(), "a.efi: ░░░░░░░░░░ 0 % of 1.0 GiB, nothing comes at the moment");
        for second in 0..=20 {
            course.note((u64::try_from(second).expect("positive") + 2) << 25, at(second * 1000));
        }
        assert_eq!(course.line(), "a.efi: ██████░░░░ 68 % of 1.0 GiB, 32.0 MiB/s, 10 s left");
        assert_eq!(course.words(), "its image is still on its way here, 68 % of 1.0 GiB");
    }

    #[test]
    fn however_often_bytes_come_the_latest_count_is_known_and_little_is_kept() {
        let course = Course::new(Vec::new(), "a.efi".to_owned(), 1 << 30, false, at(0));
        for step in 0..100_000 {
            course.note(u64::try_from(step).expect("positive"), at(step));
            assert_eq!(course.got(), u64::try_from(step).expect("positive"));
        }
        assert!(course.samples().len() < 50);
        assert!((990..=1010).contains(&course.per_second()), "{}", course.per_second());
    }
}
