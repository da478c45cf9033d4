//! From what the session knows to what is shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use dispatch_core::queue::{Idle, Issue, JobState, Stub};
use dispatch_core::{Effect, Happening, Host, JobId, ReportId, RunId, RunState, Verdict};
use dispatch_server::log::{tell, told};
use dispatch_server::reports::file_stem;
use dispatch_server::requests::Request as Asked;
use dispatch_server::view::{Fetching, Row, View, Waits, of_one};
use dispatch_store::{Overview, Refused, StoredEvent, StoredReport, WaitingEffect};
use dispatch_wire::boot::Report as Content;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::model::{
    Board, Download, Filing, Group, Happened, IdleHost, Idleness, Job, Notice, Report, Request, Story,
    Waiting, arranged,
};
use super::rate::{Pace, Rates};
use crate::diagnostics;

/// After so long without a question, a host that was told to wait does not wait: it asks every few seconds.
const LOST: Duration = Duration::from_mins(2);

/// What has not been tried yet and waits for less than that is done in a moment, and not worth a word.
const FRESH: Duration = Duration::from_secs(5);

/// The letters of a report's text that are shown at most: it may have megabytes.
const BODY: usize = 8000;

/// What does not change while the session runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Where the images come from.
    pub(crate) source: String,
    /// The boot URLs.
    pub(crate) urls: Vec<String>,
    /// Where reports go.
    pub(crate) reports: PathBuf,
    /// Where the whole log is.
    pub(crate) log: PathBuf,
    /// When the session began.
    pub(crate) since: Timestamp,
    /// The time zone that people see.
    pub(crate) zone: TimeZone,
}

/// What changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) overview: Overview,
    /// How far each transfer is.
    pub(crate) live: HashMap<RunId, u64>,
    /// The images that are being fetched.
    pub(crate) fetching: Vec<Fetching>,
    pub(crate) rates: Rates,
    pub(crate) notices: Vec<Notice>,
    pub(crate) requests: Vec<Request>,
    pub(crate) story: Option<Story>,
}

/// Everything that can be shown.
pub(crate) fn board(facts: &Facts, seen: &Seen, now: Timestamp) -> Board {
    let view = View::new(&seen.overview, &seen.live, &seen.fetching, facts.since, now);
    Board {
        source: facts.source.clone(),
        clock: now.to_zoned(facts.zone.clone()).strftime("%H:%M").to_string(),
        urls: facts.urls.clone(),
        reports: facts.reports.display().to_string(),
        log: facts.log.display().to_string(),
        jobs: arranged(view.jobs.iter().map(|row| job(row, &seen.rates)).collect()),
        idle: idle(&seen.overview, facts.since, now),
        notices: seen.notices.clone(),
        outbox: view.outbox.iter().filter_map(waiting).collect(),
        requests: seen.requests.clone(),
        story: seen.story.clone(),
    }
}

/// The runs that download, and how far they are.
pub(crate) fn downloads(overview: &Overview, live: &HashMap<RunId, u64>) -> Vec<(RunId, u64)> {
    let loading = overview.runs.iter().filter(|run| run.state == RunState::Downloading);
    loading.filter_map(|run| live.get(&run.id).map(|sent| (run.id, *sent))).collect()
}

fn group(row: &Row) -> Group {
    match (row.job, row.verdict) {
        (JobState::Active, _) => Group::Active,
        (JobState::Queued, _) if row.is_stuck => Group::Trouble,
        (JobState::Queued, _) => Group::Waiting,
        (JobState::Done, Some(Verdict::Failed | Verdict::Errored)) => Group::Trouble,
        (JobState::Done, _) if !row.issues.refused.is_empty() => Group::Trouble,
        (JobState::Done | JobState::Cancelled, _) => Group::Done,
    }
}

fn job(row: &Row, rates: &Rates) -> Job {
    let (host, address) = row.host.as_deref().map(names).unzip();
    let state = match row {
        _ if row.is_stuck => "cannot run",
        _ if row.is_coming => "fetching",
        _ => &row.state,
    };
    Job {
        id: row.id,
        group: group(row),
        sign: row.sign,
        state: state.to_owned(),
        name: row.name.clone(),
        host,
        address: address.flatten(),
        attempt: row.attempt,
        age: row.age,
        verdict: row.verdict,
        download: row.download.map(|download| Download {
            sent: download.sent,
            size: download.size,
            pace: rates.of(download.run),
        }),
        // That one stands still is told by whoever fetches it, who breaks it off.
        fetch: row.fetch.map(|fetch| Download {
            sent: fetch.got,
            size: fetch.size,
            pace: Pace { rate: fetch.per_second, still: Duration::ZERO },
        }),
        issues: row.issues.filed.iter().map(|issue| issue.number).collect(),
        refused: row.issues.refused.len(),
        brief: row.doing.brief.clone(),
        detail: row.doing.detail.clone(),
    }
}

/// What waits, unless that is over in a moment.
fn waiting(waits: &Waits) -> Option<Waiting> {
    let is_fresh = waits.why.is_none() && waits.age < FRESH;
    let (what, why, next, words) = (waits.what(), waits.why.clone(), waits.next(), waits.words());
    (!is_fresh).then_some(Waiting { what, why, next, words })
}

/// The hosts that asked since the session began and have nothing to do.
fn idle(overview: &Overview, since: Timestamp, now: Timestamp) -> Vec<IdleHost> {
    let is_busy = |host: &Host| overview.runs.iter().any(|run| run.host == host.id && !run.state.is_final());
    let mut idle: Vec<IdleHost> = overview
        .hosts
        .iter()
        .filter(|host| host.last_seen >= since && !is_busy(host))
        .filter_map(|host| Some(idle_host(host, host.idle.as_ref()?, now)))
        .collect();
    idle.sort_by_key(|host| (host.is != Idleness::Lost, host.age));
    idle
}

fn idle_host(host: &Host, idle: &Idle, now: Timestamp) -> IdleHost {
    let age = |at| Duration::try_from(now.duration_since(at)).unwrap_or_default();
    let silent = age(host.last_seen);
    let (is, age) = match idle.stub {
        Some(Stub::Wait) if silent >= LOST => (Idleness::Lost, silent),
        Some(Stub::Wait) => (Idleness::Waits, age(idle.since)),
        _ => (Idleness::Gone, silent),
    };
    let told = match is {
        Idleness::Lost => format!("was told to wait and has not asked for {} min", silent.as_secs() / 60),
        Idleness::Waits | Idleness::Gone => format!("{}: {}", told(idle.stub), idle.reason),
    };
    let (host, address) = names(&host.label());
    IdleHost { host, address, is, told, age }
}

/// The two names of a host, as its label has them: its name or MAC, and its address; or that alone.
fn names(label: &str) -> (String, Option<String>) {
    match label.split_once(" (") {
        Some((host, rest)) => (host.to_owned(), Some(rest.trim_end_matches(')').to_owned())),
        None => (label.to_owned(), None),
    }
}

/// What the store has of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// What happened to it.
    pub(crate) events: &'a [StoredEvent],
    /// The reports of all of its runs.
    pub(crate) reports: &'a [StoredReport],
    /// The issues that are still to be filed, of other jobs too, in their order.
    pub(crate) waiting: &'a [WaitingEffect],
    /// The reports that will never be issues, of other jobs too.
    pub(crate) refused: &'a [Refused],
}

/// What happened to a job.
pub(crate) fn story(job: JobId, known: Known<'_>, facts: &Facts, now: Timestamp) -> Story {
    let issues = known.reports.iter().filter_map(|stored| stored.issue.as_ref());
    let filings = filings(known, issues, now);
    let reports = known.reports.iter().map(|stored| Report {
        issue: filings.get(&stored.report.id).cloned(),
        ..report(stored, facts, now)
    });
    let events = known.events.iter().map(|stored| {
        let (sign, word, words) = tell(&stored.event);
        Happened { at: when(stored.event.at, now, &facts.zone), sign, word, words }
    });
    Story { job, events: events.collect(), reports: reports.collect() }
}

/// What became of each report as an issue. `issues` are those that are there.
fn filings<'a>(
    known: Known<'_>,
    issues: impl Iterator<Item = &'a Issue>,
    now: Timestamp,
) -> BTreeMap<ReportId, Filing> {
    let mut all = BTreeMap::new();
    let mut runs = BTreeSet::new();
    for effect in known.waiting {
        if let Effect::FileIssue { report, run, .. } = effect.effect {
            let is_again = effect.error.is_some();
            let is_first = runs.insert(run);
            // Those of a run are filed in the order of its reports.
            let words = if is_first || is_again {
                of_one(effect, now)
            } else {
                "waits to be filed after the report before it".to_owned()
            };
            all.insert(report, Filing::Waits(words, is_again));
        }
    }
    for refused in known.refused {
        all.insert(refused.report, Filing::Refused(refused.why.clone()));
    }
    for issue in issues {
        let (number, url, omitted) = (issue.number, issue.url.clone(), Vec::new());
        all.insert(issue.report, Filing::Filed { number, url, omitted });
    }
    for event in known.events {
        if let Happening::IssueFiled { report, omitted: left_out, .. } = &event.event.what
            && let Some(Filing::Filed { omitted, .. }) = all.get_mut(report)
        {
            omitted.clone_from(left_out);
        }
    }
    all
}

fn report(stored: &StoredReport, facts: &Facts, now: Timestamp) -> Report {
    let report = &stored.report;
    let content: Content = serde_json::from_str(&report.content.json).unwrap_or_default();
    let mut marks = content.labels;
    marks.extend(content.milestone.map(|milestone| format!("milestone {milestone}")));
    Report {
        at: when(report.at, now, &facts.zone),
        verdict: report.content.verdict,
        is_late: report.late,
        title: report.content.title.clone(),
        marks,
        issue: None,
        is_cut: content.body.chars().nth(BODY).is_some(),
        body: content.body.chars().take(BODY).collect(),
        file: facts.reports.join(format!("{}.md", file_stem(stored))).display().to_string(),
    }
}

/// A time of today, or the day and the time.
fn when(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (at, now) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    if at.date() == now.date() {
        at.strftime("%H:%M:%S").to_string()
    } else {
        at.strftime("%m-%d %H:%M:%S").to_string()
    }
}

/// Warnings and errors.
pub(crate) fn notices(notices: &[diagnostics::Notice], zone: &TimeZone) -> Vec<Notice> {
    let notice = |notice: &diagnostics::Notice| Notice {
        number: notice.number,
        at: clock(notice.at, zone),
        is_error: notice.is_error,
        text: notice.text.clone(),
    };
    notices.iter().map(notice).collect()
}

/// The last requests, the newest first.
pub(crate) fn requests(asked: &[Asked], zone: &TimeZone) -> Vec<Request> {
    let request = |asked: &Asked| {
        let Asked { latest, count } = asked;
        Request {
            at: Timestamp::try_from(latest.at).map(|at| clock(at, zone)).unwrap_or_default(),
            address: latest.who.address.to_string(),
            mac: latest.who.mac.map(|mac| mac.to_string()),
            name: latest.who.name.as_ref().map(ToString::to_string),
            method: latest.method.clone(),
            target: latest.target.clone(),
            status: latest.status,
            agent: latest.agent.clone(),
            answer: latest.answer.clone(),
            count: *count,
        }
    };
    asked.iter().rev().map(request).collect()
}

/// A time of day.
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use dispatch_core::HostId;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn host(number: u8, stub: Option<Stub>, since: i64, last_seen: i64) -> Host {
        Host {
            idle: Some(Idle {
                stub,
                reason: "queue empty".to_owned(),
                since: at(since),
                promised: at(since),
                is_taken: true,
                is_urgent: false,
                arch: None,
            }),
            last_seen: at(last_seen),
            ..Host::new(HostId::new(at(0), [number; 10]), [192, 0, 2, number].into(), at(0))
        }
    }

    #[test]
    fn idle_hosts_are_those_of_this_session_the_lost_ones_first() {
        let hosts = vec![
            host(1, Some(Stub::PowerOff), 10, 99),
            host(2, Some(Stub::PowerOff), 10, 400),
            host(3, Some(Stub::Wait), 10, 995),
            host(4, Some(Stub::Wait), 500, 820),
        ];
        let overview = Overview { hosts, ..Overview::default() };
        let told: Vec<_> = idle(&overview, at(100), at(1000))
            .into_iter()
            .map(|host| (host.host.clone(), host.told.clone(), host.since()))
            .collect();
        let row = |host: &str, told: &str, since: Option<&str>| {
            (host.to_owned(), told.to_owned(), since.map(str::to_owned))
        };
        let expected = [
            row("192.0.2.4", "was told to wait and has not asked for 3 min", None),
            row("192.0.2.2", "told to power off: queue empty", Some("10 min ago")),
            row("192.0.2.3", "told to wait: queue empty", Some("for 16 min")),
        ];
        assert_eq!(told, expected);
    }

    /// The issue of a report of this run, which has waited for two seconds.
    fn effect(report: u8, run: u8, error: Option<&str>) -> WaitingEffect {
        let effect = Effect::FileIssue {
            report: ReportId::new(at(0), [report; 10]),
            run: RunId::new(at(0), [run; 10]),
            repository: "o/r".to_owned(),
            api: None,
        };
        let error = error.map(str::to_owned);
        let (key, due) = (effect.idempotency_key(), at(140));
        WaitingEffect { key, effect, at: at(98), due, attempts: 0, error, progress: None }
    }

    #[test]
    fn what_became_of_each_report_as_an_issue_is_told() {
        let report = |number| ReportId::new(at(0), [number; 10]);
        let run = RunId::new(at(0), [1; 10]);
        let refused = [Refused { report: report(5), run, why: "it is spam".to_owned() }];
        let waiting = [effect(1, 1, Some("no answer")), effect(2, 1, None), effect(3, 2, None)];
        let url = "https://github.test/o/r/issues/7".to_owned();
        let issue = Issue { report: report(4), repository: "o/r".to_owned(), number: 7, url: url.clone() };
        let omitted = vec!["label `x` (too long)".to_owned()];
        let what = Happening::IssueFiled { report: report(4), url: url.clone(), omitted: omitted.clone() };
        let event =
            dispatch_core::Event { at: at(0), group: None, job: None, run: None, host: None, by: None, what };
        let events = [StoredEvent { seq: 1, event }];
        let known = Known { events: &events, reports: &[], waiting: &waiting, refused: &refused };
        let all = filings(known, [&issue].into_iter(), at(100));
        let waits = |words: &str, is_again| Filing::Waits(words.to_owned(), is_again);
        let expected = [
            (report(1), waits("waits to be filed: no answer; next try in 40 s", true)),
            (report(2), waits("waits to be filed after the report before it", false)),
            (report(3), waits("waits to be filed; first try in 40 s", false)),
            (report(4), Filing::Filed { number: 7, url, omitted }),
            (report(5), Filing::Refused("it is spam".to_owned())),
        ];
        assert_eq!(all.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_was_never_tried_is_not_worth_a_word_before_it_has_waited_for_a_while() {
        let lines = |error, now| {
            let overview =
                Overview { outbox: vec![effect(1, 1, error)], effects_due: 1, ..Overview::default() };
            let view = View::new(&overview, &HashMap::new(), &[], at(0), at(now));
            view.outbox.iter().filter_map(waiting).map(|waiting| waiting.words).collect::<Vec<_>>()
        };
        assert!(lines(None, 100).is_empty(), "it is filed in a moment");
        assert_eq!(lines(None, 103), ["1 issue waits for its turn; first try in 37 s"]);
        assert_eq!(lines(Some("no answer"), 99), ["1 issue waits: no answer; next try in 41 s"]);
    }

    #[test]
    fn times_of_other_days_carry_their_day() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = at("2026-11-21T12:00:00Z");
        assert_eq!(when(at("2026-11-21T00:00:01Z"), now, &TimeZone::UTC), "00:00:01");
        assert_eq!(when(at("2026-11-20T23:59:59Z"), now, &TimeZone::UTC), "11-20 23:59:59");
    }
}
