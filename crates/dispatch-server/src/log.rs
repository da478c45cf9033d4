//! The log: one line for each event, made for reading, or as JSON.

use std::io::{self, Write};

use dispatch_core::queue::Stub;
use dispatch_core::{Event, Happening, RunState, text};
use dispatch_store::StoredEvent;
use jiff::tz::TimeZone;
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

/// The sign of an image that is being fetched.
pub const FETCHING: &str = "🌐";

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// The sign of a report that is an issue now.
const FILED: &str = "🔗";

/// The longest name that others are aligned to.
const MAX_NAME: usize = 40;

/// The width of the words for what happened.
const WORD: usize = 11;

/// Writes events.
pub struct Log<W> {
    out: W,
    format: Format,
    zone: TimeZone,
    name_width: usize,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    seq: i64,
    #[serde(flatten)]
    event: &'a Event,
}

/// An event as a line of JSON.
#[must_use]
pub fn json(stored: &StoredEvent) -> String {
    let line = serde_json::to_string(&JsonLine { seq: stored.seq, event: &stored.event });
    // Events are made of what JSON is made of.
    line.unwrap_or_default() + "\n"
}

impl<W: Write> Log<W> {
    /// A log to `out`, with times in `zone`.
    pub fn new(out: W, format: Format, zone: TimeZone) -> Self {
        Self { out, format, zone, name_width: 0 }
    }

    /// Makes room for names, so that lines are aligned from the first one on.
    #[must_use]
    pub fn with_names<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Self {
        // A MAC address is as long as this.
        self.name_width = names.map(|name| name.width().min(MAX_NAME)).chain([17]).max().unwrap_or(0);
        self
    }

    /// Writes one event.
    pub fn write(&mut self, stored: &StoredEvent) -> io::Result<()> {
        match self.format {
            Format::Json => self.out.write_all(json(stored).as_bytes())?,
            Format::Text => {
                let line = self.line(&stored.event);
                self.out.write_all(line.as_bytes())?;
            }
        }
        self.out.flush()
    }

    fn line(&mut self, event: &Event) -> String {
        let (sign, word, words) = tell(event);
        let host = event.host.as_ref().map(|host| host.label.as_str()).unwrap_or_default();
        // A host's address stands behind its MAC in brackets, which would make the column wide.
        let (short, address) =
            host.split_once(" (").map_or((host, ""), |(mac, rest)| (mac, rest.trim_end_matches(')')));
        let subject = event.job.as_ref().map_or_else(|| short.to_owned(), |job| job.name.clone());
        let words = match event.job {
            None if !address.is_empty() => format!("{words} (at {address})"),
            _ => words,
        };
        self.name_width = self.name_width.max(subject.width().min(MAX_NAME));
        let time = event.at.to_zoned(self.zone.clone()).strftime("%H:%M:%S");
        let line = format!(
            "{time}  {}  {}  {word:<WORD$}  {words}",
            padded(sign, 2),
            padded(&subject, self.name_width)
        );
        format!("{}\n", harmless(&line).trim_end())
    }
}

/// `text` as one line that steers no terminal: what others wrote, such as the names of files, may try.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// `text` with spaces behind it, to a width in columns: emoji take two.
#[must_use]
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// An event in words: sign, word and the rest of the line.
#[must_use]
pub fn tell(event: &Event) -> (&'static str, &'static str, String) {
    use Happening as H;
    let host = event.host.as_ref().map(|host| host.label.as_str()).unwrap_or_default();
    let attempt = event.run.as_ref().map_or(1, |run| run.attempt);
    match &event.what {
        H::HostSeen => ("", "new host", "asks for the first time".to_owned()),
        H::HostShared { reason } => ("⚠", "unclear", reason.clone()),
        H::Queued { kind, size } => ("⏳", "queued", format!("{kind}, {}", text::bytes(*size))),
        H::Replaced { size } => {
            ("", "replaced", format!("the file is another one now, {}", text::bytes(*size)))
        }
        H::Waits { reason } => ("⏳", "waits", reason.clone()),
        H::Assigned { .. } if attempt == 1 => (RunState::Assigned.sign(), "assigned", format!("to {host}")),
        H::Assigned { .. } => {
            (RunState::Assigned.sign(), "assigned", format!("to {host}, attempt {attempt}"))
        }
        H::Returned { reason } => ("⏳", "queued", format!("again: {reason}")),
        H::Downloading { size, start: 0 } => {
            (RunState::Downloading.sign(), "downloading", text::bytes(*size))
        }
        H::Downloading { size, start } => {
            let words = format!("from {} of {}", text::bytes(*start), text::bytes(*size));
            (RunState::Downloading.sign(), "downloading", words)
        }
        H::Broken { sent, size, nth, limit } => {
            let words =
                format!("after {} of {}, {nth} of {limit} times", text::bytes(*sent), text::bytes(*size));
            (RunState::Assigned.sign(), "broke off", words)
        }
        H::Downloaded { size, took } => {
            ("", "downloaded", format!("{} in {}", text::bytes(*size), text::duration(*took)))
        }
        H::Booting { took } => {
            let words = format!("the image is up, {} after its first byte", text::duration(*took));
            (RunState::Booting.sign(), "booting", words)
        }
        H::Rebooting { nth, allowed } => {
            (RunState::Assigned.sign(), "rebooting", format!("{nth} of {allowed} times that it may"))
        }
        H::Report { title, verdict, late, .. } => {
            let word = if *late { "late report" } else { "reported" };
            (RunState::Reported.sign(), word, format!("{verdict}: {title}"))
        }
        H::Finished { verdict, reports } => {
            let words = format!("{verdict}, {}", text::count((*reports).into(), "report"));
            (RunState::Finished.sign(), "finished", words)
        }
        H::Failed { reason } => (RunState::Failed.sign(), "failed", reason.clone()),
        H::Cancelled { reason } => (RunState::Cancelled.sign(), "cancelled", reason.clone()),
        H::Retry { attempt, of } => ("⏳", "queued", format!("again, for attempt {attempt} of {of}")),
        H::Requeued => ("⏳", "queued", "again, by hand".to_owned()),
        H::Revised { verdict } => ("", "revised", format!("{verdict}, by a late report")),
        H::Done { verdict, reason: None } => ("", "done", verdict.to_string()),
        H::Done { verdict, reason: Some(reason) } => ("", "done", format!("{verdict}: {reason}")),
        H::Drained => ("", "all done", "no job is left".to_owned()),
        H::Resumed { state } => (state.sign(), "goes on", format!("{state} on {host}")),
        H::Fetching { size, start: 0 } => (FETCHING, "fetching", text::bytes(*size)),
        H::Fetching { size, start } => {
            (FETCHING, "fetching", format!("from {} of {}", text::bytes(*start), text::bytes(*size)))
        }
        H::Fetched { size, took } => (
            "",
            "fetched",
            format!("{} in {}, its digest is right", text::bytes(*size), text::duration(*took)),
        ),
        H::NotFetched { reason } => ("⚠", "not fetched", reason.clone()),
        H::IssueFiled { url, omitted, .. } if omitted.is_empty() => (FILED, "issue filed", url.clone()),
        H::IssueFiled { url, omitted, .. } => {
            (FILED, "issue filed", format!("{url} without {}", omitted.join(", ")))
        }
        H::IssueRefused { reason, .. } => ("⚠", "no issue", format!("and there never will be one: {reason}")),
        H::Idle { stub, reason } => ("", "idle", format!("{}: {reason}", told(*stub))),
        wish => of_a_person(wish, event.by.as_deref()),
    }
}

/// What a person has wished, in words.
fn of_a_person(wish: &Happening, by: Option<&str>) -> (&'static str, &'static str, String) {
    use Happening as H;
    let (sign, word, what) = match wish {
        H::Edited => ("", "edited", "changed"),
        H::Moved => ("", "moved", "to another place in the queue"),
        H::Paused => ("⏸", "paused", "it starts when somebody unpauses it"),
        H::Unpaused => ("⏳", "unpaused", "it may start again"),
        H::Deleted => ("", "deleted", "taken out of sight"),
        H::GroupPaused => ("⏸", "paused", "nothing of the group starts"),
        H::GroupDraining => ("⏸", "draining", "the group takes no more jobs"),
        H::GroupOpen => ("", "open", "the group takes and starts jobs"),
        H::HostAccepted => ("", "accepted", "the host may work"),
        H::HostEdited => ("", "edited", "the host"),
        H::HostPaused => ("⏸", "paused", "the host gets no work"),
        H::HostUnpaused => ("", "unpaused", "the host gets work again"),
        other => ("", other.name(), ""),
    };
    let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
    (sign, word, format!("{what}{by}"))
}

/// What a host without work was told.
#[must_use]
pub fn told(stub: Option<Stub>) -> &'static str {
    match stub {
        Some(Stub::PowerOff) => "told to power off",
        Some(Stub::Wait) => "told to wait",
        Some(Stub::Reboot) => "told to ask again",
        Some(Stub::Next) => "told to boot its next device",
        None => "told that there is nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_core::event::{HostRef, JobRef};
    use dispatch_core::{HostId, JobId, Kind};
    use jiff::Timestamp;

    fn shown(format: Format, events: &[(&str, Happening)]) -> String {
        let at = Timestamp::from_second(1_700_000_000).expect("a time");
        let mut bytes = Vec::new();
        let mut log = Log::new(&mut bytes, format, TimeZone::UTC);
        for (seq, (name, what)) in (1..).zip(events) {
            let job = Some(JobRef { id: JobId::new(at, [0; 10]), name: (*name).to_owned() });
            let host = Some(HostRef { id: HostId::new(at, [0; 10]), label: "192.0.2.7".to_owned() });
            let event = Event { at, group: None, job, run: None, host, by: None, what: what.clone() };
            log.write(&StoredEvent { seq, event }).expect("written");
        }
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_line_tells_time_sign_name_and_what_happened() {
        let text = shown(
            Format::Text,
            &[
                ("longer-name.efi", Happening::Queued { kind: Kind::Efi, size: 15_000_000 }),
                ("a.efi", Happening::Assigned { attempt: 1 }),
                ("a.efi", Happening::Failed { reason: "rebooted without a report".into() }),
            ],
        );
        assert_eq!(
            text,
            "22:13:20  ⏳  longer-name.efi  queued       efi, 14.3 MiB\n\
             22:13:20  📌  a.efi            assigned     to 192.0.2.7\n\
             22:13:20  ❌  a.efi            failed       rebooted without a report\n"
        );
    }

    /// All that can happen to an image that is fetched, and to a report that is to be an issue.
    fn of_github() -> Vec<(&'static str, Happening)> {
        let report = dispatch_core::ReportId::new(Timestamp::UNIX_EPOCH, [0; 10]);
        let url = "https://github.test/o/r/issues/12".to_owned();
        let omitted = vec!["milestone `1.0` (there is none)".to_owned(), "label `x` (too long)".to_owned()];
        vec![
            ("a.iso", Happening::Fetching { size: 1 << 30, start: 0 }),
            ("a.iso", Happening::Fetching { size: 1 << 30, start: 1 << 29 }),
            ("a.iso", Happening::Fetched { size: 1 << 30, took: std::time::Duration::from_millis(91_250) }),
            (
                "a.iso",
                Happening::NotFetched { reason: "its digest is wrong, it is fetched once more".into() },
            ),
            ("a.iso", Happening::IssueFiled { report, url: url.clone(), omitted: Vec::new() }),
            ("a.iso", Happening::IssueFiled { report, url, omitted }),
            ("a.iso", Happening::IssueRefused { report, reason: "the repository has no issues".into() }),
        ]
    }

    #[test]
    fn what_comes_from_github_and_goes_there_is_told_in_lines_like_the_others() {
        assert_eq!(
            shown(Format::Text, &of_github()),
            "22:13:20  🌐  a.iso  fetching     1.0 GiB\n\
             22:13:20  🌐  a.iso  fetching     from 512.0 MiB of 1.0 GiB\n\
             22:13:20      a.iso  fetched      1.0 GiB in 1 min 31 s, its digest is right\n\
             22:13:20  ⚠   a.iso  not fetched  its digest is wrong, it is fetched once more\n\
             22:13:20  🔗  a.iso  issue filed  https://github.test/o/r/issues/12\n\
             22:13:20  🔗  a.iso  issue filed  https://github.test/o/r/issues/12 without milestone `1.0` \
             (there is none), label `x` (too long)\n\
             22:13:20  ⚠   a.iso  no issue     and there never will be one: the repository has no issues\n"
        );
    }

    #[test]
    fn what_comes_from_github_and_goes_there_is_json_that_can_be_read_back() {
        let events = of_github();
        let text = shown(Format::Json, &events);
        let words: Vec<String> = text
            .lines()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).expect("json");
                value["event"].as_str().expect("a word").to_owned()
            })
            .collect();
        let expected =
            ["fetching", "fetching", "fetched", "not-fetched", "issue-filed", "issue-filed", "issue-refused"];
        assert_eq!(words, expected);
        for (line, (_, what)) in text.lines().zip(&events) {
            let event: Event = serde_json::from_str(line).expect("an event");
            assert_eq!(event.what, *what);
        }
    }

    #[test]
    fn a_title_cannot_fake_a_line() {
        let title = "x\n22:13:20  🏁  b.efi  finished  passed\u{1b}[2J".to_owned();
        let at = Timestamp::UNIX_EPOCH;
        let id = dispatch_core::ReportId::new(at, [0; 10]);
        let what = Happening::Report { id, title, verdict: dispatch_core::Verdict::Failed, late: false };
        let text = shown(Format::Text, &[("a.efi", what)]);
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn json_lines_are_events_with_their_number_and_can_be_read_back() {
        let what = Happening::Queued { kind: Kind::Iso, size: 7 };
        let text = shown(Format::Json, &[("a.iso", what.clone())]);
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(
            (&value["seq"], &value["event"], &value["size"]),
            (&1.into(), &"queued".into(), &7.into())
        );
        let event: Event = serde_json::from_str(&text).expect("an event");
        assert_eq!(event.what, what);
    }
}
