//! Lists come in pages, and a header says where the others are.

use url::form_urlencoded;

use super::{Answer, Ask};
use serde_json::Value;

/// A query as text.
pub(super) fn query(pairs: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Which part of a list a request asks for: 30 a page unless it says otherwise, at most 100.
struct Page {
    number: usize,
    size: usize,
}

impl Page {
    fn of(ask: &Ask) -> Self {
        let number = |name: &str| ask.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let size = number("per_page").filter(|size| *size > 0).unwrap_or(30).min(100);
        Self { number: number("page").filter(|page| *page > 0).unwrap_or(1), size }
    }
}

/// The part of a list that was asked for, and where the others are. `path` is that of the list, by number.
pub(super) fn cut(ask: &Ask, path: &str, all: Vec<Value>) -> Answer {
    let (part, links) = split(ask, path, all);
    let answer = Answer::json(200, part.into());
    if links.is_empty() { answer } else { answer.with("link", &links) }
}

/// The part of a list, and the `Link` header (RFC 8288).
pub(super) fn split(ask: &Ask, path: &str, all: Vec<Value>) -> (Vec<Value>, String) {
    let page = Page::of(ask);
    let last = all.len().div_ceil(page.size).max(1);
    let to = |number: usize| {
        let mut pairs: Vec<_> = ask.query.iter().filter(|(name, _)| name != "page").cloned().collect();
        pairs.push(("page".to_owned(), number.to_string()));
        format!("<{}{path}?{}>", ask.api, query(&pairs))
    };
    let mut links = Vec::new();
    if page.number > 1 {
        links.push(format!("{}; rel=\"prev\"", to((page.number - 1).min(last))));
    }
    if page.number < last {
        links.push(format!("{}; rel=\"next\"", to(page.number + 1)));
        links.push(format!("{}; rel=\"last\"", to(last)));
    }
    if page.number > 1 {
        links.push(format!("{}; rel=\"first\"", to(1)));
    }
    let skip = (page.number - 1).saturating_mul(page.size);
    (all.into_iter().skip(skip).take(page.size).collect(), links.join(", "))
}
