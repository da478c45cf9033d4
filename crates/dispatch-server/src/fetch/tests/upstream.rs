//! A server of images whose trouble is a knob.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::watch;

use crate::fetch::{Body, FetchError, Future, Upstream};

/// How many bytes come at once.
const CHUNK: usize = 8 * 1024;

/// What the server does with the next request for an image.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// It says this.
    Fail(FetchError),
    /// The connection breaks after so many bytes of the answer.
    Break(usize),
    /// The answer ends after so many bytes, as if that were all.
    End(usize),
    /// Nothing comes after so many bytes, until [`Server::go_on`].
    Hang(usize),
    /// It knows no ranges.
    Whole,
    /// It sends the range that was asked for, of whatever version.
    AnyVersion,
    /// It begins where nobody asked it to.
    Odd(u64),
    /// The last byte that it sends is wrong.
    Wrong,
    /// It says that the image has so many bytes.
    Size(u64),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) start: u64,
    pub(super) if_range: Option<String>,
}

impl Request {
    pub(super) fn new(name: &str, start: u64, if_range: Option<&str>) -> Self {
        Self { name: name.to_owned(), start, if_range: if_range.map(ToOwned::to_owned) }
    }
}

#[derive(Clone, Debug)]
struct Version {
    bytes: Vec<u8>,
    etag: Option<String>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    files: Arc<Mutex<BTreeMap<String, Version>>>,
    acts: Arc<Mutex<BTreeMap<String, VecDeque<Act>>>>,
    pub(super) requests: watch::Sender<Vec<Request>>,
    go: watch::Sender<bool>,
}

impl Server {
    pub(super) fn new() -> Self {
        let (files, acts) = Default::default();
        Self { files, acts, requests: watch::Sender::new(Vec::new()), go: watch::Sender::new(false) }
    }

    pub(super) fn has(&self, name: &str, bytes: &[u8], etag: Option<&str>) {
        let version = Version { bytes: bytes.to_vec(), etag: etag.map(ToOwned::to_owned) };
        self.files.lock().expect("not poisoned").insert(name.to_owned(), version);
    }

    /// What it does with the next requests for an image; after these it is a good server.
    pub(super) fn will(&self, name: &str, acts: &[Act]) {
        let mut all = self.acts.lock().expect("not poisoned");
        all.entry(name.to_owned()).or_default().extend(acts.iter().cloned());
    }

    /// Nothing hangs any more.
    pub(super) fn go_on(&self) {
        self.go.send_replace(true);
    }

    pub(super) fn asked(&self) -> Vec<Request> {
        self.requests.borrow().clone()
    }

    fn answer(&self, origin: &str, start: u64, if_range: Option<&str>) -> Result<Box<dyn Body>, FetchError> {
        let name = origin.rsplit('/').next().unwrap_or_default();
        let version = self.files.lock().expect("not poisoned").get(name).cloned();
        let act = self.acts.lock().expect("not poisoned").get_mut(name).and_then(VecDeque::pop_front);
        self.requests.send_modify(|all| all.push(Request::new(name, start, if_range)));
        if let Some(Act::Fail(error)) = act {
            return Err(error);
        }
        let Some(Version { mut bytes, etag }) = version else {
            return Err(FetchError::NotThere(format!("there is no {origin} any more")));
        };
        let size = match act {
            Some(Act::Size(size)) => size,
            _ => bytes.len() as u64,
        };
        if let (Some(Act::Wrong), Some(last)) = (&act, bytes.last_mut()) {
            *last ^= 1;
        }
        let is_other = if_range.is_some() && if_range != etag.as_deref();
        let start = match act {
            Some(Act::Whole) => 0,
            Some(Act::Odd(start)) => start,
            Some(Act::AnyVersion) => start,
            _ if is_other => 0,
            _ => start,
        };
        let rest = bytes[usize::try_from(start).expect("small")..].to_vec();
        Ok(Box::new(Answer { rest, sent: 0, start, size, etag, act, go: self.go.subscribe() }))
    }
}

impl Upstream for Server {
    fn open<'a>(
        &'a self,
        origin: &'a str,
        start: u64,
        if_range: Option<String>,
    ) -> Future<'a, Result<Box<dyn Body>, FetchError>> {
        Box::pin(async move { self.answer(origin, start, if_range.as_deref()) })
    }
}

struct Answer {
    rest: Vec<u8>,
    sent: usize,
    start: u64,
    size: u64,
    etag: Option<String>,
    act: Option<Act>,
    go: watch::Receiver<bool>,
}

impl Body for Answer {
    fn start(&self) -> u64 {
        self.start
    }

    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    fn chunk(&mut self) -> Future<'_, Result<Option<Bytes>, FetchError>> {
        Box::pin(async move {
            let until = match self.act {
                Some(Act::Break(until) | Act::End(until) | Act::Hang(until)) => until.min(self.rest.len()),
                _ => self.rest.len(),
            };
            if self.sent >= until {
                match self.act {
                    Some(Act::Break(_)) => return Err(FetchError::Broken("the connection broke".to_owned())),
                    Some(Act::Hang(_)) => {
                        // The sender lives as long as the server.
                        let _ = self.go.wait_for(|go| *go).await;
                        self.act = None;
                        return self.chunk().await;
                    }
                    _ => return Ok(None),
                }
            }
            let end = (self.sent + CHUNK).min(until);
            let bytes = Bytes::copy_from_slice(&self.rest[self.sent..end]);
            self.sent = end;
            Ok(Some(bytes))
        })
    }
}
