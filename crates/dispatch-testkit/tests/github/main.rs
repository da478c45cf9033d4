//! The fake GitHub, seen by a plain HTTP client: that it does what GitHub does, that its knobs do what they say, and
//! that it notices who does not speak GitHub's language.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod access;
mod apps;
mod checks;
mod client;
mod issues;
mod releases;
mod trouble;

use std::time::Duration;

use dispatch_testkit::github::{FakeGithub, Role, Token};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// One that has the repository `o/r`, public; `alice` reads it, `tina` triages, `will` pushes, `mallory` is nobody.
/// Their tokens have their names.
fn github() -> FakeGithub {
    let github = FakeGithub::start().expect("a GitHub");
    github.change(|model| {
        let repository = model.repository("o/r");
        repository.collaborator("alice", Role::Read);
        repository.collaborator("tina", Role::Triage).collaborator("will", Role::Write);
        for login in ["alice", "tina", "will", "mallory", "o"] {
            model.add_token(login, Token::classic(login, &["repo"]));
        }
    });
    github
}

/// An address in the API.
fn at(github: &FakeGithub, path: &str) -> String {
    format!("{}{path}", github.api())
}
