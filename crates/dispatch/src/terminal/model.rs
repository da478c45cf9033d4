//! What is shown ([`Board`]) and how it is looked at ([`Ui`]): plain data, and the rules of what stands where.
//!
//! The order of the table is made for a rack that is looked at in passing: what is going on, then trouble (failed,
//! errored, cannot run), then what comes next, then what is done. Within what is going on and what comes next the
//! order is the queue's, so that rows do not jump while their states change; trouble and what is done have the
//! newest first. The cursor follows its job wherever that goes; at the top it stays at the top, and with it the view.

use std::time::Duration;

use dispatch_core::{JobId, Verdict};

use super::draw;
use super::rate::Pace;
use super::text;

/// Everything that can be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Board {
    /// Where the images come from.
    pub(crate) source: String,
    /// The time of day.
    pub(crate) clock: String,
    /// The boot URLs, the likeliest first.
    pub(crate) urls: Vec<String>,
    /// Where reports go.
    pub(crate) reports: String,
    /// Where the whole log is.
    pub(crate) log: String,
    /// In the order in which they are shown, see [`arranged`].
    pub(crate) jobs: Vec<Job>,
    /// Hosts that asked and have nothing to do: the lost ones first, then the latest.
    pub(crate) idle: Vec<IdleHost>,
    /// Warnings and errors, the newest last.
    pub(crate) notices: Vec<Notice>,
    /// What is still to be done in the outside world, and why it is not done yet: what was tried in vain first.
    pub(crate) outbox: Vec<Waiting>,
    /// The last requests, the newest first.
    pub(crate) requests: Vec<Request>,
    /// What happened to the job that is looked at.
    pub(crate) story: Option<Story>,
}

impl Board {
    /// How many runs are going on.
    pub(crate) fn active(&self) -> usize {
        self.jobs.iter().filter(|job| job.group == Group::Active).count()
    }

    /// How many hosts wait for work.
    pub(crate) fn waiting(&self) -> usize {
        self.idle.iter().filter(|host| host.is == Idleness::Waits).count()
    }

    /// Whether somebody loses something by the end of the session.
    pub(crate) fn is_needed(&self) -> bool {
        self.active() + self.waiting() > 0
    }

    /// A job.
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }
}

/// What a job means to whoever looks, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// A run of it is going on.
    Active,
    /// It failed or errored, or cannot run, or a report of it will never be an issue.
    Trouble,
    /// It waits for its turn.
    Waiting,
    /// It is over, and nobody need look.
    Done,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) group: Group,
    /// The sign of its state.
    pub(crate) sign: &'static str,
    /// The word for its state.
    pub(crate) state: String,
    pub(crate) name: String,
    /// The host that it is or was on: its MAC where that is known, else its address.
    pub(crate) host: Option<String>,
    /// The address of a host that is known by its MAC.
    pub(crate) address: Option<String>,
    /// Which attempt; 0 before the first.
    pub(crate) attempt: u32,
    /// How long it has been in its state.
    pub(crate) age: Duration,
    pub(crate) verdict: Option<Verdict>,
    /// The download that is going on.
    pub(crate) download: Option<Download>,
    /// How far its image is that is being fetched, while it waits for that.
    pub(crate) fetch: Option<Download>,
    /// The numbers of the issues that its reports were filed as.
    pub(crate) issues: Vec<u64>,
    /// How many of its reports will never be issues.
    pub(crate) refused: usize,
    /// What it is doing, or why it waits, in a few words.
    pub(crate) brief: Option<String>,
    /// The same in a sentence.
    pub(crate) detail: Option<String>,
}

impl Job {
    /// What goes on in it and can be measured.
    pub(crate) fn progress(&self) -> Option<&Download> {
        self.download.as_ref().or(self.fetch.as_ref())
    }
}

/// A download that is going on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Download {
    pub(crate) sent: u64,
    pub(crate) size: u64,
    pub(crate) pace: Pace,
}

/// A host that asked in this session and was told that there is nothing for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdleHost {
    /// Its name or MAC where that is known, else its address.
    pub(crate) host: String,
    /// The address of a host that is known by something else.
    pub(crate) address: Option<String>,
    pub(crate) is: Idleness,
    /// `told to power off: no job is left`.
    pub(crate) told: String,
    /// How long it has waited, or how long ago it asked.
    pub(crate) age: Duration,
}

/// What a host without work does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Idleness {
    /// It was told to wait, and has not asked for so long that it does not.
    Lost,
    /// It asks again and again.
    Waits,
    /// It does as it was told, and is nobody's business any more.
    Gone,
}

impl IdleHost {
    /// Both its names.
    pub(crate) fn label(&self) -> String {
        match &self.address {
            Some(address) => format!("{} ({address})", self.host),
            None => self.host.clone(),
        }
    }

    /// How long it has been so, in at most eleven columns; a host that is lost says it in its words.
    pub(crate) fn since(&self) -> Option<String> {
        match self.is {
            Idleness::Lost => None,
            Idleness::Waits => Some(format!("for {}", text::age(self.age))),
            Idleness::Gone => Some(format!("{} ago", text::age(self.age))),
        }
    }
}

/// A warning or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// The time of day.
    pub(crate) at: String,
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// What waits for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `10 issues`.
    pub(crate) what: String,
    /// Why they could not be done the last time; nothing of what has not been tried.
    pub(crate) why: Option<String>,
    /// `next try in 40 s`.
    pub(crate) next: Option<String>,
    /// All of it in a sentence.
    pub(crate) words: String,
}

/// One request and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The time of day.
    pub(crate) at: String,
    pub(crate) address: String,
    pub(crate) mac: Option<String>,
    /// The name of the host, as its URL gave it.
    pub(crate) name: Option<String>,
    /// Empty where the bytes were no request.
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) agent: Option<String>,
    /// What the answer was, or why it was none.
    pub(crate) answer: String,
    /// How often it came.
    pub(crate) count: u32,
}

/// What happened to one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) job: JobId,
    pub(crate) events: Vec<Happened>,
    pub(crate) reports: Vec<Report>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Day and time, or time alone.
    pub(crate) at: String,
    pub(crate) sign: &'static str,
    pub(crate) word: &'static str,
    pub(crate) words: String,
}

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) at: String,
    pub(crate) verdict: Verdict,
    pub(crate) is_late: bool,
    pub(crate) title: String,
    /// Labels and milestone.
    pub(crate) marks: Vec<String>,
    /// What became of it as an issue, if it was to be one.
    pub(crate) issue: Option<Filing>,
    /// Its text, or as much of it as is ever shown.
    pub(crate) body: String,
    /// Whether there is more of it.
    pub(crate) is_cut: bool,
    /// The file that it is in.
    pub(crate) file: String,
}

/// What became of a report as an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filing {
    /// It is one.
    Filed {
        number: u64,
        url: String,
        /// What the issue could not be given.
        omitted: Vec<String>,
    },
    /// It is still to be one: a sentence, and whether it was tried in vain.
    Waits(String, bool),
    /// It will never be one, and why.
    Refused(String),
}

/// Jobs in queue order, put into the order of the table.
pub(crate) fn arranged(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.sort_by_key(|job| {
        let newest_first = matches!(job.group, Group::Trouble | Group::Done);
        (job.group, if newest_first { job.age } else { Duration::ZERO })
    });
    jobs
}

/// How it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ui {
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    /// Whether there are colours.
    pub(crate) colour: bool,
    pub(crate) screen: Screen,
    /// Where the cursor is; none is the top, whatever job is there.
    pub(crate) selected: Option<JobId>,
    /// The first row of the table that is shown.
    pub(crate) top: usize,
    /// Only jobs with this in their name or host.
    pub(crate) filter: String,
    /// The filter is being typed.
    pub(crate) is_typing: bool,
    /// What is to be answered first.
    pub(crate) ask: Option<Ask>,
    /// What came of the last command.
    pub(crate) said: Option<String>,
    /// The newest notice that was put away.
    pub(crate) put_away: u64,
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    /// The table.
    Queue,
    /// Text, and its first line that is shown.
    Sheet(Sheet, usize),
}

/// A text that fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sheet {
    /// What happened to a job, and its reports.
    Story(JobId),
    /// The last requests.
    Requests,
    /// All warnings and errors.
    Notices,
    /// Keys and signs.
    Help,
}

/// A question that has to be answered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// End the session while runs are going on, or hosts wait?
    Quit,
    /// Cancel this job?
    Cancel(JobId),
}

impl Ui {
    /// As it is at the start.
    pub(crate) fn new(size: (u16, u16), colour: bool) -> Self {
        Self {
            size,
            colour,
            screen: Screen::Queue,
            selected: None,
            top: 0,
            filter: String::new(),
            is_typing: false,
            ask: None,
            said: None,
            put_away: 0,
        }
    }

    /// The jobs that the filter leaves.
    pub(crate) fn shown<'a>(&self, board: &'a Board) -> Vec<&'a Job> {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let is_shown = |job: &&Job| {
            // Where there is a verdict, it says more than the state: a run that failed may have errored.
            let verdict = job.verdict.filter(|_| job.group != Group::Active);
            let outcome = verdict.map_or_else(|| job.state.clone(), |verdict| verdict.to_string());
            [Some(&job.name), Some(&outcome), job.host.as_ref(), job.address.as_ref()]
                .into_iter()
                .flatten()
                .any(|text| has(text))
        };
        board.jobs.iter().filter(is_shown).collect()
    }

    /// Where the cursor is among `jobs`.
    pub(crate) fn cursor(&self, jobs: &[&Job]) -> usize {
        self.selected.and_then(|id| jobs.iter().position(|job| job.id == id)).unwrap_or(0)
    }

    /// The job under the cursor, or the one that is looked at.
    pub(crate) fn chosen<'a>(&self, board: &'a Board) -> Option<&'a Job> {
        match self.screen {
            Screen::Sheet(Sheet::Story(id), _) => board.job(id),
            Screen::Sheet(..) => None,
            Screen::Queue => {
                let jobs = self.shown(board);
                jobs.get(self.cursor(&jobs)).copied()
            }
        }
    }

    /// Puts the cursor on one of `jobs`.
    pub(crate) fn select(&mut self, jobs: &[&Job], index: usize) {
        let index = index.min(jobs.len().saturating_sub(1));
        self.selected = if index == 0 { None } else { jobs.get(index).map(|job| job.id) };
    }

    /// The newest notice that has not been put away.
    pub(crate) fn notice<'a>(&self, board: &'a Board) -> Option<&'a Notice> {
        board.notices.last().filter(|notice| notice.number > self.put_away)
    }

    /// After anything has changed: a cursor that is on a job, a view that shows it, a question that still makes sense.
    #[must_use]
    pub(crate) fn settled(mut self, board: &Board) -> Self {
        // On less than that nothing is drawn, and everything may count on it.
        let (columns, rows) = draw::SMALLEST;
        self.size = (self.size.0.max(columns), self.size.1.max(rows));
        let jobs = self.shown(board);
        let cursor = self.cursor(&jobs);
        self.select(&jobs, cursor);
        match self.ask {
            Some(Ask::Quit) if !board.is_needed() => self.ask = None,
            Some(Ask::Cancel(id)) if !is_cancellable(board, id) => self.ask = None,
            _ => {}
        }
        match self.screen {
            Screen::Queue => {
                let room = draw::queue::room(&self, board);
                let heights = draw::queue::heights(&self, board, &jobs);
                self.top = scrolled(self.top, cursor, &heights, room);
            }
            Screen::Sheet(sheet, top) => {
                let lines = draw::sheet::lines(sheet, board, &self).len();
                let last = lines.saturating_sub(usize::from(draw::sheet::room(self.size)));
                self.screen = Screen::Sheet(sheet, top.min(last));
            }
        }
        self
    }
}

/// Whether there is anything to cancel.
pub(crate) fn is_cancellable(board: &Board, id: JobId) -> bool {
    // What cannot run is in trouble, and not over.
    board
        .job(id)
        .is_some_and(|job| job.verdict.is_none() && job.group != Group::Done || job.group == Group::Active)
}

/// The first row to show so that the cursor is in view and no room is left empty, as near to `top` as can be.
pub(crate) fn scrolled(top: usize, cursor: usize, heights: &[u16], room: u16) -> usize {
    let sum = |rows: &[u16]| rows.iter().map(|height| u32::from(*height)).sum::<u32>();
    let room = u32::from(room);
    let cursor = cursor.min(heights.len().saturating_sub(1));
    let mut top = top.min(cursor);
    while top < cursor && sum(&heights[top..=cursor]) > room {
        top += 1;
    }
    while top > 0 && sum(&heights[top - 1..]) <= room {
        top -= 1;
    }
    top
}

#[cfg(test)]
mod tests {
    use super::super::testing::{job, three};
    use super::*;

    #[test]
    fn what_goes_on_is_first_then_trouble_then_what_comes_then_what_is_done() {
        let made = |n, group, age| Job { group, age: Duration::from_secs(age), ..job(n) };
        let jobs = vec![
            made(1, Group::Done, 50),
            made(2, Group::Waiting, 90),
            made(3, Group::Active, 10),
            made(4, Group::Trouble, 70),
            made(5, Group::Active, 90),
            made(6, Group::Trouble, 20),
            made(7, Group::Waiting, 10),
            made(8, Group::Done, 5),
        ];
        let order: Vec<JobId> = arranged(jobs).into_iter().map(|job| job.id).collect();
        assert_eq!(order, [3, 5, 6, 4, 2, 7, 8, 1].map(|n| job(n).id));
    }

    #[test]
    fn the_cursor_stays_on_its_job_when_the_order_changes() {
        let mut board = three();
        let ui = Ui { selected: Some(board.jobs[2].id), ..Ui::new((80, 24), true) };
        let id = board.jobs[2].id;
        board.jobs.swap(1, 2);
        let ui = ui.settled(&board);
        assert_eq!((ui.selected, ui.chosen(&board).map(|job| job.id)), (Some(id), Some(id)));
    }

    #[test]
    fn at_the_top_the_cursor_stays_at_the_top() {
        let mut board = three();
        let ui = Ui::new((80, 24), true).settled(&board);
        board.jobs.swap(0, 2);
        let ui = ui.settled(&board);
        assert_eq!(ui.chosen(&board).map(|job| job.id), Some(board.jobs[0].id));
    }

    #[test]
    fn a_view_scrolls_no_further_than_it_must_and_leaves_no_room_empty() {
        assert_eq!(scrolled(0, 3, &[1; 10], 5), 0);
        assert_eq!(scrolled(0, 7, &[1; 10], 5), 3);
        assert_eq!(scrolled(3, 5, &[1; 10], 5), 3, "it is in view");
        assert_eq!(scrolled(3, 1, &[1; 10], 5), 1);
        assert_eq!(scrolled(9, 9, &[1; 10], 5), 5);
        assert_eq!(scrolled(0, 2, &[2, 2, 1, 1], 4), 1, "rows of two lines");
        assert_eq!(scrolled(7, 7, &[], 5), 0);
        assert_eq!(scrolled(0, 3, &[2; 4], 0), 3, "no room at all");
    }

    #[test]
    fn a_question_goes_away_with_its_reason() {
        let mut board = three();
        let ui = Ui { ask: Some(Ask::Quit), ..Ui::new((80, 24), true) };
        assert_eq!(ui.clone().settled(&board).ask, Some(Ask::Quit));
        board.jobs.retain(|job| job.group != Group::Active);
        assert_eq!(ui.clone().settled(&board).ask, Some(Ask::Quit), "a host waits");
        board.idle.clear();
        assert_eq!(ui.settled(&board).ask, None);
    }
}
