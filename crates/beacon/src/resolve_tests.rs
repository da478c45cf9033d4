//! Tests of the resolver, some of them against a small name server on loopback.

use std::thread;

use super::*;
use proptest::prelude::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn names(files: &[(&str, &str)], dns_port: u16) -> (tempfile::TempDir, Names) {
    let tree = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(tree.path().join("etc")).expect("a directory");
    for (name, content) in files {
        std::fs::write(tree.path().join("etc").join(name), content).expect("written");
    }
    let root = Root::from(tree.path().to_owned());
    (tree, Names { root, dns_port, random: || 0x1234 })
}

/// A name server that knows one name with one IPv4 address, answers strays first, and says nothing to AAAA
/// but that there is none.
fn name_server(known: &'static str, address: [u8; 4]) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let question = buffer[..length].to_vec();
            let known = Name::parse(known).expect("a name");
            let expected = |kind| dns::question(&known, kind, 0x1234);
            let mut answer = question.clone();
            answer[2] |= 0x80;
            if question == expected(Kind::A) {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4]);
                answer.extend(address);
            } else if question != expected(Kind::Aaaa) {
                answer[3] |= 3;
            }
            socket.send_to(b"stray", peer).expect("sent");
            socket.send_to(&answer, peer).expect("sent");
        }
    });
    port
}

#[test]
fn addresses_need_no_looking_up() {
    let (_tree, names) = names(&[], 1);
    assert_eq!(names.look_up("10.0.2.2").expect("an address"), [ip("10.0.2.2")]);
    assert_eq!(names.look_up("[fd00::1]").expect("an address"), [ip("fd00::1")]);
}

#[test]
fn localhost_is_known_without_any_file() {
    let (_tree, names) = names(&[], 1);
    assert_eq!(names.look_up("localhost").expect("addresses"), [ip("127.0.0.1"), ip("::1")]);
}

#[test]
fn the_hosts_file_comes_first_and_ipv4_before_ipv6() {
    let hosts = "# lab\nfd00::5 lab\n10.0.0.5\tx LAB # comment lab2\nbad lab\n";
    let (_tree, names) = names(&[("hosts", hosts)], 1);
    assert_eq!(names.look_up("lab").expect("addresses"), [ip("10.0.0.5"), ip("fd00::5")]);
    assert!(names.look_up("lab2").is_err());
}

#[test]
fn a_name_server_is_asked_and_strays_are_ignored() {
    let port = name_server("dispatch.lab.example", [10, 0, 0, 9]);
    let (_tree, names) =
        names(&[("resolv.conf", "search other.example lab.example\nnameserver 127.0.0.1\n")], port);
    assert_eq!(names.look_up("dispatch").expect("an address"), [ip("10.0.0.9")]);
    assert_eq!(names.look_up("dispatch.lab.example").expect("an address"), [ip("10.0.0.9")]);
    let error = names.look_up("nowhere").expect_err("no such name");
    assert!(error.to_string().contains("there is no such name"), "{error}");
}

#[test]
fn a_dead_name_server_is_passed_over() {
    let port = name_server("lab", [10, 0, 0, 9]);
    let (_tree, names) = names(&[("resolv.conf", "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")], port);
    assert_eq!(names.look_up("lab").expect("an address"), [ip("10.0.0.9")]);
}

#[test]
fn without_name_servers_the_reason_is_told() {
    let (_tree, names) = names(&[], 1);
    let error = names.look_up("lab").expect_err("no address");
    assert!(error.to_string().contains("/etc/resolv.conf has no name server"), "{error}");
}

#[test]
fn resolv_conf_is_read_as_its_manual_says() {
    let text = "; c\nnameserver 10.0.0.1 # x\nnameserver fe80::1%eth0\nnameserver fd00::1\nsearch a.b c\noptions edns0 ndots:2\n";
    let config = ResolvConf::parse(text);
    assert_eq!(config.servers, [ip("10.0.0.1"), ip("fd00::1")]);
    assert_eq!(config.candidates("x.y"), ["x.y.a.b", "x.y.c", "x.y"]);
    assert_eq!(config.candidates("x.y.z"), ["x.y.z", "x.y.z.a.b", "x.y.z.c"]);
    assert_eq!(config.candidates("x."), ["x."]);
}

proptest! {
    #[test]
    fn any_file_is_read_without_panic(text in "(?s).{0,300}") {
        let _ = addresses_in_hosts(&text, "lab");
        let _ = ResolvConf::parse(&text).candidates("lab");
    }
}
