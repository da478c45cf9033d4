//! Fetches one image, as far as it comes at one go.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dispatch_boot::cache::{Begun, Cache, CacheError, Finished, Part, Pin};
use dispatch_core::Digest;
use dispatch_core::fetch::{Failure, Key};
use dispatch_core::text;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::course::Course;
use super::upstream::{Body, FetchError, Upstream};
use crate::clock::Clock;
use crate::engine::later;

/// How many bytes are written at once.
const PIECE: usize = 1 << 20;

/// How long the other side may send nothing.
const STALL: Duration = Duration::from_mins(1);

/// How often the log says how far it is.
const LINE: Duration = Duration::from_secs(10);

/// So many bytes are progress.
const PROGRESS: u64 = 64 * 1024;

/// One try to fetch an image.
pub(super) struct Download {
    pub(super) key: Key,
    pub(super) origin: String,
    pub(super) cache: Cache,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) course: Arc<Course>,
    /// What an earlier try of this session has of it.
    pub(super) part: Option<Box<Part>>,
    pub(super) pause: CancellationToken,
    /// Told once, when the first bytes come: how much was here before.
    pub(super) begun: mpsc::UnboundedSender<(Key, u64)>,
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Came {
    /// All of it is here, and is what it should be.
    Whole { digest: Digest, pin: Pin, took: Duration },
    /// It is here already, or was a moment ago: another process is to be thanked.
    ByAnother,
    /// It was told to pause.
    Paused { part: Option<Box<Part>> },
    /// It did not come, or not all of it.
    Failed { failure: Failure, has_progressed: bool, part: Option<Box<Part>> },
}

impl Came {
    fn failed(failure: Failure) -> Self {
        Self::Failed { failure, has_progressed: false, part: None }
    }
}

/// What ends a try early.
enum End {
    Paused,
    Failed(Failure),
    /// The part is of no use, and neither would any other be.
    Spoilt(String),
}

impl From<CacheError> for End {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Stopped => Self::Paused,
            CacheError::TooMuch { .. } => Self::Spoilt(error.to_string()),
            CacheError::Full { .. } => Self::Failed(Failure::Full(error.to_string())),
            CacheError::Io { .. } | CacheError::Unusable { .. } => {
                Self::Failed(Failure::Cache(error.to_string()))
            }
        }
    }
}

impl From<FetchError> for End {
    fn from(error: FetchError) -> Self {
        Self::Failed(error.into())
    }
}

/// Does something with a part where that may block.
async fn blocking<T: Send + 'static>(
    part: Box<Part>,
    work: impl FnOnce(&mut Part) -> Result<T, CacheError> + Send + 'static,
) -> Result<(Box<Part>, Result<T, CacheError>), End> {
    let mut part = part;
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut part);
        (part, result)
    });
    done.await.map_err(|error| End::Failed(Failure::Cache(error.to_string())))
}

impl Download {
    /// Fetches until all is here, or something is in the way.
    pub(super) async fn run(mut self) -> Came {
        let part = match self.part.take() {
            Some(part) => part,
            None => match self.begin().await {
                Ok(part) => part,
                Err(came) => return came,
            },
        };
        let before = part.length();
        let mut part = Some(part);
        let end = match self.fetch(&mut part).await {
            Ok(()) => return self.finish(part).await,
            Err(end) => end,
        };
        let got = length(part.as_deref());
        match end {
            End::Paused => Came::Paused { part },
            End::Failed(failure) => {
                Came::Failed { failure, has_progressed: got >= before.saturating_add(PROGRESS), part }
            }
            End::Spoilt(why) => match Self::discard(part).await {
                Ok(()) => Came::failed(Failure::Wrong(why)),
                Err(failure) => Came::failed(failure),
            },
        }
    }

    /// Looks at what earlier sessions left of it.
    async fn begin(&self) -> Result<Box<Part>, Came> {
        let (cache, key, course) = (self.cache.clone(), self.key, Arc::clone(&self.course));
        let begin = move || cache.begin(key, course.size, &course.watch);
        match tokio::task::spawn_blocking(begin).await {
            Ok(Ok(Begun::Part(part))) => Ok(part),
            Ok(Ok(Begun::Here)) => Err(Came::ByAnother),
            Ok(Ok(Begun::Busy)) => Err(Came::failed(Failure::Busy)),
            Ok(Err(error)) => Err(match End::from(error) {
                End::Failed(failure) => Came::failed(failure),
                End::Paused | End::Spoilt(_) => Came::Paused { part: None },
            }),
            Err(error) => Err(Came::failed(Failure::Cache(error.to_string()))),
        }
    }

    async fn discard(part: Option<Box<Part>>) -> Result<(), Failure> {
        let Some(part) = part else { return Ok(()) };
        match tokio::task::spawn_blocking(move || part.discard()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Cache(error.to_string())),
            Err(error) => Err(Failure::Cache(error.to_string())),
        }
    }

    /// All of it came: is it what it should be?
    async fn finish(&self, part: Option<Box<Part>>) -> Came {
        let failed = |failure| Came::Failed { failure, has_progressed: true, part: None };
        let lost = || failed(Failure::Cache("the writer of the cache has ended".to_owned()));
        let Some(part) = part else { return lost() };
        let expected = self.key.digest();
        let took = self.clock.now().duration_since(self.course.since).unsigned_abs();
        match tokio::task::spawn_blocking(move || part.finish(expected)).await {
            Ok(Ok(Finished::Right(digest, pin))) => Came::Whole { digest, pin, took },
            Ok(Ok(Finished::Lost)) => Came::ByAnother,
            Ok(Ok(Finished::Wrong(found))) => failed(Failure::Wrong(match expected {
                Some(expected) => format!("its digest is {found}, and its source says {expected}"),
                None => "it is not as long as its source says".to_owned(),
            })),
            Ok(Err(error)) => match End::from(error) {
                End::Failed(failure) => failed(failure),
                End::Paused | End::Spoilt(_) => Came::Paused { part: None },
            },
            Err(_) => lost(),
        }
    }

    /// Fetches what is missing of it.
    async fn fetch(&self, part: &mut Option<Box<Part>>) -> Result<(), End> {
        let size = self.course.size;
        self.note(part.as_deref());
        if length(part.as_deref()) == size {
            return Ok(());
        }
        let body = self.open(part).await?;
        let here = length(part.as_deref());
        // Nobody listens only where the session ends.
        let _ = self.begun.send((self.key, here));
        tracing::info!("{}: {}", self.course.name, beginning(here, size));
        self.take(body, part).await?;
        match length(part.as_deref()) {
            length if length == size => Ok(()),
            length => Err(End::Failed(Failure::Network(format!(
                "it ended after {} of {}",
                text::bytes(length),
                text::bytes(size)
            )))),
        }
    }

    /// Asks for what is missing, and makes the part ready for what comes.
    async fn open(&self, part: &mut Option<Box<Part>>) -> Result<Box<dyn Body>, End> {
        let (mut start, mut etag) =
            part.as_ref().map_or((0, None), |part| (part.length(), part.etag().map(ToOwned::to_owned)));
        // A weak one says nothing of the bytes (RFC 9110 §8.8.1). Without any, a wrong digest tells of a mixture; where
        // none is known, nothing would.
        etag = etag.filter(|etag| !etag.starts_with("W/") && start > 0);
        if etag.is_none() && self.key.digest().is_none() {
            start = 0;
        }
        let mut body = self.ask(start, etag.clone()).await?;
        let is_other = body.etag().zip(etag.as_deref()).is_some_and(|(is, was)| is != was);
        if body.start() != 0 && (body.start() != start || is_other) {
            // It does not fit to what is here.
            body = self.ask(0, None).await?;
        }
        if let Some(size) = body.size().filter(|size| *size != self.course.size) {
            let should = self.course.size;
            return Err(End::Spoilt(format!("it has {size} bytes, and its source says {should}")));
        }
        match body.start() {
            0 => {
                let etag = body.etag().map(ToOwned::to_owned);
                self.write(part, move |part| part.restart(etag.as_deref())).await?;
            }
            from if length(part.as_deref()) == from => {}
            from => {
                let why = format!("it began with byte {from}, which nobody asked for");
                return Err(End::Failed(Failure::Network(why)));
            }
        }
        self.note(part.as_deref());
        Ok(body)
    }

    async fn ask(&self, start: u64, etag: Option<String>) -> Result<Box<dyn Body>, End> {
        let give_up = later(self.clock.now(), STALL);
        tokio::select! {
            body = self.upstream.open(&self.origin, start, etag) => Ok(body?),
            () = self.pause.cancelled() => Err(End::Paused),
            () = self.clock.sleep_until(give_up) => Err(silent()),
        }
    }

    /// Takes what comes, until nothing more does.
    async fn take(&self, mut body: Box<dyn Body>, part: &mut Option<Box<Part>>) -> Result<(), End> {
        let mut buffer = BytesMut::new();
        let mut line = later(self.clock.now(), LINE);
        let end = loop {
            match self.next(body.as_mut(), &mut line).await {
                Ok(Some(bytes)) => {
                    buffer.extend_from_slice(&bytes);
                    let here = length(part.as_deref());
                    self.course.note(here + buffer.len() as u64, self.clock.now());
                    if buffer.len() >= PIECE {
                        let bytes = buffer.split().freeze();
                        self.write(part, move |part| part.append(&bytes)).await?;
                    }
                }
                Ok(None) => break Ok(()),
                Err(end) => break Err(end),
            }
        };
        // Also of what broke off: it need not come again.
        let bytes = buffer.freeze();
        self.write(part, move |part| part.append(&bytes)).await?;
        self.note(part.as_deref());
        end
    }

    /// The next bytes. While they are waited for, the log goes on.
    async fn next(&self, body: &mut dyn Body, line: &mut Timestamp) -> Result<Option<Bytes>, End> {
        let give_up = later(self.clock.now(), STALL);
        let mut chunk = body.chunk();
        loop {
            let now = self.clock.now();
            if now >= *line {
                tracing::info!("{}", self.course.line());
                *line = later(now, LINE);
            }
            if now >= give_up {
                return Err(silent());
            }
            tokio::select! {
                bytes = &mut chunk => return Ok(bytes?),
                () = self.pause.cancelled() => return Err(End::Paused),
                () = self.clock.sleep_until((*line).min(give_up)) => self.course.note(self.course.got(), self.clock.now()),
            }
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        part: &mut Option<Box<Part>>,
        work: impl FnOnce(&mut Part) -> Result<T, CacheError> + Send + 'static,
    ) -> Result<T, End> {
        let lost = || End::Failed(Failure::Cache("the writer of the cache has ended".to_owned()));
        let (back, result) = blocking(part.take().ok_or_else(lost)?, work).await?;
        *part = Some(back);
        Ok(result?)
    }

    fn note(&self, part: Option<&Part>) {
        self.course.note(length(part), self.clock.now());
    }
}

fn length(part: Option<&Part>) -> u64 {
    part.map_or(0, Part::length)
}

fn silent() -> End {
    End::Failed(Failure::Network(format!("nothing came for {}", text::duration(STALL))))
}

fn beginning(here: u64, size: u64) -> String {
    if here == 0 {
        return format!("fetching {}", text::bytes(size));
    }
    format!("fetching the rest of {}, {} are here", text::bytes(size), text::bytes(here))
}
