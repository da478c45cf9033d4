//! Releases and their assets.

use serde_json::Value;

use super::super::access::{self, Need};
use super::super::model::{Release, Repository};
use super::super::objects;
use super::{Answer, Payload, Scene, page, show};

/// Whether the caller sees a release: drafts are for those who may push.
fn is_seen(scene: &Scene<'_>, repository: &Repository, release: &Release) -> bool {
    !release.draft || access::may_push(&scene.caller, repository)
}

fn one(
    scene: &Scene<'_>,
    choose: impl Fn(&Scene<'_>, &Repository) -> Option<usize>,
) -> Result<Answer, Answer> {
    let place = scene.repository(Need::CONTENTS)?;
    let repository = &scene.model.repositories[place];
    let found = choose(scene, repository).ok_or_else(Answer::not_found)?;
    Ok(Answer::json(200, show::release(scene.model, repository, &repository.releases[found], &scene.links)))
}

/// `GET /repos/{owner}/{repo}/releases`
pub(super) fn list(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::CONTENTS)?;
    let repository = &scene.model.repositories[place];
    let seen = repository.releases.iter().rev().filter(|release| is_seen(scene, repository, release));
    let all = seen.map(|release| show::release(scene.model, repository, release, &scene.links)).collect();
    Ok(page::cut(scene.ask, &format!("/repositories/{}/releases", repository.id), all))
}

/// `GET /repos/{owner}/{repo}/releases/{release_id}`
pub(super) fn get(scene: &Scene<'_>) -> Result<Answer, Answer> {
    one(scene, |scene, repository| {
        let id = scene.number("release_id");
        repository.releases.iter().position(|release| release.id == id && is_seen(scene, repository, release))
    })
}

/// `GET /repos/{owner}/{repo}/releases/tags/{tag}`: never a draft, which has no tag yet.
pub(super) fn by_tag(scene: &Scene<'_>) -> Result<Answer, Answer> {
    one(scene, |scene, repository| {
        let tag = scene.name("tag");
        repository.releases.iter().position(|release| release.tag == tag && !release.draft)
    })
}

/// `GET /repos/{owner}/{repo}/releases/latest`: the newest that is neither a draft nor a prerelease.
pub(super) fn latest(scene: &Scene<'_>) -> Result<Answer, Answer> {
    one(scene, |_, repository| {
        let full = repository
            .releases
            .iter()
            .enumerate()
            .filter(|(_, release)| !release.draft && !release.prerelease);
        full.max_by_key(|(place, release)| (release.created, *place)).map(|(place, _)| place)
    })
}

/// `GET /repos/{owner}/{repo}/releases/{release_id}/assets`
pub(super) fn assets(scene: &Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::CONTENTS)?;
    let repository = &scene.model.repositories[place];
    let id = scene.number("release_id");
    let release = repository.releases.iter().find(|release| release.id == id);
    let release =
        release.filter(|release| is_seen(scene, repository, release)).ok_or_else(Answer::not_found)?;
    let all: Vec<Value> = release
        .assets
        .iter()
        .map(|asset| show::asset(scene.model, repository, release, asset, &scene.links))
        .collect();
    Ok(page::cut(scene.ask, &format!("/repositories/{}/releases/{id}/assets", repository.id), all))
}

/// `GET /repos/{owner}/{repo}/releases/assets/{asset_id}`: what is known of it, or (for `application/octet-stream`)
/// where its bytes are.
pub(super) fn asset(scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    let place = scene.repository(Need::CONTENTS)?;
    let id = scene.number("asset_id");
    let wants_bytes =
        scene.ask.header("accept").is_some_and(|accept| accept.contains("application/octet-stream"));
    let repository = &scene.model.repositories[place];
    let found = repository.releases.iter().find_map(|release| {
        let asset = release.assets.iter().find(|asset| asset.id == id)?;
        is_seen(scene, repository, release).then_some((release, asset))
    });
    let (release, asset) = found.ok_or_else(Answer::not_found)?;
    if !wants_bytes {
        return Ok(Answer::json(200, show::asset(scene.model, repository, release, asset, &scene.links)));
    }
    if !asset.is_uploaded {
        return Err(Answer::not_found());
    }
    let path = objects::address(scene.model, repository.id, asset);
    let release = release.id;
    let releases = &mut scene.at(place).releases;
    let counted = releases.iter_mut().filter(|other| other.id == release).flat_map(|other| &mut other.assets);
    counted.filter(|asset| asset.id == id).for_each(|asset| asset.downloads += 1);
    let address = format!("{}{path}", scene.ask.objects);
    let text = format!("<html><body>You are being <a href=\"{address}\">redirected</a>.</body></html>");
    Ok(Answer::new(302, Payload::Text("text/html; charset=utf-8", text)).with("location", &address))
}
