//! Groups and their templates.

use std::sync::Arc;

use dispatch_core::run::Policy;
use dispatch_wire::api::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::lab::{Lab, Place, on_both};

on_both![
    groups_show_how_full_they_are,
    groups_show_what_is_wrong_with_their_sources,
    what_a_source_had_that_left_the_configuration_is_offered_no_more,
    groups_come_in_pages,
    a_group_is_paused_and_drained_and_let_go_on,
    a_group_is_switched_only_as_it_was_seen,
    templates_are_shown_with_what_they_run,
];

async fn groups_show_how_full_they_are(place: Place) {
    let lab = Lab::new(place).await;
    lab.job("one").await;
    lab.job("two").await;
    lab.boot(1).await.expect("a run");
    let list = lab.get("/groups").await;
    let ids: Vec<&Value> = list["items"].as_array().expect("a list").iter().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["metal", "actions"], "in the order of the configuration");
    let metal = &list["items"][0];
    for (member, value) in [
        ("queued_jobs", json!(1)),
        ("running_jobs", json!(1)),
        ("busy_runners", json!(1)),
        ("idle_runners", json!(0)),
        ("total_runners", json!(1)),
        ("template_count", json!(2)),
        ("enabled", json!(true)),
        ("kind", json!("metal")),
    ] {
        assert_eq!(metal[member], value, "{member} of {metal}");
    }
    assert_eq!(lab.get("/groups/metal").await, *metal);
    assert!(list["items"][1]["runner_labels"].is_array());
    assert_eq!(lab.operator.get("/api/v1/groups/nothing").await.status, 404);
    assert_eq!(lab.operator.get("/api/v1/groups/-").await.status, 404);
}

async fn groups_show_what_is_wrong_with_their_sources(place: Place) {
    let lab = Lab::new(place).await;
    let standings = lab.world.api.engine().standings();
    let source = dispatch_core::SourceId::new("images");
    let at = |second| jiff::Timestamp::from_second(second).expect("a time");
    assert_eq!(lab.get("/groups/metal").await["sources"], json!([{ "name": "images", "state": "waiting" }]));
    let (since, later) = ("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z");
    standings.looked(&source, Some("its file system does not answer".to_owned()), at(1));
    standings.looked(&source, Some("it is away".to_owned()), at(2));
    let expected = json!([{ "name": "images", "state": "trouble", "since": since, "message": "it is away", "last_look_at": later }]);
    assert_eq!(lab.get("/groups/metal").await["sources"], expected);
    standings.looked(&source, None, at(2));
    let expected = json!([{ "name": "images", "state": "ok", "since": later, "last_look_at": later }]);
    assert_eq!(lab.get("/groups/metal").await["sources"], expected);
}

async fn what_a_source_had_that_left_the_configuration_is_offered_no_more(place: Place) {
    let lab = Lab::new(place).await;
    let workload = lab.workload("a.efi").await;
    let engine = lab.world.api.engine();
    let before = engine.policy();
    let mut groups = before.groups.as_ref().expect("a service").to_vec();
    for group in &mut groups {
        group.sources.clear();
    }
    let after = Policy { groups: Some(groups.clone().into()), ..(*before).clone() };
    engine.set_policy(Arc::new(after));
    let offered = async || {
        let list = lab.get("/groups/metal/workloads").await;
        let items = list["items"].as_array().expect("a list").iter();
        items.map(|item| item["offered"].as_bool().expect("it is said")).collect::<Vec<_>>()
    };
    assert_eq!(offered().await, [true, true]);
    lab.configure(&groups).await;
    assert_eq!(offered().await, [false, false]);
    let reply = lab.post("/groups/metal/queue", &json!({ "workload_id": workload })).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert!(reply.json()["detail"].as_str().is_some_and(|text| text.contains("has left the configuration")));
}

async fn groups_come_in_pages(place: Place) {
    let lab = Lab::new(place).await;
    let first = lab.get("/groups?limit=1").await;
    let next = first["next_cursor"].as_str().expect("more").to_owned();
    let second = lab.get(&format!("/groups?limit=1&cursor={next}")).await;
    assert_eq!((&first["items"][0]["id"], &second["items"][0]["id"]), (&json!("metal"), &json!("actions")));
    assert!(second.get("next_cursor").is_none());
}

async fn a_group_is_paused_and_drained_and_let_go_on(place: Place) {
    let lab = Lab::new(place).await;
    lab.job("one").await;
    let paused = lab.post("/groups/metal/pause", &json!({})).await.json();
    assert_eq!((&paused["paused"], &paused["draining"]), (&json!(true), &json!(false)));
    assert_eq!(lab.boot(1).await, None, "nothing of it is started");
    let page = lab.get("/groups/metal/queue").await;
    assert_eq!(page["items"][0]["waits"], "waits: its group is paused");
    let drained = lab.post("/groups/metal/drain", &json!({})).await.json();
    assert_eq!((&drained["paused"], &drained["draining"]), (&json!(false), &json!(true)));
    let refused = lab.post("/groups/metal/queue", &json!({"template_id": "boot-a"})).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (409, "conflict"));
    let open = lab.operator.request(Method::POST, "/api/v1/groups/metal/unpause");
    let open = lab.operator.send(open).await.json();
    assert_eq!((&open["paused"], &open["draining"]), (&json!(false), &json!(false)));
    lab.boot(1).await.expect("a run");
    assert_eq!(lab.post("/groups/nothing/pause", &json!({})).await.status, 404);
}

async fn a_group_is_switched_only_as_it_was_seen(place: Place) {
    let lab = Lab::new(place).await;
    let seen = lab.operator.get("/api/v1/groups/metal").await;
    let pause = |tag: &str| {
        let request = lab.operator.request(Method::POST, "/api/v1/groups/metal/pause");
        lab.operator.send(request.header("If-Match", tag))
    };
    assert_eq!(pause(seen.header("etag")).await.status, 200);
    let refused = pause(seen.header("etag")).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (412, "changed"));
    let stale = seen.json()["version"].clone();
    assert_eq!(lab.post("/groups/metal/unpause", &json!({ "version": stale })).await.status, 412);
    assert_eq!(lab.get("/groups/metal").await["paused"], true, "nothing was changed");
}

async fn templates_are_shown_with_what_they_run(place: Place) {
    let lab = Lab::new(place).await;
    let reader = lab.world.client(Role::Readonly).await;
    let list = reader.get("/api/v1/groups/metal/templates?limit=1").await.json();
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["workload"]), (&json!("boot-a"), &json!("a.efi")));
    let next = list["next_cursor"].as_str().expect("more").to_owned();
    let rest = reader.get(&format!("/api/v1/groups/metal/templates?cursor={next}")).await.json();
    assert_eq!(rest["items"][0]["id"], "gone");
    assert!(rest.get("next_cursor").is_none());
    let flow = reader.get("/api/v1/templates/flow").await.json();
    for (member, value) in [
        ("group_id", json!("actions")),
        ("owner", json!("o")),
        ("repo", json!("r")),
        ("workflow_id", json!("w.yaml")),
        ("ref", json!("main")),
        ("default_inputs", json!({"usual": "1"})),
        ("labels", json!({"made": "template"})),
        ("in_config", json!(true)),
        ("source_type", json!("inline")),
        ("source_path", json!("")),
    ] {
        assert_eq!(flow[member], value, "{member} of {flow}");
    }
    assert_eq!(reader.get("/api/v1/templates/nothing").await.status, 404);
    assert_eq!(reader.get("/api/v1/groups/nothing/templates").await.status, 404);
}
