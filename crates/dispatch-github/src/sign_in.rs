//! Signing in: which credentials there are, and the first of them that GitHub takes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;
use url::Url;

use crate::error::{Error, Kind};
use crate::token::trimmed;
use crate::{GitHub, Origin, SignIn, Slug, Web};

/// What the command line gives.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--token`.
    pub token: Option<SecretString>,
    /// `--app-id` and what is in the file of `--app-key`.
    pub app: Option<(u64, SecretString)>,
}

/// The program `gh`, which may know a token.
#[derive(Clone, Debug)]
pub struct GhCli {
    /// The program.
    pub program: PathBuf,
    /// How long it may take.
    pub limit: Duration,
}

impl Default for GhCli {
    fn default() -> Self {
        Self { program: PathBuf::from("gh"), limit: Duration::from_secs(5) }
    }
}

impl GhCli {
    /// Without the variables that it would answer with instead of what it keeps: we know them, and they were tried.
    fn command(&self, hostname: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["auth", "token", "--hostname", hostname])
            .env_remove("GITHUB_TOKEN")
            .env_remove("GH_TOKEN")
            .env_remove("GH_HOST")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// The token that it has for a host. None if it has none, is not there, or takes too long.
    async fn token(&self, hostname: &str) -> Option<SecretString> {
        let output = self.command(hostname).output();
        let output = tokio::time::timeout(self.limit, output).await.ok()?.ok()?;
        if !output.status.success() {
            return None;
        }
        trimmed(&SecretString::from(String::from_utf8(output.stdout).ok()?))
    }
}

/// The host that an API belongs to, as `gh` calls it.
#[must_use]
pub fn hostname(api: &Url) -> String {
    let host = api.host_str().unwrap_or_default();
    match host.strip_prefix("api.") {
        Some(rest) if rest == "github.com" || rest.ends_with(".ghe.com") => rest.to_owned(),
        _ => host.to_owned(),
    }
}

/// The credentials that there are, in the order in which they are tried: `--token`, `GITHUB_TOKEN`, `GH_TOKEN`,
/// `gh auth token`, the App. What is empty is not there, and the same token is tried once. With `--token` there is
/// nothing else to try.
pub async fn candidates(
    given: Given,
    environment: impl Fn(&str) -> Option<String>,
    gh: &GhCli,
    api: &Url,
) -> Vec<SignIn> {
    if let Some(token) = given.token.as_ref().and_then(trimmed) {
        return vec![SignIn::Token { token, from: Origin::Flag }];
    }
    let variable = |name| environment(name).and_then(|value| trimmed(&SecretString::from(value)));
    let tokens = [
        (variable("GITHUB_TOKEN"), Origin::GithubTokenVariable),
        (variable("GH_TOKEN"), Origin::GhTokenVariable),
        (gh.token(&hostname(api)).await, Origin::GhCli),
    ];
    let mut found: Vec<(SecretString, Origin)> = Vec::new();
    for (token, from) in tokens {
        let Some(token) = token else { continue };
        if found.iter().all(|(known, _)| known.expose_secret() != token.expose_secret()) {
            found.push((token, from));
        }
    }
    let app = given.app.map(|(id, key)| SignIn::App { id, key });
    found.into_iter().map(|(token, from)| SignIn::Token { token, from }).chain(app).collect()
}

/// Signs in with the first of the candidates that GitHub takes, or as nobody. Also told: who that is, and which ones
/// were passed over and why. What a person gave on the command line is not passed over, and neither is GitHub's
/// silence. An App must be installed on `repo`: the repository that is private, or that issues are filed in.
pub async fn sign_in(
    web: Web,
    api: Url,
    candidates: Vec<SignIn>,
    repo: &Slug,
) -> Result<(GitHub, Option<String>, Vec<String>), Error> {
    let mut notices = Vec::new();
    for candidate in candidates {
        let name = candidate.to_string();
        let may_be_passed_over =
            !matches!(candidate, SignIn::Token { from: Origin::Flag, .. } | SignIn::App { .. });
        match try_one(&web, &api, candidate, repo).await {
            Ok((github, who)) => return Ok((github, who, notices)),
            Err(error) if may_be_passed_over && error.is_bad_credentials() => {
                notices.push(format!("{name} was passed over: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((set_up(GitHub::new(web, api, SignIn::Nobody))?, None, notices))
}

async fn try_one(
    web: &Web,
    api: &Url,
    candidate: SignIn,
    repo: &Slug,
) -> Result<(GitHub, Option<String>), Error> {
    let github = set_up(GitHub::new(web.clone(), api.clone(), candidate))?;
    let who = github.whoami().await?;
    if let Some(app) = github.app() {
        github.installation_token(app, repo, None).await?;
    }
    Ok((github, who))
}

/// Credentials that cannot even be sent are bad ones.
fn set_up(github: Result<GitHub, crate::SetUpError>) -> Result<GitHub, Error> {
    github.map_err(|error| {
        let kind = match error {
            crate::SetUpError::OddToken(_) | crate::SetUpError::NotAnRsaKey => Kind::BadCredentials,
            _ => Kind::Unreachable,
        };
        Error::new(kind, &error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn api() -> Url {
        Url::parse(crate::GITHUB).expect("a URL")
    }

    fn no_gh() -> GhCli {
        GhCli { program: PathBuf::from("/nowhere/gh"), limit: Duration::from_secs(5) }
    }

    fn names(candidates: &[SignIn]) -> Vec<String> {
        candidates.iter().map(ToString::to_string).collect()
    }

    /// A program that stands in for `gh`.
    fn stand_in(folder: &tempfile::TempDir, script: &str, limit: Duration) -> GhCli {
        let program = folder.path().join("gh");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
        GhCli { program, limit }
    }

    #[test]
    fn gh_knows_an_api_by_the_name_of_its_site() {
        for (api, name) in [
            ("https://api.github.com/", "github.com"),
            ("https://api.acme.ghe.com/", "acme.ghe.com"),
            ("https://ghe.example/api/v3/", "ghe.example"),
            ("https://api.example/", "api.example"),
        ] {
            assert_eq!(hostname(&Url::parse(api).expect("a URL")), name);
        }
    }

    #[tokio::test]
    async fn candidates_come_in_their_order_and_once_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let gh = stand_in(&folder, "echo \"gho_$4\"", Duration::from_mins(1));
        let environment = |name: &str| match name {
            "GITHUB_TOKEN" => Some(" ghp_one\n".to_owned()),
            "GH_TOKEN" => Some("ghp_one".to_owned()),
            _ => None,
        };
        let given = Given { token: None, app: Some((7, SecretString::from("key"))) };
        let found = candidates(given, environment, &gh, &api()).await;
        assert_eq!(
            names(&found),
            ["the token of GITHUB_TOKEN", "the token of `gh auth token`", "the GitHub App 7"]
        );
        let SignIn::Token { token, .. } = &found[1] else { panic!("{found:?}") };
        assert_eq!(token.expose_secret(), "gho_github.com");
    }

    #[tokio::test]
    async fn a_flag_leaves_nothing_else_to_try() {
        let given = Given { token: Some(SecretString::from(" ghp_x ")), app: None };
        let found = candidates(given, |_| Some("ghp_y".to_owned()), &no_gh(), &api()).await;
        assert_eq!(names(&found), ["the token of --token"]);
    }

    #[tokio::test]
    async fn what_is_empty_is_not_there() {
        let given = Given { token: Some(SecretString::from(" ")), app: None };
        assert!(candidates(given, |_| Some(" \n".to_owned()), &no_gh(), &api()).await.is_empty());
    }

    /// The environment of this process cannot be set without harm to other tests: another one has it, which runs the test
    /// below.
    #[test]
    fn gh_answers_with_what_it_keeps_and_not_with_our_variables() {
        let done = std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "sign_in::tests::with_variables", "--ignored"])
            .envs([("GITHUB_TOKEN", "ghp_ours"), ("GH_TOKEN", "ghp_ours"), ("GH_HOST", "other.example")])
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && told.contains("1 passed"), "{told}");
    }

    #[tokio::test]
    #[ignore = "the test above runs it, with variables of its own"]
    async fn with_variables() {
        assert_eq!(std::env::var("GITHUB_TOKEN").as_deref(), Ok("ghp_ours"));
        let folder = tempfile::tempdir().expect("a folder");
        let script = "echo \"${GITHUB_TOKEN:-${GH_TOKEN:-${GH_HOST:-gho_kept}}}\"";
        let gh = stand_in(&folder, script, Duration::from_mins(1));
        let token = gh.token("github.com").await.expect("a token");
        assert_eq!(token.expose_secret(), "gho_kept");
    }

    #[tokio::test]
    async fn a_gh_that_fails_or_hangs_knows_no_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let failing = stand_in(&folder, "echo gho_x; exit 1", Duration::from_mins(1));
        assert!(failing.token("github.com").await.is_none());
        let hanging = stand_in(&folder, "exec sleep 600", Duration::from_millis(50));
        assert!(hanging.token("github.com").await.is_none());
    }
}
