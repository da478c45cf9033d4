//! `cargo xtask test`: everything that CI checks.

use clap::Args as ClapArgs;
use dispatch_testkit::lab::packages::{Need, ensure_packages};

use crate::steps::{
    cargo_with, ensure_cargo_tool, ensure_components, ensure_s3_server, has_cargo_tool, step,
};
use crate::{Failure, dist, rooms};

/// What to test.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Leave out the tests on real firmware, which take minutes
    #[arg(long)]
    quick: bool,
}

/// Runs all checks, the quickest first.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    ensure_components()?;
    step("format", &mut cargo_with(&["fmt", "--all", "--check"]))?;
    rooms::run()?;
    ensure_cargo_tool("cargo-nextest", "0.9.143")?;
    ensure_s3_server()?;
    println!("\n── packages");
    ensure_packages(if args.quick { Need::QUICK } else { Need::ALL })?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    step("clippy", &mut cargo_with(&clippy))?;
    let mut doc = cargo_with(&["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
    step("documents", doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    let is_ci = std::env::var_os("CI").is_some();
    if is_ci {
        // Takes some minutes, once for each machine.
        ensure_cargo_tool("cargo-deny", "0.20.2")?;
    }
    if has_cargo_tool("cargo-deny") {
        step("licences and sources", &mut cargo_with(&["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!(
            "\n── licences and sources: left out, cargo-deny is not installed (cargo install --locked cargo-deny)"
        );
    }
    let quick = ["nextest", "run", "--workspace", "--locked"];
    step("unit and integration tests", &mut cargo_with(&quick))?;
    if !args.quick {
        let schemathesis =
            ["nextest", "run", "--package", "dispatch-server", "--locked", "--profile", "schemathesis"];
        step("requests made of the API's description", &mut cargo_with(&schemathesis))?;
        dist::run()?;
        let lab = ["nextest", "run", "--workspace", "--locked", "--profile", "lab"];
        step("end-to-end tests on real firmware", &mut cargo_with(&lab))?;
    }
    Ok(())
}
