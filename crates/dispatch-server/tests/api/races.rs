//! Several clients at once, over real sockets: nothing is done twice, and nobody's change is lost unseen.

use std::collections::BTreeSet;

use dispatch_core::JobState;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{Lab, Place, on_both};
use crate::world::Client;

on_both![
    of_two_changes_of_one_version_one_is_made,
    a_key_makes_one_job_however_many_send_it_at_once,
    a_dedupe_key_makes_one_job_however_many_wish_for_it,
    whatever_is_done_at_once_leaves_jobs_that_the_rules_know,
];

/// Sends them all at once; the statuses.
async fn at_once(client: &Client, requests: Vec<(Method, String, Option<String>, Value)>) -> Vec<u16> {
    let mut sending = JoinSet::new();
    for (method, path, tag, body) in requests {
        let client = client.clone();
        sending.spawn(async move {
            let mut request = client.request(method.clone(), &format!("/api/v1{path}"));
            if let Some(tag) = tag {
                request = request.header("If-Match", tag);
            }
            let request = if method == Method::DELETE { request } else { request.json(&body) };
            client.send(request).await.status.as_u16()
        });
    }
    let mut statuses = sending.join_all().await;
    statuses.sort_unstable();
    statuses
}

async fn of_two_changes_of_one_version_one_is_made(place: Place) {
    let lab = Lab::new(place).await;
    let other = lab.job("other").await;
    let cases = |id: &str| {
        vec![
            (Method::PUT, format!("/jobs/{id}"), [json!({"name": "x"}), json!({"name": "y"})]),
            (Method::POST, format!("/jobs/{id}/pause"), [json!({}), json!({})]),
            (
                Method::PUT,
                format!("/jobs/{id}/auto-requeue"),
                [json!({"auto_requeue": true, "requeue_limit": 1}), json!({"auto_requeue": true})],
            ),
            (Method::POST, format!("/jobs/{id}/move"), [json!({"to": "first"}), json!({ "before": other })]),
            (Method::POST, format!("/jobs/{id}/cancel"), [json!({}), json!({})]),
            (Method::DELETE, format!("/jobs/{id}"), [json!({}), json!({})]),
        ]
    };
    for case in 0..cases("").len() {
        for _ in 0..3 {
            let id = lab.job("one").await;
            let (method, path, bodies) = cases(&id).swap_remove(case);
            let tag = Some("\"1\"".to_owned());
            let both = bodies.map(|body| (method.clone(), path.clone(), tag.clone(), body));
            let statuses = at_once(&lab.operator, both.to_vec()).await;
            let (won, lost) = (statuses[0], statuses[1]);
            let is_delete = method == Method::DELETE;
            assert_eq!(won, if is_delete { 204 } else { 200 }, "{method} {path}: {statuses:?}");
            assert_eq!(lost, if is_delete { 404 } else { 412 }, "{method} {path}: {statuses:?}");
            if !is_delete {
                assert_eq!(lab.get(&format!("/jobs/{id}")).await["version"], 2, "one change was made");
            }
        }
    }
    let statuses = at_once(
        &lab.operator,
        ["pause", "drain"]
            .map(|verb| (Method::POST, format!("/groups/metal/{verb}"), Some("\"1\"".to_owned()), json!({})))
            .to_vec(),
    )
    .await;
    assert_eq!(statuses, [200, 412]);
}

async fn a_key_makes_one_job_however_many_send_it_at_once(place: Place) {
    let lab = Lab::new(place).await;
    let mut sending = JoinSet::new();
    for _ in 0..8 {
        let client = lab.operator.clone();
        sending.spawn(async move {
            let request = client.request(Method::POST, "/api/v1/groups/metal/queue");
            let request = request.header("Idempotency-Key", "one").json(&json!({"template_id": "boot-a"}));
            client.send(request).await.json()["id"].as_str().expect("an id").to_owned()
        });
    }
    let ids: BTreeSet<String> = sending.join_all().await.into_iter().collect();
    assert_eq!((ids.len(), lab.names("").await.len()), (1, 1));
}

async fn a_dedupe_key_makes_one_job_however_many_wish_for_it(place: Place) {
    let lab = Lab::new(place).await;
    let wish = json!({"template_id": "boot-a", "dedupe_key": "k"});
    let one = (Method::POST, "/groups/metal/queue".to_owned(), None, wish);
    let statuses = at_once(&lab.operator, vec![one; 8]).await;
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!(lab.names("").await.len(), 1);
}

/// All verbs on a few jobs at the same time, while hosts ask for work.
async fn whatever_is_done_at_once_leaves_jobs_that_the_rules_know(place: Place) {
    let lab = Lab::new(place).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        let wish = json!({"template_id": "boot-a", "name": format!("job {number}"), "dedupe_key": format!("{number}")});
        ids.push(lab.job_with(wish).await);
    }
    for round in 0..4_u8 {
        let mut requests = Vec::new();
        for (number, id) in ids.iter().enumerate() {
            let other = &ids[(number + 1) % ids.len()];
            for verb in ["pause", "unpause", "cancel", "retry", "disable-requeue"] {
                requests.push((Method::POST, format!("/jobs/{id}/{verb}"), None, json!({})));
            }
            requests.push((Method::POST, format!("/jobs/{id}/move"), None, json!({ "after": other })));
            requests.push((
                Method::PUT,
                format!("/jobs/{id}"),
                None,
                json!({"name": format!("round {round}")}),
            ));
            requests.push((
                Method::PUT,
                format!("/jobs/{id}/auto-requeue"),
                None,
                json!({"auto_requeue": true, "requeue_limit": 3}),
            ));
        }
        let order = json!({"job_ids": ids.iter().rev().collect::<Vec<_>>()});
        requests.push((Method::PUT, "/groups/metal/queue/reorder".to_owned(), None, order));
        requests.push((Method::POST, "/jobs/bulk".to_owned(), None, json!({"ids": ids, "action": "retry"})));
        requests.push((Method::POST, "/groups/metal/pause".to_owned(), None, json!({})));
        requests.push((Method::POST, "/groups/metal/unpause".to_owned(), None, json!({})));
        if round == 3 {
            requests.push((Method::DELETE, format!("/jobs/{}", ids[0]), None, json!({})));
        }
        let hosts = async {
            for host in 1..=4 {
                lab.boot(host).await;
            }
        };
        let (statuses, ()) = tokio::join!(at_once(&lab.operator, requests), hosts);
        assert!(statuses.iter().all(|status| matches!(status, 200 | 204 | 404 | 409)), "{statuses:?}");
    }
    let mut all: BTreeSet<String> = ids.into_iter().collect();
    let listed = lab.get("/groups/metal/queue?limit=100").await;
    let listed = listed["items"].as_array().expect("a list");
    all.extend(listed.iter().map(|job| job["id"].as_str().expect("an id").to_owned()));
    let jobs = lab.all_jobs(&all).await;
    let focus = dispatch_store::Focus { jobs: jobs.iter().map(|job| job.id).collect(), ..Default::default() };
    let policy = lab.world.api.engine().policy();
    let runs = lab.world.store.look(focus, &policy, |snapshot| snapshot.runs).await.expect("a look");
    let mut keys = BTreeSet::new();
    for job in &jobs {
        let going_on = runs.iter().filter(|run| run.job == job.id && !run.state.is_final()).count();
        assert_eq!(going_on, usize::from(job.state == JobState::Active), "{job:?}");
        assert_eq!(job.state == JobState::Done, job.verdict.is_some(), "{job:?}");
        assert!(!job.is_deleted || job.state.is_final(), "{job:?}");
        if !job.state.is_final() {
            assert!(keys.insert(job.dedupe_key.clone()), "{job:?} shares its key");
        }
    }
    let open = jobs.iter().filter(|job| !job.state.is_final()).count();
    assert_eq!(listed.len(), open, "the queue shows what is not over");
}
