//! Boards for tests.

use std::time::Duration;

use dispatch_core::text::count;
use dispatch_core::{JobId, Verdict};
use jiff::Timestamp;

use super::model::{
    Board, Download, Filing, Group, Happened, IdleHost, Idleness, Job, Notice, Report, Request, Story,
    Waiting, arranged,
};
use super::rate::Pace;

/// A queued job.
pub(crate) fn job(number: u32) -> Job {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_be_bytes());
    Job {
        id: JobId::new(Timestamp::UNIX_EPOCH, random),
        group: Group::Waiting,
        sign: "⏳",
        state: "queued".to_owned(),
        name: format!("image-{number:03}.efi"),
        host: None,
        address: None,
        attempt: 0,
        age: Duration::from_secs(u64::from(number) + 75),
        verdict: None,
        download: None,
        fetch: None,
        issues: Vec::new(),
        refused: 0,
        brief: Some("next in line".to_owned()),
        detail: None,
    }
}

fn download(number: u32, percent: u64) -> Job {
    Job {
        group: Group::Active,
        sign: "📥",
        state: "downloading".to_owned(),
        host: Some("52:54:00:12:34:56".to_owned()),
        address: Some("192.0.2.7".to_owned()),
        attempt: 1,
        age: Duration::from_secs(42),
        download: Some(Download {
            sent: percent * 14_000_000,
            size: 1_400_000_000,
            pace: Pace { rate: Some(11_744_051.0), still: Duration::ZERO },
        }),
        brief: None,
        ..job(number)
    }
}

fn booting(number: u32) -> Job {
    Job {
        group: Group::Active,
        sign: "⚡",
        state: "booting".to_owned(),
        host: Some("192.0.2.18".to_owned()),
        attempt: 2,
        age: Duration::from_mins(187),
        detail: Some("its image is up; no report yet, 21 h left".to_owned()),
        brief: None,
        ..job(number)
    }
}

fn errored(number: u32) -> Job {
    Job {
        group: Group::Trouble,
        sign: "❌",
        state: "failed".to_owned(),
        host: Some("52:54:00:ab:cd:ef".to_owned()),
        address: Some("192.0.2.9".to_owned()),
        attempt: 3,
        verdict: Some(Verdict::Errored),
        detail: Some(
            "attempt 3: rebooted without a report; attempt 2: its image did not call within 15 min; attempt 1: \
             rebooted without a report".to_owned(),
        ),
        brief: None,
        ..job(number)
    }
}

fn done(number: u32, verdict: Verdict) -> Job {
    Job {
        group: if verdict == Verdict::Failed { Group::Trouble } else { Group::Done },
        sign: "🏁",
        state: "finished".to_owned(),
        host: Some("192.0.2.18".to_owned()),
        attempt: 1,
        verdict: Some(verdict),
        brief: Some("2 reports".to_owned()),
        ..job(number)
    }
}

fn around(jobs: Vec<Job>) -> Board {
    let story = jobs.first().map(|job| Story {
        job: job.id,
        events: vec![
            Happened { at: "09:01:13".into(), sign: "⏳", word: "queued", words: "efi, 1.3 GiB".into() },
            Happened {
                at: "09:14:02".into(),
                sign: "📌",
                word: "assigned",
                words: "to 52:54:00:12:34:56 (192.0.2.7)".into(),
            },
            Happened {
                at: "09:14:03".into(),
                sign: "❌",
                word: "failed",
                words: "rebooted without a report, and that is all that is known of it: its console may know more".into(),
            },
        ],
        reports: vec![Report {
            at: "09:31:44".into(),
            verdict: Verdict::Passed,
            is_late: true,
            title: "SEV-SNP level 3 certified".into(),
            marks: vec!["certificate".into(), "milestone c3-1.0".into()],
            issue: None,
            body: "# Certificate\n\nkernel 6.11 \u{1b}[31mred\n\nall good".into(),
            is_cut: false,
            file: "./reports/2026-11-21T09-31-44.000Z_image_passed_abcdef.md".into(),
        }],
    });
    Board {
        source: "./images".into(),
        clock: "12:10".into(),
        urls: vec!["http://192.0.2.1:8080/dispatch".into(), "http://172.17.0.1:8080/dispatch".into()],
        reports: "./reports".into(),
        log: "/var/lib/dispatch/dispatch.log".into(),
        jobs: arranged(jobs),
        idle: vec![
            IdleHost {
                host: "192.0.2.33".into(),
                address: None,
                is: Idleness::Gone,
                told: "told to power off: no job is left for it".into(),
                age: Duration::from_mins(3),
            },
            IdleHost {
                host: "52:54:00:12:34:99".into(),
                address: Some("192.0.2.34".into()),
                is: Idleness::Waits,
                told: "told to wait: ubuntu-24.04-snp-host.efi may still come to it".into(),
                age: Duration::from_mins(12),
            },
        ],
        notices: vec![Notice {
            number: 1,
            at: "12:03:40".into(),
            is_error: false,
            text: "the reports cannot be written to ./reports and are tried again in 4 s: No space left on device"
                .into(),
        }],
        outbox: Vec::new(),
        requests: vec![
            Request {
                at: "12:09:58".into(),
                address: "192.0.2.7".into(),
                mac: Some("52:54:00:12:34:56".into()),
                method: "GET".into(),
                target: "/dispatch".into(),
                status: 200,
                name: Some("r1".into()),
                agent: Some("UefiHttpBoot/1.0".into()),
                answer: "image-001.efi, 1.3 GiB".into(),
                count: 1,
            },
            Request {
                at: "12:09:41".into(),
                address: "192.0.2.250".into(),
                method: "GET".into(),
                target: "/favicon.ico".into(),
                status: 404,
                agent: Some("Mozilla/5.0 (X11; Linux x86_64) \u{1b}]0;owned\u{7}".into()),
                answer: "nothing is here".into(),
                count: 117,
                ..Request::default()
            },
        ],
        story,
    }
}

/// One that downloads, one that waits, one that errored.
pub(crate) fn three() -> Board {
    let waiting = Job {
        detail: Some("goes to the server that asks next; 1 is at work".to_owned()),
        name: "ubuntu-24.04-snp-guest.iso".to_owned(),
        ..job(3)
    };
    let active = Job { name: "ubuntu-24.04-snp-host.efi".to_owned(), ..download(1, 43) };
    let errored = Job { name: "fedora-41.img".to_owned(), ..errored(2) };
    around(vec![active, errored, waiting])
}

/// A job whose image is being fetched.
fn fetched(number: u32, percent: u64, rate: Option<f64>) -> Job {
    Job {
        sign: "🌐",
        state: "fetching".to_owned(),
        fetch: Some(Download {
            sent: percent * 21_474_836,
            size: 2_147_483_600,
            pace: Pace { rate, still: Duration::ZERO },
        }),
        brief: Some("being fetched".to_owned()),
        detail: Some("its image is being fetched".to_owned()),
        ..job(number)
    }
}

/// One that downloads, two whose images are being fetched, and one behind them whose image is here.
pub(crate) fn fetching() -> Board {
    let active = Job { name: "ubuntu-24.04-snp-host.efi".to_owned(), ..download(1, 43) };
    let next = Job {
        detail: Some("goes to the server that asks next; 1 is at work".to_owned()),
        name: "fedora-41.img".to_owned(),
        ..job(4)
    };
    let coming = Job { name: "ubuntu-24.04-snp-guest.iso".to_owned(), ..fetched(2, 57, Some(36_700_160.0)) };
    let mut board = around(vec![active, coming, fetched(3, 0, None), next]);
    board.source = "AMDEPYC/sev-certify, tag devel".to_owned();
    board.notices.clear();
    board
}

/// Issues that are there, that wait, and that will never be.
pub(crate) fn issues() -> Board {
    let mut board = three();
    let filed =
        Job { issues: vec![12, 13], brief: Some("2 reports, 2 issues".into()), ..done(4, Verdict::Passed) };
    let refused = Job {
        group: Group::Trouble,
        refused: 1,
        brief: Some("1 report, 1 refused".into()),
        detail: Some(
            "1 report will never be an issue: the repository o/r has no issues, switch them on".into(),
        ),
        ..done(5, Verdict::Passed)
    };
    board.jobs.extend([filed, refused]);
    board.jobs = arranged(board.jobs);
    let waiting = |what: &str, why: Option<&str>, next: Option<&str>, words: &str| Waiting {
        what: what.to_owned(),
        why: why.map(str::to_owned),
        next: next.map(str::to_owned),
        words: words.to_owned(),
    };
    let silent = "GitHub does not answer (https://api.github.com): connection refused";
    let words = format!("10 issues wait: {silent}; next try in 40 s");
    board.outbox = vec![
        waiting("10 issues", Some(silent), Some("next try in 40 s"), &words),
        waiting("2 issues", None, None, "2 issues wait for their turn"),
    ];
    if let Some(story) = &mut board.story {
        let report = story.reports[0].clone();
        let url = "https://github.com/AMDEPYC/sev-certify/issues/1234".to_owned();
        let omitted = vec!["milestone `c3-1.0` (there is none of that title)".to_owned()];
        let words = format!("waits to be filed: {silent}; next try in 40 s");
        story.reports = vec![
            Report { issue: Some(Filing::Filed { number: 1234, url, omitted }), ..report.clone() },
            Report { issue: Some(Filing::Waits(words, true)), ..report.clone() },
            Report { issue: Some(Filing::Waits("waits to be filed".into(), false)), ..report.clone() },
            Report { issue: Some(Filing::Refused("the repository o/r has no issues".into())), ..report },
        ];
        for report in &mut story.reports {
            report.body = "all good".into();
        }
    }
    board
}

/// Many, in all states.
pub(crate) fn many(jobs: u32) -> Board {
    let jobs = (1..=jobs).map(|number| {
        let made = match number {
            4 => errored(number),
            9 => done(number, Verdict::Failed),
            11 => Job {
                state: "cannot run".into(),
                group: Group::Trouble,
                detail: Some("its image cannot be read: Permission denied (os error 13)".into()),
                brief: None,
                ..job(number)
            },
            12 => done(number, Verdict::Unjudged),
            1..20 => done(number, Verdict::Passed),
            20 => download(number, 7),
            21 => booting(number),
            22 => download(number, 98),
            23 => {
                Job { detail: Some("goes to the server that asks next; 3 are at work".into()), ..job(number) }
            }
            _ => Job {
                brief: Some(format!("behind {}", count(u64::from(number) - 23, "other"))),
                ..job(number)
            },
        };
        let name = match number % 3 {
            0 => format!("sev-certify-ubuntu-24.04-snp-host-kernel-6.11.0-rc{number}-x86_64.efi"),
            1 => format!("fedora-{number}.iso"),
            _ => format!("debian-12-nightly-{number}.img"),
        };
        Job { name, ..made }
    });
    around(jobs.collect())
}

/// Three with names that nobody would type, and a few that somebody might.
pub(crate) fn odd() -> Board {
    let mut board = three();
    let names = [
        "\u{202e}gnp.efi \u{1b}[2J\u{7}newline\nand\ttab e\u{301}",
        "日本語の長い名前のイメージ日本語の長い名前のイメージ日本語の長い名前.iso",
        "שלום-مرحبا-👨\u{200d}👩\u{200d}👧-🇩🇪.img",
    ];
    for (job, name) in board.jobs.iter_mut().zip(names) {
        job.name = name.to_owned();
    }
    board.source = "/srv/".to_owned() + &"a-long-folder/".repeat(12);
    board.urls = vec![
        "http://[2001:db8:1234:5678:9abc:def0:1234:5678]:8080/dispatch".to_owned(),
        "http://192.168.122.100:8080/dispatch".to_owned(),
    ];
    board
}
