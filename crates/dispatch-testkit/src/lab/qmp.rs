//! A small client of QEMU's machine protocol (QMP) over a unix socket.
//!
//! Follows `docs/interop/qmp-spec` of QEMU: a greeting, `qmp_capabilities`, then a command and its `return` or
//! `error`, with events in between, one JSON object a line. One connection serves one command: QEMU takes one client
//! at a time, and events nobody reads would pile up.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::LabError;
use super::deadline::Deadline;

/// The longest line believed, in bytes; QEMU's answers to the lab's commands are a few hundred.
const LONGEST_LINE: u64 = 1 << 20;

/// Connects, runs one command and returns its `return` value.
///
/// Keeps trying to connect until `limit`, because QEMU opens the socket a moment after its start.
///
/// # Errors
///
/// [`LabError::Monitor`] if QEMU refuses the command or breaks the protocol, [`LabError::TimedOut`] after `limit`.
pub fn execute(socket: &Path, command: &str, arguments: &Value, limit: Duration) -> Result<Value, LabError> {
    let deadline = Deadline::after(limit);
    let stream = connect(socket, deadline)?;
    let mut session = Session { lines: BufReader::new(stream), deadline };
    let greeting = session.read()?;
    if greeting.get("QMP").is_none() {
        return Err(LabError::Monitor(format!("it did not greet us but said {greeting}")));
    }
    session.command("qmp_capabilities", &Value::Null)?;
    session.command(command, arguments)
}

fn connect(socket: &Path, deadline: Deadline) -> Result<UnixStream, LabError> {
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(_) if deadline.pause() => {}
            Err(_) => {
                return Err(LabError::TimedOut {
                    what: "connecting to QEMU's monitor",
                    after: deadline.limit(),
                });
            }
        }
    }
}

struct Session {
    lines: BufReader<UnixStream>,
    deadline: Deadline,
}

impl Session {
    fn command(&mut self, name: &str, arguments: &Value) -> Result<Value, LabError> {
        let mut request = json!({ "execute": name });
        if !arguments.is_null() {
            request["arguments"] = arguments.clone();
        }
        self.arm()?;
        let line = format!("{request}\n");
        self.lines.get_mut().write_all(line.as_bytes()).map_err(|error| broken(&error))?;
        loop {
            let mut answer = self.read()?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
                return Err(LabError::Monitor(format!("it refuses `{name}`: {text}")));
            }
            // Anything else is an event.
        }
    }

    fn read(&mut self) -> Result<Value, LabError> {
        self.arm()?;
        let mut line = String::new();
        let read = std::io::Read::take(&mut self.lines, LONGEST_LINE).read_line(&mut line);
        match read {
            Ok(0) => Err(LabError::Monitor("it closed the connection".to_owned())),
            Ok(_) => serde_json::from_str(&line)
                .map_err(|error| LabError::Monitor(format!("it speaks no JSON: {error}"))),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(self.timed_out()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Gives the socket the time that is left.
    fn arm(&mut self) -> Result<(), LabError> {
        let left = self.deadline.left();
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let stream = self.lines.get_ref();
        stream.set_read_timeout(Some(left)).map_err(|error| broken(&error))?;
        stream.set_write_timeout(Some(left)).map_err(|error| broken(&error))
    }

    fn timed_out(&self) -> LabError {
        LabError::TimedOut { what: "an answer of QEMU's monitor", after: self.deadline.limit() }
    }
}

fn broken(error: &std::io::Error) -> LabError {
    LabError::Monitor(format!("the connection broke: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A monitor that answers each line it gets with the next of these.
    fn monitor(dir: &Path, answers: &'static [&'static str]) -> std::path::PathBuf {
        let path = dir.join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for answer in answers {
                writeln!(stream, "{answer}").unwrap();
                let _ = lines.next();
            }
        });
        path
    }

    #[test]
    fn events_between_command_and_answer_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = monitor(
            dir.path(),
            &[
                "{\"QMP\":{}}",
                "{\"return\":{}}",
                "{\"event\":\"RESET\"}\n{\"return\":{\"status\":\"running\"}}",
            ],
        );
        let answer = execute(&path, "query-status", &Value::Null, Duration::from_secs(5)).unwrap();
        assert_eq!(answer["status"], "running");
    }

    #[test]
    fn a_refused_command_is_reported_in_qemus_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = monitor(
            dir.path(),
            &["{\"QMP\":{}}", "{\"return\":{}}", "{\"error\":{\"desc\":\"no such thing\"}}"],
        );
        let error = execute(&path, "x", &Value::Null, Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("no such thing"));
    }

    #[test]
    fn a_monitor_that_is_not_there_times_out() {
        let dir = tempfile::tempdir().unwrap();
        let error =
            execute(&dir.path().join("none"), "x", &Value::Null, Duration::from_millis(30)).unwrap_err();
        assert!(matches!(error, LabError::TimedOut { .. }));
    }
}
