//! The log of requests: what came, and what became of it. No value of a header that may be a secret is in it.

use jiff::Timestamp;

use super::trouble::{Fault, Host};

/// A request.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, which tests ask for")]
#[derive(Clone, Debug)]
pub struct Request {
    /// When it arrived.
    pub at: Timestamp,
    /// Where.
    pub host: Host,
    /// Its method.
    pub method: String,
    /// Its path, without GitHub Enterprise's `/api/v3`.
    pub path: String,
    /// Its query, without the `?`; empty if it has none.
    pub query: String,
    /// The names of its headers, in lower case.
    pub headers: Vec<String>,
    /// Whether it carried a secret.
    pub has_authorization: bool,
    /// As whom it was made, if GitHub knows the secret.
    pub by: Option<String>,
    /// The range that it asked for.
    pub range: Option<String>,
    /// Whether it asked for something only if that has changed.
    pub is_conditional: bool,
    /// Whether it was written as to a proxy.
    pub is_through_proxy: bool,
    /// How long its body is, in bytes.
    pub body_len: u64,
    /// Whether what it asks for has been done (which an answer need not tell).
    pub is_applied: bool,
    /// Whether it, or its answer, waits to be let go.
    pub is_held: bool,
    /// The status of the answer, when there is one.
    pub status: Option<u16>,
    /// How many bytes of the answer's body were handed to the connection.
    pub bytes_sent: u64,
    /// Whether all of the answer was handed over, or there will be none.
    pub is_over: bool,
    /// What went wrong with it on purpose.
    pub trouble: Option<Fault>,
}

impl Request {
    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let host = match self.host {
            Host::Api => "api",
            Host::Objects => "objects",
            Host::Elsewhere => "elsewhere",
        };
        let status = self.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let query = if self.host == Host::Api && !self.query.is_empty() {
            format!("?{}", self.query)
        } else {
            String::new()
        };
        let head = format!("{host:<9} {:<5} {}{query} → {status}", self.method, self.path);
        let more = [
            self.range.as_ref().map(|range| format!(" [{range}]")),
            (self.bytes_sent > 0).then(|| format!(", {} bytes", self.bytes_sent)),
            self.by.as_ref().map(|by| format!(", {by}")),
            self.trouble.as_ref().map(|fault| format!(" ({fault:?})")),
        ];
        more.into_iter().flatten().fold(head, |line, part| line + &part)
    }
}
