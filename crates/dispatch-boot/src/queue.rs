//! What the boot server asks the queue.

use std::fs::File;
use std::future::Future;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use dispatch_core::queue::{Accepted, Ask, Idle, NoRun};
use dispatch_core::run::End;
use dispatch_core::{Kind, RunId, Sighting, Told};
use dispatch_wire::boot::Report;

/// An image that is open and ready to be sent.
#[derive(Debug)]
pub struct Image {
    /// The run that it is for.
    pub run: RunId,
    /// Its file name, for the log.
    pub name: String,
    /// Which boot asset.
    pub kind: Kind,
    /// The open file.
    pub file: File,
    /// Its size in bytes when it was opened; what is promised.
    pub size: u64,
    /// When it was last written, as fine as the file system has it: shows whether it is changed while it is sent.
    pub modified: SystemTime,
    /// A strong validator (RFC 9110 §8.8.3), with its quotes.
    pub etag: String,
}

/// What a host that asks for work gets.
#[derive(Debug)]
pub enum Work {
    /// This image.
    Image(Image),
    /// Nothing to run.
    Idle(Idle),
    /// Its image cannot be read at the moment; the text says why.
    NotNow(String),
}

/// The state cannot be read or written at the moment; the text says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// A transfer that is going on: how far it has come, and whether it is to stop.
#[derive(Debug)]
pub struct Progress {
    /// Which transfer of its run.
    pub transfer: u32,
    start: u64,
    sent: AtomicU64,
    /// Where it was when the host asked anew from the start.
    asked_anew_at: AtomicU64,
    stop: AtomicU8,
}

/// No transfer comes this far.
const NEVER: u64 = u64::MAX;

impl Progress {
    /// A transfer that starts at `start` in its image.
    #[must_use]
    pub fn new(transfer: u32, start: u64) -> Self {
        Self {
            transfer,
            start,
            sent: AtomicU64::new(start),
            asked_anew_at: AtomicU64::new(NEVER),
            stop: AtomicU8::new(0),
        }
    }

    /// Where in the image the transfer starts, in bytes.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How far into the image the transfer has come, in bytes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_sent(&self, sent: u64) {
        self.sent.store(sent, Ordering::Relaxed);
    }

    /// The host has asked for the image anew, from the start: it does not read this any more. Unless it is two hosts.
    pub fn is_asked_anew(&self) {
        let _ = self.asked_anew_at.compare_exchange(NEVER, self.sent(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the host has asked for the image anew.
    #[must_use]
    pub fn was_asked_anew(&self) -> bool {
        self.asked_anew_at.load(Ordering::Relaxed) != NEVER
    }

    /// Whether somebody goes on reading this although its host has asked for the image anew.
    #[must_use]
    pub fn is_read_by_another(&self) -> bool {
        let anew = self.asked_anew_at.load(Ordering::Relaxed);
        anew != NEVER && dispatch_core::run::is_read_by_another(anew, self.sent())
    }

    /// Ends the transfer within a second.
    pub fn stop(&self, why: Stop) {
        let _ = self.stop.compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stop::Over),
            2 => Some(Stop::AskedAnew),
            _ => Some(Stop::WeEnd),
        }
    }
}

/// Why a transfer is ended from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its run is over, or its image is up.
    Over = 1,
    /// The host has asked for the image anew, so it no longer reads this.
    AskedAnew = 2,
    /// The program ends.
    WeEnd = 3,
}

/// The queue, as the boot server sees it. Each method returns only once what it says is stored durably.
pub trait Queue: Send + Sync + 'static {
    /// A host asks for work.
    fn ask(&self, who: &Sighting, how: Ask) -> impl Future<Output = Result<Work, Unavailable>> + Send;

    /// The first byte of a transfer is about to go out; nothing if the run is no longer to be served.
    fn begin(
        &self,
        run: RunId,
        size: u64,
        start: u64,
    ) -> impl Future<Output = Result<Option<std::sync::Arc<Progress>>, Unavailable>> + Send;

    /// A transfer ended. `count` bytes of it went out.
    fn end(
        &self,
        run: RunId,
        progress: &Progress,
        count: u64,
        end: End,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// The host has taken the last byte of an image that was changed while it was being sent: what it has is no version
    /// of any file, so the run must come to nothing. The end of the transfer is told as well, after this.
    fn spoiled(&self, run: RunId, why: &str) -> impl Future<Output = Result<(), Unavailable>> + Send;

    /// `POST`: the image of this host is up.
    fn started(
        &self,
        who: &Sighting,
        told: &Told,
    ) -> impl Future<Output = Result<Result<RunId, NoRun>, Unavailable>> + Send;

    /// `PUT`: a report.
    fn reported(
        &self,
        who: &Sighting,
        told: &Told,
        run: Option<RunId>,
        report: Report,
    ) -> impl Future<Output = Result<Result<Accepted, NoRun>, Unavailable>> + Send;

    /// A request was answered, or is just being answered with an image. Must not wait.
    fn asked(&self, asked: Asked);

    /// The status page, as HTML.
    fn page(&self) -> impl Future<Output = Result<String, Unavailable>> + Send;

    /// Whether all is well, as JSON.
    fn health(&self) -> impl Future<Output = Result<String, Unavailable>> + Send;
}

/// A request and what it was answered, for whoever wants to know whether a server asked at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When.
    pub at: SystemTime,
    /// Who.
    pub who: Sighting,
    /// `User-Agent`.
    pub agent: Option<String>,
    /// The method; empty if the bytes were no request.
    pub method: String,
    /// The request target.
    pub target: String,
    /// The status of the answer.
    pub status: u16,
    /// What the answer was, or why it was none, in words.
    pub answer: String,
}
