//! What kind of EFI application a file is, from its first bytes: so that a queue can refuse an
//! image for the wrong architecture before a machine has downloaded it.
//!
//! Anyone may call this; the bytes may be anything.

use dispatch_core::Arch;

use super::pe::Machine;

/// How much of a file [`efi_arch`] should be given, in bytes. Linkers put the PE header within
/// the first few hundred; the rest is reserve for a long DOS stub.
pub const HEAD_LEN: usize = 4096;

/// The machine that a PE image was made for, or `None` if `head` is not the beginning of a PE
/// image (PE Format, *MS-DOS Stub*, *Signature*, *COFF File Header*).
///
/// Only the two signatures are asked for: firmware is the judge of the rest, and this must not
/// turn away what firmware would start. A file whose PE header lies beyond `head` counts as
/// none.
#[must_use]
pub fn efi_arch(head: &[u8]) -> Option<Machine> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let offset = u32::from_le_bytes(*head.get(0x3c..)?.first_chunk()?);
    let header = head.get(usize::try_from(offset).ok()?..)?.strip_prefix(b"PE\0\0")?;
    Some(Machine::from_code(u16::from_le_bytes(*header.first_chunk()?)))
}

/// The architecture that a machine is known by here, if it is one that we serve.
#[must_use]
pub fn arch_of(machine: Machine) -> Option<Arch> {
    match machine {
        Machine::X86_64 => Some(Arch::X86_64),
        Machine::Aarch64 => Some(Arch::Aarch64),
        Machine::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pe;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tells_the_machines_apart() {
        for machine in [Machine::X86_64, Machine::Aarch64, Machine::Other(0x5064)] {
            let image = pe::write(machine, b"data", b"code");
            assert_eq!(efi_arch(&image), Some(machine));
        }
    }

    #[test]
    fn a_disk_image_is_not_an_efi_application() {
        assert_eq!(efi_arch(&[0; HEAD_LEN]), None);
        assert_eq!(efi_arch(b""), None);
        assert_eq!(efi_arch(b"MZ"), None);
    }

    #[test]
    fn a_header_beyond_the_head_is_not_found() {
        let image = pe::write(Machine::X86_64, b"data", b"code");
        for len in 0..0x46 {
            assert_eq!(efi_arch(&image[..len]), None, "{len} bytes");
        }
        assert_eq!(efi_arch(&image[..0x46]), Some(Machine::X86_64));
    }

    proptest! {
        #[test]
        fn takes_any_bytes(head: Vec<u8>) {
            let _ = efi_arch(&head);
        }

        #[test]
        fn takes_any_header_offset(offset: u32, mut head in proptest::collection::vec(any::<u8>(), 64..256)) {
            head[..2].copy_from_slice(b"MZ");
            head[0x3c..0x40].copy_from_slice(&offset.to_le_bytes());
            let _ = efi_arch(&head);
        }

        #[test]
        fn reads_the_machine_wherever_the_header_is(offset in 64..HEAD_LEN - 6, code: u16) {
            let mut head = vec![0; HEAD_LEN];
            head[..2].copy_from_slice(b"MZ");
            head[0x3c..0x40].copy_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
            head[offset..offset + 4].copy_from_slice(b"PE\0\0");
            head[offset + 4..offset + 6].copy_from_slice(&code.to_le_bytes());
            prop_assert_eq!(efi_arch(&head).map(Machine::code), Some(code));
        }
    }
}
