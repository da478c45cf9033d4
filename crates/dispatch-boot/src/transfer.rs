//! Sends a part of a file from the page cache to a socket, and counts what the other side has taken.
//!
//! This blocks: the connection calls it on a thread that may. It looks at its [`Progress`] twice a second, so that
//! a run that is over is not served any longer.
#![expect(unsafe_code, reason = "the generated ioctl is an unsafe function; nothing safe asks for SIOCOUTQ")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

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
    #[error("its file was changed while it was being sent")]
    Changed,
    #[error("its file was changed while the last of it was being sent")]
    Spoiled,
    #[error("the file cannot be read: {0}")]
    File(#[source] io::Error),
}

/// What a file was when its length was promised. A file that is written in place keeps its descriptor, and often its
/// size, but not the time of its last change.
///
/// Not the time of its inode: that changes as well when the file is replaced as it should be, by a rename over it, and
/// then what was opened is still whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    /// Bytes.
    pub(crate) size: u64,
    /// When it was last written, as fine as the file system has it.
    pub(crate) modified: SystemTime,
}

impl Version {
    /// Whether the file is this one still.
    fn is_that_of(self, file: &File) -> io::Result<bool> {
        let meta = file.metadata()?;
        Ok(meta.len() == self.size && meta.modified()? == self.modified)
    }
}

nix::ioctl_read_bad!(
    /// How many bytes of a TCP socket the other side has not acknowledged (`SIOCOUTQ`, tcp(7)).
    siocoutq,
    nix::libc::TIOCOUTQ,
    nix::libc::c_int
);

/// Sends `length` bytes of `file` from `start`, and waits until the other side has taken them. `stall` is how long
/// it may take none. Of a file that is not `version` any more the last byte is not sent.
pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: &File,
    version: Version,
    start: u64,
    length: u64,
    progress: &Progress,
    stall: Duration,
) -> Sent {
    let mut transfer = Transfer { socket, file, version, start, length, progress, stall, handed: 0 };
    let broke = transfer.run().err();
    let open = broke.as_ref().map_or(0, |_| unacknowledged(socket));
    // The last byte itself could be changed until it was acknowledged.
    let is_changed = transfer.handed == length && transfer.check_version().is_err();
    sum_up(length, transfer.handed, open, is_changed, broke)
}

/// What became of a transfer of `length` bytes, of which `handed` were handed over, and `open` of them not acknowledged.
fn sum_up(length: u64, handed: u64, open: u64, is_changed: bool, broke: Option<Broke>) -> Sent {
    let is_all_handed = handed == length;
    if is_all_handed && is_changed {
        // Whether or not all of it is acknowledged: what is under way may arrive yet.
        return Sent { count: handed.saturating_sub(open), is_unsure: false, broke: Some(Broke::Spoiled) };
    }
    if is_all_handed && open == 0 {
        // The host has it all. That it then reset the connection, as firmware does, is its own affair.
        return Sent { count: length, is_unsure: false, broke: None };
    }
    // A reset empties the queue of what was sent, but the count of what was acknowledged stays as it was.
    let is_unsure = is_all_handed && matches!(broke, Some(Broke::Socket(_)));
    Sent { count: if is_unsure { length } else { handed.saturating_sub(open) }, is_unsure, broke }
}

struct Transfer<'a> {
    socket: BorrowedFd<'a>,
    file: &'a File,
    version: Version,
    start: u64,
    length: u64,
    progress: &'a Progress,
    stall: Duration,
    /// Bytes that the kernel has taken from us.
    handed: u64,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<(), Broke> {
        // What goes out is the page cache itself, and shows every change until it is acknowledged. So the last byte of
        // an image waits until all others are, and the file is seen to be as it was: without it nothing boots. Other
        // parts are looked at when they have arrived, which takes no time of its own.
        if self.start + self.length == self.version.size {
            self.hand(self.length.saturating_sub(1))?;
            self.drain()?;
            self.check_version()?;
        }
        self.hand(self.length)?;
        self.drain()
    }

    /// Hands bytes over until there are so many.
    fn hand(&mut self, until: u64) -> Result<(), Broke> {
        let mut can_sendfile = true;
        while self.handed < until {
            if let Some(why) = self.progress.stopped() {
                return Err(Broke::Stopped(why));
            }
            let most = until - self.handed;
            let result = if can_sendfile { self.sendfile(most) } else { self.copy(most) };
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
        Ok(())
    }

    fn check_version(&self) -> Result<(), Broke> {
        match self.version.is_that_of(self.file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Broke::Changed),
            Err(error) => Err(Broke::File(error)),
        }
    }

    fn sendfile(&self, most: u64) -> Result<u64, Step> {
        let mut offset = i64::try_from(self.start + self.handed)
            .map_err(|_| Step::Broke(Broke::File(io::ErrorKind::FileTooLarge.into())))?;
        let piece = usize::try_from(PIECE.min(most)).unwrap_or(usize::MAX);
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

    fn copy(&self, most: u64) -> Result<u64, Step> {
        let mut buffer = [0; 16 * 1024];
        let piece = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Count, whether it is unsure, and why it broke.
    fn sum(handed: u64, open: u64, is_changed: bool, broke: Option<Broke>) -> (u64, bool, Option<String>) {
        let sent = sum_up(10, handed, open, is_changed, broke);
        (sent.count, sent.is_unsure, sent.broke.map(|broke| broke.to_string()))
    }

    fn reset() -> Broke {
        Broke::Socket(io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn what_was_taken_in_full_is_whole_whatever_the_connection_does_then() {
        assert_eq!(sum(10, 0, false, None), (10, false, None));
        assert_eq!(sum(10, 0, false, Some(reset())), (10, false, None));
        assert!(matches!(sum(10, 4, false, Some(reset())), (10, true, Some(_))));
        assert!(matches!(sum(9, 4, false, Some(reset())), (5, false, Some(_))));
    }

    #[test]
    fn what_was_changed_until_its_end_is_never_whole_and_never_unsure() {
        let spoiled = Some(Broke::Spoiled.to_string());
        assert_eq!(sum(10, 0, true, None), (10, false, spoiled.clone()));
        assert_eq!(sum(10, 0, true, Some(reset())), (10, false, spoiled.clone()));
        assert_eq!(sum(10, 4, true, Some(reset())), (6, false, spoiled));
    }

    #[test]
    fn a_file_is_another_version_once_it_is_written_to_and_not_once_it_is_read_linked_or_replaced() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("a.efi");
        std::fs::write(&path, [7; 100]).expect("a file");
        let file = File::open(&path).expect("the file");
        let old = SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("an old file");
        let version = Version { size: 100, modified: old };
        let is_same = || version.is_that_of(&file).expect("its state");
        std::fs::read(&path).expect("read");
        std::fs::hard_link(&path, folder.path().join("b.efi")).expect("a link");
        let new = folder.path().join("new");
        std::fs::write(&new, [8; 100]).expect("a file");
        std::fs::rename(&new, &path).expect("replaced");
        assert!(is_same());
        std::fs::write(folder.path().join("b.efi"), [9; 100]).expect("written in place");
        assert!(!is_same());
    }
}
