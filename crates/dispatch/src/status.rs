//! `dispatch status`: how the queue of a session stands, also while it runs.

use std::collections::HashMap;
use std::io::{self, Write as _};

use dispatch_server::clock::Clock as _;
use dispatch_server::state;
use dispatch_server::view::{View, table};
use dispatch_store::Store;
use jiff::Timestamp;

use crate::cli::{Chosen, StatusArgs};
use crate::real::SystemClock;
use crate::session::{Failure, default_state, terminal_width};

/// Prints the view.
pub(crate) async fn run(args: StatusArgs, chosen: Option<Chosen>) -> Result<(), Failure> {
    let folder = match (args.state, chosen) {
        (Some(state), _) => state,
        (None, Some(chosen)) => default_state(&chosen, &args.source.api().map_err(Failure::CommandLine)?)?,
        (None, None) => return Err(Failure::NoHome),
    };
    let store = Store::open_to_read(&state::database(&folder)).await?;
    // Which session there is, if there is one, the state does not know; nothing of it is printed.
    let view = View::new(&store.overview().await?, &HashMap::new(), &[], Timestamp::MIN, SystemClock.now());
    store.close().await;
    if args.json {
        let json = serde_json::to_string_pretty(&view).map_err(|error| Failure::Output(error.into()))?;
        write(&format!("{json}\n"))
    } else {
        write(&table(&view, terminal_width()))
    }
}

/// Writes, and takes a reader that has seen enough (`head`) for a reader that is content.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
