//! `dispatch serve`: a service until a signal ends it.

use std::path::PathBuf;
use std::sync::Arc;

use dispatch_server::config::{self, Mistakes};
use dispatch_server::log::{Format, Log, harmless};
use dispatch_server::service::{Environment, Load, ReloadError, Reloader, Service, StartError};
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::cli::ServeArgs;
use crate::console::Console;
use crate::diagnostics::{self, Notices};
use crate::real;
use crate::session::{Failure, Signals};

/// Runs a service. Returns the exit status.
pub(crate) async fn run(args: ServeArgs) -> Result<u8, Failure> {
    // First of all: whatever follows, the first signal ends it in good order.
    let signals = Signals::new().map_err(Failure::Signals)?;
    let format = Format::from(args.log);
    let zone = TimeZone::system();
    diagnostics::install(format, zone.clone(), Notices::default());
    let load = load(args.config);
    let environment: Environment = Arc::new(|name| std::env::var(name).ok());
    let starting = Service::start(load, environment, Arc::new(real::SystemClock), real::random());
    let service = tokio::select! {
        service = starting => match service {
            Ok(service) => service,
            Err(StartError::Configuration(mistakes)) => {
                tell(&mistakes);
                return Ok(1);
            }
            Err(error) => return Err(Failure::Serve(error)),
        },
        name = signals.insists() => return Err(Failure::NotStarted(name)),
    };
    for notice in &service.notices {
        warn!("{notice}");
    }
    info!("API: {}", service.api_url());
    for url in service.boot_urls() {
        info!("boot URL: {url}");
    }
    let reloader = service.reloader();
    let (stop, reloads) = (CancellationToken::new(), TaskTracker::new());
    let mut serving = std::pin::pin!(service.run(Log::new(Console, format, zone), real::now, stop.clone()));
    loop {
        tokio::select! {
            ended = &mut serving => return Ok(ended.map(|()| 0)?),
            name = signals.next() => {
                if name == "SIGHUP" {
                    let reloader = reloader.clone();
                    reloads.spawn(async move { reload(&reloader).await });
                    continue;
                }
                info!("{name}: ending");
                stop.cancel();
                tokio::select! {
                    ended = &mut serving => return Ok(ended.map(|()| 0)?),
                    name = signals.insists() => return Err(Failure::Impatient(name)),
                }
            }
        }
    }
}

/// Reads the file with the environment of this process, as often as it is wished.
fn load(path: PathBuf) -> Load {
    Arc::new(move || config::load(&path, &|name| std::env::var(name)))
}

fn tell(Mistakes(mistakes): &Mistakes) {
    for mistake in mistakes {
        eprintln!("{}", harmless(&mistake.to_string()));
    }
}

async fn reload(reloader: &Reloader) {
    match reloader.reload().await {
        Ok(read) => {
            if read.differences.is_empty() {
                info!("the configuration was read again: it says the same");
            }
            for difference in read.differences {
                info!("{}", difference.what);
            }
            for notice in read.notices {
                warn!("{notice}");
            }
        }
        Err(ReloadError::Mistakes(Mistakes(mistakes))) => {
            warn!("the configuration has mistakes, and nothing has changed");
            for mistake in mistakes {
                warn!("{mistake}");
            }
        }
        Err(error @ ReloadError::Unfinished) => warn!("{error}"),
        Err(ReloadError::Start(error)) => warn!("the configuration cannot be put into force: {error}"),
    }
}
