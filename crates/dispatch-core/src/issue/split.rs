//! A text that is too long for one issue, in pieces: cut at ends of lines where there are any, and never so that a code
//! block of one piece swallows what is written behind it.

use super::blocks::{Open, State};
use super::clean::between_characters;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Begins anew what the piece before has ended.
    pub(super) before: String,
    /// The text itself: all pieces together are the whole.
    pub(super) text: &'a str,
    /// Ends what the text leaves open.
    pub(super) after: String,
}

/// The pieces of a text, at least one, each with at most `room` characters of the text.
pub(super) fn split(text: &str, room: usize) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest, mut open) = (Vec::new(), text, None);
    loop {
        let (text, left) = rest.split_at(place_to_cut(rest, room.max(1)));
        let before = open.as_ref().map(Open::opening).unwrap_or_default();
        let state = State::after(open, text);
        let closing = state.closing();
        let is_whole_line = text.is_empty() || text.ends_with('\n') || closing.is_empty();
        let after = if is_whole_line { closing } else { format!("\n{closing}") };
        pieces.push(Piece { before, text, after });
        if left.is_empty() {
            return pieces;
        }
        (rest, open) = (left, state.open.map(Open::begun_again));
    }
}

/// Where to cut, as a byte position: after a line, if that leaves at least half of the room used; else after a word;
/// else between two characters.
fn place_to_cut(text: &str, room: usize) -> usize {
    let end = between_characters(text, room);
    if end == text.len() {
        return end;
    }
    let after = |end_of: char| text[..end].rfind(end_of).map(|at| at + end_of.len_utf8());
    after('\n').into_iter().chain(after(' ')).find(|at| *at >= end / 2).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_is_one_piece() {
        assert_eq!(split("a\nb", 3), [Piece { before: String::new(), text: "a\nb", after: String::new() }]);
        assert_eq!(split("", 3).len(), 1);
    }

    #[test]
    fn a_text_is_cut_after_a_line_else_after_a_word() {
        let texts = |text, room| split(text, room).into_iter().map(|piece| piece.text).collect::<Vec<_>>();
        assert_eq!(texts("one\ntwo\nthree", 9), ["one\ntwo\n", "three"]);
        assert_eq!(texts("one two three", 9), ["one two ", "three"]);
        assert_eq!(texts("x\nonetwothree", 9), ["x\nonetwot", "hree"]);
    }

    #[test]
    fn a_code_block_that_is_cut_is_ended_and_begun_again() {
        let pieces = split("```rust\none\ntwo\n```\nend", 16);
        assert_eq!(pieces[0].text, "```rust\none\ntwo\n");
        assert_eq!(pieces[0].after, "```\n");
        assert_eq!(pieces[1].before, "```rust\n");
        assert_eq!((pieces[1].text, pieces[1].after.as_str()), ("```\nend", ""));
    }

    proptest! {
        #[test]
        fn all_pieces_together_are_the_whole(text in "(```|~~~|<!--|-->|<details>|\n|- |é|🇩🇪|[a-z ]){0,60}", room in 1..50_usize) {
            let pieces = split(&text, room);
            prop_assert_eq!(pieces.iter().map(|piece| piece.text).collect::<String>(), text.as_str());
            for piece in pieces {
                prop_assert!(piece.text.chars().count() <= room);
                let whole = format!("{}{}{}", piece.before, piece.text, piece.after);
                prop_assert_eq!(State::after(None, &whole).open, None, "{}", whole);
            }
        }
    }
}
