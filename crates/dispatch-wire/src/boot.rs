//! The boot protocol: what `beacon` and the boot server say to each other over plain HTTP.
//!
//! `POST` on the boot path says that a workload has started, `PUT` carries a [`Report`]. Both are
//! compatible with beacon 1.1.0 and with the images that carry it, in both directions: everything that
//! this version adds is a header or a JSON field that an older peer ignores.

use serde::{Deserialize, Deserializer, Serialize};

/// Header of the answer to `POST`, and of `PUT`: the run that is meant. It outranks the address of whoever
/// asks.
pub const RUN_HEADER: &str = "Dispatch-Run";

/// Header of `POST` and `PUT`: the SMBIOS UUID of the host, in its usual hyphenated form
/// (SMBIOS 3.7 §7.2.1).
pub const HOST_UUID_HEADER: &str = "Dispatch-Host-Uuid";

/// Header of `POST` and `PUT`: all MAC addresses of the host, separated by commas.
pub const HOST_MAC_HEADER: &str = "Dispatch-Host-Mac";

/// The largest report that a server takes, in bytes of JSON.
pub const MAX_REPORT_BYTES: u64 = 8 * 1024 * 1024;

/// What boards have that were never given a UUID, in either order of its first bytes.
const EVERYBODYS: [&str; 2] =
    ["03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009"];

/// A host's UUID in lower case, if `text` is one that identifies: hyphenated (SMBIOS 3.7 §7.2.1, RFC 9562 §4), and
/// neither of the two that mean "not set", nor one that many boards have.
#[must_use]
pub fn host_uuid(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let well_formed = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let digits = || text.bytes().filter(|&byte| byte != b'-');
    let unset = digits().all(|byte| byte == b'0') || digits().all(|byte| byte == b'f');
    (well_formed && !unset && !EVERYBODYS.contains(&text.as_str())).then_some(text)
}

/// What the workload itself says of how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReportVerdict {
    /// The thing under test is good.
    Passed,
    /// The thing under test is bad.
    Failed,
}

impl From<ReportVerdict> for dispatch_core::Verdict {
    fn from(verdict: ReportVerdict) -> Self {
        match verdict {
            ReportVerdict::Passed => Self::Passed,
            ReportVerdict::Failed => Self::Failed,
        }
    }
}

/// What a workload says of itself. A run may send several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One line; becomes the title of the issue.
    pub title: String,
    /// Markdown; empty where the image had nothing to say.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Names of labels.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// GitHub login names.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub assignees: Vec<String>,
    /// The title of a milestone.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
    /// The image's own judgement; images made for beacon 1.1.0 give none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ReportVerdict>,
}

/// Why bytes are not a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not JSON, or not of the right shape; the text names line, column and field.
    #[error("the report is not the JSON object that is expected: {0}")]
    Malformed(#[from] serde_json::Error),
    /// JSON, but not an object. (serde would take an array's elements for the fields in their order.)
    #[error("the report is not a JSON object such as {{\"title\": \"…\"}}")]
    NotAnObject,
    /// A title is what people see first, so a report without one is refused.
    #[error("the report has an empty `title`")]
    EmptyTitle,
}

impl Report {
    /// Reads a report from the body of a `PUT`. What is not UTF-8 in it, such as a piece of a console, becomes U+FFFD:
    /// no report is lost for that.
    pub fn from_json(body: &[u8]) -> Result<Self, ReportError> {
        if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(ReportError::NotAnObject);
        }
        let text = String::from_utf8_lossy(body);
        // Only then: what is well-formed is read as it is.
        let report: Self =
            serde_json::from_str(&text).or_else(|_| serde_json::from_str(&without_lone_surrogates(&text)))?;
        if report.title.trim().is_empty() {
            return Err(ReportError::EmptyTitle);
        }
        Ok(report)
    }
}

/// JSON with U+FFFD in place of each surrogate that has no other half. Python writes these for bytes that are no UTF-8
/// (PEP 383), and no Unicode text has them (RFC 8259 §8.2).
fn without_lone_surrogates(json: &str) -> String {
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let is_pair = surrogate(escape).is_some_and(|high| high < 0xDC00)
            && surrogate(&escape[6..]).is_some_and(|low| low >= 0xDC00);
        let length = match surrogate(escape) {
            Some(_) if is_pair => 12,
            Some(_) => 6,
            // A backslash and what it escapes, which may be another one.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        let is_lone = length == 6;
        whole.push_str(if is_lone { "\\ufffd" } else { &escape[..length] });
        rest = &escape[length..];
    }
    whole.push_str(rest);
    whole
}

/// The surrogate that a text begins with, as an escape such as `\udcff`.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (0xD800..0xE000).contains(&code).then_some(code)
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn empty_as_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|milestone| !milestone.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_is_lowered_and_placeholders_are_none() {
        let uuid = "4C4C4544-0051-3610-8052-B4C04F4E3332";
        assert_eq!(host_uuid(uuid).as_deref(), Some("4c4c4544-0051-3610-8052-b4c04f4e3332"));
        for none in [
            "00000000-0000-0000-0000-000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "03000200-0400-0500-0006-000700080009",
            "Not Settable",
            "",
            "4C4C4544x0051-3610-8052-B4C04F4E3332",
            "4C4C4544-0051-3610-8052-B4C04F4E3332-",
        ] {
            assert_eq!(host_uuid(none), None, "{none}");
        }
    }

    #[test]
    fn a_report_of_beacon_1_1_0_is_read_as_it_was_meant() {
        let report = Report::from_json(
            br##"{"title":"cert","body":"# ok","labels":["os:ubuntu"],"assignees":["me"],"milestone":"c3"}"##,
        )
        .expect("a well-formed report");
        assert_eq!(report.labels, ["os:ubuntu"]);
        assert_eq!(report.milestone.as_deref(), Some("c3"));
        assert_eq!(report.verdict, None);
    }

    #[test]
    fn what_is_empty_is_left_out_as_beacon_1_1_0_does() {
        let json = serde_json::to_string(&Report { title: "t".into(), ..Report::default() }).expect("json");
        assert_eq!(json, r#"{"title":"t"}"#);
    }

    #[test]
    fn nulls_count_as_left_out() {
        let json =
            br#"{"title":"t","body":null,"labels":null,"assignees":null,"milestone":null,"verdict":null}"#;
        assert_eq!(
            Report::from_json(json).expect("a report"),
            Report { title: "t".into(), ..Report::default() }
        );
    }

    #[test]
    fn what_is_no_utf_8_loses_no_report() {
        let report = Report::from_json(b"{\"title\":\"t\xff\",\"body\":\"a\xc3(b\",\"verdict\":\"failed\"}");
        let report = report.expect("a report");
        assert_eq!((report.title.as_str(), report.body.as_str()), ("t\u{fffd}", "a\u{fffd}(b"));
        assert_eq!(report.verdict, Some(ReportVerdict::Failed));
    }

    #[test]
    fn a_surrogate_without_its_other_half_loses_no_report() {
        let json = br#"{"title":"t\udcff","body":"\ud83d\ude00 \ud83d \\udcff \ud83d\ud83d\ude00"}"#;
        let report = Report::from_json(json).expect("a report");
        assert_eq!(report.title, "t\u{fffd}");
        assert_eq!(report.body, "\u{1f600} \u{fffd} \\udcff \u{fffd}\u{1f600}");
    }

    #[test]
    fn an_unknown_verdict_is_malformed() {
        let error = Report::from_json(br#"{"title":"t","verdict":"great"}"#).expect_err("refused");
        assert!(error.to_string().contains("great"), "{error}");
    }

    #[test]
    fn a_report_without_a_title_is_refused() {
        assert!(matches!(Report::from_json(br#"{"title":"  "}"#), Err(ReportError::EmptyTitle)));
        assert!(matches!(Report::from_json(br#"{"body":"b"}"#), Err(ReportError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn what_has_no_lone_surrogate_is_left_as_it_is(text in ".*") {
            let json = serde_json::to_string(&text).expect("json");
            prop_assert_eq!(without_lone_surrogates(&json), json);
        }

        #[test]
        fn arbitrary_escapes_never_panic(text in "[\\\\udDcC89fé\"]{0,40}") {
            let _ = without_lone_surrogates(&text);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Report::from_json(&bytes);
        }

        #[test]
        fn every_report_survives_the_wire(title in "[a-z]{1,20}", body in ".*", labels in proptest::collection::vec(".*", 0..4)) {
            let report = Report { title, body, labels, verdict: Some(ReportVerdict::Failed), ..Report::default() };
            let json = serde_json::to_vec(&report).expect("json");
            prop_assert_eq!(Report::from_json(&json).expect("a report"), report);
        }
    }
}
