//! Looks through the folders of sources. A file system that does not answer holds one thread for each folder and no more,
//! whoever asks and however often the configuration is read again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};

use crate::clock::Clock;
use crate::engine::later;
use crate::source::{Directory, Opens, Scan, SourceError};

/// How long a file system may take to tell what is in a folder. A share whose server is away never answers.
pub(super) const ANSWER: Duration = Duration::from_secs(20);

/// The look through a folder that its file system has not answered yet, if there is one, and since when it is asked.
type Scanning = Arc<tokio::sync::Mutex<Option<(JoinHandle<Result<Scan, SourceError>>, Timestamp)>>>;

/// The folders that are looked through. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Folders(Arc<Mutex<BTreeMap<PathBuf, Known>>>);

/// What all sources over a folder have in common.
#[derive(Default)]
struct Known {
    scanning: Scanning,
    opens: Arc<Opens>,
}

impl Known {
    /// Whether somebody has the folder, or a thread waits for its file system.
    fn is_used(&self) -> bool {
        let is_under_way = || match self.scanning.try_lock() {
            Ok(scanning) => scanning.as_ref().is_some_and(|(look, _)| !look.is_finished()),
            Err(_) => true,
        };
        Arc::strong_count(&self.scanning) > 1 || Arc::strong_count(&self.opens) > 1 || is_under_way()
    }
}

impl Folders {
    /// A folder that may be looked through already, for the same source or for another one.
    pub(super) fn open(&self, directory: Directory) -> Folder {
        // What is in it is whole even if somebody panicked while holding it.
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folders.retain(|_, known| known.is_used());
        let known = folders.entry(directory.path().to_owned()).or_default();
        Folder { directory: directory.opened_with(&known.opens), scanning: Arc::clone(&known.scanning) }
    }
}

/// See the module.
pub(super) struct Folder {
    directory: Directory,
    scanning: Scanning,
}

impl Folder {
    /// The directory that its images are opened in.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Looks through it, as long as its file system answers in time. Nothing if it does not.
    pub(super) async fn scan(
        &self,
        clock: &dyn Clock,
    ) -> Option<Result<Result<Scan, SourceError>, JoinError>> {
        // Others who look through it one after the other may take as long as they like: each of them is answered.
        let mut scanning = self.scanning.lock().await;
        if let Some((earlier, since)) = scanning.as_mut() {
            // What it is answered by now is what was there then.
            let _ = in_time(earlier, *since, clock).await?;
        }
        let (directory, since) = (self.directory.clone(), clock.now());
        let look = tokio::task::spawn_blocking(move || directory.scan());
        let (look, since) = scanning.insert((look, since));
        let scanned = in_time(look, *since, clock).await?;
        *scanning = None;
        Some(scanned)
    }
}

/// What comes of a look that was begun then. Nothing if its file system has not answered for too long: whoever waits for
/// it, and whoever waits after them, knows at the same time.
async fn in_time<T>(
    look: &mut JoinHandle<T>,
    since: Timestamp,
    clock: &dyn Clock,
) -> Option<Result<T, JoinError>> {
    let now = clock.now();
    // A clock that was set back holds nothing up.
    let until = later(since.min(now), ANSWER);
    tokio::select! {
        biased;
        scanned = look => Some(scanned),
        () = clock.sleep_until(until) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicI64, Ordering};

    use futures_util::FutureExt as _;
    use tempfile::TempDir;

    use super::super::supply::tests::{answer, hang};
    use super::*;
    use crate::clock::testing::Hands;

    #[test]
    fn a_folder_that_hangs_holds_one_thread_however_often_the_configuration_is_read_again() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(2).build();
        runtime.expect("a runtime").block_on(async {
            let place = TempDir::new().expect("a folder");
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

    /// A clock that a test sets. Whoever waits for a time that has come goes on, others for ever.
    #[derive(Default)]
    struct Dial(AtomicI64);

    impl Clock for Dial {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::Relaxed)).expect("a time")
        }

        fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            if at <= self.now() { Box::pin(std::future::ready(())) } else { Box::pin(std::future::pending()) }
        }
    }

    fn two(place: &TempDir) -> [Folder; 2] {
        let folders = Folders::default();
        ["a", "b"]
            .map(|filter| folders.open(Directory::new(place.path().to_owned(), vec![filter.to_owned()])))
    }

    fn images() -> (TempDir, PathBuf) {
        let place = TempDir::new().expect("a folder");
        for name in ["a.efi", "b.efi"] {
            std::fs::write(place.path().join(name), "x").expect("an image");
        }
        let description = place.path().join("dispatch.yaml");
        hang(&description);
        (place, description)
    }

    #[tokio::test]
    async fn the_look_of_another_source_over_the_same_folder_is_no_trouble_however_long_it_takes() {
        let (place, description) = images();
        let ([first, second], clock, late) = (two(&place), Hands::default(), Hands::default());
        late.is_late.store(true, Ordering::Relaxed);
        let mut one = pin!(first.scan(&clock));
        assert!(one.as_mut().now_or_never().is_none());
        let mut other = pin!(second.scan(&late));
        let is_waiting = other.as_mut().now_or_never().is_none();
        late.is_late.store(false, Ordering::Relaxed);
        answer_at_last(&description).await;
        assert!(is_waiting, "the other one is at it");
        for scanned in [one.await, other.await] {
            let scan = scanned.expect("in time").expect("it ends").expect("a folder");
            assert_eq!(scan.found.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_trouble_for_all_sources_over_the_folder_at_the_same_time() {
        let (place, description) = images();
        let ([first, second], clock) = (two(&place), Dial::default());
        {
            let mut one = pin!(first.scan(&clock));
            assert!(one.as_mut().now_or_never().is_none());
        }
        // The first one has left, as when the configuration is read again.
        clock.0.store(19, Ordering::Relaxed);
        let is_early = second.scan(&clock).now_or_never().is_none();
        clock.0.store(20, Ordering::Relaxed);
        let is_late = matches!(second.scan(&clock).now_or_never(), Some(None));
        answer_at_last(&description).await;
        assert!(is_early && is_late, "{is_early} {is_late}");
    }

    #[test]
    fn images_of_a_folder_are_opened_together_whichever_source_they_are_of() {
        let (folders, path) = (Folders::default(), PathBuf::from("images"));
        let open = || folders.open(Directory::new(path.clone(), Vec::new())).directory().clone();
        let _both = (open(), open());
        let known = folders.0.lock().expect("whole");
        assert_eq!(known.len(), 1, "it is kept as long as a source is open");
        assert_eq!(Arc::strong_count(&known[&path].opens), 3);
    }

    /// As [`answer`], once somebody waits.
    async fn answer_at_last(path: &Path) {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || answer(&path)).await.expect("answered");
    }
}
