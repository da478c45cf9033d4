//! The primary rate limit: so many requests an hour, counted by who asks. Answers 304 do not count.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// How many requests who may make.
#[derive(Debug)]
pub struct Limits {
    /// An hour, for whoever is signed in.
    pub signed_in: u64,
    /// An hour, for whoever is not.
    pub anonymous: u64,
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) reset: Timestamp,
}

impl Bucket {
    pub(super) fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { signed_in: 5_000, anonymous: 60, buckets: BTreeMap::new() }
    }
}

impl Limits {
    /// How that caller stands; nobody is the empty name.
    pub(super) fn bucket(&mut self, who: &str, now: Timestamp) -> &mut Bucket {
        let limit = if who.is_empty() { self.anonymous } else { self.signed_in };
        let reset = now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now);
        let fresh = Bucket { limit, used: 0, reset };
        let bucket = self.buckets.entry(who.to_owned()).or_insert(fresh);
        bucket.limit = limit;
        if bucket.reset <= now {
            *bucket = fresh;
        }
        bucket
    }

    /// Uses up all that a user (by login; nobody is the empty name) has, until then.
    pub fn exhaust(&mut self, who: &str, reset: Timestamp) {
        let used = self.signed_in.max(self.anonymous);
        let limit = if who.is_empty() { self.anonymous } else { self.signed_in };
        self.buckets.insert(who.to_owned(), Bucket { limit, used, reset });
    }

    /// How many requests were counted for a user (by login; nobody is the empty name).
    #[must_use]
    pub fn used(&self, who: &str) -> u64 {
        self.buckets.get(who).map_or(0, |bucket| bucket.used)
    }
}
