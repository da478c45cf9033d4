//! What can go wrong in the lab, told so that a person knows what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::nvram::NvramError;
use super::pe::PeError;

/// Any failure of the lab. None of these is the verdict of a test: they all mean that the lab itself is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The verb: "read", "create", …
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be started, failed, or took too long.
    #[error("`{command}` {problem}")]
    Command {
        /// The command line, for people.
        command: String,
        /// How it failed, with the end of what it printed.
        problem: String,
    },
    /// Packages are missing and this process may not install them.
    #[error("the lab needs packages that are missing here ({why}); run: {line}")]
    MissingPackages {
        /// Why the lab did not install them itself.
        why: String,
        /// The one line to run.
        line: String,
    },
    /// No kernel could be had.
    #[error("no kernel for the lab's images: {0}")]
    Kernel(String),
    /// The image cannot be built from what was given.
    #[error("cannot build the image: {0}")]
    Image(String),
    /// The EFI stub is not a PE file we understand.
    #[error("the EFI stub cannot be used: {0}")]
    Pe(#[from] PeError),
    /// The firmware's variables cannot be written.
    #[error("the firmware's variables cannot be set: {0}")]
    Nvram(#[from] NvramError),
    /// There can be no network of its own.
    #[error("no network for the lab: {0}")]
    Network(String),
    /// The configuration of a virtual server makes no sense.
    #[error("the virtual server cannot be configured: {0}")]
    Config(String),
    /// QEMU ended although it should not have.
    #[error("QEMU ended ({status}) while {doing}: {stderr}")]
    Ended {
        /// Its exit status.
        status: String,
        /// What the lab wanted of it.
        doing: &'static str,
        /// The end of its standard error.
        stderr: String,
    },
    /// QEMU's monitor did not answer as its protocol says.
    #[error("QEMU's monitor: {0}")]
    Monitor(String),
    /// Something took longer than its deadline.
    #[error("{what} took longer than {} s", after.as_secs_f32())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
}

impl LabError {
    /// For `map_err` on file operations: keeps the verb and the path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
