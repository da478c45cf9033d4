//! Servers in the firmware's boot entries.

use std::io;

use crate::efi::vars;
use crate::root::Root;

use super::{Finder, Finding, Found};

/// Looks into the EFI boot variables.
#[derive(Clone, Debug)]
pub struct BootVars {
    /// The file system to look at.
    pub root: Root,
}

impl Finder for BootVars {
    fn find(&self) -> Finding {
        let entries = match vars::read(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Finding::nothing("no EFI boot variables, as after a BIOS boot or without efivarfs");
            }
            Err(error) => return Finding::nothing(format!("EFI boot variables cannot be read: {error}")),
        };
        let mut finding = Finding { warnings: entries.skipped, ..Finding::default() };
        for entry in entries.http {
            let from =
                format!("boot entry Boot{:04X} \"{}\"", entry.number, entry.description.escape_debug());
            for uri in entry.uris {
                match uri.parse() {
                    Ok(url) => finding.found.push(Found { url, from: from.clone() }),
                    Err(error) => finding.warnings.push(format!("{from} is skipped: {error}")),
                }
            }
        }
        if finding.found.is_empty() {
            finding.nothing = Some("no EFI boot entry with a network card and an http URL".to_owned());
        }
        finding
    }
}
