//! The loop that fetches: it compares what the open jobs need with what the cache has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dispatch_boot::cache::{Cache, CacheError, Part, Pin};
use dispatch_core::fetch::{
    Entry, FULL, Failure, Key, Need, Next, Plan, Room, Situation, Trouble, Wait, after, is_asked, needs, plan,
};
use dispatch_core::queue::{Outlook, Unreadable};
use dispatch_core::{Digest, Snapshot};
use dispatch_store::{Focus, Scope, StoreError};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::course::Course;
use super::download::{Came, Download};
use super::images::Images;
use super::telling::{News, Untold};
use super::upstream::Upstream;
use crate::engine::{Engine, later};

/// What is tried again so soon is kept in hand meanwhile.
const SOON: Duration = Duration::from_secs(10);

/// How long to wait after the store failed.
const TROUBLE: Duration = Duration::from_secs(1);

/// How often the cache is looked at where nothing happens: somebody may have thrown something away by hand.
const GLANCE: Duration = Duration::from_mins(1);

/// How long an image that cannot be had rests, where a job still needs it.
const SPOILT: Duration = Duration::from_mins(5);

/// How images are fetched.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What the cache may hold, in bytes.
    pub limit: u64,
    /// Whether images are fetched that no host asks for yet.
    pub prefetch: bool,
}

/// See the module.
pub struct Fetch {
    pub(super) engine: Engine,
    pub(super) images: Images,
    upstream: Arc<dyn Upstream>,
    settings: Settings,
    troubles: BTreeMap<Key, Trouble>,
    pub(super) under_way: BTreeMap<Key, Task>,
    /// What is here of images that are tried again.
    parts: BTreeMap<Key, Box<Part>>,
    tasks: JoinSet<Done>,
    /// What is still to be told to the store, in order.
    pub(super) news: Untold,
    tell_begun: mpsc::UnboundedSender<(Key, u64)>,
    begun: mpsc::UnboundedReceiver<(Key, u64)>,
    /// What the open jobs needed when it was last looked at.
    needs: Vec<Need>,
    /// When to look at the latest.
    wake: Option<Timestamp>,
    /// Something has changed beside the jobs.
    has_work: bool,
    /// What the open jobs need and the cache does not have.
    missing: Vec<Key>,
    /// What another session holds, and until when that is believed.
    held: BTreeMap<Key, Timestamp>,
    /// Whose bytes were looked at for the processor that they are made for.
    pub(super) looked_at: BTreeSet<Digest>,
    /// Whose jobs were told why they wait.
    pub(super) told: BTreeSet<Key>,
    /// Nothing was told yet: what jobs wait for may be what they waited for when a session ended.
    pub(super) is_first: bool,
}

/// An image that is being fetched or checked.
pub(super) struct Task {
    id: Id,
    pause: CancellationToken,
    course: Arc<Course>,
}

/// How the work on an image ended.
enum Done {
    Came(Came),
    /// What was here was hashed; it is right, or is gone.
    Checked(Result<bool, CacheError>),
}

/// What the cache has, and what of it is pinned and known to be right.
struct Stock {
    entries: Vec<Entry>,
    free: u64,
    pins: Vec<(Digest, Pin)>,
    right: BTreeSet<Digest>,
}

impl Fetch {
    /// The loop that fetches what the jobs of this engine need.
    #[must_use]
    pub fn new(engine: Engine, images: Images, upstream: Arc<dyn Upstream>, settings: Settings) -> Self {
        let (tell_begun, begun) = mpsc::unbounded_channel();
        Self {
            engine,
            images,
            upstream,
            settings,
            troubles: BTreeMap::new(),
            under_way: BTreeMap::new(),
            parts: BTreeMap::new(),
            tasks: JoinSet::new(),
            news: Untold::new(),
            tell_begun,
            begun,
            needs: Vec::new(),
            wake: None,
            has_work: true,
            missing: Vec::new(),
            held: BTreeMap::new(),
            looked_at: BTreeSet::new(),
            told: BTreeSet::new(),
            is_first: true,
        }
    }

    /// Runs until `stop`, and then ends at once: what is here of an image stays, and the next session goes on with it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut events = self.engine.store.watch_events();
        loop {
            events.mark_unchanged();
            let Some(done) = stop.run_until_cancelled(self.activate()).await else { break };
            if let Err(error) = done {
                tracing::error!("images cannot be fetched at the moment: {error}");
                self.wake = Some(later(self.engine.clock.now(), TROUBLE));
            }
            let wake = self.wake;
            let clock = Arc::clone(&self.engine.clock);
            let sleep = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep => {}
                _ = events.changed() => {}
                () = self.images.demand() => self.has_work = true,
                Some((key, start)) = self.begun.recv() => self.has_begun(key, start),
                Some(done) = self.tasks.join_next_with_id() => {
                    self.has_work = true;
                    self.ended(done);
                }
            }
        }
        self.images.state().courses.values().for_each(|course| course.watch.stop());
        self.tasks.shutdown().await;
        self.images.state().courses.clear();
    }

    fn has_begun(&mut self, key: Key, start: u64) {
        // What was wrong with it is over.
        self.images.state().waits.remove(&key);
        if let Some(trouble) = self.troubles.get_mut(&key) {
            trouble.told = None;
        }
        self.news.push_back((key, News::Begun { start }));
    }

    fn ended(&mut self, done: Result<(Id, Done), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(key) = self.under_way.iter().find(|(_, task)| task.id == id).map(|(key, _)| *key) else {
            return;
        };
        // It was told before the end, and is to be known before it.
        while let Ok((key, start)) = self.begun.try_recv() {
            self.has_begun(key, start);
        }
        let task = self.under_way.remove(&key);
        self.images.state().courses.remove(&key);
        let name = task.map(|task| task.course.name.clone()).unwrap_or_default();
        match done.map(|(_, done)| done) {
            Ok(Done::Came(Came::Whole { digest, pin, took })) => self.is_whole(key, digest, pin, took),
            Ok(Done::Came(Came::ByAnother)) => {}
            Ok(Done::Checked(Ok(true))) => drop(self.troubles.remove(&key)),
            // What is here of it stays on the disk; held any longer, no other session could go on with it. Only where no
            // digest is known it would be of no use any more.
            Ok(Done::Came(Came::Paused { part })) => {
                self.parts.extend(part.filter(|_| key.digest().is_none()).map(|part| (key, part)));
            }
            Ok(Done::Came(Came::Failed { failure, has_progressed, part })) => {
                self.failed(key, &name, &failure, has_progressed);
                let soon = later(self.engine.clock.now(), SOON);
                if self.troubles.get(&key).is_some_and(|trouble| trouble.not_before <= soon) {
                    self.parts.extend(part.map(|part| (key, part)));
                }
            }
            Ok(Done::Checked(Ok(false))) => {
                let why =
                    "what was in the cache is not what it should be: it was thrown away and is fetched again";
                self.news.push_back((key, News::Wrong(why.to_owned())));
            }
            Ok(Done::Checked(Err(error))) => {
                self.failed(key, &name, &Failure::Cache(error.to_string()), false);
            }
            Err(error) => self.failed(key, &name, &Failure::Cache(error.to_string()), false),
        }
    }

    fn is_whole(&mut self, key: Key, digest: Digest, pin: Pin, took: Duration) {
        let own = Key::Digest(digest);
        let mut state = self.images.state();
        state.pins.insert(digest, pin);
        state.here.insert(own, digest);
        if key != own {
            state.learned.insert(key, digest);
            let asked = state.asked.remove(&key);
            state.asked.extend(asked.map(|at| (own, at)));
        }
        self.troubles.remove(&key);
        for (known, _) in self.news.iter_mut().filter(|(known, _)| *known == key) {
            *known = own;
        }
        self.news.push_back((own, News::Fetched { took }));
    }

    fn failed(&mut self, key: Key, name: &str, failure: &Failure, has_progressed: bool) {
        let now = self.engine.clock.now();
        let before = self.troubles.get(&key);
        match after(before, failure, has_progressed, now) {
            Next::Again(trouble) => {
                // People are told by the job; each of many tries is for who looks closer.
                tracing::debug!("{name}: {failure:?}");
                if let Failure::Wrong(words) = failure {
                    let why = format!("{words}; it was thrown away and is fetched once more");
                    self.news.push_back((key, News::Wrong(why)));
                }
                if let Failure::Limited { .. } = failure {
                    self.all_wait(&trouble);
                }
                self.troubles.insert(key, trouble);
            }
            Next::Spoiled(why) => {
                let told = Some(Unreadable { why: why.clone(), outlook: Outlook::Lasting });
                let not_before = later(now, SPOILT);
                self.troubles.insert(key, Trouble { tries: 0, wrong: 0, not_before, is_full: false, told });
                self.news.push_back((key, News::Spoiled(why)));
            }
        }
    }

    /// Who has asked too often for one image has asked too often for all.
    fn all_wait(&mut self, trouble: &Trouble) {
        for key in self.missing.iter().filter(|key| !self.under_way.contains_key(key)) {
            let known = self.troubles.entry(*key).or_insert_with(|| trouble.clone());
            known.not_before = known.not_before.max(trouble.not_before);
        }
    }

    /// Once around.
    async fn activate(&mut self) -> Result<(), StoreError> {
        let now = self.engine.clock.now();
        let focus = Focus::default().within(Scope::Images);
        let snapshot = self.engine.store.look(focus, &self.engine.policy(), |known| known).await?;
        let needs = self.needs_of(&snapshot, now);
        self.tell_news(&needs).await?;
        // Most of what happens in a session says nothing of its images.
        if self.has_work || self.needs != needs || self.wake.is_none_or(|wake| wake <= now) {
            self.forget(&needs);
            self.wake = Some(match self.stock(&needs).await {
                Ok(stock) => self.carry_out(&needs, stock, now).await,
                Err(error) => {
                    self.cannot_use_cache(&needs, &error);
                    later(now, FULL)
                }
            });
            self.has_work = false;
        }
        self.tell_standing(&needs, &snapshot).await?;
        self.needs = needs;
        self.is_first = false;
        Ok(())
    }

    fn needs_of(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<Need> {
        let state = self.images.state();
        needs(snapshot, |workload| state.key(workload), &state.asked, now)
    }

    /// What no open job needs is none of our business any more.
    fn forget(&mut self, needs: &[Need]) {
        let is_needed = |key: &Key| needs.iter().any(|need| need.key == *key);
        self.troubles.retain(|key, _| is_needed(key));
        self.told.retain(is_needed);
        self.parts.retain(|key, _| is_needed(key));
        let mut state = self.images.state();
        state.asked.retain(|key, _| is_needed(key));
        state.waits.retain(|key, _| is_needed(key));
        state.here.retain(|key, _| is_needed(key));
        state.pins.retain(|digest, _| is_needed(&Key::Digest(*digest)));
    }

    /// Looks at the cache, and pins what is needed.
    async fn stock(&self, needs: &[Need]) -> Result<Stock, CacheError> {
        let cache = self.images.cache().clone();
        let pinned: BTreeSet<Digest> = self.images.state().pins.keys().copied().collect();
        let wanted: Vec<Digest> = needs.iter().filter_map(|need| need.key.digest()).collect();
        let look = move || {
            let missing = wanted.iter().filter(|digest| !pinned.contains(digest));
            let pins = missing
                .filter_map(|digest| cache.pin(digest).transpose().map(|pin| Ok((*digest, pin?))))
                .collect::<Result<Vec<_>, CacheError>>()?;
            let right = wanted.iter().filter(|digest| cache.is_verified(digest)).copied().collect();
            Ok(Stock { entries: cache.entries()?, free: cache.free()?, pins, right })
        };
        let io = |error: JoinError| std::io::Error::other(error.to_string());
        let path = self.images.cache().folder().to_owned();
        let looked = tokio::task::spawn_blocking(look).await;
        looked.map_err(|error| CacheError::Io { path, error: io(error) })?
    }

    fn cannot_use_cache(&self, needs: &[Need], error: &CacheError) {
        tracing::warn!("{error}");
        let Next::Again(trouble) =
            after(None, &Failure::Cache(error.to_string()), false, self.engine.clock.now())
        else {
            return;
        };
        let mut state = self.images.state();
        for need in needs.iter().filter(|need| !state.here.contains_key(&need.key)).collect::<Vec<_>>() {
            state.waits.extend(trouble.told.clone().map(|told| (need.key, told)));
        }
    }

    /// Does what the plan says.
    async fn carry_out(&mut self, needs: &[Need], stock: Stock, now: Timestamp) -> Timestamp {
        let Stock { mut entries, mut free, pins, right } = stock;
        let whole: BTreeSet<Key> =
            entries.iter().filter(|entry| !entry.is_part).map(|entry| entry.key).collect();
        self.note_stock(needs, &whole, pins, &right);
        self.missing = needs.iter().map(|need| need.key).filter(|key| !whole.contains(key)).collect();
        // What only this session holds may go, if the rules say so.
        let own = self.own_pins();
        let is_own = |entry: &&mut Entry| {
            if entry.is_part { self.parts.contains_key(&entry.key) } else { own.contains(&entry.key) }
        };
        self.held.retain(|_, until| *until > now);
        let may_go = |entry: &&mut Entry| is_own(entry) && !self.held.contains_key(&entry.key);
        entries.iter_mut().filter(may_go).for_each(|entry| entry.is_pinned = false);
        let plan = loop {
            let room = Room { limit: self.settings.limit, free };
            let plan = self.plan(needs, &entries, room, now);
            let held = self.evict(&plan.evict).await;
            if held.is_empty() {
                break plan;
            }
            // Somebody else holds it as well, and will for a while.
            self.held.extend(held.iter().map(|key| (*key, later(now, FULL))));
            for entry in entries.iter_mut().filter(|entry| held.contains(&entry.key)) {
                entry.is_pinned = true;
            }
            let is_gone = |entry: &mut Entry| {
                plan.evict.contains(&(entry.key, entry.is_part)) && !held.contains(&entry.key)
            };
            free += entries.extract_if(.., is_gone).map(|entry| entry.size).sum::<u64>();
        };
        for key in &plan.pause {
            if let Some(task) = self.under_way.get(key) {
                task.pause.cancel();
                task.course.watch.stop();
            }
        }
        self.note_waits(needs, &plan);
        for need in needs.iter().filter(|need| plan.fetch.contains(&need.key)) {
            self.begin(need, now);
        }
        self.check_next(needs, &whole, now);
        // Nobody tells when another session is done with something.
        let has_no_room = plan.waits.iter().any(|(_, wait)| matches!(wait, Wait::NoRoom { .. }));
        let own = self.own_pins();
        let is_locked = needs.iter().any(|need| whole.contains(&need.key) && !own.contains(&need.key));
        let again = [has_no_room.then_some(FULL), is_locked.then_some(TROUBLE)];
        let again = again.into_iter().flatten().map(|wait| later(now, wait));
        again.chain(plan.wake).fold(later(now, GLANCE), Timestamp::min)
    }

    fn own_pins(&self) -> BTreeSet<Key> {
        self.images.state().pins.keys().map(|digest| Key::Digest(*digest)).collect()
    }

    fn plan(&self, needs: &[Need], entries: &[Entry], room: Room, now: Timestamp) -> Plan {
        let fetching = self.under_way.iter().filter(|(_, task)| !task.course.is_check);
        let under_way: BTreeSet<Key> = fetching.map(|(key, _)| *key).collect();
        let (prefetch, troubles) = (self.settings.prefetch, &self.troubles);
        plan(needs, entries, &Situation { room, prefetch, under_way: &under_way, troubles, now })
    }

    /// Notes what is here and right.
    fn note_stock(
        &self,
        needs: &[Need],
        whole: &BTreeSet<Key>,
        pins: Vec<(Digest, Pin)>,
        right: &BTreeSet<Digest>,
    ) {
        let mut state = self.images.state();
        // What is gone is not held, or nobody could fetch it again.
        state.pins.retain(|digest, _| whole.contains(&Key::Digest(*digest)));
        state.pins.extend(pins);
        for need in needs {
            let digest = need.key.digest().filter(|digest| {
                whole.contains(&need.key) && right.contains(digest) && state.pins.contains_key(digest)
            });
            match digest {
                Some(digest) => {
                    state.here.insert(need.key, digest);
                    state.waits.remove(&need.key);
                }
                None => drop(state.here.remove(&need.key)),
            }
        }
    }

    /// Throws images away. Returns what somebody else uses.
    async fn evict(&mut self, evict: &[(Key, bool)]) -> BTreeSet<Key> {
        let mut held = BTreeSet::new();
        for (key, is_part) in evict.iter().copied() {
            let digest = key.digest().filter(|_| !is_part);
            let mut was_here = None;
            if let Some(digest) = digest {
                let now = self.engine.clock.now();
                let mut state = self.images.state();
                if state.asked.get(&key).is_some_and(|at| is_asked(*at, now)) {
                    // A host has asked for it since the plan was made.
                    held.insert(key);
                    continue;
                }
                was_here = state.here.remove(&key);
                state.pins.remove(&digest);
            }
            self.parts.remove(&key);
            let cache = self.images.cache().clone();
            let evict = move || {
                let is_gone = cache.evict(&key, is_part)?;
                // What stays is held as before.
                let pin = digest.filter(|_| !is_gone).map(|digest| cache.pin(&digest)).transpose()?.flatten();
                Ok::<_, CacheError>((is_gone, pin))
            };
            let evicted = tokio::task::spawn_blocking(evict).await;
            let why = match evicted {
                Ok(Ok((true, _))) => {
                    tracing::debug!("{key} leaves the cache{}", if is_part { ", a part" } else { "" });
                    continue;
                }
                Ok(Ok((false, pin))) => {
                    if let Some((digest, pin)) = digest.zip(pin) {
                        let mut state = self.images.state();
                        state.pins.insert(digest, pin);
                        state.here.extend(was_here.map(|digest| (key, digest)));
                    }
                    None
                }
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                tracing::warn!("nothing can be thrown away: {why}");
            }
            held.insert(key);
        }
        held
    }

    /// Notes why what is not here is not.
    fn note_waits(&self, needs: &[Need], plan: &Plan) {
        let mut state = self.images.state();
        for need in needs.iter().filter(|need| !state.here.contains_key(&need.key)).collect::<Vec<_>>() {
            let wait = plan.waits.iter().find(|(key, _)| *key == need.key).map(|(_, wait)| wait.told());
            let trouble = || self.troubles.get(&need.key).and_then(|trouble| trouble.told.clone());
            match wait.or_else(trouble) {
                Some(told) => drop(state.waits.insert(need.key, told)),
                None => drop(state.waits.remove(&need.key)),
            }
        }
    }

    fn course(&self, need: &Need, is_check: bool, now: Timestamp) -> Arc<Course> {
        let course = Course::new(need.workloads.clone(), need.name.clone(), need.size, is_check, now);
        let course = Arc::new(course);
        self.images.state().courses.insert(need.key, Arc::clone(&course));
        course
    }

    /// Begins to fetch an image.
    fn begin(&mut self, need: &Need, now: Timestamp) {
        let (course, pause) = (self.course(need, false, now), CancellationToken::new());
        let download = Download {
            key: need.key,
            origin: need.origin.clone(),
            cache: self.images.cache().clone(),
            upstream: Arc::clone(&self.upstream),
            clock: Arc::clone(&self.engine.clock),
            course: Arc::clone(&course),
            part: self.parts.remove(&need.key),
            pause: pause.clone(),
            begun: self.tell_begun.clone(),
        };
        let handle = self.tasks.spawn(async { Done::Came(download.run().await) });
        self.under_way.insert(need.key, Task { id: handle.id(), pause, course });
    }

    /// Has the next image hashed that is here, but was not looked at by this process; one at a time.
    fn check_next(&mut self, needs: &[Need], whole: &BTreeSet<Key>, now: Timestamp) {
        if self.under_way.values().any(|task| task.course.is_check) {
            return;
        }
        let state = self.images.state();
        let is_next = |need: &&Need| {
            let is_pinned = need.key.digest().is_some_and(|digest| state.pins.contains_key(&digest));
            let is_free = !self.under_way.contains_key(&need.key)
                && self.troubles.get(&need.key).is_none_or(|trouble| trouble.not_before <= now);
            whole.contains(&need.key) && is_pinned && is_free && !state.here.contains_key(&need.key)
        };
        let next = needs.iter().filter(is_next).min_by_key(|need| !need.is_asked);
        drop(state);
        let Some((need, digest)) = next.and_then(|need| Some((need, need.key.digest()?))) else { return };
        let (course, cache) = (self.course(need, true, now), self.images.cache().clone());
        let watched = Arc::clone(&course);
        let handle = self.tasks.spawn_blocking(move || Done::Checked(check(&cache, &digest, &watched)));
        let pause = CancellationToken::new();
        self.under_way.insert(need.key, Task { id: handle.id(), pause, course });
    }
}

/// Hashes what is here of an image.
fn check(cache: &Cache, digest: &Digest, course: &Course) -> Result<bool, CacheError> {
    match cache.pin(digest)? {
        Some(pin) => cache.verify(digest, &pin, &course.watch),
        None => Ok(false),
    }
}
