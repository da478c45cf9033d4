//! Says on the links of this machine that a server is here (DNS-SD, RFC 6763, over mDNS, RFC 6762), so that an image
//! that was not told finds it. The server starts one [`Announcement`] beside its [`crate::Listener`].
//!
//! `mdns-sd` does this by itself: it shares port 5353 with an Avahi that may run here, and needs neither that nor
//! D-Bus. It looks for new addresses every few seconds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceInfo};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::listener::Bind;
use crate::route::BootPath;

/// What is announced. beacon looks for it.
const SERVICE: &str = "_dispatch._tcp.local.";
/// Where mDNS is spoken (RFC 6762 §3).
const PORT: u16 = 5353;
/// How long a first announcement may take. Its name is probed for three quarters of a second (RFC 6762 §8.1), and new
/// addresses are looked for every few seconds.
const FIRST_WORDS: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// As long as one string of a TXT record may be (RFC 6763 §6.1).
const MAX_TEXT: usize = 255;

/// What there is to announce.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where the listener listens ([`crate::Listener::bound`]).
    pub bound: Bind,
    /// The boot path.
    pub path: BootPath,
    /// The version of the program.
    pub version: String,
    /// What is served, in words for people; cut off where a TXT record ends.
    pub description: String,
    /// Chance: tells this server from others of the same machine and link.
    pub suffix: u32,
}

/// Why nothing is announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// Somebody keeps the port to himself, or may we not have it.
    #[error("port {PORT} cannot be shared with what has it: {0}")]
    Port(#[source] io::Error),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] mdns_sd::Error),
}

/// A service that is being announced, and asked for.
pub struct Announcement {
    daemon: ServiceDaemon,
    events: Receiver<DaemonEvent>,
    bound: Bind,
    name: String,
}

impl Announcement {
    /// Begins to announce. Where there is no address to announce yet, it is announced when there is one.
    pub fn start(service: &Service) -> Result<Self, AnnounceError> {
        may_share_port(service.bound).map_err(AnnounceError::Port)?;
        let name = format!("dispatch-{:08x}", service.suffix);
        let description = cut(&service.description, MAX_TEXT - "description=".len());
        let texts =
            [("path", service.path.as_str()), ("version", &service.version), ("description", description)];
        // A host name of its own: that of the machine is Avahi's, if that runs here, and has all addresses.
        let host = format!("{name}.local.");
        let mut info =
            ServiceInfo::new(SERVICE, &name, &host, (), service.bound.port, &texts[..])?.enable_addr_auto();
        let bound = service.bound;
        let is_wanted = IfPredicate::new(move |interface| is_announced(bound, interface.ip()));
        info.set_interfaces(vec![IfKind::Predicate(is_wanted)]);
        let daemon = ServiceDaemon::new()?;
        // First, or the first announcement might be missed.
        let events = daemon.monitor()?;
        daemon.register(info)?;
        Ok(Self { daemon, events, bound, name })
    }

    /// The name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Warns where nothing comes of it: `mdns-sd` keeps to itself what it cannot join. Goes on for as long as it is
    /// polled.
    pub async fn watch(&self) {
        let mut is_announced = false;
        let mut first_words = pin!(tokio::time::sleep(FIRST_WORDS));
        loop {
            tokio::select! {
                () = &mut first_words => break,
                event = self.events.recv_async() => match event {
                    Ok(event) => is_announced |= passed_on(&event),
                    Err(_) => break,
                },
            }
        }
        let links: Vec<_> =
            getifaddrs().map(|links| links.filter_map(|it| link(&it)).collect()).unwrap_or_default();
        if !(is_announced && is_heard(self.bound, &links)) {
            tracing::warn!(
                "nothing could be announced by mDNS: no network here that hosts are on takes multicast, or none is up; \
                 images need dispatch.url= on their command line, or DNS-SD"
            );
        }
        while let Ok(event) = self.events.recv_async().await {
            passed_on(&event);
        }
        // Its thread has ended; there is nothing more to come.
        std::future::pending::<()>().await;
    }

    /// Says goodbye (RFC 6762 §10.1), so that nobody finds a server that is gone.
    pub async fn stop(self) {
        let Ok(ended) = self.daemon.shutdown() else { return };
        // Who misses it forgets the server by itself, later.
        let _ = tokio::task::spawn_blocking(move || ended.recv_timeout(LAST_WORDS)).await;
    }
}

/// Passes an error on. Returns whether the event is an announcement.
fn passed_on(event: &DaemonEvent) -> bool {
    if let DaemonEvent::Error(error) = event {
        tracing::warn!("announcing by mDNS: {error}");
    }
    matches!(event, DaemonEvent::Announce(..))
}

/// An address of this machine, and whether its network is up and takes multicast.
fn link(link: &InterfaceAddress) -> Option<(IpAddr, bool)> {
    let address = link.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
    let takes_multicast = link.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST);
    Some((v4.or_else(v6)?, takes_multicast))
}

/// Whether anybody can hear an announcement. To a network without multicast the kernel sends it as well, and nobody
/// there listens.
fn is_heard(bound: Bind, links: &[(IpAddr, bool)]) -> bool {
    links.iter().any(|(address, takes_multicast)| *takes_multicast && is_announced(bound, *address))
}

/// Whether a host that connects to this address reaches the listener. Loopback leads nobody else here, and a
/// link-local address means something only together with an interface; they count if they are what was asked for.
fn is_announced(bound: Bind, address: IpAddr) -> bool {
    match bound.address {
        Some(one) if !one.is_unspecified() => address == one,
        any => {
            let is_link_local = match address {
                IpAddr::V4(address) => address.is_link_local(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
            let is_heard = address.is_ipv4() || any.is_none_or(|any| any.is_ipv6());
            is_heard && !address.is_loopback() && !is_link_local
        }
    }
}

/// Tries what `mdns-sd` will do, because that does not tell when it fails.
fn may_share_port(bound: Bind) -> io::Result<()> {
    let try_it = |any: IpAddr| {
        let at = SocketAddr::new(any, PORT);
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&at.into())
    };
    let v4 = || try_it(Ipv4Addr::UNSPECIFIED.into());
    let v6 = || try_it(Ipv6Addr::UNSPECIFIED.into());
    match bound.address {
        Some(IpAddr::V4(_)) => v4(),
        Some(address) if !address.is_unspecified() => v6(),
        // One is enough.
        _ => v4().or_else(|error| v6().map_err(|_| error)),
    }
}

fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announced(bound: Option<&str>) -> Vec<&'static str> {
        let address = bound.map(|address| address.parse().expect("an address"));
        let all = ["192.0.2.1", "198.51.100.1", "2001:db8::1", "127.0.0.1", "::1", "169.254.1.1", "fe80::1"];
        let is_it = |ip: &&str| is_announced(Bind { address, port: 80 }, ip.parse().expect("an address"));
        all.into_iter().filter(is_it).collect()
    }

    #[test]
    fn one_address_is_announced_if_one_is_listened_on() {
        for one in ["192.0.2.1", "2001:db8::1", "127.0.0.1", "::1", "fe80::1"] {
            assert_eq!(announced(Some(one)), [one]);
        }
    }

    #[test]
    fn every_address_that_is_listened_on_and_leads_here_is_announced() {
        assert_eq!(announced(Some("0.0.0.0")), ["192.0.2.1", "198.51.100.1"]);
        let both = ["192.0.2.1", "198.51.100.1", "2001:db8::1"];
        assert_eq!(announced(None), both);
        assert_eq!(announced(Some("::")), both);
    }

    #[test]
    fn only_a_network_that_takes_multicast_hears() {
        let heard = |bound: Option<&str>, links: &[(&str, bool)]| {
            let ip = |text: &str| text.parse().expect("an address");
            let links: Vec<_> = links.iter().map(|(address, takes)| (ip(address), *takes)).collect();
            is_heard(Bind { address: bound.map(ip), port: 80 }, &links)
        };
        assert!(!heard(None, &[]));
        assert!(!heard(None, &[("192.0.2.1", false), ("127.0.0.1", true), ("fe80::1", true)]));
        assert!(heard(None, &[("192.0.2.1", false), ("2001:db8::1", true)]));
        assert!(!heard(Some("192.0.2.1"), &[("192.0.2.1", false), ("2001:db8::1", true)]));
        assert!(heard(Some("192.0.2.1"), &[("192.0.2.1", true)]));
    }

    proptest! {
        #[test]
        fn a_description_is_cut_between_characters(text in ".{0,400}") {
            let short = cut(&text, MAX_TEXT);
            prop_assert!(text.starts_with(short) && short.len() <= MAX_TEXT);
            prop_assert!(text.len() <= MAX_TEXT || short.len() > MAX_TEXT - 4);
        }
    }
}
