//! Which workload came out how on which host, and what was asked on the boot path.

use dispatch_core::{Change, Host, Verdict};
use reqwest::Method;
use serde_json::json;

use crate::past::Lab;

const MATRIX: &str = "/api/v1/groups/epyc/matrix";

async fn accepted(lab: &mut Lab, number: u8, key: &str, rack: &str) -> Host {
    let host = lab.host(number).await;
    let labels = vec!["epyc".to_owned(), format!("rack:{rack}")];
    let host = Host { key: key.parse().ok(), labels, is_accepted: true, ..host };
    lab.commit(vec![Change::Host(host.clone())]).await;
    host
}

#[tokio::test]
async fn the_table_has_the_latest_verdict_of_each_workload_on_each_host() {
    let mut lab = Lab::new().await;
    let (one, other) = (accepted(&mut lab, 1, "r1", "9").await, accepted(&mut lab, 2, "r2", "7").await);
    lab.host(3).await;
    let (a, _b) = (lab.workload("epyc", "a.efi").await, lab.workload("epyc", "b.efi").await);
    lab.ran(&a, &one, Some(Verdict::Failed), &[]).await;
    let (_, latest) = lab.ran(&a, &one, Some(Verdict::Passed), &[]).await;
    lab.ran(&a, &other, None, &[]).await;
    let table = lab.reader.get(MATRIX).await.json();
    let titles: Vec<_> =
        table["columns"].as_array().expect("columns").iter().map(|column| &column["id"]).collect();
    assert_eq!(titles, ["r1", "r2", "r9"], "a stranger is in no column");
    let names: Vec<_> = table["rows"].as_array().expect("rows").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["a.efi", "b.efi"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        (&cells[0]["run_id"], &cells[0]["verdict"]),
        (&json!(latest.id.public_name().to_string()), &json!("passed"))
    );
    assert_eq!((&cells[1]["column"], &cells[1]["state"]), (&json!(1), &json!("booting")));
    let racks = lab.reader.get(&format!("{MATRIX}?by=rack&format=markdown")).await;
    let text = std::str::from_utf8(&racks.body).expect("text");
    assert_eq!(
        text,
        "| workload | rack\\:7    | rack\\:9   |\n| -------- | ---------- | --------- |\n\
         | a.efi    | ⚡ booting | 🏁 passed |\n| b.efi    |            |           |\n"
    );
    assert_eq!(lab.reader.get(&format!("{MATRIX}?by=")).await.status, 400);
    let request = lab.reader.request(Method::GET, MATRIX).header("accept", "text/markdown");
    assert!(lab.reader.send(request).await.header("content-type").starts_with("text/markdown"));
}

#[tokio::test]
async fn a_cell_is_run_again_on_its_host_and_once() {
    let mut lab = Lab::new().await;
    accepted(&mut lab, 1, "r1", "9").await;
    let a = lab.workload("epyc", "a.efi").await;
    let wish = json!({"workload_id": a.id.to_string(), "host": "r1"});
    let path = format!("{MATRIX}/rerun");
    let mut made = Vec::new();
    for _ in 0..2 {
        let request = lab.operator.request(Method::POST, &path).header("idempotency-key", "one").json(&wish);
        let reply = lab.operator.send(request).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        made.push(reply.json()["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(made[0], made[1]);
    let job = made[0].parse().expect("an id");
    let look = |snapshot: dispatch_core::Snapshot| snapshot.jobs;
    let focus = dispatch_store::Focus::job(job);
    let jobs = lab.world.store.look(focus, &lab.world.api.engine().policy(), look).await.expect("a look");
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].required_labels, ["host:r1"]);
    for (host, status) in [("r9", 201), ("rack:9", 201), ("rack:5", 409), ("nobody", 409)] {
        let wish = json!({"workload_id": a.id.to_string(), "host": host});
        assert_eq!(lab.operator.json(Method::POST, &path, &wish).await.status, status, "{host}");
    }
    assert_eq!(lab.reader.json(Method::POST, &path, &wish).await.status, 403);
}

#[tokio::test]
async fn a_table_that_is_cut_says_so_and_what_it_leaves_out_can_be_run_again() {
    let mut lab = Lab::new().await;
    let mut changes = Vec::new();
    for number in 0..201_u8 {
        let mut host = Host::new(
            dispatch_core::HostId::new(lab.now(), [number; 10]),
            [192, 0, 2, number].into(),
            lab.now(),
        );
        host.key = format!("h{number:03}").parse().ok();
        host.labels = vec!["epyc".to_owned(), format!("slot:{number:03}")];
        host.is_accepted = true;
        changes.push(Change::Host(host));
    }
    lab.commit(changes).await;
    let a = lab.workload("epyc", "a.efi").await;
    for by in ["", "?by=slot"] {
        let table = lab.reader.get(&format!("{MATRIX}{by}")).await.json();
        assert_eq!(
            (table["columns"].as_array().expect("columns").len(), &table["truncated"]),
            (200, &json!(true))
        );
    }
    let text = lab.reader.get(&format!("{MATRIX}?format=markdown")).await;
    let text = std::str::from_utf8(&text.body).expect("text");
    assert!(
        text.ends_with("\nThere is more than these: a table has 200 rows and 200 columns at most.\n"),
        "{text}"
    );
    for host in ["h200", "slot:200", "r9", "rack:9"] {
        let wish = json!({"workload_id": a.id.to_string(), "host": host});
        let reply = lab.operator.json(Method::POST, &format!("{MATRIX}/rerun"), &wish).await;
        assert_eq!(reply.status, 201, "{host}: {reply:?}");
    }
}

#[tokio::test]
async fn a_host_that_waits_to_be_accepted_is_found_in_what_was_asked() {
    use dispatch_boot::Queue as _;
    let mut lab = Lab::new().await;
    let host = lab.host(1).await;
    let asked = |number: u8, second: u64| dispatch_boot::Asked {
        at: std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second),
        who: dispatch_core::Sighting {
            address: [192, 0, 2, number].into(),
            mac: Some(dispatch_core::Mac([0x52, 0x54, 0, 0, 0, number])),
            name: None,
        },
        agent: Some("UefiHttpBoot/1.0".to_owned()),
        method: "HEAD".to_owned(),
        target: "/dispatch".to_owned(),
        status: 200,
        answer: "told to wait".to_owned(),
    };
    for (number, second) in [(7, 1), (1, 2), (1, 3)] {
        lab.world.api.engine().asked(asked(number, second));
    }
    let page = lab.reader.get("/api/v1/boot/requests").await.json();
    let known = &page["items"][0];
    assert_eq!(
        (&known["host_id"], &known["accepted"], &known["count"]),
        (&json!(host.id.to_string()), &json!(false), &json!(2))
    );
    assert!(page["items"][1].get("host_id").is_none(), "a stranger: {page}");
    assert_eq!(page["items"].as_array().expect("items").len(), 2);
}

#[tokio::test]
async fn runners_are_told_of_as_it_is() {
    let lab = Lab::new().await;
    for path in ["/api/v1/runners", "/api/v1/groups/any/runners"] {
        assert_eq!(lab.reader.get(path).await.json(), json!({"items": []}));
    }
    assert_eq!(lab.reader.get("/api/v1/groups/nobody/runners").await.status, 404);
    let admin = lab.world.client(dispatch_wire::api::Role::Admin).await;
    let reply = admin.send(admin.request(Method::POST, "/api/v1/runners/refresh")).await.json();
    assert_eq!(reply["refreshed"], 0);
}
