//! Where things are stored: `storage.url` of the configuration, read and checked. Pure, so that a mistake is told
//! before anything starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

use super::key::{Key, KeyError};

/// Where things are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below this folder.
    Folder(PathBuf),
    /// In this bucket of S3, below this prefix.
    Bucket {
        /// Its name.
        bucket: String,
        /// What every key begins with.
        prefix: Option<Key>,
    },
}

/// A mistake in `storage.url`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// PostgreSQL has no folder that a default could be beside.
    #[error(
        "storage.url is missing: with PostgreSQL write where files go, file:///folder or s3://bucket/prefix"
    )]
    Missing,
    /// It is no URL.
    #[error("storage.url: {0:?} is no URL: write file:///folder or s3://bucket/prefix")]
    NoUrl(String),
    /// A scheme that we have no store for.
    #[error("storage.url: the scheme {0:?} is not known: write file:///folder or s3://bucket/prefix")]
    Scheme(String),
    /// A folder that depends on where the program is started.
    #[error(
        "storage.url: {0:?} names no absolute folder: write three slashes and the whole path, as in \
         file:///var/lib/dispatch"
    )]
    Relative(String),
    /// The root of the file system.
    #[error("storage.url: file:/// is the root of the file system: write a folder of its own")]
    Root,
    /// A query or fragment.
    #[error(
        "storage.url: a URL of a storage has no ? and no #: settings such as the region have keys of their own"
    )]
    Query,
    /// Credentials. They are not repeated.
    #[error(
        "storage.url: a URL of a storage has no @: credentials belong into storage.access_key and storage.secret_key"
    )]
    Credentials,
    /// No bucket.
    #[error("storage.url: there is no bucket in {0:?}: write s3://bucket/prefix")]
    NoBucket(String),
    /// A name that no bucket has.
    #[error(
        "storage.url: {0:?} is no name of a bucket: it has 3 to 63 lower-case letters, digits, dots and hyphens"
    )]
    Bucket(String),
    /// A prefix that is no key.
    #[error("storage.url: the prefix cannot be used: {0}")]
    Prefix(KeyError),
}

/// Where things are stored: at this URL, or without one in the folder `storage` beside the SQLite database; for
/// PostgreSQL, which has no such file, there is no default.
pub fn place(url: Option<&str>, sqlite_file: Option<&Path>) -> Result<Place, PlaceError> {
    match (url, sqlite_file) {
        (Some(url), _) => url.parse(),
        (None, Some(file)) => Ok(Place::Folder(file.with_file_name("storage"))),
        (None, None) => Err(PlaceError::Missing),
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(PlaceError::NoUrl(text.to_owned()));
        };
        // First, because a secret must not be repeated by what is said of the rest.
        let authority = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        if authority.contains('@') && !rest.starts_with("///") {
            return Err(PlaceError::Credentials);
        }
        let is_scheme =
            !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        if !is_scheme {
            return Err(PlaceError::NoUrl(text.to_owned()));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "file" | "s3" if rest.contains(['?', '#']) => Err(PlaceError::Query),
            "file" => folder(text, rest),
            "s3" => bucket(text, rest),
            _ => Err(PlaceError::Scheme(scheme.to_owned())),
        }
    }
}

fn folder(text: &str, rest: &str) -> Result<Place, PlaceError> {
    let relative = || PlaceError::Relative(text.to_owned());
    if !rest.starts_with("///") {
        return Err(relative());
    }
    // What is percent-encoded is decoded, as everywhere.
    let path = Url::parse(&format!("file:{rest}")).ok().and_then(|url| url.to_file_path().ok());
    let path = path.ok_or_else(relative)?;
    if path.parent().is_none() {
        return Err(PlaceError::Root);
    }
    Ok(Place::Folder(path))
}

fn bucket(text: &str, rest: &str) -> Result<Place, PlaceError> {
    let rest = rest.strip_prefix("//").ok_or_else(|| PlaceError::NoBucket(text.to_owned()))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(PlaceError::NoBucket(text.to_owned()));
    }
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_name = (3..=63).contains(&bucket.len())
        && bucket.chars().all(is_letter)
        && is_end(bucket.chars().next())
        && is_end(bucket.chars().next_back())
        && !bucket.contains("..");
    if !is_name {
        return Err(PlaceError::Bucket(bucket.to_owned()));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let prefix =
        if prefix.is_empty() { None } else { Some(prefix.parse::<Key>().map_err(PlaceError::Prefix)?) };
    Ok(Place::Bucket { bucket: bucket.to_owned(), prefix })
}

impl fmt::Display for Place {
    /// As a person knows it: the folder, or the URL of the bucket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix: None } => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix: Some(prefix) } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn why(text: &str) -> PlaceError {
        text.parse::<Place>().expect_err(text)
    }

    #[test]
    fn a_folder_and_a_bucket_are_read() {
        assert_eq!("file:///var/lib/dis%20patch".parse(), Ok(Place::Folder("/var/lib/dis patch".into())));
        let bucket = |prefix: Option<&str>| Place::Bucket {
            bucket: "lab-1".to_owned(),
            prefix: prefix.map(|prefix| prefix.parse().expect("a key")),
        };
        assert_eq!("s3://lab-1".parse(), Ok(bucket(None)));
        assert_eq!("s3://lab-1/".parse(), Ok(bucket(None)));
        assert_eq!("S3://lab-1/a/b/".parse(), Ok(bucket(Some("a/b"))));
    }

    #[test]
    fn each_mistake_has_its_own_sentence() {
        assert_eq!(why("storage"), PlaceError::NoUrl("storage".to_owned()));
        assert_eq!(why("/var/lib"), PlaceError::NoUrl("/var/lib".to_owned()));
        assert_eq!(why("gs://bucket"), PlaceError::Scheme("gs".to_owned()));
        assert_eq!(why("file:storage"), PlaceError::Relative("file:storage".to_owned()));
        assert_eq!(why("file://storage/a"), PlaceError::Relative("file://storage/a".to_owned()));
        assert_eq!(why("file:///"), PlaceError::Root);
        assert_eq!(why("file:///a?b"), PlaceError::Query);
        assert_eq!(why("s3://bucket/a?region=b"), PlaceError::Query);
        assert_eq!(why("s3://bucket#a"), PlaceError::Query);
        assert_eq!(why("s3:///prefix"), PlaceError::NoBucket("s3:///prefix".to_owned()));
        assert_eq!(why("s3:bucket"), PlaceError::NoBucket("s3:bucket".to_owned()));
        assert_eq!(why("s3://My_Bucket"), PlaceError::Bucket("My_Bucket".to_owned()));
        assert!(matches!(why("s3://bucket/../a"), PlaceError::Prefix(_)));
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_repeated() {
        for text in ["s3://key:hunter2@bucket/a", "gs://key:hunter2@bucket", "file://key:hunter2@host/a"] {
            let error = why(text);
            assert_eq!(error, PlaceError::Credentials);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn without_a_url_things_are_beside_the_sqlite_database() {
        let beside = place(None, Some(Path::new("/var/lib/dispatch/dispatch.db")));
        assert_eq!(beside, Ok(Place::Folder("/var/lib/dispatch/storage".into())));
    }

    #[test]
    fn without_a_url_postgresql_is_told_to_have_one() {
        assert_eq!(place(None, None), Err(PlaceError::Missing));
        assert!(PlaceError::Missing.to_string().contains("s3://bucket/prefix"));
    }

    proptest! {
        #[test]
        fn a_bucket_is_read_as_it_is_displayed(text in "s3://[a-z0-9]{3,10}(/[a-z0-9]{1,5}){0,3}") {
            let place: Place = text.parse().expect("a place");
            prop_assert_eq!(place.to_string(), text);
        }

        #[test]
        fn no_text_is_a_panic(text in "(file|s3|[a-z]{0,3}):?/{0,4}[^\\s]{0,12}") {
            let _ = text.parse::<Place>();
        }
    }
}
