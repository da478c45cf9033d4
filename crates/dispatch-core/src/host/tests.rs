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
    (0_u8..4, proptest::option::of(0_u8..3), proptest::option::of(mac()), any::<bool>(), 0_u8..3, 0_i64..5)
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
