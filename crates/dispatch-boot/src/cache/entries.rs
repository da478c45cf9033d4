//! What is in the cache, and how it leaves it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use dispatch_core::Digest;
use dispatch_core::fetch::{Entry, Key};
use jiff::Timestamp;

use super::lock::{Hold, Lock};
use super::{Cache, CacheError};

impl Cache {
    /// Everything that is in it. What this process has pinned itself counts as pinned.
    pub fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        self.all_entries().map_err(|error| self.error(error))
    }

    fn all_entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for folder in fs::read_dir(self.inner.folder.join("sha256"))? {
            let Ok(files) = fs::read_dir(folder?.path()) else { continue };
            for file in files {
                let file = file?;
                let digest = file.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
                let Some(digest) = digest.filter(|digest| self.whole_path(digest) == file.path()) else {
                    continue;
                };
                entries.extend(self.entry(Key::Digest(digest), &file.path(), false)?);
            }
        }
        for file in fs::read_dir(self.parts())? {
            let file = file?;
            // Names with `.info` behind are no keys.
            if let Some(key) = file.file_name().to_str().and_then(|name| name.parse::<Key>().ok()) {
                entries.extend(self.entry(key, &file.path(), true)?);
            }
        }
        Ok(entries)
    }

    fn entry(&self, key: Key, path: &Path, is_part: bool) -> io::Result<Option<Entry>> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            // It left in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let written = meta.modified()?;
        let used = if is_part { None } else { self.inner.locks.used(&key) };
        let last_used = Timestamp::try_from(used.map_or(written, |used| used.max(written)))
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let is_pinned = self.inner.locks.is_held(&key)?;
        Ok(Some(Entry { key, size: meta.len(), last_used, is_pinned, is_part }))
    }

    /// Throws something away, unless somebody uses it. Returns whether it is gone.
    pub fn evict(&self, key: &Key, is_part: bool) -> Result<bool, CacheError> {
        let evict = || {
            let Some(lock) = self.inner.locks.take(key, Hold::Alone)? else { return Ok(false) };
            match key.digest().filter(|_| !is_part) {
                Some(digest) => {
                    self.verified().remove(&digest);
                    self.remove(&self.whole_path(&digest))?;
                }
                None => self.remove_part(key)?,
            }
            self.give_back(key, lock)?;
            Ok(true)
        };
        evict().map_err(|error| self.error(error))
    }

    /// Notes that an image is used.
    pub fn touch(&self, key: &Key, now: Timestamp) -> Result<(), CacheError> {
        self.inner.locks.touch(key, SystemTime::from(now)).map_err(|error| self.error(error))
    }

    pub(super) fn remove_part(&self, key: &Key) -> io::Result<()> {
        // In this order: a part without its info is of no known version.
        self.remove(&self.info_path(key))?;
        self.remove(&self.part_path(key))
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.steps.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a lock back that was held alone; its file goes with the last of its image.
    pub(super) fn give_back(&self, key: &Key, lock: Lock) -> io::Result<()> {
        let is_empty = !self.part_path(key).exists()
            && !key.digest().is_some_and(|digest| self.whole_path(&digest).exists());
        if !is_empty {
            return Ok(());
        }
        self.inner.steps.step()?;
        self.inner.locks.remove(key, lock)
    }

    /// Removes what processes that ended in the middle of something left behind, and nobody uses.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for file in fs::read_dir(self.parts())? {
            let name = file?.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".info"));
            let Some(key) = key.and_then(|name| name.parse::<Key>().ok()) else { continue };
            if let Some(_lock) = self.inner.locks.take(&key, Hold::Alone)?
                && !self.part_path(&key).exists()
            {
                self.remove(&self.info_path(&key))?;
            }
        }
        for key in self.inner.locks.keys()? {
            if let Some(lock) = self.inner.locks.take(&key, Hold::Alone)? {
                self.give_back(&key, lock)?;
            }
        }
        Ok(())
    }
}
