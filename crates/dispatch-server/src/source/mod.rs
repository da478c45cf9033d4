//! Where images come from.

pub mod description;
mod directory;
pub mod memory;
mod opens;
pub mod remote;
pub mod upstream;
pub mod urls;

use dispatch_core::queue::{Found, Outlook, Unreadable};
use dispatch_core::{Arch, Workload};

pub use directory::{DESCRIPTION, Directory, Opened, Scan, SourceError};
pub(crate) use opens::Opens;

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

/// Why an image could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpened {
    /// Why.
    pub why: Unreadable,
    /// It is so of all images of its source.
    pub is_whole: bool,
}

impl Source {
    /// Opens the image of a workload.
    pub async fn open(&self, workload: &Workload) -> Result<Opened, NotOpened> {
        match self {
            Self::Directory(directory) => directory.open(workload).await,
            // It passes where the file system of the cache does not answer, and nowhere else.
            Self::Fetched(images) => images
                .open(workload)
                .await
                .map_err(|why| NotOpened { is_whole: why.outlook == Outlook::Passing, why }),
        }
    }
}
