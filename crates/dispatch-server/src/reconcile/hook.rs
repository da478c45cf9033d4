//! Runs a command with each event, one after the other, in the order in which they happened.
//!
//! How far it has come is kept, so that a session that goes on after it was cut off leaves out no event; the one that
//! was being told at that moment is told again, with the same `seq`.

use std::process::Stdio;
use std::time::Duration;

use dispatch_store::{Cursor, Store, StoreError, StoredEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::log;

const BATCH: u32 = 50;

/// How long the command may take for one event.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of what the command says is shown when it fails, in bytes.
const LAST_WORDS: u64 = 4096;

/// Why the command did not do what it should.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("it cannot be started: {0}")]
    Start(std::io::Error),
    #[error("it did not end within {}", dispatch_core::text::duration(LIMIT))]
    Slow,
    #[error("it ended with {0}")]
    Failed(String),
}

/// See the module.
pub struct Hook {
    store: Store,
    command: String,
}

impl Hook {
    /// The loop that runs this shell command.
    #[must_use]
    pub fn new(store: Store, command: String) -> Self {
        Self { store, command }
    }

    /// Runs until `stop`, and tells what happened until then.
    pub async fn run(self, stop: CancellationToken) {
        let mut events = self.store.watch_events();
        loop {
            events.mark_unchanged();
            let is_last = stop.is_cancelled();
            if let Err(error) = self.activate().await {
                tracing::error!("--on-event: the events cannot be read at the moment: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            if is_last {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = events.changed() => {}
            }
        }
    }

    async fn activate(&self) -> Result<(), StoreError> {
        loop {
            let told = self.store.cursor(Cursor::OnEvent).await?.unwrap_or(0);
            let events = self.store.events_after(told, BATCH).await?;
            for event in &events {
                if let Err(error) = self.tell(event).await {
                    tracing::warn!(
                        "--on-event with event {} ({}): {error}",
                        event.seq,
                        event.event.what.name()
                    );
                }
                self.store.set_cursor(Cursor::OnEvent, Some(event.seq)).await?;
            }
            if events.is_empty() {
                return Ok(());
            }
        }
    }

    async fn tell(&self, event: &StoredEvent) -> Result<(), HookError> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", &self.command])
            .env("DISPATCH_EVENT", event.event.what.name())
            .stdin(Stdio::piped())
            // Its words would go between the lines of the log, or over the terminal view.
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(HookError::Start)?;
        let group = child.id();
        let Ok(result) = tokio::time::timeout(LIMIT, talk(&mut child, log::json(event))).await else {
            end_group(group);
            return Err(HookError::Slow);
        };
        result
    }
}

async fn talk(child: &mut Child, line: String) -> Result<(), HookError> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read is content without.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
    };
    let read = async move {
        let mut words = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(LAST_WORDS).read_to_end(&mut words).await;
            // Whatever follows must not make it wait.
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        words
    };
    let ((), words, status) = tokio::join!(write, read, child.wait());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let words = String::from_utf8_lossy(&words);
            let last = words.trim_end().lines().last().unwrap_or_default();
            let last: String = last.chars().filter(|letter| !letter.is_control()).collect();
            Err(HookError::Failed(if last.is_empty() {
                status.to_string()
            } else {
                format!("{status}: {last}")
            }))
        }
        Err(error) => Err(HookError::Start(error)),
    }
}

/// Ends what the shell has started, too.
fn end_group(group: Option<u32>) {
    if let Some(group) = group.and_then(|id| i32::try_from(id).ok()) {
        let _ =
            nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
    }
}
