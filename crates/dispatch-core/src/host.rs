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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(number: u8, mac: Option<&str>, address: &str, seen: i64) -> Host {
        let at = Timestamp::from_second(seen).expect("a time");
        Host {
            macs: mac.iter().map(|mac| mac.parse().expect("a MAC")).collect(),
            ..Host::new(HostId::new(at, [number; 10]), address.parse().expect("an address"), at)
        }
    }

    fn named(number: u8, name: &str, mac: Option<&str>, address: &str) -> Host {
        Host { name: Some(name.parse().expect("a name")), ..host(number, mac, address, 1) }
    }

    fn sighting(address: &str, mac: Option<&str>) -> Sighting {
        Sighting {
            address: address.parse().expect("an address"),
            mac: mac.map(|mac| mac.parse().expect("a MAC")),
            name: None,
        }
    }

    fn by_name(name: &str, address: &str, mac: Option<&str>) -> Sighting {
        Sighting { name: Some(name.parse().expect("a name")), ..sighting(address, mac) }
    }

    fn told(uuid: &str, macs: &[&str]) -> Told {
        let macs = macs.iter().map(|mac| mac.parse().expect("a MAC")).collect();
        Told { uuid: Some(uuid.to_owned()), macs }
    }

    const MAC_A: &str = "52:54:00:00:00:0a";
    const MAC_B: &str = "52:54:00:00:00:0b";
    const ROUTER: &str = "52:54:00:00:00:ff";

    #[test]
    fn what_was_meant_as_a_mac_or_an_address_is_never_taken_for_a_name() {
        let mac = HostPattern::Mac(MAC_A.parse().expect("a MAC"));
        for text in ["52:54:00:00:00:0a", "52-54-00-00-00-0A"] {
            assert_eq!(text.parse::<HostPattern>().expect("a host"), mac);
        }
        for text in ["192.0.2.1", "::ffff:192.0.2.1"] {
            let address = HostPattern::Address([192, 0, 2, 1].into());
            assert_eq!(text.parse::<HostPattern>().expect("a host"), address);
        }
        for text in ["r1", "@r1", "rack-1.row-2", "a-b-c-d-e", "0", "c0ffee"] {
            let name = text.trim_start_matches('@').parse().expect("a name");
            assert_eq!(text.parse::<HostPattern>().expect("a host"), HostPattern::Name(name));
        }
        for text in [
            "10.0.0.256",
            "10.0.0",
            "52-54-00-12-34-5g",
            "52-54-00-12-34",
            "52:54:00:12:34:5g",
            "525400123456",
            "5254.0012.34ab",
            "10.0.0.0/24",
            "",
            "@",
        ] {
            let error = text.parse::<HostPattern>().expect_err(text).to_string();
            assert!(["MAC", "address", "name"].iter().all(|word| error.contains(word)), "{error}");
        }
        let named = "@10.0.0.256".parse::<HostPattern>().expect("a name after all");
        assert!(matches!(named, HostPattern::Name(_)));
    }

    #[test]
    fn the_same_mac_with_a_new_address_is_the_same_host() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1)];
        for address in ["192.0.2.9", "2001:db8::9"] {
            let who = sighting(address, Some(MAC_A));
            assert_eq!(recognise(&hosts, &who), Recognised::Host(&hosts[0]));
        }
    }

    #[test]
    fn another_mac_at_a_known_address_is_another_host() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1)];
        assert_eq!(recognise(&hosts, &sighting("192.0.2.1", Some(MAC_B))), Recognised::Stranger);
    }

    #[test]
    fn without_a_mac_the_address_decides_and_the_latest_wins() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1), host(2, Some(MAC_B), "192.0.2.1", 2)];
        assert_eq!(recognise(&hosts, &sighting("192.0.2.1", None)), Recognised::Host(&hosts[1]));
        assert_eq!(recognise(&hosts, &sighting("192.0.2.3", None)), Recognised::Stranger);
    }

    #[test]
    fn a_host_known_by_address_keeps_its_identity_when_its_mac_turns_up() {
        let hosts = [host(1, None, "192.0.2.1", 1)];
        assert_eq!(recognise(&hosts, &sighting("192.0.2.1", Some(MAC_A))), Recognised::Host(&hosts[0]));
    }

    #[test]
    fn a_host_is_known_by_every_mac_that_it_has() {
        let mut hosts = [host(1, Some(MAC_A), "192.0.2.1", 1)];
        hosts[0].told_macs = vec![MAC_A.parse().expect("a MAC"), MAC_B.parse().expect("a MAC")];
        assert_eq!(recognise(&hosts, &sighting("192.0.2.7", Some(MAC_B))), Recognised::Host(&hosts[0]));
    }

    #[test]
    fn a_mac_that_two_hosts_tell_of_stands_for_neither() {
        let mut hosts = [host(1, Some(MAC_A), "192.0.2.1", 1), host(2, Some(MAC_B), "192.0.2.2", 1)];
        for host in &mut hosts {
            host.told_macs = vec![ROUTER.parse().expect("a MAC")];
        }
        assert_eq!(recognise(&hosts, &sighting("192.0.2.7", Some(ROUTER))), Recognised::Stranger);
    }

    #[test]
    fn the_name_in_the_url_comes_before_the_mac_and_the_mac_before_the_address() {
        let hosts = [
            named(1, "r1", Some(MAC_A), "192.0.2.1"),
            host(2, Some(MAC_B), "192.0.2.2", 1),
            host(3, None, "192.0.2.3", 1),
        ];
        let whose = |who: Sighting| recognise(&hosts, &who);
        assert_eq!(whose(by_name("R1", "192.0.2.3", Some(MAC_B))), Recognised::Host(&hosts[0]));
        assert_eq!(whose(sighting("192.0.2.3", Some(MAC_B))), Recognised::Host(&hosts[1]));
        assert_eq!(whose(sighting("192.0.2.3", None)), Recognised::Host(&hosts[2]));
    }

    #[test]
    fn a_new_name_adopts_a_host_that_has_none_and_never_one_that_has() {
        let hosts = [host(1, Some(MAC_A), "192.0.2.1", 1), named(2, "r2", Some(MAC_B), "192.0.2.2")];
        assert_eq!(recognise(&hosts, &by_name("r1", "192.0.2.1", Some(MAC_A))), Recognised::Host(&hosts[0]));
        assert_eq!(recognise(&hosts, &by_name("r1", "192.0.2.2", Some(MAC_B))), Recognised::Stranger);
    }

    #[test]
    fn a_host_whose_own_card_asks_by_another_name_is_renamed() {
        let mut hosts = [named(1, "r1", Some(MAC_A), "192.0.2.1")];
        hosts[0].told_macs = vec![MAC_A.parse().expect("a MAC")];
        let who = by_name("r2", "192.0.2.1", Some(MAC_A));
        assert_eq!(recognise(&hosts, &who), Recognised::Host(&hosts[0]));
    }

    #[test]
    fn an_address_or_a_router_that_two_named_hosts_are_behind_is_no_identity() {
        for mac in [None, Some(ROUTER)] {
            let hosts = [named(1, "r1", mac, "192.0.2.1"), named(2, "r2", mac, "192.0.2.1")];
            assert_eq!(recognise(&hosts, &sighting("192.0.2.1", mac)), Recognised::Several);
            assert_eq!(recognise(&hosts, &by_name("r2", "192.0.2.1", mac)), Recognised::Host(&hosts[1]));
        }
    }

    #[test]
    fn a_shared_address_is_no_identity_and_a_name_helps() {
        for mac in [None, Some(ROUTER)] {
            let mut hosts = [host(1, mac, "192.0.2.1", 1)];
            hosts[0].shared = Some("two hosts".into());
            assert_eq!(recognise(&hosts, &sighting("192.0.2.1", mac)), Recognised::Several);
            assert_eq!(recognise(&hosts, &by_name("r1", "192.0.2.1", mac)), Recognised::Stranger);
        }
    }

    #[test]
    fn a_beacon_that_tells_of_another_machine_contradicts_unless_the_card_is_the_same() {
        let mut known = host(1, Some(ROUTER), "192.0.2.1", 1);
        let who = sighting("192.0.2.1", Some(ROUTER));
        assert!(!known.is_contradicted(&who, &told("b", &[MAC_B])), "nothing was known");
        known.uuid = Some("a".into());
        known.told_macs = vec![MAC_A.parse().expect("a MAC")];
        assert!(known.is_contradicted(&who, &told("b", &[MAC_B])));
        assert!(!known.is_contradicted(&who, &told("a", &[MAC_B])), "another image has other drivers");
        assert!(!known.is_contradicted(&who, &told("b", &[MAC_B, MAC_A])), "a board was changed");
        assert!(!known.is_contradicted(&who, &told("b", &[MAC_B, ROUTER])), "it is on this very cable");
        assert!(known.is_contradicted(&who, &told("b", &[])));
        assert!(!known.is_contradicted(&who, &told("a", &[])));
        assert!(!known.is_contradicted(&who, &Told::default()), "an old beacon tells nothing");
    }

    #[test]
    fn within_a_run_another_uuid_or_none_of_the_cards_is_another_machine() {
        let mut known = host(1, Some(ROUTER), "192.0.2.1", 1);
        known.uuid = Some("a".into());
        known.told_macs = vec![MAC_A.parse().expect("a MAC")];
        assert!(
            known.is_contradicted_within_a_run(&told("b", &[MAC_A])),
            "every board of this model has that card"
        );
        assert!(known.is_contradicted_within_a_run(&told("a", &[MAC_B])));
        assert!(known.is_contradicted_within_a_run(&told("b", &[MAC_B, ROUTER])));
        assert!(!known.is_contradicted_within_a_run(&told("a", &[MAC_B, MAC_A])));
        known.uuid = Some("33221100-5544-7766-8899-aabbccddeeff".into());
        let other_order = told("00112233-4455-6677-8899-aabbccddeeff", &[MAC_A]);
        assert!(!known.is_contradicted_within_a_run(&other_order), "another tool has told it");
        assert!(!known.is_contradicted_within_a_run(&Told::default()), "an old beacon tells nothing");
    }

    #[test]
    fn a_session_names_a_host_by_name_mac_or_address() {
        let mut host = named(1, "r1", Some(MAC_A), "192.0.2.1");
        host.told_macs = vec![MAC_B.parse().expect("a MAC")];
        for text in ["r1", "@R1", MAC_A, "52-54-00-00-00-0B", "192.0.2.1", "::ffff:192.0.2.1"] {
            assert!(text.parse::<HostPattern>().expect("a pattern").matches(&host), "{text}");
        }
        for text in ["r2", ROUTER, "192.0.2.2"] {
            assert!(!text.parse::<HostPattern>().expect("a pattern").matches(&host), "{text}");
        }
        assert!("rack 1".parse::<HostPattern>().is_err());
    }

    #[test]
    fn names_are_short_plain_and_without_case() {
        assert_eq!("Rack-1.a_b".parse::<HostName>().expect("a name").as_str(), "rack-1.a_b");
        for text in ["", "-a", ".a", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    fn any_host() -> impl Strategy<Value = Host> {
        let mac = || 0_u8..3;
        (
            0_u8..4,
            proptest::option::of(0_u8..3),
            proptest::option::of(mac()),
            any::<bool>(),
            0_u8..3,
            0_i64..5,
        )
            .prop_map(|(number, name, mac, shared, address, seen)| {
                let mac = mac.map(|mac| Mac([2, 0, 0, 0, 0, mac]).to_string());
                let mut host = host(number, mac.as_deref(), &format!("192.0.2.{address}"), seen);
                host.name = name.map(|name| format!("h{name}").parse().expect("a name"));
                host.shared = shared.then(String::new);
                host
            })
    }

    proptest! {
        /// Whatever is known: a name never leads to a host of another name, and without a name nothing that is
        /// shared is ever taken for a host.
        #[test]
        fn nobody_is_taken_for_somebody_else(
            hosts in proptest::collection::vec(any_host(), 0..6),
            name in proptest::option::of(0_u8..4),
            mac in proptest::option::of(0_u8..4),
            address in 0_u8..4,
        ) {
            let name: Option<HostName> = name.map(|name| format!("h{name}").parse().expect("a name"));
            let mac = mac.map(|mac| Mac([2, 0, 0, 0, 0, mac]));
            let who = Sighting { address: [192, 0, 2, address].into(), mac, name: name.clone() };
            if let Recognised::Host(host) = recognise(&hosts, &who) {
                if name.is_some() {
                    prop_assert!(host.name == name || host.name.is_none());
                } else {
                    prop_assert!(host.shared.is_none());
                }
                if let (Some(mac), true) = (mac, host.name != name || name.is_none()) {
                    prop_assert!(host.macs.is_empty() || host.macs.contains(&mac));
                }
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_none(text in ".*") {
            let _ = text.parse::<HostPattern>();
        }
    }
}
