//! The state folder: where it is, and that only one process works with it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error(
        "the state {} is in use by another dispatch: end that one, or choose another folder with --state",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file system says no.
    #[error("cannot use the state folder {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A state folder that is ours for as long as this lives.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// Locked; the system gives it back when the process ends, however it ends.
    _lock: File,
}

impl State {
    /// Takes a folder; it is made if it is not there.
    pub fn take(folder: &Path) -> Result<Self, StateError> {
        let io = |error| StateError::Io { path: folder.to_owned(), error };
        // Reports may be nobody else's business, and the URLs of images may be signed.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Forgets what it holds.
    pub fn forget(&self) -> Result<(), StateError> {
        for name in ["dispatch.db", "dispatch.db-wal", "dispatch.db-shm"] {
            let path = self.folder.join(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::Io { path, error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The database in it.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        database(&self.folder)
    }
}

/// The database of a state folder.
#[must_use]
pub fn database(folder: &Path) -> PathBuf {
    folder.join("dispatch.db")
}

/// The folder for a directory of images where none is given: under the XDG state directory, one for each source.
/// `base` is `$XDG_STATE_HOME` or `~/.local/state`.
#[must_use]
pub fn default_folder(base: &Path, source: &Path) -> PathBuf {
    let name = source.file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy());
    named_folder(base, &name, source.as_os_str().as_encoded_bytes())
}

/// The folder for any source where none is given: `name` is for people, `key` is what tells sources apart.
#[must_use]
pub fn named_folder(base: &Path, name: &str, key: &[u8]) -> PathBuf {
    // A hash that is the same in every version of this program.
    let hash = Sha256::digest(key);
    let hash: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let name: String =
        name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).take(40).collect();
    base.join("dispatch").join(format!("{name}-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_on_one_state_are_told_apart() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let first = State::take(dir.path()).expect("ours");
        assert!(matches!(State::take(dir.path()), Err(StateError::InUse(_))));
        drop(first);
        State::take(dir.path()).expect("ours again");
    }

    #[test]
    fn fresh_forgets_the_database_and_nothing_else() {
        let dir = tempfile::TempDir::new().expect("a folder");
        for name in ["dispatch.db", "dispatch.db-wal", "notes.txt"] {
            std::fs::write(dir.path().join(name), "x").expect("a file");
        }
        State::take(dir.path()).and_then(|state| state.forget()).expect("ours");
        assert!(!dir.path().join("dispatch.db").exists());
        assert!(!dir.path().join("dispatch.db-wal").exists());
        assert!(dir.path().join("notes.txt").exists());
    }

    #[test]
    fn each_source_has_a_folder_of_its_own() {
        let base = Path::new("/state");
        let folder = |source| default_folder(base, Path::new(source));
        assert_eq!(folder("/a/images"), folder("/a/images"));
        assert_ne!(folder("/a/images"), folder("/b/images"));
        assert!(folder("/a/my images").display().to_string().starts_with("/state/dispatch/my-images-"));
    }
}
