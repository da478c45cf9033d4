//! Gathers a report. Ten hours of tests may hang on it, so a text that is not quite right is mended and sent
//! rather than refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use dispatch_wire::boot::{MAX_REPORT_BYTES, Report};

use crate::tell::Tell;

/// Why there is no report to send.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file of `--body`, or stdin.
    #[error("cannot read the body of the report from {name}: {cause}")]
    Unreadable {
        /// The file, or `stdin`.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Cutting the body does not help.
    #[error(
        "title, labels, assignees and milestone alone make the report larger than {MAX_REPORT_BYTES} bytes; give fewer"
    )]
    HeadTooLarge,
    /// Cannot happen with strings.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Where the body comes from.
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The standard input, or what stands for it in a test.
    Stdin(Box<dyn Read>),
    /// There is none.
    Nothing,
}

/// The text of a report, and how many bytes of it were not even kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// What was read and kept.
    pub kept: String,
    /// How many bytes came after that.
    pub dropped: u64,
}

impl Source {
    /// Reads it all, and keeps as much as could be sent.
    pub fn read(self, tell: &mut dyn Tell) -> Result<Text, ReportError> {
        match self {
            Self::Nothing => Ok(Text::default()),
            Self::Stdin(input) => read_text(input, "stdin", tell),
            Self::File(path) => {
                let name = path.display().to_string();
                match File::open(&path) {
                    Ok(file) => read_text(file, &name, tell),
                    Err(cause) => Err(ReportError::Unreadable { name, cause }),
                }
            }
        }
    }
}

fn read_text(mut input: impl Read, name: &str, tell: &mut dyn Tell) -> Result<Text, ReportError> {
    let unreadable = |cause| ReportError::Unreadable { name: name.to_owned(), cause };
    let mut bytes = Vec::new();
    input.by_ref().take(MAX_REPORT_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    let mut dropped = io::copy(&mut input, &mut io::sink()).map_err(unreadable)?;
    if dropped > 0 {
        // The end may be the middle of a character, which is no fault of the text.
        let whole = bytes.len() - cut_character(&bytes);
        dropped += length(bytes.split_off(whole).len());
    }
    let kept = String::from_utf8(bytes).unwrap_or_else(|error| {
        let at = error.utf8_error().valid_up_to();
        tell.warn(&format!("{name} is not UTF-8 at its byte {at}; what is not is replaced by \u{fffd}"));
        String::from_utf8_lossy(error.as_bytes()).into_owned()
    });
    Ok(Text { kept, dropped })
}

/// How many bytes at the end are the beginning of a character.
fn cut_character(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&count| {
            let tail = bytes.get(bytes.len() - count..).unwrap_or_default();
            matches!(str::from_utf8(tail), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

/// Writes `report` with `text` as its body as JSON of at most `limit` bytes. A body that does not fit is cut,
/// and says so in its last line.
pub fn to_json(
    mut report: Report,
    text: Text,
    limit: u64,
    tell: &mut dyn Tell,
) -> Result<Vec<u8>, ReportError> {
    let whole = length(text.kept.len()) + text.dropped;
    report.body = text.kept;
    if text.dropped == 0 {
        let json = serde_json::to_vec(&report)?;
        if length(json.len()) <= limit {
            return Ok(json);
        }
    }
    // The line can only get shorter when the number in it does.
    let body = std::mem::replace(&mut report.body, last_line(whole, whole, limit));
    let head = length(serde_json::to_vec(&report)?.len());
    let room = limit.checked_sub(head).ok_or(ReportError::HeadTooLarge)?;
    let kept = fitting(&body, room);
    let missing = whole - length(kept.len());
    report.body = format!("{kept}{}", last_line(missing, whole, limit));
    tell.warn(&format!("the report is too large: {missing} of the {whole} bytes of its body are left out"));
    Ok(serde_json::to_vec(&report)?)
}

fn last_line(missing: u64, whole: u64, limit: u64) -> String {
    format!(
        "\n\n[cut by beacon: {missing} of {whole} bytes are missing here, as a report has at most {limit} bytes]\n"
    )
}

/// The longest beginning of `text` that takes at most `room` bytes in a JSON string.
fn fitting(text: &str, mut room: u64) -> &str {
    for (at, character) in text.char_indices() {
        let Some(left) = room.checked_sub(json_length(character)) else {
            return text.get(..at).unwrap_or_default();
        };
        room = left;
    }
    text
}

/// How many bytes a character takes in a JSON string as `serde_json` writes it.
fn json_length(character: char) -> u64 {
    match character {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => length(character.len_utf8()),
    }
}

/// A length in memory as a number of bytes.
fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
