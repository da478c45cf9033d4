//! What a person orders: cancel and retry.

use super::*;

impl Model {
    fn cancel(&mut self, name: &str) -> Result<(), NotDone> {
        let job = self.job(name).id;
        self.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now))
    }

    fn retry(&mut self, name: &str) -> Result<(), NotDone> {
        let job = self.job(name).id;
        self.decide(|snapshot, context| snapshot.retry(job, None, None, context.now))
    }
}

#[test]
fn a_cancelled_job_leaves_the_queue_and_stays_out_when_the_source_is_scanned() {
    let mut queue = Model::new(&["a", "b"]);
    assert_eq!(queue.cancel("a"), Ok(()));
    assert_eq!(queue.job("a").state, JobState::Cancelled);
    let files = [file("a", 1000), file("b", 1000)];
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    assert_eq!(queue.head(1).as_deref(), Some("b"));
    assert_eq!(queue.cancel("a"), Err(NotDone::Over));
    let changed = [file("a", 2000), file("b", 1000)];
    queue.decide(|snapshot, context| snapshot.open(&changed, &[], context));
    assert_eq!(queue.job("a").state, JobState::Queued, "that is another image");
}

#[test]
fn cancelling_a_job_ends_its_run_and_what_it_reports_later_changes_no_verdict() {
    let mut queue = Model::new(&["a", "b"]);
    let run = queue.boot(1);
    assert_eq!(queue.cancel("a"), Ok(()));
    assert_eq!(queue.run(run).state, RunState::Cancelled);
    assert!(queue.put(1, None, "late", Verdict::Passed).is_some(), "nothing is lost");
    assert_eq!((queue.job("a").state, queue.job("a").verdict), (JobState::Cancelled, None));
    assert_eq!(queue.head(1).as_deref(), Some("b"), "its host is free");
}

#[test]
fn cancelling_the_last_job_ends_the_queue() {
    let mut queue = Model::new(&["a"]);
    assert_eq!(queue.cancel("a"), Ok(()));
    assert_eq!(queue.told(|what| matches!(what, Happening::Drained)), 1);
}

#[test]
fn a_retried_job_has_all_of_its_attempts_again_and_its_old_verdict_is_gone() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    queue.boot(1);
    queue.put(1, None, "bad", Verdict::Failed);
    assert_eq!(queue.retry("a"), Err(NotDone::NotOver));
    queue.pass(1000);
    queue.tick();
    assert_eq!(queue.job("a").verdict, Some(Verdict::Failed));
    queue.pass(1);
    assert_eq!(queue.retry("a"), Ok(()));
    assert_eq!((queue.job("a").state, queue.job("a").verdict), (JobState::Queued, None));
    queue.boot(1);
    queue.put(1, None, "good", Verdict::Passed);
    queue.pass(1000);
    queue.tick();
    assert_eq!(queue.job("a").verdict, Some(Verdict::Passed));
    assert_eq!(queue.latest("a").attempt, 2, "attempts are counted on");
}

#[test]
fn a_late_report_of_an_attempt_before_the_retry_does_not_touch_the_job() {
    let mut queue = Model::new(&["a"]);
    queue.snapshot.policy.retries = 0;
    let first = queue.boot(1);
    queue.pass(100_000);
    queue.tick();
    assert_eq!(queue.job("a").verdict, Some(Verdict::Errored));
    assert_eq!(queue.retry("a"), Ok(()));
    assert!(queue.put(1, Some(first), "late", Verdict::Passed).is_some());
    assert_eq!((queue.job("a").state, queue.job("a").verdict), (JobState::Queued, None));
}
