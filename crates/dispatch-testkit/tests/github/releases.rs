//! Releases, their assets, and the host of the assets' bytes.

use serde_json::{Value, json};

use crate::client::{Ask, Reply, get};
use crate::{LIMIT, at, github};
use dispatch_testkit::github::{Content, FakeGithub, Host, Role, Token};
use jiff::SignedDuration;

const TYPE: &str = "application/vnd.dispatch+efi";

/// `o/r` with the release `devel`, which has `a.efi` with so many bytes.
fn with_release(len: u64) -> FakeGithub {
    let github = github();
    github.change(|model| {
        model.repository("o/r").release("devel").asset("a.efi", TYPE, Content::pattern(len, 1)).id
    });
    github
}

fn release(github: &FakeGithub) -> Value {
    get(&at(github, "/repos/o/r/releases/tags/devel")).token("alice").send().json()
}

/// Where the bytes are.
fn location(github: &FakeGithub, token: &str) -> String {
    let url = release(github)["assets"][0]["url"].as_str().expect("a URL").to_owned();
    let reply = get(&url).with("accept", "application/octet-stream").token(token).send();
    assert_eq!(reply.status, 302);
    reply.header("location").expect("a location").to_owned()
}

fn bytes(len: u64) -> Vec<u8> {
    Content::pattern(len, 1).bytes().expect("bytes").to_vec()
}

fn ranged(url: &str, range: &str) -> Ask {
    get(url).with("range", range)
}

#[test]
fn a_release_is_found_by_its_tag() {
    let github = with_release(10);
    let release = release(&github);
    assert_eq!((&release["tag_name"], &release["assets"][0]["name"]), (&json!("devel"), &json!("a.efi")));
    assert_eq!(
        (&release["assets"][0]["content_type"], &release["assets"][0]["size"]),
        (&json!(TYPE), &json!(10))
    );
    let digest = Content::pattern(10, 1).sha256().expect("a digest");
    assert_eq!(release["assets"][0]["digest"], format!("sha256:{digest}"));
    assert_eq!(get(&at(&github, "/repos/o/r/releases/tags/none")).send().status, 404);
}

#[test]
fn an_old_asset_has_no_digest() {
    let github = github();
    github.change(|model| {
        model.repository("o/r").release("devel").asset("a.efi", TYPE, "old").without_digest();
    });
    assert_eq!(release(&github)["assets"][0]["digest"], Value::Null);
}

#[test]
fn the_latest_release_is_neither_a_draft_nor_a_prerelease() {
    let github = github();
    assert_eq!(get(&at(&github, "/repos/o/r/releases/latest")).send().status, 404);
    github.change(|model| {
        let repository = model.repository("o/r");
        repository.release("v1");
        repository.release("v2");
        repository.release("v3").prerelease = true;
        repository.release("v4").draft = true;
    });
    let tag = |token: &str, path: &str| get(&at(&github, path)).token(token).send();
    assert_eq!(tag("alice", "/repos/o/r/releases/latest").json()["tag_name"], "v2");
    assert_eq!(tag("alice", "/repos/o/r/releases/tags/v4").status, 404);
    let count = |token: &str| tag(token, "/repos/o/r/releases").json().as_array().map(Vec::len);
    // Who may push sees the draft.
    assert_eq!((count("alice"), count("will")), (Some(3), Some(4)));
}

#[test]
fn assets_come_in_pages() {
    let github = github();
    let id = github.change(|model| {
        let release = model.repository("o/r").release("devel");
        for number in 0..35 {
            release.asset(&format!("{number:02}.efi"), TYPE, "x");
        }
        release.id
    });
    let first = get(&at(&github, &format!("/repos/o/r/releases/{id}/assets"))).send();
    assert_eq!(first.json().as_array().map(Vec::len), Some(30));
    let next = first.header("link").and_then(|link| link.split(['<', '>']).nth(1)).expect("a next one");
    assert_eq!(get(next).send().json().as_array().map(Vec::len), Some(5));
}

#[test]
fn a_replaced_asset_has_another_number() {
    let github = with_release(10);
    let first = release(&github)["assets"][0].clone();
    github.change(|model| model.repository("o/r").release("devel").asset("a.efi", TYPE, "other").id);
    let second = release(&github)["assets"][0].clone();
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["digest"], second["digest"]);
    assert_eq!(get(first["url"].as_str().expect("a URL")).send().status, 404);
}

#[test]
fn the_bytes_are_on_another_host() {
    let github = with_release(200_000);
    let location = location(&github, "alice");
    assert!(location.starts_with(&github.objects()), "{location}");
    let reply = get(&location).send();
    assert_eq!((reply.status, reply.is_whole), (200, true));
    assert_eq!(reply.body, bytes(200_000));
    let entry = github
        .wait_for("the end of the download", LIMIT, |model| {
            model.requests.iter().find(|request| request.host == Host::Objects && request.is_over).cloned()
        })
        .expect("a request");
    assert_eq!((entry.bytes_sent, entry.status), (200_000, Some(200)));
}

#[test]
fn the_host_of_the_bytes_refuses_whoever_brings_a_token() {
    let github = with_release(10);
    let reply = get(&location(&github, "alice")).token("alice").send();
    assert_eq!(reply.status, 400);
    assert_eq!(github.take_violations().len(), 1, "and a client that does so is wrong");
}

#[test]
fn an_address_that_is_not_signed_or_too_old_is_refused() {
    let github = with_release(10);
    let location = location(&github, "alice");
    assert_eq!(get(&location.replace("sig=", "sig=0")).send().status, 403);
    assert_eq!(get(&location).send().status, 200);
    github.change(|model| model.set_clock_ahead(SignedDuration::from_mins(6)));
    assert_eq!(get(&location).send().status, 403);
}

#[test]
fn addresses_can_be_made_worthless() {
    let github = with_release(10);
    let location = location(&github, "alice");
    github.change(dispatch_testkit::github::Model::expire_signatures);
    assert_eq!(get(&location).send().status, 403);
}

#[test]
fn a_range_is_a_part() {
    let github = with_release(1000);
    let location = location(&github, "alice");
    let reply = ranged(&location, "bytes=990-").send();
    assert_eq!((reply.status, reply.header("content-range")), (206, Some("bytes 990-999/1000")));
    assert_eq!(reply.body, bytes(1000)[990..]);
    let beyond = ranged(&location, "bytes=1000-").send();
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1000")));
}

#[test]
fn a_range_of_what_has_changed_is_everything() {
    let github = with_release(1000);
    let location = location(&github, "alice");
    let tag = get(&location).send().header("etag").expect("a tag").to_owned();
    let part = |tag: &str| ranged(&location, "bytes=990-").with("if-range", tag).send();
    assert_eq!(part(&tag).status, 206);
    let all: Reply = part("\"other\"");
    assert_eq!((all.status, all.body.len()), (200, 1000));
    assert_eq!(get(&location).with("if-match", "\"other\"").send().status, 412);
}

#[test]
fn a_head_has_a_length_and_no_body() {
    let github = with_release(1000);
    let reply = Ask::new("HEAD", &location(&github, "alice")).send();
    assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, Some("1000"), 0));
}

#[test]
fn a_private_repository_s_asset_is_had_by_the_api_only() {
    let github = with_release(10);
    github.change(|model| {
        model.repository("o/r").private = true;
        model.add_token("public", Token::classic("alice", &["public_repo"]));
    });
    let asset = release(&github)["assets"][0].clone();
    let browser = asset["browser_download_url"].as_str().expect("a URL");
    assert_eq!(get(browser).send().status, 404);
    let api = asset["url"].as_str().expect("a URL");
    let status = |ask: Ask| ask.with("accept", "application/octet-stream").send().status;
    assert_eq!(status(get(api)), 404);
    assert_eq!(status(get(api).token("mallory")), 404);
    assert_eq!(status(get(api).token("public")), 404);
    assert_eq!(status(get(api).token("alice")), 302);
    assert_eq!(get(&location(&github, "alice")).send().body, bytes(10));
}

#[test]
fn a_public_repository_s_asset_is_had_without_the_api() {
    let github = with_release(10);
    let asset = release(&github)["assets"][0].clone();
    let reply = get(asset["browser_download_url"].as_str().expect("a URL")).send();
    assert_eq!(reply.status, 302);
    assert_eq!(get(reply.header("location").expect("a location")).send().body, bytes(10));
}

#[test]
fn an_asset_can_be_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.efi");
    std::fs::write(&path, "the image").expect("a file");
    let github = github();
    github.change(|model| model.repository("o/r").release("devel").asset("a.efi", TYPE, path).id);
    assert_eq!(get(&location(&github, "alice")).send().body, b"the image");
}

#[test]
fn an_image_of_five_gigabytes_takes_no_room() {
    const SIZE: u64 = 5 << 30;
    let github = github();
    github.change(|model| {
        let asset = model.repository("o/r").release("devel").asset("a.iso", TYPE, Content::pattern(1, 1));
        // Its digest would take a while.
        asset.content = Content::pattern(SIZE, 1);
        asset.size = SIZE;
        asset.digest = None;
    });
    let reply = ranged(&location(&github, "alice"), &format!("bytes={}-", SIZE - 4)).send();
    assert_eq!(
        reply.header("content-range"),
        Some(format!("bytes {}-{}/{SIZE}", SIZE - 4, SIZE - 1).as_str())
    );
    let end = Content::pattern(SIZE, 1).read(SIZE - 4, 4).expect("bytes");
    assert_eq!(reply.body, end);
}

#[test]
fn an_asset_that_has_not_arrived_cannot_be_had() {
    let github = with_release(10);
    github.change(|model| model.repository("o/r").release("devel").assets[0].is_uploaded = false);
    let asset = release(&github)["assets"][0].clone();
    assert_eq!(asset["state"], "open");
    let ask = get(asset["url"].as_str().expect("a URL")).with("accept", "application/octet-stream");
    assert_eq!(ask.token("alice").send().status, 404);
}

#[test]
fn a_collaborator_s_role_is_shown_in_the_repository() {
    let github = github();
    github.change(|model| model.repository("o/r").collaborator("max", Role::Maintain).private = true);
    let shown =
        |token: &str| get(&at(&github, "/repos/o/r")).token(token).send().json()["permissions"].clone();
    let expected = |maintain, push, triage| json!({ "admin": false, "maintain": maintain, "push": push, "triage": triage, "pull": true });
    assert_eq!(shown("alice"), expected(false, false, false));
    assert_eq!(shown("tina"), expected(false, false, true));
    assert_eq!(shown("will"), expected(false, true, true));
    assert_eq!(shown("o")["admin"], true);
}
