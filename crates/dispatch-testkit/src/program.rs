//! A `dispatch` process as a test sees it: its arguments, its log line by line, its sudden end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::firmware::Firmware;
use crate::lab::deadline::Deadline;

/// How long a test waits for a line of the log. Long, because the machine may be busy; an event ends the wait.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A program that did not do as it should. The text has its log.
#[derive(Debug, thiserror::Error)]
#[error("{what}\n{log}")]
pub struct ProgramError {
    what: String,
    log: String,
}

/// A running `dispatch`.
pub struct Program {
    child: Child,
    lines: Receiver<Value>,
    /// Every line that was read.
    pub seen: Vec<Value>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its boot path.
    pub path: String,
}

/// How to start one.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// A folder of its own: `images` is served, `state` and `reports` are kept there.
    pub folder: PathBuf,
    /// Where it listens; port 0 the first time, then the same one.
    pub bind: SocketAddr,
    /// More arguments.
    pub more: Vec<String>,
}

impl Setup {
    /// A session on `folder/images`, on loopback: at an address of its own, because a port of 127.0.0.1 that is free
    /// for a moment, while the program is down, may be given to anybody.
    #[must_use]
    pub fn new(binary: &str, folder: &Path) -> Self {
        Self {
            binary: binary.into(),
            folder: folder.to_owned(),
            bind: SocketAddr::from((own_address(), 0)),
            more: Vec::new(),
        }
    }

    /// The same where QEMU's user network leads: at 127.0.0.1, and a port that the system gives to nobody by itself.
    #[must_use]
    pub fn for_qemu(mut self) -> Self {
        let port = u16::try_from(20_000 + std::process::id() % 10_000).unwrap_or(20_000);
        self.bind = SocketAddr::from(([127, 0, 0, 1], port));
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The whole command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--dir")
            .arg(self.folder.join("images"))
            .arg("--state")
            .arg(self.folder.join("state"))
            .arg("--reports")
            .arg(self.folder.join("reports"))
            .args(["--no-tui", "--log", "json", "--bind"])
            .arg(self.bind.to_string())
            .args(&self.more);
        command
    }

    /// Puts an image into the directory.
    pub fn image(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(self.folder.join("images"))?;
        std::fs::write(self.folder.join("images").join(name), content)
    }

    /// Starts it, and waits until its port is open. The next start has the same port.
    pub fn start(&mut self) -> Result<Program, ProgramError> {
        let program = Program::start(self.command())?;
        self.bind = program.address;
        Ok(program)
    }

    /// Starts it where that is to fail: its exit status and what it wrote to standard error.
    pub fn start_badly(&self) -> std::io::Result<(ExitStatus, String)> {
        let output = self.command().stdin(Stdio::null()).output()?;
        Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The names of the report files, sorted.
    #[must_use]
    pub fn reports(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.folder.join("reports")) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// An address of 127.0.0.0/8 that no other test has: each test is a process of its own.
fn own_address() -> [u8; 4] {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    [127, 1 + high % 100, middle, low]
}

impl Program {
    fn start(mut command: Command) -> Result<Self, ProgramError> {
        let failed = |what: String| ProgramError { what, log: String::new() };
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
                |error| failed(format!("{} cannot be started: {error}", command.get_program().display())),
            )?;
        let stdout = child.stdout.take().ok_or_else(|| failed("no output".to_owned()))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut program = Self { child, lines, seen: Vec::new(), address: unknown, path: String::new() };
        let line = program.until("its boot URL", |line| url_of(line).is_some())?;
        if let Some((address, path)) = url_of(&line) {
            (program.address, program.path) = (address, path);
        }
        Ok(program)
    }

    /// A firmware that boots from it.
    #[must_use]
    pub fn firmware(&self) -> Firmware {
        Firmware::new(self.address, &self.path)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its log, if one comes in time; `None` also when it has ended.
    pub fn next(&mut self, patience: Duration) -> Option<Value> {
        let line = self.lines.recv_timeout(patience).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// Waits for a line. `what` names it for the error.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, ProgramError> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.error(format!("{what} did not come"))),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.error(format!("it ended before {what} came")));
                }
            }
        }
    }

    /// Waits for an event of this name about this job; an empty name is any job.
    pub fn event(&mut self, event: &str, job: &str) -> Result<Value, ProgramError> {
        let about = |line: &Value| job.is_empty() || line["job"]["name"] == job;
        self.until(&format!("`{event}` of `{job}`"), |line| line["event"] == event && about(line))
    }

    /// Ends it with SIGKILL: no last words, nothing tidied up. Returns what it had logged that nobody had read.
    pub fn kill(mut self) -> std::io::Result<Vec<Value>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.lines.iter().collect())
    }

    /// Ends it with SIGTERM, in good order.
    pub fn terminate(self) -> Result<ExitStatus, ProgramError> {
        self.signal("-TERM")
    }

    /// Ends it with SIGINT, as Ctrl-C does.
    pub fn interrupt(self) -> Result<ExitStatus, ProgramError> {
        self.signal("-INT")
    }

    fn signal(mut self, signal: &str) -> Result<ExitStatus, ProgramError> {
        let asked = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        let ended = asked.and_then(|_| crate::lab::process::wait(&mut self.child, Duration::from_secs(20)));
        match ended {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.error("it did not end on its signal".to_owned())),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// Its resident memory in bytes (`VmHWM`, the most there ever was; proc(5)).
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    fn error(&mut self, what: String) -> ProgramError {
        let mut log = self.seen.iter().fold(String::new(), |log, line| log + &format!("  {line}\n"));
        if matches!(self.child.try_wait(), Ok(Some(_)))
            && let Some(mut stderr) = self.child.stderr.take()
        {
            let _ = stderr.read_to_string(&mut log);
        }
        ProgramError { what, log }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn url_of(line: &Value) -> Option<(SocketAddr, String)> {
    let rest = line["message"].as_str()?.strip_prefix("boot URL: http://")?;
    let slash = rest.find('/')?;
    Some((rest[..slash].parse().ok()?, rest[slash..].to_owned()))
}
