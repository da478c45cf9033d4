//! What is still to be done in the outside world, and why it is not done yet: what waits for the same reason is one.

use std::collections::HashMap;
use std::time::Duration;

use dispatch_core::{Effect, RunId, text};
use dispatch_store::{Overview, WaitingEffect};
use jiff::Timestamp;
use serde::Serialize;

use crate::doing::one_unit;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Reports that are to be filed as issues.
    Issue,
    /// Reports that are to be written into files.
    ReportFile,
    /// Further effects, of which no more is known than that they are there.
    Other,
}

/// Effects that wait for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// What waits.
    pub what: What,
    /// How many of them.
    pub count: u64,
    /// Why they could not be done the last time; nothing of what has not been tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How often the one was tried that was tried most.
    pub attempts: u32,
    /// In how long the first of them is tried next; zero if that is due. In seconds.
    #[serde(rename = "next_in", serialize_with = "super::seconds")]
    pub next: Duration,
    /// How long the oldest has waited, in seconds.
    #[serde(rename = "seconds", serialize_with = "super::seconds")]
    pub age: Duration,
}

impl Waits {
    /// All that waits: what was tried in vain first, of that the most numerous.
    pub(super) fn of(overview: &Overview, now: Timestamp) -> Vec<Self> {
        // The issues of one run are filed in the order of its reports: those behind one that waits, wait for that.
        let mut held: HashMap<RunId, &str> = HashMap::new();
        for waiting in &overview.outbox {
            if let (Effect::FileIssue { run, .. }, Some(why)) = (&waiting.effect, &waiting.error) {
                held.entry(*run).or_insert(why);
            }
        }
        let mut all: Vec<Self> = Vec::new();
        for effect in &overview.outbox {
            let (one, is_behind) = Self::one(effect, &held, now);
            match all.iter_mut().find(|known| known.what == one.what && known.why == one.why) {
                Some(known) => known.join(&one, is_behind),
                None => all.push(one),
            }
        }
        all.sort_by_key(|waits| (waits.why.is_none(), std::cmp::Reverse(waits.count)));
        let rest = overview.effects_due.saturating_sub(overview.outbox.len() as u64);
        if rest > 0 {
            let (what, why, next, age) = (What::Other, None, Duration::ZERO, Duration::ZERO);
            all.push(Self { what, count: rest, why, attempts: 0, next, age });
        }
        all
    }

    /// One effect, and whether it has not been tried because of one before it.
    fn one(effect: &WaitingEffect, held: &HashMap<RunId, &str>, now: Timestamp) -> (Self, bool) {
        let (what, before) = match &effect.effect {
            Effect::WriteReport { .. } => (What::ReportFile, None),
            Effect::FileIssue { run, .. } => (What::Issue, held.get(run)),
        };
        let why = effect.error.clone().or_else(|| before.map(ToString::to_string));
        let next = until(effect.due, now);
        let age = Duration::try_from(now.duration_since(effect.at)).unwrap_or_default();
        let is_behind = effect.error.is_none() && why.is_some();
        (Self { what, count: 1, why, attempts: effect.attempts, next, age }, is_behind)
    }

    fn join(&mut self, other: &Self, is_behind: bool) {
        self.count += other.count;
        self.attempts = self.attempts.max(other.attempts);
        self.age = self.age.max(other.age);
        if !is_behind {
            self.next = self.next.min(other.next);
        }
    }

    /// `10 issues`.
    #[must_use]
    pub fn what(&self) -> String {
        match self.what {
            What::Issue => text::count(self.count, "issue"),
            What::ReportFile => text::count(self.count, "report file"),
            What::Other => format!("{} more", self.count),
        }
    }

    /// `next try in 40 s`, if there is anything to say of it.
    #[must_use]
    pub fn next(&self) -> Option<String> {
        next(self.next, self.why.is_some())
    }

    /// `10 issues wait: GitHub does not answer; next try in 40 s`.
    #[must_use]
    pub fn words(&self) -> String {
        let is_one = self.count == 1;
        let verb = if is_one { "waits" } else { "wait" };
        let why = match &self.why {
            Some(why) => format!(": {}", clause(why)),
            None if self.what == What::Other => String::new(),
            None if is_one => " for its turn".to_owned(),
            None => " for their turn".to_owned(),
        };
        let next = self.next().map(|next| format!("; {next}")).unwrap_or_default();
        format!("{} {verb}{why}{next}", self.what())
    }
}

/// What a single effect waits for: `waits to be filed: GitHub does not answer; next try in 40 s`.
#[must_use]
pub fn of_one(effect: &WaitingEffect, now: Timestamp) -> String {
    let to_be = match effect.effect {
        Effect::FileIssue { .. } => "filed",
        Effect::WriteReport { .. } => "written",
    };
    let why = effect.error.as_deref().map(|why| format!(": {}", clause(why))).unwrap_or_default();
    let next = next(until(effect.due, now), effect.error.is_some());
    format!("waits to be {to_be}{why}{}", next.map(|next| format!("; {next}")).unwrap_or_default())
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or_default()
}

fn next(until: Duration, is_again: bool) -> Option<String> {
    match (until.as_secs(), is_again) {
        // Whether anybody is at it is not known: there may be no session.
        (0, true) => Some("due for the next try".to_owned()),
        (0, false) => None,
        (_, true) => Some(format!("next try in {}", one_unit(until))),
        (_, false) => Some(format!("first try in {}", one_unit(until))),
    }
}

/// A sentence as a part of another.
fn clause(sentence: &str) -> &str {
    sentence.trim_end().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use dispatch_core::ReportId;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// The issue of a report of this run.
    fn issue(report: u8, run: u8, error: Option<&str>, due: i64) -> WaitingEffect {
        let effect = Effect::FileIssue {
            report: ReportId::new(at(0), [report; 10]),
            run: RunId::new(at(0), [run; 10]),
            repository: "o/r".to_owned(),
            api: None,
        };
        waiting(effect, error, due)
    }

    fn waiting(effect: Effect, error: Option<&str>, due: i64) -> WaitingEffect {
        WaitingEffect {
            key: effect.idempotency_key(),
            effect,
            at: at(0),
            due: at(due),
            attempts: if error.is_some() { 3 } else { 0 },
            error: error.map(str::to_owned),
            progress: None,
        }
    }

    fn words(outbox: Vec<WaitingEffect>, due: u64) -> Vec<String> {
        let overview = Overview { outbox, effects_due: due, ..Overview::default() };
        Waits::of(&overview, at(100)).iter().map(Waits::words).collect()
    }

    #[test]
    fn what_waits_for_the_same_reason_is_one_line_with_the_next_try() {
        let silent = Some("GitHub does not answer.");
        let all = (1..=10).map(|n| issue(n, n, silent, 200 - i64::from(n) * 6)).collect();
        assert_eq!(words(all, 10), ["10 issues wait: GitHub does not answer; next try in 40 s"]);
        assert_eq!(
            words(vec![issue(1, 1, silent, 99)], 1),
            ["1 issue waits: GitHub does not answer; due for the next try"]
        );
    }

    #[test]
    fn what_is_behind_another_report_of_its_run_waits_for_that() {
        let all = vec![
            issue(1, 1, Some("the milestone cannot be read"), 140),
            issue(2, 1, None, 0),
            issue(3, 2, None, 0),
        ];
        let expected =
            ["2 issues wait: the milestone cannot be read; next try in 40 s", "1 issue waits for its turn"];
        assert_eq!(words(all, 3), expected);
    }

    #[test]
    fn reasons_and_kinds_are_told_apart_what_was_tried_first() {
        let file =
            waiting(Effect::WriteReport { report: ReportId::new(at(0), [9; 10]) }, Some("disk full"), 104);
        let all = vec![
            issue(1, 1, None, 0),
            file,
            issue(2, 2, Some("limit"), 700),
            issue(3, 3, Some("limit"), 800),
        ];
        let expected = [
            "2 issues wait: limit; next try in 10 min",
            "1 report file waits: disk full; next try in 4 s",
            "1 issue waits for its turn",
            "396 more wait",
        ];
        assert_eq!(words(all, 400), expected);
    }

    #[test]
    fn one_says_what_it_waits_for() {
        let one = |error, due| of_one(&issue(1, 1, error, due), at(100));
        assert_eq!(
            one(Some("GitHub does not answer"), 140),
            "waits to be filed: GitHub does not answer; next try in 40 s"
        );
        assert_eq!(one(None, 0), "waits to be filed");
    }
}
