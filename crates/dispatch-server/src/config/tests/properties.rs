//! Whatever is written, there is an answer, and its places are in the file.

use std::path::Path;

use proptest::prelude::*;

use super::{FILE, hush, unset};
use crate::config::tree::lines;
use crate::config::{EXAMPLE, Environment, Loaded, Mistakes, Note, parse, templates};

/// Whether the places are in the text, and the keys and sentences are such.
fn are_sound(notes: &[Note], text: &str) -> Result<(), TestCaseError> {
    let lines = lines(text);
    for note in notes {
        let (line, column) = (note.place.line, note.place.column);
        prop_assert!((1..=lines.len()).contains(&line), "{} in {:?}", note, text);
        let length = lines[line - 1].chars().count();
        prop_assert!((1..=length + 1).contains(&column), "{} in {:?}", note, text);
        prop_assert!(
            !note.what.is_empty() && !note.what.contains("makers of dispatch"),
            "{} in {:?}",
            note,
            text
        );
    }
    Ok(())
}

fn has_an_answer(text: &str, env: Environment<'_>) -> Result<(), TestCaseError> {
    match parse(text, Path::new(FILE), env) {
        Ok(Loaded { warnings, .. }) => are_sound(&warnings, text),
        Err(Mistakes(mistakes)) => {
            prop_assert!(!mistakes.is_empty());
            are_sound(&mistakes, text)
        }
    }
}

/// The end of each line, and every fifth character: a broken word is much like the next.
#[test]
fn beginnings_of_the_example_have_an_answer() {
    for (end, letter) in EXAMPLE.char_indices().filter(|(end, letter)| end % 5 == 0 || *letter == '\n') {
        has_an_answer(&EXAMPLE[..end], &unset).unwrap_or_else(|error| panic!("{end} ({letter}): {error}"));
    }
}

/// Pieces that YAML and our schema care about.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "groups",
        "metal",
        "github",
        "sources",
        "release",
        "id",
        "hosts",
        "mac",
        "auth",
        "basic",
        "users",
        "password",
        "enabled",
        "true",
        "~",
        "\"",
        "'",
        "|",
        ">",
        "${A}",
        "${",
        "$${",
        "- ",
        ": ",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "# ",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "\r\n",
        "---",
        "...",
        "%YAML 1.2",
        "<<",
        "0",
        "-1",
        "ä",
        "\u{2028}",
        "\u{feff}",
        "\0",
        "2m",
    ];
    prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_has_an_answer(text in "\\PC*") {
        has_an_answer(&text, &hush)?;
    }

    #[test]
    fn any_pieces_have_an_answer(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        has_an_answer(&text, &hush)?;
        let configuration = parse("", Path::new(FILE), &unset).expect("a configuration").configuration;
        let url = "https://h.test/t.yaml".parse().expect("a URL");
        if let Err(Mistakes(mistakes)) = templates(&text, &url, &configuration) {
            are_sound(&mistakes, &text)?;
        }
    }

    #[test]
    fn an_example_with_anything_in_it_has_an_answer(
        at in 0..EXAMPLE.len(),
        gone in 0..40_usize,
        pieces in proptest::collection::vec(piece(), 0..6),
    ) {
        prop_assume!(EXAMPLE.is_char_boundary(at));
        let rest = EXAMPLE[at..].chars().skip(gone).collect::<String>();
        has_an_answer(&format!("{}{}{rest}", &EXAMPLE[..at], pieces.concat()), &hush)?;
    }
}
