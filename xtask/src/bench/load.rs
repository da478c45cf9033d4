//! The clients: hosts with addresses of their own that ask as a firmware does, and take the image as fast as it comes.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use dispatch_testkit::firmware::{BootError, Connection, Firmware};

use crate::Failure;

/// How long a client waits for anything: many share the machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The host that only asks, while the others download. None of the others has its number.
const ASKER: u8 = 250;

/// How long it rests between two questions: each is a load of its own.
const REST: Duration = Duration::from_millis(50);

/// What the clients do.
pub(crate) struct Way {
    pub(crate) clients: u8,
    pub(crate) size: u64,
    pub(crate) is_copied: bool,
}

/// What came of it.
pub(crate) struct Load {
    bytes: u64,
    seconds: f64,
    /// Seconds to the first byte of the answer to each `HEAD`, sorted; never empty.
    heads: Vec<f64>,
}

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub(crate) fn gib_per_second(&self) -> f64 {
        self.bytes as f64 / f64::from(1 << 30) / self.seconds
    }

    pub(crate) fn head_median(&self) -> f64 {
        self.heads[self.heads.len() / 2]
    }

    pub(crate) fn head_longest(&self) -> f64 {
        self.heads[self.heads.len() - 1]
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Puts a server under load. `path` is what each client, from 1, boots; 0 is the host that only asks.
pub(crate) fn run(server: SocketAddr, way: &Way, path: impl Fn(u8) -> String) -> Result<Load, Failure> {
    let ready = Barrier::new(usize::from(way.clients) + 1);
    let (over, is_over) = channel();
    let asker = Firmware::new(server, &path(0)).of_host(ASKER);
    let clients: Vec<Firmware> =
        (1..=way.clients).map(|number| Firmware::new(server, &path(number)).of_host(number)).collect();
    std::thread::scope(|scope| {
        let downloads: Vec<_> = clients
            .iter()
            .map(|firmware| {
                let ready = &ready;
                scope.spawn(move || {
                    let begun = prepare(firmware, way);
                    // Also where it failed, because the others wait.
                    ready.wait();
                    download(firmware, begun?, way)
                })
            })
            .collect();
        let asking = scope.spawn(move || ask(&asker, &is_over));
        ready.wait();
        let start = now();
        let results: Vec<Result<u64, BootError>> = downloads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(BootError::Odd("a client panicked".into()))))
            .collect();
        let seconds = start.elapsed().as_secs_f64();
        drop(over);
        let heads = asking.join().unwrap_or_else(|_| Err(BootError::Odd("the asking host panicked".into())));
        let failed = |error: BootError| Failure::Words(format!("a client: {error}"));
        let bytes = results.into_iter().sum::<Result<u64, _>>().map_err(failed)?;
        Ok(Load { bytes, seconds, heads: heads.map_err(failed)? })
    })
}

/// The `HEAD` that comes before a firmware's `GET`, on the same connection.
fn prepare(firmware: &Firmware, way: &Way) -> Result<Connection, BootError> {
    let mut connection = firmware.connect()?;
    connection.within(PATIENCE)?;
    connection.send(firmware.request("HEAD", "").as_bytes())?;
    let promise = connection.head()?;
    if promise.status != 200 || promise.length()? != way.size {
        return Err(BootError::Odd(format!("HEAD: {} and {:?} bytes", promise.status, promise.length())));
    }
    Ok(connection)
}

fn download(firmware: &Firmware, mut connection: Connection, way: &Way) -> Result<u64, BootError> {
    connection.send(firmware.request("GET", "").as_bytes())?;
    let length = connection.head()?.length()?;
    if length != way.size {
        return Err(BootError::Odd(format!("GET has {length} bytes")));
    }
    connection.discard(length, way.is_copied)?;
    Ok(length)
}

/// Asks again and again, on a new connection each time, until the load is over: at least once.
fn ask(firmware: &Firmware, is_over: &Receiver<()>) -> Result<Vec<f64>, BootError> {
    let mut heads = Vec::new();
    loop {
        let start = now();
        let mut connection = firmware.connect()?;
        connection.within(PATIENCE)?;
        connection.send(firmware.request("HEAD", "").as_bytes())?;
        connection.wait()?;
        heads.push(start.elapsed().as_secs_f64());
        let status = connection.head()?.status;
        if status != 200 {
            return Err(BootError::Odd(format!("HEAD: {status}")));
        }
        if is_over.recv_timeout(REST) == Err(RecvTimeoutError::Disconnected) {
            heads.sort_by(f64::total_cmp);
            return Ok(heads);
        }
    }
}
