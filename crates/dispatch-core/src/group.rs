//! Groups: pools of targets with a queue of their own. What the configuration says of them, and what people have
//! switched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::host::{Host, HostName};
use crate::mac::Mac;
use crate::queue::WhenIdle;
use crate::run::{DeadlineChanges, IssueTarget, Sinks};
use crate::verdict::Judge;
use crate::workload::{SourceId, UnknownWord, Workflow};

/// The longest name that people give to a group, a template or a host, in characters.
const MAX_NAME: usize = 100;

/// A text that cannot be the id of something in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be an id: write 1 to {MAX_NAME} letters, digits or any of `- _ .`, the first a letter or a digit"
)]
pub struct NotAnId(String);

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if is_id(text) { Ok(Self(text.to_owned())) } else { Err(NotAnId(text.to_owned())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

fn is_id(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(is_good)
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

names! {
    /// The id of a group, as the configuration gives it. A session's only group is called `session`.
    GroupId
    /// The id of a template, unique over all groups.
    TemplateId
    /// The id that the configuration or a person gives a host. Its host carries the label `host:ID`.
    HostKey
}

/// What a group's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Bare-metal servers.
    Metal,
    /// Self-hosted runners of GitHub Actions.
    Actions,
    /// Sandboxes.
    Sandbox,
}

impl GroupKind {
    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Actions => "actions",
            Self::Sandbox => "sandbox",
        }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for GroupKind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        [Self::Metal, Self::Actions, Self::Sandbox]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownWord(word.to_owned()))
    }
}

/// How many jobs a workload becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Spread {
    /// One, on any host that fits.
    #[default]
    Any,
    /// One for each host that fits.
    EachHost,
    /// One for each value of a label: with `each:rack`, one for each label `rack:…` that a fitting host carries.
    Each(String),
}

/// A text that is no spread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no spread: write `any`, `each-host` or `each:LABEL`")]
pub struct NotASpread(String);

impl FromStr for Spread {
    type Err = NotASpread;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "any" => Ok(Self::Any),
            None if text == "each-host" => Ok(Self::EachHost),
            // Each host carries such a label twice: by its id, and by the one that people gave it.
            Some(("each", label)) if label.eq_ignore_ascii_case("host") => Ok(Self::EachHost),
            Some(("each", label)) if !label.is_empty() => Ok(Self::Each(label.to_owned())),
            _ => Err(NotASpread(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Spread {
    type Error = NotASpread;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Spread> for String {
    fn from(spread: Spread) -> Self {
        spread.to_string()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::EachHost => f.write_str("each-host"),
            Self::Each(label) => write!(f, "each:{label}"),
        }
    }
}

/// What becomes of a host that nobody has listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownHosts {
    /// It is remembered, and gets no work until a person accepts it.
    #[default]
    Enroll,
    /// It gets work at once.
    Accept,
    /// It is not remembered, and boots on from its next device.
    Ignore,
}

impl GroupId {
    /// The only group of a session.
    #[must_use]
    pub fn session() -> Self {
        Self("session".to_owned())
    }
}

/// A group as the configuration has it. What it leaves out is as for all.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// What its targets are.
    pub kind: GroupKind,
    /// Labels that a host must carry, all of them; of a group of runners, those of its runners.
    pub labels: Vec<String>,
    /// How many of its runs may go on at once.
    pub max_concurrent: Option<u32>,
    /// What a host of it is told when there is no work.
    pub when_idle: Option<WhenIdle>,
    /// Deadlines that are to differ.
    pub deadlines: DeadlineChanges,
    /// How many more attempts a job gets after its first one errored.
    pub retries: Option<u32>,
    /// How reports without a verdict are judged.
    pub judge: Option<Arc<Judge>>,
    /// Where reports go.
    pub sinks: Option<Sinks>,
    /// The issues that reports of what a source offers become, where the sinks name none.
    pub targets: BTreeMap<SourceId, IssueTarget>,
    /// Whether its issues have a last line that tells where they come from, if that differs.
    pub has_footer: Option<bool>,
    /// A source of it is looked at again and again: more may come at any time.
    pub is_watching: bool,
    /// Its sources. What comes from others has left the configuration.
    pub sources: Vec<SourceId>,
    /// Its templates.
    pub templates: Vec<Template>,
}

impl Group {
    /// A group that takes any host and has nothing of its own.
    #[must_use]
    pub fn new(id: GroupId, kind: GroupKind) -> Self {
        Self {
            id,
            kind,
            labels: Vec::new(),
            max_concurrent: None,
            when_idle: None,
            deadlines: DeadlineChanges::default(),
            retries: None,
            judge: None,
            sinks: None,
            targets: BTreeMap::new(),
            has_footer: None,
            is_watching: false,
            sources: Vec::new(),
            templates: Vec::new(),
        }
    }
}

/// How a group stands, whatever the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Which.
    pub id: GroupId,
    /// What its targets are.
    pub kind: GroupKind,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its labels when it was last in the configuration.
    pub labels: Vec<String>,
    /// Nothing of it is started.
    pub is_paused: bool,
    /// It takes no more jobs, and works off those that it has.
    pub is_draining: bool,
    /// It is in the configuration.
    pub in_config: bool,
    /// Its place in the configuration.
    pub place: i64,
    /// Grows with each change.
    pub version: u64,
    /// When it was first in the configuration.
    pub created: jiff::Timestamp,
    /// When it last changed.
    pub updated: jiff::Timestamp,
}

/// A reusable definition of jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// The group whose queue its jobs are for.
    pub group: GroupId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it runs.
    pub runs: TemplateRuns,
    /// What its workload is given, unless a job says otherwise.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// What people call its jobs by, for filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Labels that its jobs' hosts must carry.
    #[serde(default)]
    pub required_labels: Vec<String>,
    /// The priority of its jobs.
    #[serde(default)]
    pub priority: i64,
    /// How its jobs spread over hosts.
    #[serde(default)]
    pub spread: Spread,
    /// How many more attempts its jobs get after the first one errored, if that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Where it is written.
    #[serde(default)]
    pub origin: TemplateOrigin,
}

/// What the jobs of a template run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateRuns {
    /// The newest version of the workload that the sources of the group offer by this name.
    Workload(String),
    /// This workflow.
    Workflow(Workflow),
}

/// Where a template is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "path", rename_all = "lowercase")]
pub enum TemplateOrigin {
    /// In the configuration itself.
    #[default]
    Inline,
    /// In this file.
    File(String),
    /// Behind this URL.
    Url(String),
}

/// A host that the configuration lists. It may work, whatever becomes of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedHost {
    /// Its id.
    pub key: HostKey,
    /// What people call it.
    pub name: Option<String>,
    /// Its network cards.
    pub macs: Vec<Mac>,
    /// Its SMBIOS UUID.
    pub uuid: Option<String>,
    /// The name in its boot URL.
    pub boot_name: Option<HostName>,
    /// Its labels.
    pub labels: Vec<String>,
}

impl ListedHost {
    /// Whether a host that was seen is this one. A card that the neighbour table had is proof; what only a host itself
    /// tells of its cards is taken where nothing else is known of it.
    #[must_use]
    pub fn is(&self, host: &Host) -> bool {
        let is_named = self.boot_name.is_some() && self.boot_name == host.name;
        let cards = if host.macs.is_empty() { &host.told_macs } else { &host.macs };
        let has_card = self.macs.iter().any(|mac| cards.contains(mac));
        let has_board = self.uuid.is_some() && self.uuid == host.uuid && self.macs.is_empty();
        is_named || has_card || has_board
    }

    /// The labels that it will carry when it asks, as far as they are known: its own, and `host:ID`.
    #[must_use]
    pub fn own_labels(&self) -> BTreeSet<String> {
        self.labels.iter().cloned().chain([format!("host:{}", self.key)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_stand_in_a_url_as_it_is() {
        for good in ["a", "sync-geth_prysm.1", "0", &"x".repeat(100)] {
            assert_eq!(good.parse::<GroupId>().expect("an id").as_str(), good);
        }
        for bad in ["", "-a", ".", "a/b", "a b", "a%20", "ä", "a:b", &"x".repeat(101)] {
            let error = bad.parse::<GroupId>().expect_err("refused").to_string();
            assert!(error.contains("letters, digits"), "{error}");
        }
    }

    #[test]
    fn a_spread_is_read_as_it_is_written() {
        for (text, spread) in [
            ("any", Spread::Any),
            ("each-host", Spread::EachHost),
            ("each:rack", Spread::Each("rack".to_owned())),
            ("each:a:b", Spread::Each("a:b".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(spread.clone()));
            assert_eq!(spread.to_string(), text);
        }
        for bad in ["", "each", "each:", "each-label", "all"] {
            let error = bad.parse::<Spread>().expect_err("refused").to_string();
            assert!(error.contains("each:LABEL"), "{error}");
        }
    }
}
