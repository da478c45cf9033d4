//! Two values of the cache are two processes: each has locks of its own.

mod crash;
mod full;

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use dispatch_core::fetch::Entry;
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    TempDir::new().expect("a folder")
}

fn cache(folder: &TempDir) -> Cache {
    Cache::open(folder.path()).expect("a cache")
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}

fn key(bytes: &[u8]) -> Key {
    Key::Digest(digest_of(bytes))
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

fn begin(cache: &Cache, bytes: &[u8]) -> Begun {
    cache.begin(key(bytes), size(bytes), &Watch::default()).expect("a cache")
}

fn part(cache: &Cache, bytes: &[u8]) -> Box<Part> {
    match begin(cache, bytes) {
        Begun::Part(part) => part,
        other => panic!("a part, not {other:?}"),
    }
}

fn fetch(cache: &Cache, bytes: &[u8]) -> Pin {
    let mut part = part(cache, bytes);
    part.restart(Some("\"1\"")).expect("begun");
    part.append(bytes).expect("room");
    match part.finish(None).expect("a cache") {
        Finished::Right(digest, pin) if digest == digest_of(bytes) => pin,
        other => panic!("right, not {other:?}"),
    }
}

fn served(cache: &Cache, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = cache.whole(&digest_of(bytes))?;
    let mut read = Vec::new();
    whole.file.read_to_end(&mut read).expect("its bytes");
    assert_eq!(whole.size, size(&read));
    Some(read)
}

/// Has a process that did not write an image look at it. Tells whether it is right.
fn checked(cache: &Cache, bytes: &[u8]) -> bool {
    let digest = digest_of(bytes);
    match cache.pin(&digest).expect("a cache") {
        Some(pin) => cache.verify(&digest, &pin, &Watch::default()).expect("a cache"),
        None => false,
    }
}

fn edit(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("ours");
    fs::write(path, bytes).expect("ours");
    // Whatever the clock of the file system is like.
    let file = File::options().write(true).open(path).expect("ours");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("ours");
}

fn entry(cache: &Cache, key: Key) -> Option<Entry> {
    cache.entries().expect("a cache").into_iter().find(|entry| entry.key == key)
}

#[test]
fn an_image_that_was_fetched_is_served_and_nobody_may_write_to_it() {
    let folder = folder();
    let cache = cache(&folder);
    let _pin = fetch(&cache, b"an image");
    assert_eq!(served(&cache, b"an image").as_deref(), Some(b"an image".as_slice()));
    let hex = digest_of(b"an image").hex();
    let path = folder.path().join("sha256").join(&hex[..2]).join(&hex);
    let mode = fs::metadata(path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(fs::read_dir(folder.path().join("parts")).expect("a folder").count(), 0);
}

#[test]
fn what_has_the_wrong_digest_is_thrown_away_and_never_has_the_name() {
    let folder = folder();
    let cache = cache(&folder);
    let mut part = part(&cache, b"an image");
    part.append(b"an imagE").expect("room");
    assert!(
        matches!(part.finish(None).expect("a cache"), Finished::Wrong(found) if found == digest_of(b"an imagE"))
    );
    assert_eq!(cache.entries().expect("a cache"), []);
    assert_eq!(served(&cache, b"an image"), None);
    drop(fetch(&cache, b"an image"));
}

#[test]
fn what_is_here_of_an_image_is_gone_on_with_by_the_next_process() {
    let folder = folder();
    let mut first = part(&cache(&folder), b"an image");
    first.restart(Some("\"v1\"")).expect("begun");
    first.append(b"an i").expect("room");
    drop(first);
    let cache = cache(&folder);
    assert_eq!(entry(&cache, key(b"an image")).map(|entry| (entry.size, entry.is_part)), Some((4, true)));
    let mut then = part(&cache, b"an image");
    assert_eq!((then.length(), then.etag()), (4, Some("\"v1\"")));
    then.append(b"mage").expect("room");
    assert!(matches!(then.finish(None).expect("a cache"), Finished::Right(..)));
    assert_eq!(served(&cache, b"an image").as_deref(), Some(b"an image".as_slice()));
}

#[test]
fn a_part_of_no_known_version_is_begun_anew() {
    let folder = folder();
    let cache = cache(&folder);
    let info = folder.path().join("parts").join(format!("{}.info", key(b"an image")));
    for what in ["another size", "cut off", "no info"] {
        let mut first = part(&cache, b"an image");
        first.restart(Some("\"v1\"")).expect("begun");
        first.append(b"an i").expect("room");
        drop(first);
        match what {
            "another size" => fs::write(&info, "dispatch part 1\nsize 9\nend\n"),
            "cut off" => fs::write(&info, "dispatch part 1\nsize 8\netag \"v"),
            _ => fs::remove_file(&info),
        }
        .expect("ours");
        let part = part(&cache, b"an image");
        assert_eq!((part.length(), part.etag()), (0, None), "{what}");
    }
}

#[test]
fn what_is_here_of_an_image_without_a_digest_is_begun_anew_by_the_next_process() {
    let folder = folder();
    let key = Key::Origin(digest_of(b"https://example.org/a.efi"));
    let begin = || match cache(&folder).begin(key, 8, &Watch::default()).expect("a cache") {
        Begun::Part(part) => part,
        other => panic!("a part, not {other:?}"),
    };
    let mut part = begin();
    part.restart(Some("\"v1\"")).expect("begun");
    part.append(b"an i").expect("room");
    drop(part);
    let mut part = begin();
    assert_eq!(part.length(), 0);
    part.append(b"an image").expect("room");
    let digest = digest_of(b"an image");
    assert!(matches!(part.finish(None).expect("a cache"), Finished::Right(found, _) if found == digest));
    let cache = cache(&folder);
    assert!(cache.has(&digest));
    assert_eq!(cache.entries().expect("a cache").len(), 1, "nothing is left of the part");
}

#[test]
fn an_image_is_served_by_another_process_once_that_has_hashed_it() {
    let folder = folder();
    drop(fetch(&cache(&folder), b"an image"));
    let cache = cache(&folder);
    assert_eq!(served(&cache, b"an image"), None, "it may have been changed since");
    assert!(checked(&cache, b"an image"));
    assert!(served(&cache, b"an image").is_some());
}

#[test]
fn an_image_that_rots_or_is_edited_is_not_served_and_is_thrown_away() {
    let folder = folder();
    let first = cache(&folder);
    drop(fetch(&first, b"an image"));
    edit(&first.whole_path(&digest_of(b"an image")), b"an imagE");
    assert_eq!(served(&first, b"an image"), None, "who wrote it sees it by its time");
    assert!(!checked(&cache(&folder), b"an image"), "who did not sees it by its bytes");
    assert_eq!(first.entries().expect("a cache"), []);
    drop(fetch(&first, b"an image"));
    assert!(served(&first, b"an image").is_some());
}

#[test]
fn one_process_fetches_and_another_finds_it() {
    let folder = folder();
    let (one, other) = (cache(&folder), cache(&folder));
    let mut part = part(&one, b"an image");
    assert!(matches!(begin(&other, b"an image"), Begun::Busy));
    part.append(b"an image").expect("room");
    assert!(matches!(part.finish(None), Ok(Finished::Right(..))));
    assert!(matches!(begin(&other, b"an image"), Begun::Here));
}

#[test]
fn what_one_process_uses_no_other_throws_away() {
    let folder = folder();
    let (one, other) = (cache(&folder), cache(&folder));
    let pin = fetch(&one, b"an image");
    let key = key(b"an image");
    let is_pinned = || entry(&other, key).map(|entry| entry.is_pinned);
    assert_eq!(is_pinned(), Some(true));
    assert!(!other.evict(&key, false).expect("a cache"));
    let theirs = other.pin(&digest_of(b"an image")).expect("a cache").expect("it is there");
    drop(pin);
    assert!(!one.evict(&key, false).expect("a cache"), "the other has it");
    drop(theirs);
    assert_eq!(is_pinned(), Some(false));
    assert!(one.evict(&key, false).expect("a cache"));
    assert!(other.pin(&digest_of(b"an image")).expect("a cache").is_none());
    assert!(one.whole(&digest_of(b"an image")).is_none());
    assert_eq!(fs::read_dir(folder.path().join("locks")).expect("a folder").count(), 1, "the probe");
}

#[test]
fn a_part_that_is_being_written_is_thrown_away_by_nobody() {
    let folder = folder();
    let (one, other) = (cache(&folder), cache(&folder));
    let part = part(&one, b"an image");
    assert!(!other.evict(&key(b"an image"), true).expect("a cache"));
    assert_eq!(entry(&other, key(b"an image")).map(|entry| entry.is_pinned), Some(true));
    drop(part);
    assert!(other.evict(&key(b"an image"), true).expect("a cache"));
    assert_eq!(other.entries().expect("a cache"), []);
}

#[test]
fn a_lock_is_held_by_one_however_often_its_file_is_removed() {
    let folder = folder();
    let locks = Locks::new(folder.path().to_owned()).expect("a folder");
    let key = key(b"an image");
    let (inside, most) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    if let Some(lock) = locks.take(&key, lock::Hold::Alone).expect("a lock") {
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        locks.remove(&key, lock).expect("ours");
                    }
                }
            });
        }
    });
    assert_eq!(most.into_inner(), 1);
}

#[test]
fn when_an_image_was_last_used_is_noted_without_a_change_of_the_image() {
    let folder = folder();
    let cache = cache(&folder);
    let _pin = fetch(&cache, b"an image");
    let before = cache.whole(&digest_of(b"an image")).expect("there").modified;
    let used = Timestamp::from_second(9_000_000_000).expect("a time");
    cache.touch(&key(b"an image"), used).expect("a cache");
    assert_eq!(entry(&cache, key(b"an image")).map(|entry| entry.last_used), Some(used));
    assert_eq!(cache.whole(&digest_of(b"an image")).expect("still served").modified, before);
}

#[test]
fn more_bytes_than_there_should_be_are_not_taken() {
    let folder = folder();
    let cache = cache(&folder);
    let mut part = part(&cache, b"an image");
    part.append(b"an ima").expect("room");
    let error = part.append(b"gination").expect_err("too much");
    assert_eq!(error.to_string(), "it has more than the 8 bytes that its source tells");
    part.append(b"ge").expect("nothing of it was taken");
    assert!(matches!(part.finish(None), Ok(Finished::Right(..))));
}

#[test]
fn a_part_begun_anew_has_nothing_of_what_was_before() {
    let folder = folder();
    let cache = cache(&folder);
    let mut part = part(&cache, b"an image");
    part.restart(Some("\"1\"")).expect("begun");
    part.append(b"another").expect("room");
    part.restart(Some("with a\nline")).expect("begun anew");
    assert_eq!((part.length(), part.etag()), (0, None));
    part.append(b"an image").expect("room");
    assert!(matches!(part.finish(None), Ok(Finished::Right(..))));
}

#[test]
fn a_part_begun_anew_is_no_longer_than_what_has_come_since() {
    let folder = folder();
    let mut first = part(&cache(&folder), b"an image");
    first.append(b"another").expect("room");
    first.restart(None).expect("begun anew");
    first.append(b"an").expect("room");
    drop(first);
    assert_eq!(part(&cache(&folder), b"an image").length(), 2);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = folder();
    let path = folder.path().join("cache");
    fs::write(&path, "a file").expect("a file");
    let error = Cache::open(&path).expect_err("no folder").to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("--cache"), "{error}");
}

#[test]
fn what_is_not_ours_is_left_alone_and_what_was_left_behind_is_tidied() {
    let folder = folder();
    let (parts, locks) = (folder.path().join("parts"), folder.path().join("locks"));
    let first = cache(&folder);
    drop(part(&first, b"kept"));
    drop(fetch(&first, b"an image"));
    fs::create_dir(folder.path().join("sha256/zz")).expect("a folder");
    for path in ["sha256/notes", "sha256/zz/notes", "parts/notes"] {
        fs::write(folder.path().join(path), "x").expect("a file");
    }
    fs::write(parts.join(format!("{}.info", key(b"gone"))), "x").expect("a file");
    fs::write(locks.join(key(b"gone too").to_string()), "").expect("a file");
    let cache = cache(&folder);
    assert_eq!(cache.entries().expect("a cache").len(), 2);
    assert!(!parts.join(format!("{}.info", key(b"gone"))).exists());
    assert!(!locks.join(key(b"gone too").to_string()).exists());
    assert!(folder.path().join("sha256/zz/notes").exists() && parts.join("notes").exists());
    assert!(folder.path().join("CACHEDIR.TAG").exists());
}

#[test]
fn hashing_can_be_stopped() {
    let folder = folder();
    let first = cache(&folder);
    drop(fetch(&first, b"an image"));
    let watch = Watch::default();
    watch.stop();
    let cache = cache(&folder);
    let pin = cache.pin(&digest_of(b"an image")).expect("a cache").expect("there");
    assert!(matches!(cache.verify(&digest_of(b"an image"), &pin, &watch), Err(CacheError::Stopped)));
    assert!(cache.has(&digest_of(b"an image")), "it is not thrown away for that");
}

proptest! {
    #[test]
    fn info_is_read_as_it_was_written_or_not_at_all(
        size: u64, etag in proptest::option::of("[^\n\r]{0,20}"), cut in 0..100_usize, noise in ".{0,40}",
    ) {
        let text = part::write_info(size, etag.as_deref());
        prop_assert_eq!(part::read_info(&text), Some((size, etag.clone())));
        let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(0);
        if cut < text.trim_end().len() {
            prop_assert_eq!(part::read_info(&text[..cut]), None);
        }
        prop_assert_eq!(part::read_info(&noise), None);
    }
}
