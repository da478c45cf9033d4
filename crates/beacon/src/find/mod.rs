//! Where servers may be found. Each place is a [`Finder`]; [`crate::call`] asks them in order, and a later
//! one is looked at only when no server of an earlier one took the call. The network itself comes last
//! ([`on_the_network`]): whoever is on it may announce a server, and looking takes seconds.

mod boot_vars;
pub mod cmdline;
mod dns_sd;
mod links;
mod mdns;
mod service;

use crate::clock::Clock;
use crate::resolve::Names;
use crate::root::Root;
use crate::state::Remembered;
use crate::url::ServerUrl;

pub use boot_vars::BootVars;
pub use cmdline::KernelCommandLine;

/// A server, and where it was found, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub url: ServerUrl,
    /// Where the address comes from, such as `kernel command line`.
    pub from: String,
}

/// What a finder came back with.
#[derive(Debug, Default)]
pub struct Finding {
    /// Servers, the likeliest first.
    pub found: Vec<Found>,
    /// What was wrong with others, each a line for people.
    pub warnings: Vec<String>,
    /// Where nothing was found: why, in a few words.
    pub nothing: Option<String>,
}

impl Finding {
    fn nothing(why: impl Into<String>) -> Self {
        Self { nothing: Some(why.into()), ..Self::default() }
    }
}

/// A place where servers may be found.
pub trait Finder {
    /// Looks once. It is called again in each round of retries, because a file system may be mounted, or the
    /// network come up, in between.
    fn find(&self) -> Finding;

    /// Whether looking again is pointless.
    fn is_fixed(&self) -> bool {
        false
    }
}

/// A server that is known beforehand: from the command line, or remembered from `beacon boot`.
#[derive(Clone, Debug)]
pub struct Known(pub Found);

impl Finder for Known {
    fn find(&self) -> Finding {
        Finding { found: vec![self.0.clone()], ..Finding::default() }
    }

    fn is_fixed(&self) -> bool {
        true
    }
}

/// The finders that ask the network: first everybody on the link, then the name servers. They look at the links,
/// name servers and search domains of `names.root`.
#[must_use]
pub fn on_the_network<'a>(names: &'a Names, clock: &'a dyn Clock) -> Vec<Box<dyn Finder + 'a>> {
    vec![Box::new(mdns::Mdns { root: names.root.clone(), clock }), Box::new(dns_sd::DnsSd { names, clock })]
}

/// The finders of a call, in the order in which they are asked. A server that the user named is the only
/// one; otherwise the one that answered `boot` comes first, and `network` last.
#[must_use]
pub fn finders<'a>(
    root: &Root,
    given: Option<&ServerUrl>,
    remembered: Option<&Remembered>,
    network: Vec<Box<dyn Finder + 'a>>,
) -> Vec<Box<dyn Finder + 'a>> {
    let known =
        |url: &ServerUrl, from: &str| Box::new(Known(Found { url: url.clone(), from: from.to_owned() }));
    if let Some(url) = given {
        return vec![known(url, "--url or DISPATCH_URL")];
    }
    let mut finders: Vec<Box<dyn Finder + 'a>> = Vec::new();
    if let Some(remembered) = remembered {
        finders.push(known(&remembered.url, "answered `beacon boot`"));
    }
    finders.push(Box::new(KernelCommandLine { root: root.clone() }));
    finders.push(Box::new(BootVars { root: root.clone() }));
    finders.extend(network);
    finders
}
