//! Which sources could not be read a moment ago, so that not each host that asks has to find out again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dispatch_core::SourceId;
use dispatch_core::queue::Unreadable;
use jiff::Timestamp;

/// How long nothing of a source is tried that could not be read. A host asks again soon.
const AWAY: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Away(Mutex<BTreeMap<SourceId, (Unreadable, Timestamp)>>);

impl Away {
    /// Nothing of a source can be read.
    pub(super) fn note(&self, source: &SourceId, why: &Unreadable, now: Timestamp) {
        // What is in it is whole even if somebody panicked while holding it.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(source.clone(), (why.clone(), now));
    }

    /// The sources of which nothing is to be tried now.
    pub(super) fn sources(&self, now: Timestamp) -> BTreeMap<SourceId, Unreadable> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, at)| now.duration_since(*at).unsigned_abs() < AWAY);
        all.iter().map(|(source, (why, _))| (source.clone(), why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use dispatch_core::queue::Outlook;

    use super::*;

    #[test]
    fn a_source_that_could_not_be_read_is_tried_again_after_half_a_minute() {
        let (away, source) = (Away::default(), SourceId::new("g/s"));
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).expect("a time");
        let why = Unreadable { why: "gone".to_owned(), outlook: Outlook::Passing };
        away.note(&source, &why, at(0));
        assert_eq!(away.sources(at(29)), BTreeMap::from([(source.clone(), why.clone())]));
        away.note(&source, &why, at(29));
        assert_eq!(away.sources(at(58)).len(), 1);
        assert!(away.sources(at(59)).is_empty());
        // A clock that was set back holds nothing up.
        away.note(&source, &why, at(1000));
        assert!(away.sources(at(0)).is_empty());
    }
}
