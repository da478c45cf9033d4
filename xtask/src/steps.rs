//! Runs the steps of a task, each with a headline.

use std::path::PathBuf;
use std::process::Command;

use dispatch_testkit::lab::process::find_tool;
use dispatch_testkit::rig::cargo;
use dispatch_testkit::s3;

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("{0} failed: see above")]
    Failed(String),
    #[error("{0} cannot be run: {1}")]
    Start(String, #[source] std::io::Error),
}

/// Runs a command under a headline.
pub(crate) fn step(headline: &str, command: &mut Command) -> Result<(), StepError> {
    println!("\n── {headline}");
    let name = headline.to_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(StepError::Failed(name)),
        Err(error) => Err(StepError::Start(name, error)),
    }
}

/// A cargo command of so many words.
pub(crate) fn cargo_with(words: &[&str]) -> Command {
    let mut command = cargo();
    command.args(words);
    command
}

/// Whether a program such as `cargo-nextest` is on `PATH` or where `cargo install` puts it.
pub(crate) fn has_cargo_tool(name: &str) -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    find_tool(name).is_some() || home.is_some_and(|home| home.join("bin").join(name).is_file())
}

/// Installs a program such as `cargo-nextest` if it is not there, in a version that our Rust builds.
pub(crate) fn ensure_cargo_tool(name: &str, version: &str) -> Result<(), StepError> {
    if has_cargo_tool(name) {
        return Ok(());
    }
    let install = ["install", "--locked", "--version", version, name];
    step(&format!("installing {name} {version}"), &mut cargo_with(&install))
}

/// Installs the S3 server of the tests if it is not there. Not optimised: it is built once and serves tests only.
pub(crate) fn ensure_s3_server() -> Result<(), StepError> {
    if s3::program().is_some() {
        return Ok(());
    }
    let install =
        ["install", "--locked", "--debug", "--features", "binary", "--version", s3::VERSION, s3::PACKAGE];
    step(&format!("installing {} {}", s3::PACKAGE, s3::VERSION), &mut cargo_with(&install))
}

/// Adds rustfmt and clippy where rustup has left them out.
pub(crate) fn ensure_components() -> Result<(), StepError> {
    if has_cargo_tool("cargo-fmt") && has_cargo_tool("cargo-clippy") {
        return Ok(());
    }
    step("adding rustfmt and clippy", Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]))
}
