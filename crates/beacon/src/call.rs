//! Telling a server: looking for servers, asking one after the other, and doing so again until one takes it
//! or the time is up.
//!
//! The rules:
//!
//! - 200 is success. 417, and what no dispatch would answer (404, a redirect), means: try the next server,
//!   and this one again in the next round, since a server may be about to know us.
//! - A server that refuses the request itself (400, 413) is not asked again; another one is.
//! - No connection, no answer, 408, 429 and 5xx are trouble that may pass.
//! - As long as one server is in trouble, or none has been found, rounds go on until the time is up. When
//!   every server has said no for two minutes, that is it: waiting longer changes no mind.
//! - People are told of each change of what a server says, not of each attempt.

use std::fmt;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::{Clock, in_words};
use crate::exchange::{self, Answer, Exchange, Meaning, NoAnswer, Request};
use crate::find::{Finder, Found};
use crate::run_id::RunId;
use crate::state::Remembered;
use crate::tell::{Once, Tell};
use crate::url::ServerUrl;

/// How patient a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The first wait between rounds.
    pub first: Duration,
    /// The longest wait between rounds.
    pub cap: Duration,
    /// How long to try at all. One last round begins when it is over.
    pub timeout: Duration,
    /// What an attempt may take even when the time is up.
    pub last_attempt: Duration,
}

impl Pace {
    /// A host that starts asks quickly, and does not keep a workload waiting that can do without.
    pub const BOOT: Self = Self {
        first: Duration::from_millis(250),
        cap: Duration::from_secs(5),
        timeout: Duration::from_mins(2),
        last_attempt: Duration::from_secs(5),
    };

    /// Results of hours are not thrown away because a server restarts.
    pub const REPORT: Self = Self {
        first: Duration::from_millis(500),
        cap: Duration::from_secs(15),
        timeout: Duration::from_hours(2),
        last_attempt: Duration::from_mins(1),
    };
}

/// How long every server has to say no before that is believed.
const SETTLED: Duration = Duration::from_mins(2);

/// One call: what is told, to whom, by which means.
pub struct Call<'a> {
    /// What is told.
    pub request: &'a Request,
    /// How patiently.
    pub pace: Pace,
    /// Where servers are looked for, in order.
    pub finders: &'a [Box<dyn Finder + 'a>],
    /// The server that is told the name of its run along with the request. No other is: a name means
    /// something only to who gave it.
    pub remembered: Option<&'a Remembered>,
    /// The network.
    pub exchange: &'a dyn Exchange,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// The server that took it.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its address.
    pub url: ServerUrl,
    /// What it calls the run.
    pub run: Option<RunId>,
}

/// A server that was asked, and the last thing it said.
#[derive(Debug)]
struct Asked {
    server: Found,
    meaning: Meaning,
    said: String,
}

/// Nobody took it.
#[derive(Debug)]
pub struct GaveUp {
    what: &'static str,
    after: Duration,
    asked: Vec<Asked>,
    nothing: Vec<String>,
}

impl std::error::Error for GaveUp {}

impl fmt::Display for GaveUp {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, after, asked, nothing } = self;
        let after = in_words(*after);
        if asked.is_empty() {
            let nothing = nothing.join(", ");
            return write!(
                to,
                "{what} could not be told: no server was found in {after} ({nothing}); name one with --url, \
                 DISPATCH_URL, or dispatch.url= on the kernel command line"
            );
        }
        write!(to, "{what} could not be told in {after}: ")?;
        for Asked { server, said, .. } in asked {
            write!(to, "{} ({}): {said}; ", server.url, server.from)?;
        }
        let all = |meaning| asked.iter().all(|asked| asked.meaning == meaning);
        to.write_str(if all(Meaning::NotMine) {
            "was this system started by one of these servers? Another one can be named with --url"
        } else if all(Meaning::Refused) {
            "the servers' logs say more"
        } else {
            "check that dispatch runs there and that this host's network is up"
        })
    }
}

impl Call<'_> {
    /// Tells it.
    pub fn run(self, tell: &mut dyn Tell) -> Result<Taken, GaveUp> {
        let mut rounds = Rounds {
            started: self.clock.now(),
            call: &self,
            tell: Once::new(tell),
            asked: Vec::new(),
            nothing: Vec::new(),
        };
        let mut backoff = Backoff::new(self.pace.first, self.pace.cap);
        let mut settled_since = None;
        loop {
            if let Some(taken) = rounds.once() {
                return Ok(taken);
            }
            let now = self.clock.now();
            settled_since = rounds.is_settled().then(|| settled_since.unwrap_or(now));
            let deadline = rounds.started.saturating_add(self.pace.timeout);
            let deadline =
                settled_since.map_or(deadline, |since| deadline.min(since.saturating_add(SETTLED)));
            if now >= deadline || rounds.is_hopeless() {
                return Err(rounds.give_up(now));
            }
            self.clock.sleep(backoff.wait(self.clock.random()).min(deadline.saturating_sub(now)));
        }
    }
}

/// What is known after some rounds.
struct Rounds<'a> {
    call: &'a Call<'a>,
    started: Duration,
    tell: Once<'a>,
    asked: Vec<Asked>,
    nothing: Vec<String>,
}

impl Rounds<'_> {
    /// Looks for servers and asks each once. A later finder is asked only if no server of an earlier one
    /// took it.
    fn once(&mut self) -> Option<Taken> {
        let mut done: Vec<ServerUrl> = Vec::new();
        self.nothing.clear();
        for finder in self.call.finders {
            let finding = finder.find();
            for warning in &finding.warnings {
                self.tell.warn(warning);
            }
            self.nothing.extend(finding.nothing);
            for found in finding.found {
                if !done.contains(&found.url) {
                    done.push(found.url.clone());
                    if let Some(taken) = self.ask(&found) {
                        return Some(taken);
                    }
                }
            }
        }
        // A server that can no longer be found may still be there.
        let lost: Vec<_> = self.asked.iter().map(|asked| asked.server.clone()).collect();
        for server in lost.iter().filter(|server| !done.contains(&server.url)) {
            if let Some(taken) = self.ask(server) {
                return Some(taken);
            }
        }
        if self.asked.is_empty() {
            let waiting = in_words(self.call.pace.timeout);
            let nothing = self.nothing.join(", ");
            self.tell.warn(&format!("no server found yet ({nothing}); looking again for up to {waiting}"));
        }
        None
    }

    fn ask(&mut self, server: &Found) -> Option<Taken> {
        let known = self.asked.iter().position(|asked| asked.server.url == server.url);
        if known.and_then(|at| self.asked.get(at)).is_some_and(|asked| asked.meaning == Meaning::Refused) {
            return None;
        }
        let url = &server.url;
        self.tell.detail(&format!("asking {url} ({})", server.from));
        let run =
            self.call.remembered.filter(|remembered| remembered.url == *url).and_then(|it| it.run.as_ref());
        let answer = self.call.exchange.exchange(self.call.request, url, run, self.limit());
        let (meaning, said) = match answer {
            Ok(answer) => match Meaning::of(answer.status) {
                Meaning::Taken => return Some(self.taken(url, answer)),
                meaning => (meaning, exchange::in_words(&answer)),
            },
            Err(NoAnswer(why)) => (Meaning::Trouble, why),
        };
        self.note(known, server, meaning, &said);
        None
    }

    fn taken(&mut self, url: &ServerUrl, answer: Answer) -> Taken {
        let run = answer.run.and_then(|raw| {
            RunId::from_bytes(&raw)
                .inspect_err(|error| self.tell.warn(&format!("{url} named its run, but {error}")))
                .ok()
        });
        Taken { url: url.clone(), run }
    }

    /// Keeps what a server said, and passes it on if it is news.
    fn note(&mut self, known: Option<usize>, server: &Found, meaning: Meaning, said: &str) {
        if let Some(asked) = known.and_then(|at| self.asked.get_mut(at)) {
            if asked.said == said {
                return;
            }
            asked.meaning = meaning;
            said.clone_into(&mut asked.said);
        } else {
            self.asked.push(Asked { server: server.clone(), meaning, said: said.to_owned() });
        }
        let then = match meaning {
            Meaning::Refused => "it is not asked again".to_owned(),
            _ if self.call.pace.timeout.is_zero() => "not trying again".to_owned(),
            Meaning::Trouble => format!("trying for up to {}", in_words(self.call.pace.timeout)),
            Meaning::Taken | Meaning::NotMine | Meaning::Stranger => "not giving up yet".to_owned(),
        };
        self.tell.again(&format!("{} ({}): {said}; {then}", server.url, server.from));
    }

    /// How long an attempt may take.
    fn limit(&self) -> Duration {
        let deadline = self.started.saturating_add(self.call.pace.timeout);
        deadline.saturating_sub(self.call.clock.now()).max(self.call.pace.last_attempt)
    }

    /// Whether every server there is has said no. What a stranger says settles nothing: it may be a proxy in front
    /// of a server that is away for a while, and hours of results are worth the wait.
    fn is_settled(&self) -> bool {
        let says_no = |asked: &Asked| matches!(asked.meaning, Meaning::NotMine | Meaning::Refused);
        !self.asked.is_empty() && self.asked.iter().all(says_no)
    }

    /// Whether there is no one left to ask, and none can turn up.
    fn is_hopeless(&self) -> bool {
        self.call.finders.iter().all(|finder| finder.is_fixed())
            && self.asked.iter().all(|asked| asked.meaning == Meaning::Refused)
    }

    fn give_up(self, now: Duration) -> GaveUp {
        GaveUp {
            what: self.call.request.message.in_words(),
            after: now.saturating_sub(self.started),
            asked: self.asked,
            nothing: self.nothing,
        }
    }
}
