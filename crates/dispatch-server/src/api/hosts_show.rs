//! A host as people see it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use dispatch_core::group::ListedHost;
use dispatch_core::queue::{PlanInput, Standing, plan_hosts, standing};
use dispatch_core::run::Policy;
use dispatch_core::{GroupId, GroupKind, Host, HostId, Run, Snapshot};
use dispatch_wire::api::host::{Host as Shown, HostLabel, HostState};
use dispatch_wire::api::run::Named;
use jiff::Timestamp;

use super::Api;
use super::problem::Answer;
use super::shown::{maybe_time, time};

/// A host that was seen, or one that the configuration lists and that was not.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    host: Host,
    is_seen: bool,
}

impl From<Host> for Known {
    fn from(host: Host) -> Self {
        Self { host, is_seen: true }
    }
}

impl From<&ListedHost> for Known {
    fn from(listed: &ListedHost) -> Self {
        let nobody = HostId::new(Timestamp::UNIX_EPOCH, [0; 10]);
        let host = Host::new(nobody, Ipv4Addr::UNSPECIFIED.into(), Timestamp::UNIX_EPOCH);
        let host = Host {
            name: listed.boot_name.clone(),
            macs: listed.macs.clone(),
            uuid: listed.uuid.clone(),
            ..host
        };
        Self { host, is_seen: false }
    }
}

impl Known {
    /// The host that was seen.
    pub(crate) fn seen(&self) -> Option<&Host> {
        Some(&self.host).filter(|_| self.is_seen)
    }
}

/// How many of the jobs that wait in each group are looked at to say what a host could start.
const LOOKED_AT: u32 = 50;

/// What hosts are seen by.
pub(crate) struct Eyes {
    world: Snapshot,
    now: Timestamp,
    /// Why hosts get no work, of those that were [planned for](Self::plan).
    waits: BTreeMap<HostId, String>,
}

impl Eyes {
    pub(crate) fn new(policy: &Policy, now: Timestamp) -> Self {
        let mut world = Snapshot::default();
        world.policy.clone_from(policy);
        Self { world, now, waits: BTreeMap::new() }
    }

    /// Sees why these hosts get no work at the moment.
    pub(crate) async fn plan(&mut self, api: &Api, hosts: &[Host]) -> Answer<()> {
        let policy = &self.world.policy;
        let groups = policy.groups.iter().flat_map(|groups| groups.iter());
        let metal = groups.filter(|group| group.kind == GroupKind::Metal).map(|group| group.id.clone());
        let metal: Vec<GroupId> = metal.collect();
        let (mut snapshot, waiting) = api.store().waiting(&metal, LOOKED_AT, policy).await?;
        snapshot.hosts = hosts.to_vec();
        self.waits = plan_hosts(&PlanInput { snapshot, waiting, ..PlanInput::default() }, self.now);
        Ok(())
    }

    /// A host with the run that it has. One that was seen must have been [planned for](Self::plan).
    pub(crate) fn show(&self, known: &Known, run: Option<&Run>) -> Shown {
        let (host, policy) = (&known.host, &self.world.policy);
        let seen = known.seen();
        let listing = policy.listing(host);
        let key = policy.key_of(host).map(ToString::to_string);
        let uid = seen.map(|host| host.id.to_string());
        let state = self.state(known, run);
        let waits = self.waits(known).filter(|_| state != HostState::Busy);
        Shown {
            id: key.clone().or(uid.clone()).unwrap_or_default(),
            name: host.title.clone().or(listing.and_then(|listing| listing.name.clone())),
            boot_name: host.name.as_ref().map(ToString::to_string),
            label: label(known, policy),
            macs: macs(host),
            address: seen.map(|host| host.address.to_string()),
            uuid: host.uuid.clone(),
            arch: host.arch.map(|arch| arch.to_string()),
            labels: self.labels(known),
            groups: self.groups(known),
            listed: listing.is_some(),
            accepted: policy.is_accepted(host),
            paused: host.is_paused,
            state,
            waits,
            told: seen.and_then(|host| host.idle.as_ref()?.stub).map(|stub| stub.to_string()),
            run_id: run.map(|run| run.id.public_name().to_string()),
            first_seen: maybe_time(seen.map(|host| host.first_seen)),
            last_seen: seen.map(|host| time(host.last_seen)),
            version: if known.is_seen { host.version } else { 0 },
            uid,
            key,
        }
    }

    pub(crate) fn state(&self, known: &Known, run: Option<&Run>) -> HostState {
        let Some(host) = known.seen() else { return HostState::Unseen };
        match standing(host, run.is_some(), self.now) {
            Standing::Busy => HostState::Busy,
            Standing::Idle => HostState::Idle,
            Standing::Offline => HostState::Offline,
        }
    }

    fn waits(&self, known: &Known) -> Option<String> {
        if known.is_seen {
            self.waits.get(&known.host.id).cloned()
        } else {
            Some("the configuration lists it, and it has never asked".to_owned())
        }
    }

    pub(crate) fn groups(&self, known: &Known) -> Vec<String> {
        self.world.groups_of(&known.host).map(|group| group.id.to_string()).collect()
    }

    pub(crate) fn is_accepted(&self, known: &Known) -> bool {
        self.world.policy.is_accepted(&known.host)
    }

    /// All labels, but for that of an identifier which nobody has.
    pub(crate) fn label_names(&self, known: &Known) -> BTreeSet<String> {
        let mut labels = self.world.policy.labels_of(&known.host);
        if !known.is_seen {
            labels.remove(&format!("host:{}", known.host.id));
        }
        labels
    }

    fn labels(&self, known: &Known) -> Vec<HostLabel> {
        let own = &known.host.labels;
        let other = Host { labels: Vec::new(), ..known.host.clone() };
        let fixed = self.world.policy.labels_of(&other);
        let shown = self.label_names(known).into_iter();
        shown.map(|name| HostLabel { fixed: fixed.contains(&name) || !own.contains(&name), name }).collect()
    }
}

/// What people read of a host in a line: what they call it, else how it was seen.
pub(crate) fn label(known: &Known, policy: &Policy) -> String {
    let listing = policy.listing(&known.host);
    let called = known.host.title.clone().or(listing.and_then(|listing| listing.name.clone()));
    let key = policy.key_of(&known.host).map(ToString::to_string);
    called.or(key).unwrap_or_else(|| known.host.label())
}

/// What a host is called in answers: its key, else its identifier.
pub(crate) fn id(host: &Host, policy: &Policy) -> String {
    policy.key_of(host).map_or_else(|| host.id.to_string(), ToString::to_string)
}

/// A host as other things name it.
pub(crate) fn named(host: &Host, policy: &Policy) -> Named {
    Named { id: id(host, policy), name: label(&Known::from(host.clone()), policy) }
}

fn macs(host: &Host) -> Vec<String> {
    let told = host.told_macs.iter().filter(|mac| !host.macs.contains(mac));
    host.macs.iter().chain(told).map(ToString::to_string).collect()
}
