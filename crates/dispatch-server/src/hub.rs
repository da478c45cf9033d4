//! The way to GitHub: how we are signed in, where reports become issues, and what may be missing for that.

use std::path::PathBuf;

use dispatch_core::run::{IssueTarget, Sinks};
use dispatch_github::{GitHub, Now, SetUpError, SignIn, Slug, Wants, Web};
use url::{Host, Url};

use crate::clock::Clock;

/// Where reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// Into issues.
    Issue,
    /// Into files.
    File,
    /// Into both.
    Both,
}

/// What there is to sign in with, and what for.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The root of GitHub's API.
    pub api: Url,
    /// Certificates of authorities to trust beside the system's.
    pub ca_certs: Vec<PathBuf>,
    /// What to sign in with, in the order in which it is tried.
    pub candidates: Vec<SignIn>,
    /// Where issues are filed, if not where the release is.
    pub issues_to: Option<Slug>,
    /// Where reports go.
    pub report: ReportTo,
    /// Issues end with a line about their run.
    pub footer: bool,
}

/// Why there is no way to GitHub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The settings.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    /// The sign-in.
    #[error("{error} (tried: {tried})")]
    SignIn {
        /// What came of it.
        error: dispatch_github::Error,
        /// With what.
        tried: String,
    },
}

/// See the module.
#[derive(Clone)]
pub struct Hub {
    /// HTTP for everybody.
    pub web: Web,
    /// The client, where anything needs it.
    pub github: Option<GitHub>,
    /// Where reports go.
    pub sinks: Sinks,
    /// Where issues will be filed and as whom, or why they will not: one line.
    pub filing: Option<String>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
}

impl HubConfig {
    /// The repository whose issues reports are to become, if the release that is read is in that one.
    #[must_use]
    pub fn target<'a>(&'a self, release: Option<&'a Slug>) -> Option<&'a Slug> {
        self.issues_to.as_ref().or(release).filter(|_| self.report != ReportTo::File)
    }
}

impl Hub {
    /// Signs in and looks, without writing anything, whether what will be needed is there. `release` is the repository
    /// that is read, if any. `is_offline` asks nobody.
    pub async fn connect(
        config: &HubConfig,
        release: Option<&Slug>,
        is_offline: bool,
        clock: std::sync::Arc<dyn Clock>,
    ) -> Result<Self, HubError> {
        let now: Now = std::sync::Arc::new(move || clock.now());
        let web = Web::new(&config.ca_certs, now)?;
        let target = config.target(release);
        let files = config.report != ReportTo::Issue;
        let mut hub = Self {
            web,
            github: None,
            sinks: Sinks { files, issues: None },
            filing: None,
            warnings: Vec::new(),
        };
        // Whoever files needs more than whoever reads.
        let Some(asked) = target.or(release) else {
            hub.sinks.files = true;
            return Ok(hub);
        };
        let (github, who) = if is_offline {
            let sign_in = config.candidates.first().cloned().unwrap_or(SignIn::Nobody);
            (GitHub::new(hub.web.clone(), config.api.clone(), sign_in)?, None)
        } else {
            let candidates = config.candidates.clone();
            let signed_in = dispatch_github::sign_in(hub.web.clone(), config.api.clone(), candidates, asked);
            let tried = || config.candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let (github, who, mut notices) =
                signed_in.await.map_err(|error| HubError::SignIn { error, tried: tried() })?;
            hub.warnings.append(&mut notices);
            (github, who)
        };
        if github.signed_in() && is_in_clear(&config.api) {
            let warning = format!("--github-url {} is not https: the token is sent in clear", config.api);
            hub.warnings.push(warning);
        }
        if let Some(target) = target {
            hub.look_at(&github, target, who.as_deref(), is_offline).await;
        }
        hub.github = Some(github);
        Ok(hub)
    }

    /// Looks whether issues can be filed there.
    async fn look_at(&mut self, github: &GitHub, target: &Slug, who: Option<&str>, is_offline: bool) {
        if !github.signed_in() {
            self.sinks.files = true;
            self.filing = Some(format!(
                "not signed in to GitHub: reports stay local, as files (to file them as issues of {target}, give \
                 --token or GITHUB_TOKEN, or sign in by `gh auth login`)"
            ));
            return;
        }
        let (repository, api) = (target.to_string(), github.api().to_string());
        self.sinks.issues = Some(IssueTarget { repository, api });
        let who = who.map(|who| format!(" as {who}")).unwrap_or_default();
        self.filing = Some(format!("reports will be filed as issues of {target}{who}"));
        if is_offline {
            return;
        }
        match github.repository(target).await {
            Ok(repository) => {
                let missing =
                    dispatch_github::missing(&repository, github.token_kind(), Wants { issues: true });
                self.warnings.extend(missing.iter().map(ToString::to_string));
            }
            Err(error) => self.warnings.push(format!(
                "whether issues can be filed in {target} is not known: {error}; reports wait until they can"
            )),
        }
    }
}

/// Whether others can read what is sent there.
fn is_in_clear(api: &Url) -> bool {
    let is_ours = match api.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    api.scheme() != "https" && !is_ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_clear_is_told_but_on_this_machine() {
        let is_told = |text: &str| is_in_clear(&text.parse().expect("a URL"));
        assert!(is_told("http://ghe.lab/api/v3") && is_told("http://192.0.2.1/"));
        for fine in ["https://ghe.lab/api/v3", "http://127.0.0.1:8480/", "http://[::1]/", "http://localhost/"]
        {
            assert!(!is_told(fine), "{fine}");
        }
    }
}
