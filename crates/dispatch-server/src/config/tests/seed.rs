//! Configurations of the queue that we are compatible with load as they are.

use std::env::VarError;
use std::path::Path;
use std::time::Duration;

use dispatch_boot::Bind;
use secrecy::ExposeSecret;

use crate::config::{
    Connection, Database, Loaded, Role, SslMode, TemplateOrigin, Warning, load, parse, templates,
};

/// Its quick start, with all that its documentation shows of every section.
const SEED: &str = r#"
server:
  listen: ":9090"
  cors_origins:
    - "*"

github:
  token: ${GITHUB_TOKEN}  # Or paste token directly
  poll_interval: 60s
  rate_limit_buffer: 100

dispatcher:
  enabled: true
  interval: 30s
  tracking_interval: 30s

database:
  driver: postgres
  sqlite:
    path: ./dispatchoor.db
  postgres:
    host: localhost
    port: 5432
    user: dispatchoor
    password: ${DB_PASSWORD}
    database: dispatchoor
    sslmode: disable

auth:
  session_ttl: 24h
  basic:
    enabled: true
    users:
      - username: admin
        password: ${ADMIN_PASSWORD}
        role: admin
      - username: viewer
        password: ${VIEWER_PASSWORD}
        role: readonly
  github:
    enabled: true
    client_id: ${GITHUB_CLIENT_ID}
    client_secret: ${GITHUB_CLIENT_SECRET}
    redirect_url: http://localhost:3000  # Where to redirect after login
    org_role_mapping:
      my-org: admin
    user_role_mapping:
      octocat: admin

history:
  retention_days: 30
  cleanup_interval: 1h

groups:
  github:
    - id: sync-tests
      name: Sync Tests
      description: Ethereum sync testing jobs
      runner_labels:
        - self-hosted
        - sync-test
      # Option 1: Inline templates, with ${VARIABLES} only in a comment
      workflow_dispatch_templates:
        - id: sync-geth-prysm
          name: Sync Test geth/prysm
          owner: ethpandaops
          repo: syncoor-tests
          workflow_id: syncoor.yaml
          ref: master
          inputs:
            el-client: "geth"
            cl-client: "prysm"
            config: '{"network": "mainnet"}'
      workflow_dispatch_templates_files:
        - templates/sync-tests.yaml
      workflow_dispatch_templates_urls:
        - https://raw.githubusercontent.com/myorg/templates/main/sync-tests.yaml
"#;

const TEMPLATES: &str = r#"
- id: sync-geth-lighthouse
  name: Sync Test geth/lighthouse
  owner: ethpandaops
  repo: syncoor-tests
  workflow_id: syncoor.yaml
  ref: master
  inputs:
    el-client: "geth"
    cl-client: "lighthouse"
"#;

fn env(name: &str) -> Result<String, VarError> {
    if name == "NOT_SET" { Err(VarError::NotPresent) } else { Ok(format!("the {name}")) }
}

fn seed() -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("templates")).expect("a folder");
    std::fs::write(folder.path().join("templates/sync-tests.yaml"), TEMPLATES).expect("written");
    std::fs::write(folder.path().join("config.yaml"), SEED).expect("written");
    load(&folder.path().join("config.yaml"), &env).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn its_file_loads_as_it_is() {
    let configuration = seed().configuration;
    assert_eq!(configuration.server.listen, Bind { address: None, port: 9090 });
    let Database::Postgres(postgres) = &configuration.database else { panic!("PostgreSQL") };
    let Connection::Parts(parts) = &postgres.connection else { panic!("parts") };
    assert_eq!(
        (parts.host.as_str(), parts.port, postgres.sslmode),
        ("localhost", 5432, Some(SslMode::Disable))
    );
    assert_eq!(parts.password.as_ref().map(ExposeSecret::expose_secret), Some("the DB_PASSWORD"));
    let users: Vec<_> =
        configuration.auth.users.iter().map(|user| (user.username.as_str(), user.role)).collect();
    assert_eq!(users, [("admin", Role::Admin), ("viewer", Role::Readonly)]);
    assert_eq!(configuration.history.retention, Some(Duration::from_hours(720)));
    let group = &configuration.github_groups[0];
    assert_eq!(group.runner_labels, ["self-hosted", "sync-test"]);
    let ids: Vec<_> =
        group.templates.iter().map(|template| (template.id.as_str(), template.origin.as_str())).collect();
    assert_eq!(ids, [("sync-geth-prysm", "inline"), ("sync-geth-lighthouse", "file")]);
    assert_eq!(group.templates[0].inputs["config"], r#"{"network": "mainnet"}"#);
    assert_eq!(group.template_urls.len(), 1);
}

#[test]
fn what_we_do_better_by_other_means_is_a_warning_without_effect() {
    let Loaded { configuration, warnings } = seed();
    assert!(configuration.server.cors_origins.is_empty());
    assert_eq!(configuration.auth.github.expect("OAuth").landing, "/");
    let is_later = |warning: &Warning| warning.what.starts_with("this has no effect yet");
    let (later, warnings): (Vec<Warning>, Vec<Warning>) = warnings.into_iter().partition(is_later);
    let keys = |all: &[Warning]| all.iter().map(|warning| warning.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&warnings), ["storage.url", "server.cors_origins[0]", "auth.github.redirect_url"]);
    assert_eq!(
        keys(&later),
        [
            "github.poll_interval",
            "github.rate_limit_buffer",
            "dispatcher.interval",
            "dispatcher.tracking_interval",
            "auth.github",
            "history.retention_days",
            "history.cleanup_interval"
        ]
    );
    assert!(warnings[1].what.contains("no effect") && warnings[2].what.contains("no effect"));
}

#[test]
fn its_quick_start_loads_as_it_is() {
    let text = "github:\n  token: ${GITHUB_TOKEN}  # Or paste token directly\n\nauth:\n  basic:\n    enabled: true\n    \
                users:\n      - username: admin\n        password: changeme\n        role: admin\n\ngroups:\n  github:\n    \
                - id: my-runners\n      name: My Runners\n      runner_labels:\n        - self-hosted\n        - linux\n      \
                workflow_dispatch_templates:\n        - id: my-job\n          name: My Workflow\n          owner: my-org\n          \
                repo: my-repo\n          workflow_id: my-workflow.yml\n          ref: main\n          inputs:\n            \
                param1: \"value1\"\n";
    let loaded = parse(text, Path::new("config.yaml"), &env).expect("a configuration");
    assert_eq!(loaded.configuration.github_groups[0].templates.len(), 1);
    assert_eq!(loaded.configuration.github.token.expect("a token").expose_secret(), "the GITHUB_TOKEN");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(
        warnings[0]
            .starts_with("config.yaml:9:19: auth.basic.users[0].password: this password stands in examples")
    );
}

#[test]
fn sections_that_are_off_may_name_variables_that_are_not_set() {
    let unset = |name: &str| if name == "ADMIN_PASSWORD" { env(name) } else { Err(VarError::NotPresent) };
    let text = "database:\n  driver: ${DRIVER}\n";
    assert!(parse(text, Path::new("a"), &unset).is_err());
    let text = "database:\n  postgres:\n    password: ${DB_PASSWORD}\n    host: ${DB_HOST}\nauth:\n  basic:\n    enabled: true\n    \
                users: [{ username: a, password: \"${ADMIN_PASSWORD}\", role: admin }]\n  github:\n    enabled: false\n    \
                client_id: ${GITHUB_CLIENT_ID}\n    client_secret: ${GITHUB_CLIENT_SECRET}\n";
    parse(text, Path::new("a"), &unset).unwrap_or_else(|error| panic!("{error}"));
    for (was, is) in [("enabled: false", "enabled: true"), ("database:\n", "database:\n  driver: postgres\n")]
    {
        let error = parse(&text.replace(was, is), Path::new("a"), &unset).expect_err("unset");
        assert_eq!(error.0.len(), 2, "{error}");
        assert!(error.0.iter().all(|mistake| mistake.what.contains("is not set")), "{error}");
    }
}

#[test]
fn a_template_file_has_mistakes_of_its_own_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write(
        "t.yaml",
        "- id: a\n  owner: o\n  repo: r\n  workflw_id: w\n- id: b\n  owner: o\n  repo: r\n  workflow_id: ${W}\n",
    );
    write(
        "c.yaml",
        "groups:\n  github:\n    - id: g\n      runner_labels: [x]\n      workflow_dispatch_templates:\n        - { id: b, \
         owner: o, repo: r, workflow_id: w }\n      workflow_dispatch_templates_files: [t.yaml, none.yaml]\n",
    );
    let unset = |_: &str| Err(VarError::NotPresent);
    let error = load(&folder.path().join("c.yaml"), &unset).expect_err("mistakes");
    let seen: Vec<String> = error
        .0
        .iter()
        .map(|note| {
            let file = note.file.file_name().expect("a name").to_string_lossy().into_owned();
            format!("{file}:{} {}", note.place, note.key)
        })
        .collect();
    assert_eq!(
        seen,
        [
            "c.yaml:7:51 groups.github[0].workflow_dispatch_templates_files[1]",
            "t.yaml:1:3 [0]",
            "t.yaml:4:3 [0].workflw_id",
            "t.yaml:5:7 [1].id",
            "t.yaml:8:16 [1].workflow_id",
        ],
        "{error}"
    );
}

#[test]
fn templates_of_a_url_have_no_variables() {
    let url = "https://h.test/t.yaml?sig=hush".parse().expect("a URL");
    let configuration = seed().configuration;
    let text = "- id: far\n  owner: o\n  repo: r\n  workflow_id: w\n  inputs: { a: \"${GITHUB_TOKEN}\", b: \"$${X}\" }\n";
    let found = templates(text, &url, &configuration).expect("templates");
    assert_eq!(found[0].inputs["a"], "${GITHUB_TOKEN}");
    assert_eq!(found[0].inputs["b"], "$${X}");
    assert_eq!(found[0].origin, TemplateOrigin::Url(url.clone()));
    let error = templates(&text.replace("far", "sync-geth-prysm"), &url, &configuration).expect_err("taken");
    assert!(error.to_string().starts_with("https://h.test/t.yaml:1:7: [0].id: the template"), "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
}
