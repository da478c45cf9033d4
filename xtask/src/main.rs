//! `cargo xtask`: what developers run. `cargo xtask demo` shows the main job, `cargo xtask test` passes the tests;
//! both install what they need.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to people")]

mod bench;
mod demo;
mod dist;
mod fake_github;
mod fuzz;
mod openapi;
mod rooms;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What developers of dispatch run
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A virtual server with real UEFI firmware boots through a queue of Linux images
    Demo(demo::Args),
    /// All checks and tests: format, clippy, documents, rooms, unit, integration, real firmware
    Test(test::Args),
    /// The static binaries, into target/dist
    Dist,
    /// Measures
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Has a fuzzer look for bytes that the boot listener cannot take
    Fuzz(fuzz::Args),
    /// A GitHub of our own to play with: a release to boot from, and issues that bother nobody
    FakeGithub(fake_github::Args),
    /// Takes GitHub's own description of what we use out of npm's @octokit/openapi, for the fake GitHub
    GithubOpenapi(openapi::Args),
    /// Whether every crate keeps to its room
    Rooms,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A step.
    #[error(transparent)]
    Step(#[from] steps::StepError),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] dispatch_testkit::lab::LabError),
    /// The rig.
    #[error(transparent)]
    Rig(#[from] dispatch_testkit::rig::RigError),
    /// The fake GitHub.
    #[error(transparent)]
    Github(#[from] dispatch_testkit::github::GithubError),
    /// nginx.
    #[error(transparent)]
    Nginx(#[from] dispatch_testkit::nginx::NginxError),
    /// The program.
    #[error(transparent)]
    Program(#[from] dispatch_testkit::program::ProgramError),
    /// A file.
    #[error("{0}: {1}")]
    File(std::path::PathBuf, #[source] std::io::Error),
    /// Anything else, in words.
    #[error("{0}")]
    Words(String),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Dist => dist::run(),
        Task::Bench(bench) => bench::run(&bench),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::FakeGithub(args) => fake_github::run(&args),
        Task::GithubOpenapi(args) => openapi::run(&args),
        Task::Rooms => rooms::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
