//! The parsers of firmware data against arbitrary and against made-up bytes.

#![cfg(test)]

mod common;

use beacon::efi::device_path::http_boot_uris;
use beacon::efi::load_option::LoadOption;
use beacon::efi::vars;
use common::{Machine, http_path, load_option, node};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that look enough like a device path to get far into its parser.
fn almost_a_path() -> impl Strategy<Value = Vec<u8>> {
    let node = (
        prop_oneof![Just((3, 11)), Just((3, 24)), Just((0x7f, 1)), Just((0x7f, 0xff)), any::<(u8, u8)>()],
        vec(any::<u8>(), 0..12),
        prop_oneof![9 => Just(None), 1 => any::<u16>().prop_map(Some)],
    )
        .prop_map(|((kind, subtype), data, lie)| {
            let mut bytes = node(kind, subtype, &data);
            if let Some(length) = lie {
                bytes[2..4].copy_from_slice(&length.to_le_bytes());
            }
            bytes
        });
    vec(node, 0..12).prop_map(|nodes| nodes.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = LoadOption::parse(&bytes);
        let _ = http_boot_uris(&bytes);
        prop_assert_eq!(vars::parse_numbers(&bytes).len(), bytes.len() / 2);
    }

    #[test]
    fn almost_paths_are_judged_without_panic(paths in almost_a_path(), cut in 0_usize..40) {
        let _ = http_boot_uris(&paths);
        let option = load_option("x", &paths, b"");
        let _ = LoadOption::parse(option.get(..option.len().saturating_sub(cut)).unwrap_or_default());
    }

    #[test]
    fn what_is_encoded_is_parsed_back(
        description in "[^\0]{0,40}",
        uris in vec("http://[a-z0-9./?&=:-]{1,60}", 1..4),
        optional in vec(any::<u8>(), 0..40),
        as_instances: bool,
    ) {
        let mut paths: Vec<u8> = uris.iter().flat_map(|uri| {
            let mut path = http_path(uri);
            if as_instances {
                let end = path.len() - 3;
                path[end] = 1;
            }
            path
        }).collect();
        if as_instances {
            paths.extend(node(0x7f, 0xff, b""));
        }
        let option = LoadOption::parse(&load_option(&description, &paths, &optional)).expect("well-formed");
        prop_assert_eq!(option, LoadOption { description, uris });
    }

    #[test]
    fn any_variables_are_read_without_panic(
        entry in vec(any::<u8>(), 0..100), order in vec(any::<u8>(), 0..9), current in vec(any::<u8>(), 0..4),
    ) {
        let machine = Machine::new()
            .with_variable("Boot0001", &load_option("x", &http_path("http://a/"), b""))
            .with_variable("Boot0002", &entry)
            .with_variable("BootOrder", &order)
            .with_variable("BootCurrent", &current);
        let entries = vars::read(&machine.root()).expect("there are variables");
        prop_assert!(entries.http.iter().any(|entry| entry.number == 1), "the good one is found");
    }
}

fn numbers(machine: &Machine) -> Vec<u16> {
    vars::read(&machine.root()).expect("there are variables").http.iter().map(|entry| entry.number).collect()
}

fn machine_with_entries(entries: &[u16]) -> Machine {
    entries.iter().fold(Machine::new(), |machine, number| {
        let option = load_option("UEFI HTTPv4", &http_path(&format!("http://lab/{number}")), b"");
        machine.with_variable(&format!("Boot{number:04X}"), &option)
    })
}

#[test]
fn the_entry_that_was_booted_comes_first_then_the_order_then_the_rest() {
    let machine = machine_with_entries(&[1, 2, 3, 0x1a])
        .with_variable("BootCurrent", &[3, 0])
        .with_variable("BootOrder", &[2, 0, 3, 0, 9, 0, 2, 0]);
    assert_eq!(numbers(&machine), [3, 2, 1, 0x1a]);
}

#[test]
fn without_current_and_order_the_numbers_decide() {
    assert_eq!(numbers(&machine_with_entries(&[0x1a, 2])), [2, 0x1a]);
}

#[test]
fn damaged_variables_are_skipped_with_a_word_and_the_others_count() {
    let machine = machine_with_entries(&[5])
        .with_variable("Boot0001", b"\x01\0\0\0\xff\xff")
        .with_variable("Boot0002", &load_option("x", &[3, 24, 1, 0], b""))
        .with("sys/firmware/efi/efivars/Boot0003-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"")
        .with("sys/firmware/efi/efivars/Boot0004-8be4df61-93ca-11d2-aa0d-00e098032b8c/x", b"a directory")
        .with("sys/firmware/efi/efivars/Boot0006-8be4df61-93ca-11d2-aa0d-00e098032b8c", vec![0; 70_000])
        .with_variable("BootOrder", &[9])
        .with_variable("BootCurrent", &[]);
    assert_eq!(numbers(&machine), [5]);
    let skipped = vars::read(&machine.root()).expect("there are variables").skipped;
    for name in ["BootOrder", "Boot0001", "Boot0002", "Boot0003", "Boot0004", "Boot0006"] {
        assert!(skipped.iter().any(|line| line.starts_with(name)), "{name} in {skipped:?}");
    }
    assert_eq!(skipped.len(), 6, "{skipped:?}");
}

#[test]
fn disks_and_entries_that_leave_the_url_to_dhcp_are_silently_none() {
    let disk = [node(4, 1, &[0; 38]), node(4, 4, b"\\\0E\0F\0I\0\0\0"), node(0x7f, 0xff, b"")].concat();
    let machine = Machine::new()
        .with_variable("Boot0000", &load_option("debian", &disk, b""))
        .with_variable("Boot0001", &load_option("UEFI HTTPv4", &http_path(""), b""));
    let entries = vars::read(&machine.root()).expect("there are variables");
    assert_eq!((entries.http, entries.skipped), (vec![], vec![]));
}

#[test]
fn a_lower_case_name_is_read_as_well() {
    let option = load_option("x", &http_path("http://lab/"), b"");
    assert_eq!(numbers(&Machine::new().with_variable("Boot00ab", &option)), [0xab]);
}

#[test]
fn without_efivarfs_there_is_an_error_that_says_so() {
    assert!(vars::read(&Machine::new().root()).is_err());
    let unmounted = Machine::new().with("sys/firmware/efi/efivars/.keep", "");
    assert!(
        vars::read(&unmounted.root()).expect_err("nothing").to_string().contains("efivarfs is not mounted")
    );
}
