//! `/api/v1/events`: the log as server-sent events.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use dispatch_wire::api::EventData;
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa_axum::routes;

use super::Api;
use super::extract::Query;
use super::feed::{Feed, Next, Wanted};
use super::identity::Identity;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::runs::host_id;
use super::serve::Stopping;

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(events))
}

const LAST_EVENT_ID: &str = "last-event-id";

/// Which events.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only what came after this event. Without it, and without `Last-Event-ID`, what comes from now on.
    #[param(minimum = 0)]
    after: Option<u64>,
    /// Only those of this group.
    group: Option<String>,
    /// Only those of this job.
    job: Option<String>,
    /// Only those of this run.
    run: Option<String>,
    /// Only those of this host, by its `id` or its `uid`.
    host: Option<String>,
    /// Only those of these names, separated by commas, such as `assigned,done`.
    types: Option<String>,
}

/// The header by which a browser goes on where it was.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
struct LastEventId {
    /// The last event that the client has seen; goes before `after`. Browsers send it when they connect again.
    #[param(rename = "Last-Event-ID", required = false)]
    _last_event_id: u64,
}

/// What happens, as it happens
///
/// Server-sent events: `id` is the event's place in the log, `event` its name, `data` its JSON. Nothing is missed or told
/// twice over a reconnect with `Last-Event-ID`. A comment comes where nothing happens for a while. Whoever does not read is
/// cut off.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(Which, LastEventId),
    responses((status = 200, description = "Events, without end; each `data` is an EventData",
        content_type = "text/event-stream", body = EventData))
)]
async fn events(
    State(api): State<Api>,
    Extension(Stopping(stop)): Extension<Stopping>,
    who: Identity,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let after = last_event_id(&headers)?.or(which.after.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)));
    let host = match which.host {
        None => None,
        // Events name a host by what never changes.
        Some(host) => Some(host_id(&api, &host).await?.map_or(host, |id| id.to_string())),
    };
    let types = which.types.as_deref().unwrap_or_default().split(',').map(str::trim);
    let wanted = Wanted {
        group: which.group,
        job: which.job,
        run: which.run,
        host,
        types: types.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
    };
    let feed = Feed::new(&api, who, headers, stop, after).only(&wanted);
    // nginx would keep events back until it has a buffer full of them.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    Ok((unbuffered, Sse::new(told(feed, wanted))))
}

fn last_event_id(headers: &HeaderMap) -> Answer<Option<i64>> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.parse::<i64>().ok()).filter(|id| *id >= 0);
    id.map(Some).ok_or_else(|| {
        let detail = "Last-Event-ID is not the id of an event: give one as it came, or none";
        Problem::new(Kind::InvalidHeader, detail).field("Last-Event-ID")
    })
}

fn told(feed: Feed, wanted: Wanted) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((feed, wanted), |(mut feed, wanted)| async move {
        loop {
            match feed.next().await {
                Next::Event(seq, event) if wanted.has(&event) => {
                    return Some((Ok(written(seq, event)), (feed, wanted)));
                }
                Next::Event(..) => {}
                Next::Beat => return Some((Ok(Event::default().comment("")), (feed, wanted))),
                Next::Over => return None,
            }
        }
    })
}

fn written(seq: i64, mut event: Map<String, Value>) -> Event {
    let name = event.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
    event.insert("seq".to_owned(), seq.into());
    // Neither a name nor JSON has a line break.
    Event::default().id(seq.to_string()).event(name).data(Value::from(event).to_string())
}
