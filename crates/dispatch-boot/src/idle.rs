//! The programs that hosts without work are sent: made on request, or signed ones from a directory.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dispatch_core::Arch;
use dispatch_core::queue::{Idle, Stub as Advice};

use crate::stub::inspect::{arch_of, efi_arch};
use crate::stub::{Stub, build};

/// How long a host that is to reset and ask again waits before it does.
const RESET_AFTER: Duration = Duration::from_secs(30);

/// How often a host that waits asks again.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// The largest file that is taken for a signed program, in bytes: signatures are a few thousand.
const MAX_PROGRAM: u64 = 1 << 20;

/// Why a directory holds no signed programs.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// It cannot be read.
    #[error("cannot read {}: {error}; `dispatch stubs export DIR` writes the programs to be signed", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what its name says.
    #[error("{} is no EFI program for {arch}: sign what `dispatch stubs export` wrote, and keep its name", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What it should be for.
        arch: Arch,
    },
    /// None of the files is there.
    #[error(
        "{} holds none of the programs ({first} and so on): `dispatch stubs export DIR` writes them to be signed",
        path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
        /// The name of one of them.
        first: String,
    },
}

/// The programs for hosts without work.
#[derive(Debug, Default)]
pub struct Programs {
    /// None means that they are made on request.
    signed: Option<HashMap<(Advice, Arch), Vec<u8>>>,
}

const ARCHS: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

/// Each program that there is.
fn all() -> impl Iterator<Item = (Advice, Arch)> {
    ARCHS.into_iter().flat_map(|arch| Advice::ALL.into_iter().map(move |stub| (stub, arch)))
}

/// `wait-x86-64.efi`
fn file_name(stub: Advice, arch: Arch) -> String {
    format!("{stub}-{arch}.efi")
}

fn program(stub: Advice, arch: Arch, reason: &str, is_urgent: bool) -> Vec<u8> {
    let (stub, what) = match stub {
        Advice::PowerOff => (Stub::PowerOff, "powering off".to_owned()),
        Advice::Next => (Stub::Next, "going on with the next boot device".to_owned()),
        Advice::Reboot if is_urgent => {
            (Stub::Reboot { after: Duration::ZERO }, "resetting to ask again".to_owned())
        }
        Advice::Reboot => {
            let pause = RESET_AFTER.as_secs();
            (Stub::Reboot { after: RESET_AFTER }, format!("resetting in {pause} s to ask again"))
        }
        Advice::Wait => (Stub::Wait { ask_every: ASK_EVERY }, "waiting for work".to_owned()),
    };
    build(stub, arch, &format!("dispatch: {what}: {reason}"))
}

impl Programs {
    /// Reads signed programs from a directory. Returns them with what a person should know, a sentence each.
    pub fn signed(directory: &Path) -> Result<(Self, Vec<String>), ProgramsError> {
        let mut signed = HashMap::new();
        let mut missing = Vec::new();
        for (stub, arch) in all() {
            let path = directory.join(file_name(stub, arch));
            let bytes = match read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.push((arch, file_name(stub, arch)));
                    continue;
                }
                Err(error) => return Err(ProgramsError::Read { path, error }),
            };
            if efi_arch(&bytes).and_then(arch_of) != Some(arch) {
                return Err(ProgramsError::Wrong { path, arch });
            }
            signed.insert((stub, arch), bytes);
        }
        if signed.is_empty() {
            // A directory that is not there has better words.
            std::fs::read_dir(directory)
                .map_err(|error| ProgramsError::Read { path: directory.to_owned(), error })?;
            let first = file_name(Advice::PowerOff, Arch::X86_64);
            return Err(ProgramsError::Empty { path: directory.to_owned(), first });
        }
        // Whoever has signed none for an architecture has no such hosts.
        let is_used = |arch: Arch| signed.keys().any(|(_, known)| *known == arch);
        let warnings = missing
            .into_iter()
            .filter(|(arch, _)| is_used(*arch))
            .map(|(_, name)| {
                format!(
                    "{} has no {name}: a host that is to get it is told that there is nothing",
                    directory.display()
                )
            })
            .collect();
        Ok((Self { signed: Some(signed) }, warnings))
    }

    /// Writes the programs out, to be signed. Returns their paths.
    pub fn export(directory: &Path) -> Result<Vec<PathBuf>, ProgramsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |error| ProgramsError::Write { path, error }
        };
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        all()
            .map(|(stub, arch)| {
                let path = directory.join(file_name(stub, arch));
                // What is signed cannot be changed any more: it says what holds for every host.
                let reason = match stub {
                    Advice::PowerOff => "queue empty",
                    Advice::Next => "no work for this host",
                    Advice::Reboot | Advice::Wait => "more may come",
                };
                std::fs::write(&path, program(stub, arch, reason, false)).map_err(failed(&path))?;
                Ok(path)
            })
            .collect()
    }

    /// The program that tells a host what to do; nothing, if it is to be told that there is nothing, or the program
    /// for it is not there.
    #[must_use]
    pub fn for_host(&self, idle: &Idle) -> Option<Vec<u8>> {
        let (stub, arch) = (idle.stub?, idle.arch.unwrap_or(Arch::X86_64));
        match &self.signed {
            None => Some(program(stub, arch, &idle.reason, idle.is_urgent)),
            Some(signed) => signed.get(&(stub, arch)).cloned(),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_PROGRAM {
        return Err(io::Error::other("it is larger than any of the programs"));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn idle(stub: Advice, arch: Option<Arch>) -> Idle {
        let at = Timestamp::UNIX_EPOCH;
        Idle {
            stub: Some(stub),
            reason: "a reason".into(),
            since: at,
            promised: at,
            is_taken: false,
            is_urgent: false,
            arch,
        }
    }

    #[test]
    fn each_program_is_for_the_processor_of_its_host_and_says_why() {
        let programs = Programs::default();
        for (stub, arch) in all() {
            let bytes = programs.for_host(&idle(stub, Some(arch))).expect("a program");
            assert_eq!(efi_arch(&bytes).and_then(arch_of), Some(arch));
            let line: Vec<u8> = "a reason".encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(bytes.windows(line.len()).any(|part| part == line), "{stub} {arch}");
        }
    }

    #[test]
    fn what_was_exported_and_signed_is_served_byte_for_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = Programs::export(folder.path()).expect("written");
        assert_eq!(paths.len(), 8);
        let path = folder.path().join("wait-aarch64.efi");
        let mut signed = std::fs::read(&path).expect("read");
        signed.extend(b"a signature");
        std::fs::write(&path, &signed).expect("written");
        let (programs, warnings) = Programs::signed(folder.path()).expect("programs");
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(programs.for_host(&idle(Advice::Wait, Some(Arch::Aarch64))), Some(signed));
    }

    #[test]
    fn a_missing_program_is_told_of_and_an_architecture_that_nobody_signed_for_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        Programs::export(folder.path()).expect("written");
        for name in ["wait-x86-64", "poweroff-aarch64", "reboot-aarch64", "next-aarch64", "wait-aarch64"] {
            std::fs::remove_file(folder.path().join(format!("{name}.efi"))).expect("removed");
        }
        let (programs, warnings) = Programs::signed(folder.path()).expect("programs");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("wait-x86-64.efi"));
        assert_eq!(programs.for_host(&idle(Advice::Wait, None)), None);
        assert!(programs.for_host(&idle(Advice::Next, None)).is_some());
    }

    #[test]
    fn a_directory_without_programs_and_a_file_for_another_processor_are_refused_in_one_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Programs::signed(folder.path()).expect_err("nothing is there").to_string();
        assert!(error.contains("dispatch stubs export"), "{error}");
        let missing = Programs::signed(&folder.path().join("x")).expect_err("nothing is there").to_string();
        assert!(missing.contains("No such file"), "{missing}");
        Programs::export(folder.path()).expect("written");
        let (from, to) = (folder.path().join("next-x86-64.efi"), folder.path().join("next-aarch64.efi"));
        std::fs::copy(from, to).expect("copied");
        let error = Programs::signed(folder.path()).expect_err("a wrong file").to_string();
        assert!(error.contains("next-aarch64.efi is no EFI program for aarch64"), "{error}");
    }
}
