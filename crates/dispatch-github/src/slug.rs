//! The name of a repository, `owner/name`: whatever becomes part of a request's path goes through here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest owner that GitHub allows, in characters.
const MAX_OWNER: usize = 39;

/// The longest repository name that GitHub allows, in characters.
const MAX_NAME: usize = 100;

/// A repository: `owner/name`, as somebody wrote it. GitHub takes upper and lower case for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug {
    owner: String,
    name: String,
}

/// A text that cannot name a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a repository: write OWNER/NAME, the owner of at most {MAX_OWNER} letters, digits, `-` or `_`, the \
     name of at most {MAX_NAME} letters, digits, `-`, `_` or `.`, without `.git`"
)]
pub struct NotASlug(String);

impl Slug {
    /// From an owner and a name that were told apart.
    pub fn new(owner: &str, name: &str) -> Result<Self, NotASlug> {
        if is_owner(owner) && is_name(name) {
            Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
        } else {
            Err(NotASlug(format!("{owner}/{name}")))
        }
    }

    /// The user or organization.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn is_owner(text: &str) -> bool {
    (1..=MAX_OWNER).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && text.as_bytes()[0] != b'-'
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text != "."
        && text != ".."
        && !text.to_ascii_lowercase().ends_with(".git")
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.owner, self.name))
    }
}

impl FromStr for Slug {
    type Err = NotASlug;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (owner, name) = text.split_once('/').ok_or_else(|| NotASlug(text.to_owned()))?;
        Self::new(owner, name)
    }
}

impl TryFrom<String> for Slug {
    type Error = NotASlug;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_github_allows_is_a_repository() {
        for text in ["AMDEPYC/sev-certify", "a/b", "octo_acme/.github", "7/-", "x/..."] {
            assert_eq!(text.parse::<Slug>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_github_does_not_allow_is_refused() {
        let long_owner = format!("{}/x", "o".repeat(40));
        let long_name = format!("o/{}", "x".repeat(101));
        for text in [
            "",
            "/",
            "o/",
            "/x",
            "only",
            "o/..",
            "o/.",
            "o/x.git",
            "o/x.GIT",
            "o/x/y",
            "-o/x",
            "o/x y",
            "o/x?y",
            "o/x#y",
            "o/x%2f",
            "ö/x",
            "o.o/x",
            "https://github.com/o/x",
            &long_owner,
            &long_name,
        ] {
            assert!(text.parse::<Slug>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_shows_no_control_character() {
        let error = "o/\u{1b}[31m\n".parse::<Slug>().expect_err("refused");
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_in_its_two_places_of_a_path(text in "\\PC{0,12}/\\PC{0,12}") {
            if let Ok(slug) = text.parse::<Slug>() {
                let url = url::Url::parse(&format!("https://h.example/repos/{slug}/issues")).expect("a URL");
                let segments: Vec<_> = url.path_segments().expect("a path").collect();
                prop_assert_eq!(segments, ["repos", slug.owner(), slug.name(), "issues"]);
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }

        #[test]
        fn a_repository_is_kept_as_one_text(owner in "[A-Za-z0-9_][A-Za-z0-9_-]{0,38}", name in "[A-Za-z0-9_-]{1,100}") {
            let slug = Slug::new(&owner, &name).expect("allowed");
            let json = serde_json::to_string(&slug).expect("json");
            prop_assert_eq!(&json, &format!("\"{owner}/{name}\""));
            prop_assert_eq!(serde_json::from_str::<Slug>(&json).expect("back"), slug);
        }
    }
}
