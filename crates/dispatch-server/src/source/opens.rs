//! Opens files of one folder. A file system that does not answer holds a few threads and no more, whoever asks and however
//! often: the threads are those of downloads and of all other folders, too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinError};

/// How long a file system may take to open an image. Firmware gives up after four to five seconds.
pub(super) const OPEN: Duration = Duration::from_millis(800);

/// How many files of a folder are opened at the same time. Many hosts may be switched on at once.
const AT_ONCE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Opens {
    free: Arc<Semaphore>,
    listing: Arc<Semaphore>,
    /// What was not answered in time. Each of them has its place among those at once, until it ends.
    late: Mutex<Vec<AbortHandle>>,
}

/// A place among those who look at a folder. It is given back when the thread that looks has ended.
pub(super) struct Place {
    _place: Option<OwnedSemaphorePermit>,
    _opens: Arc<Opens>,
}

impl Default for Opens {
    fn default() -> Self {
        let [free, listing] = [AT_ONCE, 1].map(|places| Arc::new(Semaphore::new(places)));
        Self { free, listing, late: Mutex::default() }
    }
}

impl Opens {
    /// Whether something is still not answered that should have been long ago. Nothing is tried until it is.
    fn is_hanging(&self) -> bool {
        // What is in it is whole even if somebody panicked while holding it.
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|look| !look.is_finished());
        !late.is_empty()
    }

    /// What a look tells. Nothing if the file system does not answer in time, and at once if it does not answer others.
    pub(super) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Result<T, JoinError>> {
        if self.is_hanging() {
            return None;
        }
        let mut under_way = None;
        let told = async {
            let place = Arc::clone(&self.free).acquire_owned().await.ok();
            if self.is_hanging() {
                return None;
            }
            let place = Place { _place: place, _opens: Arc::clone(self) };
            let look = tokio::task::spawn_blocking(move || {
                let _place = place;
                look()
            });
            under_way = Some(look.abort_handle());
            Some(look.await)
        };
        if let Ok(told) = tokio::time::timeout(OPEN, told).await {
            return told;
        }
        self.late.lock().unwrap_or_else(PoisonError::into_inner).extend(under_way);
        None
    }

    /// The place of the only one who may go through many files; nothing if it is taken, or if it is of no use.
    pub(super) fn list(self: &Arc<Self>) -> Option<Place> {
        if self.is_hanging() {
            return None;
        }
        let place = Arc::clone(&self.listing).try_acquire_owned().ok()?;
        Some(Place { _place: Some(place), _opens: Arc::clone(self) })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use futures_util::future::join_all;

    use super::*;

    #[test]
    fn a_folder_that_hangs_holds_few_threads_however_many_ask_and_others_are_served() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(AT_ONCE + 1)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let place = tempfile::TempDir::new().expect("a folder");
            let [pipe, image] = ["a.efi", "b.efi"].map(|name| place.path().join(name));
            std::fs::write(&image, "x").expect("an image");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
            assert!(made.success());
            let (hanging, healthy) = (Arc::new(Opens::default()), Arc::new(Opens::default()));
            let ask = |opens: &Arc<Opens>, path: &std::path::Path| {
                let (opens, path) = (Arc::clone(opens), path.to_owned());
                async move { opens.look(move || File::open(path)).await }
            };
            let mut is_answered = false;
            for _ in 0..20 {
                let told = join_all((0..3 * AT_ONCE).map(|_| ask(&hanging, &pipe))).await;
                is_answered |= told.iter().any(Option::is_some);
            }
            let list = hanging.list();
            let other = ask(&healthy, &image).await;
            // Whoever waits for it goes on.
            let writer = File::options().read(true).write(true).open(&pipe).expect("a pipe");
            assert!(!is_answered && list.is_none(), "it hangs");
            assert!(matches!(other, Some(Ok(Ok(_)))), "another folder is served");
            // All threads have ended when all places are free.
            let at_once = u32::try_from(AT_ONCE).expect("few");
            drop(hanging.free.acquire_many(at_once).await.expect("they end"));
            let again = async {
                while hanging.is_hanging() {
                    tokio::task::yield_now().await;
                }
                ask(&hanging, &image).await
            };
            let again = tokio::time::timeout(Duration::from_secs(10), again).await;
            assert!(matches!(again, Ok(Some(Ok(Ok(_))))), "it is tried again once it answers");
            drop(writer);
        });
    }
}
