//! The last requests: did my server ask at all? A host that waits asks every few seconds and gets the same answer; it
//! must not push out the stranger that asked once.

use std::collections::VecDeque;

use dispatch_boot::Asked;

/// How many are remembered.
pub const REQUESTS: usize = 50;

/// A request, as often as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The latest of them.
    pub latest: Asked,
    /// How many they are.
    pub count: u32,
}

/// Adds a request to those that are remembered, the latest last. One that somebody has made before, with the same
/// answer, joins that: also where others came between, for a host that waits alternates between `HEAD` and `GET`.
#[must_use]
pub fn joined(mut requests: VecDeque<Request>, asked: Asked) -> VecDeque<Request> {
    let is_same = |known: &Request| Asked { at: asked.at, ..known.latest.clone() } == asked;
    let known = requests.iter().position(is_same).and_then(|at| requests.remove(at));
    let count = known.map_or(1, |known| known.count.saturating_add(1));
    if requests.len() == REQUESTS {
        requests.pop_front();
    }
    requests.push_back(Request { latest: asked, count });
    requests
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use dispatch_core::Sighting;
    use proptest::prelude::*;

    use super::*;

    fn asked(host: u8, method: &str, status: u16, second: u64) -> Asked {
        Asked {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            who: Sighting { address: [192, 0, 2, host].into(), mac: None, name: None },
            agent: Some("UefiHttpBoot/1.0".to_owned()),
            method: method.to_owned(),
            target: "/dispatch".to_owned(),
            status,
            answer: if status == 200 { "told to wait" } else { "nothing is here" }.to_owned(),
        }
    }

    #[test]
    fn hosts_that_wait_do_not_push_out_the_stranger_that_asked_once() {
        let mut requests = joined(VecDeque::new(), asked(9, "GET", 404, 0));
        for second in 1..=100 {
            for method in ["HEAD", "GET"] {
                requests = joined(requests, asked(1, method, 200, second));
            }
        }
        let told: Vec<_> = requests
            .iter()
            .map(|request| (request.latest.method.as_str(), request.latest.status, request.count))
            .collect();
        assert_eq!(told, [("GET", 404, 1), ("HEAD", 200, 100), ("GET", 200, 100)]);
        assert_eq!(requests[1].latest.at, asked(1, "HEAD", 200, 100).at, "the latest time");
    }

    proptest! {
        #[test]
        fn the_latest_is_last_nothing_is_there_twice_and_nothing_is_lost_but_the_oldest(
            hosts in prop::collection::vec(0..80_u8, 1..200),
        ) {
            let mut requests = VecDeque::new();
            for (second, host) in (0..).zip(&hosts) {
                requests = joined(requests, asked(*host, "GET", 200, second));
                prop_assert_eq!(&requests.back().expect("one").latest, &asked(*host, "GET", 200, second));
            }
            let distinct: std::collections::BTreeSet<u8> = hosts.iter().copied().collect();
            prop_assert_eq!(requests.len(), distinct.len().min(REQUESTS));
            prop_assert!(requests.iter().is_sorted_by_key(|request| request.latest.at));
            if distinct.len() <= REQUESTS {
                let sum: u32 = requests.iter().map(|request| request.count).sum();
                prop_assert_eq!(sum as usize, hosts.len());
            }
        }
    }
}
