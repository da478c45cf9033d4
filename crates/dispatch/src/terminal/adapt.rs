//! From what the session knows to what is shown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use dispatch_boot::Asked;
use dispatch_core::queue::JobState;
use dispatch_core::{Host, JobId, RunId, RunState, Verdict};
use dispatch_server::log::{tell, told};
use dispatch_server::reports::file_stem;
use dispatch_server::view::{Row, View};
use dispatch_store::{Overview, StoredEvent, StoredReport};
use dispatch_wire::boot::Report as Content;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::model::{
    Board, Download, Group, Happened, IdleHost, Job, Notice, Report, Request, Story, arranged,
};
use super::rate::Rates;
use crate::diagnostics;

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
    /// The time zone that people see.
    pub(crate) zone: TimeZone,
}

/// What changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) overview: Overview,
    /// How far each transfer is.
    pub(crate) live: HashMap<RunId, u64>,
    pub(crate) rates: Rates,
    pub(crate) notices: Vec<Notice>,
    pub(crate) requests: Vec<Request>,
    pub(crate) story: Option<Story>,
}

/// Everything that can be shown.
pub(crate) fn board(facts: &Facts, seen: &Seen, now: Timestamp) -> Board {
    let view = View::new(&seen.overview, &seen.live, now);
    Board {
        source: facts.source.clone(),
        clock: now.to_zoned(facts.zone.clone()).strftime("%H:%M").to_string(),
        urls: facts.urls.clone(),
        reports: facts.reports.display().to_string(),
        log: facts.log.display().to_string(),
        jobs: arranged(view.jobs.iter().map(|row| job(row, &seen.rates)).collect()),
        idle: idle(&seen.overview, now),
        notices: seen.notices.clone(),
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
        (JobState::Done | JobState::Cancelled, _) => Group::Done,
    }
}

fn job(row: &Row, rates: &Rates) -> Job {
    let (host, address) = match row.host.as_deref().map(|label| label.split_once(" (")) {
        None => (None, None),
        Some(None) => (row.host.clone(), None),
        Some(Some((mac, rest))) => (Some(mac.to_owned()), Some(rest.trim_end_matches(')').to_owned())),
    };
    Job {
        id: row.id,
        group: group(row),
        sign: row.sign,
        state: if row.is_stuck { "cannot run".to_owned() } else { row.state.clone() },
        name: row.name.clone(),
        host,
        address,
        attempt: row.attempt,
        age: row.age,
        verdict: row.verdict,
        download: row.download.map(|download| Download {
            sent: download.sent,
            size: download.size,
            pace: rates.of(download.run),
        }),
        brief: row.doing.brief.clone(),
        detail: row.doing.detail.clone(),
    }
}

fn idle(overview: &Overview, now: Timestamp) -> Vec<IdleHost> {
    let is_busy = |host: &Host| overview.runs.iter().any(|run| run.host == host.id && !run.state.is_final());
    let mut idle: Vec<IdleHost> = overview
        .hosts
        .iter()
        .filter(|host| !is_busy(host))
        .filter_map(|host| {
            let idle = host.idle.as_ref()?;
            Some(IdleHost {
                name: host.label(),
                told: format!("{}: {}", told(idle.stub), idle.reason),
                age: Duration::try_from(now.duration_since(host.last_seen)).unwrap_or_default(),
            })
        })
        .collect();
    idle.sort_by_key(|host| host.age);
    idle
}

/// What happened to a job.
pub(crate) fn story(
    job: JobId,
    events: &[StoredEvent],
    reports: &[StoredReport],
    facts: &Facts,
    now: Timestamp,
) -> Story {
    let events = events.iter().map(|stored| {
        let (sign, word, words) = tell(&stored.event);
        Happened { at: when(stored.event.at, now, &facts.zone), sign, word, words }
    });
    let reports = reports.iter().map(|stored| report(stored, facts, now));
    Story { job, events: events.collect(), reports: reports.collect() }
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
        // More than this is never shown, and a report may have megabytes.
        body: content.body.chars().take(8000).collect(),
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
    let request = |asked: &Asked| Request {
        at: Timestamp::try_from(asked.at).map(|at| clock(at, zone)).unwrap_or_default(),
        address: asked.who.address.to_string(),
        mac: asked.who.mac.map(|mac| mac.to_string()),
        name: asked.who.name.as_ref().map(ToString::to_string),
        method: asked.method.clone(),
        target: asked.target.clone(),
        status: asked.status,
        agent: asked.agent.clone(),
        answer: asked.answer.clone(),
    };
    asked.iter().rev().map(request).collect()
}

/// A time of day.
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_other_days_carry_their_day() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = at("2026-11-21T12:00:00Z");
        assert_eq!(when(at("2026-11-21T00:00:01Z"), now, &TimeZone::UTC), "00:00:01");
        assert_eq!(when(at("2026-11-20T23:59:59Z"), now, &TimeZone::UTC), "11-20 23:59:59");
    }
}
