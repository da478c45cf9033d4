//! Tests of a look in simulated time.

use super::*;
use proptest::prelude::*;

const ID: u16 = 0x1234;

fn browse() -> Browse {
    Browse::new(ID, Duration::ZERO).expect("a service")
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn question(name: &str, kind: Kind) -> Vec<u8> {
    dns::multicast_question(&Name::parse(name).expect("a name"), kind, ID)
}

fn bytes(name: &str) -> Vec<u8> {
    question(name, Kind::A)[12..].split_last_chunk::<4>().expect("a kind and a class").0.to_vec()
}

fn record(name: &str, kind: u8, ttl: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).expect("short data");
    [&bytes(name)[..], &[0, kind, 0x80, 1, 0, 0, 0, ttl, 0, length], data].concat()
}

fn pointer(instance: &str) -> Vec<u8> {
    record("_dispatch._tcp.local", 12, 10, &bytes(instance))
}

fn service(instance: &str) -> Vec<u8> {
    record(instance, 33, 10, &[&[0, 0, 0, 0, 0x1f, 0x90][..], &bytes("h.local")].concat())
}

fn text(instance: &str) -> Vec<u8> {
    record(instance, 16, 10, b"\x0bpath=/there")
}

fn address(octets: [u8; 4]) -> Vec<u8> {
    record("h.local", 1, 10, &octets)
}

fn message(id: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let count = u8::try_from(records.len()).expect("few");
    [&[high, low, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, count - 1][..], &records.concat()].concat()
}

fn urls(browse: &Browse) -> Vec<String> {
    browse.gathered.servers("mDNS").found.iter().map(|found| found.url.to_string()).collect()
}

const A: &str = "a._dispatch._tcp.local";

#[test]
fn nobody_is_asked_twice_and_waited_for_three_seconds() {
    let mut browse = browse();
    let service = question("_dispatch._tcp.local", Kind::Ptr);
    assert_eq!(browse.due(ms(0)), std::slice::from_ref(&service));
    assert_eq!(browse.due(ms(10)), Vec::<Vec<u8>>::new());
    assert_eq!(browse.wait(ms(10)), Some(ms(990)));
    assert_eq!(browse.due(ms(1000)), [service]);
    assert_eq!(browse.wait(ms(1000)), Some(ms(2000)));
    assert_eq!(browse.due(ms(2999)), Vec::<Vec<u8>>::new());
    assert_eq!(browse.wait(ms(3000)), None);
}

#[test]
fn a_whole_answer_ends_the_look_soon() {
    let mut browse = browse();
    browse.due(ms(0));
    browse.take(&message(ID, &[pointer(A), service(A), text(A), address([10, 0, 0, 1])]), ms(20));
    assert_eq!(browse.due(ms(20)), Vec::<Vec<u8>>::new());
    assert_eq!(browse.wait(ms(20)), Some(SETTLE));
    assert_eq!(browse.wait(ms(520)), None);
    assert_eq!(urls(&browse), ["http://10.0.0.1:8080/there"]);
}

#[test]
fn what_an_answer_leaves_out_is_asked_at_once_and_again_later() {
    let mut browse = browse();
    browse.due(ms(0));
    browse.take(&message(ID, &[pointer(A)]), ms(20));
    let missing = [question(A, Kind::Srv), question(A, Kind::Txt)];
    assert_eq!(browse.due(ms(20)), missing);
    assert_eq!(browse.due(ms(30)), Vec::<Vec<u8>>::new(), "not more than once");
    let again = browse.due(ms(1000));
    assert_eq!(again[0], question("_dispatch._tcp.local", Kind::Ptr));
    assert_eq!(again[1..], missing);
    browse.take(&message(ID, &[service(A)]), ms(1010));
    assert_eq!(browse.due(ms(1010)), [question("h.local", Kind::A), question("h.local", Kind::Aaaa)]);
    browse.take(&message(ID, &[address([10, 0, 0, 1])]), ms(1020));
    assert_eq!(browse.wait(ms(1020)), Some(ms(1980)), "its TXT record may still come");
    assert_eq!(urls(&browse), ["http://10.0.0.1:8080/dispatch"]);
}

#[test]
fn a_second_server_is_waited_for_until_it_is_whole() {
    let mut browse = browse();
    browse.due(ms(0));
    browse.take(&message(ID, &[pointer(A), service(A), text(A), address([10, 0, 0, 1])]), ms(20));
    browse.take(&message(ID, &[pointer("b._dispatch._tcp.local")]), ms(400));
    assert!(browse.wait(ms(600)).is_some());
    let b = "b._dispatch._tcp.local";
    browse.take(&message(ID, &[service(b), text(b)]), ms(700));
    assert_eq!(browse.wait(ms(700)), None);
    assert_eq!(urls(&browse), ["http://10.0.0.1:8080/there", "http://10.0.0.1:8080/there"]);
}

#[test]
fn answers_to_others_and_goodbyes_are_ignored() {
    let mut browse = browse();
    let whole = [pointer(A), service(A), text(A), address([10, 0, 0, 1])];
    browse.take(&message(0, &whole), ms(20));
    assert_eq!(urls(&browse), Vec::<String>::new());
    let goodbye = record("_dispatch._tcp.local", 12, 0, &bytes(A));
    browse.take(&message(ID, &[goodbye, service(A), text(A), address([10, 0, 0, 1])]), ms(30));
    assert_eq!(urls(&browse), Vec::<String>::new());
}

#[test]
fn a_host_without_a_network_does_not_wait() {
    struct Never;
    impl Clock for Never {
        fn now(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration) {
            panic!("nobody waits");
        }
        fn random(&self) -> u64 {
            7
        }
    }
    let tree = tempfile::tempdir().expect("a directory");
    let finding = Mdns { root: Root::from(tree.path().to_owned()), clock: &Never }.find();
    assert_eq!((finding.found, finding.warnings), (vec![], vec![]));
    assert!(finding.nothing.is_some());
}

proptest! {
    #[test]
    fn whatever_arrives_a_look_ends_and_asks_little(
        arrivals in proptest::collection::vec(
            (0..4000u64, proptest::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..20),
    ) {
        let mut browse = browse();
        let mut sent = 0;
        let mut arrivals = arrivals;
        arrivals.sort();
        for (at, bytes, is_ours) in arrivals {
            sent += browse.due(ms(at)).len();
            let whole = if is_ours { [&message(ID, &[pointer(A)])[..], &bytes].concat() } else { bytes };
            browse.take(&whole, ms(at));
        }
        prop_assert_eq!(browse.wait(LOOK), None);
        prop_assert!(sent < 200);
    }
}
