//! Images that are being fetched, in words and numbers.

use std::time::Duration;

use dispatch_core::queue::{JobState, ON_ITS_WAY};
use dispatch_core::{Job, WorkloadId, text};
use serde::Serialize;

use crate::doing::one_unit;

/// An image that is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fetching {
    /// Which.
    #[serde(skip)]
    pub workload: WorkloadId,
    /// How much of it is here, in bytes.
    pub got: u64,
    /// Its size in bytes.
    pub size: u64,
    /// How fast it comes, in bytes a second, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
}

impl Fetching {
    /// `43 % of 1.3 GiB, 11.2 MiB/s, 70 s left`.
    #[must_use]
    pub fn words(&self) -> String {
        let percent = self.got.saturating_mul(100).checked_div(self.size).unwrap_or(100).min(100);
        let mut words = format!("{percent} % of {}", text::bytes(self.size));
        if let Some(rate) = self.per_second.filter(|rate| *rate >= 1.0) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is positive, and cut to what there is"
            )]
            let rate = rate as u64;
            let left = Duration::from_secs(self.size.saturating_sub(self.got).div_ceil(rate));
            words = format!("{words}, {}/s, {} left", text::bytes(rate), one_unit(left));
        }
        words
    }
}

/// Whether a job waits for nothing but an image that is being fetched. `is_fetched` says that it is known to be, right
/// now; without that, what was noted of it last counts. What is wrong with an image is said before how far it is.
pub(super) fn is_coming(job: &Job, is_fetched: bool) -> bool {
    let is_calm = match job.waits.as_deref() {
        Some(why) => why == ON_ITS_WAY,
        None => is_fetched,
    };
    job.state == JobState::Queued && is_calm
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn fetching(got: u64, size: u64, per_second: Option<f64>) -> String {
        let workload = WorkloadId::new(Timestamp::UNIX_EPOCH, [0; 10]);
        Fetching { workload, got, size, per_second }.words()
    }

    #[test]
    fn how_far_an_image_is_and_how_long_it_takes_is_said_as_far_as_it_is_known() {
        assert_eq!(fetching(43 << 20, 100 << 20, None), "43 % of 100.0 MiB");
        assert_eq!(
            fetching(43 << 20, 100 << 20, Some(1_048_576.0)),
            "43 % of 100.0 MiB, 1.0 MiB/s, 57 s left"
        );
        assert_eq!(fetching(0, 5 << 30, Some(1_048_576.0)), "0 % of 5.0 GiB, 1.0 MiB/s, 85 min left");
        for stands in [0.0, 0.4, f64::NAN, -3.0] {
            assert_eq!(fetching(1, 4, Some(stands)), "25 % of 4 B");
        }
        assert_eq!(fetching(9, 4, Some(f64::INFINITY)), "100 % of 4 B, 16384.0 PiB/s, 0 s left");
        assert_eq!(fetching(0, 0, None), "100 % of 0 B");
    }
}
