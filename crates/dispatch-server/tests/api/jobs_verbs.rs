//! What is done with jobs, one by one and many at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::{Lab, Place, on_both};

on_both![
    a_job_that_waits_is_changed,
    a_job_is_changed_only_as_it_was_seen,
    a_job_is_held_back_and_let_go,
    a_job_that_runs_can_only_be_cancelled,
    a_job_that_is_over_can_be_asked_for_again,
    a_deleted_job_is_out_of_sight,
    jobs_are_put_into_another_order,
    a_job_is_moved_however_crowded_its_place_is,
    a_job_that_comes_again_does_so_at_the_end,
    many_jobs_have_each_their_own_outcome,
    many_jobs_are_changed_only_as_they_were_seen,
    an_order_is_given_only_to_jobs_as_they_were_seen,
    a_move_that_made_room_is_made_once_under_its_key,
    what_is_no_job_is_not_found,
];

async fn verb(lab: &Lab, id: &str, verb: &str) -> (u16, Value) {
    let reply = lab.post(&format!("/jobs/{id}/{verb}"), &json!({})).await;
    (reply.status.as_u16(), reply.json())
}

async fn a_job_that_waits_is_changed(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab
        .job_with(json!({
            "template_id": "boot-a", "dedupe_key": "k", "retries": 1, "not_before": "2027-01-01T00:00:00Z",
        }))
        .await;
    let edit = json!({
        "name": "new", "inputs": {"a": "1"}, "labels": {"b": "2"}, "required_labels": ["c"], "priority": 3,
        "not_before": null, "dedupe_key": null, "retries": null,
    });
    let reply = lab.put(&format!("/jobs/{id}"), &edit).await;
    assert_eq!((reply.status.as_u16(), reply.header("etag")), (200, "\"2\""));
    let job = reply.json();
    for (member, value) in edit.as_object().expect("an object") {
        assert_eq!(job.get(member).unwrap_or(&Value::Null), value, "{member} of {job}");
    }
    for (bad, status) in [
        (json!({"name": ""}), 422),
        (json!({"nmae": "x"}), 422),
        (json!({"inputs": null}), 422),
        (json!({"workflow": {"owner": "o", "repo": "r", "workflow_id": "w", "ref": "m"}}), 409),
    ] {
        assert_eq!(lab.put(&format!("/jobs/{id}"), &bad).await.status.as_u16(), status, "{bad}");
    }
    let other = lab.job_with(json!({"template_id": "boot-a", "dedupe_key": "other"})).await;
    assert_eq!(lab.put(&format!("/jobs/{id}"), &json!({"dedupe_key": "other"})).await.problem(), "conflict");
    assert_eq!(lab.put(&format!("/jobs/{other}"), &json!({"dedupe_key": "other"})).await.status, 200);
}

async fn a_job_is_changed_only_as_it_was_seen(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let path = format!("/api/v1/jobs/{id}");
    let edit = |tag: &str, name: &str| {
        let request = lab.operator.request(Method::PUT, &path).header("If-Match", tag);
        lab.operator.send(request.json(&json!({ "name": name })))
    };
    assert_eq!(edit("\"1\"", "two").await.status, 200);
    assert_eq!(edit("\"1\"", "three").await.problem(), "changed");
    assert_eq!(edit("\"1\", \"2\"", "four").await.status, 200);
    assert_eq!(edit("*", "five").await.status, 200);
    let stale = lab.put(&format!("/jobs/{id}"), &json!({"name": "six", "version": 1})).await;
    assert_eq!((stale.status.as_u16(), stale.problem().as_str()), (412, "changed"));
    for verb in ["pause", "unpause", "cancel", "retry", "disable-requeue"] {
        let stale = lab.post(&format!("/jobs/{id}/{verb}"), &json!({"version": 1})).await;
        assert_eq!(stale.problem(), "changed", "{verb}");
    }
    let stale = lab.post(&format!("/jobs/{id}/move"), &json!({"to": "first", "version": 1})).await;
    assert_eq!(stale.problem(), "changed");
    let request = lab.operator.request(Method::DELETE, &path).header("If-Match", "\"1\"");
    assert_eq!(lab.operator.send(request).await.problem(), "changed");
    assert_eq!(lab.names("").await, ["five"]);
}

async fn a_job_is_held_back_and_let_go(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let (status, job) = verb(&lab, &id, "pause").await;
    assert_eq!((status, &job["paused"], &job["waits"]), (200, &json!(true), &json!("waits: it is paused")));
    assert_eq!(lab.boot(1).await, None);
    let (status, job) = verb(&lab, &id, "unpause").await;
    assert_eq!((status, &job["paused"]), (200, &json!(false)));
    lab.boot(1).await.expect("a run");
}

async fn a_job_that_runs_can_only_be_cancelled(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    lab.boot(1).await.expect("a run");
    for verb_ in ["pause", "unpause", "retry"] {
        assert_eq!(verb(&lab, &id, verb_).await.0, 409, "{verb_}");
    }
    assert_eq!(lab.put(&format!("/jobs/{id}"), &json!({"name": "x"})).await.status, 409);
    assert_eq!(lab.post(&format!("/jobs/{id}/move"), &json!({"to": "last"})).await.status, 409);
    let delete = lab.operator.request(Method::DELETE, &format!("/api/v1/jobs/{id}"));
    assert_eq!(lab.operator.send(delete).await.status, 409);
    let (status, job) = verb(&lab, &id, "cancel").await;
    assert_eq!((status, &job["state"], &job["status"]), (200, &json!("cancelled"), &json!("cancelled")));
    assert_eq!(
        (&job["reason"], &job["runs"][0]["state"]),
        (&json!("cancelled by hand"), &json!("cancelled"))
    );
    assert_eq!(verb(&lab, &id, "cancel").await.0, 409);
}

async fn a_job_that_is_over_can_be_asked_for_again(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    assert_eq!(verb(&lab, &id, "retry").await.0, 409, "it is not over");
    verb(&lab, &id, "cancel").await;
    let (status, job) = verb(&lab, &id, "retry").await;
    assert_eq!((status, &job["state"]), (200, &json!("queued")));
    assert_eq!(lab.names("").await, ["one"]);
}

async fn a_deleted_job_is_out_of_sight(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let delete = || lab.operator.send(lab.operator.request(Method::DELETE, &format!("/api/v1/jobs/{id}")));
    let gone = delete().await;
    assert_eq!((gone.status.as_u16(), gone.body.len()), (204, 0));
    assert_eq!(delete().await.status, 404);
    assert_eq!(lab.operator.get(&format!("/api/v1/jobs/{id}")).await.status, 404);
    assert!(lab.names("").await.is_empty());
}

async fn jobs_are_put_into_another_order(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b, c) = (lab.job("a").await, lab.job("b").await, lab.job("c").await);
    let done = lab.put("/groups/metal/queue/reorder", &json!({"job_ids": [c, a, b]})).await;
    assert_eq!((done.status.as_u16(), &done.json()["moved"]), (200, &json!(3)));
    assert_eq!(lab.names("").await, ["c", "a", "b"]);
    verb(&lab, &a, "cancel").await;
    let left = lab.put("/groups/metal/queue/reorder", &json!({"job_ids": [b, a, c]})).await.json();
    assert_eq!(left["left"], json!([a]));
    assert_eq!(lab.names("").await, ["b", "c"]);
    for (ids, status) in [(json!([b, b]), 409), (json!([]), 422), (json!(["x"]), 422)] {
        let refused = lab.put("/groups/metal/queue/reorder", &json!({ "job_ids": ids })).await;
        assert_eq!(refused.status.as_u16(), status, "{ids}");
    }
    let elsewhere = lab.put("/groups/actions/queue/reorder", &json!({ "job_ids": [b] })).await;
    assert_eq!(elsewhere.status, 409);
}

async fn a_job_is_moved_however_crowded_its_place_is(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b, c) = (lab.job("a").await, lab.job("b").await, lab.job("c").await);
    let move_to = async |id: &str, to: Value| {
        let reply = lab.post(&format!("/jobs/{id}/move"), &to).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        lab.names("").await
    };
    assert_eq!(move_to(&c, json!({"to": "first"})).await, ["c", "a", "b"]);
    assert_eq!(move_to(&c, json!({"to": "last"})).await, ["a", "b", "c"]);
    assert_eq!(move_to(&c, json!({ "before": b })).await, ["a", "c", "b"]);
    // Each halves the room behind `a`, of which there are 20 bits.
    for round in 0..24 {
        let (id, names) = if round % 2 == 0 { (&b, ["a", "b", "c"]) } else { (&c, ["a", "c", "b"]) };
        let seen = lab.get(&format!("/jobs/{id}")).await["version"].clone();
        assert_eq!(move_to(id, json!({ "after": a, "version": seen })).await, names, "round {round}");
    }
    verb(&lab, &b, "cancel").await;
    for (to, status) in [
        (json!({ "before": b }), 409),
        (json!({"before": "x"}), 422),
        (json!({}), 422),
        (json!({"to": "first", "before": a}), 422),
    ] {
        assert_eq!(lab.post(&format!("/jobs/{a}/move"), &to).await.status.as_u16(), status, "{to}");
    }
}

async fn a_job_that_comes_again_does_so_at_the_end(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("again").await;
    lab.job("other").await;
    let set = lab
        .put(&format!("/jobs/{id}/auto-requeue"), &json!({"auto_requeue": true, "requeue_limit": 1}))
        .await;
    assert_eq!((set.status.as_u16(), &set.json()["requeue_limit"]), (200, &json!(1)));
    verb(&lab, &id, "cancel").await;
    assert_eq!(lab.names("").await, ["other", "again"], "it is behind those that waited");
    let next = lab.get("/groups/metal/queue").await["items"][1].clone();
    assert_eq!((&next["requeue_count"], &next["auto_requeue"]), (&json!(1), &json!(true)));
    let (status, next) = verb(&lab, next["id"].as_str().expect("an id"), "disable-requeue").await;
    assert_eq!((status, &next["auto_requeue"]), (200, &json!(false)));
    let over = lab.put(&format!("/jobs/{id}/auto-requeue"), &json!({"auto_requeue": true})).await;
    assert_eq!(over.problem(), "conflict");
    let bad = json!({"auto_requeue": true, "requeue_limit": 1_000_001});
    assert_eq!(lab.put(&format!("/jobs/{id}/auto-requeue"), &bad).await.json()["field"], "/requeue_limit");
}

async fn many_jobs_have_each_their_own_outcome(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b) = (lab.job("a").await, lab.job("b").await);
    let nothing = "00000000-0000-0000-0000-000000000000";
    verb(&lab, &a, "cancel").await;
    let wish = json!({"ids": [a, b, nothing], "action": "cancel"});
    let request = || lab.operator.request(Method::POST, "/api/v1/jobs/bulk").header("Idempotency-Key", "k");
    let done = lab.operator.send(request().json(&wish)).await.json();
    let outcomes: Vec<bool> =
        done["outcomes"].as_array().expect("a list").iter().map(|one| one["done"] == true).collect();
    assert_eq!(outcomes, [false, true, false]);
    assert_eq!(done["outcomes"][0]["why"], "it is over already");
    let again = lab.operator.send(request().json(&wish)).await.json();
    assert_eq!(again, done, "what was done is answered again");
    let other = json!({"ids": [b], "action": "retry"});
    let done = lab.post("/jobs/bulk", &other).await.json();
    assert_eq!(done["outcomes"][0]["done"], true);
    for bad in [json!({"ids": [], "action": "pause"}), json!({"ids": ["x"], "action": "pause"})] {
        assert_eq!(lab.post("/jobs/bulk", &bad).await.status, 422);
    }
}

async fn many_jobs_are_changed_only_as_they_were_seen(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b, c) = (lab.job("a").await, lab.job("b").await, lab.job("c").await);
    lab.put(&format!("/jobs/{b}"), &json!({"name": "b2"})).await;
    let wish = json!({"ids": [a, b, c], "action": "pause", "versions": {a.as_str(): 1, b.as_str(): 1}});
    let done = lab.post("/jobs/bulk", &wish).await.json();
    let outcomes: Vec<bool> =
        done["outcomes"].as_array().expect("a list").iter().map(|one| one["done"] == true).collect();
    assert_eq!(outcomes, [true, false, true], "{done}");
    assert_eq!(lab.get(&format!("/jobs/{b}")).await["paused"], false);
    let other = json!({"ids": [a], "action": "unpause", "versions": {c.as_str(): 1}});
    let refused = lab.post("/jobs/bulk", &other).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["field"]), (409, &json!(format!("/versions/{c}"))));
}

async fn an_order_is_given_only_to_jobs_as_they_were_seen(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b) = (lab.job("a").await, lab.job("b").await);
    lab.put(&format!("/jobs/{b}"), &json!({"name": "b2"})).await;
    let order = |versions: Value| json!({"job_ids": [b, a], "versions": versions});
    let stale = lab.put("/groups/metal/queue/reorder", &order(json!({a.as_str(): 1, b.as_str(): 1}))).await;
    assert_eq!((stale.status.as_u16(), stale.problem()), (412, "changed".to_owned()));
    assert!(stale.json()["detail"].as_str().is_some_and(|detail| detail.contains(&b)), "it says which");
    assert_eq!(lab.names("").await, ["a", "b2"], "nothing was changed");
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert_eq!(lab.put("/groups/metal/queue/reorder", &order(json!({nobody: 1}))).await.status, 409);
    for bad in [0, 9_007_199_254_740_992_i64] {
        let refused = lab.put("/groups/metal/queue/reorder", &order(json!({b.as_str(): bad}))).await;
        assert_eq!(refused.status, 422, "{bad}");
    }
    let fresh = lab.put("/groups/metal/queue/reorder", &order(json!({b.as_str(): 2}))).await;
    assert_eq!(fresh.status, 200);
    assert_eq!(lab.names("").await, ["b2", "a"]);
}

async fn a_move_that_made_room_is_made_once_under_its_key(place: Place) {
    let lab = Lab::new(place).await;
    let (a, b, c) = (lab.job("a").await, lab.job("b").await, lab.job("c").await);
    let moved = async |id: &str, round: usize| {
        let request = lab.operator.request(Method::POST, &format!("/api/v1/jobs/{id}/move"));
        let request = request.header("Idempotency-Key", round.to_string()).json(&json!({ "after": a }));
        lab.operator.send(request).await.status.as_u16()
    };
    // Each halves the room behind `a`, of which there are 20 bits.
    for round in 0..24 {
        assert_eq!(moved(if round % 2 == 0 { &c } else { &b }, round).await, 200, "round {round}");
    }
    assert_eq!(lab.names("").await, ["a", "b", "c"]);
    for round in (0..24).filter(|round| round % 2 == 0) {
        assert_eq!(moved(&c, round).await, 200);
    }
    assert_eq!(lab.names("").await, ["a", "b", "c"], "they were made already");
}

async fn what_is_no_job_is_not_found(place: Place) {
    let lab = Lab::new(place).await;
    for id in ["x", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(lab.operator.get(&format!("/api/v1/jobs/{id}")).await.status, 404);
        for verb_ in ["pause", "unpause", "cancel", "retry", "disable-requeue"] {
            assert_eq!(verb(&lab, id, verb_).await.0, 404, "{verb_}");
        }
        assert_eq!(lab.post(&format!("/jobs/{id}/move"), &json!({"to": "first"})).await.status, 404);
        assert_eq!(lab.put(&format!("/jobs/{id}"), &json!({})).await.status, 404);
    }
}
