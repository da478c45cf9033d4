//! What people see of a queue: one row for each job, ready to be laid out.

mod fetching;
mod issues;
#[cfg(test)]
mod tests;
mod waits;

use std::collections::HashMap;
use std::time::Duration;

use dispatch_core::queue::{JobState, tally};
use dispatch_core::run::Transfer;
use dispatch_core::{Host, Job, JobId, Run, RunId, RunState, Verdict, WorkloadId, text};
use dispatch_store::Overview;
use jiff::Timestamp;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub use self::fetching::Fetching;
pub use self::issues::{Issues, Link};
pub use self::waits::{Waits, What, of_one};
use crate::doing::{Around, Doing, Own};
use crate::log::{FETCHING, harmless, padded};

/// One job.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The sign of its state.
    pub sign: &'static str,
    /// Its name.
    pub name: String,
    /// The word for its state.
    pub state: String,
    /// How it came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The host that it is or was on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which attempt; 0 before the first.
    pub attempt: u32,
    /// How long it has been in its state, in seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub age: Duration,
    /// Reports that it sent.
    pub reports: u32,
    /// What became of them as issues.
    #[serde(skip_serializing_if = "Issues::is_empty")]
    pub issues: Issues,
    /// How far its image is, which it waits for, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Fetching>,
    /// What is worth knowing of it, a sentence.
    pub note: String,
    /// Its identity.
    #[serde(skip)]
    pub id: JobId,
    /// Where its job stands.
    #[serde(skip)]
    pub job: JobState,
    /// Whether it could run, and cannot.
    #[serde(skip)]
    pub is_stuck: bool,
    /// Whether it waits for nothing but an image that is being fetched.
    #[serde(skip)]
    pub is_coming: bool,
    /// The download that is going on.
    #[serde(skip)]
    pub download: Option<Download>,
    /// What it is doing at the moment, or why it waits.
    #[serde(skip)]
    pub doing: Doing,
}

/// A download that is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Download {
    /// Of this run.
    pub run: RunId,
    /// How far into the image it has come, in bytes.
    pub sent: u64,
    /// The size of the image in bytes.
    pub size: u64,
}

/// A queue.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// In queue order.
    pub jobs: Vec<Row>,
    /// `1 passed, 2 queued`.
    pub tally: String,
    /// Effects that are still to be done.
    pub effects_due: u64,
    /// These, by what they wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<Waits>,
}

fn seconds<S: serde::Serializer>(age: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(age.as_secs())
}

impl View {
    /// Puts a view together. `live` tells how far the downloads are that are going on, `fetching` the same of images
    /// that are being fetched, `since` when the session began.
    #[must_use]
    pub fn new(
        overview: &Overview,
        live: &HashMap<RunId, u64>,
        fetching: &[Fetching],
        since: Timestamp,
        now: Timestamp,
    ) -> Self {
        let known = Known::new(overview, live, fetching, now);
        let busy = overview.jobs.iter().filter(|job| job.state == JobState::Active).count();
        let is_asked = overview.hosts.iter().any(|host| host.last_seen >= since);
        let mut around = Around { ahead: 0, busy, is_asked };
        let jobs = overview
            .jobs
            .iter()
            .map(|job| {
                let row = known.row(job, around);
                // A host that asks goes to the first whose image is here.
                let is_ahead = job.state == JobState::Queued && !row.is_stuck && !row.is_coming;
                around.ahead += usize::from(is_ahead);
                row
            })
            .collect();
        let outbox = Waits::of(overview, now);
        Self { jobs, tally: tally(&overview.jobs), effects_due: overview.effects_due, outbox }
    }
}

/// The view as a table for a terminal of `width` columns.
#[must_use]
pub fn table(view: &View, width: usize) -> String {
    const HEADS: [&str; 6] = ["", "workload", "state", "verdict", "host", "for"];
    let cells: Vec<[String; 6]> = view
        .jobs
        .iter()
        .map(|row| {
            let host = match (&row.host, row.attempt) {
                (Some(host), attempt) if attempt > 1 => format!("{host}, attempt {attempt}"),
                (host, _) => host.clone().unwrap_or_default(),
            };
            [
                row.sign.to_owned(),
                harmless(&row.name),
                row.state.clone(),
                row.verdict.map(|verdict| verdict.to_string()).unwrap_or_default(),
                harmless(&host),
                text::duration(Duration::from_secs(row.age.as_secs().max(1))),
            ]
        })
        .collect();
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| {
            let widest = cells.iter().map(|row| row[column].width()).max().unwrap_or(0);
            widest.max(HEADS[column].width()).min(if column == 1 { width / 3 } else { usize::MAX })
        })
        .collect();
    let line = |cells: &[String; 6]| {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| padded(&shortened(cell, *width), *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&HEADS.map(str::to_owned))];
    for (row, cells) in view.jobs.iter().zip(&cells) {
        lines.push(line(cells));
        let mut words = row.note.clone();
        // One alone is in the note.
        if row.reports > 1 && !row.issues.filed.is_empty() {
            let numbers: Vec<_> = row.issues.filed.iter().map(|issue| format!("#{}", issue.number)).collect();
            words = format!("{words}; filed as {}", numbers.join(", "));
        }
        lines.extend(
            wrapped(&harmless(&words), width.saturating_sub(4)).iter().map(|part| format!("    {part}")),
        );
    }
    lines.push(String::new());
    lines.push(view.tally.clone());
    for waits in &view.outbox {
        lines.extend(wrapped(&harmless(&waits.words()), width));
    }
    lines.join("\n") + "\n"
}

/// Rows under heads, aligned, for a terminal of `width` columns. What is in the last column goes on in further lines.
#[must_use]
pub fn columns(heads: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let last = heads.len().saturating_sub(1);
    let widest = |column: usize| {
        let cells = std::iter::once(&heads).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0).min(if column == 0 {
            width / 2
        } else {
            usize::MAX
        })
    };
    let widths: Vec<usize> = (0..last).map(widest).collect();
    let indent: usize = widths.iter().map(|width| width + 2).sum();
    let mut text = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> =
            cells.map(|(cell, width)| padded(&shortened(cell, *width), *width)).collect();
        let rest =
            row.get(last).map(|cell| wrapped(cell, width.saturating_sub(indent).max(20))).unwrap_or_default();
        let line = format!("{}  {}", cells.join("  "), rest.first().map_or("", String::as_str));
        text.push_str(line.trim_end());
        text.push('\n');
        for line in rest.iter().skip(1) {
            text.extend([&" ".repeat(indent), line, "\n"]);
        }
    }
    text
}

/// `text`, or as much of it as fits into so many columns, with a mark where something is left out.
fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if short.width() + letter.width().unwrap_or(0) + 1 > width {
            break;
        }
        short.push(letter);
    }
    short + "…"
}

/// `text` in lines of at most `width` columns, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What rows are made of.
struct Known<'a> {
    hosts: &'a [Host],
    runs: HashMap<JobId, Vec<&'a Run>>,
    issues: HashMap<RunId, Issues>,
    live: &'a HashMap<RunId, u64>,
    fetching: HashMap<WorkloadId, Fetching>,
    now: Timestamp,
}

impl<'a> Known<'a> {
    fn new(
        overview: &'a Overview,
        live: &'a HashMap<RunId, u64>,
        fetching: &[Fetching],
        now: Timestamp,
    ) -> Self {
        let mut runs: HashMap<JobId, Vec<&Run>> = HashMap::new();
        for run in overview.runs.iter().filter(|run| run.is_counted()) {
            runs.entry(run.job).or_default().push(run);
        }
        let fetching = fetching.iter().map(|image| (image.workload, *image)).collect();
        Self { hosts: &overview.hosts, runs, issues: Issues::of_runs(overview), live, fetching, now }
    }

    fn row(&self, job: &Job, around: Around) -> Row {
        let runs = self.runs.get(&job.id).map(Vec::as_slice).unwrap_or_default();
        // A job that is back in the queue is not where its last run was.
        let shown = runs.last().copied().filter(|_| job.state != JobState::Queued);
        let state = match (job.state, shown) {
            (JobState::Queued, _) => None,
            (JobState::Cancelled, _) => Some(RunState::Cancelled),
            (_, run) => run.map(|run| run.state),
        };
        let since = shown.map_or(job.since, |run| run.since);
        let fetch = self.fetching.get(&job.workload);
        let is_coming = fetching::is_coming(job, fetch.is_some());
        let fetch = fetch.copied().filter(|_| is_coming);
        let issues = runs.last().and_then(|run| self.issues.get(&run.id)).cloned().unwrap_or_default();
        let waiting_sign = if is_coming { FETCHING } else { "⏳" };
        Row {
            sign: state.map_or(waiting_sign, RunState::sign),
            name: job.name.clone(),
            state: state.map_or("queued", RunState::as_str).to_owned(),
            verdict: job.verdict,
            host: shown.and_then(|run| self.hosts.iter().find(|host| host.id == run.host)).map(Host::label),
            attempt: runs.last().map_or(0, |run| run.attempt),
            age: Duration::try_from(self.now.duration_since(since)).unwrap_or_default(),
            reports: runs.last().map_or(0, |run| run.reports),
            note: note(Own { job, run: shown, runs, issues: &issues, is_coming }, fetch, self.live),
            id: job.id,
            job: job.state,
            is_stuck: job.state == JobState::Queued && job.waits.is_some() && !is_coming,
            is_coming,
            download: shown.and_then(|run| download(run, self.live)),
            doing: Doing::new(Own { job, run: shown, runs, issues: &issues, is_coming }, around, self.now),
            issues,
            fetch,
        }
    }
}

/// The download of a run, while bytes are going out.
fn download(run: &Run, live: &HashMap<RunId, u64>) -> Option<Download> {
    let is_sending = run.state == RunState::Downloading && run.transfer == Transfer::Sending;
    let sent = live.get(&run.id).copied().unwrap_or(run.sent).min(run.size);
    is_sending.then_some(Download { run: run.id, sent, size: run.size })
}

/// What happened in the attempts that are over, where that needs saying.
fn past(runs: &[&Run]) -> String {
    let ended = runs.iter().filter(|run| run.state.is_final());
    let parts: Vec<String> =
        ended.filter_map(|run| Some(format!("attempt {}: {}", run.attempt, run.reason.as_ref()?))).collect();
    parts.join("; ")
}

/// What is worth knowing: why it waits, what happened in its attempts, or how far it has come.
fn note(own: Own<'_>, fetch: Option<Fetching>, live: &HashMap<RunId, u64>) -> String {
    let mut parts = Vec::new();
    parts.extend(own.issues.refused());
    if own.is_coming {
        let far = fetch.map(|fetch| format!(", {}", fetch.words())).unwrap_or_default();
        parts.push(format!("its image is being fetched{far}"));
    } else if let Some(reason) = own.job.waits.as_ref().or(own.job.reason.as_ref()) {
        let reports = own.run.filter(|_| !own.issues.is_empty()).map(|run| own.issues.in_brief(run.reports));
        parts.extend(reports);
        parts.push(reason.clone());
        return parts.join("; ");
    }
    match own.run {
        Some(run) if run.state == RunState::Downloading => {
            let sent = live.get(&run.id).copied().unwrap_or(run.sent);
            let percent = sent.saturating_mul(100).checked_div(run.size).unwrap_or(100);
            parts.push(format!("{percent} % of {}", text::bytes(run.size)));
        }
        Some(run) if run.reports > 0 => parts.push(own.issues.in_brief(run.reports)),
        _ => {}
    }
    parts.extend(Some(past(own.runs)).filter(|past| !past.is_empty()));
    parts.join("; ")
}
