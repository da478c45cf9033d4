//! A release on GitHub, images that are named by URL, or both: what they offer, now or when they were last reached.

use std::collections::BTreeMap;
use std::time::Duration;

use dispatch_core::asset::{self, Asset, Fate, is_wanted};
use dispatch_core::queue::Found;
use dispatch_core::{Terms, text};
use dispatch_github::{Answer, GitHub, Kind, Release, Slug, Web};
use jiff::Timestamp;
use url::Url;

use super::description::{Descriptions, MAX_DESCRIPTION};
use super::memory::{Memory, Remembered, RememberedFile, RememberedText};
use super::urls::FileUrl;

/// How much of a list of digests is read, in bytes.
const MAX_SUMS: usize = 4 << 20;

/// A release by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseName {
    /// Of this repository.
    pub repository: Slug,
    /// With this tag; `latest` is that tag if there is one, else the latest release.
    pub tag: String,
}

impl std::fmt::Display for ReleaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.repository, self.tag)
    }
}

/// Why a source offers nothing. Each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The release is not there, or not for us.
    #[error(
        "there is no release {tag} in {repository}, or this sign-in may not see it ({error}): look at --owner, --repo \
         and --tag, or sign in with --token or GITHUB_TOKEN"
    )]
    NoRelease {
        /// The repository.
        repository: Slug,
        /// The tag.
        tag: String,
        /// What GitHub says.
        error: dispatch_github::Error,
    },
    /// GitHub cannot be asked.
    #[error("the release {tag} of {repository} cannot be read: {error}")]
    Release {
        /// The repository.
        repository: Slug,
        /// The tag.
        tag: String,
        /// Why.
        error: dispatch_github::Error,
    },
    /// Nothing in it is for us.
    #[error(
        "{title} offers nothing to boot: none of {count} has a type such as application/vnd.dispatch+efi (dispatch \
         check tells of each)"
    )]
    Empty {
        /// Of what.
        title: String,
        /// How many there are, in words.
        count: String,
    },
    /// The filters leave nothing.
    #[error(
        "none of the {count} of {title} has {filters} in its name: there is nothing to boot; give other filters"
    )]
    FilteredOut {
        /// Of what.
        title: String,
        /// How many there are, in words.
        count: String,
        /// The filters, in words.
        filters: String,
    },
    /// A description has a mistake.
    #[error("{file} of {title}: {what}")]
    Description {
        /// The asset.
        file: String,
        /// Of this.
        title: String,
        /// The mistake, with its line.
        what: String,
    },
    /// A description is being replaced.
    #[error("{file} of {title} describes its images, and its upload is not complete: wait until it is")]
    NotWhole {
        /// The asset.
        file: String,
        /// Of this.
        title: String,
    },
    /// A description has gone, perhaps to be replaced.
    #[error("{file} of {title} described its images, and is gone: what it says holds until the next look")]
    Gone {
        /// The asset.
        file: String,
        /// Of this.
        title: String,
    },
    /// A description cannot be read.
    #[error("{file} of {title} cannot be read: {error}")]
    Unread {
        /// The asset.
        file: String,
        /// Of this.
        title: String,
        /// Why.
        error: dispatch_github::Error,
    },
    /// A file cannot be had.
    #[error("{url} cannot be read: {error}")]
    File {
        /// Which.
        url: String,
        /// Why.
        error: dispatch_github::Error,
    },
    /// A file's server does not say how large it is.
    #[error("the server of {0} does not tell how large it is: firmware must know; put it on another server")]
    Size(String),
    /// A file has no digest.
    #[error(
        "{url} has no digest ({why}): put a SHA256SUMS beside it, or write its digest behind it, {url}#sha256=…"
    )]
    Digest {
        /// Which.
        url: String,
        /// Why.
        why: String,
    },
    /// Two images of one name.
    #[error("two images are called {0}: hosts and reports could not tell them apart; leave one out")]
    Twice(String),
    /// GitHub answers what it was not asked.
    #[error("GitHub says that {0} has not changed, though it was never read: try again")]
    Odd(String),
    /// There is no earlier knowledge of it.
    #[error(
        "--offline: {title} was never read with this cache: start once without --offline, or give its --cache"
    )]
    NeverRead {
        /// Of what.
        title: String,
    },
}

impl RemoteError {
    /// Until when GitHub wants not to be asked again.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::NoRelease { error, .. }
            | Self::Release { error, .. }
            | Self::Unread { error, .. }
            | Self::File { error, .. } => error.retry_at(),
            _ => None,
        }
    }
}

/// What a source offers.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The images, in name order.
    pub found: Vec<Found>,
    /// What became of each asset of the release.
    pub fates: Vec<(Asset, Fate)>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
    /// When it was so.
    pub at: Timestamp,
    /// How many images there are before the filters.
    pub images: usize,
}

/// What is made of a description that names what is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strictness {
    /// It is a mistake.
    Start,
    /// Its image may have been removed, or is being replaced.
    GoingOn,
}

/// A description that was there before, and is not.
fn gone(before: &Remembered, now: &Remembered) -> Option<String> {
    let is_there = |text: &&RememberedText| now.descriptions.iter().any(|known| known.name == text.name);
    before.descriptions.iter().find(|text| !is_there(text)).map(|text| text.name.clone())
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    web: Web,
    /// Needed for a release.
    github: Option<GitHub>,
    release: Option<ReleaseName>,
    files: Vec<FileUrl>,
    filters: Vec<String>,
    memory: Memory,
}

impl Remote {
    /// The source of these names. `github` is needed for a release.
    #[must_use]
    pub fn new(
        web: Web,
        github: Option<GitHub>,
        release: Option<ReleaseName>,
        files: Vec<FileUrl>,
        filters: Vec<String>,
        memory: Memory,
    ) -> Self {
        Self { web, github, release, files, filters, memory }
    }

    /// What it is called: `AMDEPYC/sev-certify devel`, or the first URL.
    #[must_use]
    pub fn title(&self) -> String {
        title(self.release.as_ref(), &self.files)
    }

    /// What it offered when it was last reached.
    pub fn remembered(&self) -> Result<Looked, RemoteError> {
        let never = || RemoteError::NeverRead { title: self.title() };
        let known = self.memory.recall().ok_or_else(never)?;
        if known.release.is_none() && self.release.is_some() {
            return Err(never());
        }
        self.understood(&known, Strictness::GoingOn)
    }

    /// What it offers now, and what a person should know who starts with it. A mistake in a description is an error.
    pub async fn look_at_start(&self, now: Timestamp) -> Result<(Looked, Vec<String>), RemoteError> {
        let before = self.memory.recall().unwrap_or_default();
        let known = self.read(&before, now).await?;
        let gone = gone(&before, &known).map(|name| {
            format!(
                "{name}, which described the images of {}, is gone: nothing of it holds any more",
                self.title()
            )
        });
        let looked = self.understood(&known, Strictness::Start)?;
        self.remember(&known);
        Ok((looked, gone.into_iter().collect()))
    }

    /// What it offers now, for a session that goes on: what a description says of an image that is not there is a
    /// warning. One that was there before and is not is an error, unless `believes_gone`: it may be on its way to be
    /// replaced, and what it asks of hosts must hold until then.
    pub async fn look_again(&self, now: Timestamp, believes_gone: bool) -> Result<Looked, RemoteError> {
        let before = self.memory.recall().unwrap_or_default();
        let known = self.read(&before, now).await?;
        if let Some(file) = gone(&before, &known).filter(|_| !believes_gone) {
            return Err(RemoteError::Gone { file, title: self.title() });
        }
        let looked = self.understood(&known, Strictness::GoingOn)?;
        self.remember(&known);
        Ok(looked)
    }

    /// Only what can be understood is worth remembering.
    fn remember(&self, known: &Remembered) {
        if let Err(error) = self.memory.remember(known) {
            tracing::warn!("what is known of {} cannot be kept for --offline: {error}", self.title());
        }
    }

    /// Asks for it. What has not changed since the last time costs nothing.
    async fn read(&self, before: &Remembered, now: Timestamp) -> Result<Remembered, RemoteError> {
        let mut known = Remembered { at: now, ..Remembered::default() };
        if let (Some(name), Some(github)) = (&self.release, &self.github) {
            let (release, etag) = read_release(github, name, before).await?;
            known.descriptions = self.read_descriptions(github, &release, before).await?;
            (known.release, known.etag) = (Some(release), etag);
        }
        known.files = self.read_files().await?;
        Ok(known)
    }

    async fn read_descriptions(
        &self,
        github: &GitHub,
        release: &Release,
        before: &Remembered,
    ) -> Result<Vec<RememberedText>, RemoteError> {
        let assets: Vec<Asset> = release.assets.iter().map(facts).collect();
        let mut read = Vec::new();
        for (asset, fate) in asset::sorted(&assets, &[]) {
            if fate != Fate::Description {
                continue;
            }
            if !asset.is_whole {
                return Err(RemoteError::NotWhole { file: asset.name, title: self.title() });
            }
            let is_known = |text: &&RememberedText| text.name == asset.name && text.updated == asset.updated;
            if let Some(known) = before.descriptions.iter().find(is_known) {
                read.push(known.clone());
                continue;
            }
            let text = self.read_description(github, &asset).await?;
            read.push(RememberedText { name: asset.name, updated: asset.updated, text });
        }
        Ok(read)
    }

    async fn read_description(&self, github: &GitHub, asset: &Asset) -> Result<String, RemoteError> {
        let failed = |error| RemoteError::Unread { file: asset.name.clone(), title: self.title(), error };
        let mistake = |what: &str| RemoteError::Description {
            file: asset.name.clone(),
            title: self.title(),
            what: what.to_owned(),
        };
        if asset.size > MAX_DESCRIPTION as u64 {
            return Err(mistake("it is larger than 1 MiB, which no description is"));
        }
        let url = Url::parse(&asset.url).map_err(|_| mistake("its address is no URL"))?;
        let mut download = github.asset(&url, 0, None).await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(part) = download.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&part);
            if bytes.len() > MAX_DESCRIPTION {
                return Err(mistake("it is larger than 1 MiB, which no description is"));
            }
        }
        String::from_utf8(bytes).map_err(|_| mistake("it is not UTF-8"))
    }

    async fn read_files(&self) -> Result<Vec<RememberedFile>, RemoteError> {
        let mut sums: BTreeMap<Url, Option<String>> = BTreeMap::new();
        let mut files = Vec::new();
        for file in &self.files {
            let shown = shown(&file.url);
            let failed = |error| RemoteError::File { url: shown.clone(), error };
            let head = self.web.size(&file.url).await.map_err(failed)?;
            let size = head.size.filter(|size| *size > 0);
            let size = size.ok_or_else(|| RemoteError::Size(shown.clone()))?;
            let no_digest = |why: String| RemoteError::Digest { url: shown.clone(), why };
            let digest = match (file.digest, file.sums()) {
                (Some(digest), _) => digest,
                (None, None) => return Err(no_digest("it has no place beside it".to_owned())),
                (None, Some(url)) => {
                    if !sums.contains_key(&url) {
                        let failed = |error| RemoteError::File { url: self::shown(&url), error };
                        let text = self.web.text(&url, MAX_SUMS).await.map_err(failed)?;
                        sums.insert(url.clone(), text);
                    }
                    let text = sums.get(&url).and_then(Option::as_deref);
                    let text =
                        text.ok_or_else(|| no_digest("there is no SHA256SUMS beside it".to_owned()))?;
                    asset::digest_in(text, &file.name)
                        .map_err(|error| no_digest(format!("of the SHA256SUMS beside it: {error}")))?
                }
            };
            let modified = head.modified.unwrap_or(Timestamp::UNIX_EPOCH);
            files.push(RememberedFile { url: file.url.to_string(), size, modified, digest });
        }
        Ok(files)
    }

    /// What follows from what is known: the images, their descriptions, and what a person should know.
    fn understood(&self, known: &Remembered, strictness: Strictness) -> Result<Looked, RemoteError> {
        let assets: Vec<Asset> =
            known.release.iter().flat_map(|release| &release.assets).map(facts).collect();
        let taken = |(_, fate): (Asset, Fate)| match fate {
            Fate::Taken(found) => Some(*found),
            Fate::Description | Fate::Ignored(_) => None,
        };
        let mut all: Vec<Found> = asset::sorted(&assets, &[]).into_iter().filter_map(taken).collect();
        let of_url = |file: &FileUrl| {
            known.files.iter().find(|known| known.url == file.url.as_str()).map(|known| found(file, known))
        };
        all.extend(self.files.iter().filter_map(of_url));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        let mut warnings = self.describe(known, &assets, &mut all, strictness)?;
        let images = all.len();
        let (all, left): (Vec<Found>, Vec<Found>) =
            all.into_iter().partition(|file| is_wanted(&file.name, &self.filters));
        if let Some(pair) = all.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(RemoteError::Twice(pair[0].name.clone()));
        }
        let is_of_url = |file: &&Found| self.files.iter().any(|url| url.name == file.name);
        warnings.extend(
            left.iter()
                .filter(is_of_url)
                .map(|file| format!("{} is left out: none of the filters is in its name", file.name)),
        );
        warnings.extend(asset::warnings(&all));
        warnings.extend(odd_digests(&assets));
        let fates = asset::sorted(&assets, &self.filters);
        warnings.extend(asset::left_out(&fates, &self.filters));
        Ok(Looked { found: all, fates, warnings, at: known.at, images })
    }

    /// Applies the descriptions. Returns what a person should know.
    fn describe(
        &self,
        known: &Remembered,
        assets: &[Asset],
        all: &mut [Found],
        strictness: Strictness,
    ) -> Result<Vec<String>, RemoteError> {
        let mut descriptions = Descriptions::default();
        let mut warnings = Vec::new();
        for RememberedText { name, text, .. } in &known.descriptions {
            let mistake = |what| RemoteError::Description { file: name.clone(), title: self.title(), what };
            for unknown in descriptions.apply(text, all).map_err(mistake)? {
                let has_asset = assets.iter().any(|asset| asset.name == unknown.name && !asset.is_whole);
                let why =
                    if has_asset { "its upload is not complete" } else { "there is no such image beside it" };
                let what = format!("line {}: field `name`: `{}`: {why}", unknown.line, unknown.name);
                match strictness {
                    Strictness::Start => return Err(mistake(what)),
                    Strictness::GoingOn => warnings.push(mistake(what).to_string()),
                }
            }
        }
        Ok(warnings)
    }

    /// Why there is nothing to boot, if there is nothing: a session does not start with an empty queue.
    #[must_use]
    pub fn nothing(&self, looked: &Looked) -> Option<RemoteError> {
        let title = self.title();
        match (looked.found.len(), looked.images) {
            (1.., _) => None,
            (0, 0) => {
                let count = text::count(looked.fates.len() as u64, "asset");
                Some(RemoteError::Empty { title, count })
            }
            (0, images) => {
                let filters: Vec<String> = self.filters.iter().map(|filter| format!("`{filter}`")).collect();
                let count = text::count(images as u64, "image");
                Some(RemoteError::FilteredOut { title, count, filters: filters.join(" or ") })
            }
        }
    }
}

/// What a source is called.
#[must_use]
pub fn title(release: Option<&ReleaseName>, files: &[FileUrl]) -> String {
    match (release, files) {
        (Some(release), _) => release.to_string(),
        (None, [file]) => shown(&file.url),
        (None, [file, ..]) => format!("{} and {} more", shown(&file.url), files.len() - 1),
        (None, []) => "nothing".to_owned(),
    }
}

/// A URL for people: what is behind `?` may be a secret.
#[must_use]
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

async fn read_release(
    github: &GitHub,
    name: &ReleaseName,
    before: &Remembered,
) -> Result<(Release, Option<String>), RemoteError> {
    let ReleaseName { repository, tag } = name;
    let etag = before.etag.as_deref().filter(|_| before.release.is_some());
    let answer = github.release(repository, tag, etag).await.map_err(|error| {
        let (repository, tag) = (repository.clone(), tag.clone());
        match error.kind() {
            Kind::NotFound => RemoteError::NoRelease { repository, tag, error },
            _ => RemoteError::Release { repository, tag, error },
        }
    })?;
    Ok(match (answer, &before.release) {
        (Answer::New { value, etag }, _) => (value, etag),
        (Answer::NotModified, Some(known)) => (known.clone(), before.etag.clone()),
        // It was not asked that way.
        (Answer::NotModified, None) => return Err(RemoteError::Odd(name.to_string())),
    })
}

fn facts(asset: &dispatch_github::Asset) -> Asset {
    Asset {
        name: asset.name.clone(),
        content_type: asset.content_type.clone(),
        size: asset.size,
        digest: asset.digest.clone(),
        url: asset.url.to_string(),
        updated: asset.updated_at,
        is_whole: asset.state == "uploaded",
    }
}

fn found(file: &FileUrl, known: &RememberedFile) -> Found {
    Found {
        name: file.name.clone(),
        kind: file.kind,
        size: known.size,
        modified: known.modified,
        digest: Some(known.digest),
        origin: Some(known.url.clone()),
        terms: Terms::default(),
    }
}

/// Digests of a kind that this version does not know.
fn odd_digests(assets: &[Asset]) -> Vec<String> {
    let is_odd = |asset: &&Asset| {
        let digest = asset.digest.as_deref().unwrap_or_default();
        !digest.is_empty() && digest.parse::<dispatch_core::Digest>().is_err()
    };
    let odd = assets.iter().filter(is_odd);
    odd.map(|asset| format!("the digest of {} is not understood, and is not checked", asset.name)).collect()
}

/// How long ago something was known, for people.
#[must_use]
pub fn age(at: Timestamp, now: Timestamp) -> String {
    text::duration(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}
