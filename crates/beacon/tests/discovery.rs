//! Servers that a name server on loopback knows. What is announced by multicast needs a link of its own, and is
//! tested with dispatch (`dispatch/tests/discovery.rs`).

#![cfg(test)]

mod common;

use std::net::UdpSocket;
use std::thread;

use beacon::find::{Finding, on_the_network};
use beacon::resolve::Names;
use common::{Machine, Simulated};

const PTR: u8 = 12;
const TXT: u8 = 16;
const SRV: u8 = 33;
const A: u8 = 1;

/// A name as a message has it.
fn name(text: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat();
    text.split('.').map(label).chain([vec![0]]).collect::<Vec<_>>().concat()
}

fn service(port: u16, target: &str) -> Vec<u8> {
    [&[0, 0, 0, 0][..], &port.to_be_bytes(), &name(target)].concat()
}

/// A name server that knows these records, and of nothing else. It answers one question per message, with the
/// question repeated (RFC 1035 §4.1).
fn name_server(known: Vec<(&'static str, u8, Vec<u8>)>) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            answer[2] |= 0x80;
            for (of, kind, data) in &known {
                if answer[12..].starts_with(&[&name(of)[..], &[0, *kind]].concat()) {
                    answer[7] += 1;
                    let length = u8::try_from(data.len()).expect("short");
                    answer.extend([0xc0, 12, 0, *kind, 0, 1, 0, 0, 0, 0, 0, length]);
                    answer.extend(data);
                }
            }
            if answer[7] == 0 {
                answer[3] |= 3;
            }
            socket.send_to(&answer, peer).expect("sent");
        }
    });
    port
}

/// What a machine with this `/etc/resolv.conf`, on no link at all, finds.
fn found(resolv_conf: &str, dns_port: u16) -> (Vec<(String, String)>, Vec<String>) {
    let machine = Machine::new().with("etc/resolv.conf", resolv_conf);
    let names = Names { root: machine.root(), dns_port, random: || 0x1234 };
    let clock = Simulated::default();
    let findings: Vec<Finding> = on_the_network(&names, &clock).iter().map(|finder| finder.find()).collect();
    let nothing = findings.iter().filter_map(|finding| finding.nothing.clone()).collect();
    let found = findings.into_iter().flat_map(|finding| finding.found);
    (found.map(|found| (found.url.to_string(), found.from)).collect(), nothing)
}

fn lab() -> Vec<(&'static str, u8, Vec<u8>)> {
    vec![
        ("_dispatch._tcp.lab.example", PTR, name("rack 2._dispatch._tcp.lab.example")),
        ("_dispatch._tcp.lab.example", PTR, name("rack 1._dispatch._tcp.lab.example")),
        ("rack 1._dispatch._tcp.lab.example", SRV, service(8080, "one.lab.example")),
        ("rack 1._dispatch._tcp.lab.example", TXT, b"\x0apath=/boot".to_vec()),
        ("rack 2._dispatch._tcp.lab.example", SRV, service(8081, "two.lab.example")),
        ("rack 2._dispatch._tcp.lab.example", TXT, vec![0]),
        ("one.lab.example", A, vec![10, 0, 0, 1]),
        ("two.lab.example", A, vec![10, 0, 0, 2]),
    ]
}

#[test]
fn the_servers_of_every_search_domain_are_found_in_a_fixed_order() {
    let conf = "search other.example lab.example\nnameserver 127.0.0.1\n";
    let (found, nothing) = found(conf, name_server(lab()));
    let found: Vec<_> = found.iter().map(|(url, from)| (url.as_str(), from.as_str())).collect();
    let expected = [
        ("http://10.0.0.1:8080/boot", "DNS-SD of lab.example, \"rack 1\""),
        ("http://10.0.0.2:8081/dispatch", "DNS-SD of lab.example, \"rack 2\""),
    ];
    assert_eq!(found, expected);
    assert_eq!(nothing, ["no network to look for servers by mDNS"]);
}

#[test]
fn where_nothing_is_known_it_is_said_which_domain_was_asked() {
    let (found, nothing) = found("domain lab.example\nnameserver 127.0.0.1\n", name_server(vec![]));
    assert_eq!(found, []);
    assert_eq!(nothing[1], "no _dispatch._tcp in the search domain lab.example");
}

#[test]
fn without_a_search_domain_or_a_name_server_nobody_is_asked() {
    assert_eq!(found("nameserver 127.0.0.1\n", 1).1[1], "no search domain in /etc/resolv.conf");
    assert_eq!(found("search local\nnameserver 127.0.0.1\n", 1).1[1], "no search domain in /etc/resolv.conf");
    assert_eq!(
        found("search lab.example\n", 1).1[1],
        "no _dispatch._tcp.lab.example: no name server answers"
    );
}
