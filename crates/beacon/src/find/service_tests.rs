//! Tests of what records come to.

use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn record(of: &str, data: Data) -> Record {
    Record { name: name(of), ttl: 120, data }
}

fn instance(of: &str) -> String {
    format!("{of}._dispatch._tcp.lab.example")
}

fn pointer(to: &str) -> Record {
    record("_dispatch._tcp.lab.example", Data::Pointer(name(&instance(to))))
}

fn host(of: &str, priority: u16, target: &str) -> Record {
    let service = Service { priority, weight: 0, port: 8080, target: name(target) };
    record(&instance(of), Data::Service(service))
}

fn text(of: &str, strings: &[&str]) -> Record {
    record(&instance(of), Data::Text(strings.iter().map(|string| string.as_bytes().to_vec()).collect()))
}

fn address(of: &str, address: &str) -> Record {
    record(of, Data::Address(address.parse().expect("an address")))
}

fn gathered(records: impl IntoIterator<Item = Record>) -> Gathered {
    let mut gathered = Gathered::new("lab.example").expect("a domain");
    gathered.take(records);
    gathered
}

fn urls(gathered: &Gathered) -> Vec<String> {
    gathered.servers("test").found.iter().map(|found| found.url.to_string()).collect()
}

#[test]
fn what_is_missing_is_asked_step_by_step() {
    let mut records = gathered([]);
    assert_eq!(records.missing(), [(name("_dispatch._tcp.lab.example"), Kind::Ptr)]);
    records.take([pointer("a")]);
    assert_eq!(records.missing(), [(name(&instance("a")), Kind::Srv), (name(&instance("a")), Kind::Txt)]);
    records.take([host("a", 0, "h.lab.example"), text("a", &[])]);
    assert_eq!(records.missing(), [(name("h.lab.example"), Kind::A), (name("h.lab.example"), Kind::Aaaa)]);
    assert!(!records.is_complete());
    records.take([address("H.LAB.example", "fd00::1")]);
    assert!(records.is_complete());
    assert_eq!(urls(&records), ["http://[fd00::1]:8080/dispatch"]);
}

#[test]
fn the_path_is_that_of_the_txt_record() {
    for (strings, expected) in [
        (&["path=/boot"][..], "/boot"),
        (&["version=1", "PATH=/x", "path=/y"], "/x"),
        (&["path=boot"], "/boot"),
        (&["path="], "/dispatch"),
        (&["path"], "/dispatch"),
        (&["xpath=/x"], "/dispatch"),
    ] {
        let records =
            gathered([pointer("a"), host("a", 0, "h"), text("a", strings), address("h", "10.0.0.1")]);
        assert_eq!(urls(&records), [format!("http://10.0.0.1:8080{expected}")], "{strings:?}");
    }
}

#[test]
fn a_path_that_fits_no_url_is_told_and_skipped() {
    let records =
        gathered([pointer("a"), host("a", 0, "h"), text("a", &["path=/a b"]), address("h", "10.0.0.1")]);
    let servers = records.servers("test");
    assert_eq!(servers.found, []);
    assert_eq!(servers.warnings, ["test, \"a\" is skipped: `/a b` is no path of a URL"]);
}

#[test]
fn a_server_whose_txt_record_never_comes_has_the_usual_path() {
    let records = gathered([pointer("a"), host("a", 0, "h"), address("h", "10.0.0.1")]);
    assert!(!records.is_complete());
    assert_eq!(urls(&records), ["http://10.0.0.1:8080/dispatch"]);
}

#[test]
fn addresses_that_lead_nowhere_are_skipped() {
    let addresses = ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "10.0.0.1"];
    let records = [pointer("a"), host("a", 0, "h"), text("a", &[])];
    let records = gathered(records.into_iter().chain(addresses.map(|ip| address("h", ip))));
    assert_eq!(urls(&records), ["http://10.0.0.1:8080/dispatch"]);
}

#[test]
fn a_server_that_has_only_addresses_that_lead_nowhere_is_told_of() {
    let with = |addresses: &[&str]| {
        let records = [pointer("a"), host("a", 0, "h"), text("a", &[])];
        let records = gathered(records.into_iter().chain(addresses.iter().map(|ip| address("h", ip))));
        let servers = records.servers("mDNS");
        (servers.nothing(|| "nobody".to_owned()), servers.warnings)
    };
    let told = "mDNS, \"a\" is skipped: a link-local or loopback address is of no use here, and it has no other \
                (169.254.1.1, fe80::1)";
    assert_eq!(with(&["169.254.1.1", "fe80::1"]), (Some(told.to_owned()), vec![told.to_owned()]));
    assert_eq!(with(&["fe80::1", "10.0.0.1"]), (None, vec![]));
    assert_eq!(with(&[]), (Some("nobody".to_owned()), vec![]));
}

#[test]
fn a_service_that_is_decidedly_not_there_is_no_server() {
    let root =
        Service { priority: 0, weight: 0, port: 0, target: name("x").split_first().expect("a label").1 };
    let records = gathered([pointer("a"), record(&instance("a"), Data::Service(root)), text("a", &[])]);
    assert!(records.is_complete());
    assert_eq!(urls(&records), Vec::<String>::new());
}

#[test]
fn an_instance_of_another_service_is_ignored() {
    let other = record("_dispatch._tcp.lab.example", Data::Pointer(name("a._http._tcp.lab.example")));
    assert_eq!(gathered([other]).missing()[0].1, Kind::Ptr);
}

proptest! {
    #[test]
    fn the_order_of_answers_makes_no_difference(
        order in Just((0..11usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let records = [
            pointer("b"), pointer("a"), pointer("C"),
            host("a", 1, "h"), host("b", 0, "i"), host("C", 0, "h"),
            text("a", &["path=/a"]), text("b", &[]),
            address("h", "10.0.0.2"), address("h", "fd00::2"), address("i", "10.0.0.1"),
        ];
        let gathered = gathered(order.into_iter().map(|at| records[at].clone()));
        prop_assert_eq!(
            urls(&gathered),
            [
                "http://10.0.0.1:8080/dispatch",
                "http://10.0.0.2:8080/dispatch",
                "http://[fd00::2]:8080/dispatch",
                "http://10.0.0.2:8080/a",
                "http://[fd00::2]:8080/a",
            ]
        );
    }

    #[test]
    fn a_flood_stays_small(count in 0..2000u32) {
        let names = (0..count).map(|number| format!("x{number}"));
        let records = names.flat_map(|of| [pointer(&of), host(&of, 0, "h"), text(&of, &[&of])]);
        let records = gathered([address("h", "10.0.0.1")].into_iter().chain(records));
        prop_assert!(records.records.len() <= MAX_RECORDS);
        prop_assert!(records.missing().len() <= 3 * MAX_INSTANCES + 1);
        prop_assert!(urls(&records).len() <= MAX_SERVERS);
    }
}
