//! Whether a request that changes something comes from a page of ours.
//!
//! A browser sends the session's cookie along with what another site's page makes it send (RFC 6265 §8.2). It says so in
//! `Origin` and `Sec-Fetch-Site`, which no page can forge. What has neither is no browser.

use axum::http::{HeaderMap, Method};
use url::Url;

use super::client::Client;
use super::problem::{Kind, Problem};

/// Refuses what another site's page sends to change something.
pub fn check(
    method: &Method,
    headers: &HeaderMap,
    client: &Client,
    public_url: Option<&Url>,
) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    check_page(headers, client, public_url)
}

/// Refuses what another site's page sends, whatever it is for: opening a WebSocket changes nothing, and is not subject to
/// the same-origin policy.
pub fn check_page(headers: &HeaderMap, client: &Client, public_url: Option<&Url>) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let is_ours = match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => is_same(origin, client.host.as_deref(), public_url),
        (None, Some(site)) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
    };
    if is_ours {
        return Ok(());
    }
    let detail = "this request changes something, and comes from the page of another site: if it is a page of this \
                  service, set server.public_url, or name the proxy before it in server.trusted_proxies";
    Err(Problem::new(Kind::ForeignOrigin, detail).field("Origin"))
}

/// Whether an origin (RFC 6454 §7) is ours: that of the public URL, or the host that the client has asked.
fn is_same(origin: &str, host: Option<&str>, public_url: Option<&Url>) -> bool {
    let Ok(theirs) = Url::parse(origin) else { return false };
    if !matches!(theirs.scheme(), "http" | "https") {
        return false;
    }
    if public_url.is_some_and(|ours| ours.origin() == theirs.origin()) {
        return true;
    }
    // The port may be left out where it is the scheme's own, on either side.
    let ours = host.and_then(|host| Url::parse(&format!("{}://{host}/", theirs.scheme())).ok());
    ours.is_some_and(|ours| {
        ours.origin() == theirs.origin() && ours.path() == "/" && ours.username().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_taken(method: &Method, host: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let client = Client { address: [192, 0, 2, 1].into(), is_https: false, host: Some(host.to_owned()) };
        let public = Url::parse("https://dispatch.example/ui/").expect("a URL");
        check(method, &map, &client, Some(&public)).is_ok()
    }

    #[test]
    fn a_page_of_ours_may_change_something() {
        for (host, origin) in [
            ("lab:9090", "http://lab:9090"),
            ("LAB:9090", "http://lab:9090"),
            ("lab", "http://lab"),
            ("lab:80", "http://lab"),
            ("lab", "https://lab"),
            ("[::1]:9090", "http://[::1]:9090"),
            ("inner:1", "https://dispatch.example"),
        ] {
            assert!(
                is_taken(&Method::POST, host, &[("origin", origin), ("sec-fetch-site", "same-origin")]),
                "{origin}"
            );
        }
    }

    #[test]
    fn a_page_of_another_site_may_not() {
        for origin in [
            "http://evil",
            "http://lab:9091",
            "http://lab",
            "null",
            "",
            "http://lab:9090.evil",
            "http://evil/lab:9090",
            "file://",
            "http://dispatch.example",
        ] {
            assert!(!is_taken(&Method::POST, "lab:9090", &[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "nonsense"] {
            assert!(!is_taken(&Method::DELETE, "lab", &[("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn a_host_cannot_be_made_to_look_like_another() {
        for host in ["evil@lab", "lab/evil", "evil#lab", ""] {
            assert!(!is_taken(&Method::POST, host, &[("origin", "http://lab")]), "{host}");
        }
    }

    #[test]
    fn what_is_no_browser_and_what_only_looks_is_let_through() {
        assert!(is_taken(&Method::POST, "lab", &[]));
        assert!(is_taken(
            &Method::GET,
            "lab",
            &[("origin", "http://evil"), ("sec-fetch-site", "cross-site")]
        ));
        assert!(is_taken(&Method::POST, "lab", &[("sec-fetch-site", "none")]));
    }
}
