//! Where images come from.

pub mod description;
mod directory;

pub use directory::{DESCRIPTION, Directory, Opened, Scan, SourceError};
