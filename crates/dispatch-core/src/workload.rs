//! What can be run.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::queue::Found;
use crate::run::DeadlineChanges;

use crate::group::GroupId;
use crate::id::WorkloadId;

/// What a workload is: one of the three kinds of boot assets, or something that is run elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An EFI application, such as a unified kernel image.
    Efi,
    /// An ISO 9660 image, which the firmware mounts as a RAM disk.
    Iso,
    /// A raw disk image, which the firmware mounts as a RAM disk.
    Img,
    /// A workflow of GitHub Actions.
    Workflow,
}

impl Kind {
    /// The kind that a file name's extension stands for, in either case.
    #[must_use]
    pub fn of_file_name(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        if stem.is_empty() {
            return None;
        }
        extension.to_ascii_lowercase().parse().ok().filter(|kind| *kind != Self::Workflow)
    }

    /// The media type that firmware expects (UEFI 2.10 §24.7.3.1).
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Efi => "application/efi",
            Self::Iso => "application/vnd.efi-iso",
            Self::Img => "application/vnd.efi-img",
            // Never asked for: no host boots it.
            Self::Workflow => "application/yaml",
        }
    }

    /// The word that is stored and shown; also the file extension.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Efi => "efi",
            Self::Iso => "iso",
            Self::Img => "img",
            Self::Workflow => "workflow",
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
            "workflow" => Ok(Self::Workflow),
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

/// A SHA-256 digest (FIPS 180-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// What is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 hexadecimal digits")]
pub struct NoDigest;

impl Digest {
    /// The digest of these 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// In 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    /// Reads `sha256:` and 64 hexadecimal digits, or these alone.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(NoDigest);
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(NoDigest);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What is said of a workload beside its bytes: it may change, and the workload stays what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How often it may reboot the host within one run before it reports.
    pub reboots: u32,
    /// One line for people.
    pub description: Option<String>,
    /// The processor that it is made for, where that is known.
    pub arch: Option<Arch>,
    /// Labels that a host must have to get it.
    pub labels: Vec<String>,
    /// How many more attempts it gets after its first one errored, if it is to differ.
    pub retries: Option<u32>,
    /// Deadlines that are to differ.
    pub deadlines: DeadlineChanges,
    /// Lower goes first; among equals, the name decides.
    pub order: i64,
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
    /// The digest of its bytes, where that is known.
    pub digest: Option<Digest>,
    /// The URL that it is fetched from; nothing for a file that is here.
    pub origin: Option<String>,
    /// The processor that its bytes are made for, where these have been fetched and looked at.
    pub made_for: Option<Arch>,
    /// What is said of it.
    pub terms: Terms,
    /// Where it comes from.
    pub source: SourceId,
    /// The group that its source belongs to.
    pub group: GroupId,
    /// Its source offers it, as far as is known.
    pub is_offered: bool,
    /// For which hosts its source has queued it, by the label that each was pinned to; the empty one is any.
    pub queued_for: BTreeSet<String>,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// Which workflow, if it is one.
    pub workflow: Option<Workflow>,
}

/// A workflow of GitHub Actions that can be dispatched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// Whose repository it is in.
    pub owner: String,
    /// In which of these.
    pub repo: String,
    /// Its file name there, or its number.
    pub workflow_id: String,
    /// The branch or tag that it is run on.
    #[serde(rename = "ref")]
    pub git_ref: String,
}

/// What tells a source from all others. The one of a session is called `session`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(String);

impl SourceId {
    /// A source that is called so.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The only source of a session.
    #[must_use]
    pub fn session() -> Self {
        Self::new("session")
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Workload {
    /// A workflow: it has no bytes of ours.
    #[must_use]
    pub fn of_workflow(
        id: WorkloadId,
        group: GroupId,
        name: &str,
        workflow: Workflow,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            name: name.to_owned(),
            kind: Kind::Workflow,
            size: 0,
            modified: now,
            digest: None,
            origin: None,
            made_for: None,
            terms: Terms::default(),
            source: SourceId::new("workflow"),
            group,
            is_offered: true,
            queued_for: BTreeSet::new(),
            first_seen: now,
            workflow: Some(workflow),
        }
    }

    /// Whether a file is this version: by digest where both have one, else by size and time. The same bytes as another
    /// kind of boot asset are something else.
    #[must_use]
    pub fn is_version(&self, file: &Found) -> bool {
        self.kind == file.kind
            && self.size == file.size
            && match self.digest.zip(file.digest) {
                Some((known, digest)) => known == digest,
                None => self.modified == file.modified,
            }
    }

    /// The processor that it is made for, as far as is known: its bytes know best.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        self.made_for.or(self.terms.arch)
    }
}
