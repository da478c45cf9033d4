//! The images that are fetched, as the rest of the server sees them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dispatch_boot::cache::{Cache, Pin, key_of};
use dispatch_core::fetch::{Key, is_asked};
use dispatch_core::queue::{Outlook, Unreadable};
use dispatch_core::{Digest, Workload, WorkloadId};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::course::Course;
use crate::clock::Clock;
use crate::source::Opened;
use crate::view::Fetching;

/// How long the file system of the cache may take to open an image. Firmware gives up after four to five seconds.
const OPEN: Duration = Duration::from_millis(800);

/// The images that are fetched. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    shared: Arc<Shared>,
}

struct Shared {
    cache: Cache,
    clock: Arc<dyn Clock>,
    demand: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// When hosts last asked for what.
    pub(super) asked: BTreeMap<Key, Timestamp>,
    /// What is here, is what it should be, and is not thrown away by anybody.
    pub(super) here: BTreeMap<Key, Digest>,
    /// Why what is not here is not.
    pub(super) waits: BTreeMap<Key, Unreadable>,
    /// What is being fetched or checked.
    pub(super) courses: BTreeMap<Key, Arc<Course>>,
    /// Of images whose digest was not known, what it turned out to be.
    pub(super) learned: BTreeMap<Key, Digest>,
    pub(super) pins: BTreeMap<Digest, Pin>,
}

/// How far an image is that is being fetched or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which.
    pub workload: WorkloadId,
    /// Its name.
    pub name: String,
    /// Bytes that are here, or have been checked.
    pub got: u64,
    /// Bytes of the whole image.
    pub size: u64,
    /// How fast it comes, in bytes a second.
    pub per_second: u64,
    /// When this began.
    pub since: Timestamp,
    /// It is here, and is hashed before it is sent.
    pub is_check: bool,
}

impl From<Progress> for Fetching {
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    fn from(progress: Progress) -> Self {
        let Progress { workload, got, size, per_second, .. } = progress;
        Self { workload, got, size, per_second: (per_second > 0).then_some(per_second as f64) }
    }
}

impl State {
    /// The name of a workload's image in the cache.
    pub(super) fn key(&self, workload: &Workload) -> Option<Key> {
        let key = key_of(workload)?;
        Some(self.learned.get(&key).map_or(key, |digest| Key::Digest(*digest)))
    }

    /// The digest of what is here, or why it is not.
    fn standing(&self, key: &Key) -> Result<Digest, Unreadable> {
        if let Some(digest) = self.here.get(key) {
            return Ok(*digest);
        }
        let coming = |why: String| Unreadable { why, outlook: Outlook::Coming };
        let course = self.courses.get(key).map(|course| coming(course.words()));
        // Of a try that has brought nothing yet, what is known is why the one before broke off.
        Err(match (course, self.waits.get(key)) {
            (_, Some(waits)) => waits.clone(),
            (Some(course), None) => course,
            (None, None) => coming("its image is still to be fetched".to_owned()),
        })
    }
}

impl Images {
    /// The images in this cache, and those that are still to come.
    #[must_use]
    pub fn new(cache: Cache, clock: Arc<dyn Clock>) -> Self {
        let (demand, state) = Default::default();
        Self { shared: Arc::new(Shared { cache, clock, demand, state }) }
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is whole even if somebody panicked while holding it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host would get this image now. If it is not here, it is fetched before what nobody asks for.
    pub fn ask_for(&self, workload: &Workload) {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let Some(key) = state.key(workload) else { return };
        let before = state.asked.insert(key, now);
        if before.is_none_or(|before| !is_asked(before, now)) || !state.here.contains_key(&key) {
            self.shared.demand.notify_one();
        }
    }

    /// Opens the image of a workload, if it is here and is what it should be: to be called for what a host would get
    /// (see [`Images::ask_for`]). What comes is never written to any more.
    pub async fn open(&self, workload: &Workload) -> Result<Opened, Unreadable> {
        let Some(key) = self.state().key(workload) else {
            let why = "nothing says where it is to be fetched from".to_owned();
            return Err(Unreadable { why, outlook: Outlook::Lasting });
        };
        self.ask_for(workload);
        let digest = self.state().standing(&key)?;
        let (cache, now) = (self.shared.cache.clone(), self.shared.clock.now());
        let open = tokio::task::spawn_blocking(move || {
            let whole = cache.whole(&digest);
            // Without this it may be thrown away earlier than others, once no job needs it any more.
            let _ = cache.touch(&Key::Digest(digest), now);
            whole
        });
        match tokio::time::timeout(OPEN, open).await {
            Ok(Ok(Some(whole))) => {
                Ok(Opened { file: whole.file, size: whole.size, modified: whole.modified })
            }
            Ok(Ok(None)) => {
                self.state().here.remove(&key);
                self.shared.demand.notify_one();
                let why = "its image has changed in the cache, and is looked at".to_owned();
                Err(Unreadable { why, outlook: Outlook::Coming })
            }
            Ok(Err(_)) | Err(_) => {
                let why = "the file system of the cache does not answer".to_owned();
                Err(Unreadable { why, outlook: Outlook::Passing })
            }
        }
    }

    /// Of these workloads those whose image is to be fetched and is not here, and why. Nobody is taken to ask for them.
    #[must_use]
    pub fn absent(&self, workloads: &[Workload]) -> BTreeMap<WorkloadId, Unreadable> {
        let state = self.state();
        let why = |workload: &Workload| state.standing(&state.key(workload)?).err();
        workloads.iter().filter_map(|workload| Some((workload.id, why(workload)?))).collect()
    }

    /// What is being fetched or checked: for each image all workloads that it is.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        let courses: Vec<Arc<Course>> = self.state().courses.values().cloned().collect();
        let of_course = |course: Arc<Course>| {
            let (got, per_second) = (course.got(), course.per_second());
            let of = |workload: &WorkloadId| Progress {
                workload: *workload,
                name: course.name.clone(),
                got,
                size: course.size,
                per_second,
                since: course.since,
                is_check: course.is_check,
            };
            course.workloads.iter().map(of).collect::<Vec<_>>()
        };
        courses.into_iter().flat_map(of_course).collect()
    }

    /// Waits until somebody asks for what is not here.
    pub(super) async fn demand(&self) {
        self.shared.demand.notified().await;
    }
}
