//! The terminal itself: taken, drawn on, and given back.
//!
//! Drawing and reading have a thread each. A terminal may be held by its other end for as long as that likes, and no
//! server must wait for its answer meanwhile.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Once};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::crossterm::{cursor, execute};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::draw;
use super::keys::Key;
use super::model::{Board, Ui};

/// How often the reading thread looks whether it is still wanted, and whether the size is another one: in milliseconds.
const GLANCE: u16 = 100;

/// How long the terminal may take to be given back.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// The thread that draws, as its name says in a panic.
const DRAWING: &str = "dispatch-view";

/// Whether the terminal is ours at the moment: what a panic looks at.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What is to be drawn.
type Frame = (Arc<Board>, Ui);

/// What comes from the terminal.
#[derive(Debug)]
pub(crate) enum Input {
    /// A key.
    Key(Key),
    /// Its size is another one now.
    Resized(u16, u16),
    /// It cannot be read or drawn on any more.
    Broken(io::Error),
}

/// A terminal that is ours until this is dropped.
pub(crate) struct Tty {
    inputs: UnboundedReceiver<Input>,
    frames: Option<SyncSender<Box<Frame>>>,
    is_over: Arc<AtomicBool>,
    given_back: Receiver<()>,
}

/// Whether there is somebody to look at a view, and something to show it on.
pub(crate) fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// The width of the terminal that standard output is, if it is one.
pub(crate) fn width() -> Option<usize> {
    let is_terminal = io::stdout().is_terminal();
    is_terminal.then(|| size().ok()).flatten().map(|(columns, _)| usize::from(columns))
}

/// Whether colours are wanted (no-color.org).
pub(crate) fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Tty {
    /// Takes the terminal.
    pub(crate) fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(give_back_in_a_panic);
        let (sender, inputs) = unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        // One that is being drawn, and one that waits; the next one is newer anyway.
        let (frames, waiting) = sync_channel(1);
        let (done, given_back) = sync_channel(1);
        enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        // From here on, dropping gives it back.
        let tty = Self { inputs, frames: Some(frames), is_over: Arc::clone(&is_over), given_back };
        let broken = sender.clone();
        thread::Builder::new().name(DRAWING.to_owned()).spawn(move || {
            tell_if_broken(&broken, || draw(&waiting));
            drop(done);
        })?;
        thread::Builder::new()
            .name("dispatch-keys".to_owned())
            .spawn(move || tell_if_broken(&sender, || read(&sender, &is_over)))?;
        Ok(tty)
    }

    /// Its size.
    pub(crate) fn size() -> (u16, u16) {
        size().unwrap_or((80, 24))
    }

    /// Shows this as soon as the terminal takes it; returns whether it will. A frame that has to wait for the one
    /// before is left to the next call.
    pub(crate) fn show(&self, board: &Arc<Board>, ui: &Ui) -> bool {
        let frame = Box::new((Arc::clone(board), ui.clone()));
        self.frames.as_ref().is_some_and(|frames| frames.try_send(frame).is_ok())
    }

    /// What comes next from it. Never ends by itself.
    pub(crate) async fn next(&mut self) -> Input {
        match self.inputs.recv().await {
            Some(input) => input,
            None => Input::Broken(io::Error::other("nothing reads it any more")),
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The drawing thread ends with its last frame, and gives the screen back.
        drop(self.frames.take());
        let _ = self.given_back.recv_timeout(GIVE_BACK);
        let _ = disable_raw_mode();
        IS_TAKEN.store(false, Ordering::SeqCst);
    }
}

fn draw(frames: &Receiver<Box<Frame>>) -> io::Result<()> {
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
    let drawn = draw_all(frames);
    let left = leave();
    drawn.and(left)
}

fn draw_all(frames: &Receiver<Box<Frame>>) -> io::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    for frame in frames {
        let (board, ui) = *frame;
        terminal.draw(|frame| draw::render(frame, &board, &ui))?;
    }
    Ok(())
}

fn leave() -> io::Result<()> {
    let mut out = io::stdout();
    execute!(out, cursor::Show, LeaveAlternateScreen)?;
    out.flush()
}

/// Does the work of a thread. Whatever ends it before its time is told, and be it a panic: else the session would go on
/// with a view that stands still, and with nobody who reads its keys.
fn tell_if_broken(inputs: &UnboundedSender<Input>, work: impl FnOnce() -> io::Result<()>) {
    let broke = |_| Err(io::Error::other("a part of it broke, please report it"));
    if let Err(error) = panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broke) {
        let _ = inputs.send(Input::Broken(error));
    }
}

fn read(inputs: &UnboundedSender<Input>, is_over: &AtomicBool) -> io::Result<()> {
    while !is_over.load(Ordering::SeqCst) {
        // Before crossterm looks: of a terminal that is gone it reads the end for ever.
        glance()?;
        // Not zero: it would not look at the terminal at all.
        while event::poll(Duration::from_millis(1))? {
            let input = match event::read()? {
                Event::Key(key) => meaning(key).map(Input::Key),
                Event::Resize(columns, rows) => Some(Input::Resized(columns, rows)),
                _ => None,
            };
            if input.is_some_and(|input| inputs.send(input).is_err()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Waits for a key, or for a moment. Fails if the terminal is gone.
fn glance() -> io::Result<()> {
    let stdin = io::stdin();
    let mut terminal = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut terminal, PollTimeout::from(GLANCE)) {
        // A signal: the size, say.
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let came = terminal[0].revents().unwrap_or(PollFlags::empty());
    if came.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
        return Err(io::Error::other("the terminal is gone"));
    }
    Ok(())
}

/// The key that was pressed, if it is one that may mean something.
fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control || key.modifiers.contains(KeyModifiers::ALT) {
        return (control && key.code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match key.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Tab | KeyCode::BackTab => Key::Tab,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Char(letter) => Key::Letter(letter),
        _ => return None,
    })
}

/// A panic that ends the program, or the view, must leave a terminal that can be typed into, with its words on it.
/// One in a task ends that task alone: its words go to the log, or they would be drawn over.
fn give_back_in_a_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let current = thread::current();
        let is_ours = matches!(current.name(), Some("main" | DRAWING));
        if !IS_TAKEN.load(Ordering::SeqCst) {
            before(info);
        } else if is_ours {
            let _ = leave();
            let _ = disable_raw_mode();
            before(info);
        } else {
            tracing::error!("a part of dispatch broke, please report it: {info}");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_told_as_one_that_fails() {
        for work in [|| panic!("as it draws"), || Err(io::Error::other("as it writes"))] {
            let (inputs, mut told) = unbounded_channel();
            tell_if_broken(&inputs, work);
            assert!(matches!(told.try_recv(), Ok(Input::Broken(_))));
        }
        let (inputs, mut told) = unbounded_channel();
        tell_if_broken(&inputs, || Ok(()));
        assert!(told.try_recv().is_err(), "one that has done its work says nothing");
    }

    #[test]
    fn keys_mean_what_they_say_and_combinations_nothing_but_ctrl_c() {
        let press = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Letter('q')));
        assert_eq!(press(KeyCode::Char('Q'), KeyModifiers::SHIFT), Some(Key::Letter('Q')));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(press(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!(press(KeyCode::Char('r'), KeyModifiers::ALT), None);
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), None);
    }
}
