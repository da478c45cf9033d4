//! Hosts, and how one is recognised.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;

use crate::group::HostKey;
use crate::id::HostId;
use crate::mac::Mac;
use crate::queue::Idle;
use crate::workload::Arch;

/// The name of a host, as it is written in a boot URL: `/dispatch/@NAME`. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// The longest name of a host, in characters: that of a DNS label.
const MAX_NAME: usize = 63;

/// A text that cannot be the name of a host.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` cannot be the name of a host: write 1 to {MAX_NAME} letters, digits or any of `- _ .`, the first of them a \
     letter or a digit"
)]
pub struct NotAHostName(String);

impl HostName {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for HostName {
    type Err = NotAHostName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_good = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        if is_good { Ok(Self(text.to_ascii_lowercase())) } else { Err(NotAHostName(text.to_owned())) }
    }
}

/// What one request shows of whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where the request came from.
    pub address: IpAddr,
    /// The MAC that the neighbour table has for this address, where it has one.
    pub mac: Option<Mac>,
    /// The name in the URL, where there is one.
    pub name: Option<HostName>,
}

/// What a host's own beacon tells of it. Evidence, not identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The SMBIOS UUID.
    pub uuid: Option<String>,
    /// The MAC addresses of its network cards.
    pub macs: Vec<Mac>,
}

/// A bare-metal server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its identity.
    pub id: HostId,
    /// Its name, if it asked by one.
    pub name: Option<HostName>,
    /// The MACs that the neighbour table had for it, the first one first; none where it was only ever seen across a
    /// router or on loopback.
    pub macs: Vec<Mac>,
    /// The MACs that its own beacon told: it is known by these as well, if no other host tells the same.
    pub told_macs: Vec<Mac>,
    /// Where it was last seen.
    pub address: IpAddr,
    /// The SMBIOS UUID, as its own beacon told it. Evidence, not identity.
    pub uuid: Option<String>,
    /// What its processor is, as far as images that ran on it tell.
    pub arch: Option<Arch>,
    /// Why its address is no identity, if it was seen to stand for several hosts.
    pub shared: Option<String>,
    /// Its fencing epoch: how many leases it has had.
    pub epoch: u64,
    /// What it was told when there was no work for it, until it gets work.
    pub idle: Option<Idle>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// The id that a person gave it. What the configuration lists has its id from there.
    pub key: Option<HostKey>,
    /// What people call it.
    pub title: Option<String>,
    /// The labels that a person gave it.
    pub labels: Vec<String>,
    /// A person let it work.
    pub is_accepted: bool,
    /// It gets no work until a person says so.
    pub is_paused: bool,
    /// Grows with each change that a person makes.
    pub version: u64,
}

impl Host {
    /// A host of which nothing is known but where it was seen.
    #[must_use]
    pub fn new(id: HostId, address: IpAddr, now: Timestamp) -> Self {
        Self {
            id,
            name: None,
            macs: Vec::new(),
            told_macs: Vec::new(),
            address,
            uuid: None,
            arch: None,
            shared: None,
            epoch: 0,
            idle: None,
            first_seen: now,
            last_seen: now,
            key: None,
            title: None,
            labels: Vec::new(),
            is_accepted: false,
            is_paused: false,
            version: 1,
        }
    }

    /// How people see it in a line of text: by its name where it has one, else by its MAC, and where it was last
    /// seen.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.name, self.macs.first()) {
            (Some(name), _) => format!("{name} ({})", self.address),
            (None, Some(mac)) => format!("{mac} ({})", self.address),
            (None, None) => self.address.to_string(),
        }
    }

    /// Whether it was seen with one of these cards.
    #[must_use]
    pub fn has_one_of(&self, macs: &[Mac]) -> bool {
        self.macs.iter().any(|mac| macs.contains(mac))
    }

    /// Whether the MAC of the neighbour table is one of the host's own cards, so that there is no router in between.
    fn is_on_cable(&self, who: &Sighting) -> bool {
        who.mac.is_some_and(|mac| self.told_macs.contains(&mac))
    }

    /// Whether what a beacon tells, seen as `who`, shows that this is another host than the one known from an earlier
    /// run.
    ///
    /// The same UUID or one of the same cards is the same host: drivers differ from image to image. A MAC that was told
    /// and is in the neighbour table for the same request leaves no doubt: whatever else has changed since, that card
    /// is in this host.
    #[must_use]
    pub fn is_contradicted(&self, who: &Sighting, told: &Told) -> bool {
        if who.mac.is_some_and(|mac| told.macs.contains(&mac)) {
            return false;
        }
        match (self.is_same_board(told), self.has_other_cards(told)) {
            (Some(true), _) | (_, Some(false)) | (None, None) => false,
            (_, Some(true)) | (Some(false), None) => true,
        }
    }

    /// Whether what a beacon tells shows that it runs on another host than the one that called before in the same
    /// run. While a run goes on, nobody changes a board, and no host loses all of its cards for others.
    #[must_use]
    pub fn is_contradicted_within_a_run(&self, told: &Told) -> bool {
        self.is_same_board(told) == Some(false) || self.has_other_cards(told) == Some(true)
    }

    /// Whether a beacon tells the UUID that is known; none where either tells of none.
    pub(crate) fn is_same_board(&self, told: &Told) -> Option<bool> {
        let (known, told) = self.uuid.as_ref().zip(told.uuid.as_ref())?;
        // Tools do not agree on the order of the first bytes (SMBIOS 3.7 §7.2.1).
        Some(known == told || swapped(known).as_ref() == Some(told))
    }

    /// Whether none of the cards that a beacon tells is known here; none where either tells of no card.
    fn has_other_cards(&self, told: &Told) -> Option<bool> {
        let can_tell = !self.told_macs.is_empty() && !told.macs.is_empty();
        can_tell.then(|| !told.macs.iter().any(|mac| self.told_macs.contains(mac)))
    }
}

/// A UUID with the bytes of its first three fields in the other order.
fn swapped(uuid: &str) -> Option<String> {
    let swap = |field: &str| -> String {
        let bytes = field.as_bytes().rchunks(2).map(String::from_utf8_lossy);
        bytes.collect()
    };
    let mut fields = uuid.split('-');
    let [a, b, c] = [fields.next()?, fields.next()?, fields.next()?].map(swap);
    let rest: Vec<&str> = fields.collect();
    Some(format!("{a}-{b}-{c}-{}", rest.join("-")))
}

/// How a session's `--host` names a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// By the name in its URL.
    Name(HostName),
    /// By one of its MACs.
    Mac(Mac),
    /// By where it was last seen.
    Address(IpAddr),
}

impl HostPattern {
    /// Whether it means this host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match self {
            Self::Name(name) => host.name.as_ref() == Some(name),
            Self::Mac(mac) => host.macs.contains(mac) || host.told_macs.contains(mac),
            Self::Address(address) => host.address == *address,
        }
    }
}

/// A text that names no host for `--host`.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither a MAC such as 52:54:00:12:34:56, nor an address such as 192.0.2.1, nor the name of a host, as it \
     stands in a boot URL after the @: write @NAME for a name that looks like one of the others"
)]
pub struct NotAHostPattern(String);

impl FromStr for HostPattern {
    type Err = NotAHostPattern;

    /// A text that is almost a MAC or an address would be a name that nobody has, and the session would be for nobody.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(mac) = text.parse() {
            return Ok(Self::Mac(mac));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_prefix('@').or(Some(text).filter(|text| !is_like_an_address(text)));
        let name = name.and_then(|name| name.parse().ok());
        name.map(Self::Name).ok_or_else(|| NotAHostPattern(text.to_owned()))
    }
}

/// Whether a text was probably meant as an address or as a MAC, in any of their usual forms.
fn is_like_an_address(text: &str) -> bool {
    let is_hex = |part: &&str| part.bytes().all(|digit| digit.is_ascii_hexdigit());
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_dotted = text.contains('.') && text.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    let parts: Vec<&str> = text.split(['-', ':', '.']).collect();
    let is_pairs = parts.len() >= 5
        && parts.iter().all(|part| (1..=2).contains(&part.len()))
        && parts.iter().filter(|part| !is_hex(part)).count() <= 1;
    let is_fours = parts.len() == 3 && parts.iter().all(|part| part.len() == 4 && is_hex(part));
    let is_bare = text.len() == 12 && is_hex(&text);
    is_dotted || has_digit && (is_pairs || is_fours || is_bare)
}

/// Whose a sighting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised<'a> {
    /// This host's.
    Host(&'a Host),
    /// Nobody's that is known.
    Stranger,
    /// It may be any of several hosts'.
    Several,
}

impl<'a> Recognised<'a> {
    /// The host, if it is known for certain.
    #[must_use]
    pub fn host(self) -> Option<&'a Host> {
        match self {
            Self::Host(host) => Some(host),
            Self::Stranger | Self::Several => None,
        }
    }
}

/// Finds the host that a sighting belongs to.
///
/// The name in the URL decides where there is one, then the MAC, then the address: of the hosts last seen there,
/// the one seen latest. A host that is known by less is adopted by what more turns up: one known by its address by
/// the MAC that turns up there, one without a name by the name; one whose own card asks by another name has been renamed.
/// What stands for several hosts (the MAC of a router that
/// two named hosts are behind, an address that was seen to be shared) stands for none.
#[must_use]
pub fn recognise<'a>(hosts: &'a [Host], sighting: &Sighting) -> Recognised<'a> {
    let unnamed = recognise_unnamed(hosts, sighting);
    let Some(name) = &sighting.name else { return unnamed };
    if let Some(host) = hosts.iter().find(|host| host.name.as_ref() == Some(name)) {
        return Recognised::Host(host);
    }
    match unnamed {
        Recognised::Host(host) if host.name.is_none() || host.is_on_cable(sighting) => unnamed,
        _ => Recognised::Stranger,
    }
}

fn recognise_unnamed<'a>(hosts: &'a [Host], sighting: &Sighting) -> Recognised<'a> {
    let one_of = |candidates: &[&'a Host]| match candidates {
        [] => None,
        [host] if host.shared.is_none() => Some(Recognised::Host(host)),
        _ => Some(Recognised::Several),
    };
    let here = |host: &&Host| host.address == sighting.address;
    let Some(mac) = sighting.mac else {
        let here: Vec<&Host> = hosts.iter().filter(here).collect();
        let named: Vec<&Host> = here.iter().copied().filter(|host| host.name.is_some()).collect();
        if named.len() > 1 {
            return Recognised::Several;
        }
        let latest = here.into_iter().max_by_key(|host| host.last_seen);
        return one_of(latest.as_slice()).unwrap_or(Recognised::Stranger);
    };
    let seen: Vec<&Host> = hosts.iter().filter(|host| host.macs.contains(&mac)).collect();
    if let Some(recognised) = one_of(&seen) {
        return recognised;
    }
    let told: Vec<&Host> =
        hosts.iter().filter(|host| host.shared.is_none() && host.told_macs.contains(&mac)).collect();
    if let [host] = told[..] {
        return Recognised::Host(host);
    }
    // One that has told of itself has told of this card, or is another.
    let is_unknown = |host: &&Host| host.macs.is_empty() && host.told_macs.is_empty() && host.uuid.is_none();
    let by_address = hosts.iter().filter(here).filter(is_unknown);
    let latest = by_address.max_by_key(|host| host.last_seen);
    one_of(latest.as_slice()).unwrap_or(Recognised::Stranger)
}

#[cfg(test)]
mod tests;
