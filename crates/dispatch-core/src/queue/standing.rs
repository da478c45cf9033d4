//! How a host is: what people see of it.

use std::time::Duration;

use jiff::Timestamp;

use super::Stub;
use crate::host::Host;

/// After how long a host that was told to ask again counts as gone. A server that resets may be busy with itself for
/// some minutes before its firmware asks.
const GONE: Duration = Duration::from_mins(15);

/// How a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a run.
    Busy,
    /// It asks for work, again and again.
    Idle,
    /// It does not ask: it is off, or does something of its own.
    Offline,
}

/// How a host is. One that was told to power off, or to boot on from elsewhere, and took that, is gone at once.
#[must_use]
pub fn standing(host: &Host, has_run: bool, now: Timestamp) -> Standing {
    if has_run {
        return Standing::Busy;
    }
    let is_sent_away = host.idle.as_ref().is_some_and(|idle| {
        idle.is_taken
            && matches!(idle.stub, Some(Stub::PowerOff | Stub::Next))
            && host.last_seen <= idle.promised
    });
    let is_silent = Duration::try_from(now.duration_since(host.last_seen)).is_ok_and(|time| time > GONE);
    if is_sent_away || is_silent { Standing::Offline } else { Standing::Idle }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::HostId;
    use crate::queue::Idle;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn told(stub: Option<Stub>, is_taken: bool) -> Host {
        let idle = Idle {
            stub,
            reason: "nothing is left".to_owned(),
            since: at(0),
            promised: at(100),
            is_taken,
            is_urgent: false,
            arch: None,
        };
        let host = Host::new(HostId::new(at(0), [1; 10]), [192, 0, 2, 1].into(), at(0));
        Host { idle: Some(idle), last_seen: at(100), ..host }
    }

    #[test]
    fn a_host_that_was_sent_away_is_gone_until_it_asks_again() {
        for stub in [Stub::PowerOff, Stub::Next] {
            assert_eq!(standing(&told(Some(stub), true), false, at(101)), Standing::Offline);
            assert_eq!(
                standing(&told(Some(stub), false), false, at(101)),
                Standing::Idle,
                "it has not taken it"
            );
            let back = Host { last_seen: at(200), ..told(Some(stub), true) };
            assert_eq!(standing(&back, false, at(201)), Standing::Idle);
        }
    }

    #[test]
    fn a_host_that_waits_is_there_until_it_is_silent_for_long() {
        let host = told(Some(Stub::Wait), true);
        assert_eq!(standing(&host, false, at(100 + 15 * 60)), Standing::Idle);
        assert_eq!(standing(&host, false, at(101 + 15 * 60)), Standing::Offline);
        assert_eq!(standing(&host, true, at(1_000_000)), Standing::Busy, "a run keeps it");
    }
}
