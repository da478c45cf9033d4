//! A terminal of its own for the program, and a person who reads it: the program is started on a pseudo-terminal that
//! controls it, and what it writes is drawn by an emulator.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use dispatch_testkit::lab::deadline::Deadline;
use dispatch_testkit::program::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// A window with a program in it.
pub(crate) struct Window {
    child: Child,
    /// Our end; none once the window is closed.
    master: Option<File>,
    /// The other end, held so that what the program wrote last is not lost when it ends.
    slave: Option<OwnedFd>,
    screen: vt100::Parser,
    /// The modes of the terminal before the program was started.
    before: String,
}

impl Window {
    /// Opens a window of so many columns and rows, and starts the command in it. A window `without_hang_up` is one
    /// whose end the program does not hear of: as `nohup` has it.
    pub(crate) fn open(command: &Command, size: (u16, u16), without_hang_up: bool) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&master).expect("a pseudo-terminal");
        unlockpt(&master).expect("a pseudo-terminal");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, Mode::empty()).expect("its other end");
        tcsetwinsize(&slave, winsize(size)).expect("a size");
        let before = modes(&slave);
        // Both become the program, so that it keeps its number.
        let trap = if without_hang_up { "trap '' HUP; exec \"$@\"" } else { "exec \"$@\"" };
        let end = || slave.try_clone().expect("a handle");
        let mut started = Command::new("setsid");
        started.args(["--ctty", "sh", "-c", trap, "sh"]).arg(command.get_program()).args(command.get_args());
        started.env("TERM", "xterm-256color").env_remove("COLUMNS").env_remove("NO_COLOR");
        let child =
            started.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid (util-linux) can be run");
        let screen = vt100::Parser::new(some(size.1), some(size.0), 0);
        Self { child, master: Some(File::from(master)), slave: Some(slave), screen, before }
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Whether it shows the view, and not what was there before.
    pub(crate) fn has_view(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub(crate) fn hides_cursor(&self) -> bool {
        self.screen.screen().hide_cursor()
    }

    /// Waits until the screen is as it should be, and returns its text.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) -> String {
        let deadline = Deadline::after(PATIENCE);
        while !wanted(self) {
            let left = deadline.left();
            assert!(!left.is_zero(), "{what} did not come:\n{}", self.text());
            self.read(left);
        }
        self.text()
    }

    /// Waits until all of these words are on the screen.
    pub(crate) fn until_it_says(&mut self, words: &[&str]) -> String {
        let has_all = |window: &Self| words.iter().all(|words| window.text().contains(words));
        self.until(&format!("{words:?}"), has_all)
    }

    /// Waits until these words are no longer on the screen.
    pub(crate) fn until_it_no_longer_says(&mut self, words: &str) -> String {
        self.until(&format!("a screen without `{words}`"), |window| !window.text().contains(words))
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.master.as_ref().expect("it is open").write_all(keys.as_bytes()).expect("keys");
    }

    /// Makes it larger or smaller. The kernel tells the program (SIGWINCH).
    pub(crate) fn resize(&mut self, size: (u16, u16)) {
        tcsetwinsize(self.master.as_ref().expect("it is open"), winsize(size)).expect("a size");
        self.screen.screen_mut().set_size(some(size.1), some(size.0));
    }

    /// Whether the terminal takes keys and draws as it did before the program was started.
    pub(crate) fn is_as_before(&self) -> bool {
        modes(self.slave.as_ref().expect("it is open")) == self.before
    }

    /// Closes the window, as one does who has gone home.
    pub(crate) fn close(&mut self) {
        (self.master, self.slave) = (None, None);
    }

    /// Tells the program that its window is closed, as a shell does once more.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("it has not been waited for");
    }

    /// The program's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program ends, and reads what it said last.
    pub(crate) fn ends(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Deadline::after(patience);
        loop {
            let status = self.child.try_wait().expect("a status");
            while self.read(Duration::ZERO) {}
            if let Some(status) = status {
                return status;
            }
            assert!(deadline.pause(), "it did not end:\n{}", self.text());
        }
    }

    /// Draws what the program writes next, if that comes in time.
    fn read(&mut self, patience: Duration) -> bool {
        let Some(master) = &mut self.master else { return false };
        let patience = Timespec::try_from(patience).expect("a time");
        let mut ours = [PollFd::new(&*master, PollFlags::IN)];
        let count = poll(&mut ours, Some(&patience)).expect("a terminal can be waited for");
        let mut bytes = [0; 8192];
        let count = if count == 0 { 0 } else { master.read(&mut bytes).expect("a terminal can be read") };
        self.screen.process(&bytes[..count]);
        count > 0
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a size")
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn modes(terminal: &OwnedFd) -> String {
    format!("{:?}", tcgetattr(terminal).expect("its modes"))
}
