//! The firmware's boot variables, as the kernel shows them in efivarfs.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::root::Root;

use super::load_option::LoadOption;

const DIRECTORY: &str = "sys/firmware/efi/efivars";
/// `EFI_GLOBAL_VARIABLE` (UEFI 2.10 §3.3).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// No sensible variable is larger, and many firmwares allow no larger ones.
const MAX_BYTES: u64 = 64 * 1024;
/// efivarfs puts the variable's attributes in front of its data.
const ATTRIBUTES: usize = 4;

/// A boot entry that was made for HTTP boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEntry {
    /// The number in the name of its variable, `Boot####`.
    pub number: u16,
    /// What the boot menu calls it.
    pub description: String,
    /// Where it boots from; at least one.
    pub uris: Vec<String>,
}

/// What the boot variables say.
#[derive(Debug, Default)]
pub struct BootEntries {
    /// The entry that this system was booted from first, then the others in the firmware's order, then the
    /// rest by number.
    pub http: Vec<HttpEntry>,
    /// Variables that were skipped, and why, each a line for people.
    pub skipped: Vec<String>,
}

/// Reads all boot entries. Fails only if there are no variables at all, as after a BIOS boot, in a container,
/// or before efivarfs is mounted.
pub fn read(root: &Root) -> io::Result<BootEntries> {
    let present = numbers(root)?;
    let mut entries = BootEntries::default();
    let current = number_list(root, "BootCurrent", &mut entries.skipped);
    let order = number_list(root, "BootOrder", &mut entries.skipped);

    let mut seen = BTreeSet::new();
    for number in current.into_iter().take(1).chain(order).chain(present.iter().copied()) {
        if !present.contains(&number) || !seen.insert(number) {
            continue;
        }
        match entry(root, number) {
            Ok(option) if option.uris.is_empty() => {}
            Ok(LoadOption { description, uris }) => {
                entries.http.push(HttpEntry { number, description, uris });
            }
            Err(why) => entries.skipped.push(format!("Boot{number:04X} is skipped: {why}")),
        }
    }
    Ok(entries)
}

/// The numbers of all `Boot####` variables.
fn numbers(root: &Root) -> io::Result<BTreeSet<u16>> {
    let mut numbers = BTreeSet::new();
    for file in fs::read_dir(root.at(DIRECTORY))? {
        numbers.extend(file?.file_name().to_str().and_then(number_of));
    }
    if numbers.is_empty() {
        // The directory is there before anything is mounted on it.
        return Err(io::Error::new(io::ErrorKind::NotFound, "no boot entries, or efivarfs is not mounted"));
    }
    Ok(numbers)
}

/// The number in the file name of a boot entry.
fn number_of(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
    let well_formed = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| well_formed)
}

fn entry(root: &Root, number: u16) -> Result<LoadOption, String> {
    // Some firmware writes lower-case digits, against the specification.
    let upper = variable(root, &format!("Boot{number:04X}"));
    let data = match upper {
        Err(error) if error.kind() == io::ErrorKind::NotFound => variable(root, &format!("Boot{number:04x}")),
        other => other,
    };
    LoadOption::parse(&data.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

/// `BootCurrent` or `BootOrder`; empty where it is missing.
fn number_list(root: &Root, name: &str, skipped: &mut Vec<String>) -> Vec<u16> {
    match variable(root, name) {
        Ok(data) => {
            if data.len() % 2 != 0 {
                skipped.push(format!("{name} has an odd number of bytes; its last one is ignored"));
            }
            parse_numbers(&data)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            skipped.push(format!("{name} is skipped: {error}"));
            Vec::new()
        }
    }
}

/// Takes the data of `BootOrder` or `BootCurrent` apart: 16-bit numbers, low byte first. Half a number at the
/// end is ignored.
#[must_use]
pub fn parse_numbers(data: &[u8]) -> Vec<u16> {
    data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// The data of a global variable.
fn variable(root: &Root, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = root.read(&format!("{DIRECTORY}/{name}-{GLOBAL}"), MAX_BYTES)?;
    if bytes.len() < ATTRIBUTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the variable is empty"));
    }
    Ok(bytes.split_off(ATTRIBUTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_boot_entries_have_a_number() {
        assert_eq!(number_of("Boot001A-8be4df61-93ca-11d2-aa0d-00e098032b8c"), Some(0x1a));
        assert_eq!(number_of("Boot001a-8be4df61-93ca-11d2-aa0d-00e098032b8c"), Some(0x1a));
        for other in [
            "BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c",
            "Boot+01A-8be4df61-93ca-11d2-aa0d-00e098032b8c",
            "Boot01A-8be4df61-93ca-11d2-aa0d-00e098032b8c",
            "Boot001A-00000000-93ca-11d2-aa0d-00e098032b8c",
            "Boot001A8be4df61-93ca-11d2-aa0d-00e098032b8c",
            "Boot001A",
        ] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_read_low_byte_first_and_half_a_number_is_ignored() {
        assert_eq!(parse_numbers(&[2, 0, 0x1a, 0x01, 9]), [2, 0x011a]);
        assert_eq!(parse_numbers(&[]), Vec::<u16>::new());
    }
}
