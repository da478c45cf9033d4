//! The log as it grows, for one reader: the next events that it wants, or a sign that it is still there.
//!
//! Nothing is kept for a reader but where it is: events are loaded when it has taken those before, so however slow it is,
//! it holds up nobody and costs no memory. Whoever takes nothing at all is cut off by the listener.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use dispatch_core::Event;
use dispatch_store::StoredEvent;
use dispatch_store::reads::EventFilter;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::{Api, Identity, session};

/// How many events are loaded at a time.
const BATCH: u32 = 100;

/// After how long a reader hears that we are there; and the log is looked at, for what others write into it.
pub(crate) const BEAT: Duration = Duration::from_secs(15);

/// Which events a reader wants: those that fit in every respect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) group: Option<String>,
    pub(crate) job: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) host: Option<String>,
    /// Names of events; all of them if there are none.
    pub(crate) types: Vec<String>,
}

impl Wanted {
    /// Whether an event fits.
    pub(crate) fn has(&self, event: &Map<String, Value>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&Value>| {
            wanted.as_deref().is_none_or(|wanted| found.and_then(Value::as_str) == Some(wanted))
        };
        let id = |what: &str| event.get(what).and_then(|found| found.get("id"));
        let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
        is(&self.group, event.get("group"))
            && is(&self.job, id("job"))
            && is(&self.run, id("run"))
            && is(&self.host, id("host"))
            && (self.types.is_empty() || self.types.iter().any(|wanted| wanted == name))
    }
}

/// What comes next.
pub(crate) enum Next {
    /// An event, with its place.
    Event(i64, Map<String, Value>),
    /// Nothing for a while.
    Beat,
    /// No more: the service ends, or the reader may not read any longer, or the log cannot be read.
    Over,
}

/// One reader's way through the log.
pub(crate) struct Feed {
    api: Api,
    who: Identity,
    /// With the cookie, to see whether the session still holds.
    headers: HeaderMap,
    stop: CancellationToken,
    newest: watch::Receiver<i64>,
    settings: watch::Receiver<Arc<Settings>>,
    seq: i64,
    /// What is loaded at all.
    filter: EventFilter,
    loaded: VecDeque<StoredEvent>,
    beat: jiff::Timestamp,
}

impl Feed {
    /// Begins after an event, or with what comes from now on.
    pub(crate) fn new(
        api: &Api,
        who: Identity,
        headers: HeaderMap,
        stop: CancellationToken,
        after: Option<i64>,
    ) -> Self {
        let newest = api.store().watch_events();
        let last = *newest.borrow();
        Self {
            who,
            headers,
            stop,
            newest,
            settings: api.watch_settings(),
            // A place that the log has not reached yet is one of another log.
            seq: after.map_or(last, |after| after.min(last)),
            filter: EventFilter::default(),
            loaded: VecDeque::new(),
            beat: session::later(api.clock().now(), BEAT),
            api: api.clone(),
        }
    }

    /// The same, where others than these are not wanted.
    pub(crate) fn only(self, wanted: &Wanted) -> Self {
        let Wanted { group, job, run, host, .. } = wanted.clone();
        Self { filter: EventFilter { group, job, run, host }, ..self }
    }

    /// Waits for what comes next. May be dropped while it waits: nothing is lost.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            if self.stop.is_cancelled() {
                return Next::Over;
            }
            if let Some(stored) = self.loaded.pop_front() {
                self.seq = stored.seq;
                match public(&stored.event) {
                    Some(event) => return Next::Event(stored.seq, event),
                    None => continue,
                }
            }
            let is_due = self.api.clock().now() >= self.beat;
            if is_due || self.settings.has_changed().unwrap_or(false) {
                self.settings.mark_unchanged();
                if !self.is_welcome().await {
                    return Next::Over;
                }
            }
            // Before the log is read: what is written meanwhile shows in the next turn.
            let newest = *self.newest.borrow_and_update();
            match self.api.store().events_of(&self.filter, self.seq, BATCH).await {
                Ok(events) => {
                    self.loaded = events.into();
                    if self.loaded.is_empty() {
                        // Up to here there is nothing that fits: it is not looked for again.
                        self.seq = self.seq.max(newest);
                    }
                }
                Err(error) => {
                    tracing::warn!("a reader of the events is cut off: {error}");
                    return Next::Over;
                }
            }
            if is_due {
                self.beat = session::later(self.api.clock().now(), BEAT);
            }
            match (self.loaded.is_empty(), is_due) {
                (false, _) => {}
                (true, true) => return Next::Beat,
                (true, false) => self.wait().await,
            }
        }
    }

    /// Waits until something may have changed.
    async fn wait(&mut self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.newest.changed() => {}
            changed = self.settings.changed() => if changed.is_ok() { self.settings.mark_changed() },
            () = self.api.clock().sleep_until(self.beat) => {}
        }
    }

    /// Whether the session still holds, and the role is the same.
    async fn is_welcome(&self) -> bool {
        let found = session::identify(&self.api, &self.headers).await.ok().flatten();
        found.is_some_and(|found| found.name == self.who.name && found.role == self.who.role)
    }
}

/// An event as others read it. Whoever knows a run's identifier may report for it: here it has its public name.
pub(super) fn public(event: &Event) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut shown)) = serde_json::to_value(event) else { return None };
    if let Some(run) = &event.run {
        let name = Value::String(run.id.public_name().to_string());
        shown.get_mut("run")?.as_object_mut()?.insert("id".to_owned(), name);
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use dispatch_core::RunId;
    use dispatch_core::event::{Happening, RunRef};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_runs_identifier_is_told_to_nobody() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let id = RunId::new(now, [5; 10]);
        let (group, job, host, by) = (None, None, None, None);
        let run = Some(RunRef { id, attempt: 1 });
        let event = Event { at: now, group, job, run, host, by, what: Happening::Assigned { attempt: 1 } };
        let shown = Value::from(public(&event).expect("an object"));
        assert_eq!(shown["run"]["id"], id.public_name().to_string());
        assert!(!shown.to_string().contains(&id.to_string()), "{shown}");
    }

    #[test]
    fn an_event_fits_only_if_it_does_in_every_respect() {
        let event = json!({"event": "assigned", "group": "g", "job": {"id": "j"}, "host": {"id": "h"}});
        let event = event.as_object().expect("an object");
        let own = |text: &str| Some(text.to_owned());
        let types = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(Wanted::default().has(event));
        assert!(
            Wanted { group: own("g"), job: own("j"), types: types(&["x", "assigned"]), ..Wanted::default() }
                .has(event)
        );
        for other in [
            Wanted { group: own("other"), ..Wanted::default() },
            Wanted { job: own("j"), host: own("other"), ..Wanted::default() },
            Wanted { run: own("r"), ..Wanted::default() },
            Wanted { types: types(&["done"]), ..Wanted::default() },
        ] {
            assert!(!other.has(event), "{other:?}");
        }
    }
}
