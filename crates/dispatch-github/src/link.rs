//! The `Link` header (RFC 8288): where the next page of a list is.

use reqwest::header::HeaderMap;

/// The target of the first link whose relation is `next`.
pub(crate) fn next(headers: &HeaderMap) -> Option<String> {
    headers.get_all("link").iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

/// The same for one header line. A target may hold commas and semicolons, so it is read up to its `>`.
fn next_in(line: &str) -> Option<String> {
    let mut rest = line;
    loop {
        let (target, behind) = rest.split_once('<')?.1.split_once('>')?;
        let end = end_of_parameters(behind);
        if behind[..end].split(';').any(is_next) {
            return Some(target.to_owned());
        }
        rest = &behind[end..];
    }
}

/// Where the parameters of one link end: at the comma that is not in quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (index, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => return index,
            _ => {}
        }
    }
    text.len()
}

fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel")
        && value.trim().trim_matches('"').split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_page_is_found_among_others() {
        let line = "<https://h.example/a?page=1>; rel=\"prev\", <https://h.example/a?x=1,2;3&page=3>; rel=\"next\", \
                    <https://h.example/a?page=9>; rel=\"last\"";
        assert_eq!(next_in(line).as_deref(), Some("https://h.example/a?x=1,2;3&page=3"));
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        assert_eq!(next_in("<https://h.example/a?page=1>; rel=\"first\""), None);
        assert_eq!(next_in("<https://h.example/a>; title=\"rel=next, next\"; rel=prev"), None);
    }

    #[test]
    fn relations_may_share_a_link_and_come_without_quotes() {
        assert_eq!(next_in("<https://h.example/a>; REL=Next").as_deref(), Some("https://h.example/a"));
        assert_eq!(next_in("</b>; rel=\"last next\"").as_deref(), Some("/b"));
    }

    proptest! {
        #[test]
        fn no_header_line_is_too_odd(line in any::<String>()) {
            if let Some(target) = next_in(&line) {
                let written = format!("<{target}>");
                prop_assert!(line.contains(&written));
            }
        }
    }
}
