//! Compares a tree with a schema: finds all that is wrong, and makes of the rest what the structs are read from.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::mistake::{Notes, Place};
use super::schema::Shape;
use super::tree::{Entry, Key, Node, Value};
use super::variables::{Environment, Trouble, bare, expand};

/// How much of what was written a mistake repeats, in characters.
const MAX_SHOWN: usize = 60;

/// The walk over one file.
pub(super) struct Walk<'a> {
    pub(super) file: &'a Path,
    /// Where variables come from; none leaves texts as they are.
    pub(super) env: Option<Environment<'a>>,
    pub(super) notes: &'a mut Notes,
    /// The shape of everything, for keys that stand in a wrong section.
    pub(super) whole: Shape<'a>,
}

/// What a scalar came to.
enum Text {
    /// This, and whether variables were in it.
    Is(String, bool),
    /// It cannot be known; told, where that has to be.
    Unknown,
}

impl Walk<'_> {
    fn mistake(&mut self, place: Place, key: &Key, what: impl Into<String>) {
        self.notes.mistake(self.file, place, &key.to_string(), what);
    }

    /// What a node says. None where it says nothing, or nothing that can be used. What is `idle` may name variables that
    /// are not set, and may leave out what else has to be there.
    pub(super) fn value(&mut self, node: &Node, shape: Shape<'_>, key: &Key, idle: bool) -> Option<Json> {
        if node.is_null() {
            return None;
        }
        let branches = shape.branches();
        let is_list = matches!(node.value, Value::List(_));
        let shape = branches.into_iter().find(|branch| branch.is("array") == is_list).unwrap_or(shape);
        if shape.is("array") {
            return self.list(node, shape, key, idle);
        }
        if shape.is("object") {
            return self.map(node, shape, key, idle);
        }
        let Value::Scalar { text, .. } = &node.value else {
            let is = if is_list { "a list" } else { "a section with keys of its own" };
            let what = format!("here stands {is}, and there has to be {}", expected(shape));
            self.mistake(node.place, key, what);
            return None;
        };
        self.scalar(node.place, text, shape, key, idle)
    }

    fn list(&mut self, node: &Node, shape: Shape<'_>, key: &Key, idle: bool) -> Option<Json> {
        let items = shape.items()?;
        let Value::List(nodes) = &node.value else {
            self.mistake(
                node.place,
                key,
                "there has to be a list: write each item on a line of its own behind `- `",
            );
            return None;
        };
        let mut list = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let key = key.nth(index);
            if node.is_null() {
                self.mistake(node.place, &key, "this item is empty: write something, or leave it out");
            }
            list.push(self.value(node, items, &key, idle).unwrap_or(Json::Null));
        }
        Some(Json::Array(list))
    }

    fn map(&mut self, node: &Node, shape: Shape<'_>, key: &Key, idle: bool) -> Option<Json> {
        let Value::Map(entries) = &node.value else {
            let keys = shape.keys();
            let help = if keys.is_empty() { "NAME: VALUE".to_owned() } else { keys.join(", ") };
            self.mistake(node.place, key, format!("there has to be a section with keys of its own: {help}"));
            return None;
        };
        let idle = idle || self.is_off(node, shape);
        let mut map = Map::new();
        for entry in entries {
            let key = key.at(&entry.key);
            let Some(property) = shape.property(&entry.key) else {
                self.unknown(entry, shape, &key);
                continue;
            };
            let idle = idle || self.is_other_driver(&entry.key, node, shape);
            if let Some(value) = self.value(&entry.node, property, &key, idle) {
                map.insert(entry.key.clone(), value);
            }
        }
        if !idle {
            for name in shape.required() {
                if node.get(name).is_none_or(|entry| entry.node.is_null()) {
                    let what = format!(
                        "the key `{name}` is missing: {}",
                        shape.description_of(name).unwrap_or("give it")
                    );
                    self.mistake(node.place, key, what);
                }
            }
        }
        Some(Json::Object(map))
    }

    /// Whether a section is switched off.
    fn is_off(&self, node: &Node, shape: Shape<'_>) -> bool {
        if !shape.keys().contains(&"enabled") {
            return false;
        }
        let is_on = shape.description_of("enabled").is_some_and(|text| text.contains("Default: `true`"));
        match self.peek(node, "enabled") {
            Some(text) => text.eq_ignore_ascii_case("false"),
            None => !is_on,
        }
    }

    /// Whether a section is that of another driver than the chosen one.
    fn is_other_driver(&self, key: &str, node: &Node, shape: Shape<'_>) -> bool {
        let words = shape.property("driver").and_then(Shape::words).unwrap_or_default();
        let chosen = self.peek(node, "driver");
        let chosen = chosen.as_deref().or(words.first().copied());
        words.contains(&key) && chosen != Some(key)
    }

    /// The text of a key, if it has one.
    fn peek(&self, node: &Node, key: &str) -> Option<String> {
        let node = &node.get(key)?.node;
        match &node.value {
            Value::Scalar { text, .. } if !node.is_null() => match self.env {
                Some(env) => expand(text, env).ok().map(|(text, _)| text),
                None => Some(text.clone()),
            },
            _ => None,
        }
    }

    fn unknown(&mut self, entry: &Entry, shape: Shape<'_>, key: &Key) {
        let name = shown(&entry.key);
        let keys = shape.keys();
        let what = if entry.key == "<<" {
            "YAML 1.2 has no merge keys: write the keys out".to_owned()
        } else if let Some(near) = nearest(&entry.key, &keys) {
            format!("unknown key `{name}`: did you mean `{near}`?")
        } else {
            let mut places = BTreeSet::new();
            elsewhere(self.whole, &entry.key, "", &mut places);
            let places: Vec<String> = places.into_iter().take(3).collect();
            if places.is_empty() {
                format!("unknown key `{name}`: here may stand {}", keys.join(", "))
            } else {
                format!(
                    "unknown key `{name}`: it belongs to {}; look at the indentation",
                    places.join(" or ")
                )
            }
        };
        self.mistake(entry.place, key, what);
    }

    /// The text of a scalar, with its variables replaced.
    fn text(&mut self, place: Place, raw: &str, key: &Key, idle: bool) -> Text {
        let Some(env) = self.env else { return Text::Is(raw.to_owned(), false) };
        match expand(raw, env) {
            Ok((text, names)) => Text::Is(text, !names.is_empty()),
            Err(troubles) => {
                let is_excused = idle && troubles.iter().all(|trouble| matches!(trouble, Trouble::Unset(_)));
                for trouble in troubles.iter().filter(|_| !is_excused) {
                    self.mistake(place, key, trouble.sentence());
                }
                Text::Unknown
            }
        }
    }

    fn scalar(&mut self, place: Place, raw: &str, shape: Shape<'_>, key: &Key, idle: bool) -> Option<Json> {
        let Text::Is(text, is_expanded) = self.text(place, raw, key, idle) else { return None };
        // What a variable holds may be a secret: only its name is repeated.
        let written = if is_expanded {
            format!("what `{}` stands for", shown(raw))
        } else {
            format!("`{}`", shown(raw))
        };
        if let Some(words) = shape.words() {
            if words.contains(&text.as_str()) {
                return Some(Json::String(text));
            }
            let near = nearest(&text, &words).filter(|_| !is_expanded);
            let near = near.map(|near| format!("did you mean `{near}`? "));
            let what =
                format!("{written} does not fit: {}write {}", near.unwrap_or_default(), either(&words));
            self.mistake(place, key, what);
            return None;
        }
        if let Some(kind) = shape.kind() {
            return self.kind(place, raw, &text, &written, kind, key);
        }
        if shape.is("boolean") {
            return match text.as_str() {
                "true" | "True" | "TRUE" => Some(Json::Bool(true)),
                "false" | "False" | "FALSE" => Some(Json::Bool(false)),
                _ => {
                    self.mistake(place, key, format!("{written} does not fit: write true or false"));
                    None
                }
            };
        }
        if shape.is("integer") {
            let (least, most) = shape.range();
            let number =
                text.parse::<i64>().ok().filter(|number| (least..=most).contains(&i128::from(*number)));
            if number.is_none() {
                let what = format!("{written} does not fit: write a whole number from {least} to {most}");
                self.mistake(place, key, what);
            }
            return number.map(Json::from);
        }
        Some(Json::String(text))
    }

    fn kind(
        &mut self,
        place: Place,
        raw: &str,
        text: &str,
        written: &str,
        kind: &super::kinds::Kind,
        key: &Key,
    ) -> Option<Json> {
        if let Some(name) = bare(raw).filter(|_| kind.name == "Secret" && self.env.is_some()) {
            let what = format!(
                "is this the variable ${{{name}}}? Write it so; a secret that looks like this goes into a file"
            );
            self.mistake(place, key, what);
            return None;
        }
        if (kind.fits)(text) {
            return Some(Json::String(text.to_owned()));
        }
        let expected = kind.expected;
        let what = match (kind.is_quiet, written.starts_with('`')) {
            (true, true) => format!("what stands here is not {expected}"),
            _ => format!("{written} is not {expected}"),
        };
        self.mistake(place, key, what);
        None
    }
}

/// What has to stand somewhere, in a few words.
fn expected(shape: Shape<'_>) -> String {
    if let Some(kind) = shape.kind() {
        return kind.expected.to_owned();
    }
    match () {
        () if shape.words().is_some() => either(&shape.words().unwrap_or_default()),
        () if shape.is("boolean") => "true or false".to_owned(),
        () if shape.is("integer") => "a number".to_owned(),
        () => "a text: put it in quotes if it has brackets, as '{\"a\": 1}'".to_owned(),
    }
}

/// `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A text, short enough and without anything that a terminal would act on.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MAX_SHOWN {
        shown.push('…');
    }
    shown
}

/// The word that was probably meant.
fn nearest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    // Long keys are rubbish, not typing mistakes.
    let word = plain(word.get(..word.len().min(100)).unwrap_or_default());
    let distance = |other: &str| strsim::osa_distance(&word, &plain(other));
    let is_near =
        |other: &&&str| distance(other) <= (other.len().min(word.len()) / 3).max(1) && !word.is_empty();
    words.iter().filter(is_near).min_by_key(|other| distance(other)).copied()
}

/// The sections that have such a key.
fn elsewhere(shape: Shape<'_>, key: &str, above: &str, found: &mut BTreeSet<String>) {
    for name in shape.keys() {
        let Some(property) = shape.property(name) else { continue };
        let inner = if property.is("array") { property.items().unwrap_or(property) } else { property };
        if name == key {
            found.insert(if above.is_empty() {
                "the top of the file".to_owned()
            } else {
                format!("`{above}`")
            });
        }
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        elsewhere(inner, key, &path, found);
    }
}
