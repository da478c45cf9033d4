//! What is not an event but should be known: warnings, errors, and the lines at the start. They go to the log as the
//! events do, in the same form.

use std::fmt;

use dispatch_server::log::Format;
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

/// Installs the form of the lines. Fails only if there is one already.
pub(crate) fn install(format: Format, zone: TimeZone) {
    let lines = Lines { format, zone };
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
    let message: String =
        message.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match level {
        Level::ERROR => format!("{time}  ⛔  error: {message}"),
        Level::WARN => format!("{time}  ❗  {message}"),
        _ => format!("{time}      {message}"),
    }
}
