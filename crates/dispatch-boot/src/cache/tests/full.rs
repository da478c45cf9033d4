//! A disk that is full: a small one of its own.

use std::process::Command;

use super::*;

/// Set where the test runs again, with a disk of one MiB there.
const DISK: &str = "DISPATCH_TEST_SMALL_DISK";

/// Mounts it. The namespace ends with the test.
const SCRIPT: &str = r#"set -eu; mount -t tmpfs -o size=1m none "$1"; exec "$2" --exact --nocapture "$3""#;

#[test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn a_full_disk_is_told_as_such_and_what_was_here_can_be_gone_on_with() {
    if let Some(disk) = std::env::var_os(DISK) {
        return on_the_small_disk(Path::new(&disk));
    }
    let folder = folder();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this test"))
        .arg("cache::tests::full::a_full_disk_is_told_as_such_and_what_was_here_can_be_gone_on_with")
        .env(DISK, folder.path())
        .output()
        .expect("unshare (util-linux) can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    if errors.contains("unshare: ") || errors.contains("mount: ") {
        let may_be_left_out = std::env::var_os("CI").is_none() && !nix::unistd::geteuid().is_root();
        assert!(may_be_left_out, "no disk can be mounted: {errors}");
        eprintln!("left out: this system lets nobody mount a disk: {errors}");
        return;
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

fn on_the_small_disk(disk: &Path) {
    let cache = Cache::open(disk).expect("a cache");
    let old = vec![1; 300 * 1024];
    drop(fetch(&cache, &old));
    let image: Vec<u8> = (0..900 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let mut part = part(&cache, &image);
    part.restart(None).expect("begun");
    let full = image.chunks(64 * 1024).find_map(|piece| part.append(piece).err()).expect("it is full");
    assert!(matches!(full, CacheError::Full { .. }), "{full}");
    let told = full.to_string();
    assert!(told.contains(&disk.display().to_string()) && told.contains("takes no more"), "{told}");
    let here = part.length();
    assert!(here > 0 && here < size(&image));
    // Room comes.
    assert!(cache.evict(&key(&old), false).expect("a cache"));
    for piece in image[usize::try_from(here).expect("small")..].chunks(64 * 1024) {
        part.append(piece).expect("room");
    }
    assert!(matches!(part.finish(None), Ok(Finished::Right(..))), "no byte of the failed write is in it");
    assert_eq!(served(&cache, &image), Some(image));
}
