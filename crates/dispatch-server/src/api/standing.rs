//! How queues, hosts and the outbox are at the moment, and what of that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatch_core::queue::{Standing as HostStanding, standing};
use dispatch_core::{GroupId, Host, HostId, RunState, Snapshot};
use dispatch_store::reads::{Counts, OutboxCounts};
use dispatch_store::{StoreError, StoredEvent};
use dispatch_wire::api::Standing;
use dispatch_wire::api::system::QueueStatus;
use jiff::Timestamp;

use super::Api;
use super::session::later;

/// A host that has not been seen for so long is not asking for work: then [`standing`] says so, too.
const LONG: Duration = Duration::from_mins(15);

/// The most hosts that are looked at: those that were seen last.
const MOST_HOSTS: u32 = 10_000;

/// From when on it is wrong that something is still to be done outside.
const OVERDUE: Duration = Duration::from_mins(15);

/// What there is to see.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) counts: BTreeMap<GroupId, Counts>,
    pub(crate) outbox: OutboxCounts,
    pub(crate) last_event: Option<StoredEvent>,
    /// Those that are there, and whether they have a run.
    hosts: Vec<(Host, bool)>,
}

impl Seen {
    pub(crate) fn online(&self) -> u64 {
        self.hosts.len() as u64
    }

    pub(crate) fn busy(&self) -> u64 {
        self.hosts.iter().filter(|(_, is_busy)| *is_busy).count() as u64
    }

    /// How many hosts of each group of the configuration are there, and how many of these have a run.
    pub(crate) fn by_group(&self, api: &Api) -> BTreeMap<String, (i64, i64)> {
        let mut world = Snapshot::default();
        world.policy.clone_from(&api.engine().policy());
        let groups = world.policy.groups.iter().flat_map(|groups| groups.iter());
        let metal = groups.filter(|group| group.kind == dispatch_core::GroupKind::Metal);
        let mut counts: BTreeMap<_, _> = metal.map(|group| (group.id.to_string(), (0, 0))).collect();
        for (host, is_busy) in &self.hosts {
            for group in world.groups_of(host) {
                let (online, busy) = counts.entry(group.id.to_string()).or_insert((0, 0));
                *online += 1;
                *busy += i64::from(*is_busy);
            }
        }
        counts
    }
}

/// Looks at all of it.
pub(crate) async fn look(api: &Api) -> Result<Seen, StoreError> {
    let (store, now) = (api.store(), api.clock().now());
    let then = now.checked_sub(LONG).unwrap_or(Timestamp::MIN);
    let hosts = store.hosts_since(then, MOST_HOSTS).await?;
    let ids: Vec<HostId> = hosts.iter().map(|host| host.id).collect();
    let busy: BTreeSet<HostId> = store.busy_hosts(&ids).await?.into_iter().collect();
    let hosts = hosts.into_iter().map(|host| {
        let has_run = busy.contains(&host.id);
        (host, has_run)
    });
    let there = hosts.filter(|(host, has_run)| standing(host, *has_run, now) != HostStanding::Offline);
    Ok(Seen {
        hosts: there.collect(),
        counts: store.counts().await?,
        outbox: store.outbox_counts().await?,
        last_event: store.newest_event().await?,
    })
}

/// What each group has, in the words of other queues.
pub(crate) fn queue(seen: &Seen) -> Vec<QueueStatus> {
    let one = |(group, counts): (&GroupId, &Counts)| {
        let (triggered, running) = started(counts);
        QueueStatus { group_id: group.to_string(), pending: counts.queued, triggered, running }
    };
    seen.counts.iter().map(one).collect()
}

/// How many of a group's runs have come to nothing yet, and how many run.
pub(crate) fn started(counts: &Counts) -> (u64, u64) {
    let is_triggered = |state: &RunState| matches!(state, RunState::Assigned | RunState::Booting);
    let sum = |wanted: bool| {
        let fit = counts.runs.iter().filter(|(state, _)| is_triggered(state) == wanted);
        fit.map(|(_, count)| count).sum()
    };
    (sum(true), sum(false))
}

/// What is wrong, a sentence each.
pub(crate) fn reasons(database: Standing, outbox: &OutboxCounts, now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    match database {
        Standing::Healthy => {}
        Standing::Degraded => {
            reasons.push("the database answers slowly: look at what it is busy with".to_owned());
        }
        Standing::Unhealthy => reasons.push("the database does not answer: see that it runs".to_owned()),
    }
    if outbox.failing > 0 {
        let (failing, waiting) = (outbox.failing, outbox.waiting);
        reasons.push(format!(
            "{failing} of {waiting} things to be done outside have failed so far, and are tried again: the log says why"
        ));
    }
    if outbox.oldest.is_some_and(|oldest| later(oldest, OVERDUE) < now) {
        reasons.push(format!(
            "something is to be done outside for more than {} minutes: the log says what keeps it",
            OVERDUE.as_secs() / 60
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn all_is_well_until_something_is_wrong_and_that_is_said() {
        let outbox = OutboxCounts { waiting: 2, failing: 0, oldest: Some(at(100)) };
        assert_eq!(reasons(Standing::Healthy, &outbox, at(100 + 15 * 60)), Vec::<String>::new());
        assert_eq!(reasons(Standing::Healthy, &outbox, at(101 + 15 * 60)).len(), 1);
        let failing = OutboxCounts { failing: 1, ..outbox };
        assert!(reasons(Standing::Healthy, &failing, at(100))[0].starts_with("1 of 2"));
        assert!(reasons(Standing::Unhealthy, &OutboxCounts::default(), at(0))[0].contains("does not answer"));
    }
}
