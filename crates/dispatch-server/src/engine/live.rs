//! The transfers that are going on.

use std::sync::{Arc, Mutex, PoisonError};

use dispatch_boot::Progress;
use dispatch_core::RunId;

/// The transfers that are going on. A run may have several: ranges, or an old one whose host was reset.
#[derive(Debug, Default)]
pub struct Live(Mutex<Vec<(RunId, Arc<Progress>)>>);

impl Live {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<(RunId, Arc<Progress>)>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfers that are going on, in the order in which they began.
    #[must_use]
    pub fn all(&self) -> Vec<(RunId, Arc<Progress>)> {
        self.list().clone()
    }

    pub(super) fn add(&self, run: RunId, progress: Arc<Progress>) {
        let mut list = self.list();
        if progress.start() == 0 {
            let older =
                list.iter().filter(|(known, other)| *known == run && other.transfer < progress.transfer);
            older.for_each(|(_, older)| older.is_asked_anew());
        }
        list.push((run, progress));
    }

    pub(super) fn remove(&self, run: RunId, transfer: u32) {
        self.list().retain(|(known, progress)| *known != run || progress.transfer != transfer);
    }
}
