//! What people ask for groups and hosts, and what a new configuration says of groups and templates.

use jiff::Timestamp;

use super::{Change, NotDone, Outcome, Snapshot};
use crate::event::Happening;
use crate::group::{GroupId, GroupState, HostKey, ListedHost};
use crate::host::Host;
use crate::id::HostId;
use crate::run::Policy;

/// How a group is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It takes jobs, and starts them.
    Open,
    /// It takes jobs, and starts none.
    Paused,
    /// It takes none, and starts those that it has.
    Draining,
}

/// What is to differ of a host. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEdit {
    /// Its id for people; or none.
    pub key: Option<Option<HostKey>>,
    /// What people call it; or nothing.
    pub title: Option<Option<String>>,
    /// Its labels: all of them but those that the configuration gives.
    pub labels: Option<Vec<String>>,
    /// Whether it may work.
    pub is_accepted: Option<bool>,
    /// Whether it gets no work for now.
    pub is_paused: Option<bool>,
}

/// A host of the configuration has the id that another host was given by hand. The file says what holds, so people are to
/// decide which of the two is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hosts: the id {key} was given to another host by hand, {host}: give one of the two another id")]
pub struct KeyConflict {
    /// The id, as the configuration has it.
    pub key: HostKey,
    /// What is known of the other host.
    pub host: String,
}

impl Snapshot {
    /// The configuration was read: these are its groups, and what it says of them. What is not in it any more keeps what
    /// it did, and starts nothing: nobody can queue from a source that has left. Whether a group is paused or drained is
    /// for people to say, and stays. Nothing changes if a listed host has the id of another one; `self` must hold all hosts.
    #[must_use]
    pub fn configure(
        mut self,
        groups: &[GroupState],
        policy: &Policy,
        now: Timestamp,
    ) -> Outcome<Result<(), KeyConflict>> {
        if let Some(conflict) = self.key_conflict(&policy.listed) {
            return Outcome { answer: Err(conflict), changes: Vec::new() };
        }
        for group in groups {
            let known = self.groups.iter().find(|known| known.id == group.id).cloned();
            let next = match &known {
                None => {
                    GroupState { in_config: true, version: 1, created: now, updated: now, ..group.clone() }
                }
                Some(known) => GroupState {
                    is_paused: known.is_paused,
                    is_draining: known.is_draining,
                    in_config: true,
                    version: known.version,
                    created: known.created,
                    updated: known.updated,
                    ..group.clone()
                },
            };
            self.put_group(known.as_ref(), next, now);
        }
        let left: Vec<GroupState> = self
            .groups
            .iter()
            .filter(|known| !groups.iter().any(|group| group.id == known.id))
            .cloned()
            .collect();
        for known in left {
            let next = GroupState { in_config: false, ..known.clone() };
            self.put_group(Some(&known), next, now);
        }
        let settings = || policy.groups.iter().flat_map(|groups| groups.iter());
        let templates = || settings().flat_map(|group| &group.templates);
        self.changes.extend(templates().map(|template| Change::Template(template.clone(), now)));
        self.changes
            .push(Change::TemplatesAre(templates().map(|template| template.id.clone()).collect(), now));
        self.changes.push(Change::SourcesAre(settings().flat_map(|group| group.sources.clone()).collect()));
        self.outcome(Ok(()))
    }

    /// A host that has the id of a listed one and is not it. What a person called a host that is listed does not count.
    fn key_conflict(&self, listed: &[ListedHost]) -> Option<KeyConflict> {
        let mut others = self.hosts.iter().filter(|host| !listed.iter().any(|listed| listed.is(host)));
        let is_same = |one: &HostKey, other: &HostKey| one.as_str().eq_ignore_ascii_case(other.as_str());
        others.find_map(|host| {
            let given = host.key.as_ref()?;
            let key = listed.iter().find(|listed| is_same(given, &listed.key))?.key.clone();
            Some(KeyConflict { key, host: host.label() })
        })
    }

    fn put_group(&mut self, known: Option<&GroupState>, next: GroupState, now: Timestamp) {
        if known == Some(&next) {
            return;
        }
        let version = known.map_or(1, |known| known.version.saturating_add(1));
        self.changes.push(Change::Group(GroupState { version, updated: now, ..next }));
    }

    /// Pauses or drains a group, or opens it again.
    #[must_use]
    pub fn switch_group(
        mut self,
        group: &GroupId,
        switch: Switch,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        let Some(known) = self.groups.iter().find(|known| known.id == *group).cloned() else {
            return Outcome { answer: Err(NotDone::GroupGone), changes: Vec::new() };
        };
        let next = GroupState {
            is_paused: switch == Switch::Paused,
            is_draining: switch == Switch::Draining,
            ..known.clone()
        };
        if next != known {
            self.put_group(Some(&known), next, now);
            let what = match switch {
                Switch::Open => Happening::GroupOpen,
                Switch::Paused => Happening::GroupPaused,
                Switch::Draining => Happening::GroupDraining,
            };
            self.tell_of_group(group, now, what);
        }
        self.outcome(Ok(()))
    }

    /// The same, if the group is one of the versions that were seen.
    #[must_use]
    pub fn switch_group_seen(
        self,
        group: &GroupId,
        switch: Switch,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        let version = self.groups.iter().find(|known| known.id == *group).map(|known| known.version);
        match (version, seen) {
            (Some(version), Some(seen)) if !seen.contains(&version) => {
                Outcome { answer: Err(NotDone::Changed(version)), changes: Vec::new() }
            }
            _ => self.switch_group(group, switch, by, now),
        }
    }

    /// Changes what people say of a host. What runs on it goes on.
    #[must_use]
    pub fn edit_host(
        mut self,
        host: HostId,
        edit: &HostEdit,
        seen: Option<&[u64]>,
        by: Option<&str>,
        now: Timestamp,
    ) -> Outcome<Result<(), NotDone>> {
        self.by = by.map(str::to_owned);
        let known = match self.hosts.iter().find(|known| known.id == host) {
            None => return Outcome { answer: Err(NotDone::HostUnknown), changes: Vec::new() },
            Some(known) if seen.is_some_and(|seen| !seen.contains(&known.version)) => {
                return Outcome { answer: Err(NotDone::Changed(known.version)), changes: Vec::new() };
            }
            Some(known) => known.clone(),
        };
        if let Some(Some(key)) = &edit.key {
            // Its host carries the label `host:ID`, of which the case is no difference; so does each by its own identity.
            let is_same = |other: &str| other.eq_ignore_ascii_case(key.as_str());
            let others = self.hosts.iter().filter(|other| other.id != host);
            let is_taken = others.clone().any(|other| is_same(&other.id.to_string()))
                || others.clone().filter_map(|other| other.key.as_ref()).any(|other| is_same(other.as_str()))
                || self.policy.listed.iter().any(|listed| is_same(listed.key.as_str()) && !listed.is(&known));
            if is_taken {
                return Outcome { answer: Err(NotDone::KeyTaken), changes: Vec::new() };
            }
        }
        let next = Host {
            key: edit.key.clone().unwrap_or_else(|| known.key.clone()),
            title: edit.title.clone().unwrap_or_else(|| known.title.clone()),
            labels: edit.labels.clone().unwrap_or_else(|| known.labels.clone()),
            is_accepted: edit.is_accepted.unwrap_or(known.is_accepted),
            is_paused: edit.is_paused.unwrap_or(known.is_paused),
            ..known.clone()
        };
        if next != known {
            let version = known.version.saturating_add(1);
            let what = match (known.is_accepted, next.is_accepted, known.is_paused, next.is_paused) {
                (false, true, ..) => Happening::HostAccepted,
                (_, _, false, true) => Happening::HostPaused,
                (_, _, true, false) => Happening::HostUnpaused,
                _ => Happening::HostEdited,
            };
            self.change_host(host, |host| *host = Host { version, ..next.clone() });
            self.tell(None, Some(host), now, what);
        }
        self.outcome(Ok(()))
    }
}
