//! Where a request comes from, as far as it can be believed.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The other end of the connection. The listener puts it into each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Whose request it is.
    pub address: IpAddr,
    /// Whether it has come encrypted, all the way.
    pub is_https: bool,
    /// The name under which the client knows us, with its port if it said one.
    pub host: Option<String>,
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Client {
    /// Whose request it is. What a proxy says counts only if the configuration trusts it.
    #[must_use]
    pub fn of(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let own = peer.address.ip().to_canonical();
        let host = one(headers, &HOST);
        if !is_trusted(own, trusted) {
            return Self { address: own, is_https: peer.is_tls, host };
        }
        // The last one in the list who is not a proxy of ours: whatever comes before, anybody can have written.
        let listed = headers.get_all(FOR).iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = listed.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut address = own;
        for hop in hops.iter().rev() {
            let Some(read) = read_hop(hop) else { break };
            address = read;
            if !is_trusted(read, trusted) {
                break;
            }
        }
        Self {
            address,
            is_https: one(headers, &PROTO)
                .map_or(peer.is_tls, |proto| last(&proto).eq_ignore_ascii_case("https")),
            host: one(headers, &FORWARDED_HOST).map(|host| last(&host).to_owned()).or(host),
        }
    }

    /// What limits count: an IPv6 client has a whole /64 to choose from.
    #[must_use]
    pub fn counted_as(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                std::net::Ipv6Addr::from(network).into()
            }
        }
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

fn one(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
}

/// Of a list, what the proxy nearest to us has added.
fn last(list: &str) -> &str {
    list.rsplit(',').next().unwrap_or(list).trim()
}

/// An address, with or without a port: some proxies add it.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse::<IpAddr>().ok();
    address
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|found| found.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let peer = Peer { address: peer.parse().expect("an address"), is_tls: false };
        Client::of(peer, &map, &["10.0.0.0/8".parse().expect("a network")])
    }

    fn address(peer: &str, forwarded: &'static str) -> String {
        client(peer, &[("x-forwarded-for", forwarded)]).address.to_string()
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_not_believed() {
        let client = client(
            "192.0.2.1:9",
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("host", "lab"),
            ],
        );
        assert_eq!(client.address.to_string(), "192.0.2.1");
        assert!(!client.is_https);
        assert_eq!(client.host.as_deref(), Some("lab"));
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_asks() {
        let client = client(
            "10.0.0.1:9",
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "lab.example"),
                ("host", "inner"),
            ],
        );
        assert_eq!(client.address.to_string(), "198.51.100.1");
        assert!(client.is_https);
        assert_eq!(client.host.as_deref(), Some("lab.example"));
    }

    #[test]
    fn what_the_client_wrote_before_the_proxies_is_not_believed() {
        assert_eq!(address("10.0.0.1:9", "203.0.113.9, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
        assert_eq!(address("10.0.0.1:9", "203.0.113.9, nonsense, 10.0.0.2"), "10.0.0.2");
    }

    #[test]
    fn a_port_behind_the_address_does_no_harm() {
        assert_eq!(address("10.0.0.1:9", "198.51.100.1:4711"), "198.51.100.1");
        assert_eq!(address("10.0.0.1:9", "[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(address("10.0.0.1:9", "2001:db8::1"), "2001:db8::1");
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_the_same_client() {
        assert_eq!(address("[::ffff:192.0.2.1]:9", ""), "192.0.2.1");
        assert_eq!(address("[::ffff:10.0.0.1]:9", "198.51.100.1"), "198.51.100.1");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let counted = |peer: &str| client(peer, &[]).counted_as();
        assert_eq!(counted("[2001:db8::1]:9"), counted("[2001:db8::ffff:1]:9"));
        assert_ne!(counted("[2001:db8::1]:9"), counted("[2001:db8:0:1::1]:9"));
        assert_ne!(counted("192.0.2.1:9"), counted("192.0.2.2:9"));
    }
}
