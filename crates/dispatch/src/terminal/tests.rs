//! What people see, as pictures made of text; and what holds whatever there is to see.
//!
//! To accept a change of the pictures: `DISPATCH_ACCEPT=1 cargo nextest run -p dispatch`; review the difference.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use dispatch_core::Verdict;
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::draw::{self, SMALLEST};
use super::keys::{Key, press};
use super::model::{Ask, Board, Download, Filing, Group, Job, Screen, Sheet, Ui, Waiting, arranged};
use super::rate::Pace;
use super::testing::{fetching, issues, job, many, odd, three};
use super::text;

/// The screen as text, and whether there is any colour on it.
fn screen(board: &Board, ui: &Ui, (columns, rows): (u16, u16)) -> (String, bool) {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw::render(frame, board, ui)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let mut lines = String::new();
    for y in 0..rows {
        let mut line = String::new();
        let mut x = 0;
        while x < columns {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(text::width(symbol).max(1)).expect("a letter");
        }
        writeln!(lines, "{}", line.trim_end()).expect("a string");
    }
    let has_colour = buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    (lines, has_colour)
}

fn shown(board: &Board, ui: Ui) -> String {
    let size = ui.size;
    screen(board, &ui.settled(board), size).0
}

/// Compares a picture with the one that was accepted.
fn picture(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/terminal/pictures/{name}.txt"));
    if std::env::var_os("DISPATCH_ACCEPT").is_some() {
        std::fs::write(&path, text).expect("a picture");
    } else {
        let accepted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(accepted == text, "{name} is another picture now:\n{text}\nit was:\n{accepted}");
    }
}

const SIZES: [(u16, u16); 3] = [(80, 24), (200, 60), (40, 10)];

#[test]
fn the_table_looks_as_it_was_accepted() {
    for (size, (name, board)) in SIZES.into_iter().flat_map(|size| {
        [
            ("3-jobs", three()),
            ("300-jobs", many(300)),
            ("odd-names", odd()),
            ("fetching", fetching()),
            ("issues", issues()),
        ]
        .map(|board| (size, board))
    }) {
        picture(&format!("{name}-{}x{}", size.0, size.1), &shown(&board, Ui::new(size, true)));
    }
}

#[test]
fn the_sheets_look_as_they_were_accepted() {
    let board = three();
    for (name, sheet) in [
        ("story", Sheet::Story(board.jobs[0].id)),
        ("requests", Sheet::Requests),
        ("notices", Sheet::Notices),
        ("help", Sheet::Help),
    ] {
        for size in SIZES {
            let ui = Ui { screen: Screen::Sheet(sheet, 0), ..Ui::new(size, true) };
            picture(&format!("{name}-{}x{}", size.0, size.1), &shown(&board, ui));
        }
    }
    let waiting = issues();
    for (name, sheet) in
        [("story-issues", Sheet::Story(waiting.jobs[0].id)), ("notices-waiting", Sheet::Notices)]
    {
        for size in SIZES {
            let ui = Ui { screen: Screen::Sheet(sheet, 0), ..Ui::new(size, true) };
            picture(&format!("{name}-{}x{}", size.0, size.1), &shown(&waiting, ui));
        }
    }
    let coming = fetching();
    let job = coming.jobs.iter().find(|job| job.fetch.is_some()).expect("one");
    let ui = Ui { screen: Screen::Sheet(Sheet::Story(job.id), 0), ..Ui::new((80, 24), true) };
    picture("story-fetching-80x24", &shown(&coming, ui));
    let nobody = Board { requests: Vec::new(), ..board };
    let ui = Ui { screen: Screen::Sheet(Sheet::Requests, 0), ..Ui::new((80, 24), true) };
    picture("no-requests-80x24", &shown(&nobody, ui));
}

#[test]
fn the_questions_look_as_they_were_accepted() {
    let board = many(300);
    for (name, ask) in [("quit", Ask::Quit), ("cancel", Ask::Cancel(board.jobs[0].id))] {
        for size in [(80, 24), (40, 10)] {
            let ui = Ui { ask: Some(ask), ..Ui::new(size, true) };
            picture(&format!("{name}-{}x{}", size.0, size.1), &shown(&board, ui));
        }
    }
}

#[test]
fn what_is_left_out_of_a_report_is_said_to_be_in_its_file() {
    let mut board = three();
    let ui = Ui { screen: Screen::Sheet(Sheet::Story(board.jobs[0].id), 0), ..Ui::new((200, 60), true) };
    let words = "the rest is in its file";
    assert!(!shown(&board, ui.clone()).contains(words));
    let report = &mut board.story.as_mut().expect("a story").reports[0];
    // One long line, of which a wide terminal has room for all that was kept.
    (report.body, report.is_cut) = ("x".repeat(8000), true);
    let ui = ui.settled(&board);
    let lines = draw::sheet::lines(Sheet::Story(board.jobs[0].id), &board, &ui);
    assert!(lines.iter().any(|line| line.to_string().contains(words)));
}

#[test]
fn whoever_quits_is_told_of_the_hosts_that_wait() {
    let mut board = three();
    board.jobs.clear();
    let text = shown(&board, Ui { ask: Some(Ask::Quit), ..Ui::new((80, 24), true) });
    assert!(text.contains("1 host waits for work and will give up after about ten"), "{text}");
    assert!(!text.contains("going on"), "{text}");
}

#[test]
fn when_all_is_done_the_view_says_so_and_where_the_reports_are() {
    let mut board = many(19);
    board.jobs.retain(|job| job.verdict.is_some());
    let text = shown(&board, Ui::new((80, 24), true));
    assert!(text.contains("all done: ") && text.contains("reports in ./reports"), "{text}");
    picture("all-done-80x24", &text);
    // Where there is no room for the whole path, help has it.
    board.reports = "/srv/".to_owned() + &"a-long-folder/".repeat(9);
    assert!(!shown(&board, Ui::new((80, 24), true)).contains("reports in"));
}

#[test]
fn what_goes_on_and_trouble_are_in_view_of_a_small_terminal_with_many_jobs() {
    let board = many(300);
    let text = shown(&board, Ui::new((80, 24), true));
    for job in board.jobs.iter().filter(|job| matches!(job.group, Group::Active | Group::Trouble)) {
        assert!(text.contains(&text::cut_middle(&job.name, 29)), "{} in\n{text}", job.name);
    }
    assert!(text.contains("next in line") || text.contains("goes to the server"), "{text}");
}

#[test]
fn where_more_goes_on_than_fits_in_two_lines_each_it_is_shown_in_one() {
    let mut board = many(300);
    for job in board.jobs.iter_mut().skip(3).take(10) {
        *job = Job { group: Group::Active, verdict: None, ..job.clone() };
    }
    board.jobs = arranged(board.jobs);
    let text = shown(&board, Ui::new((80, 24), true));
    let active = board.jobs.iter().filter(|job| matches!(job.group, Group::Active | Group::Trouble));
    for job in active {
        assert!(text.contains(&text::cut_middle(&job.name, 16)), "{} in\n{text}", job.name);
    }
    picture("dense-80x24", &text);
}

#[test]
fn where_there_is_one_line_each_an_image_that_comes_has_a_bar_and_an_issue_its_number() {
    let mut board = many(14);
    for (index, extra) in fetching().jobs.into_iter().chain(issues().jobs).enumerate() {
        let id = job(100 + u32::try_from(index).expect("few")).id;
        board.jobs.push(Job { id, ..extra });
    }
    for job in board.jobs.iter_mut().take(12) {
        *job = Job { group: Group::Active, verdict: None, detail: Some("at work".into()), ..job.clone() };
    }
    board.jobs = arranged(board.jobs);
    let text = shown(&board, Ui::new((80, 36), true));
    let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(row("🌐 fetching").contains("57 %"), "{text}");
    assert!(row("#12 #13").contains("passed"), "{text}");
    assert!(row("image-005.efi").contains("no issue"), "what was refused is seen: {text}");
    picture("dense-fetching-80x36", &text);
}

#[test]
fn what_waits_is_seen_on_the_smallest_terminal_and_leaves_the_cursor_in_view() {
    let board = issues();
    for size in [(40, 10), (200, 10), SMALLEST] {
        let text = shown(&board, Ui::new(size, true));
        assert!(text.contains("10 issues: ") && text.contains('›'), "{text}");
    }
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    let board = three();
    for size in [(39, 24), (80, 7), (12, 3), (1, 1)] {
        let text = shown(&board, Ui::new(size, true));
        assert!(size.0 < 12 || text.contains("dispatch") && !text.contains("ubuntu"), "{text}");
    }
}

#[test]
fn without_colours_there_are_none_and_the_words_are_the_same() {
    let board = many(40);
    let with = screen(&board, &Ui::new((80, 24), true).settled(&board), (80, 24));
    let without = screen(&board, &Ui::new((80, 24), false).settled(&board), (80, 24));
    assert_eq!(with.0, without.0);
    assert!(with.1 && !without.1);
}

#[test]
fn a_sign_that_terminals_do_not_agree_on_does_not_move_what_follows() {
    let mut board = three();
    board.jobs[0].sign = "▶";
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal");
    let ui = Ui::new((80, 24), true).settled(&board);
    terminal.draw(|frame| draw::render(frame, &board, &ui)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let sign = buffer.content.iter().position(|cell| cell.symbol() == "▶").expect("the sign");
    let before = ratatui::buffer::Buffer::empty(buffer.area);
    let mut drawn = before.diff(buffer).into_iter().map(|(x, y, _)| usize::from(y) * 80 + usize::from(x));
    assert!(!drawn.any(|index| index == sign + 1), "so the next letter is put where it belongs");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9.-]{0,80}",
        any::<String>(),
        Just("日本語\u{202e}\u{1b}[2J\u{200d}👨\u{301}שלום".to_owned()),
    ]
}

fn any_job() -> impl Strategy<Value = Job> {
    let group =
        prop_oneof![Just(Group::Active), Just(Group::Trouble), Just(Group::Waiting), Just(Group::Done)];
    let verdict = prop::option::of(prop_oneof![
        Just(Verdict::Passed),
        Just(Verdict::Failed),
        Just(Verdict::Errored),
        Just(Verdict::Unjudged)
    ]);
    let sign = prop_oneof![Just("⏳"), Just("▶"), Just("⚡"), Just("")];
    let rate = prop::option::of(prop_oneof![Just(0.0), Just(f64::MAX), 0.0..1e12_f64]);
    let download = (any::<u64>(), any::<u64>(), rate, any::<u64>()).prop_map(|(sent, size, rate, still)| {
        Download { sent, size, pace: Pace { rate, still: Duration::from_secs(still) } }
    });
    let measured = (
        prop::option::of(download.clone()),
        prop::option::of(download),
        prop::collection::vec(any::<u64>(), 0..4),
    );
    let texts = (any_text(), any_text(), prop::option::of(any_text()), prop::option::of(any_text()));
    (0..20_u32, group, verdict, sign, measured, texts, any::<u64>(), any::<u32>()).prop_map(
        |(number, group, verdict, sign, measured, (name, state, host, words), age, attempt)| Job {
            group,
            verdict,
            sign,
            download: measured.0,
            fetch: measured.1,
            issues: measured.2,
            refused: attempt as usize % 3,
            name,
            state,
            address: host.clone(),
            host,
            brief: words.clone(),
            detail: words,
            age: Duration::from_secs(age),
            attempt,
            ..job(number)
        },
    )
}

fn any_filing() -> impl Strategy<Value = Filing> {
    prop_oneof![
        (any::<u64>(), any_text(), prop::collection::vec(any_text(), 0..3))
            .prop_map(|(number, url, omitted)| Filing::Filed { number, url, omitted }),
        (any_text(), any::<bool>()).prop_map(|(words, is_again)| Filing::Waits(words, is_again)),
        any_text().prop_map(Filing::Refused),
    ]
}

fn any_waiting() -> impl Strategy<Value = Waiting> {
    (any_text(), prop::option::of(any_text()), prop::option::of(any_text()), any_text())
        .prop_map(|(what, why, next, words)| Waiting { what, why, next, words })
}

fn any_board() -> impl Strategy<Value = Board> {
    let issues = (prop::option::of(any_filing()), prop::collection::vec(any_waiting(), 0..4));
    (prop::collection::vec(any_job(), 0..20), prop::collection::vec(any_text(), 10), issues).prop_map(
        |(mut jobs, texts, (filing, outbox))| {
            jobs.sort_by_key(|job| job.id);
            jobs.dedup_by_key(|job| job.id);
            let mut board = three();
            board.story = board.story.zip(jobs.first()).map(|(mut story, job)| {
                story.job = job.id;
                story.events[0].words.clone_from(&texts[0]);
                story.events[1].at.clone_from(&texts[1]);
                story.reports[0].title.clone_from(&texts[2]);
                story.reports[0].body.clone_from(&texts[3]);
                story.reports[0].issue.clone_from(&filing);
                story
            });
            board.outbox = outbox;
            board.jobs = arranged(jobs);
            board.idle[0].told.clone_from(&texts[4]);
            board.notices[0].text.clone_from(&texts[5]);
            board.requests[0].agent = Some(texts[6].clone());
            board.requests[1].target.clone_from(&texts[7]);
            board.source.clone_from(&texts[8]);
            board.urls.push(texts[9].clone());
            board
        },
    )
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        Just(Key::Up),
        Just(Key::Down),
        Just(Key::PageUp),
        Just(Key::PageDown),
        Just(Key::Home),
        Just(Key::End),
        Just(Key::Enter),
        Just(Key::Tab),
        Just(Key::Escape),
        Just(Key::Backspace),
        Just(Key::Interrupt),
        prop::sample::select("qrcny?/nh xyz".chars().collect::<Vec<_>>()).prop_map(Key::Letter),
        any::<char>().prop_map(Key::Letter),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Lines that do not fit panic in `draw::put`.
    #[test]
    fn whatever_is_pressed_on_whatever_board_it_is_drawn_and_the_cursor_is_on_a_job(
        boards in prop::collection::vec(any_board(), 1..3),
        keys in prop::collection::vec(any_key(), 0..30),
        size in (1_u16..220, 1_u16..70),
    ) {
        let mut ui = Ui::new(size, true);
        for board in &boards {
            ui = ui.settled(board);
            for key in &keys {
                ui = press(ui, *key, board).0;
                let jobs = ui.shown(board);
                if let Some(id) = ui.selected {
                    prop_assert!(jobs.iter().any(|job| job.id == id), "the cursor is on a job that is shown");
                }
                prop_assert!(ui.screen != Screen::Queue || jobs.is_empty() || ui.top < jobs.len());
            }
            screen(board, &ui, size);
            // A terminal that has just been resized.
            screen(board, &ui, SMALLEST);
        }
    }

    #[test]
    fn the_cursor_is_always_in_view(count in 1_u32..60, downs in 0_usize..70, rows in 8_u16..40) {
        let board = many(count);
        let mut ui = Ui::new((80, rows), true);
        for _ in 0..downs {
            ui = press(ui, Key::Down, &board).0;
        }
        let text = screen(&board, &ui, ui.size).0;
        // Where there is no room for any row, there is none for the cursor.
        prop_assert!(text.contains('›') || draw::queue::room(&ui, &board) < 2, "{}", text);
    }
}
