//! Colours, and the few things that look the same everywhere. A colour never says anything that a word does not.

use dispatch_core::{Verdict, text as words};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::super::model::{Download, Group, Job, Ui};
use super::super::text;

/// What a piece of text is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// What should be found first.
    Strong,
    /// What is there for whoever looks for it.
    Quiet,
    Active,
    Good,
    Bad,
    Warn,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    has_colours: bool,
}

impl Paint {
    pub(crate) fn new(ui: &Ui) -> Self {
        Self { has_colours: ui.colour }
    }

    /// Only the colours that every terminal has, as its owner has set them: they are readable on any background.
    pub(crate) fn tone(self, tone: Tone) -> Style {
        let colour = |colour| if self.has_colours { Style::new().fg(colour) } else { Style::new() };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Quiet => Style::new().add_modifier(Modifier::DIM),
            Tone::Active => colour(Color::Cyan),
            Tone::Good => colour(Color::Green),
            Tone::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Warn => colour(Color::Yellow),
        }
    }

    pub(crate) fn span(self, text: impl Into<String>, tone: Tone) -> Span<'static> {
        Span::styled(text.into(), self.tone(tone))
    }
}

/// The tone of a verdict.
pub(crate) fn verdict(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Failed => Tone::Bad,
        Verdict::Errored => Tone::Warn,
        Verdict::Unjudged => Tone::Plain,
    }
}

/// The tone of the word for a job's state.
pub(crate) fn state(job: &Job) -> Tone {
    match (job.group, job.verdict) {
        (Group::Active, _) => Tone::Active,
        (_, Some(known)) => verdict(known),
        (Group::Trouble, None) => Tone::Warn,
        _ => Tone::Quiet,
    }
}

/// Keys and what they do, as many as fit.
pub(crate) fn keys(keys: &[(&str, &str)], width: usize, paint: Paint) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut used = 0;
    for (key, does) in keys {
        let gap = if spans.is_empty() { "" } else { "  " };
        let wide = gap.len() + text::width(key) + 1 + text::width(does);
        if used + wide > width {
            break;
        }
        used += wide;
        spans.push(Span::raw(gap));
        spans.push(paint.span(*key, Tone::Strong));
        spans.push(paint.span(format!(" {does}"), Tone::Quiet));
    }
    spans
}

/// Room for the numbers of a download. They change their length, and the bar should not.
const NUMBERS: usize = 31;

/// How far a download is: a bar as long as there is room for, and the numbers.
pub(crate) fn download(download: &Download, width: usize, paint: Paint) -> Vec<Span<'static>> {
    let Download { sent, size, pace } = *download;
    let percent = percent(download);
    let mut numbers = format!("{percent:>3} %");
    let mut tone = Tone::Plain;
    match pace.rate {
        _ if is_still(download) => {
            tone = Tone::Warn;
            numbers = format!("{numbers}  no byte for {}", text::age(pace.still));
        }
        Some(rate) if rate >= 1.0 => {
            numbers = format!("{numbers}  {}", self::rate(rate));
            if let Some(left) = left(size.saturating_sub(sent), rate) {
                numbers = format!("{numbers}  {left} left");
            }
        }
        _ => numbers = format!("{numbers}  of {}", words::bytes(size)),
    }
    let bar = match width.saturating_sub(NUMBERS + 2) {
        wide @ 8.. => wide.min(40),
        _ if width > text::width(&numbers) + 10 => 8,
        _ => 0,
    };
    let filled = usize::try_from(percent).unwrap_or(0) * bar / 100;
    let gap = if bar == 0 { "" } else { "  " };
    let room = width.saturating_sub(bar + gap.len());
    vec![
        paint.span("━".repeat(filled), Tone::Active),
        paint.span("─".repeat(bar - filled), Tone::Quiet),
        Span::raw(gap),
        paint.span(text::cut(&numbers, room), tone),
    ]
}

/// How far a download is: a bar, and how much of the image that is.
pub(crate) fn short_download(download: &Download, width: usize, paint: Paint) -> Vec<Span<'static>> {
    let percent = percent(download);
    let bar = width.saturating_sub(6);
    let filled = usize::try_from(percent).unwrap_or(0) * bar / 100;
    let tone = if is_still(download) { Tone::Warn } else { Tone::Plain };
    vec![
        paint.span("━".repeat(filled), Tone::Active),
        paint.span("─".repeat(bar - filled), Tone::Quiet),
        paint.span(format!("{percent:>4} %"), tone),
    ]
}

fn percent(download: &Download) -> u64 {
    download.sent.saturating_mul(100).checked_div(download.size).unwrap_or(100).min(100)
}

/// Whether no byte has moved for so long that somebody should know.
fn is_still(download: &Download) -> bool {
    download.pace.still.as_secs() >= 5
}

/// Bytes a second in words.
pub(crate) fn rate(rate: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and rounded"
    )]
    let whole = rate.round() as u64;
    format!("{}/s", words::bytes(whole))
}

fn left(bytes: u64, rate: f64) -> Option<String> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let seconds = (bytes as f64 / rate).ceil() as u64;
    (seconds < 360_000).then(|| text::age(std::time::Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::rate::Pace;
    use super::*;

    fn shown(sent: u64, pace: Pace, width: usize) -> String {
        let ui = Ui::new((80, 24), true);
        let spans = download(&Download { sent, size: 100 << 20, pace }, width, Paint::new(&ui));
        spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn a_download_shows_how_far_how_fast_and_how_long() {
        let pace = Pace { rate: Some(11.2 * 1_048_576.0), still: Duration::ZERO };
        assert_eq!(shown(43 << 20, pace, 46), "━━━━━────────   43 %  11.2 MiB/s  6 s left");
        assert_eq!(shown(43 << 20, pace, 24), " 43 %  11.2 MiB/s  6 s …");
    }

    #[test]
    fn a_download_that_stands_still_says_so_and_one_that_has_begun_says_its_size() {
        let still = Pace { rate: Some(3.0), still: Duration::from_secs(12) };
        assert_eq!(shown(43 << 20, still, 46), "━━━━━────────   43 %  no byte for 12 s");
        assert_eq!(shown(0, Pace::default(), 46), "─────────────    0 %  of 100.0 MiB");
    }
}
