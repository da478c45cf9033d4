//! Everything that the fuzzer found worth keeping, once more.
#![expect(clippy::expect_used, reason = "a test may panic, also in its helpers")]

use std::path::Path;

use dispatch_fuzz::{conversations, reports, requests};

/// Sends each file of a corpus.
fn replay(corpus: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(corpus);
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("a corpus") {
        let file = file.expect("a file").path();
        let bytes = std::fs::read(&file).expect("its bytes");
        // Which one is told by the panic's place in the output.
        if let Err(panic) = std::panic::catch_unwind(|| check(&bytes)) {
            panic!("{}: {:?}", file.display(), panic.downcast_ref::<String>());
        }
        count += 1;
    }
    assert!(count > 50, "{count} files: where is the rest?");
}

#[test]
fn requests_of_the_corpus_are_framed_the_same_however_they_are_cut() {
    replay("requests", requests);
}

#[test]
fn conversations_of_the_corpus_are_answered_whole_and_in_order() {
    replay("requests", conversations);
}

#[test]
fn reports_of_the_corpus_are_read_or_refused() {
    replay("reports", reports);
}
