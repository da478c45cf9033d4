//! The two kinds of virtual server, and what differs between them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::LabError;
use super::nvram::VariableStore;
use super::packages::{AAVMF_CODE, AAVMF_VARS, OVMF_CODE, OVMF_VARS};
use super::process::find_tool;

/// The plainest 64-bit processor: a kernel boots on it in about two thirds of the time it takes on `max`. With random
/// numbers, because without them programs wait for the kernel to gather some.
const X86_CPU: &str = "qemu64,+rdrand";

/// An architecture, as QEMU and its firmware know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Machine {
    /// A 64-bit x86 with OVMF.
    #[default]
    X86_64,
    /// A 64-bit Arm with AAVMF.
    Aarch64,
}

impl Machine {
    /// The program that firmware starts from a disk that says nothing else (UEFI 2.10 §3.5.1.1).
    #[must_use]
    pub const fn default_program(self) -> &'static str {
        match self {
            Self::X86_64 => "EFI/BOOT/BOOTX64.EFI",
            Self::Aarch64 => "EFI/BOOT/BOOTAA64.EFI",
        }
    }

    /// Its firmware, if nobody wants another.
    pub(crate) fn firmware(self) -> &'static Path {
        Path::new(match self {
            Self::X86_64 => OVMF_CODE,
            Self::Aarch64 => AAVMF_CODE,
        })
    }

    /// A store for its variables, with nothing in it that boots anything.
    pub(crate) fn empty_variables(self) -> Result<VariableStore, LabError> {
        let template = Path::new(match self {
            Self::X86_64 => OVMF_VARS,
            Self::Aarch64 => AAVMF_VARS,
        });
        let image = std::fs::read(template).map_err(LabError::io("read", template))?;
        let mut store = VariableStore::parse(image)?;
        store.clear();
        Ok(store)
    }

    /// QEMU as such a machine, without memory, disks, network.
    pub(crate) fn qemu(self) -> Result<(PathBuf, &'static [&'static str]), LabError> {
        let (name, arguments): (_, &[&str]) = match self {
            Self::X86_64 => ("qemu-system-x86_64", &["-machine", "q35", "-cpu", X86_CPU]),
            Self::Aarch64 => {
                ("qemu-system-aarch64", &["-machine", "virt,gic-version=3", "-cpu", "cortex-a57"])
            }
        };
        let program = find_tool(name)
            .ok_or_else(|| LabError::Config(format!("{name} is missing, see ensure_packages")))?;
        Ok((program, arguments))
    }
}

/// Adds a processor in software emulation: the one kind that is everywhere.
pub(crate) fn emulate(command: &mut Command, arguments: &[&str]) {
    command.args(["-accel", "tcg,thread=multi"]).args(arguments);
}
