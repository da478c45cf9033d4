//! The whole table, as a document that is reviewed: `docs/run-states.md`.

use std::fmt::Write as _;

use super::*;

fn run(state: RunState, transfer: Transfer) -> Run {
    let at = Timestamp::UNIX_EPOCH;
    let has_booted = matches!(state, RunState::Booting | RunState::Reported);
    Run {
        id: RunId::new(at, [1; 10]),
        job: JobId::new(at, [2; 10]),
        host: HostId::new(at, [3; 10]),
        workload: WorkloadId::new(at, [4; 10]),
        epoch: 1,
        attempt: 1,
        state,
        verdict: (state == RunState::Reported).then_some(Verdict::Passed),
        reason: None,
        created: at,
        since: at,
        deadline: Some(at),
        size: 1000,
        transfer,
        transfers: u32::from(transfer != Transfer::None),
        sent: if transfer == Transfer::Whole { 1000 } else { 0 },
        most_sent: if transfer == Transfer::None { 0 } else { 1000 },
        broken: 0,
        wholes: u32::from(transfer == Transfer::Whole),
        reboots: 0,
        reboots_allowed: 0,
        booted_at: has_booted.then_some(at),
        is_disputed: false,
        reports: u32::from(state == RunState::Reported),
    }
}

fn ended(end: End, sent: u64) -> RunEvent {
    RunEvent::Ended { transfer: 1, sent, count: sent, end }
}

fn rows() -> Vec<(&'static str, RunEvent)> {
    vec![
        ("`HEAD` or `GET`", RunEvent::Asked),
        ("first byte goes out", RunEvent::Began { size: 1000, start: 0 }),
        ("bytes go out", RunEvent::Progress { transfer: 1, sent: 10 }),
        ("last byte taken", ended(End::Whole, 1000)),
        ("range taken", ended(End::Partial, 500)),
        ("download breaks off", ended(End::Broken, 500)),
        ("image unreadable", RunEvent::Unreadable { why: "gone".into() }),
        ("`POST`", RunEvent::Started),
        ("`PUT`, passed", RunEvent::Reported { verdict: Verdict::Passed }),
        ("`PUT`, failed", RunEvent::Reported { verdict: Verdict::Failed }),
        ("deadline passes", RunEvent::Expired),
        ("we were down", RunEvent::Recovered),
        ("earlier attempt reports", RunEvent::Superseded),
        ("a person ends it", RunEvent::Cancelled { why: "by hand".into() }),
        ("which host is unclear", RunEvent::Disputed { why: "two hosts".into() }),
    ]
}

fn table() -> String {
    let columns = [
        ("📌 assigned", run(RunState::Assigned, Transfer::None)),
        ("📥 sending", run(RunState::Downloading, Transfer::Sending)),
        ("📥 sent whole", run(RunState::Downloading, Transfer::Whole)),
        ("📥 unsure", run(RunState::Downloading, Transfer::Unsure)),
        ("📥 we were down", run(RunState::Downloading, Transfer::Lost)),
        ("⚡ booting", run(RunState::Booting, Transfer::Whole)),
        ("📝 reported", run(RunState::Reported, Transfer::Whole)),
    ];
    let mut text = String::from("| event |");
    for (name, _) in &columns {
        write!(text, " {name} |").expect("a string");
    }
    writeln!(text, "\n|---|{}", "---|".repeat(columns.len())).expect("a string");
    for (name, event) in rows() {
        write!(text, "| {name} |").expect("a string");
        for (_, run) in &columns {
            let cell = match decide(run, &event, &Deadlines::default(), Timestamp::UNIX_EPOCH) {
                Err(_) => "–".to_owned(),
                Ok(Step { run: after, .. }) if after == *run => "same".to_owned(),
                Ok(Step { run: after, .. }) => {
                    let verdict = after.verdict.filter(|_| after.verdict != run.verdict);
                    let verdict = verdict.map(|verdict| format!(", {verdict}")).unwrap_or_default();
                    format!("{} {}{verdict}", after.state.sign(), after.state)
                }
            };
            write!(text, " {cell} |").expect("a string");
        }
        text.push('\n');
    }
    text
}

/// To accept a change of the table: `DISPATCH_ACCEPT=1 cargo nextest run -p dispatch-core`.
#[test]
fn the_document_shows_the_table_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run-states.md");
    let document = std::fs::read_to_string(path).expect("docs/run-states.md");
    let (head, rest) = document.split_once("<!-- table -->\n").expect("a mark before the table");
    let (shown, tail) = rest.split_once("<!-- end -->").expect("a mark after the table");
    if std::env::var_os("DISPATCH_ACCEPT").is_some() {
        let text = format!("{head}<!-- table -->\n{}<!-- end -->{tail}", table());
        std::fs::write(path, text).expect("docs/run-states.md");
    } else {
        assert_eq!(shown, table(), "docs/run-states.md is not what the code does");
    }
}

#[test]
fn a_final_run_takes_nothing_but_a_report() {
    for state in [RunState::Finished, RunState::Failed, RunState::Cancelled] {
        let mut run = run(state, Transfer::Whole);
        run.deadline = None;
        for (name, event) in rows() {
            let taken = decide(&run, &event, &Deadlines::default(), Timestamp::UNIX_EPOCH).is_ok();
            assert_eq!(taken, matches!(event, RunEvent::Reported { .. }), "{state}: {name}");
        }
    }
}

#[test]
fn a_resumed_download_goes_on_where_the_range_says() {
    let deadlines = Deadlines::default();
    let now = Timestamp::UNIX_EPOCH;
    let step = |run: &Run, event: &RunEvent| decide(run, event, &deadlines, now).expect("taken").run;
    let mut run = step(&run(RunState::Assigned, Transfer::None), &RunEvent::Began { size: 1000, start: 0 });
    run = step(&run, &ended(End::Broken, 400));
    assert_eq!((run.state, run.broken, run.is_reached()), (RunState::Assigned, 1, false));
    run = step(&run, &RunEvent::Asked);
    run = step(&run, &RunEvent::Began { size: 1000, start: 400 });
    run = step(&run, &RunEvent::Ended { transfer: 2, sent: 1000, count: 600, end: End::Whole });
    assert_eq!((run.wholes, run.is_reached()), (1, true));
}

#[test]
fn a_range_that_leaves_a_gap_makes_nothing_whole() {
    let deadlines = Deadlines::default();
    let now = Timestamp::UNIX_EPOCH;
    let step = |run: &Run, event: &RunEvent| decide(run, event, &deadlines, now).expect("taken").run;
    let run = step(&run(RunState::Assigned, Transfer::None), &RunEvent::Began { size: 1000, start: 400 });
    let run = step(&run, &RunEvent::Ended { transfer: 1, sent: 1000, count: 600, end: End::Whole });
    assert_eq!((run.wholes, run.is_reached(), run.transfer), (0, false, Transfer::Partial));
}

#[test]
fn ranges_whose_ends_are_noted_in_the_wrong_order_make_a_whole() {
    let deadlines = Deadlines::default();
    let now = Timestamp::UNIX_EPOCH;
    let step = |run: &Run, event: &RunEvent| decide(run, event, &deadlines, now).expect("taken").run;
    let run = step(&run(RunState::Assigned, Transfer::None), &RunEvent::Began { size: 1000, start: 0 });
    let run = step(&run, &RunEvent::Began { size: 1000, start: 600 });
    let run = step(&run, &RunEvent::Ended { transfer: 2, sent: 1000, count: 400, end: End::Whole });
    assert_eq!((run.wholes, run.transfer), (1, Transfer::Whole));
    let older = RunEvent::Ended { transfer: 1, sent: 600, count: 600, end: End::Partial };
    assert_eq!(step(&run, &older).wholes, 1);
}
