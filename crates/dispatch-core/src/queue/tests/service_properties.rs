//! What must hold in a service after whatever people, hosts and configurations do.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::service::{group, metal, named};
use super::*;
use crate::group::{Group, Spread};
use crate::workload::SourceId;

const HOSTS: [&str; 3] = ["r1", "r2", "r3"];

#[derive(Clone, Debug)]
enum Act {
    Ask(usize),
    Finish(usize),
    Dispute(usize),
    Pass(u64),
    Offer(usize, u8, bool),
    Switch(usize, u8),
    Configure(u8),
    Host(usize, u8),
    Add(usize, u8, Option<u8>),
    Cancel(usize),
    Retry(usize),
    Delete(usize),
    Pause(usize, bool),
    Requeue(usize, Option<u32>),
    Edit(usize, u8),
    Move(usize, u8, usize),
    Reorder(usize, Vec<usize>),
    SpreadOut(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (host, job, of) = (0..3_usize, 0..12_usize, 0..2_usize);
    prop_oneof![
        6 => host.clone().prop_map(Act::Ask),
        3 => host.clone().prop_map(Act::Finish),
        2 => host.clone().prop_map(Act::Dispute),
        2 => prop_oneof![1..100_u64, 1000..5000_u64].prop_map(Act::Pass),
        3 => (of.clone(), any::<u8>(), any::<bool>()).prop_map(|(of, files, each)| Act::Offer(of, files, each)),
        1 => (of.clone(), 0..3_u8).prop_map(|(of, how)| Act::Switch(of, how)),
        1 => (0..4_u8).prop_map(Act::Configure),
        1 => (host, any::<u8>()).prop_map(|(host, how)| Act::Host(host, how)),
        3 => (of.clone(), 0..4_u8, proptest::option::of(0..2_u8)).prop_map(|(g, w, k)| Act::Add(g, w, k)),
        1 => job.clone().prop_map(Act::Cancel),
        1 => job.clone().prop_map(Act::Retry),
        1 => job.clone().prop_map(Act::Delete),
        1 => (job.clone(), any::<bool>()).prop_map(|(job, on)| Act::Pause(job, on)),
        2 => (job.clone(), proptest::option::of(0..3_u32)).prop_map(|(job, limit)| Act::Requeue(job, limit)),
        1 => (job.clone(), 0..8_u8).prop_map(|(job, how)| Act::Edit(job, how)),
        2 => (job.clone(), 0..4_u8, job.clone()).prop_map(|(job, place, other)| Act::Move(job, place, other)),
        1 => (of.clone(), proptest::collection::vec(job, 0..5)).prop_map(|(of, jobs)| Act::Reorder(of, jobs)),
        1 => of.prop_map(Act::SpreadOut),
    ]
}

fn groups(how: u8) -> Vec<Group> {
    let first = Group { max_concurrent: Some(1), retries: Some(1), ..metal("g0", &[]) };
    let second = metal("g1", &["x"]);
    match how {
        0 => vec![first],
        1 => vec![second],
        _ => vec![first, second],
    }
}

fn of(number: usize) -> &'static str {
    ["g0", "g1"][number % 2]
}

fn play(queue: &mut Model, act: &Act) {
    let job = |queue: &Model, number: usize| {
        let jobs = &queue.snapshot.jobs;
        jobs.get(number % jobs.len().max(1)).map(|job| job.id)
    };
    match act {
        Act::Ask(host) => drop(queue.offer_to(HOSTS[*host])),
        Act::Finish(host) if runs(queue, *host) => queue.finish(HOSTS[*host]),
        Act::Dispute(host) if runs(queue, *host) => {
            let host = queue.host(HOSTS[*host]).id;
            let run = queue.snapshot.active_run(host).expect("a run").id;
            let event = RunEvent::Disputed { why: "two".into() };
            queue.decide(|snapshot, context| snapshot.note(run, &event, context.now));
        }
        Act::Finish(_) | Act::Dispute(_) => {}
        Act::Pass(seconds) => {
            queue.pass(*seconds);
            queue.tick();
        }
        Act::Offer(number, files, is_each) => {
            let files: Vec<Found> = (0..3_u8)
                .filter(|number| files & (1 << number) != 0)
                .map(|number| {
                    file(&format!("w{number}"), if files & (8 << number) == 0 { 1000 } else { 2000 })
                })
                .collect();
            let spread = if *is_each { Spread::EachHost } else { Spread::Any };
            let id = of(*number);
            let supply =
                Supply { source: SourceId::new(id), group: group(id), is_queued: true, spread, priority: 0 };
            queue.supply(&supply, &files);
        }
        Act::Switch(number, how) => {
            let how = [Switch::Open, Switch::Paused, Switch::Draining][usize::from(*how)];
            let _ = queue.switch(of(*number), how);
        }
        Act::Configure(how) => queue.configure(groups(*how)),
        Act::Host(host, how) => {
            if queue.snapshot.hosts.iter().any(|known| known.name == named(HOSTS[*host]).name) {
                let labels = (how & 1 == 0).then(|| vec!["X".to_owned()]);
                let edit = HostEdit { labels, is_paused: Some(how & 6 == 6), ..HostEdit::default() };
                queue.edit_host(HOSTS[*host], &edit).expect("a host");
            }
        }
        Act::Add(number, workload, key) => {
            let known = queue.snapshot.workloads.get(usize::from(*workload)).map(|known| known.id);
            if let Some(id) = known {
                let dedupe_key = key.map(|key| key.to_string());
                let _ = queue.add(of(*number), NewJob { dedupe_key, ..NewJob::new(Wanted::Workload(id)) });
            }
        }
        Act::Reorder(number, jobs) => {
            let list: Vec<JobId> = jobs.iter().filter_map(|number| job(queue, *number)).collect();
            let id = group(of(*number));
            let _ = queue.decide(|snapshot, context| {
                snapshot.reorder(&id, &list, &BTreeMap::new(), None, context.now)
            });
        }
        Act::SpreadOut(number) => {
            let id = group(of(*number));
            queue.decide(|snapshot, _| snapshot.spread_out(&id));
        }
        Act::Cancel(number)
        | Act::Retry(number)
        | Act::Delete(number)
        | Act::Pause(number, _)
        | Act::Requeue(number, _)
        | Act::Edit(number, _)
        | Act::Move(number, ..) => {
            if let Some(id) = job(queue, *number) {
                about(queue, act, id, |queue, number| job(queue, number).expect("there is one"));
            }
        }
    }
}

/// What people ask for one job.
fn about(queue: &mut Model, act: &Act, id: JobId, other: impl Fn(&Model, usize) -> JobId) {
    let place = |queue: &Model, place: u8, number: usize| match place {
        0 => Place::First,
        1 => Place::Last,
        2 => Place::Before(other(queue, number)),
        _ => Place::After(other(queue, number)),
    };
    let _ = match act {
        Act::Cancel(_) => queue.stop(id),
        Act::Retry(_) => queue.again(id),
        Act::Delete(_) => queue.decide(|snapshot, context| snapshot.delete(id, None, None, context.now)),
        Act::Pause(_, on) => {
            queue.decide(|snapshot, context| snapshot.pause(id, *on, None, None, context.now))
        }
        Act::Requeue(_, limit) => queue.requeues(id, true, *limit),
        Act::Edit(_, how) => {
            let edit = Edit {
                priority: Some(i64::from(how & 1)),
                dedupe_key: (how & 2 != 0).then(|| Some("0".to_owned())),
                required_labels: (how & 4 != 0).then(|| vec!["x".to_owned()]),
                ..Edit::default()
            };
            queue.decide(|snapshot, context| snapshot.edit(id, &edit, None, None, context))
        }
        Act::Move(_, to, number) => {
            let place = place(queue, *to, *number);
            queue.decide(|snapshot, context| snapshot.move_job(id, place, None, None, context.now))
        }
        _ => Ok(()),
    };
}

fn runs(queue: &Model, host: usize) -> bool {
    let name = named(HOSTS[host]).name;
    let host = queue.snapshot.hosts.iter().find(|known| known.name == name);
    host.is_some_and(|host| queue.snapshot.active_run(host.id).is_some())
}

fn check(before: &Snapshot, queue: &Model, act: &Act) -> Result<(), TestCaseError> {
    let after = &queue.snapshot;
    let active: Vec<&Run> = after.runs.iter().filter(|run| !run.state.is_final()).collect();
    prop_assert_eq!(active.iter().map(|run| run.host).collect::<BTreeSet<_>>().len(), active.len());
    prop_assert_eq!(active.iter().map(|run| run.job).collect::<BTreeSet<_>>().len(), active.len());
    for run in &after.runs {
        let is_complete = run.state == RunState::Finished && run.reports > 0;
        prop_assert!(run.verdict != Some(Verdict::Passed) || is_complete || !run.state.is_final());
    }
    let mut keys = BTreeSet::new();
    for job in after.jobs.iter().filter(|job| !job.state.is_final()) {
        let key = job.dedupe_key.as_ref().map(|key| (&job.group, key));
        prop_assert!(key.is_none_or(|key| keys.insert(key)), "two open jobs of one key");
    }
    for old in &before.jobs {
        let new = after.jobs.iter().find(|job| job.id == old.id);
        let Some(new) = new else { return Err(TestCaseError::fail("a job is lost")) };
        prop_assert_eq!(
            new.version > old.version,
            new != old,
            "each change is a version, and nothing else is"
        );
        prop_assert!(new.version >= old.version);
        let comes_back = matches!(act, Act::Retry(_)) || old.is_withdrawn;
        prop_assert!(!old.state.is_final() || new.state.is_final() || comes_back, "{old:?} {new:?}");
    }
    let was_known = |job: &&Job| before.jobs.iter().any(|old| old.id == job.id);
    let begun = after.jobs.iter().filter(|job| {
        let old = before.jobs.iter().find(|old| old.id == job.id);
        job.state == JobState::Active && old.is_none_or(|old| old.state != JobState::Active)
    });
    for job in begun {
        let settings = after.policy.group(&job.group);
        prop_assert!(settings.is_some(), "a group that is gone starts nothing");
        let is_paused = after.groups.iter().any(|state| state.id == job.group && state.is_paused);
        prop_assert!(!is_paused && !job.is_paused && job.not_before.is_none_or(|time| time <= queue.now));
        let going_on = |other: &&Job| other.group == job.group && other.state == JobState::Active;
        let most = settings.and_then(|group| group.max_concurrent).unwrap_or(u32::MAX);
        prop_assert!(after.jobs.iter().filter(going_on).count() <= most as usize);
    }
    for job in after.jobs.iter().filter(|job| !was_known(job)) {
        prop_assert!(job.requeue_limit.is_none_or(|limit| job.requeue_count <= limit), "it comes too often");
        let is_draining = after.groups.iter().any(|state| state.id == job.group && state.is_draining);
        prop_assert!(!is_draining || matches!(act, Act::Switch(..)), "a drained group takes nothing");
    }
    Ok(())
}

/// The sentences say what `ask` does.
fn check_plan(queue: &Model) -> Result<(), TestCaseError> {
    let said = queue.plan();
    let waiting = queue.snapshot.jobs.iter().filter(|job| job.state == JobState::Queued);
    prop_assert_eq!(said.jobs.len(), waiting.count());
    for name in HOSTS {
        let who = named(name);
        let Some(host) = queue.snapshot.hosts.iter().find(|host| host.name == who.name) else { continue };
        if queue.snapshot.active_run(host.id).is_some() {
            prop_assert!(said.hosts[&host.id].starts_with("is running "));
            continue;
        }
        let mut random = || [3; 10];
        let mut context = Context { now: queue.now, random: &mut random };
        let outcome = queue.snapshot.clone().ask(&who, Ask::Head, &BTreeMap::new(), &mut context);
        let given = outcome.changes.iter().find_map(|change| match change {
            Change::Run(run) if run.host == host.id => Some(run.job),
            _ => None,
        });
        let (of_host, called) = (&said.hosts[&host.id], host.label());
        prop_assert_eq!(
            given.is_some(),
            of_host.starts_with("can start "),
            "{} {:?}",
            of_host,
            outcome.answer
        );
        for (job, sentence) in &said.jobs {
            let is_next = sentence.starts_with(&format!("can start: {called} gets it"));
            prop_assert!(!is_next || given == Some(*job), "{}", sentence);
            prop_assert!(given != Some(*job) || sentence.starts_with("can start"), "{}", sentence);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_of_a_service_breaks_no_rule(acts in proptest::collection::vec(act(), 1..70)) {
        let mut queue = Model::service(groups(2));
        queue.offer_names("g0", &["w0", "w1"]);
        for act in &acts {
            let before = queue.snapshot.clone();
            play(&mut queue, act);
            check(&before, &queue, act)?;
            check_plan(&queue)?;
        }
    }
}
