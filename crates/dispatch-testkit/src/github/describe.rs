//! What GitHub itself says of its API: every request that comes, and every answer that we give, is held against it.
//!
//! `openapi.json` is taken out of GitHub's own description by `cargo xtask github-openapi`. It is `OpenAPI` 3.0, whose
//! schemas are not quite JSON Schema: [`translate`] makes them that. Both ways the world is closed: a member that the
//! description does not know is a violation, because it is a misspelt one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// One of GitHub's operations.
#[derive(Debug)]
pub(super) struct Operation {
    /// GitHub's name for it, such as `issues/create`.
    pub(super) id: String,
    method: String,
    path: Vec<Segment>,
    parameters: Vec<Parameter>,
    /// Where its body's schema is, and whether there must be a body.
    body: Option<(String, bool)>,
    /// The statuses that it may answer, each with where the schema of its JSON is.
    answers: HashMap<u16, Option<String>>,
}

#[derive(Debug)]
enum Segment {
    Word(String),
    Name(String),
}

#[derive(Debug)]
struct Parameter {
    name: String,
    place: String,
    is_required: bool,
    /// Where its schema is.
    schema: String,
    kind: String,
}

/// The description.
pub(super) struct Description {
    operations: Vec<Operation>,
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// What a request names in its path.
pub(super) type Names = HashMap<String, String>;

/// Statuses that every operation may answer, though the description of most does not list them.
const EVERYWHERE: [(u16, &str); 9] = [
    (304, "any GET may be conditional"),
    (301, "a repository that has another name redirects"),
    (307, "the same, where the method must stay"),
    (400, "a body that is not JSON, or a version of the API that does not exist"),
    (401, "a token that GitHub does not know"),
    (403, "a permission that is missing, or a rate limit"),
    (404, "something that the caller may not see"),
    (422, "a body or a query of the wrong form"),
    (429, "a rate limit"),
];

/// Where the description is wrong: which schema, which other one is right, and why.
const CORRECTIONS: [(&str, &str, &str); 1] = [(
    "/paths/~1app~1installations/get/responses/200/content/application~1json/schema/items",
    "#/components/schemas/installation",
    "it wants an account to be a user and an enterprise at once, where the schema of its own says one of them",
)];

impl Description {
    /// The description, read when it is first asked for.
    pub(super) fn get() -> &'static Self {
        static DESCRIPTION: OnceLock<Description> = OnceLock::new();
        DESCRIPTION.get_or_init(|| {
            #[expect(clippy::expect_used, reason = "the file is part of this program")]
            let whole: Value = serde_json::from_str(include_str!("openapi.json")).expect("openapi.json");
            Self::read(&whole)
        })
    }

    fn read(described: &Value) -> Self {
        let mut whole = described.clone();
        for (place, right, _) in CORRECTIONS {
            if let Some(schema) = whole.pointer_mut(place) {
                *schema = json!({ "$ref": right });
            }
        }
        let whole = &whole;
        let mut operations = Vec::new();
        for (path, methods) in whole["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                operations.push(Operation::read(whole, path, method, operation));
            }
        }
        // Words are looked at before names: `releases/latest` is no number.
        operations.sort_by_key(|operation| {
            operation.path.iter().filter(|segment| matches!(segment, Segment::Name(_))).count()
        });
        let document = translate(whole, whole);
        Self { operations, document, validators: Mutex::default() }
    }

    /// The operation that a request asks for, and what its path names; the path is not decoded yet.
    pub(super) fn find(&self, method: &str, path: &str) -> Option<(&Operation, Names)> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        self.operations.iter().find_map(|operation| {
            let is_method = operation.method.eq_ignore_ascii_case(method);
            Some((operation, operation.names(&parts)?)).filter(|_| is_method)
        })
    }

    /// What is wrong with a request.
    pub(super) fn check_request(
        &self,
        operation: &Operation,
        names: &Names,
        query: &[(String, String)],
        body: &[u8],
    ) -> Vec<String> {
        let mut wrongs = Vec::new();
        for parameter in &operation.parameters {
            let given = match parameter.place.as_str() {
                "path" => names.get(&parameter.name),
                _ => query.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value),
            };
            match given {
                None if parameter.is_required => wrongs.push(format!("`{}` is missing", parameter.name)),
                None => {}
                Some(text) => {
                    let value = typed(text, &parameter.kind);
                    let found = self.check(&parameter.schema, &value);
                    wrongs.extend(found.into_iter().map(|wrong| format!("`{}`: {wrong}", parameter.name)));
                }
            }
        }
        for (name, value) in query {
            let is_known =
                operation.parameters.iter().any(|known| known.place == "query" && known.name == *name);
            if !is_known {
                wrongs.push(format!("there is no query parameter `{name}`"));
            }
            if name == "per_page" && value.parse::<u64>().is_ok_and(|size| size > 100) {
                wrongs.push(format!("per_page is {value}, and GitHub gives 100 at most"));
            }
        }
        wrongs.extend(self.check_body(operation, body));
        wrongs
    }

    fn check_body(&self, operation: &Operation, body: &[u8]) -> Vec<String> {
        match &operation.body {
            None | Some((_, false)) if body.is_empty() => Vec::new(),
            None => vec!["it has a body, and none is described".to_owned()],
            Some((_, true)) if body.is_empty() => vec!["its body is missing".to_owned()],
            Some((schema, _)) => match serde_json::from_slice(body) {
                Ok(value) => self.check(schema, &value),
                Err(error) => vec![format!("its body is not JSON: {error}")],
            },
        }
    }

    /// What is wrong with an answer. `body` is its JSON, if it has any.
    pub(super) fn check_answer(
        &self,
        operation: &Operation,
        status: u16,
        body: Option<&Value>,
    ) -> Vec<String> {
        let everywhere = EVERYWHERE.iter().any(|(known, _)| *known == status);
        let schema = match operation.answers.get(&status) {
            Some(schema) => schema.clone(),
            None if everywhere && [301, 304, 307].contains(&status) && body.is_none() => None,
            None if everywhere => Some("/components/schemas/basic-error".to_owned()),
            None => return vec![format!("status {status} is not described")],
        };
        match (schema, body) {
            (None, None) => Vec::new(),
            // Redirects say in their body what their header says.
            (None, Some(_)) if [301, 307].contains(&status) => Vec::new(),
            (None, Some(_)) => vec![format!("status {status} has a body, and none is described")],
            (Some(_), None) if status == 304 => Vec::new(),
            (Some(_), None) => vec![format!("status {status} has no body, and one is described")],
            (Some(schema), Some(Value::Object(body))) if status >= 400 => {
                // A failure that has reasons says them, however little the description of that operation knows.
                let has_reasons = body.contains_key("errors");
                let schema = if has_reasons { "/components/schemas/validation-error" } else { &schema };
                // GitHub repeats the status in all of them, and the description knows it of some.
                let body = body.iter().filter(|(key, _)| *key != "status");
                self.check(schema, &body.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            (Some(schema), Some(body)) => self.check(&schema, body),
        }
    }

    /// What is wrong with a value, by the schema at that place of the document.
    fn check(&self, pointer: &str, value: &Value) -> Vec<String> {
        let validator = match self.validator(pointer) {
            Ok(validator) => validator,
            Err(error) => return vec![error],
        };
        let shorten = |error: jsonschema::ValidationError<'_>| {
            let place = error.instance_path().to_string();
            let mut text = error.to_string();
            if text.len() > 300 {
                let end = (0..=300).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                text.truncate(end);
                text.push('…');
            }
            if place.is_empty() { text } else { format!("{place}: {text}") }
        };
        validator.iter_errors(value).map(shorten).collect()
    }

    fn validator(&self, pointer: &str) -> Result<Arc<Validator>, String> {
        let mut validators = self.validators.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(validator) = validators.get(pointer) {
            return Ok(Arc::clone(validator));
        }
        // References lead into the components only, so the paths are left out: there is less to go through.
        let Some(Value::Object(mut root)) = self.document.pointer(pointer).cloned() else {
            return Err(format!("there is no schema at {pointer}"));
        };
        root.insert("components".to_owned(), self.document["components"].clone());
        let root = Value::from(root);
        let built = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .build(&root)
            .map_err(|error| format!("the description cannot be compiled at {pointer}: {error}"))?;
        let built = Arc::new(built);
        validators.insert(pointer.to_owned(), Arc::clone(&built));
        Ok(built)
    }
}

impl Operation {
    fn read(whole: &Value, path: &str, method: &str, operation: &Value) -> Self {
        let at = format!("/paths/{}/{method}", escape(path));
        let segments = path.trim_start_matches('/').split('/').map(|part| {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => Segment::Name(name.to_owned()),
                None => Segment::Word(part.to_owned()),
            }
        });
        let listed = operation["parameters"].as_array().cloned().unwrap_or_default();
        let parameters = listed.iter().enumerate().map(|(place, parameter)| {
            let (parameter, at) = follow(whole, parameter, &format!("{at}/parameters/{place}"));
            let text = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
            Parameter {
                name: text("name"),
                place: text("in"),
                is_required: parameter["required"] == true,
                schema: format!("{at}/schema"),
                kind: parameter["schema"]["type"].as_str().unwrap_or_default().to_owned(),
            }
        });
        let body = operation["requestBody"]["content"]["application/json"].as_object().map(|_| {
            let schema = format!("{at}/requestBody/content/application~1json/schema");
            (schema, operation["requestBody"]["required"] == true)
        });
        let answers =
            operation["responses"].as_object().into_iter().flatten().filter_map(|(status, answer)| {
                let (answer, at) = follow(whole, answer, &format!("{at}/responses/{status}"));
                let has_json = answer["content"]["application/json"].is_object();
                let schema = has_json.then(|| format!("{at}/content/application~1json/schema"));
                Some((status.parse().ok()?, schema))
            });
        Self {
            id: operation["operationId"].as_str().unwrap_or_default().to_owned(),
            method: method.to_owned(),
            path: segments.collect(),
            parameters: parameters.collect(),
            body,
            answers: answers.collect(),
        }
    }

    /// What a path names, if it is this operation's.
    fn names(&self, parts: &[&str]) -> Option<Names> {
        if parts.len() != self.path.len() {
            return None;
        }
        let mut names = Names::new();
        for (segment, part) in self.path.iter().zip(parts) {
            match segment {
                Segment::Word(word) if word == part => {}
                Segment::Word(_) => return None,
                Segment::Name(name) => {
                    names.insert(name.clone(), decode(part));
                }
            }
        }
        Some(names)
    }
}

/// Percent-decoding of a part of a path (RFC 3986 §2.1).
pub(super) fn decode(part: &str) -> String {
    // As a form's value, in which a `+` would be a blank.
    let form = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    let value = url::form_urlencoded::parse(form.as_bytes()).next();
    value.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A JSON pointer's form of a key (RFC 6901 §3).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What a `$ref` stands for, and where that is.
fn follow<'a>(whole: &'a Value, value: &'a Value, at: &str) -> (&'a Value, String) {
    match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => (whole.pointer(pointer).unwrap_or(&Value::Null), pointer.to_owned()),
        None => (value, at.to_owned()),
    }
}

/// A parameter's text as the JSON that the description speaks of.
fn typed(text: &str, kind: &str) -> Value {
    match kind {
        "integer" => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
        "boolean" => text.parse::<bool>().map_or_else(|_| text.into(), Into::into),
        _ => text.into(),
    }
}

/// `OpenAPI` 3.0's schemas as JSON Schema 2020-12, closed to members that they do not name.
fn translate(whole: &Value, value: &Value) -> Value {
    match value {
        Value::Object(map) => translate_object(whole, map),
        Value::Array(items) => items.iter().map(|item| translate(whole, item)).collect(),
        _ => value.clone(),
    }
}

fn translate_object(whole: &Value, map: &Map<String, Value>) -> Value {
    if let Some(one) = unite(whole, map) {
        return translate_object(whole, &one);
    }
    let mut made: Map<String, Value> = map
        .iter()
        .filter(|(key, _)| *key != "nullable")
        .map(|(key, value)| {
            let translated = match (key.as_str(), value) {
                ("enum" | "default" | "required", _) => value.clone(),
                // Their names are not words of the language.
                ("properties", Value::Object(members)) => {
                    members.iter().map(|(name, member)| (name.clone(), translate(whole, member))).collect()
                }
                _ => translate(whole, value),
            };
            (key.clone(), translated)
        })
        .collect();
    if map.get("properties").is_some_and(Value::is_object) && !made.contains_key("additionalProperties") {
        made.insert("additionalProperties".to_owned(), false.into());
    }
    if map.get("nullable") != Some(&Value::Bool(true)) {
        return made.into();
    }
    if let Some(Value::Array(values)) = made.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    match made.get("type").cloned() {
        Some(Value::String(kind)) => {
            made.insert("type".to_owned(), json!([kind, "null"]));
            made.into()
        }
        _ => json!({ "anyOf": [made, { "type": "null" }] }),
    }
}

/// The objects of an `allOf` as one: closed by itself, each would refuse the others' members.
fn unite(whole: &Value, map: &Map<String, Value>) -> Option<Map<String, Value>> {
    let parts = map.get("allOf")?.as_array()?;
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let (part, _) = follow(whole, part, "");
        properties.extend(part["properties"].as_object()?.clone());
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    let mut one = map.clone();
    one.remove("allOf");
    one.insert("type".to_owned(), "object".into());
    one.insert("properties".to_owned(), properties.into());
    one.insert("required".to_owned(), required.into());
    Some(one)
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
