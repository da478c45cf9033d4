//! Which MAC address an address on the same link belongs to: the kernel's neighbour table, by netlink
//! (rtnetlink(7), `RTM_GETNEIGH`), for IPv4 and IPv6 alike.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use dispatch_core::Mac;
use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

/// How long the kernel may take: the host waits for its answer.
const PATIENCE: Duration = Duration::from_millis(300);

/// The neighbour table.
#[derive(Clone, Debug)]
pub struct Neighbours(Option<Handle>);

impl Neighbours {
    /// Opens the table. The future must be polled for as long as the table is used.
    pub fn open() -> io::Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok((Self(Some(handle)), connection))
    }

    /// A table in which nobody is found.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The MAC that an address belongs to, if it is on the same link and its entry is complete.
    pub async fn mac_of(&self, address: IpAddr) -> Option<Mac> {
        tokio::time::timeout(PATIENCE, self.look_up(address)).await.ok().flatten()
    }

    async fn look_up(&self, address: IpAddr) -> Option<Mac> {
        let handle = self.0.as_ref().filter(|_| !address.is_loopback())?;
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        // One address can be asked for only together with its interface, which a connection does not tell.
        let mut table = handle.neighbours().get().set_address_family(family).execute();
        let mut entries = Vec::new();
        loop {
            match table.try_next().await {
                Ok(Some(entry)) => entries.extend(complete_entry(&entry, address)),
                Ok(None) => return best(&entries),
                Err(error) => {
                    tracing::warn!(
                        "the neighbour table cannot be read, hosts are told apart by address: {error}"
                    );
                    return None;
                }
            }
        }
    }
}

/// How sure the kernel is of an entry, the best last (`NUD_*`, rtnetlink(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Was right once: of another interface, perhaps long ago.
    Stale,
    /// Was right once, and is in use.
    Checked,
    /// Is right.
    Confirmed,
}

impl Trust {
    /// Nothing for what is being asked for, has failed, or needs no resolution (loopback): that says nothing.
    fn of(state: NeighbourState) -> Option<Self> {
        match state {
            NeighbourState::Reachable | NeighbourState::Permanent => Some(Self::Confirmed),
            NeighbourState::Delay | NeighbourState::Probe => Some(Self::Checked),
            NeighbourState::Stale => Some(Self::Stale),
            _ => None,
        }
    }
}

/// The MAC of the entries of one address: each interface may have its own. None where the most trusted do not agree:
/// another host's would be worse than none.
fn best(entries: &[(Trust, Mac)]) -> Option<Mac> {
    let most = entries.iter().map(|(trust, _)| *trust).max()?;
    let mut macs = entries.iter().filter(|(trust, _)| *trust == most).map(|(_, mac)| *mac);
    let first = macs.next()?;
    macs.all(|mac| mac == first).then_some(first)
}

/// The MAC of a table entry, if the entry is for this address, complete, and one network card's.
fn complete_entry(entry: &NeighbourMessage, address: IpAddr) -> Option<(Trust, Mac)> {
    let trust = Trust::of(entry.header.state)?;
    let is_asked = entry.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(known)) => IpAddr::V4(*known) == address,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(known)) => IpAddr::V6(*known) == address,
        _ => false,
    });
    let mac = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes.as_slice().try_into().ok()?)),
        _ => None,
    });
    mac.filter(|mac| is_asked && mac.is_unicast()).map(|mac| (trust, mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: NeighbourState, mac: &[u8]) -> NeighbourMessage {
        let mut entry = NeighbourMessage::default();
        entry.header.state = state;
        entry.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 0, 2, 1].into())),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        entry
    }

    #[test]
    fn only_complete_entries_with_a_unicast_mac_count() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let mac = [0x52, 0x54, 0, 0, 0, 1];
        let found = |state, mac: &[u8]| complete_entry(&entry(state, mac), address).map(|(_, mac)| mac);
        for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Permanent] {
            assert_eq!(found(state, &mac), Some(Mac(mac)));
        }
        for state in [NeighbourState::Incomplete, NeighbourState::Failed, NeighbourState::Noarp] {
            assert_eq!(found(state, &mac), None, "{state:?}");
        }
        assert_eq!(found(NeighbourState::Reachable, &[0; 6]), None, "zeros");
        assert_eq!(found(NeighbourState::Reachable, &[0xff; 6]), None, "broadcast");
        assert_eq!(found(NeighbourState::Reachable, &[0x52; 20]), None, "InfiniBand");
        let other = IpAddr::from([192, 0, 2, 2]);
        assert_eq!(complete_entry(&entry(NeighbourState::Reachable, &mac), other), None);
    }

    #[test]
    fn of_several_interfaces_the_one_that_the_kernel_is_surest_of_counts() {
        use NeighbourState::{Delay, Failed, Permanent, Probe, Reachable, Stale};
        let address = IpAddr::from([192, 0, 2, 1]);
        let (one, other) = ([0x52, 0x54, 0, 0, 0, 1], [0x52, 0x54, 0, 0, 0, 2]);
        let found = |states: &[(NeighbourState, [u8; 6])]| {
            let entries =
                states.iter().filter_map(|(state, mac)| complete_entry(&entry(*state, mac), address));
            best(&entries.collect::<Vec<_>>())
        };
        assert_eq!(found(&[]), None);
        for (worse, better) in [
            (Stale, Reachable),
            (Stale, Permanent),
            (Stale, Delay),
            (Stale, Probe),
            (Delay, Reachable),
            (Probe, Permanent),
            (Failed, Stale),
        ] {
            assert_eq!(found(&[(worse, one), (better, other)]), Some(Mac(other)), "{worse:?} {better:?}");
            assert_eq!(found(&[(better, other), (worse, one)]), Some(Mac(other)), "{worse:?} {better:?}");
        }
        for (state, same) in [(Stale, Stale), (Delay, Probe), (Permanent, Reachable)] {
            assert_eq!(found(&[(state, one), (same, other)]), None, "{state:?} {same:?}");
            assert_eq!(found(&[(state, one), (same, one)]), Some(Mac(one)), "{state:?} {same:?}");
        }
    }
}
