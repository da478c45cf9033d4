//! Makes plain text of what a firmware and a kernel write to a serial console.

/// Strips terminal control sequences (ECMA-48: CSI, OSC and two-byte escapes) and control characters from a console's
/// output.
///
/// The firmware positions its cursor instead of ending lines, so a cursor position counts as a line end; empty lines
/// are left out, and of a line that is written over and over the last one stays. Bytes that are not UTF-8 become replacement characters.
#[must_use]
pub fn plain_text(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut out = String::with_capacity(text.len());
    // A carriage return alone starts the line again, as progress displays do, but only once something follows it.
    let mut returned = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if escape_ends_line(&mut chars) {
                    end_line(&mut out);
                    returned = false;
                }
            }
            '\r' => returned = true,
            '\n' => {
                end_line(&mut out);
                returned = false;
            }
            c if c.is_control() && c != '\t' => {}
            c => {
                if std::mem::take(&mut returned) {
                    out.truncate(out.rfind('\n').map_or(0, |end| end + 1));
                }
                out.push(c);
            }
        }
    }
    end_line(&mut out);
    out
}

/// Reads the rest of an escape sequence; true if it moves the cursor to another line or clears the screen.
fn escape_ends_line(chars: &mut std::str::Chars<'_>) -> bool {
    match chars.next() {
        Some('[') => {
            let last = chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
            matches!(last, Some('H' | 'f' | 'J' | 'A' | 'B' | 'E' | 'F'))
        }
        // An operating system command ends with BEL or with ESC and a backslash.
        Some(']') => {
            if chars.find(|&c| c == '\u{7}' || c == '\u{1b}') == Some('\u{1b}') {
                chars.next();
            }
            false
        }
        // Intermediate bytes, then a final one: character sets.
        Some('\u{20}'..='\u{2f}') => {
            chars.find(|c| !('\u{20}'..='\u{2f}').contains(c));
            false
        }
        _ => false,
    }
}

fn end_line(out: &mut String) {
    let kept = out.trim_end_matches([' ', '\t']).len();
    out.truncate(kept);
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_firmware_screen_becomes_lines() {
        let raw = b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HBdsDxe: loading Boot0000 \"x\"\r\n\r\n\x1b[02;01H>>Start HTTP Boot   ";
        assert_eq!(plain_text(raw), "BdsDxe: loading Boot0000 \"x\"\n>>Start HTTP Boot\n");
    }

    #[test]
    fn a_sequence_that_breaks_off_takes_nothing_else_with_it() {
        assert_eq!(plain_text(b"ready\n\x1b["), "ready\n");
    }

    #[test]
    fn of_a_progress_display_the_last_state_stays() {
        assert_eq!(plain_text(b"File\r\n\r  1%\r  2%\r\nend\r"), "File\n  2%\nend\n");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = plain_text(&raw);
            prop_assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
