//! Where images come from.

pub mod description;
mod directory;
pub mod memory;
pub mod remote;
pub mod upstream;
pub mod urls;

use dispatch_core::queue::{Found, Unreadable};
use dispatch_core::{Arch, Workload};

pub use directory::{DESCRIPTION, Directory, Opened, Scan, SourceError};

use crate::fetch::Images;

/// What all images are made for, as far as is known; nothing if they differ.
#[must_use]
pub fn all_alike(found: &[Found]) -> Option<Arch> {
    let mut archs = found.iter().filter_map(|file| file.terms.arch);
    let first = archs.next()?;
    archs.all(|arch| arch == first).then_some(first)
}

/// Where the images of an engine are.
pub enum Source {
    /// In a directory, as they are at the moment.
    Directory(Directory),
    /// In the cache, once they have been fetched.
    Fetched(Images),
}

impl Source {
    /// Opens the image of a workload.
    pub async fn open(&self, workload: &Workload) -> Result<Opened, Unreadable> {
        match self {
            Self::Directory(directory) => directory.open(workload).await,
            Self::Fetched(images) => images.open(workload).await,
        }
    }
}
