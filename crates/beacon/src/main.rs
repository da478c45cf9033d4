//! `beacon`: the small static program inside a booted image that tells dispatch how it went.
//!
//! Only the real clock, the real dice and the real streams are here; everything else is in the library.

#![forbid(unsafe_code)]

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use beacon::app::{self, World};
use beacon::cli::Cli;
use beacon::clock::Clock;
use beacon::http::Http;
use beacon::resolve::Names;
use beacon::root::Root;
use beacon::tell::Tell;
use clap::Parser as _;

const DNS_PORT: u16 = 53;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = Root::from(cli.common.root.clone());
    let stdin = io::stdin();
    let stdin: Option<Box<dyn Read>> = if stdin.is_terminal() { None } else { Some(Box::new(stdin)) };
    let names = Names { root: root.clone(), dns_port: DNS_PORT, random };
    let http = Http::new(names.clone());
    let mut tell = Stderr { verbose: cli.common.verbose };
    let clock = RealClock::start();
    let world = World { root, clock: &clock, exchange: &http, names: &names, stdin, tell: &mut tell };
    match app::run(cli, world) {
        Ok(line) => {
            // If nobody reads it, it was told all the same.
            let _ = writeln!(io::stdout(), "beacon: {line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell.warn(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

struct RealClock(Instant);

impl RealClock {
    #[expect(clippy::disallowed_methods, reason = "the binary is where the real clock comes in")]
    fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "the binary is where waiting is real")]
    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn random(&self) -> u64 {
        random()
    }
}

/// Dice out of the standard library's hasher, which the system seeds: good enough for jitter and for the
/// numbers of questions to a name server.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Lines for people go to stderr, so that stdout has nothing but the result.
struct Stderr {
    verbose: bool,
}

impl Tell for Stderr {
    fn warn(&mut self, line: &str) {
        // There is nowhere to complain when stderr is gone.
        let _ = writeln!(io::stderr(), "beacon: {line}");
    }

    fn detail(&mut self, line: &str) {
        if self.verbose {
            self.warn(line);
        }
    }
}
