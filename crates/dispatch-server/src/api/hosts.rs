//! `/api/v1/hosts`: the servers, those that have asked and those that are only listed.

use axum::Json;
use axum::extract::State;
use dispatch_core::queue::HostEdit;
use dispatch_core::{Host, HostId, HostKey};
use dispatch_store::reads::HostKeyset;
use dispatch_store::{Focus, Scope};
use dispatch_wire::api::Page;
use dispatch_wire::api::host::{EditHost, Host as Shown, HostState};
use dispatch_wire::api::job::VersionOnly;
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::Api;
use super::conditional::{IfMatch, IfMatchHeader, Tagged};
use super::extract::{Body, Ids, MaybeBody, Query, invalid};
use super::hosts_show::{Eyes, Known};
use super::idempotency::{IdempotencyHeader, Once};
use super::identity::Identity;
use super::page::{Key, PageParams, Pages};
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::wishes::{decide, refused};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .reader(routes!(hosts))
        .reader(routes!(host))
        .operator(routes!(edit_host))
        .operator(routes!(accept_host))
        .operator(routes!(pause_host))
        .operator(routes!(unpause_host))
}

/// How many hosts are looked at in one go, where only some of them are wanted.
const AT_ONCE: u32 = 200;

/// How many labels a host may be given, and how long each may be, in characters.
const MOST_LABELS: (usize, usize) = (100, 100);

/// The longest name of a host, in characters.
const LONGEST_NAME: usize = 200;

/// The place of a host in the list: after those that were seen, those that are listed only, by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Seen(HostKeyset),
    Listed(HostKey),
}

impl Key for Place {
    const LIST: &'static str = "hosts";
}

/// Which hosts.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those that work for this group.
    group: Option<String>,
    /// Only those that may work, or those that may not.
    accepted: Option<bool>,
    /// Only those that are like this.
    #[param(inline)]
    state: Option<HostState>,
}

impl Which {
    fn has(&self, eyes: &Eyes, known: &Known, run: Option<&dispatch_core::Run>) -> bool {
        self.accepted.is_none_or(|wanted| wanted == eyes.is_accepted(known))
            && self.state.is_none_or(|wanted| wanted == eyes.state(known, run))
            && self.group.as_ref().is_none_or(|wanted| eyes.groups(known).contains(wanted))
    }
}

/// All hosts
///
/// Those that have asked, in the order in which they first did, and then those that the configuration lists and that were
/// never seen.
#[utoipa::path(
    get, path = "/api/v1/hosts", tag = "hosts", params(Which, PageParams),
    responses((status = 200, description = "A page of them", body = Page<Shown>))
)]
async fn hosts(
    State(api): State<Api>,
    Query(which): Query<Which>,
    pages: Pages<Place>,
) -> Answer<Json<Page<Shown>>> {
    let policy = api.engine().policy();
    let mut eyes = Eyes::new(&policy, api.clock().now());
    let wanted = usize::try_from(pages.to_load()).unwrap_or(usize::MAX);
    let mut found: Vec<(Place, Shown)> = Vec::new();
    let mut after = match &pages.after {
        None => Some(None),
        Some(Place::Seen(key)) => Some(Some(*key)),
        Some(Place::Listed(_)) => None,
    };
    while let Some(from) = after.take() {
        let seen = api.store().hosts(from.as_ref(), AT_ONCE).await?;
        let ids: Vec<HostId> = seen.iter().map(|host| host.id).collect();
        let runs = api.store().runs_on(&ids).await?;
        eyes.plan(&api, &seen).await?;
        if seen.len() == usize::try_from(AT_ONCE).unwrap_or(usize::MAX) {
            after = seen.last().map(|host| Some(HostKeyset::from(host)));
        }
        for host in seen {
            let (place, known) = (Place::Seen(HostKeyset::from(&host)), Known::from(host));
            let run = runs.iter().find(|run| known.seen().is_some_and(|host| host.id == run.host));
            if found.len() < wanted && which.has(&eyes, &known, run) {
                found.push((place, eyes.show(&known, run)));
            }
        }
        if found.len() >= wanted {
            after = None;
        }
    }
    if found.len() < wanted {
        let passed = match &pages.after {
            Some(Place::Listed(key)) => Some(key),
            _ => None,
        };
        let listed = policy.listed.iter().filter(|listed| passed.is_none_or(|passed| listed.key > *passed));
        let mut listed: Vec<_> =
            listed.filter(|listed| which.has(&eyes, &Known::from(*listed), None)).collect();
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        for listed in api.store().not_seen(&listed).await?.into_iter().take(wanted - found.len()) {
            let shown = eyes.show(&Known::from(listed), None);
            found.push((Place::Listed(listed.key.clone()), shown));
        }
    }
    Ok(Json(pages.page(found, |(place, _)| place.clone(), |(_, shown)| shown)))
}

/// The host of that id: its identifier, or what the configuration or a person calls it.
pub(crate) async fn find(api: &Api, id: &str) -> Answer<Known> {
    let unknown = || Problem::not_found("host", id);
    if let Ok(id) = id.parse::<HostId>() {
        return Ok(api.store().host(id).await?.ok_or_else(unknown)?.into());
    }
    let key: HostKey = id.parse().map_err(|_| unknown())?;
    if let Some(listed) = api.engine().policy().listed.iter().find(|listed| listed.key == key) {
        let seen = api.store().hosts_listed(listed).await?;
        // Several, if its cards have asked one by one: the one that asked last.
        let last = seen.into_iter().max_by_key(|host| (host.last_seen, host.id));
        return Ok(last.map_or_else(|| Known::from(listed), Known::from));
    }
    Ok(api.store().host_by_key(&key).await?.ok_or_else(unknown)?.into())
}

async fn shown(api: &Api, known: &Known) -> Answer<Tagged<Shown>> {
    let ids: Vec<HostId> = known.seen().map(|host| host.id).into_iter().collect();
    let run = api.store().runs_on(&ids).await?.pop();
    let mut eyes = Eyes::new(&api.engine().policy(), api.clock().now());
    if let Some(host) = known.seen() {
        eyes.plan(api, std::slice::from_ref(host)).await?;
    }
    let body = eyes.show(known, run.as_ref());
    Ok(Tagged::new(body.version, body))
}

/// A host
#[utoipa::path(
    get, path = "/api/v1/hosts/{id}", tag = "hosts",
    params(("id" = String, Path, description = "Its `id` or its `uid`")),
    responses((status = 200, description = "The host", body = Shown))
)]
async fn host(State(api): State<Api>, Ids(id): Ids<String>) -> Answer<Json<Shown>> {
    let known = find(&api, &id).await?;
    // Without an ETag: what it shows changes also where its version does not.
    Ok(Json(shown(&api, &known).await?.body))
}

/// Change a host
///
/// What runs on it goes on. Its version says what people have changed of it: `If-Match`, or `version` in the body.
#[utoipa::path(
    put, path = "/api/v1/hosts/{id}", tag = "hosts", request_body = EditHost,
    params(("id" = String, Path, description = "Its `id` or its `uid`"), IfMatchHeader),
    responses(
        (status = 200, description = "The host as it is now", body = Shown),
        (status = 409, description = "The host was never seen, or another one has this id",
            content_type = "application/problem+json", body = dispatch_wire::api::Problem),
    )
)]
async fn edit_host(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    seen: IfMatch,
    Body(wish): Body<EditHost>,
) -> Answer<Tagged<Shown>> {
    let host = seen_host(&api, &id).await?;
    let seen = seen.and(wish.version);
    apply(&api, &who, Once(None), &host, read(&wish)?, &seen).await
}

/// Let a host work
///
/// It gets work when it asks the next time.
#[utoipa::path(
    post, path = "/api/v1/hosts/{id}/accept", tag = "hosts", request_body(content = Option<EditHost>),
    params(("id" = String, Path, description = "Its `id` or its `uid`"), IfMatchHeader, IdempotencyHeader),
    responses((status = 200, description = "The host as it is now", body = Shown))
)]
async fn accept_host(
    State(api): State<Api>,
    who: Identity,
    Ids(id): Ids<String>,
    seen: IfMatch,
    once: Once,
    MaybeBody(wish): MaybeBody<Option<EditHost>>,
) -> Answer<Tagged<Shown>> {
    let wish = wish.unwrap_or_default();
    let host = seen_host(&api, &id).await?;
    let seen = seen.and(wish.version);
    let edit = HostEdit { is_accepted: Some(true), ..read(&wish)? };
    apply(&api, &who, once, &host, edit, &seen).await
}

macro_rules! switches {
    ($($(#[doc = $doc:literal])+ $name:ident $path:literal $is_paused:literal;)*) => {$(
        $(#[doc = $doc])+
        #[utoipa::path(
            post, path = $path, tag = "hosts", request_body = Option<VersionOnly>,
            params(("id" = String, Path, description = "Its `id` or its `uid`"), IfMatchHeader, IdempotencyHeader),
            responses((status = 200, description = "The host as it is now", body = Shown))
        )]
        async fn $name(
            State(api): State<Api>,
            who: Identity,
            Ids(id): Ids<String>,
            seen: IfMatch,
            once: Once,
            MaybeBody(body): MaybeBody<VersionOnly>,
        ) -> Answer<Tagged<Shown>> {
            let host = seen_host(&api, &id).await?;
            let edit = HostEdit { is_paused: Some($is_paused), ..HostEdit::default() };
            apply(&api, &who, once, &host, edit, &seen.and(body.version)).await
        }
    )*};
}

switches! {
    /// Give a host no more work
    ///
    /// What runs on it goes on.
    pause_host "/api/v1/hosts/{id}/pause" true;
    /// Give a host work again
    unpause_host "/api/v1/hosts/{id}/unpause" false;
}

async fn seen_host(api: &Api, id: &str) -> Answer<Host> {
    let known = find(api, id).await?;
    known.seen().cloned().ok_or_else(|| {
        let detail = "this host is listed and was never seen: what is known of it is in the configuration";
        Problem::new(Kind::Conflict, detail)
    })
}

async fn apply(
    api: &Api,
    who: &Identity,
    once: Once,
    host: &Host,
    edit: HostEdit,
    seen: &IfMatch,
) -> Answer<Tagged<Shown>> {
    let versions = seen.seen();
    // Whether a key is taken is known only where all hosts are.
    let all_hosts = matches!(edit.key, Some(Some(_)));
    let focus = Focus { host: Some(host.id), all_hosts, ..Focus::default() }.within(Scope::Active);
    let decided = decide(api, &once, focus, |snapshot, context| {
        snapshot.edit_host(host.id, &edit, versions.as_deref(), Some(&who.name), context.now)
    });
    decided.await?.map_err(|why| refused(&why))?;
    shown(api, &find(api, &host.id.to_string()).await?).await
}

/// What is wished, if it can be.
fn read(wish: &EditHost) -> Answer<HostEdit> {
    let key = wish.key.clone().map(|key| key.map(|key| key.parse::<HostKey>()).transpose()).transpose();
    let key = key.map_err(|error| invalid("/key", error))?;
    if key.iter().flatten().any(|key| key.as_str().parse::<HostId>().is_ok()) {
        return Err(invalid("/key", "it looks like the identifier of a host: choose another"));
    }
    if let Some(Some(name)) = &wish.name
        && (name.trim().is_empty()
            || name.chars().count() > LONGEST_NAME
            || name.chars().any(char::is_control))
    {
        return Err(invalid("/name", format!("it has 1 to {LONGEST_NAME} characters on one line")));
    }
    for (number, label) in wish.labels.iter().flatten().enumerate() {
        let pointer = format!("/labels/{number}");
        let is_good = !label.trim().is_empty()
            && label.chars().count() <= MOST_LABELS.1
            && !label.chars().any(char::is_control);
        if !is_good {
            return Err(invalid(
                &pointer,
                format!("a label has 1 to {} characters on one line", MOST_LABELS.1),
            ));
        }
        if label.to_ascii_lowercase().starts_with("host:") {
            return Err(invalid(
                &pointer,
                "`host:` begins the labels that each host has by itself: set its key",
            ));
        }
    }
    if wish.labels.as_ref().is_some_and(|labels| labels.len() > MOST_LABELS.0) {
        return Err(invalid("/labels", format!("a host has at most {} labels", MOST_LABELS.0)));
    }
    let labels = wish.labels.clone().map(|mut labels| {
        labels.sort();
        labels.dedup();
        labels
    });
    Ok(HostEdit { key, title: wish.name.clone(), labels, is_accepted: None, is_paused: None })
}
