//! The table: what is said above it, its rows, and what is said below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::super::model::{Board, Group, Idleness, Job, Ui};
use super::super::text;
use super::paint::{Paint, Tone};
use super::{both_ends, fitting, paint, put};

/// From this width on, everything that is known of a job stands in one line.
const WIDE: u16 = 150;

/// Below this width there is no room for the host.
const TINY: u16 = 70;

const STATE: usize = 11;
const VERDICT: usize = 8;
/// A MAC address.
const HOST: usize = 17;
/// A MAC address and an IPv4 address.
const HOST_AND_ADDRESS: usize = 35;
const TRY: usize = 3;
const AGE: usize = 7;
/// A short bar and how far it is.
const SHORT: usize = 11;
/// Where names begin: behind the cursor, the sign and the state.
const INDENT: usize = 4 + STATE + 2;

/// How many rows everything takes.
struct Rows {
    urls: Vec<Line<'static>>,
    has_gap: bool,
    idle: Option<Line<'static>>,
    below: Vec<Line<'static>>,
    table: u16,
}

impl Rows {
    fn new(ui: &Ui, board: &Board) -> Self {
        let (width, height) = ui.size;
        let paint = Paint::new(ui);
        let has_gap = height >= 16;
        let urls = urls(board, usize::from(width), url_rows(height), paint);
        let idle = if height >= 16 { idle(board, usize::from(width), paint) } else { None };
        let below = below(board, ui, if height >= 16 { 2 } else { 1 });
        // The title, the counts, the heads of the columns and the keys.
        let fixed = 4 + usize::from(has_gap) + urls.len() + usize::from(idle.is_some()) + below.len();
        let table = height.saturating_sub(u16::try_from(fixed).unwrap_or(u16::MAX));
        Self { urls, has_gap, idle, below, table }
    }
}

fn url_rows(height: u16) -> usize {
    match height {
        0..16 => 1,
        16..30 => 3,
        _ => 8,
    }
}

/// How many lines there are for rows.
pub(crate) fn room(ui: &Ui, board: &Board) -> u16 {
    Rows::new(ui, board).table
}

/// How rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Density {
    /// Everything in one line.
    Wide,
    /// A second line for what a job does.
    Roomy,
    /// One line, but for the row under the cursor: what goes on and what is in trouble would not fit otherwise.
    Dense,
}

/// How rows are laid out for these jobs.
pub(crate) fn density(ui: &Ui, board: &Board, jobs: &[&Job]) -> Density {
    if ui.size.0 >= WIDE {
        return Density::Wide;
    }
    let first = jobs.iter().filter(|job| matches!(job.group, Group::Active | Group::Trouble));
    let lines: usize = first.map(|job| usize::from(height(job, Density::Roomy, false))).sum();
    if lines > usize::from(room(ui, board)) { Density::Dense } else { Density::Roomy }
}

fn height(job: &Job, density: Density, is_under_cursor: bool) -> u16 {
    let has_more = (job.progress().is_some() || job.detail.is_some()) && job.group != Group::Done;
    match density {
        Density::Roomy if has_more => 2,
        Density::Dense if has_more && is_under_cursor => 2,
        _ => 1,
    }
}

/// How many lines each of these jobs takes.
pub(crate) fn heights(ui: &Ui, board: &Board, jobs: &[&Job]) -> Vec<u16> {
    let (density, cursor) = (density(ui, board, jobs), ui.cursor(jobs));
    jobs.iter().enumerate().map(|(index, job)| height(job, density, index == cursor)).collect()
}

/// How many jobs are in view.
pub(crate) fn rows_in_view(ui: &Ui, board: &Board) -> usize {
    let mut room = room(ui, board);
    let mut rows = 0;
    for height in heights(ui, board, &ui.shown(board)).into_iter().skip(ui.top) {
        if height > room {
            break;
        }
        room -= height;
        rows += 1;
    }
    rows
}

/// Draws the table and what is around it.
pub(crate) fn render(buffer: &mut Buffer, area: Rect, board: &Board, ui: &Ui) {
    let paint = Paint::new(ui);
    let rows = Rows::new(ui, board);
    let columns = Columns::new(board, area.width, density(ui, board, &ui.shown(board)));
    let mut y = area.y;
    let mut next = |lines: u16| {
        let at = y;
        y = y.saturating_add(lines);
        at
    };
    put(buffer, area, next(1), title(board, usize::from(area.width), paint));
    put(buffer, area, next(1), counts_line(board, usize::from(area.width), paint));
    for line in rows.urls {
        put(buffer, area, next(1), line);
    }
    if rows.has_gap {
        let range = paint.span(range(board, ui).unwrap_or_default(), Tone::Quiet);
        put(buffer, area, next(1), both_ends(Vec::new(), vec![range], usize::from(area.width)));
    }
    put(buffer, area, next(1), columns.heads(paint));
    let table = Rect { y: next(rows.table), height: rows.table, ..area };
    draw_rows(buffer, table, board, ui, &columns, paint);
    if let Some(line) = rows.idle {
        put(buffer, area, next(1), line);
    }
    for line in rows.below {
        put(buffer, area, next(1), line);
    }
    put(buffer, area, next(1), footer(ui, usize::from(area.width), paint));
}

fn draw_rows(buffer: &mut Buffer, table: Rect, board: &Board, ui: &Ui, columns: &Columns, paint: Paint) {
    let jobs = ui.shown(board);
    let cursor = ui.cursor(&jobs);
    let mut y = table.y;
    for (index, job) in jobs.iter().enumerate().skip(ui.top) {
        if y >= table.bottom() {
            break;
        }
        put(buffer, table, y, columns.first(job, index == cursor, paint));
        // The sign last, so that nothing depends on how wide a terminal draws it.
        let is_quiet = job.group == Group::Done && index != cursor;
        let sign = paint.tone(if is_quiet { Tone::Quiet } else { Tone::Plain });
        buffer.set_stringn(table.x + 1, y, job.sign, 2, sign);
        y += 1;
        if height(job, columns.density, index == cursor) == 2 && y < table.bottom() {
            put(buffer, table, y, columns.second(job, paint));
            y += 1;
        }
    }
    if jobs.is_empty() && table.height > 0 {
        let words =
            if board.jobs.is_empty() { "no job is in the queue" } else { "no job matches the filter" };
        put(buffer, table, table.y, Line::from(paint.span(format!("    {words}"), Tone::Quiet)));
    }
}

/// How wide each column is.
struct Columns {
    width: usize,
    name: usize,
    /// Nothing below [`TINY`].
    host: usize,
    density: Density,
    is_wide: bool,
    /// What it is doing, where that stands in the same line.
    doing: usize,
}

impl Columns {
    fn new(board: &Board, width: u16, density: Density) -> Self {
        let is_wide = density == Density::Wide;
        let columns = usize::from(width);
        if width < TINY {
            let name = columns - INDENT - 2 - AGE - 1;
            return Self { width: columns, name, host: 0, density, is_wide, doing: 0 };
        }
        let has_addresses = board.jobs.iter().any(|job| job.address.is_some());
        let host = if width >= 120 && has_addresses { HOST_AND_ADDRESS } else { HOST };
        let rest = columns - INDENT - (2 + host) - (2 + TRY) - (2 + AGE) - 1;
        match density {
            Density::Wide => {}
            Density::Roomy => return Self { width: columns, name: rest, host, density, is_wide, doing: 0 },
            Density::Dense => {
                let name = rest - 2 - SHORT;
                return Self { width: columns, name, host, density, is_wide, doing: SHORT };
            }
        }
        let rest = rest - (2 + VERDICT) - 2;
        let longest = board.jobs.iter().map(|job| text::width(&text::plain(&job.name))).max().unwrap_or(0);
        let name = longest.clamp(16, rest / 2);
        Self { width: columns, name, host, density, is_wide, doing: rest - name }
    }

    fn heads(&self, paint: Paint) -> Line<'static> {
        let mut cells = vec![text::padded("state", STATE), text::padded("workload", self.name)];
        if self.host > 0 {
            cells.extend([text::padded("host", self.host), text::right("try", TRY)]);
        }
        cells.push(text::right("for", AGE));
        if self.is_wide {
            cells.extend([text::padded("verdict", VERDICT), text::cut("now", self.doing)]);
        } else if self.doing > 0 {
            cells.push(text::padded("now", self.doing));
        }
        let line = format!("    {}", cells.join("  "));
        Line::from(paint.span(line, Tone::Quiet))
    }

    fn first(&self, job: &Job, is_under_cursor: bool, paint: Paint) -> Line<'static> {
        let is_quiet = job.group == Group::Done;
        let plain = if is_quiet { Tone::Quiet } else { Tone::Plain };
        let name = text::cut_middle(&job.name, self.name);
        // In a narrow table the verdict takes the place of the state that goes without saying.
        let verdict = job.verdict.filter(|_| job.group != Group::Active);
        let state = match verdict {
            Some(verdict) if !self.is_wide => verdict.to_string(),
            _ => job.state.clone(),
        };
        let mut spans = vec![
            Span::raw(if is_under_cursor { "›   " } else { "    " }),
            paint.span(text::padded(&state, STATE), paint::state(job)),
            Span::raw("  "),
            paint.span(text::padded(&name, self.name), if is_quiet { plain } else { Tone::Strong }),
        ];
        if self.host > 0 {
            spans.push(Span::raw("  "));
            let attempt = if job.attempt == 0 { String::new() } else { job.attempt.to_string() };
            spans.push(match &job.host {
                Some(host) => paint.span(text::padded(&self.host(job, host), self.host), plain),
                None if self.is_wide => Span::raw(" ".repeat(self.host)),
                None => {
                    let brief = job.brief.as_deref().unwrap_or_default();
                    paint.span(text::padded(brief, self.host), Tone::Quiet)
                }
            });
            spans.push(paint.span(format!("  {}", text::right(&attempt, TRY)), plain));
        }
        spans.push(paint.span(format!("  {}", text::right(&text::age(job.age), AGE)), plain));
        if self.is_wide {
            let word = verdict.map(|verdict| verdict.to_string()).unwrap_or_default();
            spans.push(Span::raw("  "));
            spans.push(paint.span(text::padded(&word, VERDICT), paint::state(job)));
        }
        if is_under_cursor {
            for span in &mut spans[1..] {
                // One bar of one colour: a word turned round would be a block of its own.
                span.style.fg = None;
                span.style = span.style.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED);
            }
        }
        if self.is_wide {
            spans.push(Span::raw("  "));
            spans.extend(self.doing(job, self.doing, paint));
        } else if self.doing > 0 {
            spans.push(Span::raw("  "));
            spans.extend(self.short_doing(job, paint));
        }
        Line::from(spans)
    }

    /// What a job does, where there is room for a few letters.
    fn short_doing(&self, job: &Job, paint: Paint) -> Vec<Span<'static>> {
        if let Some(progress) = job.progress() {
            return paint::short_download(progress, self.doing, paint);
        }
        let (words, tone) = match job.group {
            Group::Active => (job.brief.clone().unwrap_or_default(), Tone::Quiet),
            // Of what comes next it stands where the host will.
            Group::Waiting => (String::new(), Tone::Quiet),
            Group::Trouble | Group::Done if job.refused > 0 => ("no issue".to_owned(), Tone::Bad),
            Group::Trouble | Group::Done => (numbers(&job.issues), Tone::Quiet),
        };
        vec![paint.span(text::cut(&words, self.doing), tone)]
    }

    fn host(&self, job: &Job, host: &str) -> String {
        match &job.address {
            Some(address) if self.host >= HOST_AND_ADDRESS => format!("{host} ({address})"),
            _ => text::cut_middle(host, self.host),
        }
    }

    fn second(&self, job: &Job, paint: Paint) -> Line<'static> {
        // Where there is no column for the host, it is named here.
        let host = job.host.as_ref().filter(|_| self.host == 0 && job.download.is_none());
        let indent = if self.host == 0 { 4 } else { INDENT };
        let mut spans = vec![Span::raw(" ".repeat(indent))];
        if let Some(host) = host {
            spans.push(Span::raw(format!("{}: ", text::plain(host))));
        }
        let room = self.width - indent - 1;
        spans.extend(self.doing(job, room, paint));
        Line::from(fitting(spans, self.width - 1))
    }

    fn doing(&self, job: &Job, width: usize, paint: Paint) -> Vec<Span<'static>> {
        if let Some(progress) = job.progress() {
            return paint::download(progress, width, paint);
        }
        let brief = job.brief.as_deref().filter(|_| self.is_wide);
        let words = job.detail.as_deref().or(brief).unwrap_or_default();
        let tone = if job.group == Group::Trouble { Tone::Plain } else { Tone::Quiet };
        vec![paint.span(text::cut(words, width), tone)]
    }
}

/// `#12 #13`.
fn numbers(issues: &[u64]) -> String {
    issues.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(" ")
}

fn title(board: &Board, width: usize, paint: Paint) -> Line<'static> {
    let left = vec![
        Span::raw(" "),
        paint.span("dispatch", Tone::Strong),
        Span::raw(format!("  {}", text::plain(&board.source))),
    ];
    let rate: f64 = board.jobs.iter().filter_map(|job| job.download?.pace.rate).sum();
    let mut right = Vec::new();
    if board.jobs.iter().any(|job| job.download.is_some()) {
        right.push(paint.span(format!("{}   ", paint::rate(rate)), Tone::Active));
    }
    right.push(paint.span(format!("{} ", text::plain(&board.clock)), Tone::Quiet));
    both_ends(left, right, width)
}

/// `2 downloading`, `290 queued`, `5 passed`: each state and each verdict that there is. In short, what is going on
/// is one number.
fn counts(board: &Board, is_short: bool) -> Vec<(usize, String, Tone)> {
    let mut counts: Vec<(usize, String, Tone)> = Vec::new();
    for job in &board.jobs {
        let (word, tone) = match (job.group, job.verdict) {
            (Group::Active, _) if is_short => ("active".to_owned(), Tone::Active),
            (Group::Active, _) | (_, None) => (job.state.clone(), paint::state(job)),
            (_, Some(verdict)) => (verdict.to_string(), paint::verdict(verdict)),
        };
        match counts.iter_mut().find(|(_, known, _)| *known == word) {
            Some((count, ..)) => *count += 1,
            None => counts.push((1, word, tone)),
        }
    }
    counts
}

fn counts_line(board: &Board, width: usize, paint: Paint) -> Line<'static> {
    let is_over =
        |job: &Job| job.group == Group::Done || job.group == Group::Trouble && job.verdict.is_some();
    let is_all_over = !board.jobs.is_empty() && board.jobs.iter().all(is_over);
    let line = |is_short| {
        let mut spans = vec![Span::raw(" ")];
        if is_all_over {
            spans.push(paint.span("all done: ", Tone::Strong));
        }
        for (index, (count, word, tone)) in counts(board, is_short).into_iter().enumerate() {
            if index > 0 {
                spans.push(paint.span(if is_short { "  " } else { " · " }, Tone::Quiet));
            }
            spans.push(paint.span(format!("{count} {}", text::plain(&word)), tone));
        }
        spans
    };
    let wide = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>();
    let mut left = line(false);
    if wide(&left) >= width {
        left = line(true);
    }
    // Now is when somebody looks for them.
    let room = width.saturating_sub(wide(&left) + 3);
    let reports = format!("reports in {} ", text::plain(&board.reports));
    let is_shown = is_all_over && text::width(&reports) <= room;
    let right = if is_shown { vec![paint.span(reports, Tone::Plain)] } else { Vec::new() };
    both_ends(left, right, width)
}

/// Which jobs are in view, where that is not all of them.
fn range(board: &Board, ui: &Ui) -> Option<String> {
    let (all, seen) = (ui.shown(board).len(), rows_in_view(ui, board));
    (seen < all).then(|| format!("{}–{} of {all} ", ui.top + 1, ui.top + seen.max(1)))
}

/// The boot URLs, several in a line where they fit: they are there to be typed.
fn urls(board: &Board, width: usize, most: usize, paint: Paint) -> Vec<Line<'static>> {
    let label = if width < usize::from(TINY) { " " } else { " boot URL  " };
    let room = width - label.len() - 1;
    let mut lines: Vec<Vec<String>> = Vec::new();
    let used = |line: &[String]| line.iter().map(|url| text::width(url) + 3).sum::<usize>();
    for url in &board.urls {
        let url = text::cut(url, room);
        match lines.last_mut() {
            Some(line) if used(line) + text::width(&url) <= room => line.push(url),
            _ => lines.push(vec![url]),
        }
    }
    let hidden: usize = lines.iter().skip(most).map(Vec::len).sum();
    lines.truncate(most);
    if hidden > 0
        && let Some(line) = lines.last_mut()
    {
        let more = format!("and {hidden} more: ?");
        if used(line) + text::width(&more) <= room {
            line.push(more);
        }
    }
    let mut is_first = true;
    lines
        .into_iter()
        .map(|urls| {
            let lead = if is_first { label.to_owned() } else { " ".repeat(label.len()) };
            let mut spans = vec![paint.span(lead, Tone::Quiet)];
            for (index, url) in urls.into_iter().enumerate() {
                let gap = if index > 0 { "   " } else { "" };
                let tone = if is_first { Tone::Strong } else { Tone::Plain };
                is_first = false;
                spans.push(Span::raw(gap));
                spans.push(paint.span(url, tone));
            }
            Line::from(spans)
        })
        .collect()
}

/// The first of the hosts without work, and how many more there are.
fn idle(board: &Board, width: usize, paint: Paint) -> Option<Line<'static>> {
    let host = board.idle.first()?;
    let more = match board.idle.len() {
        1 => String::new(),
        many => format!(" · {} more: Tab", many - 1),
    };
    let since = host.since().map(|since| format!(", {since}")).unwrap_or_default();
    let end = since + &more;
    let words = format!("{} {}", host.label(), host.told);
    let words = text::cut(&words, (width - 11).saturating_sub(text::width(&end))) + &end;
    let tone = if host.is == Idleness::Lost { Tone::Warn } else { Tone::Quiet };
    Some(Line::from(vec![paint.span(" idle     ", Tone::Quiet), paint.span(words, tone)]))
}

/// What is tried again and again, or else what waits for its turn; and how much more waits.
fn outbox(board: &Board, width: usize, paint: Paint) -> Option<Line<'static>> {
    let first = board.outbox.first()?;
    let is_tiny = width < usize::from(TINY);
    let (lead, hint) = if is_tiny { (" waits  ", "") } else { (" waits    ", ": n") };
    let next = first.next.as_ref().map(|next| format!("; {next}")).unwrap_or_default();
    let more = match board.outbox.len() {
        1 => String::new(),
        many => format!(" · {} more{hint}", many - 1),
    };
    let end = text::plain(&next) + &more;
    let room = width - text::width(lead) - 1;
    // What waits, and why, comes before when it is tried again.
    let end = if text::width(&end) * 2 > room { more } else { end };
    let why = first.why.as_ref().map_or("waiting for their turn", |why| why.trim_end_matches('.'));
    let words = format!("{}: {why}", first.what);
    let words = text::cut(&words, room.saturating_sub(text::width(&end))) + &end;
    let tone = if first.why.is_some() { Tone::Plain } else { Tone::Quiet };
    Some(Line::from(vec![paint.span(lead, Tone::Quiet), paint.span(words, tone)]))
}

/// What came of the last command, the newest notice, what waits, the filter.
fn below(board: &Board, ui: &Ui, most: usize) -> Vec<Line<'static>> {
    let paint = Paint::new(ui);
    let width = usize::from(ui.size.0);
    let mut lines = Vec::new();
    if let Some(notice) = ui.notice(board) {
        let (word, tone) = if notice.is_error { ("error ", Tone::Bad) } else { ("notice", Tone::Warn) };
        let lead = format!(" {}  {word}  ", text::cut(&notice.at, 8));
        let indent = text::width(&lead);
        let mut parts = text::wrapped(&notice.text, width.saturating_sub(indent + 1));
        if parts.len() > most {
            parts.truncate(most);
            if let Some(last) = parts.last_mut() {
                let hint = " … (n: all)";
                let room = width - indent - 1 - text::width(hint);
                *last = text::cut(last, room).trim_end_matches([' ', '…']).to_owned() + hint;
            }
        }
        for (index, part) in parts.into_iter().enumerate() {
            let lead = if index == 0 { lead.clone() } else { " ".repeat(indent) };
            lines.push(Line::from(vec![paint.span(lead, tone), Span::raw(part)]));
        }
    }
    if let Some(said) = &ui.said {
        let said = text::wrapped(said, width - 2).into_iter().take(most);
        lines.extend(said.map(|part| Line::from(paint.span(format!(" {part}"), Tone::Strong))));
    }
    if ui.is_typing || !ui.filter.is_empty() {
        let mark = if ui.is_typing { "▏" } else { "" };
        let back = if ui.is_typing { "" } else { " (Esc: all)" };
        let count = format!("{} of {} jobs{back}", ui.shown(board).len(), board.jobs.len());
        let filter = text::cut(&ui.filter, width.saturating_sub(34));
        let words = format!(" filter: {filter}{mark}   ");
        lines.push(Line::from(vec![paint.span(words, Tone::Strong), paint.span(count, Tone::Quiet)]));
    }
    // Where there is hardly room for the table, it may have to wait.
    if most > 1 || lines.len() < 2 {
        lines.splice(0..0, outbox(board, width, paint));
    }
    lines
}

fn footer(ui: &Ui, width: usize, paint: Paint) -> Line<'static> {
    let keys: &[(&str, &str)] = if ui.is_typing {
        &[("Enter", "keep"), ("Esc", "all jobs")]
    } else if width < usize::from(TINY) {
        &[("q", "quit"), ("?", "help"), ("Enter", "timeline"), ("Tab", "requests")]
    } else if width < 90 {
        &[
            ("↑↓", "select"),
            ("Enter", "timeline"),
            ("Tab", "requests"),
            ("r", "retry"),
            ("c", "cancel"),
            ("?", "help"),
            ("q", "quit"),
        ]
    } else {
        &[
            ("↑↓", "select"),
            ("Enter", "timeline"),
            ("Tab", "requests"),
            ("r", "retry"),
            ("c", "cancel"),
            ("/", "find"),
            ("?", "help"),
            ("q", "quit"),
        ]
    };
    let mut spans = vec![Span::raw(" ")];
    spans.extend(paint::keys(keys, width - 2, paint));
    Line::from(spans)
}
