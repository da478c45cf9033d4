use std::time::Duration;

use object::read::pe::{ImageOptionalHeader, PeFile64};
use object::{Object, ObjectSection};
use proptest::prelude::*;

use super::*;

const WAIT: Stub = Stub::Wait { ask_every: Duration::from_millis(2500) };
const EVERY_STUB: [Stub; 4] =
    [Stub::PowerOff, Stub::Reboot { after: Duration::from_secs(30) }, Stub::Next, WAIT];
const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

fn every_stub() -> impl Iterator<Item = (Stub, Arch)> {
    EVERY_STUB.into_iter().flat_map(|stub| ARCHES.map(|arch| (stub, arch)))
}

fn any_stub() -> impl Strategy<Value = Stub> {
    prop_oneof![
        Just(Stub::PowerOff),
        any::<Duration>().prop_map(|after| Stub::Reboot { after }),
        Just(Stub::Next),
        any::<Duration>().prop_map(|ask_every| Stub::Wait { ask_every }),
    ]
}

fn any_arch() -> impl Strategy<Value = Arch> {
    proptest::sample::select(&ARCHES[..])
}

/// The line as the console gets it.
fn line(text: &str) -> String {
    let units: Vec<u16> =
        console_line(text).chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    String::from_utf16(&units).expect("no half of a surrogate pair")
}

#[test]
fn a_stub_is_an_efi_application_for_its_machine() {
    for (stub, arch) in every_stub() {
        let image = build(stub, arch, "hello");
        let file = PeFile64::parse(&*image).unwrap();
        let subsystem = file.nt_headers().optional_header.subsystem();
        assert_eq!(subsystem, object::pe::IMAGE_SUBSYSTEM_EFI_APPLICATION);
        assert_eq!(inspect::efi_arch(&image), Some(arch.into()));
    }
}

#[test]
fn a_stub_starts_within_its_code() {
    for (stub, arch) in every_stub() {
        let image = build(stub, arch, "hello");
        let file = PeFile64::parse(&*image).unwrap();
        let text = file.section_by_name(".text").unwrap();
        assert!((text.address()..text.address() + text.size()).contains(&file.entry()));
    }
}

#[test]
fn a_stub_with_the_longest_text_takes_two_kibibytes_or_four_and_a_half() {
    for (stub, arch) in every_stub() {
        let image = build(stub, arch, &"x".repeat(MAX_TEXT));
        assert_eq!(image.len(), if stub == WAIT { 4608 } else { 2048 });
    }
}

#[test]
fn a_stub_that_waits_carries_what_another_looks_for() {
    for arch in ARCHES {
        let image = build(WAIT, arch, "hello");
        let record = image[0x200..].strip_prefix(&[
            0x55, 0x0f, 0xbd, 0x6c, 0x0a, 0x4a, 0xd5, 0x4d, 0x9c, 0x0d, 0xa2, 0x13, 0x68, 0xe7, 0x5b, 0x81,
        ]);
        let record = record.expect("the marker, which is the same for ever");
        assert_eq!(record[..4], 2_u32.to_le_bytes());
        assert_eq!(record[4..8], 500_000_u32.to_le_bytes());
        let line = console_line("hello");
        assert_eq!(record[8..8 + line.len()], line);
        assert!(record[8 + line.len()..0x1b0 - 0x10].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn no_other_stub_is_taken_for_one_that_waits() {
    for stub in EVERY_STUB.into_iter().filter(|stub| *stub != WAIT) {
        let [image, waiting] = [stub, WAIT].map(|stub| build(stub, Arch::X86_64, "hello"));
        assert_ne!(image[0x200..0x210], waiting[0x200..0x210]);
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
fn of_a_long_text_the_middle_is_left_out_and_its_end_is_shown() {
    let longest = "é".repeat(MAX_TEXT);
    assert_eq!(line(&longest), format!("{longest}\r\n\0"));
    let name = "long-".repeat(60);
    let shown = line(&format!("dispatch: waiting for work: {name}.efi is being written at the moment"));
    assert_eq!(shown.chars().count(), MAX_TEXT + 3);
    assert!(shown.starts_with("dispatch: waiting for work: long-") && shown.contains("..."), "{shown}");
    assert!(shown.ends_with("long-.efi is being written at the moment\r\n\0"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_makes_an_image_that_says_it(stub in any_stub(), arch in any_arch(), text: String) {
        let image = build(stub, arch, &text);
        let file = PeFile64::parse(&*image).unwrap();
        let data = file.section_by_name(".rdata").unwrap().data().unwrap();
        let line_at = if matches!(stub, Stub::Wait { .. }) { 0x18 } else { 0 };
        prop_assert!(data[line_at..].starts_with(&console_line(&text)));
    }

    #[test]
    fn all_that_wait_have_the_same_length(
        arch in any_arch(),
        one: (Duration, String),
        other: (Duration, String),
    ) {
        let len = |(ask_every, text): (_, String)| build(Stub::Wait { ask_every }, arch, &text).len();
        prop_assert_eq!(len(one), len(other));
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
    fn the_same_input_gives_the_same_bytes(stub in any_stub(), arch in any_arch(), text: String) {
        prop_assert_eq!(build(stub, arch, &text), build(stub, arch, &text));
    }
}
