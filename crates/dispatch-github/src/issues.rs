//! Issues out: filing them, writing in them, and finding what was filed already.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Request, Signer};
use crate::error::Error;
use crate::{GitHub, Slug};

/// An issue to be filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewIssue {
    /// Its title: at most 256 characters.
    pub title: String,
    /// Its text: at most 65,536 characters.
    pub body: String,
    /// Its labels; GitHub makes those that do not exist.
    pub labels: Vec<String>,
    /// The logins of whom it is assigned to.
    pub assignees: Vec<String>,
    /// The number of its milestone.
    pub milestone: Option<u64>,
}

/// An issue as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub html_url: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// The logins of whom it is assigned to.
    pub assignees: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
    /// The login of who filed it. None if there is no such user any more.
    pub user: Option<String>,
    /// When it was filed, by GitHub's clock.
    pub created_at: Timestamp,
}

/// A comment as GitHub has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Its place on the page.
    pub html_url: String,
    /// Its text.
    pub body: String,
    /// The login of who wrote it. None if there is no such user any more.
    pub user: Option<String>,
    /// When it was written, by GitHub's clock.
    pub created_at: Timestamp,
}

#[derive(Deserialize)]
struct User {
    login: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Name(String),
    Whole { name: Option<String> },
}

#[derive(Deserialize)]
struct Milestone {
    #[serde(default)]
    number: u64,
    title: String,
}

#[derive(Deserialize)]
struct ToldIssue {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    assignees: Option<Vec<User>>,
    milestone: Option<Milestone>,
    user: Option<User>,
    created_at: Timestamp,
    pull_request: Option<Value>,
}

#[derive(Deserialize)]
struct ToldComment {
    id: u64,
    html_url: String,
    body: Option<String>,
    user: Option<User>,
    created_at: Timestamp,
}

impl From<ToldIssue> for Issue {
    fn from(told: ToldIssue) -> Self {
        let name = |label| match label {
            Label::Name(name) => Some(name),
            Label::Whole { name } => name,
        };
        Self {
            number: told.number,
            html_url: told.html_url,
            title: told.title,
            body: told.body.unwrap_or_default(),
            labels: told.labels.into_iter().filter_map(name).collect(),
            assignees: told.assignees.unwrap_or_default().into_iter().map(|user| user.login).collect(),
            milestone: told.milestone.map(|milestone| milestone.title),
            user: told.user.map(|user| user.login),
            created_at: told.created_at,
        }
    }
}

impl From<ToldComment> for Comment {
    fn from(told: ToldComment) -> Self {
        Self {
            id: told.id,
            html_url: told.html_url,
            body: told.body.unwrap_or_default(),
            user: told.user.map(|user| user.login),
            created_at: told.created_at,
        }
    }
}

impl GitHub {
    /// Files an issue. Labels, assignees and milestone are left out by GitHub, without a word, for a user without
    /// triage rights: the answer tells what it took.
    pub async fn create_issue(&self, repo: &Slug, issue: &NewIssue) -> Result<Issue, Error> {
        let doing = format!("file the issue in {repo}");
        let url = self.of(repo, &["issues"], &doing)?;
        let request = Request::send(Method::POST, url, body_of(issue), Signer::On(repo), &doing);
        self.read::<ToldIssue>(&request).await.map(Issue::from)
    }

    /// Replaces the text of an issue.
    pub async fn edit_body(&self, repo: &Slug, number: u64, body: &str) -> Result<Issue, Error> {
        let doing = format!("change the text of issue {number} in {repo}");
        let url = self.of(repo, &["issues", &number.to_string()], &doing)?;
        let request = Request::send(Method::PATCH, url, json!({ "body": body }), Signer::On(repo), &doing);
        self.read::<ToldIssue>(&request).await.map(Issue::from)
    }

    /// Writes a comment under an issue.
    pub async fn comment(&self, repo: &Slug, number: u64, body: &str) -> Result<Comment, Error> {
        let doing = format!("comment on issue {number} in {repo}");
        let url = self.of(repo, &["issues", &number.to_string(), "comments"], &doing)?;
        let request = Request::send(Method::POST, url, json!({ "body": body }), Signer::On(repo), &doing);
        self.read::<ToldComment>(&request).await.map(Comment::from)
    }

    /// The issues, open and closed, that were filed at `since` or later by GitHub's clock; the oldest first, pull requests
    /// left out. This is the list and not the search, whose index lags.
    pub async fn issues_since(&self, repo: &Slug, since: Timestamp) -> Result<Vec<Issue>, Error> {
        let doing = format!("list the issues of {repo}");
        let since = whole_second(since);
        let mut url = self.of(repo, &["issues"], &doing)?;
        // The newest first, and no further than to what is older: a busy repository changes more old ones than there are
        // pages.
        url.query_pairs_mut()
            .append_pair("state", "all")
            .append_pair("sort", "created")
            .append_pair("direction", "desc")
            .append_pair("since", &since.to_string())
            .append_pair("per_page", "100");
        let mut found = BTreeMap::new();
        // What is deleted while we read moves an entry from a page that we have not read to one that we have: with a
        // second page it is read twice.
        for _ in 0..2 {
            let is_older = |told: &ToldIssue| told.created_at < since;
            let (told, pages) = self.pages_until(url.clone(), Signer::On(repo), &doing, is_older).await?;
            found.extend(told.into_iter().map(|told| (told.number, told)));
            if pages < 2 {
                break;
            }
        }
        let is_wanted = |told: &ToldIssue| told.pull_request.is_none() && told.created_at >= since;
        Ok(found.into_values().filter(is_wanted).map(Issue::from).collect())
    }

    /// The comments of an issue that were changed at `since` or later by GitHub's clock.
    pub async fn comments_since(
        &self,
        repo: &Slug,
        number: u64,
        since: Timestamp,
    ) -> Result<Vec<Comment>, Error> {
        let doing = format!("list the comments of issue {number} in {repo}");
        let mut url = self.of(repo, &["issues", &number.to_string(), "comments"], &doing)?;
        url.query_pairs_mut()
            .append_pair("since", &whole_second(since).to_string())
            .append_pair("per_page", "100");
        let told: Vec<ToldComment> = self.pages(url, Signer::On(repo), &doing).await?;
        let mut seen = BTreeSet::new();
        Ok(told.into_iter().filter(|told| seen.insert(told.id)).map(Comment::from).collect())
    }

    /// The number of the milestone, open or closed, with exactly this title, or else of the only one whose title is this
    /// but for upper and lower case.
    pub async fn milestone(&self, repo: &Slug, title: &str) -> Result<Option<u64>, Error> {
        let doing = format!("list the milestones of {repo}");
        let mut url = self.of(repo, &["milestones"], &doing)?;
        url.query_pairs_mut().append_pair("state", "all").append_pair("per_page", "100");
        let told: Vec<Milestone> = self.pages(url, Signer::On(repo), &doing).await?;
        Ok(named(&told, title))
    }
}

fn body_of(issue: &NewIssue) -> Value {
    let mut body = json!({ "title": issue.title, "body": issue.body });
    if !issue.labels.is_empty() {
        body["labels"] = json!(issue.labels);
    }
    if !issue.assignees.is_empty() {
        body["assignees"] = json!(issue.assignees);
    }
    if let Some(milestone) = issue.milestone {
        body["milestone"] = json!(milestone);
    }
    body
}

fn named(milestones: &[Milestone], title: &str) -> Option<u64> {
    let exact = milestones.iter().find(|milestone| milestone.title == title);
    let folded = title.to_lowercase();
    let mut alike = milestones.iter().filter(|milestone| milestone.title.to_lowercase() == folded);
    exact
        .or_else(|| alike.next().filter(|first| alike.all(|other| other.number == first.number)))
        .map(|milestone| milestone.number)
}

/// GitHub's times are whole seconds: the second that it is in, so that nothing is missed.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milestones(titles: &[&str]) -> Vec<Milestone> {
        (1..).zip(titles).map(|(number, title)| Milestone { number, title: (*title).to_owned() }).collect()
    }

    #[test]
    fn an_exact_title_wins_over_one_in_another_case() {
        assert_eq!(named(&milestones(&["V1", "v1"]), "v1"), Some(2));
    }

    #[test]
    fn another_case_will_do_only_if_there_is_no_choice() {
        assert_eq!(named(&milestones(&["Größe", "v1"]), "GRÖSSE"), None);
        assert_eq!(named(&milestones(&["Genoa", "v1"]), "GENOA"), Some(1));
        assert_eq!(named(&milestones(&["V1", "v1"]), "v1 "), None);
        assert_eq!(named(&milestones(&["Ab", "aB"]), "ab"), None);
    }

    #[test]
    fn what_is_empty_is_not_sent() {
        let issue = NewIssue { title: "t".to_owned(), ..NewIssue::default() };
        assert_eq!(body_of(&issue), json!({ "title": "t", "body": "" }));
    }

    #[test]
    fn a_label_may_be_a_name_or_a_whole_label() {
        let told: ToldIssue = serde_json::from_value(json!({
            "number": 3, "html_url": "u", "title": "t", "body": null, "labels": ["a", {"name": "b", "id": 1}],
            "assignees": null, "milestone": null, "user": null, "created_at": "2026-11-21T12:00:00Z",
        }))
        .expect("an issue");
        let issue = Issue::from(told);
        assert_eq!(issue.labels, ["a", "b"]);
        assert_eq!((issue.body.as_str(), issue.user), ("", None));
    }

    #[test]
    fn since_is_never_later_than_what_was_asked() {
        let time: Timestamp = "2026-11-21T12:00:00.999Z".parse().expect("a time");
        assert_eq!(whole_second(time).to_string(), "2026-11-21T12:00:00Z");
    }
}
