//! Tests of how reports are gathered and cut.

use super::*;
use proptest::prelude::*;

#[derive(Default)]
struct Lines(Vec<String>);

impl Tell for Lines {
    fn warn(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }

    fn detail(&mut self, _: &str) {}
}

fn titled() -> Report {
    Report { title: "certificate".into(), ..Report::default() }
}

fn text(kept: &str) -> Text {
    Text { kept: kept.to_owned(), dropped: 0 }
}

#[test]
fn a_report_that_fits_is_sent_as_it_is() {
    let mut lines = Lines::default();
    let json = to_json(titled(), text("a \"b\"\n"), 1000, &mut lines).expect("fits");
    assert_eq!(json, br#"{"title":"certificate","body":"a \"b\"\n"}"#);
    assert_eq!(lines.0, [] as [&str; 0]);
}

#[test]
fn a_report_that_does_not_fit_is_cut_and_says_so() {
    let mut lines = Lines::default();
    let json = to_json(titled(), text(&"é\n".repeat(1000)), 400, &mut lines).expect("cut");
    assert!(json.len() <= 400 && json.len() > 396, "{} bytes", json.len());
    let report = Report::from_json(&json).expect("a report");
    let (kept, line) = report.body.split_once("\n\n[cut by beacon: ").expect("the marked line");
    assert!(kept.starts_with("é\né\n"));
    let missing = 3000 - kept.len();
    assert_eq!(
        line,
        format!("{missing} of 3000 bytes are missing here, as a report has at most 400 bytes]\n")
    );
    assert_eq!(lines.0.len(), 1);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let report = Report { labels: vec!["x".repeat(500)], ..titled() };
    let result = to_json(report, text("body"), 400, &mut Lines::default());
    assert!(matches!(result, Err(ReportError::HeadTooLarge)));
}

#[test]
fn what_is_not_utf8_is_replaced_with_a_warning_that_names_the_file() {
    let mut lines = Lines::default();
    let read = read_text(&b"ok \xff\xfe ok"[..], "cert.md", &mut lines).expect("read");
    assert_eq!(read, text("ok \u{fffd}\u{fffd} ok"));
    assert_eq!(lines.0, ["cert.md is not UTF-8 at its byte 3; what is not is replaced by \u{fffd}"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = Source::File("/nowhere/cert.md".into()).read(&mut Lines::default()).expect_err("no file");
    assert!(error.to_string().contains("/nowhere/cert.md"), "{error}");
}

#[test]
fn an_input_larger_than_any_report_is_counted_but_not_kept() {
    let mut lines = Lines::default();
    let limit = MAX_REPORT_BYTES;
    // Two-byte characters after one byte: the limit falls into the middle of one.
    let input = io::Cursor::new("a").chain(io::Cursor::new("é".repeat(6 * 1024 * 1024)));
    let read = read_text(input, "stdin", &mut lines).expect("read");
    assert_eq!(length(read.kept.len()), limit - 1);
    assert_eq!(read.dropped, 4 * 1024 * 1024 + 2);
    assert_eq!(lines.0, [] as [&str; 0], "a cut character is not invalid UTF-8");
    let json = to_json(titled(), read, limit, &mut lines).expect("cut");
    assert!(length(json.len()) <= limit && length(json.len()) > limit - 4, "{} bytes", json.len());
}

proptest! {
    #[test]
    fn json_length_agrees_with_serde_json(character: char) {
        let json = serde_json::to_string(&character).expect("json");
        prop_assert_eq!(json_length(character), length(json.len() - 2));
    }

    #[test]
    fn every_report_comes_out_within_the_limit(body in "(?s).{0,400}", limit in 200_u64..900, dropped in 0_u64..3) {
        let text = Text { kept: body.clone(), dropped };
        let json = to_json(titled(), text, limit, &mut Lines::default()).expect("fits or is cut");
        prop_assert!(length(json.len()) <= limit);
        let sent = Report::from_json(&json).expect("a report").body;
        let kept = sent.split("\n\n[cut by beacon: ").next().expect("a beginning");
        prop_assert!(body.starts_with(kept));
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let read = read_text(&bytes[..], "stdin", &mut Lines::default()).expect("read");
        prop_assert_eq!(read.kept, String::from_utf8_lossy(&bytes).into_owned());
    }
}
