//! Proxies and certificate authorities. What the environment says is read when the client is made, so such a test runs
//! itself once more in a process of its own, with the environment that it is about.

#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

mod common;

use std::process::Stdio;
use std::sync::Arc;

use common::{Server, all, clock, json, says, web, web_trusting};
use dispatch_github::{Kind, SetUpError, Web};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// Tells the second process what to fetch.
const URL: &str = "DISPATCH_TEST_URL";

/// What the second process prints when it has fetched it.
const FETCHED: &str = "fetched: ";

/// Runs a test of this file in a process with this environment. Its output.
async fn again(test: &str, environment: &[(&str, &str)]) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().expect("this program"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command
        .args(["--exact", test, "--nocapture"])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("run");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// In the second process: fetches what it is told to.
async fn fetched() -> Option<String> {
    let url = Url::parse(&std::env::var(URL).ok()?).expect("a URL");
    let download = web().download(&url, 0, None).await;
    Some(match download {
        Ok(download) => format!("{FETCHED}{}", all(download).await.expect("whole")),
        Err(error) => error.to_string(),
    })
}

async fn marked(text: &'static str) -> Server {
    Server::start(move |_| says("200 OK", &[], text)).await
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the first process reads it")]
async fn a_proxy_of_the_environment_is_used() {
    if let Some(told) = fetched().await {
        return println!("{told}");
    }
    let (proxy, server) = (marked("by the proxy").await, marked("directly").await);
    let there = server.url("/image");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let environment = [(URL, there.as_str()), (name, proxy.url("").as_str())]
            .map(|(name, value)| (name, value.to_owned()));
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let told = again("a_proxy_of_the_environment_is_used", &environment).await;
        assert!(told.contains("fetched: by the proxy"), "{name}: {told}");
    }
    assert_eq!(proxy.asked()[0].target(), there.as_str(), "the whole address");
    assert!(server.asked().is_empty());
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the first process reads it")]
async fn no_proxy_leads_past_the_proxy() {
    if let Some(told) = fetched().await {
        return println!("{told}");
    }
    let (proxy, server) = (marked("by the proxy").await, marked("directly").await);
    for name in ["NO_PROXY", "no_proxy"] {
        let there = server.url("/image").to_string();
        let by = proxy.url("").to_string();
        let environment = [(URL, there.as_str()), ("HTTP_PROXY", by.as_str()), (name, "127.0.0.0/8")];
        let told = again("no_proxy_leads_past_the_proxy", &environment).await;
        assert!(told.contains("fetched: directly"), "{name}: {told}");
    }
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the first process reads it")]
async fn a_proxy_that_refuses_is_a_request_that_was_never_sent() {
    if let Ok(url) = std::env::var(URL) {
        let url = Url::parse(&url).expect("a URL");
        let error = web().download(&url, 0, None).await.expect_err("refused");
        return println!("{:?} {error}", error.kind());
    }
    let proxy = Server::start(|asked| {
        assert_eq!(asked.method(), "CONNECT");
        says("407 Proxy Authentication Required", &[], "")
    })
    .await;
    let by = proxy.url("").to_string().replace("http://", "http://me:hush@");
    let environment = [(URL, "https://h.example/image"), ("HTTPS_PROXY", by.as_str())];
    let told = again("a_proxy_that_refuses_is_a_request_that_was_never_sent", &environment).await;
    assert!(told.contains(&format!("{:?}", Kind::Unreachable)), "{told}");
    assert!(!told.contains("hush"), "{told}");
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the first process reads it")]
async fn a_proxy_that_cannot_be_understood_is_an_error_and_not_passed_by() {
    if std::env::var(URL).is_ok() {
        let error = Web::new(&[], clock()).expect_err("refused");
        return println!("{error}");
    }
    let environment = [(URL, ""), ("https_proxy", "socks5://h.example:1080")];
    let told = again("a_proxy_that_cannot_be_understood_is_an_error_and_not_passed_by", &environment).await;
    assert!(told.contains("https_proxy of the environment is no proxy"), "{told}");
}

/// An authority of our own, as PEM, and a server's configuration with a certificate of it for `localhost`.
fn authority() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .expect("parameters")
        .signed_by(&key, &authority)
        .expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a certificate");
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_it_is_given() {
    let (pem, tls) = authority();
    let (other, _) = authority();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, format!("a company's authorities\n{other}\n{pem}")).expect("written");
    let server = Server::start_tls(tls, |_| json("hello")).await;
    let url = server.url_as("localhost", "/");
    let text = web_trusting(&[file]).text(&url, 100).await.expect("trusted");
    assert_eq!(text.as_deref(), Some("hello"));
}

#[tokio::test]
async fn a_certificate_of_nobody_we_know_is_refused_with_what_to_do() {
    let (_, tls) = authority();
    let server = Server::start_tls(tls, |_| json("hello")).await;
    let error = web().text(&server.url_as("localhost", "/"), 100).await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Unreachable);
    assert!(error.to_string().contains("--ca-cert"), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_file_of_certificates_that_is_none_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").expect("written");
    let damaged = folder.path().join("damaged.pem");
    std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("written");
    let refused = |path: &std::path::PathBuf| {
        let error = Web::new(std::slice::from_ref(path), clock()).expect_err("refused");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        error
    };
    assert!(matches!(refused(&missing), SetUpError::CaCert { .. }));
    assert!(matches!(refused(&empty), SetUpError::NoCaCert(_)));
    assert!(matches!(refused(&damaged), SetUpError::BadCaCert(_)));
}
