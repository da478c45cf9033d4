//! Every change of the folder is a step: tests have a process die before any of them.

use std::io;

/// Counts steps.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// How many are left before the process dies; none means that it lives.
    #[cfg(test)]
    pub(super) left: std::sync::Mutex<Option<usize>>,
}

impl Steps {
    /// The next change follows.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have one that fails")]
    pub(super) fn step(&self) -> io::Result<()> {
        Ok(())
    }

    /// The next change follows, unless the process is dead.
    #[cfg(test)]
    pub(super) fn step(&self) -> io::Result<()> {
        match &mut *self.left.lock().expect("not poisoned") {
            Some(0) => Err(io::Error::other("the process has died")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
