//! A network for virtual servers, in a namespace of its own: a bridge, a tap for each server, DHCP.
//!
//! The machine's own network is never touched: what is made here is in a namespace, and is gone when the [`Network`]
//! is dropped or the process that owns it has died. Root makes the namespace directly, anybody else inside a user
//! namespace, where the system allows that. Programs are started inside with a command in front of theirs
//! ([`Network::prefix`]), which becomes them, so that they keep their process id and their parent.
//!
//! Addresses are those of RFC 5737 and RFC 3849: for documentation, and so nobody's.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::LabError;
use super::deadline::Deadline;

/// The bridge's address: the one that a program in the namespace listens on.
pub const BRIDGE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The same over IPv6.
pub const BRIDGE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// The port to listen on: nobody else is there who could have it.
pub const PORT: u16 = 8080;

/// How many servers there is room for.
pub const TAPS: usize = 2;

/// How long the network may take to be up.
const LIMIT: Duration = Duration::from_secs(20);

const SCRIPT: &str = include_str!("network.sh");

/// How a virtual server is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Link {
    /// By QEMU's user network: needs no privileges, sees the host as 10.0.2.2, and is seen by it as 127.0.0.1.
    #[default]
    User,
    /// By a tap.
    Tap {
        /// What starts QEMU where the tap is.
        prefix: Vec<OsString>,
        /// The tap's name.
        name: String,
    },
}

/// What DHCP says to those that boot over HTTP. Whoever has a URL in its boot option needs nothing of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootUrls<'a> {
    /// Over IPv4 (RFC 2132 option 67, with vendor class `HTTPClient`; UEFI 2.10 §24.7.3).
    pub v4: Option<&'a str>,
    /// Over IPv6 (RFC 5970 option 59, with vendor class `HTTPClient`).
    pub v6: Option<&'a str>,
}

/// Where a server on the bridge finds the program, if that listens at this address.
#[must_use]
pub fn boot_url(address: IpAddr) -> String {
    format!("http://{}/dispatch", SocketAddr::from((address, PORT)))
}

/// A network that is up.
#[derive(Debug)]
pub struct Network {
    /// Lives as long as its standard input, which this process holds.
    holder: Child,
    prefix: Vec<OsString>,
    log: Arc<Mutex<String>>,
    /// Where dnsmasq keeps its leases.
    _folder: TempDir,
}

impl Network {
    /// Makes a network.
    ///
    /// # Errors
    ///
    /// [`LabError::Network`] if this system does not allow it, or lacks a program for it.
    pub fn start(urls: BootUrls<'_>) -> Result<Self, LabError> {
        // Root first tries without a user namespace: many systems forbid those to everybody.
        let mut why = String::new();
        for is_user in [false, true] {
            match Self::start_as(is_user, urls) {
                Ok(network) => return Ok(network),
                Err(error) => why = format!("{why}\n{error}"),
            }
        }
        Err(LabError::Network(why.trim().to_owned()))
    }

    /// What has to stand before a command for it to run inside.
    #[must_use]
    pub fn prefix(&self) -> &[OsString] {
        &self.prefix
    }

    /// The place of a server, numbered from 0 to [`TAPS`] - 1.
    #[must_use]
    pub fn tap(&self, number: usize) -> Link {
        Link::Tap { prefix: self.prefix.clone(), name: format!("tap{number}") }
    }

    /// What the DHCP server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start_as(is_user: bool, urls: BootUrls<'_>) -> Result<Self, LabError> {
        let failed = |what: String| LabError::Network(what);
        let folder = TempDir::new().map_err(|error| failed(format!("no temporary folder: {error}")))?;
        let mut unshare = Command::new("unshare");
        if is_user {
            unshare.args(["--user", "--map-root-user"]);
        }
        let mut holder = unshare
            .args(["--net", "--pid", "--fork", "--kill-child", "sh", "-c", SCRIPT, "sh"])
            .args([urls.v4.unwrap_or_default(), urls.v6.unwrap_or_default()])
            .arg(folder.path().join("leases"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("unshare (util-linux) cannot be run: {error}")))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        if let (Some(stdout), Some(stderr)) = (holder.stdout.take(), holder.stderr.take()) {
            read_lines(stdout, sender.clone(), Arc::clone(&log));
            read_lines(stderr, sender, Arc::clone(&log));
        }
        let mut network = Self { holder, prefix: Vec::new(), log, _folder: folder };
        let Some(pid) = wait_until_up(&lines) else {
            return Err(failed(format!("the network does not come up: {}", network.log().trim())));
        };
        let words = ["nsenter", "--target", &pid, "--net", "--preserve-credentials"];
        network.prefix = words.into_iter().map(OsString::from).collect();
        if is_user {
            network.prefix.insert(3, "--user".into());
        }
        network.prefix.push("--".into());
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What it holds is killed with it, see `--kill-child`.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Reads until the end, so that no pipe fills up.
fn read_lines(from: impl Read + Send + 'static, to: Sender<String>, log: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
            drop(log);
            // Nobody listens any more once the network is up.
            let _ = to.send(line);
        }
    });
}

/// The holder's process id, once it has made the network and its DHCP server has opened its sockets.
fn wait_until_up(lines: &Receiver<String>) -> Option<String> {
    let deadline = Deadline::after(LIMIT);
    let (mut pid, mut has_sockets) = (None, false);
    while pid.is_none() || !has_sockets {
        match lines.recv_timeout(deadline.left()) {
            Ok(line) => {
                has_sockets |= line.contains("sockets bound");
                pid = pid.or_else(|| line.strip_prefix("holder ").map(str::to_owned));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
    pid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::process::{prefixed, run};

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    fn a_program_inside_sees_the_bridge_and_nothing_of_the_machine() {
        let network = match Network::start(BootUrls::default()) {
            Ok(network) => network,
            // Many systems forbid it; CI must not.
            Err(LabError::Network(why)) if std::env::var_os("CI").is_none() => {
                return eprintln!("left out: {why}");
            }
            Err(error) => panic!("{error}"),
        };
        let mut ip = prefixed(network.prefix(), "ip".as_ref());
        let links = run(ip.args(["-o", "link"]), LIMIT).unwrap();
        let links = String::from_utf8(links).unwrap();
        let mut names: Vec<&str> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        names.retain(|name| !name.contains('@'));
        assert_eq!(names, ["lo", "br0", "tap0", "tap1"]);
        let pid = network.prefix()[2].clone();
        drop(network);
        assert!(!std::path::Path::new("/proc").join(pid).join("fd/0").exists(), "its holder has ended");
    }
}
