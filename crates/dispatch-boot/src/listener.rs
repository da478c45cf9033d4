//! Accepts connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::{Clients, Place};
use crate::connection::Connection;
use crate::idle::Programs;
use crate::neighbour::Neighbours;
use crate::queue::Queue;
use crate::route::BootPath;

/// How many clients may be connected at once: more than any scanner opens by accident, so that a host is always
/// answered.
const MAX_CLIENTS: usize = 4000;

/// How many downloads may go on at once. Each takes a thread.
pub const MAX_DOWNLOADS: usize = 480;

/// How many clients of one address may be connected at once. Many hosts may be behind one (NAT, a container bridge):
/// more than may download at once, so that none of them is turned away by it, and an eighth of all.
const MAX_OF_ONE_ADDRESS: usize = 500;

/// How many bytes of large bodies may be held at once: four of the largest reports. Whoever finds no room asks again.
const MAX_BODIES: usize = 32 << 20;

/// How often people are told of what goes on happening.
const SELDOM: Duration = Duration::from_mins(1);

/// How long a client's machine may be silent before its connection is taken for dead.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The port where none is given.
const DEFAULT_PORT: u16 = 8080;

/// How long clients that are being answered have when the listener is closed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The address; none is every address, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl Default for Bind {
    fn default() -> Self {
        Self { address: None, port: DEFAULT_PORT }
    }
}

/// A text that is no place to listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no address: write ADDRESS:PORT, ADDRESS, :PORT or PORT, such as 192.0.2.1:8080 or [::1]:8080"
)]
pub struct NotAnAddress(String);

impl FromStr for Bind {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Ok(whole) = text.parse::<SocketAddr>() {
            return Ok(Self { address: Some(whole.ip()), port: whole.port() });
        }
        let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(text);
        if is_port(port) {
            let port = port.parse().map_err(|_| NotAnAddress(text.to_owned()))?;
            return Ok(Self { address: None, port });
        }
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = address.parse().map_err(|_| NotAnAddress(text.to_owned()))?;
        Ok(Self { address: Some(address), port: DEFAULT_PORT })
    }
}

/// The port cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error("{0} is taken: another program listens there; end it, or choose another port with --bind")]
    Taken(String),
    /// It is not ours to have.
    #[error("{0} may not be listened on: ports below 1024 need privileges; choose another with --bind")]
    Denied(String),
    /// There is no such address here.
    #[error("{0} is not an address of this machine: choose one of its own with --bind")]
    NotHere(String),
    /// Anything else.
    #[error("cannot listen on {0}: {1}")]
    Other(String, #[source] io::Error),
}

/// How long clients may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a connection may stand idle between requests.
    pub idle: Duration,
    /// How long the head of a request may take, from its first byte.
    pub head: Duration,
    /// How long a client may send nothing inside a body.
    pub silence: Duration,
    /// How long a whole body may take.
    pub body: Duration,
    /// How long a client may take none of a small answer.
    pub write: Duration,
    /// How long to listen to a client that is being refused, so that it gets to read why.
    pub linger: Duration,
    /// How long a client may take none of an image. The run's own deadline should come first.
    pub stall: Duration,
    /// How many connections one address may have. For one more, the oldest idle one is closed; if none is idle, the new
    /// one is.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(75),
            head: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            body: Duration::from_mins(10),
            write: Duration::from_secs(30),
            linger: Duration::from_secs(5),
            stall: Duration::from_secs(130),
            connections: MAX_OF_ONE_ADDRESS,
        }
    }
}

/// What all connections share.
pub(crate) struct Shared<Q> {
    pub(crate) queue: Q,
    pub(crate) path: BootPath,
    pub(crate) programs: Programs,
    pub(crate) neighbours: Neighbours,
    pub(crate) now: fn() -> SystemTime,
    pub(crate) limits: Limits,
    pub(crate) downloads: Semaphore,
    /// Bytes of large bodies.
    pub(crate) bodies: Semaphore,
}

/// The boot listener: open from the moment it is made, so that no host is turned away while its server starts.
pub struct Listener {
    socket: TcpListener,
    bound: Bind,
    programs: Programs,
}

impl Listener {
    /// Opens the port.
    pub fn bind(bind: Bind) -> Result<Self, BindError> {
        let told = |error: io::Error, at: SocketAddr| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken(at.to_string()),
            io::ErrorKind::PermissionDenied => BindError::Denied(at.to_string()),
            io::ErrorKind::AddrNotAvailable => BindError::NotHere(at.to_string()),
            _ => BindError::Other(at.to_string(), error),
        };
        let at = |address: IpAddr| SocketAddr::new(address, bind.port);
        let result = match bind.address {
            Some(address) => listen(at(address)).map_err(|error| told(error, at(address))),
            None => match listen(at(Ipv6Addr::UNSPECIFIED.into())) {
                Ok(listener) => Ok(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    Err(told(error, at(Ipv6Addr::UNSPECIFIED.into())))
                }
                // A machine without IPv6.
                Err(_) => {
                    let all = at(Ipv4Addr::UNSPECIFIED.into());
                    listen(all).map_err(|error| told(error, all))
                }
            },
        };
        let listener = result?;
        let port = listener.local_addr().map_or(bind.port, |address| address.port());
        Ok(Self { socket: listener, bound: Bind { port, ..bind }, programs: Programs::default() })
    }

    /// Serves these programs to hosts without work.
    #[must_use]
    pub fn with_programs(self, programs: Programs) -> Self {
        Self { programs, ..self }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn bound(&self) -> Bind {
        self.bound
    }

    /// Serves until `stop`; then clients that are just being answered have a moment left.
    pub async fn serve<Q: Queue>(
        self,
        queue: Q,
        path: BootPath,
        now: fn() -> SystemTime,
        limits: Limits,
        stop: CancellationToken,
    ) {
        let tasks = TaskTracker::new();
        let neighbours = match Neighbours::open() {
            Ok((neighbours, connection)) => {
                let stop = stop.clone();
                tasks.spawn(async move { stop.run_until_cancelled(connection).await });
                neighbours
            }
            Err(error) => {
                tracing::warn!(
                    "the neighbour table cannot be read, hosts are told apart by address: {error}"
                );
                Neighbours::none()
            }
        };
        let shared = Arc::new(Shared {
            queue,
            path,
            programs: self.programs,
            neighbours,
            now,
            limits,
            downloads: Semaphore::new(MAX_DOWNLOADS),
            bodies: Semaphore::new(MAX_BODIES),
        });
        let clients = Clients::new(limits.connections);
        let (mut refused, mut failed) = (Seldom::default(), Seldom::default());
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        let patience = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.socket, &room) => accepted,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if failed.is_due(now()) {
                        tracing::warn!("connections cannot be accepted: {error}");
                    }
                    // Out of descriptors, or a client that was gone at once. Neither is cured by asking again at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let address = peer.ip().to_canonical();
            let Some(of_address) = clients.admit(address) else {
                if refused.is_due(now()) {
                    tracing::warn!(
                        "{address} has {} connections, all of them busy: more are closed at once",
                        limits.connections
                    );
                }
                continue;
            };
            let connection =
                Connection::new(Arc::clone(&shared), stream, peer, Arc::clone(&of_address.client));
            let patience = patience.clone();
            tasks.spawn(async move {
                patience.run_until_cancelled(connection.run()).await;
                drop::<(Place, OwnedSemaphorePermit)>((of_address, place));
            });
        }
        drop(self.socket);
        tasks.close();
        if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
            patience.cancel();
            tasks.wait().await;
        }
    }
}

/// Something that goes on happening and is told now and then.
#[derive(Debug, Default)]
struct Seldom(Option<SystemTime>);

impl Seldom {
    /// Whether to tell it now; if so, not again for a while.
    fn is_due(&mut self, now: SystemTime) -> bool {
        // A clock that was set back does not make it silent.
        let is_due = self.0.is_none_or(|told| now.duration_since(told).map_or(true, |ago| ago >= SELDOM));
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

type Accepted = (tokio::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<Accepted> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    set_up(&stream);
    Ok((stream, peer, place))
}

fn set_up(stream: &tokio::net::TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let socket = socket2::SockRef::from(stream);
    // A client without these is served as well.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(!at.ip().is_unspecified())?;
    }
    // Else a restart would have to wait for the connections of the program before it to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_happening_is_told_once_a_minute() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds);
        let mut seldom = Seldom::default();
        let due = [0, 1, 59, 60, 61, 119, 120].map(|seconds| seldom.is_due(at(seconds)));
        assert_eq!(due, [true, false, false, true, false, false, true]);
        let set_back = [at(0), at(1)].map(|now| seldom.is_due(now));
        assert_eq!(set_back, [true, false]);
    }

    #[test]
    fn addresses_are_read_in_every_usual_form() {
        let bind = |address: Option<&str>, port| Bind {
            address: address.map(|address| address.parse().expect("an address")),
            port,
        };
        for (text, expected) in [
            ("192.0.2.1:80", bind(Some("192.0.2.1"), 80)),
            ("192.0.2.1", bind(Some("192.0.2.1"), 8080)),
            ("[::1]:90", bind(Some("::1"), 90)),
            ("::1", bind(Some("::1"), 8080)),
            ("[::1]", bind(Some("::1"), 8080)),
            (":8081", bind(None, 8081)),
            ("*:8081", bind(None, 8081)),
            ("8081", bind(None, 8081)),
        ] {
            assert_eq!(text.parse::<Bind>().expect(text), expected);
        }
        for text in ["", ":", "localhost", "1.2.3", "70000", "192.0.2.1:70000"] {
            assert!(text.parse::<Bind>().is_err(), "{text}");
        }
    }
}
