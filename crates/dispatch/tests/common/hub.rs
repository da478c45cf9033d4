//! A `dispatch` process that serves a release of a GitHub of our own.

use std::time::Duration;

use dispatch_testkit::github::{Content, FakeGithub, Issue, Role, Token};
use dispatch_testkit::program::{PATIENCE, Setup};

use super::{Lab, content, lab};

/// The repository of the release.
pub(crate) const REPOSITORY: &str = "AMDEPYC/sev-certify";

/// The token of somebody who may do everything there.
pub(crate) const TOKEN: &str = "ghp_thisisthetokenthatmustneverbeseen01";

/// How images are marked for us.
pub(crate) const EFI: &str = "application/vnd.dispatch+efi";

/// A fake GitHub, and a lab whose program serves its release `devel`, signed in by the environment.
pub(crate) struct Hub {
    pub(crate) github: FakeGithub,
    pub(crate) lab: Lab,
}

/// A hub whose release has these images; each begins with its name and is 100,000 bytes long.
pub(crate) fn hub(images: &[&str], more: &[&str]) -> Hub {
    hub_as(Role::Write, images, more)
}

/// The same, signed in as somebody who may do so much.
pub(crate) fn hub_as(role: Role, images: &[&str], more: &[&str]) -> Hub {
    let github = FakeGithub::start().expect("a GitHub");
    github.change(|model| {
        model.add_token(TOKEN, Token::classic("erin", &["repo"]));
        let repository = model.repository(REPOSITORY);
        repository.collaborator("erin", role);
        let release = repository.release("devel");
        for name in images {
            release.asset(name, EFI, Content::from(content(name)));
        }
    });
    let mut lab = lab(&[], more);
    *lab = setup(&lab, &github).variable("GITHUB_TOKEN", TOKEN);
    Hub { github, lab }
}

/// A setup that serves the release of that GitHub.
pub(crate) fn setup(lab: &Setup, github: &FakeGithub) -> Setup {
    let api = github.api();
    let source = ["--owner", "AMDEPYC", "--repo", "sev-certify", "--tag", "devel", "--github-url", &api];
    lab.clone().serving(&source)
}

impl Hub {
    /// Waits until the repository has so many issues, and tells them.
    pub(crate) fn issues(&self, count: usize) -> Vec<Issue> {
        self.github
            .wait_for(&format!("{count} issues"), PATIENCE, |model| {
                let issues = model.issues(REPOSITORY);
                (issues.len() >= count).then(|| issues.to_vec())
            })
            .expect("issues")
    }

    /// How often the bytes of an image were asked for from the beginning, and went out.
    pub(crate) fn fetched(&self, name: &str) -> usize {
        let requests = self.github.requests();
        requests.iter().filter(|request| request.path.ends_with(name) && request.bytes_sent > 0).count()
    }
}

/// Longer than anything here takes, for what must not happen meanwhile.
pub(crate) const MOMENT: Duration = Duration::from_millis(300);
