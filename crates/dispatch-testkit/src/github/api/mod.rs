//! GitHub's API: what a request does to the model, and what is answered. Everything here is done at one moment, with
//! the model in hand; what happens on the wire is the server's.

mod apps;
mod issues;
mod page;
mod releases;
mod repository;
mod show;

use std::io;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::access::{self, Caller, Need};
use super::content::{Content, hex};
use super::describe::{Description, Names};
use super::model::{Model, Repository};
use show::Links;

/// A request to the API.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) method: String,
    /// Without GitHub Enterprise's `/api/v3`.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The address under which it came, up to and without the path.
    pub(super) api: String,
    /// The address of the pages for people.
    pub(super) web: String,
    /// The address of the host of the assets' bytes.
    pub(super) objects: String,
}

impl Ask {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What an answer consists of.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// Nothing.
    None,
    /// JSON.
    Json(Value),
    /// Text of a type.
    Text(&'static str, String),
    /// Part of an asset's bytes, and how long all of them are.
    Part { content: Content, from: u64, len: u64 },
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Payload,
}

impl Answer {
    pub(super) fn new(status: u16, payload: Payload) -> Self {
        Self { status, headers: Vec::new(), payload }
    }

    pub(super) fn json(status: u16, value: Value) -> Self {
        Self::new(status, Payload::Json(value))
    }

    /// A failure in GitHub's words.
    pub(super) fn fail(status: u16, message: &str) -> Self {
        let documentation = "https://docs.github.com/rest";
        Self::json(
            status,
            json!({ "message": message, "documentation_url": documentation, "status": status.to_string() }),
        )
    }

    pub(super) fn not_found() -> Self {
        Self::fail(404, "Not Found")
    }

    /// What GitHub says of a body that it understands and does not take.
    pub(super) fn invalid(errors: &[Value]) -> Self {
        let documentation = "https://docs.github.com/rest/issues/issues#create-an-issue";
        Self::json(
            422,
            json!({
                "message": "Validation Failed",
                "errors": errors,
                "documentation_url": documentation,
                "status": "422",
            }),
        )
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What an operation has in hand.
struct Scene<'a> {
    model: &'a mut Model,
    ask: &'a Ask,
    names: Names,
    caller: Caller,
    links: Links,
}

impl Scene<'_> {
    fn name(&self, name: &str) -> &str {
        self.names.get(name).map_or("", String::as_str)
    }

    /// A number in the path; text that is none stands for nothing.
    fn number(&self, name: &str) -> u64 {
        self.name(name).parse().unwrap_or(0)
    }

    /// Where the repository is that the path names, if the caller may do that in it.
    fn repository(&self, need: Need) -> Result<usize, Answer> {
        let full_name = format!("{}/{}", self.name("owner"), self.name("repo"));
        let place = self.model.find(&full_name).ok_or_else(Answer::not_found)?;
        let repository = &self.model.repositories[place];
        let scopes = access::accepted_scopes(repository, need);
        access::check(&self.caller, repository, need).map_err(|answer| match self.caller {
            Caller::Classic { .. } => answer.with("x-accepted-oauth-scopes", scopes),
            _ => answer,
        })?;
        Ok(place)
    }

    fn at(&mut self, place: usize) -> &mut Repository {
        let now = self.model.now();
        let repository = &mut self.model.repositories[place];
        repository.now = now;
        repository
    }

    /// The body as an object.
    fn body(&self) -> Result<serde_json::Map<String, Value>, Answer> {
        if self.ask.body.is_empty() {
            return Ok(serde_json::Map::new());
        }
        let value: Value =
            serde_json::from_slice(&self.ask.body).map_err(|_| Answer::fail(400, "Problems parsing JSON"))?;
        match value {
            Value::Object(map) => Ok(map),
            _ => Err(Answer::fail(400, "Body should be a JSON object")),
        }
    }
}

/// Does what a request asks for; or answers what is `forced`, dressed as GitHub's answers are.
pub(super) fn answer(model: &mut Model, ask: &Ask, forced: Option<Answer>) -> Answer {
    let header = ask.header("authorization").map(str::to_owned);
    let signed_in = access::sign_in(model, header.as_deref());
    let (caller, expires, bad) = match signed_in {
        Ok(signed_in) => (signed_in.caller, signed_in.expires, None),
        Err(words) => (Caller::Anonymous, None, Some(words)),
    };
    let mut answer = match bad {
        _ if forced.is_some() => forced.unwrap_or_else(Answer::not_found),
        Some(words) => Answer::fail(if words == "Integration not found" { 404 } else { 401 }, words),
        None => limited(model, &caller, ask).unwrap_or_else(|| operate(model, ask, caller.clone())),
    };
    answer = conditional(ask, &caller, answer);
    count(model, &caller, ask, &mut answer);
    if let Some(scopes) = caller.scopes() {
        answer = answer.with("x-oauth-scopes", &scopes.join(", "));
        if !answer.headers.iter().any(|(name, _)| name == "x-accepted-oauth-scopes") {
            answer = answer.with("x-accepted-oauth-scopes", "");
        }
    }
    if let Some(expires) = expires {
        let text = expires.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        answer = answer.with("github-authentication-token-expiration", &text);
    }
    answer
}

/// What GitHub says to whoever has no requests left.
fn limited(model: &mut Model, caller: &Caller, ask: &Ask) -> Option<Answer> {
    let now = model.now();
    let bucket = model.limits.bucket(&caller.bucket(), now);
    if bucket.remaining() > 0 || ask.path == "/rate_limit" {
        return None;
    }
    let whose = caller.login().map_or("your address".to_owned(), |login| format!("user {login}"));
    Some(Answer::fail(403, &format!("API rate limit exceeded for {whose}.")))
}

/// Counts a request, and tells how its caller stands.
fn count(model: &mut Model, caller: &Caller, ask: &Ask, answer: &mut Answer) {
    let now = model.now();
    let bucket = model.limits.bucket(&caller.bucket(), now);
    let is_free = answer.status == 304 || ask.path == "/rate_limit" || bucket.remaining() == 0;
    if !is_free {
        bucket.used += 1;
    }
    let numbers = [
        ("x-ratelimit-limit", bucket.limit.to_string()),
        ("x-ratelimit-remaining", bucket.remaining().to_string()),
        ("x-ratelimit-used", bucket.used.to_string()),
        ("x-ratelimit-reset", bucket.reset.as_second().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
    ];
    for (name, value) in numbers {
        // A knob may have said otherwise.
        if !answer.headers.iter().any(|(known, _)| known == name) {
            answer.headers.push((name.to_owned(), value));
        }
    }
}

/// The one version of the API whose shape this is.
const VERSION: &str = "2022-11-28";

fn operate(model: &mut Model, ask: &Ask, caller: Caller) -> Answer {
    if ask.header("user-agent").is_none_or(str::is_empty) {
        model.violations.push(format!("{} {}: it has no User-Agent", ask.method, ask.path));
        let words = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.";
        return Answer::fail(403, words);
    }
    if let Some(version) = ask.header("x-github-api-version").filter(|version| *version != VERSION) {
        model.violations.push(format!("{} {}: version {version} of the API", ask.method, ask.path));
        return Answer::fail(400, &format!("{version} is not a valid GitHub API version."));
    }
    let (path, redirect) = resolve(model, ask, &caller);
    if let Some(redirect) = redirect {
        return redirect;
    }
    let description = Description::get();
    let Some((operation, names)) = description.find(&ask.method, &path) else {
        let words = "is none of the operations that the fake GitHub knows";
        model.violations.push(format!("{} {} {words}", ask.method, ask.path));
        return Answer::not_found();
    };
    let wrongs = description.check_request(operation, &names, &ask.query, &ask.body);
    note(model, ask, "a request", wrongs);
    let links = Links { api: ask.api.clone(), web: ask.web.clone() };
    let mut scene = Scene { model, ask, names, caller, links };
    let answer = perform(&operation.id, &mut scene).unwrap_or_else(|failure| failure);
    let body = match &answer.payload {
        Payload::Json(value) => Some(value),
        _ => None,
    };
    let wrongs = description.check_answer(operation, answer.status, body);
    note(model, ask, "an answer", wrongs);
    answer
}

fn note(model: &mut Model, ask: &Ask, what: &str, wrongs: Vec<String>) {
    for wrong in wrongs {
        model
            .violations
            .push(format!("{} {}: {what} that GitHub does not describe: {wrong}", ask.method, ask.path));
    }
}

fn perform(id: &str, scene: &mut Scene<'_>) -> Result<Answer, Answer> {
    match id {
        "users/get-authenticated" => repository::user(scene),
        "users/get-by-username" => repository::user_by_name(scene),
        "rate-limit/get" => Ok(repository::rate_limit(scene)),
        "repos/get" => repository::get(scene),
        "repos/list-releases" => releases::list(scene),
        "repos/get-release" => releases::get(scene),
        "repos/get-release-by-tag" => releases::by_tag(scene),
        "repos/get-latest-release" => releases::latest(scene),
        "repos/list-release-assets" => releases::assets(scene),
        "repos/get-release-asset" => releases::asset(scene),
        "issues/list-milestones" => repository::milestones(scene),
        "issues/get-milestone" => repository::milestone(scene),
        "issues/list-labels-for-repo" => repository::labels(scene),
        "issues/get-label" => repository::label(scene),
        "issues/list-assignees" => repository::assignees(scene),
        "issues/check-user-can-be-assigned" => repository::assignee(scene),
        "issues/create" => issues::create(scene),
        "issues/list-for-repo" => issues::list(scene),
        "issues/get" => issues::get(scene),
        "issues/update" => issues::update(scene),
        "issues/list-comments" => issues::comments(scene),
        "issues/create-comment" => issues::comment(scene),
        "apps/get-authenticated" => apps::app(scene),
        "apps/list-installations" => apps::installations(scene),
        "apps/get-repo-installation" => apps::installation(scene),
        "apps/create-installation-access-token" => apps::token(scene),
        "apps/list-repos-accessible-to-installation" => apps::repositories(scene),
        other => Ok(Answer::fail(501, &format!("the fake GitHub does not know how to {other}"))),
    }
}

/// The path by the repository's present name: one by number is the same, one by a former name redirects.
fn resolve(model: &Model, ask: &Ask, caller: &Caller) -> (String, Option<Answer>) {
    let mut parts = ask.path.trim_start_matches('/').splitn(4, '/');
    let (kind, first, second) = (parts.next(), parts.next(), parts.next());
    if kind == Some("repositories") {
        let id = first.and_then(|id| id.parse().ok()).unwrap_or(0_u64);
        let found = model.repositories.iter().find(|repository| repository.id == id);
        let rest =
            [second, parts.next()].into_iter().flatten().fold(String::new(), |rest, part| rest + "/" + part);
        let name = found.map_or("-/-".to_owned(), Repository::full_name);
        return (format!("/repos/{name}{rest}"), None);
    }
    let (Some("repos"), Some(owner), Some(name)) = (kind, first, second) else {
        return (ask.path.clone(), None);
    };
    let asked = format!("{owner}/{name}");
    let moved = model
        .repositories
        .iter()
        .find(|repository| repository.former_names.iter().any(|former| former.eq_ignore_ascii_case(&asked)));
    let moved = moved.filter(|repository| {
        model.find(&asked).is_none() && access::check(caller, repository, Need::METADATA).is_ok()
    });
    let redirect = moved.map(|repository| {
        let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
        let query =
            if ask.query.is_empty() { String::new() } else { format!("?{}", page::query(&ask.query)) };
        let url = format!("{}/repositories/{}{rest}{query}", ask.api, repository.id);
        // A method that changes something must stay what it is.
        let status = if ask.method == "GET" || ask.method == "HEAD" { 301 } else { 307 };
        let documentation =
            "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects";
        let words = json!({ "message": "Moved Permanently", "url": url, "documentation_url": documentation });
        Answer::json(status, words).with("location", &url)
    });
    (ask.path.clone(), redirect)
}

/// Gives what can be asked for again an entity tag, and answers 304 to whoever has it.
fn conditional(ask: &Ask, caller: &Caller, answer: Answer) -> Answer {
    let (200, Payload::Json(value)) = (answer.status, &answer.payload) else { return answer };
    if ask.method == "POST" || ask.method == "PATCH" {
        return answer;
    }
    let mut hash = Sha256::new();
    hash.update(value.to_string());
    hash.update(caller.bucket());
    let tag = format!("W/\"{}\"", hex(&hash.finalize()));
    let has_it = ask.header("if-none-match").is_some_and(|tags| {
        let same = |known: &str| known.trim().trim_start_matches("W/") == tag.trim_start_matches("W/");
        tags.split(',').any(same) || tags.trim() == "*"
    });
    let cache = if matches!(caller, Caller::Anonymous) { "public" } else { "private" };
    let answer = if has_it { Answer { status: 304, payload: Payload::None, ..answer } } else { answer };
    answer
        .with("etag", &tag)
        .with("cache-control", &format!("{cache}, max-age=60, s-maxage=60"))
        .with("vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With")
}

/// A failure of the fake itself.
pub(super) fn broken(error: &io::Error) -> Answer {
    Answer::fail(500, &format!("the fake GitHub cannot read its own content: {error}"))
}
