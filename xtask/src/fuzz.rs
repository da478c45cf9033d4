//! `cargo xtask fuzz`: has libFuzzer look for bytes that the boot listener cannot take, and keeps what it found worth
//! keeping. On stable Rust: the compiler's coverage pass needs no other toolchain, only the sanitizers do.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args as ClapArgs;
use dispatch_testkit::rig::{target, workspace};

use crate::Failure;
use crate::steps::{cargo_with, step};

/// What is fuzzed, with the corpus that it starts from and adds to.
const TARGETS: [(&str, &str); 3] =
    [("requests", "requests"), ("conversations", "requests"), ("reports", "reports")];

/// What the fuzzer sees coverage and comparisons by, and what makes a wrong number a panic.
const FLAGS: &str = "-Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares \
     -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// The longest input, in bytes. A head may be longer; that it is refused then is a test of its own.
const MAX_INPUT: &str = "-max_len=4096";

/// How long.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// For how long in all
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
}

/// Fuzzes each target for its share of the time, then makes the corpus as small as it can be.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let target = target()?.join("fuzz");
    let mut build = cargo_with(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "dispatch-fuzz",
        "--features",
        "libfuzzer",
    ]);
    // With a target named, what runs at build time is built without these flags.
    build.args(["--target", TRIPLE]).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", FLAGS);
    step("fuzzers", &mut build)?;
    let seconds = args.minutes * 60 / u32::try_from(TARGETS.len()).unwrap_or(1);
    for (name, corpus) in TARGETS {
        let (work, kept) = (target.join("corpus").join(corpus), kept(corpus));
        make(&work)?;
        let mut fuzzer = fuzzer(&target, name);
        fuzzer.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        // What it stumbles over goes where the tests find it.
        fuzzer.arg(format!("-artifact_prefix={}/", kept.display())).args([&work, &kept]);
        step(&format!("{name}, for {seconds} seconds"), &mut fuzzer)?;
    }
    for corpus in ["requests", "reports"] {
        let least = target.join("least").join(corpus);
        let _ = std::fs::remove_dir_all(&least);
        make(&least)?;
        for (name, _) in TARGETS.iter().filter(|(_, of)| *of == corpus) {
            let mut merge = fuzzer(&target, name);
            // One for each edge of the code, however often it is passed: ten times as many files find nothing more.
            merge.args(["-set_cover_merge=1", "-use_counters=0"]).args([
                &least,
                &target.join("corpus").join(corpus),
                &kept(corpus),
            ]);
            step(&format!("the least corpus of {name}"), &mut merge)?;
        }
        replace(&kept(corpus), &least)?;
    }
    Ok(())
}

/// The only one that it is run on.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

fn fuzzer(target: &Path, name: &str) -> Command {
    let mut fuzzer = Command::new(target.join(TRIPLE).join("release").join(format!("fuzz-{name}")));
    fuzzer.args([MAX_INPUT, "-verbosity=1"]);
    fuzzer
}

fn kept(corpus: &str) -> PathBuf {
    workspace().join("crates/dispatch-fuzz/corpus").join(corpus)
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::File(folder.to_owned(), error))
}

/// Puts the files of one folder in the place of another's, but for what was stumbled over once.
fn replace(kept: &Path, least: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::File(kept.to_owned(), error);
    for file in std::fs::read_dir(kept).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name();
        let is_finding =
            ["crash-", "timeout-", "oom-"].iter().any(|word| name.to_string_lossy().starts_with(word));
        if !is_finding {
            std::fs::remove_file(file.path()).map_err(failed)?;
        }
    }
    for file in std::fs::read_dir(least).map_err(failed)? {
        let file = file.map_err(failed)?;
        std::fs::copy(file.path(), kept.join(file.file_name())).map_err(failed)?;
    }
    Ok(())
}
