//! The process dies between any two steps, and the disk may lose what was not brought to it.

use super::*;

const IMAGES: [&[u8]; 2] = [b"the first image", b"another image"];

#[derive(Clone, Debug)]
enum Act {
    /// An image comes as far as this; wrong bytes may be among them.
    Fetch {
        image: usize,
        until: usize,
        is_wrong: bool,
        anew: bool,
    },
    Evict {
        image: usize,
        is_part: bool,
    },
    Check {
        image: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let image = 0..IMAGES.len();
    prop_oneof![
        3 => (image.clone(), 0..20_usize, proptest::bool::weighted(0.2), any::<bool>())
            .prop_map(|(image, until, is_wrong, anew)| Act::Fetch { image, until, is_wrong, anew }),
        1 => (image.clone(), any::<bool>()).prop_map(|(image, is_part)| Act::Evict { image, is_part }),
        1 => image.prop_map(|image| Act::Check { image }),
    ]
}

/// Errors are the end of the process.
fn play(cache: &Cache, act: &Act) -> Result<(), CacheError> {
    match *act {
        Act::Fetch { image, until, is_wrong, anew } => {
            let bytes = IMAGES[image];
            let Begun::Part(mut part) = cache.begin(key(bytes), size(bytes), &Watch::default())? else {
                return Ok(());
            };
            if anew || part.length() == 0 {
                part.restart(Some("\"1\""))?;
            }
            let mut rest = bytes.to_vec();
            if is_wrong {
                rest[bytes.len() - 1] ^= 1;
            }
            let from = usize::try_from(part.length()).expect("small");
            for byte in &rest[from..until.clamp(from, bytes.len())] {
                part.append(&[*byte])?;
            }
            if part.length() == size(bytes) {
                let finished = part.finish(None)?;
                assert_eq!(matches!(finished, Finished::Wrong(_)), is_wrong && from < bytes.len());
            }
        }
        Act::Evict { image, is_part } => drop(cache.evict(&key(IMAGES[image]), is_part)?),
        Act::Check { image } => {
            let digest = digest_of(IMAGES[image]);
            if let Some(pin) = cache.pin(&digest)? {
                assert!(cache.verify(&digest, &pin, &Watch::default())?, "what is there is right");
            }
        }
    }
    Ok(())
}

/// Whatever is under a digest has it, and each image can be had.
fn look(folder: &TempDir) {
    let cache = cache(folder);
    for entry in cache.entries().expect("a cache") {
        if let Some(digest) = entry.key.digest().filter(|_| !entry.is_part) {
            let bytes = fs::read(cache.whole_path(&digest)).expect("there");
            assert_eq!(digest_of(&bytes), digest);
        }
    }
    for bytes in IMAGES {
        // What is here of it may be spoilt, and is thrown away then.
        let is_had = (0..2).any(|_| match begin(&cache, bytes) {
            Begun::Here => checked(&cache, bytes),
            Begun::Busy => panic!("nobody is left that could be at it"),
            Begun::Part(mut part) => {
                let from = usize::try_from(part.length()).expect("small");
                part.append(&bytes[from..]).expect("room");
                matches!(part.finish(None).expect("a cache"), Finished::Right(..))
            }
        });
        assert!(is_had);
        assert_eq!(served(&cache, bytes).as_deref(), Some(bytes));
    }
}

/// Plays until the process dies before the step of that number. Returns whether it did.
fn dies(folder: &TempDir, acts: &[Act], at: usize) -> bool {
    let cache = cache(folder);
    *cache.inner.steps.left.lock().expect("not poisoned") = Some(at);
    acts.iter().any(|act| play(&cache, act).is_err())
}

#[test]
fn a_fetch_that_dies_before_any_of_its_steps_leaves_nothing_wrong() {
    let acts = [
        Act::Fetch { image: 0, until: 9, is_wrong: false, anew: true },
        Act::Fetch { image: 0, until: 20, is_wrong: true, anew: false },
        Act::Fetch { image: 0, until: 20, is_wrong: false, anew: true },
        Act::Evict { image: 0, is_part: false },
    ];
    let mut deaths = 0;
    for at in 0.. {
        let folder = folder();
        let died = dies(&folder, &acts, at);
        look(&folder);
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 30, "{deaths}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn however_a_process_dies_what_is_served_is_right(
        lives in proptest::collection::vec((proptest::collection::vec(act(), 1..5), 0..80_usize), 1..4),
        lost in proptest::option::of((0..20_u64, any::<bool>())),
    ) {
        let folder = folder();
        for (acts, at) in &lives {
            dies(&folder, acts, *at);
        }
        // The power went: of what is not whole, anything may be missing or empty.
        if let Some((until, is_empty)) = lost {
            for file in fs::read_dir(folder.path().join("parts")).expect("a folder") {
                let file = File::options().write(true).open(file.expect("a file").path()).expect("ours");
                let length = file.metadata().expect("its state").len();
                file.set_len(until.min(length)).expect("ours");
                if is_empty {
                    file.set_len(length).expect("ours");
                }
            }
        }
        look(&folder);
    }
}
