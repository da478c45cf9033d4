//! A plain HTTP client: it does what it is told, and nothing by itself.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(20);

/// An answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether as much came as was promised.
    pub(crate) is_whole: bool,
    /// Whether the connection ended, and the client did not just tire of waiting.
    pub(crate) is_over: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A request in the making.
pub(crate) struct Ask {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub(crate) fn get(url: &str) -> Ask {
    Ask::new("GET", url)
}

pub(crate) fn post(url: &str, body: &Value) -> Ask {
    Ask { body: body.to_string().into_bytes(), ..Ask::new("POST", url) }
}

pub(crate) fn patch(url: &str, body: &Value) -> Ask {
    Ask { body: body.to_string().into_bytes(), ..Ask::new("PATCH", url) }
}

impl Ask {
    pub(crate) fn new(method: &str, url: &str) -> Self {
        let headers = vec![("user-agent".to_owned(), "test".to_owned())];
        Self { method: method.to_owned(), url: url.to_owned(), headers, body: Vec::new() }
    }

    pub(crate) fn raw(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// What comes; an error if nothing does.
    pub(crate) fn try_send(&self) -> io::Result<Reply> {
        let rest = self.url.strip_prefix("http://").expect("an HTTP address");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = host.parse().expect("an address");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "{} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n", self.method)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if !self.body.is_empty() {
            write!(stream, "content-type: application/json\r\ncontent-length: {}\r\n", self.body.len())?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(&self.body)?;
        let mut all = Vec::new();
        // What came before it broke counts.
        let ended = stream.read_to_end(&mut all);
        let is_over = !ended
            .as_ref()
            .is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
        let end = all.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            ended?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        Ok(Reply { is_over, ..read(&all[..end], &all[end + 4..], self.method == "HEAD") })
    }

    /// What comes.
    pub(crate) fn send(&self) -> Reply {
        self.try_send().expect("an answer")
    }
}

fn read(head: &[u8], body: &[u8], is_head: bool) -> Reply {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let len = headers.iter().find(|(name, _)| name == "content-length");
    let len: Option<usize> = len.and_then(|(_, len)| len.parse().ok());
    let is_whole = is_head || len.is_none_or(|len| len == body.len());
    Reply { status: status.expect("a status"), headers, body: body.to_vec(), is_whole, is_over: true }
}
