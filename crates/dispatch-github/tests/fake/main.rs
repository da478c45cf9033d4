//! Every method against the fake GitHub, which holds each request against GitHub's own description of its API.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod apps;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use dispatch_github::{
    Answer, Download, GitHub, Issue, Kind, NewIssue, Now, Origin, Release, SignIn, Slug, TimeLimits, Wants,
    Web, Weight, missing, sign_in,
};
use dispatch_testkit::github::{Content, FakeGithub, Fault, Host, Level, Role, Token, Trouble};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use url::Url;

/// The token of `will`, who may push.
const WILL: &str = "ghp_WillsOwnSecretWillsOwnSecretWillsOwn";

/// The token of `alice`, who may read.
const ALICE: &str = "ghp_AlicesSecretAlicesSecretAlicesSecret";

fn real() -> Now {
    #[expect(clippy::disallowed_methods, reason = "the fake lives in real time")]
    Arc::new(Timestamp::now)
}

fn web() -> Web {
    Web::new(&[], real()).expect("the web")
}

fn repo() -> Slug {
    "o/r".parse().expect("a repository")
}

fn api(fake: &FakeGithub) -> Url {
    Url::parse(&fake.api()).expect("a URL")
}

fn image() -> Content {
    Content::pattern(5000, 1)
}

/// One with the repository `o/r`, its release `v1` with an image of 5000 bytes, and the tokens of `will` and `alice`.
fn fake() -> FakeGithub {
    let fake = FakeGithub::start().expect("a GitHub");
    fake.change(|model| {
        let repository = model.repository("o/r");
        repository.collaborator("will", Role::Write).collaborator("alice", Role::Read);
        repository.release("v1").asset("a.efi", "application/vnd.dispatch+efi", image());
        model.add_token(WILL, Token::classic("will", &["repo"]));
        model.add_token(ALICE, Token::classic("alice", &["public_repo"]));
    });
    fake
}

fn with(fake: &FakeGithub, token: &str) -> GitHub {
    let token = SignIn::Token { token: SecretString::from(token), from: Origin::Flag };
    GitHub::new(web(), api(fake), token).expect("a client")
}

fn will(fake: &FakeGithub) -> GitHub {
    with(fake, WILL)
}

fn nobody(fake: &FakeGithub) -> GitHub {
    GitHub::new(web(), api(fake), SignIn::Nobody).expect("a client")
}

async fn release(github: &GitHub, tag: &str) -> Release {
    match github.release(&repo(), tag, None).await.expect("a release") {
        Answer::New { value, .. } => value,
        Answer::NotModified => panic!("nothing was known"),
    }
}

fn issue(title: &str) -> NewIssue {
    NewIssue { title: title.to_owned(), body: "text".to_owned(), ..NewIssue::default() }
}

fn titles(issues: &[Issue]) -> Vec<&str> {
    issues.iter().map(|issue| issue.title.as_str()).collect()
}

/// How many bytes come, which must be those of the image from where the download says that it begins.
async fn whole(mut download: Download) -> usize {
    let start = usize::try_from(download.start).expect("a small file");
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await.expect("more, or the end") {
        bytes.extend_from_slice(&chunk);
    }
    assert!(bytes == image().bytes().expect("the image")[start..], "other bytes");
    bytes.len()
}

#[tokio::test]
async fn a_release_is_read_with_its_assets_and_costs_nothing_while_it_is_the_same() {
    let fake = fake();
    fake.change(|model| {
        let release = model.repository("o/r").release("v1");
        release.asset("b.efi", "application/vnd.dispatch+efi", "b").is_uploaded = false;
        release.asset("old.efi", "application/vnd.dispatch+efi", "c").without_digest();
    });
    let github = will(&fake);
    let answer = github.release(&repo(), "v1", None).await.expect("a release");
    let Answer::New { value, etag } = answer else { panic!("nothing was known") };
    assert_eq!((value.tag_name.as_str(), value.assets.len()), ("v1", 3));
    let image = &value.assets[0];
    assert_eq!((image.name.as_str(), image.size, image.state.as_str()), ("a.efi", 5000, "uploaded"));
    assert_eq!(image.digest.as_ref().expect("a digest").len(), "sha256:".len() + 64);
    assert_ne!(value.assets[1].state, "uploaded");
    assert_eq!(value.assets[2].digest, None);
    let kept = serde_json::to_string(&value).expect("kept");
    assert_eq!(serde_json::from_str::<Release>(&kept).expect("read back"), value);

    let used = fake.read(|model| model.limits.used("will"));
    let again = github.release(&repo(), "v1", etag.as_deref()).await.expect("a release");
    assert_eq!(again, Answer::NotModified);
    assert_eq!(fake.read(|model| model.limits.used("will")), used);

    fake.change(|model| model.repository("o/r").release("v1").remove_asset("b.efi"));
    let changed = github.release(&repo(), "v1", etag.as_deref()).await.expect("a release");
    let Answer::New { value, .. } = changed else { panic!("it has changed") };
    assert_eq!(value.assets.len(), 2);
}

#[tokio::test]
async fn latest_is_a_tag_before_it_is_the_latest_release() {
    let fake = fake();
    let github = will(&fake);
    assert_eq!(release(&github, "latest").await.tag_name, "v1");
    fake.change(|model| model.repository("o/r").release("latest").prerelease = true);
    assert_eq!(release(&github, "latest").await.tag_name, "latest");
    let error = github.release(&repo(), "v9", None).await.expect_err("there is none");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("the release `v9` of o/r"), "{error}");
}

#[tokio::test]
async fn all_assets_of_a_large_release_are_read() {
    let fake = fake();
    fake.change(|model| {
        let release = model.repository("o/r").release("v1");
        for number in 0..150 {
            release.asset(&format!("{number}.efi"), "application/vnd.dispatch+efi", "x");
        }
    });
    assert_eq!(release(&will(&fake), "v1").await.assets.len(), 151);
}

#[tokio::test]
async fn a_private_repository_is_there_only_for_those_who_may_read_it() {
    let fake = fake();
    fake.change(|model| model.repository("o/r").private = true);
    let error = nobody(&fake).release(&repo(), "v1", None).await.expect_err("hidden");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("sign in"), "{error}");
    let github = will(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
    let requests = fake.requests();
    let bytes = requests.iter().find(|request| request.host == Host::Objects).expect("asked for bytes");
    assert!(!bytes.has_authorization);
}

#[tokio::test]
async fn public_assets_can_be_had_by_nobody() {
    let fake = fake();
    let github = nobody(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
    assert_eq!(github.whoami().await.expect("nobody"), None);
}

#[tokio::test]
async fn the_api_of_an_enterprise_server_has_a_path() {
    let fake = fake();
    let token = SignIn::Token { token: SecretString::from(WILL), from: Origin::Flag };
    let root = Url::parse(&fake.api_enterprise()).expect("a URL");
    let github = GitHub::new(web(), root, token).expect("a client");
    let image = release(&github, "v1").await.assets.remove(0);
    assert!(image.url.path().starts_with("/api/v3/"), "{}", image.url);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
}

#[tokio::test]
async fn a_download_that_broke_goes_on_and_begins_anew_if_the_file_is_another() {
    let fake = fake();
    let github = will(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    fake.fault(Fault::DropBody(1000));
    let broken = github.asset(&image.url, 0, None).await.expect("begun");
    let etag = broken.etag.clone();
    assert_eq!(failure(broken).await, Kind::Interrupted);

    let rest = github.asset(&image.url, 1000, etag.as_deref()).await.expect("begun");
    assert_eq!((rest.start, rest.size), (1000, Some(5000)));
    assert_eq!(whole(rest).await, 4000);

    fake.fault(Fault::IgnoreRange);
    let ignored = github.asset(&image.url, 1000, etag.as_deref()).await.expect("begun");
    assert_eq!((ignored.start, whole(ignored).await), (0, 5000));

    fake.fault(Fault::NewEtag);
    let another = github.asset(&image.url, 1000, etag.as_deref()).await.expect("begun");
    assert_eq!((another.start, whole(another).await), (0, 5000));

    let nothing = github.asset(&image.url, 5000, None).await.expect("begun");
    assert_eq!((nothing.start, whole(nothing).await), (5000, 0));
}

/// The failure that a download ends with. Its bytes need not be text.
async fn failure(mut download: Download) -> Kind {
    loop {
        match download.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it came whole"),
            Err(error) => return error.kind(),
        }
    }
}

#[tokio::test]
async fn a_download_that_stalls_ends() {
    let fake = fake();
    let limits = TimeLimits { stall: Duration::from_millis(200), ..TimeLimits::default() };
    let web = Web::with_limits(&[], real(), limits).expect("the web");
    let github = GitHub::new(web, api(&fake), SignIn::Nobody).expect("a client");
    let image = release(&github, "v1").await.assets.remove(0);
    fake.fault(Fault::StallBody(1000));
    assert_eq!(failure(github.asset(&image.url, 0, None).await.expect("begun")).await, Kind::Interrupted);
}

#[tokio::test]
async fn the_token_goes_to_no_other_host() {
    let fake = fake();
    let github = will(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    fake.fault(Fault::Elsewhere);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
    fake.fault(Fault::Elsewhere);
    github.create_issue(&repo(), &issue("t")).await.expect_err("sent elsewhere");
    let requests = fake.requests();
    let brought: Vec<bool> = requests
        .iter()
        .filter(|request| request.host == Host::Elsewhere)
        .map(|request| request.has_authorization)
        .collect();
    assert_eq!(brought, [false], "the asset's bytes, and no issue");
}

#[tokio::test]
async fn the_rights_in_a_repository_are_told() {
    let fake = fake();
    let wants = Wants { issues: true };
    let github = will(&fake);
    assert_eq!(github.whoami().await.expect("known").as_deref(), Some("will"));
    let found = github.repository(&repo()).await.expect("a repository");
    assert_eq!(found.full_name, repo());
    assert_eq!(found.scopes.as_deref(), Some(&["repo".to_owned()][..]));
    let permissions = found.permissions.expect("permissions");
    assert!(permissions.push && permissions.pull && !permissions.admin);
    assert!(missing(&found, github.token_kind(), wants).is_empty());

    let github = with(&fake, ALICE);
    let found = github.repository(&repo()).await.expect("a repository");
    let lacks = missing(&found, github.token_kind(), wants);
    assert_eq!(lacks.iter().map(|missing| missing.weight).collect::<Vec<_>>(), [Weight::Extras]);

    let github = nobody(&fake);
    let found = github.repository(&repo()).await.expect("a repository");
    assert_eq!((found.scopes, found.permissions), (None, None));
}

#[tokio::test]
async fn a_missing_permission_is_named_when_it_shows() {
    let fake = fake();
    fake.change(|model| {
        model.add_token("ghp_reader", Token::classic("will", &["gist"]));
        model.add_token(
            "github_pat_reader",
            Token::fine_grained("will", &["o/r"], &[("contents", Level::Read)]),
        );
    });
    let classic = with(&fake, "ghp_reader").create_issue(&repo(), &issue("t")).await.expect_err("refused");
    assert_eq!(classic.kind(), Kind::NotFound);
    assert!(classic.to_string().contains("repo, and the token has gist"), "{classic}");
    let fine =
        with(&fake, "github_pat_reader").create_issue(&repo(), &issue("t")).await.expect_err("refused");
    assert_eq!(fine.kind(), Kind::Forbidden);
    assert!(fine.to_string().contains("issues=write"), "{fine}");
    let nobody = nobody(&fake).create_issue(&repo(), &issue("t")).await.expect_err("refused");
    assert!(nobody.is_bad_credentials());
    assert!(nobody.to_string().contains("signed in"), "{nobody}");
    assert!(fake.issues("o/r").is_empty());
}

#[tokio::test]
async fn a_repository_that_takes_no_issues_says_why() {
    let fake = fake();
    fake.change(|model| model.repository("o/r").has_issues = false);
    let off = will(&fake).create_issue(&repo(), &issue("t")).await.expect_err("turned off");
    assert_eq!(off.kind(), Kind::Gone);
    fake.change(|model| {
        model.repository("o/r").has_issues = true;
        model.repository("o/r").archived = true;
    });
    let archived = will(&fake).create_issue(&repo(), &issue("t")).await.expect_err("archived");
    assert_eq!(archived.kind(), Kind::Forbidden);
    assert!(archived.retry_at().is_none());
}

#[tokio::test]
async fn a_milestone_is_found_on_any_page_also_closed() {
    let fake = fake();
    fake.change(|model| {
        let repository = model.repository("o/r");
        for number in 1..=150 {
            repository.milestone(&format!("m{number}"));
        }
        let now = repository.created;
        repository.milestone("Certified").closed = Some(now);
    });
    let github = will(&fake);
    assert_eq!(github.milestone(&repo(), "m150").await.expect("listed"), Some(150));
    assert_eq!(github.milestone(&repo(), "Certified").await.expect("listed"), Some(151));
    assert_eq!(github.milestone(&repo(), "certified").await.expect("listed"), Some(151));
    assert_eq!(github.milestone(&repo(), "none").await.expect("listed"), None);
}

#[tokio::test]
async fn an_issue_is_filed_changed_commented_and_found_again() {
    let fake = fake();
    fake.change(|model| model.repository("o/r").milestone("v1").number);
    let github = will(&fake);
    let since = github.github_time();
    let wanted = NewIssue {
        labels: vec!["os:ubuntu".to_owned()],
        assignees: vec!["will".to_owned()],
        milestone: Some(1),
        ..issue("one")
    };
    let filed = github.create_issue(&repo(), &wanted).await.expect("filed");
    assert_eq!((filed.number, filed.user.as_deref()), (1, Some("will")));
    assert_eq!((&filed.labels, &filed.assignees), (&wanted.labels, &wanted.assignees));
    assert_eq!(filed.milestone.as_deref(), Some("v1"));
    let changed = github.edit_body(&repo(), 1, "other").await.expect("changed");
    assert_eq!((changed.body.as_str(), &changed.labels), ("other", &wanted.labels));
    let comment = github.comment(&repo(), 1, "more").await.expect("written");
    assert_eq!((comment.body.as_str(), comment.user.as_deref()), ("more", Some("will")));
    assert_eq!(github.issues_since(&repo(), since).await.expect("listed"), [changed]);
    assert_eq!(github.comments_since(&repo(), 1, since).await.expect("listed"), [comment]);
}

#[tokio::test]
async fn issues_are_listed_over_pages_closed_ones_too_and_without_pull_requests() {
    let fake = fake();
    let since = fake.change(|model| {
        let now = model.now();
        let repository = model.repository("o/r");
        for number in 1..=230 {
            let issue = repository.issue(&format!("i{number}"), "");
            issue.closed = (number % 2 == 0).then_some(now);
            issue.is_pull_request = number % 10 == 0;
        }
        let old = repository.issue("old", "");
        let before = now.saturating_sub(SignedDuration::from_hours(1)).expect("a time");
        (old.created, old.updated) = (before, before);
        now
    });
    let issues = will(&fake).issues_since(&repo(), since).await.expect("listed");
    let expected: Vec<String> =
        (1..=230).filter(|number| number % 10 != 0).map(|number| format!("i{number}")).collect();
    assert_eq!(titles(&issues), expected);
}

#[tokio::test]
async fn comments_are_listed_over_pages() {
    let fake = fake();
    fake.change(|model| model.repository("o/r").issue("one", "").number);
    let github = will(&fake);
    let since = github.github_time();
    for number in 0..101 {
        github.comment(&repo(), 1, &number.to_string()).await.expect("written");
    }
    let comments = github.comments_since(&repo(), 1, since).await.expect("listed");
    assert!(
        comments.iter().map(|comment| comment.body.clone()).eq((0..101).map(|number| number.to_string()))
    );
}

#[tokio::test]
async fn who_may_be_assigned_is_told() {
    let fake = fake();
    let github = will(&fake);
    assert!(github.may_be_assigned(&repo(), "will").await.expect("told"));
    assert!(!github.may_be_assigned(&repo(), "mallory").await.expect("told"));
}
