//! Whom the reports are filed with, and what its failures mean to a filing.

use dispatch_core::issue::{Answer, Failure, FieldTrouble, Look, Seen, SeenComment, Todo, Trouble};
use dispatch_github::{Error, FieldError, GitHub, Issue, Kind, NewIssue, Slug};
use jiff::Timestamp;

/// Where issues can be filed. Cheap to clone.
pub(super) trait Tracker: Clone + Send + Sync + 'static {
    /// Asks for what is to be done next, once.
    fn ask(&self, repository: &Slug, todo: &Todo) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// The time by its own clock.
    fn time(&self) -> Timestamp;
}

impl Tracker for GitHub {
    async fn ask(&self, repository: &Slug, todo: &Todo) -> Result<Answer, Failure> {
        let answer = match todo {
            Todo::FindMilestone { title } => self.milestone(repository, title).await.map(Answer::Milestone),
            Todo::AskAssignee { login } => {
                self.may_be_assigned(repository, login).await.map(Answer::MayBeAssigned)
            }
            Todo::Look { since } => {
                let issues = self.issues_since(repository, *since).await;
                issues.map(|issues| Answer::Issues(issues.into_iter().map(seen).collect()))
            }
            Todo::Create(issue) => {
                let issue = NewIssue {
                    title: issue.title.clone(),
                    body: issue.body.clone(),
                    labels: issue.labels.clone(),
                    assignees: issue.assignees.clone(),
                    milestone: issue.milestone,
                };
                self.create_issue(repository, &issue).await.map(|issue| Answer::Created(seen(issue)))
            }
            Todo::Amend { number, body } => {
                self.edit_body(repository, *number, body).await.map(|_| Answer::Amended)
            }
            Todo::LookForComments { number, since } => {
                let comments = self.comments_since(repository, *number, *since).await;
                let seen = |comment: dispatch_github::Comment| SeenComment { body: comment.body };
                comments.map(|comments| Answer::Comments(comments.into_iter().map(seen).collect()))
            }
            Todo::Comment { number, body } => {
                self.comment(repository, *number, body).await.map(|_| Answer::Commented)
            }
            // Nothing is to be asked.
            Todo::Wait(_) | Todo::Done { .. } | Todo::Refused { .. } => Ok(Answer::Amended),
        };
        answer.map_err(|error| failure(&error))
    }

    fn time(&self) -> Timestamp {
        self.github_time()
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
        created: issue.created_at,
    }
}

/// What a failure of the client means to a filing, with what a person can do about it.
fn failure(error: &Error) -> Failure {
    let (trouble, advice) = meaning(error.kind());
    let look = match (error.may_have_been_applied(), error.may_still_be_applied()) {
        (_, true) => Look::NeededLater,
        (true, false) => Look::Needed,
        (false, false) => Look::NotNeeded,
    };
    Failure {
        trouble,
        look,
        words: format!("{error}{advice}"),
        retry_at: error.retry_at(),
        fields: error.field_errors().iter().map(field).collect(),
    }
}

fn meaning(kind: Kind) -> (Trouble, &'static str) {
    match kind {
        Kind::Unreachable | Kind::Interrupted | Kind::Malformed => (Trouble::Passing, ""),
        Kind::RateLimited => (Trouble::Limited, ""),
        Kind::BadCredentials => (
            Trouble::Lasting,
            "; start again with a token that is good (--token, GITHUB_TOKEN), and nothing is lost",
        ),
        Kind::Forbidden => (
            Trouble::Lasting,
            "; let the token write issues there, or start again with another one, and nothing is lost",
        ),
        Kind::NotFound => (Trouble::NotThere, ""),
        Kind::Gone => (Trouble::NotThere, "; turn issues on in the settings of the repository"),
        // Moved: for an issue that is in another repository by now, it is not here.
        Kind::Other(300..=399) => (Trouble::NotThere, ""),
        Kind::Other(_) => (Trouble::Lasting, ""),
        Kind::Refused => (Trouble::Refused, ""),
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
