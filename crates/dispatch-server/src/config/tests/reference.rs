//! The reference of all keys: `docs/configuration.md` is checked against the schema.

use std::fmt::Write as _;

use crate::config::EXAMPLE;
use crate::config::schema::{Shape, schema};

/// One key of the configuration, for the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Described {
    /// From the top, with `[]` behind lists.
    key: String,
    /// What may stand there.
    form: String,
    /// What it is for.
    description: String,
    /// It has to be there.
    required: bool,
}

/// All keys of the configuration, in the order of the alphabet within each section.
fn keys() -> Vec<Described> {
    let mut found = Vec::new();
    describe(Shape::of(schema()), "", &mut found);
    found
}

fn describe(section: Shape<'_>, above: &str, found: &mut Vec<Described>) {
    for name in section.keys() {
        let Some(shape) = section.property(name) else { continue };
        let mut key = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let inner = if shape.is("array") { shape.items().unwrap_or(shape) } else { shape };
        if shape.is("array") && inner.is("object") {
            key.push_str("[]");
        }
        found.push(Described {
            key: key.clone(),
            form: form(shape),
            description: section.description_of(name).unwrap_or_default().to_owned(),
            required: section.required().contains(&name),
        });
        describe(inner, &key, found);
    }
}

/// What may stand there, in a few words.
fn form(shape: Shape<'_>) -> String {
    let branches = shape.branches();
    if let [one, _] = branches.as_slice() {
        return format!("{}, or a list", form(*one));
    }
    if let Some(words) = shape.words() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(kind) = shape.kind() {
        return kind.expected.split(": ").next().unwrap_or_default().to_owned();
    }
    if shape.is("array") {
        let items =
            shape.items().map(|items| if items.is("object") { "sections".to_owned() } else { form(items) });
        return format!("a list ({})", items.unwrap_or_default());
    }
    if shape.is("object") {
        return if shape.keys().is_empty() { "names with values".to_owned() } else { "a section".to_owned() };
    }
    if shape.is("boolean") {
        return "`true` or `false`".to_owned();
    }
    if shape.is("integer") {
        return "a number".to_owned();
    }
    "a text".to_owned()
}

/// The keys as tables, one for each section.
fn tables() -> String {
    let mut text = String::new();
    let mut section = String::new();
    for key in keys() {
        let top = key.key.split(['.', '[']).next().unwrap_or_default().to_owned();
        if top != section {
            let _ = write!(text, "\n### `{top}`\n\n| key | what | for |\n|---|---|---|\n");
            section = top;
        }
        let needed = if key.required { "; **has to be there**" } else { "" };
        let form = format!("{}{needed}", key.form).replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {form} | {} |", key.key, key.description.replace('|', "\\|"));
    }
    text + "\n"
}

/// To accept a change of the keys: `DISPATCH_ACCEPT=1 cargo nextest run -p dispatch-server reference`.
#[test]
fn the_reference_has_all_keys_as_they_are() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let document = std::fs::read_to_string(path).expect("docs/configuration.md");
    let (head, rest) = document.split_once("<!-- keys -->\n").expect("a mark before the keys");
    let (shown, tail) = rest.split_once("<!-- end -->").expect("a mark after the keys");
    if std::env::var_os("DISPATCH_ACCEPT").is_some() {
        let text = format!("{head}<!-- keys -->\n{}<!-- end -->{tail}", tables());
        std::fs::write(path, text).expect("docs/configuration.md");
    } else {
        assert_eq!(shown, tables(), "docs/configuration.md is not what may be written");
    }
}

#[test]
fn every_key_says_what_it_is_for() {
    for key in keys() {
        assert!(!key.description.is_empty(), "{}", key.key);
    }
}

#[test]
fn the_example_has_every_key() {
    let words: Vec<&str> = EXAMPLE.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for key in keys() {
        let name = key.key.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
        // A file of a secret stands beside each secret in the same way.
        assert!(words.contains(&name) || name.ends_with("_file"), "{} is not in the example", key.key);
    }
}
