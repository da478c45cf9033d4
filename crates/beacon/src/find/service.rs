//! What DNS records say of the servers of a service (RFC 6763), wherever the records come from: [`super::mdns`]
//! and [`super::dns_sd`] gather them here.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::dns::{Data, Kind, Name, Record, Service};
use crate::url::ServerUrl;

use super::Found;

/// The service that dispatch announces.
pub(super) const SERVICE: &str = "_dispatch._tcp";
/// The boot path where the TXT record names none.
const DEFAULT_PATH: &str = "/dispatch";

/// A network with more of these is up to something; each may cost a look-up or an attempt.
const MAX_INSTANCES: usize = 16;
const MAX_RECORDS: usize = 512;
const MAX_SERVERS: usize = 16;
/// As many addresses of a server as a warning names.
const MAX_SHOWN: usize = 3;

/// Records, and what they come to.
pub(super) struct Gathered {
    service: Name,
    records: Vec<Record>,
}

/// What has been gathered in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Servers {
    /// In the order in which they are to be asked.
    pub(super) found: Vec<Found>,
    /// What cannot be used, each a line for people.
    pub(super) warnings: Vec<String>,
}

impl Servers {
    /// Why there is none, if there is none: nobody answered, or nobody that can be used.
    pub(super) fn nothing(&self, nobody: impl FnOnce() -> String) -> Option<String> {
        let why = || if self.warnings.is_empty() { nobody() } else { self.warnings.join(", ") };
        self.found.is_empty().then(why)
    }
}

impl Gathered {
    /// The service in this domain; `None` if there can be no such domain.
    pub(super) fn new(domain: &str) -> Option<Self> {
        let service = Name::parse(&format!("{SERVICE}.{domain}"))?;
        Some(Self { service, records: Vec::new() })
    }

    /// Takes in what was answered.
    pub(super) fn take(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            if self.records.len() < MAX_RECORDS
                && record.data != Data::Other
                && !self.data_of(&record.name).any(|known| *known == record.data)
            {
                self.records.push(record);
            }
        }
    }

    /// What still has to be asked; nothing once every known instance has all that it needs.
    pub(super) fn missing(&self) -> Vec<(Name, Kind)> {
        let instances = self.instances();
        if instances.is_empty() {
            return vec![(self.service.clone(), Kind::Ptr)];
        }
        let mut missing = Vec::new();
        for instance in instances {
            match self.host_of(instance) {
                None => missing.push((instance.clone(), Kind::Srv)),
                Some(host) if !host.target.is_root() && self.addresses(&host.target).is_empty() => {
                    missing.push((host.target.clone(), Kind::A));
                    missing.push((host.target.clone(), Kind::Aaaa));
                }
                Some(_) => {}
            }
            if self.text_of(instance).is_none() {
                missing.push((instance.clone(), Kind::Txt));
            }
        }
        missing
    }

    /// Whether something was found and nothing about it is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// The servers, by priority, then weight (RFC 2782), then name, so that the order does not depend on who
    /// answered first. Loopback and link-local addresses are no use to anybody else, and left out.
    pub(super) fn servers(&self, from: &str) -> Servers {
        let mut instances: Vec<_> = self
            .instances()
            .into_iter()
            .filter_map(|instance| Some((self.host_of(instance)?, instance)))
            .filter(|(host, _)| !host.target.is_root())
            .collect();
        instances.sort_by_key(|(host, instance)| (host.priority, Reverse(host.weight), *instance));
        let mut servers = Servers::default();
        for (host, instance) in instances {
            let label = instance.split_first().map_or_else(String::new, |(label, _)| words(label));
            let from = format!("{from}, \"{label}\"");
            let path = match self.text_of(instance).map(path) {
                None => DEFAULT_PATH.to_owned(),
                Some(Ok(path)) => path,
                Some(Err(raw)) => {
                    let raw = words(&raw);
                    servers.warnings.push(format!("{from} is skipped: `{raw}` is no path of a URL"));
                    continue;
                }
            };
            let addresses = self.addresses(&host.target);
            if !addresses.is_empty() && !addresses.iter().any(is_of_use) {
                let addresses = addresses.iter().take(MAX_SHOWN).map(ToString::to_string).collect::<Vec<_>>();
                servers.warnings.push(format!(
                    "{from} is skipped: a link-local or loopback address is of no use here, and it has no other \
                     ({})",
                    addresses.join(", ")
                ));
            }
            for address in addresses.into_iter().filter(is_of_use) {
                match url(address, host.port, &path) {
                    Some(url) if servers.found.len() < MAX_SERVERS => {
                        servers.found.push(Found { url, from: from.clone() });
                    }
                    Some(_) => {}
                    None => {
                        let path = path.escape_debug();
                        servers.warnings.push(format!("{from} is skipped: `{path}` is no path of a URL"));
                        break;
                    }
                }
            }
        }
        servers
    }

    fn instances(&self) -> Vec<&Name> {
        let mut instances: Vec<_> = self
            .data_of(&self.service)
            .filter_map(|data| match data {
                Data::Pointer(instance) => Some(instance),
                _ => None,
            })
            .filter(|instance| instance.split_first().is_some_and(|(_, service)| service == self.service))
            .collect();
        instances.sort();
        instances.truncate(MAX_INSTANCES);
        instances
    }

    fn host_of(&self, instance: &Name) -> Option<&Service> {
        let hosts = self.data_of(instance).filter_map(|data| match data {
            Data::Service(host) => Some(host),
            _ => None,
        });
        hosts.min_by_key(|host| (host.priority, Reverse(host.weight), &host.target, host.port))
    }

    fn text_of(&self, instance: &Name) -> Option<&[Vec<u8>]> {
        self.data_of(instance).find_map(|data| match data {
            Data::Text(strings) => Some(strings.as_slice()),
            _ => None,
        })
    }

    /// IPv4 first: it is what nearly every lab boots with.
    fn addresses(&self, host: &Name) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self
            .data_of(host)
            .filter_map(|data| match data {
                Data::Address(address) => Some(*address),
                _ => None,
            })
            .collect();
        addresses.sort_unstable();
        addresses
    }

    fn data_of<'a>(&'a self, name: &Name) -> impl Iterator<Item = &'a Data> {
        self.records.iter().filter(move |record| record.name == *name).map(|record| &record.data)
    }
}

/// The value of `path` (RFC 6763 §6.4: the case of the key makes no difference, and the first one counts).
fn path(strings: &[Vec<u8>]) -> Result<String, Vec<u8>> {
    let value = strings.iter().find_map(|string| {
        let (key, value) = string.split_at_checked(b"path=".len())?;
        key.eq_ignore_ascii_case(b"path=").then_some(value)
    });
    match value.map(|value| (value, std::str::from_utf8(value))) {
        None | Some((_, Ok(""))) => Ok(DEFAULT_PATH.to_owned()),
        Some((_, Ok(path))) if path.starts_with('/') => Ok(path.to_owned()),
        Some((_, Ok(path))) => Ok(format!("/{path}")),
        Some((raw, Err(_))) => Err(raw.to_vec()),
    }
}

fn url(address: IpAddr, port: u16, path: &str) -> Option<ServerUrl> {
    let url = match address {
        IpAddr::V4(address) => format!("http://{address}:{port}{path}"),
        IpAddr::V6(address) => format!("http://[{address}]:{port}{path}"),
    };
    url.parse().ok()
}

fn is_of_use(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
