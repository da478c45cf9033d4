//! The two commands, put together from their parts.

use std::io::Read;

use dispatch_wire::boot::Report;

use crate::call::{Call, GaveUp, Pace, Taken};
use crate::cli::{Cli, Command, ReportArgs};
use crate::clock::Clock;
use crate::exchange::{Exchange, Message, Request};
use crate::find;
use crate::host::HostIdentity;
use crate::report::{self, ReportError, Source};
use crate::resolve::Names;
use crate::root::Root;
use crate::state::Remembered;
use crate::tell::Tell;

/// Everything outside.
pub struct World<'a> {
    /// The file system.
    pub root: Root,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The network.
    pub exchange: &'a dyn Exchange,
    /// The name servers and the links of this host.
    pub names: &'a Names,
    /// The standard input; `None` if that is a person at a terminal.
    pub stdin: Option<Box<dyn Read>>,
    /// Where lines for people go.
    pub tell: &'a mut dyn Tell,
}

/// Why beacon ends without having told anything.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is nothing to send.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Nobody took it.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
}

/// Does what the command line says, and comes back with the line that says so.
pub fn run(cli: Cli, world: World<'_>) -> Result<String, AppError> {
    match cli.command {
        Command::Boot => boot(&cli.common, world),
        Command::Report(args) => report(args, &cli.common, world),
    }
}

fn boot(common: &crate::cli::Common, world: World<'_>) -> Result<String, AppError> {
    let World { root, clock, exchange, names, tell, .. } = world;
    let given = common.url.as_ref().and_then(|given| given.0.as_ref());
    let request = Request { message: Message::Boot, body: Vec::new(), host: HostIdentity::read(&root) };
    let pace = Pace { timeout: common.timeout.unwrap_or(Pace::BOOT.timeout), ..Pace::BOOT };
    let finders = find::finders(&root, given, None, find::on_the_network(names, clock));
    let call = Call { request: &request, pace, finders: &finders, remembered: None, exchange, clock };
    let Taken { url, run } = call.run(tell)?;

    let told = match &run {
        Some(run) => format!("run {run} started, told {url}"),
        None => format!("started, told {url}"),
    };
    if let Err(error) = (Remembered { url, run }).save(&root) {
        tell.warn(&error.to_string());
    }
    Ok(told)
}

fn report(args: ReportArgs, common: &crate::cli::Common, world: World<'_>) -> Result<String, AppError> {
    let World { root, clock, exchange, names, stdin, tell } = world;
    let body = json(args, stdin, tell)?;
    let size = body.len();
    let request = Request { message: Message::Report, body, host: HostIdentity::read(&root) };
    let pace = Pace { timeout: common.timeout.unwrap_or(Pace::REPORT.timeout), ..Pace::REPORT };
    let given = common.url.as_ref().and_then(|given| given.0.as_ref());
    let remembered = Remembered::load(&root).unwrap_or_else(|error| {
        tell.warn(&error.to_string());
        None
    });
    let remembered = remembered.as_ref();
    let finders = find::finders(&root, given, remembered, find::on_the_network(names, clock));
    let call = Call { request: &request, pace, finders: &finders, remembered, exchange, clock };
    let Taken { url, run } = call.run(tell)?;

    let run = run.or_else(|| remembered.filter(|it| it.url == url).and_then(|it| it.run.clone()));
    Ok(match run {
        Some(run) => format!("report of run {run} told {url} ({size} bytes)"),
        None => format!("report told {url} ({size} bytes)"),
    })
}

/// The body of the request.
fn json(args: ReportArgs, stdin: Option<Box<dyn Read>>, tell: &mut dyn Tell) -> Result<Vec<u8>, ReportError> {
    let ReportArgs { title, body, labels, assignees, milestone, verdict } = args;
    let from_stdin = |stdin: Option<Box<dyn Read>>| stdin.map_or(Source::Nothing, Source::Stdin);
    let source = match body {
        Some(file) if file != "-" => Source::File(file.into()),
        _ => from_stdin(stdin),
    };
    let text = source.read(tell)?;
    let title = if title.trim().is_empty() {
        // Servers refuse a report without a title, and a script's empty variable is no reason to lose it.
        tell.warn("the title is empty; the report goes out as `untitled`");
        "untitled".to_owned()
    } else {
        title
    };
    let filled = |names: Vec<String>| names.into_iter().filter(|name| !name.trim().is_empty()).collect();
    let report = Report {
        title,
        body: String::new(),
        labels: filled(labels),
        assignees: filled(assignees),
        milestone: milestone.filter(|milestone| !milestone.trim().is_empty()),
        verdict: verdict.map(Into::into),
    };
    report::to_json(report, text, dispatch_wire::boot::MAX_REPORT_BYTES, tell)
}
