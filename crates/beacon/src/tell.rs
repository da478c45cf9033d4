//! Where lines for people go: to stderr, and in tests into a list.

use std::collections::HashSet;

/// Takes what a person should know while beacon works. Results and final errors do not go this way.
pub trait Tell {
    /// Something is wrong or noteworthy.
    fn warn(&mut self, line: &str);

    /// Something that only helps to understand what beacon does (`--verbose`).
    fn detail(&mut self, line: &str);
}

/// Passes every line on once. What is looked at anew in every round of retries would otherwise be said anew.
pub struct Once<'a> {
    to: &'a mut dyn Tell,
    said: HashSet<String>,
}

impl<'a> Once<'a> {
    /// Nothing has been said yet.
    pub fn new(to: &'a mut dyn Tell) -> Self {
        Self { to, said: HashSet::new() }
    }

    /// Passes a line on without asking whether it was said before.
    pub fn again(&mut self, line: &str) {
        self.to.warn(line);
    }
}

impl Tell for Once<'_> {
    fn warn(&mut self, line: &str) {
        if self.said.insert(line.to_owned()) {
            self.to.warn(line);
        }
    }

    fn detail(&mut self, line: &str) {
        if self.said.insert(line.to_owned()) {
            self.to.detail(line);
        }
    }
}
