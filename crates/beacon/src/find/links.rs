//! The links that this host is on, as /proc/net tells them. There is no other way without the C library's
//! `getifaddrs` or netlink, and this one can be made up for tests.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::root::Root;

/// Servers have thousands of routes at times; what comes later is not looked at.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// More than the ports, VLANs and bridges of any server under test.
const MAX_LINKS: usize = 64;

/// An address of ours from which to ask everybody on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Linux sends multicast from the interface that the sender's IPv4 address belongs to.
    V4(Ipv4Addr),
    /// A link-local address, and the number of its interface.
    V6(Ipv6Addr, u32),
}

/// All links but loopback. An interface that is down has no addresses in these tables.
pub(super) fn links(root: &Root) -> Vec<Link> {
    let text = |path| root.read(path, MAX_BYTES).unwrap_or_default();
    let mut links = ipv4(&String::from_utf8_lossy(&text("proc/net/fib_trie")));
    links.extend(ipv6(&String::from_utf8_lossy(&text("proc/net/if_inet6"))));
    links.truncate(MAX_LINKS);
    links
}

/// Our own addresses in the kernel's routing trie: a line `|-- ADDRESS`, and below it `/32 host LOCAL`.
fn ipv4(trie: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last.filter(|address| !address.is_loopback())
            && !links.contains(&Link::V4(address))
        {
            links.push(Link::V4(address));
        }
    }
    links
}

/// Lines such as `fe8000000000000000fc00fffe000001 04 40 20 80 eth0`: address, interface, prefix, scope, flags,
/// name, all but the name in hexadecimal.
fn ipv6(table: &str) -> Vec<Link> {
    table.lines().filter_map(ipv6_line).collect()
}

fn ipv6_line(line: &str) -> Option<Link> {
    // linux/if_addr.h: a duplicate was found (IFA_F_DADFAILED), or is still looked for (IFA_F_TENTATIVE).
    const UNUSABLE: u32 = 0x08 | 0x40;
    let mut words = line.split_ascii_whitespace();
    let address = words.next().filter(|word| word.len() == 32)?;
    let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
    let interface = u32::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
    (address.is_unicast_link_local() && flags & UNUSABLE == 0).then_some(Link::V6(address, interface))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 198.51.100.1
           /32 host LOCAL
";

    #[test]
    fn our_own_ipv4_addresses_are_found_once() {
        let address = |text: &str| Link::V4(text.parse().expect("an address"));
        assert_eq!(ipv4(TRIE), [address("192.0.2.7"), address("198.51.100.1")]);
    }

    #[test]
    fn link_local_ipv6_addresses_are_found_unless_they_are_not_usable_yet() {
        let table = "\
fe8000000000000000fc00fffe000001 1a 40 20 80     eth0
fe8000000000000000fc00fffe000002 02 40 20 c0     eth1
fd000000000000000000000000000002 1a 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
";
        let address = "fe80::fc:ff:fe00:1".parse().expect("an address");
        assert_eq!(ipv6(table), [Link::V6(address, 26)]);
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_panic(text in "([|/a-f0-9 .+\\-]{0,40}\n){0,8}", other in ".{0,80}") {
            for text in [text, other] {
                let _ = (ipv4(&text), ipv6(&text));
            }
        }
    }
}
