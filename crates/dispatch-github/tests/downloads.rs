//! Bytes in: breaks, ranges, redirects, and where the token goes.

#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use common::{Does, Server, TOKEN, all, github, impatient, says, web};
use dispatch_github::Kind;

const ASSET: &str = "/api/v3/repos/o/r/releases/assets/7";

#[tokio::test]
async fn a_body_that_is_shorter_than_announced_is_an_error() {
    let server =
        Server::start(|_| Does::Say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned())).await;
    let download = web().download(&server.url("/image"), 0, None).await.expect("begun");
    assert_eq!(download.size, Some(10));
    let error = all(download).await.expect_err("broken");
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(error.to_string().contains("after 4 of 10 bytes"), "{error}");
}

#[tokio::test]
async fn a_rest_that_ends_before_the_file_does_is_an_error() {
    let server =
        Server::start(|_| says("206 Partial Content", &["content-range: bytes 2-5/10"], "cdef")).await;
    let download = web().download(&server.url("/image"), 2, None).await.expect("begun");
    let error = all(download).await.expect_err("too short");
    assert!(error.to_string().contains("after 6 of 10 bytes"), "{error}");
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error() {
    let server =
        Server::start(|_| Does::Hang("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned())).await;
    let download = impatient().download(&server.url("/image"), 0, None).await.expect("begun");
    let error = all(download).await.expect_err("stalled");
    assert_eq!(error.kind(), Kind::Interrupted);
    assert!(error.to_string().contains("no byte came"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_begin_to_answer_is_an_error() {
    let server = Server::start(|_| Does::Hang(String::new())).await;
    let error = impatient().download(&server.url("/image"), 0, None).await.expect_err("silent");
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let server = Server::start(|asked| {
        assert_eq!(asked.header("range"), Some("bytes=4-"));
        assert_eq!(asked.header("if-range"), Some("\"tag\""));
        says("206 Partial Content", &["content-range: bytes 4-9/10", "etag: \"tag\""], "efghij")
    })
    .await;
    let download = web().download(&server.url("/image"), 4, Some("\"tag\"")).await.expect("begun");
    assert_eq!((download.start, download.size, download.etag.as_deref()), (4, Some(10), Some("\"tag\"")));
    assert_eq!(all(download).await.expect("whole"), "efghij");
}

#[tokio::test]
async fn a_server_that_ignores_the_range_begins_at_zero() {
    let server = Server::start(|_| says("200 OK", &[], "abcdefghij")).await;
    let download = web().download(&server.url("/image"), 4, None).await.expect("begun");
    assert_eq!((download.start, download.size), (0, Some(10)));
    assert_eq!(all(download).await.expect("whole"), "abcdefghij");
}

#[tokio::test]
async fn a_file_that_is_here_already_has_no_more_bytes() {
    let server =
        Server::start(|_| says("416 Range Not Satisfiable", &["content-range: bytes */10"], "")).await;
    let download = web().download(&server.url("/image"), 10, None).await.expect("begun");
    assert_eq!((download.start, download.size), (10, Some(10)));
    assert_eq!(all(download).await.expect("nothing"), "");
}

#[tokio::test]
async fn a_file_that_became_shorter_begins_at_zero() {
    let server = Server::start(|asked| match asked.header("range") {
        Some(_) => says("416 Range Not Satisfiable", &["content-range: bytes */3"], ""),
        None => says("200 OK", &[], "new"),
    })
    .await;
    let download = web().download(&server.url("/image"), 10, None).await.expect("begun");
    assert_eq!((download.start, download.size), (0, Some(3)));
    assert_eq!(all(download).await.expect("whole"), "new");
}

#[tokio::test]
async fn an_assets_redirect_to_another_host_is_followed_without_the_token() {
    let blobs = Server::start(|_| says("200 OK", &[], "bytes")).await;
    let there = blobs.url("/blob?sig=hush");
    let api = Server::start(move |_| says("302 Found", &[&format!("location: {there}")], "")).await;
    let github = github(web(), api.url("/api/v3"));
    let download = github.asset(&api.url(ASSET), 0, None).await.expect("begun");
    assert_eq!(all(download).await.expect("whole"), "bytes");
    let first = &api.asked()[0];
    assert_eq!(first.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(first.header("accept"), Some("application/octet-stream"));
    let [second] = &blobs.asked()[..] else { panic!("{:?}", blobs.asked()) };
    assert!(!format!("{second:?}").contains(TOKEN), "{second:?}");
}

#[tokio::test]
async fn the_token_stays_below_the_root_of_the_api_even_on_the_same_host() {
    let server = Server::start(|asked| match asked.target() {
        ASSET => says("301 Moved Permanently", &["location: /api/v3/repositories/5/releases/assets/7"], ""),
        "/api/v3/repositories/5/releases/assets/7" => says("302 Found", &["location: /storage/7"], ""),
        _ => says("200 OK", &[], "bytes"),
    })
    .await;
    let github = github(web(), server.url("/api/v3/"));
    let download = github.asset(&server.url(ASSET), 0, None).await.expect("begun");
    assert_eq!(all(download).await.expect("whole"), "bytes");
    let signed: Vec<bool> =
        server.asked().iter().map(|asked| asked.header("authorization").is_some()).collect();
    assert_eq!(signed, [true, true, false]);
}

#[tokio::test]
async fn an_asset_that_is_not_of_this_api_is_asked_without_the_token() {
    let server = Server::start(|_| says("200 OK", &[], "bytes")).await;
    let github = github(web(), server.url_as("localhost", "/api/v3"));
    github.asset(&server.url(ASSET), 0, None).await.expect("begun");
    assert_eq!(server.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn where_a_redirect_leads_is_never_shown() {
    let blobs = Server::start(|_| says("403 Forbidden", &[], "no")).await;
    let there = blobs.url("/blob?sig=hush");
    let api = Server::start(move |_| says("302 Found", &[&format!("location: {there}")], "")).await;
    let github = github(web(), api.url("/api/v3"));
    let error = github.asset(&api.url(ASSET), 0, None).await.expect_err("refused");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    assert_eq!(error.kind(), Kind::Interrupted, "the API gives another address the next time");
}

#[tokio::test]
async fn a_download_does_not_show_where_it_comes_from() {
    let blobs = Server::start(|_| says("200 OK", &[], "bytes")).await;
    let there = blobs.url("/blob?sig=hush");
    let api = Server::start(move |_| says("302 Found", &[&format!("location: {there}")], "")).await;
    let github = github(web(), api.url("/api/v3"));
    let download = github.asset(&api.url(ASSET), 0, None).await.expect("begun");
    let shown = format!("{download:?}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::start(|_| says("302 Found", &["location: /again"], "")).await;
    let error = web().download(&server.url("/image"), 0, None).await.expect_err("a circle");
    assert_eq!(error.kind(), Kind::Malformed);
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_size_is_told_without_the_bytes() {
    let server = Server::start(|asked| {
        assert_eq!(asked.method(), "HEAD");
        Does::Say(
            "HTTP/1.1 200 OK\r\ncontent-length: 5000000000\r\netag: \"x\"\r\naccept-ranges: bytes\r\n\
             last-modified: Sat, 21 Nov 2026 11:00:00 GMT\r\n\r\n"
                .to_owned(),
        )
    })
    .await;
    let head = web().size(&server.url("/image")).await.expect("a head");
    assert_eq!(
        (head.size, head.etag.as_deref(), head.accepts_ranges),
        (Some(5_000_000_000), Some("\"x\""), true)
    );
    assert_eq!(head.modified, Some("2026-11-21T11:00:00Z".parse().expect("a time")));
}

#[tokio::test]
async fn an_address_that_is_good_for_get_only_has_a_size_too() {
    let server = Server::start(|asked| match asked.method() {
        "HEAD" => says("403 Forbidden", &[], ""),
        _ => says("200 OK", &[], "12345"),
    })
    .await;
    assert_eq!(web().size(&server.url("/image")).await.expect("a head").size, Some(5));
}

#[tokio::test]
async fn a_text_that_is_not_there_is_none_and_one_that_is_too_long_an_error() {
    let server = Server::start(|asked| match asked.target() {
        "/none" => says("404 Not Found", &[], "no"),
        "/odd" => Does::Say("HTTP/1.1 200 OK\r\n\r\nlong text".to_owned()),
        _ => says("200 OK", &[], "text"),
    })
    .await;
    let web = web();
    assert_eq!(web.text(&server.url("/none"), 4).await.expect("asked"), None);
    assert_eq!(web.text(&server.url("/some"), 4).await.expect("asked").as_deref(), Some("text"));
    let error = web.text(&server.url("/odd"), 4).await.expect_err("too long");
    assert_eq!(error.kind(), Kind::Malformed);
}

#[tokio::test]
async fn credentials_in_an_address_are_never_shown() {
    let server = Server::start(|_| says("404 Not Found", &[], "")).await;
    let mut url = server.url("/image?key=hush");
    url.set_username("me").expect("a user");
    url.set_password(Some("hush")).expect("a password");
    let error = web().download(&url, 0, None).await.expect_err("missing");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}
