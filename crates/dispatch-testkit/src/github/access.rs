//! Who asks, and what they may: users by their role and their token's scopes or permissions, installations by theirs.

use jiff::Timestamp;

use super::api::Answer;
use super::jwt;
use super::model::{Model, Repository, Role};
use super::token::{Grant, Kind, Level};

/// Who asks.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// Nobody.
    Anonymous,
    /// A user, with a classic token of these scopes.
    Classic { login: String, scopes: Vec<String> },
    /// A user, with a fine-grained token.
    FineGrained { login: String, grant: Grant },
    /// An App in an account.
    Installation { id: u64, slug: String, grant: Grant },
    /// An App itself.
    App { id: u64, slug: String },
}

/// Somebody, and until when their token is one.
pub(super) struct SignedIn {
    pub(super) caller: Caller,
    pub(super) expires: Option<Timestamp>,
}

impl Caller {
    /// The account that things are done as.
    pub(super) fn login(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Classic { login, .. } | Self::FineGrained { login, .. } => Some(login.clone()),
            Self::Installation { slug, .. } | Self::App { slug, .. } => Some(format!("{slug}[bot]")),
        }
    }

    /// Whose requests are counted; those of nobody have no name.
    pub(super) fn bucket(&self) -> String {
        match self {
            Self::Installation { id, .. } => format!("installation {id}"),
            _ => self.login().unwrap_or_default(),
        }
    }

    /// The App through which it is done, by its short name.
    pub(super) fn app(&self) -> Option<String> {
        match self {
            Self::Installation { slug, .. } => Some(slug.clone()),
            _ => None,
        }
    }

    /// The scopes, if it is a token that has such.
    pub(super) fn scopes(&self) -> Option<&[String]> {
        match self {
            Self::Classic { scopes, .. } => Some(scopes),
            _ => None,
        }
    }
}

/// Whom an `Authorization` header is from, or what GitHub says of it.
pub(super) fn sign_in(model: &Model, header: Option<&str>) -> Result<SignedIn, &'static str> {
    const BAD: &str = "Bad credentials";
    let Some(header) = header else {
        return Ok(SignedIn { caller: Caller::Anonymous, expires: None });
    };
    let (scheme, secret) = header.split_once(' ').ok_or(BAD)?;
    let secret = secret.trim();
    if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
        return Err(BAD);
    }
    let now = model.now();
    if jwt::is_one(secret) {
        let app = jwt::app(secret, &model.apps, now)?;
        return Ok(SignedIn { caller: Caller::App { id: app.id, slug: app.slug.clone() }, expires: None });
    }
    let token = model.tokens.iter().find(|token| token.text == secret).ok_or(BAD)?;
    if !token.is_good(now) {
        return Err(BAD);
    }
    let caller = match token.kind.clone() {
        Kind::Classic { user, scopes } => Caller::Classic { login: user, scopes },
        Kind::FineGrained { user, grant } => Caller::FineGrained { login: user, grant },
        Kind::Installation { installation, grant } => {
            let home = model.installations.iter().find(|home| home.id == installation);
            let home = home.filter(|home| !home.is_suspended).ok_or(BAD)?;
            let app = model.apps.iter().find(|app| app.id == home.app).ok_or(BAD)?;
            Caller::Installation { id: installation, slug: app.slug.clone(), grant }
        }
    };
    Ok(SignedIn { caller, expires: token.expires })
}

/// What an operation needs to be done in a repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// The permission, by GitHub's name.
    pub(super) permission: &'static str,
    /// How far it must go.
    pub(super) level: Level,
}

impl Need {
    /// To see that it is there.
    pub(super) const METADATA: Self = Self { permission: "metadata", level: Level::Read };
    /// To read what is in it, and its releases.
    pub(super) const CONTENTS: Self = Self { permission: "contents", level: Level::Read };
    /// To read issues, labels, milestones.
    pub(super) const ISSUES: Self = Self { permission: "issues", level: Level::Read };
    /// To file and change issues.
    pub(super) const ISSUES_WRITE: Self = Self { permission: "issues", level: Level::Write };

    fn accepted(self) -> String {
        format!("{}={}", self.permission, self.level.word())
    }
}

/// The role that a caller has in a repository: everybody reads what is public.
pub(super) fn role(caller: &Caller, repository: &Repository) -> Option<Role> {
    let everybody = (!repository.private).then_some(Role::Read);
    match caller {
        Caller::Classic { login, .. } | Caller::FineGrained { login, .. } => {
            repository.role(login).or(everybody)
        }
        Caller::Anonymous | Caller::Installation { .. } | Caller::App { .. } => everybody,
    }
}

/// Whether a caller may manage labels, milestones and assignees; who may not has them dropped without a word.
pub(super) fn may_triage(caller: &Caller, repository: &Repository) -> bool {
    match caller {
        Caller::Installation { grant, .. } => grant.allows("issues", Level::Write),
        _ => role(caller, repository) >= Some(Role::Triage),
    }
}

/// Whether a caller may make labels.
pub(super) fn may_push(caller: &Caller, repository: &Repository) -> bool {
    match caller {
        Caller::Installation { grant, .. } => grant.allows("issues", Level::Write),
        _ => role(caller, repository) >= Some(Role::Write),
    }
}

/// What GitHub answers if the caller may not do what needs this.
pub(super) fn check(caller: &Caller, repository: &Repository, need: Need) -> Result<(), Answer> {
    let is_write = need.level == Level::Write;
    match caller {
        Caller::Anonymous | Caller::App { .. } if repository.private => Err(Answer::not_found()),
        Caller::Anonymous if is_write => Err(Answer::fail(401, "Requires authentication")),
        Caller::App { .. } if is_write || need.permission != "metadata" => {
            Err(Answer::fail(403, "Resource not accessible by integration"))
        }
        Caller::Anonymous | Caller::App { .. } => Ok(()),
        Caller::Classic { scopes, .. } => {
            let has = |scope: &str| scopes.iter().any(|given| given == scope);
            let is_hidden = role(caller, repository).is_none() || (repository.private && !has("repo"));
            let is_short = is_write && !has("repo") && (repository.private || !has("public_repo"));
            // GitHub says that it is not there, not that a scope is missing; only a header tells.
            if is_hidden || is_short { Err(Answer::not_found()) } else { Ok(()) }
        }
        Caller::FineGrained { grant, .. } => {
            let is_reached = grant.reaches(&repository.owner, &repository.full_name());
            let is_hidden = role(caller, repository).is_none() || (repository.private && !is_reached);
            granted(grant, repository, need, is_hidden, "Resource not accessible by personal access token")
        }
        Caller::Installation { grant, .. } => {
            let is_reached = grant.reaches(&repository.owner, &repository.full_name());
            let is_hidden = repository.private && !is_reached;
            granted(grant, repository, need, is_hidden, "Resource not accessible by integration")
        }
    }
}

fn granted(
    grant: &Grant,
    repository: &Repository,
    need: Need,
    is_hidden: bool,
    words: &str,
) -> Result<(), Answer> {
    if is_hidden {
        return Err(Answer::not_found());
    }
    let is_public_read = !repository.private && need.level == Level::Read;
    let is_reached = grant.reaches(&repository.owner, &repository.full_name());
    if is_public_read || (is_reached && grant.allows(need.permission, need.level)) {
        return Ok(());
    }
    Err(Answer::fail(403, words).with("x-accepted-github-permissions", &need.accepted()))
}

/// The scopes that a classic token needs one of.
pub(super) fn accepted_scopes(repository: &Repository, need: Need) -> &'static str {
    match (repository.private, need.level) {
        (true, _) => "repo",
        (false, Level::Write) => "public_repo, repo",
        (false, Level::Read) => "",
    }
}
