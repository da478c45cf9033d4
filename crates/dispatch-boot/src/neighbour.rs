//! Which MAC address an address on the same link belongs to: the kernel's neighbour table, by netlink
//! (rtnetlink(7), `RTM_GETNEIGH`), for IPv4 and IPv6 alike.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use dispatch_core::Mac;
use futures_util::TryStreamExt as _;
use rtnetlink::Handle;
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
        let mut table = handle.neighbours().get().execute();
        loop {
            match table.try_next().await {
                Ok(Some(entry)) => {
                    if let Some(mac) = complete_entry(&entry, address) {
                        return Some(mac);
                    }
                }
                Ok(None) => return None,
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

/// The MAC of a table entry, if the entry is for this address, complete, and one network card's.
fn complete_entry(entry: &NeighbourMessage, address: IpAddr) -> Option<Mac> {
    // What is being asked for, has failed, or needs no resolution (loopback) says nothing.
    let is_complete = matches!(
        entry.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let is_asked = entry.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(known)) => IpAddr::V4(*known) == address,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(known)) => IpAddr::V6(*known) == address,
        _ => false,
    });
    if !is_complete || !is_asked {
        return None;
    }
    let mac = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(Mac(bytes.as_slice().try_into().ok()?)),
        _ => None,
    });
    mac.filter(|mac| mac.is_unicast())
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
        let found = |state, mac: &[u8]| complete_entry(&entry(state, mac), address);
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
}
