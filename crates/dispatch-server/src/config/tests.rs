//! What the parts of the configuration make together.

mod mistakes;
mod properties;
mod reference;
mod reload;
mod secrets;
mod seed;
mod values;

use std::env::VarError;
use std::path::Path;

use super::{Configuration, Loaded, Mistakes, parse};

/// The file of all tests that need none.
const FILE: &str = "/lab/dispatch.yaml";

/// No variable is set.
fn unset(_: &str) -> Result<String, VarError> {
    Err(VarError::NotPresent)
}

/// Every variable but one is set to a secret, which must never be seen.
fn hush(name: &str) -> Result<String, VarError> {
    if name == "NOT_SET" { Err(VarError::NotPresent) } else { Ok("hush".to_owned()) }
}

fn read(text: &str) -> Result<Loaded, Mistakes> {
    parse(text, Path::new(FILE), &unset)
}

fn loaded(text: &str) -> Loaded {
    read(text).unwrap_or_else(|error| panic!("{error}"))
}

fn configuration(text: &str) -> Configuration {
    loaded(text).configuration
}

/// The mistakes, as `LINE:COLUMN KEY`, and their sentences.
fn mistakes(text: &str) -> Vec<(String, String)> {
    let Mistakes(mistakes) = read(text).err().unwrap_or_else(|| panic!("no mistakes in:\n{text}"));
    mistakes.into_iter().map(|note| (format!("{} {}", note.place, note.key), note.what)).collect()
}

/// The only mistake, as one line.
fn mistake(text: &str) -> String {
    let all = mistakes(text);
    let [(place, what)] = all.as_slice() else { panic!("not one mistake but {all:#?} in:\n{text}") };
    format!("{place}: {what}")
}
