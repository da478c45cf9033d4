//! What GitHub refuses, when it is in trouble, and what becomes of a request then.

use super::*;

#[tokio::test]
async fn what_is_refused_is_named_by_its_field() {
    let fake = fake();
    let github = will(&fake);
    let error = github
        .create_issue(&repo(), &NewIssue { milestone: Some(77), ..issue("t") })
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.field_errors()[0].field, "milestone");
    let assignees = vec!["mallory".to_owned()];
    let error =
        github.create_issue(&repo(), &NewIssue { assignees, ..issue("t") }).await.expect_err("refused");
    assert_eq!(error.field_errors()[0].field, "assignees");
    let error = github.create_issue(&repo(), &issue(&"t".repeat(257))).await.expect_err("refused");
    assert_eq!(error.field_errors()[0].field, "title");
    assert!(!error.may_have_been_applied());
}

#[tokio::test]
async fn a_renamed_repository_is_found_under_its_old_name() {
    let fake = fake();
    let github = will(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    fake.change(|model| model.rename("o/r", "o/s"));
    assert_eq!(github.repository(&repo()).await.expect("followed").full_name.to_string(), "o/s");
    assert_eq!(github.create_issue(&repo(), &issue("t")).await.expect("filed").number, 1);
    assert_eq!(whole(github.asset(&image.url, 0, None).await.expect("begun")).await, 5000);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_bad_credentials_everywhere() {
    let fake = fake();
    let github = will(&fake);
    let image = release(&github, "v1").await.assets.remove(0);
    fake.change(|model| model.token(WILL).revoke());
    assert!(github.whoami().await.expect_err("revoked").is_bad_credentials());
    assert!(github.create_issue(&repo(), &issue("t")).await.expect_err("revoked").is_bad_credentials());
    assert!(github.asset(&image.url, 0, None).await.expect_err("revoked").is_bad_credentials());
}

#[tokio::test]
async fn rate_limits_say_when_they_end() {
    let fake = fake();
    // Two hours ahead: what GitHub says is by its clock, what we say is by ours.
    fake.change(|model| model.set_clock_ahead(SignedDuration::from_hours(2)));
    let github = will(&fake);
    let now = real();
    let waits = |error: &dispatch_github::Error| {
        assert_eq!(error.kind(), Kind::RateLimited, "{error:?}");
        assert!(!error.may_have_been_applied());
        error.retry_at().expect("a time").duration_since(now()).as_secs_f64().round()
    };
    for (fault, range) in [
        (Fault::SecondaryLimit(Some(7)), 5.0..=8.0),
        (Fault::SecondaryLimit(None), 58.0..=61.0),
        (Fault::TooMany(Some(90)), 88.0..=91.0),
        (Fault::TooMany(None), 58.0..=61.0),
        (Fault::PrimaryLimit(600), 597.0..=602.0),
    ] {
        fake.fault(fault.clone());
        let error = github.create_issue(&repo(), &issue("t")).await.expect_err("limited");
        let wait = waits(&error);
        assert!(range.contains(&wait), "{fault:?}: {wait} s");
    }
    assert_eq!(github.limits().expect("limits").remaining, 0);
    assert!(fake.issues("o/r").is_empty());
}

#[tokio::test]
async fn an_unknown_outcome_is_told_apart_from_a_known_one() {
    for (fault, may_have, may_still, is_there) in [
        (Fault::DropAfter, true, true, true),
        (Fault::DropBefore, true, true, false),
        (Fault::StatusAfter(502), true, true, true),
        (Fault::StatusAfter(500), true, false, true),
        (Fault::Status(503), true, false, false),
        (Fault::DropBody(10), true, false, true),
        (Fault::Unauthorized, false, false, false),
        (Fault::NotFound, false, false, false),
    ] {
        let fake = fake();
        fake.trouble(Trouble::new(fault.clone()).host(Host::Api).method("POST"));
        let error = will(&fake).create_issue(&repo(), &issue("t")).await.expect_err("trouble");
        assert_eq!(error.may_have_been_applied(), may_have, "{fault:?}");
        assert_eq!(error.may_still_be_applied(), may_still, "{fault:?}");
        assert_eq!(!fake.issues("o/r").is_empty(), is_there, "{fault:?}");
        assert_eq!(fake.requests().len(), 1, "{fault:?}: sent once");
    }
}

#[tokio::test]
async fn a_request_that_is_carried_out_late_may_still_be_carried_out() {
    let fake = fake();
    fake.fault(Fault::ApplyLate(Duration::from_millis(50)));
    let error = will(&fake).create_issue(&repo(), &issue("t")).await.expect_err("broken");
    assert!(error.may_still_be_applied());
    let is_there = |model: &dispatch_testkit::github::Model| (!model.issues("o/r").is_empty()).then_some(());
    fake.reached("the issue", Duration::from_secs(20), is_there).await.expect("filed late");
}

#[tokio::test]
async fn a_server_that_is_down_was_never_asked() {
    let fake = fake();
    fake.down(Host::Api).expect("down");
    let error = will(&fake).create_issue(&repo(), &issue("t")).await.expect_err("down");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(!error.may_have_been_applied());
}
