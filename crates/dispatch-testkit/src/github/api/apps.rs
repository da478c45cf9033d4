//! GitHub Apps: who they are, where they are installed, and their tokens, which live for an hour.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::super::access::Caller;
use super::super::model::Repository;
use super::super::token::{App, Grant, Installation, Level, Token};
use super::{Answer, Scene, page, show};

/// How long a token of an installation lives.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// The App that asks; others are told what they would need.
fn asking<'a>(scene: &'a Scene<'_>) -> Result<&'a App, Answer> {
    let Caller::App { id, .. } = scene.caller else {
        return Err(Answer::fail(401, "A JSON web token could not be decoded"));
    };
    scene.model.apps.iter().find(|app| app.id == id).ok_or_else(Answer::not_found)
}

/// `GET /app`
pub(super) fn app(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let app = asking(scene)?;
    Ok(Answer::json(200, show::app(scene.model, app, &scene.links)))
}

/// `GET /app/installations`
pub(super) fn installations(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let app = asking(scene)?.id;
    let mine = scene.model.installations.iter().filter(|home| home.app == app);
    let all = mine.map(|home| show::installation(scene.model, home, &scene.links)).collect();
    Ok(page::cut(scene.ask, "/app/installations", all))
}

/// `GET /repos/{owner}/{repo}/installation`
pub(super) fn installation(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let app = asking(scene)?.id;
    let full_name = format!("{}/{}", scene.name("owner"), scene.name("repo"));
    let place = scene.model.find(&full_name).ok_or_else(Answer::not_found)?;
    let repository = &scene.model.repositories[place];
    let home = scene
        .model
        .installations
        .iter()
        .find(|home| home.app == app && home.grant.reaches(&repository.owner, &repository.full_name()));
    let home = home.ok_or_else(Answer::not_found)?;
    Ok(Answer::json(200, show::installation(scene.model, home, &scene.links)))
}

/// `POST /app/installations/{installation_id}/access_tokens`: with less than the installation has, if it is asked so.
pub(super) fn token(scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    let app = asking(scene)?.id;
    let id = scene.number("installation_id");
    let home = scene.model.installations.iter().find(|home| home.id == id && home.app == app);
    let home: Installation = home.cloned().ok_or_else(Answer::not_found)?;
    if home.is_suspended {
        return Err(Answer::fail(403, "This installation has been suspended"));
    }
    let body = scene.body()?;
    let grant = narrowed(scene, &home, &body)?;
    let now = scene.model.now();
    let expires = now.saturating_add(LIFE).unwrap_or(now);
    let number = scene.model.id();
    let text = format!("ghs_{number:036}");
    let mut made = Token::of_installation(&home).expiring(expires);
    if let super::super::token::Kind::Installation { grant: given, .. } = &mut made.kind {
        *given = grant.clone();
    }
    scene.model.add_token(&text, made);
    let mut value = json!({
        "token": text,
        "expires_at": expires.to_string(),
        "permissions": show::grant(&grant),
        "repository_selection": if grant.repositories.is_some() { "selected" } else { "all" },
    });
    if body.contains_key("repositories") || body.contains_key("repository_ids") {
        value["repositories"] = reached(scene, &grant).into();
    }
    Ok(Answer::json(201, value))
}

/// What an installation has, as far as it is asked for; more than it has is refused.
fn narrowed(
    scene: &Scene<'_>,
    home: &Installation,
    body: &serde_json::Map<String, Value>,
) -> Result<Grant, Answer> {
    let mut grant = home.grant.clone();
    if let Some(wanted) = body.get("permissions").and_then(Value::as_object) {
        grant.permissions.clear();
        for (name, level) in wanted {
            let level = level.as_str().and_then(Level::from_word);
            let level = level.filter(|level| home.grant.allows(name, *level)).ok_or_else(|| {
                Answer::fail(422, "The permissions requested are not granted to this installation.")
            })?;
            grant.permissions.insert(name.clone(), level);
        }
    }
    let names = body.get("repositories").and_then(Value::as_array).into_iter().flatten();
    let names = names.filter_map(Value::as_str).map(|name| format!("{}/{name}", home.owner()));
    let ids = body.get("repository_ids").and_then(Value::as_array).into_iter().flatten();
    let by_id = |id: u64| scene.model.repositories.iter().find(|repository| repository.id == id);
    let by_id =
        ids.filter_map(Value::as_u64).map(|id| by_id(id).map_or_else(String::new, Repository::full_name));
    let list: Vec<String> = names.chain(by_id).collect();
    for name in &list {
        let is_there = scene.model.find(name).is_some();
        if !is_there || !home.grant.reaches(home.owner(), name) {
            let words = "There is at least one repository that does not exist or is not accessible to the parent installation.";
            return Err(Answer::fail(422, words));
        }
    }
    if !list.is_empty() {
        grant.repositories = Some(list);
    }
    Ok(grant)
}

fn reached(scene: &Scene<'_>, grant: &Grant) -> Vec<Value> {
    let mine = scene.model.repositories.iter();
    let mine = mine.filter(|repository| grant.reaches(&repository.owner, &repository.full_name()));
    mine.map(|repository| show::repository(scene.model, repository, &scene.caller, false, &scene.links))
        .collect()
}

/// `GET /installation/repositories`
pub(super) fn repositories(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let Caller::Installation { grant, .. } = &scene.caller else {
        return Err(Answer::fail(403, "You must authenticate with an installation access token."));
    };
    let all = reached(scene, grant);
    let count = all.len();
    let selection = if grant.repositories.is_some() { "selected" } else { "all" };
    let (part, links) = page::split(scene.ask, "/installation/repositories", all);
    let value = json!({ "total_count": count, "repository_selection": selection, "repositories": part });
    let answer = Answer::json(200, value);
    Ok(if links.is_empty() { answer } else { answer.with("link", &links) })
}
