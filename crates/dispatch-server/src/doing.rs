//! What a job is doing at the moment, or why it waits, in words: for somebody who looks at a rack full of servers and
//! wants to know which of them needs a hand.

use std::time::Duration;

use dispatch_core::queue::JobState;
use dispatch_core::run::{MAX_BROKEN, Transfer};
use dispatch_core::{Job, Run, RunState, Verdict, text};
use jiff::Timestamp;

use crate::view::Issues;

/// What a job is doing, or why it waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// A few words, if a few will do.
    pub brief: Option<String>,
    /// A sentence, if it takes one.
    pub detail: Option<String>,
}

/// What the other jobs and the hosts have to do with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around {
    /// How many jobs get their host before this one.
    pub ahead: usize,
    /// How many hosts are at work.
    pub busy: usize,
    /// Whether any host has asked in this session.
    pub is_asked: bool,
}

/// A job and what is its own.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The job.
    pub job: &'a Job,
    /// The run that it is on.
    pub run: Option<&'a Run>,
    /// All of its attempts, the oldest first.
    pub runs: &'a [&'a Run],
    /// What became of the reports of `run`.
    pub issues: &'a Issues,
    /// It waits for nothing but an image that is being fetched.
    pub is_coming: bool,
}

impl Doing {
    /// What a job is doing.
    #[must_use]
    pub fn new(own: Own<'_>, around: Around, now: Timestamp) -> Self {
        let Own { job, run, runs, issues, .. } = own;
        match (job.state, run) {
            (JobState::Queued, _) => Self::queued(own, past(runs), around),
            (JobState::Active, Some(run)) => {
                let detail = [issues.refused(), active(run, now)].into_iter().flatten();
                let detail = detail.reduce(|refused, rest| format!("{refused}; {rest}"));
                Self { brief: in_brief(run), detail }
            }
            (JobState::Active, None) => Self::default(),
            (JobState::Done | JobState::Cancelled, run) => {
                let reports = run.map_or(0, |run| run.reports);
                let brief = (reports > 0).then(|| issues.in_brief(reports));
                let past = past(runs).or_else(|| job.reason.clone());
                // What was refused is what a person can still do something about.
                let detail = [issues.refused(), past].into_iter().flatten();
                Self { brief, detail: detail.reduce(|refused, past| format!("{refused}; {past}")) }
            }
        }
    }

    fn queued(own: Own<'_>, past: Option<String>, around: Around) -> Self {
        if own.is_coming {
            let coming = "its image is being fetched";
            let detail = past.map_or(coming.to_owned(), |past| format!("{coming}; {past}"));
            return Self { brief: Some("being fetched".to_owned()), detail: Some(detail) };
        }
        if own.job.waits.is_some() {
            return Self { brief: None, detail: own.job.waits.clone() };
        }
        if around.ahead > 0 {
            let brief = format!("behind {}", text::count(around.ahead as u64, "other"));
            return Self { brief: Some(brief), detail: past };
        }
        let next = match (around.is_asked, around.busy) {
            (false, 0) => "no server has asked yet: enter the boot URL in its boot menu".to_owned(),
            (true, 0) => "goes to the server that asks next".to_owned(),
            // Also one that has been at work since before this session.
            (_, 1) => "goes to the server that asks next; 1 is at work".to_owned(),
            (_, busy) => format!("goes to the server that asks next; {busy} are at work"),
        };
        let detail = past.map_or(next.clone(), |past| format!("{next}; {past}"));
        Self { brief: Some("next in line".to_owned()), detail: Some(detail) }
    }
}

/// What went wrong in the attempts that are over, the latest first: it is what one can still do something about.
fn past(runs: &[&Run]) -> Option<String> {
    let ended: Vec<(u32, &str)> = runs
        .iter()
        .rev()
        .filter(|run| run.state.is_final())
        .filter_map(|run| Some((run.attempt, run.reason.as_deref()?)))
        .collect();
    match ended.as_slice() {
        [] => None,
        [(_, reason), rest @ ..] if !rest.is_empty() && rest.iter().all(|(_, other)| other == reason) => {
            Some(format!("{} times: {reason}", ended.len()))
        }
        all => {
            let words = all.iter().map(|(attempt, reason)| format!("attempt {attempt}: {reason}"));
            Some(words.collect::<Vec<_>>().join("; "))
        }
    }
}

/// What the word for a run's state leaves open.
fn in_brief(run: &Run) -> Option<String> {
    let words = match (run.state, run.transfer) {
        (RunState::Assigned, _) if run.broken > 0 => "broke off",
        (RunState::Assigned, _) if run.reboots > 0 => "reboots",
        (RunState::Downloading, Transfer::Partial) => "in parts",
        (RunState::Downloading, Transfer::Whole) => "all sent",
        (RunState::Downloading, Transfer::Lost | Transfer::Unsure) => "unsure",
        // Of several reports the worst counts, so that it stays so.
        (RunState::Reported, _) if run.verdict == Some(Verdict::Failed) => "has failed",
        (RunState::Reported, _) => return Some(text::count(run.reports.into(), "report")),
        _ => return None,
    };
    Some(words.to_owned())
}

fn active(run: &Run, now: Timestamp) -> Option<String> {
    let left = run.deadline.map(|deadline| left(now, deadline));
    let within = |words: &str| match &left {
        Some(left) => format!("{words}, {left} left"),
        None => words.to_owned(),
    };
    Some(match (run.state, run.transfer) {
        (RunState::Assigned, _) if run.broken > 0 => {
            within(&format!("its download broke off, {} of {MAX_BROKEN} times; may ask again", run.broken))
        }
        (RunState::Assigned, _) if run.reboots > 0 => {
            within(&format!("reboots, {} of {} times that it may", run.reboots, run.reboots_allowed))
        }
        (RunState::Assigned, _) => within("has not begun its download yet"),
        (RunState::Downloading, Transfer::Partial) => within("has a part of its image; asks for the rest"),
        (RunState::Downloading, Transfer::Whole) => within("has its image; no call from it yet"),
        (RunState::Downloading, Transfer::Lost | Transfer::Unsure) => {
            within("may have its image, or not; no call from it yet")
        }
        (RunState::Booting, _) => within("its image is up; no report yet"),
        (RunState::Reported, _) => {
            let verdict = run.verdict.map(|verdict| format!(", {verdict} so far")).unwrap_or_default();
            let left = left.map(|left| format!(", or in {left}")).unwrap_or_default();
            let reports = text::count(run.reports.into(), "report");
            format!("{reports}{verdict}; ends when it asks again{left}")
        }
        // While bytes go out, the download speaks for itself.
        _ => return None,
    })
}

/// How long there is until a deadline.
fn left(now: Timestamp, deadline: Timestamp) -> String {
    one_unit(Duration::try_from(deadline.duration_since(now)).unwrap_or_default())
}

/// A time in one unit, so that it is read and not watched.
pub(crate) fn one_unit(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6000 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h", seconds.saturating_add(1800) / 3600),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use dispatch_core::{GroupId, HostId, JobId, RunId, WorkloadId};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    pub(crate) fn job(state: JobState) -> Job {
        let id = JobId::new(NOW, [0; 10]);
        let workload = WorkloadId::new(NOW, [0; 10]);
        Job { state, position: 1, ..Job::new(id, GroupId::session(), "a.efi", workload, NOW) }
    }

    pub(crate) fn run(state: RunState, transfer: Transfer, seconds: i64) -> Run {
        Run {
            id: RunId::new(NOW, [0; 10]),
            job: JobId::new(NOW, [0; 10]),
            host: HostId::new(NOW, [0; 10]),
            workload: WorkloadId::new(NOW, [0; 10]),
            epoch: 1,
            attempt: 1,
            state,
            verdict: Some(Verdict::Passed),
            reason: None,
            created: NOW,
            since: NOW,
            deadline: Some(Timestamp::from_second(seconds).expect("a time")),
            size: 1000,
            transfer,
            transfers: 1,
            sent: 0,
            most_sent: 0,
            broken: 0,
            wholes: 0,
            reboots: 0,
            reboots_allowed: 0,
            booted_at: None,
            is_disputed: false,
            reports: 2,
        }
    }

    fn failed(attempt: u32, reason: &str) -> Run {
        Run { attempt, reason: Some(reason.to_owned()), ..run(RunState::Failed, Transfer::Whole, 0) }
    }

    fn told(job: &Job, run: Option<&Run>, runs: &[&Run], around: Around) -> Doing {
        let own = Own { job, run, runs, issues: &Issues::default(), is_coming: false };
        Doing::new(own, around, NOW)
    }

    fn queued(runs: &[&Run], around: Around) -> (Option<String>, Option<String>) {
        let Doing { brief, detail } = told(&job(JobState::Queued), None, runs, around);
        (brief, detail)
    }

    #[test]
    fn in_brief_is_said_what_the_state_leaves_open() {
        let brief = |state, transfer| {
            let run = run(state, transfer, 60);
            told(&job(JobState::Active), Some(&run), &[&run], Around::default()).brief
        };
        assert_eq!(brief(RunState::Downloading, Transfer::Whole).as_deref(), Some("all sent"));
        assert_eq!(brief(RunState::Downloading, Transfer::Sending), None);
        assert_eq!(brief(RunState::Reported, Transfer::Whole).as_deref(), Some("2 reports"));
        let failing = Run { verdict: Some(Verdict::Failed), ..run(RunState::Reported, Transfer::Whole, 60) };
        assert_eq!(in_brief(&failing).as_deref(), Some("has failed"));
    }

    fn doing(run: &Run) -> String {
        let doing = told(&job(JobState::Active), Some(run), &[run], Around::default());
        doing.detail.unwrap_or_default()
    }

    #[test]
    fn the_first_in_line_says_what_it_waits_for_and_the_others_for_whom() {
        let brief = |text: &str| Some(text.to_owned());
        let nobody = Around::default();
        let detail = "no server has asked yet: enter the boot URL in its boot menu";
        let hung = failed(1, "hung");
        assert_eq!(queued(&[], nobody), (brief("next in line"), brief(detail)));
        let busy = Around { busy: 3, is_asked: true, ahead: 0 };
        let detail = "goes to the server that asks next; 3 are at work; attempt 1: hung";
        assert_eq!(queued(&[&hung], busy), (brief("next in line"), brief(detail)));
        assert_eq!(queued(&[], Around { ahead: 1, ..busy }), (brief("behind 1 other"), None));
        let (_, resumed) = queued(&[], Around { busy: 1, is_asked: false, ahead: 0 });
        assert_eq!(resumed.as_deref(), Some("goes to the server that asks next; 1 is at work"));
        let behind = Around { ahead: 12, ..busy };
        assert_eq!(queued(&[&hung], behind), (brief("behind 12 others"), brief("attempt 1: hung")));
    }

    #[test]
    fn what_cannot_run_says_why_before_anything_else() {
        let job = Job { waits: Some("its image cannot be read".to_owned()), ..job(JobState::Queued) };
        let doing = told(&job, None, &[&failed(1, "hung")], Around::default());
        assert_eq!(doing.detail.as_deref(), Some("its image cannot be read"));
    }

    #[test]
    fn a_job_whose_image_is_being_fetched_says_so_wherever_it_stands_in_the_queue() {
        let job = job(JobState::Queued);
        let hung = failed(1, "hung");
        for ahead in [0, 7] {
            let own =
                Own { job: &job, run: None, runs: &[&hung], issues: &Issues::default(), is_coming: true };
            let doing = Doing::new(own, Around { ahead, ..Around::default() }, NOW);
            assert_eq!(doing.brief.as_deref(), Some("being fetched"));
            assert_eq!(doing.detail.as_deref(), Some("its image is being fetched; attempt 1: hung"));
        }
    }

    #[test]
    fn a_report_that_will_never_be_an_issue_is_said_before_anything_else() {
        let issues = Issues { refused: vec!["no issues there".to_owned()], ..Issues::default() };
        let run = run(RunState::Reported, Transfer::Whole, 90);
        let hung = failed(1, "hung");
        let told = |state| {
            let own = Own {
                job: &job(state),
                run: Some(&run),
                runs: &[&hung, &run],
                issues: &issues,
                is_coming: false,
            };
            Doing::new(own, Around::default(), NOW)
        };
        let done = told(JobState::Done);
        assert_eq!(done.brief.as_deref(), Some("2 reports, 1 refused"));
        let never = "1 report will never be an issue: no issues there";
        assert_eq!(done.detail, Some(format!("{never}; attempt 1: hung")));
        let active = told(JobState::Active).detail.unwrap_or_default();
        assert!(active.starts_with(&format!("{never}; 2 reports, passed so far")), "{active}");
    }

    #[test]
    fn what_went_wrong_is_told_the_latest_first_and_the_same_only_once() {
        let (hung, lost, again) = (failed(1, "hung"), failed(2, "lost"), failed(2, "hung"));
        assert_eq!(past(&[&hung, &lost]).as_deref(), Some("attempt 2: lost; attempt 1: hung"));
        assert_eq!(past(&[&hung, &again]).as_deref(), Some("2 times: hung"));
        assert_eq!(past(&[&run(RunState::Finished, Transfer::Whole, 0)]), None);
        let job = Job { reason: Some("attempt 1 on a host: hung".to_owned()), ..job(JobState::Done) };
        let doing = told(&job, None, &[&hung], Around::default());
        assert_eq!(doing.detail.as_deref(), Some("attempt 1: hung"));
    }

    #[test]
    fn an_active_run_says_what_it_waits_for_and_how_long_it_may() {
        assert_eq!(
            doing(&run(RunState::Assigned, Transfer::None, 300)),
            "has not begun its download yet, 5 min left"
        );
        let broken = Run { broken: 2, ..run(RunState::Assigned, Transfer::None, 40) };
        assert_eq!(doing(&broken), "its download broke off, 2 of 3 times; may ask again, 40 s left");
        assert_eq!(doing(&run(RunState::Downloading, Transfer::Sending, 100)), "");
        assert_eq!(
            doing(&run(RunState::Downloading, Transfer::Whole, 840)),
            "has its image; no call from it yet, 14 min left"
        );
        assert_eq!(
            doing(&run(RunState::Booting, Transfer::Whole, 86_000)),
            "its image is up; no report yet, 24 h left"
        );
        assert_eq!(
            doing(&run(RunState::Reported, Transfer::Whole, 90)),
            "2 reports, passed so far; ends when it asks again, or in 90 s"
        );
    }
}
