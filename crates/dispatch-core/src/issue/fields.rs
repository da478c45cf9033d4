//! Labels, assignees and milestones: what GitHub takes of them, and what is said of the rest.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clean;

/// GitHub's limits.
const LONGEST_LABEL: usize = 50;
const MOST_LABELS: usize = 100;
const MOST_ASSIGNEES: usize = 10;

/// How much of a name, and of somebody else's words, is repeated.
const LONGEST_NAME: usize = 100;

/// A part of a report that its issue may have to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// A label.
    Label,
    /// Somebody to whom it is assigned.
    Assignee,
    /// The milestone.
    Milestone,
    /// A part of the text that would have been a comment.
    Text,
}

impl Field {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Assignee => "assignee",
            Self::Milestone => "milestone",
            Self::Text => "text",
        }
    }
}

/// Why an issue has to do without something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The name of a label is too long.
    TooLong,
    /// An issue has a limit of them.
    TooMany,
    /// No milestone has this title.
    NoSuchMilestone,
    /// Nobody of this name may be assigned issues of the repository.
    NotAssignable,
    /// GitHub said nothing, and did not set it.
    Dropped,
    /// GitHub refused it, in its own words.
    Refused(String),
    /// The issue was deleted, or moved to another repository, before this could be written.
    Deleted,
    /// People had locked the issue before this could be written.
    Locked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {LONGEST_LABEL} characters"),
            Self::TooMany => f.write_str("more than an issue can have"),
            Self::NoSuchMilestone => f.write_str("there is none of that title"),
            Self::NotAssignable => f.write_str("cannot be assigned issues of this repository"),
            Self::Dropped => f.write_str("not set by GitHub: that takes push access"),
            // Somebody else's words may repeat what the image sent.
            Self::Refused(words) => write!(f, "refused: {}", clean::code(words, LONGEST_NAME)),
            Self::Deleted => f.write_str("the issue was deleted or moved before"),
            Self::Locked => f.write_str("the issue was locked before"),
        }
    }
}

/// Something that an issue has to do without. Its text is a few words, with the name as a code span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub field: Field,
    /// Which.
    pub name: String,
    /// Why.
    pub why: Why,
}

impl LeftOut {
    pub(super) fn new(field: Field, name: &str, why: Why) -> Self {
        Self { field, name: name.to_owned(), why }
    }

    /// Whether it is this one.
    #[must_use]
    pub fn is(&self, field: Field, name: &str) -> bool {
        self.field == field && same(&self.name, name)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.field.as_str(), clean::code(&self.name, LONGEST_NAME), self.why)
    }
}

/// Whether GitHub takes two names for the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// The labels that an issue can have.
pub(super) fn labels(names: &[String], left_out: &mut Vec<LeftOut>) -> Vec<String> {
    let (short, long): (Vec<_>, Vec<_>) =
        distinct(names, |name| name).into_iter().partition(|name| name.chars().count() <= LONGEST_LABEL);
    left_out.extend(long.iter().map(|name| LeftOut::new(Field::Label, name, Why::TooLong)));
    first(short, MOST_LABELS, Field::Label, left_out)
}

/// The people to whom an issue can be assigned, as far as that can be known here.
pub(super) fn assignees(names: &[String], left_out: &mut Vec<LeftOut>) -> Vec<String> {
    let names = distinct(names, |name| name.trim_start_matches('@'));
    first(names, MOST_ASSIGNEES, Field::Assignee, left_out)
}

/// Each once, without those that say nothing.
fn distinct(names: &[String], trim: impl Fn(&str) -> &str) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for name in names {
        let name = clean::line(trim(&clean::line(name)));
        if !name.is_empty() && !known.iter().any(|known| same(known, &name)) {
            known.push(name);
        }
    }
    known
}

fn first(mut names: Vec<String>, most: usize, field: Field, left_out: &mut Vec<LeftOut>) -> Vec<String> {
    let rest = names.split_off(most.min(names.len()));
    left_out.extend(rest.iter().map(|name| LeftOut::new(field, name, Why::TooMany)));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn labels_are_trimmed_and_told_apart_as_github_does() {
        let mut left_out = Vec::new();
        let labels = labels(&names(&[" bug", "Bug ", "", " \n", "os:\tubuntu", "bug"]), &mut left_out);
        assert_eq!(labels, ["bug", "os: ubuntu"]);
        assert!(left_out.is_empty());
    }

    #[test]
    fn a_label_that_is_too_long_is_left_out_and_told() {
        let mut left_out = Vec::new();
        let (fits, long) = ("ö".repeat(50), "ö".repeat(51));
        assert_eq!(labels(&names(&[&fits, &long]), &mut left_out), [fits]);
        assert_eq!(left_out, [LeftOut::new(Field::Label, &long, Why::TooLong)]);
    }

    #[test]
    fn no_more_are_given_than_an_issue_can_have() {
        let mut left_out = Vec::new();
        let many: Vec<_> = (0..103).map(|number| format!("l{number}")).collect();
        assert_eq!(labels(&many, &mut left_out).len(), 100);
        assert_eq!(assignees(&many, &mut left_out).len(), 10);
        assert_eq!(left_out.len(), 3 + 93);
        assert!(left_out.iter().all(|left_out| left_out.why == Why::TooMany));
    }

    #[test]
    fn an_assignee_may_be_written_as_a_mention() {
        assert_eq!(assignees(&names(&["@octocat", "OctoCat", "@"]), &mut Vec::new()), ["octocat"]);
    }

    #[test]
    fn what_is_left_out_is_told_without_a_mention() {
        let refused = Why::Refused("is\nnot valid".to_owned());
        let told = LeftOut::new(Field::Assignee, "@`x`\n#1", refused).to_string();
        assert_eq!(told, "assignee ``@`x` #1`` (refused: `is not valid`)");
    }
}
