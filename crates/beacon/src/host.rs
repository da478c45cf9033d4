//! Who we are, as the server can know it: the SMBIOS UUID and the MAC addresses of this host. An address
//! on the network may change between boots; these do not.

use std::fs;

use dispatch_wire::boot::host_uuid;

use crate::root::Root;

const MAX_BYTES: u64 = 4096;
/// A header of a server's patience: no host under test has more network ports.
const MAX_MACS: usize = 64;

/// What identifies this host; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostIdentity {
    /// The SMBIOS UUID in lower case, with hyphens (SMBIOS 3.7 §7.2.1).
    pub uuid: Option<String>,
    /// The MAC addresses in lower case with colons, sorted.
    pub macs: Vec<String>,
}

impl HostIdentity {
    /// Reads it from `/sys`. What cannot be read is left out.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let uuid = line(root, "sys/class/dmi/id/product_uuid").and_then(|text| host_uuid(&text));
        Self { uuid, macs: macs(root) }
    }
}

fn macs(root: &Root) -> Vec<String> {
    let Ok(interfaces) = fs::read_dir(root.at("sys/class/net")) else { return Vec::new() };
    let mut cards: Vec<_> =
        interfaces.filter_map(|interface| card(root, interface.ok()?.file_name().to_str()?)).collect();
    // A BMC may be a network card on USB, with the same address in every machine of its model: one that nobody has
    // assigned to it (IEEE 802 §8.4). An adapter has one of its own, and may be how the machine is reached.
    if cards.iter().any(|card| !card.is_bmc) {
        cards.retain(|card| !card.is_bmc);
    }
    let mut macs: Vec<_> =
        cards.into_iter().flat_map(|card| [Some(card.mac), card.permanent]).flatten().collect();
    macs.sort();
    macs.dedup();
    macs.truncate(MAX_MACS);
    macs
}

/// A network card.
struct Card {
    mac: String,
    /// Its own address, while it has that of a bond.
    permanent: Option<String>,
    /// It is on USB, and its address is locally administered.
    is_bmc: bool,
}

/// The network card of an interface, if that is a real Ethernet card. Bridges, tunnels and containers' interfaces
/// have no device behind them, and virtual functions of a card come and go with what is configured.
fn card(root: &Root, interface: &str) -> Option<Card> {
    let directory = format!("sys/class/net/{interface}");
    let arphrd_ether = line(root, &format!("{directory}/type"))? == "1";
    let real = root.at(&format!("{directory}/device")).exists();
    let virtual_function = root.at(&format!("{directory}/device/physfn")).exists();
    if !arphrd_ether || !real || virtual_function {
        return None;
    }
    let subsystem = fs::read_link(root.at(&format!("{directory}/device/subsystem"))).ok();
    let is_usb = subsystem.is_some_and(|subsystem| subsystem.file_name().is_some_and(|name| name == "usb"));
    let mac = parse_mac(&line(root, &format!("{directory}/address"))?)?;
    let is_local = u8::from_str_radix(mac.get(..2)?, 16).ok()? & 2 != 0;
    let permanent =
        line(root, &format!("{directory}/bonding_slave/perm_hwaddr")).and_then(|text| parse_mac(&text));
    Some(Card { mac, permanent, is_bmc: is_usb && is_local })
}

/// A unicast address that is not all zeros, in lower case.
fn parse_mac(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let octets: Vec<u8> = text
        .split(':')
        .map(|octet| {
            u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2 && !octet.starts_with('+'))
        })
        .collect::<Option<_>>()?;
    let multicast = octets.first()? & 1 == 1;
    (octets.len() == 6 && !multicast && octets.iter().any(|&octet| octet != 0)).then_some(text)
}

fn line(root: &Root, path: &str) -> Option<String> {
    let bytes = root.read(path, MAX_BYTES).ok()?;
    Some(str::from_utf8(&bytes).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_ethernet_addresses_count() {
        assert_eq!(parse_mac("52:54:00:AB:00:01").as_deref(), Some("52:54:00:ab:00:01"));
        for none in [
            "",
            "00:00:00:00:00:00",
            "01:00:5e:00:00:01",
            "52:54:00:ab:00",
            "52:54:00:ab:00:01:02",
            "+2:54:00:ab:00:01",
        ] {
            assert_eq!(parse_mac(none), None, "{none}");
        }
    }

    #[test]
    fn only_real_cards_of_the_machine_count() {
        let tree = tempfile::tempdir().expect("a directory");
        let add = |name: &str, kind: &str, address: &str, extra: Option<&str>| {
            let directory = tree.path().join("sys/class/net").join(name);
            fs::create_dir_all(directory.join(extra.unwrap_or(""))).expect("a directory");
            fs::write(directory.join("type"), kind).expect("written");
            fs::write(directory.join("address"), address).expect("written");
        };
        add("eth1", "1\n", "52:54:00:00:00:02\n", Some("device"));
        add("eth0", "1\n", "52:54:00:00:00:01\n", Some("device"));
        add("slave", "1\n", "52:54:00:00:00:01\n", Some("device"));
        add("lo", "772\n", "00:00:00:00:00:00\n", None);
        add("docker0", "1\n", "02:42:00:00:00:01\n", None);
        add("vf0", "1\n", "52:54:00:00:00:03\n", Some("device/physfn"));
        add("ib0", "32\n", "52:54:00:00:00:04\n", Some("device"));
        let identity = HostIdentity::read(&Root::from(tree.path().to_owned()));
        assert_eq!(identity.macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
        assert_eq!(identity.uuid, None);
    }

    #[test]
    fn a_card_of_a_bond_has_the_address_of_its_own_as_well() {
        let tree = tempfile::tempdir().expect("a directory");
        let directory = tree.path().join("sys/class/net/eth1");
        fs::create_dir_all(directory.join("device")).expect("a directory");
        fs::create_dir_all(directory.join("bonding_slave")).expect("a directory");
        let files = [
            ("type", "1\n"),
            ("address", "52:54:00:00:00:01\n"),
            ("bonding_slave/perm_hwaddr", "52:54:00:00:00:02\n"),
        ];
        for (name, text) in files {
            fs::write(directory.join(name), text).expect("written");
        }
        let macs = HostIdentity::read(&Root::from(tree.path().to_owned())).macs;
        assert_eq!(macs, ["52:54:00:00:00:01", "52:54:00:00:00:02"]);
    }

    #[test]
    fn a_bmcs_card_counts_only_where_there_is_no_other() {
        let tree = tempfile::tempdir().expect("a directory");
        let add = |name: &str, address: &str, subsystem: &str| {
            let directory = tree.path().join("sys/class/net").join(name);
            fs::create_dir_all(directory.join("device")).expect("a directory");
            fs::write(directory.join("type"), "1\n").expect("written");
            fs::write(directory.join("address"), address).expect("written");
            let to = format!("../../../../../../bus/{subsystem}");
            std::os::unix::fs::symlink(to, directory.join("device/subsystem")).expect("a link");
        };
        let macs = || HostIdentity::read(&Root::from(tree.path().to_owned())).macs;
        add("usb0", "be:3a:f2:b6:05:9f\n", "usb");
        assert_eq!(macs(), ["be:3a:f2:b6:05:9f"]);
        add("eth0", "52:54:00:00:00:01\n", "pci");
        assert_eq!(macs(), ["52:54:00:00:00:01"]);
        add("eth1", "00:e0:4c:00:00:02\n", "usb");
        assert_eq!(macs(), ["00:e0:4c:00:00:02", "52:54:00:00:00:01"], "an adapter is a card like any other");
    }
}
