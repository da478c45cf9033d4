//! One question to one server and what its answer means. [`crate::call`] asks through the [`Exchange`]
//! trait; [`crate::http`] implements it on the network.

use std::time::Duration;

use crate::host::HostIdentity;
use crate::run_id::RunId;
use crate::url::ServerUrl;

/// What is told to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `POST` without a body: the workload has started.
    Boot,
    /// `PUT` with a report in JSON.
    Report,
}

impl Message {
    /// What is told, in words: `the report`.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Boot => "the start",
            Self::Report => "the report",
        }
    }
}

/// A request, the same for every server.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it tells.
    pub message: Message,
    /// JSON, or nothing.
    pub body: Vec<u8>,
    /// Who tells it.
    pub host: HostIdentity,
}

/// What a server answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The raw `Dispatch-Run` header.
    pub run: Option<Vec<u8>>,
    /// The first line of the body if that is text and the status is not 200; fit for a terminal.
    pub said: String,
}

/// No answer came; the text says why in a few words and is the same each time for the same cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Asks a server.
pub trait Exchange {
    /// Sends `request` once, with `run` as its `Dispatch-Run`, and waits for the head of the answer, for
    /// `limit` at most.
    fn exchange(
        &self,
        request: &Request,
        url: &ServerUrl,
        run: Option<&RunId>,
        limit: Duration,
    ) -> Result<Answer, NoAnswer>;
}

/// What an answer means for what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Done.
    Taken,
    /// The server has no run of this host that waits for this; another one may.
    NotMine,
    /// Whatever answers there is no dispatch, or not at this path. A proxy in front of a server that is
    /// being moved answers like this too, so it may change.
    Stranger,
    /// It is the request that the server does not want; asking again changes nothing.
    Refused,
    /// The server is in trouble and may recover.
    Trouble,
}

impl Meaning {
    /// Judges a status (RFC 9110 §15). Redirects are never followed, so they come from a stranger.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Taken,
            417 => Self::NotMine,
            400 | 411 | 413 | 414 | 415 | 422 | 431 => Self::Refused,
            408 | 425 | 429 | 500..=599 => Self::Trouble,
            _ => Self::Stranger,
        }
    }
}

/// An answer that is not a success, in words.
#[must_use]
pub fn in_words(answer: &Answer) -> String {
    let status = answer.status;
    let meaning = match Meaning::of(status) {
        Meaning::Taken => "taken",
        Meaning::NotMine => "it has no run of this host that waits for this",
        Meaning::Stranger if (300..400).contains(&status) => "a redirect, which is not followed",
        Meaning::Stranger => "no dispatch answers like this; is the path right?",
        Meaning::Refused => "it does not take the request",
        Meaning::Trouble => "it is in trouble",
    };
    // What a server says of a 417 is the same in other words.
    if answer.said.is_empty() || status == 417 {
        format!("{status}, {meaning}")
    } else {
        format!("{status}, {meaning} ({})", answer.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        for (meaning, statuses) in [
            (Meaning::Taken, &[200][..]),
            (Meaning::NotMine, &[417]),
            (Meaning::Refused, &[400, 411, 413, 414, 415, 422, 431]),
            (Meaning::Trouble, &[408, 425, 429, 500, 502, 503, 504, 599]),
            (Meaning::Stranger, &[201, 204, 301, 302, 308, 401, 403, 404, 405, 410, 418, 600]),
        ] {
            for &status in statuses {
                assert_eq!(Meaning::of(status), meaning, "{status}");
            }
        }
    }
}
