//! A real PostgreSQL of the tests' own, from Debian's package: one server for a whole test run, and an empty database for
//! whoever asks.
//!
//! The server has a folder of its own, listens on loopback and on a socket in that folder, and writes nothing to the
//! disk in time (it is thrown away anyway). A guardian process waits for the end of the test run, however it comes, and
//! then ends the server and removes the folder.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::User;

use crate::lab::deadline::Deadline;
use crate::lab::process::{last_words_of, run};

/// Where Debian has each version of it.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Who may do everything there. As every name here, it needs no quotes.
pub const USER: &str = "dispatch";

/// The user's password. Odd enough that it is seen whether it is put into a URL as it should.
pub const PASSWORD: &str = "p@ss/w?rd#%41 &=:";

/// How long a command of it may take.
const LIMIT: Duration = Duration::from_mins(1);

/// How often a port that somebody else takes first is replaced by another.
const TRIES: u32 = 3;

/// The guardian. `$1`: the process that it waits for. `$2`: the folder. Then the server.
const GUARDIAN: &str = r#"
alive=$1
folder=$2
shift 2
# If the guardian itself is killed, so is the server.
setpriv --pdeathsig QUIT "$@" > "$folder/log" 2>&1 &
server=$!
tail --pid="$alive" --sleep-interval=0.2 --follow /dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$folder"
"#;

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// It is not there.
    #[error("PostgreSQL is not installed: install Debian's postgresql")]
    Missing,
    /// It does not run as root, and there is nobody else.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres`: install Debian's postgresql"
    )]
    NoUser,
    /// A file of it.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It does not do as it should.
    #[error("{0}")]
    Odd(String),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PostgresError {
    |error| PostgresError::Io { path: path.to_owned(), error }
}

/// Whether it is installed.
#[must_use]
pub fn is_installed() -> bool {
    programs().is_some()
}

/// The folder with the programs of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.flatten();
    versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path())))
        .map(|(number, path)| (number, path.join("bin")))
        .filter(|(_, bin)| ["initdb", "postgres", "psql"].iter().all(|tool| bin.join(tool).is_file()))
        .max()
        .map(|(_, bin)| bin)
}

/// A server's own certificate and key, as PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct Postgres {
    bin: PathBuf,
    /// Its folder, with its socket and its log.
    pub folder: PathBuf,
    /// Where it listens on loopback.
    pub port: u16,
}

impl Postgres {
    /// The server of this test run: of all processes that one nextest starts, else of this process. It is started if it
    /// does not run yet.
    pub fn shared() -> Result<Self, PostgresError> {
        let (key, alive) = match std::env::var("NEXTEST_RUN_ID") {
            Ok(run) => (run, parent_id()),
            Err(_) => (std::process::id().to_string(), std::process::id()),
        };
        let folder = std::env::temp_dir().join(format!("dispatch-postgres-{key}"));
        let lock = folder.with_extension("lock");
        let file = File::create(&lock).map_err(io(&lock))?;
        file.lock().map_err(io(&lock))?;
        let server = if let Ok(port) = fs::read_to_string(folder.join("port")) {
            let port = port.parse().map_err(|_| PostgresError::Odd(format!("no port: {port}")))?;
            Self { bin: programs().ok_or(PostgresError::Missing)?, folder, port }
        } else {
            if folder.exists() {
                // Somebody was killed while it started.
                fs::remove_dir_all(&folder).map_err(io(&folder))?;
            }
            let server = Self::start_in(&folder, alive, None)?;
            let port = folder.join("port");
            fs::write(&port, server.port.to_string()).map_err(io(&port))?;
            server
        };
        // Whoever waits has it open: nobody needs the name any more.
        let _ = fs::remove_file(&lock);
        Ok(server)
    }

    /// A server for the caller alone, until this process ends.
    pub fn start(certificate: Option<&Certificate>) -> Result<Self, PostgresError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = std::process::id();
        let name = format!("dispatch-postgres-{id}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self::start_in(&std::env::temp_dir().join(name), id, certificate)
    }

    fn start_in(folder: &Path, alive: u32, certificate: Option<&Certificate>) -> Result<Self, PostgresError> {
        let bin = programs().ok_or(PostgresError::Missing)?;
        fs::DirBuilder::new().mode(0o700).create(folder).map_err(io(folder))?;
        let files = files(folder, certificate)?;
        let owner = owner(folder)?;
        for path in files.iter().map(PathBuf::as_path).chain([folder]) {
            std::os::unix::fs::chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))
                .map_err(io(path))?;
        }
        let as_owner = |program: PathBuf| {
            let mut command = Command::new(program);
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw()).current_dir(folder);
            command
        };
        let mut initdb = as_owner(bin.join("initdb"));
        initdb.arg("--pgdata").arg(folder.join("data")).arg("--pwfile").arg(folder.join("password"));
        // A language whose order of letters is not that of their bytes: nothing may depend on it.
        initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]);
        initdb.args(["--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"]);
        run(initdb.args(["--username", USER]), LIMIT).map_err(|error| odd(&error))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let port = free_port().map_err(io(folder))?;
            let server = Self { bin: bin.clone(), folder: folder.to_owned(), port };
            let mut guardian = as_owner("setsid".into());
            guardian.args(["sh", "-c", GUARDIAN, "sh", &alive.to_string()]).arg(folder);
            guardian.arg(bin.join("postgres")).arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
            guardian.args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")]);
            guardian.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300"]);
            if certificate.is_some() {
                guardian.args(["-c", "ssl=on", "-c"]);
                guardian.arg(format!("ssl_cert_file={}", folder.join("certificate").display()));
                guardian.arg("-c").arg(format!("ssl_key_file={}", folder.join("key").display()));
            }
            guardian.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            guardian.spawn().map_err(io(folder))?;
            match server.wait_until_up() {
                Err(_) if tries < TRIES && last_words_of(&folder.join("log")).contains("in use") => {}
                up => return up.map(|()| server),
            }
        }
    }

    /// It tells nobody that it is up, so it is asked.
    fn wait_until_up(&self) -> Result<(), PostgresError> {
        let deadline = Deadline::after(LIMIT);
        loop {
            let Err(error) = self.sql("postgres", "SELECT 1") else { return Ok(()) };
            let log = last_words_of(&self.folder.join("log"));
            if log.contains("system is shut down") || !deadline.pause() {
                return Err(PostgresError::Odd(format!("PostgreSQL does not come up: {error}; {log}")));
            }
        }
    }

    /// An empty database.
    pub fn database(&self) -> Result<Database, PostgresError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(Database { server: self.clone(), name })
    }

    /// Runs a statement as the database's owner, and returns what `psql` prints: a line for each row.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String, PostgresError> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-h"]);
        psql.arg(&self.folder).args(["-p", &self.port.to_string(), "-c", statement]);
        let printed = run(&mut psql, LIMIT).map_err(|error| odd(&error))?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }
}

fn odd(error: &crate::lab::LabError) -> PostgresError {
    PostgresError::Odd(error.to_string())
}

/// Writes what the server reads.
fn files(folder: &Path, certificate: Option<&Certificate>) -> Result<Vec<PathBuf>, PostgresError> {
    let mut files = vec![("password", PASSWORD)];
    if let Some(certificate) = certificate {
        files.extend([("certificate", certificate.certificate.as_str()), ("key", certificate.key.as_str())]);
    }
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(io(&path))?;
        // The server refuses a key that others may read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io(&path))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Who the server runs as: us, or if we are root the user that Debian has for it.
fn owner(folder: &Path) -> Result<User, PostgresError> {
    let us = fs::metadata(folder).map_err(io(folder))?.uid();
    let user = if us == 0 { User::from_name("postgres") } else { User::from_uid(us.into()) };
    user.ok().flatten().ok_or(PostgresError::NoUser)
}

/// A port that was free a moment ago: PostgreSQL cannot let the system choose.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A database, which is dropped with this.
#[derive(Debug)]
pub struct Database {
    /// Its server.
    pub server: Postgres,
    /// Its name.
    pub name: String,
}

impl Database {
    /// Runs a statement there, and returns what `psql` prints: a line for each row.
    pub fn sql(&self, statement: &str) -> Result<String, PostgresError> {
        self.server.sql(&self.name, statement)
    }

    /// Ends all connections to it from the server's side, as when the server is restarted.
    pub fn disconnect_all(&self) -> Result<(), PostgresError> {
        let name = &self.name;
        let ending = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname";
        self.server.sql("postgres", &format!("{ending} = '{name}'")).map(drop)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server is thrown away with all that is in it; this saves room until then.
        let _ = self.server.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_empty_and_apart() {
        let server = Postgres::shared().unwrap();
        let (one, other) = (server.database().unwrap(), Postgres::shared().unwrap().database().unwrap());
        one.sql("CREATE TABLE t (i INT)").unwrap();
        one.sql("INSERT INTO t VALUES (7)").unwrap();
        assert_eq!(one.sql("SELECT i FROM t").unwrap(), "7");
        assert!(other.sql("SELECT i FROM t").is_err());
    }

    #[test]
    fn the_server_ends_with_whoever_it_is_for() {
        let mut life = Command::new("sleep").arg("600").spawn().unwrap();
        let folder = std::env::temp_dir().join(format!("dispatch-postgres-{}-life", std::process::id()));
        let server = Postgres::start_in(&folder, life.id(), None).unwrap();
        let postmaster = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap();
        let postmaster = PathBuf::from(format!("/proc/{}", postmaster.lines().next().unwrap()));
        assert!(postmaster.exists());
        life.kill().unwrap();
        life.wait().unwrap();
        let deadline = Deadline::after(LIMIT);
        while folder.exists() {
            assert!(deadline.pause(), "it is still there");
        }
        assert!(!postmaster.exists());
        assert!(server.sql("postgres", "SELECT 1").is_err());
    }
}
