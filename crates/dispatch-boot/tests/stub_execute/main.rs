//! Runs the stubs as firmware would: copied into memory section by section, entered with a system
//! table whose functions write down how they are called. Those for x86-64 run on the CPU of the
//! test machine if it is one, those for `AArch64` in an interpreter.
//!
//! It shows what a boot on real firmware cannot: a headless machine, a `ResetSystem` that
//! returns, memory that is not given back, and whether the calling convention is kept to the
//! letter.
#![expect(unsafe_code, reason = "it calls machine code that it has just made, which hands out pointers")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic, also in its helpers"
)]

mod aarch64;
mod firmware;
mod simple;
mod wait;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use dispatch_boot::stub::{Arch, Stub, build};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};

use firmware::Firmware;

const LINE: &str = "hello";

/// Whose stubs can be run here.
const ARCHES: &[Arch] =
    if cfg!(target_arch = "x86_64") { &[Arch::X86_64, Arch::Aarch64] } else { &[Arch::Aarch64] };

/// Runs a stub, and returns its status and the firmware, which has seen what it did.
fn run(stub: Stub, arch: Arch, firmware: Firmware) -> (u64, Firmware) {
    let file = build(stub, arch, LINE);
    let file = PeFile64::parse(&*file).unwrap();
    let image = load(&file);
    let entry = usize::try_from(file.entry()).unwrap();
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::X86_64 => {
            let functions = x86_64::Functions::new();
            firmware.run(|call| functions.address(call), |system| x86_64::enter(&image, entry, system))
        }
        #[cfg(not(target_arch = "x86_64"))]
        Arch::X86_64 => panic!("not on this processor"),
        Arch::Aarch64 => {
            let entry = image[entry..].as_ptr().expose_provenance() as u64;
            firmware.run(aarch64::function, |system| aarch64::enter(entry, system))
        }
    }
}

fn load(file: &PeFile64<'_>) -> Vec<u8> {
    let mut image = Vec::new();
    for section in file.sections() {
        image.resize(usize::try_from(section.address()).unwrap(), 0);
        image.extend_from_slice(section.data().unwrap());
    }
    image
}
