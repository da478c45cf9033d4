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
const LAST_WORDS: usize = 4096;

/// How long after its end the command's last words are read: what it has left running may hold its standard error open.
const AFTER_END: Duration = Duration::from_millis(200);

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

    /// Runs until `stop`, and tells what happened until then, but no longer than until `give_up`.
    pub async fn run(self, stop: CancellationToken, give_up: CancellationToken) {
        tokio::select! {
            () = give_up.cancelled() => {}
            () = self.tell_all(stop) => {}
        }
    }

    async fn tell_all(&self, stop: CancellationToken) {
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
        let mut group = Group::of(&child);
        let talking = talk(&mut child, &mut group, log::json(event));
        tokio::time::timeout(LIMIT, talking).await.unwrap_or(Err(HookError::Slow))
    }
}

async fn talk(child: &mut Child, group: &mut Group, line: String) -> Result<(), HookError> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut words = Vec::new();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read is content without.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
    };
    let read = async {
        let Some(mut stderr) = stderr else { return };
        let mut part = [0; 1024];
        // Also what is more than is shown, or the command would have to wait.
        while let Ok(count @ 1..) = stderr.read(&mut part).await {
            let room = LAST_WORDS - words.len();
            words.extend_from_slice(&part[..count.min(room)]);
        }
    };
    let has_ended = CancellationToken::new();
    let wait = async {
        let status = child.wait().await;
        // What it has left running on purpose is not ours to end.
        group.leave();
        has_ended.cancel();
        status
    };
    let talk = async {
        let late = async {
            has_ended.cancelled().await;
            tokio::time::sleep(AFTER_END).await;
        };
        tokio::select! {
            _ = async { tokio::join!(write, read) } => {}
            () = late => {}
        }
    };
    let (status, ()) = tokio::join!(wait, talk);
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

/// The processes of a command that is under way: the shell, and what it has started. They end with this.
struct Group(Option<i32>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()))
    }

    /// The shell has ended by itself: its number may be somebody else's soon.
    fn leave(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let group = nix::unistd::Pid::from_raw(group);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}
