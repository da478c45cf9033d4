//! The pages for people, as far as somebody who plays needs them: issues as text, and the download of an asset without
//! the API, which works for public repositories only.

use std::fmt::Write as _;

use super::api::{Answer, Ask, Payload};
use super::model::{Issue, Model, Repository};
use super::objects;

/// The page, if a request is for one.
pub(super) fn page(model: &Model, ask: &Ask) -> Option<Answer> {
    let parts: Vec<&str> = ask.path.trim_start_matches('/').split('/').collect();
    let [owner, name, rest @ ..] = &parts[..] else { return None };
    let repository = &model.repositories[model.find(&format!("{owner}/{name}"))?];
    if repository.private {
        return Some(text(404, "Not Found\n".to_owned()));
    }
    match rest {
        ["issues"] => Some(text(
            200,
            repository.issues.iter().rev().fold(String::new(), |all, issue| all + &line(issue)),
        )),
        ["issues", number] => Some(issue(repository, number)),
        ["releases", "download", tag, file] => Some(download(model, ask, repository, tag, file)),
        _ => None,
    }
}

fn text(status: u16, text: String) -> Answer {
    Answer::new(status, Payload::Text("text/plain; charset=utf-8", text))
}

/// An issue in one line.
fn line(issue: &Issue) -> String {
    let state = if issue.closed.is_some() { "closed" } else { "open" };
    let labels = issue.labels.join(", ");
    let milestone = issue.milestone.as_deref().unwrap_or("-");
    format!("#{} {state} {:?} labels: [{labels}] milestone: {milestone}\n", issue.number, issue.title)
}

fn issue(repository: &Repository, number: &str) -> Answer {
    let found = repository.issues.iter().find(|issue| issue.number.to_string() == number);
    let Some(issue) = found else { return text(404, "Not Found\n".to_owned()) };
    let body = issue.body.as_deref().unwrap_or_default();
    let mut page = format!("{}by {}\n\n{body}\n", line(issue), issue.author);
    for comment in &issue.comments {
        let _ = write!(page, "\n-- {} --\n{}\n", comment.author, comment.body);
    }
    text(200, page)
}

fn download(model: &Model, ask: &Ask, repository: &Repository, tag: &str, file: &str) -> Answer {
    let release = repository.releases.iter().find(|release| release.tag == tag && !release.draft);
    let asset = release.and_then(|release| release.assets.iter().find(|asset| asset.name == file));
    let Some(asset) = asset else { return text(404, "Not Found\n".to_owned()) };
    let address = format!("{}{}", ask.objects, objects::address(model, repository.id, asset));
    Answer::new(302, Payload::None).with("location", &address)
}
