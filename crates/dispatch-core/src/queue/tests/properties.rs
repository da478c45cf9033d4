//! What must hold after every sequence of events, however odd.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Head(u8),
    Get(u8),
    Begin(u8, u64),
    Progress(u8, u64),
    End(u8, u64, u8),
    StaleEnd(u8, u32, u64),
    Post(u8),
    Put(u8, u8, u8),
    PutNamed(u8, u8, u8, u8),
    Pass(u64),
    Tick,
    Restart,
    Unreadable(u8, bool),
    Sync(u8),
    PostTold(u8, u8),
    PutTold(u8, u8, u8),
    Dispute(u8),
    Cancel(u8),
    Retry(u8),
    Close,
    Again,
}

fn act() -> impl Strategy<Value = Act> {
    let host = 1..4_u8;
    prop_oneof![
        4 => host.clone().prop_map(Act::Head),
        4 => host.clone().prop_map(Act::Get),
        4 => (host.clone(), prop_oneof![4 => Just(0_u64), 1 => 0..1000_u64]).prop_map(|(h, s)| Act::Begin(h, s)),
        1 => (host.clone(), 0..1000_u64).prop_map(|(h, s)| Act::Progress(h, s)),
        5 => (host.clone(), 0..1000_u64, 0..6_u8).prop_map(|(h, s, e)| Act::End(h, s, e)),
        1 => (host.clone(), 0..5_u32, 0..1000_u64).prop_map(|(h, t, s)| Act::StaleEnd(h, t, s)),
        4 => host.clone().prop_map(Act::Post),
        4 => (host.clone(), 0..3_u8, 0..3_u8).prop_map(|(h, c, v)| Act::Put(h, c, v)),
        1 => (host.clone(), 0..3_u8).prop_map(|(h, u)| Act::PostTold(h, u)),
        1 => (host.clone(), 0..3_u8, any::<u8>()).prop_map(|(h, u, v)| Act::PutTold(h, u, v)),
        1 => host.clone().prop_map(Act::Dispute),
        1 => any::<u8>().prop_map(Act::Cancel),
        1 => any::<u8>().prop_map(Act::Retry),
        1 => Just(Act::Close),
        1 => Just(Act::Again),
        2 => (host, any::<u8>(), 0..3_u8, 0..3_u8).prop_map(|(h, r, c, v)| Act::PutNamed(h, r, c, v)),
        3 => prop_oneof![0..10_u64, 60..1000_u64, 80_000..100_000_u64].prop_map(Act::Pass),
        3 => Just(Act::Tick),
        1 => Just(Act::Restart),
        1 => (0..4_u8, any::<bool>()).prop_map(|(j, on)| Act::Unreadable(j, on)),
        1 => (0..4_u8).prop_map(Act::Sync),
    ]
}

fn verdict(number: u8) -> Verdict {
    [Verdict::Passed, Verdict::Unjudged, Verdict::Failed][usize::from(number % 3)]
}

fn play(queue: &mut Model, act: &Act) {
    match *act {
        Act::Head(host) => drop(queue.ask(host, Ask::Head)),
        Act::Get(host) => drop(queue.ask(host, Ask::Get)),
        Act::Begin(host, start) => {
            if let Some(run) = queue.active(host).map(|run| run.id) {
                queue.decide(|snapshot, context| snapshot.begin(run, 1000, start, context.now));
            }
        }
        Act::Progress(host, sent) => {
            if let Some((run, transfer)) = queue.active(host).map(|run| (run.id, run.transfers)) {
                let event = RunEvent::Progress { transfer, sent };
                queue.decide(|snapshot, context| snapshot.note(run, &event, context.now));
            }
        }
        Act::End(host, sent, end) => match end {
            4 => queue.end(host, 1000, End::Unsure),
            5 => queue.end(host, sent, End::Cut),
            0 | 3 => queue.end(host, 1000, End::Whole),
            1 => queue.end(host, sent, End::Broken),
            _ => queue.end(host, sent, End::Partial),
        },
        Act::StaleEnd(host, transfer, sent) => {
            let (sent, end) = if sent > 600 { (1000, End::Whole) } else { (sent, End::Broken) };
            if let Some(run) = queue.active(host).map(|run| run.id) {
                let event = RunEvent::Ended { transfer, sent, count: sent, end };
                queue.decide(|snapshot, context| snapshot.note(run, &event, context.now));
            }
        }
        Act::Post(host) => drop(queue.post(host)),
        Act::Put(host, content, said) => drop(queue.put(host, None, &content.to_string(), verdict(said))),
        Act::PutNamed(host, run, content, said) => {
            let runs = &queue.snapshot.runs;
            let named = runs.get(usize::from(run) % runs.len().max(1)).map(|run| run.id);
            queue.put(host, named, &content.to_string(), verdict(said));
        }
        Act::Pass(seconds) => queue.pass(seconds),
        Act::Tick => drop(queue.tick()),
        Act::Restart => drop(queue.decide(|snapshot, context| snapshot.recover(context.now))),
        Act::Unreadable(job, on) => {
            let jobs = &queue.snapshot.jobs;
            let workload = jobs[usize::from(job) % jobs.len()].workload;
            if on {
                let outlook = [Outlook::Passing, Outlook::Lasting, Outlook::Coming][usize::from(job % 3)];
                queue.unreadable.insert(workload, Unreadable { outlook, ..gone() });
            } else {
                queue.unreadable.remove(&workload);
            }
        }
        Act::Sync(left_out) => {
            let files: Vec<Found> = ["a", "b", "c"]
                .iter()
                .enumerate()
                .filter(|(index, _)| *index != usize::from(left_out))
                .map(|(_, name)| Found {
                    terms: Terms { reboots: if *name == "c" { 2 } else { 0 }, ..Terms::default() },
                    ..file(name, 1000)
                })
                .collect();
            queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
        }
        Act::PostTold(host, uuid) => {
            let told = Told { uuid: Some(uuid.to_string()), macs: Vec::new() };
            let _ = queue.decide(|snapshot, context| snapshot.start(&at(host), &told, context));
        }
        Act::PutTold(host, uuid, said) => {
            let told = Told { uuid: Some(uuid.to_string()), macs: Vec::new() };
            let (digest, verdict) = (format!("{uuid} {said}"), verdict(said));
            let report = NewReport { digest, title: "told".into(), json: "{}".into(), verdict };
            let _ =
                queue.decide(|snapshot, context| snapshot.report(&at(host), &told, None, report, context));
        }
        Act::Dispute(host) => {
            if let Some(run) = queue.active(host).map(|run| run.id) {
                queue.decide(|snapshot, context| snapshot.dispute(run, "two", context.now));
            }
        }
        Act::Cancel(job) => {
            let job = any_job(queue, job);
            let _ =
                queue.decide(|snapshot, context| snapshot.cancel(job, "by hand", None, None, context.now));
        }
        Act::Retry(job) => {
            let job = any_job(queue, job);
            let _ = queue.decide(|snapshot, context| snapshot.retry(job, None, None, context.now));
        }
        Act::Close => queue.decide(|snapshot, _| snapshot.close()),
        Act::Again => {
            let files = [
                file("a", 1000),
                file("b", 1000),
                Found { terms: Terms { reboots: 2, ..Terms::default() }, ..file("c", 1000) },
            ];
            queue
                .decide(|snapshot, context| snapshot.open(&files, &[Again::Failed, Again::Errored], context));
        }
    }
}

fn any_job(queue: &Model, number: u8) -> JobId {
    let jobs = &queue.snapshot.jobs;
    jobs[usize::from(number) % jobs.len()].id
}

/// A queue of three, one of which may reboot its host twice.
fn reboots(name: &str) -> Model {
    let mut queue = Model::new(&[]);
    let files: Vec<Found> = ["a", "b", "c"]
        .iter()
        .map(|known| Found {
            terms: Terms { reboots: if *known == name { 2 } else { 0 }, ..Terms::default() },
            ..file(known, 1000)
        })
        .collect();
    queue.decide(|snapshot, context| snapshot.open(&files, &[], context));
    queue
}

fn check(before: &Snapshot, queue: &Model) -> Result<(), TestCaseError> {
    let after = &queue.snapshot;
    let active: Vec<&Run> = after.runs.iter().filter(|run| !run.state.is_final()).collect();
    let hosts: BTreeSet<HostId> = active.iter().map(|run| run.host).collect();
    prop_assert_eq!(hosts.len(), active.len(), "two runs on one host");
    let jobs: BTreeSet<JobId> = active.iter().map(|run| run.job).collect();
    prop_assert_eq!(jobs.len(), active.len(), "two active runs of one job");
    prop_assert_eq!(queue.leases.len(), active.len(), "as many leases as runs");
    for run in &after.runs {
        prop_assert_eq!(run.deadline.is_none(), run.state.is_final(), "every non-final state has a deadline");
        prop_assert_eq!(
            run.reports as usize,
            after.reports.iter().filter(|report| report.run == run.id).count(),
            "no report is lost or counted twice"
        );
        if run.verdict == Some(Verdict::Passed) {
            prop_assert!(run.reports > 0, "passed without a report");
            let worst = queue
                .stored
                .iter()
                .filter(|report| report.run == run.id)
                .map(|report| report.content.verdict)
                .max();
            prop_assert_eq!(worst, Some(Verdict::Passed));
        }
        match run.state {
            RunState::Finished => prop_assert!(run.reports > 0 && run.verdict.is_some()),
            RunState::Failed => prop_assert!(run.verdict >= Some(Verdict::Errored) && run.reason.is_some()),
            RunState::Assigned | RunState::Downloading | RunState::Booting => {
                prop_assert_eq!(run.verdict, None);
            }
            RunState::Reported | RunState::Cancelled => {}
        }
    }
    for old in &before.runs {
        prop_assert!(queue.run(old.id).verdict >= old.verdict, "a verdict only gets worse");
    }
    for old in before.runs.iter().filter(|run| run.state.is_final()) {
        let new = queue.run(old.id);
        prop_assert_eq!(new.state, old.state, "a final state is final");
        let same = Run { verdict: old.verdict, reports: old.reports, ..new.clone() };
        prop_assert_eq!(&same, old, "a final run takes nothing but a late report");
    }
    for job in &after.jobs {
        let of_job = after.runs.iter().filter(|run| run.job == job.id);
        let runs: Vec<&Run> = of_job.filter(|run| run.attempt > job.forgiven).collect();
        let has_active = runs.iter().any(|run| !run.state.is_final());
        prop_assert_eq!(job.state == JobState::Active, has_active);
        prop_assert_eq!(job.state == JobState::Done, job.verdict.is_some());
        if job.verdict == Some(Verdict::Passed) {
            prop_assert!(
                runs.iter()
                    .any(|run| run.state == RunState::Finished && run.verdict == Some(Verdict::Passed))
            );
            prop_assert!(runs.iter().all(|run| run.verdict != Some(Verdict::Failed)));
        }
        let errored = runs.iter().filter(|run| run.state == RunState::Failed).count();
        prop_assert!(errored <= 1 + after.policy.retries as usize, "more attempts than allowed");
        prop_assert!(
            after.round.as_ref().is_some_and(|round| job.round <= round.number),
            "a job of no round"
        );
        if let Some(old) = before.jobs.iter().find(|old| old.id == job.id && old.state == JobState::Done)
            && old.forgiven == job.forgiven
        {
            prop_assert_eq!(job.state, old.state);
            prop_assert!(job.verdict >= old.verdict, "a job's verdict only gets worse");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_events_breaks_the_rules(acts in proptest::collection::vec(act(), 1..80)) {
        let mut queue = reboots("c");
        for act in &acts {
            let before = queue.snapshot.clone();
            play(&mut queue, act);
            check(&before, &queue)?;
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever happened, a queue whose hosts go on asking empties, and every job gets a verdict.
    #[test]
    fn every_queue_comes_to_an_end(acts in proptest::collection::vec(act(), 0..40)) {
        let mut queue = Model::new(&["a", "b", "c"]);
        for act in &acts {
            play(&mut queue, act);
        }
        queue.unreadable.clear();
        for _ in 0..100 {
            queue.pass(100_000);
            queue.tick();
            // One that nobody has doubts about.
            queue.get(9, 1000);
            queue.post(9);
        }
        queue.pass(100_000);
        queue.tick();
        for job in &queue.snapshot.jobs {
            prop_assert!(job.state.is_final(), "{job:?}");
        }
    }
}
