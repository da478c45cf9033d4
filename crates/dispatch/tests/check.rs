//! `dispatch check`: what a session would serve, and what it would miss, told before anything is started.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::process::Output;

use common::hub::{EFI, Hub, REPOSITORY, TOKEN, hub, hub_as};
use dispatch_testkit::github::{APP_KEY, APP_PUBLIC_KEY, Fault, Host, Level, Role, Token, Trouble};

fn check(hub: &Hub) -> Output {
    hub.lab.other("check").env("COLUMNS", "150").output().expect("it runs")
}

fn told(hub: &Hub) -> String {
    let output = check(hub);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn refused(hub: &Hub) -> String {
    let output = check(hub);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let words = String::from_utf8(output.stderr).expect("text");
    assert_eq!(words.lines().count(), 1, "one sentence: {words}");
    words
}

#[test]
fn it_tells_of_each_asset_whether_it_is_taken_and_why_not() {
    let hub = hub(&["ubuntu-b.efi", "ubuntu-a.efi", "fedora.efi"], &["ubuntu"]);
    hub.github.change(|model| {
        let release = model.repository(REPOSITORY).release("devel");
        release.asset("notes.txt", "text/plain", "hello");
        release.asset("plain.iso", "application/octet-stream", "iso");
        release.asset(
            "about.yaml",
            "application/vnd.dispatch+yaml",
            "workloads:\n  - { name: ubuntu-b.efi, order: -1, labels: [epyc], description: A kernel }\n",
        );
    });
    let told = told(&hub);
    let at = |word: &str| told.find(word).unwrap_or_else(|| panic!("`{word}` is not in:\n{told}"));
    assert!(at("ubuntu-b.efi") < at("ubuntu-a.efi"), "in the order of the queue:\n{told}");
    assert!(at("ubuntu-a.efi") < at("about.yaml"));
    for words in [
        "reports will be filed as issues of AMDEPYC/sev-certify as erin",
        "A kernel; epyc",
        "none of the filters is in its name",
        "its type is text/plain",
        "as an image it would be application/vnd.dispatch+iso",
        "describes workloads",
    ] {
        at(words);
    }
    let written = hub.github.requests().iter().filter(|request| request.method != "GET").count();
    assert_eq!(written, 0, "it only looks");
}

#[test]
fn a_mistake_in_a_description_names_file_line_and_field_and_stops_the_start() {
    let hub = hub(&["a.efi"], &[]);
    hub.github.change(|model| {
        let release = model.repository(REPOSITORY).release("devel");
        let text = "workloads:\n  - name: a.efi\n    rebots: 2\n";
        release.asset("about.yaml", "application/vnd.dispatch+yaml", text);
    });
    for words in [refused(&hub), hub.lab.start_badly().expect("it runs").1] {
        for part in ["about.yaml", "line 3", "rebots"] {
            assert!(words.contains(part), "`{part}` is not in: {words}");
        }
    }
}

#[test]
fn a_release_that_is_not_there_or_offers_nothing_is_one_clear_sentence() {
    let hub = hub(&["a.efi"], &[]);
    let mut other =
        hub.lab.clone().serving(&["--repo", REPOSITORY, "--tag", "none", "--github-url", &hub.github.api()]);
    let (status, words) = other.start_badly().expect("it runs");
    assert_eq!(status.code(), Some(1));
    assert!(words.contains("no release none in AMDEPYC/sev-certify"), "{words}");
    other = hub.lab.clone().with(&["suse"]);
    let (_, words) = other.start_badly().expect("it runs");
    assert!(words.contains("none of the 1 image") && words.contains("`suse`"), "{words}");
    hub.github.change(|model| {
        let release = model.repository(REPOSITORY).release("devel");
        release.remove_asset("a.efi");
        release.asset("a.efi", "application/octet-stream", "x");
    });
    let words = refused(&hub);
    assert!(words.contains("offers nothing to boot"), "{words}");
}

#[test]
fn what_is_missing_for_issues_is_named_and_stops_nothing() {
    let reader = hub_as(Role::Read, &["a.efi"], &[]);
    let words = told(&reader);
    assert!(words.contains('⚠') && words.contains("labels"), "{words}");
    let scopeless = hub(&["a.efi"], &[]);
    scopeless.github.change(|model| model.add_token(TOKEN, Token::classic("erin", &["read:org"])));
    let words = told(&scopeless);
    assert!(words.contains("public_repo"), "{words}");
    let mut fine = hub(&["a.efi"], &[]);
    fine.github.change(|model| {
        let given = [("contents", Level::Read), ("metadata", Level::Read)];
        model.add_token("github_pat_1", Token::fine_grained("erin", &[REPOSITORY], &given));
    });
    fine.lab.environment = vec![("GITHUB_TOKEN".into(), "github_pat_1".into())];
    let words = told(&fine);
    assert!(words.contains("Issues"), "{words}");
    let archived = hub(&["a.efi"], &[]);
    archived.github.change(|model| model.repository(REPOSITORY).archived = true);
    let words = told(&archived);
    assert!(words.contains("archived"), "{words}");
}

#[test]
fn without_a_sign_in_a_public_release_can_be_read_and_reports_stay_local() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.lab.environment.clear();
    let words = told(&hub);
    assert!(words.contains("not signed in") && words.contains("reports stay local"), "{words}");
    assert!(words.contains("a.efi"), "{words}");
}

#[test]
fn a_token_that_is_refused_is_passed_over_but_not_one_that_was_given() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.lab.environment =
        vec![("GITHUB_TOKEN".into(), "ghp_wrong".into()), ("GH_TOKEN".into(), TOKEN.into())];
    let words = told(&hub);
    assert!(words.contains("as erin") && words.contains("GITHUB_TOKEN was passed over"), "{words}");
    hub.lab.more.extend(["--token".to_owned(), "ghp_wrong".to_owned()]);
    let words = refused(&hub);
    assert!(words.contains("--token") && !words.contains("ghp_wrong"), "{words}");
}

#[test]
fn a_github_app_finds_its_installation_by_itself() {
    let mut hub = hub(&["a.efi"], &[]);
    let key = hub.lab.folder.join("app.pem");
    std::fs::write(&key, APP_KEY).expect("a key");
    hub.github.change(|model| {
        model.repository(REPOSITORY).private = true;
        model.app(7, "lab", "erin", APP_PUBLIC_KEY);
        let given = [("contents", Level::Read), ("issues", Level::Write), ("metadata", Level::Read)];
        model.install(7, "AMDEPYC", &[REPOSITORY], &given);
    });
    hub.lab.environment.clear();
    hub.lab.more.extend(["--app-id", "7", "--app-key"].map(str::to_owned));
    hub.lab.more.push(key.display().to_string());
    let words = told(&hub);
    assert!(words.contains("as lab[bot]") && words.contains("a.efi") && !words.contains('⚠'), "{words}");
    std::fs::write(&key, "no key").expect("a file");
    assert!(refused(&hub).contains("RSA private key"));
    std::fs::remove_file(&key).expect("removed");
    assert!(refused(&hub).contains("app.pem"));
}

#[test]
fn without_network_it_is_exit_1_and_says_which_address() {
    let hub = hub(&["a.efi"], &[]);
    hub.github.down(Host::Api).expect("it is down");
    let words = refused(&hub);
    let address = hub.github.api().replace("http://", "");
    assert!(words.contains(&address), "{words}");
    hub.github.up(Host::Api).expect("it is up");
    hub.github.trouble(Trouble::new(Fault::PrimaryLimit(600)).always());
    let words = refused(&hub);
    assert!(words.contains("limit"), "{words}");
}

#[test]
fn a_private_repository_can_be_read_with_a_token_only() {
    let mut hub = hub(&["a.efi"], &[]);
    hub.github.change(|model| model.repository(REPOSITORY).private = true);
    assert!(told(&hub).contains("a.efi"));
    hub.lab.environment.clear();
    let words = refused(&hub);
    assert!(words.contains("--token"), "{words}");
}

#[test]
fn the_tag_latest_is_that_tag_or_else_the_latest_release() {
    let mut hub = hub(&["a.efi"], &[]);
    let api = hub.github.api();
    *hub.lab = hub.lab.clone().serving(&["--repo", REPOSITORY, "--tag", "latest", "--github-url", &api]);
    assert!(told(&hub).contains("a.efi"), "the latest release");
    hub.github.change(|model| {
        model.repository(REPOSITORY).release("latest").asset("b.efi", EFI, "MZ");
        // Later than the one that is called so.
        model.repository(REPOSITORY).release("v9").asset("c.efi", EFI, "MZ");
    });
    let words = told(&hub);
    assert!(words.contains("b.efi") && !words.contains("c.efi"), "{words}");
}

#[test]
fn a_github_enterprise_server_is_named_by_option_or_environment() {
    let mut hub = hub(&["a.efi"], &[]);
    let api = hub.github.api_enterprise();
    let source = ["-o", "AMDEPYC", "-r", "sev-certify", "-t", "devel"];
    *hub.lab = hub.lab.clone().serving(&source).variable("GITHUB_API_URL", &api);
    assert!(told(&hub).contains("a.efi"));
}
