//! A YAML file as a tree in which everything knows its place.

use std::fmt;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};

use super::mistake::Place;

/// How many nodes a file may have once its aliases stand for what they name: a small file can make billions of them.
const MAX_NODES: usize = 100_000;

/// How much of a file is read, in bytes.
pub(super) const MAX_FILE: usize = 4 << 20;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar {
        text: String,
        /// Without quotes, so that `~` and nothing at all are no text.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    /// Whether nothing is written there, or the word for it.
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The entry of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
}

/// The way to a value from the top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Key {
    pub(super) fn at(&self, name: &str) -> Self {
        self.with(Step::Name(name.to_owned()))
    }

    pub(super) fn nth(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether something is written there, be it right or wrong.
    pub(super) fn is_written(&self, root: &Node) -> bool {
        self.node(root).is_some_and(|node| !node.is_null())
    }

    fn node<'a>(&self, root: &'a Node) -> Option<&'a Node> {
        let mut node = root;
        for step in &self.0 {
            node = match (step, &node.value) {
                (Step::Name(name), _) => node.get(name).map(|entry| &entry.node)?,
                (Step::Index(index), Value::List(items)) => items.get(*index)?,
                (Step::Index(_), _) => return None,
            };
        }
        Some(node)
    }

    /// The text that is written there, with its variables as they are.
    pub(super) fn text<'a>(&self, root: &'a Node) -> Option<&'a str> {
        match &self.node(root)?.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where its value is; where there is none, the place of what it would be in.
    pub(super) fn place(&self, root: &Node) -> Place {
        let (mut node, mut place) = (root, root.place);
        for step in &self.0 {
            let next = match (step, &node.value) {
                (Step::Name(name), _) => node.get(name).map(|entry| {
                    (&entry.node, if entry.node.is_null() { entry.place } else { entry.node.place })
                }),
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, item.place)),
                // What may be one or a list of them.
                (Step::Index(0), _) => Some((node, place)),
                (Step::Index(_), _) => None,
            };
            let Some(next) = next else { return place };
            (node, place) = next;
        }
        place
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) if number == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// What cannot be read into a tree, or should not: a place, the key, and the sentence.
pub(super) type Fault = (Place, String, String);

/// Reads a file. Without a tree, it is no YAML; with one, faults are those of single nodes.
pub(super) fn parse(text: &str) -> (Option<Node>, Vec<Fault>) {
    let mut builder =
        Builder { faults: Vec::new(), open: Vec::new(), root: None, anchors: Vec::new(), nodes: 0 };
    if text.len() > MAX_FILE {
        let what = format!("the file is larger than {} MiB: that is no configuration", MAX_FILE >> 20);
        return (None, vec![(Place::START, String::new(), what)]);
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    for next in Parser::new_from_str_with_options(text, options) {
        let taken = match next {
            Ok((event, span)) => builder.take(event, place(&span.start)),
            Err(error) => {
                Err((place(error.marker()), String::new(), no_yaml(&error.info(), text, error.marker())))
            }
        };
        if let Err((place, key, what)) = taken {
            builder.faults.push((inside(place, text), key, what));
            return (None, builder.faults);
        }
    }
    let empty = Node { place: Place::START, value: Value::Map(Vec::new()) };
    let mut faults = builder.faults;
    for (place, ..) in &mut faults {
        *place = inside(*place, text);
    }
    let root = builder.root.filter(|root| !root.is_null()).unwrap_or(empty);
    (Some(root), faults)
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A place that is in the file: the parser's may be behind its end.
fn inside(place: Place, text: &str) -> Place {
    let lines = lines(text);
    let line = place.line.clamp(1, lines.len());
    let length = lines[line - 1].chars().count();
    let column = if line == place.line { place.column.min(length + 1) } else { length + 1 };
    Place { line, column }
}

/// The lines as YAML has them (YAML 1.2.2 §5.4): a carriage return ends one as well. There is always one.
pub(super) fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        lines.push(&rest[..at]);
        rest = &rest[at..];
        rest = rest.strip_prefix("\r\n").unwrap_or(&rest[1..]);
    }
    lines.push(rest);
    lines
}

/// The parser's words for a mistake, with what most probably helps.
fn no_yaml(what: &str, text: &str, marker: &Marker) -> String {
    let lines = lines(text);
    let nth =
        |number: Option<usize>| number.and_then(|number| lines.get(number).copied()).unwrap_or_default();
    let (line, before) = (nth(marker.line().checked_sub(1)), nth(marker.line().checked_sub(2)));
    let help = if line.contains('\t') {
        ": indent with spaces, YAML takes no tabs"
    } else if [line, before]
        .iter()
        .any(|line| line.contains("${") && line.contains('{') && line.contains(['[', ',']))
    {
        ": inside [ ] and { } a variable has to stand in quotes, as \"${NAME}\""
    } else {
        ": look at the indentation, quotes and brackets here and in the line before"
    };
    format!("this is no YAML ({}){help}", what.lines().next().unwrap_or_default())
}

/// A list or map that is not complete.
struct Open {
    place: Place,
    anchor: usize,
    /// The number of nodes when it began.
    since: usize,
    value: OpenValue,
}

enum OpenValue {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// The key whose value comes next; one without a text was no key.
        key: Option<(Option<String>, Place)>,
    },
}

struct Builder {
    faults: Vec<Fault>,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: Vec<(usize, Node, usize)>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err((
                place,
                String::new(),
                "a second document begins here: one file holds one configuration".to_owned(),
            )),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, place)?;
                self.tag(tag.as_deref(), place);
                let is_text = tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !is_text;
                let node = Node { place, value: Value::Scalar { text: text.into_owned(), plain } };
                self.anchor(anchor, &node, 1);
                self.put(node);
                Ok(())
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), place);
                self.begin(place, anchor, OpenValue::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), place);
                self.begin(place, anchor, OpenValue::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(id, ..)| *id == anchor);
                let Some((_, node, size)) = found else {
                    return Err((
                        place,
                        self.path(),
                        "an alias cannot stand inside what it names".to_owned(),
                    ));
                };
                let (node, size) = (Node { place, value: node.value.clone() }, *size);
                self.count(size, place)?;
                self.put(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, value: OpenValue) -> Result<(), Fault> {
        self.count(1, place)?;
        self.open.push(Open { place, anchor, since: self.nodes, value });
        Ok(())
    }

    fn end(&mut self) {
        let Some(Open { place, anchor, since, value }) = self.open.pop() else { return };
        let value = match value {
            OpenValue::List(items) => Value::List(items),
            OpenValue::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node { place, value };
        self.anchor(anchor, &node, self.nodes - since + 1);
        self.put(node);
    }

    fn count(&mut self, more: usize, place: Place) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err((
            place,
            self.path(),
            format!("the file has more than {MAX_NODES} values: its aliases name each other"),
        ))
    }

    fn anchor(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor > 0 {
            self.anchors.push((anchor, node.clone(), size));
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, place: Place) {
        let is_known = |tag: &Tag| {
            ["str", "int", "bool", "float", "null", "map", "seq"]
                .iter()
                .any(|name| tag.is_yaml_core_schema_tag(name))
        };
        let is_plain = |tag: &Tag| tag.handle() == "!" && tag.suffix().is_empty();
        if tag.is_some_and(|tag| !is_known(tag) && !is_plain(tag)) {
            let what = "tags such as `!name` mean nothing here: leave it out".to_owned();
            self.faults.push((place, self.path(), what));
        }
    }

    /// Puts a node where it belongs: it is a key, a value, an item, or everything.
    fn put(&mut self, node: Node) {
        let path = self.path();
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        let (entries, key) = match &mut open.value {
            OpenValue::List(items) => return items.push(node),
            OpenValue::Map { entries, key } => (entries, key),
        };
        let Some((name, place)) = key.take() else {
            let (place, is_null) = (node.place, node.is_null());
            let name = if let (Value::Scalar { text, .. }, false) = (node.value, is_null) {
                Some(text)
            } else {
                self.faults.push((place, path, "a key has to be a word".to_owned()));
                None
            };
            *key = Some((name, place));
            return;
        };
        let Some(name) = name else { return };
        match entries.iter().find(|entry| entry.key == name) {
            Some(first) => {
                let line = first.place.line;
                let what = format!("this key was given already in line {line}: give it once");
                self.faults.push((place, path, what));
            }
            None => entries.push(Entry { key: name, place, node }),
        }
    }

    /// The key of what is open.
    fn path(&self) -> String {
        let mut path = Key::default();
        for open in &self.open {
            path = match &open.value {
                OpenValue::List(items) => path.nth(items.len()),
                OpenValue::Map { key: Some((Some(name), _)), .. } => path.at(name),
                OpenValue::Map { .. } => path,
            };
        }
        path.to_string()
    }
}
