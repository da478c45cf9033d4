//! What endpoints have in common: how things are shown.

use std::time::Duration;

use dispatch_core::GroupId;
use dispatch_store::StoredEvent;
use dispatch_wire::api::EventData;
use jiff::Timestamp;

use super::Api;
use super::feed::public;
use super::problem::{Answer, Problem};

/// A time, as RFC 3339 has it.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_string()
}

/// A time that may be none.
pub(crate) fn maybe_time(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

/// From then to then, in seconds; nothing, if the clock went back meanwhile.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    Duration::try_from(to.duration_since(from)).unwrap_or_default().as_secs_f64()
}

/// An event as people may see it, with its place in the log.
pub(crate) fn event_data(stored: &StoredEvent) -> Option<EventData> {
    let mut more = public(&stored.event)?;
    let name = more.remove("event")?.as_str()?.to_owned();
    more.remove("at");
    Some(EventData { seq: stored.seq, event: name, at: time(stored.event.at), more })
}

/// The group of that name, if there is or was one.
pub(crate) async fn group(api: &Api, id: &str) -> Answer<GroupId> {
    let unknown = || Problem::not_found("group", id);
    let group: GroupId = id.parse().map_err(|_| unknown())?;
    if api.engine().policy().group(&group).is_some() || api.store().has_group(&group).await? {
        return Ok(group);
    }
    Err(unknown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_calls_a_run_by_its_public_name() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8001";
        let json = serde_json::json!({"at": "2026-01-02T03:04:05Z", "event": "cancelled", "reason": "r",
            "run": {"id": id, "attempt": 2}});
        let stored = StoredEvent { seq: 7, event: serde_json::from_value(json).expect("an event") };
        let name = id.parse::<dispatch_core::RunId>().expect("an id").public_name().to_string();
        let shown = public(&stored.event).expect("an object");
        assert_eq!(shown["run"], serde_json::json!({"id": name, "attempt": 2}));
        let data = serde_json::to_string(&event_data(&stored).expect("data")).expect("JSON");
        assert!(data.contains(&name) && !data.contains(id), "{data}");
    }
}
