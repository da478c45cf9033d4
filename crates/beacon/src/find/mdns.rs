//! Servers on the same link, by multicast (RFC 6762): what dispatch announces by itself, and what Avahi announces
//! for others.
//!
//! We ask as RFC 6762 §5.1 lets a simple program ask: from a port of our own, with answers by unicast (§6.7). So
//! nothing has to be shared with an Avahi or systemd-resolved that may run in the image, and none is needed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::dns::{self, Kind, Name};
use crate::root::Root;

use super::links::{Link, links};
use super::service::{Gathered, SERVICE};
use super::{Finder, Finding};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// RFC 6762 §11: a sign that a message comes from this link.
const HOPS: u32 = 255;

/// When to ask (RFC 6762 §5.2: a second apart), as a message may get lost.
const ASK_AT: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
/// How long one look takes if nobody answers. The next round of the call looks again.
const LOOK: Duration = Duration::from_secs(3);
/// How long to listen for others once one server is known with all that belongs to it. Answers may be held back
/// for up to an eighth of a second (RFC 6762 §6).
const SETTLE: Duration = Duration::from_millis(500);
/// How soon a listening thread notices that it is no longer needed.
const NOTICE: Duration = Duration::from_millis(100);
/// The largest message (RFC 6762 §17).
const MAX_MESSAGE: usize = 9000;
/// Messages that wait to be read; the rest of a flood is dropped.
const MAX_WAITING: usize = 64;

/// Asks for servers on every link of this host.
pub(super) struct Mdns<'a> {
    pub(super) root: Root,
    pub(super) clock: &'a dyn Clock,
}

impl Finder for Mdns<'_> {
    fn find(&self) -> Finding {
        let sockets: Vec<_> = links(&self.root).iter().filter_map(|link| Socket::open(*link).ok()).collect();
        let id = u16::try_from(self.clock.random() & 0xffff).unwrap_or_default();
        let Some(mut browse) = Browse::new(id, self.clock.now()) else { return Finding::default() };
        if sockets.is_empty() {
            return Finding::nothing("no network to look for servers by mDNS");
        }
        let (sender, messages) = sync_channel(MAX_WAITING);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for socket in &sockets {
                let (sender, stop) = (sender.clone(), &stop);
                let listen = move || socket.listen(&sender, stop);
                // Where no thread can be had, the other links may do.
                let _ = thread::Builder::new().spawn_scoped(scope, listen);
            }
            drop(sender);
            loop {
                let now = self.clock.now();
                for question in browse.due(now) {
                    for socket in &sockets {
                        socket.send(&question);
                    }
                }
                let Some(wait) = browse.wait(now) else { break };
                match messages.recv_timeout(wait) {
                    Ok(message) => browse.take(&message, self.clock.now()),
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let servers = browse.gathered.servers("mDNS");
        let nothing = servers.nothing(|| format!("no answer to mDNS for {SERVICE}"));
        Finding { found: servers.found, warnings: servers.warnings, nothing }
    }
}

/// One look, without network and time, so that it can be tested.
struct Browse {
    gathered: Gathered,
    service: Name,
    id: u16,
    begun: Duration,
    /// How many of `ASK_AT` are over.
    rounds: usize,
    /// What has been asked since the last of them.
    asked: Vec<(Name, Kind)>,
    /// When something was found of which nothing was missing.
    complete: Option<Duration>,
}

impl Browse {
    fn new(id: u16, now: Duration) -> Option<Self> {
        let gathered = Gathered::new("local")?;
        let service = Name::parse(&format!("{SERVICE}.local"))?;
        Some(Self { gathered, service, id, begun: now, rounds: 0, asked: Vec::new(), complete: None })
    }

    /// The messages that are to be sent now: one question each, as no more is needed and every responder
    /// understands it.
    fn due(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let mut questions = Vec::new();
        if ASK_AT.get(self.rounds).is_some_and(|at| now >= self.begun.saturating_add(*at)) {
            self.rounds += 1;
            self.asked.clear();
            // Also if one is known already: there may be others.
            questions.push((self.service.clone(), Kind::Ptr));
        }
        questions.extend(self.gathered.missing());
        let mut messages = Vec::new();
        for question in questions {
            if !self.asked.contains(&question) {
                messages.push(dns::multicast_question(&question.0, question.1, self.id));
                self.asked.push(question);
            }
        }
        messages
    }

    /// How long to wait for messages before asking again; `None` when the look is over.
    fn wait(&self, now: Duration) -> Option<Duration> {
        let mut end = self.begun.saturating_add(LOOK);
        if let Some(complete) = self.complete.filter(|_| self.gathered.is_complete()) {
            end = end.min(complete.saturating_add(SETTLE));
        }
        let next = ASK_AT.get(self.rounds).map_or(end, |at| self.begun.saturating_add(*at).min(end));
        (now < end).then(|| next.saturating_sub(now))
    }

    fn take(&mut self, message: &[u8], now: Duration) {
        let records = dns::multicast_records(message, self.id);
        // Nothing to live says goodbye (RFC 6762 §10.1).
        self.gathered.take(records.into_iter().filter(|record| record.ttl > 0));
        if self.complete.is_none() && self.gathered.is_complete() {
            self.complete = Some(now);
        }
    }
}

/// A socket on one link.
struct Socket {
    socket: UdpSocket,
    group: SocketAddr,
}

impl Socket {
    fn open(link: Link) -> io::Result<Self> {
        let (socket, group) = match link {
            Link::V4(address) => {
                let socket = UdpSocket::bind((address, 0))?;
                socket.set_multicast_ttl_v4(HOPS)?;
                (socket, SocketAddr::from((GROUP_V4, PORT)))
            }
            // Here the standard library has no way to set hops; the usual 1 stays on the link as well.
            Link::V6(address, interface) => (
                UdpSocket::bind(SocketAddrV6::new(address, 0, 0, interface))?,
                SocketAddrV6::new(GROUP_V6, PORT, 0, interface).into(),
            ),
        };
        socket.set_read_timeout(Some(NOTICE))?;
        Ok(Self { socket, group })
    }

    fn send(&self, message: &[u8]) {
        // A link on which nothing can be sent answers nothing, which is what the caller learns.
        let _ = self.socket.send_to(message, self.group);
    }

    fn listen(&self, messages: &SyncSender<Vec<u8>>, stop: &AtomicBool) {
        let mut buffer = [0; MAX_MESSAGE];
        while !stop.load(Ordering::Relaxed) {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let message = buffer.get(..length).unwrap_or_default().to_vec();
                    let _ = messages.try_send(message);
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
#[path = "mdns_tests.rs"]
mod tests;
