//! Runs, workloads and reports.

use dispatch_core::Verdict;
use reqwest::Method;
use serde_json::json;

use crate::past::Lab;

#[tokio::test]
async fn no_answer_has_the_identifier_by_which_a_run_is_reported() {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "a.efi").await);
    let (job, run) = lab.ran(&workload, &host, Some(Verdict::Passed), &[]).await;
    let (_, going_on) = lab.ran(&workload, &host, None, &[]).await;
    let (name, report) = (run.id.public_name(), lab.reader.get("/api/v1/reports").await.json());
    let report = report["items"][0]["id"].as_str().expect("an id").to_owned();
    for path in [
        "/api/v1/runs".to_owned(),
        format!("/api/v1/runs?job={}", job.id),
        format!("/api/v1/runs/{name}"),
        format!("/api/v1/runs/{name}/timeline"),
        format!("/api/v1/runs/{}", going_on.id.public_name()),
        "/api/v1/reports".to_owned(),
        format!("/api/v1/reports/{report}"),
        "/api/v1/hosts".to_owned(),
        format!("/api/v1/hosts/{}", host.id),
        "/api/v1/workloads".to_owned(),
        format!("/api/v1/workloads/{}", workload.id),
        "/api/v1/groups/any/workloads".to_owned(),
        "/api/v1/groups/any/history".to_owned(),
        "/api/v1/groups/any/history/stats".to_owned(),
        "/api/v1/groups/any/history/export?format=csv".to_owned(),
        "/api/v1/groups/any/history/export?format=jsonl".to_owned(),
        "/api/v1/groups/any/matrix".to_owned(),
        "/api/v1/groups/any/matrix?format=markdown".to_owned(),
        "/api/v1/boot/requests".to_owned(),
        "/api/v1/status".to_owned(),
        "/metrics".to_owned(),
    ] {
        let reply = lab.reader.get(&path).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        for secret in [run.id, going_on.id] {
            assert!(!body.contains(&secret.to_string()), "{path}: {body}");
        }
    }
    for secret in [run.id, going_on.id] {
        assert_eq!(lab.reader.get(&format!("/api/v1/runs/{secret}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_run_is_shown_with_what_belongs_to_it() {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "a.efi").await);
    let (job, run) = lab.ran(&workload, &host, Some(Verdict::Failed), &[]).await;
    let name = run.id.public_name().to_string();
    let shown = lab.reader.get(&format!("/api/v1/runs/{name}")).await.json();
    assert_eq!(shown["run"]["job"], json!({"id": job.id.to_string(), "name": "a.efi"}));
    assert_eq!((&shown["run"]["state"], &shown["run"]["sign"]), (&json!("finished"), &json!("🏁")));
    assert_eq!((&shown["run"]["verdict"], &shown["run"]["seconds"]), (&json!("failed"), &json!(60.0)));
    assert_eq!(shown["timeline"][0]["event"], "assigned");
    assert_eq!(shown["timeline"][0]["run"]["id"], name.as_str());
    assert_eq!((&shown["reports"][0]["run_id"], &shown["attempts"][0]["id"]), (&json!(name), &json!(name)));
}

#[tokio::test]
async fn runs_are_narrowed_in_every_respect_and_paged_without_a_gap() {
    let mut lab = Lab::new().await;
    let (one, other) = (lab.host(1).await, lab.host(2).await);
    let (a, b) = (lab.workload("any", "a.efi").await, lab.workload("epyc", "b.efi").await);
    for verdict in [Verdict::Passed, Verdict::Failed, Verdict::Passed] {
        lab.ran(&a, &one, Some(verdict), &[]).await;
    }
    lab.ran(&b, &other, Some(Verdict::Passed), &[]).await;
    lab.ran(&b, &other, None, &[]).await;
    let count = async |query: &str| {
        let page = lab.reader.get(&format!("/api/v1/runs?{query}")).await.json();
        page["items"].as_array().expect("items").len()
    };
    for (query, wanted) in [
        (String::new(), 5),
        ("group=any".to_owned(), 3),
        ("group=nobody".to_owned(), 0),
        ("group=a%20b".to_owned(), 0),
        (format!("host={}", other.id), 2),
        ("host=r9".to_owned(), 0),
        ("verdict=passed".to_owned(), 3),
        ("verdict=passed&group=epyc".to_owned(), 1),
        ("state=booting".to_owned(), 1),
        ("job=x".to_owned(), 0),
    ] {
        assert_eq!(count(&query).await, wanted, "{query}");
    }
    assert_eq!(lab.reader.get("/api/v1/runs?state=odd").await.status, 400);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lab.reader.get(&format!("/api/v1/runs?limit=2{cursor}")).await.json();
        seen.extend(page["items"].as_array().expect("items").iter().map(|run| run["created_at"].to_string()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
}

#[tokio::test]
async fn a_report_is_json_or_its_text_as_it_is_asked_for() {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "a.efi").await);
    lab.ran(&workload, &host, Some(Verdict::Passed), &[]).await;
    let page = lab.reader.get("/api/v1/reports?group=any&verdict=passed").await.json();
    let path = format!("/api/v1/reports/{}", page["items"][0]["id"].as_str().expect("an id"));
    let shown = lab.reader.get(&path).await.json();
    assert_eq!((&shown["report"]["title"], &shown["body"]), (&json!("it ran"), &json!("# all\nof it")));
    assert_eq!(shown["content"]["title"], "it ran");
    let request = lab.reader.request(Method::GET, &path).header("accept", "text/markdown");
    let text = lab.reader.send(request).await;
    assert_eq!(text.body, "# all\nof it");
    assert_eq!(
        (text.header("content-type"), text.header("vary")),
        ("text/markdown; charset=utf-8", "Accept")
    );
    assert_eq!(lab.reader.get("/api/v1/reports?verdict=failed").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_workload_shows_how_it_last_came_out() {
    let mut lab = Lab::new().await;
    let (host, workload) = (lab.host(1).await, lab.workload("any", "a.efi").await);
    lab.workload("epyc", "b.efi").await;
    for verdict in [Verdict::Passed, Verdict::Errored] {
        lab.ran(&workload, &host, Some(verdict), &[]).await;
    }
    let page = lab.reader.get("/api/v1/groups/any/workloads?offered=true").await.json();
    assert_eq!(page["items"].as_array().expect("items").len(), 1);
    assert_eq!(
        (&page["items"][0]["name"], &page["items"][0]["last_verdict"]),
        (&json!("a.efi"), &json!("errored"))
    );
    let all = lab.reader.get("/api/v1/workloads").await.json();
    assert_eq!(all["items"].as_array().expect("items").len(), 2);
    assert_eq!(lab.reader.get("/api/v1/groups/nobody/workloads").await.status, 404);
}
