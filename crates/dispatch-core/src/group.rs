//! The words of a group's configuration: names, and how its work spreads over hosts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::workload::UnknownWord;

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
