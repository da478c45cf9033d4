//! EFI applications of a few kilobytes that tell a machine what to do when the queue has nothing
//! for it: wait and ask again, power off, reboot and ask again, or go on with its next boot
//! device.
//!
//! Firmware that asks for a boot image takes nothing but an image for an answer (a 404 or a
//! redirect fails the boot attempt, and what comes after that is the vendor's choice), so every
//! other answer has to be a program as well. These are assembled on request, which lets each of
//! them say on the machine's console why it does what it does, and takes neither a second
//! toolchain nor binaries in the repository.
//!
//! Whoever answers a boot request calls [`build`]. The same arguments give the same bytes, so
//! HEAD and GET agree. `stubs` and `wait` say what the applications do, as a `program` that is the
//! same for every architecture; `x86_64` and `aarch64` translate it.

pub mod inspect;
pub mod pe;

mod aarch64;
mod firmware;
mod program;
mod stubs;
mod wait;
mod x86_64;

use std::time::Duration;

pub use dispatch_core::Arch;

use firmware::Pause;
pub use wait::{MAX_FAILURES, MIN_ASK_EVERY};

/// What the machine is to do, after it has printed its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stub {
    /// Power off, by `ResetSystem(EfiResetShutdown)` (UEFI 2.10 §8.5.1).
    ///
    /// Should the firmware be unable to and return, the stub does as [`Stub::Next`]: to ask
    /// again would change nothing, and a machine halted here would be on, silent, and beyond
    /// the reach of everything but its power switch.
    PowerOff,

    /// Wait, then reset, so that the machine boots and asks again.
    ///
    /// The reset is a cold one. What boots next may be a workload that somebody measures, so it
    /// should find the platform and its cards as after power-on; and cold is the one type that
    /// every platform has, the one it falls back to when it lacks another.
    ///
    /// The boot manager's watchdog would reset the machine after five minutes. It is set to a
    /// minute after the end of the pause instead: it does not cut a long pause short, and it
    /// still resets a machine whose firmware hangs.
    Reboot {
        /// How long to wait before the reset, a day at most: longer is taken as a day.
        after: Duration,
    },

    /// Return `EFI_ABORTED`, at which the boot manager goes on with its next boot option. After
    /// `EFI_SUCCESS` it may show its menu instead (UEFI 2.10 §3.1.1), and there wait for a
    /// person.
    Next,

    /// Keep the machine as it is, and ask again and again: pause, download what there is, and
    /// start it. A server's reset takes minutes, this takes what the download takes.
    ///
    /// Another `Wait` that it gets is not started, which would take more stack and memory each
    /// time. Its line is printed if it is new, its pause becomes the pause, and the waiting goes
    /// on. All `Wait`s for one architecture have the same length, so that one may take the
    /// other's place between a HEAD and its GET.
    ///
    /// Any other EFI application is started as the boot manager would have started it. When it
    /// returns, so does the stub, with the application's status (`EFI_ABORTED` in place of
    /// `EFI_SUCCESS`, as in [`Stub::Next`]), and the boot manager goes on with its next option.
    ///
    /// The machine is reset, by a cold one as in [`Stub::Reboot`],
    ///
    /// - when there is a disk image, which only the boot manager can boot, as a RAM disk;
    /// - when the firmware refuses the application, as Secure Boot does without a signature;
    /// - when there have been [`MAX_FAILURES`] failed downloads in a row;
    /// - when it was not the firmware's HTTP client that booted the stub, so there is no way to
    ///   ask;
    /// - by the watchdog, when the firmware hangs: an hour after the end of the pause, so that it
    ///   cuts no slow download short.
    Wait {
        /// How long to pause before each download: [`MIN_ASK_EVERY`] at least, a day at most.
        ask_every: Duration,
    },
}

/// How much of a text is shown, in characters.
pub const MAX_TEXT: usize = 200;

/// Makes the EFI application that prints `text` on the console and then does as `stub` says.
///
/// The text is one line of at most [`MAX_TEXT`] characters; of a longer one the middle is left out, because it begins
/// with what the machine does and ends with why. A white-space
/// control such as a line break becomes a space. What a console cannot show or might obey
/// becomes a question mark: other control characters, those outside the Basic Multilingual
/// Plane (consoles take a character for 16 bits), and the specials at that plane's end.
#[must_use]
pub fn build(stub: Stub, arch: Arch, text: &str) -> Vec<u8> {
    let line = console_line(text);
    let program = match stub {
        Stub::PowerOff => stubs::power_off(&line),
        Stub::Reboot { after } => stubs::reboot(&line, Pause::new(after)),
        Stub::Next => stubs::next(&line),
        Stub::Wait { ask_every } => wait::wait(&line, Pause::new(ask_every.max(MIN_ASK_EVERY))),
    };
    let code_rva = pe::code_rva(program.data.len());
    let code = match arch {
        Arch::X86_64 => x86_64::assemble(&program, code_rva),
        Arch::Aarch64 => aarch64::assemble(&program, code_rva),
    };
    pe::write(arch.into(), &program.data, &code)
}

/// What stands for what is left out; every firmware can show it.
const LEFT_OUT: &str = "...";

/// `text`, or as much of its beginning and its end as may be shown.
fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_TEXT {
        return text.to_owned();
    }
    let kept = MAX_TEXT - LEFT_OUT.len();
    let begin = text.chars().take(kept / 2);
    let end = text.chars().skip(count - kept.div_ceil(2));
    begin.chain(LEFT_OUT.chars()).chain(end).collect()
}

/// `text` as a line for `OutputString` (UEFI 2.10 §12.4.3): UCS-2, little-endian, with CR, LF
/// and the terminating NUL.
fn console_line(text: &str) -> Vec<u8> {
    shortened(text)
        .chars()
        .map(printable)
        .chain(['\r', '\n', '\0'].map(|c| c as u16))
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn printable(c: char) -> u16 {
    const REPLACEMENT: u16 = b'?' as u16;
    match c {
        '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => b' '.into(),
        // The first two of these switch EDK II's console between character widths.
        '\u{fff0}'..='\u{ffff}' => REPLACEMENT,
        c if c.is_control() => REPLACEMENT,
        c => u16::try_from(u32::from(c)).unwrap_or(REPLACEMENT),
    }
}

#[cfg(test)]
mod tests;
