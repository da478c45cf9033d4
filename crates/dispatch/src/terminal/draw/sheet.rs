//! Texts that fill the screen: what happened to a job, the last requests, all notices, help.

use dispatch_core::JobId;
use dispatch_server::log::FETCHING;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::model::{Board, Filing, IdleHost, Idleness, Job, Report, Request, Sheet, Ui};
use super::super::text;
use super::paint::{self, Paint, Tone};
use super::{both_ends, fitting, put};

/// The lines of a report's text that are shown; the rest is in its file.
const BODY: usize = 60;

/// How many lines of a sheet are in view.
pub(crate) fn room(size: (u16, u16)) -> u16 {
    // The title, an empty line, and the keys.
    size.1.saturating_sub(3)
}

/// Draws a sheet from its line `top` on.
pub(crate) fn render(buffer: &mut Buffer, area: Rect, sheet: Sheet, top: usize, board: &Board, ui: &Ui) {
    let paint = Paint::new(ui);
    let lines = lines(sheet, board, ui);
    let room = usize::from(room((area.width, area.height)));
    let title = vec![Span::raw(" "), paint.span(title(sheet), Tone::Strong)];
    let all = lines.len();
    let range = if all > room {
        vec![paint.span(format!("{}–{} of {all} ", top + 1, (top + room).min(all)), Tone::Quiet)]
    } else {
        Vec::new()
    };
    put(buffer, area, area.y, both_ends(title, range, usize::from(area.width)));
    for (y, line) in (area.y + 2..area.bottom() - 1).zip(lines.into_iter().skip(top)) {
        put(buffer, area, y, line);
    }
    let mut keys = vec![("Esc", "back"), ("↑↓", "scroll")];
    if matches!(sheet, Sheet::Story(_)) {
        keys.extend([("r", "retry"), ("c", "cancel")]);
    }
    if sheet != Sheet::Requests {
        keys.push(("Tab", "requests"));
    }
    let mut footer = vec![Span::raw(" ")];
    match &ui.said {
        Some(said) => footer.push(paint.span(text::cut(said, usize::from(area.width) - 2), Tone::Strong)),
        None => footer.extend(paint::keys(&keys, usize::from(area.width) - 2, paint)),
    }
    put(buffer, area, area.bottom() - 1, Line::from(footer));
}

fn title(sheet: Sheet) -> &'static str {
    match sheet {
        Sheet::Story(_) => "timeline and reports",
        Sheet::Requests => "hosts and requests",
        Sheet::Notices => "warnings and errors",
        Sheet::Help => "help",
    }
}

/// All lines of a sheet.
pub(crate) fn lines(sheet: Sheet, board: &Board, ui: &Ui) -> Vec<Line<'static>> {
    let page = Page { width: usize::from(ui.size.0), paint: Paint::new(ui), lines: Vec::new() };
    match sheet {
        Sheet::Story(id) => page.story(board, id),
        Sheet::Requests => page.requests(board),
        Sheet::Notices => page.notices(board),
        Sheet::Help => page.help(board),
    }
}

/// `×12` of a request that came more than once.
fn times(request: &Request) -> String {
    if request.count > 1 { format!("×{}", request.count) } else { String::new() }
}

/// A text that is being written.
struct Page {
    width: usize,
    paint: Paint,
    lines: Vec<Line<'static>>,
}

impl Page {
    fn line(&mut self, spans: Vec<Span<'static>>) {
        self.lines.push(Line::from(fitting(spans, self.width)));
    }

    fn gap(&mut self) {
        self.lines.push(Line::raw(""));
    }

    fn heading(&mut self, words: &str) {
        if !self.lines.is_empty() {
            self.gap();
        }
        let words = self.paint.span(format!(" {words}"), Tone::Strong);
        self.line(vec![words]);
    }

    /// Words behind `lead`, in as many lines as they take.
    fn paragraph(&mut self, lead: Vec<Span<'static>>, words: &str, tone: Tone) {
        let indent: usize = lead.iter().map(Span::width).sum();
        // Where the lead takes most of the width, the words go below it.
        let (indent, is_below) = if indent * 2 > self.width { (4, true) } else { (indent, false) };
        let parts = text::wrapped(words, self.width.saturating_sub(indent + 1));
        let mut lead = Some(lead);
        if is_below || parts.is_empty() {
            let lead = lead.take().unwrap_or_default();
            self.line(lead);
        }
        for part in parts {
            let mut spans = lead.take().unwrap_or_else(|| vec![Span::raw(" ".repeat(indent))]);
            spans.push(self.paint.span(part, tone));
            self.line(spans);
        }
    }

    fn story(mut self, board: &Board, id: JobId) -> Vec<Line<'static>> {
        let Some(job) = board.job(id) else {
            self.paragraph(vec![Span::raw(" ")], "This job is no longer in the queue.", Tone::Quiet);
            return self.lines;
        };
        self.job(job);
        let Some(story) = board.story.as_ref().filter(|story| story.job == id) else {
            self.gap();
            self.paragraph(vec![Span::raw(" ")], "reading its timeline…", Tone::Quiet);
            return self.lines;
        };
        self.heading("Timeline");
        for event in &story.events {
            let time = self.paint.span(format!(" {}  ", text::cut(&event.at, 14)), Tone::Quiet);
            let sign = Span::raw(text::padded(event.sign, 2));
            let word = Span::raw(format!("  {}  ", text::padded(event.word, 11)));
            self.paragraph(vec![time, sign, word], &event.words, Tone::Plain);
        }
        self.heading("Reports");
        if story.reports.is_empty() {
            self.paragraph(vec![Span::raw(" ")], "It has not reported.", Tone::Quiet);
        }
        for report in &story.reports {
            self.report(report);
        }
        self.lines
    }

    fn job(&mut self, job: &Job) {
        for part in text::pieces(&text::plain(&job.name), self.width - 2) {
            let part = self.paint.span(format!(" {part}"), Tone::Strong);
            self.line(vec![part]);
        }
        let mut state = job.state.clone();
        if let Some(verdict) = job.verdict {
            state = format!("{state}, {verdict}");
        }
        let age = text::age(job.age);
        let words = match (&job.host, &job.address) {
            (Some(mac), Some(address)) => format!("on {mac} ({address}), attempt {}, for {age}", job.attempt),
            (Some(host), None) => format!("on {host}, attempt {}, for {age}", job.attempt),
            (None, _) => format!("for {age}"),
        };
        let lead = vec![
            Span::raw(format!(" {} ", text::padded(job.sign, 2))),
            self.paint.span(state, paint::state(job)),
            Span::raw(" "),
        ];
        self.paragraph(lead, &words, Tone::Plain);
        if let Some(progress) = job.progress() {
            let mut spans = vec![Span::raw("    ")];
            spans.extend(paint::download(progress, self.width - 5, self.paint));
            self.line(spans);
        }
        if let Some(words) = job.detail.as_ref().or(job.brief.as_ref()) {
            self.paragraph(vec![Span::raw("    ")], words, Tone::Plain);
        }
    }

    fn report(&mut self, report: &Report) {
        let time = self.paint.span(format!(" {}  ", text::cut(&report.at, 14)), Tone::Quiet);
        let verdict =
            self.paint.span(text::padded(report.verdict.as_str(), 8), paint::verdict(report.verdict));
        let late = if report.is_late { "  (late)" } else { "" };
        let title = format!("{}{late}", report.title);
        self.paragraph(vec![time, verdict, Span::raw("  ")], &title, Tone::Strong);
        if !report.marks.is_empty() {
            self.paragraph(vec![Span::raw("    ")], &report.marks.join(", "), Tone::Quiet);
        }
        if let Some(filing) = &report.issue {
            self.filing(filing);
        }
        let mut body: Vec<String> = Vec::new();
        for line in report.body.lines().take(BODY + 1) {
            let line = text::plain(line.trim_end());
            body.extend(text::pieces(&line, self.width.saturating_sub(5)));
            if line.is_empty() {
                body.push(String::new());
            }
        }
        let is_cut = report.is_cut || body.len() > BODY;
        for line in body.into_iter().take(BODY) {
            self.line(vec![Span::raw(format!("    {line}"))]);
        }
        if is_cut {
            self.paragraph(vec![Span::raw("    ")], "… the rest is in its file:", Tone::Quiet);
        }
        self.whole(&report.file);
        self.gap();
    }

    /// What became of a report as an issue.
    fn filing(&mut self, filing: &Filing) {
        let lead = || vec![Span::raw("    ")];
        match filing {
            Filing::Filed { number, url, omitted } => {
                let without = match omitted.as_slice() {
                    [] => String::new(),
                    all => format!(" without {}", all.join(", ")),
                };
                self.paragraph(lead(), &format!("filed as #{number}{without}"), Tone::Good);
                self.whole(url);
            }
            Filing::Waits(words, is_again) => {
                self.paragraph(lead(), words, if *is_again { Tone::Warn } else { Tone::Quiet });
            }
            Filing::Refused(why) => {
                self.paragraph(lead(), &format!("will never be an issue: {why}"), Tone::Bad);
            }
        }
    }

    /// A path or a URL: to be copied, so nothing of it is left out.
    fn whole(&mut self, path: &str) {
        for part in text::pieces(&text::plain(path), self.width - 5) {
            let part = self.paint.span(format!("    {part}"), Tone::Quiet);
            self.line(vec![part]);
        }
    }

    fn requests(mut self, board: &Board) -> Vec<Line<'static>> {
        if board.requests.is_empty() {
            self.paragraph(vec![Span::raw(" ")], "No request has come in yet.", Tone::Strong);
            self.gap();
            let words = "A server that boots from one of these URLs is here with its first request:";
            self.paragraph(vec![Span::raw(" ")], words, Tone::Plain);
            for url in &board.urls {
                self.whole(url);
            }
            self.gap();
            let words = "If one is switched on and nothing shows up, its request does not get here: the URL in its \
                         boot menu, the cable and network of its card, DHCP, or a firewall on this machine.";
            self.paragraph(vec![Span::raw(" ")], words, Tone::Plain);
            return self.lines;
        }
        if !board.idle.is_empty() {
            self.heading("Hosts without work");
            for host in &board.idle {
                self.idle(host);
            }
        }
        self.heading("The last requests, newest first");
        let times = board.requests.iter().map(|request| text::width(&times(request))).max().unwrap_or(0);
        for request in &board.requests {
            self.request(request, times);
        }
        self.lines
    }

    fn idle(&mut self, host: &IdleHost) {
        let room = if self.width >= 120 { 35 } else { 17 };
        let is_whole = text::width(&host.label()) <= room;
        let name = if is_whole { host.label() } else { host.host.clone() };
        let tone = if host.is == Idleness::Lost { Tone::Warn } else { Tone::Plain };
        let lead = vec![
            self.paint.span(format!(" {}", text::right(&host.since().unwrap_or_default(), 11)), Tone::Quiet),
            Span::raw(format!("  {}  ", text::padded(&text::cut_middle(&name, room), room))),
        ];
        let address = host.address.as_ref().filter(|_| !is_whole);
        let address = address.map(|address| format!(" (at {address})")).unwrap_or_default();
        self.paragraph(lead, &format!("{}{address}", host.told), tone);
    }

    /// `widest` is the room for how often they came.
    fn request(&mut self, request: &Request, widest: usize) {
        let who = request.name.as_ref().or(request.mac.as_ref()).unwrap_or(&request.address);
        let tone = match request.status {
            200..300 => Tone::Good,
            300..400 | 404 | 417 => Tone::Warn,
            _ => Tone::Bad,
        };
        let method = if request.method.is_empty() { "?" } else { &request.method };
        let mut spans = vec![
            self.paint.span(format!(" {}  ", text::padded(&request.at, 8)), Tone::Quiet),
            Span::raw(text::padded(&text::cut_middle(who, 17), 17)),
            self.paint.span(format!("  {}", text::padded(method, 4)), Tone::Strong),
            self.paint.span(format!("  {:>3}  ", request.status), tone),
        ];
        let times = times(request);
        if self.width >= 70 && widest > 0 {
            spans.push(self.paint.span(format!("{}  ", text::right(&times, widest)), Tone::Quiet));
        }
        // The reason is what is looked for: nothing of it is left out.
        let room = self.width.saturating_sub(spans.iter().map(Span::width).sum::<usize>() + 1);
        let fits = self.width >= 70 && text::width(&text::plain(&request.answer)) <= room;
        if fits {
            spans.push(Span::raw(text::cut(&request.answer, room)));
        }
        self.line(spans);
        let mut words: Vec<&str> = Vec::new();
        if self.width < 70 && !times.is_empty() {
            words.push(&times);
        }
        if !fits {
            words.push(&request.answer);
        }
        words.push(&request.target);
        if request.name.is_some() {
            words.extend(request.mac.as_deref());
        }
        let at = format!("at {}", request.address);
        if *who != request.address {
            words.push(&at);
        }
        words.push(request.agent.as_deref().unwrap_or("no agent named"));
        self.paragraph(vec![Span::raw(" ".repeat(11))], &words.join(" · "), Tone::Quiet);
    }

    fn notices(mut self, board: &Board) -> Vec<Line<'static>> {
        if !board.outbox.is_empty() {
            self.heading("What waits to be done");
            for waiting in &board.outbox {
                let tone = if waiting.why.is_some() { Tone::Plain } else { Tone::Quiet };
                self.paragraph(vec![Span::raw("    ")], &waiting.words, tone);
            }
            self.heading("Warnings and errors");
        }
        if board.notices.is_empty() {
            self.paragraph(vec![Span::raw(" ")], "Nothing to be warned of.", Tone::Quiet);
        }
        for notice in &board.notices {
            let (word, tone) = if notice.is_error { ("error ", Tone::Bad) } else { ("notice", Tone::Warn) };
            let lead = self.paint.span(format!(" {}  {word}  ", text::cut(&notice.at, 8)), tone);
            self.paragraph(vec![lead], &notice.text, Tone::Plain);
        }
        self.gap();
        self.paragraph(vec![Span::raw(" ")], "The whole log is in", Tone::Quiet);
        self.whole(&board.log);
        self.lines
    }

    fn help(mut self, board: &Board) -> Vec<Line<'static>> {
        const KEYS: [(&str, &str); 10] = [
            ("↑ ↓ PgUp PgDn", "select a job; the cursor stays on it wherever it goes"),
            ("Home", "to the top, where the cursor stays on what is going on"),
            ("Esc", "back: from a page, from the filter, from a notice, to the top"),
            ("Enter", "what happened to the job, and its reports"),
            ("Tab", "idle hosts and the last requests: did my server ask at all?"),
            ("r", "run the job again"),
            ("c", "cancel the job (asks first)"),
            ("/", "only jobs with this in their name, state, verdict or host"),
            ("n", "all warnings and errors, and what is still to be filed or written"),
            ("q Ctrl-C", "end the session (asks first while hosts are at work or wait)"),
        ];
        const SIGNS: [(&str, &str, &str); 10] = [
            ("⏳", "queued", "waits for a server; the first in line goes to whoever asks next"),
            (FETCHING, "fetching", "its image is on its way here, and no server gets it before it is whole"),
            ("📌", "assigned", "a server was told of its image and has not fetched it yet"),
            ("📥", "downloading", "the image is on its way, or there and has not called yet"),
            ("⚡", "booting", "the image is up: beacon has called"),
            ("▶", "running", "it works through its stages"),
            ("📝", "reported", "it has reported, and may report more"),
            ("🏁", "finished", "it reported; the verdict says how it came out"),
            ("❌", "failed", "it ended without a report; the lab is to blame, not the image"),
            ("🚫", "cancelled", "it left the queue"),
        ];
        const VERDICTS: [(&str, &str); 4] = [
            ("passed", "the image says that all is well"),
            ("failed", "the image says that something is wrong"),
            ("errored", "it never reported: nothing is known of the image"),
            ("unjudged", "it reported and said neither: see --pass-if"),
        ];
        self.heading("The boot URL, for the boot menu of a server");
        for url in &board.urls {
            self.whole(url);
        }
        let words = "With /@NAME behind it, it says which server asks, whatever its address is.";
        self.paragraph(vec![Span::raw("    ")], words, Tone::Quiet);
        self.heading("Keys");
        for (key, does) in KEYS {
            let key = self.paint.span(format!("    {}", text::padded(key, 15)), Tone::Strong);
            self.paragraph(vec![key], does, Tone::Plain);
        }
        self.heading("States");
        for (sign, word, means) in SIGNS {
            let lead = format!("    {}  {}", text::padded(sign, 2), text::padded(word, 13));
            self.paragraph(vec![Span::raw(lead)], means, Tone::Plain);
        }
        self.heading("Verdicts");
        for (word, means) in VERDICTS {
            let lead = Span::raw(format!("    {}", text::padded(word, 15)));
            self.paragraph(vec![lead], means, Tone::Plain);
        }
        self.heading("Where things are");
        for (what, path) in [("reports", &board.reports), ("log", &board.log)] {
            let what = self.paint.span(format!("    {what}"), Tone::Quiet);
            self.line(vec![what]);
            self.whole(path);
        }
        self.lines
    }
}
