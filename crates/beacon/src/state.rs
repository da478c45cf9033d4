//! What `beacon boot` remembers for `beacon report`: which server answered, and what it calls the run.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::root::Root;
use crate::run_id::RunId;
use crate::url::ServerUrl;

const DIRECTORY: &str = "run/dispatch";
const FILE: &str = "run/dispatch/beacon.json";
const MAX_BYTES: u64 = 16 * 1024;

/// The server that answered `boot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its address.
    pub url: ServerUrl,
    /// Its name for the run; a server of version 1.1.0 gives none.
    pub run: Option<RunId>,
}

/// The shape of the file. Unknown fields are ignored, so that a newer beacon may add some.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// The boot that it belongs to: where `/run` is a folder on a disk, the file outlives its boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
}

/// The kernel's name for this boot (random(4)), where it has one.
fn boot_id(root: &Root) -> Option<String> {
    let bytes = root.read("proc/sys/kernel/random/boot_id", MAX_BYTES).ok()?;
    Some(String::from_utf8(bytes).ok()?.trim().to_owned())
}

/// Why the state could not be kept or read; never a reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Most likely a read-only `/run`.
    #[error("cannot remember the server in {path} ({cause}); `beacon report` will have to find it again")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is there, but cannot be read.
    #[error("cannot read {path} ({cause}); looking for the server anew")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is not what `beacon boot` writes.
    #[error("{path} is damaged ({cause}); looking for the server anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl Remembered {
    /// Reads what `boot` has kept; `None` if it has not run.
    pub fn load(root: &Root) -> Result<Option<Self>, StateError> {
        let path = root.at(FILE);
        match root.read(FILE, MAX_BYTES) {
            Ok(bytes) => {
                let (remembered, boot) =
                    Self::parse(&bytes).map_err(|cause| StateError::Damaged { path, cause })?;
                let is_of_this_boot = boot.is_none_or(|boot| boot_id(root).is_none_or(|now| now == boot));
                Ok(Some(remembered).filter(|_| is_of_this_boot))
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StateError::Read { path, cause }),
        }
    }

    /// Takes the content of the file apart: what is remembered, and the boot that it belongs to.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Option<String>), String> {
        let OnDisk { url, run, boot } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let url = url.parse().map_err(|error: crate::url::UrlError| error.to_string())?;
        Ok((Self { url, run }, boot))
    }

    /// Keeps it. Another beacon sees the old file or the new one, never half of it.
    pub fn save(&self, root: &Root) -> Result<(), StateError> {
        let path = root.at(FILE);
        let write = || {
            let on_disk =
                OnDisk { url: self.url.as_str().to_owned(), run: self.run.clone(), boot: boot_id(root) };
            let mut json = serde_json::to_vec(&on_disk)?;
            json.push(b'\n');
            fs::create_dir_all(root.at(DIRECTORY))?;
            let new = path.with_extension(format!("json.{}", std::process::id()));
            fs::write(&new, json).and_then(|()| fs::rename(&new, &path)).inspect_err(|_| {
                // A leftover does no harm; it is only untidy.
                let _ = fs::remove_file(&new);
            })
        };
        write().map_err(|cause| StateError::Write { path: path.clone(), cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn remembered(run: Option<&str>) -> Remembered {
        let run = run.map(|run| RunId::from_bytes(run.as_bytes()).expect("a run"));
        Remembered { url: "http://lab:8080/dispatch?x.efi".parse().expect("a URL"), run }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_else_is_left() {
        let tree = tempfile::tempdir().expect("a directory");
        let root = Root::from(tree.path().to_owned());
        assert_eq!(Remembered::load(&root).expect("no file is fine"), None);
        for state in [remembered(Some("0193")), remembered(None)] {
            state.save(&root).expect("saved");
            assert_eq!(Remembered::load(&root).expect("loaded"), Some(state));
        }
        assert_eq!(fs::read_dir(tree.path().join("run/dispatch")).expect("a directory").count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error_that_names_it() {
        let tree = tempfile::tempdir().expect("a directory");
        fs::write(tree.path().join("run"), "in the way").expect("written");
        let error = remembered(None).save(&Root::from(tree.path().to_owned())).expect_err("refused");
        assert!(error.to_string().contains("run/dispatch/beacon.json"), "{error}");
    }

    #[test]
    fn damage_is_told() {
        let bad: [&[u8]; 6] = [
            b"",
            b"{",
            b"{}",
            br#"{"url":"lab"}"#,
            br#"{"url":"https://lab/"}"#,
            br#"{"url":"http://lab/","run":"a b"}"#,
        ];
        for bytes in bad {
            assert!(Remembered::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_content_is_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Remembered::parse(&bytes);
        }
    }
}
