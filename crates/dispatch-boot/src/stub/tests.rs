use std::time::Duration;

use object::read::pe::{ImageOptionalHeader, PeFile64};
use object::{Object, ObjectSection};
use proptest::prelude::*;

use super::*;

const EVERY_STUB: [Stub; 3] = [Stub::PowerOff, Stub::Reboot { after: Duration::from_secs(30) }, Stub::Next];

fn any_stub() -> impl Strategy<Value = Stub> {
    prop_oneof![
        Just(Stub::PowerOff),
        any::<Duration>().prop_map(|after| Stub::Reboot { after }),
        Just(Stub::Next),
    ]
}

/// The line as the console gets it.
fn line(text: &str) -> String {
    let units: Vec<u16> =
        console_line(text).chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).expect("no half of a surrogate pair")
}

#[test]
fn a_stub_is_an_efi_application_for_its_machine() {
    for stub in EVERY_STUB {
        let image = build(stub, Arch::X86_64, "hello");
        let file = PeFile64::parse(&*image).unwrap();
        let subsystem = file.nt_headers().optional_header.subsystem();
        assert_eq!(subsystem, object::pe::IMAGE_SUBSYSTEM_EFI_APPLICATION);
        assert_eq!(inspect::efi_arch(&image), Some(pe::Machine::X86_64));
    }
}

#[test]
fn a_stub_starts_within_its_code() {
    for stub in EVERY_STUB {
        let image = build(stub, Arch::X86_64, "hello");
        let file = PeFile64::parse(&*image).unwrap();
        let text = file.section_by_name(".text").unwrap();
        assert!((text.address()..text.address() + text.size()).contains(&file.entry()));
    }
}

#[test]
fn a_stub_with_the_longest_text_takes_two_kibibytes() {
    for stub in EVERY_STUB {
        let image = build(stub, Arch::X86_64, &"x".repeat(MAX_TEXT));
        assert_eq!(image.len(), 2048);
    }
}

#[test]
fn the_text_is_one_line() {
    assert_eq!(line("queue\tempty\r\nsee \u{2028}log"), "queue empty  see  log\r\n\0");
}

#[test]
fn the_text_cannot_steer_the_console() {
    assert_eq!(line("\0a\u{1b}[2Jb\u{9b}2Jc\u{fff0}d\u{fffe}"), "?a?[2Jb?2Jc?d?\r\n\0");
}

#[test]
fn letters_are_kept_and_emoji_are_not() {
    assert_eq!(line("Köln, Žižkov, 東京 🚀"), "Köln, Žižkov, 東京 ?\r\n\0");
}

#[test]
fn a_long_text_is_cut_off() {
    let shown = line(&"é".repeat(MAX_TEXT + 1));
    assert_eq!(shown, format!("{}\r\n\0", "é".repeat(MAX_TEXT)));
}

proptest! {
    #[test]
    fn any_text_makes_an_image_that_says_it(stub in any_stub(), text: String) {
        let image = build(stub, Arch::X86_64, &text);
        let file = PeFile64::parse(&*image).unwrap();
        let data = file.section_by_name(".rdata").unwrap();
        prop_assert_eq!(data.data().unwrap(), console_line(&text));
    }

    #[test]
    fn plain_text_is_shown_as_it_is(text in "[ -~à-ÿЀ-ӿ一-鿿]{0,200}") {
        let image = build(Stub::Next, Arch::X86_64, &text);
        let utf16: Vec<u8> = format!("{text}\r\n\0")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let file = PeFile64::parse(&*image).unwrap();
        let data = file.section_by_name(".rdata").unwrap();
        prop_assert_eq!(data.data().unwrap(), utf16);
    }

    #[test]
    fn any_text_is_one_bounded_line(text: String) {
        let shown = line(&text);
        let body = shown.strip_suffix("\r\n\0").unwrap();
        prop_assert!(body.chars().count() <= MAX_TEXT);
        prop_assert!(!body.contains(char::is_control));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(stub in any_stub(), text: String) {
        prop_assert_eq!(build(stub, Arch::X86_64, &text), build(stub, Arch::X86_64, &text));
    }
}
