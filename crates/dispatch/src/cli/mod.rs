//! The command line.
//!
//! A command counts only as the first word; otherwise every word that is no option is a filter, so that an image
//! may be called `status`.

pub(crate) mod config;
mod source;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use dispatch_boot::Bind;
use dispatch_boot::route::BootPath;
use dispatch_core::HostPattern;
use dispatch_core::queue::{Again, WhenIdle};
use dispatch_core::run::Deadlines;
use dispatch_core::verdict::Rule;
use dispatch_server::log::Format;
use dispatch_server::source::description::time;

pub(crate) use source::{Chosen, FetchArgs, GitHubArgs, ReportWord, SourceArgs, Switch};

/// What is to be done.
pub(crate) enum Command {
    /// A session.
    Session(Box<SessionArgs>, Chosen),
    /// What a session would need, and whether it is there.
    Check(Box<SessionArgs>, Chosen),
    /// How a session stands.
    Status(Box<StatusArgs>, Option<Chosen>),
    /// The programs for hosts without work.
    Stubs(StubsArgs),
    /// A service.
    Serve(ServeArgs),
    /// The configuration of a service.
    Config(config::ConfigArgs),
}

/// The heading of what is neither about the source nor about GitHub nor about rules.
const SESSION: &str = "Session";

const AFTER_HELP: &str = "\
Commands (only as the first word):
  dispatch check …            what a session with these options would serve, and what it would miss
  dispatch status …           how a session's queue stands, also while it runs; takes what is served
  dispatch stubs export DIR   write the programs for hosts without work, to be signed
  dispatch serve -c FILE      a service for a lab or a team: groups, hosts, an API
  dispatch config check       whether the configuration of a service is right, and what it would run; also schema and
                              example
  dispatch help               this text

Examples:
  dispatch --owner AMDEPYC --repo sev-certify --tag devel ubuntu
  dispatch --dir ./images
  dispatch --url https://example.org/images/a.iso https://example.org/images/b.iso

HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured.

Times are written as 90 (seconds), 90s, 15m, 2h or 1d.

Exit status:
  0  ended by a signal or a person
  1  it could not start, or not go on
  2  the command line is wrong
With --exit-when-done:
  0  all passed, or are unjudged
  3  some failed
  4  some errored or were cancelled, or a report could not be written or filed
  5  ended by q while jobs were left; by a signal: 128 and its number";

/// Serve boot images to bare-metal servers over UEFI HTTP Boot, one after the other, and collect their reports.
#[derive(Debug, Parser)]
#[command(
    name = "dispatch",
    version,
    after_help = AFTER_HELP,
    override_usage = "dispatch --owner OWNER --repo REPO --tag TAG [OPTIONS] [FILTER...]\n       \
                      dispatch --dir PATH [OPTIONS] [FILTER...]"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// Only images with any of these in their name
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,

    /// Where to listen: ADDRESS:PORT, ADDRESS, :PORT or PORT [default: port 8080 of every address]
    #[arg(help_heading = SESSION, short, long, value_name = "ADDRESS")]
    pub(crate) bind: Option<Bind>,

    /// The path of the boot URL; .efi, .iso and .img may follow it
    #[arg(help_heading = SESSION, short, long, value_name = "PATH", default_value = "/dispatch", value_parser = BootPath::new)]
    pub(crate) path: BootPath,

    /// Do not announce the server by mDNS, by which beacon finds one that it was not told
    #[arg(help_heading = SESSION, long)]
    pub(crate) no_mdns: bool,

    /// Where the queue is kept [default: a folder for each source in the XDG state directory]
    #[arg(help_heading = SESSION, long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Forget what the state holds, and run everything again
    #[arg(help_heading = SESSION, long)]
    pub(crate) fresh: bool,

    /// When everything is done already: run again only what came out as failed, errored, cancelled, unjudged or passed
    /// (a list)
    ///
    /// What has no result yet is run as well: files that are new, or have changed since they were run. Without it,
    /// starting again when everything is done runs everything again. While jobs are left, the session goes on with
    /// these, leaves out what it has left out before, and takes what came out so as well.
    #[arg(help_heading = SESSION, long, value_name = "RESULTS", value_delimiter = ',', value_parser = again)]
    pub(crate) again: Vec<Again>,

    /// Give work only to this host: its name, MAC or address (repeatable); @NAME is a name in any case
    #[arg(help_heading = SESSION, long, value_name = "HOST")]
    pub(crate) host: Vec<HostPattern>,

    /// End when all jobs are over
    #[arg(help_heading = SESSION, long)]
    pub(crate) exit_when_done: bool,

    /// Run a shell command with each event, as a line of JSON on its standard input
    #[arg(help_heading = SESSION, long, value_name = "COMMAND")]
    pub(crate) on_event: Option<String>,

    /// Where reports go: one Markdown and one JSON file each
    #[arg(help_heading = SESSION, long, value_name = "DIR", default_value = "./reports")]
    pub(crate) reports: PathBuf,

    /// The form of the log
    #[arg(help_heading = SESSION, long, value_name = "FORM", default_value = "text")]
    pub(crate) log: LogForm,

    /// Log lines instead of the terminal view
    #[arg(help_heading = SESSION, long)]
    pub(crate) no_tui: bool,

    #[command(flatten)]
    pub(crate) fetch: FetchArgs,

    #[command(flatten)]
    pub(crate) github: GitHubArgs,

    #[command(flatten)]
    pub(crate) rules: RuleArgs,
}

/// The rules of the queue.
#[derive(Args, Debug)]
#[command(next_help_heading = "Rules")]
pub(crate) struct RuleArgs {
    /// What to tell a host without work: auto, poweroff, reboot, next, wait or none
    ///
    /// auto: power off a host that ran something here and to which no job can come any more, have it wait (without a
    /// reset) while one can, and let strangers boot their next device. none: answer 404, so that the firmware goes on
    /// by itself, for firmware that refuses unsigned programs (Secure Boot).
    #[arg(long, value_name = "WHAT", default_value = "auto", value_parser = when_idle)]
    pub(crate) when_idle: WhenIdle,

    /// Serve signed programs to hosts without work (Secure Boot): what `dispatch stubs export` wrote, signed
    #[arg(long, value_name = "DIR")]
    pub(crate) stubs: Option<PathBuf>,

    /// How many more attempts a job gets after its first one errored
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub(crate) retries: u32,

    /// A report without a verdict passes if: milestone, label:X, title:REGEX or body:REGEX
    #[arg(long, value_name = "RULE")]
    pub(crate) pass_if: Vec<Rule>,

    /// A report without a verdict fails if (goes before --pass-if)
    #[arg(long, value_name = "RULE")]
    pub(crate) fail_if: Vec<Rule>,

    /// Labels of a host, for workloads that need them (repeatable); the host as for --host
    #[arg(long, value_name = "HOST=LABEL,...", value_parser = host_labels)]
    pub(crate) host_labels: Vec<(HostPattern, Vec<String>)>,

    /// From the last report of a run to its end, if its host does not ask before
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    pub(crate) grace: Duration,

    /// From assignment to the first byte; then the job goes to whoever asks next
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(crate) deadline_assigned: Duration,

    /// Without progress inside a download
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = time)]
    pub(crate) deadline_download: Duration,

    /// From the last byte of an image to its first call
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = time)]
    pub(crate) deadline_boot: Duration,

    /// From an image's call to its report, renewed by every sign of life
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    pub(crate) deadline_run: Duration,
}

impl RuleArgs {
    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            assigned: self.deadline_assigned,
            download: self.deadline_download,
            boot: self.deadline_boot,
            run: self.deadline_run,
            grace: self.grace,
        }
    }
}

/// Show how the queue of a session stands
#[derive(Debug, Parser)]
#[command(name = "dispatch status", version)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// More images by URL
    #[arg(value_name = "FILE-URL", hide = true)]
    pub(crate) words: Vec<String>,

    /// The state folder of the session, if it has its own
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The programs that tell a host without work what to do
#[derive(Debug, Parser)]
#[command(name = "dispatch stubs", version)]
pub(crate) struct StubsArgs {
    #[command(subcommand)]
    pub(crate) command: StubsCommand,
}

/// What to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum StubsCommand {
    /// Write them out, to be signed for Secure Boot
    Export {
        /// Where to
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// A service for a lab or a team: groups with a queue each, hosts, an API
///
/// SIGHUP reads the file again: what is different applies from then on, and a file with mistakes changes nothing.
#[derive(Debug, Parser)]
#[command(name = "dispatch serve", version)]
pub(crate) struct ServeArgs {
    /// The configuration (see `dispatch config example`)
    #[arg(short, long, value_name = "FILE", default_value = "dispatch.yaml")]
    pub(crate) config: PathBuf,

    /// The form of the log
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub(crate) log: LogForm,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogForm {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogForm> for Format {
    fn from(form: LogForm) -> Self {
        match form {
            LogForm::Text => Self::Text,
            LogForm::Json => Self::Json,
        }
    }
}

fn when_idle(word: &str) -> Result<WhenIdle, String> {
    word.parse().map_err(|_| "write auto, poweroff, reboot, next, wait or none".to_owned())
}

fn again(word: &str) -> Result<Again, String> {
    word.parse().map_err(|_| "write a list of failed, errored, cancelled, unjudged and passed".to_owned())
}

/// Reads the command line; ends the program where it is wrong, or where help is asked for.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Command {
    let args: Vec<OsString> = args.collect();
    match args.get(1).and_then(|word| word.to_str()) {
        Some("status") => {
            let mut args = StatusArgs::parse_from(&args[1..]);
            let mut words = std::mem::take(&mut args.words);
            // A state folder says which session it is by itself.
            let is_enough = args.state.is_some() && args.source.is_empty();
            let chosen = (!is_enough).then(|| chosen::<StatusArgs>(&args.source, &mut words));
            if let Err(what) = args.source.api() {
                StatusArgs::command().error(ErrorKind::ValueValidation, what).exit();
            }
            Command::Status(Box::new(args), chosen)
        }
        Some("check") => {
            let (args, chosen) = session(&args[1..]);
            Command::Check(args, chosen)
        }
        Some("serve") => Command::Serve(ServeArgs::parse_from(&args[1..])),
        Some("config") => Command::Config(config::ConfigArgs::parse_from(&args[1..])),
        Some("stubs") => Command::Stubs(StubsArgs::parse_from(&args[1..])),
        Some("help") => {
            let _ = SessionArgs::command().print_long_help();
            std::process::exit(0)
        }
        _ => {
            let (args, chosen) = session(&args);
            Command::Session(args, chosen)
        }
    }
}

fn session(args: &[OsString]) -> (Box<SessionArgs>, Chosen) {
    let mut args = SessionArgs::parse_from(args);
    let chosen = chosen::<SessionArgs>(&args.source, &mut args.filters);
    let wrong = args.source.api().err().or_else(|| contradiction(&args, &chosen));
    if let Some(what) = wrong {
        SessionArgs::command().error(ErrorKind::ArgumentConflict, what).exit();
    }
    (Box::new(args), chosen)
}

/// Options that together would do nothing, or not what whoever gave them thinks.
fn contradiction(args: &SessionArgs, chosen: &Chosen) -> Option<String> {
    let is_directory = matches!(chosen, Chosen::Directory(_));
    let has_release = matches!(chosen, Chosen::Remote(Some(_), _));
    let FetchArgs { watch, prefetch, cache, .. } = &args.fetch;
    let of_fetching = [
        ("--watch", watch.is_some()),
        ("--prefetch", *prefetch == Switch::Off),
        ("--cache", cache.is_some()),
    ];
    let of_fetching = of_fetching.into_iter().find(|(_, is_given)| is_directory && *is_given);
    if let Some((option, _)) = of_fetching {
        return Some(format!("{option} is for releases and URLs: a directory is served as it is"));
    }
    match (args.github.report, &args.github.issues_to) {
        (ReportWord::File, Some(_)) => Some("--issues-to and --report file contradict each other".to_owned()),
        (ReportWord::Issue, None) if !has_release => {
            Some("--report issue needs --issues-to OWNER/REPO: there is no release that names one".to_owned())
        }
        _ => None,
    }
}

/// What is served; ends the program where that is not clear.
fn chosen<T: CommandFactory>(source: &SourceArgs, words: &mut Vec<String>) -> Chosen {
    match source.chosen(words) {
        Ok(chosen) => chosen,
        Err(what) => T::command().error(ErrorKind::ValueValidation, what).exit(),
    }
}

/// `HOST=LABEL,LABEL`.
fn host_labels(text: &str) -> Result<(HostPattern, Vec<String>), String> {
    let wrong = || "write HOST=LABEL or HOST=LABEL,LABEL, such as @r1=epyc-9004".to_owned();
    let (host, labels) = text.rsplit_once('=').ok_or_else(wrong)?;
    let host = host.parse().map_err(|error| format!("{error}"))?;
    let labels: Vec<String> = labels.split(',').map(|label| label.trim().to_owned()).collect();
    if labels.iter().any(String::is_empty) { Err(wrong()) } else { Ok((host, labels)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        SessionArgs::command().debug_assert();
        StatusArgs::command().debug_assert();
        StubsArgs::command().debug_assert();
        config::ConfigArgs::command().debug_assert();
        ServeArgs::command().debug_assert();
    }

    #[test]
    fn a_command_counts_only_as_the_first_word() {
        let parse = |words: &[&str]| parse(words.iter().map(OsString::from));
        assert!(matches!(parse(&["dispatch", "status", "--dir", "x"]), Command::Status(..)));
        assert!(matches!(parse(&["dispatch", "check", "-r", "o/r"]), Command::Check(..)));
        let Command::Session(args, _) = parse(&["dispatch", "--dir", "x", "status", "help"]) else {
            panic!("a session")
        };
        assert_eq!(args.filters, ["status", "help"]);
    }

    #[test]
    fn what_contradicts_itself_is_said() {
        let said = |line: &str| {
            let args = SessionArgs::parse_from(["dispatch"].into_iter().chain(line.split(' ')));
            let chosen = args.source.chosen(&mut Vec::new()).expect(line);
            contradiction(&args, &chosen)
        };
        for line in [
            "--dir x --watch",
            "--dir x --prefetch off",
            "--dir x --cache y",
            "--dir x --report issue",
            "--url https://h.test/a.iso --report issue",
            "-r o/r --issues-to a/b --report file",
        ] {
            assert!(said(line).is_some(), "{line}");
        }
        for line in
            ["--dir x --issues-to a/b --report issue", "-r o/r --report issue --watch", "--dir x --offline"]
        {
            assert_eq!(said(line), None, "{line}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_rules() {
        let args = SessionArgs::parse_from(["dispatch", "--dir", "x"]);
        assert_eq!(args.rules.deadlines(), Deadlines::default());
        assert_eq!(args.rules.retries, dispatch_core::run::Policy::default().retries);
        assert_eq!(args.path.as_str(), "/dispatch");
    }
}
