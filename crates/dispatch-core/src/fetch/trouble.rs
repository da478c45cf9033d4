//! What follows when an image could not be fetched.

use std::time::Duration;

use jiff::Timestamp;

use super::FULL;
use crate::queue::{Outlook, Unreadable};

/// The shortest and the longest pause after trouble with the network.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// The shortest pause after an answer that will not change by itself.
const REFUSED: Duration = Duration::from_secs(30);

/// How long until what was wrong is fetched once more.
const WRONG: Duration = Duration::from_secs(10);

/// How often it is looked whether another process has fetched an image.
const BUSY: Duration = Duration::from_secs(2);

/// How often an image may turn out not to be what it should be.
const MOST_WRONG: u32 = 2;

/// Why an image could not be fetched. The words are those of whoever noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The network, or the other side, is in trouble.
    Network(String),
    /// There is no such image any more.
    NotThere(String),
    /// We may not have it.
    Denied(String),
    /// We have asked too often.
    Limited {
        /// Until when.
        until: Timestamp,
        /// In words.
        words: String,
    },
    /// What came is not what it should be.
    Wrong(String),
    /// The disk is full.
    Full(String),
    /// The cache cannot be written to or read.
    Cache(String),
    /// Another process is fetching it.
    Busy,
}

/// What is known of the trouble with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How often it could not be fetched since it last made progress.
    pub tries: u32,
    /// How often what came was not what it should be.
    pub wrong: u32,
    /// When it may be tried again.
    pub not_before: Timestamp,
    /// The disk was full.
    pub is_full: bool,
    /// What hosts and people are told; nothing if there is nothing wrong with it any more.
    pub told: Option<Unreadable>,
}

/// What follows from a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again.
    Again(Trouble),
    /// It will not get better: the job is over, and this is why.
    Spoiled(String),
}

/// Decides what follows when an image could not be fetched. `has_progressed` says that some of it came.
#[must_use]
pub fn after(before: Option<&Trouble>, failure: &Failure, has_progressed: bool, now: Timestamp) -> Next {
    let tries = before.filter(|_| !has_progressed).map_or(0, |before| before.tries).saturating_add(1);
    let wrong = before.map_or(0, |before| before.wrong);
    let later = |wait: Duration| now.checked_add(wait).unwrap_or(Timestamp::MAX);
    let pause = |first: Duration| later(first.saturating_mul(1 << (tries - 1).min(16)).min(PAUSES.1));
    let again = |not_before, outlook, why: String| {
        let told = Some(Unreadable { why, outlook });
        let is_full = matches!(failure, Failure::Full(_));
        Next::Again(Trouble { tries, wrong, not_before, is_full, told })
    };
    let retried = |words: &str| format!("{words}; it is tried again by itself");
    match failure {
        Failure::Network(words) => again(pause(PAUSES.0), Outlook::Coming, retried(words)),
        Failure::NotThere(words) | Failure::Denied(words) => {
            again(pause(REFUSED), Outlook::Lasting, retried(words))
        }
        // Not earlier than after other trouble: our clock may differ from the other side's, or it may not say when.
        Failure::Limited { until, words } => {
            again((*until).max(pause(PAUSES.0)), Outlook::Coming, retried(words))
        }
        Failure::Full(words) | Failure::Cache(words) => again(later(FULL), Outlook::Coming, retried(words)),
        Failure::Busy => {
            let tries = before.map_or(0, |before| before.tries);
            let why = "another dispatch that shares the cache is fetching it".to_owned();
            let told = Some(Unreadable { why, outlook: Outlook::Coming });
            Next::Again(Trouble { tries, wrong, not_before: later(BUSY), is_full: false, told })
        }
        Failure::Wrong(words) if wrong + 1 >= MOST_WRONG => {
            Next::Spoiled(format!("{words}, and it was fetched twice"))
        }
        Failure::Wrong(_) => {
            // Not at once: whoever answers with something else may be putting things in order.
            Next::Again(Trouble {
                tries: 0,
                wrong: wrong + 1,
                not_before: later(WRONG),
                is_full: false,
                told: None,
            })
        }
    }
}
