//! `dispatch check …`: what a session would serve, and what it would miss. Nothing is started, and nothing is written
//! but the cache's knowledge of the source.

use std::sync::Arc;

use dispatch_server::check::{self, CheckError};

use crate::cli::{Chosen, SessionArgs};
use crate::real::SystemClock;
use crate::session::{Failure, config, terminal_width};
use crate::status::write;

/// Looks, and prints what it saw.
pub(crate) async fn run(args: SessionArgs, chosen: Chosen) -> Result<(), Failure> {
    let config = config(args, chosen).await?;
    let checked = check::run(&config, Arc::new(SystemClock)).await?;
    write(&check::told(&checked, terminal_width()))?;
    checked.nothing.map_or(Ok(()), |nothing| Err(CheckError::from(nothing).into()))
}
