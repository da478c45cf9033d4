//! The model as GitHub's JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::access::{self, Caller};
use super::super::model::{Asset, Comment, Issue, Label, Milestone, Model, Release, Repository, Role, User};
use super::super::token::{App, Grant, Installation, Level};

/// The addresses that are in answers.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// Of the API.
    pub(super) api: String,
    /// Of the pages for people.
    pub(super) web: String,
}

impl Links {
    fn repository(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.api, repository.full_name())
    }

    fn page(&self, repository: &Repository) -> String {
        format!("{}/{}", self.web, repository.full_name())
    }
}

fn time(at: Timestamp) -> Value {
    at.to_string().into()
}

fn maybe(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, time)
}

fn node(kind: &str, id: u64) -> String {
    format!("{kind}_{id}")
}

/// An account, of which a login may be all that is known.
pub(super) fn account(model: &Model, login: &str, links: &Links) -> Value {
    let user = model.users.iter().find(|user| user.login.eq_ignore_ascii_case(login));
    user.map_or(Value::Null, |user| simple_user(user, links))
}

pub(super) fn simple_user(user: &User, links: &Links) -> Value {
    // An App's account has brackets in its name, which an address must not have.
    let name = user.login.replace('[', "%5B").replace(']', "%5D");
    let url = format!("{}/users/{name}", links.api);
    json!({
        "login": user.login,
        "id": user.id,
        "node_id": node("U", user.id),
        "avatar_url": format!("{}/avatars/{}", links.web, user.id),
        "gravatar_id": "",
        "url": url,
        "html_url": format!("{}/{name}", links.web),
        "followers_url": format!("{url}/followers"),
        "following_url": format!("{url}/following{{/other_user}}"),
        "gists_url": format!("{url}/gists{{/gist_id}}"),
        "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{url}/subscriptions"),
        "organizations_url": format!("{url}/orgs"),
        "repos_url": format!("{url}/repos"),
        "events_url": format!("{url}/events{{/privacy}}"),
        "received_events_url": format!("{url}/received_events"),
        "type": if user.is_bot { "Bot" } else { "User" },
        "user_view_type": "public",
        "site_admin": false,
    })
}

/// A user with what others see, or with what only they see.
pub(super) fn user(user: &User, is_self: bool, links: &Links) -> Value {
    let mut value = simple_user(user, links);
    let more = json!({
        "name": null, "company": null, "blog": "", "location": null, "email": null, "hireable": null,
        "bio": null, "twitter_username": null, "public_repos": 0, "public_gists": 0, "followers": 0,
        "following": 0, "created_at": time(user.created), "updated_at": time(user.created),
    });
    let private = json!({
        "user_view_type": "private", "private_gists": 0, "total_private_repos": 0, "owned_private_repos": 0,
        "disk_usage": 0, "collaborators": 0, "two_factor_authentication": true,
    });
    merge(&mut value, more);
    if is_self {
        merge(&mut value, private);
    }
    value
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// A repository's addresses that are made from its own by appending.
const APPENDED: [(&str, &str); 37] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
];

/// A repository as it is alone, or (not `is_full`) in a list.
pub(super) fn repository(
    model: &Model,
    repository: &Repository,
    caller: &Caller,
    is_full: bool,
    links: &Links,
) -> Value {
    let page = links.page(repository);
    let open = repository.issues.iter().filter(|issue| issue.closed.is_none()).count();
    let mut value = json!({
        "id": repository.id,
        "node_id": node("R", repository.id),
        "name": repository.name,
        "full_name": repository.full_name(),
        "owner": account(model, &repository.owner, links),
        "private": repository.private,
        "visibility": if repository.private { "private" } else { "public" },
        "html_url": page,
        "fork": false,
        "pushed_at": time(repository.created),
        "created_at": time(repository.created),
        "updated_at": time(repository.created),
    });
    merge(
        &mut value,
        json!({
            "description": null, "homepage": null, "language": null, "mirror_url": null, "license": null,
            "git_url": format!("{page}.git"), "ssh_url": format!("{page}.git"),
            "clone_url": format!("{page}.git"), "svn_url": page,
            "forks_count": 0, "forks": 0, "stargazers_count": 0, "watchers_count": 0, "watchers": 0, "size": 0,
            "default_branch": "main",
            "open_issues_count": open, "open_issues": open,
            "is_template": false, "topics": [],
            "has_issues": repository.has_issues, "has_projects": true, "has_wiki": true, "has_pages": false,
            "has_downloads": true, "has_discussions": false,
            "archived": repository.archived, "disabled": false, "allow_forking": true,
            "web_commit_signoff_required": false,
        }),
    );
    let own = links.repository(repository);
    for (name, appended) in APPENDED {
        value[name] = format!("{own}{appended}").into();
    }
    if is_full {
        merge(&mut value, json!({ "subscribers_count": 0, "network_count": 0 }));
    }
    if let Some(permissions) = permissions(repository, caller) {
        value["permissions"] = permissions;
    }
    value
}

/// What the caller may do; GitHub tells nobody in particular nothing.
fn permissions(repository: &Repository, caller: &Caller) -> Option<Value> {
    let has = |at_least: Role| access::role(caller, repository) >= Some(at_least);
    match caller {
        Caller::Anonymous | Caller::App { .. } => None,
        Caller::Installation { grant, .. } => {
            let push = grant.allows("contents", Level::Write);
            let pull = grant.allows("contents", Level::Read) || !repository.private;
            Some(json!({ "admin": false, "maintain": false, "push": push, "triage": false, "pull": pull }))
        }
        _ => Some(json!({
            "admin": has(Role::Admin),
            "maintain": has(Role::Maintain),
            "push": has(Role::Write),
            "triage": has(Role::Triage),
            "pull": has(Role::Read),
        })),
    }
}

pub(super) fn release(model: &Model, repository: &Repository, release: &Release, links: &Links) -> Value {
    let url = format!("{}/releases/{}", links.repository(repository), release.id);
    let page = links.page(repository);
    let assets: Vec<Value> =
        release.assets.iter().map(|asset| self::asset(model, repository, release, asset, links)).collect();
    json!({
        "url": url,
        "html_url": format!("{page}/releases/tag/{}", release.tag),
        "assets_url": format!("{url}/assets"),
        "upload_url": format!("{url}/assets{{?name,label}}"),
        "tarball_url": format!("{}/tarball/{}", links.repository(repository), release.tag),
        "zipball_url": format!("{}/zipball/{}", links.repository(repository), release.tag),
        "id": release.id,
        "node_id": node("RE", release.id),
        "tag_name": release.tag,
        "target_commitish": "main",
        "name": release.name,
        "body": "",
        "draft": release.draft,
        "immutable": false,
        "prerelease": release.prerelease,
        "created_at": time(release.created),
        "updated_at": time(release.created),
        "published_at": maybe((!release.draft).then_some(release.created)),
        "author": account(model, &release.author, links),
        "assets": assets,
    })
}

pub(super) fn asset(
    model: &Model,
    repository: &Repository,
    release: &Release,
    asset: &Asset,
    links: &Links,
) -> Value {
    let page = links.page(repository);
    json!({
        "url": format!("{}/releases/assets/{}", links.repository(repository), asset.id),
        "browser_download_url": format!("{page}/releases/download/{}/{}", release.tag, asset.name),
        "id": asset.id,
        "node_id": node("RA", asset.id),
        "name": asset.name,
        "label": null,
        "state": if asset.is_uploaded { "uploaded" } else { "open" },
        "content_type": asset.content_type,
        "size": asset.size,
        "digest": asset.digest,
        "download_count": asset.downloads,
        "created_at": time(asset.created),
        "updated_at": time(asset.created),
        "uploader": account(model, &release.author, links),
    })
}

pub(super) fn label(repository: &Repository, label: &Label, links: &Links) -> Value {
    let name: String = url::form_urlencoded::byte_serialize(label.name.as_bytes()).collect();
    json!({
        "id": label.id,
        "node_id": node("LA", label.id),
        "url": format!("{}/labels/{}", links.repository(repository), name.replace('+', "%20")),
        "name": label.name,
        "description": null,
        "color": label.color,
        "default": false,
    })
}

pub(super) fn milestone(
    model: &Model,
    repository: &Repository,
    milestone: &Milestone,
    links: &Links,
) -> Value {
    let url = format!("{}/milestones/{}", links.repository(repository), milestone.number);
    let mine = repository.issues.iter().filter(|issue| issue.milestone.as_ref() == Some(&milestone.title));
    let (closed, open): (Vec<_>, Vec<_>) = mine.partition(|issue| issue.closed.is_some());
    json!({
        "url": url,
        "html_url": format!("{}/milestone/{}", links.page(repository), milestone.number),
        "labels_url": format!("{url}/labels"),
        "id": milestone.id,
        "node_id": node("MI", milestone.id),
        "number": milestone.number,
        "state": if milestone.closed.is_some() { "closed" } else { "open" },
        "title": milestone.title,
        "description": null,
        "creator": account(model, &milestone.creator, links),
        "open_issues": open.len(),
        "closed_issues": closed.len(),
        "created_at": time(milestone.created),
        "updated_at": time(milestone.closed.unwrap_or(milestone.created)),
        "closed_at": maybe(milestone.closed),
        "due_on": null,
    })
}

fn association(repository: &Repository, login: &str) -> &'static str {
    match repository.role(login) {
        _ if repository.owner.eq_ignore_ascii_case(login) => "OWNER",
        Some(_) => "COLLABORATOR",
        None => "NONE",
    }
}

fn reactions(url: &str) -> Value {
    json!({
        "url": format!("{url}/reactions"), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0,
        "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
    })
}

pub(super) fn issue(model: &Model, repository: &Repository, issue: &Issue, links: &Links) -> Value {
    let own = links.repository(repository);
    let url = format!("{own}/issues/{}", issue.number);
    let kind = if issue.is_pull_request { "pull" } else { "issues" };
    let page = format!("{}/{kind}/{}", links.page(repository), issue.number);
    let found = |name: &String| repository.labels.iter().find(|label| label.name == *name);
    let labels: Vec<Value> =
        issue.labels.iter().filter_map(found).map(|label| self::label(repository, label, links)).collect();
    let assignees: Vec<Value> = issue.assignees.iter().map(|login| account(model, login, links)).collect();
    let milestone = repository.milestones.iter().find(|known| issue.milestone.as_ref() == Some(&known.title));
    let app = issue.app.as_ref().and_then(|slug| model.apps.iter().find(|app| app.slug == *slug));
    let mut value = json!({
        "id": issue.id,
        "node_id": node("I", issue.id),
        "url": url,
        "repository_url": own,
        "labels_url": format!("{url}/labels{{/name}}"),
        "comments_url": format!("{url}/comments"),
        "events_url": format!("{url}/events"),
        "timeline_url": format!("{url}/timeline"),
        "html_url": page,
        "number": issue.number,
        "state": if issue.closed.is_some() { "closed" } else { "open" },
        "state_reason": issue.closed.map(|_| "completed"),
        "title": issue.title,
        "body": issue.body,
        "user": account(model, &issue.author, links),
        "labels": labels,
        "assignee": assignees.first(),
        "assignees": assignees,
        "milestone": milestone.map(|found| self::milestone(model, repository, found, links)),
        "locked": false,
        "active_lock_reason": null,
        "comments": issue.comments.len(),
        "closed_at": maybe(issue.closed),
        "closed_by": null,
        "created_at": time(issue.created),
        "updated_at": time(issue.updated),
        "author_association": association(repository, &issue.author),
        "performed_via_github_app": app.map(|app| self::app(model, app, links)),
        "reactions": reactions(&url),
        "sub_issues_summary": { "total": 0, "completed": 0, "percent_completed": 0 },
        "issue_dependencies_summary":
            { "blocked_by": 0, "total_blocked_by": 0, "blocking": 0, "total_blocking": 0 },
    });
    if issue.is_pull_request {
        let pull = format!("{own}/pulls/{}", issue.number);
        value["draft"] = false.into();
        value["pull_request"] = json!({
            "url": pull, "html_url": page, "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"), "merged_at": null,
        });
    }
    value
}

pub(super) fn comment(
    model: &Model,
    repository: &Repository,
    number: u64,
    comment: &Comment,
    links: &Links,
) -> Value {
    let own = links.repository(repository);
    let url = format!("{own}/issues/comments/{}", comment.id);
    let app = comment.app.as_ref().and_then(|slug| model.apps.iter().find(|app| app.slug == *slug));
    json!({
        "id": comment.id,
        "node_id": node("IC", comment.id),
        "url": url,
        "html_url": format!("{}/issues/{number}#issuecomment-{}", links.page(repository), comment.id),
        "issue_url": format!("{own}/issues/{number}"),
        "user": account(model, &comment.author, links),
        "body": comment.body,
        "created_at": time(comment.created),
        "updated_at": time(comment.updated),
        "author_association": association(repository, &comment.author),
        "performed_via_github_app": app.map(|app| self::app(model, app, links)),
        "reactions": reactions(&url),
    })
}

pub(super) fn app(model: &Model, app: &App, links: &Links) -> Value {
    let page = format!("{}/apps/{}", links.web, app.slug);
    let homes: Vec<&Installation> = model.installations.iter().filter(|home| home.app == app.id).collect();
    json!({
        "id": app.id,
        "slug": app.slug,
        "client_id": app.client_id(),
        "node_id": node("A", app.id),
        "owner": account(model, &app.owner, links),
        "name": app.slug,
        "description": null,
        "external_url": page,
        "html_url": page,
        "created_at": time(app.created),
        "updated_at": time(app.created),
        "permissions": homes.first().map_or_else(|| json!({}), |home| grant(&home.grant)),
        "events": [],
        "installations_count": homes.len(),
    })
}

/// A grant's permissions by name.
pub(super) fn grant(grant: &Grant) -> Value {
    let mut words: BTreeMap<&str, &str> =
        grant.permissions.iter().map(|(name, level)| (name.as_str(), level.word())).collect();
    words.insert("metadata", "read");
    json!(words)
}

pub(super) fn installation(model: &Model, home: &Installation, links: &Links) -> Value {
    let url = format!("{}/app/installations/{}", links.api, home.id);
    let app = model.apps.iter().find(|app| app.id == home.app);
    let owner = model.users.iter().find(|user| user.login.eq_ignore_ascii_case(home.owner()));
    json!({
        "id": home.id,
        "account": account(model, home.owner(), links),
        "repository_selection": if home.grant.repositories.is_some() { "selected" } else { "all" },
        "access_tokens_url": format!("{url}/access_tokens"),
        "repositories_url": format!("{}/installation/repositories", links.api),
        "html_url": format!("{}/settings/installations/{}", links.web, home.id),
        "app_id": home.app,
        "app_slug": app.map_or("", |app| app.slug.as_str()),
        "target_id": owner.map_or(0, |owner| owner.id),
        "target_type": "User",
        "permissions": grant(&home.grant),
        "events": [],
        "created_at": time(home.created),
        "updated_at": time(home.created),
        "single_file_name": null,
        "suspended_by": null,
        "suspended_at": maybe(home.is_suspended.then_some(home.created)),
    })
}
