//! What is served, how it is fetched, and the way to GitHub: the options, and what follows from them together.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use dispatch_github::{GITHUB, Slug};
use dispatch_server::hub::ReportTo;
use dispatch_server::source::description::time;
use dispatch_server::source::remote::ReleaseName;
use dispatch_server::source::urls::FileUrl;
use secrecy::SecretString;
use url::Url;

/// What is served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is served (one of --dir, --repo, --url; --repo and --url go together)")]
pub(crate) struct SourceArgs {
    /// The .efi, .iso and .img files of this directory, in name order
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,

    /// Who owns the repository of --repo
    #[arg(short, long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,

    /// The assets of a release of this repository; NAME with --owner, or OWNER/NAME
    ///
    /// Only assets whose media type is application/vnd.dispatch+efi, +iso or +img, in name order; one of type
    /// application/vnd.dispatch+yaml describes them. `dispatch check` tells what is taken and why.
    #[arg(short, long, value_name = "REPO")]
    pub(crate) repo: Option<String>,

    /// The tag of the release [default: latest]
    ///
    /// `latest` is the tag of that name if there is one, else the latest release.
    #[arg(short, long, value_name = "TAG")]
    pub(crate) tag: Option<String>,

    /// An image by its URL (repeatable); its digest stands behind it (#sha256=…), or in a SHA256SUMS beside it
    #[arg(long, value_name = "FILE-URL")]
    pub(crate) url: Vec<String>,

    /// The root of GitHub's API, for GitHub Enterprise: `https://HOST/api/v3`
    #[arg(long, value_name = "URL", env = "GITHUB_API_URL", default_value = GITHUB, hide_default_value = true,
          hide_env_values = true)]
    pub(crate) github_url: String,
}

/// How images are fetched.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fetching")]
pub(crate) struct FetchArgs {
    /// Look again every minute, or every TIME: what is new joins the queue, what was replaced is queued again
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1m",
          value_parser = time, conflicts_with_all = ["exit_when_done", "offline"])]
    pub(crate) watch: Option<Duration>,

    /// Start without network, with what is known and cached
    #[arg(long)]
    pub(crate) offline: bool,

    /// Fetch images ahead, in queue order, or only when a server asks
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    pub(crate) prefetch: Switch,

    /// Where fetched images are kept [default: dispatch in the XDG cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// How much may be kept there; what was used longest ago goes first
    #[arg(long, value_name = "SIZE", default_value = "50GiB", value_parser = size)]
    pub(crate) cache_size: u64,
}

/// The way to GitHub.
#[derive(Args, Debug)]
#[command(next_help_heading = "GitHub")]
pub(crate) struct GitHubArgs {
    /// Sign in with this token; others on this machine can see it, unlike that of `GITHUB_TOKEN`
    ///
    /// Tried in this order: --token, `GITHUB_TOKEN`, `GH_TOKEN`, `gh auth token`, --app-id. Without any, public
    /// repositories can be read, and reports stay local.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<SecretString>,

    /// Sign in as a GitHub App, which has to be installed on the repository
    #[arg(long, value_name = "ID", requires = "app_key")]
    pub(crate) app_id: Option<u64>,

    /// The file with the App's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "app_id")]
    pub(crate) app_key: Option<PathBuf>,

    /// Trust the authorities in this file (PEM) as well (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_cert: Vec<PathBuf>,

    /// File issues in this repository, and not in that of the release; also with --dir
    #[arg(long, value_name = "OWNER/REPO")]
    pub(crate) issues_to: Option<Slug>,

    /// Where reports go: issue, file or both
    #[arg(long, value_name = "WHERE", default_value = "both")]
    pub(crate) report: ReportWord,

    /// Leave the line about host, workload and attempt out of issues
    #[arg(long)]
    pub(crate) no_footer: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

/// Where reports go.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReportWord {
    /// Into issues
    Issue,
    /// Into files
    File,
    /// Into both
    Both,
}

impl From<ReportWord> for ReportTo {
    fn from(word: ReportWord) -> Self {
        match word {
            ReportWord::Issue => Self::Issue,
            ReportWord::File => Self::File,
            ReportWord::Both => Self::Both,
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|size| *size > 0);
    size.ok_or_else(|| "write a size such as 500MiB or 50GiB".to_owned())
}

/// What is served, once it is clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The images of a directory.
    Directory(PathBuf),
    /// Those of a release, those that are named by URL, or both.
    Remote(Option<ReleaseName>, Vec<FileUrl>),
}

impl SourceArgs {
    /// Whether anything is named at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.dir.is_none()
            && self.owner.is_none()
            && self.repo.is_none()
            && self.tag.is_none()
            && self.url.is_empty()
    }

    /// The root of GitHub's API. It is not read while the command line is: what is wrong would be shown whole, and may
    /// hold a password.
    pub(crate) fn api(&self) -> Result<Url, String> {
        dispatch_github::api_root(&self.github_url).map_err(|error| format!("--github-url: {error}"))
    }

    /// What is served. Words that are URLs are images as well: `--url A B` names two.
    pub(crate) fn chosen(&self, words: &mut Vec<String>) -> Result<Chosen, String> {
        let mut given = self.url.clone();
        if !given.is_empty() {
            let is_url = |word: &mut String| word.starts_with("https://") || word.starts_with("http://");
            given.extend(words.extract_if(.., is_url));
        }
        let read = |text: &String| text.parse::<FileUrl>().map_err(|error| format!("--url: {error}"));
        let urls = given.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let release = self.release()?;
        match (&self.dir, release, urls) {
            (Some(dir), None, urls) if urls.is_empty() => Ok(Chosen::Directory(dir.clone())),
            (Some(_), ..) => {
                Err("--dir is a source of its own: leave it out, or --owner, --repo, --tag and --url".to_owned())
            }
            (None, None, urls) if urls.is_empty() => Err(
                "there is nothing to serve: give --owner and --repo for a release on GitHub, --dir for a directory of \
                 images, or --url for single images"
                    .to_owned(),
            ),
            (None, release, urls) => Ok(Chosen::Remote(release, urls)),
        }
    }

    fn release(&self) -> Result<Option<ReleaseName>, String> {
        let repository = match (&self.owner, &self.repo) {
            (None, None) if self.tag.is_some() => {
                return Err("--tag needs the repository that it is in: give --owner and --repo".to_owned());
            }
            (None, None) => return Ok(None),
            (Some(_), None) => return Err("--owner needs --repo, the name of the repository".to_owned()),
            (Some(owner), Some(repo)) => match repo.split_once('/') {
                Some((other, name)) if other.eq_ignore_ascii_case(owner) => Slug::new(owner, name),
                Some(_) => return Err(format!("--owner {owner} and --repo {repo} contradict each other")),
                None => Slug::new(owner, repo),
            },
            (None, Some(repo)) if repo.contains('/') => repo.parse(),
            (None, Some(repo)) => {
                return Err(format!("--repo {repo} needs --owner, or write --repo OWNER/{repo}"));
            }
        };
        let repository = repository.map_err(|error| error.to_string())?;
        let tag = self.tag.clone().unwrap_or_else(|| "latest".to_owned());
        if tag.is_empty() || tag.chars().any(char::is_control) {
            return Err("--tag is empty or has control characters: give the tag of a release".to_owned());
        }
        Ok(Some(ReleaseName { repository, tag }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        source: SourceArgs,
        words: Vec<String>,
    }

    fn chosen(line: &str) -> Result<(Chosen, Vec<String>), String> {
        let words = ["dispatch"].into_iter().chain(line.split_whitespace());
        let Line { source, mut words } = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let chosen = source.chosen(&mut words)?;
        source.api()?;
        Ok((chosen, words))
    }

    fn release(repository: &str, tag: &str) -> Chosen {
        let repository = repository.parse().expect("a repository");
        Chosen::Remote(Some(ReleaseName { repository, tag: tag.to_owned() }), Vec::new())
    }

    #[test]
    fn a_release_is_named_in_every_usual_way() {
        let expected = (release("AMDEPYC/sev-certify", "devel"), vec!["ubuntu".to_owned()]);
        for line in [
            "--owner AMDEPYC --repo sev-certify --tag devel ubuntu",
            "-o AMDEPYC -r sev-certify -t devel ubuntu",
            "--repo AMDEPYC/sev-certify --tag devel ubuntu",
            "--owner AMDEPYC --repo AMDEPYC/sev-certify --tag devel ubuntu",
        ] {
            assert_eq!(chosen(line).expect(line), expected, "{line}");
        }
        assert_eq!(chosen("-r o/r").map(|(chosen, _)| chosen), Ok(release("o/r", "latest")));
    }

    #[test]
    fn several_urls_may_follow_one_option() {
        let (chosen, words) = chosen("--url https://h.test/a.iso https://h.test/b.iso b").expect("a source");
        let Chosen::Remote(None, urls) = chosen else { panic!("{chosen:?}") };
        assert_eq!(urls.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.iso", "b.iso"]);
        assert_eq!(words, ["b"]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused_in_words() {
        for (line, words) in [
            ("", "nothing to serve"),
            ("ubuntu", "nothing to serve"),
            ("--dir x -r o/r", "--dir is a source of its own"),
            ("--dir x --url https://h.test/a.iso", "--dir is a source of its own"),
            ("-o o", "--owner needs --repo"),
            ("-r r", "write --repo OWNER/r"),
            ("-o a -r b/c", "contradict"),
            ("-t x", "--tag needs"),
            ("-o o -r ..", "repository"),
            ("--url x.iso", "is no URL"),
            ("--url https://h.test/a.iso https://h.test/b.tar", "must end in"),
            ("-r o/r --github-url nowhere", "root of GitHub's API"),
            ("-r o/r --github-url https://me:hush@ghe.test/api/v3", "root of GitHub's API"),
            ("--url https://me:hush@h.test/a.iso", "password"),
            ("--url https://me:hush@h.test:x/a.iso", "is no URL"),
        ] {
            let error = chosen(line).expect_err(line);
            assert!(!error.contains("hush"), "{error}");
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_usual_form() {
        for (text, bytes) in
            [("50GiB", 50 << 30), ("500MiB", 500 << 20), ("1000", 1000), ("2 GB", 2_000_000_000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "much", "-1GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
