//! What of a release, or of a list of URLs, becomes a workload.

use jiff::Timestamp;

use crate::queue::Found;
use crate::text;
use crate::workload::{Digest, Kind, Terms};

/// How the media types begin that are meant for us.
const OURS: &str = "application/vnd.dispatch+";

/// The media type of a description of workloads.
pub const DESCRIPTION_TYPE: &str = "application/vnd.dispatch+yaml";

/// What many firmwares, and all 32-bit sizes in them, can take.
const FIRMWARE_LIMIT: u64 = 4 << 30;

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its name, unique in its release.
    pub name: String,
    /// Its media type, as whoever uploaded it said.
    pub content_type: String,
    /// Bytes.
    pub size: u64,
    /// Its digest, as GitHub tells it: `sha256:…`; old assets have none.
    pub digest: Option<String>,
    /// Where it is fetched.
    pub url: String,
    /// When it was last uploaded.
    pub updated: Timestamp,
    /// All of it has been uploaded.
    pub is_whole: bool,
}

/// What becomes of an asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is a workload.
    Taken(Box<Found>),
    /// It describes workloads.
    Description,
    /// It is neither, and why.
    Ignored(String),
}

/// What becomes of each asset, in name order. `filters` are parts of names; any match keeps an image.
#[must_use]
pub fn sorted(assets: &[Asset], filters: &[String]) -> Vec<(Asset, Fate)> {
    let mut assets = assets.to_vec();
    assets.sort_by(|a, b| a.name.cmp(&b.name));
    assets.into_iter().map(|asset| (asset.clone(), fate(&asset, filters))).collect()
}

fn fate(asset: &Asset, filters: &[String]) -> Fate {
    let essence = asset.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some(kind) = essence.strip_prefix(OURS) else {
        let hint = match Kind::of_file_name(&asset.name) {
            Some(kind) => format!("; as an image it would be {OURS}{kind}"),
            None => String::new(),
        };
        return Fate::Ignored(format!("its type is {}{hint}", asset.content_type));
    };
    if essence == DESCRIPTION_TYPE {
        return Fate::Description;
    }
    if !asset.is_whole {
        return Fate::Ignored("its upload is not complete".to_owned());
    }
    let Ok(kind) = kind.parse::<Kind>() else {
        return Fate::Ignored(format!(
            "its type is {}, which this version does not know",
            asset.content_type
        ));
    };
    if asset.size == 0 {
        return Fate::Ignored("it is empty".to_owned());
    }
    if !is_wanted(&asset.name, filters) {
        return Fate::Ignored("none of the filters is in its name".to_owned());
    }
    Fate::Taken(Box::new(Found {
        name: asset.name.clone(),
        kind,
        size: asset.size,
        modified: asset.updated,
        digest: asset.digest.as_deref().and_then(|digest| digest.parse().ok()),
        origin: Some(asset.url.clone()),
        terms: Terms::default(),
    }))
}

/// The assets that are meant for us, that the filters keep, and that cannot be taken: a sentence each.
#[must_use]
pub fn left_out(fates: &[(Asset, Fate)], filters: &[String]) -> Vec<String> {
    let is_ours = |asset: &Asset| asset.content_type.trim().to_ascii_lowercase().starts_with(OURS);
    let left = fates.iter().filter_map(|(asset, fate)| match fate {
        Fate::Ignored(why) if is_ours(asset) && is_wanted(&asset.name, filters) => Some((asset, why)),
        _ => None,
    });
    left.map(|(asset, why)| format!("{} is left out: {why}", asset.name)).collect()
}

/// Whether any filter matches a name. No filter keeps everything.
#[must_use]
pub fn is_wanted(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
}

/// What a person should know of images, a sentence each.
#[must_use]
pub fn warnings(found: &[Found]) -> Vec<String> {
    let mut warnings = Vec::new();
    for file in found {
        let name = &file.name;
        if file.size > FIRMWARE_LIMIT {
            let size = text::bytes(file.size);
            warnings.push(format!("{name} has {size}: some firmware cannot take images over 4 GiB"));
        }
        if file.digest.is_none() && file.origin.is_some() {
            warnings.push(format!(
                "{name} comes without a SHA-256 digest (GitHub has none for assets uploaded before mid-2025): only its \
                 size can be checked; upload it again to have one"
            ));
        }
    }
    warnings
}

/// Why a list of digests does not tell one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SumsError {
    /// The file is not in it.
    #[error("it has no line for `{0}`")]
    Missing(String),
    /// The file is in it with several digests.
    #[error("it has several digests for `{0}`")]
    Several(String),
}

/// The digest of a file in a list such as `sha256sum` writes (`DIGEST  NAME`, `DIGEST *NAME`, or with `--tag`:
/// `SHA256 (NAME) = DIGEST`). Other lines, such as those of a signature, count for nothing.
pub fn digest_in(sums: &str, name: &str) -> Result<Digest, SumsError> {
    let of_line = |line: &str| -> Option<(String, Digest)> {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("SHA256 (") {
            let (name, digest) = rest.rsplit_once(") = ")?;
            return Some((name.to_owned(), digest.parse().ok()?));
        }
        let (digest, name) = line.split_once([' ', '\t'])?;
        let name = name.trim_start();
        let name = name.strip_prefix('*').unwrap_or(name);
        Some((name.strip_prefix("./").unwrap_or(name).to_owned(), digest.parse().ok()?))
    };
    let mut digests = sums.lines().filter_map(of_line).filter(|(known, _)| known == name).map(|(_, d)| d);
    let first = digests.next().ok_or_else(|| SumsError::Missing(name.to_owned()))?;
    if digests.all(|digest| digest == first) { Ok(first) } else { Err(SumsError::Several(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asset(name: &str, content_type: &str) -> Asset {
        Asset {
            name: name.into(),
            content_type: content_type.into(),
            size: 7,
            digest: Some(format!("sha256:{}", "0a".repeat(32))),
            url: format!("https://api.github.test/{name}"),
            updated: Timestamp::UNIX_EPOCH,
            is_whole: true,
        }
    }

    fn why(asset: &Asset, filters: &[&str]) -> Option<String> {
        let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        match fate(asset, &filters) {
            Fate::Ignored(why) => Some(why),
            Fate::Taken(_) | Fate::Description => None,
        }
    }

    #[test]
    fn only_assets_of_our_types_are_taken_in_name_order() {
        let assets = [
            asset("qux.iso", "application/vnd.efi-iso"),
            asset("foo.iso", "application/vnd.dispatch+iso"),
            asset("baz.efi", "application/octet-stream"),
            asset("bar.efi", "Application/vnd.dispatch+efi; charset=binary"),
            asset("a.yaml", "application/vnd.dispatch+yaml"),
            asset("notes.txt", "text/plain"),
        ];
        let sorted = sorted(&assets, &[]);
        let names: Vec<&str> = sorted.iter().map(|(asset, _)| asset.name.as_str()).collect();
        assert_eq!(names, ["a.yaml", "bar.efi", "baz.efi", "foo.iso", "notes.txt", "qux.iso"]);
        let kinds: Vec<Option<Kind>> = sorted
            .iter()
            .map(|(_, fate)| if let Fate::Taken(found) = fate { Some(found.kind) } else { None })
            .collect();
        assert_eq!(kinds, [None, Some(Kind::Efi), None, Some(Kind::Iso), None, None]);
        assert_eq!(sorted[0].1, Fate::Description);
        let Fate::Ignored(why) = &sorted[2].1 else { panic!("ignored") };
        let hint =
            "its type is application/octet-stream; as an image it would be application/vnd.dispatch+efi";
        assert_eq!(why, hint);
        assert_eq!(sorted[4].1, Fate::Ignored("its type is text/plain".into()));
    }

    #[test]
    fn what_is_ignored_says_why() {
        let efi = || asset("a.efi", "application/vnd.dispatch+efi");
        assert_eq!(why(&efi(), &["a."]), None);
        assert!(why(&efi(), &["b"]).is_some_and(|why| why.contains("filters")));
        assert!(why(&Asset { size: 0, ..efi() }, &[]).is_some_and(|why| why.contains("empty")));
        assert!(
            why(&Asset { is_whole: false, ..efi() }, &[]).is_some_and(|why| why.contains("not complete"))
        );
        let new = asset("a.vhd", "application/vnd.dispatch+vhd");
        assert!(why(&new, &[]).is_some_and(|why| why.contains("does not know")));
    }

    #[test]
    fn what_is_meant_for_us_and_cannot_be_taken_is_said() {
        let efi = |name: &str, is_whole| Asset { is_whole, ..asset(name, "application/vnd.dispatch+efi") };
        let assets =
            [efi("a.efi", true), efi("b.efi", false), efi("c.efi", false), asset("d.txt", "text/plain")];
        let filters = ["a.".to_owned(), "b.".to_owned(), "d.".to_owned()];
        let said = left_out(&sorted(&assets, &filters), &filters);
        assert_eq!(said, ["b.efi is left out: its upload is not complete"]);
    }

    #[test]
    fn a_filter_leaves_descriptions_alone() {
        assert_eq!(why(&asset("w.yaml", DESCRIPTION_TYPE), &["ubuntu"]), None);
    }

    #[test]
    fn large_images_and_missing_digests_are_said() {
        let found = |asset: &Asset| match fate(asset, &[]) {
            Fate::Taken(found) => *found,
            other => panic!("{other:?}"),
        };
        let efi = asset("a.efi", "application/vnd.dispatch+efi");
        assert_eq!(warnings(&[found(&efi), found(&Asset { size: 4 << 30, ..efi.clone() })]), [""; 0]);
        let large = warnings(&[found(&Asset { size: (4 << 30) + 1, ..efi.clone() })]);
        assert!(large.len() == 1 && large[0].contains("4 GiB"), "{large:?}");
        let unknown = warnings(&[found(&Asset { digest: None, ..efi })]);
        assert!(unknown.len() == 1 && unknown[0].contains("digest"), "{unknown:?}");
    }

    #[test]
    fn digests_are_read_from_every_usual_list() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(32));
        let sums = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n{one}  a.iso\n{two} *./b b.iso\r\nSHA256 (c (1).img) = {one}\nrubbish\n"
        );
        assert_eq!(digest_in(&sums, "a.iso").map(|digest| digest.hex()), Ok(one.clone()));
        assert_eq!(digest_in(&sums, "b b.iso").map(|digest| digest.hex()), Ok(two.to_lowercase()));
        assert_eq!(digest_in(&sums, "c (1).img").map(|digest| digest.hex()), Ok(one.clone()));
        assert_eq!(digest_in(&sums, "d.iso"), Err(SumsError::Missing("d.iso".into())));
        let twice = format!("{one}  a.iso\n{two}  a.iso\n");
        assert_eq!(digest_in(&twice, "a.iso"), Err(SumsError::Several("a.iso".into())));
    }

    proptest! {
        #[test]
        fn a_digest_reads_back_as_it_was_written(bytes in any::<[u8; 32]>()) {
            let digest = Digest::new(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(digest.hex().to_uppercase().parse(), Ok(digest));
        }

        #[test]
        fn no_list_of_digests_is_a_panic(sums in ".*", name in ".*") {
            let _ = digest_in(&sums, &name);
        }
    }
}
