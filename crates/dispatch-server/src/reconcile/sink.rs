//! Where the files of reports go: into a folder of a session, or into the storage of a service.

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use dispatch_store::StoredReport;

use crate::reports::{self, ReportFile};
use crate::storage::{Key, KeyError, Storage, StorageError};

/// Below this key the storage has the files of reports.
pub(super) const REPORTS: &str = "reports";

/// The most that is read of a file that is there already. A report has 8 MiB at most, and its JSON may escape each byte.
const MOST: u64 = 64 * 1024 * 1024;

/// Where the files of reports go.
#[derive(Clone, Debug)]
pub enum ReportSink {
    /// Into this folder, which is made if it is not there.
    Directory(PathBuf),
    /// Into the storage, below `reports`.
    Storage(Storage),
}

/// Why a report's files were not written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Into the folder.
    #[error(transparent)]
    Folder(#[from] io::Error),
    /// Into the storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The report is none.
    #[error("the report cannot be read: {0}")]
    Report(#[from] serde_json::Error),
    /// Its name is none.
    #[error("the report's files cannot be named: {0}")]
    Name(#[from] KeyError),
}

impl fmt::Display for ReportSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(folder) => write!(f, "{}", folder.display()),
            Self::Storage(storage) => write!(f, "{}/{REPORTS}", storage.place()),
        }
    }
}

impl ReportSink {
    /// Writes both files of a report. Doing it again is fine.
    pub async fn write(&self, stored: StoredReport) -> Result<(), SinkError> {
        match self {
            Self::Directory(folder) => {
                let folder = folder.clone();
                let written = tokio::task::spawn_blocking(move || reports::write(&folder, &stored)).await;
                written.map_err(io::Error::other)??;
                Ok(())
            }
            Self::Storage(storage) => store(storage, &stored).await,
        }
    }
}

/// A try that was killed may have written the first file, and since then the host may have got another name, so that
/// the files read otherwise now. They are replaced then, but only if they are those of this report.
async fn store(storage: &Storage, stored: &StoredReport) -> Result<(), SinkError> {
    let [json, page] = reports::files(stored)?;
    let key = Key::new([REPORTS, &json.name])?;
    match storage.put(&key, Bytes::from(json.text.clone()), json.content_type).await {
        Ok(_) => {}
        Err(StorageError::Different { place, key }) => {
            let there = match storage.get(&key, None).await? {
                Some(there) => there.bytes(MOST).await?,
                None => Bytes::new(),
            };
            if !reports::is_of(&there, stored.report.id) {
                return Err(StorageError::Different { place, key }.into());
            }
            replace(storage, json).await?;
        }
        Err(error) => return Err(error.into()),
    }
    // The first file is this report's, so is what has the same name besides its end.
    replace(storage, page).await
}

async fn replace(storage: &Storage, file: ReportFile) -> Result<(), SinkError> {
    let key = Key::new([REPORTS, &file.name])?;
    storage.replace(&key, Bytes::from(file.text), file.content_type).await?;
    Ok(())
}
