//! A configuration in a few lines, for `dispatch config check`.

use std::fmt::Write as _;

use dispatch_boot::Bind;
use dispatch_core::text::{bytes, count, duration};

use super::Loaded;
use super::model::{Configuration, Connection, Database, HostEntry, MetalGroup, SourceKind, Storage};
use crate::log::harmless;
use crate::source::remote::title;
use crate::view::columns;

/// What would run, and the warnings, for a terminal of `width` columns. It has no secret in it.
#[must_use]
pub fn summary(loaded: &Loaded, width: usize) -> String {
    let configuration = &loaded.configuration;
    let rows = sections(configuration);
    let mut text = columns(&["section", "what"], &rows, width);
    let groups = groups(configuration);
    if !groups.is_empty() {
        let header = ["group", "kind", "at once", "takes", "templates", "sources"];
        let _ = write!(text, "\n{}", columns(&header, &groups, width));
    }
    if !configuration.hosts.is_empty() {
        let rows: Vec<Vec<String>> = configuration.hosts.iter().map(host).collect();
        let _ = write!(text, "\n{}", columns(&["host", "name", "mac", "labels"], &rows, width));
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "\n⚠ {}", harmless(&warning.to_string()));
    }
    text.trim_end().to_owned() + "\n"
}

fn host(host: &HostEntry) -> Vec<String> {
    let macs: Vec<String> = host.macs.iter().map(ToString::to_string).collect();
    vec![host.id.to_string(), harmless(&host.name), macs.join(", "), harmless(&host.labels.join(", "))]
}

fn sections(configuration: &Configuration) -> Vec<Vec<String>> {
    let Configuration { server, boot, auth, github, cache, .. } = configuration;
    let mut rows = Vec::new();
    let mut row = |section: &str, what: String| rows.push(vec![section.to_owned(), harmless(&what)]);
    let tls = if server.tls.is_some() { ", with TLS" } else { "" };
    row("server", format!("{}{tls}", listen(server.listen)));
    if !configuration.metal_groups.is_empty() {
        row(
            "boot",
            format!("{}, path {}, idle: {}", listen(boot.listen), boot.path.as_str(), boot.when_idle),
        );
    }
    row("database", database(&configuration.database));
    row(
        "storage",
        match &configuration.storage {
            Storage::Folder(folder) => folder.display().to_string(),
            Storage::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
        },
    );
    row("cache", format!("{}, up to {}", cache.path.display(), bytes(cache.size)));
    let mut ways: Vec<String> = Vec::new();
    ways.extend(
        (!auth.users.is_empty())
            .then(|| format!("{} with passwords", count(auth.users.len() as u64, "user"))),
    );
    ways.extend(auth.github.is_some().then(|| "through GitHub".to_owned()));
    row("auth", if ways.is_empty() { "nobody can sign in".to_owned() } else { ways.join(", ") });
    let sign_in = match (&github.app, &github.token) {
        (Some(app), _) => format!("as the App {}", app.id),
        (None, Some(_)) => "with a token".to_owned(),
        (None, None) => "not signed in".to_owned(),
    };
    row("github", format!("{}, {sign_in}", github.api));
    row(
        "history",
        match configuration.history.retention {
            Some(time) => duration(time),
            None => "for ever".to_owned(),
        },
    );
    if !configuration.dispatcher.enabled {
        row("dispatcher", "off: jobs wait".to_owned());
    }
    rows
}

fn listen(bind: Bind) -> String {
    match bind.address {
        Some(address) => std::net::SocketAddr::new(address, bind.port).to_string(),
        None => format!("port {} of every address", bind.port),
    }
}

fn database(database: &Database) -> String {
    match database {
        Database::Sqlite { path } => format!("SQLite, {}", path.display()),
        Database::Postgres(postgres) => match &postgres.connection {
            Connection::Url(_) => "PostgreSQL, by its URL".to_owned(),
            Connection::Parts(parts) => {
                format!("PostgreSQL, {} at {}:{} as {}", parts.database, parts.host, parts.port, parts.user)
            }
        },
    }
}

fn groups(configuration: &Configuration) -> Vec<Vec<String>> {
    let at_once = |most: Option<u32>| most.map_or_else(|| "all".to_owned(), |most| most.to_string());
    let needs =
        |labels: &[String], any: &str| if labels.is_empty() { any.to_owned() } else { labels.join(", ") };
    let metal = configuration.metal_groups.iter().map(|group| {
        vec![
            group.id.to_string(),
            "metal".to_owned(),
            at_once(group.max_concurrent),
            harmless(&needs(&group.host_labels, "any host")),
            group.templates.len().to_string(),
            harmless(&sources(group)),
        ]
    });
    let github = configuration.github_groups.iter().map(|group| {
        let urls = group.template_urls.len() as u64;
        vec![
            group.id.to_string(),
            "actions".to_owned(),
            at_once(group.max_concurrent),
            harmless(&needs(&group.runner_labels, "any runner")),
            group.templates.len().to_string(),
            if urls == 0 { String::new() } else { format!("and those of {}", count(urls, "URL")) },
        ]
    });
    metal.chain(github).collect()
}

fn sources(group: &MetalGroup) -> String {
    let names = group.sources.iter().map(|source| match &source.kind {
        SourceKind::Release { name, .. } => name.to_string(),
        SourceKind::Directory(dir) => dir.display().to_string(),
        SourceKind::Urls(urls) => title(None, urls),
    });
    names.collect::<Vec<_>>().join("; ")
}
