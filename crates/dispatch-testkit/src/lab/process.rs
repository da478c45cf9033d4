//! Runs the lab's helper programs (apt, dpkg-deb, depmod, objcopy) with a deadline, and finds them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::LabError;
use super::deadline::Deadline;

/// How much of a program's last words an error message repeats, in bytes.
const LAST_WORDS: usize = 2_000;

/// Finds a program on `PATH` or in the system directories, which Debian leaves out of an ordinary user's `PATH`.
#[must_use]
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// A command for `program`, behind one that starts it elsewhere and becomes it, such as `nsenter`; or by itself.
#[must_use]
pub fn prefixed(prefix: &[OsString], program: &Path) -> Command {
    let Some((first, more)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(more).arg(program);
    command
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// [`LabError::Command`] if it cannot be started, fails, or is not done after `limit`; then it is killed.
pub fn run(command: &mut Command, limit: Duration) -> Result<Vec<u8>, LabError> {
    let line = describe(command);
    let failed = |problem: String| LabError::Command { command: line.clone(), problem };
    let no_file = |error| failed(format!("cannot be run: no temporary file: {error}"));
    // Files and not pipes: a full pipe would stop the program, and reading two pipes at once takes threads.
    let mut stdout = tempfile::tempfile().map_err(no_file)?;
    let mut stderr = tempfile::tempfile().map_err(no_file)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().map_err(no_file)?)
        .stderr(stderr.try_clone().map_err(no_file)?)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let status = wait(&mut child, limit).map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    let Some(status) = status else {
        // What sudo runs cannot be killed by us, and must not be waited for then.
        if child.kill().is_ok() {
            let _ = child.wait();
        }
        return Err(failed(format!("was not done after {} s", limit.as_secs())));
    };
    if !status.success() {
        let words = last_words(&read_back(&mut stderr).unwrap_or_default());
        return Err(failed(format!("failed ({status}): {words}")));
    }
    read_back(&mut stdout).map_err(|error| failed(format!("wrote something that cannot be read: {error}")))
}

/// Waits for a child until `limit`; `None` if it still runs.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if !deadline.pause() {
            return Ok(None);
        }
    }
}

/// The end of a program's output, as text.
pub(crate) fn last_words(bytes: &[u8]) -> String {
    let tail = &bytes[bytes.len().saturating_sub(LAST_WORDS)..];
    String::from_utf8_lossy(tail).trim().to_owned()
}

/// The end of a file, as text; empty if there is no such file.
pub(crate) fn last_words_of(file: &Path) -> String {
    last_words(&std::fs::read(file).unwrap_or_default())
}

fn read_back(file: &mut File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn describe(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_reported_with_its_last_words() {
        let error =
            run(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"]), Duration::from_secs(10))
                .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the reason") && text.contains('3'), "{text}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_its_deadline() {
        let deadline = Deadline::after(Duration::from_secs(30));
        let error = run(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("not done"), "{error}");
        assert!(!deadline.left().is_zero());
    }
}
