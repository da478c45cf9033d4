//! What the firmware left in its variables about how this system was booted.
//!
//! [`vars`] reads efivarfs, [`load_option`] takes a `Boot####` variable apart, [`device_path`] the device
//! path in it. All of it is data that a vendor's firmware wrote: nothing is believed about lengths, and no
//! damage is fatal. Called by [`crate::find`].

pub mod device_path;
pub mod load_option;
pub mod vars;
