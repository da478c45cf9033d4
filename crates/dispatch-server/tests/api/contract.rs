//! The OpenAPI document, as what every answer has to keep.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Draft, Validator};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// The document.
pub(crate) static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let mut document = serde_json::to_value(dispatch_server::api::document()).expect("the document");
    close(&mut document["components"]);
    close(&mut document["paths"]);
    Contract { document, validators: Mutex::default() }
});

/// The document, ready to be held against answers.
pub(crate) struct Contract {
    document: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// An operation of the document.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) name: String,
    /// The role that it needs; `none` if it is public.
    pub(crate) role: String,
    pub(crate) takes_body: bool,
    /// What its parameter `format` may be.
    pub(crate) formats: Vec<String>,
}

/// What the parameter `format` of an operation may be; none where there is no such parameter.
fn formats(operation: &Value) -> Vec<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let schemas = parameters.filter(|parameter| parameter["name"] == "format").map(|found| &found["schema"]);
    let words = schemas.flat_map(|schema| {
        let ways = schema["oneOf"].as_array().into_iter().flatten();
        ways.chain([schema]).filter_map(|way| way["enum"].as_array()).flatten()
    });
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Contract {
    /// All operations.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, methods) in self.document["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                all.push(Operation {
                    method: method.to_uppercase().parse().expect("a method"),
                    path: path.clone(),
                    name: operation["operationId"].as_str().unwrap_or_default().to_owned(),
                    role: operation["x-required-role"].as_str().unwrap_or_default().to_owned(),
                    takes_body: operation["requestBody"].is_object(),
                    formats: formats(operation),
                });
            }
        }
        all
    }

    /// What is wrong with an answer.
    pub(crate) fn check(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Vec<String> {
        let mut wrongs = check_headers(headers);
        let media = media(headers);
        let is_problem = media == "application/problem+json";
        if status.is_client_error() || status.is_server_error() {
            if !is_problem {
                wrongs.push(format!("a problem is of type `{media}`"));
            } else if *method != Method::HEAD {
                wrongs.extend(self.check_problem(status, headers, body));
            }
        }
        let Some((template, item)) = self.find(path) else {
            if status != StatusCode::NOT_FOUND
                && status != StatusCode::FORBIDDEN
                && status != StatusCode::TOO_MANY_REQUESTS
            {
                wrongs.push(format!("{path} is not described, and answers {status}"));
            }
            return wrongs;
        };
        let asked = if *method == Method::HEAD { "get".to_owned() } else { method.as_str().to_lowercase() };
        let Some(operation) = item.get(&asked) else {
            let is_right = match status {
                StatusCode::NO_CONTENT => *method == Method::OPTIONS,
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
                    true
                }
                _ => false,
            };
            if !is_right || (status.as_u16() == 405 && !headers.contains_key("allow")) {
                wrongs.push(format!("{method} {path} is not described, and answers {status}"));
            }
            return wrongs;
        };
        let Some(answer) = operation["responses"].get(status.as_str()) else {
            wrongs.push(format!("{method} {template} does not describe {status}"));
            return wrongs;
        };
        let content = answer["content"].as_object();
        match content.and_then(|content| content.get(&media)) {
            None if content.is_none() && body.is_empty() => {}
            None => wrongs
                .push(format!("{method} {template} {status} is of type `{media}`, which is not described")),
            Some(_) if *method == Method::HEAD || media == "text/event-stream" => {}
            Some(_) if media.ends_with("json") => {
                let pointer = format!(
                    "/paths/{}/{asked}/responses/{}/content/{}/schema",
                    escape(&template),
                    status.as_str(),
                    escape(&media)
                );
                wrongs.extend(self.check_json(&pointer, body));
            }
            Some(_) => {}
        }
        wrongs
    }

    fn check_problem(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Vec<String> {
        let mut wrongs = self.check_json("/components/schemas/Problem", body);
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        if problem["status"] != status.as_u16() {
            wrongs.push(format!("a problem with status {} in an answer with {status}", problem["status"]));
        }
        if problem["request_id"].as_str().map(str::as_bytes)
            != headers.get("x-request-id").map(reqwest::header::HeaderValue::as_bytes)
        {
            wrongs.push("a problem with another request id than its answer".to_owned());
        }
        wrongs
    }

    /// What is wrong with a JSON text, by the schema at that place of the document.
    pub(crate) fn check_json(&self, pointer: &str, body: &[u8]) -> Vec<String> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) => return vec![format!("the body is not JSON: {error}")],
        };
        let validator = self.validator(pointer);
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    fn validator(&self, pointer: &str) -> Arc<Validator> {
        let mut validators = self.validators.lock().expect("validators");
        if let Some(known) = validators.get(pointer) {
            return Arc::clone(known);
        }
        let mut schema =
            self.document.pointer(pointer).cloned().unwrap_or_else(|| panic!("no schema at {pointer}"));
        if let Value::Object(schema) = &mut schema {
            schema.insert("components".to_owned(), self.document["components"].clone());
        }
        let built = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .build(&schema)
            .expect(pointer);
        let built = Arc::new(built);
        validators.insert(pointer.to_owned(), Arc::clone(&built));
        built
    }

    /// The description of a path.
    fn find(&self, path: &str) -> Option<(String, &Map<String, Value>)> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let names: Vec<&str> = template.split('/').collect();
            let mut pairs = names.iter().zip(&parts);
            names.len() == parts.len()
                && pairs.all(|(name, part)| name == part || (name.starts_with('{') && !part.is_empty()))
        };
        let mut all: Vec<_> =
            self.document["paths"].as_object()?.iter().filter(|(path, _)| fits(path)).collect();
        // Words are looked at before names.
        all.sort_by_key(|(path, _)| path.matches('{').count());
        let (template, item) = all.into_iter().next()?;
        Some((template.clone(), item.as_object()?))
    }
}

fn check_headers(headers: &HeaderMap) -> Vec<String> {
    let mut wrongs = Vec::new();
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    if !headers.contains_key("x-request-id") {
        wrongs.push("there is no X-Request-Id".to_owned());
    }
    if !is("x-content-type-options", "nosniff") || !is("referrer-policy", "no-referrer") {
        wrongs.push("a security header is missing".to_owned());
    }
    if headers
        .get("content-security-policy")
        .is_none_or(|csp| !csp.as_bytes().ends_with(b"frame-ancestors 'none'"))
    {
        wrongs.push("it may be framed".to_owned());
    }
    if !headers.contains_key(CACHE_CONTROL) || headers.contains_key("access-control-allow-origin") {
        wrongs.push("it may be cached, or read by other sites".to_owned());
    }
    wrongs
}

/// The media type of an answer, without its parameters.
pub(crate) fn media(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_owned()
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Closes the schemas of answers to members that they do not name: such a one is a misspelt one.
fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let is_closable = map.get("properties").is_some_and(Value::is_object);
            if is_closable && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
            map.iter_mut().filter(|(key, _)| *key != "allOf").for_each(|(_, inner)| close(inner));
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
