//! Hosts: those that have asked, and those that are only listed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::live::Reader;
use crate::past::Lab;

const HOSTS: &str = "/api/v1/hosts";

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|host| host["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_host_that_is_listed_and_was_never_seen_is_in_the_list() {
    let mut lab = Lab::new().await;
    let seen = lab.host(1).await;
    let page = lab.reader.get(HOSTS).await.json();
    assert_eq!(ids(&page), [seen.id.to_string().as_str(), "r9"]);
    let listed = &page["items"][1];
    assert_eq!(
        (&listed["state"], &listed["accepted"], &listed["name"]),
        (&json!("unseen"), &json!(true), &json!("rack 9"))
    );
    assert_eq!(listed["groups"], json!(["epyc", "any"]));
    assert!(listed.get("uid").is_none() && listed.get("last_seen").is_none(), "{listed}");
    assert_eq!(lab.reader.get(&format!("{HOSTS}/r9")).await.json()["id"], "r9");
}

#[tokio::test]
async fn each_host_is_on_one_page() {
    let mut lab = Lab::new().await;
    for number in 1..=5 {
        lab.host(number).await;
        lab.world.clock.pass(Duration::from_secs(1));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = lab.reader.get(&format!("{HOSTS}?limit=2{cursor}")).await.json();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 6);
    assert_eq!(seen.last().map(String::as_str), Some("r9"));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[tokio::test]
async fn a_listed_host_that_has_asked_is_there_once() {
    let mut lab = Lab::new().await;
    let mut host = lab.host(1).await;
    host.macs = vec!["52:54:00:00:00:99".parse().expect("a MAC")];
    lab.commit(vec![dispatch_core::Change::Host(host.clone())]).await;
    let page = lab.reader.get(HOSTS).await.json();
    assert_eq!(ids(&page), ["r9"]);
    for id in ["r9".to_owned(), host.id.to_string()] {
        assert_eq!(lab.reader.get(&format!("{HOSTS}/{id}")).await.json()["uid"], host.id.to_string());
    }
}

#[tokio::test]
async fn an_accepted_host_gets_its_id_and_its_labels_and_is_in_its_groups() {
    let mut lab = Lab::new().await;
    let host = lab.host(1).await;
    let path = format!("{HOSTS}/{}", host.id);
    let before = lab.reader.get(&path).await.json();
    assert_eq!(before["accepted"], false);
    assert!(before["waits"].as_str().is_some_and(|why| why.contains("accept")), "{before}");
    let wish = json!({"key": "r1", "name": "rack 1", "labels": ["epyc", "rack:1"]});
    let reply = lab.operator.json(Method::POST, &format!("{path}/accept"), &wish).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let after = lab.reader.get(&format!("{HOSTS}/r1")).await.json();
    assert_eq!((&after["accepted"], &after["groups"]), (&json!(true), &json!(["epyc", "any"])));
    let label = |name: &str, fixed: bool| json!({"name": name, "fixed": fixed});
    for wanted in [label("epyc", false), label("rack:1", false), label("host:r1", true)] {
        assert!(after["labels"].as_array().expect("labels").contains(&wanted), "{after}");
    }
    let accepted = lab.reader.get(&format!("{HOSTS}?accepted=true&group=epyc")).await.json();
    assert_eq!(ids(&accepted), ["r1", "r9"]);
    assert_eq!(ids(&lab.reader.get(&format!("{HOSTS}?state=unseen")).await.json()), ["r9"]);
    assert_eq!(ids(&lab.reader.get(&format!("{HOSTS}?accepted=false")).await.json()), Vec::<&str>::new());
}

#[tokio::test]
async fn two_people_do_not_overwrite_each_other_unseen() {
    let mut lab = Lab::new().await;
    let path = format!("{HOSTS}/{}", lab.host(1).await.id);
    let one = lab.operator.json(Method::PUT, &path, &json!({"name": "one", "version": 1})).await;
    assert_eq!((one.status.as_u16(), one.header("etag")), (200, "\"2\""));
    let other = lab.operator.json(Method::PUT, &path, &json!({"name": "other", "version": 1})).await;
    assert_eq!((other.status.as_u16(), other.problem()), (412, "changed".to_owned()));
    let stale = lab.operator.request(Method::POST, &format!("{path}/pause")).header("if-match", "\"1\"");
    assert_eq!(lab.operator.send(stale).await.status, 412);
    for verb in ["accept", "pause", "unpause"] {
        let stale = lab.operator.json(Method::POST, &format!("{path}/{verb}"), &json!({"version": 1})).await;
        assert_eq!((stale.status.as_u16(), stale.problem()), (412, "changed".to_owned()), "{verb}");
    }
    assert_eq!(lab.operator.json(Method::PUT, &path, &json!({"name": null})).await.status, 200);
    let shown = lab.reader.get(&path).await.json();
    assert!(shown.get("name").is_none() && shown["version"] == 3, "{shown}");
}

#[tokio::test]
async fn a_host_that_is_paused_says_so_until_it_is_not() {
    let mut lab = Lab::new().await;
    let path = format!("{HOSTS}/{}", lab.host(1).await.id);
    lab.operator.json(Method::POST, &format!("{path}/accept"), &json!({})).await;
    let paused = lab.operator.send(lab.operator.request(Method::POST, &format!("{path}/pause"))).await.json();
    assert_eq!(paused["paused"], true);
    assert!(paused["waits"].as_str().is_some_and(|why| why.contains("paused")), "{paused}");
    let open = lab.operator.send(lab.operator.request(Method::POST, &format!("{path}/unpause"))).await.json();
    assert_eq!(open["paused"], false);
}

/// What it was told when it asked last may be long ago.
#[tokio::test]
async fn why_a_host_gets_no_work_is_said_as_it_is_now() {
    let mut lab = Lab::new().await;
    let host = lab.host(1).await;
    let idle = dispatch_core::queue::Idle {
        stub: None,
        reason: "it waits to be accepted".to_owned(),
        since: lab.now(),
        promised: lab.now(),
        is_taken: true,
        is_urgent: false,
        arch: None,
    };
    lab.commit(vec![dispatch_core::Change::Host(dispatch_core::Host { idle: Some(idle), ..host.clone() })])
        .await;
    let path = format!("{HOSTS}/{}", host.id);
    let accepted = lab.operator.json(Method::POST, &format!("{path}/accept"), &json!({})).await.json();
    let listed = lab.reader.get(HOSTS).await.json()["items"][0].clone();
    for shown in [accepted, lab.reader.get(&path).await.json(), listed] {
        let waits = shown["waits"].as_str().expect("a sentence");
        assert!(waits.starts_with("idle: nothing waits in any"), "{waits}");
    }
    let workload = lab.workload("any", "a.efi").await;
    let job = dispatch_core::Job::new(
        dispatch_core::JobId::new(lab.now(), [7; 10]),
        workload.group.clone(),
        "first",
        workload.id,
        lab.now(),
    );
    lab.commit(vec![dispatch_core::Change::Job(job)]).await;
    let waits = lab.reader.get(&path).await.json()["waits"].clone();
    assert!(
        waits.as_str().is_some_and(|waits| waits.starts_with("can start first when it asks next")),
        "{waits}"
    );
}

#[tokio::test]
async fn what_cannot_be_a_host_is_refused_with_its_place() {
    let mut lab = Lab::new().await;
    let (one, other) = (lab.host(1).await, lab.host(2).await);
    let path = format!("{HOSTS}/{}", one.id);
    for (wish, field) in [
        (json!({"key": "a b"}), "/key"),
        (json!({"key": other.id.to_string()}), "/key"),
        (json!({"labels": ["ok", "host:r7"]}), "/labels/1"),
        (json!({"labels": [""]}), "/labels/0"),
        (json!({"name": "a\nb"}), "/name"),
    ] {
        let reply = lab.operator.json(Method::PUT, &path, &wish).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["field"]), (422, &json!(field)), "{wish}");
    }
    let taken = lab.operator.json(Method::PUT, &path, &json!({"key": "r9"})).await;
    assert_eq!(taken.status, 409);
    let listed = lab.operator.json(Method::PUT, &format!("{HOSTS}/r9"), &json!({"name": "x"})).await;
    assert_eq!(listed.status, 409, "it was never seen");
    assert_eq!(lab.reader.get(&format!("{HOSTS}/nobody")).await.status, 404);
}

#[tokio::test]
async fn the_events_of_a_host_are_found_by_either_of_its_names() {
    let mut lab = Lab::new().await;
    let host = lab.host(1).await;
    let path = format!("{HOSTS}/{}/accept", host.id);
    assert_eq!(lab.operator.json(Method::POST, &path, &json!({"key": "r1"})).await.status, 200);
    for name in ["r1".to_owned(), host.id.to_string()] {
        let mut events =
            Reader::open(&lab.reader, &format!("/api/v1/events?after=0&host={name}"), None).await;
        assert_eq!(events.event().await.1["event"], "host-accepted", "{name}");
    }
}
