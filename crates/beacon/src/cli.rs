//! The command line. What it says is for people who build images, and is all that many of them read.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dispatch_wire::boot::ReportVerdict;

use crate::url::{ServerUrl, UrlError};

const AFTER_HELP: &str = "\
Where the server is:
  1. --url, or the environment variable DISPATCH_URL: that one and no other,
     for example http://10.0.2.2:8080/dispatch
  2. for `report`: the server that answered `beacon boot`
  3. dispatch.url=URL on the kernel command line (the last one counts)
  4. the firmware's boot entries for HTTP boot, the one that was booted first
  5. mDNS: who answers for _dispatch._tcp on a network of this host
  6. DNS-SD: _dispatch._tcp in the search domains of /etc/resolv.conf

A server that says \"417\" is not the one that started this host, and the next is
tried. One that cannot be reached is asked again until --timeout.

Exit status: 0 told, 1 could not be told, 2 wrong usage.";

const REPORT_HELP: &str = "\
Examples:
  beacon report -t \"SEV certificate\" -b cert.md -l os:ubuntu --verdict passed
  journalctl -b | beacon report -t \"what happened\" --verdict failed

Several reports of one run are fine; the worst verdict counts. A text that is
not UTF-8 is mended and one that is too large is cut, rather than not sent.";

/// Tells dispatch, from inside a system that it started, how that goes.
#[derive(Debug, Parser)]
#[command(name = "beacon", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to tell.
    #[command(subcommand)]
    pub command: Command,

    /// For every command.
    #[command(flatten)]
    pub common: Common,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// Address of the server, plain http
    #[arg(long, global = true, env = "DISPATCH_URL", value_name = "URL", value_parser = parse_url, hide_env = true)]
    pub url: Option<GivenUrl>,

    /// When to give up, as 90s or 5m [boot: 2m, report: 2h]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_time)]
    pub timeout: Option<Duration>,

    /// Say what is looked at and who is asked
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Take /proc, /sys, /etc and /run from under this directory (for tests of images)
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// What to tell.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell that this system has started
    Boot,
    /// Tell what came of it; run it as often as there are reports
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
}

/// A report, piece by piece.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// What it is about, in one line
    #[arg(short, long, value_parser = mended(), allow_hyphen_values = true)]
    pub title: String,

    /// File with its text [default: -, stdin]
    #[arg(short, long, value_name = "FILE")]
    pub body: Option<OsString>,

    /// A label for it (repeatable)
    #[arg(short, long = "label", value_name = "LABEL", value_parser = mended(), allow_hyphen_values = true)]
    pub labels: Vec<String>,

    /// Who it is assigned to (repeatable)
    #[arg(short, long = "assignee", value_name = "LOGIN", value_parser = mended(), allow_hyphen_values = true)]
    pub assignees: Vec<String>,

    /// The milestone that it belongs to
    #[arg(short, long, value_parser = mended(), allow_hyphen_values = true)]
    pub milestone: Option<String>,

    /// Your judgement [default: the server's rules]
    #[arg(long, value_name = "passed|failed", hide_possible_values = true)]
    pub verdict: Option<VerdictArg>,
}

/// Takes any bytes, mended where they are no UTF-8: a vendor's odd product name in a title must not cost a report.
fn mended() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|text| text.to_string_lossy().into_owned())
}

/// A verdict as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerdictArg {
    /// What was tested is good
    Passed,
    /// What was tested is bad
    Failed,
}

impl From<VerdictArg> for ReportVerdict {
    fn from(verdict: VerdictArg) -> Self {
        match verdict {
            VerdictArg::Passed => Self::Passed,
            VerdictArg::Failed => Self::Failed,
        }
    }
}

/// A URL that may be empty: `DISPATCH_URL=` in a unit file means that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUrl(pub Option<ServerUrl>);

fn parse_url(text: &str) -> Result<GivenUrl, UrlError> {
    if text.trim().is_empty() { Ok(GivenUrl(None)) } else { text.parse().map(|url| GivenUrl(Some(url))) }
}

/// Why a text is no span of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a number of seconds, or a number with s, m or h behind it, such as 90, 90s, 5m or 2h")]
pub struct TimeError;

/// Reads `90`, `90s`, `5m`, `2h`.
pub fn parse_time(text: &str) -> Result<Duration, TimeError> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) if text.ends_with('m') => (digits, 60),
        Some(digits) if text.ends_with('h') => (digits, 3600),
        Some(digits) => (digits, 1),
        None => (text, 1),
    };
    // A plus sign would be read as part of the number.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError);
    }
    let number: u64 = digits.parse().map_err(|_| TimeError)?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or(TimeError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use proptest::prelude::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_in_their_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("0", 0)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "-1", "+1", "1.5h", "5 m", "2d", "99999999999999999999", "18446744073709551615h"]
        {
            assert_eq!(parse_time(bad), Err(TimeError), "{bad}");
        }
    }

    #[test]
    fn an_empty_url_is_none_and_https_is_refused() {
        assert_eq!(parse_url(" "), Ok(GivenUrl(None)));
        assert!(parse_url("http://lab/dispatch").is_ok_and(|given| given.0.is_some()));
        assert!(matches!(parse_url("https://lab/dispatch"), Err(UrlError::Https(_))));
    }

    #[test]
    fn the_command_lines_of_version_1_1_0_are_understood() {
        let line = "beacon report -t cert -b cert.md -l a -l b -a me -m c3.0.0";
        let Command::Report(report) = Cli::try_parse_from(line.split(' ')).expect("understood").command
        else {
            panic!("not a report");
        };
        assert_eq!((report.title.as_str(), report.labels.join(",").as_str()), ("cert", "a,b"));
        assert_eq!(report.verdict, None);
        assert!(matches!(
            Cli::try_parse_from(["beacon", "boot"]).expect("understood").command,
            Command::Boot
        ));
    }

    #[test]
    fn a_title_may_be_anything() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = OsString::from_vec(b"-5 % slower on \xffServer".to_vec());
        let line = ["beacon", "report", "-t"].map(OsString::from).into_iter().chain([odd]);
        let Command::Report(report) = Cli::try_parse_from(line).expect("understood").command else {
            panic!("not a report");
        };
        assert_eq!(report.title, "-5 % slower on \u{fffd}Server");
    }

    #[test]
    fn a_report_needs_a_title_and_a_known_verdict() {
        assert!(Cli::try_parse_from(["beacon", "report"]).is_err());
        assert!(Cli::try_parse_from(["beacon", "report", "-t", "x", "--verdict", "great"]).is_err());
    }

    proptest! {
        #[test]
        fn any_time_is_judged_without_panic(text in ".{0,30}") {
            let _ = parse_time(&text);
        }
    }
}
