//! Names into addresses without the C library.
//!
//! The usual way, `getaddrinfo`, loads the modules that the image's `/etc/nsswitch.conf` names, together with
//! the image's own C library, into our static program, and that goes wrong in ways from "not found" to a
//! crash. What a boot URL needs is little: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::dns::{self, DnsError, Kind, Name};
use crate::root::Root;

const MAX_BYTES: u64 = 1024 * 1024;
/// How long one name server may take over one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// As many name servers as the C library looks at.
const MAX_SERVERS: usize = 3;
/// Messages that are not for us are ignored, but not for ever.
const MAX_STRAY_MESSAGES: usize = 32;
/// As many addresses as ureq takes.
const MAX_ADDRESSES: usize = 16;

/// Looks names up.
#[derive(Clone)]
pub struct Names {
    /// The file system with `/etc/hosts` and `/etc/resolv.conf`.
    pub root: Root,
    /// Where name servers listen: 53, except in tests.
    pub dns_port: u16,
    /// Dice, so that a stranger cannot guess the number of a question.
    pub random: fn() -> u64,
}

impl fmt::Debug for Names {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Names").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(80);
        let mut addresses = self.empty();
        for address in self.look_up(host)?.into_iter().take(MAX_ADDRESSES) {
            addresses.push(SocketAddr::new(address, port));
        }
        Ok(addresses)
    }
}

impl Names {
    /// The addresses of `host`, which may be an address itself; at least one. IPv4 comes first: it is what
    /// nearly every lab boots with.
    pub fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let mut found = addresses_in_hosts(&self.text("etc/hosts"), host);
        if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
            // RFC 6761 §6.3: not to be asked of a name server.
            found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if found.is_empty() {
            found = self.ask_name_servers(host)?;
        }
        found.sort_by_key(IpAddr::is_ipv6);
        Ok(found)
    }

    fn ask_name_servers(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let config = ResolvConf::parse(&self.text("etc/resolv.conf"));
        if config.servers.is_empty() {
            return Err(no_address(host, "it is not in /etc/hosts, and /etc/resolv.conf has no name server"));
        }
        let mut why = DnsError::NoSuchName;
        for name in config.candidates(host) {
            match self.ask_each(&config.servers, &name) {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(found),
                Err(LookUpError::Dns(error @ (DnsError::NoSuchName | DnsError::NotOurs))) => why = error,
                Err(LookUpError::Dns(error)) => return Err(no_address(host, &error.to_string())),
                Err(LookUpError::Silence) => return Err(no_address(host, "no name server answers")),
            }
        }
        Err(no_address(host, &why.to_string()))
    }

    /// What the name servers answer to one question; the first that has an answer counts.
    pub fn ask_for(&self, name: &Name, kind: Kind) -> Result<dns::Answer, LookUpError> {
        let servers = ResolvConf::parse(&self.text("etc/resolv.conf")).servers;
        let mut why = LookUpError::Silence;
        for server in servers {
            match self.ask(SocketAddr::new(server, self.dns_port), name, kind, dns::answer) {
                Err(LookUpError::Silence) => {}
                Err(error) if error != LookUpError::Dns(DnsError::NoSuchName) => why = error,
                answer => return answer,
            }
        }
        Err(why)
    }

    /// The domains in which names without a domain are looked up.
    #[must_use]
    pub fn search_domains(&self) -> Vec<String> {
        ResolvConf::parse(&self.text("etc/resolv.conf")).search
    }

    /// Asks one server after the other until one knows.
    fn ask_each(&self, servers: &[IpAddr], name: &str) -> Result<Vec<IpAddr>, LookUpError> {
        let name = Name::parse(name).ok_or(LookUpError::Dns(DnsError::NoSuchName))?;
        let mut failure = LookUpError::Silence;
        for &server in servers {
            let server = SocketAddr::new(server, self.dns_port);
            match self.ask(server, &name, Kind::A, dns::addresses) {
                Ok(mut found) => {
                    found.extend(self.ask(server, &name, Kind::Aaaa, dns::addresses).unwrap_or_default());
                    return Ok(found);
                }
                Err(LookUpError::Dns(DnsError::NoSuchName)) => {
                    return Err(LookUpError::Dns(DnsError::NoSuchName));
                }
                Err(LookUpError::Dns(error)) => failure = LookUpError::Dns(error),
                Err(LookUpError::Silence) => {}
            }
        }
        Err(failure)
    }

    fn ask<T>(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: Kind,
        read: fn(&[u8], &[u8]) -> Result<T, DnsError>,
    ) -> Result<T, LookUpError> {
        // Any 16 of the 64 bits are as random as the others.
        let id = u16::try_from((self.random)() & 0xffff).unwrap_or_default();
        let question = dns::question(name, kind, id);
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // A connected socket hears only that server, and hears if nothing listens there.
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&question)?;
        let mut buffer = [0; 1500];
        for _ in 0..MAX_STRAY_MESSAGES {
            let length = socket.recv(&mut buffer)?;
            match read(buffer.get(..length).unwrap_or_default(), &question) {
                Err(DnsError::NotOurs) => {}
                answer => return answer.map_err(LookUpError::Dns),
            }
        }
        Err(LookUpError::Silence)
    }

    fn text(&self, path: &str) -> String {
        // A missing file and one without entries come to the same.
        self.root
            .read(path, MAX_BYTES)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

/// Why the name servers gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// What one of them said.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// No answer, or the question did not even get out.
    #[error("no name server answers")]
    Silence,
}

impl From<io::Error> for LookUpError {
    fn from(_: io::Error) -> Self {
        Self::Silence
    }
}

fn no_address(host: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no address for `{host}`: {why}"))
}

/// The addresses that a hosts file has for `name` (hosts(5)).
#[must_use]
pub fn addresses_in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|word| word.eq_ignore_ascii_case(name))
        {
            found.push(address);
        }
    }
    found
}

/// What `/etc/resolv.conf` says (resolv.conf(5)), as far as we heed it.
#[derive(Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl ResolvConf {
    /// Reads the file; what is unknown or malformed is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut config = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    config.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("domain" | "search") => config.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    config.ndots = ndots.unwrap_or(config.ndots);
                }
                _ => {}
            }
        }
        config.servers.truncate(MAX_SERVERS);
        config.search.retain(|domain| domain != ".");
        config
    }

    /// The full names that `name` may mean, the likeliest first.
    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let mut names: Vec<_> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let as_it_is = if name.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(as_it_is, name.to_owned());
        names
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
