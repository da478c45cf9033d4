//! Lists come in pages: `?limit=` and `?cursor=`, and `next_cursor` in the answer.
//!
//! A cursor says where the page before ended, by the key of its last item, so that nothing is shown twice or missed when
//! items come and go. To clients it is opaque.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dispatch_wire::api::Page;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::problem::{Kind, Problem};

/// The most items on a page.
pub const MOST: u32 = 100;

/// The items on a page, if nobody says otherwise.
pub const USUAL: u32 = 50;

/// The parameters, for the `params` of an endpoint that lists something.
#[derive(utoipa::IntoParams, Deserialize)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many items, at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// Where to go on: `next_cursor` of the page before.
    #[param(max_length = 1024)]
    cursor: Option<String>,
}

/// Where a page of a list ends.
pub trait Key: Serialize + DeserializeOwned {
    /// Of which list: a cursor of another is refused.
    const LIST: &'static str;
}

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages<K> {
    /// How many items, at most.
    pub limit: u32,
    /// The last item of the page before.
    pub after: Option<K>,
}

impl<K: Key> Pages<K> {
    /// How many items to load: one more than are shown, to know whether there are more.
    #[must_use]
    pub fn to_load(&self) -> u32 {
        self.limit + 1
    }

    /// The page, of the items that were loaded ([`Self::to_load`]). `key` gives an item's key, `show` what is shown of it.
    pub fn page<I, T>(&self, mut loaded: Vec<I>, key: impl Fn(&I) -> K, show: impl FnMut(I) -> T) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = loaded.len() > limit;
        loaded.truncate(limit);
        let next_cursor = loaded.last().filter(|_| has_more).map(|last| write(&key(last)));
        Page { items: loaded.into_iter().map(show).collect(), next_cursor }
    }
}

impl<S: Sync, K: Key> FromRequestParts<S> for Pages<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let params: PageParams = super::extract::read_query(parts.uri.query())?;
        let limit = params.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            let detail = format!("limit is {limit}: give a number from 1 to {MOST}");
            return Err(Problem::new(Kind::InvalidParameter, detail).field("limit"));
        }
        let after = params.cursor.as_deref().map(read).transpose()?;
        Ok(Self { limit, after })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor<K> {
    list: String,
    after: K,
}

fn write<K: Key>(key: &K) -> String {
    let cursor = Cursor { list: K::LIST.to_owned(), after: key };
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

pub(crate) fn read<K: Key>(text: &str) -> Result<K, Problem> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Cursor<K>>(&bytes).ok());
    cursor.filter(|cursor| cursor.list == K::LIST).map(|cursor| cursor.after).ok_or_else(|| {
        let detail =
            "this cursor is not one of this list: give next_cursor as the page before had it, or none";
        Problem::new(Kind::InvalidCursor, detail).field("cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Number(u32);

    impl Key for Number {
        const LIST: &'static str = "numbers";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other(u32);

    impl Key for Other {
        const LIST: &'static str = "others";
    }

    fn load(pages: &Pages<Number>) -> Vec<u32> {
        let first = pages.after.as_ref().map_or(0, |last| last.0 + 1);
        (first..7).take(pages.to_load() as usize).collect()
    }

    #[test]
    fn pages_follow_each_other_without_a_gap_to_the_end() {
        let (mut seen, mut after, mut sizes) = (Vec::new(), None, Vec::new());
        loop {
            let pages = Pages { limit: 3, after };
            let page = pages.page(load(&pages), |item| Number(*item), |item| item);
            sizes.push(page.items.len());
            seen.extend(page.items);
            let Some(next) = page.next_cursor else { break };
            after = Some(read(&next).expect("our own"));
        }
        assert_eq!(seen, (0..7).collect::<Vec<_>>());
        assert_eq!(sizes, [3, 3, 1]);
    }

    #[test]
    fn a_page_that_is_just_full_has_no_next() {
        let pages = Pages { limit: 7, after: None };
        assert_eq!(pages.page(load(&pages), |item| Number(*item), |item| item).next_cursor, None);
    }

    #[test]
    fn a_cursor_that_is_not_of_this_list_is_refused() {
        for bad in [
            write(&Other(1)),
            String::new(),
            "nonsense".to_owned(),
            "e30".to_owned(),
            write(&Number(1)) + "=",
        ] {
            let problem = read::<Number>(&bad).expect_err("refused");
            assert_eq!(problem.kind(), Kind::InvalidCursor, "{bad}");
        }
    }
}
