//! Text on a screen that is made of cells: made harmless, cut to a width, wrapped.
//!
//! What others wrote (file names, titles of reports, agents) goes through here before it is drawn. A terminal and we
//! must agree on the width of every letter, or the rest of its line is drawn in the wrong place.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Stands for a letter that is not shown as it is.
const MASK: char = '?';

/// The text without what terminals do not agree on: control characters and letters written from right to left are
/// masked, marks that combine with the letter before them are left out.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter_map(plain_letter).collect()
}

fn plain_letter(letter: char) -> Option<char> {
    match letter {
        '\t' | '\n' | '\r' => Some(' '),
        _ if letter.is_control() || turns_around(letter) || is_half_a_flag(letter) => Some(MASK),
        // Skin tones melt into the emoji before them, or do not.
        '\u{1f3fb}'..='\u{1f3ff}' => None,
        _ => match letter.width() {
            Some(0) => None,
            Some(1 | 2) => Some(letter),
            _ => Some(MASK),
        },
    }
}

/// Whether a letter is written from right to left, or changes the direction of what follows: terminals turn the rest
/// of the line around, or do not.
fn turns_around(letter: char) -> bool {
    let is_mark = matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}');
    let is_override = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Hebrew, Arabic, Syriac, Thaana, NKo and their neighbours, and their forms for presentation.
    let is_written_so = matches!(letter, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}');
    is_mark || is_override || is_written_so
}

/// Two of them make a flag, or do not.
fn is_half_a_flag(letter: char) -> bool {
    matches!(letter, '\u{1f1e6}'..='\u{1f1ff}')
}

/// The width in columns.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// As much from the start of a plain text as fits into so many columns.
fn head(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices() {
        used += letter.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// As much from the end of a plain text as fits into so many columns.
fn tail(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices().rev() {
        used += letter.width().unwrap_or(0);
        if used > columns {
            return &text[at + letter.len_utf8()..];
        }
    }
    text
}

/// The text in so many columns; a mark stands where its end is left out.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let text = plain(text);
    match columns {
        _ if width(&text) <= columns => text,
        0 => String::new(),
        _ => format!("{}…", head(&text, columns - 1)),
    }
}

/// The text in so many columns; a mark stands where its middle is left out. Names of images differ at their ends.
pub(crate) fn cut_middle(text: &str, columns: usize) -> String {
    let text = plain(text);
    match columns {
        _ if width(&text) <= columns => text,
        0 => String::new(),
        _ => {
            let room = columns - 1;
            // Their ends differ more than their beginnings.
            let front = head(&text, room * 2 / 5);
            format!("{front}…{}", tail(&text, room - width(front)))
        }
    }
}

/// The text with spaces behind it, exactly so wide.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let spaces = columns.saturating_sub(width(&text));
    text + &" ".repeat(spaces)
}

/// The text with spaces before it, exactly so wide.
pub(crate) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// The text in lines of at most so many columns, broken between words where that is possible.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let text = plain(text);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.extend(pieces(word, columns)),
        }
    }
    lines
}

/// A word in pieces of at most so many columns.
pub(crate) fn pieces(word: &str, columns: usize) -> Vec<String> {
    let mut rest = word;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let piece = head(rest, columns);
        if piece.is_empty() {
            // A letter that is wider than the column.
            break;
        }
        pieces.push(piece.to_owned());
        rest = &rest[piece.len()..];
    }
    pieces
}

/// How long something has been so, in at most seven columns. Above a minute it does not tick: what moves is read.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {:02}", minutes % 60),
        86_400..8_640_000 => format!("{} d {:02}", hours / 24, hours % 24),
        _ => format!("{} d", (hours / 24).min(99_999)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_terminals_do_not_agree_on_is_not_shown() {
        assert_eq!(plain("a\u{1b}[2Jb\rc"), "a?[2Jb c");
        assert_eq!(plain("\u{202e}gnp.exe"), "?gnp.exe", "an override of the direction");
        assert_eq!(plain("שלום.efi"), "????.efi");
        assert_eq!(plain("e\u{301}te\u{301}.efi"), "ete.efi", "combining marks");
        assert_eq!(plain("👨\u{200d}👩 ok"), "👨👩 ok", "joined emoji");
        assert_eq!(plain("日本.iso"), "日本.iso");
    }

    #[test]
    fn texts_are_cut_where_it_hurts_least() {
        assert_eq!(cut("a sentence that is long", 10), "a sentenc…");
        assert_eq!(cut_middle("ubuntu-24.04-snp-host.efi", 15), "ubunt…-host.efi");
        assert_eq!(cut_middle("日本語日本語", 6), "日…語");
        assert_eq!(padded("日本", 6), "日本  ");
        assert_eq!(right("7 s", 7), "    7 s");
    }

    #[test]
    fn ages_fit_into_seven_columns() {
        let shown: Vec<String> = [0, 59, 60, 3599, 3600, 86_399, 86_400, 8_639_999, 8_640_000, u64::MAX]
            .map(|seconds| age(Duration::from_secs(seconds)))
            .into();
        let expected =
            ["0 s", "59 s", "1 min", "59 min", "1 h 00", "23 h 59", "1 d 00", "99 d 23", "100 d", "99999 d"];
        assert_eq!(shown, expected);
        assert!(shown.iter().all(|age| width(age) <= 7));
    }

    proptest! {
        #[test]
        fn whatever_is_written_fits(text in any::<String>(), columns in 0_usize..60) {
            for cell in [cut(&text, columns), cut_middle(&text, columns)] {
                prop_assert!(width(&cell) <= columns);
            }
            prop_assert_eq!(width(&padded(&text, columns)), columns);
            prop_assert_eq!(width(&right(&text, columns)), columns);
            prop_assert!(wrapped(&text, columns).iter().all(|line| width(line) <= columns));
        }

        #[test]
        fn the_width_of_a_text_is_the_sum_of_its_letters(text in any::<String>()) {
            let text = plain(&text);
            let sum: usize = text.chars().map(|letter| letter.width().unwrap_or(9)).sum();
            prop_assert_eq!(width(&text), sum);
        }
    }
}
