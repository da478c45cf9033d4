//! What the fetching of images means for the jobs that need them.
//!
//! Each method is about one image, and takes all workloads that are this image. Each can be asked again at any time:
//! what is known already changes nothing and is not told again.

use std::time::Duration;

use jiff::Timestamp;

use super::{Change, JobState, Outcome, Outlook, Snapshot, Unreadable};
use crate::event::Happening;
use crate::id::{JobId, WorkloadId};
use crate::text::shortened;
use crate::verdict::Verdict;
use crate::workload::{Arch, Digest};

/// Why a job waits whose image is being fetched.
pub const ON_ITS_WAY: &str = "its image is still on its way here";

/// How all reasons begin for which a job waits for its image.
const ABOUT_IMAGE: &str = "its image ";

/// Whether a job waits for its image, by the reason that it gives.
#[must_use]
pub fn is_about_image(waits: &str) -> bool {
    waits.starts_with(ABOUT_IMAGE)
}

/// Why a job waits whose image is not here, in words.
#[must_use]
pub fn waits_for_image(unreadable: &Unreadable) -> String {
    let Unreadable { why, outlook } = unreadable;
    short_wait(&match outlook {
        Outlook::Lasting | Outlook::Passing => format!("{ABOUT_IMAGE}cannot be read: {why}"),
        Outlook::Coming => format!("{ABOUT_IMAGE}is not here yet: {why}"),
    })
}

/// The most characters that a job says of why it waits: an index has it.
const LONGEST_WAIT: usize = 400;

/// Why a job waits, in no more words than it may use.
pub(super) fn short_wait(why: &str) -> String {
    shortened(why, LONGEST_WAIT)
}

impl Snapshot {
    /// The first bytes of an image came. `start` of its `size` bytes were here before.
    #[must_use]
    pub fn fetch_begins(
        mut self,
        image: &[WorkloadId],
        size: u64,
        start: u64,
        now: Timestamp,
    ) -> Outcome<()> {
        for job in self.jobs_of_image(image) {
            self.set_waits(job, Some(ON_ITS_WAY.to_owned()));
            self.tell_of_job(job, now, Happening::Fetching { size, start });
        }
        self.outcome(())
    }

    /// What came of an image is not what it should be, and is thrown away.
    #[must_use]
    pub fn image_wrong(mut self, image: &[WorkloadId], why: &str, now: Timestamp) -> Outcome<()> {
        for job in self.jobs_of_image(image) {
            self.tell_of_job(job, now, Happening::NotFetched { reason: why.to_owned() });
        }
        self.outcome(())
    }

    /// An image cannot be fetched at the moment.
    #[must_use]
    pub fn image_waits(mut self, image: &[WorkloadId], why: &Unreadable, now: Timestamp) -> Outcome<()> {
        let reason = waits_for_image(why);
        for job in self.jobs_of_image(image) {
            if self.set_waits(job, Some(reason.clone())) {
                self.tell_of_job(job, now, Happening::Waits { reason: reason.clone() });
            }
        }
        self.outcome(())
    }

    /// An image is here and is what it should be. `made_for` is what its bytes say of the processor, `took` is how long it was fetched, if it was.
    #[must_use]
    pub fn image_here(
        mut self,
        image: &[WorkloadId],
        digest: Digest,
        made_for: Option<Arch>,
        took: Option<Duration>,
        now: Timestamp,
    ) -> Outcome<()> {
        let learns = self.workloads.iter_mut().filter(|known| {
            let is_news = made_for.is_some() && known.made_for != made_for;
            image.contains(&known.id) && (known.digest.is_none() || is_news)
        });
        for workload in learns {
            workload.digest = Some(digest);
            workload.made_for = made_for.or(workload.made_for);
            self.changes.push(Change::Workload(workload.clone()));
        }
        for job in self.jobs_of_image(image) {
            self.waits_no_more(job);
            let size = self.workload_of(job).map_or(0, |workload| workload.size);
            if let Some(took) = took {
                self.tell_of_job(job, now, Happening::Fetched { size, took });
            }
        }
        self.outcome(())
    }

    /// An image is not what it should be, however often it is fetched: the jobs that wait for it are over. A run that is
    /// going on has the image that was here when it began, and is not touched.
    #[must_use]
    pub fn image_spoiled(mut self, image: &[WorkloadId], why: &str, now: Timestamp) -> Outcome<()> {
        let is_queued =
            |job: &JobId| self.jobs.iter().any(|known| known.id == *job && known.state == JobState::Queued);
        let jobs: Vec<JobId> = self.jobs_of_image(image).into_iter().filter(is_queued).collect();
        for job in &jobs {
            self.tell_of_job(*job, now, Happening::NotFetched { reason: why.to_owned() });
        }
        for job in jobs {
            // What an earlier attempt showed stays true.
            let verdict = if self.has_failed(job) { Verdict::Failed } else { Verdict::Errored };
            let attempts = self.attempts_in_words(job);
            let reason = Some(attempts.map_or(why.to_owned(), |attempts| format!("{attempts}; {why}")));
            self.change_job(job, |job| {
                job.state = JobState::Done;
                job.since = now;
                job.verdict = Some(verdict);
                job.reason.clone_from(&reason);
                job.waits = None;
            });
            self.tell_of_job(job, now, Happening::Done { verdict, reason });
            self.requeue(job, now);
            self.tell_if_drained(now);
        }
        self.outcome(())
    }

    /// An image is neither here nor on its way, and nothing is in the way of it: its turn will come.
    #[must_use]
    pub fn image_to_come(mut self, image: &[WorkloadId]) -> Outcome<()> {
        for job in self.jobs_of_image(image) {
            self.waits_no_more(job);
        }
        self.outcome(())
    }

    /// Whether the digest of an image is known.
    #[must_use]
    pub fn knows_image(&self, image: &[WorkloadId]) -> bool {
        self.workloads.iter().filter(|known| image.contains(&known.id)).all(|known| known.digest.is_some())
    }

    /// A job does not wait for its image any more. What else it waits for, it goes on waiting for.
    fn waits_no_more(&mut self, job: JobId) {
        let known = self.jobs.iter().find(|known| known.id == job);
        if known.and_then(|job| job.waits.as_deref()).is_some_and(is_about_image) {
            self.set_waits(job, None);
        }
    }

    /// The jobs that are not over and need an image.
    fn jobs_of_image(&self, image: &[WorkloadId]) -> Vec<JobId> {
        let needs = self.jobs.iter().filter(|job| !job.state.is_final() && image.contains(&job.workload));
        needs.map(|job| job.id).collect()
    }

    /// Notes why a job waits, if it does. Returns whether that is news.
    fn set_waits(&mut self, job: JobId, waits: Option<String>) -> bool {
        let known = self.jobs.iter().find(|known| known.id == job);
        if !known.is_some_and(|job| job.state == JobState::Queued && job.waits != waits) {
            return false;
        }
        self.change_job(job, |job| job.waits = waits);
        true
    }
}
