//! Whom the reports are filed with, and what its failures mean to a filing.

use dispatch_core::issue::{Answer, Failure, FieldTrouble, Heard, Look, Request, Seen, SeenComment, Trouble};
use dispatch_github::{Error, FieldError, GitHub, Issue, Kind, NewIssue, Slug};

/// Where issues can be filed. Cheap to clone.
pub(super) trait Tracker: Clone + Send + Sync + 'static {
    /// Asks once.
    fn ask(
        &self,
        repository: &Slug,
        request: &Request,
    ) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Asks for nothing but an answer, by which its clock is known.
    fn greet(&self, repository: &Slug) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The root of its API: which GitHub it is.
    fn api(&self) -> String;

    /// As whom it is asked, if that is known.
    fn us(&self) -> Option<String>;

    /// What its clock and ours showed when it answered last.
    fn heard(&self) -> Option<Heard>;
}

impl Tracker for GitHub {
    async fn ask(&self, repository: &Slug, request: &Request) -> Result<Answer, Failure> {
        let answer = match request {
            Request::FindMilestone { title } => {
                self.milestone(repository, title).await.map(Answer::Milestone)
            }
            Request::AskAssignee { login } => {
                self.may_be_assigned(repository, login).await.map(Answer::MayBeAssigned)
            }
            Request::Look { since } => {
                let issues = self.issues_since(repository, *since).await;
                issues.map(|issues| Answer::Issues(issues.into_iter().map(seen).collect()))
            }
            Request::Create(issue) => {
                let issue = NewIssue {
                    title: issue.title.clone(),
                    body: issue.body.clone(),
                    labels: issue.labels.clone(),
                    assignees: issue.assignees.clone(),
                    milestone: issue.milestone,
                };
                self.create_issue(repository, &issue).await.map(|issue| Answer::Created(seen(issue)))
            }
            Request::Amend { number, body } => {
                self.edit_body(repository, *number, body).await.map(|_| Answer::Amended)
            }
            Request::LookForComments { number, since } => {
                let comments = self.comments_since(repository, *number, *since).await;
                let seen = |comment: dispatch_github::Comment| SeenComment {
                    body: comment.body,
                    user: comment.user,
                };
                comments.map(|comments| Answer::Comments(comments.into_iter().map(seen).collect()))
            }
            Request::Comment { number, body } => {
                self.comment(repository, *number, body).await.map(|_| Answer::Commented)
            }
        };
        let is_of_issue = matches!(
            request,
            Request::Amend { .. } | Request::Comment { .. } | Request::LookForComments { .. }
        );
        answer.map_err(|error| failure(&error, is_of_issue))
    }

    async fn greet(&self, repository: &Slug) -> Result<(), Failure> {
        self.repository(repository).await.map(drop).map_err(|error| failure(&error, false))
    }

    fn api(&self) -> String {
        Self::api(self).to_string()
    }

    fn us(&self) -> Option<String> {
        self.known_as().map(str::to_owned)
    }

    fn heard(&self) -> Option<Heard> {
        Self::heard(self).map(|(theirs, ours)| Heard { theirs, ours })
    }
}

fn seen(issue: Issue) -> Seen {
    Seen {
        number: issue.number,
        url: issue.html_url,
        body: issue.body,
        labels: issue.labels,
        assignees: issue.assignees,
        milestone: issue.milestone,
        user: issue.user,
        created: issue.created_at,
    }
}

/// What a failure of the client means to a filing, with what a person can do about it.
fn failure(error: &Error, is_of_issue: bool) -> Failure {
    let look = if error.may_have_been_applied() { Look::Needed } else { Look::NotNeeded };
    Failure {
        trouble: meaning(error.kind()),
        look,
        words: format!("{error}{}", advice(error.kind(), is_of_issue)),
        retry_at: error.told_retry_at(),
        fields: error.field_errors().iter().map(field).collect(),
    }
}

fn meaning(kind: Kind) -> Trouble {
    match kind {
        Kind::Unreachable | Kind::Interrupted | Kind::Malformed => Trouble::Passing,
        Kind::RateLimited => Trouble::Limited,
        // Moved, as an issue may be into another repository: then it is not here.
        Kind::Gone | Kind::NotFound | Kind::Other(300..=399) => Trouble::NotThere,
        Kind::BadCredentials | Kind::Forbidden | Kind::Other(_) => Trouble::Lasting,
        Kind::Refused => Trouble::Refused,
    }
}

/// What a person can do about it, where an issue or where the repository was asked about.
fn advice(kind: Kind, is_of_issue: bool) -> &'static str {
    match kind {
        Kind::BadCredentials => {
            "; start again with a token that is good (--token, GITHUB_TOKEN), and nothing is lost"
        }
        Kind::Forbidden => {
            "; let the token write issues there, or start again with another one, and nothing is lost"
        }
        Kind::Gone if !is_of_issue => "; turn issues on in the settings of the repository",
        Kind::NotFound if !is_of_issue => {
            "; if the repository was deleted or moved, its reports wait until there is one of this name again: nothing \
             is lost, each of them is in the state"
        }
        _ => "",
    }
}

fn field(error: &FieldError) -> FieldTrouble {
    FieldTrouble {
        resource: error.resource.clone(),
        field: error.field.clone(),
        value: error.value.clone(),
        message: error.message.clone().unwrap_or_else(|| error.code.clone()),
    }
}
