//! Tests against scripted name servers.

use std::cell::RefCell;

use super::*;
use crate::dns::{Data, Record, Service};

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn record(of: &Name, data: Data) -> Record {
    Record { name: of.clone(), ttl: 0, data }
}

/// Two instances, of which one has no host.
fn answer(asked: &Name, kind: Kind) -> Result<Vec<Record>, LookUpError> {
    let instance = |label: &str| name(&format!("{label}._dispatch._tcp.lab"));
    let (lost, there) = (instance("a"), instance("b"));
    let host = name("h.lab");
    let no = Err(LookUpError::Dns(DnsError::NoSuchName));
    match kind {
        Kind::Ptr => Ok(vec![record(asked, Data::Pointer(lost)), record(asked, Data::Pointer(there))]),
        Kind::Srv if *asked == there => {
            let service = Service { priority: 0, weight: 0, port: 80, target: host };
            Ok(vec![record(asked, Data::Service(service))])
        }
        Kind::Txt if *asked == there => Ok(vec![record(asked, Data::Text(vec![b"path=/x".to_vec()]))]),
        Kind::A if *asked == host => {
            Ok(vec![record(asked, Data::Address("10.0.0.1".parse().expect("an address")))])
        }
        _ => no,
    }
}

#[test]
fn an_instance_without_a_host_does_not_hide_the_others() {
    let mut gathered = Gathered::new("lab").expect("a domain");
    let asked = RefCell::new(Vec::new());
    let ask = |name: &Name, kind| {
        asked.borrow_mut().push((name.clone(), kind));
        answer(name, kind)
    };
    assert_eq!(look(&mut gathered, ask, || false), Err(LookUpError::Dns(DnsError::NoSuchName)));
    let found: Vec<_> = gathered.servers("x").found.iter().map(|found| found.url.to_string()).collect();
    assert_eq!(found, ["http://10.0.0.1:80/x"]);
    assert_eq!(asked.borrow().len(), 6, "each question once: {asked:?}");
}

#[test]
fn silence_ends_the_look() {
    let mut gathered = Gathered::new("lab").expect("a domain");
    let mut count = 0;
    let silent = |_: &Name, _| {
        count += 1;
        Err(LookUpError::Silence)
    };
    assert_eq!(look(&mut gathered, silent, || false), Err(LookUpError::Silence));
    assert_eq!(count, 1);
}

#[test]
fn a_look_that_takes_too_long_ends_with_what_it_has() {
    let mut gathered = Gathered::new("lab").expect("a domain");
    let count = std::cell::Cell::new(0);
    let ask = |name: &Name, kind| {
        count.set(count.get() + 1);
        answer(name, kind)
    };
    assert_eq!(look(&mut gathered, ask, || count.get() == 2), Err(LookUpError::Silence));
    assert_eq!(count.get(), 2);
}
