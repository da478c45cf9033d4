//! Hosts, and how one is recognised.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::HostId;
use crate::queue::Idle;

/// A MAC address (IEEE 802 EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it can stand for one network card: neither all zeros (loopback) nor multicast.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0 != [0; 6] && self.0[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a MAC address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a MAC address: write six pairs of hexadecimal digits, such as 52:54:00:12:34:56")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut mac = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut mac {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| NotAMac(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(NotAMac(text.to_owned()));
        }
        Ok(Self(mac))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What one request shows of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where the request came from.
    pub address: IpAddr,
    /// The MAC that the neighbour table has for this address, where it has one.
    pub mac: Option<Mac>,
}

/// A bare-metal server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its identity.
    pub id: HostId,
    /// The MAC address it is known by; none where it was only ever seen across a router or on loopback.
    pub mac: Option<Mac>,
    /// Where it was last seen.
    pub address: IpAddr,
    /// The SMBIOS UUID, as its own `beacon` told it. Evidence, not identity.
    pub uuid: Option<String>,
    /// Its fencing epoch: how many leases it has had.
    pub epoch: u64,
    /// What it was told when there was no work for it, until it gets work.
    pub idle: Option<Idle>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
}

impl Host {
    /// How people see it in a line of text: by its MAC where that is known, else by its address.
    #[must_use]
    pub fn label(&self) -> String {
        match self.mac {
            Some(mac) => format!("{mac} ({})", self.address),
            None => self.address.to_string(),
        }
    }
}

/// Finds the host that a sighting belongs to. The MAC decides where it is known. Else the address: of
/// the hosts last seen there, the one seen latest. A host known only by address is adopted by the MAC that
/// turns up there.
#[must_use]
pub fn recognise(hosts: &[Host], sighting: Sighting) -> Option<&Host> {
    let at_address = || hosts.iter().filter(|host| host.address == sighting.address);
    match sighting.mac {
        Some(mac) => hosts
            .iter()
            .find(|host| host.mac == Some(mac))
            .or_else(|| at_address().filter(|host| host.mac.is_none()).max_by_key(|host| host.last_seen)),
        None => at_address().max_by_key(|host| host.last_seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u8, mac: Option<&str>, address: &str, seen: i64) -> Host {
        let at = Timestamp::from_second(seen).expect("a time");
        Host {
            id: HostId::new(at, [number; 10]),
            mac: mac.map(|mac| mac.parse().expect("a MAC")),
            address: address.parse().expect("an address"),
            uuid: None,
            epoch: 0,
            idle: None,
            first_seen: at,
            last_seen: at,
        }
    }

    fn sighting(address: &str, mac: Option<&str>) -> Sighting {
        Sighting {
            address: address.parse().expect("an address"),
            mac: mac.map(|mac| mac.parse().expect("a MAC")),
        }
    }

    const MAC_A: &str = "52:54:00:00:00:0a";
    const MAC_B: &str = "52:54:00:00:00:0b";

    #[test]
    fn the_same_mac_with_a_new_address_is_the_same_host() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1)];
        assert_eq!(recognise(&hosts, sighting("192.0.2.9", Some(MAC_A))), Some(&hosts[0]));
    }

    #[test]
    fn another_mac_at_a_known_address_is_another_host() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1)];
        assert_eq!(recognise(&hosts, sighting("192.0.2.1", Some(MAC_B))), None);
    }

    #[test]
    fn without_a_mac_the_address_decides_and_the_latest_wins() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1), host(2, Some(MAC_B), "192.0.2.1", 2)];
        assert_eq!(recognise(&hosts, sighting("192.0.2.1", None)), Some(&hosts[1]));
        assert_eq!(recognise(&hosts, sighting("192.0.2.3", None)), None);
    }

    #[test]
    fn a_host_known_by_address_keeps_its_identity_when_its_mac_turns_up() {
        let hosts = [host(1, None, "192.0.2.1", 1)];
        assert_eq!(recognise(&hosts, sighting("192.0.2.1", Some(MAC_A))), Some(&hosts[0]));
    }

    #[test]
    fn macs_are_read_in_both_usual_forms_and_nothing_else() {
        assert_eq!("52-54-00-AA-bb-01".parse::<Mac>().expect("a MAC").to_string(), "52:54:00:aa:bb:01");
        for text in ["", "52:54:00:00:00", "52:54:00:00:00:00:01", "5:54:0:0:0:0", "52:54:00:00:00:+1"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_zeros_and_multicast_are_no_identity() {
        assert!(!Mac([0; 6]).is_unicast());
        assert!(!Mac([1, 0, 0x5e, 0, 0, 1]).is_unicast());
        assert!(Mac([0x52, 0x54, 0, 0, 0, 1]).is_unicast());
    }
}
