//! Rows, tables and JSON.

use dispatch_core::queue::Issue;
use dispatch_core::{Effect, ReportId};
use dispatch_store::{Refused, WaitingEffect};

use super::*;
use crate::doing::tests::{job, run};

fn row(name: &str, state: &str, note: &str) -> Row {
    Row {
        sign: "⏳",
        name: name.into(),
        state: state.into(),
        verdict: None,
        host: None,
        attempt: 0,
        age: Duration::from_secs(70),
        reports: 0,
        issues: Issues::default(),
        fetch: None,
        note: note.into(),
        id: JobId::new(Timestamp::UNIX_EPOCH, [0; 10]),
        job: JobState::Queued,
        is_stuck: false,
        is_coming: false,
        download: None,
        doing: Doing::default(),
    }
}

#[test]
fn a_table_is_aligned_and_keeps_to_its_width() {
    let note =
        "its image cannot be read: No such file or directory (os error 2), and that is all there is to say";
    let jobs = vec![row("a.efi", "queued", note), row(&"long-".repeat(20), "downloading", "")];
    let table = table(&View { jobs, tally: "2 queued".into(), effects_due: 0, outbox: Vec::new() }, 80);
    assert_eq!(
        table,
        "    workload                    state        verdict  host  for\n\
         ⏳  a.efi                       queued                      1 min 10 s\n    \
         its image cannot be read: No such file or directory (os error 2), and that\n    \
         is all there is to say\n\
         ⏳  long-long-long-long-long-…  downloading                 1 min 10 s\n\
         \n2 queued\n"
    );
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let name = "\u{1b}]0;x\u{7}.efi";
    let mut odd = row(name, "queued", &format!("{name} cannot be read\u{9b}2J"));
    odd.host = Some("\u{1b}[2J".into());
    let table =
        table(&View { jobs: vec![odd], tally: "1 queued".into(), effects_due: 0, outbox: Vec::new() }, 80);
    assert!(!table.contains(|letter: char| letter.is_control() && letter != '\n'), "{table:?}");
    assert!(table.contains("]0;x .efi"), "{table:?}");
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// What `dispatch-core` notes of a job whose image is being fetched.
const COMING: &str = dispatch_core::queue::ON_ITS_WAY;

fn workload(number: u8) -> WorkloadId {
    WorkloadId::new(NOW, [number; 10])
}

fn queued(number: u8, waits: Option<&str>) -> Job {
    Job {
        id: JobId::new(NOW, [number; 10]),
        workload: workload(number),
        waits: waits.map(str::to_owned),
        ..job(JobState::Queued)
    }
}

fn seen(jobs: Vec<Job>, fetching: &[Fetching]) -> Vec<Row> {
    let overview = Overview { jobs, ..Overview::default() };
    View::new(&overview, &HashMap::new(), fetching, NOW, NOW).jobs
}

fn half_here(number: u8) -> Fetching {
    Fetching { workload: workload(number), got: 50 << 20, size: 100 << 20, per_second: Some(1_048_576.0) }
}

#[test]
fn a_job_whose_image_is_being_fetched_is_not_stuck_and_says_how_far_it_is() {
    for waits in [None, Some(COMING)] {
        let row = &seen(vec![queued(1, waits)], &[half_here(1)])[0];
        assert!(row.is_coming && !row.is_stuck);
        assert_eq!((row.sign, row.state.as_str()), (FETCHING, "queued"));
        assert_eq!(row.note, "its image is being fetched, 50 % of 100.0 MiB, 1.0 MiB/s, 50 s left");
        let json = serde_json::to_value(row).expect("JSON");
        let expected = serde_json::json!({ "got": 50 << 20, "size": 100 << 20, "per_second": 1_048_576.0 });
        assert_eq!(json["fetch"], expected);
    }
}

#[test]
fn whoever_reads_the_state_alone_knows_that_an_image_is_on_its_way() {
    let row = &seen(vec![queued(1, Some(COMING))], &[])[0];
    assert!(row.is_coming && !row.is_stuck && row.fetch.is_none());
    assert_eq!(row.note, "its image is being fetched");
    assert!(serde_json::to_value(row).expect("JSON").get("fetch").is_none());
}

#[test]
fn trouble_with_an_image_is_told_before_how_far_it_is() {
    let trouble = "its image cannot be read: No space left on device";
    let row = &seen(vec![queued(1, Some(trouble))], &[half_here(1)])[0];
    assert!(row.is_stuck && !row.is_coming && row.fetch.is_none());
    assert_eq!((row.sign, row.note.as_str()), ("⏳", trouble));
}

#[test]
fn a_job_whose_image_is_here_goes_before_one_whose_image_is_being_fetched() {
    let rows = seen(vec![queued(1, None), queued(2, None), queued(3, None)], &[half_here(1)]);
    let briefs: Vec<_> = rows.iter().map(|row| row.doing.brief.as_deref().unwrap_or_default()).collect();
    assert_eq!(briefs, ["being fetched", "next in line", "behind 1 other"]);
}

#[test]
fn a_run_that_goes_on_has_its_image_whatever_is_fetched() {
    let mut active = queued(1, None);
    active.state = JobState::Active;
    let row = &seen(vec![active], &[half_here(1)])[0];
    assert!(!row.is_coming && row.fetch.is_none());
}

/// A job that is done, with three reports: an issue, one that waits, and one that will never be.
fn reported() -> Overview {
    let done = queued(1, None);
    let report = |number| ReportId::new(NOW, [number; 10]);
    let run = Run { reports: 3, job: done.id, ..run(RunState::Finished, Transfer::Whole, 0) };
    let url = "https://github.test/o/r/issues/12".to_owned();
    let issue = Issue { report: report(1), repository: "o/r".to_owned(), number: 12, url };
    let effect =
        Effect::FileIssue { report: report(2), run: run.id, repository: "o/r".to_owned(), api: None };
    let waiting = WaitingEffect {
        key: effect.idempotency_key(),
        effect,
        at: NOW,
        due: Timestamp::from_second(40).expect("a time"),
        attempts: 2,
        error: Some("GitHub does not answer".to_owned()),
        progress: None,
    };
    Overview {
        issues: vec![(run.id, issue)],
        refused: vec![Refused { report: report(3), run: run.id, why: "it is spam".to_owned() }],
        outbox: vec![waiting],
        effects_due: 1,
        runs: vec![run],
        jobs: vec![Job { state: JobState::Done, verdict: Some(Verdict::Passed), ..done }],
        ..Overview::default()
    }
}

#[test]
fn what_became_of_each_report_is_in_the_row_and_what_waits_below_the_table() {
    let view = View::new(&reported(), &HashMap::new(), &[], NOW, NOW);
    let words = "1 report will never be an issue: it is spam; 3 reports, 1 issue, 1 to be filed, 1 refused";
    assert_eq!(view.jobs[0].note, words);
    let table = table(&view, 200);
    assert!(table.contains(&format!("    {words}; filed as #12\n")), "{table}");
    let waits = "\n1 passed\n1 issue waits: GitHub does not answer; next try in 40 s\n";
    assert!(table.ends_with(waits), "{table}");
}

#[test]
fn what_waits_and_what_was_filed_is_in_the_json() {
    let view = View::new(&reported(), &HashMap::new(), &[], NOW, NOW);
    let json = serde_json::to_value(&view).expect("JSON");
    let outbox = serde_json::json!([{
        "what": "issue",
        "count": 1,
        "why": "GitHub does not answer",
        "attempts": 2,
        "next_in": 40,
        "seconds": 0,
    }]);
    assert_eq!(json["outbox"], outbox);
    let issues = serde_json::json!({
        "filed": [{ "number": 12, "repository": "o/r", "url": "https://github.test/o/r/issues/12" }],
        "waiting": 1,
        "refused": ["it is spam"],
    });
    assert_eq!(json["jobs"][0]["issues"], issues);
}
