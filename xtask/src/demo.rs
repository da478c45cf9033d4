//! `cargo xtask demo`: the main job, before your eyes.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use dispatch_core::Event;
use dispatch_server::log::{Format, Log};
use dispatch_store::StoredEvent;
use dispatch_testkit::github::FakeGithub;
use dispatch_testkit::lab::packages::{Need, ensure_packages};
use dispatch_testkit::lab::qemu::{HOST, Server, ServerConfig};
use dispatch_testkit::program::{Program, Setup};
use dispatch_testkit::rig::{
    self, DEMO, Then, check_demo, demo_arguments, prepare, server_config, target, watch,
};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::fake_github::{OWNER, REPO, TAG, TOKEN};
use crate::steps::{cargo_with, step};
use crate::{Failure, fake_github};

/// How the demo is run.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Leave dispatch and the virtual server running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Log lines instead of the terminal view
    #[arg(long)]
    no_tui: bool,
    /// Another firmware than Debian's OVMF
    #[arg(long, value_name = "PATH")]
    firmware: Option<PathBuf>,
}

/// How long the whole may take.
const LIMIT: Duration = Duration::from_mins(15);

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(firmware) = args.firmware.as_ref().filter(|firmware| !firmware.is_file()) {
        return Err(Failure::Words(format!("there is no firmware at {}", firmware.display())));
    }
    println!("── what the virtual lab needs (QEMU, OVMF, a kernel: Debian's packages)");
    ensure_packages(Need::DEMO)?;
    step("dispatch", &mut cargo_with(&["build", "--locked", "--package", "dispatch"]))?;
    let folder = target()?.join("demo");
    let _lock = take(&folder)?;
    println!("\n── three boot images: a kernel, a small root file system with a static beacon, and a script");
    prepare(&rig::cache(), &folder.join("images"), &DEMO)?;
    for (name, words) in [
        ("certificates.efi", "boots and sends three reports, as the certification images do"),
        ("hello.efi", "boots and reports that it passed"),
        ("stuck.efi", "boots, says so, and hangs: it errs, is tried once more, and is given up"),
    ] {
        println!("   {name:<17} {words}");
    }
    let github = fake_github::with_images(&folder.join("images"))?;
    play(args, &folder, &github)
}

fn play(args: &Args, folder: &Path, github: &FakeGithub) -> Result<(), Failure> {
    let binary = target()?.join("debug/dispatch");
    let api = github.api();
    let release = ["--owner", OWNER, "--repo", REPO, "--tag", TAG];
    let source = [&release[..], &["--github-url", &api]].concat();
    let setup = Setup::new(&binary.to_string_lossy(), folder).for_qemu().serving(&source);
    let mut setup = setup.variable("GITHUB_TOKEN", TOKEN);
    setup.more.extend(demo_arguments());
    if args.keep {
        setup = setup.with(&["--when-idle", "wait"]);
    }
    if !args.no_tui && io::stdin().is_terminal() && io::stdout().is_terminal() {
        return show(args, setup, github);
    }
    println!("\n── dispatch {} (on a GitHub of the demo's own)\n", release.join(" "));
    let program = setup.start()?;
    let mut narrator = Narrator::new(&program);
    let mut config = server_config(folder, &program);
    config.firmware.clone_from(&args.firmware);
    println!(
        "          a virtual server with real firmware is switched on; its console: {}",
        folder.join("server/serial.log").display()
    );
    let mut server = Server::start(&config)?;
    if args.keep {
        return stay(program, &mut server, narrator);
    }
    let (program, summary) = watch(&mut setup, program, &mut server, LIMIT, |line| {
        narrator.tell(line);
        Then::GoOn
    })?;
    println!(
        "\n── the virtual server has powered itself off; it was reset by hand {} times\n",
        summary.resets
    );
    if !program.terminate()?.success() {
        return Err(Failure::Words("dispatch did not end in good order".to_owned()));
    }
    print_table(&setup)?;
    print_reports(&setup);
    check_demo(&setup)?;
    print_issues(&setup, github)
}

/// The demo in the terminal view, until all is done, or a person ends it.
fn show(args: &Args, mut setup: Setup, github: &FakeGithub) -> Result<(), Failure> {
    if !args.keep {
        setup = setup.with(&["--exit-when-done"]);
    }
    let url = format!("http://{HOST}:{}/dispatch", setup.bind.port());
    let mut config = ServerConfig::http(&setup.folder.join("server"), rig::MAC, rig::UUID, &url);
    config.firmware.clone_from(&args.firmware);
    let watched = rig::watch_in_terminal(&setup, &config)?;
    let are_all_over = setup.status().is_ok_and(|status| are_all_over(&status));
    match outcome(watched.status.code(), watched.is_off, are_all_over) {
        Outcome::ByHand => {
            println!("\n── ended by hand; the virtual server is switched off");
            return Ok(());
        }
        Outcome::Over => {}
        Outcome::StillOn => {
            return Err(Failure::Words("the virtual server did not power off".to_owned()));
        }
        Outcome::Broken => return Err(Failure::Words(format!("dispatch ended with {}", watched.status))),
    }
    let off = if watched.is_off { "powered itself off" } else { "been switched off" };
    println!("\n── the virtual server has {off}; it was reset by hand {} times\n", watched.resets);
    print_reports(&setup);
    check_demo(&setup)?;
    print_issues(&setup, github)
}

/// How a demo in the terminal view came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A person ended it before all was over.
    ByHand,
    /// All is over: what came out can be checked.
    Over,
    /// All is over, and the server was not powered off.
    StillOn,
    /// Something else ended it.
    Broken,
}

/// How it came out, by the exit status of dispatch, whether its server is off, and whether all jobs are over. Status 0
/// says both that a person ended it (`--keep`) and that everything has passed, which the demo must not.
fn outcome(code: Option<i32>, is_off: bool, are_all_over: bool) -> Outcome {
    match (code, are_all_over) {
        (Some(0 | 5), false) => Outcome::ByHand,
        // Also where a person ended it after all was over.
        (Some(0 | 5), true) => Outcome::Over,
        (Some(3 | 4), true) if is_off => Outcome::Over,
        (Some(3 | 4), true) => Outcome::StillOn,
        _ => Outcome::Broken,
    }
}

/// Whether every job of a queue has come out somehow, by what `dispatch status --json` says of it.
fn are_all_over(status: &Value) -> bool {
    let is_over = |job: &Value| !job["verdict"].is_null() || job["state"] == "cancelled";
    status["jobs"].as_array().is_some_and(|jobs| jobs.iter().all(is_over))
}

/// Takes the demo's folder, fresh, unless another demo has it.
fn take(folder: &Path) -> Result<File, Failure> {
    let path = folder.with_extension("lock");
    let failed = |error| Failure::File(path.clone(), error);
    std::fs::create_dir_all(folder.parent().unwrap_or(folder)).map_err(failed)?;
    let lock = File::create(&path).map_err(failed)?;
    if lock.try_lock().is_err() {
        return Err(Failure::Words("another demo is running here: end it first".to_owned()));
    }
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(failed)?;
    Ok(lock)
}

fn stay(mut program: Program, server: &mut Server, mut narrator: Narrator) -> Result<(), Failure> {
    println!("          everything stays up until Ctrl-C: http://{}{}", program.address, program.path);
    loop {
        if server.powered_off(Duration::ZERO)? {
            return Err(Failure::Words("the virtual server has ended".to_owned()));
        }
        if let Some(line) = program.next(Duration::from_secs(1))? {
            narrator.tell(&line);
            if rig::hangs(&line) {
                server.reset()?;
            }
        }
    }
}

fn print_table(setup: &Setup) -> Result<(), Failure> {
    let status = std::process::Command::new(&setup.binary)
        .args(["status", "--state"])
        .arg(setup.folder.join("state"))
        .output()
        .map_err(|error| Failure::File(setup.binary.clone(), error))?;
    print!("{}", String::from_utf8_lossy(&status.stdout));
    Ok(())
}

fn print_reports(setup: &Setup) {
    println!("\nreports in {}:", setup.folder.join("reports").display());
    for name in
        setup.reports().iter().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "md"))
    {
        println!("  {name}");
    }
}

/// Shows what was filed. Every report is to be one issue.
fn print_issues(setup: &Setup, github: &FakeGithub) -> Result<(), Failure> {
    let issues = fake_github::issues(github);
    println!("\nissues of {OWNER}/{REPO}:");
    for issue in &issues {
        let milestone = issue.milestone.iter().map(|title| format!("milestone {title}"));
        let marks: Vec<String> = issue.labels.iter().cloned().chain(milestone).collect();
        println!("  #{}  {}  {}", issue.number, issue.title, marks.join(", "));
    }
    let reports = setup.reports().iter().filter(|name| is_json(name)).count();
    if reports == issues.len() {
        return Ok(());
    }
    Err(Failure::Words(format!("{reports} reports have become {} issues", issues.len())))
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "json")
}

/// Tells a person what the log says.
struct Narrator {
    log: Log<io::Stdout>,
}

impl Narrator {
    fn new(program: &Program) -> Self {
        let log = Log::new(io::stdout(), Format::Text, TimeZone::system());
        let mut narrator = Self { log: log.with_names(["certificates.efi"].into_iter()) };
        for line in &program.seen {
            narrator.tell(line);
        }
        narrator
    }

    fn tell(&mut self, line: &Value) {
        if let Some(message) = line["message"].as_str() {
            println!("          {message}");
        } else if let Ok(event) = serde_json::from_value::<Event>(line.clone()) {
            let seq = line["seq"].as_i64().unwrap_or(0);
            let _ = self.log.write(&StoredEvent { seq, event });
        }
        let _ = io::stdout().flush();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_demo_that_wrongly_passes_is_not_taken_for_one_that_was_ended_by_hand() {
        assert_eq!(outcome(Some(0), true, true), Outcome::Over, "what passed is looked at");
        assert_eq!(outcome(Some(0), false, false), Outcome::ByHand);
        assert_eq!(outcome(Some(5), false, false), Outcome::ByHand, "it was to end by itself");
        assert_eq!(outcome(Some(4), true, true), Outcome::Over);
        assert_eq!(outcome(Some(3), true, true), Outcome::Over);
        assert_eq!(outcome(Some(4), false, true), Outcome::StillOn);
        assert_eq!(outcome(Some(4), true, false), Outcome::Broken, "it says so of a queue that is not over");
        assert_eq!(outcome(Some(1), true, true), Outcome::Broken);
        assert_eq!(outcome(None, false, false), Outcome::Broken, "a signal");
    }

    #[test]
    fn a_queue_is_over_when_every_job_has_come_out_somehow() {
        let over = json!({"jobs": [{"state": "finished", "verdict": "passed"}, {"state": "cancelled"}]});
        assert!(are_all_over(&over));
        assert!(!are_all_over(
            &json!({"jobs": [{"state": "finished", "verdict": "passed"}, {"state": "queued"}]})
        ));
        assert!(!are_all_over(&json!({})));
    }
}
