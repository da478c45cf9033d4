//! What is written becomes what is meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dispatch_core::queue::{Stub, WhenIdle};
use dispatch_core::{Deadlines, Spread, UnknownHosts};
use serde_json::{Map, Value as Json};

use super::{FILE, configuration, hush, loaded, mistake, read, unset};
use crate::config::schema::{Shape, default_of, schema};
use crate::config::{
    Configuration, Connection, Database, EXAMPLE, Loaded, Queueing, SourceKind, Storage, Warning, load, parse,
};

fn example() -> Configuration {
    let Loaded { configuration, warnings } =
        parse(EXAMPLE, Path::new(FILE), &hush).unwrap_or_else(|error| panic!("{error}"));
    let is_expected = |note: &Warning| note.what.starts_with("this has no effect yet");
    assert!(warnings.iter().all(is_expected), "{warnings:#?}");
    configuration
}

#[test]
fn the_example_is_a_configuration() {
    let configuration = example();
    let group = &configuration.metal_groups[0];
    assert_eq!((group.when_idle, group.max_concurrent), (WhenIdle::Always(Stub::Wait), Some(4)));
    assert_eq!(group.deadlines, Deadlines { run: Duration::from_hours(4), ..Deadlines::default() });
    let ids: Vec<&str> = group.sources.iter().map(|source| source.id.as_str()).collect();
    assert_eq!(ids, ["AMDEPYC-sev-certify-devel", "local", "urls-memtest.efi"]);
    let SourceKind::Release { name, watch } = &group.sources[0].kind else { panic!("a release") };
    assert_eq!(
        (name.to_string().as_str(), *watch),
        ("AMDEPYC/sev-certify devel", Some(Duration::from_mins(5)))
    );
    assert_eq!((group.sources[0].priority, &group.sources[0].spread), (10, &Spread::EachHost));
    assert_eq!(group.sources[1].kind, SourceKind::Directory("/lab/images".into()));
    assert_eq!(group.sources[1].queue, Queueing::Never);
    assert_eq!(configuration.hosts[0].macs[0].to_string(), "52:54:00:12:34:56");
    assert_eq!(configuration.storage, Storage::Folder("/var/lib/dispatch/storage".into()));
}

#[test]
fn the_example_with_all_that_is_commented_out_has_no_unknown_keys() {
    // Lines such as `  # key: value` are alternatives: some contradict what stands beside them, but none is unknown.
    let is_key = |rest: &str| {
        let name = rest.trim_start_matches("- {").trim_start().split(':').next().unwrap_or_default();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let on = |line: &str| match line.split_once("# ") {
        Some((indent, rest)) if !indent.is_empty() && indent.trim().is_empty() && is_key(rest) => {
            format!("{indent}{rest}")
        }
        _ => line.to_owned(),
    };
    let text: Vec<String> = EXAMPLE.lines().map(on).collect();
    let text = text.join("\n");
    assert!(text.contains("\n  tls: {") && text.contains("\n      - { username: viewer"), "{text}");
    let error = parse(&text, Path::new(FILE), &hush).expect_err("alternatives");
    assert!(
        error.0.iter().all(|mistake| !mistake.what.contains("unknown") && !mistake.what.contains("YAML")),
        "{error}"
    );
}

#[test]
fn nothing_at_all_is_a_configuration_that_warns() {
    for text in ["", "# nothing\n", "---\n", "server:\ngroups: ~\n"] {
        let Loaded { configuration, warnings } = loaded(text);
        assert_eq!(configuration.boot.unknown_hosts, UnknownHosts::Enroll);
        assert_eq!(
            configuration.boot.when_idle,
            WhenIdle::Always(Stub::Next),
            "nobody is powered off by surprise"
        );
        assert_eq!(configuration.database, Database::Sqlite { path: "/lab/dispatch.db".into() });
        assert_eq!(configuration.storage, Storage::Folder("/lab/storage".into()));
        assert!(
            configuration.auth.users.is_empty() && configuration.auth.github.is_none(),
            "nobody may sign in"
        );
        let said: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert!(said.contains(&"groups") && said.contains(&"auth"), "{warnings:?}");
    }
}

/// A file in which the key at the path has this value.
fn nested(path: &[&str], value: &Json) -> Json {
    path.iter()
        .rev()
        .fold(value.clone(), |inner, key| Json::Object(Map::from_iter([((*key).to_owned(), inner)])))
}

/// Every default that the schema names, outside of lists: its path and its value.
fn defaults<'a>(section: Shape<'a>, above: &[&'a str], found: &mut Vec<(Vec<&'a str>, Json)>) {
    for name in section.keys() {
        let path = [above, &[name]].concat();
        if let Some(default) = section.description_of(name).and_then(default_of) {
            found.push((path.clone(), default));
        }
        if let Some(shape) = section.property(name) {
            defaults(shape, &path, found);
        }
    }
}

#[test]
fn a_default_is_what_its_description_says() {
    let mut found = Vec::new();
    defaults(Shape::of(schema()), &[], &mut found);
    assert!(found.len() > 25, "{}", found.len());
    for (path, default) in found {
        let mut with = nested(&path, &default);
        let mut without = Json::Object(Map::new());
        if path.starts_with(&["database", "postgres"]) {
            for file in [&mut with, &mut without] {
                file["database"]["driver"] = "postgres".into();
                file["database"]["postgres"]["sslmode"] = file["database"]["postgres"]["sslmode"].take();
            }
            without["database"]["postgres"]["port"] = 5432.into();
        }
        let (with, without) = (configuration(&with.to_string()), configuration(&without.to_string()));
        assert_eq!(with, without, "{path:?}: {default}");
    }
}

#[test]
fn defaults_inside_groups_are_what_their_descriptions_say() {
    let short = "groups:\n  metal:\n    - id: a\n      sources: [{ release: { owner: o, repo: r } }]\n      templates: [{ id: t, \
                 workload: w }]\n  github:\n    - id: b\n      runner_labels: [x]\n      workflow_dispatch_templates: [{ id: u, owner: \
                 o, repo: r, workflow_id: w }]\n";
    let long = "groups:\n  metal:\n    - id: a\n      name: a\n      paused: false\n      retries: 2\n      when_idle: next\n      \
                deadlines: { assigned: 5m, download: 2m, boot: 15m, run: 24h, grace: 2m }\n      issues: { report: both, footer: true \
                }\n      sources: [{ release: { owner: o, repo: r, tag: latest, watch: true }, queue: new, spread: any, priority: 0, \
                id: o-r-latest }]\n      templates: [{ id: t, name: t, workload: w, priority: 0, spread: any }]\n  github:\n    - id: \
                b\n      name: b\n      paused: false\n      runner_labels: [x]\n      workflow_dispatch_templates: [{ id: u, name: u, \
                owner: o, repo: r, workflow_id: w, ref: main }]\n";
    assert_eq!(configuration(short), configuration(long));
}

#[test]
fn the_example_and_everything_that_loads_fits_the_schema() {
    let validator = jsonschema::validator_for(schema()).expect("a schema");
    let json: Json = serde_saphyr::from_str(EXAMPLE).expect("YAML");
    let errors: Vec<String> =
        validator.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for wrong in
        ["{\"servr\": {}}", "{\"boot\": {\"when_idle\": \"off\"}}", "{\"hosts\": [{}]}", "{\"grace\": true}"]
    {
        let json: Json = serde_json::from_str(wrong).expect("JSON");
        assert!(!validator.is_valid(&json), "{wrong}");
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert_eq!(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn paths_belong_to_the_folder_of_the_file() {
    let text = "database: { sqlite: { path: data/x.db } }\nreports: /var/reports\nca_cert: ./ca.pem\n";
    let configuration = configuration(text);
    assert_eq!(configuration.database, Database::Sqlite { path: "/lab/data/x.db".into() });
    assert_eq!(configuration.storage, Storage::Folder("/lab/data/storage".into()), "beside the database");
    assert_eq!(configuration.cache.path, Path::new("/lab/data/cache"));
    assert_eq!(configuration.reports.as_deref(), Some(Path::new("/var/reports")));
    assert_eq!(configuration.ca_certs, [PathBuf::from("/lab/ca.pem")]);
    let here = parse(text, Path::new("dispatch.yaml"), &unset).expect("a configuration").configuration;
    assert_eq!(here.database, Database::Sqlite { path: "./data/x.db".into() });
}

#[test]
fn a_postgres_is_given_by_its_url_or_in_parts() {
    let text = "database:\n  driver: postgres\n  postgres: { url: \"postgresql://me:hush@h.test/x\" }\n";
    let Database::Postgres(postgres) = configuration(text).database else { panic!("PostgreSQL") };
    assert!(matches!(postgres.connection, Connection::Url(_)));
    assert_eq!(postgres.sslmode, None, "the URL may say it");
    let said = mistake(&text.replace(" }", ", user: me }"));
    assert!(said.starts_with("3:59 database.postgres.user: `url` says it as well"), "{said}");
}

#[test]
fn a_place_in_an_s3_store_has_a_bucket_and_a_prefix() {
    let storage = |url: &str| configuration(&format!("storage: {{ url: \"{url}\" }}\n")).storage;
    let s3 = |prefix: &str| Storage::S3 { bucket: "b".to_owned(), prefix: prefix.to_owned() };
    assert_eq!(storage("s3://b"), s3(""));
    assert_eq!(storage("s3://b/a/c/"), s3("a/c"));
    assert_eq!(storage("file:///a%20b"), Storage::Folder("/a b".into()));
}

#[test]
fn people_land_on_our_own_origin_only() {
    let landing = |own: &str, url: &str| {
        let text = format!(
            "server: {{ public_url: \"{own}\" }}\nauth:\n  github: {{ enabled: true, client_id: a, client_secret: b, redirect_url: \
             \"{url}\", user_role_mapping: {{ OctoCat: admin }} }}\n"
        );
        let loaded = loaded(&text);
        let is_warned = loaded.warnings.iter().any(|warning| warning.key == "auth.github.redirect_url");
        (loaded.configuration.auth.github.expect("OAuth").landing, is_warned)
    };
    assert_eq!(
        landing("https://own.test/", "https://own.test/groups?a=b"),
        ("/groups?a=b".to_owned(), false)
    );
    assert_eq!(landing("https://own.test/", "https://own.test:8443/groups"), ("/".to_owned(), true));
    assert_eq!(landing("https://own.test/", "/groups"), ("/groups".to_owned(), false));
    for wrong in ["//evil.test/", "/\\\\evil.test/", "evil.test", "javascript:alert(1)"] {
        let text = format!("auth: {{ github: {{ redirect_url: \"{wrong}\" }} }}\n");
        assert!(mistake(&text).contains("not a place to land"), "{wrong}");
    }
}

#[test]
fn scalars_without_quotes_are_texts_where_a_text_is_wanted() {
    let text = "groups:\n  github:\n    - id: 7\n      runner_labels: [x64, 7]\n      workflow_dispatch_templates: [{ id: 8, owner: o, \
                repo: r, workflow_id: 123, ref: 1.0, inputs: { minutes: 1380, dry: true, none: , empty: \"\" } }]\n";
    let group = configuration(text).github_groups.remove(0);
    let template = &group.templates[0];
    assert_eq!((group.id.as_str(), group.runner_labels[1].as_str()), ("7", "7"));
    assert_eq!((template.workflow_id.as_str(), template.git_ref.as_str()), ("123", "1.0"));
    let inputs: Vec<_> = template.inputs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(inputs, [("dry", "true"), ("empty", ""), ("minutes", "1380")]);
}

#[test]
fn variables_stand_in_values_of_every_form_and_never_in_keys() {
    let env = |name: &str| match name {
        "PORT" => Ok("5433".to_owned()),
        "ON" => Ok("true".to_owned()),
        "KEY" => Ok("mdns".to_owned()),
        _ => Err(std::env::VarError::NotPresent),
    };
    let text = "database: { driver: postgres, postgres: { port: \"${PORT}\", host: \"db-${PORT}\" } }\nmdns: ${ON} # ${NOT_SET}\n";
    let configuration = parse(text, Path::new(FILE), &env).expect("a configuration").configuration;
    let Database::Postgres(postgres) = configuration.database else { panic!("PostgreSQL") };
    let Connection::Parts(parts) = postgres.connection else { panic!("parts") };
    assert_eq!((parts.host.as_str(), parts.port), ("db-5433", 5433));
    let error = parse("${KEY}: true\n", Path::new(FILE), &env).expect_err("a key").to_string();
    assert!(error.contains("unknown key `${KEY}`"), "{error}");
}

#[test]
fn anchors_stand_for_what_they_name() {
    let text = "groups:\n  metal:\n    - id: a\n      deadlines: &long { run: 2d }\n      templates: []\n    - id: b\n      deadlines: \
                *long\n      templates: []\n";
    let groups = configuration(text).metal_groups;
    assert_eq!(groups[0].deadlines, groups[1].deadlines);
    assert_eq!(groups[1].deadlines.run, Duration::from_hours(48));
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dispatch.yaml");
    assert!(load(&path, &unset).expect_err("none").to_string().contains("cannot read"));
    std::fs::write(&path, b"grace: 2m\n# \xff\n").expect("written");
    assert!(load(&path, &unset).expect_err("bytes").to_string().contains("no UTF-8 text: look at line 2"));
}
