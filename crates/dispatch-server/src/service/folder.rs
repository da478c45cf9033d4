//! Looks through the folders of sources. A file system that does not answer holds one thread for each folder and no more,
//! whoever asks and however often the configuration is read again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use crate::clock::Clock;
use crate::engine::later;
use crate::source::{Directory, Scan, SourceError};

/// How long a file system may take to tell what is in a folder. A share whose server is away never answers.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// The look through a folder that its file system has not answered yet, if there is one.
type Scanning = Arc<tokio::sync::Mutex<Option<JoinHandle<Result<Scan, SourceError>>>>>;

/// The folders that are looked through. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Folders(Arc<Mutex<BTreeMap<PathBuf, Scanning>>>);

impl Folders {
    /// A folder that may be looked through already, for the same source or for another one.
    pub(super) fn open(&self, directory: Directory) -> Folder {
        // What is in it is whole even if somebody panicked while holding it.
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_under_way = |scanning: &Scanning| {
            scanning
                .try_lock()
                .map_or(true, |scanning| scanning.as_ref().is_some_and(|scanning| !scanning.is_finished()))
        };
        folders.retain(|_, scanning| Arc::strong_count(scanning) > 1 || is_under_way(scanning));
        let scanning = Arc::clone(folders.entry(directory.path().to_owned()).or_default());
        Folder { directory, scanning }
    }
}

/// See the module.
pub(super) struct Folder {
    directory: Directory,
    scanning: Scanning,
}

impl Folder {
    /// Looks through it, as long as its file system answers in time. Nothing if it does not.
    pub(super) async fn scan(
        &self,
        clock: &dyn Clock,
    ) -> Option<Result<Result<Scan, SourceError>, JoinError>> {
        let until = later(clock.now(), ANSWER);
        tokio::select! {
            biased;
            scanned = self.scan_at_last() => Some(scanned),
            () = clock.sleep_until(until) => None,
        }
    }

    async fn scan_at_last(&self) -> Result<Result<Scan, SourceError>, JoinError> {
        let mut scanning = self.scanning.lock().await;
        if let Some(earlier) = scanning.as_mut() {
            // What it is answered by now is what was there then.
            let _ = earlier.await;
        }
        let directory = self.directory.clone();
        let scanned = scanning.insert(tokio::task::spawn_blocking(move || directory.scan())).await;
        *scanning = None;
        scanned
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::supply::tests::{answer, hang};
    use super::*;
    use crate::clock::testing::Hands;

    #[test]
    fn a_folder_that_hangs_holds_one_thread_however_often_the_configuration_is_read_again() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(2).build();
        runtime.expect("a runtime").block_on(async {
            let place = tempfile::TempDir::new().expect("a folder");
            std::fs::write(place.path().join("a.efi"), "x").expect("an image");
            let description = place.path().join("dispatch.yaml");
            hang(&description);
            let (folders, clock) = (Folders::default(), Hands::default());
            let open = || folders.open(Directory::new(place.path().to_owned(), Vec::new()));
            clock.is_late.store(true, Ordering::Relaxed);
            for _ in 0..3 {
                assert!(open().scan(&clock).await.is_none(), "it does not answer");
            }
            let other = tokio::task::spawn_blocking(|| ());
            let other = tokio::time::timeout(Duration::from_secs(10), other).await;
            answer(&description);
            other.expect("the other thread is free").expect("it ends");
            clock.is_late.store(false, Ordering::Relaxed);
            let scan = open().scan(&clock).await.expect("it answers").expect("it ends").expect("a folder");
            assert_eq!(scan.found.len(), 1);
            assert_eq!(folders.0.lock().expect("whole").len(), 1);
        });
    }
}
