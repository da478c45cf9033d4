//! How things get in: whole, once, and durable before anybody is told that they are there.

use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use dispatch_core::Digest;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use object_store::path::Path as Name;
use object_store::{
    Attribute, Attributes, MultipartUpload, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, RenameOptions, RenameTargetMode,
};
use sha2::{Digest as _, Sha256};

use super::error::{Cause, StorageError};
use super::key::Key;
use super::{INCOMING, LEFT_OVER, Object, Storage};

/// What goes out at once of something large, in bytes. S3 takes 10,000 of them, of 5 MiB or more each.
const PART: usize = 16 * 1024 * 1024;

/// The most parts.
const MAX_PARTS: u64 = 10_000;

/// Something large on its way in, cut into parts.
struct Parts<S> {
    from: S,
    rest: Bytes,
    hasher: Sha256,
    size: u64,
}

impl Storage {
    /// Stores these bytes, if there is nothing of that name. The same bytes again are fine; if there are others,
    /// [`StorageError::Different`] says so and nothing is changed. A folder does not keep the type.
    pub async fn put(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<Object, StorageError> {
        let object = object_of(key, &bytes);
        let doing = format!("store {key}");
        match self.write(key, bytes, content_type, PutMode::Create).await? {
            Ok(()) => Ok(object),
            Err(Cause::Exists) => self.same(object).await,
            Err(other) => Err(other.into_error(self.inner.place.clone(), &doing)),
        }
    }

    /// Stores these bytes in the place of those that are there.
    pub async fn replace(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<Object, StorageError> {
        let object = object_of(key, &bytes);
        let doing = format!("store {key}");
        match self.write(key, bytes, content_type, PutMode::Overwrite).await? {
            Ok(()) => Ok(object),
            Err(other) => Err(other.into_error(self.inner.place.clone(), &doing)),
        }
    }

    /// Stores what comes, like [`Self::put`], in the memory of one part of 16 MiB. What breaks off is not stored.
    pub async fn put_stream(
        &self,
        key: &Key,
        content_type: &str,
        from: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<Object, StorageError> {
        let from = pin!(from);
        let mut parts = Parts { from, rest: Bytes::new(), hasher: Sha256::new(), size: 0 };
        let first = parts.next(self, key).await?;
        if first.len() < PART {
            return self.put(key, first, content_type).await;
        }
        if self.head(key).await?.is_some() {
            while !parts.next(self, key).await?.is_empty() {}
            return self.same(parts.object(key)).await;
        }
        let target = self.staged().unwrap_or_else(|| self.inner.name(key));
        let options = PutMultipartOptions {
            attributes: self.attributes(content_type),
            ..PutMultipartOptions::default()
        };
        let doing = format!("store {key}");
        let begun = self.inner.store.put_multipart_opts(&target, options);
        let mut upload = self.done(&doing, self.inner.limits.answer, begun).await?;
        let sent = match self.send(key, upload.as_mut(), &mut parts, first).await {
            Ok(()) => self.finish(key, &target, upload.as_mut()).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(Ok(())) => Ok(parts.object(key)),
            Ok(Err(Cause::Exists)) => {
                self.abort(upload.as_mut(), &target).await;
                self.same(parts.object(key)).await
            }
            Ok(Err(other)) => {
                self.abort(upload.as_mut(), &target).await;
                Err(other.into_error(self.inner.place.clone(), &doing))
            }
            Err(error) => {
                self.abort(upload.as_mut(), &target).await;
                Err(error)
            }
        }
    }

    /// Sends all parts, the next one once the last one has arrived.
    async fn send<S: Stream<Item = io::Result<Bytes>> + Unpin>(
        &self,
        key: &Key,
        upload: &mut dyn MultipartUpload,
        parts: &mut Parts<S>,
        first: Bytes,
    ) -> Result<(), StorageError> {
        let doing = format!("store {key}");
        let mut part = first;
        let mut count = 0;
        while !part.is_empty() {
            count += 1;
            if count > MAX_PARTS {
                return Err(StorageError::TooLarge { key: key.clone(), limit: MAX_PARTS * PART as u64 });
            }
            let limit = self.inner.limits.for_bytes(part.len());
            self.done(&doing, limit, upload.put_part(PutPayload::from_bytes(part))).await?;
            part = parts.next(self, key).await?;
        }
        Ok(())
    }

    /// Puts the parts together under the name.
    async fn finish(
        &self,
        key: &Key,
        target: &Name,
        upload: &mut dyn MultipartUpload,
    ) -> Result<Result<(), Cause>, StorageError> {
        let doing = format!("store {key}");
        // Syncing a large file, or putting ten thousand parts together, takes its time.
        let limit = self.inner.limits.answer * 10;
        match self.in_time(&doing, limit, upload.complete()).await? {
            Ok(_) if self.inner.folder.is_some() => self.publish(key, target, RenameTargetMode::Create).await,
            other => Ok(other.map(drop)),
        }
    }

    /// Stores bytes under this name in one go.
    async fn write(
        &self,
        key: &Key,
        bytes: Bytes,
        content_type: &str,
        mode: PutMode,
    ) -> Result<Result<(), Cause>, StorageError> {
        let doing = format!("store {key}");
        let limit = self.inner.limits.for_bytes(bytes.len());
        let payload = PutPayload::from_bytes(bytes);
        let attributes = self.attributes(content_type);
        let Some(staged) = self.staged() else {
            let options = PutOptions { mode, attributes, ..PutOptions::default() };
            let name = self.inner.name(key);
            let put = self.inner.store.put_opts(&name, payload, options);
            return Ok(self.in_time(&doing, limit, put).await?.map(drop));
        };
        if let Err(cause) = self.in_time(&doing, limit, self.inner.store.put(&staged, payload)).await? {
            return Ok(Err(cause));
        }
        let mode = match mode {
            PutMode::Overwrite => RenameTargetMode::Overwrite,
            _ => RenameTargetMode::Create,
        };
        let published = self.publish(key, &staged, mode).await;
        if !matches!(published, Ok(Ok(()))) {
            let _ = self.in_time(&doing, limit, self.inner.store.delete(&staged)).await;
        }
        published
    }

    /// Gives a whole file in the folder its name.
    async fn publish(
        &self,
        key: &Key,
        staged: &Name,
        mode: RenameTargetMode,
    ) -> Result<Result<(), Cause>, StorageError> {
        let options = RenameOptions { target_mode: mode, ..RenameOptions::default() };
        let name = self.inner.name(key);
        let renamed = self.inner.store.rename_opts(staged, &name, options);
        self.in_time(&format!("store {key}"), self.inner.limits.answer, renamed).await
    }

    /// Whether what is there under this name is this object.
    async fn same(&self, object: Object) -> Result<Object, StorageError> {
        let place = self.inner.place.clone();
        let different = || StorageError::Different { place: place.clone(), key: object.key.clone() };
        let Some(there) = self.get(&object.key, None).await? else {
            // Somebody stores it at this moment, or has deleted it.
            return Err(Cause::Exists.into_error(place, &format!("store {}", object.key)));
        };
        if there.size != object.size || there.digest().await? != object.digest {
            return Err(different());
        }
        Ok(object)
    }

    /// Ends an upload that came to nothing. What cannot be ended now is left to [`Self::sweep`], or to the bucket's
    /// own rule for incomplete uploads.
    async fn abort(&self, upload: &mut dyn MultipartUpload, target: &Name) {
        let limit = self.inner.limits.answer;
        let _ = self.in_time("end an upload", limit, upload.abort()).await;
        if self.inner.folder.is_some() {
            let _ = self.in_time("end an upload", limit, self.inner.store.delete(target)).await;
        }
    }

    /// A name for what is not whole yet, if this is a folder.
    fn staged(&self) -> Option<Name> {
        let incoming = self.inner.folder.as_ref()?;
        let number = incoming.next.fetch_add(1, Ordering::Relaxed);
        Some(Name::from(format!("{INCOMING}/{}-{number}", incoming.name)))
    }

    /// A folder has no room for the type.
    fn attributes(&self, content_type: &str) -> Attributes {
        if self.inner.folder.is_some() {
            return Attributes::new();
        }
        Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())])
    }

    /// Removes what processes that died have left half written in a folder, once it is a day old. Returns how many
    /// files that were. In a bucket they are no objects; its rule for incomplete uploads removes them.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, StorageError> {
        let Some(incoming) = &self.inner.folder else { return Ok(0) };
        let folder = incoming.folder.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&folder, now)).await;
        swept.map_err(io::Error::other).and_then(|swept| swept).map_err(|error| StorageError::Other {
            place: self.inner.place.clone(),
            doing: "remove what was left half written".to_owned(),
            why: error.to_string(),
        })
    }
}

fn sweep(folder: &std::path::Path, now: Timestamp) -> io::Result<usize> {
    let before = SystemTime::from(now.checked_sub(LEFT_OVER).unwrap_or(Timestamp::MIN));
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_old = entry.metadata().and_then(|of| of.modified()).is_ok_and(|modified| modified < before);
        if is_old && std::fs::remove_file(entry.path()).is_ok() {
            count += 1;
        }
    }
    Ok(count)
}

fn object_of(key: &Key, bytes: &Bytes) -> Object {
    let digest = Digest::new(Sha256::digest(bytes).into());
    Object { key: key.clone(), size: bytes.len() as u64, digest }
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Parts<S> {
    /// The next part, shorter only at the end, and empty after it.
    async fn next(&mut self, storage: &Storage, key: &Key) -> Result<Bytes, StorageError> {
        let stall = storage.inner.limits.stall;
        let broken = |source| StorageError::Source { key: key.clone(), source };
        let mut part = BytesMut::new();
        while part.len() < PART {
            if self.rest.is_empty() {
                let next = tokio::time::timeout(stall, self.from.next()).await;
                match next.map_err(|_| broken(io::ErrorKind::TimedOut.into()))? {
                    Some(bytes) => self.rest = bytes.map_err(broken)?,
                    None => break,
                }
            }
            let count = self.rest.len().min(PART - part.len());
            part.extend_from_slice(&self.rest.split_to(count));
        }
        self.hasher.update(&part);
        self.size += part.len() as u64;
        Ok(part.freeze())
    }

    fn object(&self, key: &Key) -> Object {
        let digest = Digest::new(self.hasher.clone().finalize().into());
        Object { key: key.clone(), size: self.size, digest }
    }
}
