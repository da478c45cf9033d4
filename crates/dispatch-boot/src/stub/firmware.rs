//! The firmware's side of a stub, on any 64-bit architecture: where the functions are that the
//! code calls, and the values it hands them.
//!
//! For the parent module and its architectures. Offsets are in bytes from the start of a table,
//! all of whose fields are 8 bytes long behind a header of 24. Section numbers are UEFI 2.10's.

use std::time::Duration;

/// `EFI_SYSTEM_TABLE.ConOut` (§4.3). NULL where the firmware has no console.
pub(super) const CON_OUT: i32 = 0x40;
/// `EFI_SYSTEM_TABLE.RuntimeServices` (§4.3).
pub(super) const RUNTIME_SERVICES: i32 = 0x58;
/// `EFI_SYSTEM_TABLE.BootServices` (§4.3).
pub(super) const BOOT_SERVICES: i32 = 0x60;

/// `EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL.OutputString(This, String)` (§12.4.3). This table has no
/// header.
pub(super) const OUTPUT_STRING: i32 = 0x08;

/// `EFI_BOOT_SERVICES.Stall(Microseconds)` (§7.5).
pub(super) const STALL: i32 = 0xf8;
/// `EFI_BOOT_SERVICES.SetWatchdogTimer(Seconds, Code, DataSize, Data)` (§7.5).
pub(super) const SET_WATCHDOG_TIMER: i32 = 0x100;

/// `EFI_RUNTIME_SERVICES.ResetSystem(Type, Status, DataSize, Data)` (§8.5.1).
pub(super) const RESET_SYSTEM: i32 = 0x68;

/// `EFI_ABORTED` (Appendix D): an error, whose highest bit is set.
pub(super) const EFI_ABORTED: u64 = (1 << 63) | 0x15;

/// The watchdog code that tells the firmware's log that it was us. Codes up to 0xffff belong to
/// the firmware (§7.5).
pub(super) const WATCHDOG_CODE: u32 = 0x1_0000;

/// `EFI_RESET_TYPE` (§8.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetType {
    Cold,
    Shutdown,
}

impl ResetType {
    pub(super) const fn code(self) -> u32 {
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
