//! A virtual firmware: it asks as OVMF does (`UefiHttpBoot/1.0`): `HEAD`, then `GET` on the same connection, never a
//! range, `Host` without the port. It is as picky as the pickiest: an answer without an exact `Content-Length`, a
//! redirect, a chunked body, or a body of another length than `HEAD` promised all fail the boot.
//!
//! Each may have a source address of its own: all of 127.0.0.0/8 is this machine.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// How long a firmware waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// A virtual server's firmware.
#[derive(Clone, Debug)]
pub struct Firmware {
    server: SocketAddr,
    path: String,
    from: Ipv4Addr,
}

/// What a boot came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booted {
    /// An image.
    Image {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its media type.
        media_type: String,
    },
    /// One of our own programs; the text is what it says on the console.
    Stub(String),
    /// The answer was no success: the firmware goes on by itself.
    Refused(u16),
}

/// Why a boot failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// No connection, or a broken one.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// An answer that firmware does not understand.
    #[error("a firmware does not understand this answer: {0}")]
    Odd(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The length that is promised.
    pub fn length(&self) -> Result<u64, BootError> {
        let length = self.field("content-length").and_then(|length| length.parse().ok());
        length.ok_or_else(|| BootError::Odd("there is no Content-Length".to_owned()))
    }
}

/// A connection to a server.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Waits no longer than this for anything from now on.
    pub fn within(&mut self, patience: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(patience))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Result<Answer, BootError> {
        let status_line = self.line()?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| BootError::Odd(format!("the status line is `{status_line}`")))?;
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Answer { status, fields, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| BootError::Odd(line.clone()))?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a whole answer.
    pub fn answer(&mut self) -> Result<Answer, BootError> {
        let mut answer = self.head()?;
        answer.body = self.body(answer.length()?)?;
        Ok(answer)
    }

    /// Reads so many bytes of a body.
    pub fn body(&mut self, length: u64) -> Result<Vec<u8>, BootError> {
        let mut body = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut body)?;
        if body.len() as u64 == length {
            Ok(body)
        } else {
            let at = body.len();
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the body breaks off after {at} bytes"))
                .into())
        }
    }

    /// Waits for the first byte of an answer.
    pub fn wait(&mut self) -> Result<(), BootError> {
        if self.stream.fill_buf()?.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    /// Takes so many bytes of a body and throws them away: inside the kernel (`MSG_TRUNC`, tcp(7)), which costs this
    /// machine as good as nothing, or copied into our own memory first.
    pub fn discard(&mut self, length: u64, is_copied: bool) -> Result<(), BootError> {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); 1 << 20];
        let known = self.stream.buffer().len().min(usize::try_from(length).unwrap_or(usize::MAX));
        self.stream.consume(known);
        let mut left = length - known as u64;
        let flags = if is_copied { 0 } else { nix::libc::MSG_TRUNC };
        let socket = SockRef::from(self.stream.get_ref());
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            match socket.recv_with_flags(&mut buffer[..most], flags) {
                Ok(0) => {
                    let what = format!("the body breaks off {left} bytes before its end");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what).into());
                }
                Ok(count) => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, BootError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Firmware {
    /// A firmware that boots `http://SERVER/PATH`.
    #[must_use]
    pub fn new(server: SocketAddr, path: &str) -> Self {
        Self { server, path: path.to_owned(), from: Ipv4Addr::LOCALHOST }
    }

    /// The same of another machine: one with the address 127.0.0.`host`.
    #[must_use]
    pub fn of_host(&self, host: u8) -> Self {
        Self { from: Ipv4Addr::new(127, 0, 0, host), ..self.clone() }
    }

    /// The same for another path.
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.from.into()
    }

    /// Connects.
    pub fn connect(&self) -> io::Result<Connection> {
        let stream = connect_from(self.from, self.server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// A request's head as OVMF writes it, with more fields, each with its line's end.
    #[must_use]
    pub fn request(&self, method: &str, more: &str) -> String {
        let host = self.server.ip();
        let path = &self.path;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nUser-Agent: UefiHttpBoot/1.0\r\n{more}\r\n"
        )
    }

    /// `HEAD`, on a connection of its own.
    pub fn head(&self) -> Result<Answer, BootError> {
        let mut connection = self.connect()?;
        connection.send(self.request("HEAD", "").as_bytes())?;
        connection.head()
    }

    /// One request with a body, on a connection of its own.
    pub fn exchange(&self, method: &str, more: &str, body: &[u8]) -> Result<Answer, BootError> {
        let mut connection = self.connect()?;
        let length = if body.is_empty() && method != "POST" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        connection.send(self.request(method, &format!("{length}{more}")).as_bytes())?;
        connection.send(body)?;
        connection.answer()
    }

    /// A boot: `HEAD`, and if that is good, `GET`.
    pub fn boot(&self) -> Result<Booted, BootError> {
        let mut connection = self.connect()?;
        connection.send(self.request("HEAD", "").as_bytes())?;
        let promise = connection.head()?;
        if promise.status != 200 {
            return Ok(Booted::Refused(promise.status));
        }
        let length = promise.length()?;
        connection.send(self.request("GET", "").as_bytes())?;
        let answer = connection.head()?;
        if answer.status != 200 {
            return Ok(Booted::Refused(answer.status));
        }
        for field in ["transfer-encoding", "location"] {
            if let Some(value) = answer.field(field) {
                return Err(BootError::Odd(format!("{field}: {value}")));
            }
        }
        if answer.length()? != length {
            let got = answer.length()?;
            return Err(BootError::Odd(format!("HEAD promised {length} bytes, GET has {got}")));
        }
        let bytes = connection.body(length)?;
        let media_type = answer.field("content-type").unwrap_or_default().to_owned();
        Ok(stub_text(&bytes).map_or(Booted::Image { bytes, media_type }, Booted::Stub))
    }

    /// A boot that breaks off after so many bytes of the body: the cable is pulled, or the power.
    pub fn boot_partly(&self, bytes: u64) -> Result<(), BootError> {
        let mut connection = self.connect()?;
        connection.send(self.request("HEAD", "").as_bytes())?;
        connection.head()?;
        connection.send(self.request("GET", "").as_bytes())?;
        connection.head()?;
        connection.body(bytes).map(drop)
    }

    /// `beacon boot`: the status, and the run.
    pub fn post(&self) -> Result<(u16, Option<String>), BootError> {
        let answer = self.exchange("POST", "", b"")?;
        Ok((answer.status, answer.field("dispatch-run").map(str::to_owned)))
    }

    /// `beacon report`: the status.
    pub fn put(&self, json: &str, run: Option<&str>) -> Result<u16, BootError> {
        let run = run.map(|run| format!("Dispatch-Run: {run}\r\n")).unwrap_or_default();
        Ok(self.exchange("PUT", &run, json.as_bytes())?.status)
    }
}

/// Connects from a certain address, which the standard library cannot.
fn connect_from(from: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect_timeout(&server.into(), PATIENCE)?;
    Ok(socket.into())
}

/// The line of one of our own programs: UTF-16 that begins with the project's name.
fn stub_text(bytes: &[u8]) -> Option<String> {
    let is_small = bytes.starts_with(b"MZ") && bytes.len() < 16 * 1024;
    let wanted: Vec<u8> = "dispatch: ".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = bytes.windows(wanted.len()).position(|window| is_small && window == wanted)?;
    let letters: Vec<u16> = bytes[at..]
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|letter| *letter != 13)
        .collect();
    String::from_utf16(&letters).ok()
}
