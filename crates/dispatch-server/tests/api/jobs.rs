//! Jobs are put into queues, and queues are looked at.

use std::time::Duration;

use dispatch_server::api::idempotency::sweep;
use dispatch_server::clock::Clock as _;
use dispatch_wire::api::Role;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::lab::{Lab, Place, on_both};

on_both![
    a_job_of_a_template_is_what_the_template_says_and_what_the_wish_says,
    a_job_by_hand_names_a_workload_or_a_workflow,
    a_wish_that_cannot_be_says_where_and_why,
    a_job_with_a_known_dedupe_key_is_that_job,
    a_request_that_comes_twice_with_its_key_makes_one_job,
    many_jobs_are_made_all_or_none,
    a_job_that_is_spread_becomes_one_for_each_host,
    a_queue_comes_in_pages_in_its_order,
    a_queue_is_filtered,
    a_runs_identifier_is_in_no_answer,
    what_is_shown_of_a_job_or_a_group_is_never_said_to_be_as_it_was,
    what_was_refused_under_a_key_is_refused_again,
    a_job_says_when_it_last_changed,
    a_key_is_remembered_for_two_days,
    a_service_that_goes_on_forgets_old_keys_as_well,
];

async fn a_job_of_a_template_is_what_the_template_says_and_what_the_wish_says(place: Place) {
    let lab = Lab::new(place).await;
    let wish = json!({
        "template_id": "boot-a", "inputs": {"own": "2"}, "labels": {"team": "x"}, "priority": 7,
        "required_labels": ["rack:1"], "retries": 3, "paused": true, "auto_requeue": true, "requeue_limit": 2,
        "not_before": "2026-02-01T00:00:00Z", "dedupe_key": "k",
    });
    let made = lab.post("/groups/metal/queue", &wish).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(made["jobs"].as_array().map(Vec::len), Some(1));
    let id = made["id"].as_str().expect("an id");
    let reply = lab.operator.get(&format!("/api/v1/jobs/{id}")).await;
    assert_eq!(reply.header("etag"), "\"1\"");
    let job = reply.json();
    for (member, value) in [
        ("group_id", json!("metal")),
        ("template_id", json!("boot-a")),
        ("name", json!("Template boot-a")),
        ("state", json!("queued")),
        ("status", json!("pending")),
        ("inputs", json!({"usual": "1", "own": "2"})),
        ("labels", json!({"made": "template", "team": "x"})),
        ("required_labels", json!(["rack:1"])),
        ("priority", json!(7)),
        ("retries", json!(3)),
        ("paused", json!(true)),
        ("auto_requeue", json!(true)),
        ("requeue_limit", json!(2)),
        ("requeue_count", json!(0)),
        ("not_before", json!("2026-02-01T00:00:00Z")),
        ("dedupe_key", json!("k")),
        ("created_by", json!("operator")),
        ("waits", json!("waits: it is paused")),
        ("runs", json!([])),
        ("version", json!(1)),
        ("run_url", json!("")),
        ("error_message", json!("")),
    ] {
        assert_eq!(job[member], value, "{member} of {job}");
    }
    assert_eq!(job["workload"]["name"], "a.efi");
}

async fn a_job_by_hand_names_a_workload_or_a_workflow(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.workload("b.efi").await;
    let made = lab.post("/groups/metal/queue", &json!({ "workload_id": id, "name": "by hand" })).await.json();
    assert_eq!((&made["name"], &made["workload"]["id"]), (&json!("by hand"), &json!(id)));
    assert_eq!(made["template_id"], "");
    let four = json!({"owner": "o", "repo": "r", "workflow_id": "w.yaml", "ref": "main"});
    for wish in [four.clone(), json!({ "workflow": four })] {
        let made = lab.post("/groups/actions/queue", &wish).await;
        assert_eq!(made.status, 201);
        let made = made.json();
        for (member, value) in four.as_object().expect("an object") {
            assert_eq!(made[member], *value);
        }
        assert_eq!(made["waits"], "waits: groups of kind actions wait for their driver");
    }
}

async fn a_wish_that_cannot_be_says_where_and_why(place: Place) {
    let lab = Lab::new(place).await;
    let (image, nothing) = (lab.workload("a.efi").await, "00000000-0000-0000-0000-000000000000");
    for (path, wish, status, field) in [
        ("metal", json!({}), 422, Some("")),
        ("metal", json!({"template_id": "boot-a", "workload_id": image}), 422, Some("")),
        ("metal", json!({"owner": "o"}), 422, Some("")),
        ("metal", json!({"template_id": "boot-a", "nmae": "x"}), 422, Some("/nmae")),
        ("metal", json!({"template_id": "boot-a", "name": ""}), 422, Some("/name")),
        ("metal", json!({"template_id": "boot-a", "name": "a\u{0}b"}), 422, Some("/name")),
        ("metal", json!({"template_id": "boot-a", "labels": {"a": "x\ny"}}), 422, Some("/labels/a")),
        ("metal", json!({"template_id": "boot-a", "inputs": {"a/b": "\u{0}"}}), 422, Some("/inputs/a~1b")),
        ("metal", json!({"template_id": "boot-a", "priority": 1_000_001}), 422, Some("/priority")),
        ("metal", json!({"template_id": "boot-a", "retries": 101}), 422, Some("/retries")),
        ("metal", json!({"template_id": "boot-a", "not_before": "soon"}), 422, Some("/not_before")),
        ("metal", json!({"template_id": "boot-a", "spread": "all"}), 422, Some("/spread")),
        ("metal", json!({"template_id": "boot-a", "required_labels": [""]}), 422, Some("/required_labels/0")),
        (
            "metal",
            json!({"template_id": "boot-a", "inputs": {"a": "x".repeat(40_000), "b": "y".repeat(40_000)}}),
            422,
            Some("/inputs"),
        ),
        ("metal", json!({"workload_id": "a.efi"}), 422, Some("/workload_id")),
        ("metal", json!({"workload_id": nothing}), 409, Some("/workload_id")),
        ("metal", json!({"template_id": "nothing"}), 409, Some("/template_id")),
        ("metal", json!({"template_id": "flow"}), 409, Some("/template_id")),
        ("metal", json!({"template_id": "gone"}), 409, Some("/template_id")),
        ("metal", json!({"template_id": "boot-a", "spread": "each-host"}), 409, Some("/required_labels")),
        (
            "metal",
            json!({"workflow": {"owner": "o", "repo": "r", "workflow_id": "w", "ref": "m"}}),
            409,
            None,
        ),
        ("actions", json!({"workload_id": image}), 409, Some("/workload_id")),
        ("nothing", json!({"template_id": "boot-a"}), 404, None),
    ] {
        let reply = lab.post(&format!("/groups/{path}/queue"), &wish).await;
        assert_eq!(reply.status.as_u16(), status, "{wish}: {reply:?}");
        assert_eq!(reply.json().get("field").and_then(Value::as_str), field, "{wish}");
    }
    assert!(lab.names("").await.is_empty(), "nothing was made");
}

async fn a_job_with_a_known_dedupe_key_is_that_job(place: Place) {
    let lab = Lab::new(place).await;
    let wish = json!({"template_id": "boot-a", "dedupe_key": "nightly"});
    let first = lab.job_with(wish.clone()).await;
    let again = lab.post("/groups/metal/queue", &wish).await;
    assert_eq!((again.status.as_u16(), again.json()["id"].as_str()), (200, Some(first.as_str())));
    assert_eq!(lab.post(&format!("/jobs/{first}/cancel"), &json!({})).await.status, 200);
    let other = lab.job_with(wish).await;
    assert_ne!(first, other, "the first one is over");
    let refused = lab.post(&format!("/jobs/{first}/retry"), &json!({})).await;
    assert_eq!(refused.problem(), "conflict", "another one has its key by now");
}

async fn a_request_that_comes_twice_with_its_key_makes_one_job(place: Place) {
    let lab = Lab::new(place).await;
    let send = |name: &str| {
        let request = lab.operator.request(Method::POST, "/api/v1/groups/metal/queue");
        let body = json!({"template_id": "boot-a", "name": name});
        lab.operator.send(request.header("Idempotency-Key", "once").json(&body))
    };
    let (first, again) = (send("a").await, send("a").await);
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(send("b").await.problem(), "key-reused");
    assert_eq!(lab.names("").await, ["a"]);
}

async fn many_jobs_are_made_all_or_none(place: Place) {
    let lab = Lab::new(place).await;
    let good = json!({"template_id": "boot-a", "name": "good"});
    for (bad, status, field) in [
        (json!({"template_id": "nothing"}), 409, "/jobs/1/template_id"),
        (json!({"template_id": "boot-a", "retries": 101}), 422, "/jobs/1/retries"),
    ] {
        let refused = lab.post("/groups/metal/queue/bulk", &json!({"jobs": [good, bad, good]})).await;
        assert_eq!((refused.status.as_u16(), refused.json()["field"].as_str()), (status, Some(field)));
        assert!(lab.names("").await.is_empty());
    }
    let made = lab.post("/groups/metal/queue/bulk", &json!({"jobs": [good, good]})).await;
    assert_eq!((made.status.as_u16(), made.json()["jobs"].as_array().map(Vec::len)), (201, Some(2)));
    assert_eq!(lab.names("").await, ["good", "good"]);
    assert_eq!(lab.post("/groups/metal/queue/bulk", &json!({"jobs": []})).await.status, 422);
}

async fn a_job_that_is_spread_becomes_one_for_each_host(place: Place) {
    let lab = Lab::new(place).await;
    for host in [1, 2] {
        assert_eq!(lab.boot(host).await, None, "there is nothing yet");
    }
    let wish = json!({"template_id": "boot-a", "spread": "each-host"});
    let made = lab.post("/groups/metal/queue", &wish).await.json();
    let jobs = made["jobs"].as_array().expect("jobs");
    assert_eq!((jobs.len(), &jobs[0]["id"]), (2, &made["id"]));
    let pins: Vec<&str> = jobs.iter().filter_map(|job| job["pin"].as_str()).collect();
    assert!(pins.iter().all(|pin| pin.starts_with("host:")) && pins[0] != pins[1], "{pins:?}");
}

async fn a_queue_comes_in_pages_in_its_order(place: Place) {
    let lab = Lab::new(place).await;
    for (name, priority) in [("c", 0), ("d", 0), ("e", -5), ("a", 9), ("b", 9)] {
        lab.job_with(json!({"template_id": "boot-a", "name": name, "priority": priority})).await;
    }
    assert_eq!(lab.names("").await, ["a", "b", "c", "d", "e"]);
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = lab.get(&format!("/groups/metal/queue{query}")).await;
        for job in page["items"].as_array().expect("a list") {
            seen.push(job["name"].as_str().expect("a name").to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

async fn a_queue_is_filtered(place: Place) {
    let lab = Lab::new(place).await;
    lab.job("ran").await;
    lab.boot(1).await.expect("a run");
    lab.job_with(json!({"template_id": "boot-a", "name": "red", "labels": {"color": "red", "n": "1"}})).await;
    let id = lab.workload("b.efi").await;
    lab.job_with(json!({"workload_id": id, "name": "blue", "labels": {"color": "blue", "n": "1"}})).await;
    for (query, names) in [
        ("", vec!["ran", "red", "blue"]),
        ("?status=pending", vec!["red", "blue"]),
        ("?status=triggered", vec!["ran"]),
        ("?status=pending,triggered", vec!["ran", "red", "blue"]),
        ("?status=completed", vec![]),
        ("?state=assigned", vec!["ran"]),
        ("?state=downloading,queued", vec!["red", "blue"]),
        ("?status=pending&state=assigned", vec![]),
        ("?template=boot-a", vec!["ran", "red"]),
        ("?template=nothing", vec![]),
        ("?label.color=red", vec!["red"]),
        ("?label.n=1&label.color=blue", vec!["blue"]),
        ("?label.n=1", vec!["red", "blue"]),
        ("?label.n=2", vec![]),
        ("?name=e", vec!["red", "blue"]),
        ("?name=R", vec![]),
        ("?name=%00", vec![]),
    ] {
        assert_eq!(lab.names(query).await, names, "{query}");
    }
    for (query, field) in [("?status=done", "status"), ("?state=x", "state"), ("?label.=1", "label.")] {
        let refused = lab.operator.get(&format!("/api/v1/groups/metal/queue{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.json()["field"].as_str()), (400, Some(field)));
    }
    assert_eq!(lab.operator.get("/api/v1/groups/nothing/queue").await.status, 404);
}

async fn a_runs_identifier_is_in_no_answer(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let run = lab.boot(1).await.expect("a run");
    let job = lab.get(&format!("/jobs/{id}")).await;
    let name = run.public_name().to_string();
    assert_eq!((job["run_id"].as_str(), &job["state"]), (Some(name.as_str()), &json!("assigned")));
    assert_eq!(job["runs"][0]["run_id"], name.as_str());
    assert_eq!(job["run_url"], format!("/api/v1/runs/{name}"));
    let host = &lab.get("/hosts").await["items"][0];
    let path = format!("/hosts/{}", host["uid"].as_str().expect("one"));
    assert_eq!(lab.put(&path, &json!({"key": "k1", "name": "rack 1"})).await.status, 200);
    let job = lab.get(&format!("/jobs/{id}")).await;
    for (shown, name) in
        [(&job["runner_id"], "k1"), (&job["host"]["id"], "k1"), (&job["runner_name"], "rack 1")]
    {
        assert_eq!(shown, name, "as the host itself is shown");
    }
    for shown in [job, lab.get("/groups/metal/queue").await, lab.get("/groups").await] {
        assert!(!shown.to_string().contains(&run.to_string()), "{shown}");
    }
}

/// Why a job waits and how many hosts a group has change without a change of their versions.
async fn what_is_shown_of_a_job_or_a_group_is_never_said_to_be_as_it_was(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job_with(json!({"template_id": "boot-a", "required_labels": ["rack:1"]})).await;
    let paths = [format!("/api/v1/jobs/{id}"), "/api/v1/groups/metal".to_owned()];
    let mut seen = Vec::new();
    for path in &paths {
        seen.push(lab.operator.get(path).await);
    }
    assert_eq!(lab.boot(1).await, None, "it does not fit");
    for (path, seen) in paths.iter().zip(seen) {
        let again = lab.operator.request(Method::GET, path).header("If-None-Match", seen.header("etag"));
        let again = lab.operator.send(again).await;
        assert_eq!(again.status, 200, "{path}");
        assert_eq!(again.header("etag"), seen.header("etag"), "nobody has changed it");
        assert_ne!(again.json(), seen.json(), "{path}");
    }
}

async fn what_was_refused_under_a_key_is_refused_again(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let retry = || {
        let request = lab.operator.request(Method::POST, &format!("/api/v1/jobs/{id}/retry"));
        lab.operator.send(request.header("Idempotency-Key", "once"))
    };
    let refused = retry().await;
    assert_eq!(refused.problem(), "conflict", "it is not over");
    lab.post(&format!("/jobs/{id}/cancel"), &json!({})).await;
    let again = retry().await;
    assert_eq!(
        (again.problem(), &again.json()["detail"]),
        ("conflict".to_owned(), &refused.json()["detail"])
    );
    assert_eq!(lab.get(&format!("/jobs/{id}")).await["state"], "cancelled", "nothing was done");
}

/// Asks for a job with a key, by a new session: those of long ago are over.
async fn ask_once(lab: &Lab) -> String {
    let operator = lab.world.client(Role::Operator).await;
    let request = operator.request(Method::POST, "/api/v1/groups/metal/queue");
    let request = request.header("Idempotency-Key", "once").json(&json!({"template_id": "boot-a"}));
    operator.send(request).await.json()["id"].as_str().expect("an id").to_owned()
}

async fn a_key_is_remembered_for_two_days(place: Place) {
    let lab = Lab::new(place).await;
    let first = ask_once(&lab).await;
    for hours in [47, 2] {
        lab.world.clock.pass(Duration::from_hours(hours));
        // It forgets what is old, and then sees that it is to end.
        let stop = CancellationToken::new();
        stop.cancel();
        sweep(lab.world.api.engine().clone(), stop).await;
        assert_eq!(ask_once(&lab).await == first, hours == 47, "{hours} hours later");
    }
}

async fn a_service_that_goes_on_forgets_old_keys_as_well(place: Place) {
    let lab = Lab::new(place).await;
    let mut sweeping = JoinSet::new();
    sweeping.spawn(sweep(lab.world.api.engine().clone(), CancellationToken::new()));
    let first = ask_once(&lab).await;
    lab.world.clock.pass(Duration::from_hours(47));
    assert_eq!(ask_once(&lab).await, first);
    lab.world.clock.pass(Duration::from_hours(2));
    while ask_once(&lab).await == first {
        tokio::task::yield_now().await;
    }
}

async fn a_job_says_when_it_last_changed(place: Place) {
    let lab = Lab::new(place).await;
    let id = lab.job("one").await;
    let other = lab.job("other").await;
    let (path, mut last) = (format!("/jobs/{id}"), String::new());
    for (verb, body) in [
        ("", json!({"name": "another"})),
        ("/pause", json!({})),
        ("/unpause", json!({})),
        ("/move", json!({ "after": other })),
        ("/auto-requeue", json!({"auto_requeue": true})),
    ] {
        lab.world.clock.pass(Duration::from_secs(10));
        let path = format!("{path}{verb}");
        let is_put = verb.is_empty() || verb == "/auto-requeue";
        let shown = if is_put { lab.put(&path, &body).await } else { lab.post(&path, &body).await }.json();
        let updated = shown["updated_at"].as_str().expect("a time").to_owned();
        assert_eq!(updated, lab.world.clock.now().to_string(), "{verb}");
        assert!(updated > last, "{verb}");
        last = updated;
    }
    lab.world.clock.pass(Duration::from_secs(10));
    let items = lab.get("/groups/metal/queue").await["items"].clone();
    let listed = items.as_array().expect("a list").iter().find(|job| job["id"] == id.as_str());
    assert_eq!(listed.expect("it waits")["updated_at"], last, "nothing has changed since");
}
