//! The hidden marker: by it we know again what we wrote, whatever became of the answer.

use std::fmt;

use crate::id::{ReportId, RunName};

/// How every marker begins. What images send must not.
pub(super) const OPENING: &str = "<!-- dispatch report=";

/// The marker of one part of a report: an HTML comment, the first thing in an issue or comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The report.
    pub report: ReportId,
    /// Its run, by the name that anybody may know.
    pub run: RunName,
    /// Which part of the report this is, from 1. The first is the issue itself, the others are comments.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, run, part, parts } = self;
        write!(f, "{OPENING}{report} run={run} part={part}/{parts} -->")
    }
}

/// The marker that a text begins with. Nothing else is one: not the same words further down, nor in another form.
#[must_use]
pub fn find_marker(text: &str) -> Option<Marker> {
    let (inside, _) = text.strip_prefix(OPENING)?.split_once(" -->")?;
    let (report, rest) = inside.split_once(" run=")?;
    let (run, rest) = rest.split_once(" part=")?;
    let (part, parts) = rest.split_once('/')?;
    let marker = Marker {
        report: report.parse().ok()?,
        run: run.parse().ok()?,
        part: part.parse().ok()?,
        parts: parts.parse().ok()?,
    };
    // Only what we write ourselves: identifiers and numbers can be written in more than one way.
    (text.starts_with(&marker.to_string()) && (1..=marker.parts).contains(&marker.part)).then_some(marker)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::id::RunId;

    fn marker(part: u32, parts: u32) -> Marker {
        let now = Timestamp::UNIX_EPOCH;
        let run = RunId::new(now, [9; 10]).public_name();
        Marker { report: ReportId::new(now, [7; 10]), run, part, parts }
    }

    #[test]
    fn a_marker_is_found_only_where_a_text_begins() {
        let text = marker(1, 3).to_string();
        assert_eq!(find_marker(&format!("{text}\r\n\r\nmore")), Some(marker(1, 3)));
        assert_eq!(find_marker(&format!(" {text}")), None);
        assert_eq!(find_marker(&format!("see\n{text}")), None);
    }

    #[test]
    fn what_only_looks_like_a_marker_is_none() {
        let text = marker(2, 3).to_string();
        for wrong in [
            text.replace("part=2/3", "part=4/3"),
            text.replace("part=2/3", "part=0/3"),
            text.replace("part=2/3", "part=02/3"),
            text.replace("part=2/3", "part=+2/3"),
            text.replace(" run=", "  run="),
            text.replace(" -->", "-->"),
            text.replace('-', ""),
            text.to_uppercase(),
        ] {
            assert_eq!(find_marker(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            prop_assert_eq!(find_marker(&text), None);
            let _ = find_marker(&format!("{OPENING}{text}"));
        }

        #[test]
        fn every_marker_is_found_again(part in 1..1000_u32, more in 0..1000_u32, rest in any::<String>()) {
            let marker = marker(part, part + more);
            prop_assert_eq!(find_marker(&format!("{marker}{rest}")), Some(marker));
        }
    }
}
