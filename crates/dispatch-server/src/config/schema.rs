//! The JSON Schema of the configuration (draft 2020-12): for editors, for the walk over a file, for the reference.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json, json};

use super::file::{File, WorkflowTemplate};
use super::kinds::{self, Kind, List};

/// The schema of a whole configuration.
#[must_use]
pub fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| tidied(schemars::schema_for!(File).to_value()))
}

/// The schema of a template file.
pub(super) fn templates_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| tidied(schemars::schema_for!(List<WorkflowTemplate>).to_value()))
}

/// What is made of our structs, as people would write it: descriptions are paragraphs of one line, a default is what the
/// description says, and nothing is said of `null`, which only our structs know.
fn tidied(mut schema: Json) -> Json {
    tidy(&mut schema);
    schema
}

fn tidy(value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.values_mut().for_each(tidy);
            without_null(map);
            if let Some(Json::String(text)) = map.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            if map.get("default").is_some_and(Json::is_null) {
                map.remove("default");
            }
            let default = map.get("description").and_then(Json::as_str).and_then(default_of);
            if let Some(default) = default {
                map.insert("default".to_owned(), default);
            }
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn without_null(map: &mut Map<String, Json>) {
    let null = json!("null");
    if let Some(Json::Array(types)) = map.get_mut("type") {
        types.retain(|kind| *kind != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    let Some(Json::Array(branches)) = map.get_mut("anyOf") else { return };
    branches.retain(|branch| branch.get("type") != Some(&null));
    if let [Json::Object(only)] = branches.as_slice() {
        let only = only.clone();
        map.remove("anyOf");
        for (key, value) in only {
            map.entry(key).or_insert(value);
        }
    }
}

/// The default that a description names: ``Default: `30s`.``
pub(super) fn default_of(description: &str) -> Option<Json> {
    let (_, behind) = description.split_once("Default: `")?;
    let (text, _) = behind.split_once('`')?;
    let number = || text.parse::<i64>().ok().map(Json::from);
    let truth = || text.parse::<bool>().ok().map(Json::from);
    Some(truth().or_else(number).unwrap_or_else(|| Json::from(text)))
}

/// A schema, looked through its references and without what only says that nothing may stand there.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    root: &'a Json,
    schema: &'a Json,
    /// The name by which it was referred to.
    name: Option<&'a str>,
}

impl<'a> Shape<'a> {
    /// The shape of a whole file.
    pub(super) fn of(root: &'a Json) -> Self {
        Self { root, schema: root, name: None }
    }

    fn resolved(self, schema: &'a Json) -> Self {
        let (mut schema, mut name) = (schema, None);
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
                let target = reference.rsplit('/').next().unwrap_or_default();
                let Some(found) = self.root.pointer(&format!("/$defs/{target}")) else { break };
                (schema, name) = (found, Some(target));
            } else if let [only] = not_null(schema).as_slice() {
                schema = only;
            } else {
                break;
            }
        }
        Self { root: self.root, schema, name }
    }

    /// What may stand there instead of each other.
    pub(super) fn branches(self) -> Vec<Self> {
        not_null(self.schema).into_iter().map(|branch| self.resolved(branch)).collect()
    }

    /// The kind of the text, if it is one of ours.
    pub(super) fn kind(self) -> Option<&'static Kind> {
        let name = self.name?;
        if name == kinds::WATCH.name { Some(&kinds::WATCH) } else { kinds::kind(name) }
    }

    /// Whether it is of this type of JSON.
    pub(super) fn is(self, kind: &str) -> bool {
        match self.schema.get("type") {
            Some(Json::String(one)) => one == kind,
            Some(Json::Array(several)) => several.iter().any(|one| one == kind),
            _ => kind == "object" && self.properties().is_some(),
        }
    }

    fn properties(self) -> Option<&'a Map<String, Json>> {
        self.schema.get("properties").and_then(Json::as_object)
    }

    /// The keys of a section.
    pub(super) fn keys(self) -> Vec<&'a str> {
        self.properties().into_iter().flat_map(|map| map.keys()).map(String::as_str).collect()
    }

    /// What belongs to a key; for a map with keys of the writer's own, the same for all.
    pub(super) fn property(self, key: &str) -> Option<Self> {
        let own = self.properties().and_then(|map| map.get(key));
        let any = self.schema.get("additionalProperties").filter(|any| any.is_object());
        own.or(any).map(|schema| self.resolved(schema))
    }

    /// What the items of a list are.
    pub(super) fn items(self) -> Option<Self> {
        self.schema.get("items").map(|schema| self.resolved(schema))
    }

    /// The keys that have to be there.
    pub(super) fn required(self) -> Vec<&'a str> {
        let keys = self.schema.get("required").and_then(Json::as_array);
        keys.into_iter().flatten().filter_map(Json::as_str).collect()
    }

    /// The words that may stand there, if there are only some.
    pub(super) fn words(self) -> Option<Vec<&'a str>> {
        if let Some(words) = self.schema.get("enum").and_then(Json::as_array) {
            return Some(words.iter().filter_map(Json::as_str).collect());
        }
        let branches = self.schema.get("oneOf").and_then(Json::as_array)?;
        branches.iter().map(|branch| branch.get("const").and_then(Json::as_str)).collect()
    }

    /// The range of a number.
    pub(super) fn range(self) -> (i128, i128) {
        let bound = |key: &str| self.schema.get(key).and_then(Json::as_i64).map(i128::from);
        let (least, most) = match self.schema.get("format").and_then(Json::as_str) {
            Some("uint16") => (0, i128::from(u16::MAX)),
            Some("uint32") => (0, i128::from(u32::MAX)),
            Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
            // A number in JSON that is read by all.
            _ => (0, i128::from(i64::MAX)),
        };
        (bound("minimum").unwrap_or(least).max(least), bound("maximum").unwrap_or(most).min(most))
    }

    /// The description of the schema itself.
    pub(super) fn description_of(self, key: &str) -> Option<&'a str> {
        self.properties()?.get(key)?.get("description").and_then(Json::as_str)
    }
}

/// The branches of a schema that are not `null`; none if it has no branches.
fn not_null(schema: &Json) -> Vec<&Json> {
    let branches = schema.get("anyOf").and_then(Json::as_array);
    let null = json!("null");
    branches.into_iter().flatten().filter(|branch| branch.get("type") != Some(&null)).collect()
}
