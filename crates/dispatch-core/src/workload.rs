//! What can be run.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::WorkloadId;

/// The three kinds of boot assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An EFI application, such as a unified kernel image.
    Efi,
    /// An ISO 9660 image, which the firmware mounts as a RAM disk.
    Iso,
    /// A raw disk image, which the firmware mounts as a RAM disk.
    Img,
}

impl Kind {
    /// The kind that a file name's extension stands for, in either case.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        if stem.is_empty() {
            return None;
        }
        extension.to_ascii_lowercase().parse().ok()
    }

    /// The media type that firmware expects (UEFI 2.10 §24.7.3.1).
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Efi => "application/efi",
            Self::Iso => "application/vnd.efi-iso",
            Self::Img => "application/vnd.efi-img",
        }
    }

    /// The word that is stored and shown; also the file extension.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Efi => "efi",
            Self::Iso => "iso",
            Self::Img => "img",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "efi" => Ok(Self::Efi),
            "iso" => Ok(Self::Iso),
            "img" => Ok(Self::Img),
            _ => Err(UnknownWord(word.to_owned())),
        }
    }
}

/// A word that stands for nothing we know.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(pub String);

/// The processor that an EFI application is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// AMD64.
    #[serde(rename = "x86-64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    /// The word that is stored, shown and used in file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "x86-64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            _ => Err(UnknownWord(word.to_owned())),
        }
    }
}

/// One version of something that can be run. Immutable: a file that changes on disk is another workload of
/// the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its identity.
    pub id: WorkloadId,
    /// The file name, unique within its source.
    pub name: String,
    /// Which boot asset it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// When the file was last written; with `size` it tells versions apart without reading the file.
    pub modified: Timestamp,
    /// How often it may reboot the host within one run before it reports.
    pub reboots: u32,
    /// One line for people.
    pub description: Option<String>,
    /// The processor that it is made for, where its file tells.
    pub arch: Option<Arch>,
}
