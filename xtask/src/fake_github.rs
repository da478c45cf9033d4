//! `cargo xtask fake-github`: the tests' GitHub, to play with. It shows each request, and each issue that is filed.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use dispatch_testkit::github::{
    Comment, Content, FakeGithub, GithubError, Issue, Level, Model, Release, Role, Token,
};

use crate::Failure;

/// How it is run.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8480")]
    listen: SocketAddr,
    /// The release's assets are the .efi, .iso and .img files of this directory
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// The repository can only be seen with a token
    #[arg(long)]
    private: bool,
}

pub(crate) const OWNER: &str = "AMDEPYC";
pub(crate) const REPO: &str = "sev-certify";
pub(crate) const TAG: &str = "devel";

/// Whose token may do everything that filing an issue with labels and a milestone takes.
pub(crate) const TOKEN: &str = "ghp_push";

/// How long nothing may happen before it is looked at again; nothing comes of it.
const GLANCE: Duration = Duration::from_hours(1);

/// Runs until Ctrl-C.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let github = FakeGithub::start_at(args.listen)?;
    let assets = github.change(|model| furnish(model, args.images.as_deref(), args.private))?;
    println!("GitHub's API         {}", github.api());
    println!("GitHub Enterprise's  {}", github.api_enterprise());
    println!("assets' bytes        {}", github.objects());
    println!("repository           {OWNER}/{REPO}{}", if args.private { ", private" } else { "" });
    println!("release              {TAG}: {}", assets.join(", "));
    println!("issues               {}/{OWNER}/{REPO}/issues", github.api());
    println!("tokens               {TOKEN} pushes, ghp_read reads, ghp_bare has no scope,");
    println!(
        "                     github_pat_issues is fine-grained and files issues, github_pat_none may do nothing"
    );
    println!(
        "\ntry  dispatch --github-url {} --token {TOKEN} --owner {OWNER} --repo {REPO} --tag {TAG}\n",
        github.api()
    );
    let mut shown = Shown::default();
    loop {
        match github.wait_for("a request", GLANCE, |model| shown.next(model)) {
            Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
            Err(GithubError::Late { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One whose release has the images of a directory, for the demo.
pub(crate) fn with_images(images: &Path) -> Result<FakeGithub, Failure> {
    let github = FakeGithub::start()?;
    github.change(|model| furnish(model, Some(images), false))?;
    Ok(github)
}

/// What was filed in the example's repository.
pub(crate) fn issues(github: &FakeGithub) -> Vec<Issue> {
    github.issues(&format!("{OWNER}/{REPO}"))
}

/// Puts the example in, and tells the assets' names.
fn furnish(model: &mut Model, images: Option<&Path>, is_private: bool) -> Result<Vec<String>, Failure> {
    let full_name = format!("{OWNER}/{REPO}");
    let repository = model.repository(&full_name);
    repository.private = is_private;
    repository.collaborator("pusher", Role::Write).collaborator("reader", Role::Read);
    for title in ["c1", "c2", "c3"] {
        repository.milestone(title);
    }
    repository.label("certificate");
    let release = repository.release(TAG);
    match images {
        Some(folder) => hang(release, folder)?,
        None => {
            // It boots nothing, and is as long as one that does.
            release.asset("nothing.efi", "application/vnd.dispatch+efi", Content::pattern(4 << 20, 1));
        }
    }
    let names = release.assets.iter().map(|asset| asset.name.clone()).collect();
    model.add_token(TOKEN, Token::classic("pusher", &["repo"]));
    model.add_token("ghp_read", Token::classic("reader", &["repo"]));
    model.add_token("ghp_bare", Token::classic("pusher", &[]));
    let given = [("issues", Level::Write), ("contents", Level::Read)];
    model.add_token("github_pat_issues", Token::fine_grained("pusher", &[&full_name], &given));
    model.add_token("github_pat_none", Token::fine_grained("pusher", &[&full_name], &[]));
    Ok(names)
}

/// Hangs a directory's images on a release.
fn hang(release: &mut Release, folder: &Path) -> Result<(), Failure> {
    let failure = |error| Failure::File(folder.to_owned(), error);
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let (name, extension) = (text(path.file_name()), text(path.extension()));
        if path.is_file() && ["efi", "iso", "img"].contains(&extension.as_str()) {
            release.asset(&name, &format!("application/vnd.dispatch+{extension}"), path);
        }
    }
    if release.assets.is_empty() {
        return Err(Failure::Words(format!("{} has no .efi, .iso or .img file", folder.display())));
    }
    Ok(())
}

/// What has been shown already.
#[derive(Default)]
struct Shown {
    requests: BTreeSet<usize>,
    issues: usize,
    comments: BTreeSet<u64>,
    violations: usize,
}

impl Shown {
    /// The lines for what is new, if something is.
    fn next(&mut self, model: &Model) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        for (place, request) in model.requests.iter().enumerate() {
            if request.is_over && self.requests.insert(place) {
                lines.push(request.line());
            }
        }
        let issues: Vec<&Issue> =
            model.repositories.iter().flat_map(|repository| &repository.issues).collect();
        lines.extend(issues.iter().skip(self.issues).map(|issue| filed(issue)));
        self.issues = issues.len();
        for issue in issues {
            let new = issue.comments.iter().filter(|comment| self.comments.insert(comment.id));
            lines.extend(new.map(|comment| said(issue, comment)));
        }
        let violations = model.violations.iter().skip(self.violations);
        lines.extend(violations.map(|violation| format!("   ⚠ {violation}")));
        self.violations = model.violations.len();
        (!lines.is_empty()).then_some(lines)
    }
}

fn filed(issue: &Issue) -> String {
    let labels = issue.labels.join(", ");
    let milestone = issue.milestone.as_deref().unwrap_or("none");
    let body = indented(issue.body.as_deref().unwrap_or_default());
    format!("   📝 #{} {}\n      labels: [{labels}], milestone: {milestone}{body}", issue.number, issue.title)
}

fn said(issue: &Issue, comment: &Comment) -> String {
    format!("   💬 #{} {}{}", issue.number, comment.author, indented(&comment.body))
}

/// The first lines of a text, each on a line of its own.
fn indented(text: &str) -> String {
    text.lines().take(12).fold(String::new(), |all, line| all + "\n      │ " + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_of_a_directory_hang_on_the_release() {
        let folder = std::env::temp_dir().join(format!("fake-github-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        for name in ["a.efi", "b.iso", "notes.txt"] {
            fs::write(folder.join(name), name).expect("a file");
        }
        let mut model = Model::default();
        let mut names = furnish(&mut model, Some(&folder), false).expect("a release");
        names.sort();
        fs::remove_dir_all(&folder).expect("a folder");
        assert_eq!(names, ["a.efi", "b.iso"]);
        assert!(furnish(&mut model, Some(&folder), false).is_err(), "a directory that is not there");
    }

    #[test]
    fn what_is_new_is_shown_once() {
        let mut model = Model::default();
        furnish(&mut model, None, false).expect("a release");
        let mut shown = Shown::default();
        assert_eq!(shown.next(&model), None);
        let issue = model.repository("AMDEPYC/sev-certify").issue("level 1", "body");
        issue.labels.push("x".to_owned());
        let lines = shown.next(&model).expect("something new").join("\n");
        assert!(lines.contains("#1 level 1") && lines.contains("│ body"), "{lines}");
        assert_eq!(shown.next(&model), None);
    }
}
