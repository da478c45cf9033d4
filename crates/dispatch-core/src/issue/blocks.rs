//! Which block of Markdown a text ends in (`CommonMark` 0.31 §4.5, §4.6): only as much as it takes to cut a text in two so
//! that both halves are still what they were.

use super::clean::between_characters;

/// The longest info string that is repeated where a code block goes on in the next part.
const LONGEST_INFO: usize = 64;

/// A code block further to the right than this is none: what ends it must not take the room of the text.
const LAST_COLUMN: usize = 60;

/// At most so many `<details>` are closed.
const MOST_DETAILS: usize = 20;

/// What would swallow everything that is written behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// A fenced code block.
    Fence {
        /// Backtick or tilde.
        mark: char,
        /// How many there were.
        count: usize,
        /// What stood behind them.
        info: String,
        /// The column where the text of its list item begins; 0 outside of lists.
        column: usize,
    },
    /// An HTML comment.
    Comment,
}

/// How a text ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The block that is open.
    pub(super) open: Option<Open>,
    /// How many `<details>` are.
    details: usize,
}

impl State {
    /// How a text ends that begins within `open`.
    pub(super) fn after(open: Option<Open>, text: &str) -> Self {
        let mut state = Self { open, details: 0 };
        for line in text.lines() {
            state.read(line);
        }
        state
    }

    fn read(&mut self, line: &str) {
        match &self.open {
            Some(Open::Comment) => {
                if line.contains("-->") {
                    self.open = None;
                }
                return;
            }
            Some(Open::Fence { mark, count, column, .. }) => {
                if ends_fence(line, *mark, *count, *column) {
                    self.open = None;
                    return;
                }
                // A line that does not belong to the list item ends the item, and the code block in it.
                if line.trim().is_empty() || indent(line) >= *column {
                    return;
                }
                self.open = None;
            }
            None => {}
        }
        if let Some(fence) = fence(line) {
            self.open = Some(fence);
        } else if indent(line) <= 3 && line.trim_start().starts_with("<!--") {
            if !line.contains("-->") {
                self.open = Some(Open::Comment);
            }
        } else {
            let lower = line.to_ascii_lowercase();
            self.details += lower.matches("<details").count();
            self.details = self.details.saturating_sub(lower.matches("</details").count());
        }
    }

    /// What ends everything that is open, each on a line of its own.
    pub(super) fn closing(&self) -> String {
        let mut closing = match &self.open {
            Some(Open::Fence { mark, count, column, .. }) => {
                format!("{}{}\n", " ".repeat(*column), mark.to_string().repeat(*count))
            }
            Some(Open::Comment) => "-->\n".to_owned(),
            None => String::new(),
        };
        for _ in 0..self.details.min(MOST_DETAILS) {
            closing.push_str("\n</details>\n");
        }
        closing
    }
}

impl Open {
    /// The same, begun anew: outside of any list.
    pub(super) fn begun_again(self) -> Self {
        match self {
            Self::Fence { mark, count, info, .. } => Self::Fence { mark, count, info, column: 0 },
            Self::Comment => Self::Comment,
        }
    }

    /// What begins it anew.
    pub(super) fn opening(&self) -> String {
        match self {
            Self::Fence { mark, count, info, .. } => {
                let space = if info.starts_with(*mark) { " " } else { "" };
                format!("{}{space}{info}\n", mark.to_string().repeat(*count))
            }
            Self::Comment => "<!--\n".to_owned(),
        }
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The code block that a line begins, also as the first thing of a list item.
fn fence(line: &str) -> Option<Open> {
    let mut column = 0;
    loop {
        let rest = &line[column..];
        let spaces = indent(rest);
        if spaces > 3 {
            return None;
        }
        let rest = &rest[spaces..];
        if let Some(marker) = list_marker(rest) {
            column += spaces + marker;
            if column > LAST_COLUMN {
                return None;
            }
            continue;
        }
        let mark = rest.chars().next().filter(|mark| "`~".contains(*mark))?;
        let info = rest.trim_start_matches(mark);
        let count = rest.len() - info.len();
        if count < 3 || (mark == '`' && info.contains('`')) {
            return None;
        }
        let info = info.trim();
        let info = info[..between_characters(info, LONGEST_INFO)].trim_end().to_owned();
        return Some(Open::Fence { mark, count, info, column });
    }
}

/// The width of the marker of a list item with the space behind it.
fn list_marker(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let signs: &[u8] = match digits {
        0 => b"-+*",
        1..=9 => b".)",
        _ => return None,
    };
    let sign = text.as_bytes().get(digits).filter(|sign| signs.contains(sign))?;
    debug_assert!(sign.is_ascii());
    let spaces = indent(&text[digits + 1..]);
    (1..=4).contains(&spaces).then_some(digits + 1 + spaces)
}

fn ends_fence(line: &str, mark: char, count: usize, column: usize) -> bool {
    let text = line.trim();
    indent(line) <= column + 3 && text.chars().all(|letter| letter == mark) && text.len() >= count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Option<Open> {
        State::after(None, text).open
    }

    #[test]
    fn a_code_block_ends_with_as_many_marks_of_its_kind() {
        for closed in
            ["```\nx\n```", "~~~ a`b\nx\n~~~~~", "   ````\n```\n   ````  ", "``` a`b`\n", "    ```\n", "``"]
        {
            assert_eq!(open(closed), None, "{closed}");
        }
        for still in ["```\nx\n~~~", "````\n```", "```\n    ```", "```\n``` x", "~~~\n~~"] {
            assert!(matches!(open(still), Some(Open::Fence { .. })), "{still}");
        }
    }

    #[test]
    fn a_code_block_of_a_list_item_ends_with_it() {
        assert_eq!(open("- ```\n  x\n  ```"), None);
        assert_eq!(open("10. ~~~\n    x\n\n    ~~~"), None);
        assert_eq!(open("- ```\n  x\nafter"), None);
        let inside = State::after(None, "- ```sh\n  x");
        assert_eq!(inside.closing(), "  ```\n");
        assert_eq!(inside.open.map(|open| open.opening()), Some("```sh\n".to_owned()));
    }

    #[test]
    fn comments_and_details_are_closed() {
        assert_eq!(State::after(None, "<!-- x\ny").closing(), "-->\n");
        assert_eq!(State::after(None, "<!-- x\ny --> z").closing(), "");
        assert_eq!(State::after(None, "<details>\n<DETAILS open>\n</details>").closing(), "\n</details>\n");
        assert_eq!(State::after(None, "```\n<details>\n<!--\n```").closing(), "");
    }
}
