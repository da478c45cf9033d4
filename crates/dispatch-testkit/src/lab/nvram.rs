//! Reads and writes the variables in a firmware's flash image, while no machine runs on it.
//!
//! That is how the lab says what shall be booted at every start. The layout is EDK2's: a firmware volume (UEFI PI 1.8
//! volume 3, §3.2.1, `EFI_FIRMWARE_VOLUME_HEADER`) that holds a variable store of authenticated variables
//! (`MdeModulePkg/Include/Guid/VariableFormat.h`: `VARIABLE_STORE_HEADER`, `AUTHENTICATED_VARIABLE_HEADER`). Variables
//! follow each other, aligned to four bytes; as in flash, one is replaced by marking the old one as deleted and
//! appending the new one. Nothing here panics on arbitrary bytes.

use std::ops::Range;

/// A GUID as it is stored: its first three fields little-endian.
pub type Guid = [u8; 16];

/// `EFI_GLOBAL_VARIABLE`, 8be4df61-93ca-11d2-aa0d-00e098032b8c: the namespace of `BootOrder` (UEFI 2.10 §3.3).
pub const EFI_GLOBAL_VARIABLE: Guid =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// `gEfiSystemNvDataFvGuid`: the file system of the firmware volume.
const NV_DATA_VOLUME: Guid =
    [0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50];

/// `gEfiAuthenticatedVariableGuid`: the signature of the variable store.
const AUTHENTICATED_STORE: Guid =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];

/// Size of `VARIABLE_STORE_HEADER`, in bytes.
const STORE_HEADER: usize = 28;
/// Size of `AUTHENTICATED_VARIABLE_HEADER`, in bytes.
const VARIABLE_HEADER: usize = 60;
/// `VARIABLE_DATA`, which starts every variable.
const START_ID: u16 = 0x55aa;
/// What erased flash reads as.
const ERASED: u8 = 0xff;
/// `VAR_ADDED`: the variable is valid. States clear bits, as flash can.
const ADDED: u8 = 0x3f;
/// `VAR_ADDED & VAR_IN_DELETED_TRANSITION`: valid until its replacement is there.
const IN_DELETED_TRANSITION: u8 = 0x3e;
/// `VAR_DELETED`: the bit that is cleared in a deleted variable.
const DELETED: u8 = 0xfd;

/// A flash image that is not what we understand, or a variable that does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NvramError {
    /// Not a firmware volume with an authenticated variable store.
    #[error("the image is no store of authenticated variables: {0}")]
    NotAStore(&'static str),
    /// A variable's header lies.
    #[error("the variable at offset {0:#x} is damaged")]
    Damaged(usize),
    /// No room left.
    #[error("the variable store is full: {needed} bytes needed, {free} free")]
    Full {
        /// What the variable takes, in bytes.
        needed: usize,
        /// What is free, in bytes.
        free: usize,
    },
    /// Something is longer than its length field can say.
    #[error("the {0} is too long")]
    TooLong(&'static str),
}

/// One variable (UEFI 2.10 §8.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub vendor: Guid,
    /// `EFI_VARIABLE_…` bits.
    pub attributes: u32,
    /// Its contents.
    pub data: Vec<u8>,
}

/// A flash image with variables in it.
#[derive(Debug, Clone)]
pub struct VariableStore {
    image: Vec<u8>,
    /// Where variables may lie.
    area: Range<usize>,
}

/// A variable's place in the image.
struct Slot {
    header: usize,
    name: Range<usize>,
    data: Range<usize>,
    /// Where the next variable starts.
    next: usize,
}

impl VariableStore {
    /// Takes a flash image such as OVMF's `OVMF_VARS_4M.fd`, and checks all of its headers.
    ///
    /// # Errors
    ///
    /// [`NvramError::NotAStore`] or [`NvramError::Damaged`].
    pub fn parse(image: Vec<u8>) -> Result<Self, NvramError> {
        let bad = NvramError::NotAStore;
        let get = |range: Range<usize>| image.get(range).ok_or(bad("it breaks off"));
        if get(16..32)? != NV_DATA_VOLUME || get(40..44)? != b"_FVH" {
            return Err(bad("it does not begin with a volume of variables"));
        }
        let volume = usize::try_from(u64_at(&image, 32).unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let header = usize::from(u16_at(&image, 48).unwrap_or(0));
        let words = get(0..header)?.chunks_exact(2);
        let sum = words.fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
        if header < 56 || header % 2 == 1 || sum != 0 || volume > image.len() {
            return Err(bad("the header of its volume is damaged"));
        }
        if get(header..header + 16)? != AUTHENTICATED_STORE {
            return Err(bad("its variables are not of the authenticated kind"));
        }
        let size = u32_at(&image, header + 16).map_or(usize::MAX, |size| size as usize);
        let end = header
            .checked_add(size)
            .filter(|&end| end <= volume)
            .ok_or(bad("its store is larger than its volume"))?;
        // Format 0x5a: formatted; state 0xfe: healthy.
        if get(header + 20..header + 22)? != [0x5a, 0xfe] {
            return Err(bad("its store is not formatted and healthy"));
        }
        if size < STORE_HEADER {
            return Err(bad("its store is smaller than its own header"));
        }
        let store = Self { area: header + STORE_HEADER..end, image };
        store.slots()?;
        Ok(store)
    }

    /// The valid variables, in the order they are stored.
    ///
    /// # Errors
    ///
    /// [`NvramError::Damaged`]; after [`VariableStore::parse`] it cannot happen.
    pub fn variables(&self) -> Result<Vec<Variable>, NvramError> {
        let (slots, _) = self.slots()?;
        Ok(slots.iter().filter(|slot| self.is_valid(slot)).map(|slot| self.variable(slot)).collect())
    }

    /// Sets a variable, in place of the one with the same name and vendor.
    ///
    /// # Errors
    ///
    /// [`NvramError::Full`] if there is no room; nothing is changed then. Deleted variables keep theirs, as the
    /// firmware alone moves things.
    pub fn set(&mut self, variable: &Variable) -> Result<(), NvramError> {
        let (slots, free) = self.slots()?;
        let bytes = encode(variable)?;
        if bytes.len() > self.area.end - free {
            return Err(NvramError::Full { needed: bytes.len(), free: self.area.end - free });
        }
        for slot in &slots {
            if self.is_valid(slot) {
                let old = self.variable(slot);
                if old.name == variable.name && old.vendor == variable.vendor {
                    self.image[slot.header + 2] &= DELETED;
                }
            }
        }
        self.image[free..free + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    /// Forgets all variables.
    pub fn clear(&mut self) {
        self.image[self.area.clone()].fill(ERASED);
    }

    /// The flash image.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.image
    }

    fn is_valid(&self, slot: &Slot) -> bool {
        matches!(self.image[slot.header + 2], ADDED | IN_DELETED_TRANSITION)
    }

    fn variable(&self, slot: &Slot) -> Variable {
        let units: Vec<u16> = self.image[slot.name.clone()]
            .chunks_exact(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .collect();
        let name = String::from_utf16_lossy(units.strip_suffix(&[0]).unwrap_or(&units));
        let mut vendor = [0; 16];
        vendor.copy_from_slice(&self.image[slot.header + 44..slot.header + VARIABLE_HEADER]);
        let attributes = u32_at(&self.image, slot.header + 4).unwrap_or_default();
        Variable { name, vendor, attributes, data: self.image[slot.data.clone()].to_vec() }
    }

    /// All variables, valid or not, and where the next one would go.
    fn slots(&self) -> Result<(Vec<Slot>, usize), NvramError> {
        let mut slots = Vec::new();
        let mut at = self.area.start.next_multiple_of(4);
        while at + VARIABLE_HEADER <= self.area.end && u16_at(&self.image, at) == Some(START_ID) {
            let slot = self.slot(at).ok_or(NvramError::Damaged(at))?;
            at = slot.next;
            slots.push(slot);
        }
        // Behind the last one, flash must be erased: anything else means that we misread what is there.
        let rest = self.image.get(at..self.area.end).unwrap_or_default();
        if rest.iter().any(|&byte| byte != ERASED) {
            return Err(NvramError::Damaged(at));
        }
        Ok((slots, at.min(self.area.end)))
    }

    fn slot(&self, header: usize) -> Option<Slot> {
        let name_size = u32_at(&self.image, header + 36)? as usize;
        let data_size = u32_at(&self.image, header + 40)? as usize;
        let name = header + VARIABLE_HEADER..(header + VARIABLE_HEADER).checked_add(name_size)?;
        let data = name.end..name.end.checked_add(data_size)?;
        if data.end > self.area.end {
            return None;
        }
        let next = data.end.next_multiple_of(4);
        Some(Slot { header, name, data, next })
    }
}

/// A valid variable as it is stored, padded to four bytes. No time and no key: it is not an authenticated one.
fn encode(variable: &Variable) -> Result<Vec<u8>, NvramError> {
    let name: Vec<u8> = variable.name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let size = |bytes: &[u8], what| u32::try_from(bytes.len()).map_err(|_| NvramError::TooLong(what));
    let name_size = size(&name, "name of the variable")?;
    let data_size = size(&variable.data, "content of the variable")?;
    let mut bytes = START_ID.to_le_bytes().to_vec();
    bytes.extend([ADDED, 0]);
    bytes.extend(variable.attributes.to_le_bytes());
    // Monotonic count (8), time stamp (16) and public key index (4).
    bytes.extend([0; 28]);
    bytes.extend(name_size.to_le_bytes());
    bytes.extend(data_size.to_le_bytes());
    bytes.extend(variable.vendor);
    bytes.extend(name);
    bytes.extend(&variable.data);
    bytes.resize(bytes.len().next_multiple_of(4), ERASED);
    Ok(bytes)
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    chunk(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    chunk(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An empty flash image of the kind OVMF ships, only smaller.
    fn empty(store_size: usize) -> Vec<u8> {
        let mut image = vec![0; 16];
        image.extend(NV_DATA_VOLUME);
        image.extend(((0x48 + store_size) as u64).to_le_bytes());
        image.extend(b"_FVH\xff\xfe\x04\x00\x48\x00\x00\x00\x00\x00\x00\x02");
        image.extend([1, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let sum = image
            .chunks_exact(2)
            .fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
        image[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
        assert_eq!(image.len(), 0x48);
        image.extend(AUTHENTICATED_STORE);
        image.extend(u32::try_from(store_size).unwrap().to_le_bytes());
        image.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        image.resize(0x48 + store_size, ERASED);
        image
    }

    fn variable(name: &str, data: &[u8]) -> Variable {
        Variable::boot(name, data.to_vec())
    }

    #[test]
    fn setting_a_variable_again_replaces_it() {
        let mut store = VariableStore::parse(empty(1000)).unwrap();
        store.set(&variable("A", b"one")).unwrap();
        store.set(&variable("B", b"two")).unwrap();
        store.set(&variable("A", b"three")).unwrap();
        let again = VariableStore::parse(store.into_bytes()).unwrap();
        assert_eq!(again.variables().unwrap(), [variable("B", b"two"), variable("A", b"three")]);
    }

    #[test]
    fn a_cleared_store_takes_variables_again() {
        let mut store = VariableStore::parse(empty(200)).unwrap();
        store.set(&variable("A", &[0; 100])).unwrap();
        store.clear();
        store.set(&variable("B", &[0; 100])).unwrap();
        let again = VariableStore::parse(store.into_bytes()).unwrap();
        assert_eq!(again.variables().unwrap(), [variable("B", &[0; 100])]);
    }

    #[test]
    fn a_full_store_says_so_and_stays_as_it_was() {
        let mut store = VariableStore::parse(empty(200)).unwrap();
        store.set(&variable("A", b"one")).unwrap();
        let error = store.set(&variable("A", &[0; 200])).unwrap_err();
        assert!(matches!(error, NvramError::Full { .. }));
        assert_eq!(store.variables().unwrap(), [variable("A", b"one")]);
    }

    #[test]
    fn an_image_that_is_something_else_is_refused() {
        assert!(matches!(VariableStore::parse(vec![0; 4096]), Err(NvramError::NotAStore(_))));
        let mut wrong_sum = empty(1000);
        wrong_sum[52] ^= 1;
        assert!(matches!(VariableStore::parse(wrong_sum), Err(NvramError::NotAStore(_))));
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(values in proptest::collection::vec(("[A-Za-zäß]{1,20}", proptest::collection::vec(any::<u8>(), 0..50)), 0..8)) {
            let mut store = VariableStore::parse(empty(4000)).unwrap();
            let mut expected = std::collections::BTreeMap::new();
            for (name, data) in values {
                store.set(&variable(&name, &data)).unwrap();
                expected.insert(name, data);
            }
            let again = VariableStore::parse(store.into_bytes()).unwrap().variables().unwrap();
            let read: std::collections::BTreeMap<_, _> = again.into_iter().map(|v| (v.name, v.data)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = VariableStore::parse(bytes);
        }

        #[test]
        fn a_damaged_store_never_panics(
            damage in proptest::collection::vec((0usize..400, any::<u8>()), 1..20),
            cut in 0usize..400,
        ) {
            let mut store = VariableStore::parse(empty(328)).unwrap();
            store.set(&variable("BootOrder", &[0, 0, 1, 0])).unwrap();
            let mut image = store.into_bytes();
            let length = image.len();
            for (at, value) in damage {
                image[at % length] = value;
            }
            image.truncate(length - cut / 40);
            if let Ok(mut store) = VariableStore::parse(image) {
                let _ = store.variables();
                let _ = store.set(&variable("X", b"y"));
            }
        }
    }
}
