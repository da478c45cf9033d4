//! What images send, made harmless: no control character, nothing that turns the direction of writing, nothing that
//! passes for a marker of ours. What cannot stay is replaced by something that is seen, not taken away.

/// The longest row of backticks or tildes at the beginning of a line. Longer ones would take the room that the text
/// needs, each time that a code block is cut.
pub(super) const LONGEST_FENCE: usize = 100;

/// Markdown, made harmless. Lines end with `\n` afterwards.
pub(super) fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => {
                letters.next_if_eq(&'\n');
                clean.push('\n');
            }
            '\n' | '\t' => clean.push(letter),
            _ => clean.push(shown(letter)),
        }
    }
    without_markers(&with_short_fences(&clean))
}

/// One line, made harmless, without space around it and without rows of spaces.
pub(super) fn line(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|letter| match letter {
            '\u{2028}' | '\u{2029}' => ' ',
            letter if letter.is_control() => ' ',
            letter => shown(letter),
        })
        .collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One line as a code span, so that nothing in it is taken for Markdown, a mention or a reference. At most `max`
/// characters of the text.
pub(super) fn code(text: &str, max: usize) -> String {
    let text = cut(&line(text), max);
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A space is taken away on either side, if there is one on both and something between.
    match text.starts_with('`') || text.ends_with('`') {
        _ if text.is_empty() => "(nothing)".to_owned(),
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// At most `max` characters of a text, the last of them an ellipsis if it was longer.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let end = between_characters(text, max.saturating_sub(1));
    format!("{}…", text[..end].trim_end())
}

/// Where a text can be cut after at most `max` characters, as a byte position: not within what people see as one
/// character, unless that would leave nothing.
pub(super) fn between_characters(text: &str, max: usize) -> usize {
    let Some((end, _)) = text.char_indices().nth(max) else { return text.len() };
    // What people see as one character is seldom made of more.
    let near: Vec<_> = text[..end].char_indices().rev().take(16).map(|(at, _)| at).collect();
    let mut at = end;
    for earlier in near {
        let (before, after) = (text[..at].chars().next_back(), text[at..].chars().next());
        if !before.zip(after).is_some_and(|(before, after)| belong_together(before, after)) {
            return at;
        }
        at = earlier;
    }
    end
}

/// Whether two letters are seen as one, in a few words of UAX #29.
fn belong_together(before: char, after: char) -> bool {
    let extends = matches!(after,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{93a}'..='\u{94f}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}'
        | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{1f3fb}'..='\u{1f3ff}'
        | '\u{e0020}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}');
    let is_flag = |letter| matches!(letter, '\u{1f1e6}'..='\u{1f1ff}');
    extends || before == '\u{200d}' || (is_flag(before) && is_flag(after))
}

/// A letter, or what stands for it where it would do harm.
fn shown(letter: char) -> char {
    match letter {
        // The control pictures: an escape sequence of a console stays what it was, and does nothing.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(letter)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        _ => letter,
    }
}

fn with_short_fences(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let start = line.trim_start_matches(|letter: char| " \t>-+*.)0123456789".contains(letter));
        let row = ['`', '~'].map(|mark| start.len() - start.trim_start_matches(mark).len()).into_iter().max();
        let too_long = row.unwrap_or(0).saturating_sub(LONGEST_FENCE);
        clean.push_str(&line[..line.len() - start.len()]);
        clean.push_str(&start[too_long..]);
    }
    clean
}

/// What would pass for a marker of ours begins with a few words more.
fn without_markers(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("<!--") {
        let (before, after) = rest.split_at(at + "<!--".len());
        clean.push_str(before);
        rest = after;
        let word = rest.trim_start().as_bytes();
        if word.get(.."dispatch".len()).is_some_and(|word| word.eq_ignore_ascii_case(b"dispatch")) {
            clean.push_str(" the image says:");
        }
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::find_marker;
    use super::*;

    #[test]
    fn control_characters_are_seen_and_do_nothing() {
        assert_eq!(text("a\0b\u{1b}[31mc\u{7f}\u{9b}"), "a␀b␛[31mc␡\u{fffd}");
        assert_eq!(line("a\0b\u{1b}[31m\tc\n d "), "a b [31m c d");
    }

    #[test]
    fn nothing_turns_the_direction_of_writing() {
        assert_eq!(text("\u{202e}fdp.exe\u{2069}"), "\u{fffd}fdp.exe\u{fffd}");
    }

    #[test]
    fn every_end_of_a_line_is_the_same() {
        assert_eq!(text("a\r\nb\rc\n\r\n"), "a\nb\nc\n\n");
    }

    #[test]
    fn a_text_cannot_fake_a_marker() {
        for fake in ["<!-- dispatch report=x", "<!--dispatch", "<!-- \n\tDISPATCH", "<!--<!-- dispatch"] {
            let clean = text(fake);
            assert!(!clean.trim_start_matches("<!--").trim_start().to_lowercase().starts_with("dispatch"));
            assert!(clean.contains("the image says:"), "{clean}");
        }
        assert_eq!(text("<!-- another -->"), "<!-- another -->");
    }

    #[test]
    fn names_are_code_whatever_they_contain() {
        assert_eq!(code("@me #1 a|b", 50), "`@me #1 a|b`");
        assert_eq!(code("a``b", 50), "```a``b```");
        assert_eq!(code("`", 50), "`` ` ``");
        assert_eq!(code(" \n ", 50), "(nothing)");
        assert_eq!(code("abcdef", 4), "`abc…`");
    }

    #[test]
    fn what_is_seen_as_one_character_is_not_cut() {
        // A family of three, a flag, a letter with its accent.
        for whole in ["👨\u{200d}👩\u{200d}👦", "🇩🇪", "e\u{301}", "👍🏽"] {
            let long = format!("ab{whole}cd");
            let end = between_characters(&long, 3);
            assert_eq!(&long[..end], "ab", "{whole}");
        }
        // One that has no end is cut all the same.
        assert_eq!(between_characters(&"\u{301}".repeat(100), 50), 100);
    }

    proptest! {
        #[test]
        fn a_harmless_text_stays_as_it_is(start in "(<!-- ?(dispatch)? ?|[`~]{90,120}|\r|\n|.){0,30}", rest in any::<String>()) {
            let once = text(&(start + &rest));
            prop_assert_eq!(text(&once), once.clone());
            prop_assert!(!once.chars().any(|letter| letter.is_control() && letter != '\n' && letter != '\t'));
            prop_assert_eq!(find_marker(&once), None);
        }

        #[test]
        fn a_cut_line_has_at_most_so_many_characters(text in any::<String>(), max in 1..40_usize) {
            let short = cut(&line(&text), max);
            prop_assert!(short.chars().count() <= max);
            prop_assert_eq!(line(&short), short.clone());
        }
    }
}
