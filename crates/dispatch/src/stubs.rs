//! `dispatch stubs export DIR`: the programs for hosts without work, to be signed for Secure Boot.

use std::io::{self, Write as _};

use dispatch_boot::Programs;

use crate::cli::{StubsArgs, StubsCommand};
use crate::session::Failure;

/// Writes the programs, and says how to go on.
pub(crate) fn run(args: StubsArgs) -> Result<(), Failure> {
    let StubsCommand::Export { dir } = args.command;
    let paths = Programs::export(&dir)?;
    let mut text = paths.iter().fold(String::new(), |text, path| text + &format!("{}\n", path.display()));
    text += "Sign each of them under its own name (`sbsign --key KEY --cert CERT --output FILE FILE`), and start with \
             --stubs and this directory.\n";
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}
