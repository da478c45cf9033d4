//! The configuration of the service: one YAML file, and the template files that it names.

mod check;
mod file;
mod kinds;
mod mistake;
mod model;
mod reload;
mod schema;
mod secrets;
mod summary;
#[cfg(test)]
mod tests;
mod tree;
mod variables;
mod walk;

use std::path::Path;

use url::Url;

pub use mistake::{Mistake, Mistakes, Note, Place, Warning};
pub use model::{
    App, Auth, BasicUser, Boot, Cache, Configuration, Connection, Database, Dispatcher, GitHub, GitHubGroup,
    GitHubOauth, History, HostEntry, JudgeRule, MetalGroup, MetalTemplate, Parts, Postgres, Queueing,
    RateLimit, Reporting, Role, Server, Source, SourceId, SourceKind, SslMode, Storage, TemplateOrigin, Tls,
    WorkflowTemplate,
};

pub use reload::{Difference, differences, in_force};
pub use schema::schema;
pub use summary::summary;
pub use variables::Environment;

use check::{Context, Ids, configuration, templates_of};
use mistake::Notes;
use schema::Shape;
use tree::Key;
use walk::Walk;

/// An example with every section, which is a configuration itself.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub configuration: Configuration,
    /// What a person should know of it.
    pub warnings: Vec<Warning>,
}

/// Reads a configuration with the template files and the files of secrets that it names. All mistakes are told at once.
pub fn load(path: &Path, env: Environment<'_>) -> Result<Loaded, Mistakes> {
    match check::read(path) {
        Ok(text) => parse(&text, path, env),
        Err(what) => {
            let mut notes = Notes::default();
            notes.mistake(path, Place::START, "", what);
            Err(notes.finish(path).err().unwrap_or(Mistakes(Vec::new())))
        }
    }
}

/// As [`load`], for a text that is or would be in the file `path`.
pub fn parse(text: &str, path: &Path, env: Environment<'_>) -> Result<Loaded, Mistakes> {
    let mut notes = Notes::default();
    let read = read(text, path, env, &mut notes);
    if read.is_none() && notes.count() == 0 {
        // The walk has let something pass that the structs do not take. The error may have a secret.
        notes.mistake(path, Place::START, "", "this cannot be read; please tell the makers of dispatch");
    }
    let warnings = notes.finish(path)?;
    read.map(|configuration| Loaded { configuration, warnings }).ok_or(Mistakes(Vec::new()))
}

fn read(text: &str, path: &Path, env: Environment<'_>, notes: &mut Notes) -> Option<Configuration> {
    let (root, faults) = tree::parse(text);
    for (place, key, what) in faults {
        notes.mistake(path, place, &key, what);
    }
    let root = root?;
    let whole = Shape::of(schema());
    let value =
        Walk { file: path, env: Some(env), notes, whole }.value(&root, whole, &Key::default(), false)?;
    let file = serde_json::from_value(value).ok()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    configuration(&mut Context { file: path, root: &root, folder, env, notes }, file)
}

/// A URL as people may see it: its query may be a signature.
#[must_use]
pub fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

/// Reads a list of workflow templates that was fetched from a URL. Nothing in it is a variable: whoever wrote it is not
/// whose environment this is. Its ids must not be those of the configuration.
pub fn templates(
    text: &str,
    url: &Url,
    configuration: &Configuration,
) -> Result<Vec<WorkflowTemplate>, Mistakes> {
    let shown = shown_url(url);
    let (mut notes, mut ids, file) = (Notes::default(), Ids::new(), Path::new(&shown));
    let metal = configuration
        .metal_groups
        .iter()
        .flat_map(|group| group.templates.iter().map(|template| &template.id));
    let github = configuration.github_groups.iter();
    let github = github.flat_map(|group| group.templates.iter().map(|template| &template.id));
    for id in metal.chain(github) {
        ids.take(id, Path::new("the configuration"), "a template");
    }
    let templates = templates_of(text, file, None, &TemplateOrigin::Url(url.clone()), &mut notes, &mut ids);
    notes.finish(file).map(|_| templates)
}
