//! The addresses of this machine, in the order in which a person should try them in a boot menu. Used by
//! [`crate::session`]; [`gather`] looks at the machine, [`order`] only thinks.

use std::cmp::Reverse;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use nix::net::if_::InterfaceFlags;

/// An address, and what its place in the order depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The interface that has it.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// The metric of the default route of its family through its interface, if there is one; the lowest is used.
    pub default_route: Option<u32>,
    /// Whether only containers or virtual machines of this machine are behind the interface.
    pub is_internal: bool,
    /// Whether it will not last (RFC 8981: temporary; RFC 4862 §5.5.4: deprecated) or is somebody else's as well.
    pub is_passing: bool,
}

/// The addresses of this machine that a host could reach, the likeliest first: those of the default route, other
/// networks, IPv6 addresses that will not last, container bridges; loopback only if there is nothing else.
#[must_use]
pub fn own_addresses(with_ipv6: bool) -> Vec<IpAddr> {
    let own = gather().into_iter().filter(|own| with_ipv6 || own.ip.is_ipv4());
    let ordered = order(own.collect());
    if ordered.is_empty() { vec![IpAddr::from([127, 0, 0, 1])] } else { ordered }
}

/// Puts addresses in order. Loopback counts only if there is nothing else; link-local IPv6, which no URL can hold
/// together with its interface (RFC 6874, which had a way, is obsoleted by RFC 9844), never.
#[must_use]
pub fn order(mut own: Vec<Own>) -> Vec<IpAddr> {
    own.retain(|own| !matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
    if own.iter().any(|own| !own.ip.is_loopback()) {
        own.retain(|own| !own.ip.is_loopback());
    }
    own.sort_by(|a, b| {
        let key = |own: &Own| {
            // `Reverse` puts any default route before none, and a low metric before a high one.
            let route = Reverse(own.default_route.map(Reverse));
            (own.is_internal, own.is_passing, route, own.ip.is_ipv6(), own.ip)
        };
        key(a).cmp(&key(b))
    });
    let mut ordered = Vec::new();
    for own in own {
        // Two interfaces may have the same address.
        if !ordered.contains(&own.ip) {
            ordered.push(own.ip);
        }
    }
    ordered
}

/// Looks at the addresses of every interface that is up. What cannot be read about them is taken for unremarkable.
#[must_use]
pub fn gather() -> Vec<Own> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let routes = ipv4_default_routes(&text("/proc/net/route"));
    let routes6 = ipv6_default_routes(&text("/proc/net/ipv6_route"));
    let passing = passing_ipv6(&text("/proc/net/if_inet6"));
    interfaces
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            let name = interface.interface_name;
            let routes_of_family = if ip.is_ipv4() { &routes } else { &routes6 };
            let metric_of = |routes: &[Route]| {
                routes.iter().filter(|route| route.interface == name).map(|route| route.metric).min()
            };
            let leads_out = metric_of(&routes).or_else(|| metric_of(&routes6)).is_some();
            Some(Own {
                default_route: metric_of(routes_of_family),
                // Whatever it is called, the way out of the machine is not internal.
                is_internal: !leads_out
                    && (has_internal_name(&name) || is_internal_bridge(Path::new("/sys/class/net"), &name)),
                is_passing: passing.contains(&ip),
                interface: name,
                ip,
            })
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    metric: u32,
}

// linux/route.h
const RTF_UP: u32 = 0x0001;
const RTF_REJECT: u32 = 0x0200;

fn is_usable(flags: u32) -> bool {
    flags & RTF_UP != 0 && flags & RTF_REJECT == 0
}

/// The default routes in /proc/net/route: `Iface Destination Gateway Flags RefCnt Use Metric Mask …`.
fn ipv4_default_routes(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[interface, destination, _, flags, _, _, metric, mask, ..] = words.as_slice() else {
            return None;
        };
        let is_default = destination == "00000000" && mask == "00000000";
        let is_usable = is_usable(u32::from_str_radix(flags, 16).ok()?);
        let metric = metric.parse().ok()?;
        (is_default && is_usable).then(|| Route { interface: interface.to_owned(), metric })
    };
    table.lines().filter_map(route).collect()
}

/// The default routes in `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric,
/// references, uses, flags, interface; all but the last in hexadecimal.
fn ipv6_default_routes(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[destination, length, _, _, _, metric, _, _, flags, interface] = words.as_slice() else {
            return None;
        };
        let is_default = length == "00" && destination.bytes().all(|byte| byte == b'0');
        let is_usable = is_usable(u32::from_str_radix(flags, 16).ok()?);
        let metric = u32::from_str_radix(metric, 16).ok()?;
        (is_default && is_usable).then(|| Route { interface: interface.to_owned(), metric })
    };
    table.lines().filter_map(route).collect()
}

/// The addresses in `/proc/net/if_inet6` that are temporary, deprecated, or on the link twice.
fn passing_ipv6(table: &str) -> Vec<IpAddr> {
    // linux/if_addr.h: IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED.
    const PASSING: u32 = 0x01 | 0x08 | 0x20;
    let address = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let &[address, _, _, _, flags, _] = words.as_slice() else { return None };
        let address = u128::from_str_radix(address, 16).ok()?;
        let flags = u32::from_str_radix(flags, 16).ok()?;
        (flags & PASSING != 0).then(|| IpAddr::V6(address.into()))
    };
    table.lines().filter_map(address).collect()
}

/// Whether an interface is called as Docker, libvirt, CNI, Podman, LXC, Incus or Kubernetes call theirs.
fn has_internal_name(name: &str) -> bool {
    const PREFIXES: [&str; 13] = [
        "docker", "virbr", "vnet", "veth", "cni", "podman", "lxc", "lxdbr", "incusbr", "flannel", "cali",
        "cilium", "kube-",
    ];
    // Docker's own networks: `br-` and the beginning of the network's identifier. `br-lan` may be a real one.
    let is_docker_network = name
        .strip_prefix("br-")
        .is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_docker_network || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether it is a bridge without any port that is a device (sysfs: `bridge`, `brif`, `device`).
fn is_internal_bridge(interfaces: &Path, name: &str) -> bool {
    let bridge = interfaces.join(name);
    let Ok(ports) = fs::read_dir(bridge.join("brif")) else { return false };
    !ports.flatten().any(|port| interfaces.join(port.file_name()).join("device").exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own(ip: &str) -> Own {
        let ip = ip.parse().expect("an address");
        Own { interface: "eth0".to_owned(), ip, default_route: None, is_internal: false, is_passing: false }
    }

    fn ordered(own: Vec<Own>) -> Vec<String> {
        order(own).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_default_route_comes_first_and_container_bridges_last() {
        let all = vec![
            Own { is_internal: true, ..own("172.17.0.1") },
            Own { is_passing: true, default_route: Some(0), ..own("2001:db8::99") },
            own("10.0.0.1"),
            Own { default_route: Some(600), ..own("198.51.100.1") },
            Own { default_route: Some(100), ..own("2001:db8::1") },
            Own { default_route: Some(100), ..own("192.0.2.1") },
            own("fe80::1"),
            own("127.0.0.1"),
            own("fd00::1"),
        ];
        let expected =
            ["192.0.2.1", "2001:db8::1", "198.51.100.1", "10.0.0.1", "fd00::1", "2001:db8::99", "172.17.0.1"];
        assert_eq!(ordered(all), expected);
    }

    #[test]
    fn loopback_is_for_machines_that_have_nothing_else() {
        assert_eq!(ordered(vec![own("::1"), own("fe80::1"), own("127.0.0.1")]), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn default_routes_are_read_from_both_tables() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t020200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000080\t0\t0\t0
";
        assert_eq!(ipv4_default_routes(table), [Route { interface: "eth0".to_owned(), metric: 100 }]);
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth1\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n"
        );
        assert_eq!(ipv6_default_routes(&table), [Route { interface: "eth1".to_owned(), metric: 1024 }]);
    }

    #[test]
    fn temporary_and_deprecated_addresses_are_known() {
        let table = "\
20010db8000000000000000000000001 02 40 00 00     eth0
20010db8000000000000000000000002 02 40 00 01     eth0
20010db8000000000000000000000003 02 40 00 20     eth0
";
        let expected: Vec<IpAddr> =
            ["2001:db8::2", "2001:db8::3"].map(|ip| ip.parse().expect("an address")).to_vec();
        assert_eq!(passing_ipv6(table), expected);
    }

    #[test]
    fn container_bridges_are_known_by_name() {
        for name in
            ["docker0", "br-0123456789ab", "virbr0", "veth1a2b", "cni0", "podman1", "lxcbr0", "incusbr0"]
        {
            assert!(has_internal_name(name), "{name}");
        }
        for name in ["eth0", "eno1", "br0", "br-lan", "bond0", "wlan0", "enp3s0f0np0"] {
            assert!(!has_internal_name(name), "{name}");
        }
    }

    #[test]
    fn a_bridge_is_internal_unless_a_device_is_part_of_it() {
        let sys = tempfile::tempdir().expect("a folder");
        for path in ["real/brif/eth0", "inner/brif/tap0", "eth0/device", "tap0", "empty/brif"] {
            fs::create_dir_all(sys.path().join(path)).expect("a folder");
        }
        let internal = |name| is_internal_bridge(sys.path(), name);
        assert!(internal("inner") && internal("empty"));
        assert!(!internal("real") && !internal("eth0") && !internal("missing"));
    }

    fn any_own() -> impl Strategy<Value = Own> {
        let ip = prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u16>().prop_map(|low| IpAddr::V6(((0xfe80 << 112) | u128::from(low)).into())),
            (0..4u8).prop_map(|low| IpAddr::from([127, 0, 0, low])),
        ];
        (ip, any::<Option<u32>>(), any::<bool>(), any::<bool>()).prop_map(
            |(ip, default_route, is_internal, is_passing)| Own {
                interface: "eth0".to_owned(),
                ip,
                default_route,
                is_internal,
                is_passing,
            },
        )
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_the_order_of_the_system(
            (all, shuffled) in proptest::collection::vec(any_own(), 0..12)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            prop_assert_eq!(order(all), order(shuffled));
        }

        #[test]
        fn no_address_that_can_be_reached_is_lost(all in proptest::collection::vec(any_own(), 0..12)) {
            let ordered = order(all.clone());
            for own in &all {
                let is_link_local = matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
                let expected = !own.ip.is_loopback() && !is_link_local;
                prop_assert!(ordered.contains(&own.ip) || !expected);
            }
            prop_assert_eq!(ordered.is_empty(), all.iter().all(|own| {
                matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
            }));
        }

        #[test]
        fn any_table_is_read_without_panic(text in "([0-9a-fx .\\t]{0,60}\n){0,6}", other in ".{0,80}") {
            for text in [text, other] {
                let _ = (ipv4_default_routes(&text), ipv6_default_routes(&text), passing_ipv6(&text));
            }
        }
    }
}
