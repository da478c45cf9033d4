//! What GitHub knows: repositories, their releases and issues, and the people. A test changes it or reads it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::clock::Clock;
use super::content::Content;
use super::limits::Limits;
use super::log::Request;
use super::token::{App, Installation, Token};
use super::trouble::Trouble;

/// All that GitHub knows.
#[derive(Debug)]
pub struct Model {
    /// The repositories.
    pub repositories: Vec<Repository>,
    /// The people.
    pub users: Vec<User>,
    /// What they sign in with.
    pub tokens: Vec<Token>,
    /// The GitHub Apps.
    pub apps: Vec<App>,
    /// Where they are installed.
    pub installations: Vec<Installation>,
    /// How many requests who may make.
    pub limits: Limits,
    /// The log of requests, in the order in which they arrived.
    pub requests: Vec<Request>,
    /// What was not as GitHub describes it.
    pub violations: Vec<String>,
    /// How long the address of an asset's bytes can be used.
    pub signature_life: SignedDuration,
    pub(super) signature_secret: u64,
    pub(super) troubles: Vec<Trouble>,
    pub(super) clock: Clock,
    next_id: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            repositories: Vec::new(),
            users: Vec::new(),
            tokens: Vec::new(),
            apps: Vec::new(),
            installations: Vec::new(),
            limits: Limits::default(),
            requests: Vec::new(),
            violations: Vec::new(),
            signature_life: SignedDuration::from_mins(5),
            signature_secret: 1,
            troubles: Vec::new(),
            clock: Clock::default(),
            next_id: 1_000,
        }
    }
}

/// A person or a program that has an account.
#[derive(Clone, Debug)]
pub struct User {
    /// What others call it.
    pub login: String,
    /// Its number.
    pub id: u64,
    /// Since when.
    pub created: Timestamp,
    /// Whether it is an App's account.
    pub is_bot: bool,
}

/// What somebody may do in a repository; each may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Read,
    /// Manages issues: labels, milestones, assignees.
    Triage,
    /// Pushes.
    Write,
    /// Manages the repository.
    Maintain,
    /// Everything.
    Admin,
}

/// A repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Whose.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u64,
    /// Whether only those see it who have a role in it.
    pub private: bool,
    /// Whether it has issues at all.
    pub has_issues: bool,
    /// Whether nothing can be changed in it.
    pub archived: bool,
    /// Who has which role, by login. The owner has them all.
    pub collaborators: BTreeMap<String, Role>,
    /// The releases.
    pub releases: Vec<Release>,
    /// The issues, oldest first; a pull request is one as well.
    pub issues: Vec<Issue>,
    /// The labels.
    pub labels: Vec<Label>,
    /// The milestones, oldest first.
    pub milestones: Vec<Milestone>,
    /// What it was called before, as `owner/name`.
    pub former_names: Vec<String>,
    /// Since when.
    pub created: Timestamp,
    pub(super) ids: u64,
    pub(super) now: Timestamp,
}

/// A release.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// The tag.
    pub tag: String,
    /// The headline.
    pub name: Option<String>,
    /// Whether only those see it who may push.
    pub draft: bool,
    /// Whether it is never the latest.
    pub prerelease: bool,
    /// Who made it.
    pub author: String,
    /// What hangs on it.
    pub assets: Vec<Asset>,
    /// Since when.
    pub created: Timestamp,
    ids: u64,
    now: Timestamp,
}

/// A file of a release.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its number; another if it is replaced.
    pub id: u64,
    /// Its file name.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub content: Content,
    /// How many GitHub says it has.
    pub size: u64,
    /// What GitHub says of its bytes, such as `sha256:…`; assets from before 2025 have none.
    pub digest: Option<String>,
    /// Whether all of it has arrived on GitHub.
    pub is_uploaded: bool,
    /// How often it was asked for.
    pub downloads: u64,
    /// Which version of the bytes its entity tag names.
    pub version: u64,
    /// Since when.
    pub created: Timestamp,
}

/// An issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number on all of GitHub.
    pub id: u64,
    /// Its number in the repository.
    pub number: u64,
    /// The headline.
    pub title: String,
    /// The text, with what is hidden in it.
    pub body: Option<String>,
    /// Whether it is closed.
    pub closed: Option<Timestamp>,
    /// What hangs on it.
    pub labels: Vec<String>,
    /// Who is to look at it.
    pub assignees: Vec<String>,
    /// The title of its milestone.
    pub milestone: Option<String>,
    /// Who filed it.
    pub author: String,
    /// The App that filed it, by its short name.
    pub app: Option<String>,
    /// What was said below it.
    pub comments: Vec<Comment>,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
    /// Since when.
    pub created: Timestamp,
    /// When it, or something below it, changed last.
    pub updated: Timestamp,
}

/// What was said below an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Who said it.
    pub author: String,
    /// The App that said it, by its short name.
    pub app: Option<String>,
    /// The text.
    pub body: String,
    /// Since when.
    pub created: Timestamp,
    /// When it changed last.
    pub updated: Timestamp,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its number.
    pub id: u64,
    /// Its name; capitals make no difference.
    pub name: String,
    /// Six hexadecimal digits.
    pub color: String,
}

/// A milestone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// Its number on all of GitHub.
    pub id: u64,
    /// Its number in the repository.
    pub number: u64,
    /// Its title: no two have the same.
    pub title: String,
    /// Whether it is closed.
    pub closed: Option<Timestamp>,
    /// Who made it.
    pub creator: String,
    /// Since when.
    pub created: Timestamp,
}

impl Model {
    /// What time it is on GitHub.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts GitHub's clock ahead of ours, or behind it.
    pub fn set_clock_ahead(&mut self, ahead: SignedDuration) {
        self.clock.ahead = ahead;
    }

    /// A number that nothing else has.
    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// That user; made if there is none.
    pub fn user(&mut self, login: &str) -> &mut User {
        let id = self.id();
        let created = self.now();
        let found = self.users.iter().position(|user| user.login.eq_ignore_ascii_case(login));
        let place = found.unwrap_or_else(|| {
            let is_bot = login.ends_with("[bot]");
            self.users.push(User { login: login.to_owned(), id, created, is_bot });
            self.users.len() - 1
        });
        &mut self.users[place]
    }

    /// That repository, as `owner/name`; made, public and with issues, if there is none. Its owner becomes a user.
    ///
    /// # Panics
    ///
    /// If it is no `owner/name`.
    pub fn repository(&mut self, full_name: &str) -> &mut Repository {
        let Some((owner, name)) = full_name.split_once('/') else {
            panic!("the fake GitHub has no repository {full_name:?}: say owner/name")
        };
        self.user(owner);
        let id = self.id();
        let now = self.now();
        // A repository gives numbers away itself, far from those of others.
        let ids = id * 1_000_000;
        let place = self.find(full_name).unwrap_or_else(|| {
            self.repositories.push(Repository {
                owner: owner.to_owned(),
                name: name.to_owned(),
                id,
                private: false,
                has_issues: true,
                archived: false,
                collaborators: BTreeMap::new(),
                releases: Vec::new(),
                issues: Vec::new(),
                labels: Vec::new(),
                milestones: Vec::new(),
                former_names: Vec::new(),
                created: now,
                ids,
                now,
            });
            self.repositories.len() - 1
        });
        let repository = &mut self.repositories[place];
        repository.now = now;
        repository
    }

    /// Gives a repository another name; the former one redirects from now on.
    ///
    /// # Panics
    ///
    /// If it is no `owner/name`.
    pub fn rename(&mut self, from: &str, to: &str) {
        let Some((owner, name)) = to.split_once('/') else {
            panic!("the fake GitHub has no repository {to:?}: say owner/name")
        };
        self.user(owner);
        let repository = self.repository(from);
        repository.former_names.push(from.to_owned());
        owner.clone_into(&mut repository.owner);
        name.clone_into(&mut repository.name);
    }

    /// Where that repository is in the list.
    pub(super) fn find(&self, full_name: &str) -> Option<usize> {
        self.repositories.iter().position(|repository| repository.full_name().eq_ignore_ascii_case(full_name))
    }

    /// The issues of a repository, closed ones and pull requests too.
    ///
    /// # Panics
    ///
    /// If there is no such repository.
    #[must_use]
    pub fn issues(&self, full_name: &str) -> &[Issue] {
        match self.find(full_name) {
            Some(place) => &self.repositories[place].issues,
            None => panic!("the fake GitHub has no repository {full_name}"),
        }
    }

    /// The token of that text.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn token(&mut self, text: &str) -> &mut Token {
        let found = self.tokens.iter().position(|token| token.text == text);
        match found {
            Some(place) => &mut self.tokens[place],
            // Not which: the log of a test is read by others.
            None => panic!("the fake GitHub has no such token"),
        }
    }

    /// From now on that text is a token.
    pub fn add_token(&mut self, text: &str, token: Token) {
        if let Some(user) = token.user() {
            self.user(&user);
        }
        self.tokens.retain(|other| other.text != text);
        self.tokens.push(Token { text: text.to_owned(), ..token });
    }

    /// From now on something goes wrong.
    pub fn trouble(&mut self, trouble: Trouble) {
        self.troubles.push(trouble);
    }

    /// Makes the addresses of assets' bytes that were given so far worthless.
    pub fn expire_signatures(&mut self) {
        self.signature_secret += 1;
    }
}

impl Repository {
    /// `owner/name`
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A number that nothing else has.
    pub(super) fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Gives somebody a role.
    pub fn collaborator(&mut self, login: &str, role: Role) -> &mut Self {
        self.collaborators.insert(login.to_owned(), role);
        self
    }

    /// The role that somebody was given; the owner's is everything.
    #[must_use]
    pub fn role(&self, login: &str) -> Option<Role> {
        if self.owner.eq_ignore_ascii_case(login) {
            return Some(Role::Admin);
        }
        let given = self.collaborators.iter().find(|(name, _)| name.eq_ignore_ascii_case(login));
        given.map(|(_, role)| *role)
    }

    /// The release of that tag; made if there is none.
    pub fn release(&mut self, tag: &str) -> &mut Release {
        let id = self.id();
        // Room for the assets' numbers.
        self.ids += 10_000;
        let (author, now) = (self.owner.clone(), self.now);
        let place = self.releases.iter().position(|release| release.tag == tag).unwrap_or_else(|| {
            self.releases.push(Release {
                id,
                tag: tag.to_owned(),
                name: Some(tag.to_owned()),
                draft: false,
                prerelease: false,
                author,
                assets: Vec::new(),
                created: now,
                ids: id,
                now,
            });
            self.releases.len() - 1
        });
        let release = &mut self.releases[place];
        release.now = now;
        release
    }

    /// The label of that name; made if there is none.
    pub fn label(&mut self, name: &str) -> &mut Label {
        let id = self.id();
        let found = self.labels.iter().position(|label| label.name.to_lowercase() == name.to_lowercase());
        let place = found.unwrap_or_else(|| {
            self.labels.push(Label { id, name: name.to_owned(), color: "ededed".to_owned() });
            self.labels.len() - 1
        });
        &mut self.labels[place]
    }

    /// The milestone of that title, open; made if there is none.
    pub fn milestone(&mut self, title: &str) -> &mut Milestone {
        let id = self.id();
        let (creator, created) = (self.owner.clone(), self.now);
        let number = self.milestones.len() as u64 + 1;
        let place = self.milestones.iter().position(|milestone| milestone.title == title);
        let place = place.unwrap_or_else(|| {
            let title = title.to_owned();
            self.milestones.push(Milestone { id, number, title, closed: None, creator, created });
            self.milestones.len() - 1
        });
        &mut self.milestones[place]
    }

    /// Files an issue, as its owner.
    pub fn issue(&mut self, title: &str, body: &str) -> &mut Issue {
        let id = self.id();
        let number = self.issues.last().map_or(1, |issue| issue.number + 1);
        self.issues.push(Issue {
            id,
            number,
            title: title.to_owned(),
            body: Some(body.to_owned()),
            closed: None,
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            author: self.owner.clone(),
            app: None,
            comments: Vec::new(),
            is_pull_request: false,
            created: self.now,
            updated: self.now,
        });
        let place = self.issues.len() - 1;
        &mut self.issues[place]
    }
}

impl Milestone {
    /// Closes it.
    pub fn close(&mut self) {
        self.closed = Some(self.created);
    }
}

impl Release {
    /// Hangs a file on the release, as uploading it does; one of the same name is replaced, under another number.
    ///
    /// # Panics
    ///
    /// If the content cannot be read.
    pub fn asset(&mut self, name: &str, content_type: &str, content: impl Into<Content>) -> &mut Asset {
        let content = content.into();
        let known = content.len().and_then(|size| content.sha256().map(|digest| (size, digest)));
        let (size, digest) = match known {
            Ok(known) => known,
            Err(error) => panic!("the fake GitHub has no content of {name}: {error}"),
        };
        self.assets.retain(|asset| asset.name != name);
        self.ids += 1;
        self.assets.push(Asset {
            id: self.ids,
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            content,
            size,
            digest: Some(format!("sha256:{digest}")),
            is_uploaded: true,
            downloads: 0,
            version: 0,
            created: self.now,
        });
        let place = self.assets.len() - 1;
        &mut self.assets[place]
    }

    /// Takes a file off the release.
    pub fn remove_asset(&mut self, name: &str) {
        self.assets.retain(|asset| asset.name != name);
    }
}

impl Asset {
    /// Makes it one from before GitHub kept digests.
    pub fn without_digest(&mut self) -> &mut Self {
        self.digest = None;
        self
    }
}
