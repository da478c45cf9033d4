//! Users, repositories, labels, milestones, assignees, and how the rate limit stands.

use serde_json::{Value, json};

use super::super::access::{Caller, Need};
use super::{Answer, Scene, page, show};

/// `GET /user`
pub(super) fn user(scene: &Scene<'_>) -> Result<Answer, Answer> {
    match &scene.caller {
        Caller::Anonymous => Err(Answer::fail(401, "Requires authentication")),
        Caller::Installation { .. } | Caller::App { .. } => {
            Err(Answer::fail(403, "Resource not accessible by integration"))
        }
        Caller::Classic { login, .. } | Caller::FineGrained { login, .. } => {
            let user = scene.model.users.iter().find(|user| user.login.eq_ignore_ascii_case(login));
            let user = user.ok_or_else(Answer::not_found)?;
            Ok(Answer::json(200, show::user(user, true, &scene.links)))
        }
    }
}

/// `GET /users/{username}`
pub(super) fn user_by_name(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let login = scene.name("username");
    let user = scene.model.users.iter().find(|user| user.login.eq_ignore_ascii_case(login));
    let user = user.ok_or_else(Answer::not_found)?;
    Ok(Answer::json(200, show::user(user, false, &scene.links)))
}

/// `GET /rate_limit`
pub(super) fn rate_limit(scene: &mut Scene<'_>) -> Answer {
    let now = scene.model.now();
    let who = scene.caller.bucket();
    let bucket = *scene.model.limits.bucket(&who, now);
    let core = json!({
        "limit": bucket.limit, "used": bucket.used, "remaining": bucket.remaining(),
        "reset": bucket.reset.as_second(),
    });
    let resources = json!({ "core": core, "search": core, "graphql": core });
    Answer::json(200, json!({ "resources": resources, "rate": core }))
}

/// `GET /repos/{owner}/{repo}`
pub(super) fn get(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::METADATA)?;
    let repository = &scene.model.repositories[place];
    Ok(Answer::json(200, show::repository(scene.model, repository, &scene.caller, true, &scene.links)))
}

/// `GET /repos/{owner}/{repo}/milestones`
pub(super) fn milestones(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::ISSUES)?;
    let repository = &scene.model.repositories[place];
    let state = scene.ask.parameter("state").unwrap_or("open");
    let chosen = repository.milestones.iter().filter(|milestone| match state {
        "all" => true,
        "closed" => milestone.closed.is_some(),
        _ => milestone.closed.is_none(),
    });
    let mut all: Vec<Value> =
        chosen.map(|milestone| show::milestone(scene.model, repository, milestone, &scene.links)).collect();
    if scene.ask.parameter("direction") == Some("desc") {
        all.reverse();
    }
    Ok(page::cut(scene.ask, &format!("/repositories/{}/milestones", repository.id), all))
}

/// `GET /repos/{owner}/{repo}/milestones/{milestone_number}`
pub(super) fn milestone(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::ISSUES)?;
    let repository = &scene.model.repositories[place];
    let number = scene.number("milestone_number");
    let found = repository.milestones.iter().find(|milestone| milestone.number == number);
    let found = found.ok_or_else(Answer::not_found)?;
    Ok(Answer::json(200, show::milestone(scene.model, repository, found, &scene.links)))
}

/// `GET /repos/{owner}/{repo}/labels`
pub(super) fn labels(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::ISSUES)?;
    let repository = &scene.model.repositories[place];
    let all = repository.labels.iter().map(|label| show::label(repository, label, &scene.links)).collect();
    Ok(page::cut(scene.ask, &format!("/repositories/{}/labels", repository.id), all))
}

/// `GET /repos/{owner}/{repo}/labels/{name}`
pub(super) fn label(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::ISSUES)?;
    let repository = &scene.model.repositories[place];
    let name = scene.name("name").to_lowercase();
    let found = repository.labels.iter().find(|label| label.name.to_lowercase() == name);
    let found = found.ok_or_else(Answer::not_found)?;
    Ok(Answer::json(200, show::label(repository, found, &scene.links)))
}

/// `GET /repos/{owner}/{repo}/assignees`
pub(super) fn assignees(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::METADATA)?;
    let repository = &scene.model.repositories[place];
    let able = scene.model.users.iter().filter(|user| repository.role(&user.login).is_some());
    let all = able.map(|user| show::simple_user(user, &scene.links)).collect();
    Ok(page::cut(scene.ask, &format!("/repositories/{}/assignees", repository.id), all))
}

/// `GET /repos/{owner}/{repo}/assignees/{assignee}`: whether an issue can be given to that user.
pub(super) fn assignee(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::METADATA)?;
    let repository = &scene.model.repositories[place];
    if repository.role(scene.name("assignee")).is_none() {
        return Err(Answer::not_found());
    }
    Ok(Answer::new(204, super::Payload::None))
}
