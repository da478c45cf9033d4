//! A report as an issue: its text within GitHub's limits, and how it is filed exactly once.
//!
//! * [`compose`] makes a [`Draft`] of a report: title, text in as many parts as it takes, labels and so on. The first
//!   part is the issue, the others are comments. Each begins with a [`Marker`] that nobody sees.
//! * [`Filing`] is how far a report has come on its way to an issue. It says what is to be done next, and learns what
//!   came of it; the marker tells it what it did when an answer was lost.
//! * [`heads`] and [`Pace`] say which reports may be worked on, and how fast; [`Patience`], how long a session waits for
//!   them at its end.

mod blocks;
mod clean;
mod clocks;
mod fields;
mod filing;
mod marker;
mod pace;
mod patience;
mod split;

use std::fmt::Write as _;
use std::time::Duration;

pub use clocks::Heard;
pub use fields::{Field, LeftOut, Why};
pub use filing::{
    Answer, Failure, FieldTrouble, Filed, Filing, Look, NewIssue, Reason, Request, Seen, SeenComment, Todo,
    Trouble, Wait,
};
pub use marker::{Marker, find_marker};
pub use pace::{Pace, Queued, heads};
pub use patience::Patience;

use crate::id::{ReportId, RunId};
use crate::text;
use crate::verdict::Verdict;
use crate::workload::Digest;

/// The longest title that GitHub takes, in characters.
pub const LONGEST_TITLE: usize = 256;

/// The longest text of an issue or comment that GitHub takes, in characters.
pub const LONGEST_TEXT: usize = 65_536;

/// How many characters of each part are kept for what we write ourselves: the marker, what was left out, the footer,
/// code blocks that are begun again. Always the same, so that a text is cut in the same places whenever it is
/// composed.
const OURS: usize = 4096;

/// How many of these are for what was left out.
const NOTES: usize = 2000;

/// The longest name in a footer, in characters.
const LONGEST_NAME: usize = 120;

/// What is known of a report.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Its identity.
    pub report: ReportId,
    /// Its run.
    pub run: RunId,
    /// Its title, as the image sent it.
    pub title: &'a str,
    /// Its text, as the image sent it: Markdown.
    pub body: &'a str,
    /// Its labels, as the image sent them.
    pub labels: &'a [String],
    /// Login names, as the image sent them.
    pub assignees: &'a [String],
    /// The title of a milestone, as the image sent it.
    pub milestone: Option<&'a str>,
    /// Its verdict, given or judged.
    pub verdict: Verdict,
    /// It came when its run was over.
    pub late: bool,
    /// How people see the host.
    pub host: &'a str,
    /// The name of the workload.
    pub workload: &'a str,
    /// The digest of the workload, where it is known.
    pub digest: Option<Digest>,
    /// Which attempt of its job the run was.
    pub attempt: u32,
    /// From the start of the image to the report.
    pub took: Duration,
}

/// What people may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A line at the end tells run, host, workload, duration, attempt and verdict.
    pub footer: bool,
}

/// A report as an issue, before anybody knows what of it GitHub takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The report.
    pub report: ReportId,
    /// The issue's title.
    pub title: String,
    /// The text of the comments, in order.
    pub comments: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whom it is to be assigned to.
    pub assignees: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
    /// What cannot be given to any issue.
    pub left_out: Vec<LeftOut>,
    head: String,
    footer: String,
}

impl Draft {
    /// The text of the issue. It says what is left out: of the draft, and `more`.
    #[must_use]
    pub fn body(&self, more: &[LeftOut]) -> String {
        let mut body = self.head.clone();
        let left_out: Vec<_> = self.left_out.iter().chain(more).collect();
        if !left_out.is_empty() {
            let _ = write!(body, "\n\n**Left out:** {}.", notes(&left_out));
        }
        body.push_str(&self.footer);
        body
    }

    /// Of how many parts the text is made: the issue and its comments.
    #[must_use]
    pub fn parts(&self) -> u32 {
        u32::try_from(self.comments.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// Makes an issue of a report. The same report always gives the same parts.
#[must_use]
pub fn compose(facts: &Facts<'_>, options: Options) -> Draft {
    let body = clean::text(facts.body);
    let pieces = split::split(body.trim_end(), LONGEST_TEXT - OURS);
    let parts = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    let mut texts = (1..).zip(&pieces).map(|(part, piece)| {
        let marker = Marker { report: facts.report, run: facts.run.public_name(), part, parts };
        let split::Piece { before, text, after } = piece;
        let (above, below) = match part {
            1 if parts == 1 => (String::new(), String::new()),
            1 => (String::new(), format!("\n\n*(part 1 of {parts}; it goes on in the comments)*")),
            _ => (format!("*(continued, part {part} of {parts})*\n\n"), String::new()),
        };
        format!("{marker}\n\n{above}{before}{text}{after}{below}")
    });
    let head = texts.next().unwrap_or_default();
    let comments = texts.collect();
    let mut left_out = Vec::new();
    let labels = fields::labels(facts.labels, &mut left_out);
    let assignees = fields::assignees(facts.assignees, &mut left_out);
    Draft {
        report: facts.report,
        title: title(facts),
        comments,
        labels,
        assignees,
        milestone: facts.milestone.map(clean::line).filter(|title| !title.is_empty()),
        left_out,
        head,
        footer: if options.footer { footer(facts) } else { String::new() },
    }
}

/// One line, never without anything to be seen.
fn title(facts: &Facts<'_>) -> String {
    let title = clean::line(facts.title);
    let is_seen = |letter: char| {
        let is_hidden =
            matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}');
        !is_hidden && !letter.is_whitespace()
    };
    let title = if title.chars().any(is_seen) {
        title
    } else {
        match clean::line(facts.workload) {
            workload if workload.chars().any(is_seen) => format!("Report of {workload}"),
            _ => "Report without a title".to_owned(),
        }
    };
    clean::cut(&title, LONGEST_TITLE)
}

/// What was left out, as far as there is room to say so.
fn notes(left_out: &[&LeftOut]) -> String {
    let mut notes = String::new();
    for (at, note) in left_out.iter().map(ToString::to_string).enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        if notes.chars().count() + note.chars().count() > NOTES {
            let _ = write!(notes, "{separator}and {} more", left_out.len() - at);
            break;
        }
        let _ = write!(notes, "{separator}{note}");
    }
    notes
}

/// One line under a rule, small.
fn footer(facts: &Facts<'_>) -> String {
    let name = |name: &str| clean::code(name, LONGEST_NAME);
    let digest = facts.digest.map(|digest| format!(" (`{digest}`)")).unwrap_or_default();
    let late = if facts.late { ", late: its run was over" } else { "" };
    format!(
        "\n\n---\n\n<sub>**{}**{late} · {}{digest} · host {} · attempt {} · {} · run `{}`</sub>",
        facts.verdict,
        name(facts.workload),
        name(facts.host),
        facts.attempt,
        text::duration(facts.took),
        facts.run.public_name().short(),
    )
}

#[cfg(test)]
mod tests;
