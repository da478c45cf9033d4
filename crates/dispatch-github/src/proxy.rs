//! The proxy variables of the environment. The HTTP library reads them, and takes no notice of one that it does not
//! understand; then everything would go past the proxy, or nowhere. So they are looked at first.

use url::Url;

use crate::SetUpError;

const VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Whether each of them can be understood. The value is not shown: it may have a password.
pub(crate) fn check(environment: impl Fn(&str) -> Option<String>) -> Result<(), SetUpError> {
    let is_bad = |name: &&&str| environment(name).is_some_and(|value| !is_proxy(value.trim()));
    match VARIABLES.iter().find(is_bad) {
        Some(name) => Err(SetUpError::Proxy((*name).to_owned())),
        None => Ok(()),
    }
}

/// Without a scheme it is an HTTP proxy.
fn is_proxy(value: &str) -> bool {
    if value.is_empty() {
        return true;
    }
    let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    Url::parse(&text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_proxies_are_understood() {
        for value in
            ["", "http://proxy.example:3128", "proxy.example:3128", "https://me:hush@[2001:db8::1]:8080/"]
        {
            check(|name| (name == "HTTPS_PROXY").then(|| value.to_owned())).expect(value);
        }
    }

    #[test]
    fn a_proxy_that_is_not_understood_is_named_without_its_password() {
        for value in ["socks5://me:hush@h:1", "http://", "http://me:hush@:x", "not a proxy word"] {
            let error =
                check(|name| (name == "https_proxy").then(|| value.to_owned())).expect_err(value).to_string();
            assert!(error.contains("https_proxy") && !error.contains("hush"), "{error}");
        }
    }
}
