//! How the sources of a service are, by what the last look at each has shown.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dispatch_core::SourceId;
use jiff::Timestamp;

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStanding {
    /// Why it could not be looked at, or not at all of it, if that is so; one sentence.
    pub trouble: Option<String>,
    /// Since when it is so. Another trouble than before is the same trouble going on.
    pub since: Timestamp,
    /// When it was last looked at, whatever came of it.
    pub last_look: Timestamp,
}

/// How the sources are that have been looked at.
#[derive(Debug, Default)]
pub struct SourceStandings(Mutex<BTreeMap<SourceId, SourceStanding>>);

impl SourceStandings {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<SourceId, SourceStanding>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a source is; nothing before the first look at it.
    #[must_use]
    pub fn of(&self, source: &SourceId) -> Option<SourceStanding> {
        self.all().get(source).cloned()
    }

    /// A source was looked at.
    pub fn looked(&self, source: &SourceId, trouble: Option<String>, now: Timestamp) {
        let mut all = self.all();
        let before = all.get(source).filter(|known| known.trouble.is_some() == trouble.is_some());
        let since = before.map_or(now, |known| known.since);
        all.insert(source.clone(), SourceStanding { trouble, since, last_look: now });
    }

    /// Only these sources are there by now.
    pub(super) fn retain(&self, is_there: impl Fn(&SourceId) -> bool) {
        self.all().retain(|source, _| is_there(source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_known_to_be_in_trouble_since_that_began() {
        let (all, source) = (SourceStandings::default(), SourceId::new("g/s"));
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(all.of(&source), None);
        let words = [None, None, Some("a"), Some("b"), None];
        for (look, (words, since)) in words.into_iter().zip([0, 0, 2, 2, 4]).enumerate() {
            let now = at(i64::try_from(look).expect("few"));
            all.looked(&source, words.map(str::to_owned), now);
            let known = all.of(&source).expect("known");
            assert_eq!((known.since, known.last_look), (at(since), now), "{look}");
            assert_eq!(known.trouble.as_deref(), words);
        }
        all.retain(|_| false);
        assert_eq!(all.of(&source), None);
    }
}
