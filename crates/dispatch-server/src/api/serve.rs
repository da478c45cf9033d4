//! The API's listener. Each connection is a task of its own with deadlines for all that its client may put off, so that
//! nobody who is slow holds up anybody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::ServiceExt as _;

use super::client::Peer;
use super::guard::{Guard, Rules, guard};
use super::observe::observe;
use super::{Api, endpoints, openapi};

/// How many connections there may be.
const MOST_CONNECTIONS: usize = 4096;

/// How many of one address, unless it is a proxy of ours or this machine.
const MOST_OF_ADDRESS: usize = 256;

/// How long the head of a request may take to come, and how long a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long a client may take to read anything of what it is sent.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long requests that are being answered may go on when the service ends.
const END_TIME: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(200);

/// The service is about to end: streams end by this.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(pub(crate) CancellationToken);

/// What a connection takes up, and what the end of the service waits for. Whoever goes on with a connection after its
/// answer, as a WebSocket does, keeps it.
#[derive(Clone)]
pub(crate) struct Held(Arc<Holding>);

struct Holding {
    /// Whoever has not come to an end in time is cut off.
    cut: CancellationToken,
    _place: OwnedSemaphorePermit,
    _of_address: Place,
    _task: TaskTrackerToken,
}

impl Held {
    /// Goes on with the connection, until it is cut off.
    pub(crate) async fn run(self, work: impl Future<Output = ()>) {
        self.0.cut.run_until_cancelled(work).await;
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read as PEM ({error}): give the {what} that server.tls is to use", path.display())]
    File {
        /// What it should be.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// They do not belong together.
    #[error("the certificate {} and the key {} cannot be used ({error}): see server.tls", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
}

impl Tls {
    /// Reads a certificate with its chain, and its key, both PEM.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let file = |what, path: &Path, error| TlsError::File { what, path: path.to_owned(), error };
        let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| file("certificate", cert, error))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| file("key", key, error))?;
        let pair = |error| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), error };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, secret)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// How the API is served.
#[derive(Clone, Default)]
pub struct Serving {
    /// Encrypted, if there is a certificate.
    pub tls: Option<Tls>,
    /// How long a client may take to read anything of what it is sent.
    pub write_time: Option<Duration>,
    /// How many connections there may be.
    pub most_connections: Option<usize>,
}

impl Api {
    /// Answers requests until `stop`, and then for as long as those that have begun take, within limits.
    pub async fn serve(self, listener: TcpListener, serving: Serving, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(serving.most_connections.unwrap_or(MOST_CONNECTIONS)));
        let connections = Connections {
            router: self.router(),
            api: self,
            serving,
            stop: stop.clone(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            of_address: Arc::default(),
        };
        let (cut, tasks) = (connections.cut.clone(), connections.tasks.clone());
        loop {
            let accept = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept => accepted,
            };
            match (accepted, place) {
                (Ok((socket, address)), Ok(place)) => {
                    let Some(held) = connections.hold(address.ip(), place) else {
                        tracing::debug!("{address} has too many connections");
                        continue;
                    };
                    let connections = connections.clone();
                    let peer = Peer { address, is_tls: false };
                    let served = held.clone().run(async move { connections.serve(socket, peer, held).await });
                    tasks.spawn(served);
                }
                // Nobody closes the semaphore.
                (_, Err(_)) => break,
                (Err(error), _) => {
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(END_TIME, tasks.wait()).await.is_err() {
            tracing::warn!("{} connections are cut off: their clients do not come to an end", tasks.len());
            cut.cancel();
            tasks.wait().await;
        }
    }

    /// All endpoints, guarded and observed.
    fn router(&self) -> Router {
        let (router, mut document) = (endpoints().into_inner()).split_for_parts();
        let mut whole = openapi::base();
        whole.merge(std::mem::take(&mut document));
        let gate = Guard { api: self.clone(), rules: Arc::new(Rules::of(&whole)) };
        router
            .fallback(|| async {})
            .layer(from_fn_with_state(gate, guard))
            .layer(from_fn_with_state(self.clone(), observe))
            .with_state(self.clone())
    }
}

/// What the connections have in common.
#[derive(Clone)]
struct Connections {
    api: Api,
    router: Router,
    serving: Serving,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
    of_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    async fn serve(&self, socket: TcpStream, peer: Peer, held: Held) {
        // An answer goes out in one piece, or is a stream whose events should not wait for each other.
        let _ = socket.set_nodelay(true);
        let mut timed = TimeoutStream::new(socket);
        timed.set_write_timeout(Some(self.serving.write_time.unwrap_or(WRITE_TIME)));
        let timed = Box::pin(timed);
        let served = match &self.serving.tls {
            None => self.speak(timed, peer, held).await,
            Some(tls) => match tokio::time::timeout(HANDSHAKE_TIME, tls.0.accept(timed)).await {
                Ok(Ok(encrypted)) => self.speak(encrypted, Peer { is_tls: true, ..peer }, held).await,
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the handshake took too long".to_owned()),
            },
        };
        if let Err(error) = served {
            tracing::debug!("the connection of {} ended: {error}", peer.address);
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        held: Held,
    ) -> Result<(), String> {
        let stopping = Stopping(self.stop.clone());
        let answer = service_fn(|request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stopping.clone());
            request.extensions_mut().insert(held.clone());
            self.router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        ended.map_err(|error| error.to_string())
    }

    /// What a connection takes up; nothing if its address has too many.
    fn hold(&self, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Held> {
        let of_address = self.place(address)?;
        let (cut, task) = (self.cut.clone(), self.tasks.token());
        Some(Held(Arc::new(Holding { cut, _place: place, _of_address: of_address, _task: task })))
    }

    /// A place among the connections of one address, given back when it is dropped.
    fn place(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let trusted = &self.api.settings().trusted_proxies;
        let is_free = address.is_loopback() || trusted.iter().any(|network| network.contains(&address));
        let mut counts = self.of_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= MOST_OF_ADDRESS && !is_free {
            return None;
        }
        *count += 1;
        Some(Place { address, counts: Arc::clone(&self.of_address) })
    }
}

struct Place {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
