//! A server on loopback that answers as a test says, and keeps what it was asked. It is for trouble below GitHub's
//! level; what GitHub does is the fake's.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatch_github::{GitHub, Now, Origin, SignIn, TimeLimits, Web};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// The token that must not appear anywhere.
pub(crate) const TOKEN: &str = "ghp_SecretSecretSecretSecretSecretSecret";

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method, target and version.
    pub(crate) line: String,
    /// The header lines.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The target of the request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a target")
    }

    /// Its method.
    pub(crate) fn method(&self) -> &str {
        self.line.split(' ').next().expect("a method")
    }
}

/// What a server does when it was asked.
pub(crate) enum Does {
    /// Writes this, and closes the connection.
    Say(String),
    /// Writes this, and takes the next request of the connection.
    Keep(String),
    /// Writes this and no more, without closing.
    Hang(String),
}

/// An answer with a status, header lines and a body.
pub(crate) fn says(status: &str, headers: &[&str], body: &str) -> Does {
    let headers = headers.iter().flat_map(|line| [line, "\r\n"]).collect::<String>();
    Does::Say(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    ))
}

/// JSON with status 200.
pub(crate) fn json(body: &str) -> Does {
    says("200 OK", &["content-type: application/json"], body)
}

type Handler = Arc<dyn Fn(&Asked) -> Does + Send + Sync>;

/// The server. It ends when it is dropped.
pub(crate) struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    port: u16,
    scheme: &'static str,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers in plain HTTP.
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Does + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(handler)).await
    }

    /// Answers in HTTPS.
    pub(crate) async fn start_tls(
        tls: TlsAcceptor,
        handler: impl Fn(&Asked) -> Does + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(tls), Arc::new(handler)).await
    }

    async fn listen(tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut tasks = JoinSet::new();
        let log = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log, tls) = (Arc::clone(&handler), Arc::clone(&log), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, &handler, &log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &handler, &log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { asked, port, scheme, _tasks: tasks }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the log").clone()
    }

    /// Where it listens, under this name.
    pub(crate) fn url_as(&self, host: &str, path: &str) -> Url {
        Url::parse(&format!("{}://{host}:{}{path}", self.scheme, self.port)).expect("a URL")
    }

    /// Where it listens.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.url_as("127.0.0.1", path)
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, handler: &Handler, log: &Mutex<Vec<Asked>>) {
    while let Some(asked) = request(&mut stream).await {
        let does = handler(&asked);
        log.lock().expect("the log").push(asked);
        let (text, then) = match does {
            Does::Say(text) => (text, None),
            Does::Keep(text) => (text, Some(true)),
            Does::Hang(text) => (text, Some(false)),
        };
        if stream.write_all(text.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        match then {
            Some(true) => {}
            Some(false) => std::future::pending().await,
            None => {
                let _ = stream.shutdown().await;
                return;
            }
        }
    }
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next()?.to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let asked = Asked { line, headers, body: body.to_owned() };
            let length = asked.header("content-length").map_or(0, |text| text.parse().expect("a length"));
            if body.len() >= length {
                return Some(asked);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

/// The time at which every test happens.
pub(crate) fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("a time")
}

/// A clock that stands still.
pub(crate) fn clock() -> Now {
    Arc::new(noon)
}

/// The web without further certificates, at noon.
pub(crate) fn web() -> Web {
    Web::new(&[], clock()).expect("the web")
}

/// The web for which these files are authorities.
pub(crate) fn web_trusting(ca_certs: &[PathBuf]) -> Web {
    Web::new(ca_certs, clock()).expect("the web")
}

/// The web that does not wait long.
pub(crate) fn impatient() -> Web {
    let limits = TimeLimits {
        answer: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        ..TimeLimits::default()
    };
    Web::with_limits(&[], clock(), limits).expect("the web")
}

/// GitHub with a token.
pub(crate) fn github(web: Web, api: Url) -> GitHub {
    GitHub::new(web, api, token(Origin::Flag)).expect("a client")
}

/// The token from somewhere.
pub(crate) fn token(from: Origin) -> SignIn {
    SignIn::Token { token: SecretString::from(TOKEN), from }
}

/// All bytes of a download.
pub(crate) async fn all(mut download: dispatch_github::Download) -> Result<String, dispatch_github::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(bytes).expect("text"))
}
