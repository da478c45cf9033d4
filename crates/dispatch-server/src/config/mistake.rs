//! Mistakes and warnings: what is wrong, where, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Where every file begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something in a file that a person should read: a mistake, or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which file, as it was named.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// The key, from the top: `groups.metal[0].sources[1].dir`. Empty for the whole file.
    pub key: String,
    /// One sentence: what it is, and what to do. Never a secret, and never what a variable holds.
    pub what: String,
}

/// A mistake: with it, a configuration is not used.
pub type Mistake = Note;

/// A warning: the configuration is used, and does not do all that it seems to say.
pub type Warning = Note;

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Everything that is wrong with a configuration, in the order of the files; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Mistakes(pub Vec<Mistake>);

fn lines(notes: &[Note]) -> String {
    notes.iter().map(Note::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects notes.
#[derive(Debug, Default)]
pub(super) struct Notes {
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

impl Notes {
    pub(super) fn mistake(&mut self, file: &Path, place: Place, key: &str, what: impl Into<String>) {
        self.mistakes.push(Note { file: file.to_owned(), place, key: key.to_owned(), what: what.into() });
    }

    pub(super) fn warning(&mut self, file: &Path, place: Place, key: &str, what: impl Into<String>) {
        self.warnings.push(Note { file: file.to_owned(), place, key: key.to_owned(), what: what.into() });
    }

    /// How many mistakes there are by now.
    pub(super) fn count(&self) -> usize {
        self.mistakes.len()
    }

    /// The warnings, or the mistakes if there are any; in the order of the places, `first` before other files.
    pub(super) fn finish(self, first: &Path) -> Result<Vec<Warning>, Mistakes> {
        let order = |note: &Note| (note.file != first, note.file.clone(), note.place);
        let Self { mut mistakes, mut warnings } = self;
        mistakes.sort_by_key(order);
        mistakes.dedup();
        warnings.sort_by_key(order);
        if mistakes.is_empty() { Ok(warnings) } else { Err(Mistakes(mistakes)) }
    }
}
