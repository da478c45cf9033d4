//! Where images come from.

pub mod description;
mod directory;
pub mod memory;
pub mod remote;
pub mod urls;

pub use directory::{DESCRIPTION, Directory, Opened, Scan, SourceError};
