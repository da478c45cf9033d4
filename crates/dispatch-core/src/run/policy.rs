//! The settings of a queue: what is the same for all of its groups, and what differs for one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Deadlines;
use crate::group::{Group, GroupId, HostKey, ListedHost, UnknownHosts};
use crate::host::{Host, HostPattern};
use crate::verdict::Judge;
use crate::workload::{Arch, SourceId};

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinks {
    /// Into files.
    pub files: bool,
    /// Into the issues of a repository.
    pub issues: Option<IssueTarget>,
}

/// A repository whose issues reports become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueTarget {
    /// `owner/name`.
    pub repository: String,
    /// On which GitHub: the root of its API.
    pub api: String,
}

impl Default for Sinks {
    fn default() -> Self {
        Self { files: true, issues: None }
    }
}

/// The settings of all groups' queues, and what differs for one of them.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Policy {
    /// The groups of the configuration, in its order; none at all in a session, whose only queue takes any host.
    pub groups: Option<Arc<[Group]>>,
    /// Groups that have left the configuration, as they last were in it: what was started for them ends by the rules
    /// that it was started with. Nothing more is started.
    pub departed: Arc<[Group]>,
    /// Where reports go of what runs from sources that have left their group.
    pub departed_targets: Arc<BTreeMap<(GroupId, SourceId), IssueTarget>>,
    /// The hosts that the configuration lists.
    pub listed: Arc<[ListedHost]>,
    /// What becomes of hosts that it does not list.
    pub unknown_hosts: UnknownHosts,
    /// Jobs are started. Else they only wait.
    pub is_dispatching: bool,
    /// How long each state may last.
    pub deadlines: Deadlines,
    /// How many more attempts a job gets after its first one errored.
    pub retries: u32,
    /// How reports without a verdict are judged.
    pub judge: Arc<Judge>,
    /// What a host is told when there is no work for it.
    pub when_idle: crate::queue::WhenIdle,
    /// The session ends by itself when all jobs are over.
    pub ends_when_done: bool,
    /// The source is looked at again and again: more may come at any time.
    pub is_watching: bool,
    /// The hosts that get work; none named means all.
    pub hosts: Vec<HostPattern>,
    /// What a host's processor probably is, if nothing is known of it: what the images are made for.
    pub arch: Option<Arch>,
    /// The labels of hosts.
    pub labels: Vec<(HostPattern, Vec<String>)>,
    /// Where reports go.
    pub sinks: Sinks,
    /// A line at the end of each issue tells run, host, workload, duration, attempt and verdict.
    pub has_footer: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            groups: None,
            departed: Arc::new([]),
            departed_targets: Arc::default(),
            listed: Arc::new([]),
            unknown_hosts: UnknownHosts::Accept,
            is_dispatching: true,
            deadlines: Deadlines::default(),
            retries: 2,
            judge: Arc::default(),
            when_idle: crate::queue::WhenIdle::Auto,
            ends_when_done: false,
            is_watching: false,
            hosts: Vec::new(),
            arch: None,
            labels: Vec::new(),
            sinks: Sinks::default(),
            has_footer: true,
        }
    }
}

impl Policy {
    /// A group of the configuration, if it is in it.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<&Group> {
        self.groups.as_deref().and_then(|groups| groups.iter().find(|group| group.id == *id))
    }

    /// The rules that what runs of a group ends by: as the configuration has them, or last had.
    fn rules(&self, id: &GroupId) -> Option<&Group> {
        self.group(id).or_else(|| self.departed.iter().find(|group| group.id == *id))
    }

    /// These settings after those of `before`: its groups and sources that are not here any more have departed.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let left = before.groups.iter().flat_map(|groups| groups.iter()).chain(&*before.departed);
        let departed: Vec<Group> = left.filter(|group| self.group(&group.id).is_none()).cloned().collect();
        let all = before.groups.iter().flat_map(|groups| groups.iter()).chain(&*before.departed);
        let of_group = |group: &Group| {
            let of_source = |(source, target): (&SourceId, &IssueTarget)| {
                ((group.id.clone(), source.clone()), target.clone())
            };
            group.targets.iter().map(of_source).collect::<Vec<_>>()
        };
        let known = before.departed_targets.iter().map(|(of, target)| (of.clone(), target.clone()));
        let has_left = |(group, source): &(GroupId, SourceId)| {
            self.group(group).is_none_or(|group| !group.sources.contains(source))
        };
        let targets = known.chain(all.flat_map(of_group)).filter(|(of, _)| has_left(of));
        let departed_targets = Arc::new(targets.collect());
        Self { departed: departed.into(), departed_targets, ..self }
    }

    /// Whether issues of this group have a last line that tells where they come from.
    #[must_use]
    pub fn has_footer_of(&self, group: &GroupId) -> bool {
        self.rules(group).and_then(|group| group.has_footer).unwrap_or(self.has_footer)
    }

    /// Whether it is that of a service, not of a session.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.groups.is_some()
    }

    /// How long each state of a run of this group may last.
    #[must_use]
    pub fn deadlines_of(&self, group: &GroupId) -> Deadlines {
        self.rules(group).map_or(self.deadlines, |group| self.deadlines.with(&group.deadlines))
    }

    /// How many more attempts a job of this group gets after its first one errored.
    #[must_use]
    pub fn retries_of(&self, group: &GroupId) -> u32 {
        self.rules(group).and_then(|group| group.retries).unwrap_or(self.retries)
    }

    /// How reports of this group are judged that carry no verdict. If the group had left the configuration before the
    /// service was started, nobody knows.
    #[must_use]
    pub fn judge_of(&self, group: &GroupId) -> &Judge {
        static UNKNOWN: Judge = Judge::UNKNOWN;
        match self.rules(group) {
            None if self.is_service() => &UNKNOWN,
            group => group.and_then(|group| group.judge.as_deref()).unwrap_or(&self.judge),
        }
    }

    /// Where reports go of what this group runs from this source.
    #[must_use]
    pub fn sinks_of(&self, group: &GroupId, source: Option<&SourceId>) -> Sinks {
        let rules = self.rules(group);
        let sinks = rules.and_then(|rules| rules.sinks.as_ref()).unwrap_or(&self.sinks).clone();
        let departed = |source: &SourceId| self.departed_targets.get(&(group.clone(), source.clone()));
        let target = || {
            let (rules, source) = rules.zip(source)?;
            rules.targets.get(source).or_else(|| departed(source))
        };
        let issues = sinks.issues.or_else(|| target().cloned());
        // A report goes somewhere, whatever is left to file it as.
        Sinks { files: sinks.files || issues.is_none(), issues }
    }

    /// The listed host that a host is.
    #[must_use]
    pub fn listing(&self, host: &Host) -> Option<&ListedHost> {
        self.listed.iter().find(|listed| listed.is(host))
    }

    /// The id of a host that people know it by, if it has one.
    #[must_use]
    pub fn key_of<'a>(&'a self, host: &'a Host) -> Option<&'a HostKey> {
        self.listing(host).map(|listed| &listed.key).or(host.key.as_ref())
    }

    /// Whether a host may work: it is listed, a person has accepted it, or nobody has to be.
    #[must_use]
    pub fn is_accepted(&self, host: &Host) -> bool {
        self.unknown_hosts == UnknownHosts::Accept || host.is_accepted || self.listing(host).is_some()
    }

    /// The labels that a host carries: what the settings and people give it, and `host:ID` with each of its ids.
    #[must_use]
    pub fn labels_of(&self, host: &Host) -> BTreeSet<String> {
        let given = self.labels.iter().filter(|(pattern, _)| pattern.matches(host));
        let given = given.flat_map(|(_, labels)| labels);
        let listed = self.listing(host).into_iter().flat_map(|listed| &listed.labels);
        let key = self.key_of(host).map(|key| format!("host:{key}"));
        let own = given.chain(listed).chain(&host.labels).cloned();
        own.chain(key).chain([format!("host:{}", host.id)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupKind;
    use crate::verdict::{ReportFacts, Rule, Verdict};

    fn policy(groups: &[(&str, u32)]) -> Policy {
        let group = |(id, retries): &(&str, u32)| Group {
            retries: Some(*retries),
            judge: Some(Arc::new(Judge { pass_if: vec![Rule::Milestone], ..Judge::default() })),
            has_footer: Some(false),
            sinks: Some(Sinks { files: false, issues: Some(target()) }),
            ..Group::new(id.parse().expect("an id"), GroupKind::Metal)
        };
        Policy { groups: Some(groups.iter().map(group).collect()), ..Policy::default() }
    }

    fn target() -> IssueTarget {
        IssueTarget { repository: "o/r".to_owned(), api: "https://api.test".to_owned() }
    }

    #[test]
    fn what_runs_of_a_group_that_left_ends_by_the_rules_that_it_was_started_with() {
        let id: GroupId = "a".parse().expect("an id");
        let after = policy(&[("b", 1)]).after(&policy(&[("a", 7), ("b", 0)]));
        assert!(after.group(&id).is_none(), "nothing more of it is started");
        assert_eq!(after.retries_of(&id), 7);
        assert_eq!(after.judge_of(&id).pass_if.len(), 1);
        assert!(!after.has_footer_of(&id));
        assert_eq!(after.sinks_of(&id, None), Sinks { files: false, issues: Some(target()) });
        assert_eq!(after.departed.len(), 1, "the other one is here");
        let later = policy(&[]).after(&after);
        assert_eq!(later.retries_of(&id), 7, "however many files were read since");
        let back = policy(&[("a", 2)]).after(&later);
        assert_eq!((back.retries_of(&id), back.departed.len()), (2, 1));
    }

    #[test]
    fn what_runs_of_a_group_whose_rules_nobody_knows_has_no_good_verdict() {
        let facts = ReportFacts { title: "", body: "", labels: &[], milestone: Some("m"), verdict: None };
        let id: GroupId = "a".parse().expect("an id");
        assert_eq!(policy(&[("b", 1)]).judge_of(&id).verdict(&facts), Verdict::Errored);
        let own = ReportFacts { verdict: Some(Verdict::Passed), ..facts };
        assert_eq!(policy(&[("b", 1)]).judge_of(&id).verdict(&own), Verdict::Passed, "the image knows");
        let session = Policy::default();
        assert_eq!(session.judge_of(&GroupId::session()).verdict(&facts), Verdict::Unjudged);
    }

    #[test]
    fn reports_of_a_source_that_left_its_group_go_where_they_went() {
        let (id, source): (GroupId, _) = ("a".parse().expect("an id"), SourceId::new("a/s"));
        let with = |sources: &[&SourceId], targets: &[&SourceId]| {
            let group = Group {
                sinks: Some(Sinks { files: false, issues: None }),
                sources: sources.iter().map(|&source| source.clone()).collect(),
                targets: targets.iter().map(|&source| (source.clone(), target())).collect(),
                ..Group::new(id.clone(), GroupKind::Metal)
            };
            Policy { groups: Some([group].into()), ..Policy::default() }
        };
        let issues = |policy: &Policy| policy.sinks_of(&id, Some(&source)).issues;
        let before = with(&[&source], &[&source]);
        assert_eq!(issues(&before), Some(target()));
        let left = with(&[], &[]).after(&before);
        assert_eq!(issues(&left), Some(target()));
        assert_eq!(
            issues(&with(&[], &[]).after(&left)),
            Some(target()),
            "however many files were read since"
        );
        let gone = policy(&[]).after(&left);
        assert_eq!(issues(&gone), Some(target()), "also when its group leaves after it");
        let back = with(&[], &[]).after(&policy(&[]).after(&before));
        assert_eq!(issues(&back), Some(target()), "also when its group comes back without it");
        let changed = with(&[&source], &[]).after(&before);
        assert_eq!(issues(&changed), None, "it is still there, and is not to be filed any more");
    }
}
