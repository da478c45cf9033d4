//! The firmware's side of a stub, on any 64-bit architecture: where the functions are that the
//! code calls, and the values it hands them.
//!
//! For the parent module and its architectures. Offsets are in bytes from the start of a table,
//! all of whose fields are 8 bytes long behind a header of 24. Section numbers are UEFI 2.10's.

use std::time::Duration;

/// `EFI_SYSTEM_TABLE.ConOut` (§4.3). NULL where the firmware has no console.
pub(super) const CON_OUT: u32 = 0x40;
/// `EFI_SYSTEM_TABLE.RuntimeServices` (§4.3).
pub(super) const RUNTIME_SERVICES: u32 = 0x58;
/// `EFI_SYSTEM_TABLE.BootServices` (§4.3).
pub(super) const BOOT_SERVICES: u32 = 0x60;

/// `EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString(This, String)` (§12.4.3). This table has no
/// header.
pub(super) const OUTPUT_STRING: u32 = 0x08;

/// `EFI_BOOT_SERVICES.AllocatePool(Type, Size, &Buffer)` (§7.2.4).
pub(super) const ALLOCATE_POOL: u32 = 0x40;
/// `EFI_BOOT_SERVICES.FreePool(Buffer)` (§7.2.5).
pub(super) const FREE_POOL: u32 = 0x48;
/// `EFI_BOOT_SERVICES.HandleProtocol(Handle, &Protocol, &Interface)` (§7.3.7).
pub(super) const HANDLE_PROTOCOL: u32 = 0x98;
/// `EFI_BOOT_SERVICES.LoadImage(BootPolicy, Parent, DevicePath, Source, SourceSize, &Handle)`
/// (§7.4.1).
pub(super) const LOAD_IMAGE: u32 = 0xc8;
/// `EFI_BOOT_SERVICES.StartImage(Handle, &ExitDataSize, &ExitData)` (§7.4.2).
pub(super) const START_IMAGE: u32 = 0xd0;
/// `EFI_BOOT_SERVICES.UnloadImage(Handle)` (§7.4.3).
pub(super) const UNLOAD_IMAGE: u32 = 0xe0;
/// `EFI_BOOT_SERVICES.Stall(Microseconds)` (§7.5).
pub(super) const STALL: u32 = 0xf8;
/// `EFI_BOOT_SERVICES.SetWatchdogTimer(Seconds, Code, DataSize, Data)` (§7.5).
pub(super) const SET_WATCHDOG_TIMER: u32 = 0x100;

/// `EFI_RUNTIME_SERVICES.ResetSystem(Type, Status, DataSize, Data)` (§8.5.1).
pub(super) const RESET_SYSTEM: u32 = 0x68;

/// `EFI_LOAD_FILE_PROTOCOL.LoadFile(This, FilePath, BootPolicy, &BufferSize, Buffer)` (§13.1.2).
/// This table has no header.
pub(super) const LOAD_FILE: u32 = 0x00;

/// `EFI_LOADED_IMAGE_PROTOCOL.DeviceHandle` (§9.1.1).
pub(super) const DEVICE_HANDLE: u32 = 0x18;
/// `EFI_LOADED_IMAGE_PROTOCOL.LoadOptionsSize` (§9.1.1): 32 bits, and 32 of padding.
pub(super) const LOAD_OPTIONS_SIZE: u32 = 0x30;
/// `EFI_LOADED_IMAGE_PROTOCOL.LoadOptions` (§9.1.1).
pub(super) const LOAD_OPTIONS: u32 = 0x38;

/// A protocol's name, as it is in memory (Appendix A).
pub(super) type Guid = [u8; 16];

/// `EFI_LOADED_IMAGE_PROTOCOL_GUID` (§9.1.1).
pub(super) const LOADED_IMAGE_PROTOCOL: Guid =
    guid(0x5b1b_31a1, 0x9562, 0x11d2, [0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b]);
/// `EFI_LOADED_IMAGE_DEVICE_PATH_PROTOCOL_GUID` (§9.2.1): the path that `LoadImage` was given.
pub(super) const LOADED_IMAGE_DEVICE_PATH_PROTOCOL: Guid =
    guid(0xbc62_157e, 0x3e33, 0x4fec, [0x99, 0x20, 0x2d, 0x3b, 0x36, 0xd7, 0x50, 0xdf]);
/// `EFI_LOAD_FILE_PROTOCOL_GUID` (§13.1.1).
pub(super) const LOAD_FILE_PROTOCOL: Guid =
    guid(0x56ec_3091, 0x954c, 0x11d2, [0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b]);

/// A GUID from its usual notation, of which the first three groups are numbers, and those are
/// little-endian.
pub(super) const fn guid(first: u32, second: u16, third: u16, rest: [u8; 8]) -> Guid {
    let numbers = first as u128 | (second as u128) << 32 | (third as u128) << 48;
    (numbers | (u64::from_le_bytes(rest) as u128) << 64).to_le_bytes()
}

/// A device path node's type, followed by its sub-type, as a number of 16 bits (§10.3.1); its
/// length in bytes, of 16 bits too, comes behind.
pub(super) mod node {
    /// Where the length is.
    pub(crate) const LEN: u32 = 2;
    /// The length of a node that holds nothing else.
    pub(crate) const MIN_LEN: u64 = 4;
    /// The type alone of a node that ends a path (§10.3.1).
    pub(crate) const END: u64 = 0x7f;
    /// A URI (§10.3.4.24).
    pub(crate) const URI: u64 = 24 << 8 | 3;
}

/// `EfiLoaderData` (§7.2.1): what an application's data is.
pub(super) const LOADER_DATA: u64 = 2;

/// `EFI_SUCCESS` (Appendix D).
pub(super) const EFI_SUCCESS: u64 = 0;
/// Errors have the highest bit set, warnings have not (Appendix D).
pub(super) const FIRST_ERROR: u64 = 1 << 63;
/// `EFI_BUFFER_TOO_SMALL` (Appendix D).
pub(super) const EFI_BUFFER_TOO_SMALL: u64 = FIRST_ERROR | 5;
/// `EFI_ABORTED` (Appendix D).
pub(super) const EFI_ABORTED: u64 = FIRST_ERROR | 0x15;

/// The watchdog code that tells the firmware's log that it was us. Codes up to 0xffff belong to
/// the firmware (§7.5).
pub(super) const WATCHDOG_CODE: u64 = 0x1_0000;

/// How long the boot manager gives an image, in seconds (§7.5, `SetWatchdogTimer`).
pub(super) const BOOT_WATCHDOG: u64 = 5 * 60;

/// `EFI_RESET_TYPE` (§8.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetType {
    Cold,
    Shutdown,
}

impl ResetType {
    pub(super) const fn code(self) -> u64 {
        match self {
            Self::Cold => 0,
            Self::Shutdown => 2,
        }
    }
}

/// The longest pause that a stub makes.
pub(super) const MAX_PAUSE: Duration = Duration::from_hours(24);

/// A pause, taken as calls of `Stall`, one for each second and one for what is left.
///
/// Not in a single call, since firmware multiplies the microseconds by the frequency of its
/// timer, and a product that overflows makes the pause any length at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// How often to stall for [`Pause::SECOND`].
    pub(super) seconds: u32,
    /// How many microseconds to stall after that.
    pub(super) rest: u32,
}

impl Pause {
    /// A second, in microseconds.
    pub(super) const SECOND: u32 = 1_000_000;

    /// The pause that lasts for `duration`, or for [`MAX_PAUSE`] if that is shorter.
    pub(super) fn new(duration: Duration) -> Self {
        let duration = duration.min(MAX_PAUSE);
        Self {
            // MAX_PAUSE has far fewer seconds than 32 bits can count.
            seconds: u32::try_from(duration.as_secs()).unwrap_or(u32::MAX),
            rest: duration.subsec_micros(),
        }
    }

    /// When the watchdog should end a pause that does not end by itself: a minute later, in
    /// seconds from now.
    pub(super) const fn watchdog(self) -> u32 {
        self.seconds.saturating_add(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_keeps_its_length() {
        let pause = Pause::new(Duration::from_micros(2_500_001));
        assert_eq!((pause.seconds, pause.rest), (2, 500_001));
    }

    #[test]
    fn a_pause_is_a_day_at_most() {
        assert_eq!(Pause::new(Duration::MAX), Pause::new(MAX_PAUSE));
        assert_eq!(Pause::new(MAX_PAUSE).seconds, 86_400);
    }
}
