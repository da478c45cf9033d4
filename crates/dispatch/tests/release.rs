//! Images of a release: fetched once, served whole or not at all, whatever the network does.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use common::hub::{EFI, Hub, REPOSITORY, TOKEN, hub};
use common::{content, image, stub, terminate, whole_run};
use dispatch_testkit::firmware::{Booted, Firmware};
use dispatch_testkit::github::{Content, Fault, Host, Trouble};
use dispatch_testkit::lab::deadline::Deadline;
use dispatch_testkit::nginx::Nginx;
use dispatch_testkit::program::{PATIENCE, Program};
use serde_json::Value;

/// So many bytes do not fit into the buffers between two programs.
const BIG: u64 = 24 << 20;

/// A server at an address of its own.
fn server(program: &Program, last: u8) -> Firmware {
    program.firmware().of_host(last)
}

/// Starts it, and waits until these images are here.
fn start_with(hub: &mut Hub, names: &[&str]) -> Program {
    let mut program = hub.lab.start().expect("a start");
    let mut left: Vec<&str> = names.to_vec();
    while !left.is_empty() {
        let line = program.event("fetched", "").expect("an event");
        left.retain(|name| line["job"]["name"] != *name);
    }
    program
}

/// Boots until an image comes: what is in the cache already is looked at first, which nobody tells.
fn image_soon(firmware: &Firmware) -> String {
    let deadline = Deadline::after(PATIENCE);
    loop {
        match firmware.boot().expect("a boot") {
            Booted::Image { bytes, .. } => {
                let name = String::from_utf8_lossy(&bytes[..5]).into_owned();
                assert!(bytes == content(&name), "the image of {name} came damaged");
                return name;
            }
            other => assert!(deadline.pause(), "no image came but {other:?}"),
        }
    }
}

#[test]
fn three_hosts_share_one_download_of_each_asset() {
    let names = ["a.efi", "b.efi", "c.efi"];
    let mut hub = hub(&names, &[]);
    let program = start_with(&mut hub, &names);
    let mut got: Vec<String> = (1..=3).map(|last| image(&server(&program, last))).collect();
    got.sort();
    assert_eq!(got, names);
    // A firmware that broke off asks for all of it once more.
    assert_eq!(image(&server(&program, 1)), "a.efi");
    for name in names {
        assert_eq!(hub.fetched(name), 1, "{name}:\n{}", hub.github.log());
    }
    terminate(program);
    assert_eq!(hub.lab.status().expect("a state")["jobs"].as_array().map(Vec::len), Some(3));
}

/// What used to hurt: a stream that broke upstream became a truncated image.
#[test]
fn a_host_waits_until_its_image_is_here_whole() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.github.trouble(Trouble::new(Fault::StallBody(1000)));
    let mut program = hub.lab.start().expect("a start");
    hub.github
        .wait_for("a part of it", PATIENCE, |model| {
            model
                .requests
                .iter()
                .any(|request| request.host == Host::Objects && request.bytes_sent > 0)
                .then_some(())
        })
        .expect("a download");
    let text = stub(&server(&program, 1));
    assert!(text.contains("a.efi is still being fetched"), "{text}");
    hub.github.let_go();
    program.event("fetched", "a.efi").expect("an event");
    assert_eq!(image(&server(&program, 1)), "a.efi");
    terminate(program);
}

#[test]
fn a_host_is_given_another_image_that_is_here() {
    let mut hub = hub(&["a.efi", "b.efi"], &[]);
    hub.github.trouble(Trouble::new(Fault::StallBody(1000)).path("*a.efi*"));
    let mut program = hub.lab.start().expect("a start");
    program.event("fetched", "b.efi").expect("an event");
    assert_eq!(image(&server(&program, 1)), "b.efi");
    terminate(program);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let mut hub = hub(&[], &[]);
    hub.github.change(|model| {
        model.repository(REPOSITORY).release("devel").asset("big.efi", EFI, Content::pattern(BIG, 1));
    });
    hub.github.trouble(Trouble::new(Fault::DropBody(BIG / 2)));
    let program = start_with(&mut hub, &["big.efi"]);
    let sent: u64 = hub
        .github
        .requests()
        .iter()
        .filter(|request| request.host == Host::Objects)
        .map(|r| r.bytes_sent)
        .sum();
    assert!(sent < BIG + BIG / 4, "{sent} bytes went out:\n{}", hub.github.log());
    assert!(hub.github.requests().iter().any(|request| request.range.is_some()), "{}", hub.github.log());
    terminate(program);
}

#[test]
fn a_wrong_digest_is_fetched_once_more_and_then_errs_the_job() {
    let mut hub = hub(&["a.efi", "b.efi"], &["--exit-when-done"]);
    hub.github.trouble(Trouble::new(Fault::WrongBytes).path("*a.efi*").times(1));
    hub.github.trouble(Trouble::new(Fault::WrongBytes).path("*b.efi*").always());
    let mut program = hub.lab.start().expect("a start");
    let done = program.event("done", "b.efi").expect("an event");
    assert_eq!(done["verdict"], "errored");
    assert!(done["reason"].as_str().is_some_and(|reason| reason.contains("digest")), "{done}");
    assert_eq!(hub.fetched("b.efi"), 2, "{}", hub.github.log());
    let is_here = |line: &Value| line["event"] == "fetched" && line["job"]["name"] == "a.efi";
    if !program.seen.iter().any(is_here) {
        program.until("a.efi", is_here).expect("an event");
    }
    let firmware = server(&program, 1);
    assert_eq!(whole_run(&firmware), "a.efi");
    assert_eq!(hub.fetched("a.efi"), 2, "{}", hub.github.log());
    assert!(stub(&firmware).contains("powering off"));
    assert_eq!(program.ends().expect("an end").code(), Some(4), "one errored");
}

#[test]
fn an_asset_that_is_shorter_than_it_should_be_is_never_served() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.github.trouble(Trouble::new(Fault::Truncate(500)).always());
    let mut program = hub.lab.start().expect("a start");
    let done = program.event("done", "a.efi").expect("an event");
    assert_eq!(done["verdict"], "errored", "{done}");
    assert!(stub(&server(&program, 1)).contains("no work"));
    terminate(program);
}

/// What used to hurt: the assets of a private repository could not be had.
#[test]
fn assets_of_a_private_repository_come_without_our_token_leaving_the_api() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.github.change(|model| model.repository(REPOSITORY).private = true);
    hub.github.trouble(Trouble::new(Fault::Elsewhere).path("*/releases/assets/*"));
    let program = start_with(&mut hub, &["a.efi"]);
    assert_eq!(image(&server(&program, 1)), "a.efi");
    let requests = hub.github.requests();
    let of = |host: Host| requests.iter().filter(move |request| request.host == host);
    assert!(of(Host::Elsewhere).chain(of(Host::Objects)).count() > 0, "{}", hub.github.log());
    assert!(of(Host::Elsewhere).chain(of(Host::Objects)).all(|request| !request.has_authorization));
    assert!(of(Host::Api).all(|request| request.has_authorization));
    terminate(program);
}

#[test]
fn what_is_in_the_cache_is_not_fetched_again_not_even_for_a_fresh_session() {
    let mut hub = hub(&["a.efi"], &["--fresh"]);
    terminate(start_with(&mut hub, &["a.efi"]));
    let program = hub.lab.start().expect("a start");
    assert_eq!(image_soon(&server(&program, 1)), "a.efi");
    assert_eq!(hub.fetched("a.efi"), 1, "{}", hub.github.log());
    terminate(program);
}

#[test]
fn a_file_of_the_cache_that_was_changed_is_fetched_again() {
    let mut hub = hub(&["a.efi"], &["--fresh"]);
    terminate(start_with(&mut hub, &["a.efi"]));
    let folder = hub.lab.folder.join("cache/sha256");
    let shelf = std::fs::read_dir(&folder).expect("a folder").flatten().next().expect("a shelf").path();
    let file = std::fs::read_dir(shelf).expect("a shelf").flatten().next().expect("a file").path();
    let mut bytes = content("a.efi");
    bytes[500] ^= 1;
    std::fs::remove_file(&file).and_then(|()| std::fs::write(&file, &bytes)).expect("changed");
    let program = start_with(&mut hub, &["a.efi"]);
    assert_eq!(image(&server(&program, 1)), "a.efi");
    assert_eq!(hub.fetched("a.efi"), 2, "{}", hub.github.log());
    terminate(program);
}

#[test]
fn a_download_that_was_killed_goes_on_in_the_next_session() {
    let mut hub = hub(&[], &[]);
    hub.github.change(|model| {
        model.repository(REPOSITORY).release("devel").asset("big.efi", EFI, Content::pattern(BIG, 1));
    });
    hub.github.trouble(Trouble::new(Fault::StallBody(BIG / 2)));
    let program = hub.lab.start().expect("a start");
    let part = hub.lab.folder.join("cache/parts");
    hub.github
        .wait_for("half of it", PATIENCE, |model| {
            let is_half = model.requests.iter().any(|request| request.bytes_sent >= BIG / 2);
            let here: u64 = std::fs::read_dir(&part).map_or(0, |entries| {
                entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum()
            });
            (is_half && here > BIG / 4).then_some(())
        })
        .expect("half of it");
    program.kill().expect("killed");
    hub.github.calm();
    let program = start_with(&mut hub, &["big.efi"]);
    assert!(hub.github.requests().iter().any(|request| request.range.is_some()), "{}", hub.github.log());
    terminate(program);
}

#[test]
fn offline_it_starts_with_what_is_cached_and_says_how_old_that_is() {
    let mut hub = hub(&["a.efi"], &["--fresh"]);
    hub.github.down(Host::Api).expect("down");
    let (status, words) = hub.lab.clone().with(&["--offline"]).start_badly().expect("it runs");
    assert_eq!(status.code(), Some(1));
    assert!(words.contains("never read"), "{words}");
    hub.github.up(Host::Api).expect("up");
    terminate(start_with(&mut hub, &["a.efi"]));
    hub.github.down(Host::Api).expect("down");
    hub.github.down(Host::Objects).expect("down");
    let (status, _) = hub.lab.start_badly().expect("it runs");
    assert_eq!(status.code(), Some(1), "without --offline");
    hub.lab.more.push("--offline".to_owned());
    let mut program = hub.lab.start().expect("a start");
    let said = |line: &Value| {
        line["message"].as_str().is_some_and(|text| text.contains("offline: ") && text.contains(" ago"))
    };
    program.until("how old its knowledge is", said).expect("a word");
    assert_eq!(image_soon(&server(&program, 1)), "a.efi");
    terminate(program);
}

#[test]
fn a_release_that_is_watched_brings_what_is_new_and_takes_what_is_gone() {
    let mut hub = hub(&["a.efi", "b.efi", "c.efi"], &["--watch=1s"]);
    let mut program = start_with(&mut hub, &["a.efi", "b.efi", "c.efi"]);
    let firmware = server(&program, 1);
    assert_eq!(whole_run(&firmware), "a.efi");
    assert_eq!(image(&firmware), "b.efi");
    hub.github.change(|model| {
        let release = model.repository(REPOSITORY).release("devel");
        release.remove_asset("a.efi");
        release.asset("a.efi", EFI, Content::from(content("a.efi.new")));
        release.remove_asset("c.efi");
        release.asset("d.efi", EFI, Content::from(content("d.efi")));
    });
    program.event("queued", "d.efi").expect("an event");
    program.event("cancelled", "c.efi").expect("an event");
    let jobs = hub.lab.status().expect("a state")["jobs"].clone();
    let states: Vec<(String, String)> = jobs
        .as_array()
        .expect("jobs")
        .iter()
        .map(|job| {
            (
                job["name"].as_str().unwrap_or_default().into(),
                job["state"].as_str().unwrap_or_default().into(),
            )
        })
        .collect();
    let of = |name: &str| {
        states.iter().filter(|(known, _)| known == name).map(|(_, s)| s.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of("a.efi").len(), of("c.efi")), (2, vec!["cancelled"]), "{states:?}");
    let conditional = |model: &dispatch_testkit::github::Model| {
        let asked = model.requests.iter().filter(|request| request.status == Some(304)).count();
        (asked >= 2).then_some(())
    };
    hub.github.wait_for("two answers without news", PATIENCE, conditional).expect("304");
    terminate(program);
}

#[test]
fn without_prefetching_only_what_a_server_asks_for_is_fetched() {
    let mut hub = hub(&["a.efi", "b.efi"], &["--prefetch", "off"]);
    let mut program = hub.lab.start().expect("a start");
    assert!(stub(&server(&program, 1)).contains("a.efi is still being fetched"));
    program.event("fetched", "a.efi").expect("an event");
    assert_eq!(image(&server(&program, 1)), "a.efi");
    assert_eq!(hub.fetched("b.efi"), 0, "{}", hub.github.log());
    terminate(program);
}

#[test]
fn an_image_larger_than_the_cache_waits_with_its_reason() {
    let mut hub = hub(&["a.efi"], &["--cache-size", "50kB"]);
    let mut program = hub.lab.start().expect("a start");
    let waits = program.event("waits", "a.efi").expect("an event");
    assert!(waits["reason"].as_str().is_some_and(|reason| reason.contains("--cache-size")), "{waits}");
    terminate(program);
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    // Room for two of the three.
    let mut hub = hub(&["a.efi", "b.efi", "c.efi"], &["--cache-size", "250kB"]);
    let mut program = start_with(&mut hub, &["a.efi", "b.efi"]);
    let firmware = server(&program, 1);
    assert_eq!(whole_run(&firmware), "a.efi");
    assert_eq!(whole_run(&firmware), "b.efi");
    program.event("fetched", "c.efi").expect("an event");
    assert_eq!(whole_run(&firmware), "c.efi");
    for name in ["a.efi", "b.efi", "c.efi"] {
        assert_eq!(hub.fetched(name), 1, "{}", hub.github.log());
    }
    terminate(program);
}

#[test]
fn a_token_is_not_among_what_is_remembered() {
    let mut hub = hub(&["a.efi"], &[]);
    terminate(start_with(&mut hub, &["a.efi"]));
    let mut folders = vec![hub.lab.folder.clone()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            looked += 1;
            let bytes = std::fs::read(&path).expect("a file");
            let has = bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
            assert!(!has, "{}", path.display());
        }
    }
    assert!(looked > 3, "{looked} files");
}

#[test]
fn images_by_url_are_served_with_their_digests_from_a_list_or_from_the_url() {
    let hub = hub(&[], &[]);
    let folder = hub.lab.folder.clone();
    hub.lab
        .image("a.efi", &content("a.efi"))
        .and_then(|()| hub.lab.image("b.efi", &content("b.efi")))
        .expect("images");
    let nginx = Nginx::start(&folder, "1").expect("nginx");
    let digest = |name: &str| Content::from(content(name)).sha256().expect("a digest");
    let list = format!("{}  a.efi\n", digest("a.efi"));
    hub.lab.image("SHA256SUMS", list.as_bytes()).expect("a list");
    let url = |name: &str| format!("http://{}/{name}", nginx.address);
    let (first, second) = (url("a.efi"), format!("{}#sha256={}", url("b.efi"), digest("b.efi")));
    let mut lab = hub.lab.clone().serving(&["--url", &first, &second]);
    let mut program = lab.start().expect("a start");
    for _ in 0..2 {
        program.event("fetched", "").expect("an event");
    }
    assert_eq!((image(&server(&program, 1)), image(&server(&program, 2))), ("a.efi".into(), "b.efi".into()));
    terminate(program);
    lab = hub.lab.clone().serving(&["--url", &url("b.efi")]);
    let (_, words) = lab.start_badly().expect("it runs");
    assert!(words.contains("no line for `b.efi`") && words.contains("#sha256="), "{words}");
    nginx.stop().expect("an end");
}

/// What a description asks of hosts must hold while it is being replaced: GitHub has no other way than to remove it
/// first.
#[test]
fn a_description_that_is_gone_for_a_moment_goes_on_holding() {
    const YAML: &str = "application/vnd.dispatch+yaml";
    let describe =
        |words: &str| format!("workloads:\n  - {{ name: a.efi, labels: [epyc], description: {words} }}\n");
    let mut hub = hub(&["a.efi"], &["--watch=3s"]);
    let change = |hub: &Hub, text: Option<&str>| {
        hub.github.change(|model| {
            let release = model.repository(REPOSITORY).release("devel");
            release.remove_asset("about.yaml");
            if let Some(text) = text {
                release.asset("about.yaml", YAML, text);
            }
        });
    };
    change(&hub, Some(&describe("one")));
    let mut program = start_with(&mut hub, &["a.efi"]);
    let firmware = server(&program, 1);
    stub(&firmware);
    change(&hub, None);
    let says = |words: &'static str| {
        move |line: &Value| line["message"].as_str().is_some_and(|text| text.contains(words))
    };
    program
        .until(
            "that it is gone",
            says("about.yaml of AMDEPYC/sev-certify devel described its images, and is gone"),
        )
        .expect("a word");
    stub(&firmware);
    change(&hub, Some(&describe("two")));
    program.until("that it can be read again", says("can be read again")).expect("a word");
    stub(&firmware);
    assert!(program.seen.iter().all(|line| line["event"] != "assigned"), "no host has the label");
    terminate(program);
}
