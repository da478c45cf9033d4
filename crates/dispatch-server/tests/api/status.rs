//! How the service is, in its status and its metrics.

use dispatch_core::queue::Change;
use dispatch_core::{Event, Happening, Job, JobId, Verdict};
use serde_json::json;

use crate::past::Lab;

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
        }
    }
    let text = metrics(&lab).await;
    for (name, count) in [("created", 2), ("completed", 1), ("failed", 1)] {
        let line = format!("dispatch_jobs_{name}_total{{group=\"any\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}
