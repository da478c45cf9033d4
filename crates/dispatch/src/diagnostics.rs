//! What is not an event but should be known: warnings, errors, and the lines at the start. They go to the log as the
//! events do, in the same form; a view shows the newest of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dispatch_server::log::{Format, harmless};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::console::Console;
use crate::real::SystemClock;
use dispatch_server::clock::Clock as _;

/// How many warnings and errors are kept to be shown; the log has all of them.
const KEPT: usize = 200;

/// A warning or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Counts up from 1.
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// The latest warnings and errors. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<VecDeque<Notice>>>);

impl Notices {
    /// All that are kept, the newest last.
    pub(crate) fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn add(&self, at: Timestamp, is_error: bool, text: &str) {
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = notices.back().map_or(0, |newest| newest.number) + 1;
        notices.push_back(Notice { number, at, is_error, text: text.to_owned() });
        if notices.len() > KEPT {
            notices.pop_front();
        }
    }
}

/// Installs the form of the lines. Fails only if there is one already.
pub(crate) fn install(format: Format, zone: TimeZone, notices: Notices) {
    let lines = Lines { format, zone, notices };
    let installed = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(Console)
        .event_format(lines)
        .try_init();
    drop(installed);
}

struct Lines {
    format: Format,
    zone: TimeZone,
    notices: Notices,
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        let now = SystemClock.now();
        let level = *event.metadata().level();
        if level <= Level::WARN {
            self.notices.add(now, level == Level::ERROR, &message.0);
        }
        match self.format {
            Format::Text => writeln!(out, "{}", text_line(now, &self.zone, level, &message.0)),
            Format::Json => {
                let level = level.as_str().to_ascii_lowercase();
                let line = serde_json::json!({ "at": now, "level": level, "message": message.0 });
                writeln!(out, "{line}")
            }
        }
    }
}

fn text_line(now: Timestamp, zone: &TimeZone, level: Level, message: &str) -> String {
    let time = now.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
    let message = harmless(message);
    match level {
        Level::ERROR => format!("{time}  ⛔  error: {message}"),
        Level::WARN => format!("{time}  ❗  {message}"),
        _ => format!("{time}      {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_notices_are_kept_and_counted_on() {
        let notices = Notices::default();
        for number in 1..=KEPT + 5 {
            notices.add(Timestamp::UNIX_EPOCH, false, &number.to_string());
        }
        let all = notices.all();
        assert_eq!((all.len(), all[0].number, all[0].text.as_str()), (KEPT, 6, "6"));
    }
}
