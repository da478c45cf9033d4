//! How the service is, in its status and its metrics.

use std::time::Duration;

use dispatch_core::queue::Change;
use dispatch_core::{Event, Happening, Job, JobId, Verdict};
use serde_json::json;

use crate::past::Lab;

/// How long what was measured is taken for what there is.
const FRESH: Duration = Duration::from_secs(5);

async fn metrics(lab: &Lab) -> String {
    let reply = lab.world.nobody().get("/metrics").await;
    String::from_utf8(reply.body.to_vec()).expect("text")
}

#[tokio::test]
async fn the_status_counts_queues_and_hosts() {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "a.efi").await);
    let before = lab.reader.get("/api/v1/status").await.json();
    assert_eq!((&before["status"], &before["hosts"]), (&json!("healthy"), &json!({"online": 1, "busy": 0})));
    lab.ran(&workload, &host, None, &[]).await;
    let id = JobId::new(lab.now(), [99; 10]);
    let job = Job::new(id, workload.group.clone(), "next", workload.id, lab.now());
    lab.commit(vec![Change::Job(job)]).await;
    let status = lab.reader.get("/api/v1/status").await.json();
    assert_eq!(status["queue"], json!([{"group_id": "any", "pending": 1, "triggered": 1, "running": 0}]));
    assert_eq!(status["hosts"], json!({"online": 1, "busy": 1}));
    assert_eq!(status["reasons"], json!([]));
    assert!(status["last_event"].as_i64().is_some_and(|seq| seq > 0), "{status}");
    let text = metrics(&lab).await;
    for line in [
        "dispatch_queue_size{group=\"any\",status=\"pending\"} 1\n",
        "dispatch_queue_size{group=\"any\",status=\"triggered\"} 1\n",
        "dispatch_hosts_online{group=\"any\"} 1\n",
        "dispatch_hosts_busy{group=\"any\"} 1\n",
        "dispatch_hosts_online{group=\"epyc\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}

#[tokio::test]
async fn each_job_is_counted_once_however_often_somebody_looks() {
    let mut lab = Lab::new().await;
    let workload = lab.workload("any", "a.efi").await;
    let done = |verdict| Happening::Done { verdict, reason: None };
    let queued = Happening::Queued { kind: workload.kind, size: 1 };
    for (number, what) in
        [queued.clone(), done(Verdict::Passed), queued, done(Verdict::Errored)].into_iter().enumerate()
    {
        let (at, group) = (lab.now(), Some(workload.group.clone()));
        let event = Event { at, group, job: None, run: None, host: None, by: None, what };
        lab.commit(vec![Change::Event(Box::new(event))]).await;
        if number % 2 == 1 {
            metrics(&lab).await;
            lab.world.clock.pass(FRESH);
        }
    }
    let text = metrics(&lab).await;
    for (name, count) in [("created", 2), ("completed", 1), ("failed", 1)] {
        let line = format!("dispatch_jobs_{name}_total{{group=\"any\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test]
async fn what_is_measured_is_counted_every_few_seconds_at_most() {
    let mut lab = Lab::new().await;
    let workload = lab.workload("any", "a.efi").await;
    let size = async |lab: &Lab| {
        let text = metrics(lab).await;
        let line = text
            .lines()
            .find(|line| line.starts_with("dispatch_queue_size{group=\"any\",status=\"pending\"}"));
        line.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    let job = |number: u8, lab: &Lab| {
        let id = JobId::new(lab.now(), [number; 10]);
        Job::new(id, workload.group.clone(), "next", workload.id, lab.now())
    };
    lab.commit(vec![Change::Job(job(90, &lab))]).await;
    assert_eq!(size(&lab).await.as_deref(), Some("1"));
    lab.commit(vec![Change::Job(job(91, &lab))]).await;
    assert_eq!(size(&lab).await.as_deref(), Some("1"), "as it was a moment ago");
    lab.world.clock.pass(FRESH);
    assert_eq!(size(&lab).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_times_that_the_queue_was_gone_through_are_counted_and_of_github_nothing_is_made_up() {
    use dispatch_boot::Queue as _;
    let lab = Lab::new().await;
    let cycles = async |lab: &Lab| {
        let text = metrics(lab).await;
        assert!(!text.contains("\ndispatch_github_rate_limit_remaining "), "GitHub has told nothing: {text}");
        let line = text.lines().find_map(|line| line.strip_prefix("dispatch_dispatcher_cycles_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("a count")
    };
    assert_eq!(cycles(&lab).await, 0);
    let who = dispatch_core::Sighting { address: [192, 0, 2, 7].into(), mac: None, name: None };
    for count in 1..=2 {
        lab.world.api.engine().ask(&who, dispatch_core::queue::Ask::Head).await.expect("an answer");
        assert_eq!(cycles(&lab).await, count);
    }
}

#[tokio::test]
async fn everything_that_is_measured_is_in_the_documentation() {
    let mut lab = Lab::new().await;
    let workload = lab.workload("any", "a.efi").await;
    let queued = Happening::Queued { kind: workload.kind, size: 1 };
    let done = [Verdict::Passed, Verdict::Failed].map(|verdict| Happening::Done { verdict, reason: None });
    let job =
        Job::new(JobId::new(lab.now(), [90; 10]), workload.group.clone(), "next", workload.id, lab.now());
    lab.commit(vec![Change::Job(job)]).await;
    for what in done.into_iter().chain([queued]) {
        let (at, group) = (lab.now(), Some(workload.group.clone()));
        let event = Event { at, group, job: None, run: None, host: None, by: None, what };
        lab.commit(vec![Change::Event(Box::new(event))]).await;
    }
    let text = metrics(&lab).await;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let suffix = |kind: &str| match kind {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    let mut measured: Vec<_> = names.map(|(name, kind)| format!("{name}{}", suffix(kind))).collect();
    // GitHub has told nothing here.
    measured.push("dispatch_github_rate_limit_remaining".to_owned());
    measured.sort();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let table = std::fs::read_to_string(path).expect("the documentation");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<_> = rows.map(|(name, _)| name.to_owned()).collect();
    documented.sort();
    assert_eq!(measured, documented);
}
