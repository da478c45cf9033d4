//! `dispatch config`: a service's configuration is looked at without starting one.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

use std::process::{Command, Output};

use tempfile::TempDir;

fn dispatch(folder: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.arg("config").args(words).current_dir(folder.path()).env("COLUMNS", "120");
    command.env_remove("ADMIN_PASSWORD").env_remove("GITHUB_TOKEN");
    command.output().expect("it runs")
}

fn folder(file: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("dispatch.yaml"), file).expect("written");
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn all_mistakes_are_printed_with_their_places() {
    let folder = folder("boot:\n  when_idle: powerof\nsever: {}\ngithub:\n  token: ${GITHUB_TOKEN}\n");
    let output = dispatch(&folder, &["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "dispatch.yaml:2:14: boot.when_idle: `powerof` does not fit: did you mean `poweroff`? write auto, next, wait, poweroff, \
         reboot or none\n\
         dispatch.yaml:3:1: sever: unknown key `sever`: did you mean `server`?\n\
         dispatch.yaml:5:10: github.token: the environment variable GITHUB_TOKEN is not set: set it, or write the value here\n"
    );
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_good_file_is_told_as_what_it_would_run_with_its_warnings() {
    let folder = folder(
        "server: { cors_origins: [\"*\"] }\ngroups:\n  metal:\n    - id: epyc\n      host_labels: [epyc-9004]\n      sources: [{ dir: \
         images }]\nhosts: [{ id: r1, mac: \"52:54:00:12:34:56\", labels: [epyc-9004] }]\n",
    );
    let output = dispatch(&folder, &["check", "-c", "dispatch.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for words in [
        "port 9090 of every address",
        "port 8080 of every address, path /dispatch",
        "SQLite, ./dispatch.db",
        "epyc   metal  all      epyc-9004",
        "./images",
        "52:54:00:12:34:56",
        "⚠ dispatch.yaml:1:26: server.cors_origins[0]: `*` has no effect",
        "nobody can sign in",
    ] {
        assert!(told.contains(words), "`{words}` is not in:\n{told}");
    }
}

#[test]
fn the_example_is_a_good_file() {
    let example = dispatch(&folder(""), &["example"]);
    assert!(example.status.success());
    let folder = folder(&text(&example.stdout));
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.args(["config", "check"]).current_dir(folder.path());
    let output = command.env("ADMIN_PASSWORD", "hush").env("GITHUB_TOKEN", "hush").output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("hush"));
}

#[test]
fn the_schema_is_json_with_descriptions_and_words() {
    let output = dispatch(&folder(""), &["schema"]);
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["IdleWord"]["enum"][0], "auto");
    assert!(
        schema["properties"]["groups"]["description"].as_str().is_some_and(|text| text.contains("queue"))
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = dispatch(&folder(""), &["check", "-c", "none.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("none.yaml:1:1: cannot read none.yaml: "),
        "{}",
        text(&output.stderr)
    );
}
