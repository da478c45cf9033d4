//! A token reaches GitHub's API and nothing else: no log, no error, no file, no other host.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::path::Path;

use common::hub::{Hub, REPOSITORY, TOKEN, hub};
use common::image;
use dispatch_testkit::github::{Fault, Host, Trouble};
use serde_json::json;

/// All files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

fn has(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
}

/// A command that writes down every event that it is told.
fn snoop(hub: &mut Hub) {
    let told = hub.lab.folder.join("events");
    hub.lab.more.extend(["--on-event".to_owned(), format!("cat >> '{}'", told.display())]);
}

#[test]
fn a_token_is_in_no_log_no_error_no_file_no_event_and_at_no_other_host() {
    let mut hub = hub(&["a.efi", "b.efi"], &[]);
    hub.github.change(|model| model.repository(REPOSITORY).private = true);
    snoop(&mut hub);
    // Everything that may be told of, with the most talkative log.
    hub.lab.environment.push(("RUST_LOG".into(), "trace".into()));
    let mut lines: Vec<String> = Vec::new();
    for fault in [
        Fault::Elsewhere,
        Fault::Status(502),
        Fault::DropAfter,
        Fault::SecondaryLimit(Some(1)),
        Fault::Unauthorized,
        Fault::NotFound,
    ] {
        // What is refused rests for minutes.
        if !matches!(fault, Fault::Unauthorized | Fault::NotFound) {
            hub.github.trouble(Trouble::new(fault.clone()).path("*/releases/assets/*"));
        }
        hub.github.trouble(Trouble::new(fault).method("POST"));
    }
    hub.github.trouble(Trouble::new(Fault::WrongBytes));
    hub.github.trouble(Trouble::new(Fault::DropBody(1000)).after(1));
    let mut program = hub.lab.start().expect("a start");
    program.event("fetched", "").expect("an event");
    program.event("fetched", "").expect("an event");
    let firmware = program.firmware();
    image(&firmware);
    firmware.post().expect("an answer");
    for title in ["one", "two"] {
        let body = json!({ "title": title, "labels": ["x"] }).to_string();
        assert_eq!(firmware.put(&body, None).expect("an answer"), 200);
    }
    program.event("issue-filed", "").expect("an event");
    program.event("issue-filed", "").expect("an event");
    let page = firmware.exchange("GET", "Accept: text/html\r\n", b"").expect("a page");
    lines.push(page.text());
    lines.extend(program.seen.iter().map(ToString::to_string));
    common::terminate(program);
    // Each way in which a start fails.
    let api = hub.github.api();
    hub.github.down(Host::Api).expect("down");
    lines.push(hub.lab.start_badly().expect("it runs").1);
    hub.github.up(Host::Api).expect("up");
    hub.github.trouble(Trouble::new(Fault::Unauthorized).always());
    lines.push(hub.lab.clone().with(&["--token", TOKEN]).start_badly().expect("it runs").1);
    hub.github.calm();
    let odd = format!("{TOKEN}\u{e9}");
    lines.push(hub.lab.clone().with(&["--token", &odd]).start_badly().expect("it runs").1);
    let with_user = api.replace("http://", &format!("http://{TOKEN}@"));
    lines.push(
        hub.lab
            .clone()
            .serving(&["--repo", REPOSITORY, "--github-url", &with_user])
            .start_badly()
            .expect("it runs")
            .1,
    );
    let check = hub.lab.other("check").output().expect("it runs");
    lines.push(String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned());
    lines.push(hub.lab.status().expect("a state").to_string());
    for line in &lines {
        assert!(!line.contains(TOKEN), "{line}");
        assert!(!line.contains("sig="), "an address that is as good as a token: {line}");
    }
    let all = files(&hub.lab.folder);
    assert!(all.len() > 8, "{all:?}");
    for file in &all {
        let bytes = std::fs::read(file).expect("a file");
        assert!(!has(&bytes, TOKEN), "{}", file.display());
        assert!(!has(&bytes, "sig="), "{}", file.display());
    }
    assert!(all.iter().any(|file| file.ends_with("events")), "the command ran");
    for request in hub.github.requests().iter().filter(|request| request.host != Host::Api) {
        assert!(!request.has_authorization, "{}", request.line());
    }
}
