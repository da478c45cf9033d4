//! Every kind of mistake, with its exact place.

use super::{mistake, mistakes, read};

/// A metal group with these lines more, each indented by six.
fn group(lines: &str) -> String {
    format!("groups:\n  metal:\n    - id: a\n      templates: []\n{lines}")
}

#[test]
fn an_unknown_key_has_its_place_and_a_suggestion() {
    for (text, expected) in [
        ("serve:\n  listen: :1\n", "1:1 serve: unknown key `serve`: did you mean `server`?"),
        ("server:\n  lisen: :1\n", "2:3 server.lisen: unknown key `lisen`: did you mean `listen`?"),
        ("server: { Listen: x }\n", "1:11 server.Listen: unknown key `Listen`: did you mean `listen`?"),
        (
            "groups:\n  github:\n    - id: a\n      runer_labels: [x]\n      runner_labels: [x]\n",
            "4:7 groups.github[0].runer_labels: unknown key `runer_labels`: did you mean `runner_labels`?",
        ),
        (
            "database:\n  driver: sqlite\n  statement_timeout: 5s\n",
            "3:3 database.statement_timeout: unknown key `statement_timeout`: it belongs to `database.postgres`; look at \
             the indentation",
        ),
        (
            "history:\n  zzz: 1\n",
            "2:3 history.zzz: unknown key `zzz`: here may stand cleanup_interval, retention_days",
        ),
        ("<<: { a: 1 }\n", "1:1 <<: YAML 1.2 has no merge keys: write the keys out"),
    ] {
        assert_eq!(mistake(text), expected, "{text}");
    }
}

#[test]
fn a_key_that_is_given_twice_is_a_mistake_with_the_first_line() {
    assert_eq!(
        mistake("grace: 2m\nmdns: true\ngrace: 3m\n"),
        "3:1 grace: this key was given already in line 1: give it once"
    );
    assert_eq!(
        mistake("boot:\n  path: /a\n  path: /b\n"),
        "3:3 boot.path: this key was given already in line 2: give it once"
    );
}

#[test]
fn what_is_no_yaml_is_told_with_its_place_and_what_helps() {
    for (text, place, help) in [
        ("server:\n\tlisten: :1\n", "2:", "no tabs"),
        ("server: [\n", "1:9", "brackets"),
        ("a: b: c\n", "1:5", "indentation"),
        ("auth: { basic: { users: [{ password: ${A}, role: admin }] } }\n", "1:", "in quotes"),
        ("grace: 1m\n---\ngrace: 2m\n", "2:1", "a second document"),
        ("grace: *none\n", "1:", "YAML"),
        ("grace: &a [*a]\n", "1:12", "alias"),
        ("grace: !own 2m\n", "1:", "tags such as"),
        ("? [a, b]\n: c\n", "1:3", "a key has to be a word"),
    ] {
        let said = mistake(text);
        assert!(said.starts_with(place) && said.contains(help), "{text}: {said}");
    }
}

#[test]
fn a_value_of_the_wrong_form_says_what_to_write() {
    for (text, expected) in [
        ("server: 5\n", "1:9 server: there has to be a section with keys of its own: cors_origins, listen,"),
        ("server: []\n", "1:9 server: there has to be a section"),
        ("hosts: r1\n", "1:8 hosts: there has to be a list"),
        ("grace: [2m]\n", "1:8 grace: here stands a list, and there has to be a time"),
        ("grace: { a: b }\n", "1:8 grace: here stands a section with keys of its own"),
        ("mdns: yes\n", "1:7 mdns: `yes` does not fit: write true or false"),
        ("grace: soon\n", "1:8 grace: `soon` is not a time: write one such as 90s, 15m"),
        ("grace: \"0\"\n", "1:8 grace: `0` is not a time"),
        ("cache:\n  size: much\n", "2:9 cache.size: `much` is not a size: write one such as 500MiB"),
        (
            "github:\n  rate_limit_buffer: -1\n",
            "2:22 github.rate_limit_buffer: `-1` does not fit: write a whole number from 0 to 4294967295",
        ),
        ("history:\n  retention_days: 1.5\n", "2:19 history.retention_days: `1.5` does not fit"),
        ("history:\n  retention_days: 0\n", "2:19 history.retention_days: 0 days keep nothing"),
        ("history:\n  retention_days: -2\n", "2:19 history.retention_days: `-2` does not fit"),
        (
            "boot:\n  when_idle: powerof\n",
            "2:14 boot.when_idle: `powerof` does not fit: did you mean `poweroff`? write auto, next, wait",
        ),
        (
            "boot:\n  unknown_hosts: all\n",
            "2:18 boot.unknown_hosts: `all` does not fit: write enroll, accept or ignore",
        ),
        ("boot:\n  path: dispatch\n", "2:9 boot.path: `dispatch` is not a boot path"),
        ("server:\n  listen: here\n", "2:11 server.listen: `here` is not an address to listen on"),
        ("server:\n  listen: 127.0.0.1\n", "2:11 server.listen: `127.0.0.1` is not an address to listen on"),
        (
            "server:\n  trusted_proxies: [10.0.0.0/40]\n",
            "2:21 server.trusted_proxies[0]: `10.0.0.0/40` is not",
        ),
        (
            "server:\n  cors_origins: [\"https://a/b\"]\n",
            "2:18 server.cors_origins[0]: `https://a/b` is not an origin",
        ),
        (
            "database:\n  driver: mysql\n",
            "2:11 database.driver: `mysql` does not fit: write sqlite or postgres",
        ),
        ("storage:\n  url: /var/lib\n", "2:8 storage.url: what stands here is not a place for files"),
        ("storage:\n  url: ftp://x/y\n", "2:8 storage.url: what stands here is not a place for files"),
        ("github:\n  url: github.com\n", "2:8 github.url: what stands here is not a URL"),
        ("groups:\n  metal:\n    -\n", "3:6 groups.metal[0]: this item is empty"),
    ] {
        let said = mistakes(text);
        let (place, what) = &said[0];
        let said = format!("{place}: {what}");
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn what_a_group_says_is_looked_at() {
    for (lines, expected) in [
        (
            "      max_concurrent: 0\n",
            "5:23 groups.metal[0].max_concurrent: `0` does not fit: write a whole number from 1",
        ),
        ("      pass_if: good\n", "5:16 groups.metal[0].pass_if: `good` is not a rule"),
        ("      fail_if: [\"title:(\"]\n", "5:17 groups.metal[0].fail_if[0]: `title:(` is not a rule"),
        ("      host_labels: [\"a,b\"]\n", "5:21 groups.metal[0].host_labels[0]: `a,b` is not a label"),
        (
            "      deadlines: { bot: 5m }\n",
            "5:20 groups.metal[0].deadlines.bot: unknown key `bot`: did you mean `boot`?",
        ),
        ("      issues: { to: nobody }\n", "5:21 groups.metal[0].issues.to: `nobody` is not a repository"),
        (
            "      issues: { report: issue }\n",
            "5:25 groups.metal[0].issues.report: no release names a repository",
        ),
        ("      issues: { to: a/b, report: file }\n", "5:21 groups.metal[0].issues.to: `report: file` says"),
        (
            "      sources: [{ queue: new }]\n",
            "5:17 groups.metal[0].sources[0]: a source has to say what it is",
        ),
        (
            "      sources: [{ dir: a, urls: [\"https://h.test/a.iso\"] }]\n",
            "5:33 groups.metal[0].sources[0].urls: a source is one thing",
        ),
        (
            "      sources: [{ dir: a, queue: always }]\n",
            "5:34 groups.metal[0].sources[0].queue: `always` does not fit",
        ),
        (
            "      sources: [{ dir: a, spread: all }]\n",
            "5:35 groups.metal[0].sources[0].spread: `all` is not a spread",
        ),
        (
            "      sources: [{ urls: [x.iso] }]\n",
            "5:26 groups.metal[0].sources[0].urls[0]: what stands here is not the URL",
        ),
        (
            "      sources: [{ release: { owner: o } }]\n",
            "5:28 groups.metal[0].sources[0].release: the key `repo` is missing: The repository's own name.",
        ),
        (
            "      sources: [{ release: { owner: o, repo: .. } }]\n",
            "5:46 groups.metal[0].sources[0].release.repo: `owner` and `repo` name no repository",
        ),
        (
            "      sources: [{ release: { owner: o, repo: r, watch: often } }]\n",
            "5:56 groups.metal[0].sources[0].release.watch: `often` is not whether to watch",
        ),
        (
            "      sources: [{ id: x, dir: a }, { id: x, dir: b }]\n",
            "5:42 groups.metal[0].sources[1].id: the id `x` is that of groups.metal[0].sources[0].id already",
        ),
        (
            "      sources: [{ dir: a/x }, { dir: b/x }]\n",
            "5:31 groups.metal[0].sources[1]: the name made for it, the id `dir-x` is that of groups.metal[0].sources[0]",
        ),
    ] {
        let said = mistake(&group(lines));
        assert!(said.starts_with(expected), "{lines}: {said}");
    }
}

#[test]
fn what_has_to_be_there_is_missed() {
    for (text, expected) in [
        ("groups:\n  metal:\n    - name: x\n", "3:7 groups.metal[0]: the key `id` is missing: Its id"),
        ("groups:\n  github:\n    - id: x\n", "3:7 groups.github[0]: the key `runner_labels` is missing"),
        ("hosts:\n  - mac: 52:54:00:12:34:56\n", "2:5 hosts[0]: the key `id` is missing"),
        ("hosts:\n  - id: r1\n", "2:5 hosts[0]: nobody could tell which host this is"),
        ("server:\n  tls: { cert_file: a }\n", "2:8 server.tls: the key `key_file` is missing"),
        ("database:\n  driver: postgres\n", "2:3 database.postgres: the driver is `postgres`"),
    ] {
        let said = mistake(text);
        assert!(said.starts_with(expected), "{text}: {said}");
    }
}

#[test]
fn ids_are_unique_over_all_that_they_name() {
    let metal = |id: &str, template: &str| {
        format!("    - id: {id}\n      templates: [{{ id: {template}, workload: a.efi }}]\n")
    };
    let github = |id: &str, template: &str| {
        format!(
            "    - id: {id}\n      runner_labels: [x]\n      workflow_dispatch_templates:\n        - {{ id: {template}, \
             owner: o, repo: r, workflow_id: w }}\n"
        )
    };
    let file = |metal: &str, github: &str| format!("groups:\n  metal:\n{metal}  github:\n{github}");
    let said = mistake(&file(&metal("a", "t"), &github("a", "u")));
    assert_eq!(
        said,
        "3:11 groups.metal[0].id: the group `a` is that of groups.github[0].id already: give each its own"
    );
    let said = mistake(&file(&metal("a", "t"), &github("b", "t")));
    assert!(said.starts_with("4:25 groups.metal[0].templates[0].id: the template `t` is that of"), "{said}");
    assert!(read(&file(&metal("a", "t"), &github("b", "u"))).is_ok());
}

#[test]
fn hosts_do_not_share_what_they_are_known_by() {
    let hosts = |second: &str| {
        format!(
            "hosts:\n  - {{ id: r1, mac: \"52:54:00:00:00:01\", uuid: 4C4C4544-0042-3510-8056-B4C04F4D3332, boot_name: r1 }}\n  \
             - {second}\n"
        )
    };
    for (second, expected) in [
        ("{ id: r1, boot_name: x }", "3:11 hosts[1].id: the host `r1`"),
        (
            "{ id: r2, mac: [52-54-00-00-00-02, 52-54-00-00-00-01] }",
            "3:40 hosts[1].mac[1]: the MAC `52:54:00:00:00:01`",
        ),
        ("{ id: r2, mac: 52-54-00-00-00-01 }", "3:20 hosts[1].mac[0]: the MAC"),
        ("{ id: r2, uuid: 4c4c4544-0042-3510-8056-b4c04f4d3332 }", "3:21 hosts[1].uuid: the UUID"),
        ("{ id: r2, boot_name: R1 }", "3:26 hosts[1].boot_name: the name `r1`"),
        ("{ id: R1, boot_name: x }", "3:11 hosts[1].id: the host `r1`"),
        (
            "{ id: 01890a5d-ac96-774b-bcce-b302099a8057, boot_name: x }",
            "3:11 hosts[1].id: it looks like the identifier of a host",
        ),
        (
            "{ id: r2, boot_name: r2, labels: [a, \"Host:x\"] }",
            "3:42 hosts[1].labels[1]: labels that begin with `host:`",
        ),
        (
            "{ id: r2, boot_name: r2, labels: [a, \"host:x\"] }",
            "3:42 hosts[1].labels[1]: labels that begin with `host:`",
        ),
        ("{ id: r2, mac: \"ff:ff:ff:ff:ff:ff\" }", "3:20 hosts[1].mac: `ff:ff:ff:ff:ff:ff` is not a MAC"),
        ("{ id: r2, uuid: 4c4c }", "3:21 hosts[1].uuid: `4c4c` is not a UUID"),
        ("{ id: r/2, boot_name: r2 }", "3:11 hosts[1].id: `r/2` is not an id"),
    ] {
        let said = mistake(&hosts(second));
        assert!(said.starts_with(expected), "{second}: {said}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let text = "serve: {}\ngrace: soon\nauth:\n  basic:\n    enabled: true\n    users:\n      - { username: a, role: boss }\n\
                history: { retention_days: 0 }\nhosts: [{ id: r1 }, { id: r1 }]\ngrace: 2m\n";
    let places: Vec<String> = mistakes(text).into_iter().map(|(place, _)| place).collect();
    assert_eq!(
        places,
        [
            "1:1 serve",
            "2:8 grace",
            "7:9 auth.basic.users[0]",
            "7:30 auth.basic.users[0].role",
            "8:28 history.retention_days",
            "9:9 hosts[0]",
            "9:21 hosts[1]",
            "9:27 hosts[1].id",
            "10:1 grace",
        ]
    );
}

#[test]
fn the_two_listeners_need_two_ports() {
    let text = "server: { listen: \":8080\" }\ngroups:\n  metal: [{ id: a }]\n";
    assert_eq!(
        mistake(text),
        "1:19 server.listen: the API and the boot listener cannot both have port 8080: give one of `server.listen` and \
         `boot.listen` another"
    );
    // Without a metal group there is no boot listener.
    assert!(read("server: { listen: \":8080\" }\n").is_ok());
    let apart = "server: { listen: \"127.0.0.1:8080\" }\nboot: { listen: \"127.0.0.2:8080\" }\ngroups:\n  metal: [{ id: a }]\n";
    assert!(read(apart).is_ok());
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    assert!(mistake(&"# much\n".repeat(700_000)).contains("larger than 4 MiB"));
}

#[test]
fn aliases_do_not_make_a_small_file_large() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text = format!("{text}a{level}: &a{level} [{before}]\n");
    }
    assert!(mistakes(&text).iter().any(|(_, what)| what.contains("more than 100000 values")));
}
