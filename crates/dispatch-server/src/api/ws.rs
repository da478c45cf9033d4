//! `/api/v1/ws`: the log as messages of a WebSocket, in the envelope `{type, group_id?, payload?}`.

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::Response;
use dispatch_wire::api::event::{Envelope, FromClient};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use utoipa_axum::routes;

use super::client::Client;
use super::feed::{Feed, Next};
use super::identity::Identity;
use super::problem::{Answer, Kind, Problem};
use super::routes::Routes;
use super::serve::{Held, Stopping};
use super::{Api, origin};

pub(crate) fn routes() -> Routes {
    Routes::new().reader(routes!(ws))
}

/// The largest message that a client may send, in bytes.
const LARGEST_MESSAGE: usize = 16 * 1024;

/// To how many groups one client may subscribe.
const MOST_GROUPS: usize = 1000;

/// What happens, as it happens, as a WebSocket
///
/// Messages are JSON, `{type, group_id?, payload?}`. The client sends `subscribe` (with a `group_id`, or for all groups),
/// `unsubscribe` and `ping`. The server sends `subscribed`, `pong`, `error`, and what happens in the groups that the client
/// subscribed to: `dispatch`, `queue_update`, `job_state`, `runner_status`, `system_status`, each with the event of
/// `/api/v1/events` as its payload. Whoever does not read is cut off.
#[utoipa::path(
    get, path = "/api/v1/ws", tag = "events",
    responses(
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 403, description = "It comes from a page of another site",
            content_type = "application/problem+json", body = dispatch_wire::api::Problem),
        (status = 426, description = "The request does not ask for a WebSocket",
            content_type = "application/problem+json", body = dispatch_wire::api::Problem),
    )
)]
async fn ws(
    State(api): State<Api>,
    Extension(Stopping(stop)): Extension<Stopping>,
    Extension(held): Extension<Held>,
    Extension(client): Extension<Client>,
    who: Identity,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    origin::check_page(&headers, &client, api.settings().public_url.as_ref())?;
    let upgrade = upgrade.map_err(|error| {
        let detail = format!("this is a WebSocket, and the request does not ask for one: {error}");
        let problem = Problem::new(Kind::UpgradeRequired, detail);
        let websocket = axum::http::HeaderValue::from_static("websocket");
        problem.header(UPGRADE, websocket).header(CONNECTION, axum::http::HeaderValue::from_static("upgrade"))
    })?;
    let feed = Feed::new(&api, who, headers, stop, None);
    Ok(upgrade
        .max_message_size(LARGEST_MESSAGE)
        .max_frame_size(LARGEST_MESSAGE)
        .on_upgrade(|socket| held.run(Talk { socket, feed, to: Subscribed::default() }.run())))
}

/// To what a client has subscribed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Subscribed {
    is_all: bool,
    groups: BTreeSet<String>,
}

impl Subscribed {
    /// Whether an event of that group, or of none, goes to this client.
    fn has(&self, group: Option<&str>) -> bool {
        self.is_all || group.map_or(!self.groups.is_empty(), |group| self.groups.contains(group))
    }

    /// Does what a message asks for. What is answered.
    fn take(&mut self, text: &str) -> Envelope {
        let message: FromClient = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => return failed(&format!("this is no message: {error}")),
        };
        let group = message.group_id;
        match (message.kind.as_str(), &group) {
            ("ping", _) => Envelope { kind: "pong".to_owned(), group_id: group, payload: message.payload },
            ("subscribe", Some(_)) if self.groups.len() >= MOST_GROUPS => {
                failed("there are too many subscriptions: subscribe without group_id for all groups")
            }
            ("subscribe", _) => {
                match &group {
                    Some(group) => drop(self.groups.insert(group.clone())),
                    None => self.is_all = true,
                }
                Envelope { kind: "subscribed".to_owned(), group_id: group, payload: None }
            }
            ("unsubscribe", _) => {
                match &group {
                    Some(group) => drop(self.groups.remove(group)),
                    None => *self = Self::default(),
                }
                Envelope { kind: "unsubscribed".to_owned(), group_id: group, payload: None }
            }
            (other, _) => {
                failed(&format!("there is no message `{other}`: send subscribe, unsubscribe or ping"))
            }
        }
    }
}

fn failed(message: &str) -> Envelope {
    Envelope { kind: "error".to_owned(), group_id: None, payload: Some(json!({ "message": message })) }
}

/// The type of the message that tells an event, among those that clients of other queues know: where a job begins, the
/// order and the switches of a queue, where a job stands, how a host is, and the rest.
fn kind_of(event: &Map<String, Value>) -> &'static str {
    match event.get("event").and_then(Value::as_str).unwrap_or_default() {
        "assigned" => "dispatch",
        "queued" | "requeued" | "replaced" | "retry" | "returned" | "waits" | "moved" | "deleted"
        | "drained" => "queue_update",
        "idle" => "runner_status",
        host if host.starts_with("host-") => "runner_status",
        group if group.starts_with("group-") => "queue_update",
        _ if event.contains_key("job") => "job_state",
        _ => "system_status",
    }
}

fn told(seq: i64, mut event: Map<String, Value>) -> Envelope {
    let kind = kind_of(&event).to_owned();
    let group_id = event.get("group").and_then(Value::as_str).map(str::to_owned);
    event.insert("seq".to_owned(), seq.into());
    Envelope { kind, group_id, payload: Some(event.into()) }
}

struct Talk {
    socket: WebSocket,
    feed: Feed,
    to: Subscribed,
}

impl Talk {
    async fn run(mut self) {
        // A failure to send or receive is the end of the connection; nobody is left to be told.
        let _ = self.go_on().await;
    }

    async fn go_on(&mut self) -> Result<(), axum::Error> {
        loop {
            tokio::select! {
                came = self.socket.recv() => match came {
                    Some(Ok(Message::Text(text))) => {
                        let answer = self.to.take(text.as_str());
                        self.send(&answer).await?;
                    }
                    Some(Ok(Message::Binary(_))) => {
                        self.send(&failed("messages are text: send JSON")).await?;
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Err(error)) => return Err(error),
                },
                next = self.feed.next() => match next {
                    Next::Event(seq, event) => {
                        let group = event.get("group").and_then(Value::as_str);
                        if self.to.has(group) {
                            self.send(&told(seq, event)).await?;
                        }
                    }
                    Next::Beat => self.socket.send(Message::Ping(bytes::Bytes::new())).await?,
                    Next::Over => {
                        let frame = CloseFrame { code: close_code::AWAY, reason: "connect again".into() };
                        return self.socket.send(Message::Close(Some(frame))).await;
                    }
                },
            }
        }
    }

    async fn send(&mut self, message: &Envelope) -> Result<(), axum::Error> {
        let text = serde_json::to_string(message).unwrap_or_default();
        self.socket.send(Message::Text(text.into())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hears_of_the_groups_that_it_subscribed_to() {
        let mut to = Subscribed::default();
        assert!(!to.has(Some("a")) && !to.has(None));
        assert_eq!(to.take(r#"{"type":"subscribe","group_id":"a"}"#).kind, "subscribed");
        assert!(to.has(Some("a")) && !to.has(Some("b")) && to.has(None));
        assert_eq!(to.take(r#"{"type":"subscribe"}"#).kind, "subscribed");
        assert!(to.has(Some("b")));
        assert_eq!(to.take(r#"{"type":"unsubscribe"}"#).kind, "unsubscribed");
        assert_eq!(to, Subscribed::default());
    }

    #[test]
    fn a_client_of_another_queue_hears_what_it_knows() {
        use dispatch_core::event::Happening;
        let kind = |what: Happening| {
            let event = json!({"event": what.name(), "job": {"id": "j"}});
            kind_of(event.as_object().expect("an object"))
        };
        for what in [
            Happening::HostSeen,
            Happening::HostAccepted,
            Happening::HostEdited,
            Happening::HostPaused,
            Happening::HostUnpaused,
        ] {
            assert_eq!(kind(what.clone()), "runner_status", "{what:?}");
        }
        for what in [
            Happening::GroupPaused,
            Happening::GroupDraining,
            Happening::GroupOpen,
            Happening::Moved,
            Happening::Deleted,
            Happening::Requeued,
        ] {
            assert_eq!(kind(what.clone()), "queue_update", "{what:?}");
        }
        assert_eq!(kind(Happening::Assigned { attempt: 1 }), "dispatch");
        for what in [Happening::Edited, Happening::Paused, Happening::Unpaused] {
            assert_eq!(kind(what.clone()), "job_state", "{what:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_answered_with_an_error_that_says_why() {
        let mut to = Subscribed::default();
        for bad in ["", "x", "{}", "[]", r#"{"type":"dispatch"}"#, r#"{"type":"ping","x":1}"#] {
            let answer = to.take(bad);
            assert_eq!(answer.kind, "error", "{bad}");
            assert!(answer.payload.is_some_and(|payload| payload["message"].is_string()));
        }
        assert_eq!(to.take(r#"{"type":"ping","payload":7}"#).payload, Some(json!(7)));
    }
}
