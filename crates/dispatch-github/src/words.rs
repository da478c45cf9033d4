//! Words for people: what came from elsewhere is made harmless before anybody reads it.

use std::error::Error as _;

use url::Url;

/// The longest text of an error, in characters.
const MAX_WORDS: usize = 800;

/// The longest text of somebody else within it, in characters.
const MAX_THEIRS: usize = 300;

/// One line without control characters, and without the marks that turn the direction of writing.
pub(crate) fn clean(text: &str) -> String {
    shortened(text, MAX_WORDS)
}

/// The same for a text that somebody else wrote.
pub(crate) fn theirs(text: &str) -> String {
    shortened(text, MAX_THEIRS)
}

/// The same for a text of somebody who was told a secret and may repeat it. The secret goes first: of a text that is cut
/// a part of it might be left.
pub(crate) fn theirs_without(text: &str, secret: &str) -> String {
    if secret.is_empty() { theirs(text) } else { theirs(&text.replace(secret, "[a secret]")) }
}

fn shortened(text: &str, max: usize) -> String {
    let one_line: String = text.chars().map(|c| if is_harmful(c) { ' ' } else { c }).collect();
    let one_line = one_line.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Where a request went: without a query, a fragment or credentials, for each of them may be a secret.
pub(crate) fn place(url: &Url) -> String {
    let mut place = url.clone();
    place.set_query(None);
    place.set_fragment(None);
    // Both fail only for addresses without a host, which have no credentials either.
    let _ = place.set_username("");
    let _ = place.set_password(None);
    place.to_string()
}

/// The host, with its port where that is not the usual one.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What is at the bottom of an error of the HTTP library, without the address that it was on the way to.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut deepest = None;
    let mut next = error.source();
    while let Some(error) = next {
        deepest = Some(error.to_string());
        next = error.source();
    }
    let words = deepest.unwrap_or_else(|| "no reason is known".to_owned());
    if words.contains("UnknownIssuer") {
        return "its certificate is signed by nobody that this machine trusts: give the authority's certificate with \
                --ca-cert"
            .to_owned();
    }
    theirs(&words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_has_neither_query_nor_credentials() {
        let url = Url::parse("https://me:hush@h.example:8443/a/b?sig=secret#frag").expect("a URL");
        assert_eq!(place(&url), "https://h.example:8443/a/b");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = theirs(&"ö".repeat(1000));
        assert_eq!(cut.chars().count(), MAX_THEIRS + 1);
        assert!(cut.ends_with("ö…"));
    }

    #[test]
    fn a_secret_is_not_left_in_part_where_a_text_is_cut() {
        for before in 0..MAX_THEIRS + 10 {
            let text = format!("{}{}", "x".repeat(before), "SECRETSECRET");
            assert!(!theirs_without(&text, "SECRETSECRET").contains("SE"), "{before}");
        }
    }

    proptest! {
        #[test]
        fn clean_words_are_one_line_without_control_characters(text in any::<String>()) {
            let words = clean(&text);
            prop_assert!(!words.chars().any(is_harmful));
            prop_assert!(words.chars().count() <= MAX_WORDS + 1);
            prop_assert_eq!(clean(&words), words.clone());
        }
    }
}
