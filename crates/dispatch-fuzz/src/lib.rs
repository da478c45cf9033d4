//! What strangers may send to the boot listener, and what has to hold whatever they send.
//!
//! Each function takes bytes and panics where something does not hold. `cargo xtask fuzz` has libFuzzer look for such
//! bytes; what it found worth keeping on its way is in `corpus`, and the tests of this crate send all of it again.
#![expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

mod conversation;
mod framing;

use dispatch_wire::boot::{MAX_REPORT_BYTES, Report};

pub use conversation::conversations;
pub use framing::requests;

/// The body of a `PUT`: a report that is accepted has a title, and reads the same when it is sent on.
pub fn reports(bytes: &[u8]) {
    let Ok(report) = Report::from_json(bytes) else { return };
    assert!(!report.title.trim().is_empty(), "a report without a title is taken");
    assert!(report.milestone.as_deref() != Some(""), "a milestone without a name is taken");
    let json = serde_json::to_vec(&report).expect("JSON");
    // Escapes may make it longer, but never without bound.
    assert!(json.len() <= bytes.len() * 6 + 64 && (bytes.len() as u64) < MAX_REPORT_BYTES, "{}", json.len());
    assert_eq!(Report::from_json(&json).expect("a report"), report, "a report changes on its way");
}
