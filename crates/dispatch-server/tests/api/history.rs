//! What became of jobs: the history, its statistics, its export.

use std::time::Duration;

use dispatch_core::Verdict;
use serde_json::{Value, json};

use crate::past::Lab;

const HISTORY: &str = "/api/v1/groups/any/history";

async fn filled() -> Lab {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "=a,\"b\".efi").await);
    for (verdict, labels) in [
        (Verdict::Passed, &[("os", "linux"), ("el", "geth")][..]),
        (Verdict::Failed, &[("os", "linux")]),
        (Verdict::Unjudged, &[]),
        (Verdict::Errored, &[]),
        (Verdict::Passed, &[("el", "geth")]),
    ] {
        lab.ran(&workload, &host, Some(verdict), labels).await;
    }
    lab
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().expect("items")
}

#[tokio::test]
async fn the_third_page_does_not_repeat_the_second_while_new_jobs_end() {
    let mut lab = filled().await;
    let (host, workload) = (lab.host(2).await, lab.workload("any", "c.efi").await);
    for name in ["cursor", "before"] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = lab.reader.get(&format!("{HISTORY}?limit=2{cursor}")).await.json();
            seen.extend(items(&page).iter().map(|job| job["completed_at"].to_string()));
            assert_eq!(page["has_more"], json!(page.get("next_cursor").is_some()));
            pages += 1;
            lab.ran(&workload, &host, Some(Verdict::Passed), &[]).await;
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&{name}={next}");
        }
        assert!(pages >= 3 && seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
    }
}

#[tokio::test]
async fn all_pages_have_the_count_of_the_first_one() {
    let mut lab = filled().await;
    let (host, workload) = (lab.host(2).await, lab.workload("any", "c.efi").await);
    let first = lab.reader.get(&format!("{HISTORY}?limit=2&label.os=linux")).await.json();
    assert_eq!((&first["total_count"], first.get("next_cursor")), (&json!(2), None));
    let first = lab.reader.get(&format!("{HISTORY}?limit=2")).await.json();
    assert_eq!(first["total_count"], 5);
    lab.ran(&workload, &host, Some(Verdict::Passed), &[]).await;
    let next = first["next_cursor"].as_str().expect("another page");
    let second = lab.reader.get(&format!("{HISTORY}?limit=2&cursor={next}")).await.json();
    assert_eq!(second["total_count"], 5, "they are not counted anew");
    assert_eq!(lab.reader.get(&format!("{HISTORY}?limit=2")).await.json()["total_count"], 6);
}

#[tokio::test]
async fn all_filters_hold_together() {
    let lab = filled().await;
    for (query, wanted) in [
        ("", 5),
        ("status=completed", 3),
        ("status=failed", 2),
        ("status=failed,completed", 5),
        ("status=running", 0),
        ("label.os=linux", 2),
        ("label.os=linux&label.el=geth", 1),
        ("label.el=geth&status=completed", 2),
        ("label.os=windows", 0),
        ("before=2026-01-02T03:06:06Z", 2),
    ] {
        let page = lab.reader.get(&format!("{HISTORY}?{query}")).await.json();
        assert_eq!(items(&page).len(), wanted, "{query}");
        if !query.starts_with("before") {
            assert_eq!(page["total_count"], wanted, "{query}");
        }
    }
    for wrong in ["status=odd", "before=odd", "limit=0", "limit=101", "label.=x", "labels=x"] {
        assert_eq!(lab.reader.get(&format!("{HISTORY}?{wrong}")).await.status, 400, "{wrong}");
    }
    assert_eq!(lab.reader.get("/api/v1/groups/nobody/history").await.status, 404);
}

#[tokio::test]
async fn statistics_count_what_the_history_has() {
    let lab = filled().await;
    let stats = lab.reader.get(&format!("{HISTORY}/stats?range=1h")).await.json();
    assert_eq!(stats["totals"], json!({"completed": 3, "failed": 2, "cancelled": 0}));
    assert_eq!(stats["verdicts"], json!({"passed": 2, "failed": 1, "errored": 1, "unjudged": 1}));
    assert_eq!(stats["running"], json!({"count": 5, "median_seconds": 60.0, "p95_seconds": 60.0}));
    assert_eq!(stats["buckets"].as_array().expect("buckets").len(), 12);
    assert_eq!(lab.reader.get(&format!("{HISTORY}/stats")).await.json()["range"], "1h");
    lab.world.clock.pass(Duration::from_hours(20));
    let later = lab.reader.get(&format!("{HISTORY}/stats?range=auto")).await;
    assert_eq!((&later.json()["range"], &later.json()["totals"]["completed"]), (&json!("24h"), &json!(3)));
    assert_eq!(lab.reader.get(&format!("{HISTORY}/stats?range=2h")).await.status, 400);
}

#[tokio::test]
async fn statistics_are_counted_anew_after_a_few_seconds_and_not_for_each_who_asks() {
    let mut lab = filled().await;
    let (host, workload) = (lab.host(2).await, lab.workload("any", "c.efi").await);
    let completed = async |lab: &Lab, range: &str| {
        let stats = lab.reader.get(&format!("{HISTORY}/stats?range={range}")).await.json();
        stats["totals"]["completed"].as_u64().expect("a count")
    };
    assert_eq!(completed(&lab, "24h").await, 3);
    let (job, _) = lab.ran(&workload, &host, None, &[]).await;
    assert_eq!(completed(&lab, "6h").await, 3);
    let done = dispatch_core::JobState::Done;
    let over = dispatch_core::Job { state: done, verdict: Some(Verdict::Passed), since: lab.now(), ..job };
    lab.commit(vec![dispatch_core::Change::Job(over)]).await;
    assert_eq!(completed(&lab, "6h").await, 3, "as it was a moment ago");
    assert_eq!(completed(&lab, "1h").await, 4, "nobody has asked for this one");
    lab.world.clock.pass(Duration::from_secs(5));
    assert_eq!(completed(&lab, "6h").await, 4);
}

#[tokio::test]
async fn an_export_has_every_job_and_no_formula() {
    let lab = filled().await;
    let csv = lab.reader.get(&format!("{HISTORY}/export?format=csv")).await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"any-history.csv\"");
    let text = String::from_utf8(csv.body.to_vec()).expect("text");
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].starts_with("id,name,group_id,"));
    assert!(lines[1].contains(",\"'=a,\"\"b\"\".efi\",any,"), "{text}");
    let jsonl = lab.reader.get(&format!("{HISTORY}/export?format=jsonl&status=failed")).await;
    let text = String::from_utf8(jsonl.body.to_vec()).expect("text");
    let jobs: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job["status"] == "failed"), "{text}");
}

#[tokio::test]
async fn an_export_has_more_than_one_page() {
    let mut lab = Lab::new().await;
    let workload = lab.workload("any", "a.efi").await;
    let now = lab.now();
    let jobs = (0..1201_u32).map(|number| {
        let mut random = [7; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        let id = dispatch_core::JobId::new(now, random);
        let job = dispatch_core::Job::new(id, workload.group.clone(), "a", workload.id, now);
        let state = dispatch_core::JobState::Cancelled;
        dispatch_core::Change::Job(dispatch_core::Job { state, ..job })
    });
    lab.commit(jobs.collect()).await;
    let all = lab.reader.get(&format!("{HISTORY}/export?format=jsonl")).await;
    let mut lines: Vec<&str> = std::str::from_utf8(&all.body).expect("text").lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1201);
}

/// While a client takes the beginning of a history, its jobs are taken out of sight: what it still gets is what was loaded
/// before that, and not all of it.
#[tokio::test]
async fn of_a_large_export_only_what_the_client_takes_is_in_memory() {
    const JOBS: u32 = 3000;
    let mut lab = Lab::new().await;
    let workload = lab.workload("any", "a.efi").await;
    let now = lab.now();
    let input = ("text".to_owned(), "x".repeat(20_000));
    let job = |number: u32| {
        let mut random = [7; 10];
        random[6..].copy_from_slice(&number.to_be_bytes());
        let id = dispatch_core::JobId::new(now, random);
        let job = dispatch_core::Job::new(id, workload.group.clone(), "a", workload.id, now);
        dispatch_core::Job { state: dispatch_core::JobState::Cancelled, ..job }
    };
    let large = |number| dispatch_core::Job { inputs: [input.clone()].into(), ..job(number) };
    for first in (0..JOBS).step_by(500) {
        lab.commit((first..first + 500).map(|number| dispatch_core::Change::Job(large(number))).collect())
            .await;
    }
    let mut response = lab
        .reader
        .request(reqwest::Method::GET, &format!("{HISTORY}/export?format=csv"))
        .send()
        .await
        .expect("an answer");
    let mut bytes = response.chunk().await.expect("a piece").expect("a piece").len();
    let gone = |number| dispatch_core::Job { is_deleted: true, ..job(number) };
    lab.commit((0..JOBS).map(|number| dispatch_core::Change::Job(gone(number))).collect()).await;
    while let Some(piece) = response.chunk().await.expect("a piece") {
        bytes += piece.len();
    }
    // Pages of ten megabytes: one that is read, one that is on its way, and what the system takes of both.
    let all = usize::try_from(JOBS).expect("few") * 20_000;
    assert!(bytes < all * 3 / 4, "{bytes} of {all}");
}
