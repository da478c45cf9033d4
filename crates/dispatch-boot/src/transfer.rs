//! Sends a part of a file from the page cache to a socket, and counts what the other side has taken.
//!
//! This blocks: the connection calls it on a thread that may. It looks at its [`Progress`] twice a second, so that
//! a run that is over is not served any longer.
#![expect(unsafe_code, reason = "the generated ioctl is an unsafe function; nothing safe asks for SIOCOUTQ")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, getsockopt, send, sockopt};

use crate::queue::{Progress, Stop};

/// How many bytes go to the kernel at once: enough to be cheap, little enough to see progress.
const PIECE: u64 = 1024 * 1024;

/// How often a transfer that waits looks whether it is to stop, in milliseconds.
const GLANCE: u16 = 500;

/// How often to ask whether the last bytes have been taken, in milliseconds. There is no event for that.
const DRAIN_GLANCE: u16 = 10;

/// What became of a transfer.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Bytes that the other side has taken.
    pub(crate) count: u64,
    /// All bytes were handed over, and whether the other side took the last of them cannot be known.
    pub(crate) is_unsure: bool,
    /// Why it broke off, if it did.
    pub(crate) broke: Option<Broke>,
}

/// Why a transfer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broke {
    #[error("the host closed the connection: {0}")]
    Socket(#[source] io::Error),
    #[error("the host took no bytes for {}", dispatch_core::text::duration(*.0))]
    Stalled(Duration),
    #[error("{}", match .0 {
        Stop::Over => "its run is over",
        Stop::AskedAnew => "the host has asked anew",
        Stop::WeEnd => "dispatch ends",
    })]
    Stopped(Stop),
    #[error("the head of the answer could not be sent")]
    Head,
    #[error("the file is shorter than it was when its length was promised")]
    Shrunk,
    #[error("the file cannot be read: {0}")]
    File(#[source] io::Error),
}

nix::ioctl_read_bad!(
    /// How many bytes of a TCP socket the other side has not acknowledged (`SIOCOUTQ`, tcp(7)).
    siocoutq,
    nix::libc::TIOCOUTQ,
    nix::libc::c_int
);

/// Sends `length` bytes of `file` from `start`, and waits until the other side has taken them. `stall` is how long
/// it may take none.
pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: &File,
    start: u64,
    length: u64,
    progress: &Progress,
    stall: Duration,
) -> Sent {
    let mut transfer = Transfer { socket, file, start, length, progress, stall, handed: 0 };
    let broke = transfer.run().err();
    let open = broke.as_ref().map_or(0, |_| unacknowledged(socket));
    let is_all_handed = transfer.handed == length;
    if is_all_handed && open == 0 {
        // The host has it all. That it then reset the connection, as firmware does, is its own affair.
        return Sent { count: length, is_unsure: false, broke: None };
    }
    // A reset empties the queue of what was sent, but the count of what was acknowledged stays as it was.
    let is_unsure = is_all_handed && matches!(broke, Some(Broke::Socket(_)));
    Sent { count: if is_unsure { length } else { transfer.handed.saturating_sub(open) }, is_unsure, broke }
}

struct Transfer<'a> {
    socket: BorrowedFd<'a>,
    file: &'a File,
    start: u64,
    length: u64,
    progress: &'a Progress,
    stall: Duration,
    /// Bytes that the kernel has taken from us.
    handed: u64,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<(), Broke> {
        let mut can_sendfile = true;
        while self.handed < self.length {
            if let Some(why) = self.progress.stopped() {
                return Err(Broke::Stopped(why));
            }
            let result = if can_sendfile { self.sendfile() } else { self.copy() };
            match result {
                Ok(count) => {
                    self.handed += count;
                    self.note_progress();
                }
                Err(Step::Wait) => self.wait_writable()?,
                // A file system that knows no splice.
                Err(Step::NoSendfile) => can_sendfile = false,
                Err(Step::Broke(broke)) => return Err(broke),
            }
        }
        self.drain()
    }

    fn sendfile(&self) -> Result<u64, Step> {
        let mut offset = i64::try_from(self.start + self.handed)
            .map_err(|_| Step::Broke(Broke::File(io::ErrorKind::FileTooLarge.into())))?;
        let piece = usize::try_from(PIECE.min(self.length - self.handed)).unwrap_or(usize::MAX);
        match sendfile64(self.socket, self.file.as_fd(), Some(&mut offset), piece) {
            Ok(0) => Err(Step::Broke(Broke::Shrunk)),
            Ok(count) => Ok(count as u64),
            Err(Errno::EAGAIN) => Err(Step::Wait),
            Err(Errno::EINTR) => Ok(0),
            Err(Errno::EINVAL | Errno::ENOSYS) => Err(Step::NoSendfile),
            Err(Errno::EIO) => Err(Step::Broke(Broke::File(Errno::EIO.into()))),
            Err(error) => Err(Step::Broke(Broke::Socket(error.into()))),
        }
    }

    fn copy(&self) -> Result<u64, Step> {
        let mut buffer = [0; 16 * 1024];
        let piece = usize::try_from(self.length - self.handed).unwrap_or(usize::MAX).min(buffer.len());
        let read = self
            .file
            .read_at(&mut buffer[..piece], self.start + self.handed)
            .map_err(|error| Step::Broke(Broke::File(error)))?;
        if read == 0 {
            return Err(Step::Broke(Broke::Shrunk));
        }
        match send(self.socket.as_raw_fd(), &buffer[..read], MsgFlags::MSG_NOSIGNAL) {
            Ok(count) => Ok(count as u64),
            Err(Errno::EAGAIN) => Err(Step::Wait),
            Err(Errno::EINTR) => Ok(0),
            Err(error) => Err(Step::Broke(Broke::Socket(error.into()))),
        }
    }

    fn wait_writable(&self) -> Result<(), Broke> {
        let mut waited = Duration::ZERO;
        loop {
            if self.wait(PollFlags::POLLOUT, GLANCE)? {
                return Ok(());
            }
            waited += Duration::from_millis(GLANCE.into());
            self.check(waited)?;
        }
    }

    /// Waits until the other side has acknowledged everything: only then it has the image.
    fn drain(&self) -> Result<(), Broke> {
        let mut open = unacknowledged(self.socket);
        let mut waited = Duration::ZERO;
        while open > 0 {
            // No flag but errors and hang-ups, which are always told.
            self.wait(PollFlags::empty(), DRAIN_GLANCE)?;
            waited += Duration::from_millis(DRAIN_GLANCE.into());
            let now_open = unacknowledged(self.socket);
            if now_open < open {
                open = now_open;
                waited = Duration::ZERO;
            }
            self.check(waited)?;
        }
        Ok(())
    }

    /// What the host has taken, not what lies in our own buffers.
    fn note_progress(&self) {
        self.progress.set_sent(self.start + self.handed.saturating_sub(unacknowledged(self.socket)));
    }

    fn check(&self, waited: Duration) -> Result<(), Broke> {
        self.note_progress();
        if let Some(why) = self.progress.stopped() {
            return Err(Broke::Stopped(why));
        }
        if waited >= self.stall {
            return Err(Broke::Stalled(self.stall));
        }
        Ok(())
    }

    /// Waits for the socket at most so many milliseconds. Returns whether it is ready.
    fn wait(&self, flags: PollFlags, millis: u16) -> Result<bool, Broke> {
        let mut sockets = [PollFd::new(self.socket, flags)];
        match poll(&mut sockets, PollTimeout::from(millis)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(Broke::Socket(error.into())),
        }
        let told = sockets[0].revents().unwrap_or(PollFlags::empty());
        if told.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            let error = getsockopt(&self.socket, sockopt::SocketError).unwrap_or(0);
            let error = if error == 0 {
                // Closed in both directions, in good order; everything may have been taken.
                if unacknowledged(self.socket) == 0 && self.handed == self.length {
                    return Ok(true);
                }
                io::ErrorKind::ConnectionAborted.into()
            } else {
                io::Error::from_raw_os_error(error)
            };
            return Err(Broke::Socket(error));
        }
        Ok(true)
    }
}

enum Step {
    Wait,
    NoSendfile,
    Broke(Broke),
}

/// Bytes that the other side has not acknowledged.
fn unacknowledged(socket: BorrowedFd<'_>) -> u64 {
    let mut open = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel writes one `c_int`.
    match unsafe { siocoutq(socket.as_raw_fd(), &raw mut open) } {
        Ok(_) => u64::try_from(open).unwrap_or(0),
        Err(_) => 0,
    }
}
