//! A PE32+ writer for EFI applications of two parts: constant data, and code that refers to
//! it relative to its own address.
//!
//! For the parent module only. It knows nothing about instructions, so it is the same for
//! every architecture. The format is that of Microsoft's *PE Format*, whose sections are named
//! below; what firmware wants of it is in UEFI 2.10 §2.1.1 and §2.3.
//!
//! Choices, each made for the strictest loader we expect to meet:
//!
//! - **Sections.** `.rdata` (readable), `.text` (readable, executable), `.reloc` (readable,
//!   discardable), each on pages of its own and none both writable and executable. Firmware
//!   that enforces memory attributes maps such an image as it is, and `NX_COMPAT` promises it
//!   that the code never runs from data or from the stack. The data comes first because its
//!   length is known before the code is assembled; the code's address follows from it.
//! - **Relocation.** The code refers to everything relative to itself, so there is nothing to
//!   relocate. But an image without relocations may be taken for one that can only live at its
//!   preferred address. So the image does not set `RELOCS_STRIPPED`, and its `.reloc` holds one
//!   block of two `ABSOLUTE` entries, which are padding by definition: a loader walks the block
//!   and changes nothing, and one that insists on a block finds it.
//! - **Alignment.** 4096 in memory, as page protection demands; 512 in the file, the smallest
//!   the format allows, since no loader maps an EFI application straight from its file and
//!   an application so aligned fits into 2 KiB instead of 16.
//! - **Signing.** All sixteen data directories exist and the certificate table's is empty, so
//!   that a signing tool only has to append. Nothing follows the last section. The checksum is
//!   the real one, although firmware does not ask for it.
//! - **Time stamp.** Zero. The same input gives the same bytes.

use dispatch_core::Arch;

/// The CPU type of an image (PE Format, *Machine Types*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// `IMAGE_FILE_MACHINE_AMD64`.
    X86_64,
    /// `IMAGE_FILE_MACHINE_ARM64`.
    Aarch64,
    /// Any other value of the field, as it stands in the file.
    Other(u16),
}

impl Machine {
    /// The machine that the header field's value means.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        match code {
            0x8664 => Self::X86_64,
            0xaa64 => Self::Aarch64,
            other => Self::Other(other),
        }
    }

    /// The value of the header field.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::X86_64 => 0x8664,
            Self::Aarch64 => 0xaa64,
            Self::Other(code) => code,
        }
    }
}

impl From<Arch> for Machine {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64,
            Arch::Aarch64 => Self::Aarch64,
        }
    }
}

const SECTION_ALIGNMENT: usize = 4096;
const FILE_ALIGNMENT: usize = 512;

/// Offset of the PE signature: right behind the DOS header, with no DOS program between.
const PE_OFFSET: u8 = 0x40;
const COFF_HEADER: usize = 20;
const OPTIONAL_HEADER: u16 = 112 + 8 * DATA_DIRECTORIES;
const DATA_DIRECTORIES: u16 = 16;
const BASE_RELOCATION_TABLE: u16 = 5;
const SECTION_HEADER: usize = 40;
const SECTIONS: u16 = 3;

const HEADERS: usize =
    PE_OFFSET as usize + 4 + COFF_HEADER + OPTIONAL_HEADER as usize + SECTIONS as usize * SECTION_HEADER;

/// Offset of `CheckSum` in the file: 64 bytes into the optional header.
const CHECKSUM_OFFSET: usize = PE_OFFSET as usize + 4 + COFF_HEADER + 64;

const PE32_PLUS: u16 = 0x20b;
const EXECUTABLE_IMAGE: u16 = 0x0002;
const LARGE_ADDRESS_AWARE: u16 = 0x0020;
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
const DYNAMIC_BASE: u16 = 0x0040;
const NX_COMPAT: u16 = 0x0100;

const CNT_CODE: u32 = 0x0000_0020;
const CNT_INITIALIZED_DATA: u32 = 0x0000_0040;
const MEM_DISCARDABLE: u32 = 0x0200_0000;
const MEM_EXECUTE: u32 = 0x2000_0000;
const MEM_READ: u32 = 0x4000_0000;

/// Where the data begins, in bytes from the image's base: the first page after the headers.
pub const DATA_RVA: usize = HEADERS.next_multiple_of(SECTION_ALIGNMENT);

/// Where the data begins in the file, in bytes from its start.
pub const DATA_OFFSET: usize = HEADERS.next_multiple_of(FILE_ALIGNMENT);

/// Where the code begins, in bytes from the image's base, behind `data_len` bytes of data.
#[must_use]
pub const fn code_rva(data_len: usize) -> usize {
    pages_end(DATA_RVA, data_len)
}

/// Writes an EFI application whose entry point is the first byte of `code`.
///
/// `code` has to be assembled for the address [`code_rva`]`(data.len())`, with `data` at
/// [`DATA_RVA`], and to refer to both relative to itself only. Sizes beyond the format's
/// 32 bits are written as the largest value, which no loader accepts.
#[must_use]
pub fn write(machine: Machine, data: &[u8], code: &[u8]) -> Vec<u8> {
    let relocations = no_relocations();
    let sections = place([
        (*b".rdata\0\0", CNT_INITIALIZED_DATA | MEM_READ, data),
        (*b".text\0\0\0", CNT_CODE | MEM_EXECUTE | MEM_READ, code),
        (*b".reloc\0\0", CNT_INITIALIZED_DATA | MEM_DISCARDABLE | MEM_READ, &relocations),
    ]);

    let mut file = Bytes::default();
    dos_header(&mut file);
    coff_header(&mut file, machine);
    optional_header(&mut file, &sections);
    for section in &sections {
        section_header(&mut file, section);
    }
    for section in &sections {
        file.pad_to(section.offset);
        file.0.extend_from_slice(section.contents);
    }
    file.pad_to(file.0.len().next_multiple_of(FILE_ALIGNMENT));

    let sum = checksum(&file.0).to_le_bytes();
    for (byte, sum) in file.0.iter_mut().skip(CHECKSUM_OFFSET).zip(sum) {
        *byte = sum;
    }
    file.0
}

/// A section and its place, in bytes from the image's base and from the start of the file.
struct Section<'a> {
    name: [u8; 8],
    flags: u32,
    contents: &'a [u8],
    rva: usize,
    offset: usize,
}

fn place(parts: [([u8; 8], u32, &[u8]); SECTIONS as usize]) -> [Section<'_>; SECTIONS as usize] {
    let mut rva = DATA_RVA;
    let mut offset = DATA_OFFSET;
    parts.map(|(name, flags, contents)| {
        let section = Section { name, flags, contents, rva, offset };
        rva = pages_end(rva, contents.len());
        offset += contents.len().next_multiple_of(FILE_ALIGNMENT);
        section
    })
}

/// The first page behind `len` bytes at `rva`. Nothing still takes a page: no two sections may
/// begin at one address.
const fn pages_end(rva: usize, len: usize) -> usize {
    let len = if len == 0 { 1 } else { len };
    rva + len.next_multiple_of(SECTION_ALIGNMENT)
}

/// A base relocation block with two `IMAGE_REL_BASED_ABSOLUTE` entries (PE Format, *The .reloc
/// Section*). Two, because a block has to end on a 32-bit boundary.
fn no_relocations() -> Vec<u8> {
    let mut block = Bytes::default();
    block.u32(DATA_RVA);
    block.u32(12);
    block.u16(0);
    block.u16(0);
    block.0
}

/// PE Format, *MS-DOS Stub* and *Signature*: only the magic and the offset of the signature
/// mean anything to firmware.
fn dos_header(file: &mut Bytes) {
    file.0.extend_from_slice(b"MZ");
    file.pad_to(0x3c);
    file.u32(PE_OFFSET.into());
    file.0.extend_from_slice(b"PE\0\0");
}

/// PE Format, *COFF File Header*.
fn coff_header(file: &mut Bytes, machine: Machine) {
    file.u16(machine.code());
    file.u16(SECTIONS);
    file.u32(0); // TimeDateStamp
    file.u32(0); // PointerToSymbolTable
    file.u32(0); // NumberOfSymbols
    file.u16(OPTIONAL_HEADER);
    file.u16(EXECUTABLE_IMAGE | LARGE_ADDRESS_AWARE);
}

/// PE Format, *Optional Header*. The version fields and the stack and heap sizes are Windows'
/// own; UEFI 2.10 §2.3.4 gives every application at least 128 KiB of stack regardless.
fn optional_header(file: &mut Bytes, sections: &[Section<'_>; SECTIONS as usize]) {
    let [data, code, relocations] = sections;
    let raw_len = |section: &Section<'_>| section.contents.len().next_multiple_of(FILE_ALIGNMENT);

    file.u16(PE32_PLUS);
    file.u16(0); // linker version
    file.u32(raw_len(code));
    file.u32(raw_len(data) + raw_len(relocations));
    file.u32(0); // SizeOfUninitializedData
    file.u32(code.rva); // AddressOfEntryPoint
    file.u32(code.rva); // BaseOfCode
    file.u64(0); // ImageBase: no preference
    file.u32(SECTION_ALIGNMENT);
    file.u32(FILE_ALIGNMENT);
    file.u64(0); // versions of the operating system and of the image
    file.u64(0); // version of the subsystem, Win32VersionValue
    file.u32(pages_end(relocations.rva, relocations.contents.len())); // SizeOfImage
    file.u32(HEADERS.next_multiple_of(FILE_ALIGNMENT)); // SizeOfHeaders
    file.u32(0); // CheckSum, filled in when everything else is there
    file.u16(SUBSYSTEM_EFI_APPLICATION);
    file.u16(NX_COMPAT | DYNAMIC_BASE);
    for _ in 0..4 {
        file.u64(0); // stack and heap, reserve and commit
    }
    file.u32(0); // LoaderFlags
    file.u32(DATA_DIRECTORIES.into());
    for directory in 0..DATA_DIRECTORIES {
        if directory == BASE_RELOCATION_TABLE {
            file.u32(relocations.rva);
            file.u32(relocations.contents.len());
        } else {
            file.u64(0);
        }
    }
}

/// PE Format, *Section Table (Section Headers)*.
fn section_header(file: &mut Bytes, section: &Section<'_>) {
    file.0.extend_from_slice(&section.name);
    file.u32(section.contents.len()); // VirtualSize
    file.u32(section.rva);
    file.u32(section.contents.len().next_multiple_of(FILE_ALIGNMENT)); // SizeOfRawData
    file.u32(section.offset);
    file.u32(0); // PointerToRelocations
    file.u32(0); // PointerToLinenumbers
    file.u32(0); // NumberOfRelocations, NumberOfLinenumbers
    file.0.extend_from_slice(&section.flags.to_le_bytes());
}

/// The sum that `CheckSum` holds: all 16-bit words added with end-around carry, plus the file's
/// length. The field itself counts as zero, and still is when this is asked.
fn checksum(file: &[u8]) -> u32 {
    let words = file.chunks(2).fold(0_u32, |sum, word| {
        let low = word.first().copied().unwrap_or_default();
        let high = word.get(1).copied().unwrap_or_default();
        let sum = sum + u32::from(u16::from_le_bytes([low, high]));
        (sum & 0xffff) + (sum >> 16)
    });
    words.wrapping_add(saturate(file.len()))
}

fn saturate(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A file under construction, little-endian as the format is.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: usize) {
        self.0.extend_from_slice(&saturate(value).to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn pad_to(&mut self, offset: usize) {
        self.0.resize(offset.max(self.0.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::LittleEndian as LE;
    use object::pe;
    use object::read::pe::{ImageOptionalHeader, PeFile64};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn sections(file: &PeFile64<'_>) -> Vec<pe::ImageSectionHeader> {
        file.section_table().iter().copied().collect()
    }

    proptest! {
        #[test]
        fn any_contents_come_back_from_their_addresses(
            data in vec(any::<u8>(), 0..10_000),
            code in vec(any::<u8>(), 0..10_000),
            machine: u16,
        ) {
            let image = write(Machine::from_code(machine), &data, &code);
            let file = PeFile64::parse(&*image).unwrap();
            let found = sections(&file);

            prop_assert_eq!(file.nt_headers().file_header.machine.get(LE).0, machine);
            prop_assert_eq!(found[0].virtual_address.get(LE) as usize, DATA_RVA);
            prop_assert_eq!(found[0].pe_data(&*image).unwrap(), &*data);
            prop_assert_eq!(found[1].virtual_address.get(LE) as usize, code_rva(data.len()));
            prop_assert_eq!(found[1].pe_data(&*image).unwrap(), &*code);
        }

        #[test]
        fn sections_are_aligned_and_follow_one_another(
            data in vec(any::<u8>(), 0..10_000),
            code in vec(any::<u8>(), 0..10_000),
        ) {
            let image = write(Machine::X86_64, &data, &code);
            let file = PeFile64::parse(&*image).unwrap();
            let optional = &file.nt_headers().optional_header;

            let mut rva = optional.size_of_headers().next_multiple_of(4096);
            let mut offset = optional.size_of_headers();
            for section in sections(&file) {
                prop_assert_eq!(section.virtual_address.get(LE), rva);
                prop_assert_eq!(section.pointer_to_raw_data.get(LE), offset);
                rva += section.virtual_size.get(LE).max(1).next_multiple_of(4096);
                offset += section.virtual_size.get(LE).next_multiple_of(512);
            }
            prop_assert_eq!(optional.size_of_image(), rva);
            prop_assert_eq!(image.len(), offset as usize);
        }

        #[test]
        fn the_checksum_is_right(data in vec(any::<u8>(), 0..2000)) {
            let image = write(Machine::X86_64, &data, b"code");
            let stored = PeFile64::parse(&*image).unwrap().nt_headers().optional_header.check_sum();
            let words: u64 = image
                .chunks_exact(2)
                .map(|word| u64::from(u16::from_le_bytes([word[0], word[1]])))
                .sum();
            let mut folded = words - u64::from(stored & 0xffff) - u64::from(stored >> 16);
            while folded > 0xffff {
                folded = (folded & 0xffff) + (folded >> 16);
            }
            prop_assert_eq!(u64::from(stored), folded + image.len() as u64);
        }
    }

    #[test]
    fn no_section_is_both_writable_and_executable() {
        let image = write(Machine::X86_64, b"data", b"code");
        let file = PeFile64::parse(&*image).unwrap();
        let flags: Vec<_> =
            sections(&file).iter().map(|section| (section.name, section.characteristics.get(LE).0)).collect();

        assert_eq!(
            flags,
            [(*b".rdata\0\0", 0x4000_0040), (*b".text\0\0\0", 0x6000_0020), (*b".reloc\0\0", 0x4200_0040),]
        );
    }

    #[test]
    fn the_image_claims_to_run_under_strict_memory_protection() {
        let image = write(Machine::X86_64, b"data", b"code");
        let file = PeFile64::parse(&*image).unwrap();
        let optional = &file.nt_headers().optional_header;
        assert_eq!(optional.section_alignment(), 4096);
        assert_eq!(
            optional.dll_characteristics().0 & pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT.0,
            pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT.0
        );
    }

    #[test]
    fn the_relocations_relocate_nothing() {
        let image = write(Machine::X86_64, b"data", b"code");
        let file = PeFile64::parse(&*image).unwrap();
        let stripped =
            file.nt_headers().file_header.characteristics.get(LE).0 & pe::IMAGE_FILE_RELOCS_STRIPPED.0;
        assert_eq!(stripped, 0);

        let mut blocks = file
            .data_directories()
            .relocation_blocks(&*image, &file.section_table())
            .unwrap()
            .expect("a relocation directory");
        // The parser leaves padding out, as loaders do.
        let entries = blocks.next().unwrap().expect("a block");
        assert_eq!(entries.count(), 0);
        assert!(blocks.next().unwrap().is_none());
    }

    #[test]
    fn the_certificate_table_is_there_and_empty() {
        let image = write(Machine::X86_64, b"data", b"code");
        let file = PeFile64::parse(&*image).unwrap();
        assert_eq!(file.data_directories().len(), 16);
        let table = file.data_directories().enumerate().nth(4).unwrap().1;
        assert_eq!((table.virtual_address.get(LE), table.size.get(LE)), (0, 0));
    }
}
