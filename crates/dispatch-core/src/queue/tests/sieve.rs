//! However much stands before it that cannot start, a job that can is found in a long queue.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::service::{group, metal};
use super::*;
use crate::workload::SourceId;

/// Why the host cannot run some jobs that follow one another, or can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Runs,
    /// Its image cannot be opened, which shows when it is tried.
    Broken,
    /// The same, and all such are found out with the first.
    Away,
    /// It is not to start yet.
    Later,
    /// It was to start at a time that has passed.
    Due,
    /// It has errored on this host.
    Tried,
    /// The same, and its image cannot be opened.
    TriedBroken,
    /// The same, of what was due.
    DueBroken,
    Paused,
    ForOthers,
}

impl Why {
    fn can_open(self) -> bool {
        matches!(self, Self::Runs | Self::Due | Self::Tried)
    }

    fn is_open(self) -> bool {
        !matches!(self, Self::Later | Self::Paused | Self::ForOthers)
    }

    fn is_tried(self) -> bool {
        matches!(self, Self::Tried | Self::TriedBroken)
    }
}

fn why() -> impl Strategy<Value = Why> {
    proptest::sample::select(vec![
        Why::Runs,
        Why::Broken,
        Why::Away,
        Why::Later,
        Why::Due,
        Why::Tried,
        Why::TriedBroken,
        Why::DueBroken,
        Why::Paused,
        Why::ForOthers,
    ])
}

const NOW: i64 = 1_700_000_000;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).expect("a time")
}

fn number(of: usize) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&(of as u64).to_be_bytes());
    bytes
}

/// The queue, in its order: stretches of jobs, each with its own image or all with one.
fn queue(stretches: &[(Why, usize, bool)]) -> Vec<(Light, Why)> {
    let mut jobs = Vec::new();
    for (stretch, (why, count, is_one_image)) in stretches.iter().enumerate() {
        for _ in 0..*count {
            let at = jobs.len();
            let image = if *is_one_image { 1_000_000 + stretch } else { at };
            let source = if *why == Why::Away { "away" } else { "g" };
            let light = Light {
                id: JobId::new(time(0), number(at)),
                workload: WorkloadId::new(time(0), number(image)),
                required_labels: if *why == Why::ForOthers { vec!["other".into()] } else { Vec::new() },
                template: None,
                is_paused: *why == Why::Paused,
                not_before: match why {
                    Why::Later => Some(time(1 + i64::try_from(at).expect("few"))),
                    Why::Due | Why::DueBroken => Some(time(-10)),
                    _ => None,
                },
                is_tried: why.is_tried(),
                workload_labels: Vec::new(),
                arch: None,
                source: Some(SourceId::new(source)),
            };
            jobs.push((light, *why));
        }
    }
    jobs
}

/// Looks for work as an engine does. Returns what is found, how often the queue was looked through, and the most jobs that
/// were loaded at once.
fn find(jobs: &[(Light, Why)]) -> (Option<JobId>, usize, usize) {
    let mut settings = metal("g", &[]);
    settings.sources.push(SourceId::new("away"));
    let queue = Model::service(vec![settings]);
    let host = Host::new(HostId::new(time(0), [1; 10]), [192, 0, 2, 1].into(), time(0));
    let mut absent = Absent::default();
    let mut most = 0;
    for round in 1..10_000 {
        let mut sieve = Sieve::new(&queue.snapshot, &host, &group("g"), &absent, time(0)).expect("a group");
        for (light, _) in jobs {
            if sieve.is_enough() {
                break;
            }
            sieve.put(light);
        }
        let kept: BTreeSet<JobId> = sieve.kept().into_iter().collect();
        most = most.max(kept.len());
        let loaded = jobs.iter().filter(|(light, _)| kept.contains(&light.id));
        let may_run = |(light, why): &&(Light, Why)| {
            why.is_open() && absent.outlook(light.workload, light.source.as_ref()).is_none()
        };
        let candidates: Vec<&(Light, Why)> = loaded.filter(may_run).collect();
        let best = candidates.iter().min_by_key(|(light, why)| (why.is_tried(), light.id));
        let Some((light, why)) = best else { return (None, round, most) };
        if why.can_open() {
            return (Some(light.id), round, most);
        }
        let gone = || Unreadable { why: "gone".into(), outlook: Outlook::Lasting };
        if *why == Why::Away {
            absent.sources.insert(SourceId::new("away"), gone());
            continue;
        }
        // All that was loaded and is of this source is looked at at once.
        let broken = candidates.iter().filter(|(_, why)| !why.can_open() && *why != Why::Away);
        absent.workloads.extend(broken.map(|(light, _)| (light.workload, gone())));
    }
    panic!("it never ends")
}

fn expected(jobs: &[(Light, Why)]) -> Option<JobId> {
    let can = jobs.iter().filter(|(_, why)| why.is_open() && why.can_open());
    can.min_by_key(|(light, why)| (why.is_tried(), light.id)).map(|(light, _)| light.id)
}

#[test]
fn a_job_is_found_behind_ten_thousand_of_each_kind_that_cannot_start() {
    for why in [
        Why::Broken,
        Why::Away,
        Why::Later,
        Why::Tried,
        Why::TriedBroken,
        Why::DueBroken,
        Why::Paused,
        Why::ForOthers,
    ] {
        for is_one_image in [false, true] {
            for last in [Why::Runs, Why::Due] {
                let jobs = queue(&[(why, 10_000, is_one_image), (last, 1, false)]);
                let (found, rounds, most) = find(&jobs);
                assert_eq!(found, jobs.last().map(|(light, _)| light.id), "{why:?} {last:?}");
                assert!(rounds <= 12, "{why:?}: the queue was looked through {rounds} times");
                assert!(most <= 15_000, "{why:?}: {most} jobs were loaded at once");
            }
        }
    }
}

#[test]
fn of_what_is_not_ready_only_some_is_loaded() {
    let jobs = queue(&[(Why::Away, 10_000, false), (Why::Runs, 1, false)]);
    let (_, rounds, _) = find(&jobs);
    assert_eq!(rounds, 2, "the whole source is left out at once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_in_a_long_queue_is_what_would_be_found_in_all_of_it(
        stretches in proptest::collection::vec((why(), 1..900_usize, any::<bool>()), 1..7)
    ) {
        let jobs = queue(&stretches);
        prop_assert_eq!(find(&jobs).0, expected(&jobs));
    }
}
