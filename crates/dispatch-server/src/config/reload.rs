//! What another configuration would change while the service runs, and what can only change with a restart. Pure.

use std::collections::BTreeMap;
use std::fmt::Display;

use dispatch_core::{GroupId, HostKey};

use super::model::{Boot, Configuration, GitHubGroup, HostEntry, MetalGroup, Server};

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key: `server.listen`, `groups.metal.epyc`.
    pub key: String,
    /// It takes effect only with a restart; until then, what was stays.
    pub needs_restart: bool,
    /// One sentence.
    pub what: String,
}

/// Collects differences.
struct Differences(Vec<Difference>);

impl Differences {
    /// Tells of a setting that applies at once.
    fn live<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.add(key, false, format!("`{key}` has changed, and applies from now on"));
        }
    }

    /// Tells of a setting that needs a restart.
    fn restart<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.add(
                key,
                true,
                format!("`{key}` has changed: restart dispatch, until then the old value stays"),
            );
        }
    }

    fn add(&mut self, key: &str, needs_restart: bool, what: String) {
        self.0.push(Difference { key: key.to_owned(), needs_restart, what });
    }

    /// Tells of things with ids: new ones, changed ones, and those that left.
    fn things<I: Ord + Display, T: PartialEq>(
        &mut self,
        key: &str,
        old: BTreeMap<&I, &T>,
        new: &BTreeMap<&I, &T>,
        (noun, leaving): (&str, &str),
    ) {
        for (id, thing) in new {
            let what = match old.get(id) {
                None => format!("the {noun} `{id}` is new"),
                Some(was) if was != thing => {
                    format!("the {noun} `{id}` has changed, and applies from now on")
                }
                Some(_) => continue,
            };
            self.add(&format!("{key}.{id}"), false, what);
        }
        for id in old.into_keys().filter(|id| !new.contains_key(id)) {
            self.add(&format!("{key}.{id}"), false, format!("the {noun} `{id}` left the file: {leaving}"));
        }
    }
}

/// What of `new` is in force in a process that was started with `started`: what needs a restart is as it was.
#[must_use]
pub fn in_force(new: Configuration, started: &Configuration) -> Configuration {
    let started = started.clone();
    Configuration {
        server: Server { listen: started.server.listen, tls: started.server.tls, ..new.server },
        boot: Boot {
            listen: started.boot.listen,
            path: started.boot.path,
            stubs: started.boot.stubs,
            ..new.boot
        },
        database: started.database,
        github: started.github,
        storage: started.storage,
        reports: started.reports,
        cache: started.cache,
        mdns: started.mdns,
        ca_certs: started.ca_certs,
        ..new
    }
}

/// What is different in `new` from what is in force, in the order of the file's sections: with nothing, all is the same. No
/// sentence has a value in it: it might be a secret.
#[must_use]
pub fn differences(old: &Configuration, new: &Configuration) -> Vec<Difference> {
    let mut all = Differences(Vec::new());
    listeners(&mut all, old, new);
    all.restart("database", &old.database, &new.database);
    all.live("auth.session_ttl", &old.auth.session_ttl, &new.auth.session_ttl);
    all.live("auth.basic", &old.auth.users, &new.auth.users);
    all.live("auth.github", &old.auth.github, &new.auth.github);
    all.live("history", &old.history, &new.history);
    all.restart("github", &old.github, &new.github);
    all.restart("storage", &old.storage, &new.storage);
    all.restart("reports", &old.reports, &new.reports);
    all.restart("cache.path", &old.cache.path, &new.cache.path);
    all.restart("cache.size", &old.cache.size, &new.cache.size);
    all.restart("cache.prefetch", &old.cache.prefetch, &new.cache.prefetch);
    all.live("grace", &old.grace, &new.grace);
    all.restart("mdns", &old.mdns, &new.mdns);
    all.restart("ca_cert", &old.ca_certs, &new.ca_certs);
    groups(&mut all, old, new);
    let leaving = "it stays known as a host, and is not accepted any more because of the file";
    all.things("hosts", hosts(old), &hosts(new), ("host", leaving));
    all.0
}

fn listeners(all: &mut Differences, old: &Configuration, new: &Configuration) {
    all.restart("server.listen", &old.server.listen, &new.server.listen);
    all.restart("server.tls", &old.server.tls, &new.server.tls);
    all.live("server.public_url", &old.server.public_url, &new.server.public_url);
    all.live("server.cors_origins", &old.server.cors_origins, &new.server.cors_origins);
    all.live("server.trusted_proxies", &old.server.trusted_proxies, &new.server.trusted_proxies);
    all.live("server.rate_limit", &old.server.rate_limit, &new.server.rate_limit);
    all.live("dispatcher", &old.dispatcher, &new.dispatcher);
    all.restart("boot.listen", &old.boot.listen, &new.boot.listen);
    all.restart("boot.path", &old.boot.path, &new.boot.path);
    all.restart("boot.stubs", &old.boot.stubs, &new.boot.stubs);
    all.live("boot.unknown_hosts", &old.boot.unknown_hosts, &new.boot.unknown_hosts);
    all.live("boot.when_idle", &old.boot.when_idle, &new.boot.when_idle);
}

fn groups(all: &mut Differences, old: &Configuration, new: &Configuration) {
    let leaving = "it stops dispatching at once, and keeps its history";
    let (was, is) = (github_groups(old), github_groups(new));
    all.things("groups.github", was, &is, ("group", leaving));
    let (was, is) = (metal_groups(old), metal_groups(new));
    all.things("groups.metal", was, &is, ("group", leaving));
    if old.metal_groups.is_empty() && !new.metal_groups.is_empty() {
        let what = "there was no metal group before, so that nothing listens for firmware: restart dispatch";
        all.add("groups.metal", true, what.to_owned());
    }
}

fn github_groups(configuration: &Configuration) -> BTreeMap<&GroupId, &GitHubGroup> {
    configuration.github_groups.iter().map(|group| (&group.id, group)).collect()
}

fn metal_groups(configuration: &Configuration) -> BTreeMap<&GroupId, &MetalGroup> {
    configuration.metal_groups.iter().map(|group| (&group.id, group)).collect()
}

fn hosts(configuration: &Configuration) -> BTreeMap<&HostKey, &HostEntry> {
    configuration.hosts.iter().map(|host| (&host.id, host)).collect()
}
