//! The verbs that concern many jobs, hosts and groups, by several clients at once: what each was told holds afterwards.

use std::collections::{BTreeMap, BTreeSet};

use dispatch_core::{Happening, JobState};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{Lab, Place, metal, on_both};
use crate::world::Client;

on_both![
    lists_of_jobs_with_the_same_keys_make_each_once,
    orders_and_deletes_leave_each_job_in_one_place,
    of_several_who_change_a_host_each_change_is_seen_by_the_next,
    a_cell_is_queued_once_however_many_run_it_again_with_one_key,
    nothing_comes_into_a_group_that_drains,
    a_configuration_among_all_else_stops_what_left_it_and_loses_nothing,
];

/// A request, and what it was answered.
type Answered = (String, u16, Value);

/// Sends them all at once.
async fn at_once(client: &Client, requests: Vec<(Method, String, Option<String>, Value)>) -> Vec<Answered> {
    let mut sending = JoinSet::new();
    for (method, path, key, body) in requests {
        let client = client.clone();
        sending.spawn(async move {
            let mut request = client.request(method.clone(), &format!("/api/v1{path}"));
            if let Some(key) = key {
                request = request.header("Idempotency-Key", key);
            }
            let request = if method == Method::DELETE { request } else { request.json(&body) };
            let reply = client.send(request).await;
            let status = reply.status.as_u16();
            let body = if reply.body.is_empty() { Value::Null } else { reply.json() };
            (format!("{method} {path}"), status, body)
        });
    }
    sending.join_all().await
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
}

async fn lists_of_jobs_with_the_same_keys_make_each_once(place: Place) {
    let lab = Lab::new(place).await;
    let job =
        |key: u8| json!({"template_id": "boot-a", "name": format!("{key}"), "dedupe_key": format!("{key}")});
    let mut requests = Vec::new();
    for first in 0..6_u8 {
        let jobs: Vec<_> = (first..first + 3).map(|key| job(key % 6)).collect();
        let path = "/groups/metal/queue/bulk".to_owned();
        requests.push((Method::POST, path, None, json!({ "jobs": jobs })));
        requests.push((Method::POST, "/groups/metal/queue".to_owned(), None, job(first)));
    }
    let answers = at_once(&lab.operator, requests).await;
    let mut by_key: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (request, status, body) in &answers {
        assert!(matches!(status, 200 | 201), "{request}: {status} {body}");
        let jobs = body.get("jobs").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![body.clone()]);
        for job in jobs {
            let of_key = by_key.entry(job["name"].as_str().expect("a name").to_owned()).or_default();
            of_key.insert(job["id"].as_str().expect("an id").to_owned());
        }
    }
    assert!(by_key.len() == 6 && by_key.values().all(|ids| ids.len() == 1), "{by_key:?}");
    let queue = lab.get("/groups/metal/queue").await;
    let known: BTreeSet<String> = by_key.into_values().flatten().collect();
    assert_eq!(ids(&queue["items"]).into_iter().collect::<BTreeSet<_>>(), known);
    assert_eq!(queue["items"].as_array().expect("a list").len(), 6);
}

async fn orders_and_deletes_leave_each_job_in_one_place(place: Place) {
    let lab = Lab::new(place).await;
    for round in 0..4 {
        let mut jobs = Vec::new();
        for number in 0..6 {
            jobs.push(lab.job(&format!("{round} {number}")).await);
        }
        let reversed: Vec<_> = jobs.iter().rev().cloned().collect();
        let path = "/groups/metal/queue/reorder".to_owned();
        let order = |jobs: &[String]| (Method::PUT, path.clone(), None, json!({ "job_ids": jobs }));
        let delete = |job: &String| (Method::DELETE, format!("/jobs/{job}"), None, json!({}));
        let requests = vec![
            order(&jobs),
            delete(&jobs[1]),
            order(&reversed),
            delete(&jobs[4]),
            order(&jobs[..3]),
            order(&reversed[2..]),
        ];
        let answers = at_once(&lab.operator, requests).await;
        for (request, status, body) in &answers {
            let is_known = if request.starts_with("DELETE") {
                *status == 204
            } else {
                matches!(status, 200 | 404 | 409)
            };
            assert!(is_known, "{request}: {status} {body}");
        }
        // Whoever comes last and names only what is there has its will.
        let left: Vec<_> = [0, 5, 2, 3].map(|number: usize| jobs[number].clone()).into();
        let last = at_once(&lab.operator, vec![order(&left)]).await;
        assert_eq!(last[0].1, 200, "{last:?}");
        let queue = lab.get("/groups/metal/queue?limit=100").await;
        assert_eq!(ids(&queue["items"]), left);
        let stored = lab.all_jobs(&left.iter().cloned().collect()).await;
        let places: BTreeSet<_> = stored.iter().map(|job| (job.priority, job.position)).collect();
        assert_eq!(places.len(), 4, "no two share a place");
        for job in &left {
            let gone = at_once(&lab.operator, vec![delete(job)]).await;
            assert_eq!(gone[0].1, 204);
        }
    }
}

async fn of_several_who_change_a_host_each_change_is_seen_by_the_next(place: Place) {
    let lab = Lab::new(place).await;
    lab.job("one").await;
    lab.boot(1).await;
    let host = ids(&lab.get("/hosts").await["items"]).remove(0);
    let path = format!("/hosts/{host}");
    for round in 0..6_u64 {
        let before = lab.get(&path).await;
        let tag = format!("\"{}\"", before["version"]);
        let switch = if round % 2 == 0 { "pause" } else { "unpause" };
        let mut changing = JoinSet::new();
        for (method, verb, body) in [
            (Method::PUT, String::new(), json!({"name": format!("a {round}")})),
            (Method::PUT, String::new(), json!({"name": format!("b {round}")})),
            (Method::POST, "/accept".to_owned(), json!({"labels": [format!("round:{round}")]})),
            (Method::POST, format!("/{switch}"), json!({})),
        ] {
            let (client, tag) = (lab.operator.clone(), tag.clone());
            let path = format!("/api/v1{path}{verb}");
            changing.spawn(async move {
                let request = client.request(method, &path).header("If-Match", tag).json(&body);
                let reply = client.send(request).await;
                (reply.status.as_u16(), reply.json())
            });
        }
        let (answers, _) = tokio::join!(changing.join_all(), lab.boot(1));
        let made: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        let lost = answers.iter().filter(|(status, _)| *status == 412).count();
        assert_eq!((made.len(), lost), (1, 3), "{answers:?}");
        let after = lab.get(&path).await;
        assert_eq!(after["version"].as_u64(), before["version"].as_u64().map(|version| version + 1));
        for what in ["name", "labels", "paused", "accepted"] {
            assert_eq!(after[what], made[0].1[what], "what was answered holds");
        }
        if after["paused"] != json!(round % 2 == 0) {
            // So that the next one changes something.
            lab.post(&format!("{path}/{switch}"), &json!({})).await;
        }
    }
}

async fn a_cell_is_queued_once_however_many_run_it_again_with_one_key(place: Place) {
    let lab = Lab::new(place).await;
    lab.job("one").await;
    lab.boot(1).await;
    let host = ids(&lab.get("/hosts").await["items"]).remove(0);
    let workload = lab.workload("b.efi").await;
    let wish = json!({"workload_id": workload, "host": host});
    let run = |key: &str| {
        (Method::POST, "/groups/metal/matrix/rerun".to_owned(), Some(key.to_owned()), wish.clone())
    };
    let requests = ["x", "x", "x", "y", "y", "x", "y", "x"].map(run).to_vec();
    let answers = at_once(&lab.operator, requests).await;
    assert!(answers.iter().all(|(_, status, _)| *status == 201), "{answers:?}");
    let made: BTreeSet<_> = answers.iter().map(|(_, _, body)| body["id"].to_string()).collect();
    assert_eq!(made.len(), 2, "one for each key");
    let queue = lab.get("/groups/metal/queue?state=queued").await;
    assert_eq!(queue["items"].as_array().expect("a list").len(), 2);
}

/// Goes through the log: what comes into a group that drains.
async fn queued_while_draining(lab: &Lab) -> Vec<String> {
    let (mut is_draining, mut wrong) = (false, Vec::new());
    for stored in lab.world.store.events_after(0, 100_000).await.expect("events") {
        if stored.event.group != Some(metal()) {
            continue;
        }
        match &stored.event.what {
            Happening::GroupDraining => is_draining = true,
            Happening::GroupOpen | Happening::GroupPaused => is_draining = false,
            Happening::Queued { .. } if is_draining => wrong.push(format!("{stored:?}")),
            _ => {}
        }
    }
    wrong
}

async fn nothing_comes_into_a_group_that_drains(place: Place) {
    let lab = Lab::new(place).await;
    let verb = |verb: &str| (Method::POST, format!("/groups/metal/{verb}"), None, json!({}));
    let mut refused = 0;
    for round in 0..6 {
        let job = |number: u8| {
            let body = json!({"template_id": "boot-a", "name": format!("{round} {number}")});
            (Method::POST, "/groups/metal/queue".to_owned(), None, body)
        };
        let requests =
            vec![job(1), verb("drain"), job(2), job(3), verb("pause"), job(4), verb("unpause"), job(5)];
        let answers = at_once(&lab.operator, requests).await;
        let made = answers.iter().filter(|(_, status, _)| *status == 201).count();
        refused += answers
            .iter()
            .filter(|(request, status, _)| request.ends_with("queue") && *status == 409)
            .count();
        let known = |(_, status, _): &&Answered| matches!(status, 200 | 201 | 409);
        assert_eq!(answers.iter().filter(known).count(), answers.len(), "{answers:?}");
        let queue = lab.get("/groups/metal/queue?limit=100").await;
        let of_round =
            |job: &&Value| job["name"].as_str().is_some_and(|name| name.starts_with(&format!("{round} ")));
        let there = queue["items"].as_array().expect("a list").iter().filter(of_round).count();
        assert_eq!(there, made, "what was answered is there, and nothing else");
        at_once(&lab.operator, vec![verb("unpause")]).await;
    }
    assert_eq!(queued_while_draining(&lab).await, Vec::<String>::new());
    let drained = at_once(&lab.operator, vec![verb("drain")]).await;
    assert_eq!(drained[0].1, 200);
    assert_eq!(lab.post("/groups/metal/queue", &json!({"template_id": "boot-a"})).await.status, 409);
    assert!(refused < 30, "{refused}");
}

async fn a_configuration_among_all_else_stops_what_left_it_and_loses_nothing(place: Place) {
    let lab = Lab::new(place).await;
    let (mut known, all) = (BTreeSet::new(), lab.groups.clone());
    let without: Vec<_> = all.iter().filter(|group| group.id != metal()).cloned().collect();
    for round in 0..6_u8 {
        let requests = (0..6)
            .map(|number| {
                let body = json!({"template_id": "boot-a", "name": format!("{round} {number}")});
                (Method::POST, "/groups/metal/queue".to_owned(), None, body)
            })
            .chain(known.iter().take(4).flat_map(|id: &String| {
                ["pause", "unpause", "cancel", "retry"]
                    .map(|verb| (Method::POST, format!("/jobs/{id}/{verb}"), None, json!({})))
            }))
            .chain([(Method::POST, "/groups/metal/pause".to_owned(), None, json!({}))])
            .chain([(Method::POST, "/groups/metal/unpause".to_owned(), None, json!({}))])
            .collect();
        let reloads = async {
            lab.configure(&without).await;
            lab.configure(&all).await;
        };
        let hosts = async {
            for host in 1..=3 {
                lab.boot(host).await;
            }
        };
        let (answers, (), ()) = tokio::join!(at_once(&lab.operator, requests), reloads, hosts);
        for (request, status, body) in answers {
            assert!(matches!(status, 200 | 201 | 404 | 409), "{request}: {status} {body}");
            if status == 201 {
                known.insert(body["id"].as_str().expect("an id").to_owned());
            }
        }
    }
    let group = lab.get("/groups/metal").await;
    assert_eq!(group["id"], "metal", "it is there again: {group}");
    let jobs = lab.all_jobs(&known).await;
    assert_eq!(jobs.iter().filter(|job| known.contains(&job.id.to_string())).count(), known.len());
    let focus = dispatch_store::Focus { jobs: jobs.iter().map(|job| job.id).collect(), ..Default::default() };
    let policy = lab.world.api.engine().policy();
    let runs = lab.world.store.look(focus, &policy, |snapshot| snapshot.runs).await.expect("a look");
    let mut hosts = BTreeSet::new();
    for job in &jobs {
        let going_on: Vec<_> = runs.iter().filter(|run| run.job == job.id && !run.state.is_final()).collect();
        assert_eq!(going_on.len(), usize::from(job.state == JobState::Active), "{job:?}");
        assert!(going_on.iter().all(|run| hosts.insert(run.host)), "a host has two: {job:?}");
    }
}
