//! How many requests somebody may send in a minute.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::Clock as Ticks;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use jiff::Timestamp;

use super::problem::{Kind, Problem};
use super::settings::Limits;
use crate::clock::Clock;

/// After how many new keys those are forgotten that have not asked for long.
const TIDY_EVERY: u32 = 1000;

/// Our clock, as a count that never goes back, however the system's clock is set.
#[derive(Clone)]
struct Count {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<(Timestamp, Duration)>>,
}

impl Count {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { clock: Arc::clone(clock), seen: Arc::new(Mutex::new((clock.now(), Duration::ZERO))) }
    }
}

impl Ticks for Count {
    type Instant = Duration;

    fn now(&self) -> Duration {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = Duration::try_from(now.duration_since(seen.0)).unwrap_or_default();
        *seen = (now, seen.1 + passed);
        seen.1
    }
}

/// One limit for each key.
struct Limiter<K: Hash + Eq + Clone> {
    state: RateLimiter<K, HashMapStateStore<K>, Count, NoOpMiddleware<Duration>>,
    count: Count,
    asked: Mutex<u32>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(per_minute: NonZeroU32, count: &Count) -> Self {
        let quota = Quota::per_minute(per_minute);
        let state = RateLimiter::hashmap_with_clock(quota, count.clone());
        Self { state, count: count.clone(), asked: Mutex::new(0) }
    }

    /// Counts a request, or says how long to wait.
    fn take(&self, key: &K) -> Result<(), Duration> {
        let is_due = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            *asked = (*asked + 1) % TIDY_EVERY;
            *asked == 0
        };
        if is_due {
            self.state.retain_recent();
        }
        self.state.check_key(key).map_err(|until| until.wait_time_from(self.count.now()))
    }
}

/// All limits, as the settings have them.
struct Set {
    of: Limits,
    sign_in: Limiter<IpAddr>,
    public: Limiter<IpAddr>,
    authenticated: Limiter<String>,
}

/// The limits, and who has used how much of them.
pub(crate) struct Limiters {
    count: Count,
    set: RwLock<Arc<Set>>,
}

impl Limiters {
    pub(crate) fn new(limits: &Limits, clock: &Arc<dyn Clock>) -> Self {
        let count = Count::new(clock);
        let set = RwLock::new(Arc::new(Set::new(limits, &count)));
        Self { count, set }
    }

    /// Other limits. Everybody begins anew, unless they are the same.
    pub(crate) fn set(&self, limits: &Limits) {
        let mut set = self.set.write().unwrap_or_else(PoisonError::into_inner);
        if set.of != *limits {
            *set = Arc::new(Set::new(limits, &self.count));
        }
    }

    fn get(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a try to sign in, under whichever name. What counted the tries of a name from everywhere would let anybody
    /// lock its owner out.
    pub(crate) fn sign_in(&self, address: IpAddr) -> Result<(), Problem> {
        let set = self.get();
        set.sign_in.take(&address).map_err(|wait| too_many("tries to sign in", set.of.sign_in, wait))
    }

    /// Counts a request of somebody who is not signed in.
    pub(crate) fn public(&self, address: IpAddr) -> Result<(), Problem> {
        let set = self.get();
        if !set.of.is_enabled {
            return Ok(());
        }
        set.public.take(&address).map_err(|wait| too_many("requests without a session", set.of.public, wait))
    }

    /// Counts a request of somebody who is.
    pub(crate) fn authenticated(&self, name: &str) -> Result<(), Problem> {
        let set = self.get();
        if !set.of.is_enabled {
            return Ok(());
        }
        let taken = set.authenticated.take(&name.to_owned());
        taken.map_err(|wait| too_many("requests of one user", set.of.authenticated, wait))
    }
}

impl Set {
    fn new(limits: &Limits, count: &Count) -> Self {
        Self {
            of: limits.clone(),
            sign_in: Limiter::new(limits.sign_in, count),
            public: Limiter::new(limits.public, count),
            authenticated: Limiter::new(limits.authenticated, count),
        }
    }
}

fn too_many(what: &str, limit: NonZeroU32, wait: Duration) -> Problem {
    let detail = format!("no more than {limit} {what} are answered in a minute: wait as Retry-After says");
    Problem::new(Kind::TooManyRequests, detail).retry_after(wait)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::Relaxed)).expect("a time")
        }

        fn sleep_until(&self, _: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
    }

    fn limiters(is_enabled: bool) -> (Arc<Hand>, Limiters) {
        let hand = Arc::new(Hand(AtomicI64::new(1_000_000)));
        let clock: Arc<dyn Clock> = Arc::clone(&hand) as _;
        (hand, Limiters::new(&Limits { is_enabled, ..Limits::default() }, &clock))
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_eleventh_try_to_sign_in_within_a_minute_is_refused_until_its_time_comes() {
        let (hand, limiters) = limiters(false);
        for _ in 0..10 {
            limiters.sign_in(address(1)).expect("taken");
        }
        let refused = limiters.sign_in(address(1)).expect_err("refused");
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        limiters.sign_in(address(2)).expect("another address");
        hand.0.fetch_add(6, Ordering::Relaxed);
        limiters.sign_in(address(1)).expect("a tenth of a minute later");
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let (hand, limiters) = limiters(false);
        for _ in 0..10 {
            limiters.sign_in(address(1)).expect("taken");
        }
        hand.0.fetch_sub(3600, Ordering::Relaxed);
        limiters.sign_in(address(1)).expect_err("not yet");
        hand.0.fetch_add(6, Ordering::Relaxed);
        limiters.sign_in(address(1)).expect("a tenth of a minute later");
    }

    #[test]
    fn other_requests_are_limited_only_where_that_is_wanted() {
        let (_, off) = limiters(false);
        let (_, on) = limiters(true);
        for _ in 0..60 {
            off.public(address(1)).expect("taken");
            on.public(address(1)).expect("taken");
        }
        off.public(address(1)).expect("taken");
        on.public(address(1)).expect_err("refused");
        for _ in 0..120 {
            on.authenticated("ada").expect("taken");
        }
        on.authenticated("ada").expect_err("refused");
        on.authenticated("bob").expect("somebody else");
    }

    #[test]
    fn settings_that_leave_the_limits_as_they_are_forgive_nothing() {
        let (_, limiters) = limiters(true);
        for _ in 0..60 {
            limiters.public(address(1)).expect("taken");
        }
        limiters.set(&Limits { is_enabled: true, ..Limits::default() });
        limiters.public(address(1)).expect_err("refused");
    }
}
