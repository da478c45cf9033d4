//! Secrets are read from where they are said to be, and are never seen.

use std::path::Path;

use secrecy::ExposeSecret as _;

use super::{FILE, hush, mistake, unset};
use crate::config::{EXAMPLE, load, parse, summary};

/// A user whose password is said so.
fn user(password: &str) -> String {
    format!(
        "auth:\n  basic:\n    enabled: true\n    users:\n      - username: admin\n        role: admin\n        {password}\n"
    )
}

#[test]
fn a_variable_that_is_not_set_is_never_a_password() {
    assert_eq!(
        mistake(&user("password: ${ADMIN_PASSWORD}")),
        "7:19 auth.basic.users[0].password: the environment variable ADMIN_PASSWORD is not set: set it, or write the \
         value here"
    );
    let empty = |_: &str| Ok(String::new());
    let error = parse(&user("password: ${ADMIN_PASSWORD}"), Path::new(FILE), &empty).expect_err("empty");
    assert!(
        error.to_string().contains("`${ADMIN_PASSWORD}` stands for is not a secret: it must not be empty"),
        "{error}"
    );
}

#[test]
fn a_password_is_never_empty_missing_or_a_variable_by_mistake() {
    for (password, expected) in [
        ("password: \"\"", "7:19 auth.basic.users[0].password: what stands here is not a secret"),
        ("password: \"  \"", "7:19 auth.basic.users[0].password: what stands here is not a secret"),
        ("password:", "5:9 auth.basic.users[0]: the key `password` is missing: give it, or `password_file`"),
        (
            "password: $ADMIN_PASSWORD",
            "7:19 auth.basic.users[0].password: is this the variable ${ADMIN_PASSWORD}?",
        ),
        (
            "password: ${ADMIN_PASSWORD:-x}",
            "7:19 auth.basic.users[0].password: a variable is written ${NAME}",
        ),
        ("password: [hush]", "7:19 auth.basic.users[0].password: here stands a list"),
        (
            "password_file: none",
            "7:24 auth.basic.users[0].password_file: cannot read the secret in /lab/none",
        ),
        ("password_file: credential:x", "7:24 auth.basic.users[0].password_file: there are no credentials"),
    ] {
        let said = mistake(&user(password));
        assert!(said.starts_with(expected), "{password}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[test]
fn a_secret_and_its_file_contradict_each_other() {
    for (text, place) in [
        (user("password: a\n        password_file: b"), "8:24 auth.basic.users[0].password_file"),
        ("github: { token: a, token_file: b }\n".to_owned(), "1:33 github.token_file"),
        (
            "github: { webhook_secret: a, webhook_secret_file: b }\n".to_owned(),
            "1:51 github.webhook_secret_file",
        ),
        ("database: { driver: postgres, postgres: { password: a, password_file: b } }\n".to_owned(), "1:71 "),
    ] {
        let said = mistake(&text);
        assert!(said.starts_with(place) && said.contains("keep one of"), "{said}");
    }
    let said = mistake(
        "github: { token: a, app: { id: 1, private_key_file: /dev/null } }\n"
            .replace("/dev/null", "/etc/hostname")
            .as_str(),
    );
    assert!(said.starts_with("1:26 github.app: there is a token as well"), "{said}");
}

#[test]
fn secrets_come_from_files_beside_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("password", "hush\n");
    write("key.pem", "-----BEGIN\nhush\n");
    write(
        "dispatch.yaml",
        &(user("password_file: password") + "github: { app: { id: 7, private_key_file: key.pem } }\n"),
    );
    let loaded = load(&folder.path().join("dispatch.yaml"), &unset).expect("a configuration");
    let configuration = loaded.configuration;
    assert_eq!(configuration.auth.users[0].password.expose_secret(), "hush");
    let app = configuration.github.app.expect("an App");
    assert_eq!((app.id, app.private_key.expose_secret()), (7, "-----BEGIN\nhush"));
}

#[test]
fn no_secret_is_in_what_is_printed() {
    let text =
        EXAMPLE.replace("driver: sqlite", "driver: postgres").replace("enabled: false", "enabled: true");
    let env = |name: &str| if name == "GITHUB_CLIENT_ID" { Ok("me".to_owned()) } else { hush(name) };
    let loaded = parse(&text, Path::new(FILE), &env).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.configuration.auth.users[0].password.expose_secret(), "hush");
    for printed in [format!("{loaded:?}"), format!("{loaded:#?}"), summary(&loaded, 200)] {
        assert!(!printed.contains("hush"), "{printed}");
    }
}

#[test]
fn no_secret_is_in_a_mistake_wherever_it_was_put() {
    // Every key gets a variable, whether it fits or not.
    let mut checked = 0;
    for (number, line) in EXAMPLE.lines().enumerate() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if line.trim_start().starts_with('#') || value.is_empty() || value.contains(['{', '[', '\'']) {
            continue;
        }
        let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
        lines[number] = format!("{key}: \"${{SECRET}}\"");
        let env = |name: &str| Ok(if name == "SECRET" { "hush/: ä" } else { "fine" }.to_owned());
        if let Err(error) = parse(&lines.join("\n"), Path::new(FILE), &env) {
            checked += 1;
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_secret_in_the_place_of_its_file_is_not_shown() {
    for key in ["token_file", "webhook_secret_file", "runners_token_file"] {
        for value in ["${SECRET}", "credential:${SECRET}", "credential:.${SECRET}"] {
            let text = format!("github: {{ {key}: \"{value}\" }}\n");
            let error = parse(&text, Path::new(FILE), &hush).expect_err("no file").to_string();
            assert!(error.contains("cannot") && error.contains("${SECRET}"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}

#[test]
fn a_url_with_a_password_is_refused_without_showing_it() {
    for text in [
        "github: { url: \"https://me:hush@h.test/api\" }\n",
        "server: { public_url: \"https://me:hush@h.test\" }\n",
        "storage: { url: \"s3://me:hush@bucket/x\" }\n",
        "database: { driver: postgres, postgres: { url: \"mysql://me:hush@h.test/x\" } }\n",
        "groups: { metal: [{ id: a, sources: [{ urls: [\"https://me:hush@h.test/a.iso\"] }] }] }\n",
    ] {
        let said = mistake(text);
        assert!(!said.contains("hush"), "{said}");
    }
}
