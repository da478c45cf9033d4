//! From what is written to what it means: defaults, paths, secrets, and what goes with what.

mod access;
mod groups;
mod later;
mod sections;
mod templates;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::file::File;
use super::kinds::{Secret, SecretPath};
use super::mistake::Notes;
use super::model::{Configuration, Database};
use super::secrets;
use super::tree::{Key, Node};
use super::variables::Environment;

pub(super) use groups::read;
pub(super) use templates::{Ids, templates_of};

/// What every check needs.
pub(super) struct Context<'a> {
    pub(super) file: &'a Path,
    /// The tree of the file, for places.
    pub(super) root: &'a Node,
    /// The folder that relative paths belong to.
    pub(super) folder: &'a Path,
    pub(super) env: Environment<'a>,
    pub(super) notes: &'a mut Notes,
}

impl Context<'_> {
    fn mistake(&mut self, key: &Key, what: impl Into<String>) {
        self.notes.mistake(self.file, key.place(self.root), &key.to_string(), what);
    }

    fn warning(&mut self, key: &Key, what: impl Into<String>) {
        self.notes.warning(self.file, key.place(self.root), &key.to_string(), what);
    }

    /// Whether something is written there, be it right or wrong.
    fn is_written(&self, key: &Key) -> bool {
        key.is_written(self.root)
    }

    /// A path as the process finds it.
    fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written).components().collect()
    }

    /// A secret that is given, or in a file.
    fn secret(
        &mut self,
        above: &Key,
        name: &str,
        given: Option<Secret>,
        file: Option<SecretPath>,
    ) -> Option<SecretString> {
        let (key, file_name) = (above.at(name), format!("{name}_file"));
        let file_key = above.at(&file_name);
        if self.is_written(&key) && self.is_written(&file_key) {
            self.mistake(
                &file_key,
                format!("`{name}` is given as well: keep one of `{name}` and `{file_name}`"),
            );
            return None;
        }
        if let Some(SecretPath(path)) = file {
            let raw = file_key.text(self.root).unwrap_or_default();
            let shown =
                if raw.contains("${") { raw.to_owned() } else { self.path(raw).display().to_string() };
            return match secrets::read(&path, &shown, self.folder, self.env) {
                Ok(secret) => Some(secret),
                Err(what) => {
                    self.mistake(&file_key, what);
                    None
                }
            };
        }
        given.map(|Secret(secret)| secret)
    }

    /// As [`Self::secret`], where there has to be one.
    fn required_secret(
        &mut self,
        above: &Key,
        name: &str,
        given: Option<Secret>,
        file: Option<SecretPath>,
    ) -> Option<SecretString> {
        if !self.is_written(&above.at(name)) && !self.is_written(&above.at(&format!("{name}_file"))) {
            self.mistake(above, format!("the key `{name}` is missing: give it, or `{name}_file`"));
        }
        self.secret(above, name, given, file)
    }
}

/// What was given already, and where.
#[derive(Debug)]
struct Once<T> {
    seen: BTreeMap<T, (PathBuf, String)>,
}

impl<T: Ord + Clone + Display> Once<T> {
    fn new() -> Self {
        Self { seen: BTreeMap::new() }
    }

    /// Tells of a thing that is given a second time.
    fn check(&mut self, context: &mut Context<'_>, key: &Key, thing: &T, what: &str) {
        if let Some((file, first)) = self.seen.get(thing) {
            let place = if file == context.file { String::new() } else { format!(" in {}", file.display()) };
            let what = format!("{what} `{thing}` is that of {first}{place} already: give each its own");
            context.mistake(key, what);
        } else {
            self.seen.insert(thing.clone(), (context.file.to_owned(), key.to_string()));
        }
    }
}

/// What the whole file means. If there are mistakes, only they count.
pub(super) fn configuration(context: &mut Context<'_>, file: File) -> Option<Configuration> {
    let top = Key::default();
    let database = access::database(context, &top.at("database"), file.database.unwrap_or_default());
    let beside = match &database {
        Some(Database::Sqlite { path }) => path.parent().unwrap_or(context.folder).to_owned(),
        _ => context.folder.to_owned(),
    };
    let server = sections::server(context, &top.at("server"), file.server.unwrap_or_default());
    let boot = sections::boot(context, file.boot.unwrap_or_default())?;
    let grace = file.grace.map_or(sections::GRACE, |grace| grace.0);
    let github = access::github(context, &top.at("github"), file.github.unwrap_or_default());
    let auth =
        access::auth(context, &top.at("auth"), file.auth.unwrap_or_default(), server.public_url.as_ref());
    let storage = sections::storage(
        context,
        &top.at("storage"),
        file.storage.unwrap_or_default(),
        &beside,
        database.as_ref(),
    );
    let groups = file.groups.unwrap_or_default();
    let mut ids = Ids::new();
    let (github_groups, metal_groups) = groups::groups(context, groups, grace, boot.when_idle, &mut ids);
    let hosts = groups::hosts(context, &top.at("hosts"), file.hosts);
    let ca_certs: Vec<_> = file
        .ca_cert
        .into_iter()
        .flat_map(|files| files.0.into_items())
        .map(|(_, path)| context.path(&path.0))
        .collect();
    let configuration = Configuration {
        folder: context.folder.to_owned(),
        dispatcher: sections::dispatcher(file.dispatcher.unwrap_or_default()),
        history: sections::history(context, &top.at("history"), file.history.unwrap_or_default()),
        reports: file.reports.as_ref().map(|path| context.path(&path.0)),
        cache: sections::cache(context, file.cache.unwrap_or_default(), &beside),
        mdns: file.mdns.unwrap_or(true),
        ca_certs,
        server,
        database: database?,
        auth,
        github: github?,
        boot,
        storage,
        grace,
        github_groups,
        metal_groups,
        hosts,
    };
    sections::together(context, &configuration);
    later::not_yet(context, &configuration);
    Some(configuration)
}
