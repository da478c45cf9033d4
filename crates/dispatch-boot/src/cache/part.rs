//! Images that are being fetched.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use dispatch_core::Digest;
use dispatch_core::fetch::Key;
use sha2::{Digest as _, Sha256};

use super::lock::{Hold, Lock, Pin};
use super::whole::{Stamp, hash};
use super::{Cache, CacheError, Watch};

/// How the info of a part begins, and how it ends: one that was not written to its end is none.
const INFO: (&str, &str) = ("dispatch part 1", "end");

/// What the fetching of an image begins with.
#[derive(Debug)]
pub enum Begun {
    /// Another process is at it.
    Busy,
    /// It is here by now.
    Here,
    /// This is here of it.
    Part(Box<Part>),
}

/// An image that this process alone is fetching.
#[derive(Debug)]
pub struct Part {
    cache: Cache,
    key: Key,
    lock: Lock,
    file: File,
    hasher: Sha256,
    length: u64,
    size: u64,
    etag: Option<String>,
}

/// How the fetching of an image ended.
#[derive(Debug)]
pub enum Finished {
    /// It is here, and is kept for as long as the pin lives.
    Right(Digest, Pin),
    /// It has another digest than it should have, and is thrown away.
    Wrong(Digest),
    /// It was thrown away by another process as soon as it was here.
    Lost,
}

impl Cache {
    /// Begins to fetch an image of so many bytes, or goes on with it.
    ///
    /// What an earlier process left of an image whose digest is not known is not gone on with: nothing would tell that
    /// half of it is of another version.
    pub fn begin(&self, key: Key, size: u64, watch: &Watch) -> Result<Begun, CacheError> {
        let begin = || {
            let Some(lock) = self.inner.locks.take(&key, Hold::Alone)? else { return Ok(Some(Begun::Busy)) };
            if key.digest().is_some_and(|digest| self.has(&digest)) {
                return Ok(Some(Begun::Here));
            }
            let known = self.info(&key)?.filter(|(known, _)| *known == size && key.digest().is_some());
            if known.is_none() {
                self.remove_part(&key)?;
            }
            self.inner.steps.step()?;
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(self.part_path(&key))?;
            let Some((hasher, length)) = hash(&file, size, watch)? else { return Ok(None) };
            if file.metadata()?.len() > length {
                self.inner.steps.step()?;
                file.set_len(length)?;
            }
            let etag = known.and_then(|(_, etag)| etag);
            let cache = self.clone();
            Ok(Some(Begun::Part(Box::new(Part { cache, key, lock, file, hasher, length, size, etag }))))
        };
        begin().map_err(|error| self.error(error))?.ok_or(CacheError::Stopped)
    }

    /// The size and the entity tag of what a part is of.
    fn info(&self, key: &Key) -> io::Result<Option<(u64, Option<String>)>> {
        match fs::read_to_string(self.info_path(key)) {
            Ok(text) => Ok(read_info(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn read_info(text: &str) -> Option<(u64, Option<String>)> {
    let lines: Vec<&str> = text.lines().collect();
    let [begin, size, rest @ .., end] = lines.as_slice() else { return None };
    if (*begin, *end) != INFO {
        return None;
    }
    let size = size.strip_prefix("size ")?.parse().ok()?;
    let etag = match rest {
        [] => None,
        [line] => Some(line.strip_prefix("etag ")?.to_owned()),
        _ => return None,
    };
    Some((size, etag))
}

pub(super) fn write_info(size: u64, etag: Option<&str>) -> String {
    let etag = etag.map(|etag| format!("etag {etag}\n")).unwrap_or_default();
    format!("{}\nsize {size}\n{etag}{}\n", INFO.0, INFO.1)
}

impl Part {
    /// How many bytes are here.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The entity tag of what is here of it, to ask for the rest of the same version (RFC 9110 §13.1.5).
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Throws away what is here of it. `etag` is that of what will be.
    pub fn restart(&mut self, etag: Option<&str>) -> Result<(), CacheError> {
        self.restarted(etag).map_err(|error| self.cache.error(error))
    }

    fn restarted(&mut self, etag: Option<&str>) -> io::Result<()> {
        // First the info of what goes, last that of what comes: what is in between is of no known version.
        self.cache.remove(&self.cache.info_path(&self.key))?;
        self.cache.inner.steps.step()?;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hasher, self.length) = (Sha256::new(), 0);
        // One that could be read as something else is as good as none.
        self.etag = etag.filter(|etag| !etag.contains(['\n', '\r'])).map(ToOwned::to_owned);
        self.cache.inner.steps.step()?;
        fs::write(self.cache.info_path(&self.key), write_info(self.size, self.etag()))
    }

    /// Adds what came.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        if self.length.saturating_add(bytes.len() as u64) > self.size {
            return Err(CacheError::TooMuch { size: self.size });
        }
        self.cache.inner.steps.step().map_err(|error| self.cache.error(error))?;
        let written = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(bytes));
        if let Err(error) = written {
            // Part of it may have been written, and is in no hash.
            let _ = self.file.set_len(self.length);
            return Err(self.cache.error(error));
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is here of it.
    pub fn discard(self) -> Result<(), CacheError> {
        let Self { cache, key, lock, file, .. } = self;
        drop(file);
        cache.remove_part(&key).and_then(|()| cache.give_back(&key, lock)).map_err(|error| cache.error(error))
    }

    /// All of it is here: if its digest is right, it becomes a whole image.
    pub fn finish(self, expected: Option<Digest>) -> Result<Finished, CacheError> {
        let found = Digest::new(self.hasher.clone().finalize().into());
        let is_right = expected.or(self.key.digest()).is_none_or(|expected| expected == found);
        if !is_right || self.length != self.size {
            self.discard()?;
            return Ok(Finished::Wrong(found));
        }
        let cache = self.cache.clone();
        self.keep(found).map_err(|error| cache.error(error))
    }

    fn keep(self, digest: Digest) -> io::Result<Finished> {
        let Self { cache, key, lock, file, .. } = self;
        let own = Key::Digest(digest);
        let path = cache.whole_path(&digest);
        let (part, parts) = (cache.part_path(&key), cache.parts());
        let steps = &cache.inner.steps;
        steps.step()?;
        file.sync_all()?;
        // Nobody writes to it any more.
        drop(file);
        if let Some(folder) = path.parent() {
            steps.step()?;
            fs::create_dir_all(folder)?;
            folder.parent().map_or(Ok(()), sync_folder)?;
            let written = Stamp::new(&fs::metadata(&part)?);
            steps.step()?;
            fs::rename(&part, &path)?;
            // Not before: a part that nobody may write to could not be gone on with.
            fs::set_permissions(&path, Permissions::from_mode(0o444))?;
            let stamp = Stamp::new(&fs::metadata(&path)?);
            if stamp.has_bytes_of(&written) {
                cache.is_known(digest, stamp);
            }
            steps.step()?;
            sync_folder(folder)?;
            sync_folder(&parts)?;
        }
        cache.remove(&cache.info_path(&key))?;
        let lock = if key == own {
            lock.share()?
        } else {
            cache.give_back(&key, lock)?;
            cache.inner.locks.take(&own, Hold::Shared)?
        };
        let pin = lock.filter(|_| cache.has(&digest)).map(|lock| Pin { _lock: lock });
        Ok(pin.map_or(Finished::Lost, |pin| Finished::Right(digest, pin)))
    }
}

fn sync_folder(folder: &std::path::Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
