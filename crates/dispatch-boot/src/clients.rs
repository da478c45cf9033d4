//! Who is connected: one address must not take the places of all others, by fault or on purpose.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Those that are connected.
#[derive(Debug)]
pub(crate) struct Clients {
    /// How many of one address.
    limit: usize,
    connected: Mutex<HashMap<IpAddr, Vec<Arc<Client>>>>,
}

/// A client that is connected.
#[derive(Debug, Default)]
pub(crate) struct Client {
    is_idle: AtomicBool,
    leave: CancellationToken,
}

/// The place of a client; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    address: IpAddr,
    pub(crate) client: Arc<Client>,
}

impl Client {
    /// Whether it is between two requests.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Ordering::Relaxed);
    }

    /// Another one needs its place, and it was idle.
    pub(crate) async fn is_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Clients {
    /// Nobody yet; so many may be connected from one address.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, connected: Mutex::default() })
    }

    fn connected(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Arc<Client>>>> {
        // What is in it is whole even if somebody panicked while holding it.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more. If its address has too many, the oldest of them that is idle has to leave; without such a
    /// one there is no place.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut connected = self.connected();
        let of_address = connected.entry(address).or_default();
        if of_address.len() >= self.limit {
            let idle = of_address.iter().position(|client| client.is_idle.load(Ordering::Relaxed))?;
            of_address.remove(idle).leave.cancel();
        }
        let client = Arc::new(Client::default());
        of_address.push(Arc::clone(&client));
        Some(Place { clients: Arc::clone(self), address, client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.clients.connected();
        let Some(of_address) = connected.get_mut(&self.address) else { return };
        of_address.retain(|client| !Arc::ptr_eq(client, &self.client));
        if of_address.is_empty() {
            connected.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_oldest_idle_one_makes_room_and_a_busy_one_never() {
        let clients = Clients::new(3);
        let admit = |last| clients.admit(address(last));
        let [one, two, three] = [1, 1, 1].map(|last| admit(last).expect("a place"));
        assert!(admit(1).is_none(), "all are busy");
        assert!(admit(2).is_some(), "another address has its own");
        three.client.set_idle(true);
        two.client.set_idle(true);
        let _four = admit(1).expect("a place");
        let has_to_leave = [&one, &two, &three].map(|place| place.client.leave.is_cancelled());
        assert_eq!(has_to_leave, [false, true, false]);
        drop(two);
        assert!(admit(1).is_some() && three.client.leave.is_cancelled());
        drop(one);
        assert!(admit(1).is_some(), "a place is free again");
    }

    proptest! {
        #[test]
        fn no_address_has_more_than_it_may_and_nothing_is_left_over(
            steps in proptest::collection::vec((0..3u8, any::<bool>(), any::<bool>()), 0..100),
        ) {
            let clients = Clients::new(4);
            let mut places = Vec::new();
            for (last, is_idle, leaves) in steps {
                if let Some(place) = clients.admit(address(last)) {
                    place.client.set_idle(is_idle);
                    places.push(place);
                }
                // Whoever has to leave does so in its own time.
                if leaves && !places.is_empty() {
                    places.remove(0);
                }
                prop_assert!(clients.connected().values().all(|of_address| of_address.len() <= 4));
            }
            drop(places);
            prop_assert!(clients.connected().is_empty());
        }
    }
}
