//! `EFI_LOAD_OPTION` (UEFI 2.10 §3.1.3): what a `Boot####` variable says.

use super::device_path::{self, PathError};

/// One entry of the firmware's boot menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOption {
    /// The name that the boot menu shows; what is not UTF-16 in it is replaced.
    pub description: String,
    /// Where it boots from over HTTP; empty for a disk, and for an entry that leaves the URL to DHCP.
    pub uris: Vec<String>,
}

/// What is wrong with a load option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadOptionError {
    /// It ends inside its fixed part, or its description has no end.
    #[error("the boot entry is cut off")]
    CutOff,
    /// It says that its device paths are longer than what there is.
    #[error("the boot entry claims {claimed} bytes of device paths and has {present}")]
    PathsTooLong {
        /// `FilePathListLength`.
        claimed: usize,
        /// What follows the description.
        present: usize,
    },
    /// Its device path is damaged.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// `Attributes` and `FilePathListLength`.
const FIXED: usize = 6;

impl LoadOption {
    /// Takes a load option apart. `bytes` is the variable's data, without the attributes that efivarfs puts
    /// in front.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadOptionError> {
        let &[_, _, _, _, low, high, ..] = bytes else { return Err(LoadOptionError::CutOff) };
        let claimed = usize::from(u16::from_le_bytes([low, high]));
        let rest = bytes.get(FIXED..).unwrap_or_default();

        let units = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let length = units.clone().position(|unit| unit == 0).ok_or(LoadOptionError::CutOff)?;
        let description = char::decode_utf16(units.take(length))
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();

        let rest = rest.get(2 * (length + 1)..).unwrap_or_default();
        let present = rest.len();
        let list = rest.get(..claimed).ok_or(LoadOptionError::PathsTooLong { claimed, present })?;
        Ok(Self { description, uris: device_path::http_boot_uris(list)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A boot entry as OVMF keeps it for HTTP boot: PCI root, network card, MAC, IPv4, URI, end.
    fn real_entry() -> Vec<u8> {
        let uri = b"http://10.0.2.2:8080/dispatch";
        let mut paths = hex("02010c00d041030a00000000 010106000001");
        paths.extend(hex("030b2500 525400770001 0000000000000000000000000000000000000000000000000000 01"));
        paths.extend(hex("030c1b00 0000000000000000000000000000000000000000000000"));
        paths.extend([3, 24, 4 + 29, 0]);
        paths.extend(uri);
        paths.extend(hex("7fff0400"));
        let mut entry = hex("01000000");
        entry.extend(u16::try_from(paths.len()).expect("short").to_le_bytes());
        entry.extend("UEFI HTTPv4 (MAC:525400770001)\0".encode_utf16().flat_map(u16::to_le_bytes));
        entry.extend(paths);
        // The mark by which the firmware knows that it made the entry itself: optional data.
        entry.extend(hex("4eac0881119f594d850ee21a522c59b2"));
        entry
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| d.try_into().expect("a digit")).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn an_entry_of_real_firmware_is_understood() {
        let option = LoadOption::parse(&real_entry()).expect("a load option");
        assert_eq!(option.description, "UEFI HTTPv4 (MAC:525400770001)");
        assert_eq!(option.uris, ["http://10.0.2.2:8080/dispatch"]);
    }

    #[test]
    fn an_entry_that_leaves_the_url_to_dhcp_has_none() {
        let mut entry = hex("01000000 5a00");
        entry.extend("UEFI HTTPv4\0".encode_utf16().flat_map(u16::to_le_bytes));
        entry.extend(hex("02010c00d041030a00000000 010106000001 030b2500 525400770001"));
        entry.extend([0; 26]);
        entry.extend(hex("01 030c1b00"));
        entry.extend([0; 23]);
        entry.extend(hex("03180400 7fff0400 4eac0881119f594d850ee21a522c59b2"));
        assert_eq!(LoadOption::parse(&entry).expect("a load option").uris, Vec::<String>::new());
    }

    #[test]
    fn an_entry_cut_off_anywhere_is_an_error_and_no_panic() {
        let entry = real_entry();
        let whole = entry.len() - 16;
        for length in 0..whole {
            assert!(LoadOption::parse(&entry[..length]).is_err(), "{length} bytes");
        }
        assert!(LoadOption::parse(&entry[..whole]).is_ok());
    }

    #[test]
    fn a_list_longer_than_the_entry_is_told() {
        let entry = [1, 0, 0, 0, 0xff, 0xff, 0, 0, 9, 9];
        let error = LoadOption::parse(&entry).expect_err("refused");
        assert_eq!(error, LoadOptionError::PathsTooLong { claimed: 65_535, present: 2 });
    }

    #[test]
    fn a_description_with_lone_surrogates_is_replaced() {
        let entry = [1, 0, 0, 0, 0, 0, 0x00, 0xd8, b'x', 0, 0, 0];
        assert_eq!(LoadOption::parse(&entry).expect("a load option").description, "\u{fffd}x");
    }
}
