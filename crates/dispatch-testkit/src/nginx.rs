//! nginx, for comparison and as a server that images are fetched from: everything that makes it fast is on, and
//! everything that it would do besides is off.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::firmware::Firmware;
use crate::lab::deadline::Deadline;
use crate::lab::process::{find_tool, run};

/// How long it may take to start or to end.
const LIMIT: Duration = Duration::from_secs(20);

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum NginxError {
    /// It is not there.
    #[error("nginx is not installed: install Debian's nginx-light")]
    Missing,
    /// A file or a process of it.
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

/// A running nginx. It ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    master: Child,
    folder: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

fn program() -> Result<PathBuf, NginxError> {
    find_tool("nginx").ok_or(NginxError::Missing)
}

/// What it calls itself.
pub fn version() -> Result<String, NginxError> {
    let program = program()?;
    let output =
        Command::new(&program).arg("-v").output().map_err(|error| NginxError::Io { path: program, error })?;
    // "nginx version: nginx/1.22.1", on standard error.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(text.trim().rsplit(' ').next().unwrap_or("nginx").to_owned())
}

impl Nginx {
    /// Serves `folder/images` on loopback, and keeps everything else that it writes in `folder/nginx`.
    pub fn start(folder: &Path, workers: &str) -> Result<Self, NginxError> {
        let home = folder.join("nginx");
        let failed = |error| NginxError::Io { path: home.clone(), error };
        std::fs::create_dir_all(&home).map_err(failed)?;
        // Else root's workers would be another user, who may not read our folder.
        let is_root = std::fs::metadata(&home).map_err(failed)?.uid() == 0;
        let address = free_address().map_err(failed)?;
        let config = format!(
            "{user}\
             daemon off;\n\
             worker_processes {workers};\n\
             pid \"{home}/pid\";\n\
             error_log \"{home}/error.log\";\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
                 access_log off;\n\
                 sendfile on;\n\
                 tcp_nopush on;\n\
                 default_type application/octet-stream;\n\
                 client_body_temp_path \"{home}/body\";\n\
                 proxy_temp_path \"{home}/proxy\";\n\
                 fastcgi_temp_path \"{home}/fastcgi\";\n\
                 uwsgi_temp_path \"{home}/uwsgi\";\n\
                 scgi_temp_path \"{home}/scgi\";\n\
                 server {{ listen {address}; root \"{images}\"; }}\n\
             }}\n",
            user = if is_root { "user root root;\n" } else { "" },
            home = home.display(),
            images = folder.join("images").display(),
        );
        let path = home.join("nginx.conf");
        std::fs::write(&path, config).map_err(failed)?;
        let master = Command::new(program()?)
            .args(["-e", "error.log", "-p"])
            .arg(&home)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut nginx = Self { master, folder: home, address };
        nginx.wait_until_up()?;
        Ok(nginx)
    }

    /// It tells nobody that it is up, so it is asked.
    fn wait_until_up(&mut self) -> Result<(), NginxError> {
        let firmware = Firmware::new(self.address, "/");
        let deadline = Deadline::after(LIMIT);
        while firmware.head().is_err() {
            let has_ended = self.master.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || !deadline.pause() {
                let log = std::fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
                return Err(NginxError::Odd(format!("nginx does not come up: {log}")));
            }
        }
        Ok(())
    }

    /// The number of its master process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.master.id()
    }

    /// Ends it in good order.
    pub fn stop(mut self) -> Result<(), NginxError> {
        self.signal()?;
        self.master.wait().map_err(|error| NginxError::Io { path: self.folder.clone(), error })?;
        Ok(())
    }

    /// Through nginx itself, which tells its workers; one that is killed leaves them behind.
    fn signal(&self) -> Result<(), NginxError> {
        let config = self.folder.join("nginx.conf");
        let mut command = Command::new(program()?);
        command.args(["-e", "error.log", "-s", "stop", "-p"]).arg(&self.folder).arg("-c").arg(config);
        run(&mut command, LIMIT).map_err(|error| NginxError::Odd(error.to_string()))?;
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.master.try_wait().is_ok_and(|status| status.is_none()) {
            if self.signal().is_err() {
                let _ = self.master.kill();
            }
            let _ = self.master.wait();
        }
    }
}

/// An address of ours, and a port that was free a moment ago: nginx cannot let the system choose.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.251", 0))?.local_addr()
}
