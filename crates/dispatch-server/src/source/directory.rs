//! The directory that images come from, and its `dispatch.yaml`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dispatch_boot::stub::inspect::{HEAD_LEN, arch_of, efi_arch};
use dispatch_boot::stub::pe::Machine;
use dispatch_core::asset::{is_wanted, warnings};
use dispatch_core::queue::{Found, Outlook, Unreadable};
use dispatch_core::{Arch, Kind, Terms, Workload, WorkloadId};
use jiff::Timestamp;
use nix::libc::{EAGAIN, EINTR, EMFILE, ENFILE};
use tokio::sync::oneshot;

use super::description::{Descriptions, Unknown};
use super::opens::{OPEN, Opens};
use super::{NotOpened, all_alike};

/// The file that describes the workloads of a directory.
pub const DESCRIPTION: &str = "dispatch.yaml";

/// How long a file that has changed must be left alone before it is served.
const SETTLED: Duration = Duration::from_secs(2);

/// Why a directory is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be read.
    #[error("cannot read the directory {}: {error}; give another with --dir", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// None of its images can be looked at.
    #[error("cannot read {}: {why}; look at the permissions and at the disk", path.display())]
    Unread {
        /// One of them.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It offers nothing.
    #[error("{} offers nothing to boot: no file in it ends in .efi, .iso or .img", .0.display())]
    Empty(PathBuf),
    /// Its filters leave nothing.
    #[error(
        "none of the {count} in {} has {filters} in its name: there is nothing to boot; give other filters",
        path.display()
    )]
    FilteredOut {
        /// Which.
        path: PathBuf,
        /// How many there are, in words.
        count: String,
        /// The filters, in words.
        filters: String,
    },
    /// Its description has a mistake.
    #[error("{}: {what}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The mistake, with its line.
        what: String,
    },
}

/// A directory of images.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    filters: Vec<String>,
    opens: Arc<Opens>,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The images, in name order.
    pub found: Vec<Found>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
    /// The images that are there and could not be looked at, each with why.
    pub unread: Vec<(String, String)>,
}

impl Scan {
    /// What all images are made for, as far as their files tell; nothing if they differ.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        all_alike(&self.found)
    }
}

impl Directory {
    /// The directory at `path`; `filters` are parts of names, any match keeps an image.
    #[must_use]
    pub fn new(path: PathBuf, filters: Vec<String>) -> Self {
        Self { path, filters, opens: Arc::default() }
    }

    /// The same directory, whose images are opened together with those that others open so.
    #[must_use]
    pub(crate) fn opened_with(self, opens: &Arc<Opens>) -> Self {
        Self { opens: Arc::clone(opens), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks through the directory.
    pub fn scan(&self) -> Result<Scan, SourceError> {
        let mut scan = self.all_images()?;
        self.describe(&mut scan.found)?;
        let unread = scan.unread.first().map(|(name, why)| {
            let (path, why) = (self.path.join(name), why.clone());
            SourceError::Unread { path, why }
        });
        if scan.found.is_empty() {
            return Err(unread.unwrap_or_else(|| SourceError::Empty(self.path.clone())));
        }
        let count = scan.found.len() as u64;
        scan.found.retain(|file| is_wanted(&file.name, &self.filters));
        if scan.found.is_empty() {
            let filters: Vec<String> = self.filters.iter().map(|filter| format!("`{filter}`")).collect();
            return Err(unread.unwrap_or_else(|| SourceError::FilteredOut {
                path: self.path.clone(),
                count: dispatch_core::text::count(count, "image"),
                filters: filters.join(" or "),
            }));
        }
        scan.warnings.extend(warnings(&scan.found));
        for file in scan.found.iter_mut().filter(|file| file.kind == Kind::Efi) {
            let machine = self.machine(&file.name).unwrap_or_else(|error| {
                scan.unread.push((file.name.clone(), error.to_string()));
                None
            });
            // The file itself knows best.
            file.terms.arch = machine.and_then(arch_of).or(file.terms.arch);
            if machine.is_none() {
                let warning = format!("{} is no EFI application (PE): firmware may refuse it", file.name);
                scan.warnings.push(warning);
            }
        }
        Ok(scan)
    }

    fn all_images(&self) -> Result<Scan, SourceError> {
        let failed = |error| SourceError::Directory { path: self.path.clone(), error };
        let mut scan = Scan::default();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                let name = entry.file_name();
                scan.warnings.push(format!("{} is ignored: its name is not UTF-8", name.display()));
                continue;
            };
            let Some(kind) = Kind::of_file_name(&name) else { continue };
            // Follows symbolic links.
            match std::fs::metadata(entry.path()) {
                Ok(meta) if !meta.is_file() => {
                    scan.warnings.push(format!("{name} is ignored: it is not a file"));
                }
                Ok(meta) if meta.len() == 0 => scan.warnings.push(format!("{name} is ignored: it is empty")),
                Ok(meta) => scan.found.push(Found {
                    name,
                    kind,
                    size: meta.len(),
                    modified: whole_micros(meta.modified().map_err(failed)?),
                    digest: None,
                    origin: None,
                    terms: Terms::default(),
                }),
                Err(error) => {
                    scan.warnings.push(format!("{name} is ignored: {error}"));
                    // It has gone since the folder was read, or is a link that leads nowhere: that is known.
                    if error.kind() != io::ErrorKind::NotFound {
                        scan.unread.push((name, error.to_string()));
                    }
                }
            }
        }
        scan.found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scan)
    }

    fn describe(&self, found: &mut [Found]) -> Result<(), SourceError> {
        let path = self.path.join(DESCRIPTION);
        let mistake = |what: String| SourceError::Description { path: path.clone(), what };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(mistake(error.to_string())),
        };
        match Descriptions::default().apply(&text, found).map_err(mistake)?.first() {
            None => Ok(()),
            Some(Unknown { name, line }) => {
                let what = format!("line {line}: field `name`: there is no image `{name}` in this directory");
                Err(mistake(what))
            }
        }
    }

    fn machine(&self, name: &str) -> io::Result<Option<Machine>> {
        let mut head = Vec::with_capacity(HEAD_LEN);
        File::open(self.path.join(name))?.take(HEAD_LEN as u64).read_to_end(&mut head)?;
        Ok(efi_arch(&head))
    }

    /// Opens the image of a workload, as it is now.
    pub async fn open(&self, workload: &Workload) -> Result<Opened, NotOpened> {
        let (folder, name) = (self.path.clone(), workload.name.clone());
        let passing = |why: &str| Unreadable { why: why.to_owned(), outlook: Outlook::Passing };
        let open = move || {
            open_image(&folder.join(name))
                .map_err(|error| NotOpened { is_whole: is_away(&folder), why: unreadable(&error) })
        };
        match self.opens.look(open).await {
            Some(Ok(opened)) => opened,
            Some(Err(_)) => Err(NotOpened { why: passing("it could not be opened"), is_whole: false }),
            None => Err(NotOpened { why: passing("its file system does not answer"), is_whole: true }),
        }
    }

    /// Of these workloads those whose images cannot be opened, and why: at once, where one could not. Nothing if the file
    /// system does not tell in time, or if somebody else is told at the moment.
    pub async fn absent(&self, workloads: Vec<Workload>) -> BTreeMap<WorkloadId, Unreadable> {
        let Some(place) = self.opens.list() else { return BTreeMap::new() };
        let folder = self.path.clone();
        let (tell, told) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut absent = BTreeMap::new();
            for known in workloads {
                if tell.is_closed() {
                    // It took too long: nobody waits for the others.
                    return;
                }
                let opened = open_image(&folder.join(&known.name));
                absent.extend(opened.err().map(|error| (known.id, unreadable(&error))));
            }
            let _ = tell.send(absent);
        });
        tokio::time::timeout(OPEN, told).await.ok().and_then(Result::ok).unwrap_or_default()
    }
}

fn open_image(path: &Path) -> io::Result<Opened> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a file any more"));
    }
    if meta.len() == 0 {
        return Err(io::Error::other("it is empty"));
    }
    Ok(Opened { file, size: meta.len(), modified: meta.modified()? })
}

fn unreadable(error: &io::Error) -> Unreadable {
    let outlook = match error.raw_os_error() {
        // No descriptor is left, or a signal came: neither says anything of the file.
        Some(EMFILE | ENFILE | EINTR | EAGAIN) => Outlook::Passing,
        _ => Outlook::Lasting,
    };
    Unreadable { why: error.to_string(), outlook }
}

/// Whether nothing at all is in a folder, or nobody can look: its file system is not mounted, or the folder is gone.
fn is_away(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => !matches!(error.raw_os_error(), Some(EMFILE | ENFILE | EINTR | EAGAIN)),
    }
}

/// An image as it is on disk now.
#[derive(Debug)]
pub struct Opened {
    /// The open file.
    pub file: File,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl Opened {
    /// Whether it is the version that a workload stands for.
    #[must_use]
    pub fn is(&self, workload: &Workload) -> bool {
        self.size == workload.size && whole_micros(self.modified) == workload.modified
    }

    /// Whether it was written so recently that more may follow: half an image must not be taken for a whole one.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(whole_micros(self.modified)).unsigned_abs() < SETTLED
    }

    /// The file as a scan would find it now.
    #[must_use]
    pub fn found(&self, workload: &Workload) -> Found {
        Found {
            name: workload.name.clone(),
            kind: workload.kind,
            size: self.size,
            modified: whole_micros(self.modified),
            digest: None,
            origin: workload.origin.clone(),
            // The processor of the version before says nothing of this one.
            terms: Terms { arch: None, ..workload.terms.clone() },
        }
    }
}

/// The store keeps microseconds.
fn whole_micros(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time)
        .ok()
        .and_then(|time| Timestamp::from_microsecond(time.as_microsecond()).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn directory(files: &[(&str, &[u8])]) -> TempDir {
        let dir = TempDir::new().expect("a folder");
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("a file");
        }
        dir
    }

    fn scan(dir: &TempDir, filters: &[&str]) -> Result<Scan, SourceError> {
        let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Directory::new(dir.path().to_owned(), filters).scan()
    }

    fn names(scan: &Scan) -> Vec<&str> {
        scan.found.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn images_are_found_in_name_order_and_other_files_ignored() {
        let files: &[(&str, &[u8])] = &[
            ("b.iso", b"x"),
            ("a.efi", b"MZ"),
            ("C.IMG", b"x"),
            ("notes.txt", b"x"),
            (".efi", b"x"),
            ("efi", b"x"),
        ];
        let scan = scan(&directory(files), &[]).expect("a source");
        assert_eq!(names(&scan), ["C.IMG", "a.efi", "b.iso"]);
        assert_eq!(scan.found[0].kind, Kind::Img);
    }

    #[test]
    fn any_filter_that_matches_keeps_an_image() {
        let dir = directory(&[
            ("ubuntu-24.efi", b"x"),
            ("ubuntu-26.efi", b"x"),
            ("fedora.efi", b"x"),
            ("x.iso", b"x"),
        ]);
        assert_eq!(names(&scan(&dir, &["24", "fedo"]).expect("a source")), ["fedora.efi", "ubuntu-24.efi"]);
        let error = scan(&dir, &["suse", "arch"]).expect_err("nothing").to_string();
        assert!(error.contains("none of the 4 images") && error.contains("`suse` or `arch`"), "{error}");
    }

    #[test]
    fn an_efi_file_that_is_no_pe_is_queued_with_a_warning_and_an_empty_one_is_not() {
        let scan = scan(&directory(&[("odd.efi", b"#!/bin/sh"), ("empty.efi", b"")]), &[]).expect("a source");
        assert_eq!(names(&scan), ["odd.efi"]);
        assert_eq!(scan.warnings.len(), 2, "{:?}", scan.warnings);
        assert!(scan.warnings.iter().any(|warning| warning.contains("empty.efi is ignored")));
        assert!(scan.warnings.iter().any(|warning| warning.contains("odd.efi is no EFI application")));
    }

    #[test]
    fn a_directory_without_images_or_none_at_all_is_refused_in_words() {
        let dir = directory(&[("notes.txt", b"x")]);
        assert!(matches!(scan(&dir, &[]), Err(SourceError::Empty(_))));
        let gone =
            Directory::new(dir.path().join("gone"), Vec::new()).scan().expect_err("refused").to_string();
        assert!(gone.contains("gone") && gone.contains("No such file"), "{gone}");
    }

    #[test]
    fn an_image_that_is_there_and_cannot_be_looked_at_is_not_taken_to_be_gone() {
        let dir = directory(&[("a.efi", b"x")]);
        // A link to itself: what it stands for cannot be told, whoever asks.
        std::os::unix::fs::symlink("loop.efi", dir.path().join("loop.efi")).expect("a link");
        std::os::unix::fs::symlink("nothing", dir.path().join("broken.efi")).expect("a link");
        let seen = scan(&dir, &[]).expect("a source");
        assert_eq!(names(&seen), ["a.efi"]);
        let unread: Vec<&str> = seen.unread.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unread, ["loop.efi"], "a link that leads nowhere is known to");
        std::fs::remove_file(dir.path().join("a.efi")).expect("removed");
        for filters in [&[][..], &["z"]] {
            let error = scan(&dir, filters).expect_err("nothing is known").to_string();
            assert!(error.contains("cannot read") && error.contains("loop.efi"), "{error}");
        }
    }

    #[test]
    fn the_description_says_how_often_an_image_may_reboot() {
        let yaml = b"workloads:\n  - name: a.efi\n    description: A kernel update\n    reboots: 2\n";
        let scan = scan(&directory(&[("a.efi", b"x"), ("b.efi", b"x"), (DESCRIPTION, yaml)]), &[])
            .expect("a source");
        assert_eq!((scan.found[0].terms.reboots, scan.found[1].terms.reboots), (2, 0));
        assert_eq!(scan.found[0].terms.description.as_deref(), Some("A kernel update"));
        assert!(self::scan(&directory(&[("a.efi", b"x"), (DESCRIPTION, b"# nothing\n")]), &[]).is_ok());
    }

    #[test]
    fn a_mistake_in_the_description_names_file_line_and_field() {
        for (yaml, words) in [
            ("workloads:\n  - name: a.efi\n    rebots: 2\n", ["line 3", "rebots"]),
            ("workloads:\n  - name: a.efi\n    reboots: many\n", ["line 3", "many"]),
            ("workloads:\n  - reboots: 1\n", ["line 2", "name"]),
            ("workloads:\n  - name: z.efi\n", ["line 2", "z.efi"]),
            ("workloads:\n  - name: a.efi\n  - name: a.efi\n", ["line 3", "twice"]),
        ] {
            let dir = directory(&[("a.efi", b"x"), (DESCRIPTION, yaml.as_bytes())]);
            let error = scan(&dir, &[]).expect_err("refused").to_string();
            assert!(error.contains(DESCRIPTION), "{error}");
            for word in words {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
