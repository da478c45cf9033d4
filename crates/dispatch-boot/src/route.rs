//! Which paths are the boot path.

use dispatch_core::HostName;

/// What a request target leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The boot path or one of its aliases, with the name of the host where it is given.
    Boot(Option<HostName>),
    /// The boot path with a name that cannot be one; the text says why.
    BadName(String),
    /// `/health`.
    Health,
    /// Nothing of ours.
    Unknown,
}

/// The boot path, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPath(String);

/// A path that cannot be typed into a boot menu or served.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` cannot be the boot path: it must begin with `/` and consist of letters, digits and any of `/ - _ . ~`, \
     such as /dispatch"
)]
pub struct BadPath(String);

/// Some boot menus refuse a URL that does not end in one of these.
const EXTENSIONS: [&str; 3] = [".efi", ".iso", ".img"];

impl BootPath {
    /// Checks a path. A slash at its end is left away.
    pub fn new(path: &str) -> Result<Self, BadPath> {
        let is_good = path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte))
            && !path.split('/').any(|segment| matches!(segment, "." | ".."))
            && !path.contains("//");
        let trimmed = path.trim_end_matches('/');
        if !is_good || trimmed == "/health" {
            return Err(BadPath(path.to_owned()));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The path, as it is shown in a URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// Where a request target leads (RFC 9112 §3.2): origin form or absolute form, with any query.
    #[must_use]
    pub fn route(&self, target: &str) -> Route {
        let path = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
            _ => target,
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = percent_decoded(path);
        if path == "/health" {
            return Route::Health;
        }
        let Some(rest) = path.strip_prefix(self.0.as_str()) else { return Route::Unknown };
        match without_extension(rest) {
            "" | "/" => Route::Boot(None),
            rest => match rest.strip_prefix("/@") {
                Some(name) => match name.strip_suffix('/').unwrap_or(name).parse() {
                    Ok(name) => Route::Boot(Some(name)),
                    Err(error) => Route::BadName(error.to_string()),
                },
                None => Route::Unknown,
            },
        }
    }
}

/// A path without `.efi` or `/boot.efi` at its end, if it has one of these.
fn without_extension(path: &str) -> &str {
    match EXTENSIONS.iter().find_map(|extension| path.strip_suffix(extension)) {
        // The root's alias is `/boot.efi`; a file of no name is none.
        Some("/") | None => path,
        Some(rest) => rest.strip_suffix("/boot").unwrap_or(rest),
    }
}

/// Undoes percent escapes; what is none stays as it is. The result is compared, never opened.
fn percent_decoded(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.first_chunk::<2>()).flatten().and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 16).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
        });
        if let Some(byte) = escaped {
            decoded.push(byte);
            rest = &after[2..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(target: &str) -> Route {
        BootPath::new("/dispatch").expect("a path").route(target)
    }

    /// What used to hurt: some boot menus refuse a URL that does not end in an extension they know.
    #[test]
    fn the_boot_path_has_aliases_with_every_extension_and_any_query() {
        for target in [
            "/dispatch",
            "/dispatch/",
            "/dispatch.efi",
            "/dispatch.iso",
            "/dispatch.img",
            "/dispatch/boot.efi",
            "/dispatch/boot.iso",
            "/dispatch?foo.efi",
            "/dispatch.efi?x=1",
            "/%64ispatch",
            "http://192.0.2.1/dispatch",
            "http://192.0.2.1:8080/dispatch.efi?a",
        ] {
            assert_eq!(route(target), Route::Boot(None), "{target}");
        }
    }

    #[test]
    fn a_host_may_be_named_and_an_extension_may_follow() {
        for target in [
            "/dispatch/@r1",
            "/dispatch/@R1",
            "/dispatch/@r1/",
            "/dispatch/@r1.efi",
            "/dispatch/@r1.iso?x",
            "/dispatch/@r1/boot.efi",
            "/dispatch/%40r1",
            "http://192.0.2.1:8080/dispatch/@r1",
        ] {
            assert_eq!(route(target), Route::Boot("r1".parse().ok()), "{target}");
        }
        assert_eq!(route("/dispatch/@a.b.efi"), Route::Boot("a.b".parse().ok()));
        let root = BootPath::new("/").expect("a path");
        assert_eq!(root.route("/@r1.efi"), Route::Boot("r1".parse().ok()));
        for target in ["/dispatch/@", "/dispatch/@a b", "/dispatch/@-", "/dispatch/@a/b", "/dispatch/@.efi"] {
            assert!(matches!(route(target), Route::BadName(_)), "{target}");
        }
    }

    #[test]
    fn nothing_else_is_the_boot_path() {
        for target in [
            "/",
            "",
            "*",
            "/dispatchx",
            "/dispatch.exe",
            "/dispatch/.efi",
            "/dispatch@r1",
            "/dispatch/r1",
            "/dispatch/../etc/passwd",
            "/dispatch/boot.efi/x",
            "/x/dispatch",
            "http://192.0.2.1",
            "/%",
            "/dispatch%2e%2e",
            "/favicon.ico",
        ] {
            assert_eq!(route(target), Route::Unknown, "{target}");
        }
        assert_eq!(route("/health"), Route::Health);
    }

    #[test]
    fn the_root_can_be_the_boot_path() {
        let root = BootPath::new("/").expect("a path");
        assert_eq!(root.as_str(), "/");
        for target in ["/", "/boot.efi", "/?x"] {
            assert_eq!(root.route(target), Route::Boot(None), "{target}");
        }
        assert_eq!(root.route("/health"), Route::Health);
    }

    #[test]
    fn a_path_that_nobody_could_type_is_refused() {
        for path in ["", "dispatch", "/a b", "/a?b", "/a//b", "/../a", "/health", "/ä"] {
            assert!(BootPath::new(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_targets_never_panic(target in ".*") {
            let _ = route(&target);
        }
    }
}
