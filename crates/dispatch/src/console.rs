//! The terminal, or whatever standard output is: written to by a thread of its own. A terminal that is held by Ctrl-S
//! must not hold up a host that waits for its answer. While the terminal shows a view, the lines go to a file.

use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many lines may wait. What comes after is lost to the terminal, not to the state.
const WAITING: usize = 20_000;

/// How long the last lines may take when the program ends.
const LAST_LINES: Duration = Duration::from_secs(2);

enum Line {
    Text(Vec<u8>),
    /// Everything after this goes to the file, or to standard output again.
    To(Option<File>),
    /// Everything before this has been written; the other end is told.
    End(SyncSender<()>),
}

static LINES: OnceLock<SyncSender<Line>> = OnceLock::new();

/// Writes to the terminal without waiting for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console;

impl Console {
    /// From now on, lines go to this file, or to standard output again; returns whether they do.
    pub(crate) fn divert(to: Option<File>) -> bool {
        sender().try_send(Line::To(to)).is_ok()
    }

    /// Waits until everything has been written, but not for ever.
    pub(crate) fn finish() {
        let (done, told) = sync_channel(1);
        if sender().try_send(Line::End(done)).is_ok() {
            // Whether the terminal took it or not, this is the end.
            let _: Result<(), RecvTimeoutError> = told.recv_timeout(LAST_LINES);
        }
    }
}

fn sender() -> &'static SyncSender<Line> {
    LINES.get_or_init(|| {
        let (sender, lines) = sync_channel(WAITING);
        std::thread::spawn(move || write_all(&lines));
        sender
    })
}

fn write_all(lines: &Receiver<Line>) {
    let mut out: Box<dyn Write> = Box::new(io::stdout());
    for line in lines {
        match line {
            // A terminal that is gone takes nothing; the session goes on.
            Line::Text(text) => drop(out.write_all(&text).and_then(|()| out.flush())),
            Line::To(Some(file)) => out = Box::new(file),
            Line::To(None) => out = Box::new(io::stdout()),
            Line::End(done) => drop(done.try_send(())),
        }
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match sender().try_send(Line::Text(bytes.to_vec())) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Console {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}
