//! The sections about listeners, folders and times.

use std::path::Path;
use std::time::Duration;

use dispatch_boot::Bind;
use dispatch_boot::route::BootPath;
use dispatch_core::queue::{Stub, WhenIdle};

use super::Context;
use crate::config::file;
use crate::config::model::{
    Boot, Cache, Configuration, Database, Dispatcher, History, RateLimit, Server, SourceKind, Storage, Tls,
};
use crate::config::tree::Key;
use crate::hub::ReportTo;

/// From the last report of a run to its end.
pub(super) const GRACE: Duration = Duration::from_mins(2);

/// The port of the API.
const API_PORT: u16 = 9090;

/// How much is kept in the cache, in bytes.
const CACHE_SIZE: u64 = 50 << 30;

const DAY: Duration = Duration::from_hours(24);

pub(super) fn server(context: &mut Context<'_>, key: &Key, server: file::Server) -> Server {
    let mut cors_origins = Vec::new();
    for (index, origin) in server.cors_origins.into_iter().flat_map(crate::config::kinds::List::into_items) {
        if origin.0 == "*" {
            let what = "`*` has no effect: the dashboard is served by this service itself, and pages of other origins may \
                        not act for whoever is signed in; name the origins that may";
            context.warning(&key.at("cors_origins").nth(index), what);
        } else if !cors_origins.contains(&origin.0) {
            cors_origins.push(origin.0);
        }
    }
    let tls = server.tls.and_then(|tls| tls.cert_file.zip(tls.key_file));
    let tls = tls.map(|(cert, key)| Tls { cert_file: context.path(&cert.0), key_file: context.path(&key.0) });
    let rate = server.rate_limit.unwrap_or_default();
    Server {
        listen: server.listen.map_or(Bind { address: None, port: API_PORT }, |listen| listen.0),
        public_url: server.public_url.map(|url| url.0),
        cors_origins,
        tls,
        trusted_proxies: {
            let proxies = server.trusted_proxies.into_iter().flat_map(crate::config::kinds::List::into_items);
            proxies.map(|(_, network)| network.0).collect()
        },
        rate_limit: RateLimit {
            enabled: rate.enabled.unwrap_or(true),
            auth: rate.auth.and_then(|rate| rate.requests_per_minute).unwrap_or(10),
            public: rate.public.and_then(|rate| rate.requests_per_minute).unwrap_or(60),
            authenticated: rate.authenticated.and_then(|rate| rate.requests_per_minute).unwrap_or(120),
        },
    }
}

pub(super) fn dispatcher(dispatcher: file::Dispatcher) -> Dispatcher {
    let interval = Duration::from_secs(30);
    Dispatcher {
        enabled: dispatcher.enabled.unwrap_or(true),
        interval: dispatcher.interval.map_or(interval, |time| time.0),
        tracking_interval: dispatcher.tracking_interval.map_or(interval, |time| time.0),
    }
}

pub(super) fn history(context: &mut Context<'_>, key: &Key, history: file::History) -> History {
    let days = history.retention_days.unwrap_or(30);
    if days == 0 {
        context.mistake(
            &key.at("retention_days"),
            "0 days keep nothing: write how many, or -1 to keep all for ever",
        );
    }
    History {
        retention: u32::try_from(days).ok().map(|days| DAY * days),
        cleanup_interval: history.cleanup_interval.map_or(Duration::from_hours(1), |time| time.0),
    }
}

/// None only if the default path were none.
pub(super) fn boot(context: &Context<'_>, boot: file::Boot) -> Option<Boot> {
    Some(Boot {
        listen: boot.listen.map(|listen| listen.0).unwrap_or_default(),
        path: boot.path.map(|path| path.0).or_else(|| BootPath::new("/dispatch").ok())?,
        unknown_hosts: boot.unknown_hosts.map(|word| word.0).unwrap_or_default(),
        when_idle: boot.when_idle.map_or(WhenIdle::Always(Stub::Next), |word| word.0),
        stubs: boot.stubs.map(|path| context.path(&path.0)),
    })
}

pub(super) fn storage(
    context: &mut Context<'_>,
    key: &Key,
    storage: file::Storage,
    beside: &Path,
    database: Option<&Database>,
) -> Storage {
    if let Some(url) = storage.url {
        return url.0.0;
    }
    if matches!(database, Some(Database::Postgres(_))) {
        let what = "images, logs and reports go into a folder of this machine, while the database is elsewhere: name a \
                    place with `storage.url`";
        context.warning(&key.at("url"), what);
    }
    Storage::Folder(beside.join("storage"))
}

pub(super) fn cache(context: &Context<'_>, cache: file::Cache, beside: &Path) -> Cache {
    Cache {
        path: cache.path.map_or_else(|| beside.join("cache"), |path| context.path(&path.0)),
        size: cache.size.map_or(CACHE_SIZE, |size| size.0),
        prefetch: cache.prefetch.unwrap_or(true),
    }
}

/// What sections say together.
pub(super) fn together(context: &mut Context<'_>, configuration: &Configuration) {
    let top = Key::default();
    let (server, boot) = (&configuration.server, &configuration.boot);
    let is_same_address = match (server.listen.address, boot.listen.address) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let has_boot = !configuration.metal_groups.is_empty();
    if has_boot && is_same_address && server.listen.port == boot.listen.port && server.listen.port != 0 {
        let what = format!(
            "the API and the boot listener cannot both have port {}: give one of `server.listen` and `boot.listen` another",
            boot.listen.port
        );
        let key = if context.is_written(&top.at("boot").at("listen")) { "boot" } else { "server" };
        context.mistake(&top.at(key).at("listen"), what);
    }
    if configuration.metal_groups.is_empty() && configuration.github_groups.is_empty() {
        context.warning(&top.at("groups"), "there is no group: nothing will run until there is one");
    }
    if configuration.auth.users.is_empty() {
        let what = "nobody can sign in: enable `auth.basic` with at least one user";
        context.warning(&top.at("auth"), what);
    }
    let is_signed_in = configuration.github.token.is_some() || configuration.github.app.is_some();
    for (index, group) in configuration.metal_groups.iter().enumerate() {
        let has_release =
            group.sources.iter().any(|source| matches!(source.kind, SourceKind::Release { .. }));
        let wants_issues = group.reporting.repository.is_some() || has_release;
        if !is_signed_in && wants_issues && group.reporting.to != ReportTo::File {
            let what = "without `github.token` or `github.app` its reports are only written to files";
            context.warning(&top.at("groups").at("metal").nth(index), what);
        }
    }
    if !configuration.github_groups.is_empty() && !is_signed_in {
        let what =
            "groups of runners need `github.token` or `github.app`: without it they only hold their queues";
        context.warning(&top.at("groups").at("github"), what);
    }
}
