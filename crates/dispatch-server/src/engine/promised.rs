//! What hosts were promised by `HEAD`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dispatch_boot::Work;
use dispatch_core::Sighting;
use dispatch_core::queue::Ask;
use jiff::Timestamp;

/// How many promises are remembered: as many hosts as may ask at about the same time.
const PROMISES: usize = 500;

/// How long a host is taken to hold on to what a `HEAD` promised; its `GET` comes at once. One that was reset since may
/// ask by `GET` alone.
const PROMISE: Duration = Duration::from_mins(1);

/// The sizes of the images that a `HEAD` promised and no `GET` has fetched yet, and when, the oldest first.
///
/// A firmware makes room for as much as `HEAD` promised. EDK II that gets more keeps the old size in mind and asks for
/// nothing but the image again, for ever; after any other failure it begins with `HEAD` again.
#[derive(Debug, Default)]
pub(super) struct Promised(Mutex<VecDeque<(Sighting, u64, Timestamp)>>);

impl Promised {
    fn list(&self) -> std::sync::MutexGuard<'_, VecDeque<(Sighting, u64, Timestamp)>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is for a host, or a word that it is not what the host has made room for.
    pub(super) fn kept(&self, who: &Sighting, how: Ask, work: Work, now: Timestamp) -> Work {
        let mut list = self.list();
        list.retain(|(_, _, at)| now.duration_since(*at).unsigned_abs() < PROMISE);
        let known = list.iter().position(|(known, ..)| known == who);
        // Held against one answer only: a client that never asks by `HEAD` again gets its image all the same.
        let promised = known.and_then(|at| list.remove(at)).map(|(_, size, _)| size);
        let Work::Image(image) = &work else { return work };
        match how {
            Ask::Head => {
                if list.len() == PROMISES {
                    list.pop_front();
                }
                list.push_back((who.clone(), image.size, now));
                work
            }
            Ask::Get if promised.is_some_and(|promised| promised < image.size) => {
                Work::NotNow("there is a larger one by now".to_owned())
            }
            Ask::Get => work,
        }
    }
}

#[cfg(test)]
mod tests {
    use dispatch_boot::Image;
    use dispatch_core::RunId;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("a time")
    }

    #[test]
    fn a_promise_is_held_against_one_larger_answer_and_not_for_long() {
        let work = |size| {
            let file = tempfile::tempfile().expect("a file");
            let (run, modified) = (RunId::new(at(0), [1; 10]), std::time::SystemTime::UNIX_EPOCH);
            let (name, etag) = ("a.efi".to_owned(), "\"a\"".to_owned());
            Work::Image(Image { run, name, kind: dispatch_core::Kind::Efi, file, size, modified, etag })
        };
        let promised = Promised::default();
        let host = |last| Sighting { address: [192, 0, 2, last].into(), mac: None, name: None };
        let is_kept = |last, how, size, seconds| {
            matches!(promised.kept(&host(last), how, work(size), at(seconds)), Work::Image(_))
        };
        assert!(is_kept(1, Ask::Get, 9, 0), "nothing was promised");
        for (size, is_same) in [(9, true), (10, true), (11, false)] {
            assert!(is_kept(1, Ask::Head, 10, 0));
            assert!(is_kept(2, Ask::Get, 11, 0), "another host");
            assert_eq!(is_kept(1, Ask::Get, size, 1), is_same, "{size}");
            assert!(is_kept(1, Ask::Get, 11, 2), "once");
        }
        assert!(is_kept(1, Ask::Head, 10, 0) && is_kept(1, Ask::Get, 11, 61), "long ago");
        for last in 0..=u8::MAX {
            for _ in 0..3 {
                assert!(is_kept(last, Ask::Head, 10, 0));
            }
        }
        assert_eq!(promised.list().len(), 256);
    }
}
