//! A GitHub of our own: it keeps what it is told, and answers as GitHub does.
//!
//! A test makes a [`Model`] as it needs it, gives the program [`FakeGithub::api`], and looks at the model afterwards.
//! What can go wrong is a [`Trouble`]. All that comes in and goes out is held against GitHub's own description of its
//! API; whatever is not as it says fails the test when the fake is dropped.
//!
//! There are three hosts on loopback: the API, the host of the assets' bytes (to which the API redirects, and which
//! refuses tokens), and yet another, to which nobody should bring anything.

mod access;
mod api;
mod clock;
mod content;
mod describe;
mod jwt;
mod limits;
mod log;
mod model;
mod objects;
mod server;
mod token;
mod trouble;
mod web;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use content::Content;
pub use limits::Limits;
pub use log::Request;
pub use model::{Asset, Comment, Issue, Label, Milestone, Model, Release, Repository, Role, User};
pub use token::{APP_KEY, APP_PUBLIC_KEY, App, Installation, Level, Permissions, Token};
pub use trouble::{Fault, Host, Trouble};

use server::{Seat, Shared, handle};
use wire::{Door, Link, Order, listen};

/// How long a listener has to open or close.
const DOOR_LIMIT: Duration = Duration::from_secs(10);

/// What can go wrong with the fake itself.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// An address.
    #[error("the fake GitHub cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Its threads.
    #[error("the fake GitHub cannot be started: {0}")]
    Start(#[source] io::Error),
    /// What was waited for did not come.
    #[error("the fake GitHub did not see {what} within {} s; the requests so far:\n{log}", limit.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// The log.
        log: String,
    },
}

/// A GitHub that runs until it is dropped.
///
/// Dropping it panics if there are [violations](Self::violations), unless the test panics already.
pub struct FakeGithub {
    shared: Arc<Shared>,
    address: SocketAddr,
    doors: Vec<(Host, UnboundedSender<Order>)>,
    runtime: Option<Runtime>,
}

impl FakeGithub {
    /// Starts one on free ports.
    pub fn start() -> Result<Self, GithubError> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts one whose API is at that address; its other hosts have free ports on loopback.
    pub fn start_at(address: SocketAddr) -> Result<Self, GithubError> {
        let open = |address| {
            let listener = listen(address).map_err(|error| GithubError::Listen(address, error))?;
            let bound = listener.local_addr().map_err(GithubError::Start)?;
            Ok::<_, GithubError>((listener, bound))
        };
        let (api, address) = open(address)?;
        // Other addresses, so that they are other hosts for whoever looks at names only.
        let (objects, objects_at) = open(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        let (elsewhere, elsewhere_at) = open(SocketAddr::from(([127, 0, 0, 3], 0)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fake-github")
            .enable_all()
            .build()
            .map_err(GithubError::Start)?;
        let shared = Shared::new(format!("http://{objects_at}"), format!("http://{elsewhere_at}"));
        let mut github =
            Self { shared: Arc::new(shared), address, doors: Vec::new(), runtime: Some(runtime) };
        let hosts = [
            (Host::Api, api, address),
            (Host::Objects, objects, objects_at),
            (Host::Elsewhere, elsewhere, elsewhere_at),
        ];
        for (host, listener, at) in hosts {
            let (sender, orders) = unbounded_channel();
            github.serve(host, listener, at, orders)?;
            github.doors.push((host, sender));
        }
        Ok(github)
    }

    fn serve(
        &self,
        host: Host,
        listener: std::net::TcpListener,
        at: SocketAddr,
        orders: UnboundedReceiver<Order>,
    ) -> Result<(), GithubError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _inside = runtime.enter();
        let door = Door::new(listener, orders).map_err(|error| GithubError::Listen(at, error))?;
        let seat = Seat { shared: Arc::clone(&self.shared), host, address: at.to_string() };
        let service = Router::new().fallback(handle).with_state(seat);
        let service = service.into_make_service_with_connect_info::<Link>();
        let mut tasks = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn_on(
            async move {
                let _ = axum::serve(door, service).await;
            },
            runtime.handle(),
        );
        Ok(())
    }

    /// The address of the API, as `https://api.github.com` is.
    #[must_use]
    pub fn api(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of the API as GitHub Enterprise has it.
    #[must_use]
    pub fn api_enterprise(&self) -> String {
        format!("http://{}/api/v3", self.address)
    }

    /// The address of the host of the assets' bytes.
    #[must_use]
    pub fn objects(&self) -> String {
        self.shared.objects.clone()
    }

    /// The address of the host that nobody has any business with.
    #[must_use]
    pub fn elsewhere(&self) -> String {
        self.shared.elsewhere.clone()
    }

    /// Changes what GitHub knows.
    pub fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        self.shared.change(change)
    }

    /// Looks at what GitHub knows.
    pub fn read<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&self.shared.model())
    }

    /// From now on something goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.change(|model| model.trouble(trouble));
    }

    /// From now on the next request of the fault's host meets it.
    pub fn fault(&self, fault: Fault) {
        self.trouble(Trouble::new(fault));
    }

    /// Nothing goes wrong any more, and what was held goes on.
    pub fn calm(&self) {
        self.change(|model| model.troubles.clear());
        self.let_go();
    }

    /// Lets those requests and answers go on that are held at this moment.
    pub fn let_go(&self) {
        self.shared.gate.send_modify(|count| *count += 1);
    }

    /// The issues of a repository (`owner/name`), closed ones too, oldest first.
    #[must_use]
    pub fn issues(&self, full_name: &str) -> Vec<Issue> {
        self.read(|model| model.issues(full_name).to_vec())
    }

    /// The log of requests, in the order in which they arrived.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.read(|model| model.requests.clone())
    }

    /// The log of requests for people.
    #[must_use]
    pub fn log(&self) -> String {
        self.read(|model| {
            model.requests.iter().fold(String::new(), |log, request| log + &request.line() + "\n")
        })
    }

    /// What was not as GitHub describes it, so far.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.read(|model| model.violations.clone())
    }

    /// The same, and forgets them: for tests that provoke them.
    #[must_use]
    pub fn take_violations(&self) -> Vec<String> {
        self.change(|model| std::mem::take(&mut model.violations))
    }

    /// Waits until something is so, and gives what was looked for. It blocks its thread; see [`Self::reached`].
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Model) -> Option<T>,
    ) -> Result<T, GithubError> {
        let mut found = None;
        let (guard, _) = self
            .shared
            .changed
            .wait_timeout_while(self.shared.model(), limit, |model| {
                found = look(model);
                found.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        found.ok_or_else(|| self.late(what, limit))
    }

    /// [`Self::wait_for`] for tasks.
    pub async fn reached<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Model) -> Option<T>,
    ) -> Result<T, GithubError> {
        let watching = async {
            loop {
                let mut noticed = std::pin::pin!(self.shared.noticed.notified());
                // From here on nothing is missed.
                noticed.as_mut().enable();
                if let Some(found) = self.read(&mut look) {
                    return found;
                }
                noticed.await;
            }
        };
        tokio::time::timeout(limit, watching).await.map_err(|_| self.late(what, limit))
    }

    fn late(&self, what: &str, limit: Duration) -> GithubError {
        GithubError::Late { what: what.to_owned(), limit, log: self.log() }
    }

    /// Connections to a host are refused from now on, and those that there are break.
    pub fn down(&self, host: Host) -> Result<(), GithubError> {
        self.order(host, false)
    }

    /// The host is there again, at the same address.
    pub fn up(&self, host: Host) -> Result<(), GithubError> {
        self.order(host, true)
    }

    fn order(&self, host: Host, is_up: bool) -> Result<(), GithubError> {
        let (done, wait) = mpsc::channel();
        for (_, door) in self.doors.iter().filter(|(known, _)| *known == host) {
            let _ = door.send((is_up, done.clone()));
        }
        drop(done);
        let late = |_| GithubError::Start(io::ErrorKind::TimedOut.into());
        wait.recv_timeout(DOOR_LIMIT).map_err(late)?.map_err(GithubError::Start)
    }

    fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not by waiting: a test may be a task itself.
            runtime.shutdown_background();
        }
    }
}

impl Drop for FakeGithub {
    fn drop(&mut self) {
        self.stop();
        let violations = self.violations();
        let is_told = violations.is_empty() || std::thread::panicking();
        assert!(is_told, "not as GitHub describes its API:\n  {}", violations.join("\n  "));
    }
}
