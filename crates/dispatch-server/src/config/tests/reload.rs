//! What a reload would change.

use std::path::Path;

use super::{FILE, configuration, hush};
use crate::config::{Configuration, EXAMPLE, differences, in_force, parse};

fn example(was: &str, is: &str) -> Configuration {
    assert!(EXAMPLE.contains(was), "{was}");
    let text = EXAMPLE.replacen(was, is, 1);
    parse(&text, Path::new(FILE), &hush).unwrap_or_else(|error| panic!("{error}")).configuration
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(differences(&example("", ""), &example("", "")), []);
}

#[test]
fn each_change_says_whether_it_needs_a_restart() {
    let old = example("", "");
    for (was, is, key, needs_restart) in [
        ("listen: \":9090\"", "listen: \":9091\"", "server.listen", true),
        ("  # tls: {", "  tls: {", "server.tls", true),
        ("  # public_url: https", "  public_url: https", "server.public_url", false),
        ("  # cors_origins: [", "  cors_origins: [", "server.cors_origins", false),
        ("  # trusted_proxies: [", "  trusted_proxies: [", "server.trusted_proxies", false),
        ("requests_per_minute: 60", "requests_per_minute: 61", "server.rate_limit", false),
        ("  interval: 30s", "  interval: 31s", "dispatcher", false),
        ("path: dispatch.db", "path: other.db", "database", true),
        ("session_ttl: 24h", "session_ttl: 1h", "auth.session_ttl", false),
        ("password: ${ADMIN_PASSWORD}", "password: other", "auth.basic", false),
        ("role: admin ", "role: operator ", "auth.basic", false),
        ("    enabled: false", "    enabled: true", "auth.github", false),
        ("retention_days: 30", "retention_days: -1", "history", false),
        ("  url: https://api.github.com", "  url: https://h.test/api/v3", "github", true),
        ("token: ${GITHUB_TOKEN}", "token: other", "github", true),
        ("listen: \":8080\"", "listen: \":8081\"", "boot.listen", true),
        ("path: /dispatch\n", "path: /other\n", "boot.path", true),
        ("  # stubs: ", "  stubs: ", "boot.stubs", true),
        ("unknown_hosts: enroll", "unknown_hosts: ignore", "boot.unknown_hosts", false),
        ("when_idle: next", "when_idle: none", "boot.when_idle", false),
        ("url: file:///var", "url: file:///srv", "storage", true),
        ("\n# reports: reports", "\nreports: other #", "reports", true),
        ("  path: cache", "  path: other", "cache.path", true),
        ("size: 50GiB", "size: 51GiB", "cache.size", true),
        ("prefetch: true", "prefetch: false", "cache.prefetch", true),
        ("\ngrace: 2m", "\ngrace: 3m", "grace", false),
        ("mdns: true", "mdns: false", "mdns", true),
        ("\n# ca_cert: ", "\nca_cert: ", "ca_cert", true),
        ("max_concurrent: 4", "max_concurrent: 5", "groups.metal.epyc", false),
        ("max_concurrent: 2", "max_concurrent: 3", "groups.github.sync-tests", false),
        ("name: rack 1, unit 3", "name: rack 2", "hosts.r1", false),
    ] {
        let new = example(was, is);
        let in_force = in_force(new.clone(), &old);
        assert_eq!(in_force, if needs_restart { old.clone() } else { new.clone() }, "{was}");
        let found = differences(&old, &new);
        let [difference] = found.as_slice() else { panic!("{was}: {found:#?}") };
        assert_eq!((difference.key.as_str(), difference.needs_restart), (key, needs_restart), "{was}");
        assert!(!difference.what.contains("hush") && !difference.what.contains('\n'), "{difference:?}");
        assert_eq!(difference.what.contains("restart dispatch"), needs_restart, "{difference:?}");
    }
}

#[test]
fn what_left_the_file_and_what_is_new_is_named() {
    let groups = |ids: &[&str]| {
        let groups: Vec<String> = ids.iter().map(|id| format!("{{ id: {id}, templates: [] }}")).collect();
        configuration(&format!("groups: {{ metal: [{}] }}\n", groups.join(", ")))
    };
    let said = |old: &[&str], new: &[&str]| {
        let found = differences(&groups(old), &groups(new));
        found.into_iter().map(|difference| difference.what).collect::<Vec<_>>()
    };
    assert_eq!(
        said(&["a", "b"], &["b", "c"]),
        [
            "the group `c` is new",
            "the group `a` left the file: it stops dispatching at once, and keeps its history"
        ]
    );
    assert_eq!(said(&["a", "b"], &["b", "a"]), [] as [&str; 0], "the order of groups is nothing");
    let first = said(&[], &["a"]);
    assert!(first[1].contains("nothing listens for firmware: restart dispatch"), "{first:?}");
}
