//! Issues and comments: what GitHub takes, what it refuses, and what it drops without a word.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::access::{self, Caller, Need};
use super::super::model::{Comment, Issue, Repository, Role};
use super::{Answer, Scene, page, show};

/// The longest title, in characters.
const LONGEST_TITLE: usize = 256;

/// The longest body, in characters.
const LONGEST_BODY: usize = 65_536;

/// The longest name of a label, in characters.
const LONGEST_LABEL: usize = 50;

/// What becomes of a part of an issue that may be empty.
#[derive(Debug, Default)]
enum Change {
    /// It stays.
    #[default]
    No,
    /// It is this from now on.
    To(Option<String>),
}

impl Change {
    fn of(self, old: Option<String>) -> Option<String> {
        match self {
            Self::No => old,
            Self::To(new) => new,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::To(Some(text)) => Some(text),
            Self::To(None) | Self::No => None,
        }
    }
}

/// What is asked of an issue; what is `None` stays.
#[derive(Debug, Default)]
struct Wish {
    title: Option<String>,
    body: Change,
    is_closed: Option<bool>,
    labels: Option<Vec<String>>,
    assignees: Option<Vec<String>>,
    milestone: Change,
}

fn custom(field: &str, message: &str) -> Value {
    json!({ "resource": "Issue", "code": "custom", "field": field, "message": message })
}

fn invalid(resource: &str, field: &str, value: &Value) -> Value {
    json!({ "resource": resource, "code": "invalid", "field": field, "value": value })
}

/// What GitHub says where a value has another form than it should.
fn malformed(field: &str, value: &Value, form: &str) -> Answer {
    let words = format!("Invalid request.\n\nFor 'properties/{field}', {value} is not {form}.");
    Answer::fail(422, &words)
}

fn text(body: &Map<String, Value>, field: &str) -> Result<Change, Answer> {
    match body.get(field) {
        None => Ok(Change::No),
        Some(Value::Null) => Ok(Change::To(None)),
        Some(Value::String(text)) => Ok(Change::To(Some(text.clone()))),
        // A title may be a number.
        Some(Value::Number(number)) if field == "title" => Ok(Change::To(Some(number.to_string()))),
        Some(other) => Err(malformed(field, other, "a string")),
    }
}

fn texts(body: &Map<String, Value>, field: &str) -> Result<Option<Vec<String>>, Answer> {
    let Some(value) = body.get(field).filter(|value| !value.is_null()) else { return Ok(None) };
    let items = value.as_array().ok_or_else(|| malformed(field, value, "an array"))?;
    let name = |item: &Value| {
        let text = item.as_str().or_else(|| item["name"].as_str());
        text.map(str::to_owned).ok_or_else(|| malformed(field, item, "a string"))
    };
    items.iter().map(name).collect::<Result<Vec<_>, _>>().map(Some)
}

impl Wish {
    /// What a body asks for, as far as the repository and the caller let it be: what somebody may not set (`may_set`)
    /// is dropped without a word, also where it would be refused.
    fn read(
        body: &Map<String, Value>,
        caller: &Caller,
        repository: &Repository,
        may_set: bool,
    ) -> Result<Self, Answer> {
        let mut wrongs = Vec::new();
        let title = text(body, "title")?.of(None);
        if let Some(title) = &title {
            wrongs.extend(wrong_text("title", title, LONGEST_TITLE));
        }
        let text_body = text(body, "body")?;
        if let Some(body) = text_body.text() {
            wrongs.extend(wrong_text("body", body, LONGEST_BODY));
        }
        let is_closed = match body.get("state").and_then(Value::as_str) {
            Some("closed") => Some(true),
            Some("open") => Some(false),
            Some(other) => {
                wrongs.push(invalid("Issue", "state", &other.into()));
                None
            }
            None => None,
        };
        let mut wish = Self { title, body: text_body, is_closed, ..Self::default() };
        let (labels, assignees) = (texts(body, "labels")?, texts(body, "assignees")?);
        if may_set {
            let known = |name: &String| repository.labels.iter().any(|label| same(&label.name, name));
            if !access::may_push(caller, repository) && !labels.iter().flatten().all(known) {
                return Err(no_new_labels());
            }
            wish.labels = labels;
            wish.assignees = assignees;
            wish.milestone = milestone(body, repository, &mut wrongs);
            wrongs.extend(wish.labels.iter().flatten().filter_map(|name| {
                let is_wrong = name.is_empty() || name.chars().count() > LONGEST_LABEL;
                is_wrong.then(|| invalid("Label", "name", &name.as_str().into()))
            }));
            wrongs.extend(wish.assignees.iter().flatten().filter_map(|login| {
                let is_able = repository.role(login).is_some();
                (!is_able).then(|| invalid("Issue", "assignees", &login.as_str().into()))
            }));
        }
        if wrongs.is_empty() { Ok(wish) } else { Err(Answer::invalid(&wrongs)) }
    }

    fn carry_out(self, repository: &mut Repository, number: u64, now: Timestamp) {
        // Names are spelt as the label is, whatever was asked for, and each is there once.
        let labels = self.labels.map(|names| {
            let spelt = names.iter().map(|name| repository.label(name).name.clone());
            spelt.fold(Vec::new(), |mut all: Vec<String>, name| {
                if !all.contains(&name) {
                    all.push(name);
                }
                all
            })
        });
        let Some(issue) = repository.issues.iter_mut().find(|issue| issue.number == number) else { return };
        if let Some(title) = self.title {
            issue.title = title;
        }
        issue.body = self.body.of(issue.body.take());
        if let Some(is_closed) = self.is_closed {
            issue.closed = is_closed.then_some(issue.closed.unwrap_or(now));
        }
        issue.labels = labels.unwrap_or_else(|| std::mem::take(&mut issue.labels));
        issue.assignees = self.assignees.unwrap_or_else(|| std::mem::take(&mut issue.assignees));
        issue.milestone = self.milestone.of(issue.milestone.take());
        issue.updated = now;
    }
}

/// What GitHub says to who may give labels, and not make them.
fn no_new_labels() -> Answer {
    let words = "You do not have permission to create labels on this repository.";
    let error = json!({ "resource": "Repository", "field": "label", "code": "unauthorized" });
    let documentation = "https://docs.github.com/rest/issues/issues#update-an-issue";
    Answer::json(403, json!({ "message": words, "errors": [error], "documentation_url": documentation }))
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn wrong_text(field: &str, text: &str, longest: usize) -> Option<Value> {
    let too_long = format!("{field} is too long (maximum is {longest} characters)");
    match text {
        _ if text.chars().count() > longest => Some(custom(field, &too_long)),
        // What GitHub does with it is not documented; a client must not find out.
        _ if text.contains('\0') => {
            Some(custom(field, &format!("{field} control characters are not allowed")))
        }
        _ if field == "title" && text.trim().is_empty() => Some(custom(field, "title can't be blank")),
        _ => None,
    }
}

fn milestone(body: &Map<String, Value>, repository: &Repository, wrongs: &mut Vec<Value>) -> Change {
    let Some(value) = body.get("milestone") else { return Change::No };
    if value.is_null() {
        return Change::To(None);
    }
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let found = repository.milestones.iter().find(|milestone| Some(milestone.number) == number);
    if found.is_none() {
        wrongs.push(invalid("Issue", "milestone", value));
    }
    Change::To(found.map(|milestone| milestone.title.clone()))
}

/// The repository, if it has issues.
fn with_issues(scene: &Scene<'_>, need: Need) -> Result<usize, Answer> {
    let place = scene.repository(need)?;
    let repository = &scene.model.repositories[place];
    if !repository.has_issues {
        return Err(Answer::fail(410, "Issues are disabled for this repo"));
    }
    if repository.archived && need.level > super::super::token::Level::Read {
        return Err(Answer::fail(403, "Repository was archived so is read-only."));
    }
    Ok(place)
}

fn find<'a>(scene: &'a Scene<'_>, place: usize) -> Result<(&'a Repository, &'a Issue), Answer> {
    let repository = &scene.model.repositories[place];
    let number = scene.number("issue_number");
    let issue = repository.issues.iter().find(|issue| issue.number == number);
    Ok((repository, issue.ok_or_else(Answer::not_found)?))
}

fn shown(scene: &Scene<'_>, place: usize, number: u64, status: u16) -> Result<Answer, Answer> {
    let repository = &scene.model.repositories[place];
    let issue = repository.issues.iter().find(|issue| issue.number == number);
    let value = show::issue(scene.model, repository, issue.ok_or_else(Answer::not_found)?, &scene.links);
    let url = value["url"].as_str().unwrap_or_default().to_owned();
    let answer = Answer::json(status, value);
    Ok(if status == 201 { answer.with("location", &url) } else { answer })
}

/// `POST /repos/{owner}/{repo}/issues`
pub(super) fn create(scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    let place = with_issues(scene, Need::ISSUES_WRITE)?;
    let body = scene.body()?;
    let repository = &scene.model.repositories[place];
    // Here who triages is not enough; changing the issue afterwards is open to them.
    let may_set = access::may_push(&scene.caller, repository);
    let wish = Wish::read(&body, &scene.caller, repository, may_set)?;
    let Some(title) = wish.title.clone() else {
        let missing = json!({ "resource": "Issue", "code": "missing_field", "field": "title" });
        return Err(Answer::invalid(&[missing]));
    };
    let now = scene.model.now();
    let author = scene.caller.login().unwrap_or_default();
    let app = scene.caller.app();
    let repository = scene.at(place);
    let issue = repository.issue(&title, "");
    issue.body = None;
    issue.author = author;
    issue.app = app;
    let number = issue.number;
    wish.carry_out(repository, number, now);
    shown(scene, place, number, 201)
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}`
pub(super) fn get(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = with_issues(scene, Need::ISSUES)?;
    let (_, issue) = find(scene, place)?;
    shown(scene, place, issue.number, 200)
}

/// `PATCH /repos/{owner}/{repo}/issues/{issue_number}`: for whoever filed it, and those with a role.
pub(super) fn update(scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    let place = with_issues(scene, Need::ISSUES_WRITE)?;
    let (repository, issue) = find(scene, place)?;
    let number = issue.number;
    let is_author = scene.caller.login().is_some_and(|login| login == issue.author);
    let may = is_author
        || access::may_push(&scene.caller, repository)
        || access::role(&scene.caller, repository) >= Some(Role::Triage);
    if !may {
        return Err(Answer::fail(403, "Must have admin rights to Repository."));
    }
    let body = scene.body()?;
    let repository = &scene.model.repositories[place];
    let may_set = access::may_triage(&scene.caller, repository);
    let wish = Wish::read(&body, &scene.caller, repository, may_set)?;
    let now = scene.model.now();
    wish.carry_out(scene.at(place), number, now);
    shown(scene, place, number, 200)
}

/// The moment that a list begins with, if the request names one.
fn since(scene: &Scene<'_>) -> Result<Option<Timestamp>, Answer> {
    let Some(text) = scene.ask.parameter("since") else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|_| Answer::fail(422, &format!("Invalid request.\n\n\"{text}\" is not a valid date-time.")))
}

/// `GET /repos/{owner}/{repo}/issues`: pull requests too, and only these where there are no issues.
pub(super) fn list(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::ISSUES)?;
    let repository = &scene.model.repositories[place];
    let since = since(scene)?;
    let ask = |name: &str| scene.ask.parameter(name);
    let milestone = |issue: &Issue| match ask("milestone") {
        None => true,
        Some("*") => issue.milestone.is_some(),
        Some("none") => issue.milestone.is_none(),
        Some(number) => repository.milestones.iter().any(|milestone| {
            milestone.number.to_string() == number && issue.milestone.as_ref() == Some(&milestone.title)
        }),
    };
    let labels: Vec<&str> = ask("labels").map(|text| text.split(',').collect()).unwrap_or_default();
    let mut chosen: Vec<&Issue> = repository
        .issues
        .iter()
        .filter(|issue| repository.has_issues || issue.is_pull_request)
        .filter(|issue| match ask("state").unwrap_or("open") {
            "all" => true,
            "closed" => issue.closed.is_some(),
            _ => issue.closed.is_none(),
        })
        .filter(|issue| since.is_none_or(|since| issue.updated >= since))
        .filter(|issue| labels.iter().all(|wanted| issue.labels.iter().any(|name| same(name, wanted))))
        .filter(|issue| ask("creator").is_none_or(|login| issue.author.eq_ignore_ascii_case(login)))
        .filter(|issue| milestone(issue))
        .collect();
    match ask("sort").unwrap_or("created") {
        "updated" => chosen.sort_by_key(|issue| (issue.updated, issue.number)),
        "comments" => chosen.sort_by_key(|issue| (issue.comments.len(), issue.number)),
        _ => chosen.sort_by_key(|issue| (issue.created, issue.number)),
    }
    if ask("direction").unwrap_or("desc") == "desc" {
        chosen.reverse();
    }
    let all = chosen.into_iter().map(|issue| show::issue(scene.model, repository, issue, &scene.links));
    Ok(page::cut(scene.ask, &format!("/repositories/{}/issues", repository.id), all.collect()))
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}/comments`, oldest first.
pub(super) fn comments(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = with_issues(scene, Need::ISSUES)?;
    let (repository, issue) = find(scene, place)?;
    let since = since(scene)?;
    let chosen = issue.comments.iter().filter(|comment| since.is_none_or(|since| comment.updated >= since));
    let all =
        chosen.map(|comment| show::comment(scene.model, repository, issue.number, comment, &scene.links));
    let path = format!("/repositories/{}/issues/{}/comments", repository.id, issue.number);
    Ok(page::cut(scene.ask, &path, all.collect()))
}

/// `POST /repos/{owner}/{repo}/issues/{issue_number}/comments`
pub(super) fn comment(scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    let place = with_issues(scene, Need::ISSUES_WRITE)?;
    let number = find(scene, place)?.1.number;
    let body = scene.body()?;
    let Some(text) = text(&body, "body")?.of(None).filter(|text| !text.trim().is_empty()) else {
        let missing = json!({ "resource": "IssueComment", "code": "missing_field", "field": "body" });
        return Err(Answer::invalid(&[missing]));
    };
    if let Some(wrong) = wrong_text("body", &text, LONGEST_BODY) {
        return Err(Answer::invalid(&[wrong]));
    }
    let now = scene.model.now();
    let author = scene.caller.login().unwrap_or_default();
    let app = scene.caller.app();
    let repository = scene.at(place);
    let comment = Comment { id: repository.id(), author, app, body: text, created: now, updated: now };
    if let Some(issue) = repository.issues.iter_mut().find(|issue| issue.number == number) {
        issue.comments.push(comment.clone());
        issue.updated = now;
    }
    let repository = &scene.model.repositories[place];
    let value = show::comment(scene.model, repository, number, &comment, &scene.links);
    let url = value["url"].as_str().unwrap_or_default().to_owned();
    Ok(Answer::json(201, value).with("location", &url))
}
