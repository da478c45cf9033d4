//! Which images are fetched next, which leave the cache for them, and what follows from trouble.
//!
//! An image is fetched once for all jobs that need it. What a host asks for now comes first, then the order of the
//! queue. Of what is in the cache, the least recently used goes first. Never goes what a run is on, what another
//! session holds, or what a host waits for. What an open job needs goes only for an image that a host asks for now, and
//! of several that which is needed last: a host that asks is given what is here, so that to fetch ahead in place of it
//! would fetch it twice.

mod needs;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::queue::{Outlook, Unreadable};
use crate::text;
use crate::workload::Digest;

pub use needs::{Need, is_asked, needs};
pub use trouble::{Failure, Next, Trouble, after};

/// How many images are fetched at the same time.
pub const AT_ONCE: usize = 2;

/// How much of the disk the cache leaves to others, in bytes: reports have to be stored, whatever is fetched.
pub const RESERVE: u64 = 64 << 20;

/// How often a full disk is looked at again.
pub const FULL: Duration = Duration::from_secs(30);

/// From when on the beginning of an image that nobody needs is taken for given up.
const ORPHAN: Duration = Duration::from_hours(7 * 24);

/// Names an image in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The digest of its bytes.
    Digest(Digest),
    /// The digest of what its source says of it, where that of its bytes is not known.
    Origin(Digest),
}

impl Key {
    /// The digest of its bytes, where that is known.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Digest(digest) => Some(*digest),
            Self::Origin(_) => None,
        }
    }
}

/// As in file names.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => f.write_str(&digest.hex()),
            Self::Origin(digest) => write!(f, "origin-{}", digest.hex()),
        }
    }
}

impl FromStr for Key {
    type Err = crate::workload::NoDigest;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.strip_prefix("origin-") {
            Some(hex) => hex.parse().map(Self::Origin),
            None => name.parse().map(Self::Digest),
        }
    }
}

/// What the cache has of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which.
    pub key: Key,
    /// Bytes on the disk.
    pub size: u64,
    /// When it was last used; of a part, when it was last written to.
    pub last_used: Timestamp,
    /// Another session uses it.
    pub is_pinned: bool,
    /// Only a part of it is here.
    pub is_part: bool,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What the cache may hold, in bytes.
    pub limit: u64,
    /// What the disk can take at the moment, in bytes.
    pub free: u64,
}

/// How things stand when a plan is made.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// How much room there is.
    pub room: Room,
    /// Whether images are fetched that nobody asks for yet.
    pub prefetch: bool,
    /// The images that are being fetched by this session.
    pub under_way: &'a BTreeSet<Key>,
    /// What went wrong with images.
    pub troubles: &'a BTreeMap<Key, Trouble>,
    /// The time.
    pub now: Timestamp,
}

/// Why an image is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The cache may never hold it.
    TooLarge {
        /// Bytes of the image.
        size: u64,
        /// Bytes that the cache may hold.
        limit: u64,
    },
    /// All room is taken by images that are in use.
    NoRoom {
        /// Bytes of the image.
        size: u64,
        /// Bytes that the cache may hold.
        limit: u64,
    },
    /// The disk cannot take it.
    DiskFull {
        /// Bytes that are still to come.
        missing: u64,
        /// Bytes that the disk can take.
        free: u64,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => write!(
                f,
                "it has {}, and the cache may hold no more than {}: allow more with --cache-size",
                text::bytes(*size),
                text::bytes(*limit)
            ),
            Self::NoRoom { size, limit } => write!(
                f,
                "it has {}, and the cache of {} is full of images that are in use: it is fetched once one of them is \
                 done with, or with a larger --cache-size",
                text::bytes(*size),
                text::bytes(*limit)
            ),
            // Not how much is free: that changes all the time.
            Self::DiskFull { missing, .. } => write!(
                f,
                "{} of it are still to come, and the disk of the cache is full: make room there, or choose another \
                 with --cache",
                text::bytes(*missing)
            ),
        }
    }
}

impl Wait {
    /// What hosts and people are told.
    #[must_use]
    pub fn told(&self) -> Unreadable {
        let outlook = match self {
            Self::TooLarge { .. } => Outlook::Lasting,
            Self::NoRoom { .. } | Self::DiskFull { .. } => Outlook::Coming,
        };
        Unreadable { why: self.to_string(), outlook }
    }
}

/// What is to be done next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be fetched from now on, first things first.
    pub fetch: Vec<Key>,
    /// No longer to be fetched for now; what is here of it stays.
    pub pause: Vec<Key>,
    /// To leave the cache before anything is fetched: the whole image, or its part (`true`).
    pub evict: Vec<(Key, bool)>,
    /// What cannot be fetched at the moment, and why.
    pub waits: Vec<(Key, Wait)>,
    /// When to plan again at the latest.
    pub wake: Option<Timestamp>,
}

impl Plan {
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Decides what is fetched next. `needs` is in queue order, one for each image.
#[must_use]
pub fn plan(needs: &[Need], entries: &[Entry], situation: &Situation<'_>) -> Plan {
    let mut planner = Planner::new(needs, entries, situation);
    let mut plan = Plan::default();
    plan.pause.extend(situation.under_way.iter().filter(|key| !needs.iter().any(|need| need.key == **key)));
    let here: BTreeSet<Key> = entries.iter().filter(|entry| !entry.is_part).map(|entry| entry.key).collect();
    // What comes after an image that finds no place finds none either, or it would take it for ever.
    let mut is_blocked = false;
    for need in in_order(needs) {
        if here.contains(&need.key) || situation.under_way.contains(&need.key) {
            continue;
        }
        let limit = situation.room.limit;
        if need.size > limit {
            plan.waits.push((need.key, Wait::TooLarge { size: need.size, limit }));
            continue;
        }
        if !need.is_asked && (is_blocked || !situation.prefetch) {
            continue;
        }
        let trouble = situation.troubles.get(&need.key);
        if let Some(at) = trouble.map(|trouble| trouble.not_before).filter(|at| *at > situation.now) {
            plan.wake_at(at);
            continue;
        }
        if planner.taken.len() >= AT_ONCE {
            is_blocked = true;
            planner.pause_for(need, &mut plan);
            continue;
        }
        if trouble.is_some_and(|trouble| trouble.is_full) {
            planner.shed(need, &mut plan);
        }
        match planner.make_room(need) {
            Ok(evict) => {
                plan.evict.extend(evict);
                plan.fetch.push(need.key);
                planner.taken.insert(need.key);
            }
            Err(wait) => {
                is_blocked = true;
                if need.is_asked || matches!(wait, Wait::DiskFull { .. }) {
                    plan.waits.push((need.key, wait));
                    planner.pause_for(need, &mut plan);
                }
                if matches!(wait, Wait::DiskFull { .. }) {
                    plan.wake_at(situation.now.checked_add(FULL).unwrap_or(Timestamp::MAX));
                }
            }
        }
    }
    plan.evict.extend(planner.keep_to_the_limit());
    plan
}

/// What hosts ask for now, then the rest, each in queue order.
fn in_order(needs: &[Need]) -> Vec<&Need> {
    let (asked, rest): (Vec<&Need>, Vec<&Need>) = needs.iter().partition(|need| need.is_asked);
    asked.into_iter().chain(rest).collect()
}

struct Planner<'a> {
    needs: BTreeMap<Key, (usize, &'a Need)>,
    /// What is in the cache, without what has to leave it.
    left: Vec<&'a Entry>,
    /// What is fetched, now or from now on.
    taken: BTreeSet<Key>,
    situation: &'a Situation<'a>,
    /// What the disk can take, with what has to leave the cache.
    free: u64,
}

impl<'a> Planner<'a> {
    fn new(needs: &'a [Need], entries: &'a [Entry], situation: &'a Situation<'a>) -> Self {
        let needs = in_order(needs).into_iter().enumerate().map(|(at, need)| (need.key, (at, need)));
        Self {
            needs: needs.collect(),
            left: entries.iter().collect(),
            taken: situation.under_way.clone(),
            situation,
            free: situation.room.free,
        }
    }

    fn part(&self, key: Key) -> u64 {
        self.left.iter().filter(|entry| entry.is_part && entry.key == key).map(|entry| entry.size).sum()
    }

    /// What an image that is fetched will have on the disk.
    fn full_size(&self, key: Key) -> u64 {
        self.needs.get(&key).map_or(0, |(_, need)| need.size).max(self.part(key))
    }

    /// What the cache holds once all that is fetched is here.
    fn used(&self) -> u64 {
        let still = self.left.iter().filter(|entry| !entry.is_part || !self.taken.contains(&entry.key));
        let still: u64 = still.map(|entry| entry.size).sum();
        self.taken.iter().fold(still, |sum, key| sum.saturating_add(self.full_size(*key)))
    }

    /// What is still to come of all that is fetched.
    fn promised(&self) -> u64 {
        self.taken.iter().map(|key| self.full_size(*key) - self.part(*key)).fold(0, u64::saturating_add)
    }

    /// What may leave the cache for an image, first things first.
    fn victims(&self, is_asked: bool, but: Option<Key>) -> Vec<&'a Entry> {
        let is_old = |entry: &Entry| {
            let age = self.situation.now.duration_since(entry.last_used);
            Duration::try_from(age).is_ok_and(|age| age > ORPHAN)
        };
        let mut victims: Vec<_> = self
            .left
            .iter()
            .filter(|entry| !entry.is_pinned && Some(entry.key) != but && !self.taken.contains(&entry.key))
            .filter_map(|entry| match self.needs.get(&entry.key) {
                None if entry.is_part && is_old(entry) => Some(((0, 0), *entry)),
                None => Some(((1, 0), *entry)),
                Some((_, need)) if need.is_held || need.is_asked || !is_asked => None,
                Some((at, _)) => Some(((2, usize::MAX - at), *entry)),
            })
            .collect();
        victims.sort_by_key(|(class, entry)| (*class, entry.last_used, entry.key));
        victims.into_iter().map(|(_, entry)| entry).collect()
    }

    fn drop_entry(&mut self, victim: &Entry) -> (Key, bool) {
        self.left.retain(|entry| !std::ptr::eq(*entry, victim));
        self.free = self.free.saturating_add(victim.size);
        (victim.key, victim.is_part)
    }

    /// What has to leave the cache so that an image fits in, or why it does not.
    fn make_room(&mut self, need: &Need) -> Result<Vec<(Key, bool)>, Wait> {
        let before = (self.left.clone(), self.free);
        let limit = self.situation.room.limit;
        let own = self.part(need.key);
        let missing = need.size.saturating_sub(own);
        let mut victims = self.victims(need.is_asked, Some(need.key)).into_iter();
        let mut evict = Vec::new();
        loop {
            let fits_limit = self.used().saturating_sub(own).saturating_add(need.size) <= limit;
            let fits_disk = missing <= self.free.saturating_sub(self.promised());
            if fits_limit && fits_disk {
                return Ok(evict);
            }
            let Some(victim) = victims.next() else {
                let free = before.1;
                (self.left, self.free) = before;
                let size = need.size;
                let no_room = Wait::NoRoom { size, limit };
                return Err(if fits_limit { Wait::DiskFull { missing, free } } else { no_room });
            };
            evict.push(self.drop_entry(victim));
        }
    }

    /// The disk said that it was full, whatever it tells of its room: as much as is still to come has to leave, if there
    /// is as much that nobody needs.
    fn shed(&mut self, need: &Need, plan: &mut Plan) {
        let mut missing = need.size.saturating_sub(self.part(need.key));
        for victim in self.victims(false, Some(need.key)) {
            if missing == 0 {
                return;
            }
            missing = missing.saturating_sub(victim.size);
            plan.evict.push(self.drop_entry(victim));
        }
    }

    /// What nobody asks for gives way to what somebody does.
    fn pause_for(&self, need: &Need, plan: &mut Plan) {
        if !need.is_asked {
            return;
        }
        let is_ahead = |key: &&Key| {
            let need = self.needs.get(*key);
            !plan.pause.contains(key) && need.is_some_and(|(_, need)| !need.is_asked)
        };
        let under_way = self.situation.under_way.iter().filter(is_ahead);
        plan.pause.extend(under_way.max_by_key(|key| self.needs.get(*key).map(|(at, _)| *at)));
    }

    /// A limit may be lower than it was.
    fn keep_to_the_limit(&mut self) -> Vec<(Key, bool)> {
        let mut evict = Vec::new();
        for victim in self.victims(false, None) {
            if self.used() <= self.situation.room.limit {
                break;
            }
            evict.push(self.drop_entry(victim));
        }
        evict
    }
}

/// How fast an image comes, in bytes a second, from how much was here at several times of the last while, oldest first.
#[must_use]
pub fn per_second(samples: &[(Timestamp, u64)]) -> u64 {
    let (Some((begun, before)), Some((now, got))) = (samples.first(), samples.last()) else { return 0 };
    let millis = now.duration_since(*begun).as_millis();
    let bytes = i128::from(got.saturating_sub(*before));
    if millis <= 0 { 0 } else { u64::try_from(bytes * 1000 / millis).unwrap_or(u64::MAX) }
}

/// How far an image is, such as `43 % of 1.2 GiB`.
#[must_use]
pub fn share(got: u64, size: u64) -> String {
    let percent = u128::from(got.min(size)) * 100 / u128::from(size.max(1));
    format!("{percent} % of {}", text::bytes(size))
}

#[cfg(test)]
mod tests;
