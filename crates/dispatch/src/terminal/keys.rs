//! What a key does: a pure function of how things are looked at, the key, and what is shown.

use dispatch_core::JobId;

use super::draw;
use super::model::{Ask, Board, Screen, Sheet, Ui, is_cancellable};

/// A key, as far as any of them means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Tab,
    Escape,
    Backspace,
    /// Ctrl-C, which is no signal while the view is up.
    Interrupt,
    Letter(char),
}

/// What the session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// End the session in good order.
    Quit,
    /// Queue this job again.
    Retry(JobId),
    /// Cancel this job.
    Cancel(JobId),
}

/// What a key does.
pub(crate) fn press(mut ui: Ui, key: Key, board: &Board) -> (Ui, Option<Action>) {
    ui.said = None;
    let action = if ui.ask.is_some() {
        answer(&mut ui, key)
    } else if key == Key::Interrupt {
        quit(&mut ui, board)
    } else if ui.is_typing {
        typed(&mut ui, key);
        None
    } else {
        match ui.screen {
            Screen::Queue => in_queue(&mut ui, key, board),
            Screen::Sheet(sheet, top) => in_sheet(&mut ui, key, board, sheet, top),
        }
    };
    (ui.settled(board), action)
}

fn answer(ui: &mut Ui, key: Key) -> Option<Action> {
    let asked = ui.ask?;
    let is_yes = match (asked, key) {
        // Whoever presses Ctrl-C twice means it. Not so `q`: a key that is held down repeats itself.
        (Ask::Quit, Key::Interrupt) | (_, Key::Letter('y' | 'Y')) => true,
        (_, Key::Letter('n' | 'N') | Key::Escape | Key::Interrupt) => false,
        _ => return None,
    };
    ui.ask = None;
    is_yes.then_some(match asked {
        Ask::Quit => Action::Quit,
        Ask::Cancel(id) => Action::Cancel(id),
    })
}

fn quit(ui: &mut Ui, board: &Board) -> Option<Action> {
    if !board.is_needed() {
        return Some(Action::Quit);
    }
    ui.ask = Some(Ask::Quit);
    None
}

fn typed(ui: &mut Ui, key: Key) {
    match key {
        Key::Letter(letter) if !letter.is_control() => ui.filter.push(letter),
        Key::Backspace if ui.filter.is_empty() => ui.is_typing = false,
        Key::Backspace => drop(ui.filter.pop()),
        Key::Enter => ui.is_typing = false,
        Key::Escape => {
            ui.is_typing = false;
            ui.filter.clear();
        }
        _ => {}
    }
}

fn in_queue(ui: &mut Ui, key: Key, board: &Board) -> Option<Action> {
    let jobs = ui.shown(board);
    let cursor = ui.cursor(&jobs);
    let page = draw::queue::rows_in_view(ui, board).max(2) - 1;
    match key {
        Key::Up => ui.select(&jobs, cursor.saturating_sub(1)),
        Key::Down => ui.select(&jobs, cursor + 1),
        Key::PageUp => ui.select(&jobs, cursor.saturating_sub(page)),
        Key::PageDown => ui.select(&jobs, cursor.saturating_add(page)),
        Key::End => ui.select(&jobs, usize::MAX),
        Key::Enter => {
            if let Some(job) = jobs.get(cursor) {
                ui.screen = Screen::Sheet(Sheet::Story(job.id), 0);
            }
        }
        Key::Letter('/') => ui.is_typing = true,
        // One thing at a time: what is in the way first.
        Key::Escape if !ui.filter.is_empty() => ui.filter.clear(),
        Key::Escape if ui.notice(board).is_some() => {
            ui.put_away = board.notices.last().map_or(0, |notice| notice.number);
        }
        Key::Home | Key::Escape => ui.select(&jobs, 0),
        Key::Letter('q') => return quit(ui, board),
        _ => return anywhere(ui, key, board),
    }
    None
}

fn in_sheet(ui: &mut Ui, key: Key, board: &Board, sheet: Sheet, top: usize) -> Option<Action> {
    let page = usize::from(draw::sheet::room(ui.size)).max(2) - 1;
    let to = |top| Screen::Sheet(sheet, top);
    match (key, sheet) {
        (Key::Up, _) => ui.screen = to(top.saturating_sub(1)),
        (Key::Down, _) => ui.screen = to(top.saturating_add(1)),
        (Key::PageUp, _) => ui.screen = to(top.saturating_sub(page)),
        (Key::PageDown | Key::Letter(' '), _) => ui.screen = to(top.saturating_add(page)),
        (Key::Home, _) => ui.screen = to(0),
        (Key::End, _) => ui.screen = to(usize::MAX),
        (Key::Escape | Key::Backspace | Key::Enter | Key::Letter('q'), _)
        | (Key::Tab, Sheet::Requests)
        | (Key::Letter('?'), Sheet::Help)
        | (Key::Letter('n'), Sheet::Notices) => ui.screen = Screen::Queue,
        _ => return anywhere(ui, key, board),
    }
    None
}

/// What means the same wherever one is.
fn anywhere(ui: &mut Ui, key: Key, board: &Board) -> Option<Action> {
    match key {
        Key::Tab => ui.screen = Screen::Sheet(Sheet::Requests, 0),
        Key::Letter('?' | 'h') => ui.screen = Screen::Sheet(Sheet::Help, 0),
        Key::Letter('n') => ui.screen = Screen::Sheet(Sheet::Notices, usize::MAX),
        Key::Letter('r') => return ui.chosen(board).map(|job| Action::Retry(job.id)),
        Key::Letter('c') => {
            let job = ui.chosen(board)?;
            if is_cancellable(board, job.id) {
                ui.ask = Some(Ask::Cancel(job.id));
            } else {
                ui.said = Some(format!("{} is over: there is nothing to cancel", job.name));
            }
        }
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{many, three};
    use super::*;

    fn ui() -> Ui {
        Ui::new((80, 24), true)
    }

    fn pressed(board: &Board, ui: Ui, keys: &[Key]) -> (Ui, Vec<Action>) {
        keys.iter().fold((ui, Vec::new()), |(ui, mut actions), key| {
            let (ui, action) = press(ui, *key, board);
            actions.extend(action);
            (ui, actions)
        })
    }

    #[test]
    fn quitting_asks_first_while_runs_are_going_on() {
        let board = three();
        let (asked, actions) = pressed(&board, ui(), &[Key::Letter('q')]);
        assert_eq!((asked.ask, actions), (Some(Ask::Quit), vec![]));
        assert_eq!(pressed(&board, asked.clone(), &[Key::Letter('n')]).1, []);
        assert_eq!(pressed(&board, asked.clone(), &[Key::Letter('q'); 30]).1, [], "it is held down");
        assert_eq!(pressed(&board, asked.clone(), &[Key::Down, Key::Enter]).0.ask, Some(Ask::Quit));
        assert_eq!(pressed(&board, asked, &[Key::Letter('y')]).1, [Action::Quit]);
        let mut quiet = board;
        quiet.jobs.retain(|job| job.group != super::super::model::Group::Active);
        assert_eq!(pressed(&quiet, ui(), &[Key::Letter('q')]).0.ask, Some(Ask::Quit), "a host waits");
        quiet.idle.retain(|host| host.is != super::super::model::Idleness::Waits);
        assert_eq!(pressed(&quiet, ui(), &[Key::Letter('q')]).1, [Action::Quit]);
    }

    #[test]
    fn whoever_presses_ctrl_c_twice_means_it_wherever_they_are() {
        let board = three();
        for before in [&[][..], &[Key::Tab], &[Key::Enter], &[Key::Letter('/')], &[Key::Letter('?')]] {
            let (ui, _) = pressed(&board, ui(), before);
            let (ui, actions) = pressed(&board, ui, &[Key::Interrupt]);
            assert_eq!(actions, [], "{before:?}");
            assert_eq!(pressed(&board, ui, &[Key::Interrupt]).1, [Action::Quit], "{before:?}");
        }
    }

    #[test]
    fn cancelling_asks_first_and_means_the_job_that_was_asked_about() {
        let mut board = three();
        let id = board.jobs[0].id;
        let (ui, actions) = pressed(&board, ui(), &[Key::Letter('c')]);
        assert_eq!((ui.ask, actions), (Some(Ask::Cancel(id)), vec![]));
        board.jobs.rotate_left(1);
        assert_eq!(pressed(&board, ui, &[Key::Letter('y')]).1, [Action::Cancel(id)]);
    }

    #[test]
    fn what_is_over_is_not_cancelled_and_may_be_tried_again() {
        let board = three();
        let over = board.jobs[1].id;
        let (ui, actions) = pressed(&board, ui(), &[Key::Down, Key::Letter('c')]);
        assert!(ui.ask.is_none() && ui.said.is_some() && actions.is_empty());
        assert_eq!(pressed(&board, ui, &[Key::Letter('r')]).1, [Action::Retry(over)]);
    }

    #[test]
    fn every_sheet_is_left_by_escape_and_by_the_key_that_opened_it() {
        let board = three();
        for (open, sheet) in [
            (Key::Tab, Sheet::Requests),
            (Key::Enter, Sheet::Story(board.jobs[0].id)),
            (Key::Letter('?'), Sheet::Help),
            (Key::Letter('n'), Sheet::Notices),
        ] {
            let (at, _) = pressed(&board, ui(), &[open]);
            assert!(matches!(at.screen, Screen::Sheet(shown, _) if shown == sheet), "{open:?}");
            assert_eq!(pressed(&board, at.clone(), &[open]).0.screen, Screen::Queue, "{open:?}");
            assert_eq!(pressed(&board, at, &[Key::Escape]).0.screen, Screen::Queue, "{open:?}");
        }
    }

    #[test]
    fn page_and_end_keys_go_through_a_long_queue() {
        let board = many(300);
        let index = |ui: &Ui| ui.cursor(&ui.shown(&board));
        let (paged, _) = pressed(&board, ui(), &[Key::PageDown]);
        assert!((3..24).contains(&index(&paged)), "{}", index(&paged));
        let (end, _) = pressed(&board, paged, &[Key::End]);
        assert_eq!(index(&end), 299);
        let (up, _) = pressed(&board, end, &[Key::PageUp, Key::Up]);
        assert!(index(&up) < 298);
        assert_eq!(index(&pressed(&board, up, &[Key::Home]).0), 0);
    }

    #[test]
    fn a_filter_narrows_while_it_is_typed_and_escape_takes_it_back() {
        let board = many(300);
        let letters: Vec<Key> = "/FEDORA".chars().map(Key::Letter).collect();
        let (typing, _) = pressed(&board, ui(), &letters);
        let shown = typing.shown(&board).len();
        assert!(shown > 0 && shown < 300 && typing.is_typing);
        let (kept, _) = pressed(&board, typing.clone(), &[Key::Enter, Key::Down]);
        assert!(!kept.is_typing && kept.shown(&board).len() == shown);
        assert_eq!(pressed(&board, kept, &[Key::Escape]).0.filter, "");
        let (back, _) = pressed(&board, typing, &[Key::Backspace; 7]);
        assert_eq!(pressed(&board, back, &[Key::Backspace]).0, ui().settled(&board));
        let letters: Vec<Key> = "/failed".chars().map(Key::Letter).collect();
        let failed = pressed(&board, ui(), &letters).0;
        let shown = failed.shown(&board);
        assert!(
            !shown.is_empty() && shown.iter().all(|job| job.verdict == Some(dispatch_core::Verdict::Failed))
        );
    }

    #[test]
    fn a_notice_is_put_away_until_there_is_a_newer_one() {
        let mut board = three();
        let (ui, _) = pressed(&board, ui(), &[Key::Escape]);
        assert!(ui.notice(&board).is_none());
        let newer = board.notices.last().expect("a notice").number + 1;
        board.notices.push(super::super::model::Notice { number: newer, ..board.notices[0].clone() });
        assert_eq!(ui.notice(&board).map(|notice| notice.number), Some(newer));
    }
}
