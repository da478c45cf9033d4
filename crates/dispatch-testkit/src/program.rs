//! A `dispatch` process as a test sees it: its arguments, its log line by line, its sudden end.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::firmware::Firmware;
use crate::lab::deadline::Deadline;
use crate::lab::network::{BRIDGE, Network, PORT};
use crate::lab::process::prefixed;

/// How long a test waits for a line of the log. Long, because the machine may be busy; an event ends the wait.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What of the environment would lead a test elsewhere.
const AMBIENT: [&str; 11] = [
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GH_HOST",
    "GITHUB_API_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

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
    stderr: PathBuf,
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
    /// What it serves, as arguments.
    pub source: Vec<OsString>,
    /// More arguments.
    pub more: Vec<String>,
    /// Variables of its environment. Those that sign in somewhere or lead elsewhere it has only from here.
    pub environment: Vec<(String, String)>,
    /// What stands before the command, to start it elsewhere: in a namespace, say.
    pub prefix: Vec<OsString>,
    /// The configuration of a service, if it is one; then what a session is given is not.
    pub service: Option<PathBuf>,
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
            source: vec!["--dir".into(), folder.join("images").into()],
            more: Vec::new(),
            environment: Vec::new(),
            prefix: Vec::new(),
            service: None,
        }
    }

    /// The same where QEMU's user network leads: at 127.0.0.1, and a port that the system gives to nobody by itself.
    #[must_use]
    pub fn for_qemu(mut self) -> Self {
        let port = u16::try_from(20_000 + std::process::id() % 10_000).unwrap_or(20_000);
        self.bind = SocketAddr::from(([127, 0, 0, 1], port));
        self
    }

    /// The same in a network of its own, at the bridge's address.
    #[must_use]
    pub fn inside(mut self, network: &Network) -> Self {
        self.prefix = network.prefix().to_vec();
        self.bind = SocketAddr::from((BRIDGE, PORT));
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|word| (*word).to_owned()));
        self
    }

    /// A session on a release of a GitHub of our own, or on anything else that is fetched.
    #[must_use]
    pub fn serving(mut self, source: &[&str]) -> Self {
        self.source = source.iter().map(OsString::from).collect();
        self.source.extend(["--cache".into(), self.folder.join("cache").into()]);
        self
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command with another first word, such as `check`, and what is served.
    #[must_use]
    pub fn other(&self, word: &str) -> Command {
        let mut command = self.prepared();
        command.arg(word).args(&self.source).args(&self.more);
        command
    }

    fn prepared(&self) -> Command {
        let mut command = prefixed(&self.prefix, &self.binary);
        for name in AMBIENT {
            command.env_remove(name);
        }
        // Whoever runs the tests may be signed in to GitHub.
        command.env("GH_CONFIG_DIR", self.folder.join("gh"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The whole command, to be read by a test.
    #[must_use]
    pub fn command(&self) -> Command {
        if let Some(file) = &self.service {
            let mut command = self.prepared();
            command.args(["serve", "--log", "json", "--config"]).arg(file).args(&self.more);
            return command;
        }
        let mut command = self.in_terminal();
        command.args(["--no-tui", "--log", "json"]);
        command
    }

    /// The whole command, to be looked at by a person.
    #[must_use]
    pub fn in_terminal(&self) -> Command {
        let mut command = self.prepared();
        command
            .args(&self.source)
            .arg("--state")
            .arg(self.folder.join("state"))
            .arg("--reports")
            .arg(self.folder.join("reports"))
            .arg("--bind")
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
        let stderr = self.folder.join("stderr.log");
        let program = Program::start(self.command(), stderr)?;
        self.bind = program.address;
        Ok(program)
    }

    /// Starts it where that is to fail: its exit status and what it wrote to standard error.
    pub fn start_badly(&self) -> std::io::Result<(ExitStatus, String)> {
        let output = self.command().stdin(Stdio::null()).output()?;
        Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// How the queue stands: `dispatch status --json`.
    pub fn status(&self) -> Result<Value, ProgramError> {
        let mut command = self.prepared();
        command.args(["status", "--json", "--state"]).arg(self.folder.join("state"));
        let failed = |what: String| ProgramError { what, log: String::new() };
        let output = command.output().map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(String::from_utf8_lossy(&output.stderr).into_owned()))
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
    fn start(mut command: Command, stderr: PathBuf) -> Result<Self, ProgramError> {
        let failed = |what: String| ProgramError { what, log: String::new() };
        // A file and not a pipe: nobody reads it while all is well.
        let errors =
            File::create(&stderr).map_err(|error| failed(format!("{}: {error}", stderr.display())))?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn().map_err(|error| {
                failed(format!("{} cannot be started: {error}", command.get_program().display()))
            })?;
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
        let path = String::new();
        let mut program = Self { child, lines, stderr, seen: Vec::new(), address: unknown, path };
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

    /// The next line of its log, if one comes in time. That it has ended is an error.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Value>, ProgramError> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                self.seen.push(line.clone());
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.error("it has ended by itself".to_owned())),
        }
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

    /// Waits until it ends by itself.
    pub fn ends(mut self) -> Result<ExitStatus, ProgramError> {
        match crate::lab::process::wait(&mut self.child, PATIENCE) {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.error("it did not end by itself".to_owned())),
            Err(error) => Err(self.error(error.to_string())),
        }
    }

    /// Ends it with SIGKILL: no last words, nothing tidied up. Returns what it had logged that nobody had read.
    pub fn kill(mut self) -> std::io::Result<Vec<Value>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.lines.iter().collect())
    }

    /// Ends it with SIGTERM, in good order.
    pub fn terminate(self) -> Result<ExitStatus, ProgramError> {
        self.signal(Signal::SIGTERM)
    }

    /// Ends it with SIGINT, as Ctrl-C does.
    pub fn interrupt(self) -> Result<ExitStatus, ProgramError> {
        self.signal(Signal::SIGINT)
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) -> std::io::Result<()> {
        self.send(Signal::SIGHUP)
    }

    /// Asks it to end by SIGTERM, and goes on reading what it says.
    pub fn ask_to_end(&self) -> std::io::Result<()> {
        self.send(Signal::SIGTERM)
    }

    fn send(&self, signal: Signal) -> std::io::Result<()> {
        // A child that has not been waited for keeps its number, so that nobody else is hit.
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        Ok(nix::sys::signal::kill(pid, signal)?)
    }

    fn signal(mut self, signal: Signal) -> Result<ExitStatus, ProgramError> {
        let asked = self.send(signal);
        let ended = asked.and_then(|()| crate::lab::process::wait(&mut self.child, Duration::from_secs(20)));
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
        log += &std::fs::read_to_string(&self.stderr).unwrap_or_default();
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
