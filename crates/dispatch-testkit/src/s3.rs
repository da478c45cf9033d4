//! A real S3 server for tests: `s3s-fs`, which keeps its buckets as folders, on loopback and a port of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::process::find_tool;

/// What `cargo install` calls it.
pub const PACKAGE: &str = "s3s-fs";

/// The version that the tests are written for.
pub const VERSION: &str = "0.14.1";

/// The key that it takes.
pub const ACCESS_KEY: &str = "AKIATESTKIT";

/// Its secret.
pub const SECRET_KEY: &str = "testkit-secret-hunter2";

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(30);

/// What it says once it listens, before the address.
const UP: &str = "server is running at ";

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// It is not there.
    #[error(
        "{PACKAGE} is not installed: run `cargo xtask test --quick`, or `cargo install --locked --debug {PACKAGE} \
         --version {VERSION} --features binary`"
    )]
    Missing,
    /// A file or a process of it.
    #[error("the S3 server of the tests cannot be started: {0}")]
    Io(#[from] std::io::Error),
    /// It does not come up.
    #[error("the S3 server of the tests did not say that it listens: {0}")]
    Silent(String),
}

/// A running server with folders of its own. It ends when this is dropped, and also when the test is killed.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    folder: TempDir,
    /// Its root, `http://127.0.0.1:PORT`.
    pub endpoint: String,
}

/// The program: on `PATH`, or where `cargo install` puts it.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let installed = home.map(|home| home.join("bin").join(PACKAGE)).filter(|file| file.is_file());
    find_tool(PACKAGE).or(installed)
}

impl S3Server {
    /// Starts one with these buckets, for a user with [`ACCESS_KEY`] and [`SECRET_KEY`].
    pub fn start(buckets: &[&str]) -> Result<Self, S3Error> {
        let folder = TempDir::new()?;
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket))?;
        }
        let (child, endpoint) = spawn(folder.path())?;
        Ok(Self { child, folder, endpoint })
    }

    /// The same for a test that is left out on a machine without the server, and says so. In CI nothing is left out.
    ///
    /// # Panics
    ///
    /// If it does not start, or is not installed in CI.
    #[must_use]
    #[expect(clippy::print_stderr, clippy::panic, reason = "for tests, which say so in this way")]
    pub fn start_or_leave_out(buckets: &[&str]) -> Option<Self> {
        match Self::start(buckets) {
            Ok(server) => Some(server),
            Err(S3Error::Missing) if std::env::var_os("CI").is_none() => {
                eprintln!("left out: {}", S3Error::Missing);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with what it has on disk, at another port.
    pub fn restart(&mut self) -> Result<(), S3Error> {
        self.kill();
        (self.child, self.endpoint) = spawn(self.folder.path())?;
        Ok(())
    }

    /// The folder of its buckets.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// It chooses its port itself, and says which.
fn spawn(folder: &Path) -> Result<(Child, String), S3Error> {
    let program = program().ok_or(S3Error::Missing)?;
    // The kernel ends it when the thread that started it is gone, however that came.
    let mut command = match find_tool("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    let mut child = command
        .args(["--host", "127.0.0.1", "--port", "0", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
        .arg(folder)
        .env("RUST_LOG", "s3s_fs=info")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let Some(stdout) = child.stdout.take() else {
        return Err(S3Error::Silent("it has no output".to_owned()));
    };
    let (tell, told) = channel();
    // It reads to the end: a full pipe would stop the server.
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(UP) {
                let _ = tell.send(address.trim().to_owned());
            }
        }
    });
    match told.recv_timeout(LIMIT) {
        Ok(endpoint) => Ok((child, endpoint)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(S3Error::Silent(error.to_string()))
        }
    }
}
