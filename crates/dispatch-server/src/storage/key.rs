//! Names of what is stored: segments between slashes, safe in a folder, in a bucket and in a URL by construction.

use std::fmt;
use std::str::FromStr;

/// The longest segment, in bytes. File systems have 255; the store needs some of them while it writes.
const MAX_SEGMENT: usize = 200;

/// The longest key, in bytes. S3 has 1024; the rest is for the prefix of the URL.
const MAX_KEY: usize = 700;

/// The name of a stored object, such as `reports/2026-01-02.json`. No segment is empty or begins with a dot, so none
/// is `.` or `..`, and each has only letters, digits and `. _ - + = @ ,` in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing between two slashes, or nothing at all.
    #[error("the key {0:?} has an empty segment: write names with one slash between them")]
    Empty(String),
    /// It begins with a dot.
    #[error("the segment {0:?} begins with a dot: begin it with a letter or digit")]
    Dot(String),
    /// A letter that means something else elsewhere.
    #[error("the segment {segment:?} has {letter:?} in it: use letters, digits and . _ - + = @ ,")]
    Letter {
        /// The segment.
        segment: String,
        /// The first such letter.
        letter: char,
    },
    /// Too long a segment.
    #[error("the segment {0:?} is longer than {MAX_SEGMENT} bytes: shorten it")]
    LongSegment(String),
    /// Too long altogether.
    #[error("the key {0:?} is longer than {MAX_KEY} bytes: shorten it")]
    Long(String),
}

impl Key {
    /// The key of these segments.
    pub fn new<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<Self, KeyError> {
        let mut key = String::new();
        for segment in segments {
            let segment = segment.as_ref();
            check(segment)?;
            if !key.is_empty() {
                key.push('/');
            }
            key.push_str(segment);
        }
        if key.is_empty() {
            return Err(KeyError::Empty(key));
        }
        if key.len() > MAX_KEY {
            return Err(KeyError::Long(key));
        }
        Ok(Self(key))
    }

    /// The key of one more segment.
    pub fn join(&self, segment: &str) -> Result<Self, KeyError> {
        Self::new(self.segments().chain([segment]))
    }

    /// Its segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// As it is written, with slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(segment: &str) -> Result<(), KeyError> {
    if segment.is_empty() {
        return Err(KeyError::Empty(segment.to_owned()));
    }
    if segment.starts_with('.') {
        return Err(KeyError::Dot(segment.to_owned()));
    }
    if let Some(letter) = segment.chars().find(|letter| !is_safe(*letter)) {
        return Err(KeyError::Letter { segment: segment.to_owned(), letter });
    }
    if segment.len() > MAX_SEGMENT {
        return Err(KeyError::LongSegment(segment.to_owned()));
    }
    Ok(())
}

fn is_safe(letter: char) -> bool {
    letter.is_alphanumeric() || "._-+=@,".contains(letter)
}

impl FromStr for Key {
    type Err = KeyError;

    /// Reads a key as it is displayed.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        // The whole tells more than the empty segment.
        Self::new(text.split('/')).map_err(|error| match error {
            KeyError::Empty(_) => KeyError::Empty(text.to_owned()),
            other => other,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_a_key_stays_below_the_folder_that_it_is_joined_to(text in "[a-zé./\\\\ %#?~\\x00-]{0,12}") {
            if let Ok(key) = text.parse::<Key>() {
                let names = Path::new(key.as_str()).components().all(|part| matches!(part, Component::Normal(_)));
                prop_assert!(names, "{key}");
                prop_assert_eq!(Path::new(key.as_str()).components().count(), key.segments().count());
            }
        }

        #[test]
        fn a_key_is_read_as_it_was_written(segments in prop::collection::vec("[a-z0-9é_][a-z0-9é._+=@,-]{0,20}", 1..5)) {
            let key = Key::new(&segments).expect("a key");
            prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key.clone()));
            prop_assert_eq!(key.segments().collect::<Vec<_>>(), segments);
        }

        #[test]
        fn the_library_takes_every_key_as_it_is(text in "[a-zÀ-ÿ0-9._+=@,/-]{1,40}") {
            if let Ok(key) = text.parse::<Key>() {
                let path = object_store::path::Path::parse(key.as_str()).expect("a path");
                prop_assert_eq!(path.as_ref(), key.as_str());
            }
        }
    }

    #[test]
    fn what_is_no_key_is_told_why() {
        let why = |text: &str| text.parse::<Key>().expect_err(text).to_string();
        assert!(why("").contains("empty segment"));
        assert!(why("a//b").contains("\"a//b\" has an empty segment"));
        assert!(why("/a").contains("empty segment"));
        assert!(why("a/..").contains("\"..\" begins with a dot"));
        assert!(why("a/b#1").contains("'#'"));
        assert!(why(&"a".repeat(201)).contains("longer than 200 bytes"));
        assert!(why(&["a".repeat(199).as_str(); 4].join("/")).contains("longer than 700 bytes"));
    }
}
