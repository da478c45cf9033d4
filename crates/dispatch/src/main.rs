//! The `dispatch` command: a session in front of one engineer.
//!
//! This is where the real clock and the real random source are; everything below takes them as arguments.
#![expect(clippy::print_stderr, reason = "a command line talks to people")]

mod check;
mod cli;
mod console;
mod diagnostics;
mod real;
mod serve;
mod session;
mod status;
mod stubs;
mod terminal;

use std::process::ExitCode;

use cli::Command;

/// How long the threads that still send images may take to notice that all is over.
const LAST_THREADS: std::time::Duration = std::time::Duration::from_secs(2);

/// Threads for requests: some may be held up by a disk while others must go on.
const WORKERS: usize = 4;

/// Threads for downloads (one each) and for files.
const BLOCKING: usize = dispatch_boot::MAX_DOWNLOADS + 120;

fn main() -> ExitCode {
    let command = cli::parse(std::env::args_os());
    real::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dispatch: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = match command {
        Command::Session(args, chosen) => runtime.block_on(session::run(*args, chosen)),
        Command::Check(args, chosen) => runtime.block_on(check::run(*args, chosen)).map(|()| 0),
        Command::Status(args, chosen) => runtime.block_on(status::run(*args, chosen)).map(|()| 0),
        Command::Serve(args) => runtime.block_on(serve::run(args)),
        Command::Config(args) => cli::config::run(args),
        Command::Stubs(args) => stubs::run(args).map(|()| 0),
    };
    runtime.shutdown_timeout(LAST_THREADS);
    console::Console::finish();
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // It may name a file that somebody else named.
            eprintln!("dispatch: {}", dispatch_server::log::harmless(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
