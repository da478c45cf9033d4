//! What we will need of a repository, and whether we have it: told at the start, before anything is written.

use std::fmt;

use crate::{Permissions, Repository, TokenKind};

/// What is going to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Issues will be filed.
    pub issues: bool,
}

/// How bad it is that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It cannot be told beforehand whether it is missing.
    Unknown,
    /// Issues can be filed without labels, assignees and milestone.
    Extras,
    /// No issue can be filed.
    Issues,
}

/// Something that is missing, in words for people that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How bad it is.
    pub weight: Weight,
    /// One sentence.
    pub words: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What is missing in a repository for what is wanted, the worst first.
#[must_use]
pub fn missing(repository: &Repository, token: TokenKind, wants: Wants) -> Vec<Missing> {
    if !wants.issues {
        return Vec::new();
    }
    let mut all: Vec<Missing> =
        [archived(repository), turned_off(repository), right(repository, token), extras(repository, token)]
            .into_iter()
            .flatten()
            .map(|(weight, words)| Missing { weight, words })
            .collect();
    all.sort_by_key(|missing| std::cmp::Reverse(missing.weight));
    all
}

fn archived(repository: &Repository) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    let words = format!(
        "{name} is archived, so no issue can be filed there: unarchive it, or file them elsewhere with --issues-to"
    );
    repository.archived.then_some((Weight::Issues, words))
}

fn turned_off(repository: &Repository) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    let words = format!(
        "issues are turned off in {name}: turn them on in its settings, or file them elsewhere with --issues-to"
    );
    (!repository.has_issues).then_some((Weight::Issues, words))
}

/// The right to file an issue.
fn right(repository: &Repository, token: TokenKind) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    match token {
        TokenKind::Nobody => Some((
            Weight::Issues,
            "nobody is signed in to GitHub, so reports stay local: set GITHUB_TOKEN, or give --token"
                .to_owned(),
        )),
        TokenKind::Classic | TokenKind::OAuth => scope(repository, token),
        TokenKind::Installation => installation(repository),
        TokenKind::FineGrained => Some((
            Weight::Unknown,
            format!(
                "whether the fine-grained token may file issues in {name} shows only when it does: it must be made for \
                 this repository, with \"Issues: read and write\""
            ),
        )),
        TokenKind::User | TokenKind::Unknown => Some((
            Weight::Unknown,
            format!(
                "whether {token} may file issues in {name} shows only when it does: it needs \"Issues: read and write\""
            ),
        )),
    }
}

fn scope(repository: &Repository, token: TokenKind) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    let Some(scopes) = &repository.scopes else {
        return Some((
            Weight::Unknown,
            format!(
                "GitHub does not say which scopes {token} has: for issues in {name} it needs the scope `repo`"
            ),
        ));
    };
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    if has("repo") || (!repository.private && has("public_repo")) {
        return None;
    }
    let wanted = if repository.private { "`repo`" } else { "`public_repo` (or `repo`)" };
    let how = if token == TokenKind::OAuth {
        "with gh: `gh auth refresh --scopes repo`"
    } else {
        "add it in the token's settings at GitHub"
    };
    Some((Weight::Issues, format!("{token} needs the scope {wanted} to file issues in {name}: {how}")))
}

/// What an installation was granted is told with its token; what a job of GitHub Actions was granted is not.
fn installation(repository: &Repository) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    match &repository.granted {
        None => Some((
            Weight::Unknown,
            format!(
                "whether the installation's token may file issues in {name} shows only when it does: it needs the \
                 permission \"Issues: read and write\" (in GitHub Actions `permissions: issues: write`)"
            ),
        )),
        Some(granted) if granted.get("issues").is_some_and(|level| level == "write") => None,
        Some(_) => Some((
            Weight::Issues,
            format!(
                "the GitHub App was not granted \"Issues: read and write\" for {name}: add the permission in the App's \
                 settings, and install it there, or accept the permission where it is installed"
            ),
        )),
    }
}

/// The right to labels, assignees and milestones, which an App has with that to issues.
fn extras(repository: &Repository, token: TokenKind) -> Option<(Weight, String)> {
    let name = &repository.full_name;
    if matches!(token, TokenKind::Nobody | TokenKind::Installation) {
        return None;
    }
    match repository.permissions {
        // GitHub's description of the request says push; triage alone sets them only later.
        Some(Permissions { admin, maintain, push, .. }) if admin || maintain || push => None,
        Some(_) => Some((
            Weight::Extras,
            format!(
                "labels, assignees and milestone will be left out of issues in {name}: for them the user of the token \
                 needs the role Write there"
            ),
        )),
        None => Some((
            Weight::Unknown,
            format!(
                "GitHub does not say which role we have in {name}: without the role Write, labels, assignees and \
                 milestone will be left out of issues"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const ISSUES: Wants = Wants { issues: true };

    fn repository() -> Repository {
        Repository {
            full_name: "o/r".parse().expect("a repository"),
            private: false,
            archived: false,
            has_issues: true,
            html_url: "https://github.com/o/r".to_owned(),
            permissions: Some(Permissions { push: true, triage: true, pull: true, ..Permissions::default() }),
            scopes: None,
            granted: None,
            token: TokenKind::Classic,
        }
    }

    fn scoped(scopes: &[&str], private: bool) -> Repository {
        let scopes = Some(scopes.iter().map(|scope| (*scope).to_owned()).collect());
        Repository { private, scopes, ..repository() }
    }

    fn weights(repository: &Repository, token: TokenKind) -> Vec<Weight> {
        missing(repository, token, ISSUES).iter().map(|missing| missing.weight).collect()
    }

    fn only(repository: &Repository, token: TokenKind) -> Missing {
        let all = missing(repository, token, ISSUES);
        let [one] = all.as_slice() else { panic!("{all:?}") };
        one.clone()
    }

    #[test]
    fn a_classic_token_needs_repo_and_for_public_repositories_public_repo_will_do() {
        assert!(weights(&scoped(&["repo"], true), TokenKind::Classic).is_empty());
        assert!(weights(&scoped(&["public_repo", "gist"], false), TokenKind::Classic).is_empty());
        assert_eq!(weights(&scoped(&["public_repo"], true), TokenKind::Classic), [Weight::Issues]);
        let public = only(&scoped(&[], false), TokenKind::Classic);
        assert_eq!(public.weight, Weight::Issues);
        assert!(public.words.contains("`public_repo` (or `repo`)"), "{public}");
        let scope_with_a_longer_name = scoped(&["repo:status"], true);
        assert_eq!(weights(&scope_with_a_longer_name, TokenKind::OAuth), [Weight::Issues]);
    }

    #[test]
    fn what_a_fine_grained_token_may_do_is_a_warning_that_names_its_permission() {
        let warning = only(&repository(), TokenKind::FineGrained);
        assert_eq!(warning.weight, Weight::Unknown);
        assert!(warning.words.contains("\"Issues: read and write\""), "{warning}");
    }

    #[test]
    fn scopes_that_github_does_not_tell_are_a_warning() {
        assert_eq!(weights(&repository(), TokenKind::Classic), [Weight::Unknown]);
    }

    #[test]
    fn an_app_knows_what_it_was_granted() {
        let granted = |level: &str| Repository {
            granted: Some(BTreeMap::from([("issues".to_owned(), level.to_owned())])),
            permissions: None,
            ..repository()
        };
        assert!(weights(&granted("write"), TokenKind::Installation).is_empty());
        assert_eq!(weights(&granted("read"), TokenKind::Installation), [Weight::Issues]);
        assert_eq!(weights(&repository(), TokenKind::Installation), [Weight::Unknown]);
    }

    #[test]
    fn without_write_only_labels_and_the_like_are_left_out() {
        let reader = Repository {
            permissions: Some(Permissions { triage: true, pull: true, ..Permissions::default() }),
            ..scoped(&["repo"], false)
        };
        let one = only(&reader, TokenKind::Classic);
        assert_eq!(one.weight, Weight::Extras);
        assert!(one.words.contains("will be left out"), "{one}");
    }

    #[test]
    fn an_archived_repository_and_issues_turned_off_are_both_named() {
        let closed = Repository { archived: true, has_issues: false, ..scoped(&["repo"], false) };
        let all = missing(&closed, TokenKind::Classic, ISSUES);
        assert!(all[0].words.contains("archived") && all[1].words.contains("turned off"), "{all:?}");
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn nobody_files_nothing() {
        let one = only(&repository(), TokenKind::Nobody);
        assert_eq!(one.weight, Weight::Issues);
        assert!(one.words.contains("reports stay local"), "{one}");
    }

    proptest! {
        #[test]
        fn who_wants_no_issues_misses_nothing_and_the_worst_comes_first(
            archived: bool,
            has_issues: bool,
            private: bool,
            triage: bool,
            scope in prop::option::of("repo|public_repo|gist"),
        ) {
            let scopes = scope.map(|scope| vec![scope]);
            let permissions = Some(Permissions { triage, ..Permissions::default() });
            let repository = Repository { private, archived, has_issues, permissions, scopes, ..repository() };
            for token in [
                TokenKind::Nobody,
                TokenKind::Classic,
                TokenKind::FineGrained,
                TokenKind::OAuth,
                TokenKind::Installation,
                TokenKind::User,
                TokenKind::Unknown,
            ] {
                prop_assert!(missing(&repository, token, Wants::default()).is_empty());
                let weights = weights(&repository, token);
                prop_assert!(weights.is_sorted_by(|a, b| a >= b));
                let is_barred = weights.contains(&Weight::Issues);
                prop_assert!(is_barred || (!archived && has_issues));
            }
        }
    }
}
