//! Reads as much of a PE/COFF header as is needed to add sections to an EFI stub.
//!
//! Follows Microsoft's "PE Format", sections "COFF File Header", "Optional Header" and "Section Table".

/// A file that is not a 64-bit PE image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PeError {
    /// A signature or magic number is wrong.
    #[error("it is not a 64-bit PE image ({0})")]
    NotPe(&'static str),
    /// It ends inside its headers.
    #[error("it breaks off inside its headers")]
    Truncated,
    /// Its sections lie outside what an address can hold.
    #[error("its section table makes no sense")]
    Nonsense,
}

/// Where an image's sections end, and how the next ones must be aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What virtual addresses count from; objcopy's addresses include it.
    pub image_base: u64,
    /// The alignment of sections in memory, in bytes; a power of two.
    pub alignment: u64,
    /// The first address behind the last section, relative to `image_base`, not aligned.
    pub end: u64,
}

impl Layout {
    /// Reads the layout of a PE32+ image.
    ///
    /// # Errors
    ///
    /// [`PeError`] for anything that is not one; arbitrary bytes are safe to give.
    pub fn of(image: &[u8]) -> Result<Self, PeError> {
        if image.get(..2) != Some(b"MZ".as_slice()) {
            return Err(PeError::NotPe("no MZ signature"));
        }
        let pe = read_u32(image, 0x3c)? as usize;
        if image.get(pe..).and_then(|rest| rest.get(..4)) != Some(b"PE\0\0".as_slice()) {
            return Err(PeError::NotPe("no PE signature"));
        }
        let sections = usize::from(read_u16(image, pe + 6)?);
        let optional = pe + 24;
        if read_u16(image, optional)? != 0x20b {
            return Err(PeError::NotPe("no PE32+ header"));
        }
        let image_base =
            u64::from(read_u32(image, optional + 24)?) | u64::from(read_u32(image, optional + 28)?) << 32;
        let alignment = u64::from(read_u32(image, optional + 32)?);
        if !alignment.is_power_of_two() {
            return Err(PeError::Nonsense);
        }
        let table = optional + usize::from(read_u16(image, pe + 20)?);
        let mut end = 0;
        for section in 0..sections {
            let header = table + section * 40;
            // Whichever is larger: a linker may leave either smaller than the other.
            let size = read_u32(image, header + 8)?.max(read_u32(image, header + 16)?);
            end = end.max(u64::from(read_u32(image, header + 12)?) + u64::from(size));
        }
        // A page at least, because firmware that protects memory does it by pages.
        Ok(Self { image_base, alignment: alignment.max(0x1000), end })
    }

    /// Takes room for a new section of `size` bytes and returns its virtual address, as objcopy wants it.
    ///
    /// # Errors
    ///
    /// [`PeError::Nonsense`] if it does not fit below 4 GiB, where a PE image ends.
    pub fn place(&mut self, size: u64) -> Result<u64, PeError> {
        let start = self.end.next_multiple_of(self.alignment);
        let end =
            start.checked_add(size).filter(|&end| u32::try_from(end).is_ok()).ok_or(PeError::Nonsense)?;
        self.end = end;
        self.image_base.checked_add(start).ok_or(PeError::Nonsense)
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Result<u16, PeError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(PeError::Truncated)?;
    Ok(u16::from_le_bytes(*field))
}

fn read_u32(bytes: &[u8], at: usize) -> Result<u32, PeError> {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(PeError::Truncated)?;
    Ok(u32::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use dispatch_boot::stub::{Arch, Stub, build};

    #[test]
    fn new_sections_lie_behind_the_old_ones_and_do_not_overlap() {
        let image = build(Stub::PowerOff, Arch::X86_64, "");
        let mut layout = Layout::of(&image).unwrap();
        let old_end = layout.end;
        let first = layout.place(5000).unwrap();
        let second = layout.place(1).unwrap();
        assert!(first >= layout.image_base + old_end);
        assert_eq!(second, first + 8192);
        assert_eq!(first % 4096, 0);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), signed: bool) {
            if signed && bytes.len() > 0x80 {
                bytes[..2].copy_from_slice(b"MZ");
                bytes[0x3c..0x40].copy_from_slice(&[0x40, 0, 0, 0]);
                bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
                bytes[0x58..0x5a].copy_from_slice(&[0x0b, 2]);
            }
            if let Ok(mut layout) = Layout::of(&bytes) {
                let _ = layout.place(1 << 20);
            }
        }
    }
}
