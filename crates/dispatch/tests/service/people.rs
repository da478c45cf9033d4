//! What people do with hosts, groups and jobs by the API, and what the hosts then get.

use dispatch_testkit::firmware::Firmware;
use serde_json::{Value, json};

use super::common::service::{Client, Engine, Running, ServiceLab};
use super::common::{PASSED, image, stub, terminate, whole_run};
use super::{named, ready};

on_both! {
    an_enrolled_host_works_once_somebody_who_may_has_accepted_it
    a_paused_group_starts_nothing_and_its_hosts_read_why
    a_cancelled_job_ends_on_its_host_and_has_no_verdict
    a_job_goes_to_the_host_that_it_is_pinned_to_and_to_no_other
    each_host_gets_a_job_of_its_own_also_one_that_is_accepted_later
    a_group_that_is_drained_works_off_what_it_has_and_takes_no_more
    a_job_comes_again_as_often_as_it_may
}

/// One group, whose hosts are enrolled when they are first seen.
const LAB: &str = r#"
boot: { listen: "BOOT", when_idle: wait }
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ id: images, dir: ./images }] }
"#;

/// The same with two hosts that are listed, and nothing that is queued by itself.
const BY_HAND: &str = r#"
boot: { listen: "BOOT", when_idle: wait }
groups:
  metal:
    - { id: lab, name: Lab, sources: [{ id: images, dir: ./images, queue: never }] }
hosts:
  - { id: r1, boot_name: r1 }
  - { id: r2, boot_name: r2 }
"#;

const QUEUE: &str = "/api/v1/groups/lab/queue";
const HISTORY: &str = "/api/v1/groups/lab/history";

/// Asks for the first time, and tells under which id that can be accepted.
fn enrolled(host: &Firmware, client: &Client, name: &str) -> String {
    let words = stub(host);
    assert!(words.contains("waits to be accepted"), "{words}");
    let asked = client.asked_by(name);
    let id = asked[0]["host_id"].as_str().expect("its id").to_owned();
    assert!(words.contains(&id), "its console says {words}, and {asked:?} is what people see");
    id
}

/// Lets a host work, under this key.
fn accept(client: &Client, id: &str, key: &str) -> Value {
    client.post(&format!("/api/v1/hosts/{id}/accept"), &json!({ "key": key }))
}

/// Puts a job into the queue for an image of the folder, with whatever else is wished of it.
fn by_hand(client: &Client, image: &str, more: &Value) -> Value {
    let workloads = client.items(&format!("/api/v1/groups/lab/workloads?name={image}"));
    let mut wish = more.clone();
    wish["workload_id"] = workloads[0]["id"].clone();
    client.post(QUEUE, &wish)
}

/// A service of which the images are known.
fn listed(lab: &mut ServiceLab, count: usize) -> Running {
    let mut running = lab.start();
    let client = running.client("readonly");
    // What is only listed is no event: it is looked at between the lines of the log.
    while client.items("/api/v1/groups/lab/workloads").len() < count {
        running.program.next(std::time::Duration::from_millis(250)).expect("the service runs");
    }
    running
}

fn job_path(job: &Value) -> String {
    format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"))
}

fn an_enrolled_host_works_once_somebody_who_may_has_accepted_it(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], LAB);
    let mut running = lab.start();
    ready(&mut running, 1);
    let (operator, readonly) = (running.client("operator"), running.client("readonly"));
    let host = named(&running, "r1");
    let id = enrolled(&host, &readonly, "r1");
    assert_eq!(readonly.asked_by("r1")[0]["accepted"], false);
    let path = format!("/api/v1/hosts/{id}");
    let refused = readonly.send("POST", &format!("{path}/accept"), None);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(stub(&host).contains("waits to be accepted"), "what was refused has no effect");
    let seen = format!("\"{}\"", operator.get(&path)["version"]);
    let accepted = accept(&operator, &id, "r1");
    assert_eq!((&accepted["accepted"], &accepted["groups"]), (&json!(true), &json!(["lab"])));
    // Somebody else looked before that.
    let stale = operator.if_match(&seen, "PUT", &path, Some(&json!({ "name": "mine" })));
    assert_eq!(stale, 412);
    assert_eq!(whole_run(&host), "a.efi");
    let latest = &readonly.asked_by("r1")[0];
    assert_eq!((&latest["host_id"], &latest["accepted"]), (&json!("r1"), &json!(true)), "{latest}");
    terminate(running.program);
}

fn a_paused_group_starts_nothing_and_its_hosts_read_why(engine: Engine) {
    let config = LAB.replace("when_idle: wait", "when_idle: wait, unknown_hosts: accept");
    let mut lab = ServiceLab::new(engine, &["a.efi", "b.efi"], &config);
    let mut running = lab.start();
    ready(&mut running, 2);
    let operator = running.client("operator");
    let (one, two) = (named(&running, "r1"), named(&running, "r2").of_host(2));
    assert_eq!(image(&one), "a.efi");
    let group = "/api/v1/groups/lab";
    let seen = operator.tag(group);
    assert_eq!(operator.if_match(&seen, "POST", &format!("{group}/pause"), None), 200);
    assert_eq!(operator.if_match(&seen, "POST", &format!("{group}/unpause"), None), 412, "it has changed");
    assert_eq!(stub(&two), "dispatch: waiting for work: b.efi: its group is paused");
    let (_, run) = one.post().expect("an answer");
    assert_eq!(one.put(PASSED, run.as_deref()).expect("an answer"), 200, "what runs goes on");
    assert!(stub(&one).contains("its group is paused"));
    let waits = operator.items(QUEUE);
    assert_eq!((waits.len(), &waits[0]["waits"]), (1, &json!("waits: its group is paused")), "{waits:?}");
    operator.call("POST", &format!("{group}/unpause"), None);
    assert_eq!(image(&two), "b.efi");
    terminate(running.program);
}

fn a_cancelled_job_ends_on_its_host_and_has_no_verdict(engine: Engine) {
    let config = LAB.replace("when_idle: wait", "when_idle: wait, unknown_hosts: accept");
    let mut lab = ServiceLab::new(engine, &["a.efi", "b.efi"], &config);
    let mut running = lab.start();
    ready(&mut running, 2);
    let operator = running.client("operator");
    let host = named(&running, "r1");
    assert_eq!(image(&host), "a.efi");
    let (_, run) = host.post().expect("an answer");
    let jobs = operator.items(QUEUE);
    let job = jobs.iter().find(|job| job["name"] == "a.efi").expect("the job that runs");
    let cancelled = operator.call("POST", &format!("{}/cancel", job_path(job)), None);
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    // Its image goes on until it hears of it; what it says then makes nothing good.
    host.put(PASSED, run.as_deref()).expect("an answer");
    assert_eq!(host.post().expect("an answer").0, 417, "no run is left for it");
    assert_eq!(whole_run(&host), "b.efi", "at its next boot it is free");
    let job = operator.get(&job_path(job));
    assert_eq!((&job["status"], &job["verdict"]), (&json!("cancelled"), &Value::Null), "{job}");
    let attempts = job["runs"].as_array().expect("a list");
    assert_eq!((attempts.len(), &attempts[0]["state"]), (1, &json!("cancelled")), "{job}");
    terminate(running.program);
}

fn a_job_goes_to_the_host_that_it_is_pinned_to_and_to_no_other(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], BY_HAND);
    let running = listed(&mut lab, 1);
    let operator = running.client("operator");
    let job = by_hand(&operator, "a.efi", &json!({ "required_labels": ["host:r1"] }));
    let (one, two) = (named(&running, "r1"), named(&running, "r2").of_host(2));
    let words = stub(&two);
    assert!(words.contains("what is left needs other hosts"), "{words}");
    assert_eq!(operator.get(&job_path(&job))["state"], "queued");
    assert_eq!(whole_run(&one), "a.efi");
    let done = operator.get(&job_path(&job));
    let host = operator.get(&format!("/api/v1/hosts/{}", done["host"]["id"].as_str().expect("an id")));
    assert_eq!(host["id"], "r1", "{done}");
    terminate(running.program);
}

fn each_host_gets_a_job_of_its_own_also_one_that_is_accepted_later(engine: Engine) {
    let config = LAB.replace("dir: ./images", "dir: ./images, spread: each-host");
    let mut lab = ServiceLab::new(engine, &["a.efi"], &config);
    let mut running = lab.start();
    let operator = running.client("operator");
    for (number, key) in (1..).zip(["r1", "r2"]) {
        let host = named(&running, key).of_host(number);
        let id = enrolled(&host, &operator, key);
        assert!(operator.items(QUEUE).is_empty(), "nobody else has one");
        accept(&operator, &id, key);
        ready(&mut running, 1);
        let jobs = operator.items(QUEUE);
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        assert_eq!(whole_run(&host), "a.efi");
        assert!(stub(&host).contains("queue empty"), "once each");
    }
    let matrix = operator.get("/api/v1/groups/lab/matrix");
    let verdicts = matrix["rows"][0]["cells"].as_array().expect("cells").iter().map(|cell| &cell["verdict"]);
    assert_eq!(verdicts.collect::<Vec<_>>(), ["passed", "passed"], "{matrix}");
    terminate(running.program);
}

fn a_group_that_is_drained_works_off_what_it_has_and_takes_no_more(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi", "b.efi"], BY_HAND);
    let running = listed(&mut lab, 2);
    let operator = running.client("operator");
    by_hand(&operator, "a.efi", &json!({}));
    let group = operator.call("POST", "/api/v1/groups/lab/drain", None);
    assert_eq!(group["draining"], true, "{group}");
    let workload = operator.items("/api/v1/groups/lab/workloads?name=b.efi");
    let wish = json!({ "workload_id": workload[0]["id"] });
    let refused = operator.send("POST", QUEUE, Some(&wish));
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("being drained"), "{}", refused.text());
    let host = named(&running, "r1");
    assert_eq!(whole_run(&host), "a.efi", "what it has is worked off");
    assert!(stub(&host).contains("queue empty"));
    operator.call("POST", "/api/v1/groups/lab/unpause", None);
    operator.post(QUEUE, &wish);
    assert_eq!(image(&host), "b.efi");
    terminate(running.program);
}

fn a_job_comes_again_as_often_as_it_may(engine: Engine) {
    let mut lab = ServiceLab::new(engine, &["a.efi"], BY_HAND);
    let running = listed(&mut lab, 1);
    let operator = running.client("operator");
    by_hand(&operator, "a.efi", &json!({ "auto_requeue": true, "requeue_limit": 2 }));
    let host = named(&running, "r1");
    for _ in 0..3 {
        assert_eq!(whole_run(&host), "a.efi");
    }
    assert!(stub(&host).contains("queue empty"), "it has come twice more, and may not again");
    let history = operator.get(HISTORY);
    assert_eq!(history["total_count"], 3, "{history}");
    let verdicts = history["items"].as_array().expect("items").iter().map(|job| &job["verdict"]);
    assert_eq!(verdicts.collect::<Vec<_>>(), ["passed"; 3], "{history}");
    terminate(running.program);
}
