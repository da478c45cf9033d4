//! What is costly to count is counted every few seconds at most, however many ask.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// How long a count is taken for what there is.
pub(crate) const FRESH: Duration = Duration::from_secs(5);

/// Whether what was counted then is good enough now. A clock that was set back is no reason to wait for it.
pub(crate) fn is_fresh(counted: Timestamp, now: Timestamp) -> bool {
    now.duration_since(counted).unsigned_abs() < FRESH
}

/// One of them, while it is counted or as it was counted last.
type Entry<V> = Arc<tokio::sync::Mutex<Option<(Timestamp, V)>>>;

/// What was counted last of each kind.
#[derive(Debug)]
pub(crate) struct Recent<K, V>(Mutex<BTreeMap<K, Entry<V>>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V: Clone> Recent<K, V> {
    /// What was counted a moment ago, or else what `count` counts: once, for all who ask meanwhile. There must only be so
    /// many keys.
    pub(crate) async fn get<E>(
        &self,
        key: K,
        now: Timestamp,
        count: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E> {
        let entry = {
            let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(entries.entry(key).or_default())
        };
        let mut known = entry.lock().await;
        if let Some((_, value)) = known.as_ref().filter(|(counted, _)| is_fresh(*counted, now)) {
            return Ok(value.clone());
        }
        let value = count.await?;
        *known = Some((now, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    #[tokio::test]
    async fn it_is_counted_again_after_five_seconds_and_not_before() {
        let recent: Recent<u8, u32> = Recent::default();
        let get = async |key, now, value| recent.get(key, at(now), async { Ok::<_, ()>(value) }).await;
        assert_eq!(get(1, 0, 1).await, Ok(1));
        assert_eq!(get(1, 4999, 2).await, Ok(1));
        assert_eq!(get(2, 4999, 3).await, Ok(3), "another one");
        assert_eq!(get(1, 5000, 4).await, Ok(4));
        assert_eq!(get(1, -60_000, 5).await, Ok(5), "a clock was set back");
    }

    #[tokio::test]
    async fn what_fails_is_counted_again_by_the_next() {
        let recent: Recent<u8, u32> = Recent::default();
        assert_eq!(recent.get(1, at(0), async { Err(()) }).await, Err(()));
        assert_eq!(recent.get(1, at(0), async { Ok::<_, ()>(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn all_who_ask_at_once_wait_for_one_count() {
        let (recent, counts) = (Recent::<u8, u32>::default(), Mutex::new(0));
        let count = || async {
            tokio::task::yield_now().await;
            let mut counts = counts.lock().expect("not poisoned");
            *counts += 1;
            Ok::<_, ()>(*counts)
        };
        let ask = || recent.get(1, at(0), count());
        assert_eq!(tokio::join!(ask(), ask(), ask()), (Ok(1), Ok(1), Ok(1)));
    }
}
