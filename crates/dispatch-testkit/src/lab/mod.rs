//! The virtual lab: one virtual server with real UEFI firmware (QEMU and OVMF) and the boot images for it.
//!
//! It is for end-to-end tests and the demo, which must see what a real firmware does and not what we believe it
//! does. Nothing of the product may depend on it. Everything is synchronous; every wait has a deadline.
//!
//! In the order of use: [`packages`] gets what Debian has, [`image`] builds a unified kernel image around a workload
//! script, [`nvram`] and [`load_option`] tell the firmware what to boot, [`qemu`] runs it.

pub mod cpio;
pub mod deadline;
pub mod disk;
pub mod error;
pub mod image;
pub mod load_option;
pub mod machine;
pub mod network;
pub mod nvram;
pub mod packages;
pub mod pe;
pub mod process;
pub mod qemu;
pub mod qmp;
pub mod secure_boot;
pub mod serial;

pub use error::LabError;
