//! Signing in: as an App, and with the first token that works.

use super::*;

const KEY: &str = include_str!("../../src/testdata/app.pkcs8.pem");
const PUBLIC: &str = include_str!("../../src/testdata/app.public.pem");

fn app() -> SignIn {
    SignIn::App { id: 7, key: SecretString::from(KEY) }
}

fn with_app(given: &[(&str, Level)]) -> FakeGithub {
    let fake = fake();
    fake.change(|model| {
        model.repository("o/r").private = true;
        model.app(7, "dispatcher", "o", PUBLIC);
        model.install(7, "o", &["o/r"], given);
    });
    fake
}

#[tokio::test]
async fn an_app_reads_and_files_as_its_bot() {
    let fake = with_app(&[("contents", Level::Read), ("issues", Level::Write)]);
    let (github, who, _) = sign_in(web(), api(&fake), vec![app()], &repo()).await.expect("signed in");
    assert_eq!(who.as_deref(), Some("dispatcher[bot]"));
    let image = release(&github, "v1").await.assets.remove(0);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
    let found = github.repository(&repo()).await.expect("a repository");
    assert!(missing(&found, github.token_kind(), Wants { issues: true }).is_empty());
    let filed = github.create_issue(&repo(), &issue("t")).await.expect("filed");
    assert_eq!(filed.user.as_deref(), Some("dispatcher[bot]"));
    let tokens = fake.requests().iter().filter(|request| request.path.ends_with("/access_tokens")).count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn an_app_that_may_not_file_issues_is_told_so_beforehand() {
    let fake = with_app(&[("contents", Level::Read)]);
    let (github, ..) = sign_in(web(), api(&fake), vec![app()], &repo()).await.expect("signed in");
    let found = github.repository(&repo()).await.expect("a repository");
    let lacks = missing(&found, github.token_kind(), Wants { issues: true });
    assert_eq!(lacks.first().map(|missing| missing.weight), Some(Weight::Issues));
}

#[tokio::test]
async fn an_app_whose_clock_is_wrong_signs_by_githubs() {
    for ahead in [SignedDuration::from_hours(2), SignedDuration::from_hours(-2)] {
        let fake = with_app(&[("issues", Level::Write)]);
        fake.change(|model| model.set_clock_ahead(ahead));
        let github = GitHub::new(web(), api(&fake), app()).expect("a client");
        github.create_issue(&repo(), &issue("t")).await.expect("filed");
        assert_eq!(fake.issues("o/r").len(), 1);
    }
}

#[tokio::test]
async fn an_installations_token_that_is_refused_is_renewed_and_the_issue_filed_once() {
    let fake = with_app(&[("issues", Level::Write)]);
    let github = GitHub::new(web(), api(&fake), app()).expect("a client");
    github.may_be_assigned(&repo(), "will").await.expect("told");
    fake.trouble(Trouble::new(Fault::Unauthorized).method("POST").path("/repos/o/r/issues"));
    github.create_issue(&repo(), &issue("t")).await.expect("filed");
    assert_eq!(fake.issues("o/r").len(), 1);
}

#[tokio::test]
async fn a_token_of_an_hour_ago_is_renewed_before_it_is_used() {
    let fake = with_app(&[("issues", Level::Write)]);
    let github = GitHub::new(web(), api(&fake), app()).expect("a client");
    github.may_be_assigned(&repo(), "will").await.expect("told");
    fake.change(|model| model.set_clock_ahead(SignedDuration::from_mins(56)));
    // The first answer tells the time.
    github.may_be_assigned(&repo(), "will").await.expect("told");
    github.may_be_assigned(&repo(), "will").await.expect("told");
    let tokens = fake.requests().iter().filter(|request| request.path.ends_with("/access_tokens")).count();
    assert_eq!(tokens, 2);
}

#[tokio::test]
async fn an_app_that_is_not_installed_says_so() {
    let fake = fake();
    fake.change(|model| model.app(7, "dispatcher", "o", PUBLIC));
    let error = sign_in(web(), api(&fake), vec![app()], &repo()).await.expect_err("not installed");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("not installed"), "{error}");
}

#[tokio::test]
async fn an_app_reads_a_public_release_where_it_is_not_installed_and_files_where_it_is() {
    let fake = fake();
    fake.change(|model| {
        model.app(7, "dispatcher", "o", PUBLIC);
        model.repository("team/reports");
        model.install(7, "team", &["team/reports"], &[("issues", Level::Write)]);
    });
    let reports: Slug = "team/reports".parse().expect("a repository");
    let github = GitHub::new(web(), api(&fake), app()).expect("a client");
    let first = release(&github, "v1").await.assets.remove(0);
    assert_eq!(fake.read(|model| model.limits.used("")), 1, "as nobody");
    github.create_issue(&reports, &issue("t")).await.expect("filed");
    assert_eq!(fake.issues("team/reports").len(), 1);
    assert_eq!(whole(github.asset(&first.url, 0, None).await.expect("begun")).await, 5000);
    release(&github, "v1").await;
    assert_eq!(
        fake.read(|model| model.limits.used("")),
        1,
        "as another installation, which may ask more often"
    );
    let asked = fake.requests().iter().filter(|request| request.path == "/repos/o/r/installation").count();
    assert_eq!(asked, 1, "that it is not installed is believed for some time");

    let found = github.repository(&repo()).await.expect("a repository");
    let lacks = missing(&found, github.token_kind(), Wants { issues: true });
    assert_eq!(lacks.first().map(|missing| missing.weight), Some(Weight::Issues));
    let error = github.create_issue(&repo(), &issue("t")).await.expect_err("not installed");
    assert!(error.to_string().contains("not installed"), "{error}");
}

#[tokio::test]
async fn the_first_token_that_works_is_taken() {
    let fake = fake();
    fake.change(|model| model.token(ALICE).revoke());
    let token = |text, from| SignIn::Token { token: SecretString::from(text), from };
    let candidates = vec![token(ALICE, Origin::GithubTokenVariable), token(WILL, Origin::GhTokenVariable)];
    let (_, who, notices) = sign_in(web(), api(&fake), candidates, &repo()).await.expect("signed in");
    assert_eq!(who.as_deref(), Some("will"));
    assert_eq!(notices.len(), 1);
    assert!(!notices[0].contains("Secret"), "{notices:?}");
}
