//! What can go wrong, how often, and with which requests.

use std::time::Duration;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// GitHub's API.
    Api,
    /// The host of the assets' bytes.
    Objects,
    /// Yet another, which nobody has any business with.
    Elsewhere,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status is the answer, and nothing is done: 500, 502, 503, …
    Status(u16),
    /// It is done, and this status is the answer all the same.
    StatusAfter(u16),
    /// So long nothing happens; then all goes well.
    Delay(Duration),
    /// The body comes in chunks of so many bytes, each after a pause.
    SlowBody {
        /// How many bytes a chunk has.
        chunk: u64,
        /// How long each is waited for.
        pause: Duration,
    },
    /// The request waits, before anything is done, until [`super::FakeGithub::let_go`].
    Hold,
    /// It is done; the answer waits until [`super::FakeGithub::let_go`].
    HoldAfter,
    /// The connection breaks, and nothing is done.
    DropBefore,
    /// It is done, and the connection breaks without an answer.
    DropAfter,
    /// The connection breaks, and so much later it is done.
    ApplyLate(Duration),
    /// The connection breaks after so many bytes of the body.
    DropBody(u64),
    /// After so many bytes of the body nothing more comes, and the connection stays.
    StallBody(u64),
    /// One byte in the middle of the body is another.
    WrongBytes,
    /// So many bytes are left out at the end, and the length says so too.
    Truncate(u64),
    /// GitHub's secondary rate limit, with or without `Retry-After`, in seconds.
    SecondaryLimit(Option<u64>),
    /// Status 429, with or without `Retry-After`, in seconds.
    TooMany(Option<u64>),
    /// The primary rate limit is used up, and comes back so many seconds later.
    PrimaryLimit(u64),
    /// 401: the token is not known.
    Unauthorized,
    /// 404, though it is there.
    NotFound,
    /// The answer is a redirect to yet another host; one that gives an asset's bytes gives them there.
    Elsewhere,
    /// `Range` is not looked at: 200, with everything.
    IgnoreRange,
    /// From now on the bytes have another entity tag.
    NewEtag,
}

/// A fault, and which requests it meets: without more words the next one.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub(super) fault: Fault,
    host: Host,
    method: Option<String>,
    path: Option<String>,
    skip: u32,
    left: Option<u32>,
}

impl Trouble {
    /// Meets the next request of the host that it belongs to: the assets' bytes if it is about bodies, else the API.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        let host = match fault {
            Fault::DropBody(_)
            | Fault::StallBody(_)
            | Fault::SlowBody { .. }
            | Fault::WrongBytes
            | Fault::Truncate(_)
            | Fault::IgnoreRange
            | Fault::NewEtag => Host::Objects,
            _ => Host::Api,
        };
        Self { fault, host, method: None, path: None, skip: 0, left: Some(1) }
    }

    /// Requests to that host.
    #[must_use]
    pub fn host(self, host: Host) -> Self {
        Self { host, ..self }
    }

    /// Requests with that method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    /// Requests for such a path; `*` is any number of any characters. The path of an asset's bytes ends with its name.
    #[must_use]
    pub fn path(self, pattern: &str) -> Self {
        Self { path: Some(pattern.to_owned()), ..self }
    }

    /// So many of them.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { left: Some(times), ..self }
    }

    /// All of them, until [`super::FakeGithub::calm`].
    #[must_use]
    pub fn always(self) -> Self {
        Self { left: None, ..self }
    }

    /// Leaves the first so many alone.
    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Whether it meets this request; it is then once less to come.
    pub(super) fn strikes(&mut self, host: Host, method: &str, path: &str) -> bool {
        let is_meant = self.host == host
            && self.left != Some(0)
            && self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|pattern| glob(pattern, path));
        if !is_meant {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }

    /// Whether it will meet nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.left == Some(0)
    }
}

/// Whether a text is as the pattern says, in which `*` is any number of any characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_number_of_characters() {
        assert!(glob("/repos/*/issues", "/repos/o/r/issues"));
        assert!(glob("*", ""));
        assert!(glob("*a.efi", "/x/1/a.efi"));
        assert!(glob("/a*b*c", "/abbc"));
        assert!(!glob("/repos/*/issues", "/repos/o/r/issues/1"));
        assert!(!glob("/a", "/ab"));
        assert!(!glob("ab*ba", "aba"));
    }

    #[test]
    fn trouble_meets_as_many_requests_as_it_says() {
        let mut trouble = Trouble::new(Fault::NotFound).method("POST").after(1).times(2);
        let strikes = |trouble: &mut Trouble, method: &str| trouble.strikes(Host::Api, method, "/x");
        assert!(!strikes(&mut trouble, "GET"), "another method");
        assert!(!strikes(&mut trouble, "POST"), "the first is left alone");
        assert!(strikes(&mut trouble, "POST"));
        assert!(!trouble.strikes(Host::Objects, "POST", "/x"), "another host");
        assert!(strikes(&mut trouble, "POST"));
        assert!(trouble.is_over());
        assert!(!strikes(&mut trouble, "POST"));
    }
}
