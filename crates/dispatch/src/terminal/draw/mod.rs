//! Draws a [`Board`] as a [`Ui`] looks at it. Nothing here decides, remembers, or asks for anything.

pub(crate) mod paint;
pub(crate) mod queue;
pub(crate) mod sheet;

use ratatui::Frame;
use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Widget as _};

use self::paint::{Paint, Tone};
use super::model::{Ask, Board, Screen, Ui};
use super::text;

/// The smallest terminal that anything can be told on.
pub(crate) const SMALLEST: (u16, u16) = (40, 8);

/// Draws everything.
pub(crate) fn render(frame: &mut Frame<'_>, board: &Board, ui: &Ui) {
    let area = frame.area();
    let size = (area.width, area.height);
    let buffer = frame.buffer_mut();
    if size.0 < SMALLEST.0 || size.1 < SMALLEST.1 {
        too_small(buffer, area);
        return;
    }
    // The terminal may have changed its size since.
    let resized = (ui.size != size).then(|| Ui { size, ..ui.clone() }.settled(board));
    let ui = resized.as_ref().unwrap_or(ui);
    match ui.screen {
        Screen::Queue => queue::render(buffer, area, board, ui),
        Screen::Sheet(shown, top) => sheet::render(buffer, area, shown, top, board, ui),
    }
    if let Some(ask) = ui.ask {
        question(buffer, area, ask, board, Paint::new(ui));
    }
    steady(buffer);
}

fn too_small(buffer: &mut Buffer, area: Rect) {
    let (columns, rows) = SMALLEST;
    let words = format!("dispatch runs. Make this terminal at least {columns} x {rows}.");
    let lines = text::wrapped(&words, usize::from(area.width));
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        put(buffer, area, y, Line::raw(line));
    }
}

/// Puts a line into row `y`. It has to fit: whoever makes it cuts it where that hurts least.
fn put(buffer: &mut Buffer, area: Rect, y: u16, line: impl Into<Line<'static>>) {
    let line = line.into();
    debug_assert!(line.width() <= usize::from(area.width), "too wide for {}: {line}", area.width);
    if y < area.bottom() {
        buffer.set_line(area.x, y, &line, area.width);
    }
}

/// Two texts at both ends of a line; the left one gives way.
fn both_ends(left: Vec<Span<'static>>, right: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let wide = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>();
    let right = if wide(&right) + 2 > width { Vec::new() } else { right };
    let mut spans = fitting(left, width.saturating_sub(wide(&right) + usize::from(!right.is_empty())));
    let gap = width.saturating_sub(wide(&spans) + wide(&right));
    spans.push(Span::raw(" ".repeat(gap)));
    spans.extend(right);
    Line::from(spans)
}

/// As many of the spans as fit; the last one is cut.
fn fitting(spans: Vec<Span<'static>>, width: usize) -> Vec<Span<'static>> {
    let mut room = width;
    let mut kept = Vec::new();
    for span in spans {
        let wide = span.width();
        if wide > room {
            kept.push(Span::styled(text::cut(&span.content, room), span.style));
            break;
        }
        room -= wide;
        kept.push(span);
    }
    kept
}

/// Signs that one terminal draws one column wide and another two. They get two columns, and what follows is put in
/// place anew, so that it stands where it should in both.
const UNSTEADY: [&str; 2] = ["▶", "⏸"];

fn steady(buffer: &mut Buffer) {
    let two = CellDiffOption::ForcedWidth(std::num::NonZeroU16::MIN.saturating_add(1));
    for index in 0..buffer.content.len().saturating_sub(1) {
        if UNSTEADY.contains(&buffer.content[index].symbol()) && buffer.content[index + 1].symbol() == " " {
            buffer.content[index].set_diff_option(two);
        }
    }
}

/// What the end of the session means for so many runs and so many waiting hosts.
fn ending(active: usize, waiting: usize) -> String {
    let who = if active == 1 { "1 run is".to_owned() } else { format!("{active} runs are") };
    let runs = if active == 0 {
        String::new()
    } else {
        format!(
            "{who} going on. Downloads break off and are asked for again, reports wait at their servers; all of it goes \
             on when dispatch is started again. "
        )
    };
    let hosts = match waiting {
        0 => "",
        1 => "1 host waits for work and will give up after about ten minutes.",
        _ => &format!("{waiting} hosts wait for work and will give up after about ten minutes."),
    };
    format!("{runs}{hosts}")
}

/// A question in the middle of the screen.
fn question(buffer: &mut Buffer, area: Rect, ask: Ask, board: &Board, paint: Paint) {
    let (title, words, keys) = match ask {
        Ask::Quit => {
            let words = ending(board.active(), board.waiting());
            ("End the session?", words, [("y", "end it"), ("n", "stay")])
        }
        Ask::Cancel(id) => {
            let Some(job) = board.job(id) else { return };
            let host = match (&job.host, job.group) {
                (Some(host), super::model::Group::Active) => format!(" Its run on {host} is given up."),
                _ => String::new(),
            };
            let words = format!("{} leaves the queue.{host}", job.name);
            ("Cancel this job?", words, [("y", "cancel it"), ("n", "leave it")])
        }
    };
    let width = area.width.saturating_sub(4).min(64);
    let inside = usize::from(width.saturating_sub(4));
    let mut lines: Vec<Line<'static>> = vec![Line::styled(title, paint.tone(Tone::Strong)), Line::raw("")];
    let room = usize::from(area.height).saturating_sub(6).max(1);
    lines.extend(text::wrapped(&words, inside).into_iter().take(room).map(Line::raw));
    if usize::from(area.height) > lines.len() + 4 {
        lines.push(Line::raw(""));
    }
    lines.push(Line::from(paint::keys(&keys, inside, paint)));
    let height = u16::try_from(lines.len() + 2).unwrap_or(area.height).min(area.height);
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let at = Rect { x, y, width, height };
    Clear.render(at, buffer);
    Block::bordered().border_type(BorderType::Rounded).render(at, buffer);
    // A wide letter that the frame cuts in half must not reach into it.
    for row in at.top()..at.bottom() {
        if at.x > area.x && text::width(buffer[(at.x - 1, row)].symbol()) > 1 {
            buffer[(at.x - 1, row)].set_symbol(" ");
        }
    }
    let within = Rect { x: at.x + 2, y: at.y + 1, width: at.width - 4, height: at.height - 2 };
    for (row, line) in (within.y..within.bottom()).zip(lines) {
        put(buffer, within, row, line);
    }
}
