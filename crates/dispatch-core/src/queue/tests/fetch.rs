//! What the fetching of an image means for its jobs.

use super::*;

fn digest(byte: u8) -> Digest {
    Digest::new([byte; 32])
}

fn coming(why: &str) -> Unreadable {
    Unreadable { why: why.into(), outlook: Outlook::Coming }
}

impl Model {
    fn image(&self, name: &str) -> Vec<WorkloadId> {
        vec![self.job(name).workload]
    }

    fn waits(&mut self, name: &str, why: &str) {
        let image = self.image(name);
        self.decide(|snapshot, context| snapshot.image_waits(&image, &coming(why), context.now));
    }

    fn begins(&mut self, name: &str) {
        let image = self.image(name);
        self.decide(|snapshot, context| snapshot.fetch_begins(&image, 1000, 10, context.now));
    }

    fn here(&mut self, name: &str, took: Option<Duration>) {
        let image = self.image(name);
        self.decide(|snapshot, context| {
            snapshot.image_here(&image, digest(7), Some(Arch::X86_64), took, context.now)
        });
    }

    fn spoiled(&mut self, name: &str) {
        let image = self.image(name);
        self.decide(|snapshot, context| snapshot.image_spoiled(&image, "a wrong digest", context.now));
    }
}

#[test]
fn a_job_says_why_its_image_is_not_here_and_each_reason_is_told_once() {
    let mut queue = Model::new(&["a", "b"]);
    for why in ["no network", "no network", "a full disk", "a full disk"] {
        queue.waits("a", why);
    }
    assert_eq!(queue.job("a").waits.as_deref(), Some("its image is not here yet: a full disk"));
    assert_eq!(queue.job("b").waits, None);
    assert_eq!(queue.told(|what| matches!(what, Happening::Waits { .. })), 2);
}

#[test]
fn an_image_that_comes_and_is_here_is_told_and_its_job_no_longer_waits() {
    let mut queue = Model::new(&["a"]);
    queue.waits("a", "no network");
    queue.begins("a");
    assert_eq!(queue.job("a").waits.as_deref(), Some("its image is still on its way here"));
    assert_eq!(queue.told(|what| *what == Happening::Fetching { size: 1000, start: 10 }), 1);
    let took = Duration::from_secs(3);
    queue.here("a", Some(took));
    assert_eq!(queue.job("a").waits, None);
    assert_eq!(queue.told(|what| *what == Happening::Fetched { size: 1000, took }), 1);
}

#[test]
fn an_image_that_was_in_the_cache_is_no_news_and_leaves_other_reasons_alone() {
    let mut queue = Model::new(&["a", "b"]);
    queue.waits("a", "no network");
    let mut other = queue.job("b").clone();
    other.waits = Some("it is made for aarch64".into());
    queue.snapshot.jobs[1] = other;
    let told = queue.told.len();
    queue.here("a", None);
    queue.here("b", None);
    assert_eq!(queue.job("a").waits, None);
    assert_eq!(queue.job("b").waits.as_deref(), Some("it is made for aarch64"));
    assert_eq!(queue.told.len(), told);
}

#[test]
fn an_image_whose_turn_will_come_is_no_reason_to_wait() {
    let mut queue = Model::new(&["a"]);
    queue.begins("a");
    let image = queue.image("a");
    assert!(!queue.snapshot.knows_image(&image));
    queue.decide(|snapshot, _| snapshot.image_to_come(&image));
    assert_eq!(queue.job("a").waits, None);
}

#[test]
fn a_digest_that_was_not_known_is_recorded_and_one_that_was_is_kept() {
    let mut queue = Model::new(&["a"]);
    queue.here("a", None);
    assert_eq!(queue.snapshot.workloads[0].digest, Some(digest(7)));
    queue.snapshot.workloads[0].digest = Some(digest(8));
    queue.here("a", None);
    assert_eq!(queue.snapshot.workloads[0].digest, Some(digest(8)));
}

#[test]
fn a_job_whose_image_is_spoiled_errs_with_the_reason_and_ends_the_queue() {
    let mut queue = Model::new(&["a", "b"]);
    queue.spoiled("a");
    let job = queue.job("a");
    assert_eq!((job.state, job.verdict), (JobState::Done, Some(Verdict::Errored)));
    assert_eq!(job.reason.as_deref(), Some("a wrong digest"));
    assert_eq!(queue.told(|what| matches!(what, Happening::NotFetched { .. })), 1);
    assert_eq!(queue.told(|what| matches!(what, Happening::Drained)), 0);
    assert_eq!(queue.head(1).as_deref(), Some("b"));
    queue.spoiled("a");
    assert_eq!(queue.told(|what| matches!(what, Happening::Done { .. })), 1, "it is over");
    let mut queue = Model::new(&["a"]);
    queue.spoiled("a");
    assert_eq!(queue.told(|what| matches!(what, Happening::Drained)), 1);
}

#[test]
fn a_run_that_is_going_on_is_not_touched_by_its_image_being_spoiled() {
    let mut queue = Model::new(&["a"]);
    let run = queue.boot(1);
    queue.spoiled("a");
    assert_eq!(queue.job("a").state, JobState::Active);
    queue.put(1, Some(run), "good", Verdict::Passed);
    queue.pass(1000);
    queue.tick();
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
}

#[test]
fn a_spoiled_image_never_hides_that_an_attempt_failed() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 3;
    let run = queue.boot(1);
    queue.pass(100_000);
    queue.tick();
    assert_eq!(queue.job("a").state, JobState::Queued);
    // As a late report would leave it.
    let failed = queue.snapshot.runs.iter_mut().find(|known| known.id == run).expect("the run");
    failed.verdict = Some(Verdict::Failed);
    queue.spoiled("a");
    assert_eq!(queue.job("a").verdict, Some(Verdict::Failed));
    let reason = queue.job("a").reason.clone().unwrap_or_default();
    assert!(reason.starts_with("attempt 1 on ") && reason.ends_with("; a wrong digest"), "{reason}");
}

#[test]
fn a_spoiled_job_that_is_asked_for_again_is_fetched_again() {
    let mut queue = Model::new(&["a"]);
    queue.spoiled("a");
    let job = queue.job("a").id;
    assert_eq!(queue.decide(|snapshot, context| snapshot.retry(job, None, None, context.now)), Ok(()));
    assert_eq!((queue.job("a").state, queue.job("a").verdict), (JobState::Queued, None));
}
