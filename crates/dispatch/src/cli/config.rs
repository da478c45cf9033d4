//! `dispatch config …`: the configuration of a service, without starting one.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use dispatch_server::config;
use dispatch_server::log::harmless;

use crate::session::{Failure, terminal_width};
use crate::status::write;

/// The configuration of a service
#[derive(Debug, Parser)]
#[command(name = "dispatch config", version)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

/// What to do with it.
#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Tell all that is wrong with a file, or what it would run
    ///
    /// Template files and files of secrets are read, and the environment's variables are used. Nothing is asked of any
    /// network, and nothing is written.
    Check {
        /// The file
        #[arg(short, long, value_name = "FILE", default_value = "dispatch.yaml")]
        config: PathBuf,
    },
    /// Print the JSON Schema of the file, by which editors complete and check it
    Schema,
    /// Print an example with every section
    Example,
}

/// Does it. The status is 1 if there are mistakes.
pub(crate) fn run(args: ConfigArgs) -> Result<u8, Failure> {
    match args.command {
        ConfigCommand::Check { config } => match config::load(&config, &|name| std::env::var(name)) {
            Ok(loaded) => write(&config::summary(&loaded, terminal_width())).map(|()| 0),
            Err(config::Mistakes(mistakes)) => {
                for mistake in mistakes {
                    eprintln!("{}", harmless(&mistake.to_string()));
                }
                Ok(1)
            }
        },
        ConfigCommand::Schema => {
            let text = serde_json::to_string_pretty(config::schema());
            write(&(text.map_err(|error| Failure::Output(error.into()))? + "\n")).map(|()| 0)
        }
        ConfigCommand::Example => write(config::EXAMPLE).map(|()| 0),
    }
}
